// The device's own clock, written by the device.
#pragma once

#include <fpf/kernel/shared/common.cuh>
#include <fpf/kernel/shared/params.hpp>

namespace fpf::kernel {

/// %globaltimer in nanoseconds -> p.out. One thread.
__global__ void time_stamp(const TimeStampParams p) {
  wait_for_previous();
  u64 now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now)::"memory");
  *p.out = now;
}

}  // namespace fpf::kernel
