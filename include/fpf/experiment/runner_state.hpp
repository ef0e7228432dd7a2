// What a runner holds while an experiment goes on.
#pragma once

#include <fpf/evidence/experiment_writer.hpp>
#include <fpf/experiment/baseline.hpp>
#include <fpf/experiment/earlier_file.hpp>
#include <fpf/experiment/experiment.hpp>
#include <fpf/experiment/forced_tokens.hpp>
#include <fpf/experiment/inputs.hpp>
#include <fpf/experiment/model_identity.hpp>
#include <fpf/experiment/runner_declaration.hpp>
#include <map>
#include <optional>

namespace fpf {

template <class T>
struct BasicRunner<T>::State {
  model::Checkpoint checkpoint;
  parallel::World* world;
  evidence::Hashing hashing = evidence::Hashing::cached;
  std::optional<ModelIdentity> identity{};                                     // on the root
  std::map<std::shared_ptr<const model::Checkpoint>, ModelIdentity> others{};  // of variants' own checkpoints
  RunSettings settings{};
  Inputs inputs{};
  std::vector<prompt::Prompt> neighbours{};
  std::string hardware{};
  std::optional<Baseline> baseline{};
  std::optional<EarlierFile> earlier{};
  std::optional<ForcedTokens> forced{};
  std::optional<evidence::ExperimentWriter> writer{};
  bool finding = false;

  /// The sequences beside the reference prompt in a configuration's batch.
  std::span<const prompt::Prompt> neighbours_of(const Variant& variant) const {
    return std::span(neighbours).first(variant.neighbours);
  }
};

}  // namespace fpf
