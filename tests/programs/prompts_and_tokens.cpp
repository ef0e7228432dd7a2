// Several prompts and forced tokens: what files hold of them, and what is refused.
#include <fpf/core/hash.hpp>

#include "experiments.hpp"

BOOST_AUTO_TEST_SUITE(test_prompts_and_tokens)

namespace {

std::vector<std::int64_t> tokens_of(const json& run, const char* name) {
  std::vector<std::int64_t> out;
  for (const json& step : run.at("decode_steps")) out.push_back(step.at(name));
  return out;
}

/// Experiment 0 with other prompts than ids0.json, in a folder of its own.
json reference(const std::string& folder, const Strings& prompts, const Strings& more = {}) {
  fresh_folder(folder);
  Strings args = Inputs::command("exp0_reference", folder, more);
  const auto given = std::ranges::find(args, "--prompt-ids");
  args.erase(given, given + 2);
  for (const std::string& one : prompts) args.insert(args.end(), {"--prompt-ids", one});
  const Outcome outcome = run(args);
  BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  return read(fs::path(folder) / "reference_baseline.json");
}

/// Runs a program on ids0.json in the folder "refused", which must stay empty.
void require_refused(const std::string& program, const Strings& options, const Strings& words) {
  fresh_folder("refused");
  Strings args = Inputs::command(program, "refused", options);
  if (const auto usual = std::ranges::find(args, "--baseline"); std::ranges::count(args, "--baseline") > 1)
    args.erase(usual, usual + 2);
  const Outcome outcome = run(args);
  BOOST_TEST(outcome.code == 2, words.front() << ": " << outcome.code << outcome.err);
  BOOST_TEST(mentions(outcome.err, words), outcome.err);
  BOOST_TEST(names_in("refused").empty());
}

}  // namespace

// A prompt's runs do not depend on the prompts beside it: digests of each are those of an experiment of it alone.
BOOST_AUTO_TEST_CASE(each_prompts_runs_are_those_of_an_experiment_of_it_alone) {
  const json file = reference("several", {"inputs/ids0.json", "inputs/ids4.json", "inputs/ids2.json"});
  BOOST_TEST(file.at("experiment_metadata").at("prompts") == json({{"count", 3}}));
  BOOST_REQUIRE_EQUAL(file.at("runs").size(), 3u);
  for (const auto& [index, seed] : {std::pair{0, 0}, {1, 4}, {2, 2}}) {
    const std::string name = fmt::format("inputs/ids{}.json", seed);
    const json alone = reference("alone", {name}), &run = file.at("runs").at(static_cast<std::size_t>(index));
    BOOST_TEST(run.at("prompt_index") == index);
    BOOST_TEST(run.at("prompt_token_ids") == json::parse(ids(seed)));
    for (const char* same : {"signals_sha256", "prompt_sha256", "rep_id"})
      BOOST_TEST(run.at(same) == alone.at("runs").at(0).at(same), same);
    BOOST_TEST(!alone.at("runs").at(0).contains("prompt_index"));
    BOOST_TEST(!alone.at("experiment_metadata").contains("prompts"));
  }
}

// All configurations are fed the baseline's tokens; what each would have chosen is what its log-probabilities say.
BOOST_AUTO_TEST_CASE(with_the_baselines_tokens_every_configuration_is_fed_the_same) {
  const json file = read(many());
  BOOST_TEST(file.at("experiment_metadata").at("tokens") == "baseline");
  BOOST_REQUIRE_EQUAL(file.at("runs").size(), 4u);  // two configurations, two prompts
  for (const std::size_t prompt : {0u, 1u}) {
    const json &baseline = file.at("runs").at(prompt), &ranks = file.at("runs").at(2 + prompt);
    BOOST_TEST(ranks.at("prompt_index") == prompt);
    BOOST_TEST(tokens_of(ranks, "token_id") == tokens_of(baseline, "token_id"), boost::test_tools::per_element());
    BOOST_TEST(ranks.at("tokens").at("from") == "baseline");
    BOOST_TEST(!baseline.contains("tokens"));
    const json& steps = ranks.at("decode_steps");
    for (std::size_t step = 0; step < steps.size(); ++step)
      BOOST_TEST(steps.at(step).at("chosen_token_id") ==
                 steps.at(step).at("logprobs").at("pos_-2").at("token_ids").at(0));
    BOOST_TEST(!baseline.at("decode_steps").at(0).contains("chosen_token_id"));
  }
  const Outcome valid = run({python.string(), FPF_SOURCE "/tests/programs/check_schema.py", schema.string(),
                             many().string(), "many/reference_baseline.json"});
  BOOST_TEST(valid.code == 0, valid.out << valid.err);
  const Outcome digests = recomputed(many());
  BOOST_TEST(digests.code == 0, digests.out << digests.err);
}

// Fed what it would have chosen, a run computes what it does by itself; fed something else, it says what it would have
// chosen.
BOOST_AUTO_TEST_CASE(tokens_of_a_file_are_fed) {
  const json own = read(Inputs::baseline());
  const auto chosen = tokens_of(own.at("runs").at(0), "token_id");
  write("tokens.json", json(chosen).dump());
  for (const std::string& from : {std::string("tokens.json"), Inputs::baseline()}) {
    const json forced = reference("forced", {"inputs/ids0.json"}, {"--tokens", from});
    BOOST_TEST(forced.at("runs").at(0).at("signals_sha256") == own.at("runs").at(0).at("signals_sha256"));
    BOOST_TEST(forced.at("runs").at(0).at("tokens").at("from") == "file");
    BOOST_TEST(tokens_of(forced.at("runs").at(0), "chosen_token_id") == chosen, boost::test_tools::per_element());
  }
  auto others = chosen;
  others[1] = (chosen[1] + 1) % 512;
  write("others.json", json(others).dump());
  const json forced = reference("forced", {"inputs/ids0.json"}, {"--tokens", "others.json"}),
             &run = forced.at("runs").at(0);
  BOOST_TEST(tokens_of(run, "token_id") == others, boost::test_tools::per_element());
  BOOST_TEST(tokens_of(run, "chosen_token_id")[1] == chosen[1]);
  BOOST_TEST(run.at("signals_sha256") != own.at("runs").at(0).at("signals_sha256"));

  // Experiment 0's tokens are a file's or its own choice: it is the baseline itself.
  for (const char* everywhere : {"", "moon"}) {
    json lie = forced;
    const std::string from = *everywhere == 0 ? "baseline" : everywhere;
    lie["experiment_metadata"]["tokens"] = lie["runs"][0]["tokens"]["from"] = from;
    write("forced/lie.json", lie.dump());
    const Outcome found = ::run({bin + "/compare", "forced/lie.json"});
    BOOST_TEST(found.code == (from == "moon" ? 2 : 3), found.err);
    BOOST_TEST(mentions(found.err, {"lie.json", "tokens", from}), found.err);
  }

  // Such a baseline is one of experiments that are fed the same, and of no others.
  const std::string baseline = "forced/reference_baseline.json";
  fresh_folder("after");
  Strings args = Inputs::command("exp0_reference", "after", {"--baseline", baseline, "--tokens", "baseline"});
  args.front() = bin + "/exp4_attention";
  BOOST_TEST(::run(args).code == 0);
  const json attention = read("after/attention_experiment.json");
  BOOST_TEST(tokens_of(attention.at("runs").at(1), "token_id") == others, boost::test_tools::per_element());
  BOOST_TEST(::run({bin + "/compare", "after/attention_experiment.json"}).code == 0);
  for (const auto& [tokens, words] :
       {std::pair<std::string, Strings>{"own", {"fed the tokens of a file", "--tokens baseline"}},
        {"tokens.json", {"was fed other tokens than --tokens tokens.json"}}}) {
    args.back() = tokens;
    const Outcome refused = ::run(args);
    BOOST_TEST(refused.code == 2);
    BOOST_TEST(mentions(refused.err, words), refused.err);
  }
}

BOOST_AUTO_TEST_CASE(tokens_that_are_none_are_refused) {
  write("few.json", "[1,2,3]");
  write("beyond.json", "[1,2,3,512]");
  write("words.json", "\"baseline\"");
  require_refused("exp0_reference", {"--tokens", "baseline"}, {"--tokens baseline", "experiment 0 is the baseline"});
  require_refused("exp0_reference", {"--tokens", "nowhere.json"}, {"--tokens nowhere.json", "no such file"});
  require_refused("exp0_reference", {"--tokens", "few.json"}, {"--tokens few.json", "4 decode steps", "found 3"});
  require_refused("exp0_reference", {"--tokens", "beyond.json"}, {"--tokens beyond.json", "512", "ends at 511"});
  require_refused("exp0_reference", {"--tokens", "words.json"}, {"words.json"});
  write("object.json", R"({"prompt_token_ids":[1,2,3,4]})");
  require_refused("exp0_reference", {"--tokens", "object.json"}, {"object.json", "no JSON array", "prompt_token_ids"});
  require_refused("exp0_reference", {"--tokens", "few.json", "--prompt-ids", "inputs/ids4.json"},
                  {"--tokens few.json", "2 prompts"});
  require_refused("exp0_reference", {"--tokens", Inputs::baseline(), "--prompt-ids", "inputs/ids4.json"},
                  {"expected a baseline that was given this prompt"});
}

BOOST_AUTO_TEST_CASE(prompts_that_do_not_go_together_are_refused) {
  write("longer.json", "[1,2,3,4,5,6,7,8,9,10,11,12,13]");
  require_refused("exp0_reference", {"--prompt-ids", "longer.json"}, {"longer.json has 13 tokens", "12", "one length"});
  require_refused("exp0_reference", {"--prompt-ids", "inputs/ids0.json"}, {"one prompt", "expected different ones"});
  require_refused("exp0_reference", {"--prompts", "2"}, {"--prompts 2", "--prompt-ids"});
  require_refused("exp0_reference", {"--prompts", "0"}, {"--prompts 0", "positive"});
  require_refused("exp0_reference", {"--seed", "1"}, {"--seed 1", "--prompts 2 or more"});
  for (const char* seed : {"18446744073709551616", "-1", "1.5"})
    require_refused("exp0_reference", {"--prompts", "2", "--seed", seed},
                    {std::string("--seed ") + seed, "from 0 to 18446744073709551615"});
  require_refused("exp4_attention", {"--prompt-ids", "inputs/ids4.json"}, {"other prompts", "no run of prompt 1"});
  require_refused("exp1_batch_size",
                  {"--batch-sizes", "2", "--prompt-ids", "inputs/ids4.json", "--baseline",
                   (many().parent_path() / "reference_baseline.json").string(), "--neighbour-ids", "inputs/ids4.json"},
                  {"ids4.json", "same tokens as prompt 1"});
}

// What is there was made with other tokens or prompts: it is kept.
BOOST_AUTO_TEST_CASE(a_file_of_other_tokens_or_prompts_is_kept) {
  const std::string before = text_of(many());
  for (const auto& [more, words] : {std::pair<Strings, Strings>{{"--prompt-ids", "inputs/ids4.json", "--tokens", "own"},
                                                                {"tokens", "own", "It is kept"}},
                                    {{"--tokens", "baseline"}, {"prompt"}}}) {
    Strings args = Inputs::command("exp0_reference", "many", more);
    args.front() = bin + "/exp7_tensor_parallel";
    args.insert(args.end(), {"--tp", "2"});
    const Outcome outcome = run(args);
    BOOST_TEST(outcome.code == 2);
    BOOST_TEST(mentions(outcome.err, words), outcome.err);
  }
  BOOST_TEST(text_of(many()) == before);
}

// A document's cuts are stated, with the seed; each run's prompt is of its own.
BOOST_AUTO_TEST_CASE(cuts_of_a_document_are_stated) {
  const fs::path model = fs::path(FPF_BUILD) / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf";
  fresh_folder("cuts");
  const Outcome outcome =
      run({bin + "/exp0_reference", "--model", model.string(), "--prompt-text",
           FPF_SOURCE "/include/fpf/execution/PORTABLE.md", "--prompt-tokens", "64", "--prompts", "3", "--seed", "5",
           "--decode-steps", "2", "--layers", "0", "--reps", "2", "--out", "cuts"});
  BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  const json file = read("cuts/reference_baseline.json");
  BOOST_TEST(file.at("experiment_metadata").at("prompts") == json({{"count", 3}, {"seed", 5}}));
  const std::string text = text_of(FPF_SOURCE "/include/fpf/execution/PORTABLE.md");
  std::int64_t end = 0;
  for (const json& one : file.at("runs")) {
    const std::int64_t offset = one.at("document_offset");
    BOOST_TEST(offset >= end);
    const std::string begins = text.substr(static_cast<std::size_t>(offset), 20);
    BOOST_TEST(one.at("prompt_text").get<std::string>().find(begins) != std::string::npos, begins);
    end = offset + 20;
  }
}

// Of several documents they are drawn over all; the file says which they are, and each run whose part it answers.
BOOST_AUTO_TEST_CASE(cuts_of_several_documents_say_which_each_is_of) {
  const fs::path model = fs::path(FPF_BUILD) / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf";
  const std::string documents[] = {FPF_SOURCE "/include/fpf/execution/PORTABLE.md", FPF_SOURCE "/CONTRIBUTING.md"};
  const auto reference = [&](const std::string& folder, const Strings& more) {
    fresh_folder(folder);
    Strings args{bin + "/exp0_reference", "--model", model.string(), "--prompt-tokens", "64", "--decode-steps", "2",
                 "--layers", "0", "--reps", "2", "--out", folder};
    for (const std::string& one : documents) args.insert(args.end(), {"--prompt-text", one});
    args.insert(args.end(), more.begin(), more.end());
    return run(args);
  };
  const Outcome outcome = reference("cuts", {"--prompts", "8", "--seed", "5"});
  BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  const json file = read("cuts/reference_baseline.json");
  json stated = json::array();
  for (const std::string& one : documents)
    stated.push_back({{"name", fs::path(one).filename().string()}, {"sha256", fpf::sha256_hex(text_of(one))}});
  BOOST_TEST(file.at("experiment_metadata").at("prompts") ==
             json({{"count", 8}, {"seed", 5}, {"documents", stated}}));
  std::set<std::string> answered;
  for (const json& one : file.at("runs")) {
    const bool first = one.at("document_sha256") == stated[0]["sha256"];
    BOOST_TEST((first || one.at("document_sha256") == stated[1]["sha256"]));
    answered.insert(one.at("document_sha256"));
    const std::string begins =
        text_of(documents[first ? 0 : 1]).substr(one.at("document_offset").get<std::size_t>(), 12);
    BOOST_TEST(one.at("prompt_text").get<std::string>().find(begins) != std::string::npos, begins);
  }
  BOOST_TEST(answered.size() == 2u);
  const Outcome valid = run({python.string(), FPF_SOURCE "/tests/programs/check_schema.py", schema.string(),
                             "cuts/reference_baseline.json"});
  BOOST_TEST(valid.code == 0, valid.out << valid.err);
  json lie = file;
  lie["runs"][0]["document_sha256"] = std::string(64, '0');
  write("cuts/lie.json", lie.dump());
  const Outcome found = run({bin + "/compare", "cuts/lie.json"});
  BOOST_TEST(found.code == 3);
  BOOST_TEST(mentions(found.err, {"document_sha256", "2 documents"}), found.err);
  const Outcome refused = reference("refused", {});
  BOOST_TEST(refused.code == 2);
  BOOST_TEST(mentions(refused.err, {"found 2", "several documents go with --prompts"}), refused.err);
  BOOST_TEST(names_in("refused").empty());
}

BOOST_AUTO_TEST_SUITE_END()
