// Weight matrices on the GPU in the kernels' packed form, and back to dense ones for products with many rows.
#pragma once

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>
#ifdef FPF_WITH_CUDA
#include <c10/cuda/CUDAStream.h>
#endif

#include <fpf/kernel/library.hpp>
#include <fpf/kernel/plan_linear.hpp>
#include <fpf/quant/awq_format.hpp>
#include <fpf/quant/dense.hpp>
#include <fpf/quant/gptq_format.hpp>
#include <fpf/quant/nf4_format.hpp>

#include <algorithm>
#include <map>
#include <mutex>
#include <span>
#include <vector>

namespace fpf::quant {

/// The kernels of a GPU, built once a process.
inline kernel::Library& device_kernels(at::Device device) {
  static std::mutex mutex;
  static std::map<int, kernel::Library> libraries;
  const std::lock_guard lock(mutex);
  const int index = device.has_index() ? device.index() : 0;
  return libraries.try_emplace(index, index).first->second;
}

/// The stream on which libtorch works on that device now.
inline kernel::cuda::Stream current_stream([[maybe_unused]] at::Device device) {
#ifdef FPF_WITH_CUDA
  return c10::cuda::getCurrentCUDAStream(device.index()).stream();
#else
  fail("this libtorch is built without CUDA");
#endif
}

/// The dtype of fpf's own that a tensor library's scalar type is.
inline DType dtype_of(at::ScalarType type) {
  for (const DType dtype : {DType::float32, DType::float16, DType::bfloat16})
    if (scalar_type(dtype) == type) return dtype;
  fail("activations must be float32, float16 or bfloat16, not {}", c10::toString(type));
}

/// A packed matrix, or several stacked along their out features. `n` rows of `k` columns.
struct DeviceMatrix {
  at::Tensor bytes;  // [packed bytes] uint8; [n, k] in the activations' dtype when dense
  kernel::WeightFormat format;
  std::int64_t n = 0, k = 0;

  kernel::Matrix matrix() const {
    return {bytes.const_data_ptr(), format, static_cast<int>(n), static_cast<int>(k)};
  }

  /// [n, k] in `dtype`, each value rounded once.
  at::Tensor dense(at::ScalarType dtype) const {
    if (format.kind == kernel::WeightFormat::Kind::dense) return bytes;
    at::Tensor out = at::empty({n, k}, bytes.options().dtype(dtype));
    dense_into(out);
    return out;
  }

  /// The same into a contiguous tensor of that shape.
  void dense_into(at::Tensor& out) const {
    if (format.kind == kernel::WeightFormat::Kind::dense) {
      out.copy_(bytes);
      return;
    }
    const auto plan = kernel::plan_dequantise(format, dtype_of(out.scalar_type()), static_cast<int>(n), static_cast<int>(k));
    const kernel::Operation operation(device_kernels(out.device()), plan);
    operation(current_stream(out.device()), kernel::DequantiseParams{bytes.const_data_ptr(), out.data_ptr(), static_cast<int>(n)});
  }
};

namespace detail {

/// A contiguous host array of 32-bit words or scales [rows, columns], of which a view may use a part, on the device.
inline at::Tensor uploaded(const void* data, std::int64_t rows, std::int64_t columns, std::int64_t stride, at::ScalarType type,
                           at::Device device) {
  return at::from_blob(const_cast<void*>(data), {rows, columns}, {stride, 1}, at::TensorOptions(type)).to(device).contiguous();
}

/// One matrix of a stack: its tensors in the checkpoint's layout, on the device.
struct Part {
  std::int64_t n = 0;
  at::Tensor codes{}, zeros{}, scales{}, map{}, order{};
  std::uint32_t zero_offset = 0;
};

inline DeviceMatrix packed(kernel::Layout layout, kernel::WeightFormat format, std::int64_t k, const std::vector<Part>& parts,
                           DType activations, at::Device device) {
  DeviceMatrix out{{}, format, 0, k};
  for (const Part& part : parts) out.n += part.n;
  const auto bytes = format.bytes(static_cast<std::size_t>(out.n), static_cast<std::size_t>(k), activations);
  out.bytes = at::empty({static_cast<std::int64_t>(bytes)}, at::TensorOptions(at::kByte).device(device));
  kernel::Library& kernels = device_kernels(device);
  const auto stream = current_stream(device);
  const auto data = [](const at::Tensor& t) -> const void* { return t.defined() ? t.const_data_ptr() : nullptr; };
  int first_row = 0;
  for (const Part& part : parts) {
    const kernel::RepackParams params{data(part.codes),     data(part.zeros),
                                      data(part.scales),    data(part.map),
                                      static_cast<const int*>(data(part.order)),
                                      out.bytes.data_ptr(), static_cast<int>(part.n),
                                      static_cast<int>(out.n), first_row,
                                      part.zero_offset};
    const int n = static_cast<int>(part.n), columns = static_cast<int>(k);
    kernel::Operation(kernels, kernel::plan_repack_codes(layout, format, activations, n, columns))(stream, params);
    kernel::Operation(kernels, kernel::plan_repack_scales(layout, format, activations, n, columns))(stream, params);
    first_row += n;
  }
  return out;
}

}  // namespace detail

/// Matrices [n_i, k] in the activations' dtype, stacked.
inline DeviceMatrix pack(const std::vector<at::Tensor>& matrices, at::ScalarType dtype, at::Device device) {
  std::vector<at::Tensor> on_device;
  for (const at::Tensor& matrix : matrices) on_device.push_back(matrix.to(device, dtype).contiguous());
  at::Tensor stacked = on_device.size() == 1 ? on_device.front() : at::cat(on_device, 0);
  const std::int64_t n = stacked.size(0), k = stacked.size(1);
  return {std::move(stacked), kernel::dense_format(), n, k};
}

/// AWQ layers of one input, stacked. Groups must begin with the rectangle.
inline DeviceMatrix pack(const std::vector<AwqView>& views, at::ScalarType dtype, at::Device device) {
  const AwqView& first = views.front();
  std::vector<detail::Part> parts;
  for (const AwqView& view : views) {
    if (view.skip != 0) fail("an AWQ shard must begin with a group of inputs to run on a GPU");
    detail::Part part{view.out, detail::uploaded(view.qweight, view.in, view.out / 8, view.stride, at::kInt, device)};
    if (view.qzeros != nullptr)
      part.zeros = detail::uploaded(view.qzeros, view.groups(), view.out / 8, view.stride, at::kInt, device);
    part.scales = detail::uploaded(view.scales.data, view.groups(), view.out, view.scales.stride,
                                   scalar_type(view.scales.dtype), device);
    parts.push_back(std::move(part));
  }
  const auto format = kernel::int4_format(static_cast<int>(first.group), first.scales.dtype);
  return detail::packed(kernel::Layout::awq, format, first.in, parts, dtype_of(dtype), device);
}

/// GPTQ layers of one input, stacked. Layers whose inputs are shuffled differently cannot share a matrix, and groups
/// must have one length.
inline DeviceMatrix pack(const std::vector<GptqView>& views, at::ScalarType dtype, at::Device device) {
  const GptqView& first = views.front();
  const std::span<const std::int32_t> groups(first.g_idx, static_cast<std::size_t>(first.in));
  const std::vector<std::int32_t> columns = inputs_by_group(first);
  const bool permuted = !std::ranges::is_sorted(columns);
  at::Tensor order;
  if (permuted) order = detail::uploaded(columns.data(), 1, first.in, first.in, at::kInt, device);
  std::vector<detail::Part> parts;
  for (const GptqView& view : views) {
    if (!std::equal(groups.begin(), groups.end(), view.g_idx))
      fail("layers that share an input have different g_idx: they cannot be stacked on a GPU");
    if (view.first_column != 0) fail("a GPTQ shard's zeros must begin with a word to run on a GPU");
    detail::Part part{view.out, detail::uploaded(view.qweight, (view.in + 7) / 8, view.out, view.qweight_stride, at::kInt, device)};
    part.zeros = detail::uploaded(view.qzeros, view.groups, (view.out + 7) / 8, view.qzeros_stride, at::kInt, device);
    part.scales = detail::uploaded(view.scales.data, view.groups, view.out, view.scales.stride,
                                   scalar_type(view.scales.dtype), device);
    part.order = order;
    part.zero_offset = view.zero_offset;
    parts.push_back(std::move(part));
  }
  const auto format = kernel::int4_format(static_cast<int>(first.in / first.groups), first.scales.dtype, permuted);
  return detail::packed(kernel::Layout::gptq, format, first.in, parts, dtype_of(dtype), device);
}

/// NF4 layers of one input, stacked; nested maxima are expanded as the format says.
inline DeviceMatrix pack(const std::vector<Nf4View>& views, at::ScalarType dtype, at::Device device) {
  const Nf4View& first = views.front();
  std::vector<detail::Part> parts;
  for (const Nf4View& view : views) {
    if (view.blocksize != 64 || view.in % 64 != 0)
      fail("an NF4 layer with {} inputs and blocks of {}: a GPU needs blocks of 64 that end with the rows", view.in, view.blocksize);
    if (!std::ranges::equal(view.quant_map, first.quant_map)) fail("layers that share an input have different NF4 maps");
    detail::Part part{view.out, detail::uploaded(view.codes, 1, view.elements() / 2, view.elements() / 2, at::kByte, device)};
    at::Tensor absmax = at::empty({view.blocks()}, at::kFloat);
    for (std::int64_t block = 0; block < view.blocks(); ++block) absmax.data_ptr<float>()[block] = view.scale(block);
    part.scales = absmax.to(device);
    part.map = detail::uploaded(view.quant_map.data(), 1, 16, 16, at::kFloat, device);
    parts.push_back(std::move(part));
  }
  return detail::packed(kernel::Layout::bitsandbytes, kernel::nf4_format(), first.in, parts, dtype_of(dtype), device);
}

}  // namespace fpf::quant
