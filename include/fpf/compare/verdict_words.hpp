// The words of verdicts, each with what it means and what to do: tables, JSON, CSV and the report's glossary have
// them from here. A new outcome or caveat is an enumerator at the end of its list, and its row.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace fpf::compare {

/// A word of a verdict, for readers who have never seen one.
struct VerdictWord {
  std::string_view word, meaning, advice;
};

/// Whether a change of value can be told from noise.
enum class Outcome : std::uint8_t {
  not_enough_data,  // no noise measured, or too few rows: the verdict's text says which
  identical,        // no difference at all
  zero_noise,       // noise floor is zero: any difference is detectable
  detectable,       // by the ratio and by rank
  ratio_only,       // by the plan's ratio alone
  rank_only,        // by rank (AUC above chance) alone
  not_detectable
};

inline constexpr std::array<VerdictWord, 7> outcome_words{{
    {"not enough data",
     "Nothing is concluded: no rows with equal inputs, no noise to hold them against, or too few decode steps.",
     "Read what the verdict rests on: it names what is missing. Run more steps or repetitions, or the same values on a "
     "second machine."},
    {"identical",
     "The changed runs are at no distance from the baseline; where bits differ, those of equal runs do, too.",
     "Nobody can tell this change from these signals. Look at other signals and layers before calling it harmless."},
    {"noise floor is zero",
     "Equal runs are at no distance from each other, and the changed ones differ: the change shows.",
     "Taken for detectable. One run beside an equal one is enough, as long as the noise stays zero on other machines."},
    {"detectable", "The change shows by both rules: by ratio and by rank.",
     "A difference of this size tells the change from noise. Tokens needed says how many rows a test takes."},
    {"detectable by ratio",
     "Most of its largest distances reach the threshold, while its rows as a whole do not rank above noise.",
     "A few rows stand out. Look at the distance by step, and run more steps before relying on it."},
    {"detectable by rank",
     "Its rows rank above those of noise more often than chance, while its largest distances do not "
     "reach the threshold.",
     "A small but steady difference: it takes many rows. Tokens needed says how many."},
    {"not detectable", "By neither rule can the change be told from noise.",
     "It is no proof that nothing changed: other signals, layers or more rows may show it."},
}};

constexpr std::string_view name_of(Outcome outcome) { return outcome_words.at(static_cast<std::size_t>(outcome)).word; }

/// What an outcome may be due to instead, or rests on without having been checked.
enum class CaveatKind : std::uint8_t { also_differs, weights_not_identified, labelled_hardware };

inline constexpr std::array<VerdictWord, 3> caveat_words{{
    {"also differs",
     "The compared runs differ in conditions beside the one that was changed; they are named with both "
     "values, and \"not recorded\" stands for one that a file does not state.",
     "The difference may come from those conditions. Run both sides with equal ones."},
    {"weights not identified",
     "A file does not say by content which weights it ran, so other weights under the same name "
     "would look like this, too.",
     "Record the evidence anew with the weights' digests (fpf's experiments write them), or compare digests by hand."},
    {"hardware by label",
     "Hardware is what the author of a file calls it; the devices call themselves otherwise, and so are named here.",
     "Judge by the devices' own names whether this is a comparison across hardware."},
}};

/// A caveat with its particulars: "also differs: threads 2 against 1".
struct Caveat {
  CaveatKind kind{};
  std::string detail;

  std::string text() const {
    const std::string word(caveat_words.at(static_cast<std::size_t>(kind)).word);
    return detail.empty() ? word : word + ": " + detail;
  }
  /// For a cell of a table: names of devices stand elsewhere.
  std::string brief() const { return kind == CaveatKind::labelled_hardware ? Caveat{kind, ""}.text() : text(); }
};

/// What run times say of two configurations.
enum class TimeOutcome : std::uint8_t { not_tested, not_separated, separated };

inline constexpr std::array<VerdictWord, 3> time_words{{
    {"too few repetitions, or none that vary, for a test",
     "Run times of two configurations are not held against each other.",
     "Run more repetitions; three give a first test."},
    {"run time alone does not separate them", "Welch's test at 1 % finds no difference of the mean run times.",
     "Nothing is proved: with more repetitions it may."},
    {"run time alone separates them", "Welch's test at 1 % finds different mean run times, on one hardware type.",
     "A clock tells this change already, as long as nothing else runs there."},
}};

constexpr std::string_view name_of(TimeOutcome outcome) { return time_words[static_cast<std::size_t>(outcome)].word; }

/// Whether a configuration's repetitions have the same bits.
enum class Repeats : std::uint8_t { unknown, no, yes };

inline constexpr std::array<VerdictWord, 3> repeat_words{{
    {"unknown", "It ran once, or the file does not say.", "Run at least two repetitions, as fpf's experiments do."},
    {"NO", "Repetitions of the same configuration on the same machine differ.",
     "Find out why before relying on any verdict here: its own noise is in every distance."},
    {"yes", "All repetitions are equal bit for bit, by their digests or by their stored vectors.",
     "Nothing: the machine's own noise is zero."},
}};

constexpr std::string_view name_of(Repeats repeats) { return repeat_words[static_cast<std::size_t>(repeats)].word; }

}  // namespace fpf::compare
