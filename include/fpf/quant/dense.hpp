// Unquantised tensors from any source in the dtype the model runs in, without a copy where the file has just that.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <fpf/core/half.hpp>
#include <fpf/quant/quant_scheme.hpp>
#include <fpf/weights/gguf_blocks.hpp>

#include <vector>

namespace fpf::quant {

/// The tensor library's scalar type of a stored dtype.
inline at::ScalarType scalar_type(DType dtype) {
  switch (dtype) {
    case DType::float64: return at::kDouble;
    case DType::float32: return at::kFloat;
    case DType::float16: return at::kHalf;
    case DType::bfloat16: return at::kBFloat16;
    case DType::int64: return at::kLong;
    case DType::int32: return at::kInt;
    case DType::int16: return at::kShort;
    case DType::int8: return at::kChar;
    case DType::uint8: return at::kByte;
    case DType::boolean: return at::kBool;
  }
  fail("unknown dtype");
}

/// A view of a plain tensor as its file stores it; copied only where the file does not align it or the source makes it.
inline at::Tensor stored_tensor(const weights::TensorSource& source, const weights::StoredTensor& stored) {
  const auto type = scalar_type(stored.dtype());
  const auto address = reinterpret_cast<std::uintptr_t>(stored.data.data());
  if (stored.resident() && stored.bytes() != 0 && address % size_of(stored.dtype()) == 0)
    return at::from_blob(const_cast<std::byte*>(stored.data.data()), stored.shape, at::TensorOptions(type));
  at::Tensor copy = at::empty(stored.shape, type);
  source.read(stored, 0, {static_cast<std::byte*>(copy.data_ptr()), stored.bytes()});
  return copy;
}

namespace detail {

/// The stored row of row `row` of a layer whose heads' rows are interleaved for RoPE: (j, i) of [2, d/2] stands at (i, j).
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
  return matrix.view({heads, d / 2, 2, spec.in_features}).transpose(1, 2).reshape({spec.out_features, spec.in_features});
}

}  // namespace detail

/// `<name>.weight` of a layer, or the part that spec asks for: [out, in] in the loader's dtype. Throws Error for a
/// missing tensor, a shape other than the model's, or a type that holds no real numbers.
inline at::Tensor load_dense(const Loader& loader, const LinearSpec& spec) {
  const auto& stored = loader.source.at(spec.name + ".weight", {spec.out_features, spec.in_features});
  if (!weights::is_plain(stored.format)) return detail::from_blocks(stored, spec, loader.dtype).to(loader.device);
  const auto type = scalar_type(stored.dtype());
  if (!at::isFloatingType(type))
    fail("tensor '{}' in {} holds {}: expected floating-point weights", stored.name, stored.file, name_of(stored.dtype()));
  at::Tensor matrix = detail::unpermuted(stored_tensor(loader.source, stored), spec);
  if (!spec.is_whole()) matrix = matrix.narrow(0, spec.out.begin, spec.out.size()).narrow(1, spec.in.begin, spec.in.size());
  return matrix.to(loader.device, loader.dtype).contiguous();
}

/// A vector (a norm's weight): [size] in the loader's dtype.
inline at::Tensor load_vector(const Loader& loader, const std::string& name, std::int64_t size) {
  const auto& stored = loader.source.at(name, {size});
  return stored_tensor(loader.source, stored).to(loader.device, loader.dtype).contiguous();
}

}  // namespace fpf::quant
