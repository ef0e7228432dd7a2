// The program `compare`: options, exit codes, what it writes and shows, and that one bad file spoils no
// other.
#include <sys/stat.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <filesystem>
#include <fpf/compare/table.hpp>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <thread>

#include "child.hpp"
#include "error_text.hpp"

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

namespace {

const std::string program = FPF_BIN "/compare";

/// An empty folder of its own for a test.
std::string folder(const std::string& name) {
  fs::remove_all(name);
  fs::create_directory(name);
  return name;
}

/// A generated experiment with two hardware types and three values (fixtures/plan_oracle.py), under another
/// type.
Json experiment(const std::string& type = "batch_size") {
  static const Json cases = Json::parse(std::ifstream(FPF_FIXTURES "/plan_oracle.json"))["cases"];
  Json out = cases[0]["experiment"];
  out["experiment_metadata"]["experiment_type"] = type;
  return out;
}

std::string write(const std::string& path, const Json& content) {
  std::ofstream(path) << content.dump();
  return path;
}

Json parsed(const std::string& path) { return Json::parse(std::ifstream(path)); }

Outcome compare(std::vector<std::string> args, const std::string& where = ".",
                const Child::Environment& environment = {{"COLUMNS", "120"}}) {
  args.insert(args.begin(), program);
  return run(args, where, environment);
}

void check_refused(std::vector<std::string> args, std::initializer_list<std::string> words,
                   const std::string& where = ".") {
  const Outcome outcome = compare(std::move(args), where);
  BOOST_TEST_CONTEXT(outcome.err) {
    BOOST_TEST(outcome.code == 2);
    BOOST_TEST(outcome.out == "");
    BOOST_TEST(mentions(outcome.err, words));
  }
}

std::size_t longest_line(const std::string& text) {
  std::size_t longest = 0;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) longest = std::max(longest, fpf::code_points(line));
  return longest;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_file_gives_tables_and_results) {
  const std::string here = folder("one");
  write(here + "/a.json", experiment());
  const Outcome outcome = compare({"a.json"}, here);
  BOOST_TEST(outcome.code == 0, outcome.err);
  for (const char* part : {"batch_size: variable", "Configurations", "Distances", "Verdicts", "2 -> 1",
                           "2 -> 4", "within hardware", "across hardware", "A100-80GB_1"})
    BOOST_TEST(mentions(outcome.out, {part}), part);
  BOOST_TEST(outcome.out.find('\033') == outcome.out.npos);
  const Json results = parsed(here + "/analysis_results.json");
  BOOST_TEST(results["analyses"].size() == 1u);
  BOOST_TEST(results["failures"].empty());
  BOOST_TEST(results["analyses"][0]["baseline_value"] == "2");  // the fixture marks the second value
}

BOOST_AUTO_TEST_CASE(json_goes_to_standard_output_and_to_a_file_only_if_named) {
  const std::string here = folder("json");
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
  const std::string here = folder("config");
  write(here + "/a.json", experiment());
  std::ofstream(here + "/c.ini") << "threshold = 2.5\nsignal = hidden_states\noutput = from_config.json\n";
  BOOST_TEST(compare({"--config", "c.ini", "a.json"}, here).code == 0);
  const Json found = parsed(here + "/from_config.json")["analyses"][0];
  BOOST_TEST(found["threshold"] == 2.5);
  BOOST_TEST(found["comparisons"][0]["signals"][0]["signal"] == "hidden_states");
  BOOST_TEST(compare({"--config", "c.ini", "--threshold", "3", "a.json"}, here).code == 0);
  BOOST_TEST(parsed(here + "/from_config.json")["analyses"][0]["threshold"] == 3.0);
}

BOOST_AUTO_TEST_CASE(all_analyses_what_it_can_and_names_what_it_cannot) {
  const std::string here = folder("all");
  write(here + "/compile_experiment.json", experiment("compile"));
  write(here + "/attention_experiment.json", experiment("attention"));
  std::ofstream(here + "/batch_size_experiment.json") << "{\"experiment_metadata\": {";
  std::ofstream(here + "/tensor_parallel_experiment.json") << "";
  fs::create_directory(here + "/expert_parallel_experiment.json");
  ::mkfifo((here + "/quantization_experiment.json").c_str(), 0600);
  const Outcome outcome = compare({"--all"}, here);
  BOOST_TEST(outcome.code == 2);
  BOOST_TEST(mentions(
      outcome.err, {"batch_size_experiment.json", "byte", "tensor_parallel_experiment.json", "an empty file",
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
      {"wrong type",
       with(R"("runs":[)", R"("runs":7,"x":[)"),
       {"runs, byte", "expected an array, found '7'"}},
      {"row of another type", first_row("{}"), {path, "byte", "expected an array of numbers"}},
      {"text in a row", first_row(R"([1,"2"])"), {path + "[1]", "byte", "found \"2\""}},
      {"ragged",
       first_row("[1,2,3]"),
       {"key_vectors.layer_39.pos_-", "byte", "numbers, as in the rows before"}},
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
       {"runs[0].x, byte", "nested deeper than 1024"}},
      {"deep and cut",
       with(R"("rep_id":)", R"("x":)" + deep),
       {"runs[0].x, byte", "nested deeper than 1024"}},
      {"deep row", first_row(deep + std::string(10'000, ']')), {path, "byte", "nested deeper"}},
      {"no runs", R"({"experiment_metadata":{},"configurations":[],"runs":[]})", {"empty \"runs\""}},
      {"unknown version",
       with(R"("experiment_metadata":{)", R"("experiment_metadata":{"schema_version":7,)"),
       {"expected schema_version 1, found 7"}},
      {"key that is no UTF-8",
       with(R"("rep_id":)", "\"\xff\":1,\"rep_id\":"),
       {"runs[0]", "byte", "no UTF-8"}},
  };
  for (const auto& [name, content, words] : cases) {
    const std::string here = folder("bad");
    write(here + "/attention_experiment.json", experiment("attention"));
    std::ofstream(here + "/compile_experiment.json", std::ios::binary) << content;
    write(here + "/cuda_version_experiment.json", experiment("cuda_version"));
    for (const bool plan : {false, true}) {
      const Outcome outcome = compare(
          plan ? std::vector<std::string>{"--all", "--plan-compatible"} : std::vector<std::string>{"--all"},
          here);
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
  const std::string here = folder("no_files"), bad = here + "/compile_experiment.json";
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

BOOST_AUTO_TEST_CASE(output_that_nobody_takes_ends_the_program) {
  const std::string file = write("piped.json", experiment());
  const auto shell = [&](const std::string& rest) {
    return run({"bash", "-c", program + " --json --signal all --layer all " + file + rest}, ".");
  };
  BOOST_TEST(shell("").out.size() > 100'000u);  // more than a pipe holds
  const Outcome closed = shell(" | head -1; echo ${PIPESTATUS[0]}");
  BOOST_TEST(closed.out == "{\n141\n");  // SIGPIPE, as of any filter
  BOOST_TEST(closed.err == "");
  const Outcome ignored = run({"bash", "-c",
                               "trap '' PIPE; " + program + " --json --signal all --layer all " + file +
                                   " | head -1; echo ${PIPESTATUS[0]}"},
                              ".");
  BOOST_TEST(ignored.out == "{\n2\n");
  BOOST_TEST(mentions(ignored.err, {"compare: error: cannot write to standard output"}));
  const Outcome full = shell(" > /dev/full");
  BOOST_TEST(full.code == 2);
  BOOST_TEST(mentions(full.err, {"cannot write to standard output"}));
}

BOOST_AUTO_TEST_CASE(names_from_files_do_not_steer_the_terminal) {
  const std::string evil =
      "\033]0;title\007\033[2J\r\nA\xc2\x9b"
      "2J";
  Json content = experiment();
  content["experiment_metadata"]["experiment_type"] = "type" + evil;
  content["experiment_metadata"]["model"] = "model" + evil;
  for (Json& configuration : content["configurations"]) {
    const std::string id = configuration["config_id"];
    for (Json& one : content["runs"])
      if (one["config_id"] == id) one["config_id"] = id + evil;
    configuration["config_id"] = id + evil;
    configuration["hardware"] = configuration["hardware"].get<std::string>() + evil;
  }
  content["runs"][0]["runtime"] = {{"seconds", {1, 2}}};
  content["runs"][1]["runtime"] = {{"seconds", {1, 3}}};
  const auto harmless = [](const std::string& text) {
    return std::ranges::all_of(text, [](char c) { return c == '\n' || (c >= ' ' && c != 0x7f) || c < 0; }) &&
           text.find("\xc2\x9b") == text.npos;
  };
  for (const char* columns : {"200", "40"}) {
    const Outcome outcome = compare({write("steer.json", content)}, ".", {{"COLUMNS", columns}});
    BOOST_TEST(outcome.code == 0, outcome.err);
    BOOST_TEST(harmless(outcome.out));
  }
  content["runs"][0]["config_id"] = "unknown" + evil;
  const Outcome refused = compare({write("steer.json", content)});
  BOOST_TEST(refused.code == 2);
  BOOST_TEST(harmless(refused.err));
  BOOST_TEST(std::ranges::count(refused.err, '\n') == 1);
}

BOOST_AUTO_TEST_CASE(ids_stay_apart_when_files_use_the_suffix_themselves) {
  Json a = experiment(), b = a;
  for (Json* content : {&a, &b}) {
    for (Json& one : (*content)["runs"])
      if (one["config_id"] == "A100-80GB_2") one["config_id"] = "A100-80GB_1#2";
    for (Json& one : (*content)["configurations"])
      if (one["config_id"] == "A100-80GB_2") one["config_id"] = "A100-80GB_1#2";
  }
  const Outcome outcome = compare({write("left.json", a), write("right.json", b), "--json"});
  BOOST_TEST(outcome.code == 0, outcome.err);
  std::set<std::string> ids;
  const Json found = Json::parse(outcome.out)["analyses"][0]["configurations"];
  for (const Json& one : found) ids.insert(one["config_id"]);
  BOOST_TEST(ids.size() == found.size());
  BOOST_TEST((ids.contains("A100-80GB_1#3") && ids.contains("A100-80GB_1#2#2")));
}

BOOST_AUTO_TEST_CASE(equal_values_that_differ_in_bits_or_tokens_are_differences) {
  // H100 repeats A100 bit for bit, so there is no noise; one value differs in the sign of a zero, one in a
  // token.
  Json content = experiment();
  const Json steps = content["runs"][0]["decode_steps"];
  for (Json& one : content["runs"]) one["decode_steps"] = steps;
  const auto verdict_of = [&](const std::string& signal, const std::string& value) {
    const Outcome outcome = compare({write("bits.json", content), "--json", "--signal", "all"});
    BOOST_TEST(outcome.code == 0, outcome.err);
    const Json found = Json::parse(outcome.out);
    for (const Json& verdict : found["analyses"][0]["verdicts"])
      if (verdict["signal"] == signal && verdict["value"] == value && verdict["scope"] == "across hardware")
        return verdict;
    return Json();
  };
  BOOST_TEST(verdict_of("key_vectors", "4")["outcome"] == "identical");
  for (Json& one : content["runs"]) {
    Json& step = one["decode_steps"][0];
    const std::string id = one["config_id"];
    step["key_vectors"]["layer_39"]["pos_-3"][0] = id.ends_with("_4") ? -0.0 : 0.0;
    if (id.ends_with("_4")) step["logprobs"]["pos_-3"]["token_ids"][0] = 4711;
  }
  for (const char* signal : {"key_vectors", "logprobs"}) {
    const Json verdict = verdict_of(signal, "4");
    BOOST_TEST(verdict["outcome"] == "noise floor is zero");
    BOOST_TEST(mentions(verdict["text"], {"here in bits of equal values or in token ids"}));
    BOOST_TEST(verdict["signal_level"] == 0.0);
    BOOST_TEST(verdict_of(signal, "1")["outcome"] == "identical");
  }
}

BOOST_AUTO_TEST_CASE(all_needs_something_to_find) {
  const std::string here = folder("nothing");
  check_refused({"--all"}, {"found no experiment in .", "reference_baseline.json"}, here);
  check_refused({"--all", "--experiment-dir", "absent"}, {"--experiment-dir absent"}, here);
  std::ofstream(here + "/compile_experiment.json") << "[]";
  check_refused({"--all"}, {"compile_experiment.json"}, here);
  BOOST_TEST(!fs::exists(here + "/analysis_results.json"));
}

BOOST_AUTO_TEST_CASE(the_plans_all_takes_its_eight_in_its_order) {
  const std::string here = folder("eight");
  for (const char* name :
       {"reference_baseline", "cuda_version_experiment", "compile_experiment", "batch_size_experiment"})
    write(here + "/" + name + ".json", experiment(name));
  BOOST_TEST(compare({"--all", "--plan-compatible", "--output", "r.json"}, here).code == 0);
  const Json results = parsed(here + "/r.json");
  std::vector<std::string> types;
  for (const Json& report : results["detailed_reports"]) types.push_back(report["experiment_type"]);
  BOOST_TEST(types == (std::vector<std::string>{"batch_size_experiment", "compile_experiment",
                                                "cuda_version_experiment"}),
             boost::test_tools::per_element());
  BOOST_TEST(results["summary"]["experiments"].size() == 3u);
  BOOST_TEST(compare({"--all", "--output", "d.json"}, here).code == 0);
  BOOST_TEST(parsed(here + "/d.json")["analyses"][0]["experiment_type"] == "reference_baseline");
  BOOST_TEST(compare({"--plan-compatible", "--output", "one.json", "compile_experiment.json"}, here).code ==
             0);
  BOOST_TEST(parsed(here + "/one.json")["experiment_type"] == "compile_experiment");
}

BOOST_AUTO_TEST_CASE(folders_of_two_machines_are_joined) {
  for (const std::string name : {"machine_a", "machine_b"})
    write(folder(name) + "/compile_experiment.json", experiment("compile"));
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
  refused("model", [](Json& b) { b["experiment_metadata"]["model"] = "n"; },
          {"model is \"m\" in the first and \"n\""});
  refused("variable", [](Json& b) { b["experiment_metadata"]["variable_tested"] = "w"; },
          {"variable_tested"});
  refused("steps", [](Json& b) { b["experiment_metadata"]["decode_steps"] = 9; },
          {"decode_steps is 3", "9 in the second"});
  refused("layers", [](Json& b) { b["experiment_metadata"]["extraction_config"]["layers"] = {1}; },
          {"extraction_config.layers is [2,39]", "[1] in the second"});
  refused("prompt", [](Json& b) { b["runs"][1]["prompt_sha256"] = "bb"; },
          {"prompt_sha256 is \"aa\"", "\"bb\""});
  Json a = experiment("quantization"), b = a;
  b["experiment_metadata"]["model"] = "another checkpoint";
  b["experiment_metadata"]["date_created"] = "later";
  BOOST_TEST(compare({write("left.json", a), write("right.json", b)}).code == 0);
}

BOOST_AUTO_TEST_CASE(a_file_that_lies_about_itself_is_refused) {
  Json content = experiment();
  content["runs"][0]["reproducibility"] = {
      {"repetitions", 2}, {"bit_exact", true}, {"digests", {{{"k", "a"}}, {{"k", "b"}}}}};
  check_refused({write("lie.json", content)}, {"lie.json", "bit_exact true", "digests say false"});
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

BOOST_AUTO_TEST_CASE(a_run_that_ended_early_is_compared_as_far_as_it_goes) {
  Json content = experiment();
  auto& one = content["runs"][1];
  one["status"] = "non_finite";
  one["non_finite"] = {{"step", 1}, {"absolute_position", 9}, {"layer", 39}, {"signal", "hidden_states"}};
  one["decode_steps"].erase(1);
  const Outcome outcome = compare({write("early.json", content), "--json"});
  BOOST_TEST(outcome.code == 0, outcome.err);
  const Json found = Json::parse(outcome.out)["analyses"][0];
  BOOST_TEST(found["configurations"][1]["status"] == "non_finite: step 1, hidden_states layer 39");
  BOOST_TEST(found["notes"].dump().find("ended early, non_finite: step 1") != std::string::npos);
  BOOST_TEST(found["comparisons"][0]["steps_compared"] == 1);
  BOOST_TEST(found["comparisons"][0]["signals"][0]["rows"] == 3);  // positions -2, -1 and 0
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

BOOST_AUTO_TEST_CASE(tables_fit_the_terminal) {
  const std::string file = write("narrow.json", experiment());
  for (const std::size_t columns : {40u, 60u, 80u, 120u}) {
    const Outcome outcome =
        compare({file, "--signal", "all", "--layer", "all"}, ".", {{"COLUMNS", std::to_string(columns)}});
    BOOST_TEST(outcome.code == 0);
    BOOST_TEST(longest_line(outcome.out) <= columns);
  }
  const std::string layout =
      R"({"raw_activations": {"layer_1": [[1, 2], [1, 2]], "layer_2": [[4, 6], [4, 6]]}})";
  const std::string names[] = {"published_with_a_name_of_some_length.json",
                               "another_published_with_a_long_name.json"};
  for (const std::string& name : names) std::ofstream(name) << layout;
  const Outcome outcome = compare({"--published", names[0], names[1]}, ".", {{"COLUMNS", "40"}});
  BOOST_TEST(outcome.code == 0, outcome.err);
  BOOST_TEST(mentions(outcome.out, {"mean of", "Repetitions: 4 of 4"}));
  BOOST_TEST(longest_line(outcome.out) <= 40u);
}

BOOST_AUTO_TEST_CASE(colours_are_for_terminals_alone) {
  using namespace fpf::compare;
  const Terminal plain{.width = 40, .colour = false}, coloured{.width = 40, .colour = true};
  BOOST_TEST(styled("yes", Style::good, plain) == "yes");
  BOOST_TEST(styled("yes", Style::good, coloured) == "\033[32myes\033[0m");
  Table table({"name", ">value"});
  table.add({{"größer"}, {"1", Style::bad}});
  table.add({{"b"}, {"23"}});
  BOOST_TEST(table.render(plain) == "name    value\ngrößer      1\nb          23\n");
  std::string without = table.render(coloured);
  for (const char* code : {"\033[2m", "\033[31m", "\033[0m"})
    for (auto at = without.find(code); at != without.npos; at = without.find(code))
      without.erase(at, std::string(code).size());
  BOOST_TEST(without == table.render(plain));
  // script(1) gives the program a terminal
  const std::string file = write("terminal.json", experiment());
  const auto on_terminal = [&](const char* no_colour) {
    return run({"script", "-qec", program + " " + file, "/dev/null"}, ".",
               {{"NO_COLOR", no_colour}, {"COLUMNS", "120"}});
  };
  BOOST_TEST(mentions(on_terminal("").out, {"\033[1m"}));
  BOOST_TEST(!mentions(on_terminal("1").out, {"\033["}));
}

BOOST_AUTO_TEST_CASE(narrow_tables_lose_optional_columns_first) {
  using namespace fpf::compare;
  Table table({"a", "?b", "?c"});
  table.add({{"aaaa"}, {"bbbb"}, {"cccc"}});
  BOOST_TEST(table.render({.width = 16}) == "a     b     c\naaaa  bbbb  cccc\n");
  BOOST_TEST(table.render({.width = 15}) == "a     b\naaaa  bbbb\n");
  BOOST_TEST(table.render({.width = 9}) == "a\naaaa\n");
  BOOST_TEST(wrapped("one two three", 9, "  ") == "  one two\n  three\n");
  BOOST_TEST(wrapped("äöüäöüäöüä", 8) == "äöüäöüäö\nüä\n");
}

namespace {

/// A file of about `megabytes` MB: two runs whose rows are long.
std::string large_file(const std::string& path, int megabytes) {
  std::string row;
  for (int i = 0; i < 4000; ++i) row += (i == 0 ? "" : ",") + std::to_string(i) + ".0625";
  const int steps = std::max(1, static_cast<int>(megabytes * 1e6 / 2 / 10 / static_cast<double>(row.size())));
  std::ofstream out(path);
  out << R"({"experiment_metadata":{"experiment_type":"t","variable_tested":"v"},"configurations":[)"
      << R"({"config_id":"a","hardware":"h","variable_value":1},{"config_id":"b","hardware":"h","variable_value":2}],"runs":[)";
  for (int r = 0; r < 2; ++r) {
    out << (r == 0 ? "" : ",") << R"({"config_id":")" << (r == 0 ? 'a' : 'b') << R"(","decode_steps":[)";
    for (int s = 0; s < steps; ++s) {
      out << (s == 0 ? "" : ",") << R"({"step":)" << s << R"(,"hidden_states":{)";
      for (int layer = 0; layer < 10; ++layer)
        out << (layer == 0 ? "" : ",") << R"("layer_)" << layer << R"(":{"pos_-1":[)" << row << "]}";
      out << "}}";
    }
    out << "]}";
  }
  out << "]}";
  return path;
}

}  // namespace

BOOST_AUTO_TEST_CASE(memory_stays_far_below_the_file) {
  const std::string file = large_file("large.json", 120);
  const auto size = static_cast<std::int64_t>(fs::file_size(file));
  for (const char* layer : {"last", "all"}) {
    const Outcome outcome = compare({file, "--signal", "hidden_states", "--layer", layer});
    BOOST_TEST(outcome.code == 0, outcome.err);
    BOOST_TEST(outcome.peak_bytes < size / 4, layer << ": " << outcome.peak_bytes);
  }
  const Outcome outcome = compare({file, "--signal", "hidden_states", "--plan-compatible"});
  BOOST_TEST(outcome.code == 0, outcome.err);
  BOOST_TEST(outcome.peak_bytes < size / 4, outcome.peak_bytes);
  fs::remove(file);
}

BOOST_AUTO_TEST_CASE(an_interrupt_leaves_no_file) {
  const std::string here = folder("interrupted");
  large_file(here + "/large.json", 120);
  bool interrupted = false;
  for (int attempt = 0; attempt < 50 && !interrupted;
       ++attempt) {  // until the signal meets the program at work
    Child child({program, "large.json", "--signal", "all", "--layer", "all"}, here);
    std::this_thread::sleep_for(std::chrono::milliseconds(20 + 3 * attempt));
    child.send(SIGINT);
    const Outcome outcome = child.wait();
    interrupted = outcome.code == 130 && outcome.err.find("compare: interrupted") != outcome.err.npos;
    if (!interrupted) fs::remove(here + "/analysis_results.json");
  }
  BOOST_TEST(interrupted);
  BOOST_TEST(std::distance(fs::directory_iterator(here), fs::directory_iterator()) == 1);
  fs::remove_all(here);
}
