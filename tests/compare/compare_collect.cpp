// compare/collect.hpp and join.hpp: which files make an experiment, and that one bad file spoils no other.
#include <sys/stat.h>

#include <algorithm>
#include <functional>

#include "compare_program.hpp"

BOOST_AUTO_TEST_SUITE(test_compare_collect)

namespace {

/// The same run on another machine: its file says another time.
Json elsewhere(Json content) {
  for (Json& one : content["runs"]) one["timestamp"] = "2025-02-03T04:05:06Z";
  return content;
}

}  // namespace

BOOST_AUTO_TEST_CASE(all_analyses_what_it_can_and_names_what_it_cannot) {
  const std::string here = fresh_folder("all").string();
  write(here + "/compile_experiment.json", experiment("compile"));
  write(here + "/attention_experiment.json", experiment("attention"));
  std::ofstream(here + "/batch_size_experiment.json") << "{\"experiment_metadata\": {";
  std::ofstream(here + "/tensor_parallel_experiment.json") << "";
  fs::create_directory(here + "/expert_parallel_experiment.json");
  ::mkfifo((here + "/quantization_experiment.json").c_str(), 0600);
  const Outcome outcome = compare({"--all"}, here);
  BOOST_TEST(outcome.code == 2);
  BOOST_TEST(
      mentions(outcome.err, {"batch_size_experiment.json", "byte", "tensor_parallel_experiment.json", "an empty file",
                             "expert_parallel_experiment.json", "a directory", "quantization_experiment.json"}));
  BOOST_TEST(mentions(outcome.out, {"compile: variable", "attention: variable", "Summary"}));
  const Json results = parsed(here + "/analysis_results.json");
  BOOST_REQUIRE(results["analyses"].size() == 2u);
  BOOST_TEST(results["analyses"][0]["experiment_type"] == "compile");
  BOOST_TEST(results["failures"].size() == 4u);
}

BOOST_AUTO_TEST_CASE(each_bad_file_gets_one_error_and_spoils_no_other) {
  const std::string sound = experiment().dump(), deep(10'000, '[');
  const auto with = [&](const std::string& what, const std::string& by) {
    const std::size_t at = sound.find(what);
    BOOST_REQUIRE_MESSAGE(at != sound.npos, what);
    return std::string(sound).replace(at, what.size(), by);
  };
  const auto first_row = [&](const std::string& by) {  // the first vector of the first run
    const std::size_t at = sound.find(R"("layer_39":{"pos_-3":[)", sound.find("key_vectors")),
                      begin = sound.find('[', at);
    return std::string(sound).replace(begin, sound.find(']', begin) + 1 - begin, by);
  };
  const std::string path = "runs[0].decode_steps[0].key_vectors.layer_39.pos_-3";
  const struct {
    const char* name;
    std::string content;
    std::initializer_list<std::string> words;
  } cases[] = {
      {"cut in the middle", sound.substr(0, sound.size() / 2), {"byte", "runs["}},
      {"cut at the end", sound.substr(0, sound.size() - 1), {"byte", "the text ends too early"}},
      {"empty", "", {"an empty file"}},
      {"zeros", std::string(4096, '\0'), {"byte 0", "expected an object"}},
      {"not JSON", "experiment: 1\n", {"byte 0", "expected an object"}},
      {"a list", "[1, 2]", {"byte 0", "found an array"}},
      {"wrong type", with(R"("runs":[)", R"("runs":7,"x":[)"), {"runs, byte", "expected an array, found '7'"}},
      {"row of another type", first_row("{}"), {path, "byte", "expected an array of numbers"}},
      {"text in a row", first_row(R"([1,"2"])"), {path + "[1]", "byte", "found \"2\""}},
      {"ragged", first_row("[1,2,3]"), {"key_vectors.layer_39.pos_-", "byte", "numbers, as in the rows before"}},
      {"null", first_row("[null,2]"), {path + "[0]", "byte", "found null"}},
      {"NaN", first_row("[1,NaN]"), {path + "[1]", "byte", "found NaN"}},
      {"Infinity", first_row("[-Infinity,1]"), {path + "[0]", "byte", "found -Infinity"}},
      {"key twice",
       with(R"("configurations":[)", R"("configurations":[],"configurations":[)"),
       {"byte", "\"configurations\" stands twice"}},
      {"key twice in a run",
       with(R"("rep_id":)", R"("rep_id":1,"rep_id":)"),
       {"runs[0], byte", "\"rep_id\" stands twice"}},
      {"deep",
       with(R"("rep_id":)", R"("x":)" + deep + std::string(10'000, ']') + R"(,"rep_id":)"),
       {"runs[0].x, byte", "nested deeper than 256"}},
      {"deep and cut", with(R"("rep_id":)", R"("x":)" + deep), {"runs[0].x, byte", "nested deeper than 256"}},
      {"deep row", first_row(deep + std::string(10'000, ']')), {path, "byte", "nested deeper"}},
      {"no runs", R"({"experiment_metadata":{},"configurations":[],"runs":[]})", {"empty \"runs\""}},
      {"unknown version",
       with(R"("experiment_metadata":{)", R"("experiment_metadata":{"schema_version":7,)"),
       {"expected schema_version 1, found 7"}},
      {"key that is no UTF-8", with(R"("rep_id":)", "\"\xff\":1,\"rep_id\":"), {"runs[0]", "byte", "no UTF-8"}},
  };
  for (const auto& [name, content, words] : cases) {
    const std::string here = fresh_folder("bad").string();
    write(here + "/attention_experiment.json", experiment("attention"));
    std::ofstream(here + "/compile_experiment.json", std::ios::binary) << content;
    write(here + "/cuda_version_experiment.json", experiment("cuda_version"));
    for (const bool plan : {false, true}) {
      const Outcome outcome = compare(
          plan ? std::vector<std::string>{"--all", "--plan-compatible"} : std::vector<std::string>{"--all"}, here);
      BOOST_TEST_CONTEXT(name << ": " << outcome.err) {
        BOOST_TEST(outcome.code == 2);
        BOOST_TEST(std::ranges::count(outcome.err, '\n') == 2);  // one error, and where the results are
        BOOST_TEST(mentions(outcome.err, {"compare: error: ./compile_experiment.json"}));
        BOOST_TEST(mentions(outcome.err, words));
        const Json results = parsed(here + "/analysis_results.json");
        const Json& found = results[plan ? "detailed_reports" : "analyses"];
        BOOST_REQUIRE(found.size() == 2u);
        BOOST_TEST(found[0]["experiment_type"] == "attention");
        BOOST_TEST(found[1]["experiment_type"] == "cuda_version");
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(what_is_no_file_spoils_no_other_either) {
  const std::string here = fresh_folder("no_files").string(), bad = here + "/compile_experiment.json";
  write(here + "/attention_experiment.json", experiment("attention"));
  const std::pair<const char*, std::function<void()>> kinds[] = {
      {"a directory", [&] { fs::create_directory(bad); }},
      {"something else", [&] { BOOST_REQUIRE(::mkfifo(bad.c_str(), 0600) == 0); }},
      {"No such file", [&] { fs::create_symlink("nowhere", bad); }},
      {"symbolic links", [&] { fs::create_symlink("compile_experiment.json", bad); }}};
  for (const auto& [words, make] : kinds) {
    fs::remove(bad);
    make();
    const Outcome outcome = compare({"--all", "--json"}, here);
    BOOST_TEST_CONTEXT(words << ": " << outcome.err) {
      BOOST_TEST(outcome.code == 2);
      BOOST_TEST(std::ranges::count(outcome.err, '\n') == 1);
      BOOST_TEST(mentions(outcome.err, {"compile_experiment.json", words}));
      BOOST_TEST(Json::parse(outcome.out)["analyses"].size() == 1u);
    }
  }
}

BOOST_AUTO_TEST_CASE(ids_stay_apart_when_files_use_the_suffix_themselves) {
  Json a = experiment(), b = a;
  for (Json* content : {&a, &b}) {
    for (Json& one : (*content)["runs"])
      if (one["config_id"] == "A100-80GB_2") one["config_id"] = "A100-80GB_1#2";
    for (Json& one : (*content)["configurations"])
      if (one["config_id"] == "A100-80GB_2") one["config_id"] = "A100-80GB_1#2";
  }
  const Outcome outcome = compare({write("left.json", a), write("right.json", elsewhere(b)), "--json"});
  BOOST_TEST(outcome.code == 0, outcome.err);
  std::set<std::string> ids;
  const Json found = Json::parse(outcome.out)["analyses"][0]["configurations"];
  for (const Json& one : found) ids.insert(one["config_id"]);
  BOOST_TEST(ids.size() == found.size());
  BOOST_TEST((ids.contains("A100-80GB_1#3") && ids.contains("A100-80GB_1#2#2")));
}

BOOST_AUTO_TEST_CASE(all_needs_something_to_find) {
  const std::string here = fresh_folder("nothing").string();
  check_refused({"--all"}, {"found no experiment in .", "reference_baseline.json"}, here);
  check_refused({"--all", "--experiment-dir", "absent"}, {"--experiment-dir absent"}, here);
  std::ofstream(here + "/compile_experiment.json") << "[]";
  check_refused({"--all"}, {"compile_experiment.json"}, here);
  BOOST_TEST(!fs::exists(here + "/analysis_results.json"));
}

BOOST_AUTO_TEST_CASE(the_plans_all_takes_its_eight_in_its_order) {
  const std::string here = fresh_folder("eight").string();
  for (const char* name :
       {"reference_baseline", "cuda_version_experiment", "compile_experiment", "batch_size_experiment"})
    write(here + "/" + name + ".json", experiment(name));
  BOOST_TEST(compare({"--all", "--plan-compatible", "--output", "r.json"}, here).code == 0);
  const Json results = parsed(here + "/r.json");
  std::vector<std::string> types;
  for (const Json& report : results["detailed_reports"]) types.push_back(report["experiment_type"]);
  BOOST_TEST(
      types == (std::vector<std::string>{"batch_size_experiment", "compile_experiment", "cuda_version_experiment"}),
      boost::test_tools::per_element());
  BOOST_TEST(results["summary"]["experiments"].size() == 3u);
  BOOST_TEST(compare({"--all", "--output", "d.json"}, here).code == 0);
  BOOST_TEST(parsed(here + "/d.json")["analyses"][0]["experiment_type"] == "reference_baseline");
  BOOST_TEST(compare({"--plan-compatible", "--output", "one.json", "compile_experiment.json"}, here).code == 0);
  BOOST_TEST(parsed(here + "/one.json")["experiment_type"] == "compile_experiment");
}

BOOST_AUTO_TEST_CASE(a_users_own_experiments_are_taken_by_whatever_name) {
  const std::string here = fresh_folder("own_names").string();
  write(here + "/compile_experiment.json", experiment("compile"));
  write(here + "/rope scaling, second try.json", experiment("rope"));
  Json last = {{"runs", experiment("late")["runs"]}, {"x", Json::object({{"experiment_metadata", 1}})}};
  last["configurations"] = experiment("late")["configurations"];
  std::ofstream(here + "/zz.json") << "{\"runs\":" << last["runs"] << ",\"configurations\":" << last["configurations"]
                                   << ",\"experiment_metadata\":" << experiment("late")["experiment_metadata"] << "}";
  BOOST_TEST(compare({"--all"}, here).code == 0);  // leaves analysis_results.json
  std::ofstream(here + "/verdict.json")
      << R"({"file":"e.json","verdict":"accept","runs":[{"experiment_metadata":{}}]})";
  std::ofstream(here + "/prompt.json") << "[1,2,3]";
  std::ofstream(here + "/campaign.journal") << R"({"event":"experiment_metadata"})";
  std::ofstream(here + "/broken.json") << "no JSON";
  std::ofstream(here + "/compile_experiment.json.partial") << "{}";
  const Outcome outcome = compare({"--all"}, here);
  BOOST_TEST(outcome.code == 0, outcome.err);
  const Json found = parsed(here + "/analysis_results.json")["analyses"];
  BOOST_REQUIRE(found.size() == 3u);
  BOOST_TEST(found[0]["experiment_type"] == "compile");
  BOOST_TEST(found[1]["experiment_type"] == "rope");
  BOOST_TEST(found[2]["experiment_type"] == "late");
  std::ofstream(here + "/cut.json") << R"({"experiment_metadata":{"experiment_type":"cut")";
  std::ofstream(here + "/other_experiment.json") << "[]";
  const Outcome cut = compare({"--all"}, here);
  BOOST_TEST(cut.code == 2);
  BOOST_TEST(mentions(cut.err, {"cut.json", "byte", "other_experiment.json"}), cut.err);
  BOOST_TEST(parsed(here + "/analysis_results.json")["failures"].size() == 2u);
}

BOOST_AUTO_TEST_CASE(which_folder_lacks_which_experiment_is_said) {
  write(fresh_folder("has_two").string() + "/compile_experiment.json", experiment("compile"));
  write("has_two/mine.json", experiment("mine"));
  write(fresh_folder("has_one").string() + "/compile_experiment.json", elsewhere(experiment("compile")));
  const Strings all{"--all", "--experiment-dir", "has_two", "--experiment-dir", "has_one", "--output", "missing.json"};
  const Outcome outcome = compare(all);
  BOOST_TEST(outcome.code == 0, outcome.err);
  BOOST_TEST(mentions(outcome.out, {"Missing", "mine.json is not in has_one.", "there is no reference_baseline.json",
                                    "attention_experiment.json"}),
             outcome.out);
  BOOST_TEST(outcome.out.find("compile_experiment.json is not in") == std::string::npos);
  const Json missing = parsed("missing.json")["missing"];
  BOOST_TEST((missing.back() == Json{{"file", "mine.json"}, {"folders", {"has_one"}}}));
  BOOST_TEST(missing.size() == 9u);  // all of the plan's but one, and the user's own
}

// Folders apart, one file: it would be joined with itself.
BOOST_AUTO_TEST_CASE(a_link_to_another_folders_file_is_not_joined_with_it) {
  write(fresh_folder("original").string() + "/mine.json", experiment("mine"));
  fresh_folder("linked");
  fs::create_symlink("../original/mine.json", "linked/mine.json");
  check_refused({"--all", "--experiment-dir", "original", "--experiment-dir", "linked"},
                {"original/mine.json", "linked/mine.json", "are one file"});
}

BOOST_AUTO_TEST_CASE(a_copy_is_no_second_machine) {
  write("first.json", experiment("mine"));
  write("second.json", experiment("mine"));
  check_refused({"first.json", "second.json"}, {"first.json", "second.json", "copies of one file"});
  check_refused({"first.json", "second.json", "--plan-compatible"}, {"copies of one file"});
  write(fresh_folder("copied").string() + "/first.json", experiment("mine"));
  write(fresh_folder("kept_once").string() + "/first.json", experiment("mine"));
  check_refused({"--all", "--experiment-dir", "kept_once", "--experiment-dir", "copied"},
                {"kept_once/first.json", "copied/first.json", "copies of one file"});
  write("second.json", elsewhere(experiment("mine")));  // of equal vectors
  BOOST_TEST(compare({"first.json", "second.json", "--json"}).code == 0);
}

BOOST_AUTO_TEST_CASE(no_experiment_is_overwritten_by_results) {
  const std::string here = fresh_folder("kept").string();
  const Json content = experiment("compile");
  write(here + "/compile_experiment.json", content);
  write(here + "/other.json", experiment("mine"));
  std::ofstream(here + "/options.ini") << "threshold = 2\n";
  fs::create_symlink("compile_experiment.json", here + "/link");
  fs::create_hard_link(here + "/compile_experiment.json", here + "/hard");
  const std::string before = text_of(here + "/compile_experiment.json");
  for (const char* output : {"compile_experiment.json", "./compile_experiment.json", "link", "hard"}) {
    check_refused({"compile_experiment.json", "--output", output}, {"--output", output, "overwritten"}, here);
    check_refused({"--all", "--output", output}, {"--output", output, "overwritten"}, here);
  }
  check_refused({"compile_experiment.json", "--output", "other.json"}, {"other.json is an experiment file"}, here);
  check_refused({"compile_experiment.json", "--config", "options.ini", "--output", "options.ini"}, {"--config"}, here);
  BOOST_TEST(text_of(here + "/compile_experiment.json") == before);
  BOOST_TEST(compare({"compile_experiment.json", "--json"}, here).code == 0);
}

BOOST_AUTO_TEST_CASE(folders_of_two_machines_are_joined) {
  write(fresh_folder("machine_a").string() + "/compile_experiment.json", experiment("compile"));
  write(fresh_folder("machine_b").string() + "/compile_experiment.json", elsewhere(experiment("compile")));
  const Outcome outcome =
      compare({"--all", "--experiment-dir", "machine_a", "--experiment-dir", "machine_b", "--json"});
  BOOST_TEST(outcome.code == 0, outcome.err);
  const Json found = Json::parse(outcome.out)["analyses"][0];
  BOOST_TEST(found["files"].size() == 2u);
  BOOST_TEST(found["configurations"].size() == 12u);
  BOOST_TEST(found["configurations"][6]["config_id"] == "A100-80GB_1#2");
  int noise = 0;
  for (const Json& comparison : found["comparisons"]) noise += comparison["kind"] == "same_hardware_noise";
  BOOST_TEST(noise == 6);
}

BOOST_AUTO_TEST_CASE(files_that_do_not_belong_together_are_refused_by_field) {
  const auto refused = [](const char* field, auto change, std::initializer_list<std::string> words) {
    Json a = experiment(), b = experiment();
    for (Json* content : {&a, &b})
      for (Json& one : (*content)["runs"]) one["prompt_sha256"] = "aa";
    change(b);
    const Outcome outcome = compare({write("left.json", a), write("right.json", b)});
    BOOST_TEST_CONTEXT(field << ": " << outcome.err) {
      BOOST_TEST(outcome.code == 2);
      BOOST_TEST(mentions(outcome.err, {"left.json", "right.json"}));
      BOOST_TEST(mentions(outcome.err, words));
    }
  };
  refused("model", [](Json& b) { b["experiment_metadata"]["model"] = "n"; }, {"model is \"m\" in the first and \"n\""});
  refused("variable", [](Json& b) { b["experiment_metadata"]["variable_tested"] = "w"; }, {"variable_tested"});
  refused("steps", [](Json& b) { b["experiment_metadata"]["decode_steps"] = 9; },
          {"decode_steps is 3", "9 in the second"});
  refused("layers", [](Json& b) { b["experiment_metadata"]["extraction_config"]["layers"] = {1}; },
          {"extraction_config.layers is [2,39]", "[1] in the second"});
  refused("prompt", [](Json& b) { b["runs"][1]["prompt_sha256"] = "bb"; }, {"prompt_sha256 is \"aa\"", "\"bb\""});
  Json a = experiment("quantization"), b = a;
  b["experiment_metadata"]["model"] = "another checkpoint";
  b["experiment_metadata"]["date_created"] = "later";
  BOOST_TEST(compare({write("left.json", a), write("right.json", b)}).code == 0);
}

BOOST_AUTO_TEST_CASE(a_file_that_lies_about_itself_is_refused) {
  Json content = experiment();
  content["runs"][0]["reproducibility"] = {
      {"repetitions", 2}, {"bit_exact", true}, {"digests", {{{"k", "a"}}, {{"k", "b"}}}}};
  const Outcome lie = compare({write("lie.json", content)});
  BOOST_TEST(lie.code == 3);
  BOOST_TEST(mentions(lie.err, {"lie.json", "bit_exact is true", "expected false"}), lie.err);
  content = experiment();
  content["configurations"][1]["baseline"] = true;
  content["configurations"][2]["baseline"] = true;
  check_refused({write("two.json", content)}, {"expected one baseline value, found 2 and 4", "two.json"});
  content = experiment();
  content["runs"][1]["decode_steps"][0]["key_vectors"]["layer_39"]["pos_-1"] = {1, nullptr};
  check_refused({write("null.json", content)},
                {"null.json: runs[1].decode_steps[0].key_vectors.layer_39.pos_-1[1]", "found null"});
  content = experiment();
  for (auto& step : content["runs"][1]["decode_steps"])
    for (auto& [position, row] : step["key_vectors"]["layer_39"].items()) row.push_back(1);
  check_refused({write("wide.json", content)}, {"key_vectors layer 39 has 2 numbers in the first and 3"});
}

BOOST_AUTO_TEST_CASE(files_of_different_experiments_are_analysed_apart) {
  const Outcome outcome =
      compare({write("x.json", experiment("compile")), write("y.json", experiment("tensor_parallel"))});
  BOOST_TEST(outcome.code == 0, outcome.err);
  BOOST_TEST(mentions(outcome.out, {"compile: variable", "tensor_parallel: variable", "Summary"}));
  const Outcome all = compare({"x.json", "y.json", "--layer", "all"});
  const std::string summary = all.out.substr(all.out.find("\nSummary"));
  BOOST_TEST(mentions(summary, {"key_vectors layer 39"}));
  BOOST_TEST(!mentions(summary, {"key_vectors layer 2"}));
}

BOOST_AUTO_TEST_SUITE_END()
