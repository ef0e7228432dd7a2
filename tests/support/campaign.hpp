// Campaigns on a small mixture of experts: what their tests share.
#pragma once

#include <chrono>
#include <thread>

#include "experiments.hpp"

/// The six experiments of pod 1 that a CPU can do, in milliseconds each.
inline Strings campaign(const std::string& out, const Strings& more = {}) {
  static const std::string config = [] {
    std::string text = "model = " + Inputs::model("awq") + "\nmodel-gptq = " + Inputs::model("gptq") +
                       "\nmodel-bnb = " + Inputs::model("nf4") + "\nprompt-ids = inputs/ids0.json\n";
    for (int i = 1; i < 4; ++i) text += "neighbour-ids = inputs/ids" + std::to_string(i) + ".json\n";
    text += "decode-steps = 4\nlayers = 0,last\nthreads = 1\ndtype = float32\nskip = 6\nno-preflight = true\n";
    write("campaign.ini", text);
    return std::string("campaign.ini");
  }();
  Strings args{bin + "/campaign", "--pod", "1", "--config", config, "--out", out};
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

inline const std::vector<std::string> campaign_files{"reference_baseline.json",   "batch_size_experiment.json",
                                                     "compile_experiment.json",   "quantization_experiment.json",
                                                     "attention_experiment.json", "concurrent_streams_experiment.json"};

/// Digests of all signals in a folder, by file and configuration.
inline std::map<std::string, std::map<std::string, std::string>> signals_in(const fs::path& folder) {
  std::map<std::string, std::map<std::string, std::string>> out;
  for (const std::string& file : campaign_files)
    if (fs::exists(folder / file)) out[file] = signals_of(read(folder / file));
  return out;
}

/// The folder of a campaign that nothing interrupted; made once.
inline const fs::path& undisturbed() {
  static const fs::path folder = [] {
    fresh_folder("undisturbed");
    const Outcome outcome = run(campaign("undisturbed"));
    BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
    return fs::path("undisturbed");
  }();
  return folder;
}

/// Events of a journal, in order, "started exp0_reference".
inline Strings events_in(const fs::path& folder) {
  Strings out;
  std::ifstream file(folder / "campaign.journal");
  for (std::string line; std::getline(file, line);)
    if (const json event = json::parse(line, nullptr, false); event.is_object())
      out.push_back(event.at("event").get<std::string>() +
                    (event.contains("experiment") ? " " + event.at("experiment").get<std::string>() : ""));
  return out;
}

inline bool happened(const fs::path& folder, const std::string& event) {
  const auto all = events_in(folder);
  return std::ranges::find(all, event) != all.end();
}

/// Waits for an event of a running campaign.
inline bool wait_for(const fs::path& folder, const std::string& event) {
  for (int i = 0; i < 12000; ++i) {
    if (happened(folder, event)) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}
