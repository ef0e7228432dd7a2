// What a comparison finds, as plain values: everything the tables, the result JSON and the report show.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <fpf/compare/metrics.hpp>
#include <fpf/compare/permutation.hpp>
#include <fpf/compare/tap.hpp>
#include <fpf/compare/ulp.hpp>
#include <fpf/compare/verdict_words.hpp>
#include <fpf/evidence/prompts.hpp>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace fpf::compare {

/// A row's place: its prompt, and its step in that prompt's run.
struct RowPlace {
  std::size_t prompt = 0;  // index into Analysis::prompts
  int step = 0;            // the row is position prompt + step; -2 and -1 are the prompt's last two
  friend auto operator<=>(const RowPlace&, const RowPlace&) = default;
};

/// Distances of one unique row (one absolute position of one prompt) between two runs.
struct RowDistance {
  std::size_t prompt = 0;    // index into Analysis::prompts
  int step = 0;              // the row is position prompt + step; -2 and -1 are the prompt's last two
  std::size_t elements = 0;  // compared; for logprobs_aligned the number of common ids
  bool bits_differ = false;  // of a value, or ids
  std::array<double, metrics.size()> values{};  // as the table of metrics has them; of what the signal lacks, no matter

  double operator[](std::size_t metric) const { return values[metric]; }
};

/// One tap of one comparison, over the rows that both runs have and whose inputs are equal.
struct TapDistance {
  Tap tap;
  std::array<std::array<double, ShownStatistics::most>, metrics.size()> statistics{};  // of each metric; 0 without rows
  double mean_elements = 0;                 // of a row: for logprobs_aligned the mean number of common ids
  UlpHistogram ulp;                         // all zero for logprobs_aligned
  std::optional<int> first_difference;      // lowest step of a row that is not bit-equal
  std::size_t first_difference_prompt = 0;  // the first prompt that differs at that step
  std::vector<RowDistance> rows;            // ascending by prompt, then by step

  double operator[](const StatisticPlace& place) const { return statistics[place.metric][place.statistic]; }
};

/// How the two sides of a comparison differ.
enum class PairKind : std::uint8_t {
  repetition,            // one configuration, two stored repetitions: noise of one machine
  same_hardware_noise,   // equal value and hardware from two files: noise between machines of one type
  cross_hardware_noise,  // equal value, different hardware: the plan's baseline
  within_hardware,       // different value, equal hardware: the plan's signal
  cross_hardware_signal  // different value, different hardware: the plan's key test
};

constexpr std::string_view name_of(PairKind kind) {
  constexpr std::array<std::string_view, 5> names{"repetition", "same_hardware_noise", "cross_hardware_noise",
                                                  "within_hardware", "cross_hardware_signal"};
  return names[static_cast<std::size_t>(kind)];
}
constexpr bool is_noise(PairKind kind) { return kind <= PairKind::cross_hardware_noise; }

/// What a comparison finds of one prompt, before any signal is looked at.
struct PromptSteps {
  std::size_t prompt = 0;                   // index into Analysis::prompts
  std::optional<int> first_divergent_step;  // the runs were fed other tokens from this decode step on
  int steps_compared = 0;                   // decode steps whose inputs are equal and that both runs have
  /// Where tokens were given: of the steps with equal inputs, those whose choices the files hold, those at which the
  /// runs would have chosen differently, and the first of them.
  int choices = 0, other_choices = 0;
  std::optional<int> first_other_choice;
};

struct Comparison {
  std::size_t a = 0, b = 0;  // indices into Analysis::configurations; equal for a repetition
  int repetition_a = 0, repetition_b = 0;
  PairKind kind{};
  bool against_baseline = false;          // exactly one side is the baseline value
  std::vector<PromptSteps> prompts;       // that both sides ran, ascending
  std::vector<std::string> also_differs;  // conditions beside the variable: "threads 2 against 1"
  std::vector<TapDistance> taps;          // in the order of Analysis::taps; a tap that one side lacks is absent

  /// Of all prompts.
  int steps_compared() const {
    int sum = 0;
    for (const PromptSteps& one : prompts) sum += one.steps_compared;
    return sum;
  }

  /// The first prompt whose tokens differ earliest; null where none do.
  const PromptSteps* first_divergence() const {
    const PromptSteps* first = nullptr;
    for (const PromptSteps& one : prompts)
      if (one.first_divergent_step && (first == nullptr || *one.first_divergent_step < *first->first_divergent_step))
        first = &one;
    return first;
  }

  const TapDistance* find(const Tap& tap) const {
    for (const auto& entry : taps)
      if (entry.tap == tap) return &entry;
    return nullptr;
  }

  /// Where the runs differ first, in the order of a forward pass: the lowest step, then the first prompt, the lowest
  /// layer, a layer's signals in their turns, those of the head last. Null where all rows are equal.
  const TapDistance* first_difference() const {
    const auto order = [](const TapDistance& entry) {
      return std::tuple(*entry.first_difference, entry.first_difference_prompt, entry.tap.layer < 0, entry.tap.layer,
                        evidence::info(entry.tap.signal.stored).computed);
    };
    const TapDistance* first = nullptr;
    for (const auto& entry : taps)
      if (entry.first_difference && (first == nullptr || order(entry) < order(*first))) first = &entry;
    return first;
  }
};

/// Repetitions of one configuration against each other.
struct Reproducibility {
  enum class Basis : std::uint8_t {
    none,               // one repetition and no digests
    digests,            // which the stored repetitions' vectors have
    unchecked_digests,  // of a run that ended early: its last rows are not stored
    vectors             // of stored repetitions
  };
  Basis basis = Basis::none;
  int repetitions = 1;
  bool bit_exact = false;        // meaningful unless basis is none
  std::string first_difference;  // "step 3, key_vectors layer 12", or empty

  Repeats repeats() const { return basis == Basis::none ? Repeats::unknown : bit_exact ? Repeats::yes : Repeats::no; }
};

constexpr std::string_view name_of(Reproducibility::Basis basis) {
  constexpr std::array<std::string_view, 4> names{"none", "digests", "unchecked digests", "vectors"};
  return names[static_cast<std::size_t>(basis)];
}

/// Run time per repetition, in seconds. Variance is the population's.
struct Timing {
  std::vector<double> seconds;
  double mean = 0, variance = 0;
  std::optional<double> prefill_seconds, decode_seconds;
};

struct Configuration {
  /// One of fpf's own kernels, as the manifest has it.
  struct Kernel {
    std::string nvrtc;        // version of its compiler
    std::string code_sha256;  // of the machine code alone
    std::uint64_t instructions = 0;
    std::uint32_t registers = 0;  // a thread
  };

  std::string id;        // unique in the analysis: a second "H100_bs2" is "H100_bs2#2"
  std::string hardware;  // a label
  std::string device;    // what the manifest says the device calls itself; empty where nothing does
  std::string provider;
  std::string value;  // JSON text of variable_value, strings without quotes
  bool baseline = false;
  std::string file;                                           // where it was read
  std::vector<std::pair<std::string, std::string>> versions;  // cuda, torch, ... as the file names them
  std::vector<int> stored_repetitions;
  int decode_steps = 0;  // stored steps of the repetition that is compared, of all prompts
  std::string status;    // empty, or why the run ended early ("non_finite: ...")
  Reproducibility reproducibility;
  Timing timing;
  std::map<std::string, Kernel> kernels;  // by name; none on a CPU
  std::vector<std::string> by_libraries;  // "prefill qkv": what libtorch's libraries carried out on a GPU
  std::string machine;                    // its device, kind and threads: "NVIDIA H100 80GB HBM3, cuda"; or empty
  std::string fpf;                        // what wrote it: "0.1.0, revision 85c5c37860e9"; or empty
};

/// One of the prompts that all configurations of an experiment were given, as far as a file says it.
struct Prompt {
  std::int64_t number = 0;  // its prompt_index, else its place
  std::string sha256;       // over the token ids
  std::string words;        // its beginning, “as text”; the first ids where there is none
  std::size_t tokens = 0;
};

/// Across: signal is cross_hardware_signal, noise is cross_hardware_noise (the plan's key test).
/// Within: signal is within_hardware, noise is repetition and same_hardware_noise.
enum class Scope : std::uint8_t { within_hardware, across_hardware };

constexpr std::string_view name_of(Scope scope) {
  return scope == Scope::within_hardware ? "within hardware" : "across hardware";
}

/// What is taken as one observation: a prompt, where there are enough of them, else each step of the few there are.
enum class Unit : std::uint8_t { prompt, step };

constexpr std::string_view name_of(Unit unit) { return unit == Unit::prompt ? "prompt" : "step"; }

/// The distances of one value's signal at one tap against the noise, and the verdict.
struct Verdict {
  Tap tap;
  Scope scope{};
  std::string baseline_value, value;  // the change that is tested
  Reason reason{};                    // says the outcome, too
  std::string
      answer;        // does the change show: "detectable: 2.3x the noise between repetitions (p = 0.0002, 30 prompts)"
  std::string text;  // the answer and what it rests on: rows, noise, interval, caveats
  std::vector<Caveat> caveats;  // what the outcome may be due to instead

  std::vector<double> noise, signal;                    // by the deciding metric: the rows of verdict_rows.hpp
  std::vector<RowPlace> noise_places, signal_places;    // of each of them
  std::size_t noise_left_out = 0, signal_left_out = 0;  // rows at steps that not all comparisons have
  bool left_out_differ = false;                         // of signal, in any row
  std::vector<double> noise_largest, signal_largest;    // of each comparison and prompt the largest row
  std::size_t noise_comparisons = 0, signal_comparisons = 0;
  std::size_t noise_repetitions = 0;  // of noise_comparisons, those between repetitions of one configuration
  bool noise_from_digests = false;    // zero noise known from digests, so that `noise` is empty
  bool noise_bits_differ = false, signal_bits_differ = false;  // in any row, token ids included

  double threshold = 1.5;
  double noise_floor = 0;       // mean over the noise comparisons and prompts of their largest row: the plan's baseline
  double signal_level = 0;      // mean over the signal comparisons and prompts of their largest row
  std::optional<double> ratio;  // signal_level / noise_floor; none when the floor is zero
  std::size_t signal_levels = 0, levels_reached = 0;  // signal comparisons times prompts; those of ratio >= threshold

  Unit unit = Unit::step;                         // of the test, the interval and the need
  std::size_t noise_units = 0, signal_units = 0;  // distinct ones on each side
  std::size_t prompts = 0;                        // on either side
  std::optional<PermutationTest> test;            // none without rows on both sides
  std::optional<double> auc, auc_low, auc_high;   // P(signal > noise) + P(equal) / 2, and its 95 % interval over units
  std::optional<double> partial_auc;  // false-positive rate up to 1 %, standardised (0.5 is chance); none for
                                      // fewer than 100 rows of noise
  std::optional<double> hedges_g, cliffs_delta;       // effect size, of rows
  std::optional<double> needed_units, needed_tokens;  // on each side for 95 % power at 1 % false positives

  Outcome outcome() const { return outcome_of(reason); }
};

/// The answer with its caveats, for a cell of a table; the verdict's text has all of them.
inline std::string headline_of(const Verdict& verdict) {
  std::string out = verdict.answer;
  for (const Caveat& caveat : verdict.caveats) out += "; " + caveat.brief();
  return out;
}

inline std::vector<std::string> texts_of(const std::vector<Caveat>& caveats) {
  std::vector<std::string> out;
  for (const Caveat& caveat : caveats) out.push_back(caveat.text());
  return out;
}

/// For what a file does not state.
inline const std::string not_recorded = "not recorded";

/// "“The quick brown…”, 40 tokens, SHA-256 27bf...", or of several prompts how many, how long, and how the first
/// begins.
inline std::string prompt_text(const std::vector<Prompt>& prompts) {
  const Prompt& first = prompts.front();
  const auto tokens = [](std::size_t count) { return fmt::format("{} token{}", count, count == 1 ? "" : "s"); };
  if (prompts.size() > 1) {
    std::string out = fmt::format("{} prompts", prompts.size());
    if (std::ranges::all_of(prompts, [&](const Prompt& one) { return one.tokens == first.tokens; }) &&
        first.tokens != 0)
      out += " of " + tokens(first.tokens);
    return first.words.empty() ? out : fmt::format("{}, the first {}", out, first.words);
  }
  if (first.sha256.empty() && first.tokens == 0) return not_recorded;
  std::string out = first.words.empty() ? "" : first.words + ", ";
  if (first.tokens != 0) out += tokens(first.tokens) + ", ";
  return out + "SHA-256 " + (first.sha256.empty() ? not_recorded : first.sha256);
}

/// "step 3", and where there are several prompts "step 3 of prompt 7".
inline std::string step_text(const std::vector<Prompt>& prompts, int step, std::size_t prompt) {
  return prompts.size() == 1 ? fmt::format("step {}", step)
                             : fmt::format("step {} of {}", step, evidence::prompt_name(prompts[prompt].number));
}

/// Whether run time alone tells two configurations of one hardware type apart.
struct TimingComparison {
  std::size_t a = 0, b = 0;
  double ratio = 1;  // mean(b) / mean(a)
  std::optional<double> t,
      p_value;  // Welch's test, two-sided; none with fewer than two repetitions on a side
  bool separated = false;
  std::string text;

  TimeOutcome outcome() const {
    if (!p_value) return TimeOutcome::not_tested;
    return separated ? TimeOutcome::separated : TimeOutcome::not_separated;
  }
};

/// Symmetric distances between all configurations at one tap, by the deciding metric; NaN where there is no common row.
struct DistanceMatrix {
  Tap tap;
  std::size_t size = 0;
  std::vector<double> max, mean;  // [size, size], row-major, in the order of Analysis::configurations
};

/// What a reader takes on the author's word, by the fields' names: "hardware, runtime.seconds".
inline std::string trusted_names(const std::vector<std::string>& not_checked) {
  std::string out;
  for (const std::string& path : not_checked) {
    std::string name = path.substr(path.find('/') + 1);
    if (name.starts_with("*/")) name.erase(0, 2);
    if (name.ends_with("/*")) name.resize(name.size() - 2);
    std::ranges::replace(name, '/', '.');
    out += (out.empty() ? "" : ", ") + name;
  }
  return out;
}

/// One experiment, from one file or several joined.
struct Analysis {
  std::string experiment_type, variable, model;
  std::vector<std::string> files;
  std::vector<Prompt> prompts{{}};   // ascending by number
  std::vector<std::string> created;  // when the files were written, as they say; distinct, sorted
  double threshold = 1.5;
  bool after_divergence = false;
  bool weights_identified = true;        // every configuration says by content which weights it ran
  bool conditions_recorded = true;       // and has a manifest
  std::vector<std::string> not_checked;  // fields of the files that nothing here supports: "configurations/*/provider"
  std::vector<Configuration> configurations;
  std::vector<std::string> hardware;  // distinct, sorted
  std::optional<std::string> baseline_value;
  std::vector<Tap> taps;  // what was compared, signals in order, layers ascending
  std::vector<Comparison> comparisons;
  std::vector<DistanceMatrix> matrices;  // one per tap
  std::vector<Verdict> verdicts;
  std::vector<TimingComparison> timing;
  std::vector<std::string> notes;  // what a reader should know: dropped rows, missing baselines, ...

  const Verdict* find_verdict(const Tap& tap, Scope scope, std::string_view value) const {
    for (const auto& entry : verdicts)
      if (entry.tap == tap && entry.scope == scope && entry.value == value) return &entry;
    return nullptr;
  }
};

}  // namespace fpf::compare
