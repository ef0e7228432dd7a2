// execution/PORTABLE.md once more, token by token in plain scalar C++: what the vectors and kernels are held against.
#pragma once

#include <bit>
#include <cmath>
#include <fpf/core/half.hpp>
#include <fpf/evidence/digests.hpp>
#include <fpf/evidence/signals.hpp>
#include <fpf/model/weights.hpp>
#include <numeric>
#include <vector>

#include "integer_matrix.hpp"

namespace slow {

/// What is done otherwise than the definition says, to see that it shows.
struct Mutation {
  bool separate_rope = false;  // a product and a sum instead of one fused operation, in the pairs' first halves
  int moved_position = -1;     // one position whose angles are the next one's
  IntegerMutation integers;    // of products
  IntegerMutation attention;
};

inline float exponential(float x) {
  if (x < -110) x = -110;
  if (x > 90) x = 90;
  const float n = std::nearbyintf(x * 1.44269504088896341f);
  const float r = std::fma(n, 2.12194440e-4f, std::fma(n, -0.693359375f, x));
  float p = 0;
  for (const float c :
       {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
    p = p == 0 ? c : std::fma(p, r, c);
  p = std::fma(p, r * r, r) + 1.0f;
  const int whole = static_cast<int>(n), half = static_cast<int>(std::floor(whole / 2.0));
  return p * std::ldexp(1.0f, half) * std::ldexp(1.0f, whole - half);
}

inline float logarithm(float x) {
  int e = 0;
  float m = std::frexp(x, &e) * 2;  // [1, 2)
  --e;
  if (std::bit_cast<std::uint32_t>(m) >= 0x3faaaaabu) {
    m /= 2;
    ++e;
  }
  const float f = m - 1, s = f / (2 + f), z = s * s;
  float p = 0.2222222222f;
  for (const float c : {0.2857142857f, 0.4f, 0.6666666667f}) p = std::fma(p, z, c);
  const float zp = z * p, correction = s * (f - zp);
  return std::fma(static_cast<float>(e), 0.693359375f,
                  std::fma(static_cast<float>(e), -2.12194440e-4f, f - correction));
}

inline float silu(float x) { return x / (1 + exponential(-x)); }

/// sum over k of term(k), as a reduction: chains of 32, at most eight segments of whole blocks, a tree.
template <class Term>
float reduce(int count, Term term) {
  const int blocks = (count + 31) / 32, each = (blocks + 7) / 8;
  std::vector<float> segments;
  for (int b = 0; b < blocks; ++b) {
    float chain = 0;
    for (int k = 32 * b; k < std::min(count, 32 * b + 32); ++k) chain = term(k, chain);
    if (b % each == 0)
      segments.push_back(chain);
    else
      segments.back() += chain;
  }
  while (segments.size() > 1) {
    std::vector<float> pairs;
    for (std::size_t i = 0; i < segments.size(); i += 2)
      pairs.push_back(i + 1 < segments.size() ? segments[i] + segments[i + 1] : segments[i]);
    segments = pairs;
  }
  return segments.front();
}

class Model {
 public:
  using Row = std::vector<float>;

  template <class Quant>
  static Model load(const fpf::model::Checkpoint& checkpoint, fpf::DType dtype) {
    Model out;
    out.config_ = checkpoint.config();
    out.dtype_ = dtype;
    const auto& c = out.config_;
    const fpf::quant::Loader loader{checkpoint.source(), c.quantization, fpf::device::scalar_type(dtype), at::kCPU,
                                    /*keeps_values=*/true};
    out.embedding_ = out.matrix(fpf::quant::load_dense(
        loader, fpf::quant::LinearSpec::whole("model.embed_tokens", c.vocab_size, c.hidden_size)));
    for (std::int64_t i = 0; i < c.num_layers; ++i) {
      const fpf::model::Layer layer(loader, fpf::quant::scheme<Quant>(), checkpoint, fpf::parallel::Shard::whole(c), i);
      const auto wide = [&](const auto& linear) {
        Linear own;
        linear.for_each_part([&](const fpf::quant::LoadedLinear& part) {
          if (out.has_integers())
            own.parts.push_back(IntegerMatrix::of(part));
          else
            own.floats.emplace_back(out.matrix(part.dequantise(at::kFloat)), IntegerMatrix::order_of(part));
        });
        return own;
      };
      const auto mlp = [&](const auto& m) { return std::array{wide(m.gate), wide(m.up), wide(m.down)}; };
      Layer& l = out.layers_.emplace_back();
      l.input_norm = out.matrix(layer.input_norm)[0];
      l.post_norm = out.matrix(layer.post_norm)[0];
      if (layer.q_norm.defined()) l.q_norm = out.matrix(layer.q_norm)[0], l.k_norm = out.matrix(layer.k_norm)[0];
      l.qkv = wide(layer.qkv);
      if (layer.qkv.bias().defined()) l.qkv_bias = out.matrix(layer.qkv.bias())[0];
      l.o = wide(layer.o);
      if (c.is_moe()) {
        l.router = out.matrix(layer.router.dequantise(fpf::device::scalar_type(dtype)));
        for (const auto& expert : layer.experts) l.mlps.push_back(mlp(expert));
      } else {
        l.mlps.push_back(mlp(layer.mlp));
      }
    }
    out.final_norm_ = out.matrix(fpf::quant::load_vector(loader, "model.norm.weight", c.hidden_size))[0];
    out.head_ = c.tied_head ? out.embedding_
                            : out.matrix(fpf::quant::load_dense(
                                  loader, fpf::quant::LinearSpec::whole("lm_head", c.vocab_size, c.hidden_size)));
    return out;
  }

  /// The prompt, then `steps` tokens. Signals of all layers.
  fpf::evidence::Signals run(const std::vector<std::int32_t>& prompt, int steps, const Mutation& mutation = {}) {
    mutation_ = mutation;
    fpf::evidence::Signals out;
    out.prompt_tokens = static_cast<std::int64_t>(prompt.size());
    out.logprobs.k = 10;
    keys_.assign(layers_.size(), {});
    values_.assign(layers_.size(), {});
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      out.layers.push_back({static_cast<std::int64_t>(i), {dtype_, config_.hidden_size}, {dtype_, config_.kv_size()}});
      if (config_.is_moe()) out.layers.back().router.emplace().k = config_.experts_per_token;
    }
    std::int32_t token = 0;
    const int length = static_cast<int>(prompt.size());
    for (int position = 0; position < length + steps; ++position) {
      if (position < length) {
        token = prompt[static_cast<std::size_t>(position)];
      } else {
        out.token_ids.push_back(token);
      }
      const bool seen = position >= length - 2;
      token = step(token, position, mutation, seen ? &out : nullptr, position >= length);
    }
    return out;
  }

 private:
  using Matrix = std::vector<Row>;
  /// Floats, or of models of 16 bits integers, of several layers of one input.
  struct Linear {
    std::vector<std::pair<Matrix, std::vector<int>>>
        floats;  // and where the columns do not come as they are, their order
    std::vector<IntegerMatrix> parts;
  };
  struct Layer {
    Row input_norm, post_norm, q_norm, k_norm, qkv_bias;
    Linear qkv, o;
    Matrix router;
    std::vector<std::array<Linear, 3>> mlps;
  };

  bool has_integers() const { return dtype_ != fpf::DType::float32; }

  Matrix matrix(const at::Tensor& t) const {
    const at::Tensor wide = t.to(at::kFloat).contiguous();
    const std::int64_t rows = t.dim() == 1 ? 1 : t.size(0), columns = t.numel() / rows;
    Matrix out(static_cast<std::size_t>(rows));
    const float* from = wide.const_data_ptr<float>();
    for (Row& row : out) {
      row.assign(from, from + columns);
      from += columns;
    }
    return out;
  }

  /// As the cache and the recorder keep a value.
  float kept(float value) const {
    if (dtype_ == fpf::DType::bfloat16) return fpf::float32_from_bfloat16(fpf::bfloat16_from_float32(value));
    if (dtype_ == fpf::DType::float16) return fpf::float32_from_float16(fpf::float16_from_float32(value));
    return value;
  }
  void record(fpf::evidence::VectorRows& to, const Row& row) const {
    for (const float value : row) {
      const auto put = [&](auto bits) {
        const auto* bytes = reinterpret_cast<const std::byte*>(&bits);
        to.bytes.insert(to.bytes.end(), bytes, bytes + sizeof(bits));
      };
      if (dtype_ == fpf::DType::float32)
        put(value);
      else
        put(dtype_ == fpf::DType::bfloat16 ? fpf::bfloat16_from_float32(value) : fpf::float16_from_float32(value));
    }
  }

  static Row times(const Matrix& m, const Row& x) {
    Row out;
    for (const Row& w : m)
      out.push_back(reduce(static_cast<int>(x.size()), [&](int k, float sum) {
        return std::fma(x[static_cast<std::size_t>(k)], w[static_cast<std::size_t>(k)], sum);
      }));
    return out;
  }

  static Matrix in_order(const Matrix& m, const std::vector<int>& order) {
    Matrix out;
    for (const Row& from : m) {
      Row& to = out.emplace_back();
      for (const int column : order) to.push_back(from[std::size_t(column)]);
    }
    return out;
  }

  Row times(const Linear& m, const Row& x) const {
    Row out;
    for (const auto& [matrix, order] : m.floats)
      for (const float value :
           order.empty() ? times(matrix, x) : times(in_order(matrix, order), in_order({x}, order)[0]))
        out.push_back(value);
    for (const IntegerMatrix& part : m.parts)
      for (const float value : part.times(x, mutation_.integers)) out.push_back(value);
    return out;
  }

  Row norm(const Row& x, const Row& weight) const {
    const float squares = reduce(static_cast<int>(x.size()), [&](int k, float sum) {
      return std::fma(x[static_cast<std::size_t>(k)], x[static_cast<std::size_t>(k)], sum);
    });
    const float eps = float(config_.rms_norm_eps);
    const float inverse = 1 / std::sqrt(squares / float(x.size()) + eps);
    Row out = x;
    for (std::size_t i = 0; i < x.size(); ++i) out[i] = x[i] * inverse * weight[i];
    return out;
  }

  Row turned(const Row& x, int position, const Mutation& mutation) const {
    const std::size_t half = x.size() / 2;
    const int angle_of = position == mutation.moved_position ? position + 1 : position;
    Row out = x;
    for (std::size_t i = 0; i < half; ++i) {
      const long double angle =
          angle_of / std::pow(static_cast<long double>(config_.rope_theta),
                              2 * static_cast<long double>(i) / static_cast<long double>(x.size()));
      const float cos = float(std::cos(angle)), sin = float(std::sin(angle));
      const float a = x[i], b = x[half + i], other = b * sin, second = a * sin;
      const float product = a * cos;
      out[i] = mutation.separate_rope ? product - other : std::fma(a, cos, -other);
      out[half + i] = std::fma(b, cos, second);
    }
    return out;
  }

  Row attended(std::size_t layer, const Row& qkv, int position, const Mutation& mutation) {
    const auto d = static_cast<std::size_t>(config_.head_dim), heads = static_cast<std::size_t>(config_.num_heads);
    const auto kv_heads = static_cast<std::size_t>(config_.num_kv_heads);
    const auto head = [&](std::size_t h) { return Row(qkv.begin() + long(h * d), qkv.begin() + long((h + 1) * d)); };
    const Layer& l = layers_[layer];
    const auto prepared = [&](const Row& x, const Row& weight) {
      return turned(weight.empty() ? x : norm(x, weight), position, mutation);
    };
    Row k, v, out;
    for (std::size_t h = 0; h < kv_heads; ++h) {
      for (const float value : prepared(head(heads + h), l.k_norm)) k.push_back(kept(value));
      for (const float value : head(heads + kv_heads + h)) v.push_back(kept(value));
    }
    keys_[layer].push_back(k);
    values_[layer].push_back(v);
    const float scale = float(1.0 / std::sqrt(double(d)));
    for (std::size_t h = 0; h < heads; ++h) {
      const Row q = prepared(head(h), l.q_norm);
      const std::size_t first = h / (heads / kv_heads) * d;
      if (has_integers()) {
        std::vector<Row> seen_keys, seen_values;
        for (std::size_t p = 0; p <= std::size_t(position); ++p)
          for (auto [from, to] : {std::pair{&keys_, &seen_keys}, {&values_, &seen_values}}) {
            const auto begin = (*from)[layer][p].begin() + long(first);
            to->emplace_back(begin, begin + long(d));
          }
        for (const float value : slow::attended(q, seen_keys, seen_values, mutation.attention)) out.push_back(value);
        continue;
      }
      Row sums(d, 0);
      float maximum = -INFINITY, total = 0;
      for (int begin = 0; begin <= position; begin += 64) {
        const int end = std::min(position + 1, begin + 64);
        Row scores;
        for (int p = begin; p < end; ++p) {
          const Row& key = keys_[layer][std::size_t(p)];
          scores.push_back(
              reduce(int(d),
                     [&](int i, float sum) { return std::fma(q[std::size_t(i)], key[first + std::size_t(i)], sum); }) *
              scale);
        }
        const float largest = *std::max_element(scores.begin(), scores.end()), next = std::max(maximum, largest);
        float block_total = 0;
        Row block_sums(d, 0);
        for (int p = begin; p < end; ++p) {
          const float weight = exponential(scores[std::size_t(p - begin)] - largest);
          block_total += weight;
          for (std::size_t i = 0; i < d; ++i)
            block_sums[i] = std::fma(weight, values_[layer][std::size_t(p)][first + i], block_sums[i]);
        }
        const float before = exponential(maximum - next), now = exponential(largest - next);
        total = std::fma(block_total, now, total * before);
        for (std::size_t i = 0; i < d; ++i) sums[i] = std::fma(block_sums[i] + 0, now, sums[i] * before);
        maximum = next;
      }
      for (const float value : sums) out.push_back(value / total);
    }
    return out;
  }

  Row through(const std::array<Linear, 3>& mlp, const Row& x) const {
    Row gate = times(mlp[0], x);
    const Row up = times(mlp[1], x);
    for (std::size_t i = 0; i < gate.size(); ++i) gate[i] = silu(gate[i]) * up[i];
    return times(mlp[2], gate);
  }

  /// Indices by descending value, equal ones by the lower index.
  static std::vector<int> ordered(const Row& values) {
    std::vector<int> out(values.size());
    std::iota(out.begin(), out.end(), 0);
    std::stable_sort(out.begin(), out.end(),
                     [&](int a, int b) { return values[std::size_t(a)] > values[std::size_t(b)]; });
    return out;
  }

  Row experts(const Layer& l, const Row& x, fpf::evidence::RouterRows* record) const {
    const Row logits = times(l.router, x);
    const std::vector<int> order = ordered(logits);
    const auto k = std::size_t(config_.experts_per_token);
    const float largest = logits[std::size_t(order[0])];
    Row weights;
    float sum = 0;
    for (std::size_t i = 0; i < k; ++i) weights.push_back(exponential(logits[std::size_t(order[i])] - largest));
    if (config_.norm_topk_prob)
      for (const float weight : weights) sum += weight;
    else
      sum = reduce(int(logits.size()),
                   [&](int e, float total) { return total + exponential(logits[std::size_t(e)] - largest); });
    for (float& weight : weights) weight /= sum;
    if (record != nullptr) {
      for (std::size_t i = 0; i < k; ++i) {
        record->expert_ids.push_back(order[i]);
        record->weights.push_back(float(weights[i]));
      }
      record->margin.push_back(
          k < order.size() ? float(logits[std::size_t(order[k - 1])] - logits[std::size_t(order[k])]) : 0);
    }
    Row out(x.size(), 0);
    for (std::size_t e = 0; e < l.mlps.size(); ++e)
      for (std::size_t i = 0; i < k; ++i) {
        if (order[i] != int(e)) continue;
        const Row y = through(l.mlps[e], x);
        for (std::size_t j = 0; j < y.size(); ++j) out[j] = std::fma(weights[i], y[j], out[j]);
      }
    return out;
  }

  std::int32_t step(std::int32_t token, int position, const Mutation& mutation, fpf::evidence::Signals* out,
                    bool decoding) {
    Row x = embedding_[std::size_t(token)];
    const auto add = [&](const Row& y) {
      for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
    };
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const Layer& l = layers_[i];
      Row qkv = times(l.qkv, norm(x, l.input_norm));
      for (std::size_t j = 0; j < l.qkv_bias.size(); ++j) qkv[j] += l.qkv_bias[j];
      add(times(l.o, attended(i, qkv, position, mutation)));
      const Row normed = norm(x, l.post_norm);
      auto* router = out != nullptr && decoding && config_.is_moe() ? &*out->layers[i].router : nullptr;
      add(config_.is_moe() ? experts(l, normed, router) : through(l.mlps[0], normed));
      if (out == nullptr) continue;
      record(out->layers[i].hidden, x);
      record(out->layers[i].keys, keys_[i].back());
    }
    if (out == nullptr) return 0;
    const Row logits = times(head_, norm(x, final_norm_));
    const std::vector<int> order = ordered(logits);
    const float largest = logits[std::size_t(order[0])];
    const float log_sum = logarithm(reduce(
        int(logits.size()), [&](int i, float sum) { return sum + exponential(logits[std::size_t(i)] - largest); }));
    for (std::size_t i = 0; i < 10; ++i) {
      out->logprobs.ids.push_back(order[i]);
      out->logprobs.values.push_back(float(logits[std::size_t(order[i])] - largest - log_sum));
    }
    return order[0];
  }

  fpf::model::ModelConfig config_;
  fpf::DType dtype_ = fpf::DType::float32;
  Matrix embedding_, head_;
  std::vector<Layer> layers_;
  Row final_norm_;
  std::vector<Matrix> keys_, values_;
  Mutation mutation_;
};

/// Of a run by the definition.
inline fpf::evidence::Digests digests(const fpf::model::Checkpoint& checkpoint, fpf::DType dtype,
                                      const std::vector<std::int32_t>& prompt, int steps,
                                      const Mutation& mutation = {}) {
  fpf::evidence::Digests out;
  fpf::quant::select(checkpoint.config().quantization, [&]<class Quant>() {
    out = fpf::evidence::digests_of(Model::load<Quant>(checkpoint, dtype).run(prompt, steps, mutation));
  });
  return out;
}

}  // namespace slow
