// What an interruption of exp0_reference leaves, and what --resume makes of it.
#include <thread>

#include "exp0.hpp"

BOOST_AUTO_TEST_SUITE(test_exp0_interruptions)

namespace {

/// A run of minutes, started; ready to be interrupted once it has begun its file.
struct LongRun {
  Child child;

  explicit LongRun(const Strings& more = {})
      : child((fresh_folder("out"), write("ids.json", "[1, 22, 333, 4000]"),
               command(
                   {{"--model", "synthetic:qwen3-moe-tiny"}, {"--prompt-ids", "ids.json"}, {"--decode-steps", "30000"}},
                   more))) {
    const fs::path partial = fs::path("out") / (result + ".partial");
    for (int i = 0; i < 3000 && text_of(partial).find('\n') == std::string::npos; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(sigint_and_sigterm_leave_no_file_and_resume_starts_again) {
  for (const int signal : {SIGINT, SIGTERM}) {
    LongRun started;
    BOOST_TEST((names_in("out") == std::set<std::string>{result + ".partial"}));
    started.child.send(signal);
    const Outcome outcome = started.child.wait();
    BOOST_TEST(outcome.code == 130);
    BOOST_TEST(mentions(outcome.err, {"exp0_reference: interrupted\n"}), outcome.err);
    BOOST_TEST(names_in("out").empty());
  }
  BOOST_TEST(run(command({}, {"--resume"})).code == 0);
  BOOST_TEST((names_in("out") == std::set<std::string>{result}));
  require_recomputed();
}

BOOST_AUTO_TEST_CASE(a_killed_run_leaves_no_half_written_file_and_can_be_resumed) {
  LongRun started;
  started.child.send(SIGKILL);
  BOOST_TEST(started.child.wait().code == 128 + SIGKILL);
  BOOST_TEST((names_in("out") == std::set<std::string>{result + ".partial"}));
  const Outcome other = run(command({}, {"--resume"}));  // another model: refused, the partial file stays
  BOOST_TEST(other.code == 2);
  BOOST_TEST(mentions(other.err, {result + ".partial", "another model"}), other.err);
  BOOST_TEST((names_in("out") == std::set<std::string>{result + ".partial"}));
  BOOST_TEST(run(command()).code == 0);
  BOOST_TEST((names_in("out") == std::set<std::string>{result}));
}

// A folder in the final file's place stops the program between its last record and the end.
BOOST_AUTO_TEST_CASE(what_was_finished_is_not_computed_again) {
  fresh_folder("out");
  fs::create_directory(fs::path("out") / result);
  const Outcome stopped = run(command());
  BOOST_TEST(stopped.code == 2);
  BOOST_TEST(mentions(stopped.err, {"out/" + result, "directory"}), stopped.err);
  BOOST_TEST((names_in("out") == std::set<std::string>{result, result + ".partial"}));
  const std::string partial = text_of(fs::path("out") / (result + ".partial"));
  fs::remove(fs::path("out") / result);
  BOOST_TEST(run(command({}, {"--resume"})).code == 0);
  BOOST_TEST((names_in("out") == std::set<std::string>{result}));
  const json record = json::parse(partial.substr(partial.find('\n')));
  BOOST_TEST((json::parse(text_of(fs::path("out") / result)).at("runs") == record.at("runs")));  // with its times
  require_recomputed();
}

BOOST_AUTO_TEST_CASE(records_of_other_weights_under_the_same_name_are_not_resumed) {
  const auto model = copy_of("llama_tied", "model"), weights = model / "model.safetensors";
  const auto digest = [&] { return run({"sha256sum", weights.string()}).out.substr(0, 64); };
  fresh_folder("out");
  fs::create_directory(fs::path("out") / result);
  BOOST_TEST(run(command({{"--model", model.string()}})).code == 2);
  fs::remove(fs::path("out") / result);
  const std::string before = digest();
  std::string changed = text_of(weights);
  changed.back() ^= 1;
  write(weights, changed);
  const Outcome resumed = run(command({{"--model", model.string()}}, {"--resume"}));
  BOOST_TEST(resumed.code == 2);
  BOOST_TEST(mentions(resumed.err, {result + ".partial", "other weights", before, digest()}), resumed.err);
  BOOST_TEST((names_in("out") == std::set<std::string>{result + ".partial"}));
}

BOOST_AUTO_TEST_CASE(a_finding_is_not_lost_by_resuming) {
  fresh_folder("out");
  fs::create_directory(fs::path("out") / result);
  BOOST_TEST(run(command({{"--inject-fault", "2,1,1"}})).code == 2);
  fs::remove(fs::path("out") / result);
  const Outcome resumed = run(command({}, {"--resume"}));
  BOOST_TEST(resumed.code == 3);
  BOOST_TEST(mentions(resumed.err, {"FINDING", "reference"}), resumed.err);
  BOOST_TEST(json::parse(text_of(fs::path("out") / result)).at("runs").size() == 3u);
}

BOOST_AUTO_TEST_SUITE_END()
