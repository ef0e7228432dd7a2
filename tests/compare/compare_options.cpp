// compare/options.hpp: what the program compare takes, and what it refuses.
#include "compare_program.hpp"

BOOST_AUTO_TEST_SUITE(test_compare_options)

BOOST_AUTO_TEST_CASE(json_goes_to_standard_output_and_to_a_file_only_if_named) {
  const std::string here = fresh_folder("json").string();
  write(here + "/a.json", experiment());
  const Outcome outcome = compare({"--json", "a.json"}, here);
  BOOST_TEST(outcome.code == 0);
  BOOST_TEST(Json::parse(outcome.out)["analyses"].size() == 1u);
  BOOST_TEST(!fs::exists(here + "/analysis_results.json"));
  BOOST_TEST(compare({"--json", "--output", "r.json", "a.json"}, here).code == 0);
  BOOST_TEST(parsed(here + "/r.json") == Json::parse(outcome.out));
}

BOOST_AUTO_TEST_CASE(help_and_version) {
  const Outcome help = compare({"--help"});
  BOOST_TEST(help.code == 0);
  BOOST_TEST(mentions(help.out, {"Example: compare --all", "--plan-compatible", "--published", "--config"}));
  BOOST_TEST(mentions(compare({"--version"}).out, {"compare (fpf) "}));
}

BOOST_AUTO_TEST_CASE(wrong_options_are_refused) {
  const std::string file = write("options.json", experiment());
  check_refused({}, {"expected files to compare, --all or --published"});
  check_refused({file, "--all"}, {"found 2 of them"});
  check_refused({file, "--nonsense"}, {"nonsense", "--help"});
  check_refused({file, "--signal", "keys"}, {"--signal keys", "hidden_states, key_vectors, logprobs or all"});
  check_refused({file, "--layer", "x"}, {"--layer x"});
  check_refused({file, "--layer", "-1"}, {"--layer -1"});
  check_refused({file, "--layer", "99"}, {"options.json", "layer 99", "expected one of 2, 39"});
  check_refused({file, "--threshold", "0"}, {"--threshold 0", "positive"});
  check_refused({file, "--threshold", "nan"}, {"--threshold nan"});
  check_refused({file, "--threshold", "many"}, {"threshold", "many"});
  check_refused({file, "--experiment-dir", "."}, {"--experiment-dir needs --all"});
  check_refused({file, "--plan-compatible", "--signal", "all"}, {"--plan-compatible", "one signal"});
  check_refused({file, "--plan-compatible", "--layer", "2"}, {"--plan-compatible", "--layer"});
  check_refused({file, file}, {"are one file"});
  check_refused({"missing.json"}, {"missing.json", "No such file"});
  check_refused({file, "--output", "no/such/folder/r.json"}, {"no/such/folder/r.json"});
  check_refused({file, "--config", "missing.ini"}, {"missing.ini"});
  std::ofstream("wrong.ini") << "treshold = 2\n";
  check_refused({file, "--config", "wrong.ini"}, {"treshold"});
}

BOOST_AUTO_TEST_CASE(options_come_from_a_file_too) {
  const std::string here = fresh_folder("config").string();
  write(here + "/a.json", experiment());
  std::ofstream(here + "/c.ini") << "threshold = 2.5\nsignal = hidden_states\noutput = from_config.json\n";
  BOOST_TEST(compare({"--config", "c.ini", "a.json"}, here).code == 0);
  const Json found = parsed(here + "/from_config.json")["analyses"][0];
  BOOST_TEST(found["threshold"] == 2.5);
  BOOST_TEST(found["comparisons"][0]["signals"][0]["signal"] == "hidden_states");
  BOOST_TEST(compare({"--config", "c.ini", "--threshold", "3", "a.json"}, here).code == 0);
  BOOST_TEST(parsed(here + "/from_config.json")["analyses"][0]["threshold"] == 3.0);
}

BOOST_AUTO_TEST_SUITE_END()
