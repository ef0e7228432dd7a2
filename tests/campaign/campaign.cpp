// The plan as one command: what it runs, what it says before, when it stops, what it deletes.
#include "campaign.hpp"

BOOST_AUTO_TEST_SUITE(test_campaign)

namespace {
using Options = std::map<std::string, std::string>;
}

BOOST_AUTO_TEST_CASE(it_runs_the_plans_sequence_and_compares) {
  const auto folder = undisturbed();
  const Strings expected{"campaign started",
                         "started exp0_reference",
                         "finished exp0_reference",
                         "started exp1_batch_size",
                         "finished exp1_batch_size",
                         "started exp2_compile",
                         "finished exp2_compile",
                         "started exp3_quantization",
                         "finished exp3_quantization",
                         "started exp4_attention",
                         "finished exp4_attention",
                         "started exp5_concurrent_streams",
                         "finished exp5_concurrent_streams",
                         "compared",
                         "campaign finished"};
  BOOST_TEST(events_in(folder) == expected, boost::test_tools::per_element());
  BOOST_TEST(fs::exists(folder / "report/index.html"));
  const json reference = read(folder / "reference_baseline.json").at("runs").at(0);
  for (const auto& file : campaign_files) {
    const json all = read(folder / file);
    BOOST_TEST(all.at("runs").at(0).at("signals_sha256") == reference.at("signals_sha256"),
               file);  // one shared reference
    for (const json& one : all.at("runs")) BOOST_TEST(one.at("peak_memory_bytes").get<std::int64_t>() > 0);
  }
  const json quantization = read(folder / "quantization_experiment.json");
  BOOST_TEST(quantization.at("configurations").size() == 3u);
}

// What experiments would refuse later is refused before anything runs.
BOOST_AUTO_TEST_CASE(tokens_that_no_experiment_takes_are_refused_at_once) {
  fs::remove_all("dry");
  write("few.json", "[1,2]");
  for (const auto& [file, words] : {std::pair<const char*, Strings>{"nowhere.json", {"no such file"}},
                                    {"few.json", {"decode steps, found 2"}}}) {
    const Outcome found = run(campaign("dry", {"--dry-run", "--tokens", file}));
    BOOST_TEST(found.code == 2, found.err);
    BOOST_TEST(mentions(found.err, {std::string("--tokens ") + file}), found.err);
    BOOST_TEST(mentions(found.err, words), found.err);
  }
  BOOST_TEST(!fs::exists("dry"));
}

BOOST_AUTO_TEST_CASE(a_dry_run_says_what_would_happen_and_makes_nothing) {
  fs::remove_all("dry");
  const Outcome before = run(campaign("dry", {"--dry-run"}));
  BOOST_TEST(before.code == 0, before.err);
  BOOST_TEST(mentions(before.out, {"0 exp0_reference: runs", "3 exp3_quantization: runs, 2 configurations",
                                   "in all about", "guessed from", "GB free", "compare --all"}),
             before.out);
  BOOST_TEST(before.out.find("exp6") == std::string::npos);
  BOOST_TEST(!fs::exists("dry"));
  const Outcome after = run(campaign(undisturbed().string(), {"--dry-run"}));
  BOOST_TEST(mentions(after.out, {"0 exp0_reference: done", "in all about 0 s", "from experiment 0's"}), after.out);
  fresh_folder("half");
  fs::copy_file(undisturbed() / "reference_baseline.json", "half/reference_baseline.json");
  write("half/compile_experiment.json.partial", "");
  const Outcome half = run(campaign("half", {"--dry-run"}));
  BOOST_TEST(
      mentions(half.out, {"exp0_reference: done", "exp2_compile: goes on from its .partial", "from experiment 0's"}),
      half.out);
}

// The plan: "immediately stop and report back to me".
BOOST_AUTO_TEST_CASE(it_stops_and_reports_where_repetitions_differ) {
  fresh_folder("finding");
  Strings faulty = Inputs::command("exp0_reference", "finding", {"--inject-fault", "2,1,2"}, "awq");
  BOOST_REQUIRE_EQUAL(run(faulty).code, 3);
  const Outcome outcome = run(campaign("finding"));
  BOOST_TEST(outcome.code == 3, outcome.err);
  BOOST_TEST(mentions(outcome.out, {"exp0_reference", "not bit-identical",
                                    "first in repetition 2: step 1 (position 13), layer 2, hidden_states", "digests {",
                                    "manifest {"}),
             outcome.out);
  BOOST_TEST(text_of("finding/stop_and_report_exp0_reference.txt") == outcome.out);
  BOOST_TEST(happened("finding", "finding exp0_reference"));
  BOOST_TEST(!happened("finding", "started exp1_batch_size"));
  BOOST_TEST(run(campaign("finding")).code == 3);  // and again
  const Outcome on = run(campaign("finding", {"--keep-going"}));
  BOOST_TEST(on.code == 3, on.err);
  BOOST_TEST(happened("finding", "campaign finished"));
  BOOST_TEST(signals_in("finding").size() == campaign_files.size());
}

BOOST_AUTO_TEST_CASE(files_of_other_options_are_not_mixed_in) {
  fresh_folder("mixed");
  for (const char* file : {"reference_baseline.json", "compile_experiment.json", "campaign.journal"})
    fs::copy_file(undisturbed() / file, fs::path("mixed") / file);
  Strings other = campaign("mixed", {"--reps", "2"});
  const Outcome outcome = run(other);
  BOOST_TEST(outcome.code == 2, outcome.err);
  BOOST_TEST(mentions(outcome.err, {"mixed/reference_baseline.json", "other options"}), outcome.err);
  // of another model, and not in the journal
  fresh_folder("mixed");
  fs::copy_file(undisturbed() / "reference_baseline.json", "mixed/reference_baseline.json");
  fs::copy_file(made(case_of("compile")), "mixed/compile_experiment.json");
  const Outcome model = run(campaign("mixed"));
  BOOST_TEST(model.code == 2, model.err);
  BOOST_TEST(mentions(model.err, {"mixed/compile_experiment.json", "model"}), model.err);
}

BOOST_AUTO_TEST_CASE(checkpoints_are_deleted_after_experiment_3_only_when_asked) {
  for (const bool asked : {false, true}) {
    fresh_folder("deleting");
    for (const auto& [name, method] : {std::pair{"gptq", "gptq"}, {"nf4", "bitsandbytes"}}) {
      fresh_folder(std::string("deleting/") + name);
      write(fs::path("deleting") / name / "config.json",
            json{{"quantization_config", {{"quant_method", method}}}}.dump());
    }
    fresh_folder("deleting/out");
    for (const auto& file : campaign_files) fs::copy_file(undisturbed() / file, fs::path("deleting/out") / file);
    // finished files, so that nothing runs: only what happens behind experiment 3
    Strings args{bin + "/campaign",
                 "--pod",
                 "1",
                 "--model",
                 Inputs::model("awq"),
                 "--prompt-ids",
                 "inputs/ids0.json",
                 "--model-gptq",
                 "deleting/gptq",
                 "--model-bnb",
                 "deleting/nf4",
                 "--out",
                 "deleting/out",
                 "--skip",
                 "1,6",
                 "--no-preflight"};
    if (asked) args.push_back("--delete-checkpoints");
    Strings dry = args;
    dry.push_back("--dry-run");
    const Outcome said = run(dry);
    BOOST_TEST((said.out.find("--model-gptq") != std::string::npos) == asked, said.out);
    BOOST_TEST(fs::exists("deleting/gptq"));
    const Outcome outcome = run(args);
    BOOST_TEST(outcome.code == 0, outcome.err);
    for (const char* name : {"gptq", "nf4"}) BOOST_TEST(fs::exists(fs::path("deleting") / name) == !asked, name);
    BOOST_TEST(happened("deleting/out", "deleted exp3_quantization") == asked);
  }
}

// By the folders themselves, before anything runs and in a dry run; what is refused leaves all as it was.
BOOST_AUTO_TEST_CASE(checkpoints_that_hold_what_is_needed_are_not_deleted) {
  const auto folder = fs::path("kept");
  const auto refused = [&](const std::string& option, const std::string& named, const Options& changes) {
    fresh_folder(folder);
    for (const auto& [name, method] : {std::pair{"gptq", "gptq"}, {"nf4", "bitsandbytes"}}) {
      fresh_folder(folder / name);
      write(folder / name / "config.json", json{{"quantization_config", {{"quant_method", method}}}}.dump());
    }
    fs::create_directories(folder / "nf4/deep");
    fs::create_directory_symlink("nf4", folder / "link");
    fs::copy_file("inputs/ids0.json", folder / "nf4/ids.json");
    fs::create_symlink("nf4/ids.json", folder / "ids.json");
    write(folder / "nf4/campaign.ini", "reps = 3\n");
    fresh_folder(folder / "out");
    for (const auto& file : campaign_files) fs::copy_file(undisturbed() / file, folder / "out" / file);
    fs::copy_file(undisturbed() / "reference_baseline.json", folder / "nf4/reference_baseline.json");
    std::map<std::string, std::string> options{{"--pod", "1"},
                                               {"--model", Inputs::model("awq")},
                                               {"--prompt-ids", "inputs/ids0.json"},
                                               {"--model-gptq", "kept/gptq"},
                                               {"--model-bnb", "kept/nf4"},
                                               {"--out", "kept/out"},
                                               {"--skip", "1,6"}};
    for (const auto& [name, value] : changes) options[name] = value;
    for (const bool dry : {true, false}) {
      Strings args{bin + "/campaign", "--no-preflight", "--delete-checkpoints"};
      for (const auto& [name, value] : options) args.insert(args.end(), {name, value});
      if (dry) args.push_back("--dry-run");
      const Outcome outcome = run(args);
      BOOST_TEST(outcome.code == 2, option << outcome.err);
      BOOST_TEST(mentions(outcome.err, {"--delete-checkpoints", "--model-bnb", named}), outcome.err);
      BOOST_TEST(fs::exists(folder / "nf4/config.json"));
      BOOST_TEST(!fs::exists(folder / "nf4/deep/campaign.journal"));
    }
  };
  refused("--out", "--out kept/nf4", {{"--out", "kept/nf4"}});
  refused("--out below", "--out kept/nf4/deep/new", {{"--out", "kept/nf4/deep/new"}});
  refused("--out by a link", "--out kept/link/deep", {{"--out", "kept/link/deep"}});
  refused("--baseline", "--baseline kept/nf4/reference_baseline.json",
          {{"--baseline", "kept/nf4/reference_baseline.json"}});
  refused("--config", "--config kept/nf4/campaign.ini", {{"--config", "kept/nf4/campaign.ini"}});
  refused("a prompt", "--prompt-ids kept/nf4/ids.json", {{"--prompt-ids", "kept/nf4/ids.json"}});
  refused("a prompt by a link", "--prompt-ids kept/ids.json", {{"--prompt-ids", "kept/ids.json"}});
  refused("a neighbour", "--neighbour-ids kept/nf4/ids.json", {{"--neighbour-ids", "kept/nf4/ids.json"}});
  refused("the tokeniser", "--tokenizer kept/nf4", {{"--tokenizer", "kept/nf4"}});
  const auto here = fs::absolute("kept/nf4");
  const Outcome outcome =
      run({bin + "/campaign", "--pod", "1", "--model", "synthetic:qwen3-moe-tiny?quant=awq", "--prompt-ids",
           "../../inputs/ids0.json", "--model-gptq", "../gptq", "--model-bnb", here.string(), "--skip", "1,6", "--out",
           "../../out", "--delete-checkpoints", "--dry-run"},
          (here / "deep").string());
  BOOST_TEST(mentions(outcome.err, {"--model-bnb", "the working folder"}), outcome.err);
}

// It takes nothing from what the repetitions say, so that the campaign goes on; it is a finding all the same.
BOOST_AUTO_TEST_CASE(a_load_that_did_not_go_with_a_run_is_a_finding_at_the_end) {
  fresh_folder("alone");
  for (const auto& entry : fs::directory_iterator(undisturbed()))
    if (entry.is_regular_file()) fs::copy_file(entry.path(), fs::path("alone") / entry.path().filename());
  json file = read("alone/concurrent_streams_experiment.json");
  json& load = file.at("runs").back().at("contention");
  BOOST_TEST(load.at("accompanied") == true);
  BOOST_TEST(load.at("attempts").get<int>() >= 1);
  load["accompanied"] = false;
  load["overlap_fraction"] = 0.62;
  load["attempts"] = 5;
  write("alone/concurrent_streams_experiment.json", file.dump());
  const Outcome outcome = run(campaign("alone"));
  BOOST_TEST(outcome.code == 3, outcome.err);
  BOOST_TEST(mentions(outcome.err, {"FINDING: exp5_concurrent_streams", "62 %", "5 attempts", "going on"}),
             outcome.err);
  BOOST_TEST(happened("alone", "finding exp5_concurrent_streams"));
  BOOST_TEST(mentions(text_of("alone/analysis_results.json"), {"62 % of the run", "may show less"}));
  BOOST_TEST(fs::exists("alone/report/index.html"));
}

BOOST_AUTO_TEST_CASE(what_it_writes_is_no_input) {
  fresh_folder("written");
  const auto refused = [&](const std::string& name) {
    fs::copy_file("inputs/ids0.json", "written/" + name, fs::copy_options::overwrite_existing);
    Strings args = campaign("written");
    for (auto& arg : args)
      if (arg == "campaign.ini") arg = "written.ini";
    write("written.ini", replaced(text_of("campaign.ini"), "inputs/ids0.json", "written/" + name));
    const Outcome outcome = run(args);
    BOOST_TEST(outcome.code == 2, outcome.err);
    BOOST_TEST(mentions(outcome.err, {"--prompt-ids written/" + name, "overwritten"}), outcome.err);
    fs::remove("written/" + name);
  };
  for (const char* name : {"analysis_results.json", "campaign.journal", "compile_experiment.json"}) refused(name);
}

BOOST_AUTO_TEST_CASE(what_it_refuses) {
  const std::vector<std::pair<Strings, Strings>> all{
      {{}, {"--pod", "1 or 2"}},
      {{"--pod", "3"}, {"--pod"}},
      {{"--pod", "1"}, {"--model is missing"}},
      {{"--pod", "1", "--model", "m", "--prompt-ids", "i", "--skip", "9"}, {"--skip 9"}},
      {{"--pod", "1", "--model", "m", "--prompt-ids", "i"}, {"experiment 1", "--neighbour-pdf", "--skip 1"}},
      {{"--pod", "1", "--model", "m", "--prompt-ids", "i", "--skip", "1"},
       {"experiment 3", "--model-gptq", "--skip 3"}},
      {{"--pod", "1", "--model", "m", "--prompt-ids", "i", "--skip", "1,3"}, {"experiment 6", "--cuda", "--skip 6"}},
      {{"--pod", "1", "--model", "m", "--prompt-ids", "i", "--skip", "1,3,6", "--dry-run"}, {"no model at 'm'"}},
      {{"--pod", "1", "--config", "nowhere.ini"}, {"nowhere.ini"}}};
  for (const auto& [options, words] : all) {
    Strings args{bin + "/campaign"};
    args.insert(args.end(), options.begin(), options.end());
    const Outcome outcome = run(args);
    BOOST_TEST(outcome.code == 2, outcome.err);
    BOOST_TEST(mentions(outcome.err, words), outcome.err);
  }
  fresh_folder("busy");
  Child first(campaign("busy"));
  BOOST_REQUIRE(wait_for("busy", "campaign started"));
  const Outcome second = run(campaign("busy"));
  BOOST_TEST(second.code == 2, second.err);
  BOOST_TEST(mentions(second.err, {"another campaign", "busy"}), second.err);
  BOOST_TEST(first.wait().code == 0);
}

BOOST_AUTO_TEST_SUITE_END()
