// synthetic_models: bytes a second of making a model's weights on one core, and the histogram of expert use.
//
//   synthetic_models [MODEL] [TOKENS]       (synthetic:qwen3-moe-tiny 512)
//
// Speed is measured on one thread into a buffer of a megabyte, on tensors of each kind apart, the best of
// five passes over up to 256 MB; each result is beside memset's on the same buffer. TOKENS random ones then
// go through the model at once; 0 leaves that out, for models larger than the memory.
#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <cstring>
#include <fpf/attention/flash.hpp>
#include <fpf/core/program.hpp>
#include <fpf/engine/make_decoder.hpp>
#include <fpf/execution/eager.hpp>
#include <fpf/model/expert_use.hpp>
#include <fpf/model/synthetic_model.hpp>
#include <fpf/parallel/single.hpp>
#include <fpf/quant/schemes.hpp>
#include <map>

#include "compiled.hpp"

namespace {

using namespace fpf;

/// Seconds of the quickest of five calls.
double quickest(const auto& work) {
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

void measure_speed(const model::SyntheticModel& model) {
  constexpr std::size_t most = 256'000'000;
  std::map<std::string, std::vector<const weights::StoredTensor*>> kinds;
  for (const auto& name : model.names()) {
    const auto& tensor = model.at(name);
    const auto suffix = name.substr(name.rfind('.') + 1);
    kinds[fmt::format("{} ({})", suffix, fpf::name_of(tensor.dtype()))].push_back(&tensor);
  }
  std::vector<std::byte> buffer(1 << 20);
  double all_seconds = 0, all_bytes = 0;
  for (const auto& [kind, tensors] : kinds) {
    double total = 0;
    std::size_t bytes = 0;
    for (const auto* tensor : tensors) total += static_cast<double>(tensor->bytes());
    const auto pass = [&](const auto& fill) {
      bytes = 0;
      for (const auto* tensor : tensors)
        for (std::size_t at = 0; at < tensor->bytes() && bytes < most; at += buffer.size()) {
          const auto part = std::span(buffer).first(std::min(buffer.size(), tensor->bytes() - at));
          fill(*tensor, at, part);
          bytes += part.size();
        }
    };
    const double made = quickest([&] { pass([&](const auto& t, auto at, auto part) { model.read(t, at, part); }); });
    const double set = quickest([&] {
      pass([](const auto&, auto at, auto part) { std::memset(part.data(), static_cast<int>(at), part.size()); });
    });
    fmt::print("{:32} {:9.1f} MB in the model: {:6.2f} GB/s, memset {:6.2f} GB/s\n", kind, total / 1e6,
               static_cast<double>(bytes) / made / 1e9, static_cast<double>(bytes) / set / 1e9);
    all_seconds += made * total / static_cast<double>(bytes);
    all_bytes += total;
  }
  fmt::print("{:32} {:9.1f} MB in the model: {:6.2f} GB/s\n", "all", all_bytes / 1e6, all_bytes / all_seconds / 1e9);
}

model::ExpertUse use_of(const std::string& name, std::int64_t count) {
  const auto checkpoint = model::Checkpoint::open(name);
  const auto& config = checkpoint.config();
  model::ExpertUse use(config.num_layers, config.num_experts);
  at::Tensor tokens = at::empty({1, count}, at::kLong);
  for (std::int64_t i = 0; i < count; ++i)
    tokens.data_ptr<std::int64_t>()[i] = static_cast<std::int64_t>(
        weights::synthetic::hash(99, static_cast<std::uint64_t>(i)) % static_cast<std::uint64_t>(config.vocab_size));
  quant::select(config.quantization, [&]<class Quant>() {
    const auto decoder = engine::make_decoder<Quant, attention::Flash, execution::Eager>(
        checkpoint, parallel::Rank::alone(config), device::scalar_type(config.dtype), at::kCPU);
    auto cache = decoder->make_cache(1, count);
    decoder->forward(tokens, cache, 1, &use);
  });
  return use;
}

void print_histogram(const model::ExpertUse& use, std::int64_t tokens) {
  constexpr double width = 0.25, most = 5;
  for (std::size_t layer = 0; layer < use.layers(); ++layer) {
    const auto shares = use.shares(layer);
    const auto [least, greatest] = std::ranges::minmax(shares);
    fmt::print("layer {}: {} tokens over {} experts; an expert has {:.2f} to {:.2f} of a fair share\n", layer, tokens,
               shares.size(), least, greatest);
    for (double low = 0; low < std::min(most, greatest + width); low += width) {
      const auto count = std::ranges::count_if(shares, [&](double s) { return s >= low && s < low + width; });
      fmt::print("  {:4.2f} to {:4.2f} {:4} {:*<{}}\n", low, low + width, count, "", count);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("synthetic_models", [&] {
    const std::string name = argc > 1 ? argv[1] : "synthetic:qwen3-moe-tiny";
    const std::string_view text = argc > 2 ? argv[2] : "512";
    std::int64_t tokens = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), tokens);
    if (error != std::errc{} || end != text.data() + text.size() || tokens < 0)
      fail("'{}' tokens: expected a number, 0 or more", text);
    const model::SyntheticModel model(name);
    measure_speed(model);
    if (tokens > 0 && model.config().contains("num_experts")) print_histogram(use_of(name, tokens), tokens);
    return ExitCode::ok;
  });
}
