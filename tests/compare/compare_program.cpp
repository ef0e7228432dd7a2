// The program compare: what it writes and shows, what it takes of memory, what an interrupt leaves.
#include "compare_program.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

BOOST_AUTO_TEST_SUITE(test_compare_program)

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

BOOST_AUTO_TEST_CASE(a_file_gives_tables_and_results) {
  const std::string here = fresh_folder("one").string();
  write(here + "/a.json", experiment());
  const Outcome outcome = compare({"a.json"}, here);
  BOOST_TEST(outcome.code == 0, outcome.err);
  for (const char* part : {"batch_size: variable", "Configurations", "Distances", "Verdicts", "2 -> 1", "2 -> 4",
                           "within hardware", "across hardware", "A100-80GB_1"})
    BOOST_TEST(mentions(outcome.out, {part}), part);
  BOOST_TEST(outcome.out.find('\033') == outcome.out.npos);
  const Json results = parsed(here + "/analysis_results.json");
  BOOST_TEST(results["analyses"].size() == 1u);
  BOOST_TEST(results["failures"].empty());
  BOOST_TEST(results["analyses"][0]["baseline_value"] == "2");  // the fixture marks the second value
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
  const Outcome ignored = run(
      {"bash", "-c",
       "trap '' PIPE; " + program + " --json --signal all --layer all " + file + " | head -1; echo ${PIPESTATUS[0]}"},
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
  const Json identical = verdict_of("key_vectors", "4");
  BOOST_TEST(identical["outcome"] == "not_detectable");
  BOOST_TEST(identical["reason"] == "no_difference");
  BOOST_TEST(identical["answer"] == "not detectable (no difference at all)");
  for (Json& one : content["runs"]) {
    Json& step = one["decode_steps"][0];
    const std::string id = one["config_id"];
    step["key_vectors"]["layer_39"]["pos_-3"][0] = id.ends_with("_4") ? -0.0 : 0.0;
    if (id.ends_with("_4")) step["logprobs"]["pos_-3"]["token_ids"][0] = 4711;
  }
  for (const char* signal : {"key_vectors", "logprobs"}) {
    const Json verdict = verdict_of(signal, "4");
    BOOST_TEST(verdict["outcome"] == "detectable");
    BOOST_TEST(verdict["reason"] == "no_noise");
    BOOST_TEST(mentions(verdict["answer"], {"the change is in bits of equal values or in token ids"}));
    BOOST_TEST(verdict["signal_level"] == 0.0);
    BOOST_TEST(verdict_of(signal, "1")["reason"] == "no_difference");
  }
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
  const std::string here = fresh_folder("interrupted").string();
  large_file(here + "/large.json", 120);
  bool interrupted = false;
  for (int attempt = 0; attempt < 50 && !interrupted; ++attempt) {  // until the signal meets the program at work
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

BOOST_AUTO_TEST_SUITE_END()
