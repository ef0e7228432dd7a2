// Packed weights as tensors: the part of a checkpoint's tensors a layer needs, and dense matrices of them.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>

#include <fpf/quant/dense.hpp>
#include <fpf/quant/int4_groups.hpp>
#include <vector>

namespace fpf::quant::detail {

/// Rows and columns of a stored matrix [rows, columns] on the loader's device: of a mapped file a view, or a copy of
/// just those elements; else made by the source.
inline at::Tensor rectangle(const Loader& loader, const weights::StoredTensor& stored, Range rows, Range columns) {
  const auto cut = [&](const at::Tensor& whole) {
    return whole.narrow(0, rows.begin, rows.size()).narrow(1, columns.begin, columns.size());
  };
  if (stored.resident()) return device::upload(cut(device::stored_tensor(loader.source, stored)), loader.device);
  if (loader.device.is_cuda()) return cut(device::stored_tensor(loader.source, stored, loader.device));
  const auto element = static_cast<std::int64_t>(size_of(stored.dtype())), width = stored.shape.at(1);
  at::Tensor out = at::empty({rows.size(), columns.size()}, device::scalar_type(stored.dtype()));
  const bool whole_rows = columns.size() == width;
  const std::int64_t pieces = whole_rows ? 1 : rows.size(), piece = whole_rows ? rows.size() * width : columns.size();
  auto* bytes = static_cast<std::byte*>(out.data_ptr());
  for (std::int64_t r = 0; r < pieces; ++r)
    loader.source.read(stored, static_cast<std::size_t>(((rows.begin + r) * width + columns.begin) * element),
                       {bytes + r * piece * element, static_cast<std::size_t>(piece * element)});
  return out;
}

/// Row r of the result is row rows[r] of a matrix.
inline at::Tensor rows_of(const at::Tensor& matrix, const std::vector<std::int64_t>& rows) {
  return matrix.index_select(0, at::tensor(rows).to(matrix.device()));
}

/// A layer stored by inputs (AWQ, GPTQ) -> [out, in] in `dtype`, the exact products rounded once. In parallel
/// over outputs, through tiles that stay in the first cache while they are transposed.
template <class View>
at::Tensor dense_from_columns(const View& view, at::ScalarType dtype) {
  constexpr std::int64_t width = 64, depth = 128;
  at::Tensor out = at::empty({view.out, view.in}, at::kFloat);
  float* const values = out.data_ptr<float>();
  at::parallel_for(0, (view.out + width - 1) / width, 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> tile(width * depth);
    for (std::int64_t first = begin * width; first < std::min(end * width, view.out); first += width) {
      const auto part = slice(view, {first, std::min(first + width, view.out)}, {0, view.in});
      for (std::int64_t k = 0; k < view.in; k += depth) {
        const auto inputs = std::min(depth, view.in - k);
        dequantise(part, k, inputs, tile.data());
        for (std::int64_t c = 0; c < part.out; ++c)
          for (std::int64_t i = 0; i < inputs; ++i)
            values[(first + c) * view.in + k + i] = tile[static_cast<std::size_t>(i * part.out + c)];
      }
    }
  });
  return out.to(dtype);
}

}  // namespace fpf::quant::detail
