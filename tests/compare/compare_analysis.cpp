// The default analysis, through the program, against numpy's reading of the errata
// (fixtures/analysis_oracle.py).
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "child.hpp"

BOOST_AUTO_TEST_SUITE(test_compare_analysis)

using Json = nlohmann::ordered_json;

namespace {

const Json& oracle() {
  static const Json all = Json::parse(std::ifstream(FPF_SOURCE "/tests/compare/fixtures/analysis_oracle.json"));
  return all;
}

/// Every member of `expected` is in `found`; numbers to 1e-12 relative (absolute below 1).
void check_equal(const Json& found, const Json& expected, const std::string& where) {
  if (expected.is_object()) {
    for (const auto& [key, value] : expected.items()) {
      BOOST_REQUIRE_MESSAGE(found.contains(key), where << " lacks " << key << ": " << found.dump().substr(0, 200));
      check_equal(found[key], value, where + "." + key);
    }
  } else if (expected.is_array()) {
    BOOST_REQUIRE_MESSAGE(found.size() == expected.size(),
                          where << ": " << found.dump().substr(0, 300) << "\nfor " << expected.dump().substr(0, 300));
    for (std::size_t i = 0; i < expected.size(); ++i)
      check_equal(found[i], expected[i], where + "[" + std::to_string(i) + "]");
  } else if (expected.is_number_float()) {
    BOOST_REQUIRE_MESSAGE(found.is_number(), where << " is " << found.dump());
    const double x = found.get<double>(), y = expected.get<double>();
    BOOST_TEST(std::abs(x - y) <= 1e-12 * std::max(1.0, std::abs(y)), where << ": " << x << " for " << y);
  } else {
    BOOST_TEST(found == expected, where << ": " << found.dump() << " for " << expected.dump());
  }
}

/// Writes a case's file: an experiment, or what one hardware type has of it.
std::string write_file(const Json& file, const std::string& name) {
  Json content = oracle()["experiments"][file["experiment"].get<std::size_t>()];
  if (!file["hardware"].is_null()) {
    Json configurations = Json::array(), runs = Json::array();
    std::set<std::string> ids;
    for (const Json& configuration : content["configurations"]) {
      if (configuration["hardware"] != file["hardware"]) continue;
      ids.insert(configuration["config_id"]);
      configurations.push_back(configuration);
    }
    for (const Json& one : content["runs"])
      if (ids.contains(one["config_id"])) runs.push_back(one);
    content["configurations"] = configurations;
    content["runs"] = runs;
  }
  std::ofstream(name) << content.dump();
  return name;
}

Json analyse(const Json& entry) {
  std::vector<std::string> args{FPF_BIN "/compare", "--json"};
  for (const Json& option : entry["options"]) args.push_back(option);
  for (std::size_t i = 0; i < entry["files"].size(); ++i)
    args.push_back(write_file(entry["files"][i], "file" + std::to_string(i) + ".json"));
  const Outcome outcome = run(args);
  BOOST_REQUIRE_MESSAGE(outcome.code == 0, entry["name"] << ": " << outcome.err);
  const Json result = Json::parse(outcome.out);
  BOOST_REQUIRE(result["analyses"].size() == 1u);
  return result["analyses"][0];
}

const Json& case_named(const std::string& name) {
  for (const Json& entry : oracle()["cases"])
    if (entry["name"] == name) return entry;
  throw std::runtime_error("no case " + name);
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_case_gives_numpys_numbers) {
  BOOST_REQUIRE(oracle()["cases"].size() == 10u);
  for (const Json& entry : oracle()["cases"]) check_equal(analyse(entry), entry["expected"], entry["name"]);
}

BOOST_AUTO_TEST_CASE(matrices_hold_the_comparisons) {
  const Json found = analyse(case_named("two_machines"));
  BOOST_REQUIRE(found["matrices"].size() == 6u);
  for (const Json& matrix : found["matrices"]) {
    const auto ids = matrix["configurations"].get<std::vector<std::string>>();
    const auto place = [&](const Json& id) {
      return static_cast<std::size_t>(std::find(ids.begin(), ids.end(), id.get<std::string>()) - ids.begin());
    };
    for (std::size_t i = 0; i < ids.size(); ++i) BOOST_TEST(matrix["max_l2"][i][i] == 0.0);
    for (const Json& comparison : found["comparisons"])
      for (const Json& tap : comparison["signals"]) {
        if (tap["signal"] != matrix["signal"] || tap["layer"] != matrix["layer"]) continue;
        const auto i = place(comparison["a"]), j = place(comparison["b"]);
        for (const char* which : {"max", "mean"}) {
          const Json& square = matrix[std::string(which) + "_l2"];
          BOOST_TEST(square[i][j] == tap["l2"][which]);
          BOOST_TEST(square[j][i] == tap["l2"][which]);
        }
      }
  }
}

BOOST_AUTO_TEST_CASE(stored_repetitions_give_reproducibility_where_digests_do_not) {
  const Json found = analyse(case_named("plans_own"));
  for (const Json& configuration : found["configurations"]) {
    const Json& reproducibility = configuration["reproducibility"];
    BOOST_TEST(reproducibility["basis"] == "vectors");
    BOOST_TEST(reproducibility["repetitions"] == 3);
    const bool exact = configuration["config_id"] != "H_2";  // the fixture varies that one alone
    BOOST_TEST(reproducibility["bit_exact"] == exact);
    BOOST_TEST(reproducibility["first_difference"].is_null() == exact);
  }
  for (const Json& configuration : analyse(case_named("two_machines"))["configurations"]) {
    BOOST_TEST(configuration["reproducibility"]["basis"] == "digests");
    BOOST_TEST(configuration["reproducibility"]["bit_exact"] == true);
  }
}

BOOST_AUTO_TEST_CASE(verdicts_say_what_they_rest_on) {
  const auto verdict = [](const Json& found, const std::string& scope, const std::string& value) {
    for (const Json& entry : found["verdicts"])
      if (entry["scope"] == scope && entry["value"] == value) return entry["text"].get<std::string>();
    return std::string();
  };
  const auto holds = [](const std::string& text, const std::string& part) { return text.find(part) != text.npos; };
  const Json zero = analyse(case_named("zero_noise"));
  BOOST_TEST(
      holds(verdict(zero, "across hardware", "2"),
            "detectable (no noise: equal runs on different hardware types are bit-equal); 16 rows in 2 comparisons "
            "against 24 rows of noise between hardware types in 3 comparisons"));
  BOOST_TEST(
      holds(verdict(zero, "within hardware", "2"), "detectable (no noise: all repetitions are bit-equal); 16 rows"));
  BOOST_TEST(holds(verdict(zero, "across hardware", "3"), "not detectable (no difference at all); 16 rows"));
  for (const Json& entry : zero["verdicts"]) BOOST_TEST(entry["needed_units"].is_null());
  const Json fewer = analyse(case_named("two_machines")), many = analyse(case_named("many_rows"));
  BOOST_TEST(holds(verdict(fewer, "across hardware", "2"),
                   "partial AUC below 1 % false positives: not enough data (24 rows of noise, 100 are needed)"));
  BOOST_TEST(holds(verdict(many, "across hardware", "2"), "partial AUC below 1 % false positives 0.505; 70 rows"));
  BOOST_TEST(
      holds(verdict(many, "across hardware", "3"), "not detectable: 1.2x the noise between hardware types (p = 0."));
  BOOST_TEST(holds(verdict(many, "across hardware", "3"), ", 35 steps of one prompt); permutation test of 5000 drawn"));
  const Json none = analyse(case_named("no_noise"));
  BOOST_TEST(holds(verdict(none, "across hardware", "2"), "cannot tell: no noise between hardware types was measured"));
  const Json few = analyse(case_named("diverging"));
  BOOST_TEST(
      holds(verdict(few, "across hardware", "true"),
            "cannot tell: 4 steps of one prompt; at least 7 are needed; permutation test of 16 (all) arrangements, "
            "whose p is never below 0.062, where 0.01 is needed, which takes steps as independent"));
  for (const Json& entry : few["verdicts"]) BOOST_TEST(entry["auc_interval"].is_null());
  BOOST_TEST(holds(few["notes"].dump(), "tokens differ from step 2 on; rows before it are compared"));
  const Json two = analyse(case_named("two_machines"));
  BOOST_TEST(
      holds(verdict(two, "across hardware", "1"),
            "x the noise between hardware types (p = 0.0039, 8 steps of one prompt); permutation test of 256 (all) "));
  BOOST_TEST(holds(verdict(two, "across hardware", "1"), "16 rows in 2 comparisons against 24 rows of noise"));
  BOOST_TEST(holds(verdict(two, "across hardware", "1"),
                   "AUC 1.000, 95 % interval 1.000 to 1.000 over 8 steps of one prompt; "));
  BOOST_TEST(holds(verdict(two, "across hardware", "1"), "95 % power at 1 % false positives from 22 steps on"));
  const Json same = analyse(case_named("same_hardware"));
  BOOST_TEST(
      holds(verdict(same, "within hardware", "eager"), "x the noise between machines of one hardware type (p = "));
  const Json own = analyse(case_named("plans_own"));
  BOOST_TEST(holds(verdict(own, "within hardware", "2"), "x the noise between repetitions (p = "));
}

BOOST_AUTO_TEST_CASE(a_layer_that_one_run_lacks_is_noted) {
  const Json found = analyse(case_named("three_types"));
  BOOST_TEST(found["notes"].dump().find("H200_2 has no hidden_states layer 7") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
