// compare --report: a page that people can read anywhere, figures that gnuplot draws again, CSV that says
// what the JSON says, and a folder that is whole or not there.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <charconv>
#include <filesystem>
#include <fpf/prompt/document.hpp>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "browser.hpp"
#include "child.hpp"
#include "error_text.hpp"

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

namespace {

const std::string program = FPF_BIN "/compare";

/// Experiments of analysis_oracle.py: 0 two hardware types and three values; 3 tokens that diverge; 4 three
/// repetitions that differ; 5 no noise between hardware types; 6 three hardware types; 7 no noise measured.
Json experiment(std::size_t number) {
  static const Json all = Json::parse(std::ifstream(FPF_FIXTURES "/analysis_oracle.json"))["experiments"];
  return all[number];
}

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string folder(const std::string& name) {
  fs::remove_all(name);
  fs::create_directory(name);
  return name;
}

std::string write(const std::string& path, const Json& content) {
  std::ofstream(path) << content.dump();
  return path;
}

/// `compare` in `where`, with a report in `report` and results in r.json.
Outcome compare(std::vector<std::string> args, const std::string& where,
                const Child::Environment& environment = {}) {
  args.insert(args.begin(), {program, "--output", "r.json", "--report", "report"});
  return run(args, where, environment);
}

/// The report of one experiment, all signals and layers; returns its folder.
std::string report_of(const Json& content, const std::string& name,
                      const Child::Environment& environment = {}) {
  const std::string here = folder(name);
  write(here + "/a.json", content);
  const Outcome outcome = compare({"a.json", "--signal", "all", "--layer", "all"}, here, environment);
  BOOST_TEST_REQUIRE(outcome.code == 0, outcome.err);
  return here + "/report";
}

/// What every page must be, at any width and in any light.
void check_pages(const std::vector<nlohmann::json>& pages) {
  std::set<std::pair<int, bool>> views;
  for (const auto& page : pages) {
    views.emplace(page["width"], page["dark"]);
    BOOST_TEST_CONTEXT("width " << page["width"] << ", dark " << page["dark"]) {
      BOOST_TEST(page["scrollWidth"] <= page["width"]);
      BOOST_TEST(page["outside"].empty(), page["outside"].dump());
      BOOST_TEST(page["scripts"] == 0);
      BOOST_TEST(page["foreign"].empty(), page["foreign"].dump());
      BOOST_TEST(page["textContrast"].get<double>() >= 4.5);  // WCAG 2.2, 1.4.3
      BOOST_TEST(page["labelContrast"].get<double>() >= 4.5);
      BOOST_TEST(page["lineContrast"].get<double>() >= 3.0);  // 1.4.11
      for (const auto& figure : page["figures"]) {
        BOOST_TEST(figure["cut"].empty(), figure["id"] << " cuts off " << figure["cut"].dump());
        BOOST_TEST(figure["sentence"].get<std::string>().size() > 10u, figure["id"]);
      }
    }
  }
  BOOST_TEST(views ==
             (std::set<std::pair<int, bool>>{{390, false}, {390, true}, {1280, false}, {1280, true}}));
}

std::set<std::string> figure_ids(const nlohmann::json& page) {
  std::set<std::string> out;
  for (const auto& figure : page["figures"])
    if (figure["drawn"] && figure["marks"] > 0) out.insert(figure["id"]);
  return out;
}

std::string sentence_of(const nlohmann::json& page, const std::string& id) {
  for (const char* list : {"figures", "missing"})
    for (const auto& entry : page[list])
      if (entry["id"] == id) return entry["sentence"];
  return "no " + id;
}

/// A drawing without its first group: it is empty, and has the last colour of what gnuplot drew before.
std::string drawing_of(const fs::path& path) {
  std::string svg = text_of(path);
  const auto group = std::min(svg.find("<g fill="), svg.size());
  BOOST_TEST(svg.substr(std::min(svg.find('\n', group), svg.size())).starts_with("\n</g>"), path);
  return svg.erase(group, svg.find('\n', group) - group);
}

/// Runs every script again, as a user would: no complaint, and the same drawing.
void check_scripts(const fs::path& plots) {
  std::size_t scripts = 0;
  for (const auto& entry : fs::directory_iterator(plots)) {
    if (entry.path().extension() != ".gp") continue;
    ++scripts;
    fs::path drawing = entry.path(), data = entry.path();
    drawing.replace_extension(".svg");
    const std::string before = drawing_of(drawing);
    fs::remove(drawing);
    const Outcome outcome = run({"gnuplot", entry.path().filename()}, plots.string());
    BOOST_TEST(outcome.code == 0);
    BOOST_TEST(outcome.err == "", entry.path() << ": " << outcome.err);
    BOOST_TEST((drawing_of(drawing) == before), entry.path());
    BOOST_TEST(fs::file_size(data.replace_extension(".dat")) > 0u);
  }
  BOOST_TEST(scripts > 0u);
}

/// Rows of a CSV file (RFC 4180) by its header.
std::vector<std::map<std::string, std::string>> csv(const fs::path& path) {
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

bool equal(const std::string& cell, const Json& value) {
  if (value.is_null()) return cell.empty();
  if (value.is_boolean()) return cell == (value.get<bool>() ? "true" : "false");
  if (value.is_string()) return cell == value.get<std::string>();
  double number = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), number);
  return error == std::errc() && end == cell.data() + cell.size() && number == value.get<double>();
}

void check_csv(const fs::path& path, const std::vector<Json>& expected) {
  const auto rows = csv(path);
  BOOST_TEST_REQUIRE(rows.size() == expected.size(), path);
  std::size_t wrong = 0;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    BOOST_TEST(rows[r].size() == expected[r].size(), path);
    for (const auto& [name, value] : expected[r].items()) {
      const auto cell = rows[r].find(name);
      const bool same = cell != rows[r].end() && equal(cell->second, value);
      if (!same && ++wrong < 5)
        BOOST_ERROR(path << " row " << r << " " << name << ": "
                         << (cell == rows[r].end() ? "no column" : cell->second) << " for " << value);
    }
  }
  BOOST_TEST(wrong == 0u);
}

Json joined(const Json& list, const char* separator) {
  std::string out;
  for (const Json& value : list)
    out += (out.empty() ? "" : separator) + (value.is_string() ? value.get<std::string>() : value.dump());
  return out;
}

void add_summary(Json& row, const std::string& name, const Json& summary) {
  for (const char* part : {"max", "mean", "median", "p95"})
    row[name + "_" + part] = summary.is_null() ? Json() : summary[part];
}

Json text_or_empty(const Json& value) { return value.is_null() ? Json("") : value; }

/// The rows that the CSV files must have, from the result JSON.
std::map<std::string, std::vector<Json>> expected_csv(const Json& results) {
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
        out["run_times"].push_back({{"experiment", e},
                                    {"config_id", c["config_id"]},
                                    {"repetition", i},
                                    {"seconds", t["seconds"][i]}});
    }
    for (Json v : a["verdicts"]) {
      const Json interval = v["auc_interval"];
      v.erase("auc_interval");
      v["auc_low"] = interval.is_null() ? Json() : interval[0];
      v["auc_high"] = interval.is_null() ? Json() : interval[1];
      v["experiment"] = e;
      v["experiment_type"] = type;
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
        for (const char* name : {"kind", "against_baseline", "first_divergent_step", "steps_compared"})
          row[name] = c[name];
        for (const char* name : {"rows", "max_abs", "bit_equal", "first_differing_step"}) row[name] = s[name];
        row["cosine_min"] = s["cosine"]["min"];
        row["cosine_mean"] = s["cosine"]["mean"];
        row["common_ids"] = s.contains("common_ids") ? s["common_ids"] : Json();
        add_summary(row, "l2", s["l2"]);
        add_summary(row, "relative_l2", s["relative_l2"]);
        add_summary(row, "kl", s.contains("kl") ? s["kl"] : Json());
        out["comparisons"].push_back(row);
        for (std::size_t i = 0; i < s["by_row"]["step"].size(); ++i) {
          Json one = tap;
          for (const char* name : {"step", "l2", "relative_l2", "max_abs", "cosine", "bit_equal", "elements"})
            one[name] = s["by_row"][name][i];
          one["kl"] = s["by_row"].contains("kl") ? s["by_row"]["kl"][i] : Json();
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

void add_runtimes(Json& content) {
  double seconds = 10;
  for (Json& one : content["runs"])
    one["runtime"] = {{"seconds", {seconds, seconds + 0.125, seconds += 0.3}},
                      {"prefill_seconds", 3.5},
                      {"decode_seconds", 6.25}};
}

std::vector<std::string> entries(const fs::path& where) {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(where)) out.push_back(entry.path().filename());
  std::ranges::sort(out);
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(no_figure_is_missing_and_nothing_overflows) {
  Json content = experiment(0);
  add_runtimes(content);
  const std::string report = report_of(content, "figures");
  const auto pages = look_at(report + "/index.html");
  check_pages(pages);
  std::set<std::string> wanted{"1-batch_size-timing"}, files;
  for (const std::string signal : {"hidden_states", "key_vectors", "logprobs", "logprobs_aligned"}) {
    for (const char* figure : {"matrix", "by_step", "noise_signal_across", "noise_signal_within"})
      wanted.insert("1-batch_size-" + signal + "-" + figure);
    if (signal != "logprobs_aligned") wanted.insert("1-batch_size-" + signal + "-ulp");
    if (signal[0] == 'l') continue;
    for (const char* figure : {"by_layer", "by_layer_relative"})
      wanted.insert("1-batch_size-" + signal + "-" + figure);
  }
  for (const auto& page : pages) {
    BOOST_TEST(figure_ids(page) == wanted, boost::test_tools::per_element());
    BOOST_TEST(page["problems"] == 0);
    BOOST_TEST(page["missing"].empty(), page["missing"].dump());
    for (const std::string table : page["scrolls"])  // what a page is opened for stands there at once
      BOOST_TEST((table != "Summary" && table != "Verdicts"), table << " scrolls at " << page["width"]);
  }
  for (const std::string& name : wanted)
    for (const char* extension : {".dat", ".gp", ".svg"}) files.insert(name + extension);
  const auto found = entries(report + "/plots");
  BOOST_TEST(std::set(found.begin(), found.end()) == files, boost::test_tools::per_element());
  check_scripts(report + "/plots");
}

BOOST_AUTO_TEST_CASE(paper_has_every_figure_and_what_verdicts_rest_on) {
  Json content = experiment(0);
  add_runtimes(content);
  const std::string report = report_of(content, "paper");
  print_page(report + "/index.html", "paper/page.pdf");
  const auto without_spaces = [](std::string text) {
    std::erase_if(text, [](unsigned char c) { return std::isspace(c) != 0; });
    return text;
  };
  const std::string printed = without_spaces(fpf::prompt::document_text("paper/page.pdf"));
  const auto on_paper = [&](const std::string& text) {
    return printed.find(without_spaces(text)) != printed.npos;
  };
  const auto page = look_at(report + "/index.html")[1];
  BOOST_TEST(page["figures"].size() == 24u);
  for (const auto& figure : page["figures"])
    BOOST_TEST(on_paper(figure["sentence"]), figure["id"] << ": " << figure["sentence"]);
  std::size_t verdicts = 0;
  const Json found = Json::parse(text_of("paper/r.json"));
  for (const Json& verdict : found["analyses"][0]["verdicts"]) {
    if (verdict["layer"] == 3) continue;  // the page has the last layer
    BOOST_TEST(on_paper(verdict["text"]), verdict["text"]);
    ++verdicts;
  }
  BOOST_TEST(verdicts == 16u);
  for (const char* of_screens : {"script data SVG", "by numbers of the configurations", "Numbers"})
    BOOST_TEST(!on_paper(of_screens), of_screens);
}

BOOST_AUTO_TEST_CASE(one_page_without_the_network) {
  const std::string page = text_of(report_of(experiment(0), "network") + "/index.html");
  BOOST_TEST(mentions(page, {"default-src 'none'", "prefers-color-scheme: dark", "@media print", "<style>"}));
  for (const char* foreign : {"<script", "<img", "<link", "@import", "src=", "url(http"})
    BOOST_TEST(page.find(foreign) == page.npos, foreign);
  std::string addresses = page;
  for (const char* known : {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"})
    for (std::size_t at = 0; (at = addresses.find(known, at)) != addresses.npos;)
      addresses.erase(at, std::string(known).size());
  BOOST_TEST(addresses.find("http") == addresses.find("http-equiv"));
  BOOST_TEST(addresses.rfind("http") == addresses.find("http-equiv"));
}

BOOST_AUTO_TEST_CASE(csv_says_what_the_json_says) {
  for (const std::size_t number : {0u, 3u, 4u, 6u}) {
    Json content = experiment(number);
    add_runtimes(content);
    const std::string report = report_of(content, "csv");
    const auto expected = expected_csv(Json::parse(text_of("csv/r.json")));
    BOOST_TEST(expected.size() == entries(report + "/csv").size());
    for (const auto& [name, rows] : expected) check_csv(report + "/csv/" + name + ".csv", rows);
  }
}

BOOST_AUTO_TEST_CASE(sentences_come_from_the_data) {
  const std::string report = report_of(experiment(0), "sentences");
  const Json found = Json::parse(text_of("sentences/r.json"))["analyses"][0];
  const auto page = look_at(report + "/index.html")[1];
  const Json* matrix = nullptr;
  for (const Json& one : found["matrices"])
    if (one["signal"] == "key_vectors") matrix = &one;  // the last layer
  double largest = 0;
  std::string a, b;
  for (std::size_t i = 0; i < 6; ++i)
    for (std::size_t j = i + 1; j < 6; ++j)
      if (const double distance = (*matrix)["max_l2"][i][j]; distance > largest) {
        largest = distance;
        a = (*matrix)["configurations"][i];
        b = (*matrix)["configurations"][j];
      }
  BOOST_TEST_CONTEXT(sentence_of(page, "1-batch_size-key_vectors-matrix"))
  BOOST_TEST(mentions(sentence_of(page, "1-batch_size-key_vectors-matrix"),
                      {"Furthest apart are " + a + " and " + b}));
  for (const Json& verdict : found["verdicts"]) {
    if (verdict["signal"] != "key_vectors" || verdict["layer"] != 7 || verdict["scope"] != "across hardware")
      continue;
    const std::string sentence = sentence_of(page, "1-batch_size-key_vectors-noise_signal_across");
    char ratio[32];
    std::snprintf(ratio, sizeof ratio, "%.3g times", verdict["ratio"].get<double>());
    BOOST_TEST(mentions(sentence, {"4 → " + verdict["value"].get<std::string>() + ": " +
                                       verdict["outcome"].get<std::string>(),
                                   ratio}),
               sentence);
  }
  BOOST_TEST(
      mentions(page["text"], {"2 changes", "Of 6 configurations", "within hardware", "across hardware"}));
}

BOOST_AUTO_TEST_CASE(without_gnuplot_there_are_tables) {
  folder("empty_path");
  const std::string report =
      report_of(experiment(0), "tables", {{"PATH", fs::absolute("empty_path").string()}});
  for (const auto& page : look_at(report + "/index.html")) {
    BOOST_TEST(mentions(page["text"], {"gnuplot was not found", "gnuplot-nox"}));
    BOOST_TEST(page["figures"].size() == 23u);
    for (const auto& figure : page["figures"]) {
      BOOST_TEST(!figure["drawn"]);
      BOOST_TEST(figure["table"], figure["id"]);
    }
    BOOST_TEST(page["scrollWidth"] <= page["width"]);
    BOOST_TEST(page["outside"].empty(), page["outside"].dump());
  }
  for (const auto& entry : fs::directory_iterator(report + "/plots")) {
    BOOST_TEST(entry.path().extension() != ".svg");
    if (entry.path().extension() == ".gp")
      BOOST_TEST(run({"gnuplot", entry.path().filename()}, report + "/plots").code == 0);
  }
}

BOOST_AUTO_TEST_CASE(a_gnuplot_that_fails_is_named_and_tables_stand_in) {
  folder("broken_path");
  std::ofstream("broken_path/gnuplot") << "#!/bin/sh\n[ \"$1\" = --version ] && echo gnuplot 5.4 && exit 0\n"
                                          "echo 'no <svg> terminal' >&2; exit 1\n";
  fs::permissions("broken_path/gnuplot", fs::perms::owner_all);
  const std::string report =
      report_of(experiment(0), "broken", {{"PATH", fs::absolute("broken_path").string()}});
  const auto page = look_at(report + "/index.html")[0];
  BOOST_TEST(page["problems"] == 23);
  BOOST_TEST(mentions(page["text"], {"Not drawn: gnuplot says no <svg> terminal"}));
  for (const auto& figure : page["figures"]) BOOST_TEST(figure["table"], figure["id"]);
}

BOOST_AUTO_TEST_CASE(names_from_files_stay_names) {
  const std::string evil =
      "<script>document.title='x'</script><img src=x onerror=alert(1)> & \" ' `touch pwned` $(touch pwned) "
      "\\";
  Json content = experiment(0);
  content["experiment_metadata"]["experiment_type"] = "../../" + evil;
  content["experiment_metadata"]["variable_tested"] = evil + "\n" + evil;
  content["experiment_metadata"]["model"] = evil + "</style></dl>";
  std::size_t number = 0;
  for (Json& one : content["configurations"]) {
    const std::string from = one["config_id"], to = std::to_string(++number) + evil + "\n\"quoted\"";
    for (Json& a_run : content["runs"])
      if (a_run["config_id"] == from) a_run["config_id"] = to;
    one["config_id"] = to;
    one["hardware"] =
        one["hardware"] == "H100" ? evil + "#{/:Bold x}_1^2 @macro" : "'; system('touch pwned'); print '";
    one["variable_value"] = one["variable_value"].dump() + "'\n" + evil + "=1+1";
  }
  add_runtimes(content);
  const std::string report = report_of(content, "hostile");
  const auto pages = look_at(report + "/index.html");
  check_pages(pages);
  BOOST_TEST(pages[0]["problems"] == 0);
  BOOST_TEST(figure_ids(pages[0]).size() == 24u);
  BOOST_TEST(mentions(pages[0]["text"], {evil, "'; system('touch pwned'); print '", "</style></dl>"}));
  check_scripts(report + "/plots");
  for (const char* where : {"hostile", "hostile/report", "hostile/report/plots"})
    BOOST_TEST(!fs::exists(std::string(where) + "/pwned"));
  BOOST_TEST(entries("hostile") == (std::vector<std::string>{"a.json", "r.json", "report"}),
             boost::test_tools::per_element());
  for (const auto& [name, rows] : expected_csv(Json::parse(text_of("hostile/r.json"))))
    check_csv(report + "/csv/" + name + ".csv", rows);
}

BOOST_AUTO_TEST_CASE(where_there_is_no_data_the_report_says_so) {
  Json single = experiment(0);
  single["configurations"] = Json::array({single["configurations"][0]});
  single["runs"] = Json::array({single["runs"][0]});
  single["experiment_metadata"]["experiment_type"] = "reference";
  auto page = look_at(report_of(single, "single") + "/index.html")[0];
  BOOST_TEST(page["figures"].empty());
  BOOST_TEST(mentions(page["text"], {"Nothing to compare: a second configuration",
                                     "The files hold no run times", "No value varies"}));
  BOOST_TEST(!fs::exists("single/report/plots"));

  page = look_at(report_of(experiment(7), "no_noise") + "/index.html")[0];
  BOOST_TEST(mentions(sentence_of(page, "1-tp-key_vectors-noise_signal_across"),
                      {"no noise between hardware types was measured"}));
  BOOST_TEST(figure_ids(page).contains("1-tp-key_vectors-by_step"));
  BOOST_TEST(!figure_ids(page).contains("1-tp-key_vectors-noise_signal_across"));

  Json equal = experiment(0);
  for (Json& one : equal["runs"]) one["decode_steps"] = equal["runs"][0]["decode_steps"];
  page = look_at(report_of(equal, "equal") + "/index.html")[0];
  BOOST_TEST(page["figures"].empty());
  BOOST_TEST(
      mentions(sentence_of(page, "1-batch_size-key_vectors-matrix"), {"All distances are 0 (15 pairs)"}));
  BOOST_TEST(mentions(sentence_of(page, "1-batch_size-key_vectors-by_step"), {"Every distance is 0"}));
  BOOST_TEST(mentions(sentence_of(page, "1-batch_size-key_vectors-ulp"), {"Every element is equal"}));
}

BOOST_AUTO_TEST_CASE(diverging_zero_and_many_hardware_types_are_drawn) {
  for (const std::size_t number : {3u, 4u, 5u, 6u}) {
    BOOST_TEST_CONTEXT("experiment " << number) {
      const std::string report = report_of(experiment(number), "kinds");
      const auto pages = look_at(report + "/index.html");
      check_pages(pages);
      BOOST_TEST(pages[0]["problems"] == 0);
      BOOST_TEST(figure_ids(pages[0]).size() > 5u);
      check_scripts(report + "/plots");
      if (number == 3) BOOST_TEST(mentions(pages[0]["text"], {"Tokens differ from step"}));
      if (number == 5)
        BOOST_TEST(mentions(pages[0]["text"], {"threshold 0: the noise floor is 0", "noise floor is zero"}));
    }
  }
}

BOOST_AUTO_TEST_CASE(zeros_are_drawn_as_zeros_on_logarithmic_axes) {
  // Rows of repetition noise from 1e-6 to 1, and exact zeros between them.
  Json content = experiment(4);
  double shift = 1e-6;
  for (Json& one : content["runs"])
    for (Json& step : one["decode_steps"])
      for (auto& [layer, positions] : step["key_vectors"].items())
        for (auto& [position, row] : positions.items()) row = {1.0, 2.0, 3.0};
  Json& changed = content["runs"][3]["decode_steps"];
  for (std::size_t s = 0; s < changed.size(); s += 2, shift *= 100)
    changed[s]["key_vectors"]["layer_7"]["pos_-1"][0] = 1.0 + shift;
  const std::string here = folder("zeros");
  write(here + "/a.json", content);
  BOOST_TEST_REQUIRE(compare({"a.json", "--layer", "7"}, here).code == 0);
  const std::string script = text_of(here + "/report/plots/1-tp-key_vectors-by_step.gp");
  BOOST_TEST(
      mentions(script, {"set logscale y", "'0' zero", "set object 1 rectangle", "# where zeros are drawn"}));
  const std::string data = text_of(here + "/report/plots/1-tp-key_vectors-by_step.dat");
  BOOST_TEST(!mentions(data, {"NaN"}));  // every series reaches every step
  BOOST_TEST(mentions(data, {" 0 0 0"}));
  const std::string svg = text_of(here + "/report/plots/1-tp-key_vectors-by_step.svg");
  BOOST_TEST(mentions(svg, {"<text>0</text>", "10⁻⁵"}));
  std::size_t points = 0;
  for (std::size_t at = 0; (at = svg.find(" scale(", at)) != svg.npos; ++at) ++points;
  BOOST_TEST(points == 4u * (8 + 1));  // four series of eight rows, zeros among them, and the key
}

BOOST_AUTO_TEST_CASE(an_earlier_report_is_replaced_and_nothing_else) {
  const std::string here = folder("places");
  write(here + "/a.json", experiment(0));
  const auto attempt = [&](const std::string& where) {
    return run({program, "a.json", "--output", "r.json", "--report", where}, here);
  };
  const auto refused = [&](const std::string& where, std::initializer_list<std::string> words) {
    fs::remove(here + "/r.json");
    const Outcome outcome = attempt(where);
    BOOST_TEST_CONTEXT(outcome.err) {
      BOOST_TEST(outcome.code == 2);
      BOOST_TEST(mentions(outcome.err, words));
      BOOST_TEST(!fs::exists(here + "/r.json"));
    }
  };
  fs::create_directory(here + "/report");
  BOOST_TEST(attempt("report").code == 0);  // an empty folder
  std::ofstream(here + "/report/plots/1-batch_size-key_vectors-matrix.gp") << "# edited\n";
  BOOST_TEST(attempt("report/").code == 0);  // an earlier report
  BOOST_TEST(!mentions(text_of(here + "/report/plots/1-batch_size-key_vectors-matrix.gp"), {"# edited"}));
  BOOST_TEST(entries(here) == (std::vector<std::string>{"a.json", "r.json", "report"}),
             boost::test_tools::per_element());
  fs::create_directory_symlink("report", here + "/link");
  BOOST_TEST(attempt("link").code == 0);
  BOOST_TEST(fs::is_symlink(here + "/link"));

  std::ofstream(here + "/report/plots/notes.txt") << "mine";
  refused("report", {"plots/notes.txt", "not part of one"});
  BOOST_TEST(text_of(here + "/report/plots/notes.txt") == "mine");
  refused(".", {"--report .", "other content"});
  refused("a.json", {"--report a.json", "found a file"});
  refused("no/such/report", {"--report no/such/report", "no/such does not exist"});
  refused("", {"--report", "found none"});
  fs::create_directory(here + "/site");
  std::ofstream(here + "/site/index.html") << "<!DOCTYPE html><p>someone's page";
  refused("site", {"--report site", "other content"});
  const Outcome plan = run({program, "a.json", "--plan-compatible", "--report", "new"}, here);
  BOOST_TEST(plan.code == 2);
  BOOST_TEST(mentions(plan.err, {"--report", "--plan-compatible"}));
  BOOST_TEST(!fs::exists(here + "/new"));
}

BOOST_AUTO_TEST_CASE(what_fails_is_listed_and_leaves_an_earlier_report_alone) {
  const std::string here = folder("failures");
  Json other = experiment(3);
  write(here + "/compile_experiment.json", other);
  std::ofstream(here + "/batch_size_experiment.json") << "{\"experiment_metadata\": {";
  BOOST_TEST(compare({"--all"}, here).code == 2);
  const auto page = look_at(here + "/report/index.html")[0];
  BOOST_TEST(mentions(page["text"], {"Left out: 1 input", "batch_size_experiment.json", "compile"}));
  const std::string before = text_of(here + "/report/index.html");
  std::ofstream(here + "/compile_experiment.json") << "[]";
  BOOST_TEST(compare({"--all"}, here).code == 2);
  BOOST_TEST(text_of(here + "/report/index.html") == before);
  write(here + "/compile_experiment.json", other);
  const Outcome outcome = run({program, "--all", "--output", "no/such/r.json", "--report", "second"}, here);
  BOOST_TEST(outcome.code == 2);
  BOOST_TEST(!fs::exists(here + "/second"));
}

BOOST_AUTO_TEST_CASE(an_interrupt_leaves_no_report) {
  const std::string here = folder("interrupted"), tools = folder("slow_path");
  std::ofstream(tools + "/gnuplot")
      << "#!/bin/sh\n[ \"$1\" = --version ] && echo gnuplot 5.4 && exit 0\n"
         "echo > ../../../started; while [ ! -e ../../../go ]; do sleep 0.02; done\n";
  fs::permissions(tools + "/gnuplot", fs::perms::owner_all);
  fs::remove("started"), fs::remove("go");
  write(here + "/a.json", experiment(0));
  const std::string path = fs::absolute(tools).string() + ":" + std::getenv("PATH");
  Child child({program, "a.json", "--output", "r.json", "--report", "report"}, here, {{"PATH", path}});
  for (int i = 0; i < 3000 && !fs::exists("started"); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  BOOST_TEST_REQUIRE(fs::exists("started"));
  child.send(SIGINT);
  std::ofstream("go") << "";
  const Outcome outcome = child.wait();
  BOOST_TEST(outcome.code == 130, outcome.err);
  BOOST_TEST(entries(here) == std::vector<std::string>{"a.json"}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(published_measurements_have_a_report_too) {
  const char* data = std::getenv("FPF_PUBLISHED_DATA");
  if (data == nullptr) {
    BOOST_TEST_MESSAGE("FPF_PUBLISHED_DATA is not set: nothing to look at");
    return;
  }
  const std::string here = folder("published"), from = fs::absolute(data).string();
  std::vector<std::string> args{"--published"};
  for (const char* name :
       {"batch/H100_sdpa", "cuda/cu118", "cuda/cu121", "gpu/A100", "gpu/H100", "tensor_parallel/A100"})
    args.push_back(from + "/" + name + ".json");
  const Outcome outcome = compare(args, here);
  BOOST_TEST_REQUIRE(outcome.code == 0, outcome.err);
  const Json found = Json::parse(text_of(here + "/r.json"));
  const auto pages = look_at(here + "/report/index.html");
  check_pages(pages);
  BOOST_TEST(pages[0]["problems"] == 0);
  const auto differing =
      std::ranges::count_if(found["matrices"], [](const Json& one) { return one["mean"] != 0.0; });
  BOOST_TEST(figure_ids(pages[0]).size() ==
             static_cast<std::size_t>(differing) + found["between_files"].size());
  BOOST_TEST(pages[0]["missing"].size() + static_cast<std::size_t>(differing) == found["matrices"].size());
  check_scripts(here + "/report/plots");
  std::vector<Json> rows;
  for (const Json& one : found["between_files"])
    for (std::size_t i = 0; i < one["labels"].size(); ++i)
      rows.push_back(
          {{"comparison", one["title"]}, {"label", one["labels"][i]}, {"distance", one["distances"][i]}});
  check_csv(here + "/report/csv/between_files.csv", rows);
}
