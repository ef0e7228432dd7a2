// A CUDA grid on a CPU, for tests: its blocks one after another, a block's threads as fibers that run until they wait for
// each other. Deterministic, and as exact as the C++ that they run.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <cstddef>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <utility>
#include <vector>

namespace fpf::emulation {

struct Index {
  unsigned x = 0, y = 0, z = 0;
};
inline Index threadIdx, blockIdx, gridDim;
/// Dynamic shared memory.
inline std::vector<std::byte> dynamic_bytes;

namespace detail {

/// A thread with a stack of its own. It is entered once, through a context, and from then on by jumps: swapcontext() would ask
/// the kernel for the signal mask each time, which takes ten times as long as all that kernels compute.
struct Fiber {
  std::vector<std::byte> stack = std::vector<std::byte>(256 * 1024);
  jmp_buf here{};
  bool entered = false, done = false;
};

/// What the threads of the running block share.
struct Block {
  std::vector<Fiber> fibers;
  jmp_buf scheduler{};
  std::size_t running = 0, alive = 0;
  std::size_t waiting = 0, generation = 0;                 // at the block's barrier
  std::vector<std::size_t> warp_waiting, warp_generation;  // at a warp's
  std::vector<unsigned long long> exchanged;               // by thread
  const std::function<void()>* body = nullptr;
};
inline Block block;

inline void yield() {
  if (_setjmp(block.fibers[block.running].here) == 0) _longjmp(block.scheduler, 1);
}

/// One thread of block after block.
inline void run_fiber() {
  for (;;) {
    (*block.body)();
    block.fibers[block.running].done = true;
    --block.alive;
    // Whoever waits for all need not wait for this one.
    if (block.alive != 0 && block.waiting == block.alive) {
      block.waiting = 0;
      ++block.generation;
    }
    yield();
  }
}

/// Runs a fiber until it yields.
[[gnu::noinline]] inline void resume(Fiber& fiber) {
  if (_setjmp(block.scheduler) != 0) return;
  if (std::exchange(fiber.entered, true)) _longjmp(fiber.here, 1);
  ucontext_t context{};
  getcontext(&context);
  context.uc_stack.ss_sp = fiber.stack.data();
  context.uc_stack.ss_size = fiber.stack.size();
  makecontext(&context, run_fiber, 0);
  setcontext(&context);
}

inline void warp_barrier() {
  const std::size_t warp = block.running / 32, generation = block.warp_generation[warp];
  std::size_t lanes = 0;
  for (std::size_t t = warp * 32; t < std::min(block.fibers.size(), warp * 32 + 32); ++t)
    lanes += !block.fibers[t].done;
  if (++block.warp_waiting[warp] == lanes) {
    block.warp_waiting[warp] = 0;
    ++block.warp_generation[warp];
    return;
  }
  while (block.warp_generation[warp] == generation) yield();
}

/// Every lane's value, read from the lane that `from` names.
template <class T, class From>
T exchange(T value, From from) {
  const std::size_t own = block.running;
  std::memcpy(&block.exchanged[own], &value, sizeof(T));
  warp_barrier();
  T out;
  std::memcpy(&out, &block.exchanged[own / 32 * 32 + from(own % 32)], sizeof(T));
  warp_barrier();
  return out;
}

}  // namespace detail

inline void __syncthreads() {
  const std::size_t generation = detail::block.generation;
  if (++detail::block.waiting == detail::block.alive) {
    detail::block.waiting = 0;
    ++detail::block.generation;
    return;
  }
  while (detail::block.generation == generation) detail::yield();
}
inline void __syncwarp() { detail::warp_barrier(); }
template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return detail::exchange(value, [&](std::size_t lane) { return lane ^ static_cast<std::size_t>(mask); });
}
template <class T>
T __shfl_down_sync(unsigned, T value, int delta, int width) {
  return detail::exchange(value, [&](std::size_t lane) {
    const std::size_t to = lane + static_cast<std::size_t>(delta), group = static_cast<std::size_t>(width);
    return to / group == lane / group ? to : lane;
  });
}

template <class T>
T __shfl_up_sync(unsigned, T value, int delta) {
  return detail::exchange(value, [&](std::size_t lane) {
    return lane >= static_cast<std::size_t>(delta) ? lane - static_cast<std::size_t>(delta) : lane;
  });
}
template <class T>
T __shfl_sync(unsigned, T value, int from, int width) {
  return detail::exchange(value, [&](std::size_t lane) {
    return lane - lane % static_cast<std::size_t>(width) + static_cast<std::size_t>(from);
  });
}
/// Over whole warps.
inline unsigned __reduce_max_sync(unsigned, unsigned value) {
  for (int step = 1; step < 32; step *= 2) value = std::max(value, __shfl_xor_sync(~0u, value, step));
  return value;
}
inline unsigned __reduce_min_sync(unsigned, unsigned value) { return ~__reduce_max_sync(~0u, ~value); }

/// Runs body() for every thread of every block.
inline void launch(Index grid, unsigned threads, std::size_t dynamic, const std::function<void()>& body) {
  using detail::block;
  dynamic_bytes.assign(dynamic + 16, std::byte{0xff});  // what nobody wrote is no number
  block.body = &body;
  gridDim = grid;
  block.fibers.resize(threads);
  block.exchanged.resize(threads);
  for (blockIdx.z = 0; blockIdx.z < grid.z; ++blockIdx.z)
    for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y)
      for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x) {
        block.alive = threads;
        block.waiting = 0;
        block.warp_waiting.assign((threads + 31) / 32, 0);
        block.warp_generation.assign((threads + 31) / 32, 0);
        for (auto& fiber : block.fibers) fiber.done = false;
        while (block.alive != 0)
          for (std::size_t t = 0; t < threads; ++t) {
            if (block.fibers[t].done) continue;
            block.running = t;
            threadIdx.x = static_cast<unsigned>(t);
            detail::resume(block.fibers[t]);
          }
      }
}

}  // namespace fpf::emulation
