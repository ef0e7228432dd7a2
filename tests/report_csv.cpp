// compare --report: CSV that says what the JSON says.
#include "report_csv.hpp"

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

BOOST_AUTO_TEST_SUITE_END()
