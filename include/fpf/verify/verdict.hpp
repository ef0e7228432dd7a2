// The verdict on a run and on a file, and the rules it follows.
#pragma once

#include <cmath>
#include <fpf/verify/manifest_difference.hpp>
#include <fpf/verify/noise.hpp>
#include <optional>
#include <string>
#include <vector>

namespace fpf::verify {

enum class Decision : std::uint8_t { accept, undecided, reject };

constexpr std::string_view name_of(Decision decision) {
  constexpr std::string_view names[] = {"accept", "undecided", "reject"};
  return names[static_cast<std::size_t>(decision)];
}

/// What was found of one run.
struct RunReport {
  std::string config_id;
  int rep_id = 0;
  std::vector<std::string> contradictions;
  std::string other_model;                   // the manifest's field that names another model than any --model
  std::vector<FieldDifference> differences;  // of manifests
  std::optional<evidence::Place> own_noise;  // where this machine's own repetitions differ
  std::optional<Path> decode, prefill;       // none where nothing was re-executed
  std::optional<NoiseVerdict> decode_noise, prefill_noise;
  std::vector<std::string> notes;
  bool recorded_exact = false;  // the file records repetitions that are equal
  bool complete = true;         // no value that is no number ended the run
  bool portable = false;        // its execution gives the same bits everywhere
  bool same_version = false;    // of fpf
  double accepted_rate = 0.1;   // largest false-positive rate at which it may be rejected by noise
  std::size_t tokens = 0;
  Decision decision = Decision::undecided;
  std::string reason;

  /// Of a rejection by noise: one path or the other.
  double false_positive_rate() const {
    return verify::false_positive_rate(*decode_noise) + verify::false_positive_rate(*prefill_noise);
  }

  /// Whether a difference in bits cannot be honest: the record says that such a machine repeats exactly, this one does,
  /// and nothing that numbers depend on differs, or the execution is defined to the bit.
  bool noise_is_zero() const {
    const bool same = std::ranges::none_of(differences, &FieldDifference::matters);
    return recorded_exact && !own_noise && (same || (portable && same_version));
  }
};

namespace detail {

inline std::string noise_reason(const RunReport& report) {
  const NoiseVerdict &decode = *report.decode_noise, &prefill = *report.prefill_noise;
  const auto one = [](const char* path, const NoiseVerdict& verdict) {
    return fmt::format("{}: {}{}", path, verdict.rank.text,
                       verdict.widest.empty() ? "" : fmt::format("; widest in {}", verdict.widest));
  };
  std::string out = fmt::format("{}. {}. False-positive rate at most {:.1f} % ({} honest runs, 1 in {} a path)",
                                one("decode", decode), one("prefill", prefill), 100 * report.false_positive_rate(),
                                decode.noise_runs, decode.noise_runs + 1);
  if (decode.tried != 0)
    out += fmt::format("; of the honest runs, each judged by the others, {} stand out by decode and {} by prefill",
                       decode.would_reject, prefill.would_reject);
  return out + fmt::format("; rests on {} tokens of evidence and {} of noise", decode.tokens, decode.noise_tokens);
}

inline const char* like_prefill(const RunReport& report) {
  return report.prefill && report.prefill->bit_equal() ? "; it has the bits of one prefill, not of a decode" : "";
}

}  // namespace detail

/// Decides. In this order:
///  1. evidence that contradicts itself, or names another model, is rejected;
///  2. evidence with the bits of the decode re-executed here is accepted, whatever its manifest says;
///  3. where noise is zero (RunReport::noise_is_zero), any other is rejected;
///  4. a token beyond the re-execution's top k is rejected: no rounding moves it there;
///  5. with noise, both paths are judged (noise.hpp): rejected when it stands out on one, as long as the honest runs are
///     enough for the false-positive rate asked for; accepted when it is as near as they are on both;
///  6. else undecided.
inline void decide(RunReport& report) {
  const auto set = [&](Decision decision, std::string reason) {
    report.decision = decision;
    report.reason = std::move(reason);
  };
  if (!report.contradictions.empty())
    return set(Decision::reject, fmt::format("the evidence contradicts itself: {}", report.contradictions.front()));
  if (!report.other_model.empty())
    return set(Decision::reject,
               fmt::format("it was made from another model than --model: its manifest differs in {} (a file "
                           "of several models takes --model for each)",
                           report.other_model));
  if (!report.complete) return set(Decision::undecided, "the run ended in a value that is no number");
  if (!report.decode) return;
  const Path& decode = *report.decode;
  const auto first = [&] { return to_string(*decode.first_difference); };
  if (decode.bit_equal() && !report.own_noise)
    return set(Decision::accept, fmt::format("the same bits in every signal of {} tokens", report.tokens));
  if (report.noise_is_zero())
    return set(Decision::reject,
               fmt::format("{}, as the file records and the repetitions here show; this evidence differs first at {}{}",
                           report.portable ? "portable execution gives the same bits on every machine"
                                           : "this build on this machine gives the same bits each time",
                           first(), detail::like_prefill(report)));
  for (const TokenPlace& place : decode.not_best)
    if (!place.gap)
      return set(Decision::reject, fmt::format("step {} fed token {}, which is not among the most probable ones here",
                                               place.step, place.token));
  if (report.decode_noise && report.prefill_noise) {
    const bool out = stands_out(*report.decode_noise) || stands_out(*report.prefill_noise);
    const bool near = accepts(*report.decode_noise) && accepts(*report.prefill_noise);
    if (out && report.false_positive_rate() > report.accepted_rate)
      return set(Decision::undecided,
                 fmt::format("it stands out, but {} honest runs are too few for a rate of {:g}: {} are needed; {}",
                             report.decode_noise->noise_runs, report.accepted_rate,
                             std::ceil(2 / report.accepted_rate) - 1, detail::noise_reason(report)));
    const Decision decision = out ? Decision::reject : near ? Decision::accept : Decision::undecided;
    return set(decision, detail::noise_reason(report));
  }
  const std::string where =
      decode.bit_equal() ? "this machine does not repeat itself" : fmt::format("bits differ first at {}", first());
  set(Decision::undecided, where +
                               ", on another machine or build: a verdict needs --noise with honest runs from such a "
                               "machine, or portable execution");
}

/// A file is as good as its worst run.
inline Decision worst_of(const std::vector<RunReport>& reports) {
  Decision out = Decision::accept;
  for (const RunReport& report : reports) out = std::max(out, report.decision);
  return out;
}

}  // namespace fpf::verify
