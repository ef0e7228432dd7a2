// compare --report: CSV that says what the JSON says.
#include "report_csv.hpp"

#include <fpf/compare/output/csv.hpp>

#include "report.hpp"

BOOST_AUTO_TEST_SUITE(test_report_csv)

BOOST_AUTO_TEST_CASE(csv_says_what_the_json_says) {
  for (const std::size_t number : {0u, 3u, 4u, 6u}) {
    Json content = experiment(number);
    add_runtimes(content);
    const std::string report = report_of(content, "csv");
    const auto expected = expected_csv(Json::parse(text_of("csv/r.json")));
    BOOST_TEST(expected.size() == names_in(report + "/csv").size());
    for (const auto& [name, rows] : expected) check_csv(report + "/csv/" + name + ".csv", rows);
  }
}

BOOST_AUTO_TEST_CASE(rows_of_several_prompts_say_of_which) {
  const std::string report = report_of(of_prompts(experiment(3), 7), "prompts_csv");
  const Json results = Json::parse(text_of("prompts_csv/r.json"));
  for (const auto& [name, rows] : expected_csv(results)) check_csv(report + "/csv/" + name + ".csv", rows);
  std::set<std::string> prompts;
  for (const auto& row : csv(report + "/csv/rows.csv")) prompts.insert(row.at("prompt"));
  BOOST_TEST((prompts == std::set<std::string>{"0", "1", "2", "3", "4", "5", "6"}));
  const auto pages = look_at(report + "/index.html");
  check_pages(pages);
  BOOST_TEST(pages[0]["problems"] == 0);
  BOOST_TEST(mentions(pages[0]["text"], {"7 prompts", ", 7 prompts)", "step 2 on in at least one pair and prompt"}));
  BOOST_TEST(mentions(sentence_of(pages[0], "1-compile-key_vectors-by_step"), {"steps of 7 prompts"}),
             sentence_of(pages[0], "1-compile-key_vectors-by_step"));
}

// OWASP, "CSV Injection". Numbers are numbers, whatever their sign.
BOOST_AUTO_TEST_CASE(no_cell_begins_a_formula) {
  {
    fpf::compare::report::CsvFile file("formulas.csv", "cells");
    for (const char* text : {"=1+1", "+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "＝1", "=\"a\"", "-1.5", "-1e-7", "a=b"})
      file.row(text);
    file.row(-0.5);
    file.commit();
  }
  BOOST_TEST(text_of("formulas.csv") ==
             "cells\n\"'=1+1\"\n\"'+1\"\n\"'-2+3\"\n\"'@SUM(A1)\"\n\"'\t=1\"\n\"'\r=1\"\n\"'＝1\"\n"
             "\"'=\"\"a\"\"\"\n-1.5\n-1e-7\na=b\n-0.5\n");
  Json content = experiment(0);
  for (Json& configuration : content["configurations"]) configuration["hardware"] = "=cmd|' /C calc'!A0";
  const std::string report = report_of(content, "formula");
  for (const auto& row : csv(report + "/csv/configurations.csv"))
    BOOST_TEST(row.at("hardware") == "'=cmd|' /C calc'!A0");
}

BOOST_AUTO_TEST_SUITE_END()
