// compare --report as a user runs it, and what every report must be: what the tests of reports share.
#pragma once

#include <algorithm>
#include <set>

#include "browser.hpp"
#include "compare.hpp"

/// Experiments of analysis_oracle.py: 0 two hardware types and three values; 3 tokens that diverge; 4 three
/// repetitions that differ; 5 no noise between hardware types; 6 three hardware types; 7 no noise measured.
inline Json experiment(std::size_t number) {
  static const Json all =
      Json::parse(std::ifstream(FPF_SOURCE "/tests/compare/fixtures/analysis_oracle.json"))["experiments"];
  return all[number];
}

/// `compare` in `where`, with a report in `report` and results in r.json.
inline Outcome compare(std::vector<std::string> args, const std::string& where,
                       const Child::Environment& environment = {}) {
  args.insert(args.begin(), {program, "--output", "r.json", "--report", "report"});
  return run(args, where, environment);
}

/// The report of one experiment, all signals and layers; returns its folder.
inline std::string report_of(const Json& content, const std::string& name, const Child::Environment& environment = {}) {
  const std::string here = fresh_folder(name).string();
  write(here + "/a.json", content);
  const Outcome outcome = compare({"a.json", "--signal", "all", "--layer", "all"}, here, environment);
  BOOST_TEST_REQUIRE(outcome.code == 0, outcome.err);
  return here + "/report";
}

/// What every page must be, at any width and in any light.
inline void check_pages(const std::vector<nlohmann::json>& pages) {
  std::set<std::pair<int, bool>> views;
  for (const auto& page : pages) {
    views.emplace(page["width"], page["dark"]);
    BOOST_TEST_CONTEXT("width " << page["width"] << ", dark " << page["dark"]) {
      BOOST_TEST(page["scrollWidth"] <= page["width"]);
      BOOST_TEST(page["outside"].empty(), page["outside"].dump());
      BOOST_TEST(page["broken"].empty(), page["broken"].dump());
      BOOST_TEST(page["twice"].empty(), page["twice"].dump());
      BOOST_TEST(page["scripts"] == 0);
      BOOST_TEST(page["foreign"].empty(), page["foreign"].dump());
      BOOST_TEST(page["textContrast"].get<double>() >= 4.5);  // WCAG 2.2, 1.4.3
      BOOST_TEST(page["labelContrast"].get<double>() >= 4.5);
      BOOST_TEST(page["lineContrast"].get<double>() >= 3.0);  // 1.4.11
      for (const auto& figure : page["figures"]) {
        BOOST_TEST(figure["cut"].empty(), figure["id"] << " cuts off " << figure["cut"].dump());
        BOOST_TEST(figure["hintsOutside"].empty(), figure["id"] << figure["hintsOutside"].dump());
        BOOST_TEST((!figure["drawn"] || !figure["hints"].empty()), figure["id"] << " has no tooltip");
        BOOST_TEST(figure["sentence"].get<std::string>().size() > 10u, figure["id"]);
      }
    }
  }
  std::set<std::pair<int, bool>> wanted;
  for (const char* width : widths)
    for (const bool dark : {false, true}) wanted.emplace(std::stoi(width), dark);
  BOOST_TEST((views == wanted));
}

inline std::set<std::string> figure_ids(const nlohmann::json& page) {
  std::set<std::string> out;
  for (const auto& figure : page["figures"])
    if (figure["drawn"] && figure["marks"] > 0) out.insert(figure["id"]);
  return out;
}

inline std::string sentence_of(const nlohmann::json& page, const std::string& id) {
  for (const char* list : {"figures", "missing"})
    for (const auto& entry : page[list])
      if (entry["id"] == id) return entry["sentence"];
  return "no " + id;
}

/// A drawing without its first group: it is empty, and has the last colour of what gnuplot drew before.
inline std::string drawing_of(const fs::path& path) {
  std::string svg = text_of(path);
  const auto group = std::min(svg.find("<g fill="), svg.size());
  BOOST_TEST(svg.substr(std::min(svg.find('\n', group), svg.size())).starts_with("\n</g>"), path);
  return svg.erase(group, svg.find('\n', group) - group);
}

/// Runs every script again, as a user would: no complaint, and the same drawing.
inline void check_scripts(const fs::path& plots) {
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

inline void add_runtimes(Json& content) {
  double seconds = 10;
  for (Json& one : content["runs"])
    one["runtime"] = {
        {"seconds", {seconds, seconds + 0.125, seconds += 0.3}}, {"prefill_seconds", 3.5}, {"decode_seconds", 6.25}};
}
