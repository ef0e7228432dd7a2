// A campaign that is killed, interrupted, or runs out of something: what stays, and that the same command goes on.
#include <random>

#include "campaign.hpp"

BOOST_AUTO_TEST_SUITE(test_campaign_interruptions)

BOOST_AUTO_TEST_CASE(killed_at_twenty_random_moments_it_ends_with_the_same_bits) {
  const auto whole = signals_in(undisturbed());
  BOOST_REQUIRE_EQUAL(whole.size(), campaign_files.size());
  std::mt19937 random(12);
  int kills = 0, rounds = 0;
  while (kills < 20) {
    const std::string folder = "killed" + std::to_string(rounds++);
    fresh_folder(folder);
    for (;;) {
      Child child(campaign(folder));
      if (kills < 20) {
        std::this_thread::sleep_for(std::chrono::milliseconds(random() % 1500));
        child.send(SIGKILL);
      }
      const Outcome outcome = child.wait();
      BOOST_REQUIRE_MESSAGE(outcome.code == 0 || outcome.code == 128 + SIGKILL, outcome.err);
      if (outcome.code == 0) break;
      ++kills;
    }
    BOOST_TEST(signals_in(folder) == whole, folder);
    for (const auto& name : names_in(folder)) BOOST_TEST(name.find(".partial") == std::string::npos, name);
    BOOST_TEST(fs::exists(fs::path(folder) / "report/index.html"));
    BOOST_TEST(happened(folder, "campaign finished"));
  }
  BOOST_TEST(rounds >= 1);
}

BOOST_AUTO_TEST_CASE(interrupted_it_says_so_and_what_is_finished_is_not_run_again) {
  fresh_folder("stopped");
  Child child(campaign("stopped"));
  BOOST_REQUIRE(wait_for("stopped", "finished exp1_batch_size"));
  child.send(SIGINT);
  const Outcome outcome = child.wait();
  if (outcome.code != 0) {
    BOOST_TEST(outcome.code == 130);
    BOOST_TEST(mentions(outcome.err, {"campaign: interrupted"}), outcome.err);
  }
  const std::string before = text_of("stopped/batch_size_experiment.json");
  const Outcome resumed = run(campaign("stopped"));
  BOOST_TEST(resumed.code == 0, resumed.err);
  BOOST_TEST(mentions(resumed.err, {"batch_size_experiment.json is there"}), resumed.err);
  BOOST_TEST(text_of("stopped/batch_size_experiment.json") == before);
  BOOST_TEST(signals_in("stopped") == signals_in(undisturbed()));
  BOOST_TEST(std::ranges::count(events_in("stopped"), std::string("started exp1_batch_size")) == 1);
}

// Files may not grow beyond a size, as on a full disk: writes fail.
BOOST_AUTO_TEST_CASE(a_full_disk_ends_it_and_loses_nothing) {
  fresh_folder("full");
  const auto blocks = fs::file_size(undisturbed() / "reference_baseline.json") * 3 / 2 / 1024;  // too few for three
  std::string command = "trap '' XFSZ; ulimit -f " + std::to_string(blocks) + "; exec";
  for (const auto& arg : campaign("full")) command += " '" + arg + "'";
  const Outcome outcome = run({"bash", "-c", command});
  BOOST_TEST(outcome.code == 2, outcome.code << outcome.err);
  BOOST_TEST(mentions(outcome.err, {"exp1_batch_size", "cannot write", "File too large", "experiments are missing",
                                    "batch_size_experiment.json (", "the same command goes on"}),
             outcome.err);
  BOOST_TEST(signals_in("full").size() == 1u);
  BOOST_TEST(!fs::exists("full/batch_size_experiment.json"));
  const Outcome resumed = run(campaign("full"));
  BOOST_TEST(resumed.code == 0, resumed.err);
  BOOST_TEST(signals_in("full") == signals_in(undisturbed()));
}

BOOST_AUTO_TEST_CASE(a_removed_model_stops_it_and_loses_nothing) {
  fresh_folder("moved");
  const fs::path model = fs::path(FPF_FIXTURES) / "parity/qwen3_moe_raw";
  fresh_folder("model");
  for (const char* file : {"config.json", "model.safetensors"})
    fs::copy_file(model / file, fs::path("model") / file, fs::copy_options::overwrite_existing);
  const Strings args{bin + "/campaign",
                     "--pod",
                     "1",
                     "--model",
                     "model",
                     "--prompt-ids",
                     (model / "prompt.json").string(),
                     "--decode-steps",
                     "3",
                     "--layers",
                     "0,last",
                     "--threads",
                     "1",
                     "--out",
                     "moved",
                     "--skip",
                     "1,3,5,6",
                     "--no-preflight"};
  Child child(args);
  BOOST_REQUIRE(wait_for("moved", "finished exp0_reference"));
  fs::rename("model/model.safetensors", "elsewhere");
  const Outcome outcome = child.wait();
  const Outcome again = outcome.code == 0 ? Outcome{} : run(args);
  if (outcome.code != 0) {
    BOOST_TEST(again.code == 2, again.code << again.err);
    BOOST_TEST(mentions(again.err, {"model", "safetensors", "the same command goes on"}), again.err);
    BOOST_TEST(fs::exists("moved/reference_baseline.json"));
  }
  fs::rename("elsewhere", "model/model.safetensors");
  BOOST_TEST(run(args).code == 0);
  BOOST_TEST(signals_in("moved").size() == 3u);
}

// The experiments behind it run, and what is there is compared.
BOOST_AUTO_TEST_CASE(a_broken_pdf_costs_one_experiment) {
  const auto smollm2 = (fs::path(FPF_BUILD) / "models/SmolLM2-135M-Instruct.Q4_1.gguf").string();
  const auto document = [](const char* name) { return (fs::path(FPF_BUILD) / "documents" / name).string(); };
  fresh_folder("pdf");
  write("broken.pdf", text_of(document("bashref.pdf")).substr(0, 2000));
  const Strings args{bin + "/campaign",
                     "--pod",
                     "1",
                     "--model",
                     smollm2,
                     "--prompt-pdf",
                     document("bashref.pdf"),
                     "--prompt-tokens",
                     "48",
                     "--decode-steps",
                     "2",
                     "--reps",
                     "2",
                     "--threads",
                     "1",
                     "--batch-sizes",
                     "2",
                     "--neighbour-pdf",
                     "broken.pdf",
                     "--out",
                     "pdf",
                     "--skip",
                     "2,3,5,6",
                     "--no-preflight"};
  const Outcome outcome = run(args);
  BOOST_TEST(outcome.code == 2, outcome.err);
  BOOST_TEST(mentions(outcome.err, {"exp1_batch_size", "broken.pdf", "1 of 3 experiments are missing",
                                    "batch_size_experiment.json (", "the same command goes on"}),
             outcome.err);
  const Strings expected{"campaign started",
                         "started exp0_reference",
                         "finished exp0_reference",
                         "started exp1_batch_size",
                         "failed exp1_batch_size",
                         "started exp4_attention",
                         "finished exp4_attention",
                         "compared",
                         "stopped"};
  BOOST_TEST(events_in("pdf") == expected, boost::test_tools::per_element());
  const std::string reference = text_of("pdf/reference_baseline.json");
  const json analysed = read("pdf/analysis_results.json");
  BOOST_TEST(analysed.at("analyses").size() == 2u);
  fs::copy_file(document("developers-reference.pdf"), "broken.pdf", fs::copy_options::overwrite_existing);
  const Outcome resumed = run(args);
  BOOST_TEST(resumed.code == 0, resumed.err);
  BOOST_TEST(text_of("pdf/reference_baseline.json") == reference);
  BOOST_TEST(fs::exists("pdf/batch_size_experiment.json"));
}

BOOST_AUTO_TEST_SUITE_END()
