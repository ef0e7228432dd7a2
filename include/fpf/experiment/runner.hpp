// Runs the configurations of one experiment and writes its file: what the drivers hand their baseline and variants to.
#pragma once

#include <ATen/Parallel.h>
#include <sys/resource.h>

#include <fpf/evidence/experiment_writer.hpp>
#include <fpf/experiment.hpp>
#include <fpf/experiment/baseline.hpp>
#include <fpf/experiment/environment.hpp>
#include <fpf/experiment/inputs.hpp>
#include <fpf/experiment/options.hpp>
#include <fpf/quant/select.hpp>

#include <cmath>
#include <numeric>
#include <optional>

namespace fpf {

using evidence::Json;

/// What an experiment varies, and under which names its file says so.
struct ExperimentInfo : ProgramInfo {
  std::string type;      // experiment_type: "batch_size"
  std::string variable;  // variable_tested: "batch_size"
  Json baseline_value = nullptr;
  std::string baseline_tag = "reference";
  bool any_checkpoint = false;  // the baseline may be of another checkpoint of the same architecture (exp3)

  std::string file() const { return type == "reference" ? "reference_baseline.json" : type + "_experiment.json"; }
};

/// One configuration of an experiment.
struct Variant {
  std::string tag;  // config_id is <hardware>_<tag>
  Json value;       // variable_value
  std::vector<std::vector<std::int32_t>> neighbours{};  // further sequences of the batch
  Json fixed = Json::object();                          // further fixed_params
  Json extra = Json::object();                          // further members of the run
};

/// One experiment: opened inputs, a growing file, and the verdict on repetitions.
class Runner {
 public:
  Runner(ExperimentInfo info, Options options)
      : info_(std::move(info)), options_(std::move(options)), checkpoint_(model::Checkpoint::open(options_.model)) {
    if (options_.device.empty()) options_.device = default_device();
    require_device(options_.device);
    if (options_.threads > 0) at::set_num_threads(options_.threads);
    const auto& config = checkpoint_.config();
    std::string notice;
    settings_ = {.layers = parse_layers(options_, config.num_layers, notice),
                 .top_k = std::min(options_.top_k, config.vocab_size),
                 .decode_steps = options_.decode_steps,
                 .dtype = activation_dtype(options_, config),
                 .device = options_.device,
                 .ranks = {.placement = options_.placement}};
    if (!notice.empty() && options_.verbosity == Verbosity::normal) fmt::print(stderr, "{}: {}\n", info_.name, notice);
    inputs_ = load_inputs(options_, checkpoint_);
    hardware_ = options_.hardware.empty() ? device_name(options_.device) : options_.hardware;
    if (info_.type != "reference") baseline_ = load_baseline();
    writer_.emplace(std::filesystem::path(options_.out) / info_.file(), metadata(), fingerprint(),
                    options_.resume);
  }

  const Options& options() const { return options_; }
  const model::Checkpoint& checkpoint() const { return checkpoint_; }
  const RunSettings& settings() const { return settings_; }
  const Inputs& inputs() const { return inputs_; }

  /// Calls f.template operator()<Quant>() with the policy that the checkpoint's quantization_config asks for.
  template <class F>
  void with_quantisation(F f) const {
    quant::select(checkpoint_.config().quantization, f);
  }

  /// Loads and runs one configuration, `--reps` times, unless the resumed file has it already.
  template <class Setup>
  void run(const Variant& variant, typename Setup::StreamPolicy stream = {}) {
    const std::string id = config_id(hardware_, variant.tag);
    if (writer_->has(id)) {
      if (writer_->has_finding(id))
        report(fmt::format("{}: repetitions differ or hold no numbers, as recorded before", id));
      return;
    }
    Setup setup(checkpoint_, settings_, std::move(stream));
    std::vector<std::vector<std::int32_t>> prompts{inputs_.prompt.token_ids};
    prompts.insert(prompts.end(), variant.neighbours.begin(), variant.neighbours.end());
    std::vector<Repetition> repetitions;
    {
      Progress progress(id, options_.reps * (settings_.decode_steps + 1), options_.verbosity);
      for (std::int64_t rep = 0; rep < options_.reps; ++rep) {
        check_interrupt();
        repetitions.push_back(setup.run(prompts, {}, [&] { progress.advance(); }));
        inject_fault(repetitions.back().signals, rep);
      }
    }
    record<Setup>(variant, id, repetitions, setup);
  }

  /// Writes the experiment file. Returns `finding` when repetitions differed or a signal was no number.
  ExitCode finish() {
    add_baseline();
    writer_->finish();
    if (options_.verbosity == Verbosity::normal)
      fmt::print(stderr, "{}: wrote {}\n", info_.name, (std::filesystem::path(options_.out) / info_.file()).string());
    return finding_ ? ExitCode::finding : ExitCode::ok;
  }

 private:
  /// "<hardware>_<tag>" of letters, digits, dots and single hyphens: "Intel-Xeon-Processor_bs2".
  static std::string config_id(std::string hardware, const std::string& tag) {
    for (const std::string_view mark : {"(R)", "(TM)"})
      for (auto at = hardware.find(mark); at != std::string::npos; at = hardware.find(mark)) hardware.erase(at, mark.size());
    std::string id;
    for (const char c : hardware) {
      const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.';
      if (plain || (!id.empty() && id.back() != '-')) id += plain ? c : '-';
    }
    while (id.ends_with('-')) id.pop_back();
    return id + "_" + tag;
  }

  Json metadata() const {
    const auto& config = checkpoint_.config();
    const std::string activations(name_of(settings_.dtype));
    return {{"schema_version", 1},
            {"experiment_type", info_.type},
            {"variable_tested", info_.variable},
            {"model", checkpoint_.id()},
            {"model_size", model_size(config)},
            {"architecture", config.is_moe() ? "MoE" : "dense"},
            {"model_architecture", config.architecture},
            {"sequence_length", inputs_.prompt.token_ids.size() + static_cast<std::size_t>(settings_.decode_steps)},
            {"decode_steps", settings_.decode_steps},
            {"extraction_config",
             {{"layers", settings_.layers},
              {"positions", {-3, -2, -1}},
              {"hidden_dim", config.hidden_size},
              {"key_dim", config.kv_size()},
              {"top_k_logprobs", settings_.top_k},
              {"num_hidden_layers", config.num_layers},
              {"signal_dtypes",
               {{"hidden_states", activations}, {"key_vectors", activations}, {"logprobs", "float32"}, {"router", "float32"}}}}},
            {"date_created", evidence::timestamp()}};
  }

  /// "135M", "30B": parameters of the shape, as model names round them.
  static std::string model_size(const model::ModelConfig& c) {
    const std::int64_t mlp = c.is_moe() ? c.num_experts * (3 * c.moe_intermediate_size * c.hidden_size + c.hidden_size)
                                        : 3 * c.intermediate_size * c.hidden_size;
    const std::int64_t layer = 2 * (c.q_size() + c.kv_size()) * c.hidden_size + mlp;
    const auto total = static_cast<double>(c.num_layers * layer + (c.tied_head ? 1 : 2) * c.vocab_size * c.hidden_size);
    return total >= 1e9 ? fmt::format("{:.0f}B", std::floor(total / 1e9)) : fmt::format("{:.0f}M", std::ceil(total / 1e6));
  }

  /// What an interrupted experiment must agree in to be resumed.
  std::string fingerprint() const {
    Json parts = metadata();
    parts.erase("date_created");
    parts["config"] = sha256_hex(checkpoint_.config_text());
    parts["bytes"] = checkpoint_.source().bytes();
    parts["prompt"] = inputs_.prompt.sha256;
    parts["reps"] = options_.reps;
    parts["device"] = settings_.device;
    parts["threads"] = at::get_num_threads();
    parts["hardware"] = hardware_;
    return sha256_hex(parts.dump());
  }

  Baseline load_baseline() const {
    Baseline baseline = Baseline::read(options_.baseline);
    baseline.require_match(options_.baseline, metadata(), inputs_.prompt.sha256, info_.any_checkpoint);
    return baseline;
  }

  /// Not before something of this experiment's own is finished: until then a failure leaves no file.
  void add_baseline() {
    if (!baseline_) return;
    const std::string id = config_id(baseline_->hardware(), info_.baseline_tag);
    if (!writer_->has(id)) writer_->add(baseline_->relabelled(id, info_.baseline_value), baseline_->runs_as(id));
  }

  template <class Setup>
  Json configuration(const Variant& variant, const std::string& id, const Setup& setup) const {
    Json fixed = setup.fixed_params();
    fixed["batch_size"] = 1 + variant.neighbours.size();
    fixed["tp_size"] = fixed["ep_size"] = 1;
    fixed["quantization"] = quantisation_name<typename Setup::QuantPolicy>();
    fixed.update(variant.fixed);
    Json out = {{"config_id", id},
                {"hardware", hardware_},
                {"provider", options_.provider},
                {"variable_value", variant.value},
                {"baseline", info_.type == "reference"},
                {"cuda_version", cuda_version()},
                {"torch_version", torch_version()},
                {"transformers_version", "none"},
                {"flash_attn_version",
                 Setup::AttentionPolicy::name == "eager" ? std::string("none") : "libtorch " + torch_version()},
                {"python_version", "none"},
                {"fixed_params", fixed}};
    out["manifest"] = manifest(setup);
    return out;
  }

  template <class Quant>
  std::string quantisation_name() const {
    const auto& quantization = checkpoint_.config().quantization;
    if (!quantization.is_null()) return fmt::format("{}-int4", Quant::name);
    const auto* layer = checkpoint_.source().find("model.layers.0.self_attn.q_proj.weight");
    if (layer == nullptr || weights::is_plain(layer->format)) return std::string(Quant::name);
    return fmt::format("gguf-{}", weights::name_of(layer->format));
  }

  template <class Setup>
  Json manifest(const Setup& setup) const {
    Json out = describe_environment(settings_.device);
    if (const Json kernels = describe_kernels(settings_.device); !kernels.empty()) out["own_kernels"] = kernels;
    out["model"] = {{"id", checkpoint_.id()},
                    {"config_sha256", sha256_hex(checkpoint_.config_text())},
                    {"files", evidence::describe_files(checkpoint_.source().files())}};
    out["activation_dtype"] = name_of(settings_.dtype);
    out.update(setup.manifest());
    return out;
  }

  template <class Setup>
  void record(const Variant& variant, const std::string& id, std::vector<Repetition>& repetitions, const Setup& setup) {
    const auto difference = first_difference(repetitions);
    const Json reproducibility = reproducibility_of(repetitions, difference);
    const Json runtime = runtime_of(repetitions);
    if (difference) report(fmt::format("{}: repetition {} differs from repetition 0, first at {}", id, difference->first,
                                       to_string(difference->second)));
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
      if (!repetitions[rep].contention.is_null()) run.extra["contention"] = repetitions[rep].contention;
      for (const auto token : run.signals.token_ids) run.token_texts.push_back(inputs_.token_text(token));
      if (const auto place = evidence::first_non_finite(run.signals))
        report(fmt::format("{}: a value that is no finite number at {}", id, to_string(*place)));
      runs.push_back(evidence::to_json(run));
    }
    add_baseline();
    writer_->add(configuration(variant, id, setup), runs);
  }

  void report(const std::string& finding) {
    finding_ = true;
    fmt::print(stderr, "{}: FINDING: {}\n", info_.name, finding);
  }

  static std::optional<std::pair<std::size_t, evidence::Place>> first_difference(const std::vector<Repetition>& repetitions) {
    for (std::size_t rep = 1; rep < repetitions.size(); ++rep)
      if (const auto place = evidence::first_difference(repetitions[0].signals, repetitions[rep].signals))
        return std::pair(rep, *place);
    return std::nullopt;
  }

  static Json reproducibility_of(const std::vector<Repetition>& repetitions,
                                 const std::optional<std::pair<std::size_t, evidence::Place>>& difference) {
    Json digests = Json::array();
    for (std::size_t rep = 0; rep < repetitions.size(); ++rep) {
      const auto d = evidence::digests_of(repetitions[rep].signals);
      digests.push_back({{"rep_id", rep},
                         {"hidden_states", d.hidden_states},
                         {"key_vectors", d.key_vectors},
                         {"logprobs", d.logprobs},
                         {"router", d.router}});
    }
    Json place = nullptr;
    if (difference) {
      place = evidence::to_json(difference->second);
      place["rep_id"] = difference->first;
    }
    return {{"repetitions", repetitions.size()}, {"bit_exact", !difference}, {"digests", digests}, {"first_difference", place}};
  }

  static Json runtime_of(const std::vector<Repetition>& repetitions) {
    std::vector<double> seconds;
    double prefill = 0, decode = 0;
    const auto n = static_cast<double>(repetitions.size());
    for (const auto& repetition : repetitions) {
      seconds.push_back(repetition.timing.total);
      prefill += repetition.timing.prefill / n;
      decode += repetition.timing.decode / n;
    }
    const double mean = std::accumulate(seconds.begin(), seconds.end(), 0.0) / n;
    double variance = 0;
    for (const double s : seconds) variance += (s - mean) * (s - mean) / n;
    return {{"seconds", seconds}, {"mean", mean}, {"variance", variance}, {"prefill_seconds", prefill}, {"decode_seconds", decode}};
  }

  /// Peak resident memory of the process so far, in bytes.
  static std::int64_t peak_memory() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss * 1024;
  }

  /// --inject-fault REP,STEP,LAYER: the lowest bit of the first element of pos_-1's hidden state flips.
  void inject_fault(evidence::Signals& signals, std::int64_t rep) const {
    if (options_.inject_fault.empty()) return;
    const auto at = detail::positive_list("inject-fault", {options_.inject_fault});
    if (at.size() != 3) fail("--inject-fault {}: expected REP,STEP,LAYER", options_.inject_fault);
    for (auto& layer : signals.layers)
      if (rep == at[0] && layer.layer == at[2])
        layer.hidden.bytes.at(static_cast<std::size_t>(at[1] + evidence::look_back - 1) * layer.hidden.row_bytes()) ^= std::byte{1};
  }

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

/// The main of an experiment: shared options plus those that `add_options` adds, then `body` on a Runner.
template <class Body>
int experiment_main(int argc, char** argv, const ExperimentInfo& info, Body body,
                    const std::function<void(po::options_description&, Options&)>& add_options = {}) {
  return run_program(info.name, [&]() -> ExitCode {
    catch_interrupts();
    Options options;
    po::options_description described = shared_options(options);
    if (add_options) add_options(described, options);
    po::options_description hidden;
    hidden.add_options()("inject-fault", po::value(&options.inject_fault), "REP,STEP,LAYER");
    po::variables_map values;
    if (!parse_options(argc, argv, info, described, values, hidden)) return ExitCode::ok;
    validate(options, values);
    Runner runner(info, std::move(options));
    body(runner);
    return runner.finish();
  });
}

}  // namespace fpf
