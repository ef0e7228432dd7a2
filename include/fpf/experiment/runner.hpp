// Runs the configurations of one experiment and writes its file: what the drivers hand their variants to.
#pragma once

#include <ATen/Parallel.h>

#include <fpf/core/message.hpp>
#include <fpf/experiment/input_files.hpp>
#include <fpf/experiment/neighbours.hpp>
#include <fpf/experiment/registry.hpp>
#include <fpf/experiment/repeat.hpp>
#include <fpf/experiment/runner_files.hpp>

namespace fpf {

template <class T>
BasicRunner<T>::BasicRunner(ExperimentInfo info, Options options, parallel::World* world)
    : info_(std::move(info)),
      options_(std::move(options)),
      state_(std::make_unique<State>(model::Checkpoint::open(options_.model), world)) {
  if (options_.device.empty()) options_.device = default_device();
  require_device(options_.device);
  if (options_.threads > 0) at::set_num_threads(options_.threads);
  const model::Checkpoint& checkpoint = state_->checkpoint;
  const auto& config = checkpoint.config();
  std::string left_out;
  state_->settings = {.layers = parse_layers(options_, config.num_layers, left_out),
                      .top_k = std::min(options_.top_k, config.vocab_size),
                      .decode_steps = options_.decode_steps,
                      .dtype = activation_dtype(options_, config),
                      .device = options_.device,
                      .ranks = {.placement = options_.placement,
                                .emulate = options_.emulate,
                                .world = world,
                                .local_rank = world != nullptr ? world->local_rank() : 0}};
  if (!left_out.empty()) notice(left_out);
  if (options_.hash_weights) state_->hashing = evidence::Hashing::content;
  if (is_root()) state_->identity.emplace(checkpoint, state_->hashing, options_.verbosity);
  state_->inputs = load_inputs(options_, checkpoint);
  if (is_root()) state_->identity->set_tokenizer(state_->inputs.tokenizer);
  state_->hardware = options_.hardware.empty() ? device_name(options_.device) : options_.hardware;
  if (world != nullptr)
    world->agree({{"model", {sha256_hex(checkpoint.config_text()), checkpoint.source().bytes()}},
                  {"prompts", state_->inputs.prompt_digests()},
                  {"device", device_name(options_.device)},
                  {"threads", options_.device == "cpu" ? at::get_num_threads() : 0}});
  if (is_root() && info_.type != "reference") load_baseline();
  force_tokens();
  if (!is_root()) return;
  look_at_earlier_file();
  std::error_code error;
  std::filesystem::create_directories(options_.out, error);
  if (error) fail("--out {}: cannot make that folder: {}", options_.out, error.message());
  state_->writer.emplace(file(), metadata(),
                         evidence::ExperimentWriter::Origin{fingerprint(), state_->identity->describe(),
                                                            state_->forced ? state_->forced->digests()
                                                                           : std::vector<std::string>()},
                         options_.resume);
}

template <class T>
BasicRunner<T>::~BasicRunner() = default;

template <class T>
bool BasicRunner<T>::is_root() const {
  return state_->world == nullptr || state_->world->is_root();
}

template <class T>
Setup BasicRunner<T>::reference() const {
  return reference_setup(options_.execution);
}

template <class T>
const attention::Kernel& BasicRunner<T>::attention(std::string_view name) {
  return named(registry().attentions, "attention", name);
}

template <class T>
const parallel::Scheme& BasicRunner<T>::parallelism(std::string_view name) {
  return named(registry().parallelisms, "parallelism", name);
}

template <class T>
const execution::Policy& BasicRunner<T>::execution(std::string_view name) {
  return named(registry().executions, "execution", name);
}

template <class T>
void BasicRunner<T>::run(const Variant& variant, const Setup& setup) {
  if (is_recorded(variant)) return;
  Session session(model_of(variant), settings_for(variant), setup);
  run_setup(variant, session);
}

template <class T>
const model::Checkpoint& BasicRunner<T>::model_of(const Variant& variant) const {
  return variant.model ? *variant.model : state_->checkpoint;
}

/// Of the model that a variant runs; hashing starts with the first question.
template <class T>
const ModelIdentity& BasicRunner<T>::identity_of(const Variant& variant) const {
  if (!variant.model) return *state_->identity;
  const auto [found, fresh] =
      state_->others.try_emplace(variant.model, *variant.model, state_->hashing, options_.verbosity);
  std::string unknown;
  if (fresh) found->second.set_tokenizer(load_tokenizer(options_, *variant.model, &unknown));
  return found->second;
}

template <class T>
const RunSettings& BasicRunner<T>::settings_for(const Variant& variant) {
  state_->settings.ranks.size = static_cast<int>(variant.ranks);
  return state_->settings;
}

template <class T>
const Baseline& BasicRunner<T>::baseline() const {
  if (!state_->baseline) fail("{} has no baseline", info_.name);
  return *state_->baseline;
}

template <class T>
void BasicRunner<T>::load_neighbours(std::size_t count) {
  state_->neighbours = fpf::load_neighbours(options_, state_->inputs, state_->checkpoint.config(), count);
}

template <class T>
Json BasicRunner<T>::metadata() const {
  Json out = describe_experiment(info_, state_->checkpoint, state_->settings, state_->inputs.prompt_tokens());
  if (const std::size_t count = state_->inputs.prompts.size(); count > 1) {
    out["prompts"] = {{"count", count}};
    if (options_.prompt_ids.empty()) out["prompts"]["seed"] = options_.seed;
    if (!state_->inputs.documents.is_null()) out["prompts"]["documents"] = state_->inputs.documents;
  }
  if (state_->forced) out["tokens"] = state_->forced->from;
  return out;
}

template <class T>
std::shared_ptr<const model::Checkpoint> BasicRunner<T>::open(const std::string& option, const std::string& model,
                                                              quant::Method method) const {
  if (model.empty()) fail("--{} is missing: expected a {} checkpoint of the same model", option, name_of(method));
  auto out = std::make_shared<const model::Checkpoint>(model::Checkpoint::open(model));
  const auto& found = out->config().quantization;
  if (found.is_null() || quant::method_of(found) != method)
    fail("--{} {} is a checkpoint of format {}: expected {}", option, model,
         found.is_null() ? "none" : name_of(quant::method_of(found)), name_of(method));
  const Json found_shape = base_config(out->config()), shape = base_config(state_->checkpoint.config());
  if (found_shape != shape)
    fail("--{} {} is another model than --model {}: its shape is {}, expected {}", option, model, options_.model,
         found_shape.dump(), shape.dump());
  std::string unknown;
  const auto tokenizer = load_tokenizer(options_, *out, &unknown);
  if (const auto& own = state_->inputs.tokenizer;
      tokenizer && own &&
      prompt::tokenizer_sha256(tokenizer->vocabulary()) != prompt::tokenizer_sha256(own->vocabulary()))
    fail("--{} {} has another tokeniser than --model {}: expected checkpoints of one model", option, model,
         options_.model);
  return out;
}

template <class T>
std::vector<std::int64_t> BasicRunner<T>::rank_counts(const parallel::Scheme& scheme,
                                                      const std::vector<std::int64_t>& asked) const {
  const auto out = asked.empty() && state_->world != nullptr ? std::vector<std::int64_t>{state_->world->size()}
                                                             : fpf::rank_counts(asked);
  for (const std::int64_t size : out) {
    const parallel::RankOptions threads{.size = static_cast<int>(size),
                                        .placement = options_.placement,
                                        .by_outputs = execution(options_.execution).portable};
    scheme.local_ranks(threads, state_->checkpoint.config());
  }
  return out;
}

template <class T>
bool BasicRunner<T>::is_recorded(const Variant& variant) {
  const std::string id = config_id(state_->hardware, variant.tag);
  auto* world = state_->world;
  if (world != nullptr && variant.ranks != world->size())
    fail("{} is a run of {} ranks, but the launcher started {}: start as many processes as ranks, or none", variant.tag,
         variant.ranks, world->size());
  const bool own = is_root() && is_resumed(variant);
  return world != nullptr ? world->from_root(own ? "recorded" : "") == "recorded" : own;
}

template <class T>
void BasicRunner<T>::run_setup(const Variant& variant, Session& setup) {
  const std::string id = config_id(state_->hardware, variant.tag);
  if (variant.ranks > 1) print_ranks(variant, setup.manifest());
  if (is_root()) {
    const Json planned = configuration(variant, id, setup);
    if (state_->baseline) state_->baseline->require_conditions(options_.baseline, planned, info_.type);
    if (state_->earlier) state_->earlier->require_same(planned, neighbours_of(variant));
  }
  const auto& prompts = state_->inputs.prompts;
  std::vector<std::string> runs;
  RunProgress progress(id, options_.reps * std::ssize(prompts), state_->settings.decode_steps, 0,
                       is_root() ? options_.verbosity : Verbosity::quiet);
  for (std::size_t index = 0; index < prompts.size(); ++index) {
    std::vector<std::vector<std::int32_t>> batch{prompts[index].token_ids};
    for (const auto& neighbour : state_->neighbours_of(variant)) batch.push_back(neighbour.token_ids);
    const std::vector<std::int32_t> forced = state_->forced ? state_->forced->ids[index] : std::vector<std::int32_t>();
    std::vector<Repetition> repetitions;
    for (std::int64_t rep = 0; rep < options_.reps; ++rep) {
      append_repetition(repetitions, setup, batch, forced, progress,
                        [&](const std::string& text) { notice(id + ": " + text); });
      if (!options_.inject_fault.empty()) inject_fault(repetitions.back().signals, rep, options_.inject_fault);
    }
    if (is_root()) std::ranges::move(runs_of(variant, id, index, setup, repetitions), std::back_inserter(runs));
  }
  if (!is_root()) return;
  const Json done = configuration(variant, id, setup);
  if (state_->baseline)
    for (const auto& difference : state_->baseline->require_conditions(options_.baseline, done, info_.type))
      notice(fmt::format("beside {}, {} differs from the baseline: {}", info_.variable, id, difference));
  add_baseline();
  state_->writer->add(done, runs);
}

template <class T>
std::vector<std::string> BasicRunner<T>::runs_of(const Variant& variant, const std::string& id,
                                                 std::size_t prompt_index, const Session& setup,
                                                 std::vector<Repetition>& repetitions) {
  const bool several = state_->inputs.prompts.size() > 1;
  const prompt::Prompt& prompt = state_->inputs.prompts[prompt_index];
  const std::string who =
      evidence::beside_prompt(id, static_cast<std::int64_t>(prompt_index), state_->inputs.prompts.size());
  const auto difference = first_difference(repetitions);
  const Json reproducibility = reproducibility_of(repetitions, difference), runtime = runtime_of(repetitions);
  if (difference)
    report(fmt::format("{}: repetition {} differs from repetition 0, first at {}", who, difference->rep,
                       to_string(difference->place)));
  std::vector<std::string> runs;
  const std::size_t first_stored = difference ? 0 : repetitions.size() - 1;
  for (std::size_t rep = first_stored; rep < repetitions.size(); ++rep) {
    evidence::RunRecord run{.config_id = id,
                            .rep_id = static_cast<int>(rep),
                            .timestamp = evidence::timestamp(),
                            .runtime_seconds = repetitions[rep].timing.total,
                            .prompt_index = several ? std::optional(prompt_index) : std::nullopt,
                            .document_sha256 = state_->inputs.documents.is_null() ? "" : prompt.document_sha256,
                            .document_offset = prompt.document_offset,
                            .prompt_text = prompt.text,
                            .prompt_token_ids = prompt.token_ids,
                            .prompt_sha256 = prompt.sha256,
                            .reproducibility = reproducibility,
                            .runtime = runtime,
                            .tokens = state_->forced ? state_->forced->describe(prompt_index) : Json(),
                            .extra = variant.extra,
                            .token_texts = {},
                            .signals = std::move(repetitions[rep].signals)};
    run.extra["peak_memory_bytes"] = peak_memory();
    if (const std::int64_t peak = setup.peak_device_memory(); peak > 0) run.extra["peak_device_memory_bytes"] = peak;
    for (const auto& neighbour : state_->neighbours_of(variant))
      run.extra["neighbours"].push_back({{"prompt_sha256", neighbour.sha256},
                                         {"prompt_text", neighbour.text},
                                         {"prompt_token_ids", neighbour.token_ids}});
    if (const Json& contention = repetitions[rep].contention; !contention.is_null()) {
      run.extra["contention"] = contention;
      if (!repetitions[rep].accompanied())
        report(fmt::format(
            "{}: the load went with {:.0f} % of repetition {}, expected at least {:.0f} %: what is "
            "recorded may show less of it",
            who, 100 * contention.value("overlap_fraction", 0.0), rep, 100 * contention.value("least_overlap", 0.0)));
      if (state_->baseline)
        run.extra["quiet_runtime"] =
            state_->baseline->first_run(prompt.sha256).members.value("runtime", nlohmann::json());
    }
    for (const auto token : run.signals.token_ids) run.token_texts.push_back(state_->inputs.token_text(token));
    if (const auto place = evidence::first_non_finite(run.signals))
      report(fmt::format("{}: a value that is no finite number at {}", who, to_string(*place)));
    runs.push_back(evidence::to_json(run));
  }
  return runs;
}

template <class T>
Json BasicRunner<T>::configuration(const Variant& variant, const std::string& id, const Session& setup) const {
  const model::Checkpoint& model = model_of(variant);
  Json fixed = setup.fixed_params();
  fixed["batch_size"] = 1 + variant.neighbours;
  fixed["quantization"] = quantisation_name(model);
  fixed.update(variant.fixed);
  Json manifest = manifest_of(identity_of(variant).describe(), state_->settings, setup);
  manifest["prompt"] = prompt::describe_prompt(state_->inputs.prompts.front());
  return {{"config_id", id},
          {"hardware", state_->hardware},
          {"provider", options_.provider},
          {"variable_value", variant.value},
          {"baseline", info_.type == "reference"},
          {"cuda_version", cuda_version()},
          {"torch_version", torch_version()},
          {"transformers_version", "none"},
          {"flash_attn_version", setup.fixed_params().at("attention_impl") == attention::Flash::name
                                     ? "libtorch " + torch_version()
                                     : std::string("none")},
          {"python_version", "none"},
          {"fixed_params", fixed},
          {"manifest", manifest}};
}

template <class T>
void BasicRunner<T>::print_ranks(const Variant& variant, const Json& manifest) const {
  const bool emulated = manifest.value(Json::json_pointer("/communicator/emulated"), false);
  for (const Json& rank : manifest.at("ranks"))
    notice(fmt::format("{}{}: {}", variant.tag, emulated ? " (emulated)" : "", describe_rank(rank)));
}

template <class T>
void BasicRunner<T>::notice(const std::string& text) const {
  if (options_.verbosity == Verbosity::normal && is_root()) tell("{}: {}", info_.name, text);
}

template <class T>
void BasicRunner<T>::report(const std::string& finding) {
  state_->finding = true;
  tell("{}: FINDING: {}", info_.name, finding);
}

namespace detail {

/// Meets the processes that a launcher started, which must have been given the same options but for those that may
/// differ between hosts; nothing without a launcher. Throws Error where one started several of an experiment that has
/// no ranks.
inline std::unique_ptr<parallel::World> join_launcher(const ExperimentInfo& info, const Options& options,
                                                      const po::variables_map& values) {
  if (!info.takes_ranks) {
    const std::string left_over = parallel::Launch::alone(info.name);
    if (!left_over.empty() && options.verbosity == Verbosity::normal) tell("{}: {}", info.name, left_over);
    return nullptr;
  }
  const auto launch = parallel::Launch::from_environment();
  if (!launch) return nullptr;
  nlohmann::json description = {{"program", info.name}, {"revision", source_revision()}, {"libtorch", torch_version()}};
  for (const auto& [name, value] : values) {
    if (name == "out" || name == "baseline" || name == "config" || name == "hardware" || name == "quiet") continue;
    nlohmann::json& field = description["--" + name];
    if (const auto* text = boost::any_cast<std::string>(&value.value())) field = *text;
    if (const auto* list = boost::any_cast<std::vector<std::string>>(&value.value())) field = *list;
    if (const auto* number = boost::any_cast<std::int64_t>(&value.value())) field = *number;
    if (const auto* count = boost::any_cast<int>(&value.value())) field = *count;
    if (const auto* real = boost::any_cast<double>(&value.value())) field = *real;
    if (const auto* flag = boost::any_cast<bool>(&value.value())) field = *flag;
  }
  return std::make_unique<parallel::World>(*launch, parallel::World::Seconds(options.rank_timeout), description);
}

}  // namespace detail

template <class T>
int BasicRunner<T>::main(int argc, char** argv, const ExperimentInfo& info,
                         const std::function<void(BasicRunner&)>& body) {
  return run_program(info.name, [&]() -> ExitCode {
    catch_interrupts();
    device::use_expandable_segments();
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
    refuse_overwriting({"this run's file", (std::filesystem::path(options.out) / info.file()).string()},
                       input_files(options, info.type != "reference", values));
    if (!fault.empty()) options.inject_fault = parse_fault(fault);
    Options shared;
    options.given = given_options(shared_options(shared), values);
    const auto world = detail::join_launcher(info, options, values);
    return parallel::as_rank(world.get(), [&] {
      BasicRunner runner(info, std::move(options), world.get());
      body(runner);
      const ExitCode code = runner.finish();
      if (world) world->leave();
      return code;
    });
  });
}

}  // namespace fpf
