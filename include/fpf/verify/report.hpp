// A verification's results as text for a terminal and as JSON.
#pragma once

#include <fpf/compare/text.hpp>
#include <fpf/core/atomic_file.hpp>
#include <fpf/verify/run.hpp>

namespace fpf::verify {

namespace detail {

using OrderedJson = nlohmann::ordered_json;
using compare::Cell, compare::Style, compare::Terminal, compare::wrapped;

inline Style style_of(Decision decision) {
  return decision == Decision::accept ? Style::good : decision == Decision::reject ? Style::bad : Style::strong;
}

inline std::string path_text(const char* title, const Path& path, const Terminal& terminal) {
  compare::Table table({"signal", ">rows", "bits", ">max L2", "?>relative", "?>bits equal", "?from step"});
  for (const auto& tap : path.taps)
    table.add({{label_of(tap.tap)},
               {std::to_string(tap.rows.size())},
               tap.first_difference ? Cell{"differ", Style::bad} : Cell{"equal", Style::good},
               {compare::detail::number(tap.l2.max)},
               {compare::detail::number(tap.relative_l2.max)},
               {compare::detail::equal_text(tap.bit_equal)},
               {tap.first_difference ? std::to_string(*tap.first_difference) : ""}});
  for (const auto& router : path.routers)
    table.add({{fmt::format("router layer {}", router.layer)},
               {std::to_string(router.rows)},
               router.bit_equal == router.rows ? Cell{"equal", Style::good} : Cell{"differ", Style::bad},
               {compare::detail::number(router.max_margin)},
               {router.other_experts == 0 ? "" : fmt::format("{} other experts", router.other_experts)},
               {compare::detail::equal_text(static_cast<double>(router.bit_equal) /
                                            static_cast<double>(std::max<std::size_t>(router.rows, 1)))},
               {""}});
  std::string out = compare::detail::heading(title, terminal) + table.render(terminal);
  if (path.first_difference)
    out += wrapped(fmt::format("Bits differ first at {}.", to_string(*path.first_difference)), terminal.width, "  ");
  for (const TokenPlace& place : path.not_best)
    out +=
        wrapped(fmt::format("Step {} fed token {}; here {} comes first, {}.", place.step, place.token, place.best,
                            place.gap ? fmt::format("by {:.3g} nats", *place.gap) : "and it is not among the top ones"),
                terminal.width, "  ");
  return out;
}

inline std::string differences_text(const RunReport& report, const Terminal& terminal) {
  std::string out = compare::detail::heading("Manifest", terminal);
  if (report.differences.empty()) return out + "No field differs.\n";
  compare::Table table({"field", "evidence", "here", ""});
  for (const auto& one : report.differences)
    table.add({{one.field}, {one_line(one.claimed, 60)}, {one_line(one.here, 60)}, {one.matters ? "" : "(a name)"}});
  return out + table.render(terminal);
}

inline std::string prompt_text(const PromptReport& prompt) {
  std::string out = fmt::format("Prompt: {} tokens, SHA-256 {}", prompt.tokens, prompt.sha256);
  if (!prompt.begins.empty()) out += fmt::format(", begins \"{}\"", prompt.begins);
  if (prompt.held_against.empty())
    return out + ". It was not held against a question (--prompt-ids, --prompt-pdf, --prompt-text, --prompt-sha256).";
  return fmt::format("{}. Held against {}: {}.", out, prompt.held_against,
                     prompt.difference.empty() ? "the same" : "another");
}

inline std::string run_text(const RunReport& report, const Terminal& terminal) {
  std::string out = compare::detail::heading(
      fmt::format("{} (repetition {})", visible_name(report.config_id), report.rep_id), terminal);
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

inline OrderedJson path_json(const Path& path) {
  OrderedJson out = {{"bit_equal", path.bit_equal()}, {"seconds", path.seconds}};
  out["first_difference"] = path.first_difference ? evidence::to_json(*path.first_difference) : OrderedJson();
  for (const auto& tap : path.taps) {
    OrderedJson rows = OrderedJson::array();
    for (const auto& row : tap.rows)
      rows.push_back({{"step", row.step},
                      {"bit_equal", row.bit_equal},
                      {"l2", row.l2},
                      {"relative_l2", row.relative_l2},
                      {"max_abs", row.max_abs},
                      {"cosine", row.cosine}});
    out["signals"].push_back({{"signal", name_of(tap.tap.signal)},
                              {"layer", tap.tap.layer < 0 ? OrderedJson() : OrderedJson(tap.tap.layer)},
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
                                       {"gap_nats", place.gap ? OrderedJson(*place.gap) : OrderedJson()}});
  return out;
}

inline OrderedJson noise_json(const NoiseVerdict& found) {
  const auto number = [](const std::optional<double>& value) { return value ? OrderedJson(*value) : OrderedJson(); };
  return {{"outcome", compare::name_of(found.rank.outcome)},
          {"auc", number(found.rank.auc)},
          {"auc_interval", {number(found.rank.auc_low), number(found.rank.auc_high)}},
          {"ratio", number(found.rank.ratio)},
          {"widest", found.widest},
          {"tokens", found.tokens},
          {"noise_tokens", found.noise_tokens}};
}

inline OrderedJson noise_json(const NoiseTest& test) {
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
          {"effect_with_that_power", test.findable ? OrderedJson(*test.findable) : OrderedJson()}};
}

inline OrderedJson prompt_json(const PromptReport& prompt) {
  OrderedJson out = {{"tokens", prompt.tokens}, {"sha256", prompt.sha256}, {"begins", prompt.begins}};
  out["held_against"] = prompt.held_against.empty() ? OrderedJson() : OrderedJson(prompt.held_against);
  out["is_what_was_asked"] = prompt.held_against.empty() ? OrderedJson() : OrderedJson(prompt.difference.empty());
  return out;
}

inline OrderedJson non_finite_json(const NonFinite& found) {
  const auto place = [](const std::optional<evidence::Place>& one) {
    return one ? evidence::to_json(*one) : OrderedJson();
  };
  return {{"claimed", evidence::to_json(found.claimed)},
          {"here", place(found.here)},
          {"first_difference_before", place(found.first_difference)},
          {"same_digests", found.same_digests}};
}

inline OrderedJson run_json(const RunReport& report) {
  OrderedJson out = {{"config_id", report.config_id},
                     {"rep_id", report.rep_id},
                     {"verdict", name_of(report.decision)},
                     {"reason", report.reason},
                     {"contradictions", report.contradictions},
                     {"manifest_differences", OrderedJson::array()},
                     {"notes", report.notes}};
  for (const auto& one : report.differences)
    out["manifest_differences"].push_back(
        {{"field", one.field}, {"evidence", one.claimed}, {"here", one.here}, {"matters", one.matters}});
  out["prompt"] = report.prompt ? prompt_json(*report.prompt) : OrderedJson();
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

inline nlohmann::ordered_json to_json(const Result& result) {
  nlohmann::ordered_json out = {{"fpf_version", version},
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
        .append(to_json(result).dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n")
        .commit();
  write_stdout(to_text(result, compare::Terminal::of_stdout()));
  return result.decision == Decision::accept ? ExitCode::ok : ExitCode::finding;
}

}  // namespace fpf::verify
