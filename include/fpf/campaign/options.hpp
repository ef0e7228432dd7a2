// What a user says of a campaign: the options of all its experiments at once, and its own.
#pragma once

#include <filesystem>
#include <fpf/experiment/input_files.hpp>
#include <fpf/experiment/token_file.hpp>
#include <fpf/experiment/variable_options.hpp>
#include <set>
#include <string>
#include <vector>

namespace fpf::campaign {

/// `options` are what the experiments are told.
struct Settings {
  Settings() { options.tokens = "baseline"; }  // so that all steps of all experiments can be compared

  Options options;
  int pod = 0;
  std::string skip;  // numbers of experiments
  bool dry_run = false, keep_going = false, delete_checkpoints = false, no_preflight = false;
  std::vector<std::string> shared;  // the shared options as arguments
  std::vector<std::string> all;     // those of all experiments
  std::vector<NamedPath> inputs;    // the files that they read
  std::set<int> skipped;

  std::filesystem::path out() const { return options.out; }
};

/// The two kinds of ranks, which share --emulate.
inline void rank_options(po::options_description& described, Options& out) {
  tensor_options(described, out);
  po::options_description group("Expert ranks");
  group.add_options()                                                                       //
      ("ep", number_list("ep", out.ep), "ranks to divide the experts over (default: 2,4)")  //
      ("placement", po::value(&out.placement)->value_name("P")->default_value(out.placement),
       "of the experts: contiguous or round_robin");
  described.add(group);
}

/// The options of all experiments together, but for --resume: a campaign always goes on where it stopped.
inline po::options_description experiment_options(Options& out) {
  po::options_description all("");
  all.add(shared_options(out, false));
  batch_options(all, out);
  quantisation_options(all, out);
  contention_options(all, out);
  cuda_options(all, out);
  rank_options(all, out);
  return all;
}

/// What of a plan's experiments is meant: campaign's options and preflight's.
inline po::options_description plan_options(Settings& out) {
  po::options_description plan("Plan");
  plan.add_options()  //
      ("pod", po::value(&out.pod)->value_name("1|2"),
       "1: experiments 0 to 6 on one device; 2: 7 and 8 on several (and 0 where there is no baseline)")  //
      ("skip", po::value(&out.skip)->value_name("LIST"), "numbers of experiments to leave out, as 3,6");
  return plan;
}

/// How a campaign goes about it.
inline po::options_description conduct_options(Settings& out, const std::string& title) {
  po::options_description conduct(title);
  conduct.add_options()                                                                                     //
      ("dry-run", po::bool_switch(&out.dry_run), "only say what would run, how long and on how much disk")  //
      ("keep-going", po::bool_switch(&out.keep_going), "go on after repetitions that differ")               //
      ("delete-checkpoints", po::bool_switch(&out.delete_checkpoints),
       "remove --model-gptq and --model-bnb from the disk once experiment 3 is finished")  //
      ("no-preflight", po::bool_switch(&out.no_preflight), "do not check first");
  return conduct;
}

inline po::options_description describe(Settings& out) {
  po::options_description all("");
  return all.add(plan_options(out)).add(conduct_options(out, "Campaign")).add(experiment_options(out.options));
}

/// Checks what can be checked without the models. Throws Error naming the option.
inline void validate(Settings& settings, const po::variables_map& values, bool needs_pod = true) {
  if (settings.pod != 1 && settings.pod != 2 && (needs_pod || values.count("pod") != 0)) fail("--pod: expected 1 or 2");
  fpf::validate(settings.options, values);
  if (const std::string& tokens = settings.options.tokens; tokens != "own" && tokens != "baseline")
    TokenFile(tokens).require(prompt_count(settings.options), settings.options.decode_steps);
  if (!settings.skip.empty()) {
    std::istringstream items(settings.skip);
    for (std::string item; std::getline(items, item, ',');) {
      const auto number = parse_number<int>(unpadded(item));
      if (!number || *number < 0 || *number > 8)
        fail("--skip {}: expected numbers of experiments, 0 to 8", settings.skip);
      settings.skipped.insert(*number);
    }
  }
  Options unused, also_unused;
  settings.shared = given_options(shared_options(unused), values);
  settings.all = given_options(experiment_options(also_unused), values);
  settings.inputs = input_files(settings.options, true, values);
}

}  // namespace fpf::campaign
