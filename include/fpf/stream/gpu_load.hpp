// Synthetic work on a GPU, on a stream of its own, timed by the device's clock.
#pragma once

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <c10/core/StreamGuard.h>

#include <fpf/device/kernels.hpp>
#include <fpf/kernel/shared/params.hpp>
#include <fpf/stream/load.hpp>
#include <memory>

namespace fpf::stream {

#ifdef FPF_WITH_CUDA

/// A product of 8192 x 8192 bfloat16 matrices on a second stream, between two time stamps that the device
/// writes. Its span is in the host's clock: the offset of the clocks is taken from a stamp between two
/// readings of the host's, and so is right to half their distance (some 10 us).
class GpuProduct {
 public:
  explicit GpuProduct(at::Device device)
      : stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index())),
        stamp_(device::kernels(device).get("fpf/kernel/ends/time_stamp.cuh", "fpf::kernel::time_stamp")),
        stamps_(at::zeros({2}, at::TensorOptions(at::kLong).pinned_memory(true))) {
    constexpr std::int64_t side = 8192;
    const c10::StreamGuard guard(stream_.unwrap());
    const auto options = at::TensorOptions(at::kBFloat16).device(device);
    a_ = at::randn({side, side}, options);
    b_ = at::randn({side, side}, options);
    product_ = at::empty({side, side}, options);
    at::mm_out(product_, a_, b_);  // what the first product loads is not the load's
    stream_.synchronize();
    offset_ = measure_offset();
  }

  Span operator()() {
    const c10::StreamGuard guard(stream_.unwrap());
    stamp(0);
    at::mm_out(product_, a_, b_);
    stamp(1);
    stream_.synchronize();
    return {host_time(0), host_time(1)};
  }

 private:
  using Clock = std::chrono::steady_clock;

  void stamp(int slot) {
    const kernel::TimeStampParams params{
        static_cast<unsigned long long*>(static_cast<void*>(stamps_.data_ptr<std::int64_t>() + slot))};
    stamp_.launch(kernel::Launch{{1, 1, 1}, {1, 1, 1}, 0, stream_.stream()}, params);
  }
  Clock::time_point host_time(int slot) const {
    return Clock::time_point(std::chrono::nanoseconds(stamps_.const_data_ptr<std::int64_t>()[slot]) + offset_);
  }

  /// Host's clock less the device's, from the quickest of some stamps.
  std::chrono::nanoseconds measure_offset() {
    auto shortest = Clock::duration::max();
    std::chrono::nanoseconds out{};
    for (int i = 0; i < 20; ++i) {
      const auto before = Clock::now();
      stamp(0);
      stream_.synchronize();
      const auto after = Clock::now();
      if (after - before >= shortest) continue;
      shortest = after - before;
      out = (before + shortest / 2).time_since_epoch() -
            std::chrono::nanoseconds(stamps_.const_data_ptr<std::int64_t>()[0]);
    }
    return out;
  }

  c10::cuda::CUDAStream stream_;
  kernel::Kernel stamp_;
  at::Tensor stamps_;  // pinned [2] int64
  at::Tensor a_, b_, product_;
  std::chrono::nanoseconds offset_{};
};

/// The GPU's piece of work.
inline DutyLoad::Piece gpu_product(at::Device device) {
  const auto product = std::make_shared<GpuProduct>(device);
  return [product] { return (*product)(); };
}

#else

inline DutyLoad::Piece gpu_product(at::Device) { fail("this libtorch is built without CUDA"); }

#endif

}  // namespace fpf::stream
