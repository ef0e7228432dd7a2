// What a runner takes from files and leaves in them: the baseline, what an interrupted run recorded, the file that is
// there.
#pragma once

#include <fpf/experiment/description.hpp>
#include <fpf/experiment/environment.hpp>
#include <fpf/experiment/manifest.hpp>
#include <fpf/experiment/runner_state.hpp>

namespace fpf {

/// What the baseline's fixed_params must be because this experiment varies something else.
template <class T>
Json BasicRunner<T>::required_params() const {
  Json out = {{"execution", options_.execution}};
  if (!info_.any_checkpoint) out["quantization"] = quantisation_name(state_->checkpoint);
  out.update(info_.baseline_params);
  return out;
}

/// What an interrupted experiment must agree in to be resumed.
template <class T>
std::string BasicRunner<T>::fingerprint() const {
  Json parts = metadata();
  parts.erase("date_created");
  parts["prompts"] = state_->inputs.prompt_digests();
  parts["reps"] = options_.reps;
  parts["environment"] = describe_environment(state_->settings.device);
  parts["hardware"] = state_->hardware;
  parts["execution"] = {options_.execution, execution(options_.execution).description};
  if (state_->forced) parts["tokens"] = {state_->forced->from, state_->forced->ids};
  parts["own"] = {options_.model_gptq,    options_.model_bnb, options_.neighbour_pdfs,
                  options_.neighbour_ids, options_.placement, options_.contention,
                  options_.emulate,       options_.stacks,    options_.toolkits};
  if (state_->baseline)
    for (const auto& run : state_->baseline->runs())
      parts["baseline"].push_back(run.members.value("signals_sha256", ""));
  return sha256_hex(parts.dump());
}

template <class T>
void BasicRunner<T>::load_baseline() {
  state_->baseline = Baseline::read(options_.baseline);
  state_->baseline->require_model(options_.baseline, state_->identity->describe(), info_.any_checkpoint);
  state_->baseline->require_match(options_.baseline, metadata(), state_->inputs.prompt_digests(), info_.any_checkpoint,
                                  required_params());
  Json environment = describe_environment(options_.device);
  environment["activation_dtype"] = name_of(state_->settings.dtype);
  state_->baseline->require_conditions(options_.baseline, {{"hardware", state_->hardware}, {"manifest", environment}},
                                       info_.type, true);
}

/// The tokens that --tokens names; ranks of a launcher have the root's.
template <class T>
void BasicRunner<T>::force_tokens() {
  const bool own = options_.tokens == "own", baselines = options_.tokens == "baseline";
  const std::int64_t steps = state_->settings.decode_steps;
  if (baselines && info_.type == "reference")
    fail("--tokens baseline: experiment 0 is the baseline itself: expected own, or a file");
  if (own && state_->baseline && state_->baseline->is_forced())
    fail("the baseline {} was fed the tokens of a file: expected --tokens baseline, found own", options_.baseline);
  if (own) return;
  std::vector<std::vector<std::int32_t>> ids;
  if (is_root()) {
    if (state_->baseline) ids = tokens_of_baseline(*state_->baseline, state_->inputs, steps);
    if (!baselines) {
      const TokenFile file(options_.tokens);
      const auto prompts = state_->inputs.prompt_digests();
      std::vector<std::vector<std::int32_t>> read;
      for (const std::string& one : prompts)
        read.push_back(file.of(one, prompts.size(), steps, state_->checkpoint.config().vocab_size));
      if (state_->baseline && ids != read)
        fail("the baseline {} was fed other tokens than --tokens {} has: run exp0_reference with them, too",
             options_.baseline, options_.tokens);
      ids = read;
    }
  }
  if (state_->world != nullptr)
    ids = parse_json(state_->world->from_root(nlohmann::json(ids).dump()), "the root's tokens")
              .template get<std::vector<std::vector<std::int32_t>>>();
  state_->forced = ForcedTokens{baselines ? "baseline" : "file", std::move(ids)};
}

/// An experiment file is replaced by the same experiment's alone. Throws Error for what is there and is no such file.
template <class T>
void BasicRunner<T>::look_at_earlier_file() {
  state_->earlier = EarlierFile::at(file());
  if (!state_->earlier) return;
  state_->earlier->require_same(metadata(), state_->inputs.prompt_digests(), options_.reps);
  state_->earlier->require_hardware(state_->hardware);
  if (info_.type == "concurrent_streams") state_->earlier->require_duty(options_.contention);
  notice(file().string() + " is there: a run with the same options replaces it when it is complete");
}

/// Digests of the prompts beside the reference prompt in a configuration's batch.
template <class T>
std::vector<std::string> BasicRunner<T>::neighbours_of(const Variant& variant) const {
  std::vector<std::string> out;
  for (const auto& one : state_->neighbours_of(variant)) out.push_back(one.sha256);
  return out;
}

/// Not before something of this experiment's own is finished: until then a failure leaves no file.
template <class T>
void BasicRunner<T>::add_baseline() {
  if (!state_->baseline) return;
  const std::string id = config_id(state_->baseline->hardware(), info_.baseline_tag);
  if (!state_->writer->has(id))
    state_->writer->add(state_->baseline->relabelled(id, info_.baseline_value), state_->baseline->runs_as(id));
}

/// Whether the resumed file has a configuration. Throws Error unless that is what this run would make: of the same
/// weights, beside the same neighbours.
template <class T>
bool BasicRunner<T>::is_resumed(const Variant& variant) {
  const std::string id = config_id(state_->hardware, variant.tag);
  const ModelIdentity& identity = identity_of(variant);
  const auto* recorded = state_->writer->find(id);
  if (recorded == nullptr || !recorded->resumed) return recorded != nullptr;
  const nlohmann::json before = recorded->model, now = identity.describe();
  if (evidence::identifies_weights(before) && evidence::identifies_weights(now))
    if (const auto difference = evidence::weights_difference(before, now))
      fail("{} holds {} of other weights: model/{} is {} there and {} in this run; remove it, or run without --resume",
           state_->writer->partial().string(), id, difference.field, difference.a, difference.b);
  const auto neighbours = neighbours_of(variant);
  if (neighbours != recorded->neighbours)
    fail(
        "{} holds {} beside other neighbours: their prompt_sha256 are [{}] there and [{}] in this run; remove it, or run "
        "without --resume",
        state_->writer->partial().string(), id, fmt::join(recorded->neighbours, ", "), fmt::join(neighbours, ", "));
  if (recorded->finding)
    report(
        fmt::format("{}: repetitions differ, hold no numbers, or a load did not go with them, as recorded before", id));
  return true;
}

template <class T>
void BasicRunner<T>::add(const Baseline& other, const std::string& tag, const Json& value) {
  other.require_match(other.name(), metadata(), state_->inputs.prompt_digests(), info_.any_checkpoint,
                      required_params());
  const std::string id = config_id(other.hardware(), tag);
  if (!is_root()) return;
  other.require_model(other.name(), state_->identity->describe(), info_.any_checkpoint);
  for (const auto& difference : baseline().require_conditions(options_.baseline, other.configuration(), info_.type))
    notice(fmt::format("beside {}, {} differs from the baseline: {}", info_.variable, id, difference));
  if (state_->writer->has(id)) return;
  if (!other.is_sound()) report(fmt::format("{}: repetitions differ or hold no numbers", id));
  add_baseline();
  state_->writer->add(other.relabelled(id, value, false), other.runs_as(id));
}

template <class T>
ExitCode BasicRunner<T>::finish() {
  if (!is_root()) return ExitCode::ok;
  add_baseline();
  if (state_->earlier)
    state_->earlier->require_all_in(state_->writer->partial(),
                                    [&](const std::string& id) { return state_->writer->has(id); });
  state_->writer->finish();
  notice("wrote " + file().string());
  return state_->finding ? ExitCode::finding : ExitCode::ok;
}

}  // namespace fpf
