// compare --report: a folder that is whole or not there, and replaces nothing but an earlier report.
#include <thread>

#include "report.hpp"

BOOST_AUTO_TEST_SUITE(test_report_folder)

BOOST_AUTO_TEST_CASE(an_earlier_report_is_replaced_and_nothing_else) {
  const std::string here = fresh_folder("places").string();
  write(here + "/a.json", experiment(0));
  const auto attempt = [&](const std::string& where) {
    return run({program, "a.json", "--output", "r.json", "--report", where}, here);
  };
  const auto refused = [&](const std::string& where, std::initializer_list<std::string> words) {
    fs::remove(here + "/r.json");
    const Outcome outcome = attempt(where);
    BOOST_TEST_CONTEXT(outcome.err) {
      BOOST_TEST(outcome.code == 2);
      BOOST_TEST(mentions(outcome.err, words));
      BOOST_TEST(!fs::exists(here + "/r.json"));
    }
  };
  fs::create_directory(here + "/report");
  BOOST_TEST(attempt("report").code == 0);  // an empty folder
  std::ofstream(here + "/report/plots/1-batch_size-key_vectors-matrix.gp") << "# edited\n";
  BOOST_TEST(attempt("report/").code == 0);  // an earlier report
  BOOST_TEST(!mentions(text_of(here + "/report/plots/1-batch_size-key_vectors-matrix.gp"), {"# edited"}));
  BOOST_TEST((names_in(here) == std::set<std::string>{"a.json", "r.json", "report"}));
  fs::create_directory_symlink("report", here + "/link");
  BOOST_TEST(attempt("link").code == 0);
  BOOST_TEST(fs::is_symlink(here + "/link"));

  std::ofstream(here + "/report/plots/notes.txt") << "mine";
  refused("report", {"plots/notes.txt", "not part of one"});
  BOOST_TEST(text_of(here + "/report/plots/notes.txt") == "mine");
  fs::remove(here + "/report/plots/notes.txt");
  // Of a report's kinds, but not its own: it links to none of them.
  for (const char* mine : {"csv/mine.csv", "plots/mine.svg", "plots/mine.gp"}) {
    std::ofstream(here + "/report/" + mine) << "mine";
    refused("report", {mine, "not part of one"});
    BOOST_TEST(text_of(here + "/report/" + mine) == "mine");
    fs::remove(here + "/report/" + mine);
  }
  BOOST_TEST(attempt("report").code == 0);
  refused(".", {"--report .", "other content"});
  refused("a.json", {"--report a.json", "found a file"});
  refused("no/such/report", {"--report no/such/report", "no/such does not exist"});
  refused("", {"--report", "found none"});
  fs::create_directory(here + "/site");
  std::ofstream(here + "/site/index.html") << "<!DOCTYPE html><p>someone's page";
  refused("site", {"--report site", "other content"});
  const Outcome plan = run({program, "a.json", "--plan-compatible", "--report", "new"}, here);
  BOOST_TEST(plan.code == 2);
  BOOST_TEST(mentions(plan.err, {"--report", "--plan-compatible"}));
  BOOST_TEST(!fs::exists(here + "/new"));
}

BOOST_AUTO_TEST_CASE(what_fails_is_listed_and_leaves_an_earlier_report_alone) {
  const std::string here = fresh_folder("failures").string();
  Json other = experiment(3);
  write(here + "/compile_experiment.json", other);
  std::ofstream(here + "/batch_size_experiment.json") << "{\"experiment_metadata\": {";
  BOOST_TEST(compare({"--all"}, here).code == 2);
  const auto page = look_at(here + "/report/index.html")[0];
  BOOST_TEST(mentions(page["text"], {"Left out: 1 input", "batch_size_experiment.json", "compile"}));
  const std::string before = text_of(here + "/report/index.html");
  std::ofstream(here + "/compile_experiment.json") << "[]";
  BOOST_TEST(compare({"--all"}, here).code == 2);
  BOOST_TEST(text_of(here + "/report/index.html") == before);
  write(here + "/compile_experiment.json", other);
  const Outcome outcome = run({program, "--all", "--output", "no/such/r.json", "--report", "second"}, here);
  BOOST_TEST(outcome.code == 2);
  BOOST_TEST(!fs::exists(here + "/second"));
}

BOOST_AUTO_TEST_CASE(an_interrupt_leaves_no_report) {
  const std::string here = fresh_folder("interrupted").string(), tools = fresh_folder("slow_path").string();
  std::ofstream(tools + "/gnuplot") << "#!/bin/sh\n[ \"$1\" = --version ] && echo gnuplot 5.4 && exit 0\n"
                                       "echo > ../../../started; while [ ! -e ../../../go ]; do sleep 0.02; done\n";
  fs::permissions(tools + "/gnuplot", fs::perms::owner_all);
  fs::remove("started"), fs::remove("go");
  write(here + "/a.json", experiment(0));
  const std::string path = fs::absolute(tools).string() + ":" + std::getenv("PATH");
  Child child({program, "a.json", "--output", "r.json", "--report", "report"}, here, {{"PATH", path}});
  for (int i = 0; i < 3000 && !fs::exists("started"); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  BOOST_TEST_REQUIRE(fs::exists("started"));
  child.send(SIGINT);
  std::ofstream("go") << "";
  const Outcome outcome = child.wait();
  BOOST_TEST(outcome.code == 130, outcome.err);
  BOOST_TEST((names_in(here) == std::set<std::string>{"a.json"}));
}

BOOST_AUTO_TEST_SUITE_END()
