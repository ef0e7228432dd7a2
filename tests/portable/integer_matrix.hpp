// execution/PORTABLE.md's integers in plain scalar C++: slices, groups and their chain, and a weight matrix of every
// format as integers, read one weight after another.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <fpf/quant/schemes.hpp>
#include <limits>
#include <map>
#include <numeric>
#include <vector>

namespace slow {

/// What is done otherwise than the definition says of integers, to see that it shows.
struct IntegerMutation {
  bool truncates = false;    // integers are cut off instead of rounded to nearest
  int group_end = 0;         // groups are cut at so many columns instead of 128
  bool rounds_down = false;  // units of 256 are cut off instead of rounded
  bool separate = false;     // a product and a sum instead of one fused operation
  bool loses_sign = false;   // the lower slice is one of -128..127, and the upper one does not know of it
};

/// Up to 128 values that share a unit.
struct Slices {
  std::vector<int> q;
  float unit = 0;  // NaN: no number is in it

  Slices() = default;
  explicit Slices(const std::vector<float>& x, unsigned limit = 255, const IntegerMutation& mutation = {}) {
    float most = 0;
    bool number = true;
    for (const float value : x) {
      number = number && std::isfinite(value);
      most = std::max(most, std::abs(value));
    }
    // The exponent with which the largest, rounded, stays within 32639.
    const unsigned e = std::max((std::bit_cast<std::uint32_t>(most) + 0x10100u) >> 23, 15u);
    number = number && e < limit;
    unit = number ? std::ldexp(1.0f, int(e) - 141) : std::numeric_limits<float>::quiet_NaN();
    for (const float value : x) {
      const double exact = number ? std::ldexp(double(value), 141 - int(e)) : 0;
      const int whole = int(mutation.truncates ? std::trunc(exact) : std::nearbyint(exact));
      q.push_back(mutation.loses_sign ? 256 * (whole >> 8) + std::int8_t(whole & 255) : whole);
    }
  }
};

/// A sum of products of 16-bit integers in units of 256, halves up.
inline int in_units(std::int64_t sum, const IntegerMutation& mutation = {}) {
  const std::int64_t units = mutation.rounds_down ? sum >> 8 : (sum + 128) >> 8;
  if (units != std::int32_t(units)) throw std::logic_error("an integer is beyond 32 bits");
  return int(units);
}

/// A matrix [out, in] as integers.
struct IntegerMatrix {
  struct Group {
    float scale = 0, minimum = 0;
  };
  bool sliced = false, has_minimum = false;
  std::vector<int> order;                  // which input stands at each column
  std::vector<std::vector<int>> values;    // [out][in], in that order
  std::vector<std::vector<int>> group;     // [out][in]: columns of one number share a scale
  std::vector<std::vector<Group>> groups;  // [out][group]

  std::vector<float> times(const std::vector<float>& x, const IntegerMutation& mutation = {}) const {
    const int in = int(order.size()), most = mutation.group_end > 0 ? mutation.group_end : 128;
    std::vector<Slices> blocks;
    for (int first = 0; first < in; first += most) {
      std::vector<float> picked;
      for (int k = first; k < std::min(in, first + most); ++k) picked.push_back(x[std::size_t(order[std::size_t(k)])]);
      blocks.emplace_back(picked, 255, mutation);
    }
    std::vector<float> out;
    for (std::size_t row = 0; row < values.size(); ++row) {
      float acc = 0;
      for (int begin = 0, end = 0; begin < in; begin = end) {
        const Slices& block = blocks[std::size_t(begin / most)];
        std::int64_t v = 0, sum = 0;
        for (end = begin;
             end < in && end / most == begin / most && group[row][std::size_t(end)] == group[row][std::size_t(begin)];
             ++end) {
          const int q = block.q[std::size_t(end % most)], w = values[row][std::size_t(end)];
          v += std::int64_t(q) * w;
          sum += q;
        }
        if (sliced) v = in_units(v, mutation);
        if (v != std::int32_t(v)) throw std::logic_error("a group's integer is beyond 32 bits");
        const Group& g = groups[row][std::size_t(group[row][std::size_t(begin)])];
        const float worth = float(std::int32_t(v)) * block.unit;
        const volatile float product = worth * g.scale;
        acc = mutation.separate ? acc + product : std::fma(worth, g.scale, acc);
        if (has_minimum) acc = std::fma(float(std::int32_t(sum)) * block.unit, g.minimum, acc);
      }
      out.push_back(acc);
    }
    return out;
  }

  /// Dense rows: each 128 columns share a unit.
  static IntegerMatrix of(const std::vector<std::vector<float>>& rows) {
    IntegerMatrix out = shaped(int(rows.size()), int(rows.front().size()));
    out.sliced = true;
    for (std::size_t r = 0; r < rows.size(); ++r)
      for (std::size_t first = 0; first < rows[r].size(); first += 128) {
        const std::size_t end = std::min(rows[r].size(), first + 128);
        const Slices slices({rows[r].begin() + long(first), rows[r].begin() + long(end)});
        for (std::size_t k = first; k < end; ++k) {
          out.values[r][k] = slices.q[k - first];
          out.group[r][k] = int(first / 128);
        }
        out.groups[r].push_back({slices.unit * 256, 0});
      }
    return out;
  }

  static IntegerMatrix of(const fpf::quant::AwqView& view) {
    IntegerMatrix out = shaped(int(view.out), int(view.in));
    for (std::int64_t g = 0; g < view.groups(); ++g)
      for (std::int64_t r = 0; r < view.out; ++r) out.groups[std::size_t(r)].push_back({scale(view.scales, g, r), 0});
    for (std::int64_t k = 0; k < view.in; ++k)
      for (std::int64_t r = 0; r < view.out; ++r) {
        const std::int64_t g = (view.skip + k) / view.group;
        const int zero = view.qzeros == nullptr ? 8 : code(view.qzeros[g * view.stride + r / 8], r % 8);
        out.values[std::size_t(r)][std::size_t(k)] = code(view.qweight[k * view.stride + r / 8], r % 8) - zero;
        out.group[std::size_t(r)][std::size_t(k)] = int(g);
      }
    return out;
  }

  /// Columns by (group, input), of a layer with GPTQ's desc_act; empty for all others, whose columns come as they are.
  static std::vector<int> order_of(const fpf::quant::LoadedLinear& layer) {
    return fpf::quant::visit(layer, [](const auto& weight) {
      if constexpr (requires { weight.g_idx; })
        return by_group(weight.view());
      else
        return std::vector<int>();
    });
  }

  static IntegerMatrix of(const fpf::quant::GptqView& view) {
    IntegerMatrix out = shaped(int(view.out), int(view.in));
    out.order = by_group(view);
    std::int64_t most = 0;
    for (std::int64_t k = 0; k < view.in; ++k) most = std::max(most, view.group_of(k));
    for (std::int64_t r = 0; r < view.out; ++r) {
      for (std::int64_t g = 0; g <= most; ++g) out.groups[std::size_t(r)].push_back({scale(view.scales, g, r), 0});
      for (std::int64_t k = 0; k < view.in; ++k) {
        const std::int64_t input = out.order[std::size_t(k)], g = view.group_of(input);
        const auto word = std::uint32_t(view.qweight[input / 8 * view.qweight_stride + r]);
        const int zero = int(fpf::quant::gptq_zero(view, g, r));
        out.values[std::size_t(r)][std::size_t(k)] = int(word >> (4 * (input % 8)) & 15u) - zero;
        out.group[std::size_t(r)][std::size_t(k)] = int(g);
      }
    }
    return out;
  }

  static IntegerMatrix of(const fpf::quant::Nf4View& view) {
    IntegerMatrix out = shaped(int(view.out), int(view.in));
    out.sliced = true;
    const std::int64_t length = std::gcd(view.in, view.blocksize);
    for (std::int64_t r = 0; r < view.out; ++r)
      for (std::int64_t k = 0; k < view.in; ++k) {
        const std::int64_t element = r * view.in + k;
        if (k % length == 0)
          out.groups[std::size_t(r)].push_back({view.scale(element / view.blocksize) * float(256.0 / 30523.0), 0});
        const int pair = view.codes[element / 2];
        const double value = view.quant_map[std::size_t(element % 2 == 0 ? pair / 16 : pair % 16)];
        out.values[std::size_t(r)][std::size_t(k)] = int(std::nearbyint(value * 30523));
        out.group[std::size_t(r)][std::size_t(k)] = int(k / length);
      }
    return out;
  }

  static IntegerMatrix of(const fpf::quant::GgufBlocks& blocks) {
    IntegerMatrix out = shaped(int(blocks.out()), int(blocks.in));
    out.has_minimum = blocks.format == fpf::weights::Format::q4_1;
    const bool bytes = blocks.format == fpf::weights::Format::q8_0;
    const std::size_t block_bytes = bytes ? 34 : out.has_minimum ? 20 : 18, head = out.has_minimum ? 4 : 2;
    const std::uint8_t* at = blocks.rows.const_data_ptr<std::uint8_t>();
    for (std::size_t r = 0; r < out.values.size(); ++r)
      for (std::size_t first = 0; first < out.order.size(); first += 32, at += block_bytes) {
        const auto half = [&](int i) { return fpf::float32_from_float16(std::uint16_t(at[i] | at[i + 1] << 8)); };
        out.groups[r].push_back({half(0), out.has_minimum ? half(2) : 0});
        for (std::size_t i = 0; i < 32; ++i) {
          const int byte = at[head + (bytes ? i : i % 16)];
          const int four = i < 16 ? byte % 16 : byte / 16;
          out.values[r][first + i] = bytes ? std::int8_t(byte) : out.has_minimum ? four : four - 8;
          out.group[r][first + i] = int(first / 32);
        }
      }
    return out;
  }

  static IntegerMatrix of(const fpf::quant::LoadedLinear& layer) {
    return fpf::quant::visit(layer, [](const auto& weight) {
      if constexpr (requires { weight.blocks; }) {
        if (weight.blocks) return of(*weight.blocks);
        const at::Tensor wide = weight.matrix.to(at::kFloat).contiguous();
        std::vector<std::vector<float>> rows;
        for (std::int64_t r = 0; r < wide.size(0); ++r) {
          const float* const from = wide.const_data_ptr<float>() + r * wide.size(1);
          rows.emplace_back(from, from + wide.size(1));
        }
        return of(rows);
      } else {
        return of(weight.view());
      }
    });
  }

 private:
  static std::vector<int> by_group(const fpf::quant::GptqView& view) {
    std::vector<int> out(std::size_t(view.in));
    std::iota(out.begin(), out.end(), 0);
    std::stable_sort(out.begin(), out.end(), [&](int a, int b) { return view.group_of(a) < view.group_of(b); });
    return out;
  }
  static IntegerMatrix shaped(int out_features, int in) {
    IntegerMatrix out;
    out.order.resize(std::size_t(in));
    std::iota(out.order.begin(), out.order.end(), 0);
    out.values.assign(std::size_t(out_features), std::vector<int>(std::size_t(in)));
    out.group = out.values;
    out.groups.resize(std::size_t(out_features));
    return out;
  }
  static float scale(const fpf::quant::ScaleView& scales, std::int64_t group, std::int64_t row) {
    float out = 0;
    scales.read(group, row, 1, &out);
    return out;
  }
  /// AWQ's order of eight codes in a word.
  static int code(std::int32_t word, std::int64_t column) {
    static constexpr int place[8] = {0, 4, 1, 5, 2, 6, 3, 7};
    return int(std::uint32_t(word) >> (4 * place[column]) & 15u);
  }
};

/// 2^(64 (y - 1)) and 2^x, as the page has them.
inline float exp2_of_unit(float y) {
  const float t = std::fma(y, 64.0f, 12582912.0f - 64.0f), f = std::fma(y, 64.0f, -(t - (12582912.0f - 64.0f)));
  float p = 0.009582852944731712f;
  for (const float c : {0.055906426161527634f, 0.24024099111557007f, 0.6931241750717163f, 1.0f}) p = std::fma(p, f, c);
  return std::ldexp(p, int(t - 12582912.0f));
}
inline float exp2_below(float x) {
  x = std::max(x, -120.0f);
  const float n = std::nearbyintf(x), f = x - n;
  float p = 0.001326472731307149f;
  for (const float c : {0.009671512991189957f, 0.05550733581185341f, 0.24022242426872253f, 0.6931470036506653f, 1.0f})
    p = std::fma(p, f, c);
  return std::ldexp(p, int(n));
}

/// Attention of one query over keys and values [positions][d], all of which it sees.
inline std::vector<float> attended(const std::vector<float>& query, const std::vector<std::vector<float>>& keys,
                                   const std::vector<std::vector<float>>& values,
                                   const IntegerMutation& mutation = {}) {
  const std::size_t d = query.size();
  const Slices q(query, 175, mutation);
  std::vector<Slices> k, v;
  bool number = !std::isnan(q.unit);
  for (std::size_t j = 0; j < keys.size(); ++j) {
    k.emplace_back(keys[j], 175);
    v.emplace_back(values[j]);
    number = number && !std::isnan(k.back().unit) && !std::isnan(v.back().unit);
  }
  if (!number) return std::vector<float>(d, std::numeric_limits<float>::quiet_NaN());
  const float factor = q.unit * 256 * float(std::log2(std::exp(1.0)) / std::sqrt(double(d)));
  float maximum = -INFINITY, total = 0;
  std::vector<float> sums(d, 0.0f);
  const std::size_t block = mutation.group_end > 0 ? std::size_t(mutation.group_end) : 128;
  for (std::size_t first = 0; first < keys.size(); first += block) {
    const std::size_t count = std::min(block, keys.size() - first);
    std::vector<float> scores, weights;
    float largest = 0;
    for (std::size_t j = first; j < first + count; ++j) {
      std::int64_t dot = 0;
      for (std::size_t i = 0; i < d; ++i) dot += std::int64_t(q.q[i]) * k[j].q[i];
      scores.push_back(float(in_units(dot, mutation)) * k[j].unit);
      largest = std::max(largest, v[j].unit);
    }
    const float most = *std::max_element(scores.begin(), scores.end()) * factor;
    float chains[4] = {};
    for (std::size_t j = 0; j < count; ++j) {
      const float y = std::fma(scores[j], factor * 0.015625f, 1 - most * 0.015625f);
      weights.push_back(exp2_of_unit(std::min(1.0f, std::max(0.0f, y))));
      chains[j / 2 % 4] += weights.back();
    }
    const float next = std::max(maximum, most), before = exp2_below(maximum - next), now = exp2_below(most - next);
    total = std::fma((chains[0] + chains[1]) + (chains[2] + chains[3]), now, total * before);
    maximum = next;
    std::vector<int> w;
    for (std::size_t j = 0; j < count; ++j) {
      const double exact = double(weights[j]) * (double(v[first + j].unit) / largest * 32639);
      w.push_back(int(mutation.truncates ? std::trunc(exact) : std::nearbyint(exact)));
    }
    for (std::size_t i = 0; i < d; ++i) {
      std::int64_t dot = 0;
      for (std::size_t j = 0; j < count; ++j) dot += std::int64_t(w[j]) * v[first + j].q[i];
      const float scale = now * (largest * (256.0f / 32639.0f)), old = sums[i] * before;
      const float units = float(in_units(dot, mutation));
      const volatile float product = units * scale;
      sums[i] = mutation.separate ? product + old : std::fma(units, scale, old);
    }
  }
  for (float& sum : sums) sum /= total;
  return sums;
}

}  // namespace slow
