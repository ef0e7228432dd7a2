// Random matrices of every weight format twice: as the GPU's kernels read them and as the CPU's loops do. Numbers whose
// bits must be the same.
#pragma once

#include <boost/test/unit_test.hpp>
#include <fpf/portable/panels.hpp>
#include <fpf/portable/products.hpp>
#include <fpf/weights/nf4_tables.hpp>
#include <random>

#include "emulated/portable/gemm.cuh"

namespace emulated_matrices {

using namespace fpf;
using namespace fpf::kernel;

inline std::mt19937 random_bits(1);  // NOLINT: the same every time

inline float number(float scale = 1.0f) { return (static_cast<float>(random_bits() >> 8) / 8388608.0f - 1.0f) * scale; }
inline std::vector<float> numbers(std::size_t count, float scale = 1.0f) {
  std::vector<float> out(count);
  for (float& value : out) value = number(scale);
  return out;
}

/// A matrix as the GPU's kernels and as the CPU's loops read it.
struct Both {
  std::vector<u8> packed;
  portable::Panels panels;
};

inline void put(std::vector<u8>& to, const void* from, std::size_t bytes) {
  to.insert(to.end(), static_cast<const u8*>(from), static_cast<const u8*>(from) + bytes);
  to.resize((to.size() + 15) / 16 * 16);
}

/// four_bits.cuh's words of 4-bit codes [n, k].
inline std::vector<u32> words_of(const std::vector<u8>& codes) {
  std::vector<u32> words(codes.size() / 8);
  for (std::size_t i = 0; i < codes.size(); ++i) {
    const unsigned c = i % 8, nibble = c % 2 == 0 ? c / 2 : 4 + c / 2;
    words[i / 8] |= std::rotl(u32(codes[i]), static_cast<int>(4 * nibble + 3));
  }
  return words;
}

inline std::vector<u8> random_codes(int n, int k, portable::Panels& panels) {
  std::vector<u8> codes(static_cast<std::size_t>(n * k));
  for (u8& code : codes) code = random_bits() & 15u;
  for (std::int64_t panel = 0; panel < panels.panels(); ++panel)
    portable::put_codes(panels, panel, [&](std::int64_t column, std::uint8_t(&sixteen)[16]) {
      for (std::int64_t row = 0; row < 16 && panel * 16 + row < n; ++row)
        sixteen[row] = codes[static_cast<std::size_t>((panel * 16 + row) * k + column)];
    });
  return codes;
}

/// For chains, which are all that the kernels have.
inline portable::Panels chain_panels(portable::Panels::Kind kind, int n, int k, int group) {
  constexpr auto chains = portable::Arithmetic::chains;
  return portable::code_panels(kind, chains, n, portable::Columns(chains, portable::even_ends(k, group)));
}

template <int K, int Group>
Both int4_matrix(int n) {
  constexpr int groups = K / Group;
  Both out;
  out.panels = chain_panels(portable::Panels::Kind::int4, n, K, Group);
  const std::vector<u32> words = words_of(random_codes(n, K, out.panels));
  std::vector<u16> scales;
  std::vector<u32> zeros(static_cast<std::size_t>(n * ((groups + 7) / 8)));
  for (int row = 0; row < n; ++row)
    for (int g = 0; g < groups; ++g) {
      scales.push_back(float16_from_float32(0.01f + number(0.005f)));
      const u32 zero = random_bits() & 15u;
      zeros[static_cast<std::size_t>(row * ((groups + 7) / 8) + g / 8)] |= zero << (4 * (g % 8));
      out.panels.scales_of(row / 16, g)[row % 16] = float32_from_float16(scales.back());
      out.panels.zeros_of(row / 16, g)[row % 16] = static_cast<std::uint8_t>(zero);
    }
  put(out.packed, words.data(), words.size() * 4);
  put(out.packed, scales.data(), scales.size() * 2);
  put(out.packed, zeros.data(), zeros.size() * 4);
  return out;
}

template <int K>
Both nf4_matrix(int n) {
  Both out;
  out.panels = chain_panels(portable::Panels::Kind::map, n, K, 64);
  out.panels.map = weights::nf4_code;
  const std::vector<u32> words = words_of(random_codes(n, K, out.panels));
  const std::vector<float> absmax = numbers(static_cast<std::size_t>(n * K / 64), 0.1f);
  for (int row = 0; row < n; ++row)
    for (int g = 0; g < K / 64; ++g)
      out.panels.scales_of(row / 16, g)[row % 16] = absmax[static_cast<std::size_t>(row * (K / 64) + g)];
  put(out.packed, words.data(), words.size() * 4);
  put(out.packed, absmax.data(), absmax.size() * 4);
  put(out.packed, weights::nf4_code.data(), 64);
  return out;
}

template <int K>
Both dense_matrix(int n) {
  Both out;
  at::Tensor matrix = at::empty({n, K}, at::kFloat);
  for (std::int64_t i = 0; i < matrix.numel(); ++i) matrix.data_ptr<float>()[i] = number(0.1f);
  const at::Tensor stored = portable::narrowed(matrix, at::kBFloat16);
  put(out.packed, stored.const_data_ptr(), stored.nbytes());
  out.panels = portable::dense_panels(stored);
  return out;
}

inline std::vector<float> by_panels(const std::vector<float>& x, int rows, const portable::Panels& panels) {
  std::vector<float> out(static_cast<std::size_t>(rows * panels.n));
  const portable::Inputs inputs(x.data(), rows, panels.k);
  inputs.product(panels, out.data(), panels.n);
  return out;
}

inline void check_bits(const std::vector<float>& found, const std::vector<float>& wanted) {
  BOOST_REQUIRE_EQUAL(found.size(), wanted.size());
  std::size_t different = 0, first = 0;
  for (std::size_t i = found.size(); i-- > 0;)
    if (std::bit_cast<u32>(found[i]) != std::bit_cast<u32>(wanted[i])) {
      ++different;
      first = i;
    }
  BOOST_TEST(different == 0u, different << " of " << found.size() << " differ, first at " << first << ": "
                                        << found[first] << " and " << wanted[first]);
}

}  // namespace emulated_matrices
