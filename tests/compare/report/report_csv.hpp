// The CSV files of a report, and what they must hold.
#pragma once

#include <charconv>
#include <fpf/compare/metrics.hpp>
#include <map>
#include <string>
#include <vector>

#include "compare.hpp"

/// Rows of a CSV file (RFC 4180) by its header.
inline std::vector<std::map<std::string, std::string>> csv(const fs::path& path) {
  const std::string text = text_of(path);
  std::vector<std::vector<std::string>> rows{{""}};
  bool inside = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (inside && c == '"' && i + 1 < text.size() && text[i + 1] == '"')
      rows.back().back() += text[++i];
    else if (c == '"')
      inside = !inside;
    else if (!inside && c == ',')
      rows.back().emplace_back();
    else if (!inside && c == '\n')
      rows.push_back({""});
    else
      rows.back().back() += c;
  }
  BOOST_TEST((rows.back() == std::vector<std::string>{""}), path << " ends within a line");
  rows.pop_back();
  std::vector<std::map<std::string, std::string>> out;
  for (std::size_t r = 1; r < rows.size(); ++r) {
    BOOST_TEST_REQUIRE(rows[r].size() == rows[0].size(), path << " line " << r + 1);
    auto& row = out.emplace_back();
    for (std::size_t c = 0; c < rows[r].size(); ++c) row[rows[0][c]] = rows[r][c];
  }
  return out;
}

inline bool equal(const std::string& cell, const Json& value) {
  if (value.is_null()) return cell.empty();
  if (value.is_boolean()) return cell == (value.get<bool>() ? "true" : "false");
  if (value.is_string()) return cell == value.get<std::string>();
  double number = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), number);
  return error == std::errc() && end == cell.data() + cell.size() && number == value.get<double>();
}

inline void check_csv(const fs::path& path, const std::vector<Json>& expected) {
  const auto rows = csv(path);
  BOOST_TEST_REQUIRE(rows.size() == expected.size(), path);
  std::size_t wrong = 0;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    BOOST_TEST(rows[r].size() == expected[r].size(), path);
    for (const auto& [name, value] : expected[r].items()) {
      const auto cell = rows[r].find(name);
      const bool same = cell != rows[r].end() && equal(cell->second, value);
      if (!same && ++wrong < 5)
        BOOST_ERROR(path << " row " << r << " " << name << ": " << (cell == rows[r].end() ? "no column" : cell->second)
                         << " for " << value);
    }
  }
  BOOST_TEST(wrong == 0u);
}

inline Json joined(const Json& list, const char* separator) {
  std::string out;
  for (const Json& value : list)
    out += (out.empty() ? "" : separator) + (value.is_string() ? value.get<std::string>() : value.dump());
  return out;
}

/// A metric's statistics as columns, from the JSON's object or number; empty where the signal has no such metric.
inline void add_statistics(Json& row, const fpf::compare::Metric& metric, const Json& signal) {
  const std::string name(metric.name);
  const Json found = signal.contains(name) ? signal[name] : Json();
  if (metric.statistics.size() == 1) {
    row[name] = found;
    return;
  }
  for (const auto& shown : metric.statistics) {
    const std::string part(shown.statistic.name);
    row[name + "_" + part] = found.is_null() ? Json() : found[part];
  }
}

inline Json text_or_empty(const Json& value) { return value.is_null() ? Json("") : value; }

/// The rows that the CSV files must have, from the result JSON.
inline std::map<std::string, std::vector<Json>> expected_csv(const Json& results) {
  std::map<std::string, std::vector<Json>> out;
  for (std::size_t e = 0; e < results["analyses"].size(); ++e) {
    const Json& a = results["analyses"][e];
    const Json type = a["experiment_type"];
    for (const Json& c : a["configurations"]) {
      std::string versions;
      for (const auto& [name, version] : c["versions"].items())
        versions += (versions.empty() ? "" : "; ") + name + "=" + version.get<std::string>();
      const Json &r = c["reproducibility"], &t = c["runtime"];
      out["configurations"].push_back({{"experiment", e},
                                       {"experiment_type", type},
                                       {"config_id", c["config_id"]},
                                       {"hardware", c["hardware"]},
                                       {"provider", c["provider"]},
                                       {"value", c["value"]},
                                       {"baseline", c["baseline"]},
                                       {"file", c["file"]},
                                       {"versions", versions},
                                       {"status", c["status"]},
                                       {"decode_steps", c["decode_steps"]},
                                       {"stored_repetitions", joined(c["stored_repetitions"], " ")},
                                       {"reproducibility_basis", r["basis"]},
                                       {"repetitions", r["repetitions"]},
                                       {"bit_exact", r["bit_exact"]},
                                       {"first_difference", text_or_empty(r["first_difference"])},
                                       {"runtime_mean", t["mean"]},
                                       {"runtime_variance", t["variance"]},
                                       {"prefill_seconds", t["prefill_seconds"]},
                                       {"decode_seconds", t["decode_seconds"]}});
      for (std::size_t i = 0; i < t["seconds"].size(); ++i)
        out["run_times"].push_back(
            {{"experiment", e}, {"config_id", c["config_id"]}, {"repetition", i}, {"seconds", t["seconds"][i]}});
    }
    for (const Json& p : a["prompts"]) {
      Json row = p;
      row["experiment"] = e;
      out["prompts"].push_back(row);
    }
    for (Json v : a["verdicts"]) {
      const Json interval = v["auc_interval"];
      v.erase("auc_interval");
      v["auc_low"] = interval.is_null() ? Json() : interval[0];
      v["auc_high"] = interval.is_null() ? Json() : interval[1];
      v["experiment"] = e;
      v["experiment_type"] = type;
      v["caveats"] = joined(v["caveats"], "; ");
      out["verdicts"].push_back(v);
    }
    for (const Json& c : a["comparisons"]) {
      const Json key = {{"experiment", e},
                        {"a", c["a"]},
                        {"b", c["b"]},
                        {"repetition_a", c["repetitions"][0]},
                        {"repetition_b", c["repetitions"][1]}};
      for (const Json& s : c["signals"]) {
        Json tap = key;
        tap["signal"] = s["signal"];
        tap["layer"] = s["layer"];
        Json row = tap;
        for (const char* name :
             {"kind", "against_baseline", "first_divergent_step", "first_divergent_prompt", "steps_compared"})
          row[name] = c[name];
        row["prompts"] = c["prompts"].size();
        for (const char* name : {"rows", "first_differing_step", "first_differing_prompt"}) row[name] = s[name];
        row["common_ids"] = s.contains("common_ids") ? s["common_ids"] : Json();
        for (const auto& metric : fpf::compare::metrics) add_statistics(row, metric, s);
        out["comparisons"].push_back(row);
        for (std::size_t i = 0; i < s["by_row"]["step"].size(); ++i) {
          Json one = tap;
          for (const char* name : {"step", "elements"}) one[name] = s["by_row"][name][i];
          one["prompt"] = s["by_row"].contains("prompt") ? s["by_row"]["prompt"][i] : a["prompts"][0]["prompt"];
          for (const auto& metric : fpf::compare::metrics) {
            const std::string name(metric.name);
            one[name] = s["by_row"].contains(name) ? s["by_row"][name][i] : Json();
          }
          out["rows"].push_back(one);
        }
        if (!s.contains("ulp")) continue;
        for (Json bucket : s["ulp"]["buckets"]) {
          bucket.update(tap);
          bucket["dtype"] = s["ulp"]["dtype"];
          out["ulp"].push_back(bucket);
        }
      }
    }
    for (const Json& m : a["matrices"])
      for (std::size_t i = 0; i < m["configurations"].size(); ++i)
        for (std::size_t j = 0; j < m["configurations"].size(); ++j)
          out["matrices"].push_back({{"experiment", e},
                                     {"signal", m["signal"]},
                                     {"layer", m["layer"]},
                                     {"a", m["configurations"][i]},
                                     {"b", m["configurations"][j]},
                                     {"max_l2", m["max_l2"][i][j]},
                                     {"mean_l2", m["mean_l2"][i][j]}});
    for (Json t : a["timing"]) {
      t["experiment"] = e;
      out["timing"].push_back(t);
    }
  }
  return out;
}
