// collectives: the all-reduce of ranks on GPUs, one thread a rank: latency of a decode step's size, bandwidth of a
// prompt's. collectives.py measures libtorch's own beside it.
//
//   collectives [RANKS]       (2)
#include <ATen/ops/full.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <fpf/core/program.hpp>
#include <fpf/parallel/ranks.hpp>
#include <fpf/parallel/transport.hpp>

namespace {

using namespace fpf;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Seconds of one of `count` calls on a stream that is empty before, the best of five rounds.
template <class Work>
double seconds_of(parallel::Communicator& communicator, at::Device device, int count, Work work) {
  const auto& api = kernel::cuda::driver();
  double best = 1e9;
  for (int round = 0; round < 5; ++round) {
    communicator.barrier();
    const auto start = Clock::now();
    work();
    api.check(api.stream_synchronize(device::current_stream(device)), "cuStreamSynchronize");
    best = std::min(best, seconds_since(start) / count);
  }
  return best;
}

void measure(parallel::Communicator& communicator, at::Device device, std::int64_t bytes) {
  const auto& api = kernel::cuda::driver();
  const int count = bytes > 1 << 20 ? 20 : 200;
  const at::Tensor values = at::full({bytes / 2}, 0.0, at::TensorOptions(at::kBFloat16).device(device));
  const auto all = [&] {
    for (int i = 0; i < count; ++i) communicator.all_reduce(values);
  };
  all();
  const double eager = seconds_of(communicator, device, count, all);

  kernel::cuda::Stream stream = nullptr;
  kernel::cuda::Graph graph = nullptr;
  kernel::cuda::GraphExec executable = nullptr;
  api.check(api.stream_create(&stream, 1), "cuStreamCreate");
  {
    const device::StreamScope scope(stream, device);
    api.check(api.stream_begin_capture(stream, kernel::cuda::capture_thread_local), "cuStreamBeginCapture");
    all();
    api.check(api.stream_end_capture(stream, &graph), "cuStreamEndCapture");
    api.check(api.graph_instantiate(&executable, graph, 0), "cuGraphInstantiate");
    api.check(api.graph_launch(executable, stream), "cuGraphLaunch");
    const double captured = seconds_of(communicator, device, count, [&] { api.graph_launch(executable, stream); });
    const int ranks = communicator.size();
    const double bus = 2.0 * (ranks - 1) / ranks * static_cast<double>(bytes) / 1e9;
    if (communicator.rank() == 0)
      fmt::print("fpf, {} ranks, {} bytes of bfloat16: {:.1f} us a call, {:.1f} us in a graph; {:.1f} GB/s (bus)\n",
                 ranks, bytes, 1e6 * eager, 1e6 * captured, bus / std::min(eager, captured));
  }
  api.graph_exec_destroy(executable);
  api.graph_destroy(graph);
  api.stream_destroy(stream);
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("collectives", [&] {
    const auto ranks = argc > 1 ? parse_number<int>(argv[1]) : 2;
    if (!ranks || *ranks < 2) fail("expected a number of ranks from 2 on, found '{}'", argv[1]);
    const parallel::RankOptions options{.size = *ranks, .device = "cuda"};
    const auto communicators = parallel::local_communicators(options);
    fmt::print("{}\n", communicators.front()->describe().dump());
    parallel::run_ranks(
        communicators.size(),
        [&](std::size_t r) {
          const at::Device device(parallel::rank_device(options, static_cast<int>(r)));
          device::enter(device);
          for (const std::int64_t bytes : {4096, 25'165'824}) measure(*communicators[r], device, bytes);
        },
        [&] {
          for (const auto& communicator : communicators) communicator->abort();
        });
    return ExitCode::ok;
  });
}
