// Weight matrices as the portable execution reads them on a CPU: sixteen output rows beside each other, one column
// after another, in the type or the 4-bit codes that they are stored in.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <fpf/device/dtype.hpp>
#include <fpf/portable/loops.hpp>
#include <vector>

namespace fpf::portable {

/// How many columns of a reduction over k make a segment.
inline std::int64_t segment_columns(std::int64_t k) {
  return std::max(1, segment_blocks(blocks_of(static_cast<int>(k)))) * block;
}

/// A matrix [n, k] in panels of sixteen rows; rows past n are zeros. The columns stand in the order in which products
/// add them up.
///   dense   T [panels, k, 16]
///   codes   uint8 [panels, k, 8]: byte i has the codes of rows i (low half) and i + 8; float32 scales [panels, groups,
///           16]; int4: uint8 zeros [panels, groups, 16]; else a map of sixteen values
struct Panels {
  enum class Kind : std::uint8_t { dense, int4, map } kind = Kind::dense;
  at::ScalarType dtype = at::kFloat;  // dense: float32, bfloat16 or float16
  std::int64_t n = 0, k = 0;
  std::int64_t segment = 0;               // columns of a segment; of a rank's share, the whole matrix's
  at::Tensor values;                      // dense values, or codes
  at::Tensor scales, zeros;               // float32, uint8
  std::array<float, 16> map{};            // map: what the codes stand for
  std::vector<std::int64_t> group_begin;  // [groups + 1]: the columns of each group
  std::vector<std::int32_t> order;        // [k]: which input stands at each column; empty: as they come

  std::int64_t panels() const { return (n + lanes - 1) / lanes; }
  std::int64_t groups() const { return static_cast<std::int64_t>(group_begin.size()) - 1; }
  std::size_t bytes() const {
    return values.nbytes() + (scales.defined() ? scales.nbytes() : 0) + (zeros.defined() ? zeros.nbytes() : 0);
  }

  /// Columns [first, first + count) of a panel in float32, [count, 16]: in `scratch` or, where they are so already, the
  /// matrix's own. `group` is where the last call ended, or 0.
  const float* columns(std::int64_t panel, std::int64_t first, std::int64_t count, std::int64_t& group,
                       std::vector<float>& scratch) const {
    const Loops& loop = loops();
    const std::int64_t at = (panel * k + first) * lanes;
    if (kind == Kind::dense && dtype == at::kFloat) return values.const_data_ptr<float>() + at;
    scratch.resize(static_cast<std::size_t>(count * lanes));
    if (kind == Kind::dense) {
      const auto* from = static_cast<const std::uint16_t*>(values.const_data_ptr()) + at;
      (dtype == at::kHalf ? loop.widen_float16 : loop.widen_bfloat16)(from, scratch.data(), count * lanes);
      return scratch.data();
    }
    const std::uint8_t* const codes = values.const_data_ptr<std::uint8_t>() + panel * k * 8;
    for (std::int64_t column = first; column < first + count;) {
      while (group_begin[static_cast<std::size_t>(group) + 1] <= column) ++group;
      const std::int64_t end = std::min(first + count, group_begin[static_cast<std::size_t>(group) + 1]);
      const auto length = static_cast<int>(end - column);
      const std::int64_t side = (panel * groups() + group) * lanes;
      const float* const scale = scales.const_data_ptr<float>() + side;
      float* const to = scratch.data() + (column - first) * lanes;
      if (kind == Kind::int4)
        loop.unpack_int4(codes + column * 8, scale, zeros.const_data_ptr<std::uint8_t>() + side, length, to);
      else
        loop.unpack_map(codes + column * 8, scale, map.data(), length, to);
      column = end;
    }
    return scratch.data();
  }
};

/// Contiguous [n, k] float32, bfloat16 or float16 -> panels.
inline Panels dense_panels(const at::Tensor& matrix) {
  Panels out;
  out.dtype = matrix.scalar_type();
  out.n = matrix.size(0);
  out.k = matrix.size(1);
  out.segment = segment_columns(out.k);
  out.values = at::empty({out.panels(), out.k, lanes}, matrix.options());
  const at::Tensor rows = matrix.contiguous();
  const auto pack = [&]<class T>(const T* from, T* to) {
    at::parallel_for(0, out.panels(), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t panel = begin; panel < end; ++panel) {
        T* const panel_to = to + panel * out.k * lanes;
        const std::int64_t count = std::min<std::int64_t>(lanes, out.n - panel * lanes);
        for (std::int64_t first = 0; first < out.k; first += 64)
          for (std::int64_t row = 0; row < lanes; ++row)
            for (std::int64_t column = first; column < std::min(first + 64, out.k); ++column)
              panel_to[column * lanes + row] = row < count ? from[(panel * lanes + row) * out.k + column] : T{};
      }
    });
  };
  if (size_of(device::dtype_of(out.dtype)) == 4)
    pack(rows.const_data_ptr<float>(), out.values.data_ptr<float>());
  else
    pack(static_cast<const std::uint16_t*>(rows.const_data_ptr()), static_cast<std::uint16_t*>(out.values.data_ptr()));
  return out;
}

/// A matrix of 4-bit codes [n, k], not filled yet; group_begin and order are set, and so is the kind.
inline Panels code_panels(Panels::Kind kind, std::int64_t n, std::int64_t k, std::vector<std::int64_t> group_begin) {
  Panels out;
  out.kind = kind;
  out.n = n;
  out.k = k;
  out.segment = segment_columns(k);
  out.group_begin = std::move(group_begin);
  out.values = at::empty({out.panels(), k, 8}, at::kByte);
  out.scales = at::empty({out.panels(), out.groups(), lanes}, at::kFloat);
  if (kind == Panels::Kind::int4) out.zeros = at::empty({out.panels(), out.groups(), lanes}, at::kByte);
  return out;
}

/// Groups of `length` columns that follow one another.
inline std::vector<std::int64_t> even_groups(std::int64_t k, std::int64_t length) {
  std::vector<std::int64_t> out;
  for (std::int64_t at = 0; at < k; at += length) out.push_back(at);
  out.push_back(k);
  return out;
}

/// Sixteen codes of one column as panels keep them.
inline void put_codes(const std::uint8_t (&codes)[lanes], std::uint8_t* to) {
  for (int i = 0; i < 8; ++i) to[i] = static_cast<std::uint8_t>(codes[i] | codes[i + 8] << 4);
}

}  // namespace fpf::portable
