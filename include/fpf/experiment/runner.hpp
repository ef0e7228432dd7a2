// Runs the configurations of one experiment and writes its file: what the drivers hand their variants to.
#pragma once

#include <ATen/Parallel.h>

#include <fpf/evidence/experiment_writer.hpp>
#include <fpf/execution/select.hpp>
#include <fpf/experiment.hpp>
#include <fpf/experiment/baseline.hpp>
#include <fpf/experiment/description.hpp>
#include <fpf/experiment/environment.hpp>
#include <fpf/experiment/inputs.hpp>
#include <fpf/experiment/neighbours.hpp>
#include <fpf/quant/select.hpp>
#include <optional>

namespace fpf {

/// What a loaded set-up says of itself, whatever its policies.
struct SetupFacts {
  Json fixed_params;
  Json manifest;
  bool flash = false;  // libtorch's flash attention computes
};

/// One experiment: opened inputs, a growing file, and the verdict on repetitions. A template without
/// parameters of its own, so that a project of many programs can compile it once (`extern template`, as
/// drivers/driver.hpp does).
template <class = void>
class BasicRunner {
 public:
  BasicRunner(ExperimentInfo info, Options options);

  const Options& options() const { return options_; }
  const model::Checkpoint& checkpoint() const { return checkpoint_; }
  const RunSettings& settings() const { return settings_; }
  const Inputs& inputs() const { return inputs_; }
  const std::optional<Baseline>& baseline() const { return baseline_; }

  /// Calls f.template operator()<Quant>() with the policy that the checkpoint's quantization_config asks for.
  template <class F>
  void with_quantisation(F f) const {
    quant::select(checkpoint_.config().quantization, f);
  }

  /// Calls f.template operator()<Quant, Execution>() with the checkpoint's policy and that of --execution.
  template <class F>
  void with_policies(F f) const {
    with_quantisation([&]<class Quant>() {
      execution::select(options_.execution,
                        [&]<class Execution>() { f.template operator()<Quant, Execution>(); });
    });
  }

  /// The first `count` neighbours that the options name.
  std::vector<prompt::Prompt> neighbours(std::size_t count) const;

  /// Opens a further checkpoint of --model's shape that must be quantised by `method`. Throws Error naming
  /// `option`.
  model::Checkpoint open(const std::string& option, const std::string& model, quant::Method method) const;

  /// Throws Error when a model does not divide over one of the rank counts, before anything has run.
  template <class Parallel>
  void require_divisible(const std::vector<std::int64_t>& sizes) const {
    for (const std::int64_t size : sizes)
      for (const Parallel& rank : Parallel::local_ranks(settings_for(size).ranks))
        rank.shard(checkpoint_.config());
  }

  /// Loads and runs one configuration, `--reps` times, unless the resumed file has it already.
  template <class Setup>
  void run(const Variant& variant, typename Setup::StreamPolicy stream = {}) {
    if (is_recorded(variant)) return;
    const model::Checkpoint& model = variant.model != nullptr ? *variant.model : checkpoint_;
    Setup setup(model, settings_for(variant.ranks), std::move(stream));
    if (variant.ranks > 1) print_ranks(variant, setup.manifest());
    std::vector<Repetition> repetitions = repeat(variant, [&](const auto& prompts, const auto& step_done) {
      return setup.run(prompts, {}, step_done);
    });
    record(variant, model,
           {setup.fixed_params(), setup.manifest(), Setup::AttentionPolicy::name == attention::Flash::name},
           repetitions);
  }

  /// Puts another program's reference configuration into the file, as one of this experiment's.
  void add(const Baseline& other, const std::string& tag, const Json& value);

  /// Writes the experiment file. Returns `finding` when repetitions differed or a signal was no number.
  ExitCode finish();

  /// The main of an experiment: its options, then `body` on a runner. Returns the exit code.
  static int main(int argc, char** argv, const ExperimentInfo& info,
                  const std::function<void(BasicRunner&)>& body);

 private:
  using Prompts = std::vector<std::vector<std::int32_t>>;
  using RunOnce = std::function<Repetition(const Prompts&, const std::function<void()>&)>;

  RunSettings settings_for(std::int64_t ranks) const {
    RunSettings out = settings_;
    out.ranks.size = static_cast<int>(ranks);
    return out;
  }
  std::filesystem::path file() const { return std::filesystem::path(options_.out) / info_.file(); }

  bool is_recorded(const Variant& variant);
  std::vector<Repetition> repeat(const Variant& variant, const RunOnce& run_once);
  void record(const Variant& variant, const model::Checkpoint& model, const SetupFacts& facts,
              std::vector<Repetition>& repetitions);
  Json configuration(const Variant& variant, const std::string& id, const model::Checkpoint& model,
                     const SetupFacts& facts) const;
  Json manifest(const model::Checkpoint& model, const SetupFacts& facts) const;
  Json metadata() const {
    return describe_experiment(info_, checkpoint_, settings_, inputs_.prompt.token_ids.size());
  }
  Json required_params() const;
  std::string fingerprint() const;
  void load_baseline();
  void add_baseline();
  void print_ranks(const Variant& variant, const Json& manifest) const;
  void notice(const std::string& text) const;
  void report(const std::string& finding);

  ExperimentInfo info_;
  Options options_;
  model::Checkpoint checkpoint_;
  RunSettings settings_;
  Inputs inputs_;
  std::string hardware_;
  std::optional<Baseline> baseline_;
  std::optional<evidence::ExperimentWriter> writer_;
  bool finding_ = false;
};

using Runner = BasicRunner<>;

template <class T>
BasicRunner<T>::BasicRunner(ExperimentInfo info, Options options)
    : info_(std::move(info)),
      options_(std::move(options)),
      checkpoint_(model::Checkpoint::open(options_.model)) {
  if (options_.device.empty()) options_.device = default_device();
  require_device(options_.device);
  if (options_.threads > 0) at::set_num_threads(options_.threads);
  const auto& config = checkpoint_.config();
  std::string left_out;
  settings_ = {.layers = parse_layers(options_, config.num_layers, left_out),
               .top_k = std::min(options_.top_k, config.vocab_size),
               .decode_steps = options_.decode_steps,
               .dtype = activation_dtype(options_, config),
               .device = options_.device,
               .ranks = {.placement = options_.placement, .emulate = options_.emulate}};
  if (!left_out.empty()) notice(left_out);
  inputs_ = load_inputs(options_, checkpoint_);
  hardware_ = options_.hardware.empty() ? device_name(options_.device) : options_.hardware;
  if (info_.type != "reference") load_baseline();
  writer_.emplace(file(), metadata(), fingerprint(), options_.resume);
}

template <class T>
std::vector<prompt::Prompt> BasicRunner<T>::neighbours(std::size_t count) const {
  return load_neighbours(options_, inputs_, checkpoint_.config(), count);
}

template <class T>
model::Checkpoint BasicRunner<T>::open(const std::string& option, const std::string& model,
                                       quant::Method method) const {
  if (model.empty())
    fail("--{} is missing: expected a {} checkpoint of the same model", option, name_of(method));
  model::Checkpoint out = model::Checkpoint::open(model);
  const auto& found = out.config().quantization;
  if (found.is_null() || quant::method_of(found) != method)
    fail("--{} {} is a checkpoint of format {}: expected {}", option, model,
         found.is_null() ? "none" : name_of(quant::method_of(found)), name_of(method));
  const auto shape = [](model::ModelConfig config) {
    config.dtype = DType::float32;
    config.quantization = nullptr;
    return model::config_to_json(config);
  };
  if (shape(out.config()) != shape(checkpoint_.config()))
    fail("--{} {} is another model than --model {}: its shape is {}, expected {}", option, model,
         options_.model, shape(out.config()).dump(), shape(checkpoint_.config()).dump());
  return out;
}

template <class T>
void BasicRunner<T>::add(const Baseline& other, const std::string& tag, const Json& value) {
  other.require_match(other.name(), metadata(), inputs_.prompt.sha256, info_.any_checkpoint,
                      required_params());
  const std::string id = config_id(other.hardware(), tag);
  if (writer_->has(id)) return;
  if (!other.is_sound()) report(fmt::format("{}: repetitions differ or hold no numbers", id));
  add_baseline();
  writer_->add(other.relabelled(id, value, false), other.runs_as(id));
}

template <class T>
ExitCode BasicRunner<T>::finish() {
  add_baseline();
  writer_->finish();
  notice("wrote " + file().string());
  return finding_ ? ExitCode::finding : ExitCode::ok;
}

template <class T>
bool BasicRunner<T>::is_recorded(const Variant& variant) {
  const std::string id = config_id(hardware_, variant.tag);
  if (writer_->has_finding(id))
    report(fmt::format("{}: repetitions differ or hold no numbers, as recorded before", id));
  return writer_->has(id);
}

template <class T>
std::vector<Repetition> BasicRunner<T>::repeat(const Variant& variant, const RunOnce& run_once) {
  Prompts prompts{inputs_.prompt.token_ids};
  for (const auto& neighbour : variant.neighbours) prompts.push_back(neighbour.token_ids);
  std::vector<Repetition> out;
  Progress progress(config_id(hardware_, variant.tag), options_.reps * (settings_.decode_steps + 1),
                    options_.verbosity);
  for (std::int64_t rep = 0; rep < options_.reps; ++rep) {
    check_interrupt();
    out.push_back(run_once(prompts, [&] { progress.advance(); }));
    if (!options_.inject_fault.empty()) inject_fault(out.back().signals, rep, options_.inject_fault);
  }
  return out;
}

template <class T>
void BasicRunner<T>::record(const Variant& variant, const model::Checkpoint& model, const SetupFacts& facts,
                            std::vector<Repetition>& repetitions) {
  const std::string id = config_id(hardware_, variant.tag);
  const auto difference = first_difference(repetitions);
  const Json reproducibility = reproducibility_of(repetitions, difference), runtime = runtime_of(repetitions);
  if (difference)
    report(fmt::format("{}: repetition {} differs from repetition 0, first at {}", id, difference->rep,
                       to_string(difference->place)));
  std::vector<std::string> runs;
  const std::size_t first_stored = difference ? 0 : repetitions.size() - 1;
  for (std::size_t rep = first_stored; rep < repetitions.size(); ++rep) {
    evidence::RunRecord run{.config_id = id,
                            .rep_id = static_cast<int>(rep),
                            .timestamp = evidence::timestamp(),
                            .runtime_seconds = repetitions[rep].timing.total,
                            .prompt_text = inputs_.prompt.text,
                            .prompt_token_ids = inputs_.prompt.token_ids,
                            .prompt_sha256 = inputs_.prompt.sha256,
                            .reproducibility = reproducibility,
                            .runtime = runtime,
                            .extra = variant.extra,
                            .token_texts = {},
                            .signals = std::move(repetitions[rep].signals)};
    run.extra["peak_memory_bytes"] = peak_memory();
    for (const auto& neighbour : variant.neighbours)
      run.extra["neighbours"].push_back({{"prompt_sha256", neighbour.sha256},
                                         {"prompt_text", neighbour.text},
                                         {"prompt_token_ids", neighbour.token_ids}});
    if (const Json& contention = repetitions[rep].contention; !contention.is_null()) {
      run.extra["contention"] = contention;
      if (baseline_)
        run.extra["quiet_runtime"] = baseline_->runs().back().members.value("runtime", nlohmann::json());
    }
    for (const auto token : run.signals.token_ids) run.token_texts.push_back(inputs_.token_text(token));
    if (const auto place = evidence::first_non_finite(run.signals))
      report(fmt::format("{}: a value that is no finite number at {}", id, to_string(*place)));
    runs.push_back(evidence::to_json(run));
  }
  add_baseline();
  writer_->add(configuration(variant, id, model, facts), runs);
}

template <class T>
Json BasicRunner<T>::configuration(const Variant& variant, const std::string& id,
                                   const model::Checkpoint& model, const SetupFacts& facts) const {
  Json fixed = facts.fixed_params;
  fixed["batch_size"] = 1 + variant.neighbours.size();
  fixed["quantization"] = quantisation_name(model);
  fixed.update(variant.fixed);
  return {{"config_id", id},
          {"hardware", hardware_},
          {"provider", options_.provider},
          {"variable_value", variant.value},
          {"baseline", info_.type == "reference"},
          {"cuda_version", cuda_version()},
          {"torch_version", torch_version()},
          {"transformers_version", "none"},
          {"flash_attn_version", facts.flash ? "libtorch " + torch_version() : std::string("none")},
          {"python_version", "none"},
          {"fixed_params", fixed},
          {"manifest", manifest(model, facts)}};
}

template <class T>
Json BasicRunner<T>::manifest(const model::Checkpoint& model, const SetupFacts& facts) const {
  Json out = describe_environment(settings_.device);
  if (const Json kernels = describe_kernels(settings_.device); !kernels.empty()) out["own_kernels"] = kernels;
  out["model"] = {{"id", model.id()},
                  {"config_sha256", sha256_hex(model.config_text())},
                  {"files", evidence::describe_files(model.source().files())}};
  out["activation_dtype"] = name_of(settings_.dtype);
  out.update(facts.manifest);
  return out;
}

/// What the baseline's fixed_params must be because this experiment varies something else.
template <class T>
Json BasicRunner<T>::required_params() const {
  Json out = {{"execution", options_.execution}};
  if (!info_.any_checkpoint) out["quantization"] = quantisation_name(checkpoint_);
  out.update(info_.baseline_params);
  return out;
}

/// What an interrupted experiment must agree in to be resumed.
template <class T>
std::string BasicRunner<T>::fingerprint() const {
  Json parts = metadata();
  parts.erase("date_created");
  parts["config"] = sha256_hex(checkpoint_.config_text());
  parts["bytes"] = checkpoint_.source().bytes();
  parts["prompt"] = inputs_.prompt.sha256;
  parts["reps"] = options_.reps;
  parts["device"] = settings_.device;
  parts["threads"] = at::get_num_threads();
  parts["hardware"] = hardware_;
  parts["execution"] = options_.execution;
  parts["own"] = {options_.model_gptq, options_.model_bnb,  options_.neighbour_pdfs, options_.neighbour_ids,
                  options_.placement,  options_.contention, options_.emulate,        options_.stacks};
  if (baseline_)
    for (const auto& run : baseline_->runs())
      parts["baseline"].push_back(run.members.value("signals_sha256", ""));
  return sha256_hex(parts.dump());
}

template <class T>
void BasicRunner<T>::load_baseline() {
  baseline_ = Baseline::read(options_.baseline);
  baseline_->require_match(options_.baseline, metadata(), inputs_.prompt.sha256, info_.any_checkpoint,
                           required_params());
  const auto threads = baseline_->configuration().value(nlohmann::json::json_pointer("/manifest/threads"), 0);
  if (options_.device == "cpu" && baseline_->hardware() == hardware_ && threads != at::get_num_threads())
    notice(fmt::format(
        "the baseline {} was made with {} threads, this run uses {}: on a CPU that changes results too",
        options_.baseline, threads, at::get_num_threads()));
}

/// Not before something of this experiment's own is finished: until then a failure leaves no file.
template <class T>
void BasicRunner<T>::add_baseline() {
  if (!baseline_) return;
  const std::string id = config_id(baseline_->hardware(), info_.baseline_tag);
  if (!writer_->has(id))
    writer_->add(baseline_->relabelled(id, info_.baseline_value), baseline_->runs_as(id));
}

template <class T>
void BasicRunner<T>::print_ranks(const Variant& variant, const Json& manifest) const {
  const bool emulated = manifest.value(Json::json_pointer("/communicator/emulated"), false);
  for (const Json& rank : manifest.at("ranks"))
    notice(fmt::format("{}{}: {}", variant.tag, emulated ? " (emulated)" : "", describe_rank(rank)));
}

template <class T>
void BasicRunner<T>::notice(const std::string& text) const {
  if (options_.verbosity == Verbosity::normal) fmt::print(stderr, "{}: {}\n", info_.name, text);
}

template <class T>
void BasicRunner<T>::report(const std::string& finding) {
  finding_ = true;
  fmt::print(stderr, "{}: FINDING: {}\n", info_.name, finding);
}

template <class T>
int BasicRunner<T>::main(int argc, char** argv, const ExperimentInfo& info,
                         const std::function<void(BasicRunner&)>& body) {
  return run_program(info.name, [&]() -> ExitCode {
    catch_interrupts();
    Options options;
    options.model = info.default_model;
    po::options_description described = shared_options(options);
    if (info.options) info.options(described, options);
    po::options_description hidden;
    std::string fault;
    hidden.add_options()("inject-fault", po::value(&fault), "REP,STEP,LAYER");
    po::variables_map values;
    if (!parse_options(argc, argv, info, described, values, hidden)) return ExitCode::ok;
    validate(options, values);
    if (!fault.empty()) options.inject_fault = parse_fault(fault);
    Options shared;
    options.given = given_options(shared_options(shared), values);
    BasicRunner runner(info, std::move(options));
    body(runner);
    return runner.finish();
  });
}

/// The main of an experiment's program.
inline int experiment_main(int argc, char** argv, const ExperimentInfo& info,
                           const std::function<void(Runner&)>& body) {
  return Runner::main(argc, argv, info, body);
}

}  // namespace fpf
