// compare --report: labels of figures. Two things never look the same, and nothing is wider than its place.
#include <cmath>
#include <fpf/compare/report/heat_map.hpp>
#include <fpf/compare/report/label.hpp>

#include "report.hpp"

namespace {

/// Renames configurations, hardware and changed values so that all are long and differ in a few letters alone.
Json with_long_names(std::size_t number, const std::string& before, const std::string& after) {
  Json content = experiment(number);
  const auto long_name = [&](const std::string& name) { return before + name + after; };
  for (Json& one : content["configurations"]) {
    one["config_id"] = long_name(one["config_id"]);
    one["hardware"] = long_name(one["hardware"]);
    if (!one["variable_value"].is_null()) one["variable_value"] = long_name(one["variable_value"].dump());
  }
  for (Json& one : content["runs"]) one["config_id"] = long_name(one["config_id"]);
  return content;
}

const std::string sixty = "cluster-of-the-university-with-a-name-that-fills-a-whole-line";

/// Labels behind which another configuration stands under the same letters.
void check_distinct(const nlohmann::json& page, const std::string& figure, std::size_t expected) {
  for (const auto& one : page["figures"])
    if (one["id"] == figure) {
      std::multiset<std::string> labels;
      for (const std::string label : one["labels"])
        if (mentions(label, {"…"})) labels.insert(label);
      BOOST_TEST(labels.size() == expected, figure << one["labels"].dump());
      BOOST_TEST((std::set<std::string>(labels.begin(), labels.end()).size() == labels.size()), one["labels"].dump());
      return;
    }
  BOOST_ERROR("no " << figure);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(test_report_labels)

BOOST_AUTO_TEST_CASE(texts_that_differ_anywhere_have_different_labels) {
  using fpf::compare::report::labels_of;
  const auto at = [](const std::string& a, const std::string& b) { return sixty + a + sixty + b; };
  const std::vector<std::vector<std::string>> sets{
      {at("1", ""), at("2", ""), at("3", "")},                          // in the middle
      {at("", "1"), at("", "2")},                                       // at the end
      {"1" + sixty, "2" + sixty},                                       // at the beginning
      {at("1", "x"), at("1", "y"), at("2", "x"), at("2", "y")},         // at two places
      {sixty, sixty + sixty, sixty + sixty + sixty},                    // one begins another
      {at("1", ""), at("2", ""), "short"},                              // and one of another kind
      {sixty + "a\tb" + sixty, sixty + "a b" + sixty},                  // in what is not shown
      {at("ä1", ""), at("ä2", ""), at("漢", "")},                       // in more than ASCII
      std::vector<std::string>{at("1", ""), at("2", ""), at("1", "")},  // and one text twice
  };
  for (const auto& texts : sets)
    for (const double width : {90.0, 130.0, 200.0, 5000.0}) {
      const auto labels = labels_of(texts, width);
      BOOST_TEST_REQUIRE(labels.size() == texts.size());
      for (std::size_t i = 0; i < texts.size(); ++i) {
        BOOST_TEST(fpf::compare::report::text_width(labels[i]) <= width, labels[i]);
        for (std::size_t j = 0; j < i; ++j)
          BOOST_TEST((labels[i] == labels[j]) == (texts[i] == texts[j]), labels[i] << " for " << i << " and " << j);
      }
    }
  BOOST_TEST(labels_of({"H100_bs1", "A100_bs1"}, 100)[0] == "H100_bs1");
  BOOST_TEST(mentions(labels_of({at("1", ""), at("2", "")}, 130)[1], {"line2clu"}));  // what differs is in it
}

BOOST_AUTO_TEST_CASE(no_text_is_wider_than_it_is_taken_for) {
  const std::vector<std::string> texts{"illness",         "WWWWWW@@@@",    "epyc-7763_flash_attention_2",
                                       "0.123456789e-10", "MMMÄÖÜßЖЩ…→×–", "漢字한글あ",
                                       "“≤ 2⁻⁵”",         "😀👍🏽"};
  std::ofstream page("metric.html");
  page << "<!DOCTYPE html><meta charset=utf-8><body>\n";
  for (const std::string& text : texts)
    page << "<span style=\"font:100px sans-serif;white-space:pre\">" << text << "</span><br>\n";
  page << "<script>document.title = JSON.stringify([...document.querySelectorAll('span')].map(s => "
          "s.getBoundingClientRect().width))</script>";
  page.close();
  const std::string seen = run_browser({"--dump-dom", "--window-size=3000,1000"}, "metric.html").out;
  const std::size_t begin = seen.find("<title>") + 7;
  const auto found = nlohmann::json::parse(seen.substr(begin, seen.find("</title>") - begin));
  BOOST_TEST_REQUIRE(found.size() == texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i)
    BOOST_TEST(found[i].get<double>() <= fpf::compare::report::text_width(texts[i], 100) + 8.0, texts[i]);
}

BOOST_AUTO_TEST_CASE(long_names_stay_apart_and_inside_of_every_figure) {
  for (const auto& [before, after] : {std::pair(sixty, sixty), {sixty, std::string()}, {std::string(), sixty}}) {
    Json content = with_long_names(0, before, after);
    add_runtimes(content);
    const auto pages = look_at(report_of(content, "long_names") + "/index.html");
    check_pages(pages);
    for (const char* signal : {"hidden_states", "logprobs"}) {
      check_distinct(pages[2], fmt::format("1-batch_size-{}-matrix", signal), 6);
      check_distinct(pages[2], fmt::format("1-batch_size-{}-by_step", signal), 4);
    }
    check_distinct(pages[2], "1-batch_size-timing", 6);
    const auto& changes = pages[2]["changes"];
    BOOST_TEST((std::set<std::string>(changes.begin(), changes.end()).size() == 2u), changes.dump());
  }
}

BOOST_AUTO_TEST_CASE(hardware_types_with_long_names_are_no_one_series) {
  Json content = with_long_names(6, sixty, sixty);
  for (Json& one : content["configurations"]) one["variable_value"] = nullptr;  // noise between three hardware types
  content["experiment_metadata"]["experiment_type"] = "reference";
  const std::string here = fresh_folder("three_types").string();
  write(here + "/a.json", content);
  BOOST_TEST_REQUIRE(compare({"a.json"}, here).code == 0);
  std::set<std::string> series;
  std::istringstream data(text_of(here + "/report/plots/1-reference-key_vectors-by_step.dat"));
  for (std::string line; std::getline(data, line);)
    if (line.starts_with("# columns ")) series.insert(line.substr(line.find(": ")));
  std::set<std::pair<std::string, std::string>> pairs;  // in either order
  std::map<std::string, std::string> hardware;
  const Json found = Json::parse(text_of(here + "/r.json"))["analyses"][0];
  for (const Json& one : found["configurations"]) hardware[one["config_id"]] = one["hardware"];
  for (const Json& one : found["comparisons"])
    if (!one["signals"].empty()) pairs.emplace(std::minmax(hardware[one["a"]], hardware[one["b"]]));
  BOOST_TEST(pairs.size() > 2u);
  BOOST_TEST(series.size() == pairs.size());
}

BOOST_AUTO_TEST_CASE(heat_maps_show_three_digits) {
  using fpf::compare::report::three_digits;
  const std::vector<std::pair<double, std::string>> known{{0, "0"},           {2.4, "2.40"},        {24, "24.0"},
                                                          {240, "240"},       {9.996, "10.0"},      {0.02444, "0.0244"},
                                                          {0.99951, "1.00"},  {1234.4, "1234"},     {2.4e-6, "2.40e-6"},
                                                          {123456, "1.23e5"}, {9.996e-4, "1.00e-3"}};
  for (const auto& [value, text] : known) BOOST_TEST(three_digits(value) == text);
  fpf::compare::report::NamedMatrix matrix{"keys", "largest L2", {"a", "b", "c"}, {}};
  const auto cells = [&](double ab, double ac, double bc) {
    matrix.distances = {0, ab, ac, ab, 0, bc, ac, bc, 0};
    const auto figure = heat_map(matrix);
    std::vector<std::string> out{figure.script.substr(0, figure.script.find(' ', 7))};
    std::istringstream rows(figure.data);
    for (std::string line; std::getline(rows, line);)
      if (!line.starts_with("#")) out.push_back(line.substr(line.rfind(' ') + 1));
    return out;
  };
  const auto check = [&](const std::vector<std::string>& found, const std::string& unit,
                         std::array<std::string, 3> texts) {
    BOOST_TEST(found == (std::vector<std::string>{"unit = " + unit, "0", texts[0], texts[1], texts[0], "0", texts[2],
                                                  texts[1], texts[2], "0"}),
               boost::test_tools::per_element());
  };
  check(cells(2.441e-6, 2.2e-6, 1.0049e-4), "1e-6", {"2.44", "2.20", "100"});
  check(cells(0.5, 0.25, 31.416), "1e0", {"0.500", "0.250", "31.4"});
  check(cells(1e-9, 0.5, 3), "1e0", {"1.00e-9", "0.500", "3.00"});
}

BOOST_AUTO_TEST_SUITE_END()
