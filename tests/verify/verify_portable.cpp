// Portable evidence of other versions of the numerics: verify re-executes what this program has, and names what it
// has not; two versions are no two machines of one set-up.
#include "verify.hpp"

BOOST_AUTO_TEST_SUITE(test_verify_portable)

namespace {

const std::string detail = "/configurations/0/manifest/policies/execution_detail";
const std::string version_1 =
    "fpf portable numerics, version 1: every operation is IEEE 754 binary32 in a written order (execution/PORTABLE.md)";

Strings portable(const std::string& program, const std::string& dtype, const std::string& out,
                 const Strings& more = {}) {
  Strings args = Inputs::command(program, out, {"--execution", "portable"}, "awq");
  *(std::ranges::find(args, "--dtype") + 1) = dtype;
  if (const auto baseline = std::ranges::find(args, "--baseline"); baseline != args.end())
    args.erase(baseline, baseline + 2);
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

/// Portable evidence of this build, made once for each dtype.
std::string evidence(const std::string& dtype) {
  const std::string out = "portable_" + dtype, file = out + "/reference_baseline.json";
  if (!fs::exists(file)) {
    const Outcome outcome = run(portable("exp0_reference", dtype, out));
    BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  }
  return file;
}

std::string with_detail(const std::string& file, const json& text) {
  return forged(file, {"member", detail, text.dump()});
}

}  // namespace

BOOST_AUTO_TEST_CASE(float32_evidence_of_version_1_has_these_bits_and_is_verified) {
  const std::string own = evidence("float32"), first = with_detail(own, version_1);
  for (const std::string& file : {own, first}) {
    const Verified found = verified(file, {Inputs::model("awq")});
    BOOST_TEST(found.code == 0, found.out << found.err);
    BOOST_REQUIRE(found.result.contains("runs"));
    BOOST_TEST(found.first().at("decode").at("bit_equal") == true);
    const json& differences = found.first().at("manifest_differences");
    const bool named = std::ranges::any_of(
        differences, [](const json& one) { return one.at("field") == "policies/execution_detail"; });
    BOOST_TEST(named == (file == first), differences);
  }
  // Other bits than these are nobody's, whatever machine the file names.
  const std::string edited = forged(forged(first, {"element", "0", "1", "hidden_states", "0", "1", "--resign"}),
                                    {"member", "/configurations/0/manifest/device/name", "\"another CPU\""});
  const Verified found = verified(edited, {Inputs::model("awq")});
  BOOST_TEST(found.code == 3);
  BOOST_REQUIRE(found.result.contains("runs"));
  BOOST_TEST(found.first().at("verdict") == "reject");
  BOOST_TEST(mentions(found.first().at("reason"), {"portable execution gives the same bits on every machine"}),
             found.first().at("reason"));
}

BOOST_AUTO_TEST_CASE(other_evidence_of_version_1_is_refused_with_a_sentence) {
  for (const char* dtype : {"bfloat16", "float16"}) {
    BOOST_TEST(verified(evidence(dtype), {Inputs::model("awq")}).code == 0, dtype);
    const Verified found = verified(with_detail(evidence(dtype), version_1), {Inputs::model("awq")});
    BOOST_TEST(found.code == 2, found.code << found.out << found.err);
    BOOST_TEST(mentions(found.err, {"execution_detail names portable numerics of version 1", "whose version is 2",
                                    "models of float32 alone", std::string("of ") + dtype}),
               found.err);
    BOOST_TEST(found.result.is_null());
  }
}

BOOST_AUTO_TEST_CASE(versions_that_nobody_has_are_refused_by_name) {
  const std::string before = "fpf portable numerics, version ", after = version_1.substr(before.size() + 1);
  for (const char* dtype : {"float32", "bfloat16"}) {
    for (const char* version : {"3", "20", "1000"}) {
      const Verified found = verified(with_detail(evidence(dtype), before + version + after), {Inputs::model("awq")});
      BOOST_TEST(found.code == 2, found.code << found.out << found.err);
      BOOST_TEST(
          mentions(found.err, {std::string("portable numerics of version ") + version, "this program has version 2"}),
          found.err);
    }
    const std::vector<json> none{before + "0" + after,
                                 before + "02" + after,
                                 before + "2x" + after,
                                 before + "2",
                                 before + "-2" + after,
                                 before + after,
                                 before + "2.1" + after,
                                 "other",
                                 "not " + version_1,
                                 "",
                                 nullptr,
                                 2};
    for (const json& text : none) {
      const Verified found = verified(with_detail(evidence(dtype), text), {Inputs::model("awq")});
      BOOST_TEST(found.code == 2, text << found.code << found.out << found.err);
      BOOST_TEST(mentions(found.err, {"execution_detail", "version of the portable numerics", "not written by fpf"}),
                 text << found.err);
    }
  }
}

// Distances between versions are not noise: nothing joins, replaces or goes on with evidence of another.
BOOST_AUTO_TEST_CASE(two_versions_are_two_set_ups) {
  const std::string own = evidence("bfloat16"), first = with_detail(own, version_1);
  json other = read(first);
  const std::string id = other["configurations"][0]["config_id"];
  for (json* one : {&other["configurations"][0], &other["runs"][0]}) (*one)["config_id"] = "another-machine_reference";
  other["configurations"][0]["hardware"] = other["configurations"][0]["manifest"]["device"]["name"] = "another machine";
  write("forged/other.json", other.dump());
  const Outcome compared = run({bin + "/compare", own, "forged/other.json", "--output", "result.json"});
  BOOST_TEST(compared.code == 2, compared.out);
  BOOST_TEST(mentions(compared.err, {"not the same set-up", "execution_detail", "version 1", "version 2"}),
             compared.err);

  fresh_folder("batches");
  const Outcome beside =
      run(portable("exp1_batch_size", "bfloat16", "batches",
                   {"--batch-sizes", "2", "--neighbour-ids", "inputs/ids1.json", "--baseline", first}));
  BOOST_TEST(beside.code == 2, beside.err);
  BOOST_TEST(mentions(beside.err, {"the baseline", "execution_detail", "version 1", "version 2"}), beside.err);
  BOOST_TEST(!fs::exists("batches/batch_size_experiment.json"));

  fresh_folder("earlier");
  fs::copy_file(first, "earlier/reference_baseline.json");
  const Outcome again = run(portable("exp0_reference", "bfloat16", "earlier"));
  BOOST_TEST(again.code == 2, again.err);
  BOOST_TEST(mentions(again.err, {"execution_detail", "version 1", "It is kept"}), again.err);
  BOOST_TEST(read("earlier/reference_baseline.json") == read(first));
}

BOOST_AUTO_TEST_SUITE_END()
