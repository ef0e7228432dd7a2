// Stored tensors as libtorch's: views of the file on the CPU; copied to a GPU, or made there.
#pragma once

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <fpf/device/dtype.hpp>
#include <fpf/device/kernels.hpp>
#include <fpf/kernel/plan/synthetic.hpp>
#include <fpf/weights/tensor_source.hpp>

namespace fpf::device {

/// A plain tensor in the dtype it is stored in: a view of its file, copied only where the file does not align it or the
/// source makes it.
inline at::Tensor stored_tensor(const weights::TensorSource& source, const weights::StoredTensor& stored) {
  const auto type = scalar_type(stored.dtype());
  const auto address = reinterpret_cast<std::uintptr_t>(stored.data.data());
  if (stored.resident() && stored.bytes() != 0 && address % size_of(stored.dtype()) == 0)
    return at::from_blob(const_cast<std::byte*>(stored.data.data()), stored.shape, at::TensorOptions(type));
  at::Tensor copy = at::empty(stored.shape, type);
  source.read(stored, 0, {static_cast<std::byte*>(copy.data_ptr()), stored.bytes()});
  return copy;
}

/// A tensor of the host on `device`, contiguous; what is there already stays. Through pinned memory, which libtorch
/// keeps for the next one, so that copying out of a file's pages and over the bus overlap.
inline at::Tensor upload(const at::Tensor& host, at::Device device) {
  constexpr std::size_t most_pinned = 64 << 20;  // of larger ones the copy is the smaller part
  if (device.is_cpu() || host.is_cuda()) return host;
  if (host.nbytes() > most_pinned) return host.contiguous().to(device);
  at::Tensor staged = at::empty(host.sizes(), host.options().pinned_memory(true));
  staged.copy_(host);
  return staged.to(device, host.scalar_type(), /*non_blocking=*/true);
}

/// stored_tensor() on `device`. A synthetic one is made there: the same bytes.
inline at::Tensor stored_tensor(const weights::TensorSource& source, const weights::StoredTensor& stored,
                                at::Device device) {
  const auto* recipe = device.is_cuda() && !stored.resident() ? source.recipe(stored) : nullptr;
  if (recipe == nullptr) return upload(stored_tensor(source, stored), device);
  at::Tensor made = at::empty(stored.shape, at::TensorOptions(scalar_type(stored.dtype())).device(device));
  kernel::make_synthetic(kernels(device), current_stream(device), *recipe, stored.format, made.data_ptr(),
                         stored.bytes());
  return made;
}

}  // namespace fpf::device
