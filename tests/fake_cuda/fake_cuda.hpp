// What the driver in this folder answers; tests change it between calls.
#pragma once

#include <cstddef>
#include <cstdint>

struct FakeGpu {
  int init_result = 0;
  int count = 1;
  int driver_version = 13000;
  int compute_capability = 90;
  int shared_bytes = 227 * 1024;  // a block's at most, with opt-in
  std::size_t memory_bytes = std::size_t{160} << 30;
  const char* name = "Fake H100";
  std::uint64_t launches = 0;  // accepted so far
  /// What computes in place of a GPU, if anything does: the kernel's symbol, grid, threads and shared bytes of a launch.
  void (*run)(const char* symbol, const unsigned (&grid)[3], unsigned threads, unsigned shared,
              void** params) = nullptr;
};

extern "C" FakeGpu* fake_gpu();
