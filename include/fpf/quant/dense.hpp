// Unquantised tensors from any source in the dtype the model runs in, without a copy where the file has just that.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <fpf/device/stored_tensor.hpp>
#include <fpf/quant/quant_scheme.hpp>
#include <fpf/weights/gguf_blocks.hpp>
#include <stdexcept>
#include <vector>

namespace fpf::quant {

namespace detail {

/// The stored row of row `row` of a layer whose heads' rows are interleaved for RoPE: (j, i) of [2, d/2] stands at (i,
/// j).
inline std::int64_t stored_row(const LinearSpec& spec, std::int64_t row) {
  if (spec.interleaved_heads == 0) return row;
  const std::int64_t d = spec.out_features / spec.interleaved_heads;
  const std::int64_t within = row % d, half = within / (d / 2), pair = within % (d / 2);
  return row - within + 2 * pair + half;
}

/// Dequantises a block-format matrix row by row, in parallel, rounding each value once to `dtype`.
inline at::Tensor from_blocks(const weights::StoredTensor& stored, const LinearSpec& spec, at::ScalarType dtype) {
  at::Tensor out = at::empty({spec.out.size(), spec.in.size()}, at::kFloat);
  const std::int64_t columns = spec.in_features;
  at::parallel_for(0, spec.out.size(), 16, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> row(static_cast<std::size_t>(columns));
    for (std::int64_t r = begin; r < end; ++r) {
      weights::dequantise(stored, detail::stored_row(spec, spec.out.begin + r) * columns, row);
      std::copy_n(row.data() + spec.in.begin, spec.in.size(), out.data_ptr<float>() + r * spec.in.size());
    }
  });
  return out.to(dtype);
}

inline at::Tensor unpermuted(const at::Tensor& matrix, const LinearSpec& spec) {
  if (spec.interleaved_heads == 0) return matrix;
  const std::int64_t heads = spec.interleaved_heads, d = spec.out_features / heads;
  return matrix.view({heads, d / 2, 2, spec.in_features})
      .transpose(1, 2)
      .reshape({spec.out_features, spec.in_features});
}

}  // namespace detail

/// `<name>.weight` of a layer, or the part that spec asks for: [out, in] in the loader's dtype. Throws Error for a
/// missing tensor, a shape other than the model's, or a type that holds no real numbers.
inline at::Tensor load_dense(const Loader& loader, const LinearSpec& spec) {
  const auto& stored = loader.source.at(spec.name + ".weight", {spec.out_features, spec.in_features});
  if (!weights::is_plain(stored.format))
    return device::upload(detail::from_blocks(stored, spec, loader.dtype), loader.device);
  const auto type = device::scalar_type(stored.dtype());
  if (!at::isFloatingType(type))
    fail("tensor '{}' in {} holds {}: expected floating-point weights", stored.name, stored.file,
         name_of(stored.dtype()));
  at::Tensor matrix = detail::unpermuted(device::stored_tensor(loader.source, stored, loader.device), spec);
  if (!spec.is_whole())
    matrix = matrix.narrow(0, spec.out.begin, spec.out.size()).narrow(1, spec.in.begin, spec.in.size());
  return matrix.to(loader.dtype).contiguous();
}

/// A vector (a norm's weight): [size] in the loader's dtype.
inline at::Tensor load_vector(const Loader& loader, const std::string& name, std::int64_t size) {
  const auto& stored = loader.source.at(name, {size});
  return device::stored_tensor(loader.source, stored, loader.device).to(loader.dtype).contiguous();
}

/// `<name>.bias` of a layer, or the part that spec's rows ask for: [out] in the loader's dtype. Throws Error for a
/// missing tensor or a shape other than the model's.
inline at::Tensor load_bias(const Loader& loader, const LinearSpec& spec) {
  if (spec.in != Range{0, spec.in_features})
    throw std::logic_error("a rank's share of the reduction of " + spec.name + " would add its bias once a rank");
  const at::Tensor whole = load_vector(loader, spec.name + ".bias", spec.out_features);
  LinearSpec column = spec;
  column.in_features = 1;
  return detail::unpermuted(whole.unsqueeze(1), column)
      .flatten()
      .narrow(0, spec.out.begin, spec.out.size())
      .contiguous();
}

}  // namespace fpf::quant
