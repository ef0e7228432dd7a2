// A run where a file is already: the same experiment's gives way, any other is kept.
#include "exp0.hpp"

BOOST_AUTO_TEST_SUITE(test_exp0_rerun)

namespace {

const fs::path file = fs::path("out") / result;

/// The file is as it was, and nothing else is there.
void require_kept(const std::string& before, const Outcome& outcome, const Strings& words) {
  BOOST_TEST(outcome.code == 2, outcome.err);
  BOOST_TEST(mentions(outcome.err, words), outcome.err);
  BOOST_TEST(mentions(outcome.err, {file.string(), "It is kept: move it away", "--out"}), outcome.err);
  BOOST_TEST(text_of(file) == before);
  BOOST_TEST((names_in("out") == std::set<std::string>{result}));
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_same_experiment_takes_the_place_of_its_own_file) {
  const json before = experiment();
  const Outcome again = run(command());
  BOOST_TEST(again.code == 0, again.err);
  BOOST_TEST(mentions(again.err, {file.string() + " is there"}), again.err);
  const json after = json::parse(text_of(file));
  BOOST_TEST(after.at("runs").at(0).at("signals_sha256") == before.at("runs").at(0).at("signals_sha256"));
  BOOST_TEST(after.at("runs").at(0).at("runtime") != before.at("runs").at(0).at("runtime"));
}

BOOST_AUTO_TEST_CASE(a_file_of_other_options_is_kept_and_what_differs_is_named) {
  experiment();
  const std::string before = text_of(file);
  write("other.json", "[7, 22, 33]");
  for (const auto& [option, value, words] :
       {std::tuple<std::string, std::string, Strings>{"--decode-steps", "5", {"decode_steps is 6, this run's is 5"}},
        {"--layers", "0", {"extraction_config.layers is [0,1,3], this run's is [0]"}},
        {"--top-k", "3", {"top_k_logprobs"}},
        {"--prompt-ids", "other.json", {"this run's is"}},
        {"--reps", "2", {"number of repetitions is 3, this run's is 2"}},
        {"--hardware", "another", {"hardware", "another"}},
        {"--execution", "compiled", {"compile", "is false, this run's is true"}},
        {"--dtype", "bfloat16", {"bfloat16"}},
        {"--threads", "2", {"threads", "1, this run's is 2"}},
        {"--model", (fixtures / "parity" / "llama_untied").string(), {"model"}}})
    require_kept(before, run(command({{option, value}})), words);
}

BOOST_AUTO_TEST_CASE(what_is_no_experiment_is_kept) {
  for (const char* text : {"", "my notes", "[1, 2]", "{\"experiment_metadata\": {"}) {
    fresh_folder("out");
    write(file, text);
    require_kept(text, run(command()), {"no experiment file"});
  }
}

// By the file itself: the prompt under the result's name, and a link from there.
BOOST_AUTO_TEST_CASE(an_input_is_not_written_over) {
  fresh_folder("out");
  fs::copy_file(tiny / "prompt.json", file);
  const std::string before = text_of(file);
  const Outcome own = run(command({{"--prompt-ids", file.string()}}));
  BOOST_TEST(own.code == 2);
  BOOST_TEST(mentions(own.err, {"--prompt-ids " + file.string(), "overwritten"}), own.err);
  fs::remove("linked.json");
  fs::create_hard_link(file, "linked.json");
  const Outcome linked = run(command({{"--prompt-ids", "./linked.json"}}));
  BOOST_TEST(mentions(linked.err, {"--prompt-ids ./linked.json", "overwritten"}), linked.err);
  BOOST_TEST(text_of(file) == before);
}

BOOST_AUTO_TEST_CASE(two_runs_of_one_file_at_a_time_are_refused) {
  fresh_folder("out");
  write("ids.json", "[1, 22, 333, 4000]");
  const Options endless{
      {"--model", "synthetic:qwen3-moe-tiny"}, {"--prompt-ids", "ids.json"}, {"--decode-steps", "30000"}};
  const fs::path partial = file.string() + ".partial";
  Child first(command(endless));
  for (int i = 0; i < 3000 && text_of(partial).find('\n') == std::string::npos; ++i) ::usleep(20000);
  const std::string before = text_of(partial);
  const Outcome second = run(command(endless));
  BOOST_TEST(second.code == 2);
  BOOST_TEST(mentions(second.err, {"another process", partial.string()}), second.err);
  BOOST_TEST(text_of(partial) == before);
}

// Threads that wait sleep unless the user says otherwise; the program is itself again after it has seen to that.
BOOST_AUTO_TEST_CASE(openmps_threads_sleep_by_default) {
  const auto shown = [](const Strings& settings) {
    Strings args{"env", "-u", "OMP_WAIT_POLICY", "OMP_DISPLAY_ENV=verbose"};
    args.insert(args.end(), settings.begin(), settings.end());
    args.insert(args.end(), {program, "--version"});
    return run(args);
  };
  const auto times = [](const std::string& text, const std::string& word) {
    int found = 0;
    for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++found;
    return found;
  };
  const Outcome plain = shown({});
  BOOST_TEST(plain.code == 0);
  BOOST_TEST(mentions(plain.out, {"exp0_reference (fpf)"}));
  BOOST_TEST(mentions(plain.err, {"OMP_WAIT_POLICY = 'PASSIVE'", "GOMP_SPINCOUNT = '0'"}), plain.err);
  BOOST_TEST(times(plain.err, "DISPLAY ENVIRONMENT BEGIN") == 1, plain.err);  // no constructor ran before
  BOOST_TEST(mentions(shown({"OMP_WAIT_POLICY=active"}).err, {"OMP_WAIT_POLICY = 'ACTIVE'"}));
  BOOST_TEST(mentions(shown({"GOMP_SPINCOUNT=77"}).err, {"GOMP_SPINCOUNT = '77'"}));
}

BOOST_AUTO_TEST_SUITE_END()
