// What the files of exp1 to exp8 hold.
#include "experiments.hpp"

BOOST_AUTO_TEST_SUITE(test_experiments_files)

// Every experiment: its file alone, valid against the schema, its digests right, every configuration three
// times bit by bit the same, the baseline first and equal to experiment 0's.
BOOST_AUTO_TEST_CASE(every_experiment_leaves_its_file) {
  Strings check{python.string(), FPF_SOURCE "/tests/programs/check_schema.py", schema.string(), Inputs::baseline(),
                Inputs::baseline("awq")};
  for (const Case& one : cases()) {
    const fs::path path = made(one);
    const json file = read(path);
    const Outcome digests = recomputed(path);
    BOOST_TEST(digests.code == 0, digests.out << digests.err);
    json values = json::array();
    for (const json& configuration : file.at("configurations")) {
      values.push_back(configuration.at("variable_value"));
      BOOST_TEST(configuration.at("baseline") == (values.size() == 1));
      const json& reproducibility = run_of(file, configuration).at("reproducibility");
      BOOST_TEST(reproducibility.at("repetitions") == 3);
      BOOST_TEST(reproducibility.at("bit_exact") == true);
      const auto& found = reproducibility.at("digests");
      BOOST_REQUIRE_EQUAL(found.size(), 3u);
      for (const char* signal : {"hidden_states", "key_vectors", "logprobs", "router"})
        for (int rep = 1; rep < 3; ++rep) BOOST_TEST(found.at(rep).at(signal) == found.at(0).at(signal));
    }
    BOOST_TEST(values == one.values, one.program << ": " << values);
    BOOST_TEST(run_of(file, file.at("configurations").at(0)).at("signals_sha256") ==
               read(Inputs::baseline(one.format)).at("runs").at(0).at("signals_sha256"));
    check.push_back(path.string());
  }
  BOOST_TEST(names_in("all").size() == cases().size());
  const Outcome valid = run(check);
  BOOST_TEST(valid.code == 0, valid.out << valid.err);

  fs::copy_file(Inputs::baseline(), "all/reference_baseline.json");
  const Outcome table = run({bin + "/compare", "--all", "--experiment-dir", "all"});
  BOOST_TEST(table.code == 0, table.err);
  for (const Case& one : cases()) BOOST_TEST(table.out.find(one.file) != std::string::npos, table.out);
}

// The schema is one that can fail.
BOOST_AUTO_TEST_CASE(the_schema_refuses_what_the_format_does_not_know) {
  const json good = read(Inputs::baseline());
  const auto& changes = schema_changes();
  Strings check{python.string(), FPF_SOURCE "/tests/programs/check_schema.py", schema.string()};
  for (std::size_t i = 0; i < changes.size(); ++i) {
    json bad = good;
    bad[json::json_pointer(changes[i].first)] = changes[i].second;
    check.push_back(write("bad" + std::to_string(i) + ".json", bad.dump()).string());
  }
  const Outcome outcome = run(check);
  BOOST_TEST(outcome.code == 1);
  for (std::size_t i = 0; i < changes.size(); ++i)
    BOOST_TEST(outcome.out.find("bad" + std::to_string(i) + ".json") != std::string::npos, changes[i].first);
}

BOOST_AUTO_TEST_CASE(neighbours_are_in_the_file_and_only_the_reference_is_recorded) {
  const json file = read(made(case_of("batch_size")));
  for (std::size_t i = 1; i < 3; ++i) {
    const json& one = run_of(file, file.at("configurations").at(i));
    const auto size = file.at("configurations").at(i).at("variable_value").get<std::size_t>();
    BOOST_REQUIRE_EQUAL(one.at("neighbours").size(), size - 1);
    for (std::size_t n = 0; n + 1 < size; ++n)
      BOOST_TEST(one.at("neighbours").at(n).at("prompt_token_ids") == json::parse(ids(static_cast<int>(n) + 1)));
    BOOST_TEST(one.at("prompt_token_ids") == json::parse(ids(0)));
  }
}

BOOST_AUTO_TEST_CASE(the_contended_run_overlapped_the_load) {
  const json file = read(made(case_of("concurrent_streams")));
  const json& one = run_of(file, file.at("configurations").at(1));
  BOOST_TEST(one.at("contention").at("overlap_fraction").get<double>() >= 0.9);
  BOOST_TEST(one.at("contention").at("overlap_fraction").get<double>() <= 1.0);
  BOOST_TEST(one.at("quiet_runtime") == run_of(file, file.at("configurations").at(0)).at("runtime"));
  BOOST_TEST(one.at("runtime").at("mean").get<double>() > 0);
}

// Sharded weights sum to the whole, and what each rank holds is said.
BOOST_AUTO_TEST_CASE(the_ranks_memory_sums_to_the_models) {
  const Outcome outcome = run(Inputs::command("exp7_tensor_parallel", "ranks", {"--tp", "2"}));
  BOOST_REQUIRE_EQUAL(outcome.code, 0);
  BOOST_TEST(mentions(outcome.err, {"tp2 (emulated): rank 0", "tp2 (emulated): rank 1", "MB of weights"}), outcome.err);
  const json file = read("ranks/tensor_parallel_experiment.json");
  const auto bytes = [&](int configuration) {
    std::int64_t total = 0;
    for (const json& rank : file.at("configurations").at(configuration).at("manifest").at("ranks"))
      total += rank.at("weight_bytes").get<std::int64_t>();
    return total;
  };
  // every rank has the embedding (512 x 128), norms (2 x 128 a layer, 2 x 32 for heads, 128) and routers (8 x
  // 128) whole
  constexpr std::int64_t replicated = 4 * (512 * 128 + 3 * (2 * 128 + 2 * 32 + 8 * 128) + 128);
  BOOST_TEST(bytes(1) == bytes(0) + replicated);
}

BOOST_AUTO_TEST_SUITE_END()
