// compare/plan/plan.hpp against the plan's script as numpy computes it (fixtures/plan_oracle.py), for 54 generated
// experiments.
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fpf/compare/plan/plan.hpp>
#include <fstream>
#include <set>

BOOST_AUTO_TEST_SUITE(test_compare_plan)

using namespace fpf;

namespace {

const Json& cases() {
  static const Json all = Json::parse(std::ifstream(FPF_SOURCE "/tests/compare/fixtures/plan_oracle.json"))["cases"];
  return all;
}

compare::JoinedExperiment experiment_of(const Json& content, const std::string& name) {
  std::ofstream(name) << content.dump();
  std::vector<evidence::ExperimentFile> files;
  files.push_back(evidence::open_experiment(name));
  return compare::join(std::move(files));
}

/// Equal structure, texts and booleans; numbers to 1e-12 relative.
void check_equal(const Json& found, const Json& expected, const std::string& where) {
  BOOST_TEST_CONTEXT(where) {
    if (expected.is_object()) {
      BOOST_REQUIRE(found.is_object());
      BOOST_TEST(found.size() == expected.size());
      for (const auto& [key, value] : expected.items()) {
        BOOST_REQUIRE_MESSAGE(found.contains(key), where << " lacks " << key);
        check_equal(found[key], value, where + "." + key);
      }
    } else if (expected.is_array()) {
      BOOST_REQUIRE(found.size() == expected.size());
      for (std::size_t i = 0; i < expected.size(); ++i)
        check_equal(found[i], expected[i], where + "[" + std::to_string(i) + "]");
    } else if (expected.is_number()) {
      BOOST_REQUIRE(found.is_number());
      const double x = found.get<double>(), y = expected.get<double>();
      BOOST_TEST(std::abs(x - y) <= 1e-12 * std::abs(y), where << ": " << x << " for " << y);
    } else {
      BOOST_TEST(found == expected, where << ": " << found.dump() << " for " << expected.dump());
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_plans_numbers_come_out) {
  BOOST_REQUIRE(cases().size() >= 50u);
  for (const Json& entry : cases()) {
    const auto experiment = experiment_of(entry["experiment"], "experiment.json");
    for (const auto signal : {evidence::StoredSignal::hidden_states, evidence::StoredSignal::key_vectors,
                              evidence::StoredSignal::logprobs}) {
      const std::string name(evidence::name_of(signal));
      check_equal(compare::plan::analyse(experiment, signal), entry["expected"][name],
                  experiment.metadata()["experiment_type"].get<std::string>() + "." + name);
    }
  }
}

BOOST_AUTO_TEST_CASE(the_oracle_covers_every_outcome) {
  int without_baseline = 0, zero_noise = 0, detectable = 0, undetectable = 0, inexact = 0, exact = 0;
  for (const Json& entry : cases()) {
    const Json& keys = entry["expected"]["key_vectors"];
    without_baseline += keys["baseline"].empty();
    zero_noise += !keys["baseline"].empty() && keys["baseline"]["mean"] == 0.0;
    for (const auto& [id, found] : keys["reproducibility"].items()) (found["is_exact"] == true ? exact : inexact) += 1;
    if (keys["cross_hardware"].empty()) continue;
    for (const Json& comparison : keys["cross_hardware"]["comparisons"])
      (comparison["detectable"] == true ? detectable : undetectable) += 1;
  }
  for (const int count : {without_baseline, zero_noise, detectable, undetectable, inexact, exact})
    BOOST_TEST(count > 3);
}

BOOST_AUTO_TEST_CASE(a_file_split_over_two_machines_gives_the_same) {
  for (const Json& entry : cases()) {
    Json halves[2] = {entry["experiment"], entry["experiment"]};
    const auto hardware = experiment_of(entry["experiment"], "whole.json").hardware();
    if (hardware.size() != 2) continue;
    std::vector<evidence::ExperimentFile> files;
    for (std::size_t h = 0; h < 2; ++h) {
      Json &half = halves[h], kept = Json::array(), runs = Json::array();
      std::set<std::string> ids;
      for (const Json& c : half["configurations"])
        if (c["hardware"] == hardware[h]) {
          kept.push_back(c);
          ids.insert(c["config_id"]);
        }
      for (const Json& r : half["runs"])
        if (ids.contains(r["config_id"])) runs.push_back(r);
      if (runs.empty()) break;
      half["configurations"] = kept;
      half["runs"] = runs;
      const std::string name = "half" + std::to_string(h) + ".json";
      std::ofstream(name) << half.dump(1);
      files.push_back(evidence::open_experiment(name));
    }
    if (files.size() != 2) continue;
    const auto joined = compare::join(std::move(files));
    check_equal(compare::plan::analyse(joined, evidence::StoredSignal::key_vectors), entry["expected"]["key_vectors"],
                "joined");
  }
}

BOOST_AUTO_TEST_CASE(the_summary_grades_as_the_plan_does) {
  std::vector<Json> reports;
  for (const double percentage : {100.0, 75.5, 75.0, 50.5, 50.0, 0.0})
    reports.push_back({{"experiment_type", "e"},
                       {"variable", "v"},
                       {"baseline", {{"mean", 0.25}}},
                       {"cross_hardware", {{"percentage", percentage}}}});
  reports.push_back(
      {{"experiment_type", "e"}, {"variable", "v"}, {"baseline", Json::object()}, {"cross_hardware", Json::object()}});
  const Json rows = compare::plan::summary(reports)["experiments"];
  const char* expected[] = {"✓ Strong", "✓ Strong", "~ Moderate", "~ Moderate", "✗ Weak", "✗ Weak", "✗ Weak"};
  for (std::size_t i = 0; i < rows.size(); ++i) BOOST_TEST(rows[i]["status"] == expected[i]);
  BOOST_TEST(rows[0]["baseline"] == 0.25);
  BOOST_TEST(rows[6]["baseline"] == 0.0);
}

BOOST_AUTO_TEST_CASE(rows_of_unequal_width_are_refused_as_numpy_does) {
  Json experiment = cases()[0]["experiment"];
  auto& row = experiment["runs"][0]["decode_steps"][0]["logprobs"]["pos_-1"];
  row["token_ids"].push_back(9);
  row["log_probs"].push_back(-9.5);
  const auto opened = experiment_of(experiment, "uneven.json");
  BOOST_CHECK_EXCEPTION(compare::plan::analyse(opened, evidence::StoredSignal::logprobs), Error, [](const Error& e) {
    return std::string(e.what()).find("decode_steps[0], pos_-1 have 3 and 2 numbers") != std::string::npos;
  });
}

BOOST_AUTO_TEST_SUITE_END()
