// A verification's results as text for a terminal and as JSON.
#pragma once

#include <fpf/compare/output/cells.hpp>
#include <fpf/core/atomic_file.hpp>
#include <fpf/core/json.hpp>
#include <fpf/verify/run.hpp>

namespace fpf::verify {

namespace detail {

using compare::Cell, compare::Style, compare::Terminal, compare::wrapped;

inline Style style_of(Decision decision) {
  return decision == Decision::accept ? Style::good : decision == Decision::reject ? Style::bad : Style::strong;
}

/// What a router's row has in the column of a signal's metric.
inline std::string router_text(const RouterDistance& router, const compare::StatisticPlace& place) {
  using compare::metric_named;
  if (place.metric == compare::deciding) return compare::short_number(router.max_margin);
  if (place.metric == metric_named("relative_l2"))
    return router.other_experts == 0 ? "" : fmt::format("{} other experts", router.other_experts);
  if (place.metric != metric_named("bit_equal")) return "";
  return compare::equal_text(static_cast<double>(router.bit_equal) /
                             static_cast<double>(std::max<std::size_t>(router.rows, 1)));
}

inline std::string path_text(const char* title, const Path& path, const Terminal& terminal) {
  constexpr auto columns = &compare::Shown::in_verify;
  std::vector<std::string> header{"signal", ">rows", "bits"};
  compare::append(header, compare::metric_headings(columns));
  header.emplace_back("?from step");
  compare::Table table(std::move(header));
  const auto add = [&](std::string label, std::size_t rows, bool equal, std::vector<Cell> metrics, std::string step) {
    std::vector<Cell> row{
        {std::move(label)}, {std::to_string(rows)}, equal ? Cell{"equal", Style::good} : Cell{"differ", Style::bad}};
    compare::append(row, std::move(metrics));
    row.push_back({std::move(step)});
    table.add(std::move(row));
  };
  for (const auto& tap : path.taps)
    add(label_of(tap.tap), tap.rows.size(), !tap.first_difference, compare::metric_cells(tap, columns),
        tap.first_difference ? std::to_string(*tap.first_difference) : "");
  for (const auto& router : path.routers) {
    std::vector<Cell> cells;
    for (const auto& place : compare::shown_statistics(columns)) cells.push_back({router_text(router, place)});
    add(fmt::format("router layer {}", router.layer), router.rows, router.bit_equal == router.rows, std::move(cells),
        "");
  }
  std::string out = compare::heading(title, terminal) + table.render(terminal);
  if (path.first_difference)
    out += wrapped(fmt::format("Bits differ first at {}.", to_string(*path.first_difference)), terminal.width, "  ");
  for (const TokenPlace& place : path.not_best)
    out +=
        wrapped(fmt::format("Step {} chose token {}; here {} comes first, {}.", place.step, place.token, place.best,
                            place.gap ? fmt::format("by {:.3g} nats", *place.gap) : "and it is not among the top ones"),
                terminal.width, "  ");
  return out;
}

inline std::string differences_text(const RunReport& report, const Terminal& terminal) {
  std::string out = compare::heading("Manifest", terminal);
  if (report.differences.empty()) return out + "No field differs.\n";
  compare::Table table({"field", "evidence", "here", ""});
  for (const auto& one : report.differences)
    table.add({{one.field}, {one_line(one.claimed, 60)}, {one_line(one.here, 60)}, {one.matters ? "" : "(a name)"}});
  return out + table.render(terminal);
}

inline std::string prompt_text(const PromptReport& prompt) {
  std::string out = fmt::format("Prompt{}: {} tokens, SHA-256 {}",
                                prompt.among.empty() ? "" : " (" + prompt.among + ")", prompt.tokens, prompt.sha256);
  if (!prompt.begins.empty()) out += fmt::format(", begins \"{}\"", prompt.begins);
  if (prompt.held_against.empty())
    return out + ". It was not held against a question (--prompt-ids, --prompt-pdf, --prompt-text, --prompt-sha256).";
  return fmt::format("{}. Held against {}: {}.", out, prompt.held_against,
                     prompt.difference.empty() ? "the same" : "another");
}

inline std::string run_text(const RunReport& report, const Terminal& terminal) {
  std::string out =
      compare::heading(fmt::format("{} (repetition {})", visible_name(report.config_id), report.rep_id), terminal);
  if (report.prompt) out += wrapped(prompt_text(*report.prompt), terminal.width, "  ");
  for (const std::string& one : report.contradictions) out += wrapped(one, terminal.width, "  ");
  if (report.non_finite) out += differences_text(report, terminal);
  if (report.decode) {
    out += differences_text(report, terminal);
    out += path_text("True decode, tokens forced", *report.decode, terminal);
    out += path_text("One prefill over prompt and tokens", *report.prefill, terminal);
  }
  if (report.own_noise)
    out += wrapped(fmt::format("This machine's own repetitions differ at {}.", to_string(*report.own_noise)),
                   terminal.width, "  ");
  for (const std::string& note : report.notes) out += wrapped(note + ".", terminal.width, "  ");
  out += fmt::format("\n{}\n",
                     compare::styled(std::string(name_of(report.decision)), style_of(report.decision), terminal));
  return out + wrapped(report.reason + ".", terminal.width, "  ");
}

inline Json path_json(const Path& path) {
  Json out = {{"bit_equal", path.bit_equal()}, {"seconds", path.seconds}};
  out["first_difference"] = path.first_difference ? evidence::to_json(*path.first_difference) : Json();
  for (const auto& tap : path.taps) {
    Json rows = Json::array();
    for (const auto& row : tap.rows) {
      Json& one = rows.emplace_back(Json{{"step", row.step}, {"bit_equal", nullptr}});
      for (std::size_t m = 0; m < compare::metrics.size(); ++m)
        if (compare::metrics[m].is_of(tap.tap.signal)) one[std::string(compare::metrics[m].name)] = row[m];
    }
    out["signals"].push_back({{"signal", name_of(tap.tap.signal)},
                              {"layer", tap.tap.layer < 0 ? Json() : Json(tap.tap.layer)},
                              {"rows", rows}});
  }
  for (const auto& router : path.routers)
    out["router"].push_back({{"layer", router.layer},
                             {"rows", router.rows},
                             {"bit_equal_rows", router.bit_equal},
                             {"rows_with_other_experts", router.other_experts},
                             {"max_margin_difference", router.max_margin}});
  for (const auto& place : path.not_best)
    out["tokens_not_first"].push_back({{"step", place.step},
                                       {"token_id", place.token},
                                       {"first_here", place.best},
                                       {"gap_nats", place.gap ? Json(*place.gap) : Json()}});
  return out;
}

inline Json noise_json(const NoiseVerdict& found) {
  const auto number = [](const std::optional<double>& value) { return value ? Json(*value) : Json(); };
  return {{"outcome", name_of(found.rank.outcome)},
          {"auc", number(found.rank.auc)},
          {"auc_interval", {number(found.rank.auc_low), number(found.rank.auc_high)}},
          {"ratio", number(found.rank.ratio)},
          {"widest", found.widest},
          {"tokens", found.tokens},
          {"noise_tokens", found.noise_tokens}};
}

inline Json noise_json(const NoiseTest& test) {
  return {{"decode", noise_json(test.decode)},
          {"prefill", noise_json(test.prefill)},
          {"threshold", test.rule.threshold},
          {"honest_runs", test.runs},
          {"honest_runs_needed", runs_needed(test.rule.false_positive_rate)},
          {"honest_runs_that_stand_out", test.stand_out},
          {"false_positive_rate", test.false_positive_rate()},
          {"false_positive_rate_asked", test.rule.false_positive_rate},
          {"effect", test.rule.effect},
          {"power", test.power()},
          {"power_needed", needed_power},
          {"effect_with_that_power", test.findable ? Json(*test.findable) : Json()}};
}

inline Json prompt_json(const PromptReport& prompt) {
  Json out = {{"tokens", prompt.tokens}, {"sha256", prompt.sha256}, {"begins", prompt.begins}};
  out["held_against"] = prompt.held_against.empty() ? Json() : Json(prompt.held_against);
  out["is_what_was_asked"] = prompt.held_against.empty() ? Json() : Json(prompt.difference.empty());
  return out;
}

inline Json non_finite_json(const NonFinite& found) {
  const auto place = [](const std::optional<evidence::Place>& one) { return one ? evidence::to_json(*one) : Json(); };
  return {{"claimed", evidence::to_json(found.claimed)},
          {"here", place(found.here)},
          {"first_difference_before", place(found.first_difference)},
          {"same_digests", found.same_digests}};
}

inline Json run_json(const RunReport& report) {
  Json out = {{"config_id", report.config_id},
              {"rep_id", report.rep_id},
              {"verdict", name_of(report.decision)},
              {"reason", report.reason},
              {"contradictions", report.contradictions},
              {"manifest_differences", Json::array()},
              {"notes", report.notes}};
  for (const auto& one : report.differences)
    out["manifest_differences"].push_back(
        {{"field", one.field}, {"evidence", one.claimed}, {"here", one.here}, {"matters", one.matters}});
  out["prompt"] = report.prompt ? prompt_json(*report.prompt) : Json();
  if (report.non_finite) out["non_finite"] = non_finite_json(*report.non_finite);
  if (report.decode) out["decode"] = path_json(*report.decode);
  if (report.prefill) out["prefill"] = path_json(*report.prefill);
  if (report.noise) out["noise"] = noise_json(*report.noise);
  return out;
}

}  // namespace detail

inline std::string to_text(const Result& result, const compare::Terminal& terminal) {
  std::string out;
  for (const RunReport& report : result.runs) out += detail::run_text(report, terminal);
  const auto count = [&](Decision d) { return std::ranges::count(result.runs, d, &RunReport::decision); };
  const std::string decision(name_of(result.decision));
  if (!result.not_checked.empty())
    out += fmt::format(
        "\n{}", compare::wrapped(fmt::format("Not checked: {}.", fmt::join(result.not_checked, ", ")), terminal.width));
  out += fmt::format("\n{}", compare::wrapped(result.file, terminal.width));
  out += compare::styled(decision, detail::style_of(result.decision), terminal);
  return out + fmt::format(" ({} accepted, {} undecided, {} rejected)\n", count(Decision::accept),
                           count(Decision::undecided), count(Decision::reject));
}

inline Json to_json(const Result& result) {
  Json out = {{"fpf_version", version},
              {"file", result.file},
              {"verdict", name_of(result.decision)},
              {"not_checked", result.not_checked}};
  for (const RunReport& report : result.runs) out["runs"].push_back(detail::run_json(report));
  return out;
}

/// Shows the text and writes --output's file, whole or not at all. Returns the exit code.
inline ExitCode deliver(const Settings& settings, const Result& result) {
  if (!settings.output.empty())
    AtomicFile(settings.output)
        .append(to_json(result).dump(2, ' ', false, Json::error_handler_t::replace) + "\n")
        .commit();
  write_stdout(to_text(result, compare::Terminal::of_stdout()));
  return result.decision == Decision::accept ? ExitCode::ok : ExitCode::finding;
}

}  // namespace fpf::verify
