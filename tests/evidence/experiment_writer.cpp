// evidence/experiment_writer.hpp: what it promises about files.
#include <fpf/evidence/reader.hpp>

#include "evidence.hpp"

BOOST_AUTO_TEST_SUITE(test_experiment_writer)

BOOST_AUTO_TEST_CASE(a_file_appears_under_its_name_only_when_it_is_complete) {
  const auto folder = fresh_folder("writer");
  const auto path = folder / "reference_baseline.json";
  const auto run_text = to_json(record_of(signals_of(fixture().at(0))));
  {
    ExperimentWriter writer(path, metadata(DType::float32), {"fingerprint"}, false);
    BOOST_TEST((names_in(folder) == std::set<std::string>{"reference_baseline.json.partial"}));
    writer.add(configuration(), {run_text});
    BOOST_TEST((names_in(folder) == std::set<std::string>{"reference_baseline.json.partial"}));
    const auto partial = text_of(path.string() + ".partial");
    BOOST_TEST(std::count(partial.begin(), partial.end(), '\n') == 2);
    writer.finish();
  }
  BOOST_TEST((names_in(folder) == std::set<std::string>{"reference_baseline.json"}));
  const auto found = nlohmann::json::parse(text_of(path));
  BOOST_TEST((found.at("experiment_metadata") == nlohmann::json(metadata(DType::float32))));
  BOOST_TEST((found.at("configurations") == nlohmann::json::array({configuration()})));
  BOOST_TEST((found.at("runs") == nlohmann::json::array({nlohmann::json::parse(run_text)})));
}

BOOST_AUTO_TEST_CASE(what_ends_before_its_first_record_leaves_nothing_and_what_was_there_stays) {
  const auto folder = fresh_folder("writer");
  const auto path = folder / "reference_baseline.json";
  std::ofstream(path) << "an earlier file";
  { const ExperimentWriter writer(path, metadata(DType::float32), {"fingerprint"}, false); }
  BOOST_TEST((names_in(folder) == std::set<std::string>{"reference_baseline.json"}));
  BOOST_TEST(text_of(path) == "an earlier file");
  { AtomicFile(path).append("half"); }
  BOOST_TEST((names_in(folder) == std::set<std::string>{"reference_baseline.json"}));
  BOOST_TEST(text_of(path) == "an earlier file");
}

BOOST_AUTO_TEST_CASE(an_interrupted_experiment_is_continued_record_by_record) {
  const auto folder = fresh_folder("writer");
  const auto path = folder / "batch_size_experiment.json";
  const fs::path partial = path.string() + ".partial";
  const auto run_of = [](const std::string& id) { return to_json(record_of(signals_of(fixture().at(1)), id)); };
  const auto write = [&](bool resume, std::initializer_list<const char*> ids, bool finish) {
    ExperimentWriter writer(path, metadata(DType::float16), {"fingerprint"}, resume);
    for (const std::string id : ids)
      if (!writer.has(id)) writer.add(configuration(id), {run_of(id)});
    if (finish) writer.finish();
  };
  write(false, {"t_bs1", "t_bs2", "t_bs4"}, true);
  const auto straight = text_of(path);
  fs::remove(path);

  write(false, {"t_bs1", "t_bs2"}, false);
  const auto two = text_of(partial);
  std::ofstream(partial, std::ios::app) << R"({"configuration":{"config_id":"t_bs4"},"runs":[{"confi)";  // cut off
  {
    const ExperimentWriter writer(path, metadata(DType::float16), {"fingerprint"}, true);
    BOOST_TEST(writer.has("t_bs1"));
    BOOST_TEST(writer.has("t_bs2"));
    BOOST_TEST(!writer.has("t_bs4"));
    BOOST_TEST(!writer.find("t_bs1")->finding);
    BOOST_TEST((text_of(partial) == two));
  }
  write(true, {"t_bs1", "t_bs2", "t_bs4"}, true);
  BOOST_TEST((text_of(path) == straight));
  BOOST_TEST((names_in(folder) == std::set<std::string>{path.filename().string()}));

  write(false, {"t_bs1"}, false);
  write(false, {"t_bs2"}, true);  // without --resume it starts anew
  BOOST_TEST(open_experiment(path).configurations.size() == 1u);
}

// Of 48 MB in six configurations, the caller's sixth is in memory.
BOOST_AUTO_TEST_CASE(what_was_recorded_is_not_held_in_memory) {
  const auto path = fresh_folder("writer") / "large_experiment.json";
  const std::vector<std::string> runs{R"({"config_id":"t","pad":")" + std::string(std::size_t{8} << 20, 'x') + "\"}"};
  const auto peak = [] {  // in KiB
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
      if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6));
    return -1LL;
  };
  std::ofstream("/proc/self/clear_refs") << 5;  // the peak begins anew
  const auto before = peak();
  BOOST_REQUIRE(before > 0);
  {
    ExperimentWriter writer(path, metadata(DType::float32), {"fingerprint"}, false);
    for (int i = 0; i < 6; ++i) writer.add(configuration("t_" + std::to_string(i)), runs);
    writer.finish();
  }
  BOOST_TEST(peak() - before < 16 * 1024);
  BOOST_TEST(fs::file_size(path) > 6 * runs.front().size());
  fs::remove(path);
}

BOOST_AUTO_TEST_CASE(a_resumed_configuration_keeps_its_finding) {
  const auto path = fresh_folder("writer") / "x_experiment.json";
  RunRecord differing = record_of(signals_of(fixture().at(0)), "t_differs");
  differing.reproducibility["bit_exact"] = false;
  RunRecord alone = record_of(signals_of(fixture().at(0)), "t_alone");
  alone.extra["contention"] = {{"accompanied", false}};
  Signals broken = signals_of(fixture().at(0));
  broken.logprobs.values[0] = std::numeric_limits<float>::infinity();
  {
    ExperimentWriter writer(path, metadata(DType::float32), {"fingerprint"}, false);
    writer.add(configuration("t_differs"), {to_json(differing)});
    writer.add(configuration("t_broken"), {to_json(record_of(broken, "t_broken"))});
    writer.add(configuration("t_fine"), {to_json(record_of(signals_of(fixture().at(0)), "t_fine"))});
    writer.add(configuration("t_alone"), {to_json(alone)});
  }
  const ExperimentWriter writer(path, metadata(DType::float32), {"fingerprint"}, true);
  BOOST_TEST(writer.find("t_differs")->finding);
  BOOST_TEST(writer.find("t_broken")->finding);
  BOOST_TEST(!writer.find("t_fine")->finding);
  BOOST_TEST(writer.find("t_alone")->finding);
}

BOOST_AUTO_TEST_CASE(a_partial_file_of_something_else_is_refused_and_kept) {
  const auto path = fresh_folder("writer") / "x_experiment.json";
  const fs::path partial = path.string() + ".partial";
  const auto complaint = [&] {
    return error_text([&] { ExperimentWriter(path, metadata(DType::float32), {"fingerprint"}, true); });
  };
  {
    ExperimentWriter writer(path, metadata(DType::float32), {"another"}, false);
    writer.add(configuration(), {to_json(record_of(signals_of(fixture().at(0))))});
  }
  const auto before = text_of(partial);
  BOOST_TEST(mentions(complaint(), {partial.string(), "another model, prompt or options", "--resume"}), complaint());
  BOOST_TEST((text_of(partial) == before));
  for (const char* text : {"5\n", "nonsense\n", "[]\n", "{\"fingerprint\":1}\n"}) {
    std::ofstream(partial) << text;
    BOOST_TEST(mentions(complaint(), {partial.string(), "damaged at byte 0"}), complaint());
  }
  std::ofstream(partial) << before.substr(0, before.find('\n') + 1) << "{\"configuration\":{}}\n";
  BOOST_TEST(mentions(error_text([&] { ExperimentWriter(path, metadata(DType::float32), {"another"}, true); }),
                      {partial.string(), "damaged at byte"}));
}

// The fingerprint is that of options; weights are told apart by content, and both digests are named.
BOOST_AUTO_TEST_CASE(a_partial_file_of_other_weights_is_refused_by_their_digests) {
  const auto path = fresh_folder("writer") / "x_experiment.json";
  const auto model = [](const std::string& sha256) {
    return Json{{"id", "m"}, {"config_sha256", "c"}, {"files", {{{"file", "w"}, {"sha256", sha256}}}}};
  };
  Json made = configuration("t_one");
  made["manifest"] = {{"model", model("aaaa")}};
  std::vector<std::string> neighbours;
  {
    ExperimentWriter writer(path, metadata(DType::float32), {"same", model("aaaa")}, false);
    RunRecord run = record_of(signals_of(fixture().at(0)), "t_one");
    for (const int id : {6, 7}) {
      const std::vector<std::int32_t> ids(run.prompt_token_ids.size(), id);
      neighbours.push_back(sha256_hex(std::as_bytes(std::span(ids))));
      run.extra["neighbours"].push_back({{"prompt_sha256", neighbours.back()}, {"prompt_token_ids", ids}});
    }
    writer.add(made, {to_json(run)});
  }
  BOOST_TEST(mentions(error_text([&] {
                        ExperimentWriter(path, metadata(DType::float32), {"same", model("bbbb")}, true);
                      }),
                      {path.string() + ".partial", "other weights", "files/0/sha256", "aaaa", "bbbb", "--resume"}));
  const ExperimentWriter writer(path, metadata(DType::float32), {"same", model("aaaa")}, true);
  const auto* found = writer.find("t_one");
  BOOST_REQUIRE(found != nullptr);
  BOOST_TEST(found->resumed);
  BOOST_TEST((found->model == model("aaaa")));
  BOOST_TEST((found->neighbours == neighbours));
}

// A record is taken up as it was made, or not at all: one digit changed in any of its signals is named.
BOOST_AUTO_TEST_CASE(a_record_whose_vectors_do_not_fit_its_digests_is_not_resumed) {
  const auto path = fresh_folder("writer") / "x_experiment.json";
  const fs::path partial = path.string() + ".partial";
  const auto resume = [&] { ExperimentWriter(path, metadata(DType::float32), {"f"}, true); };
  {
    ExperimentWriter writer(path, metadata(DType::float32), {"f"}, false);
    writer.add(configuration("t_one"), {to_json(record_of(signals_of(fixture().at(0)), "t_one"))});
    writer.add(configuration("t_two"), {to_json(record_of(signals_of(fixture().at(0)), "t_two"))});
  }
  const std::string whole = text_of(partial);
  BOOST_TEST(error_text(resume) == "no error");
  const auto second = whole.rfind("{\"configuration\"");
  for (const std::string begin :
       {"\"hidden_states\":{\"layer_1\":{\"pos_-3\":[", "\"key_vectors\":{\"layer_1\":{\"pos_-3\":[", "\"log_probs\":[",
        "\"margin\":", "\"signals_sha256\":\""}) {
    std::string changed = whole;
    const auto at = changed.find(begin, second);
    BOOST_REQUIRE_MESSAGE(at != std::string::npos, begin);
    char& digit = changed[changed.find_first_of("123456789", at + begin.size())];
    digit = digit == '1' ? '2' : '1';
    std::ofstream(partial, std::ios::binary) << changed;
    BOOST_TEST(mentions(error_text(resume), {partial.string(), "t_two", "not what was recorded", "--resume"}),
               begin << ": " << error_text(resume));
    BOOST_TEST((text_of(partial) == changed), "what is refused stays");
  }
  BOOST_TEST(error_text(resume).find("/proc/") == std::string::npos);
}

// Digests are of vectors: tokens are held to what the log-probabilities say and to what this run feeds.
BOOST_AUTO_TEST_CASE(a_record_whose_tokens_are_not_those_that_it_says_is_not_resumed) {
  const auto path = fresh_folder("writer") / "x_experiment.json";
  const fs::path partial = path.string() + ".partial";
  RunRecord run = record_of(signals_of(fixture().at(0)), "t_one");
  const auto digest = [](const std::vector<std::int32_t>& ids) { return sha256_hex(std::as_bytes(std::span(ids))); };
  const std::vector<std::int32_t> fed = run.signals.token_ids;
  run.tokens = {{"from", "file"}, {"sha256", digest(fed)}};
  Json made = configuration("t_one"), described = metadata(DType::float32);
  made["manifest"] = {{"fpf", {{"version", "0"}}}};
  described["tokens"] = "file";
  const auto resume = [&](const std::vector<std::string>& tokens) {
    return error_text([&] { ExperimentWriter(path, described, {"f", {}, tokens}, true); });
  };
  {
    ExperimentWriter writer(path, described, {"f", {}, {digest(fed)}}, false);
    writer.add(made, {to_json(run)});
  }
  const std::string whole = text_of(partial);
  BOOST_TEST(resume({digest(fed)}) == "no error");
  BOOST_TEST(mentions(resume({std::string(64, '0')}), {"t_one", "tokens.sha256", "this run feeds"}));
  BOOST_TEST(mentions(resume({}), {"t_one", "tokens.sha256", "this run feeds"}));
  for (const auto& [member, id, words] :
       {std::tuple<std::string, std::int64_t, std::string>{"chosen_token_id", 4321, "chosen_token_id is 4321"},
        {"token_id", 4321, "tokens.sha256"},
        {"token_id", (std::int64_t{1} << 32) + fed.front(), "from 0 to 2147483647"}}) {
    std::string changed = whole;
    const std::string begin = fmt::format("\"{}\":", member);
    const auto at = changed.find(begin) + begin.size();
    changed.replace(at, changed.find(',', at) - at, std::to_string(id));
    std::ofstream(partial, std::ios::binary) << changed;
    const std::string found = resume({digest(fed)});
    BOOST_TEST(mentions(found, {partial.string(), "t_one", "not what was recorded", words, "--resume"}), found);
    BOOST_TEST((text_of(partial) == changed), "what is refused stays");
  }
}

BOOST_AUTO_TEST_CASE(one_process_at_a_time_writes_an_experiment) {
  const auto path = fresh_folder("writer") / "x_experiment.json";
  const auto busy = [&](bool resume) {
    return error_text([&] { ExperimentWriter(path, metadata(DType::float32), {"f"}, resume); });
  };
  {
    ExperimentWriter first(path, metadata(DType::float32), {"f"}, false);
    first.add(configuration(), {to_json(record_of(signals_of(fixture().at(0))))});
    const std::string before = text_of(path.string() + ".partial");
    for (const bool resume : {false, true})
      BOOST_TEST(mentions(busy(resume), {"another process", path.string() + ".partial", "--out"}), busy(resume));
    BOOST_TEST((text_of(path.string() + ".partial") == before));
    first.finish();
  }
  BOOST_TEST(open_experiment(path).runs.size() == 1u);
  BOOST_TEST(busy(false) == "no error");
  const pid_t child = ::fork();  // killed while it writes: what the lock was for is over
  if (child == 0) {
    ExperimentWriter writer(path, metadata(DType::float32), {"f"}, false);
    writer.add(configuration(), {to_json(record_of(signals_of(fixture().at(0))))});
    ::raise(SIGKILL);
  }
  ::waitpid(child, nullptr, 0);
  BOOST_TEST(ExperimentWriter(path, metadata(DType::float32), {"f"}, true).has("test_reference"));
}

BOOST_AUTO_TEST_CASE(places_that_cannot_be_written_are_named) {
  const auto folder = fresh_folder("writer");
  std::ofstream(folder / "file") << "";
  const auto below = folder / "file" / "reference_baseline.json";
  BOOST_TEST(mentions(error_text([&] { ExperimentWriter(below, metadata(DType::float32), {"f"}, false); }),
                      {below.string(), "Not a directory"}));
  const auto taken = folder / "reference_baseline.json";
  fs::create_directory(taken);
  {
    ExperimentWriter writer(taken, metadata(DType::float32), {"f"}, false);
    writer.add(configuration(), {to_json(record_of(signals_of(fixture().at(0))))});
    BOOST_TEST(mentions(error_text([&] { writer.finish(); }), {taken.string(), "directory"}));
  }
  const std::set<std::string> kept{"file", "reference_baseline.json", "reference_baseline.json.partial"};
  BOOST_TEST((names_in(folder) == kept));
  fs::remove(taken);
  ExperimentWriter(taken, metadata(DType::float32), {"f"}, true).finish();
  BOOST_TEST(open_experiment(taken).runs.size() == 1u);
}

BOOST_AUTO_TEST_SUITE_END()
