// The verdict on a run and on a file, and the rules it follows.
#pragma once

#include <fpf/verify/manifest_difference.hpp>
#include <fpf/verify/noise.hpp>
#include <fpf/verify/non_finite.hpp>
#include <fpf/verify/question.hpp>
#include <optional>
#include <set>
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
  std::optional<PromptReport> prompt;        // none where it could not be read
  std::string other_model;                   // the manifest's field that names another model than any --model
  std::vector<FieldDifference> differences;  // of manifests
  std::optional<evidence::Place> own_noise;  // where this machine's own repetitions differ
  std::optional<Path> decode, prefill;       // none where nothing was re-executed, or the run is not complete
  std::optional<NonFinite> non_finite;       // of a run that is not complete, re-executed
  std::optional<NoiseTest> noise;
  std::string not_reexecuted;  // why it could not be; empty where it was, or need not be
  std::vector<std::string> notes;
  std::set<std::string> held;   // rows of schema_fields that the question or the tokeniser held
  bool recorded_exact = false;  // the file records repetitions that are equal
  bool complete = true;         // no value that is no number ended the run
  bool portable = false;        // its execution gives the same bits everywhere
  bool same_version = false;    // of fpf
  std::size_t tokens = 0;
  Decision decision = Decision::undecided;
  std::string reason;

  bool reexecuted() const { return decode || non_finite; }

  /// Whether a difference in bits cannot be honest: the record says that such a machine repeats exactly, this one does,
  /// and nothing that numbers depend on differs, or the execution is defined to the bit.
  bool noise_is_zero() const {
    const bool same = std::ranges::none_of(differences, &FieldDifference::matters);
    return recorded_exact && !own_noise && (same || (portable && same_version));
  }
};

namespace detail {

inline std::string noise_reason(const NoiseTest& test) {
  const auto one = [](const char* path, const NoiseVerdict& verdict) {
    return fmt::format("{}: {}{}", path, verdict.rank.text,
                       verdict.widest.empty() ? "" : fmt::format("; widest in {}", verdict.widest));
  };
  return fmt::format(
      "{}. {}. False-positive rate at most {:.1f} % ({} honest runs, 1 in {} a path); power {:.2f} against a change of "
      "{:g} times the noise (found in {} of the honest runs, each judged by the others; unchanged, {} stand out); "
      "rests on {} tokens of evidence and {} of noise",
      one("decode", test.decode), one("prefill", test.prefill), 100 * test.false_positive_rate(), test.runs,
      test.runs + 1, test.power(), test.rule.effect, test.found, test.stand_out, test.decode.tokens,
      test.decode.noise_tokens);
}

inline std::string too_little_power(const NoiseTest& test) {
  return fmt::format(
      "it does not stand out, but a change of {:g} times the noise would with a power of {:.2f} only, {:g} is needed{}",
      test.rule.effect, test.power(), needed_power,
      test.findable ? fmt::format(" (for one of about {:.2g} times it would be: --effect)", *test.findable) : "");
}

inline const char* like_prefill(const RunReport& report) {
  return report.prefill && report.prefill->bit_equal() ? "; it has the bits of one prefill, not of a decode" : "";
}

struct Reasoned {
  Decision decision;
  std::string reason;
};

/// Rejecting and accepting need the same honest runs and positions.
inline Reasoned judge_by_noise(const NoiseTest& test) {
  const std::string why = noise_reason(test);
  if (const std::string missing = lacking(test); !missing.empty())
    return {Decision::undecided, fmt::format("{}{}; {}", test.stands_out() ? "it stands out, but " : "", missing, why)};
  if (test.stands_out()) return {Decision::reject, why};
  if (!test.is_near()) return {Decision::undecided, "it stands out by rank or by ratio alone; " + why};
  if (!is_enough(test.power())) return {Decision::undecided, too_little_power(test) + "; " + why};
  return {Decision::accept, why};
}

inline const char* why_noise_is_zero(const RunReport& report) {
  return report.portable ? "portable execution gives the same bits on every machine"
                         : "this build on this machine gives the same bits each time";
}

/// What needs no re-execution, or none where it was not re-executed.
inline std::optional<Reasoned> judge_unexecuted(const RunReport& report) {
  if (!report.contradictions.empty())
    return Reasoned{Decision::reject,
                    fmt::format("the evidence contradicts itself: {}", report.contradictions.front())};
  if (report.prompt && !report.prompt->difference.empty()) return Reasoned{Decision::reject, report.prompt->difference};
  if (!report.other_model.empty())
    return Reasoned{Decision::reject,
                    fmt::format("it was made from another model than --model: its manifest differs in {} (a file "
                                "of several models takes --model for each)",
                                report.other_model)};
  if (!report.not_reexecuted.empty()) return Reasoned{Decision::undecided, "not re-executed: " + report.not_reexecuted};
  if (!report.decode && !report.non_finite)
    return Reasoned{Decision::undecided, "not re-executed, since another run of the file is rejected without it"};
  return std::nullopt;
}

/// A run that is not complete: its bits are those of the digests, here or not.
inline Reasoned judge_non_finite(const RunReport& report) {
  const NonFinite& found = *report.non_finite;
  if (found.reproduced() && !report.own_noise)
    return {Decision::accept,
            fmt::format("the same bits in every signal of {} steps, as the digests say, and no number "
                        "at {}, which ended the run",
                        found.steps, to_string(found.claimed))};
  const std::string what = describe(found);
  if (report.noise_is_zero())
    return {Decision::reject,
            fmt::format("{}, as the file records and the repetitions here show; {}", why_noise_is_zero(report), what)};
  return {Decision::undecided, fmt::format("the run ended in a value that is no number; {}", what)};
}

inline Reasoned judge_complete(const RunReport& report) {
  const Path& decode = *report.decode;
  const auto first = [&] { return to_string(*decode.first_difference); };
  if (decode.bit_equal() && !report.own_noise)
    return {Decision::accept, fmt::format("the same bits in every signal of {} tokens", report.tokens)};
  if (report.noise_is_zero())
    return {Decision::reject,
            fmt::format("{}, as the file records and the repetitions here show; this evidence differs first at {}{}",
                        why_noise_is_zero(report), first(), like_prefill(report))};
  for (const TokenPlace& place : decode.not_best)
    if (!place.gap)
      return {Decision::reject, fmt::format("step {} chose token {}, which is not among the most probable ones here",
                                            place.step, place.token)};
  if (report.noise) return judge_by_noise(*report.noise);
  const std::string where =
      decode.bit_equal() ? "this machine does not repeat itself" : fmt::format("bits differ first at {}", first());
  return {Decision::undecided, where +
                                   ", on another machine or build: a verdict needs --noise with honest runs from such "
                                   "a machine, or portable execution"};
}

}  // namespace detail

/// Decides, with a reason in every case. In this order:
///  1. evidence that contradicts itself, answers another prompt than the one asked, or names another model, is
///     rejected;
///  2. evidence with the bits of the decode re-executed here is accepted, whatever its manifest says; a run that ended
///     in no number has them when its digests and that place are those of a decode here;
///  3. where noise is zero (RunReport::noise_is_zero), any other is rejected;
///  4. a token beyond the re-execution's top k is rejected: no rounding moves it there;
///  5. with noise, both paths are judged (noise.hpp), once there are as many honest runs and positions as a decision
///     needs: rejected when it stands out on one; accepted when it is as near as honest runs are on both, and a change
///     of NoiseRule::effect would have stood out with needed_power;
///  6. else undecided.
inline void decide(RunReport& report) {
  auto found = detail::judge_unexecuted(report);
  if (!found) found = report.non_finite ? detail::judge_non_finite(report) : detail::judge_complete(report);
  report.decision = found->decision;
  report.reason = std::move(found->reason);
}

/// A file is as good as its worst run.
inline Decision worst_of(const std::vector<RunReport>& reports) {
  Decision out = Decision::accept;
  for (const RunReport& report : reports) out = std::max(out, report.decision);
  return out;
}

}  // namespace fpf::verify
