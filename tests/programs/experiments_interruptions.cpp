// What an interruption of exp1 to exp8 leaves, and what --resume makes of it.
#include <chrono>
#include <thread>

#include "experiments.hpp"

BOOST_AUTO_TEST_SUITE(test_experiments_interruptions)

namespace {

/// Waits until a partial file has its head and so many finished configurations.
bool wait_for(const fs::path& partial, std::ptrdiff_t configurations) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(120);
  for (;;) {
    const std::string text = text_of(partial);
    if (std::ranges::count(text, '\n') > configurations) return true;
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

}  // namespace

// Each experiment with more than one configuration of its own, each signal, while configurations are finished
// and others not: the old file stays to the byte, and --resume ends with what an uninterrupted run gives.
BOOST_AUTO_TEST_CASE(it_leaves_the_old_file_and_resume_goes_on) {
  for (const Case& one : cases()) {
    const json whole = read(made(one));
    const std::string old = text_of(made(one));  // the same experiment's: any other would not give way
    for (const int signal : {SIGINT, SIGTERM, SIGKILL}) {
      fresh_folder("stopped");
      const fs::path file = fs::path("stopped") / file_of(one), partial = file.string() + ".partial";
      write(file, old);
      const Strings args = Inputs::command(one.program, "stopped", one.options, one.format);
      Child child(args);
      const bool begun = wait_for(partial, one.values.size() > 2 ? 2 : 0);
      child.send(signal);
      const Outcome stopped = child.wait();
      if (stopped.code == 0) continue;  // it was done before the signal came
      BOOST_TEST(begun, one.program);
      BOOST_TEST(stopped.code == (signal == SIGKILL ? 128 + SIGKILL : 130), one.program << ": " << stopped.err);
      BOOST_TEST((text_of(file) == old), one.program);
      Strings resume = args;
      resume.push_back("--resume");
      const Outcome resumed = run(resume);
      BOOST_REQUIRE_MESSAGE(resumed.code == 0, one.program << ": " << resumed.err);
      BOOST_TEST(signals_of(read(file)) == signals_of(whole), one.program);
      BOOST_TEST(read(file).at("configurations").size() == whole.at("configurations").size());
      BOOST_TEST(names_in("stopped") == std::set<std::string>{file_of(one)}, boost::test_tools::per_element());
    }
  }
}

// What is in the .partial file is not run again.
BOOST_AUTO_TEST_CASE(resume_keeps_what_was_finished) {
  fresh_folder("kept");
  const Case& one = cases().front();
  const fs::path file = fs::path("kept") / file_of(one);
  const Strings args = Inputs::command(one.program, "kept", one.options);
  Child child(args);
  BOOST_REQUIRE(wait_for(file.string() + ".partial", 2));
  child.send(SIGKILL);
  if (child.wait().code == 0) return;
  const std::string before = text_of(file.string() + ".partial");
  std::vector<std::string> kept;  // how long each finished configuration took, to the nanosecond
  for (std::size_t at = 0; (at = before.find("\"runtime_seconds\":", at)) != std::string::npos; ++at)
    kept.push_back(before.substr(at, before.find(',', at) - at));
  BOOST_TEST(kept.size() >= 2u);
  Strings resume = args;
  resume.push_back("--resume");
  BOOST_REQUIRE_EQUAL(run(resume).code, 0);
  const std::string after = text_of(file);
  for (const std::string& one_run : kept) BOOST_TEST(after.find(one_run) != std::string::npos, one_run);
}

// Other options than those of the interrupted run are not mixed with its results.
BOOST_AUTO_TEST_CASE(resume_refuses_another_runs_partial_file) {
  fresh_folder("other");
  const Case& one = cases().front();
  const fs::path partial = fs::path("other") / (file_of(one) + ".partial");
  const Strings args = Inputs::command(one.program, "other", one.options);
  Child child(args);
  BOOST_REQUIRE(wait_for(partial, 2));
  child.send(SIGKILL);
  if (child.wait().code == 0) return;
  Strings other = args;
  other.insert(other.end(), {"--resume", "--reps", "2"});
  const Outcome outcome = run(other);
  BOOST_TEST(outcome.code == 2, outcome.err);
  BOOST_TEST(mentions(outcome.err, {".partial"}), outcome.err);
  BOOST_TEST(fs::exists(partial));
}

BOOST_AUTO_TEST_SUITE_END()
