// Quantised matrices in the checkpoints' own layouts, made on the host, with the weights they stand for.
#pragma once

#include <fpf/kernel/plan/repack.hpp>
#include <numeric>

#include "device.hpp"

namespace bench {

inline constexpr std::uint32_t gptq_v1_offset = 0x11111111u;  // added to every word of its first format's zeros

struct HostMatrix {
  Layout layout = Layout::awq;
  WeightFormat format;
  DType dtype;
  int n, k;
  std::vector<std::uint32_t> codes, zeros;
  std::vector<std::uint8_t> bytes;  // NF4 codes
  std::vector<std::byte> scales;    // as stored; NF4: absmax
  std::vector<float> map;           // NF4
  std::vector<std::int32_t> order;  // GPTQ with activation order: the column that stands k-th by group
  std::vector<std::byte> dense;     // unquantised
  std::vector<float> weights;       // [n, k], the values that the format defines
};

/// bitsandbytes' table: quantiles of a normal distribution (Dettmers et al., arXiv:2305.14314, appendix E).
inline const std::vector<float> nf4_map{-1.0f,
                                        -0.6961928009986877f,
                                        -0.5250730514526367f,
                                        -0.39491748809814453f,
                                        -0.28444138169288635f,
                                        -0.18477343022823334f,
                                        -0.09105003625154495f,
                                        0.0f,
                                        0.07958029955625534f,
                                        0.16093020141124725f,
                                        0.24611230194568634f,
                                        0.33791524171829224f,
                                        0.44070982933044434f,
                                        0.5626170039176941f,
                                        0.7229568362236023f,
                                        1.0f};

inline HostMatrix dense_matrix(Random& random, DType dtype, int n, int k) {
  HostMatrix m{Layout::awq, dense_format(), dtype, n, k, {}, {}, {}, {}, {}, {}, {}, {}};
  m.weights = random.normals(static_cast<std::size_t>(n) * static_cast<std::size_t>(k), dtype, 0.04f);
  m.dense = encode(m.weights, dtype);
  return m;
}

/// formats.md's definitions, written out element by element.
inline HostMatrix int4_matrix(Random& random, Layout layout, DType dtype, int n, int k, int group, bool permuted) {
  HostMatrix m{layout, int4_format(group, DType::float16, permuted), dtype, n, k, {}, {}, {}, {}, {}, {}, {}, {}};
  const int group_size = group == 0 ? k : group, groups = (k + group_size - 1) / group_size;
  const bool awq = layout == Layout::awq;
  const std::size_t words = static_cast<std::size_t>(n) / 8, in = static_cast<std::size_t>(k),
                    out = static_cast<std::size_t>(n);
  m.codes.resize(awq ? in * words : in / 8 * out);
  m.zeros.resize(static_cast<std::size_t>(groups) * (awq ? words : (out + 7) / 8));
  for (auto& word : m.codes) word = random.bits();
  for (auto& word : m.zeros) word = random.bits();
  std::vector<float> scale(static_cast<std::size_t>(groups) * out);
  for (float& value : scale) value = round_to(random.uniform(0.004f, 0.012f), DType::float16);
  m.scales = encode(scale, DType::float16);

  std::vector<int> group_of(in);
  for (int j = 0; j < k; ++j) group_of[static_cast<std::size_t>(j)] = j / group_size;
  if (permuted) {
    for (std::size_t j = in - 1; j > 0; --j) std::swap(group_of[j], group_of[random.bits() % (j + 1)]);
    m.order.resize(in);
    std::iota(m.order.begin(), m.order.end(), 0);
    std::stable_sort(m.order.begin(), m.order.end(), [&](int a, int b) {
      return group_of[static_cast<std::size_t>(a)] < group_of[static_cast<std::size_t>(b)];
    });
  }
  constexpr int awq_column[8] = {0, 2, 4, 6, 1, 3, 5, 7};
  int awq_nibble[8] = {};
  for (int i = 0; i < 8; ++i) awq_nibble[awq_column[i]] = i;
  m.weights.resize(out * in);
  for (std::size_t column = 0; column < out; ++column) {
    for (std::size_t j = 0; j < in; ++j) {
      const auto g = static_cast<std::size_t>(group_of[j]);
      std::uint32_t q = 0, z = 0;
      if (awq) {
        const int shift = 4 * awq_nibble[column % 8];
        q = m.codes[j * words + column / 8] >> shift & 15u;
        z = m.zeros[g * words + column / 8] >> shift & 15u;
      } else {
        q = m.codes[j / 8 * out + column] >> (4 * (j % 8)) & 15u;
        z = (m.zeros[g * ((out + 7) / 8) + column / 8] + gptq_v1_offset) >> (4 * (column % 8)) & 15u;
      }
      m.weights[column * in + j] = (static_cast<float>(q) - static_cast<float>(z)) * scale[g * out + column];
    }
  }
  return m;
}

inline HostMatrix nf4_matrix(Random& random, DType dtype, int n, int k) {
  HostMatrix m{Layout::bitsandbytes, nf4_format(), dtype, n, k, {}, {}, {}, {}, nf4_map, {}, {}, {}};
  const std::size_t count = static_cast<std::size_t>(n) * static_cast<std::size_t>(k);
  m.bytes.resize(count / 2);
  for (auto& byte : m.bytes) byte = static_cast<std::uint8_t>(random.bits());
  std::vector<float> absmax(count / 64);
  for (float& value : absmax) value = random.uniform(0.03f, 0.1f);
  m.scales = encode(absmax, DType::float32);
  m.weights.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    const int code = i % 2 == 0 ? m.bytes[i / 2] >> 4 : m.bytes[i / 2] & 15;
    m.weights[i] = round_to(nf4_map[static_cast<std::size_t>(code)] * absmax[i / 64], dtype);
  }
  return m;
}

/// The packed matrix, made on the device from the layout above as loading does it.
inline Buffer pack(Library& library, cuda::Stream stream, const HostMatrix& m) {
  if (m.format.kind == WeightFormat::Kind::dense) return Buffer(m.dense);
  Buffer packed(m.format.bytes(static_cast<std::size_t>(m.n), static_cast<std::size_t>(m.k), m.dtype));
  const bool nf4 = m.format.kind == WeightFormat::Kind::nf4;
  const Buffer codes = nf4 ? Buffer(m.bytes) : Buffer(m.codes);
  const Buffer zeros(m.zeros), scales(m.scales), map(m.map), order(m.order);
  RepackParams p{};
  p.codes = codes.at();
  p.zeros = zeros.at();
  p.scales = scales.at();
  p.map = map.at();
  p.order = m.order.empty() ? nullptr : order.at<int>();
  p.matrix = packed.at();
  p.n = p.n_total = m.n;
  p.zero_offset = m.layout == Layout::gptq ? gptq_v1_offset : 0;
  Operation(library, plan_repack_codes(m.layout, m.format, m.dtype, m.n, m.k))(stream, p);
  Operation(library, plan_repack_scales(m.layout, m.format, m.dtype, m.n, m.k))(stream, p);
  synchronise(stream);
  return packed;
}

/// y [rows, n] = x [rows, k] w^T in float64.
inline std::vector<double> product(const HostMatrix& m, const std::vector<double>& x) {
  const std::size_t k = static_cast<std::size_t>(m.k), n = static_cast<std::size_t>(m.n), rows = x.size() / k;
  std::vector<double> y(rows * n);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t i = 0; i < n; ++i) {
      double sum = 0;
      for (std::size_t j = 0; j < k; ++j) sum += x[r * k + j] * static_cast<double>(m.weights[i * k + j]);
      y[r * n + i] = sum;
    }
  return y;
}

inline std::vector<double> widened(const std::vector<float>& values) { return {values.begin(), values.end()}; }

/// RMSNorm of rows of k in float64.
inline std::vector<double> rms_norm(const std::vector<double>& x, const std::vector<float>& weight, double eps) {
  const std::size_t k = weight.size();
  std::vector<double> out(x.size());
  for (std::size_t r = 0; r < x.size() / k; ++r) {
    double squares = 0;
    for (std::size_t j = 0; j < k; ++j) squares += x[r * k + j] * x[r * k + j];
    const double inverse = 1 / std::sqrt(squares / static_cast<double>(k) + eps);
    for (std::size_t j = 0; j < k; ++j) out[r * k + j] = x[r * k + j] * inverse * static_cast<double>(weight[j]);
  }
  return out;
}

}  // namespace bench
