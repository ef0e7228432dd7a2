// Evidence of a small mixture of experts, forged and verified: what verify's tests share.
#pragma once

#include "experiments.hpp"

/// Changes a copy of evidence by forge_evidence.py; its name.
inline std::string forged(const fs::path& from, const Strings& change) {
  static int number = 0;
  fs::create_directories("forged");
  const std::string to = "forged/" + std::to_string(number++) + ".json";
  Strings args{"python3", FPF_SOURCE "/tests/verify/forge_evidence.py", from.string(), to};
  args.insert(args.end(), change.begin(), change.end());
  const Outcome outcome = run(args);
  BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  return to;
}

struct Verified {
  int code = 0;
  std::string out, err;
  json result;  // --output's
  const json& first() const { return result.at("runs").at(0); }
};

/// Runs verify with one model, or more.
inline Verified verified(const std::string& evidence, const Strings& models, const Strings& more = {},
                         const Child::Environment& environment = {}) {
  fs::remove("verdict.json");
  Strings args{bin + "/verify", evidence, "--output", "verdict.json"};
  for (const auto& model : models) args.insert(args.end(), {"--model", model});
  args.insert(args.end(), more.begin(), more.end());
  const Outcome outcome = run(args, ".", environment);
  Verified out{outcome.code, outcome.out, outcome.err, {}};
  if (fs::exists("verdict.json")) out.result = read("verdict.json");
  return out;
}
