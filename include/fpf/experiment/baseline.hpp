// Experiment 0's file as the baseline of another experiment.
#pragma once

#include <algorithm>
#include <fpf/evidence/conditions.hpp>
#include <fpf/evidence/experiment_index.hpp>
#include <fpf/evidence/json_cursor.hpp>
#include <fpf/evidence/labels.hpp>
#include <fpf/evidence/prompts.hpp>
#include <fpf/evidence/run_json.hpp>
#include <fpf/evidence/weights.hpp>
#include <optional>
#include <string>
#include <vector>

namespace fpf {

/// A member in which two values differ.
struct DifferingMember {
  std::string name;  // "extraction_config.layers"
  std::string found, wanted;
};

/// The innermost of the members that `wanted` has.
inline std::optional<DifferingMember> differing_member(const nlohmann::json& found, const nlohmann::json& wanted,
                                                       const std::string& name) {
  if (found == wanted) return {};
  if (found.is_object() && wanted.is_object())
    for (const auto& [key, value] : wanted.items())
      if (auto inner = differing_member(member_or_null(found, key.c_str()), value, name + "." + key)) return inner;
  return DifferingMember{name, found.dump(), wanted.dump()};
}

/// The one configuration and the runs of a reference_baseline.json, to be put into another file under another
/// name.
class Baseline {
 public:
  /// Throws Error when the file is missing, is no experiment file, holds no reference configuration, or contradicts
  /// itself.
  static Baseline read(const std::filesystem::path& path) {
    if (!std::filesystem::exists(path))
      fail(
          "there is no baseline at {}: run exp0_reference with the same model, prompt and options first, or "
          "name its "
          "file with --baseline",
          path.string());
    Baseline out;
    out.file_ = evidence::open_experiment(path);
    if (out.file_.metadata.value("experiment_type", "") != "reference" || out.file_.configurations.size() != 1)
      fail("{} holds the experiment '{}': expected experiment 0's file with one configuration", path.string(),
           out.file_.metadata.value("experiment_type", ""));
    for (const auto& run : out.file_.runs)
      if (const auto found = evidence::contradictions_of(out.file_, run); !found.empty())
        fail("the baseline {} contradicts itself: {}", path.string(), found.front());
    return out;
  }

  /// Throws Error naming the field in which this baseline and an experiment with that metadata and those prompts
  /// (their prompt_sha256, each once, in order) differ. The model's name counts where the file does not identify its
  /// weights (require_model()), with `any_checkpoint` not at all. `params` are fixed_params that it must have because
  /// they are not what the experiment varies.
  void require_match(const std::string& path, const Json& metadata, const std::vector<std::string>& prompts,
                     bool any_checkpoint, const Json& params = Json::object()) const {
    const nlohmann::json wanted = metadata;
    for (const char* field : {"model", "model_architecture", "decode_steps", "sequence_length", "extraction_config"}) {
      if (std::string_view(field) == "model" &&
          (any_checkpoint || evidence::identifies_weights(evidence::model_of(configuration()))))
        continue;
      if (const auto other = differing_member(member_or_null(file_.metadata, field), wanted.at(field), field))
        fail("the baseline {} does not fit: its {} is {}, this run's is {}", path, other->name, other->found,
             other->wanted);
    }
    if (const auto difference = evidence::prompts_difference(file_, prompts); !difference.empty())
      fail("the baseline {} was made from {}", path, difference);
    const auto& fixed = configuration().value("fixed_params", nlohmann::json::object());
    for (const auto& [name, value] : params.items())
      if (fixed.contains(name) && fixed.at(name) != nlohmann::json(value))
        fail("the baseline {} does not fit: its {} is {}, expected {}", path, name, fixed.at(name).dump(),
             value.dump());
  }

  /// Throws Error, naming both digests, when the baseline's weights are not those of `model` (as ModelIdentity
  /// describes it), or, with `any_checkpoint`, not another format of the same model; or when the file does not say
  /// which they are and this run does.
  void require_model(const std::string& path, const nlohmann::json& model, bool any_checkpoint) const {
    const auto& own = evidence::model_of(configuration());
    const bool known = evidence::identifies_weights(own) && evidence::identifies_weights(model);
    const auto difference = any_checkpoint ? evidence::base_difference(own, model)
                            : known        ? evidence::weights_difference(own, model)
                                           : evidence::ModelDifference{};
    if (!evidence::identifies_weights(own) && evidence::identifies_weights(model))
      fail("the baseline {} does not say by content which weights it ran: run exp0_reference again", path);
    if (difference)
      fail("the baseline {} was made from another model: its model/{} is {}, that of this run's {} is {}", path,
           difference.field, difference.a, model.value("id", ""), difference.b);
  }

  /// The conditions in which a configuration of an experiment of that type differs from the baseline, beside what the
  /// experiment varies, as sentences. Throws Error for one that changes results. With `in_part` only what
  /// `configuration` names is held against the baseline.
  std::vector<std::string> require_conditions(const std::string& path, const nlohmann::json& other,
                                              const std::string& experiment_type, bool in_part = false) const {
    auto own = evidence::conditions_of(configuration(), nullptr);
    const auto theirs = evidence::conditions_of(other, nullptr);
    if (in_part) std::erase_if(own, [&](const auto& field) { return !theirs.contains(field.first); });
    std::vector<std::string> out;
    for (const auto& one : evidence::condition_differences(own, theirs, evidence::Relation::beside, experiment_type)) {
      if (one.treatment == evidence::Treatment::refused)
        fail(
            "the baseline {} does not fit: its {} is {}, this run's is {}, and that changes results beside what the "
            "experiment varies ({})",
            path, one.words, one.a, one.b, one.field);
      out.push_back(one.text());
    }
    return out;
  }

  const nlohmann::json& configuration() const { return file_.configurations.front(); }
  const std::vector<evidence::StoredRun>& runs() const { return file_.runs; }
  /// The lowest repetition stored that was given a prompt, which must be one of its own.
  const evidence::StoredRun& first_run(const std::string& prompt_sha256) const {
    const auto* found = evidence::first_run(file_, prompt_sha256, [](const auto&) { return true; });
    if (found == nullptr) fail("the baseline {} has no run of the prompt {}", name(), prompt_sha256);
    return *found;
  }

  /// The configuration under another config_id, with the value that it has of the variable.
  Json relabelled(const std::string& config_id, const Json& value, bool baseline = true) const {
    Json out = file_.configurations.front();
    out["config_id"] = config_id;
    out["variable_value"] = value;
    out["baseline"] = baseline;
    return out;
  }

  /// The runs' texts, number for number as they stand, under another config_id.
  std::vector<std::string> runs_as(const std::string& config_id) const {
    std::vector<std::string> out;
    for (const auto& run : file_.runs) {
      const std::string_view text = file_.text(run);
      evidence::JsonCursor cursor(text, file_.name());
      cursor.enter_object();
      const auto first = cursor.next_key();
      if (!first || *first != "config_id") fail("{}: expected a run that begins with its config_id", file_.name());
      cursor.take();
      out.push_back(R"({"config_id":)" + nlohmann::json(config_id).dump() + std::string(text.substr(cursor.offset())));
    }
    return out;
  }

  /// Whether its repetitions are equal and all its values numbers.
  bool is_sound() const {
    using Pointer = nlohmann::json::json_pointer;
    return std::ranges::all_of(file_.runs, [](const evidence::StoredRun& run) {
      return run.members.value("status", "complete") == "complete" &&
             run.members.value(Pointer("/reproducibility/bit_exact"), true);
    });
  }

  /// Whether its tokens were not its own choice.
  bool is_forced() const {
    return std::ranges::any_of(file_.runs, [](const auto& run) { return run.members.contains("tokens"); });
  }

  std::string name() const { return file_.name(); }

  /// The device the baseline ran on.
  std::string hardware() const { return file_.configurations.front().value("hardware", ""); }

 private:
  evidence::ExperimentFile file_;
};

}  // namespace fpf
