// The portable execution's passes on a GPU, launch by launch, without one: the fake driver hands every launch to the
// kernels' own text on fibers. Prefill and decode steps of many rows and of few give the CPU's signals bit for bit.
#include <cxxabi.h>
#include <dlfcn.h>

#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <fpf/engine/make_decoder.hpp>
#include <fstream>
#include <map>

#include "emulated/portable/attention.cuh"
#include "emulated/portable/gemm.cuh"
#include "emulated/portable/head.cuh"
#include "emulated/portable/moe.cuh"
#include "fake_cuda/fake_cuda.hpp"
#include "portable_runs.hpp"
#include "toolkit.hpp"

BOOST_AUTO_TEST_SUITE(test_portable_pass)

using namespace fpf;
using namespace fpf::kernel;
namespace data = boost::unit_test::data;

namespace {

/// A launch's body by the kernel's symbol: NVRTC and this compiler name functions alike.
std::map<std::string, std::function<void(void**)>>& kernels() {
  static std::map<std::string, std::function<void(void**)>> all;
  return all;
}

template <class Params>
void add(void (*kernel)(Params)) {
  Dl_info info{};
  BOOST_REQUIRE(dladdr(reinterpret_cast<void*>(kernel), &info) != 0);
  BOOST_REQUIRE(info.dli_sname != nullptr);
  kernels()[info.dli_sname] = [kernel](void** params) { kernel(*static_cast<const Params*>(params[0])); };
}

void run(const char* symbol, const unsigned (&grid)[3], unsigned threads, unsigned shared, void** params) {
  const auto found = kernels().find(symbol);
  if (found == kernels().end()) {
    char* const readable = abi::__cxa_demangle(symbol, nullptr, nullptr, nullptr);
    throw std::logic_error(
        fmt::format("a kernel that this test does not have: {}", readable != nullptr ? readable : symbol));
  }
  emulation::launch({grid[0], grid[1], grid[2]}, threads, shared, [&] { found->second(params); });
}

/// The kernels of the model below.
void add_kernels() {
  add(&portable_embed<float, i64, 128>);
  add(&portable_embed<float, i32, 128>);
  add(&portable_norm<float, 128, 64>);
  add(&portable_gemv<Dense<float, 128>, float, 32, 8, 2, true, false>);
  add(&portable_gemv<Dense<float, 256>, float, 32, 8, 2, false, true>);
  add(&portable_gemm<Dense<float, 128>, false>);
  // biases of q, k and v, heads without norms
  add(&portable_gemv<Dense<float, 128>, float, 32, 8, 2, true, 2>);
  add(&portable_gemm<Dense<float, 128>, 2>);
  add(&portable_rope_append<float, 4, 2, 64, false>);
  add(&portable_attend<float, 4, 2, 64, false, true>);
  add(&portable_attend<float, 4, 2, 64, false, false>);
  add(&portable_gemm<Dense<float, 256>, true>);
  add(&portable_rope_append<float, 4, 2, 64, true>);
  add(&portable_attend<float, 4, 2, 64, true, true>);
  add(&portable_attend<float, 4, 2, 64, true, false>);
  add(&portable_attend_join<4, 64>);
  add(&portable_top_slices<10, 132, 1>);
  add(&portable_exp_sums<10, 132>);
  add(&portable_log_probs<10, 132>);
  add(&portable_silu_mul);
  // experts
  add(&portable_route<6, 2, true>);
  add(&portable_gate_up<Dense<float, 128>, 64, 2, 32, 4, 2>);
  add(&portable_down<Dense<float, 64>, float, 128, 2, 32, 4>);
  add(&portable_gemm_grouped<Dense<float, 128>>);
  add(&portable_gemm_grouped<Dense<float, 64>>);
  add(&portable_group<6>);
  add(&portable_group<1>);
  add(&portable_experts_sum<float, 128, 2>);
  // a dense MLP
  add(&portable_gate_up<Dense<float, 128>, 64, 1, 32, 4, 2>);
  add(&portable_down<Dense<float, 64>, float, 128, 1, 32, 4>);
  add(&portable_experts_sum<float, 128, 1>);
}

std::string description(const std::string& architecture) {
  nlohmann::json config = {{"vocab_size", 512},
                           {"hidden_size", 128},
                           {"intermediate_size", 64},
                           {"num_hidden_layers", 2},
                           {"num_attention_heads", 4},
                           {"num_key_value_heads", 2},
                           {"head_dim", 64},
                           {"rms_norm_eps", 1e-6},
                           {"rope_theta", 10000.0},
                           {"num_experts", 6},
                           {"num_experts_per_tok", 2},
                           {"moe_intermediate_size", 64},
                           {"norm_topk_prob", true},
                           {"max_position_embeddings", 256},
                           {"tie_word_embeddings", false}};
  config["architectures"] = {architecture};
  const std::string name = architecture + ".json";
  std::ofstream(name) << config.dump();
  return "synthetic:" + name + "?seed=3";
}

/// A model's weights where the kernels look for them, in host memory.
struct Weights {
  std::vector<at::Tensor> kept;
  std::vector<std::vector<Expert>> experts;
  ModelWeights model;
  portable::RopeTable rope;

  Weights(const model::Checkpoint& checkpoint, const model::KvCache& cache)
      : rope(0, checkpoint.config().max_positions, model::exact_inverse_frequencies(checkpoint.config())) {
    const model::ModelConfig& c = checkpoint.config();
    const quant::Loader loader{checkpoint.source(), c.quantization, at::kFloat, at::kCPU};
    for (std::int64_t i = 0; i < c.num_layers; ++i) {
      const model::Layer layer(loader, quant::scheme<quant::None>(), checkpoint, parallel::Shard::whole(c), i);
      LayerWeights& w = model.layers.emplace_back();
      w.input_norm = keep(layer.input_norm);
      w.post_norm = keep(layer.post_norm);
      w.q_norm = keep(layer.q_norm);
      w.k_norm = keep(layer.k_norm);
      w.qkv = matrix(layer.qkv);
      w.o = matrix(layer.o);
      auto& own = experts.emplace_back();
      if (c.is_moe()) {
        w.router = matrix(layer.router);
        for (const auto& expert : layer.experts) own.push_back(expert_of(expert));
      } else {
        own.push_back(expert_of(layer.mlp));
      }
      w.gate_up = w.down = dense_format();
      w.cache = cache.view(i);
    }
    for (std::size_t i = 0; i < experts.size(); ++i) model.layers[i].experts = experts[i].data();
    const auto spec = [&](const char* name) { return quant::LinearSpec::whole(name, c.vocab_size, c.hidden_size); };
    model.embedding = keep(quant::load_dense(loader, spec("model.embed_tokens")));
    model.final_norm = keep(quant::load_vector(loader, "model.norm.weight", c.hidden_size));
    model.head = {keep(quant::load_dense(loader, spec("lm_head"))), dense_format(), static_cast<int>(c.vocab_size),
                  static_cast<int>(c.hidden_size)};
    model.cos = rope.cos.data();
    model.sin = rope.sin.data();
  }

 private:
  const void* keep(const at::Tensor& t) {
    if (!t.defined()) return nullptr;
    kept.push_back(t.contiguous());
    return kept.back().const_data_ptr();
  }
  Matrix matrix(const model::Linear& linear) {
    const at::Tensor t = linear.dequantise(at::kFloat);
    const at::Tensor bias = linear.bias().defined() ? linear.bias().to(at::kFloat) : at::Tensor();
    return {keep(t), dense_format(), static_cast<int>(t.size(0)), static_cast<int>(t.size(1)), keep(bias)};
  }
  Expert expert_of(const model::Mlp& m) { return {matrix(m.gate).data, matrix(m.up).data, matrix(m.down).data}; }
};

/// Prefill and steps as GpuRepetitions makes them.
evidence::Signals run_on_fibers(const model::Checkpoint& checkpoint, engine::Decoder& decoder,
                                const RunSettings& settings, const std::vector<std::vector<std::int32_t>>& prompts) {
  const c10::InferenceMode guard;
  const model::ModelConfig& c = checkpoint.config();
  const auto as_int = [](std::int64_t value) { return static_cast<int>(value); };
  const at::Tensor prompt = model::batch_of(prompts);
  const std::int64_t batch = prompt.size(0), length = prompt.size(1);
  model::KvCache cache = decoder.make_cache(batch, length + settings.decode_steps);
  const Weights weights(checkpoint, cache);
  Library library(0, compiler(), CubinCache(std::filesystem::current_path() / "cache"));
  StepConfig config = engine::step_config(c, parallel::Shard::whole(c), at::kFloat, prompt.numel());
  Recorder recorder(c, settings.layers, settings.top_k, length);
  recorder.start_pass(length);
  const at::Tensor first = recorder.next_tokens(
      decoder,
      engine::portable_prefill(library, nullptr, config, weights.model, prompt, cache, recorder.kept(), &recorder));

  config.rows = as_int(batch);
  config.capacity = as_int(cache.capacity());
  config.tapped.assign(settings.layers.begin(), settings.layers.end());
  std::vector<std::vector<std::byte>> memory;
  const engine::PortableStep step(library, config, weights.model,
                                  [&](std::size_t bytes) -> void* { return memory.emplace_back(bytes + 16).data(); });
  for (int row = 0; row < config.rows; ++row) {
    step.tokens()[row] = as_int(first.const_data_ptr<std::int64_t>()[row]);
    step.position()[row] = as_int(length);
  }
  for (std::int64_t i = 0; i < settings.decode_steps; ++i) {
    recorder.token(step.tokens()[0]);
    step.enqueue(nullptr);
    recorder.gpu_step(step.taps(), step.tap_buffer());
  }
  recorder.gpu_keys(decoder, cache, length, settings.decode_steps);
  return recorder.take();
}

}  // namespace

BOOST_DATA_TEST_CASE(passes_have_the_cpus_bits,
                     data::make({"Qwen3MoeForCausalLM", "Qwen3ForCausalLM", "Qwen2ForCausalLM"}), architecture) {
  add_kernels();
  BOOST_REQUIRE(kernels().size() == 31u);
  fake_gpu()->run = run;
  const auto checkpoint = model::Checkpoint::open(description(architecture));
  const bool experts = checkpoint.config().is_moe();
  const RunSettings settings = all_layers(checkpoint, DType::float32, 2);
  const auto decoder = portable_decoder(checkpoint, DType::float32);
  for (const auto& [length, batch] : {std::pair{experts ? 66 : 9, 1}, {4, 2}, {3, 9}}) {
    std::vector<std::vector<std::int32_t>> prompts;
    for (int b = 0; b < batch; ++b) prompts.push_back(some_ids(length, 7 + b, 512));
    const evidence::Signals found = run_on_fibers(checkpoint, *decoder, settings, prompts);
    const evidence::Signals wanted = portable_run(*decoder, settings, prompts);
    const auto place = evidence::first_difference(wanted, found);
    BOOST_TEST(!place,
               length << " tokens, batch " << batch << ": first at " << (place ? evidence::to_string(*place) : ""));
    BOOST_TEST((evidence::digests_of(found) == evidence::digests_of(wanted)), length << " tokens, batch " << batch);
  }
  fake_gpu()->run = nullptr;
}

BOOST_AUTO_TEST_SUITE_END()
