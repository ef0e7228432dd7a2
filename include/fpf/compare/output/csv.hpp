// Every number of the result JSON as CSV (RFC 4180, UTF-8): one file a kind, over all experiments.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <filesystem>
#include <fpf/compare/analysis.hpp>
#include <fpf/compare/plan/published.hpp>
#include <fpf/compare/verdict_text.hpp>
#include <fpf/core/atomic_file.hpp>
#include <fpf/core/parse_number.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::compare::report {

/// Whether a spreadsheet would compute the text instead of showing it (OWASP, "CSV Injection": what begins with =, +,
/// -, @, their full-width forms, a tab or an end of line). A number is one as it stands.
inline bool begins_formula(std::string_view text) {
  constexpr std::string_view signs[] = {"=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"};
  return std::ranges::any_of(signs, [&](auto sign) { return text.starts_with(sign); }) && !parse_number<double>(text);
}

/// Appends rows to a file. Numbers in their shortest form that reads back the same; nothing for what is missing; text
/// that begins a formula behind a quote ('), quoted.
class CsvFile {
 public:
  CsvFile(const std::filesystem::path& path, std::string_view header) : file_(path) {
    text_.append(header).append("\n");
  }

  /// A vector is as many fields.
  template <class... Fields>
  void row(const Fields&... fields) {
    bool first = true;
    (put(first, fields), ...);
    text_ += '\n';
    if (text_.size() > 1 << 20) flush();
  }

  void commit() {
    flush();
    file_.commit();
  }

 private:
  void flush() {
    file_.append(text_);
    text_.clear();
  }
  template <class T>
  void put(bool& first, const T& field) {
    if (!std::exchange(first, false)) text_ += ',';
    add(field);
  }
  template <class T>
  void put(bool& first, const std::vector<T>& fields) {
    for (const T& field : fields) put(first, field);
  }
  void add(std::string_view text) {
    const bool formula = begins_formula(text);
    if (!formula && text.find_first_of(",\"\r\n") == std::string_view::npos) {
      text_ += text;
      return;
    }
    text_ += formula ? "\"'" : "\"";
    for (const char c : text) text_.append(c == '"' ? 2 : 1, c);
    text_ += '"';
  }
  void add(const std::string& text) { add(std::string_view(text)); }
  void add(const char* text) { add(std::string_view(text)); }
  void add(bool value) { text_ += value ? "true" : "false"; }
  template <std::integral T>
  void add(T value) {
    text_ += std::to_string(value);
  }
  void add(double value) {
    if (!std::isnan(value)) text_ += fmt::format("{}", value);
  }
  template <class T>
  void add(const std::optional<T>& value) {
    if (value) add(*value);
  }

  AtomicFile file_;
  std::string text_;
};

namespace detail {

inline std::optional<int> layer_of(const Tap& tap) { return tap.layer < 0 ? std::nullopt : std::optional(tap.layer); }

struct Named {
  std::size_t index;  // of the analysis, as in the JSON's list
  const Analysis& analysis;
  const std::string& id(std::size_t configuration) const { return analysis.configurations[configuration].id; }
};

inline void write_configurations(const std::filesystem::path& folder, const std::vector<Analysis>& analyses) {
  CsvFile out(folder / "configurations.csv",
              "experiment,experiment_type,config_id,hardware,provider,value,baseline,file,versions,status,"
              "decode_steps,"
              "stored_repetitions,reproducibility_basis,repetitions,bit_exact,first_difference,runtime_mean,"
              "runtime_variance,"
              "prefill_seconds,decode_seconds");
  CsvFile times(folder / "run_times.csv", "experiment,config_id,repetition,seconds");
  for (std::size_t e = 0; e < analyses.size(); ++e)
    for (const Configuration& c : analyses[e].configurations) {
      const Reproducibility& r = c.reproducibility;
      std::vector<std::string> versions;
      for (const auto& [name, version] : c.versions) versions.push_back(name + "=" + version);
      const bool known = r.basis != Reproducibility::Basis::none;
      const std::string_view bit_exact = !known ? "" : r.bit_exact ? "true" : "false";
      out.row(e, analyses[e].experiment_type, c.id, c.hardware, c.provider, c.value, c.baseline, c.file,
              fmt::format("{}", fmt::join(versions, "; ")), c.status.empty() ? "complete" : c.status, c.decode_steps,
              fmt::format("{}", fmt::join(c.stored_repetitions, " ")), name_of(r.basis), r.repetitions, bit_exact,
              r.first_difference, c.timing.mean, c.timing.variance, c.timing.prefill_seconds, c.timing.decode_seconds);
      for (std::size_t i = 0; i < c.timing.seconds.size(); ++i) times.row(e, c.id, i, c.timing.seconds[i]);
    }
  out.commit();
  times.commit();
}

/// A member of the test; nothing where there was none.
template <class T>
std::optional<T> of_test(const Verdict& verdict, T PermutationTest::*member) {
  return verdict.test ? std::optional<T>((*verdict.test).*member) : std::nullopt;
}

inline void write_prompts(const std::filesystem::path& folder, const std::vector<Analysis>& analyses) {
  CsvFile out(folder / "prompts.csv", "experiment,prompt,sha256,tokens,words");
  for (std::size_t e = 0; e < analyses.size(); ++e)
    for (const Prompt& prompt : analyses[e].prompts)
      out.row(e, prompt.number, prompt.sha256, prompt.tokens, prompt.words);
  out.commit();
}

inline void write_verdicts(const std::filesystem::path& folder, const std::vector<Analysis>& analyses) {
  CsvFile out(
      folder / "verdicts.csv",
      "experiment,experiment_type,signal,layer,scope,baseline_value,value,outcome,reason,answer,text,caveats,threshold,"
      "noise_floor,signal_level,ratio,signal_levels,levels_reached,signal_comparisons,noise_comparisons,"
      "noise_from_digests,noise_between,signal_rows,noise_rows,unit,prompts,signal_units,noise_units,paired_units,"
      "p_value,smallest_p_value,arrangements,exhaustive,false_positive_rate,auc,auc_low,auc_high,partial_auc_fpr_0.01,"
      "hedges_g,cliffs_delta,needed_units,needed_tokens");
  for (std::size_t e = 0; e < analyses.size(); ++e)
    for (const Verdict& v : analyses[e].verdicts)
      out.row(e, analyses[e].experiment_type, name_of(v.tap.signal), layer_of(v.tap), name_of(v.scope),
              v.baseline_value, v.value, id_of(v.outcome()), id_of(v.reason), v.answer, v.text,
              fmt::format("{}", fmt::join(texts_of(v.caveats), "; ")), v.threshold, v.noise_floor, v.signal_level,
              v.ratio, v.signal_levels, v.levels_reached, v.signal_comparisons, v.noise_comparisons,
              v.noise_from_digests, noise_between(v), v.signal.size(), v.noise.size(), name_of(v.unit), v.prompts,
              v.signal_units, v.noise_units, of_test(v, &PermutationTest::paired),
              of_test(v, &PermutationTest::p_value), of_test(v, &PermutationTest::smallest_p),
              of_test(v, &PermutationTest::arrangements), of_test(v, &PermutationTest::exhaustive), false_positive_rate,
              v.auc, v.auc_low, v.auc_high, v.partial_auc, v.hedges_g, v.cliffs_delta, v.needed_units, v.needed_tokens);
  out.commit();
}

/// "l2_max,l2_mean,...": a column for each statistic of these metrics.
inline std::string statistic_columns(const std::vector<std::size_t>& places) {
  std::vector<std::string> out;
  for (const std::size_t m : places)
    for (std::size_t i = 0; i < metrics[m].statistics.size(); ++i) out.push_back(column_name({m, i}));
  return fmt::format("{}", fmt::join(out, ","));
}

inline std::vector<std::optional<double>> statistics_of(const TapDistance& tap,
                                                        const std::vector<std::size_t>& places) {
  std::vector<std::optional<double>> out;
  for (const std::size_t m : places)
    for (std::size_t i = 0; i < metrics[m].statistics.size(); ++i)
      out.push_back(metrics[m].is_of(tap.tap.signal) ? std::optional(tap[{m, i}]) : std::nullopt);
  return out;
}

/// "l2,relative_l2,...": a column for each of these metrics.
inline std::string metric_columns(const std::vector<std::size_t>& places) {
  std::vector<std::string_view> out;
  for (const std::size_t m : places) out.push_back(metrics[m].name);
  return fmt::format("{}", fmt::join(out, ","));
}

inline std::vector<std::optional<double>> values_of(const RowDistance& row, Signal signal,
                                                    const std::vector<std::size_t>& places) {
  std::vector<std::optional<double>> out;
  for (const std::size_t m : places) out.push_back(metrics[m].is_of(signal) ? std::optional(row[m]) : std::nullopt);
  return out;
}

/// comparisons.csv, rows.csv and ulp.csv.
inline void write_comparisons(const std::filesystem::path& folder, const std::vector<Analysis>& analyses) {
  const auto all = metrics_of_all(), some = metrics_of_some();
  const std::string key = "experiment,a,b,repetition_a,repetition_b,";
  CsvFile out(folder / "comparisons.csv",
              fmt::format("{}kind,against_baseline,prompts,first_divergent_step,first_divergent_prompt,steps_compared,"
                          "signal,layer,rows,{},first_differing_step,first_differing_prompt,common_ids,{}",
                          key, statistic_columns(all), statistic_columns(some)));
  CsvFile rows(folder / "rows.csv", fmt::format("{}signal,layer,prompt,step,{},elements,{}", key, metric_columns(all),
                                                metric_columns(some)));
  CsvFile ulps(folder / "ulp.csv", key + "signal,layer,dtype,from,to,count");
  for (std::size_t e = 0; e < analyses.size(); ++e) {
    const Named names{e, analyses[e]};
    for (const Comparison& c : analyses[e].comparisons)
      for (const TapDistance& t : c.taps) {
        const auto signal = name_of(t.tap.signal);
        const auto layer = layer_of(t.tap);
        const auto common_ids = t.tap.signal.view == View::aligned ? std::optional(t.mean_elements) : std::nullopt;
        const PromptSteps* divergence = c.first_divergence();
        const auto number = [&](bool is, std::size_t prompt) {
          return is ? std::optional(analyses[e].prompts[prompt].number) : std::nullopt;
        };
        out.row(e, names.id(c.a), names.id(c.b), c.repetition_a, c.repetition_b, name_of(c.kind), c.against_baseline,
                c.prompts.size(), divergence == nullptr ? std::nullopt : divergence->first_divergent_step,
                number(divergence != nullptr, divergence == nullptr ? 0 : divergence->prompt), c.steps_compared(),
                signal, layer, t.rows.size(), statistics_of(t, all), t.first_difference,
                number(t.first_difference.has_value(), t.first_difference_prompt), common_ids, statistics_of(t, some));
        for (const RowDistance& row : t.rows)
          rows.row(e, names.id(c.a), names.id(c.b), c.repetition_a, c.repetition_b, signal, layer,
                   analyses[e].prompts[row.prompt].number, row.step, values_of(row, t.tap.signal, all), row.elements,
                   values_of(row, t.tap.signal, some));
        for (std::size_t k = 0; k < t.ulp.counts.size(); ++k)
          if (t.ulp.counts[k] != 0)
            ulps.row(e, names.id(c.a), names.id(c.b), c.repetition_a, c.repetition_b, signal, layer, t.ulp.dtype,
                     UlpHistogram::lower(k), UlpHistogram::upper(k), t.ulp.counts[k]);
      }
  }
  out.commit();
  rows.commit();
  ulps.commit();
}

inline void write_matrices(const std::filesystem::path& folder, const std::vector<Analysis>& analyses) {
  CsvFile out(folder / "matrices.csv",
              fmt::format("experiment,signal,layer,a,b,max_{0},mean_{0}", metrics[deciding].name));
  CsvFile timing(folder / "timing.csv", "experiment,a,b,ratio,t,p_value,separated,text");
  for (std::size_t e = 0; e < analyses.size(); ++e) {
    const Named names{e, analyses[e]};
    for (const DistanceMatrix& m : analyses[e].matrices)
      for (std::size_t i = 0; i < m.size; ++i)
        for (std::size_t j = 0; j < m.size; ++j)
          out.row(e, name_of(m.tap.signal), layer_of(m.tap), names.id(i), names.id(j), m.max[i * m.size + j],
                  m.mean[i * m.size + j]);
    for (const TimingComparison& t : analyses[e].timing)
      timing.row(e, names.id(t.a), names.id(t.b), t.ratio, t.t, t.p_value, t.separated, t.text);
  }
  out.commit();
  timing.commit();
}

}  // namespace detail

/// configurations.csv, run_times.csv, prompts.csv, verdicts.csv, comparisons.csv, rows.csv, ulp.csv, matrices.csv and
/// timing.csv; "experiment" counts the analyses from 0, as their list in the JSON does.
inline void write_csv(const std::filesystem::path& folder, const std::vector<Analysis>& analyses) {
  detail::write_configurations(folder, analyses);
  detail::write_prompts(folder, analyses);
  detail::write_verdicts(folder, analyses);
  detail::write_comparisons(folder, analyses);
  detail::write_matrices(folder, analyses);
}

/// The same of published files: matrices.csv and between_files.csv.
inline void write_csv(const std::filesystem::path& folder, const published::Findings& findings) {
  CsvFile matrices(folder / "matrices.csv", "matrix,reference,a,b,distance");
  for (const auto& matrix : findings.matrices)
    for (std::size_t i = 0; i < matrix.labels.size(); ++i)
      for (std::size_t j = 0; j < matrix.labels.size(); ++j) {
        matrices.row(matrix.title, "mean", matrix.labels[i], matrix.labels[j], matrix.distances[i][j]);
        for (std::size_t r = 0; r < matrix.per_reference.size(); ++r)
          matrices.row(matrix.title, r, matrix.labels[i], matrix.labels[j], matrix.per_reference[r][i][j]);
      }
  matrices.commit();
  CsvFile series(folder / "between_files.csv", "comparison,label,distance");
  for (const auto& one : findings.series)
    for (std::size_t i = 0; i < one.labels.size(); ++i) series.row(one.title, one.labels[i], one.distances[i]);
  series.commit();
  CsvFile repetitions(folder / "repetitions.csv", "name,equal");
  for (const auto& [name, equal] : findings.repetitions_equal) repetitions.row(name, equal);
  repetitions.commit();
}

}  // namespace fpf::compare::report
