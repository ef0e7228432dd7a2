// Weight matrices on the GPU in the kernels' packed form, and back to dense ones for products with many rows.
#pragma once

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <fpf/device/dtype.hpp>
#include <fpf/device/kernels.hpp>
#include <fpf/device/stored_tensor.hpp>
#include <fpf/kernel/plan/repack.hpp>
#include <vector>

namespace fpf::quant {

/// A packed matrix, or several stacked along their out features. `n` rows of `k` columns.
struct PackedMatrix {
  at::Tensor bytes;  // [packed bytes] uint8; [n, k] in the activations' dtype when dense
  kernel::WeightFormat format;
  std::int64_t n = 0, k = 0;

  kernel::Matrix matrix() const { return {bytes.const_data_ptr(), format, static_cast<int>(n), static_cast<int>(k)}; }

  /// [n, k] in `dtype`, each value rounded once.
  at::Tensor dense(at::ScalarType dtype) const {
    if (format.is_dense()) return bytes;
    at::Tensor out = at::empty({n, k}, bytes.options().dtype(dtype));
    dense_into(out);
    return out;
  }

  /// The same into a contiguous tensor of that shape.
  void dense_into(at::Tensor& out) const {
    if (format.is_dense()) {
      out.copy_(bytes);
      return;
    }
    const auto plan =
        kernel::plan_dequantise(format, device::dtype_of(out.scalar_type()), static_cast<int>(n), static_cast<int>(k));
    const kernel::Operation operation(device::kernels(out.device()), plan);
    operation(device::current_stream(out.device()),
              kernel::DequantiseParams{bytes.const_data_ptr(), out.data_ptr(), static_cast<int>(n)});
  }
};

/// One of the layers that become a matrix: its tensors in the checkpoint's layout, contiguous and on the GPU.
struct PackedPart {
  std::int64_t n = 0;                     // out features
  at::Tensor codes{}, zeros{}, scales{};  // zeros: undefined where the format has none
  at::Tensor map{};                       // [16] float32: NF4's values
  at::Tensor order{};                     // [k] int32: GPTQ's inputs by group, where they do not ascend
  std::uint32_t zero_offset = 0;          // added to every word of zeros
};

/// Layers of one input, `k` features, stacked.
inline PackedMatrix pack(kernel::Layout layout, kernel::WeightFormat format, std::int64_t k,
                         const std::vector<PackedPart>& parts, at::ScalarType dtype) {
  const at::Device device = parts.front().codes.device();
  const DType activations = device::dtype_of(dtype);
  PackedMatrix out{{}, format, 0, k};
  for (const PackedPart& part : parts) out.n += part.n;
  const auto bytes = format.bytes(static_cast<std::size_t>(out.n), static_cast<std::size_t>(k), activations);
  out.bytes = at::empty({static_cast<std::int64_t>(bytes)}, at::TensorOptions(at::kByte).device(device));
  kernel::Library& kernels = device::kernels(device);
  const auto stream = device::current_stream(device);
  const auto data = [](const at::Tensor& t) -> const void* { return t.defined() ? t.const_data_ptr() : nullptr; };
  int first_row = 0;
  for (const PackedPart& part : parts) {
    const int n = static_cast<int>(part.n), columns = static_cast<int>(k);
    const kernel::RepackParams params{data(part.codes),
                                      data(part.zeros),
                                      data(part.scales),
                                      data(part.map),
                                      static_cast<const int*>(data(part.order)),
                                      out.bytes.data_ptr(),
                                      n,
                                      static_cast<int>(out.n),
                                      first_row,
                                      part.zero_offset};
    kernel::Operation(kernels, kernel::plan_repack_codes(layout, format, activations, n, columns))(stream, params);
    kernel::Operation(kernels, kernel::plan_repack_scales(layout, format, activations, n, columns))(stream, params);
    first_row += n;
  }
  return out;
}

/// Matrices [n_i, k] on the GPU in the activations' dtype, stacked.
inline PackedMatrix pack(const std::vector<at::Tensor>& matrices) {
  at::Tensor stacked = matrices.size() == 1 ? matrices.front().contiguous() : at::cat(matrices, 0);
  const std::int64_t n = stacked.size(0), k = stacked.size(1);
  return {std::move(stacked), kernel::dense_format(), n, k};
}

}  // namespace fpf::quant
