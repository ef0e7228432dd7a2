// The device shared with a load that is not ours, as a provider's neighbours would be.
#pragma once

#include <fpf/core/error.hpp>
#include <fpf/stream/gpu_load.hpp>
#include <fpf/stream/load.hpp>
#include <fpf/stream/overlap.hpp>
#include <memory>

namespace fpf::stream {

/// A load that starts before a repetition and stops after it. The run's record says when both worked, and whether the
/// load accompanied it for at least nine tenths of its time: one that it did not might show nothing.
class Contended {
 public:
  static constexpr std::string_view name = "contended";
  static constexpr bool contends = true;
  static constexpr double least_overlap = 0.9;

  /// `duty`: the share of the time, above 0 and up to 1, that the load is to be busy for.
  Contended(std::unique_ptr<Load> load, double duty) : load_(std::move(load)), duty_(duty) {}

  /// The load of a device: on the CPU, as many threads as the measured run has; on a GPU, one stream.
  static Contended on(const std::string& device, double duty) {
    if (!(duty > 0 && duty <= 1)) fail("--contention {}: expected a duty cycle above 0 and up to 1", duty);
    if (device == "cpu") return {std::make_unique<DutyLoad>(duty, at::get_num_threads(), cpu_product), duty};
    const auto prepare = [at = at::Device(device)] { return gpu_product(at); };
    return {std::make_unique<DutyLoad>(duty, 1, prepare), duty};
  }

  void start() { load_->start(); }

  /// {target_duty, measured_duty, overlap_fraction, accompanied, busy_fraction, ...}; times in seconds after the run's
  /// start.
  nlohmann::ordered_json stop(const std::vector<Span>& work) {
    const LoadTimes times = load_->stop();
    if (work.empty()) return nullptr;
    const double run = total_seconds(work), n = static_cast<double>(times.size());
    double duty = 0, overlap = 0, busy = 0;
    std::size_t pieces = 0;
    auto begin = times.front().front().begin, end = times.front().back().end;
    for (const Spans& own : times) {
      duty += total_seconds(own) / seconds(own.back().end - own.front().begin) / n;
      overlap += common_seconds(work, activity(own, duty_)) / run / n;
      busy += common_seconds(work, own) / run / n;
      pieces += own.size();
      begin = std::min(begin, own.front().begin);
      end = std::max(end, own.back().end);
    }
    const auto zero = work.front().begin;
    nlohmann::ordered_json passes = nlohmann::ordered_json::array();
    for (const Span& pass : work) passes.push_back({seconds(pass.begin - zero), seconds(pass.end - zero)});
    return {{"target_duty", duty_},
            {"measured_duty", duty},
            {"overlap_fraction", overlap},
            {"least_overlap", least_overlap},
            {"accompanied", overlap >= least_overlap},
            {"busy_fraction", busy},
            {"load_streams", times.size()},
            {"load_pieces", pieces},
            {"load_begin", seconds(begin - zero)},
            {"load_end", seconds(end - zero)},
            {"run_passes", passes}};
  }

 private:
  std::unique_ptr<Load> load_;
  double duty_;
};

static_assert(StreamContention<Contended>);

}  // namespace fpf::stream
