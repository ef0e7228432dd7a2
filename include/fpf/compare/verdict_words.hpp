// The words of verdicts, each with what it means and what to do: tables, JSON, CSV and the report's glossary have
// them from here. A new reason or caveat is an enumerator in its list, and its row.
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

/// Does the change show?
enum class Outcome : std::uint8_t { cannot_tell, not_detectable, detectable };

inline constexpr std::array<std::string_view, 3> outcome_words{"cannot tell", "not detectable", "detectable"};

constexpr std::string_view name_of(Outcome outcome) { return outcome_words.at(static_cast<std::size_t>(outcome)); }

/// Why an outcome is what it is; each belongs to one outcome.
enum class Reason : std::uint8_t {
  no_signal,           // no rows with equal inputs show the change
  no_noise_measured,   // nothing to hold them against
  no_shared_steps,     // what differs stands at steps that noise and change do not share
  too_few_units,       // no data of so few prompts or steps could pass the test
  ratio_without_test,  // the largest distances reach the threshold, and the test does not reject
  no_difference,       // the change does nothing, or nothing but what noise does, too
  test_does_not_reject,
  test_rejects,
  no_noise  // equal runs are equal, and the changed ones differ
};

/// A reason's outcome, its names in files, and its words.
struct ReasonWord {
  Outcome outcome;
  std::string_view id;  // in JSON and CSV
  VerdictWord words;
};

inline constexpr std::array<ReasonWord, 9> reason_words{{
    {Outcome::cannot_tell,
     "no_signal",
     {"cannot tell: no rows",
      "No row with equal inputs shows the change: the runs' tokens differ from the first step on, or a file lacks the signal.",
      "Feed both sides equal tokens, or record the signal on both."}},
    {Outcome::cannot_tell,
     "no_noise_measured",
     {"cannot tell: no noise was measured",
      "Nothing says how far equal runs are apart, so that no distance is large or small.",
      "Run repetitions, or the same values on a second machine."}},
    {Outcome::cannot_tell,
     "no_shared_steps",
     {"cannot tell: no shared steps",
      "The changed runs differ only at steps at which not all runs can be compared: their tokens differ there, or a "
      "file lacks the rows.",
      "Feed all runs equal tokens, so that noise and change are measured at the same steps."}},
    {Outcome::cannot_tell,
     "too_few_units",
     {"cannot tell: too few prompts or steps",
      "Even if every one of them spoke for the change, chance would do the same more often than once in a hundred.",
      "Run as many prompts as the verdict names, or more steps of one."}},
    {Outcome::cannot_tell,
     "ratio_without_test",
     {"cannot tell: large distances, but by chance",
      "Most of its largest distances reach the threshold, while the test finds that chance would do so more often than "
      "once in a hundred.",
      "A few rows stand out. Look at the distance by step, and run more prompts before relying on it."}},
    {Outcome::not_detectable,
     "no_difference",
     {"not detectable (no difference)",
      "The changed runs are at no distance from the baseline; where bits differ, those of equal runs do, too.",
      "Nobody can tell this change from these signals. Look at other signals and layers before calling it harmless."}},
    {Outcome::not_detectable,
     "test_does_not_reject",
     {"not detectable", "The test does not tell the change from noise, and its largest distances are not larger.",
      "It is no proof that nothing changed: other signals, layers or more prompts may show it."}},
    {Outcome::detectable,
     "test_rejects",
     {"detectable", "Its distances rank above those of noise; by chance that would happen in less than 1 of 100 cases.",
      "A distance of this kind tells the change from noise. Prompts needed says how many a test takes."}},
    {Outcome::detectable,
     "no_noise",
     {"detectable (no noise)",
      "Equal runs are at no distance from each other at the steps compared, and the changed ones differ there: the "
      "change shows, as far as the rows of noise that the verdict names stand for all; no test decides here.",
      "One run beside an equal one is enough, as long as the noise stays zero on other machines."}},
}};

constexpr const ReasonWord& info(Reason reason) { return reason_words.at(static_cast<std::size_t>(reason)); }
constexpr Outcome outcome_of(Reason reason) { return info(reason).outcome; }
constexpr std::string_view id_of(Reason reason) { return info(reason).id; }

/// In JSON and CSV.
constexpr std::string_view id_of(Outcome outcome) {
  constexpr std::array<std::string_view, 3> ids{"cannot_tell", "not_detectable", "detectable"};
  return ids.at(static_cast<std::size_t>(outcome));
}

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
