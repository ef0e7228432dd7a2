// compare as a user runs it on generated experiments: what its tests share.
#pragma once

#include "compare.hpp"

/// A generated experiment with two hardware types and three values (compare/fixtures/plan_oracle.py), under another
/// type.
inline Json experiment(const std::string& type = "batch_size") {
  static const Json cases = Json::parse(std::ifstream(FPF_SOURCE "/tests/compare/fixtures/plan_oracle.json"))["cases"];
  Json out = cases[0]["experiment"];
  out["experiment_metadata"]["experiment_type"] = type;
  return out;
}

inline Outcome compare(std::vector<std::string> args, const std::string& where = ".",
                       const Child::Environment& environment = {{"COLUMNS", "120"}}) {
  args.insert(args.begin(), program);
  return run(args, where, environment);
}

inline void check_refused(std::vector<std::string> args, std::initializer_list<std::string> words,
                          const std::string& where = ".") {
  const Outcome outcome = compare(std::move(args), where);
  BOOST_TEST_CONTEXT(outcome.err) {
    BOOST_TEST(outcome.code == 2);
    BOOST_TEST(outcome.out == "");
    BOOST_TEST(mentions(outcome.err, words));
  }
}
