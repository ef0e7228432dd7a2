// The plan's sequence for a pod as programs to run.
#pragma once

#include <algorithm>
#include <fpf/campaign/options.hpp>
#include <fpf/core/hash.hpp>

namespace fpf::campaign {

/// One experiment of a campaign.
struct Step {
  int number = 0;
  std::string program;             // "exp1_batch_size"
  std::string file;                // in the output folder
  std::vector<std::string> args;   // without --out, --baseline and --resume
  std::size_t configurations = 1;  // of its own, beside the baseline's

  /// What its file depends on: another value means that the file there was made from something else.
  std::string fingerprint() const {
    Sha256 hash;
    for (std::size_t i = 0; i < args.size(); ++i)
      if (args[i] != "--quiet") hash.update(args[i]).update(std::string_view("\0", 1));
    return hash.hex();
  }
};

namespace detail {

using Describe = void (*)(po::options_description&, Options&);

/// The options of one experiment, of those that were given.
inline std::vector<std::string> own_options(Describe describe, const po::variables_map& values) {
  Options unused;
  po::options_description described;
  if (describe != nullptr) describe(described, unused);
  return given_options(described, values);
}

/// Experiment 0's tokens are its own unless a file has them: the others are held against it.
inline std::vector<std::string> shared_of(const Settings& settings, int number) {
  std::vector<std::string> out = settings.shared;
  if (const auto given = std::ranges::find(out, "--tokens"); given != out.end()) out.erase(given, given + 2);
  const std::string& tokens = settings.options.tokens;
  if (tokens == "baseline" ? number != 0 : tokens != "own") out.insert(out.end(), {"--tokens", tokens});
  return out;
}

inline void require_inputs(const Step& step, const Options& options) {
  const auto leave_out = fmt::format("or leave the experiment out with --skip {}", step.number);
  const auto neighbours = options.neighbour_pdfs.size() + options.neighbour_ids.size();
  if (step.number == 1 && std::ranges::max(options.batch_sizes) > static_cast<std::int64_t>(neighbours) + 1)
    fail("experiment 1 has batches of up to {} sequences: name {} documents with --neighbour-pdf, {}",
         std::ranges::max(options.batch_sizes), std::ranges::max(options.batch_sizes) - 1, leave_out);
  if (step.number == 3 && (options.model_gptq.empty() || options.model_bnb.empty()))
    fail("experiment 3 needs --model-gptq and --model-bnb: name both, {}", leave_out);
  if (step.number == 6 && options.toolkits.empty() && options.stacks.empty())
    fail("experiment 6 needs other CUDA toolkits: name them with --cuda, builds with --stack, {}", leave_out);
}

}  // namespace detail

/// The steps of the pod, in the plan's order; of both pods, as far as their options are there, where none is named.
/// Throws Error where an experiment of the pod lacks an option of its own.
inline std::vector<Step> steps_of(const Settings& settings, const po::variables_map& values) {
  struct Entry {
    int number;
    const char *program, *type;
    detail::Describe describe;
    std::size_t configurations;
  };
  const Options& o = settings.options;
  const Entry all[] = {{0, "exp0_reference", "", nullptr, 1},
                       {1, "exp1_batch_size", "batch_size", batch_options, o.batch_sizes.size()},
                       {2, "exp2_compile", "compile", nullptr, 1},
                       {3, "exp3_quantization", "quantization", quantisation_options, 2},
                       {4, "exp4_attention", "attention", nullptr, 1},
                       {5, "exp5_concurrent_streams", "concurrent_streams", contention_options, 1},
                       {6, "exp6_cuda_version", "cuda_version", cuda_options, o.toolkits.size() + o.stacks.size()},
                       {7, "exp7_tensor_parallel", "tensor_parallel", tensor_options, rank_counts(o.tp).size()},
                       {8, "exp8_expert_parallel", "expert_parallel", expert_options, rank_counts(o.ep).size()}};
  const auto reference = settings.out() / "reference_baseline.json";
  const bool own_baseline = std::filesystem::path(o.baseline).lexically_normal() == reference.lexically_normal();
  std::vector<Step> out;
  for (const Entry& entry : all) {
    const bool here = entry.number == 0   ? own_baseline
                      : settings.pod == 0 ? true
                      : settings.pod == 1 ? entry.number <= 6
                                          : entry.number >= 7;
    if (!here || settings.skipped.contains(entry.number)) continue;
    Step step{.number = entry.number,
              .program = entry.program,
              .file = entry.number == 0 ? "reference_baseline.json" : fmt::format("{}_experiment.json", entry.type),
              .args = detail::shared_of(settings, entry.number),
              .configurations = entry.configurations};
    const auto own = detail::own_options(entry.describe, values);
    step.args.insert(step.args.end(), own.begin(), own.end());
    try {
      detail::require_inputs(step, o);
    } catch (const Error&) {
      if (settings.pod == 0) continue;
      throw;
    }
    out.push_back(std::move(step));
  }
  if (out.empty()) fail("--skip {}: nothing is left of pod {}", settings.skip, settings.pod);
  return out;
}

}  // namespace fpf::campaign
