// What a file calls its configurations and runs, held against what it says that they are: labels are claims, and
// conclusions rest on them.
#pragma once

#include <algorithm>
#include <cctype>
#include <cmath>
#include <fpf/evidence/experiment_kinds.hpp>
#include <fpf/evidence/fed_inputs.hpp>
#include <fpf/evidence/stored_signals.hpp>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::evidence {

/// "<hardware>_<tag>" of letters, digits, dots and single hyphens: "Intel-Xeon-Processor_bs2".
inline std::string config_id(std::string hardware, const std::string& tag) {
  for (const std::string_view mark : {"(R)", "(TM)"})
    for (auto at = hardware.find(mark); at != std::string::npos; at = hardware.find(mark))
      hardware.erase(at, mark.size());
  std::string id;
  for (const char c : hardware) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.';
    if (plain || (!id.empty() && id.back() != '-')) id += plain ? c : '-';
  }
  while (id.ends_with('-')) id.pop_back();
  return id + "_" + tag;
}

/// "cu126" of "12.6".
inline std::string cuda_tag(std::string cuda) {
  std::erase(cuda, '.');
  return "cu" + cuda;
}

namespace detail {

/// Looks at one configuration of a file that fpf wrote, and at one of its runs.
class LabelInspector {
 public:
  LabelInspector(const ExperimentFile& file, const nlohmann::json& configuration, const StoredRun* run)
      : file_(file), configuration_(configuration), run_(run) {}

  std::vector<std::string> inspect() {
    using Check = void (LabelInspector::*)();
    std::vector<Check> checks;
    if (!has_manifest() && !member(file_.metadata, "schema_version").is_null())
      add("its configuration has no manifest.fpf.version, which a file with a schema_version has");
    if (has_manifest())
      checks = {&LabelInspector::metadata, &LabelInspector::fixed_params, &LabelInspector::ranks,
                &LabelInspector::software, &LabelInspector::variable,     &LabelInspector::name};
    if (run_ != nullptr)
      for (const Check check :
           {&LabelInspector::prompt, &LabelInspector::prompts, &LabelInspector::steps, &LabelInspector::tokens,
            &LabelInspector::repetitions, &LabelInspector::runtime, &LabelInspector::contention})
        checks.push_back(check);
    for (const Check check : checks) {
      try {
        (this->*check)();
      } catch (const nlohmann::json::exception& error) {
        add("{}", error.what());
      } catch (const Error& error) {
        add("{}", error.what());
      }
    }
    return std::move(out_);
  }

 private:
  using json = nlohmann::json;

  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    const std::string who = run_ != nullptr ? run_name(file_, *run_) : member(configuration_, "config_id").dump();
    out_.push_back(who + ": " + fmt::format(format, std::forward<Args>(args)...));
  }

  static const json& member(const json& object, const char* name) { return member_or_null(object, name); }
  /// A value of the configuration; null where there is none.
  json at(const std::string& pointer) const {
    try {
      return configuration_.value(json::json_pointer(pointer), json());
    } catch (const json::exception&) {  // an array where an object belongs
      return nullptr;
    }
  }
  json policy(const char* name) const { return at(std::string("/manifest/policies/") + name); }
  json of_run(const char* pointer) const { return run_->members.value(json::json_pointer(pointer), json()); }
  bool has_manifest() const { return detail::has_manifest(configuration_); }
  const ExperimentKind* kind() const {
    const json& type = member(file_.metadata, "experiment_type");
    return type.is_string() ? kind_of(type.get_ref<const std::string&>()) : nullptr;
  }

  /// A member that follows from others.
  void follows(std::string_view field, const json& found, const json& expected, std::string_view from) {
    if (found != expected)
      add("{} is {:.60}: expected {:.60}, which {} says", field, found.dump(), expected.dump(), from);
  }

  void metadata() {
    const json& metadata = file_.metadata;
    if (!member(metadata, "experiment_type").is_string()) add("experiment_metadata has no experiment_type");
    if (const auto* known = kind())
      follows("experiment_metadata.variable_tested", member(metadata, "variable_tested"), known->variable,
              "experiment_type");
    const bool any_model =
        kind() == nullptr || kind()->type == "quantization";  // those of --model need not be in the file
    if (!any_model && is_first() && std::ranges::none_of(file_.configurations, [&](const json& one) {
          return one.value(json::json_pointer("/manifest/model/id"), json()) == member(metadata, "model");
        }))
      add("experiment_metadata.model is {:.80}: no manifest.model.id is", member(metadata, "model").dump());
    const json& dtypes = member(member(metadata, "extraction_config"), "signal_dtypes");
    for (const SignalInfo& signal : signal_table)
      follows(fmt::format("signal_dtypes.{}", signal.name), member(dtypes, std::string(signal.name).c_str()),
              signal.is_vector() ? at("/manifest/activation_dtype") : json("float32"),
              signal.is_vector() ? "manifest.activation_dtype" : "the format");
    const bool experts = at("/manifest/ranks/0").contains("experts");
    follows("experiment_metadata.architecture", member(metadata, "architecture"), experts ? "MoE" : "dense",
            "manifest.ranks");
  }

  void fixed_params() {
    const json execution = policy("execution"), quantisation = policy("quantisation");
    const auto fixed = [&](const char* name) { return at(std::string("/fixed_params/") + name); };
    follows("fixed_params.execution", fixed("execution"), execution, "manifest.policies");
    if (execution == "eager" || execution == "compiled" || execution == "portable")
      follows("fixed_params.compile", fixed("compile"), execution == "compiled", "manifest.policies.execution");
    follows("fixed_params.attention_impl", fixed("attention_impl"), policy("attention"), "manifest.policies");
    const json stream = policy("stream");
    if (stream == "exclusive" || stream == "contended")
      follows("fixed_params.concurrent_streams", fixed("concurrent_streams"), stream == "contended",
              "manifest.policies.stream");
    const std::string found = fixed("quantization").is_string() ? fixed("quantization").get<std::string>() : "";
    if (!quantisation.is_string() || (quantisation == "none" ? found != "none" && !found.starts_with("gguf-")
                                                             : found != quantisation.get<std::string>() + "-int4"))
      add("fixed_params.quantization is {:.60}, manifest.policies.quantisation is {:.60}", fixed("quantization").dump(),
          quantisation.dump());
    if (const json by = fixed("kernels_by"); !by.is_null())
      follows("fixed_params.kernels_by", by, "NVRTC " + text(at("/manifest/nvrtc/version")), "manifest.nvrtc");
    if (run_ != nullptr)
      follows("fixed_params.batch_size", fixed("batch_size"), 1 + member(run_->members, "neighbours").size(),
              "the run with its neighbours");
  }

  void ranks() {
    const json ranks = at("/manifest/ranks"), parallelism = policy("parallelism");
    for (std::size_t i = 0; i < ranks.size(); ++i)
      follows(fmt::format("manifest.ranks[{}].rank", i), ranks[i].at("rank"), i, "its place");
    for (const auto& [name, size] : {std::pair{"tensor", "tp_size"}, {"expert", "ep_size"}}) {
      if (parallelism != "single" && parallelism != "tensor" && parallelism != "expert") continue;  // a user's own
      const json found = at(std::string("/fixed_params/") + size);
      follows(fmt::format("fixed_params.{}", size), found, parallelism == name ? ranks.size() : std::size_t{1},
              "manifest.ranks");
    }
    const json placement = at("/fixed_params/expert_placement");
    if (placement.is_null() || ranks.size() < 2) return;
    const auto experts = json_as<std::vector<std::int64_t>>(ranks[0].at("experts"));
    const bool together = experts.size() < 2 || experts[1] == experts[0] + 1;
    if (experts.size() > 1)
      follows("fixed_params.expert_placement", placement, together ? "contiguous" : "round_robin", "manifest.ranks");
  }

  void software() {
    follows("cuda_version", member(configuration_, "cuda_version"), at("/manifest/libraries/cuda"),
            "manifest.libraries");
    const json torch = at("/manifest/libraries/libtorch");
    follows("torch_version", member(configuration_, "torch_version"), torch, "manifest.libraries");
    const bool flash = policy("attention") == "flash_attention_2";
    follows("flash_attn_version", member(configuration_, "flash_attn_version"),
            flash ? "libtorch " + text(torch) : "none", "manifest.policies.attention");
    for (const char* absent : {"transformers_version", "python_version"})
      follows(absent, member(configuration_, absent), "none", "manifest.fpf");
  }

  /// variable_value, and whether the configuration is the baseline.
  void variable() {
    const auto* known = kind();
    if (known == nullptr) return;
    const json found = member(configuration_, "variable_value"), expected = value_of(*known);
    follows("variable_value", found, expected,
            known->value.empty() ? "experiment_type" : std::string(known->value.substr(1)));
    if (!known->baseline.empty())
      follows("baseline", member(configuration_, "baseline"), expected.dump() == known->baseline, "variable_value");
  }

  json value_of(const ExperimentKind& known) const {
    if (!known.value.empty()) return at(std::string(known.value));
    if (known.type != "cuda_version") return nullptr;
    return at("/fixed_params/kernels_by").is_null() ? member(configuration_, "cuda_version")
                                                    : at("/manifest/nvrtc/version");
  }

  std::string tag_of(const ExperimentKind& known) const {
    const json value = value_of(known);
    if (known.type == "reference") return "reference";
    if (known.type == "batch_size") return "bs" + text(value);
    if (known.type == "tensor_parallel") return "tp" + text(value);
    if (known.type == "expert_parallel") return "ep" + text(value);
    if (known.type == "compile") return value == true ? "compiled" : "eager";
    if (known.type == "concurrent_streams") return value == true ? "contended" : "quiet";
    if (known.type == "attention") return value == "flash_attention_2" ? "flash" : text(value);
    if (known.type == "quantization") return text(value);
    const std::string cuda = cuda_tag(text(value));
    return at("/fixed_params/kernels_by").is_null() ? cuda : "nvrtc" + cuda.substr(2);
  }

  void name() {
    const auto* known = kind();
    const std::string hardware = text(member(configuration_, "hardware")),
                      id = text(member(configuration_, "config_id"));
    if (known != nullptr)
      follows("config_id", id, config_id(hardware, tag_of(*known)), "hardware and variable_value");
    else if (!id.starts_with(config_id(hardware, "")))
      add("config_id is {:.80}: expected one that begins with its hardware", id);
  }

  /// What its runs were fed.
  FedInspector fed() {
    return {file_, configuration_, *run_, [this](const std::string& text) { add("{}", text); }};
  }
  void prompt() { fed().prompt(); }
  void prompts() { fed().prompts(); }
  void tokens() { fed().tokens(); }

  void steps() {
    if (!has_manifest()) return;
    const auto steps = static_cast<std::int64_t>(run_->steps.size());
    const json& stated = member(file_.metadata, "decode_steps");
    if (is_complete() && steps == 0) add("it is complete and has no decode steps");
    if (is_complete())
      follows("experiment_metadata.decode_steps", stated, steps, "the run");
    else if (!stated.is_number_integer() || stated.get<std::int64_t>() <= steps)
      add("experiment_metadata.decode_steps is {:.40}: expected more than the {} of a run that ended early",
          stated.dump(), steps);
    for (std::size_t i = 0; i < run_->steps.size(); ++i)
      if (run_->steps[i].step != static_cast<int>(i)) add("decode_steps[{}] is numbered {}", i, run_->steps[i].step);
    if (steps != 0 && !run_->prompt_tokens) add("its decode steps have no absolute_position");
    if (run_->prompt_tokens && stated.is_number_integer())
      follows("experiment_metadata.sequence_length", member(file_.metadata, "sequence_length"),
              *run_->prompt_tokens + stated.get<std::int64_t>(), "prompt and decode_steps");
  }

  bool is_complete() const { return run_->members.value("status", json("complete")) == "complete"; }

  /// What a run says of its configuration's repetitions follows from their digests.
  void repetitions() {
    const json record = member(run_->members, "reproducibility"), digests = member(record, "digests");
    if (record.is_null() && !has_manifest()) return;
    if (digests.empty()) return add("reproducibility has no digests of repetitions");
    follows("reproducibility.repetitions", member(record, "repetitions"), digests.size(), "reproducibility.digests");
    const bool equal = equal_repetitions(digests);
    bool own = false;
    for (std::size_t i = 0; i < digests.size(); ++i) {
      if (has_manifest())
        follows(fmt::format("reproducibility.digests[{}].rep_id", i), member(digests[i], "rep_id"), i, "its place");
      own |= member(digests[i], "rep_id") == run_->rep_id;
    }
    if (has_manifest() && !own) add("reproducibility.digests has none of repetition {}", run_->rep_id);
    follows("reproducibility.bit_exact", member(record, "bit_exact"), equal, "reproducibility.digests");
    if (has_manifest() && equal != member(record, "first_difference").is_null())
      add("reproducibility.first_difference is {:.80}, the repetitions are {}",
          member(record, "first_difference").dump(), equal ? "equal" : "not equal");
  }

  /// Positive seconds, one a repetition, and what is reckoned from them.
  void runtime() {
    const json seconds = of_run("/runtime/seconds");
    if (seconds.is_null() && !has_manifest()) return;
    const auto values = seconds.get<std::vector<double>>();
    const json repetitions = of_run("/reproducibility/repetitions");
    if (!repetitions.is_null())
      follows("the length of runtime.seconds", values.size(), repetitions, "reproducibility.repetitions");
    if (values.empty()) return add("runtime.seconds is empty");
    for (const double value : values)
      if (!(value > 0) || !std::isfinite(value)) add("runtime.seconds has {}: expected times above 0", value);
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
    double variance = 0;
    for (const double value : values) variance += (value - mean) * (value - mean) / static_cast<double>(values.size());
    near("runtime.mean", of_run("/runtime/mean"), mean, mean);
    near("runtime.variance", of_run("/runtime/variance"), variance, mean * mean);
    if (!has_manifest()) return;
    for (const char* phase : {"/runtime/prefill_seconds", "/runtime/decode_seconds"})
      if (!(of_run(phase).get<double>() >= 0))
        add("{} is {:.40}: expected no time below 0", phase + 1, of_run(phase).dump());
    near("runtime.prefill_seconds and decode_seconds together",
         of_run("/runtime/prefill_seconds").get<double>() + of_run("/runtime/decode_seconds").get<double>(), mean,
         mean);
    if (static_cast<std::size_t>(run_->rep_id) < values.size())
      near("runtime_seconds", of_run("/runtime_seconds"), values[static_cast<std::size_t>(run_->rep_id)], mean);
  }

  /// Equal but for the rounding of sums in another order.
  void near(std::string_view field, const json& found, double expected, double scale) {
    if (found.is_null() && !has_manifest()) return;
    if (!found.is_number() || !(std::abs(found.get<double>() - expected) <= 1e-9 * scale))
      add("{} is {:.40}: expected {}, which runtime.seconds has", field, found.dump(), expected);
  }

  void contention() {
    if (!has_manifest()) return;
    const json& load = member(run_->members, "contention");
    const json stream = policy("stream");
    if (load.is_null() ? stream == "contended" : stream == "exclusive")
      add("contention is {:.60}, manifest.policies.stream is {:.60}", load.dump(), stream.dump());
    if (const json share = of_run("/contention/overlap_fraction"); !load.is_null())
      if (!share.is_number() || !(share.get<double>() >= 0 && share.get<double>() <= 1))
        add("contention.overlap_fraction is {:.40}: expected 0 to 1", share.dump());
    if (const json least = of_run("/contention/least_overlap"), share = of_run("/contention/overlap_fraction");
        least.is_number() && share.is_number())
      follows("contention.accompanied", of_run("/contention/accompanied"), share.get<double>() >= least.get<double>(),
              "overlap_fraction");
    if (const json& quiet = member(run_->members, "quiet_runtime"); !quiet.is_null())
      follows("quiet_runtime", quiet, baseline_runtime(), "the baseline's runtime");
  }

  json baseline_runtime() const {
    json out;
    for (const json& one : file_.configurations)
      for (const StoredRun& run : file_.runs)
        if (member(one, "baseline") == true && member(one, "config_id") == run.config_id &&
            prompt_index(run) == prompt_index(*run_))
          out = member(run.members, "runtime");
    return out;
  }

  bool is_first() const { return &configuration_ == file_.configurations.data(); }
  static std::string text(const json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

  const ExperimentFile& file_;
  const nlohmann::json& configuration_;
  const StoredRun* run_;
  std::vector<std::string> out_;
};

}  // namespace detail

/// Where the labels of a configuration and one of its runs (or none) contradict what the file says they are, one text
/// each. What follows from a manifest is asked of configurations that have fpf's.
inline std::vector<std::string> label_contradictions(const ExperimentFile& file, const nlohmann::json& configuration,
                                                     const StoredRun* run) {
  return detail::LabelInspector(file, configuration, run).inspect();
}

/// Everything in which an open file contradicts itself, by configuration and run: labels, and rows that are not those
/// of their digests. One text each, which names the place.
inline std::vector<std::string> contradictions_of(const ExperimentFile& file, const StoredRun& run) {
  const auto configuration = std::ranges::find_if(file.configurations, [&](const nlohmann::json& one) {
    return member_or_null(one, "config_id") == run.config_id;
  });
  auto out = label_contradictions(file, *configuration, &run);
  for (auto& one : digest_contradictions(file, run)) out.push_back(std::move(one));
  return out;
}

}  // namespace fpf::evidence
