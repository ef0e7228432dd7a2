// Synthetic tensors on a GPU: which kernel makes what a recipe describes.
#pragma once

#include <fpf/kernel/plan/plan.hpp>
#include <fpf/weights/synthetic_tensor.hpp>

namespace fpf::kernel {

/// The kernel for all kinds of recipe but `fixed`, whose bytes are given. SyntheticParams.
/// Throws Error for floats in another format than float32, float16 or bfloat16.
inline Plan plan_synthetic(weights::synthetic::Kind kind, weights::Format format, std::size_t bytes) {
  using weights::synthetic::Kind;
  std::string made = kind == Kind::ramp ? "SyntheticRamp" : "SyntheticCodes";
  if (kind == Kind::floats) {
    if (!weights::is_plain(format)) fail("synthetic values are not made as {}", weights::name_of(format));
    made = fmt::format("SyntheticFloats<{}>", device_type(static_cast<DType>(format)));
  }
  Plan plan = plan_of("weights/synthetic.cuh", "make_synthetic", {{"Made", "fpf::kernel::" + made}});
  plan.grid.x = static_cast<unsigned>(std::clamp<std::size_t>(bytes / (threads_of::synthetic * 8), 1, 2048));
  plan.block.x = threads_of::synthetic;
  plan.fixed_bytes = static_cast<double>(bytes);
  return plan;
}

/// The first `bytes` bytes of the tensor that `recipe` describes -> `out`, on the device and aligned to 8:
/// what weights::synthetic::generate() makes on the host.
inline void make_synthetic(Library& library, cuda::Stream stream, const weights::synthetic::Recipe& recipe,
                           weights::Format format, void* out, std::size_t bytes) {
  if (bytes == 0) return;
  if (recipe.kind == weights::synthetic::Kind::fixed) {
    const cuda::Driver& api = cuda::driver();
    api.check(api.stream_synchronize(stream), "cuStreamSynchronize");
    api.check(api.memcpy_host_to_device(reinterpret_cast<cuda::DevicePointer>(out), recipe.bytes->data(),
                                        std::min(bytes, recipe.bytes->size())),
              "cuMemcpyHtoD");
    return;
  }
  const SyntheticParams params{
      out,           static_cast<long long>(bytes), recipe.key, recipe.mask, recipe.addend, recipe.mean, recipe.step,
      recipe.divisor};
  Operation(library, plan_synthetic(recipe.kind, format, bytes))(stream, params);
}

}  // namespace fpf::kernel
