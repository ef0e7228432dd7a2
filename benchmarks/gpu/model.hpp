// A model of Qwen3-30B-A3B's shape on the device, every layer with its own weights, for the engine's decode
// step.
#pragma once

#include <fpf/engine/decode_step.hpp>
#include <fpf/kernel/plan/synthetic.hpp>
#include <numeric>

#include "device.hpp"

namespace bench {

using engine::DecodeStep;
using engine::Stage;

using weights::Format;
using weights::synthetic::Recipe;

/// The shape (its config.json) and how a step is carried out.
inline StepConfig qwen3_30b(int rows, bool fused) {
  StepConfig config;
  config.dtype = DType::bfloat16;
  config.hidden = 2048;
  config.vocabulary = 151936;
  config.eps = 1e-6f;
  config.attention = {32, 4, 128, true};
  config.mlp = {2048, 768, 128, 8};
  config.rows = rows;
  config.fused = fused;
  return config;
}

/// Weights in packed form and caches that hold `context` positions a row, made where they lie.
class Model {
 public:
  Model(Library& library, cuda::Stream stream, const WeightFormat& format, const StepConfig& config, int layers,
        int context)
      : library_(library), stream_(stream), config_(config), format_(format), context_(context) {
    const AttentionShape& a = config.attention;
    const int q = a.heads * a.head_dim, qkv = q + 2 * a.kv_heads * a.head_dim, h = config.hidden;
    for (int l = 0; l < layers; ++l) {
      LayerWeights layer;
      layer.input_norm = norm(h);
      layer.post_norm = norm(h);
      layer.q_norm = norm(a.head_dim);
      layer.k_norm = norm(a.head_dim);
      layer.qkv = {packed(1, qkv, h), format, qkv, h};
      layer.o = {packed(1, h, q), format, h, q};
      layer.router = {values(std::size_t(config.mlp.experts) * h, 1 / std::sqrt(h)), dense_format(), config.mlp.experts,
                      h};
      layer.experts = experts();
      layer.gate_up = layer.down = format;
      const std::size_t cache = std::size_t(config.rows) * a.kv_heads * positions() * a.head_dim;
      const long long d = a.head_dim, head = positions() * d;
      layer.cache = {values(cache, 1), values(cache, 1), a.kv_heads * head, head, d};
      weights_.layers.push_back(layer);
    }
    const std::size_t table = std::size_t(config.vocabulary) * h;
    weights_.embedding = values(table, 1);
    weights_.final_norm = norm(h);
    weights_.head = {values(table, 2 / std::sqrt(h)), dense_format(), config.vocabulary, h};
    std::vector<float> c, s;
    for (int p = 0; p < positions(); ++p)
      for (int i = 0; i < a.head_dim / 2; ++i) {
        const double angle = p * std::pow(1e6, -2.0 * i / a.head_dim);
        c.push_back(static_cast<float>(std::cos(angle)));
        s.push_back(static_cast<float>(std::sin(angle)));
      }
    weights_.cos = keep(Buffer(c)).at<float>();
    weights_.sin = keep(Buffer(s)).at<float>();
    synchronise(stream);
  }

  const ModelWeights& weights() const { return weights_; }
  const WeightFormat& format() const { return format_; }
  int layers() const { return static_cast<int>(weights_.layers.size()); }
  int context() const { return context_; }

 private:
  int positions() const { return context_ + 64; }

  Buffer& keep(Buffer buffer) {
    buffers_.push_back(std::move(buffer));
    return buffers_.back();
  }

  void make(void* out, std::size_t bytes, Recipe recipe, Format format) {
    recipe.key = weights::synthetic::key_of(++made_, "benchmark");
    make_synthetic(library_, stream_, recipe, format, out, bytes);
  }

  void* values(std::size_t count, double deviation, double mean = 0) {
    const std::size_t bytes = count * size_of(config_.dtype);
    void* out = keep(Buffer(bytes)).at();
    make(out, bytes, Recipe::normal(mean, deviation), static_cast<Format>(config_.dtype));
    return out;
  }
  void* norm(int size) { return values(static_cast<std::size_t>(size), 0.05, 1); }

  /// `count` matrices of weights with variance 1 / k, one after the other.
  void* packed(int count, int n, int k) {
    const std::size_t each = format_.bytes(std::size_t(n), std::size_t(k), config_.dtype), all = std::size_t(count);
    std::byte* out = keep(Buffer(each * all)).at<std::byte>();
    const double deviation = 1 / std::sqrt(k);
    if (format_.kind == WeightFormat::Kind::dense) {
      make(out, each * all, Recipe::normal(0, deviation), static_cast<Format>(config_.dtype));
      return out;
    }
    make(out, each * all, Recipe::codes(), Format::uint8);
    for (std::size_t i = 0; i < all; ++i) {
      std::byte* const matrix = out + i * each;
      if (format_.kind == WeightFormat::Kind::nf4) {
        constexpr double code_rms = 0.5172;
        const std::size_t absmax = std::size_t(Nf4Layout::absmax_at(n, k)), map = std::size_t(Nf4Layout::map_at(n, k));
        make(matrix + absmax, map - absmax, Recipe::normal(deviation / code_rms, 0.1 * deviation), Format::float32);
        make(matrix + map, Nf4Layout::map_bytes, Recipe::fixed(std::as_bytes(std::span(weights::nf4_code))),
             Format::float32);
        continue;
      }
      const double step = deviation / 6.6;  // uniform codes less uniform zeros
      const Int4Layout layout{k, format_.group, 2, format_.permuted};
      make(matrix + Int4Layout::scales_at(n, k), std::size_t(n) * std::size_t(layout.scale_row()),
           Recipe::normal(step, 0.12 * step), Format::float16);
      if (format_.permuted) {
        std::vector<int> order(static_cast<std::size_t>(k));
        std::iota(order.begin(), order.end(), 0);
        std::shuffle(order.begin(), order.end(), random_);
        const auto to = matrix + Int4Layout::columns_at(n, k, layout.scale_row(), layout.zero_row());
        synchronise(stream_);
        cuda::driver().check(cuda::driver().memcpy_host_to_device(reinterpret_cast<cuda::DevicePointer>(to),
                                                                  order.data(), order.size() * 4),
                             "cuMemcpyHtoD");
      }
    }
    return out;
  }

  const Expert* experts() {
    const MoeShape& m = config_.mlp;
    const std::size_t up = format_.bytes(std::size_t(m.intermediate), std::size_t(m.hidden), config_.dtype),
                      down = format_.bytes(std::size_t(m.hidden), std::size_t(m.intermediate), config_.dtype);
    std::byte* gate_up = static_cast<std::byte*>(packed(2 * m.experts, m.intermediate, m.hidden));
    std::byte* downs = static_cast<std::byte*>(packed(m.experts, m.hidden, m.intermediate));
    std::vector<Expert> table;
    for (std::size_t e = 0; e < static_cast<std::size_t>(m.experts); ++e)
      table.push_back({gate_up + 2 * e * up, gate_up + (2 * e + 1) * up, downs + e * down});
    return keep(Buffer(table)).at<Expert>();
  }

  Library& library_;
  cuda::Stream stream_;
  StepConfig config_;
  WeightFormat format_;
  int context_;
  ModelWeights weights_;
  std::vector<Buffer> buffers_;
  std::uint64_t made_ = 0;
  std::mt19937_64 random_{1};
};

/// The engine's step over a model, with the memory it needs, at the end of the context. Every step moves on
/// by a position: begin() before the 64 beyond the context are used up.
class Step {
 public:
  Step(Library& library, cuda::Stream stream, const Model& model, StepConfig config)
      : model_(model), stream_(stream), step_(library, std::move(config), model.weights(), [this](std::size_t bytes) {
          buffers_.emplace_back(std::max<std::size_t>(bytes, 16));
          const Buffer& buffer = buffers_.back();
          cuda::driver().check(cuda::driver().memset_bytes(buffer.address(), 0, buffer.bytes()), "cuMemsetD8");
          return buffer.at();
        }) {
    begin();
  }

  /// Starts anew, other tokens in every row.
  void begin() {
    synchronise(stream_);
    std::vector<int> tokens, positions;
    for (int r = 0; r < step_.config().rows; ++r) {
      tokens.push_back(4711 + 977 * r);
      positions.push_back(model_.context());
    }
    put(step_.tokens(), tokens);
    put(step_.position(), positions);
  }

  void run(const DecodeStep::Select& select = {}) const { step_.enqueue(stream_, select); }
  const StepConfig& config() const { return step_.config(); }

  /// The step's launches in their order, without making them.
  std::vector<Stage> stages() const {
    std::vector<Stage> all;
    run([&](const Stage& stage) { return all.push_back(stage), false; });
    return all;
  }

  /// Signals of the last step.
  std::vector<std::byte> signals() const {
    synchronise(stream_);
    std::vector<std::byte> out(step_.taps().bytes());
    cuda::driver().check(cuda::driver().memcpy_device_to_host(
                             out.data(), reinterpret_cast<cuda::DevicePointer>(step_.tap_buffer()), out.size()),
                         "cuMemcpyDtoH");
    return out;
  }

  /// Different experts that the rows of the last step chose, by layer; all layers must be tapped.
  std::vector<double> experts() const {
    const auto bytes = signals();
    const engine::TapLayout& layout = step_.taps();
    const auto* chosen = layout.find(evidence::StoredSignal::router, 0);
    const std::size_t each = static_cast<std::size_t>(step_.config().rows * step_.config().mlp.top_k);
    std::vector<double> counts;
    for (int l = 0; l < model_.layers(); ++l) {
      std::vector<int> ids(each);
      std::memcpy(ids.data(), bytes.data() + layout.at(*chosen, static_cast<std::size_t>(l)), each * 4);
      std::sort(ids.begin(), ids.end());
      counts.push_back(static_cast<double>(std::unique(ids.begin(), ids.end()) - ids.begin()));
    }
    return counts;
  }

 private:
  static void put(int* to, const std::vector<int>& values) {
    cuda::driver().check(cuda::driver().memcpy_host_to_device(reinterpret_cast<cuda::DevicePointer>(to), values.data(),
                                                              values.size() * 4),
                         "cuMemcpyHtoD");
  }

  const Model& model_;
  cuda::Stream stream_;
  std::vector<Buffer> buffers_;
  DecodeStep step_;
};

}  // namespace bench
