// An experiment file that is where a run's is to go: it gives way to the same experiment's alone.
#pragma once

#include <algorithm>
#include <cmath>
#include <fpf/core/text.hpp>
#include <fpf/experiment/baseline.hpp>
#include <functional>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace fpf {

/// A finished experiment file. It is replaced by a run of the same model, prompt, options and machine (a repetition of
/// the experiment, or one by a newer fpf) and kept where anything else was asked for; every require_ throws Error then,
/// naming what differs and what to do.
class EarlierFile {
 public:
  /// Nothing where there is no file (a folder gives way to none, and needs no keeping). Throws Error for anything but
  /// an experiment file.
  static std::optional<EarlierFile> at(const std::filesystem::path& path) {
    std::error_code error;
    const auto status = std::filesystem::status(path, error);
    if (!std::filesystem::exists(status) || std::filesystem::is_directory(status)) return {};
    EarlierFile out;
    try {
      out.file_ = evidence::open_experiment(path);
    } catch (const Error& problem) {
      fail("{} is there and is no experiment file ({}). It is kept: move it away, or choose another --out",
           path.string(), problem.what());
    }
    return out;
  }

  /// What is known before the model is loaded.
  void require_same(const Json& metadata, const std::vector<std::string>& prompts, std::int64_t reps) const {
    const nlohmann::json wanted = metadata;
    for (const char* field :
         {"experiment_type", "model", "model_architecture", "decode_steps", "sequence_length", "extraction_config"})
      if (const auto found = differing_member(member_or_null(file_.metadata, field), wanted.at(field), field))
        refuse(found->name, found->found, found->wanted);
    if (const auto& found = member_or_null(file_.metadata, "tokens"), &asked = member_or_null(wanted, "tokens");
        found != asked)
      refuse("tokens", found.is_null() ? "own" : found.dump(), asked.is_null() ? "own" : asked.dump());
    if (const auto difference = evidence::prompts_difference(file_, prompts); !difference.empty())
      fail("{} was made from {}. It is kept: move it away, or choose another --out", file_.name(), difference);
    for (const auto& run : file_.runs) {
      const auto made =
          run.members.value(nlohmann::json::json_pointer("/reproducibility/repetitions"), nlohmann::json());
      const bool more = run.members.contains("contention") && made.is_number() && made >= reps;  // made again
      if (!is_baselines(run) && made != reps && !more)
        refuse("number of repetitions", made.dump(), std::to_string(reps));
    }
  }

  /// The load's share of the time.
  void require_duty(double duty) const {
    for (const auto& run : file_.runs)
      if (const auto& found = member_or_null(member_or_null(run.members, "contention"), "target_duty");
          found.is_number())
        if (std::abs(found.get<double>() - duty) > 1e-9) refuse("load's share", found.dump(), fmt::format("{}", duty));
  }

  /// The device's name, as files give it.
  void require_hardware(const std::string& name) const {
    for (const auto& configuration : file_.configurations)
      if (const auto& found = configuration.at("hardware"); found != name) refuse("hardware", found.dump(), name);
  }

  /// A configuration that is about to run, beside those prompts: where the file has one of its name, all that results
  /// depend on is the same. fpf's own version may be another.
  void require_same(const Json& configuration, const std::vector<std::string>& neighbours) const {
    const std::string id = configuration.at("config_id");
    for (const auto& mine : file_.configurations) {
      if (mine.at("config_id") != id) continue;
      const nlohmann::json theirs = configuration;
      for (const char* field : {"variable_value", "provider"})
        if (member_or_null(mine, field) != member_or_null(theirs, field))
          refuse(field, member_or_null(mine, field).dump(), member_or_null(theirs, field).dump());
      for (const auto& one :
           evidence::condition_differences(evidence::conditions_of(mine, nullptr),
                                           evidence::conditions_of(theirs, nullptr), evidence::Relation::beside, ""))
        if (one.treatment == evidence::Treatment::refused || one.field == "manifest/communicator/emulated")
          refuse(fmt::format("{} ({})", one.words, id), one.a, one.b);
      const auto &before = evidence::model_of(mine), &now = evidence::model_of(theirs);
      if (evidence::identifies_weights(before) && evidence::identifies_weights(now))
        if (const auto difference = evidence::weights_difference(before, now))
          refuse("model/" + difference.field, difference.a, difference.b);
      if (const auto found = neighbours_of(id); found != neighbours)
        refuse("neighbours' prompt_sha256", fmt::format("{}", found), fmt::format("{}", neighbours));
    }
  }

  /// Before the file is replaced: whether `has(config_id)` holds for all its configurations. The new ones lie in
  /// `partial`.
  void require_all_in(const std::filesystem::path& partial, const std::function<bool(const std::string&)>& has) const {
    for (const auto& configuration : file_.configurations)
      if (const std::string id = configuration.at("config_id"); !has(id))
        fail(
            "{} holds {}, which this run's options do not make. It is kept, as are this run's results in {}: move the former "
            "away and run the same command with --resume, or choose another --out",
            file_.name(), id, partial.string());
  }

 private:
  [[noreturn]] void refuse(const std::string& field, const std::string& found, const std::string& wanted) const {
    fail(
        "{} was made with other options: its {} is {}, this run's is {}. It is kept: move it away, or choose another --out",
        file_.name(), field, one_line(found, 200), one_line(wanted, 200));
  }

  bool is_baselines(const evidence::StoredRun& run) const {
    return file_.configurations.size() > 1 && std::ranges::any_of(file_.configurations, [&](const auto& one) {
             return one.at("config_id") == run.config_id && one.value("baseline", false);
           });
  }

  std::vector<std::string> neighbours_of(const std::string& id) const {
    std::vector<std::string> out;
    for (const auto& run : file_.runs) {
      if (run.config_id != id) continue;
      for (const auto& one : run.members.value("neighbours", nlohmann::json::array()))
        out.push_back(one.value("prompt_sha256", ""));
      break;
    }
    return out;
  }

  evidence::ExperimentFile file_;
};

}  // namespace fpf
