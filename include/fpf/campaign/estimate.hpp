// How long a campaign's steps will take, and how much disk: from experiment 0's times where it has run, else from the
// model's size.
#pragma once

#include <fpf/campaign/steps.hpp>
#include <fpf/evidence/experiment_index.hpp>
#include <fpf/model/checkpoint.hpp>

namespace fpf::campaign {

struct Estimate {
  double repetition = 0;     // seconds of one repetition of the reference with one prompt
  double start = 0;          // seconds to start a program and load the model
  double configuration = 0;  // bytes of one configuration in a file
  std::string basis;         // what it was made from, as a sentence
};

namespace detail {

/// Of a machine that nothing is known of: half of what memory and arithmetic of such devices reach.
struct Speed {
  double bytes, flops;  // a second
};

inline Speed guessed_speed(const std::string& device) {
  return device.starts_with("cuda") ? Speed{1e12, 1e14} : Speed{5e9, 5e10};
}

/// Parameters that a token goes through.
inline double active_parameters(const model::ModelConfig& c) {
  const auto mlp = c.is_moe() ? c.experts_per_token * 3 * c.moe_intermediate_size : 3 * c.intermediate_size;
  const auto layer = (2 * c.q_size() + 2 * c.kv_size() + mlp) * c.hidden_size;
  return static_cast<double>(c.num_layers * layer + c.vocab_size * c.hidden_size);
}

inline std::size_t recorded_layers(const Options& options, const model::ModelConfig& config) {
  std::string notice;
  return parse_layers(options, config.num_layers, notice).size();
}

}  // namespace detail

/// Twelve characters a number, each position in three steps; the numbers' own dtype makes them shorter at most.
inline double configuration_bytes(const Options& options, const model::ModelConfig& config) {
  const auto layers = static_cast<double>(detail::recorded_layers(options, config));
  const double row = layers * static_cast<double>(config.hidden_size + config.kv_size()) +
                     2.0 * static_cast<double>(std::min(options.top_k, config.vocab_size));
  return static_cast<double>(prompt_count(options)) * (12.0 * 3.0 * static_cast<double>(options.decode_steps) * row +
                                                       20.0 * static_cast<double>(options.prompt.options.tokens));
}

inline Estimate estimate_from_size(const Options& options, const model::Checkpoint& model) {
  const auto& config = model.config();
  const auto speed = detail::guessed_speed(options.device);
  const double active = detail::active_parameters(config), bytes = static_cast<double>(model.source().bytes());
  const double share =
      config.is_moe() ? static_cast<double>(config.experts_per_token) / static_cast<double>(config.num_experts) : 1;
  Estimate out;
  out.repetition = 2 * active * static_cast<double>(options.prompt.options.tokens) / speed.flops +
                   static_cast<double>(options.decode_steps) * bytes * share / speed.bytes;
  out.start = 2 + bytes / 1e9;
  out.configuration = configuration_bytes(options, config);
  out.basis =
      fmt::format("guessed from {:.1f} GB of weights and {:.0f} million active parameters (a factor of 5 either way)",
                  bytes / 1e9, active / 1e6);
  return out;
}

/// From a finished reference file; nothing where there is none, or it says nothing of its time.
inline std::optional<Estimate> estimate_from_reference(const std::filesystem::path& file, double start) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) return {};
  try {
    const auto opened = evidence::open_experiment(file);
    const auto runtime = opened.runs.back().members.value("runtime", nlohmann::json::object());
    Estimate out;
    out.repetition = runtime.value("mean", 0.0);
    out.start = start;
    out.configuration = static_cast<double>(std::filesystem::file_size(file));
    out.basis = fmt::format("from experiment 0's {:.1f} s a repetition and {:.1f} MB a configuration in {}",
                            out.repetition, out.configuration / 1e6, file.string());
    if (out.repetition > 0) return out;
  } catch (const std::exception&) {  // a file that is none makes no estimate; the step that reads it will say so
  }
  return {};
}

/// Seconds of a step: its configurations' repetitions, larger batches and a load taken into account.
inline double step_seconds(const Step& step, const Options& options, const Estimate& estimate) {
  auto runs = static_cast<double>(step.configurations);
  if (step.number == 1)
    runs =
        static_cast<double>(std::accumulate(options.batch_sizes.begin(), options.batch_sizes.end(), std::int64_t{0}));
  if (step.number == 5) runs *= 2;
  return estimate.start * static_cast<double>(step.configurations) +
         static_cast<double>(options.reps * prompt_count(options)) * runs * estimate.repetition;
}

/// Bytes of a step's file, with the baseline's configuration.
inline double step_bytes(const Step& step, const Estimate& estimate) {
  return estimate.configuration * static_cast<double>(step.configurations + (step.number == 0 ? 0 : 1));
}

/// "40 s", "12 min", "3.2 h".
inline std::string duration_text(double seconds) {
  if (seconds < 90) return fmt::format("{:.0f} s", seconds);
  return seconds < 5400 ? fmt::format("{:.0f} min", seconds / 60) : fmt::format("{:.1f} h", seconds / 3600);
}

}  // namespace fpf::campaign
