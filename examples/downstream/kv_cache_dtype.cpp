// An experiment of one's own, complete: does it show when a provider keeps its KV cache in bfloat16?
#include <ATen/core/Tensor.h>

#include <fpf/experiment/runner.hpp>

/// Attention that sees keys and values as a bfloat16 cache would return them.
struct BFloat16Cache {
  static constexpr std::string_view name = "bfloat16_kv_cache";

  static at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale) {
    const auto rounded = [&](const at::Tensor& t) { return t.to(at::kBFloat16).to(q.scalar_type()); };
    return fpf::attention::Flash::attend(q, rounded(k), rounded(v), scale);
  }
};

int main(int argc, char** argv) {
  fpf::ExperimentInfo info{{"kv_cache_dtype", "keeps keys and values in bfloat16",
                            "kv_cache_dtype --model M --prompt-pdf F --baseline reference_baseline.json"},
                           "kv_cache_dtype",
                           "kv_cache_dtype",
                           "activations"};
  return fpf::experiment_main(argc, argv, info, [](fpf::Runner& runner) {
    runner.run({"kv_bfloat16", "bfloat16"}, runner.reference().with(fpf::attention::kernel<BFloat16Cache>()));
  });
}
