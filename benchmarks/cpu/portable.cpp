// benchmark_portable_cpu: the portable execution on a CPU beside libtorch's operators (eager execution) in the same dtype
// and process, by turns.
//
//   benchmark_portable_cpu MODEL DTYPE [TOKENS [STEPS [TURNS]]]       (2048 20 5)
//
// Each turn a prefill of TOKENS ids and STEPS single tokens by either; a line of JSON with the medians of all turns but
// the first, seconds. FPF_INSTRUCTION_SET and ONEDNN_MAX_CPU_ISA leave out what this CPU has and others have not.
#include <fmt/format.h>

#include <chrono>
#include <fpf/attention/flash.hpp>
#include <fpf/core/parse_number.hpp>
#include <fpf/core/program.hpp>
#include <fpf/engine/make_decoder.hpp>
#include <fpf/execution/eager.hpp>
#include <fpf/execution/portable.hpp>
#include <fpf/model/tokens.hpp>
#include <fpf/portable/loops.hpp>
#include <fpf/quant/schemes.hpp>

#include "compiled.hpp"

namespace {

using namespace fpf;

double seconds_of(const auto& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

struct Times {
  std::vector<double> prefill, step;

  void take(engine::Decoder& decoder, std::int64_t tokens, std::int64_t steps) {
    std::vector<std::int32_t> ids;
    const auto vocabulary = static_cast<std::int32_t>(decoder.config().vocab_size);
    for (std::int32_t i = 0; i < tokens; ++i) ids.push_back((i * 37 + 11) % vocabulary);
    const at::Tensor prompt = model::batch_of({ids}), one = model::batch_of({{91 % vocabulary}});
    auto cache = decoder.make_cache(1, tokens + steps);
    prefill.push_back(seconds_of([&] { decoder.forward(prompt, cache, 1, nullptr); }));
    const double all = seconds_of([&] {
      for (std::int64_t i = 0; i < steps; ++i) decoder.forward(one, cache, 1, nullptr);
    });
    step.push_back(all / static_cast<double>(steps));
  }
  /// Without the first turn, which touches memory for the first time.
  Times settled() const { return {{prefill.begin() + 1, prefill.end()}, {step.begin() + 1, step.end()}}; }
};

void measure(const std::string& name, DType dtype, std::int64_t tokens, std::int64_t steps, std::int64_t turns) {
  const auto checkpoint = model::Checkpoint::open(name);
  Times portable, eager;
  quant::select(checkpoint.config().quantization, [&]<class Quant>() {
    const auto make = [&]<class Execution>() {
      return engine::make_decoder<Quant, attention::Flash, Execution>(
          checkpoint, parallel::Rank::alone(checkpoint.config()), device::scalar_type(dtype), at::kCPU);
    };
    const auto own = make.template operator()<execution::Portable>();
    const auto other = make.template operator()<execution::Eager>();
    for (std::int64_t turn = 0; turn <= turns; ++turn) {
      portable.take(*own, tokens, steps);
      eager.take(*other, tokens, steps);
    }
  });
  const Times own = portable.settled(), other = eager.settled();
  fmt::print("{}\n", nlohmann::ordered_json{{"model", name},
                                            {"dtype", fpf::name_of(dtype)},
                                            {"threads", at::get_num_threads()},
                                            {"instruction_set", portable::name_of(portable::instruction_set())},
                                            {"tokens", tokens},
                                            {"steps", steps},
                                            {"turns", turns},
                                            {"portable_prefill_s", median(own.prefill)},
                                            {"eager_prefill_s", median(other.prefill)},
                                            {"portable_step_s", median(own.step)},
                                            {"eager_step_s", median(other.step)}}
                         .dump());
}

}  // namespace

int main(int argc, char** argv) {
  return fpf::run_program("benchmark_portable_cpu", [&] {
    if (argc < 3) fpf::fail("usage: benchmark_portable_cpu MODEL DTYPE [TOKENS [STEPS [TURNS]]]");
    const auto number = [&](int at, std::int64_t otherwise) {
      if (argc <= at) return otherwise;
      const auto out = fpf::parse_number<std::int64_t>(argv[at]);
      if (!out || *out < 1) fpf::fail("'{}': expected a number, 1 or more", argv[at]);
      return *out;
    };
    measure(argv[1], fpf::parse_dtype(argv[2]), number(3, 2048), number(4, 20), number(5, 5));
    return fpf::ExitCode::ok;
  });
}
