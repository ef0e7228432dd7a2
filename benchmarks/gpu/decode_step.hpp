// A synthetic Qwen3-30B-A3B on the device, every layer with its own weights, and the decode step over it:
// kernel by kernel and as one captured graph.
#pragma once

#include <fpf/kernel/plan_decode.hpp>
#include <fpf/kernel/plan_linear.hpp>

#include "device.hpp"

#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace bench {

/// Random weights are made where they lie. kinds: 0 any bits, 1 fp16 scales of 2^-8..2^-7, 2 float maxima of
/// 0.03..0.06, 3 the NF4 map (about), 4 16-bit values of +-amplitude, 5 16-bit ones.
constexpr std::string_view fill_source =
    R"(// Fills `count` pieces of `words` 32-bit words, `stride` bytes apart.
struct FillParams {
  unsigned char* base;
  long long words, stride;
  float amplitude;
  unsigned seed;
  int kind, is_bf16;
};
__device__ inline unsigned mix(unsigned long long x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return unsigned((x ^ (x >> 31)) >> 16);
}
__device__ inline unsigned half_bits(float value, int is_bf16) {
  unsigned short bits;
  if (is_bf16) return __float_as_uint(value) >> 16;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}
__global__ void fill(const FillParams p) {
  unsigned* piece = reinterpret_cast<unsigned*>(p.base + p.stride * blockIdx.y);
  for (long long i = blockIdx.x * 256ll + threadIdx.x; i < p.words; i += gridDim.x * 256ll) {
    const unsigned bits = mix(((unsigned long long)p.seed << 40) + (unsigned long long)blockIdx.y * p.words + i);
    const float uniform = float(bits >> 8) * 0x1p-24f;
    unsigned word = bits;
    if (p.kind == 1) word = 0x1c001c00u | (bits & 0x03ff03ffu);
    if (p.kind == 2) word = __float_as_uint(0.03f + 0.03f * uniform);
    if (p.kind == 3) word = __float_as_uint((float(i) - 7.5f) / 7.5f);
    if (p.kind == 4) {
      const float low = p.amplitude * (float(bits & 0xffffu) * 0x1p-15f - 1), high = p.amplitude * (float(bits >> 16) * 0x1p-15f - 1);
      word = half_bits(low, p.is_bf16) | half_bits(high, p.is_bf16) << 16;
    }
    if (p.kind == 5) word = half_bits(1.0f, p.is_bf16) * 0x00010001u;
    piece[i] = word;
  }
}
)";
struct FillParams {
  void* base;
  long long words, stride;
  float amplitude;
  unsigned seed;
  int kind, is_bf16;
};

/// Dimensions of Qwen3-30B-A3B (its config.json).
struct Shape {
  int hidden = 2048, heads = 32, kv_heads = 4, head_dim = 128, vocabulary = 151936;
  MoeShape moe{2048, 768, 128, 8};
  int q_size() const { return heads * head_dim; }
  int qkv_size() const { return (heads + 2 * kv_heads) * head_dim; }
};

struct StepOptions {
  WeightFormat format = int4_format(128);
  DType dtype = DType::bfloat16;
  int layers = 48, context = 6144, splits = 33, attention_warps = 12;
  Arithmetic products = Arithmetic::tiles, experts = Arithmetic::tiles;
  Arithmetic router = Arithmetic::lanes;
  int qkv_warps = 0, o_warps = 0, gate_up_warps = 4, gate_up_tiles = 3,
      down_warps = 2;  // tiles: 0 leaves it to the plan
  bool fused = true;   // compiled: fused kernels; else separate operations rounded each
};

/// Weights, cache and buffers of a model that nobody trained.
class SyntheticModel {
 public:
  Shape shape;
  int layers, context;
  WeightFormat format;
  DType dtype;

  SyntheticModel(Library& library, cuda::Stream stream, const WeightFormat& weight_format, DType type,
                 int layer_count, int positions)
      : layers(layer_count),
        context(positions),
        format(weight_format),
        dtype(type),
        fill_(library.get("fill.cuh", "fill")),
        stream_(stream) {
    const std::size_t h = static_cast<std::size_t>(shape.hidden), element = size_of(dtype);
    const std::size_t experts = static_cast<std::size_t>(shape.moe.experts);
    for (int l = 0; l < layers; ++l) {
      Layer layer;
      layer.qkv = packed(1, shape.qkv_size(), shape.hidden);
      layer.o = packed(1, shape.hidden, shape.q_size());
      layer.router = dense(experts * h, 0.04f);
      layer.input_norm = dense(h, 0, 5);
      layer.post_norm = dense(h, 0, 5);
      layer.q_norm = dense(static_cast<std::size_t>(shape.head_dim), 0, 5);
      layer.k_norm = dense(static_cast<std::size_t>(shape.head_dim), 0, 5);
      layer.gate_up = packed(2 * shape.moe.experts, shape.moe.intermediate, shape.hidden);
      layer.down = packed(shape.moe.experts, shape.hidden, shape.moe.intermediate);
      std::vector<Expert> table;
      const std::size_t up = bytes(shape.moe.intermediate, shape.hidden),
                        down = bytes(shape.hidden, shape.moe.intermediate);
      for (std::size_t e = 0; e < experts; ++e)
        table.push_back(
            {layer.gate_up.at(2 * e * up), layer.gate_up.at((2 * e + 1) * up), layer.down.at(e * down)});
      layer.experts = Buffer(table);
      const std::size_t cache = static_cast<std::size_t>(shape.kv_heads * (context + 64) * shape.head_dim);
      layer.keys = dense(cache, 1);
      layer.values = dense(cache, 1);
      layer.logits = dense(experts, 2);  // for timing the experts alone: other ones in each layer
      all.push_back(std::move(layer));
    }
    embedding = dense(static_cast<std::size_t>(shape.vocabulary) * h, 0.5f);
    head = dense(static_cast<std::size_t>(shape.vocabulary) * h, 0.04f);
    final_norm = dense(h, 0, 5);
    const std::size_t half = static_cast<std::size_t>(shape.head_dim) / 2;
    std::vector<float> c, s;
    for (int p = 0; p < context + 64; ++p)
      for (std::size_t i = 0; i < half; ++i) {
        const double angle = p * std::pow(1e6, -static_cast<double>(i) / static_cast<double>(half));
        c.push_back(static_cast<float>(std::cos(angle)));
        s.push_back(static_cast<float>(std::sin(angle)));
      }
    cos = Buffer(c);
    sin = Buffer(s);
    synchronise(stream);
    (void)element;
  }

  struct Layer {
    Buffer qkv, o, router, input_norm, post_norm, q_norm, k_norm, gate_up, down, experts, keys, values,
        logits;
  };
  std::vector<Layer> all;
  Buffer embedding, head, final_norm, cos, sin;

  std::size_t bytes(int n, int k) const {
    return format.bytes(static_cast<std::size_t>(n), static_cast<std::size_t>(k), dtype);
  }

 private:
  void fill(void* base, std::size_t piece_bytes, std::size_t stride, int count, int kind, float amplitude) {
    const FillParams p{base,
                       static_cast<long long>(piece_bytes / 4),
                       static_cast<long long>(stride),
                       amplitude,
                       ++seed_,
                       kind,
                       dtype == DType::bfloat16};
    const auto blocks = static_cast<unsigned>(std::min<std::size_t>(2048, (piece_bytes / 4 + 255) / 256));
    fill_.launch({{blocks, static_cast<unsigned>(count), 1}, {256, 1, 1}, 0, stream_, false}, p);
  }

  Buffer dense(std::size_t count, float amplitude, int kind = 4) {
    Buffer buffer(count * size_of(dtype));
    fill(buffer.at(), buffer.bytes(), 0, 1, kind, amplitude);
    return buffer;
  }

  Buffer packed(int count, int n, int k) {
    const std::size_t each = bytes(n, k),
                      codes = static_cast<std::size_t>(n) * static_cast<std::size_t>(k) / 2;
    Buffer buffer(each * static_cast<std::size_t>(count));
    if (format.kind == WeightFormat::Kind::dense) {
      fill(buffer.at(), each, each, count, 4, 0.04f);
      return buffer;
    }
    fill(buffer.at(), codes, each, count, 0, 0);
    if (format.kind == WeightFormat::Kind::nf4) {
      fill(buffer.at(codes), each - 64 - codes, each, count, 2, 0);
      fill(buffer.at(each - 64), 64, each, count, 3, 0);
    } else {
      const std::size_t scales = static_cast<std::size_t>(n) * static_cast<std::size_t>(k / format.group) * 2;
      fill(buffer.at(codes), scales, each, count, 1, 0);
      fill(buffer.at(codes + scales), each - codes - scales, each, count, 0, 0);
    }
    return buffer;
  }

  Kernel fill_;
  cuda::Stream stream_;
  unsigned seed_ = 0;
};

/// The step's kernels over one model, each callable for one layer.
class DecodeStep {
 public:
  DecodeStep(Library& library, cuda::Stream stream, const SyntheticModel& model, const StepOptions& options)
      : model_(model), stream_(stream), options_(options) {
    const Shape& s = model.shape;
    const DType t = model.dtype;
    const bool fused = options.fused;
    const Arithmetic a = options.products, e = options.experts;
    const AttentionShape attention{s.heads, s.kv_heads,     s.head_dim,
                                   true,    options.splits, options.attention_warps};
    const MoeOptions moe{fused && e == Arithmetic::tiles,
                         !fused,
                         e,
                         options.gate_up_warps,
                         options.gate_up_tiles,
                         options.down_warps};
    embed_ = {library, plan_embed(t, s.hidden)};
    qkv_ = {library,
            plan_gemv(model.format, t, s.qkv_size(), s.hidden, {fused, false}, a, options.qkv_warps)};
    o_ = {library, plan_gemv(model.format, t, s.hidden, s.q_size(), {false, fused}, a, options.o_warps)};
    router_ = {library,
               plan_gemv(dense_format(), t, s.moe.experts, s.hidden, {fused, false}, options.router)};
    route_ = {library, plan_route(t, s.moe.experts, s.moe.top_k, true, !fused)};
    gate_up_ = {library, plan_gate_up(model.format, t, s.moe, moe)};
    down_ = {library, plan_down(model.format, t, s.moe, moe)};
    norm_ = {library, plan_rms_norm(t, s.hidden, !fused)};
    rope_ = {library, plan_rope_append(t, attention, !fused)};
    attend_ = {library, plan_attend(t, attention, fused)};
    combine_ = {library, plan_combine(t, attention)};
    head_ = {library,
             plan_head(dense_format(), t, s.vocabulary, s.hidden, fused, library.device().multiprocessors)};
    slices_ = {library, plan_log_prob_slices(t, s.vocabulary, 10)};
    merge_ = {library, plan_log_probs(10)};
    routed_ = moe.route;

    const std::size_t size = size_of(t), h = static_cast<std::size_t>(s.hidden) * size;
    x_ = Buffer(h);
    normed_ = Buffer(h);
    delta_ = Buffer(h);
    qkv_out_ = Buffer(static_cast<std::size_t>(s.qkv_size()) * size);
    q_ = Buffer(static_cast<std::size_t>(s.q_size()) * size);
    attended_ = Buffer(static_cast<std::size_t>(s.q_size()) * size);
    partial_ = Buffer(partial_bytes(attention, 1));
    stats_ = Buffer(partial_stats_bytes(attention, 1));
    router_logits_ = Buffer(static_cast<std::size_t>(s.moe.experts) * size);
    ids_ = Buffer(static_cast<std::size_t>(s.moe.top_k) * 4);
    weights_ = Buffer(static_cast<std::size_t>(s.moe.top_k) * 4);
    margin_ = Buffer(4);
    activated_ = Buffer(static_cast<std::size_t>(s.moe.top_k * s.moe.intermediate) * size);
    logits = Buffer(static_cast<std::size_t>(s.vocabulary) * size);
    candidates_ = Buffer(static_cast<std::size_t>(log_prob_blocks) * 80);
    parts_ = Buffer(static_cast<std::size_t>(log_prob_blocks) * 8);
    top_ids_ = Buffer(40);
    top_values = Buffer(40);
    token_ = Buffer(std::vector<int>{4711});
    position_ = Buffer(std::vector<int>{model.context});
  }

  /// One kernel of a layer: its name, its launch, the bytes that a launch moves.
  struct Stage {
    std::string name;
    const Operation* operation;
    std::function<void(int, bool)> launch;  // (layer, overlap)
    double bytes;
  };

  /// The layer's kernels in order. alone: for timing by itself, the experts are chosen from other logits in
  /// every layer.
  std::vector<Stage> stages(bool alone) const {
    std::vector<Stage> out;
    const auto add = [&](const char* name, const Operation& operation, auto params_of) {
      out.push_back({name, &operation,
                     [this, &operation, params_of](int layer, bool overlap) {
                       operation(stream_, params_of(layer), 1, overlap);
                     },
                     operation.plan().bytes(1, model_.context)});
    };
    const bool fused = options_.fused;
    const auto layer = [this](int l) -> const SyntheticModel::Layer& {
      return model_.all[static_cast<std::size_t>(l)];
    };
    const Shape& s = model_.shape;
    if (!fused)
      add("norm (first)", norm_, [=, this](int l) {
        return NormParams{
            x_.at(), l == 0 ? nullptr : delta_.at(), x_.at(), layer(l).input_norm.at(), normed_.at(), eps};
      });
    add(fused ? "norm + qkv" : "qkv", qkv_, [=, this](int l) {
      return GemvParams{layer(l).qkv.at(),
                        fused ? x_.at() : normed_.at(),
                        layer(l).input_norm.at(),
                        nullptr,
                        qkv_out_.at(),
                        nullptr,
                        s.qkv_size(),
                        1,
                        eps};
    });
    const auto attention = [=, this](int l) {
      AttentionParams p{};
      p.qkv = qkv_out_.at();
      p.q_norm = layer(l).q_norm.at();
      p.k_norm = layer(l).k_norm.at();
      p.cos = model_.cos.at<float>();
      p.sin = model_.sin.at<float>();
      p.position = position_.at<int>();
      const long long d = s.head_dim, stride = (model_.context + 64) * d;
      p.cache = {layer(l).keys.at(), layer(l).values.at(), s.kv_heads * stride, stride, d};
      p.q = q_.at();
      p.partial = partial_.at<float>();
      p.partial_stats = stats_.at<float>();
      p.out = attended_.at();
      p.scale = 1 / std::sqrt(static_cast<float>(s.head_dim));
      p.eps = eps;
      p.rows = 1;
      return p;
    };
    if (!fused) add("q/k norm + rope + append", rope_, attention);
    add(fused ? "q/k norm + rope + attention" : "attention", attend_, attention);
    add("combine", combine_, attention);
    add(fused ? "o + residual" : "o", o_, [=, this](int l) {
      return GemvParams{layer(l).o.at(), attended_.at(), nullptr, x_.at(), fused ? x_.at() : delta_.at(),
                        nullptr,         s.hidden,       1,       eps};
    });
    if (!fused)
      add("add + norm", norm_, [=, this](int l) {
        return NormParams{x_.at(), delta_.at(), x_.at(), layer(l).post_norm.at(), normed_.at(), eps};
      });
    add(fused ? "norm + router" : "router", router_, [=, this](int l) {
      return GemvParams{layer(l).router.at(),
                        fused ? x_.at() : normed_.at(),
                        layer(l).post_norm.at(),
                        nullptr,
                        router_logits_.at(),
                        fused ? normed_.at() : nullptr,
                        s.moe.experts,
                        1,
                        eps};
    });
    const auto logits_of = [=, this](int l) { return alone ? layer(l).logits.at() : router_logits_.at(); };
    if (!routed_)
      add("top-k", route_, [=, this](int l) {
        return RouteParams{logits_of(l), ids_.at<int>(), weights_.at<float>(), margin_.at<float>(), 1};
      });
    const auto moe = [=, this](int l) {
      return MoeParams{layer(l).experts.at<Expert>(),
                       logits_of(l),
                       ids_.at<int>(),
                       weights_.at<float>(),
                       normed_.at(),
                       activated_.at(),
                       fused ? x_.at() : nullptr,
                       fused ? x_.at() : delta_.at(),
                       ids_.at<int>(),
                       weights_.at<float>(),
                       margin_.at<float>(),
                       1};
    };
    add(routed_ ? "top-k + gate, up, SiLU" : "gate, up, SiLU", gate_up_, moe);
    add(fused ? "down + sum + residual" : "down + sum", down_, moe);
    return out;
  }

  /// The kernels around the layers.
  std::vector<Stage> ends() const {
    std::vector<Stage> out;
    const Shape& s = model_.shape;
    const bool fused = options_.fused;
    out.push_back(
        {"embedding", &embed_,
         [=, this](int, bool overlap) {
           embed_(stream_, EmbeddingParams{token_.at<int>(), model_.embedding.at(), x_.at()}, 1, overlap);
         },
         embed_.plan().bytes(1)});
    out.push_back(
        {fused ? "norm + head" : "head", &head_,
         [=, this](int, bool overlap) {
           if (!fused)
             norm_(stream_,
                   NormParams{x_.at(), delta_.at(), x_.at(), model_.final_norm.at(), normed_.at(), eps}, 1,
                   overlap);
           head_(stream_,
                 GemvParams{model_.head.at(), fused ? x_.at() : normed_.at(), model_.final_norm.at(), nullptr,
                            logits.at(), nullptr, s.vocabulary, 1, eps},
                 1, overlap);
         },
         head_.plan().bytes(1)});
    out.push_back({"log-probabilities", &slices_,
                   [=, this](int, bool overlap) {
                     const LogProbParams p{logits.at(),
                                           candidates_.at(),
                                           parts_.at<float>(),
                                           top_ids_.at<int>(),
                                           top_values.at<float>(),
                                           token_.at<int>(),
                                           nullptr,
                                           s.vocabulary};
                     slices_(stream_, p, 1, overlap);
                     merge_(stream_, p, 1, overlap);
                   },
                   slices_.plan().bytes(1) + merge_.plan().bytes(1)});
    return out;
  }

  /// A whole step. The position stays, so that steps are alike; the token goes on. skip: leaves that kernel
  /// of every layer out, to see what it costs where it stands.
  void run(bool overlap, int skip = -1) const {
    const auto layer = stages(false);
    const auto around = ends();
    around[0].launch(0, overlap);
    for (int l = 0; l < model_.layers; ++l)
      for (std::size_t i = 0; i < layer.size(); ++i)
        if (static_cast<int>(i) != skip) layer[i].launch(l, overlap);
    around[1].launch(0, overlap);
    around[2].launch(0, overlap);
  }

  /// Begins again with the first token.
  void reset() { token_.upload(std::vector<int>{4711}); }

  double bytes() const {
    double total = 0;
    for (const Stage& stage : stages(false)) total += stage.bytes * model_.layers;
    for (const Stage& stage : ends()) total += stage.bytes;
    return total;
  }

  Buffer logits, top_values;

 private:
  static constexpr float eps = 1e-6f;
  const SyntheticModel& model_;
  cuda::Stream stream_;
  StepOptions options_;
  bool routed_ = false;
  Operation embed_, qkv_, o_, router_, route_, gate_up_, down_, norm_, rope_, attend_, combine_, head_,
      slices_, merge_;
  Buffer x_, normed_, delta_, qkv_out_, q_, attended_, partial_, stats_, router_logits_, ids_, weights_,
      margin_, activated_, candidates_, parts_, top_ids_, token_, position_;
};

}  // namespace bench
