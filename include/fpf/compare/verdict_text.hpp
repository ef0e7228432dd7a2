// Verdicts in sentences: the answer to "does the change show?", and what it rests on.
#pragma once

#include <fmt/format.h>

#include <fpf/compare/analysis.hpp>
#include <fpf/compare/permutation.hpp>
#include <string>
#include <string_view>

namespace fpf::compare {

/// Fewest rows of noise for the partial AUC below 1 % false positives: of fewer, not one lies in that part.
inline constexpr std::size_t fewest_noise_rows = 100;

/// What the noise is between; empty where none was measured.
inline std::string_view noise_between(const Verdict& verdict) {
  if (verdict.noise.empty() && !verdict.noise_from_digests) return "";
  if (verdict.scope == Scope::across_hardware) return "between hardware types";
  if (verdict.noise_from_digests || verdict.noise_repetitions == verdict.noise_comparisons)
    return "between repetitions";
  return verdict.noise_repetitions == 0 ? "between machines of one hardware type"
                                        : "between repetitions and machines of one hardware type";
}

namespace detail {

inline std::string counted(std::size_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

/// "30 prompts", "32 steps of one prompt", "64 steps of 2 prompts".
inline std::string units_text(const Verdict& verdict, std::size_t count) {
  const std::string units = counted(count, name_of(verdict.unit));
  if (verdict.unit == Unit::prompt) return units;
  return verdict.prompts == 1 ? units + " of one prompt"
                              : fmt::format("{} of {}", units, counted(verdict.prompts, "prompt"));
}

/// Those on both sides where there are such, else those of each.
inline std::string units_text(const Verdict& verdict) {
  const std::size_t paired = verdict.test ? verdict.test->paired : 0;
  if (paired != 0 || verdict.noise_units == 0) return units_text(verdict, paired != 0 ? paired : verdict.signal_units);
  return fmt::format("{} against {}", verdict.signal_units, units_text(verdict, verdict.noise_units));
}

inline std::string no_noise_text(const Verdict& verdict) {
  std::string out = "no noise: ";
  if (verdict.noise_bits_differ)
    out += fmt::format("equal runs {} are at distance 0",
                       noise_between(verdict).substr(noise_between(verdict).find(' ') + 1));
  else if (verdict.scope == Scope::across_hardware)
    out += "equal runs on different hardware types are bit-equal";
  else if (verdict.noise_repetitions == verdict.noise_comparisons)
    out += "all repetitions are bit-equal";
  else
    out += "equal runs on machines of one hardware type are bit-equal";
  if (verdict.noise_left_out + verdict.signal_left_out != 0) out += " at the steps compared";
  return out + (verdict.signal_level == 0 ? "; the change is in bits of equal values or in token ids" : "");
}

inline std::string missing_noise_text(const Verdict& verdict) {
  return verdict.scope == Scope::across_hardware
             ? "no noise between hardware types was measured (one value on two types is needed)"
             : "no noise within one hardware type was measured (repetitions or a second machine are needed)";
}

/// "7 are needed", or of each side.
inline std::string too_few_text(const Verdict& verdict) {
  const bool apart = verdict.test->paired == 0;
  return fmt::format("{}; at least {} are needed", units_text(verdict),
                     apart ? fmt::format("{} of each", fewest_apart) : fmt::format("{}", fewest_paired));
}

/// "2.3", "12", "0.04".
inline std::string times_text(double ratio) {
  return ratio >= 9.95    ? fmt::format("{:.0f}", ratio)
         : ratio >= 0.095 ? fmt::format("{:.1f}", ratio)
                          : fmt::format("{:.1g}", ratio);
}

/// Verdict::answer.
inline std::string answer_text(const Verdict& verdict) {
  const std::string_view outcome = name_of(verdict.outcome());
  const auto ratio = [&] {
    return fmt::format("{}: {}x the noise {}", outcome, times_text(*verdict.ratio), noise_between(verdict));
  };
  switch (verdict.reason) {
    case Reason::no_signal:
      return fmt::format("{}: no row with equal inputs shows the change", outcome);
    case Reason::no_noise_measured:
      return fmt::format("{}: {}", outcome, missing_noise_text(verdict));
    case Reason::no_shared_steps:
      return fmt::format("{}: it differs only at steps that noise and change do not share", outcome);
    case Reason::too_few_units:
      return fmt::format("{}: {}", outcome, too_few_text(verdict));
    case Reason::no_difference:
      return fmt::format(
          "{} ({})", outcome,
          verdict.signal_bits_differ ? "no difference but in bits, which noise has too" : "no difference at all");
    case Reason::no_noise:
      return fmt::format("{} ({})", outcome, no_noise_text(verdict));
    case Reason::ratio_without_test:
      return fmt::format("{}, but chance does as much (p = {:.2g}, {})", ratio(), verdict.test->p_value,
                         units_text(verdict));
    default:
      return fmt::format("{} (p = {:.2g}, {})", ratio(), verdict.test->p_value, units_text(verdict));
  }
}

/// Of rows that noise and change do not have at the same steps; empty where there are none.
inline std::string left_out_text(const Verdict& verdict) {
  if (verdict.noise_left_out + verdict.signal_left_out == 0) return "";
  return fmt::format("; {} and {} of noise are left out, at steps that not all comparisons have",
                     counted(verdict.signal_left_out, "row"), verdict.noise_left_out);
}

inline std::string rows_text(const Verdict& verdict) {
  const std::string signal =
      fmt::format("{} in {}", counted(verdict.signal.size(), "row"), counted(verdict.signal_comparisons, "comparison"));
  if (verdict.noise_from_digests) return signal + " against digests of all repetitions, which are equal";
  if (verdict.noise.empty()) return signal + left_out_text(verdict);
  return fmt::format("{} against {} of noise {} in {}{}", signal, counted(verdict.noise.size(), "row"),
                     noise_between(verdict), counted(verdict.noise_comparisons, "comparison"), left_out_text(verdict));
}

inline std::string area_text(const Verdict& verdict) {
  std::string out = fmt::format("AUC {:.3f}", *verdict.auc);
  if (!verdict.auc_low) return out + " without an interval";
  return out + fmt::format(", 95 % interval {:.3f} to {:.3f} over {}", *verdict.auc_low, *verdict.auc_high,
                           units_text(verdict));
}

inline std::string partial_auc_text(const Verdict& verdict) {
  if (verdict.partial_auc) return fmt::format("partial AUC below 1 % false positives {:.3f}", *verdict.partial_auc);
  return fmt::format("partial AUC below 1 % false positives: not enough data ({} rows of noise, {} are needed)",
                     verdict.noise.size(), fewest_noise_rows);
}

/// How the p-value came about, and what it could have been.
inline std::string test_text(const Verdict& verdict) {
  const PermutationTest& test = *verdict.test;
  std::string out =
      fmt::format("permutation test of {} {}arrangements", test.arrangements, test.exhaustive ? "(all) " : "drawn ");
  if (!test.can_reject())
    out += fmt::format(", whose p is never below {:.2g}, where {:g} is needed", test.smallest_p, false_positive_rate);
  if (verdict.unit == Unit::step) out += ", which takes steps as independent";
  return out;
}

/// "12 prompts (384 tokens)", "45 steps": where the need is known.
inline std::string needed_text(const Verdict& verdict) {
  const std::string units = counted(static_cast<std::size_t>(*verdict.needed_units), name_of(verdict.unit));
  return verdict.unit == Unit::step ? units : fmt::format("{} ({:.0f} tokens)", units, *verdict.needed_tokens);
}

/// Empty where nothing says it.
inline std::string need_text(const Verdict& verdict) {
  if (!verdict.needed_units) return "";
  return fmt::format("; such a difference is found with 95 % power at 1 % false positives from {}{} on",
                     needed_text(verdict), verdict.test->paired == 0 ? " on each side" : "");
}

inline std::string basis_text(const Verdict& verdict) {
  switch (verdict.reason) {
    case Reason::no_signal:
      return "";
    case Reason::no_noise_measured:
    case Reason::no_shared_steps:
    case Reason::no_difference:
    case Reason::no_noise:
      return "; " + rows_text(verdict);
    default:
      return fmt::format("; {}; {} of {} largest rows reach {:g}x; {}; {}; {}{}", test_text(verdict),
                         verdict.levels_reached, verdict.signal_levels, verdict.threshold, area_text(verdict),
                         partial_auc_text(verdict), rows_text(verdict), need_text(verdict));
  }
}

}  // namespace detail

/// Verdict::text.
inline std::string text_of(const Verdict& verdict) {
  std::string out = verdict.answer + detail::basis_text(verdict);
  for (const Caveat& caveat : verdict.caveats) out += "; " + caveat.text();
  return out;
}

}  // namespace fpf::compare
