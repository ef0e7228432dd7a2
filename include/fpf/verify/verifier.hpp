// Re-executes the runs of a file, two ways kept apart, and holds the evidence against them.
#pragma once

#include <fmt/ranges.h>

#include <fpf/core/text.hpp>
#include <fpf/experiment/description.hpp>
#include <fpf/experiment/forced_tokens.hpp>
#include <fpf/experiment/inputs.hpp>
#include <fpf/experiment/manifest.hpp>
#include <fpf/experiment/model_identity.hpp>
#include <fpf/experiment/run_progress.hpp>
#include <fpf/verify/asked_prompts.hpp>
#include <fpf/verify/not_checked.hpp>
#include <fpf/verify/setup.hpp>
#include <fpf/verify/verdict.hpp>
#include <map>
#include <memory>
#include <set>
#include <thread>
#include <utility>

namespace fpf::verify {

/// Opened models and the set-up that ran last.
class Verifier {
 public:
  /// Opens --model's checkpoints. Throws Error.
  explicit Verifier(const Settings& settings) : settings_(settings), asked_(settings) {
    for (const std::string& name : settings.models)
      models_.push_back({name, model::Checkpoint::open(name), {}, {}, {}});
    for (Model& one : models_) {
      one.identity.emplace(one.checkpoint, evidence::Hashing::content, settings.verbosity);
      Options options;
      options.tokenizer = settings.tokenizer;
      one.tokenizer = load_tokenizer(options, one.checkpoint, &one.unknown_tokenizer);
      one.identity->set_tokenizer(one.tokenizer);
    }
  }

  /// Finds a claim's model, by shape and sizes, and what the two together contradict: ids, dimensions, the texts of
  /// tokens; of the evidence (`asked`), whether its prompt is the question. Nothing runs.
  RunReport inspect(Claim& claim, bool asked = true) {
    RunReport report;
    report.config_id = claim.id();
    report.rep_id = claim.run->rep_id;
    report.tokens = claim.signals.token_ids.size();
    try {
      report.complete = claim.complete();
      report.recorded_exact = claim.repeats();
      report.portable = claim.at("/manifest/policies/execution") == execution::names::portable;
      report.same_version = claim.at("/manifest/fpf/version") == json(version);
      Model* found = model_like(claim, report.other_model);
      if (claim.contradictions.empty() && found != nullptr) check_fit(claim, *found, report);
      if (found != nullptr && !found->tokenizer)
        report.notes.push_back(
            "the texts of prompt and tokens are not checked, since the model's tokeniser is not known" +
            (found->unknown_tokenizer.empty() ? "" : ": " + one_line(found->unknown_tokenizer)));
      if (asked && claim.contradictions.empty() && found != nullptr) hold_tokens(claim, *found, report);
      if (asked && !claim.prompts.empty()) {
        TokenizerOf of;
        if (found != nullptr) of = {found->name, &found->tokenizer, found->unknown_tokenizer};
        report.prompt = asked_.report_of(claim, found == nullptr ? nullptr : &of);
        report.held.insert(report.prompt->held.begin(), report.prompt->held.end());
      }
    } catch (const json::exception& error) {  // a member of another type
      claim.contradictions.push_back(fmt::format("{}: {}", claim.name(), error.what()));
    }
    report.contradictions = claim.contradictions;
    decide(report);
    return report;
  }

  /// The same of an honest run, by its model's content too.
  RunReport inspect_noise(Claim& honest) {
    RunReport report = inspect(honest, false);
    identify(honest, report);
    return report;
  }

  /// Loads what a claim runs on, while the models' files are hashed.
  void prepare(const Claim& claim) {
    std::string unused;
    if (const Model* model = model_like(claim, unused)) setup_for(claim, *model, settings_for(claim));
  }

  /// Holds an inspected claim's model against the content of --model's files. Throws Error when they change meanwhile.
  void identify(const Claim& claim, RunReport& report) {
    if (report.decision == Decision::reject) return;
    model_of(claim, report.other_model);
    decide(report);
  }

  /// Re-executes an identified claim and fills the report. `honest`: claims of the noise files, already inspected,
  /// which outlive this.
  void reexecute(const Claim& claim, const std::vector<const Claim*>& honest, RunReport& report) {
    if (!report.complete) {
      if (claim.is_forced() && !all_tokens_of(claim))
        report.not_reexecuted = "the tokens that it would have been fed behind its last step are not in the file";
      else
        report.non_finite = non_finite_of(claim, report);
      return decide(report);
    }
    const Paths own = paths_of(claim, &report);
    report.decode = own.decode;
    report.prefill = own.prefill;
    if (!honest.empty() && !own.decode.bit_equal() && !report.noise_is_zero()) {
      std::vector<Paths> noise;
      for (const Claim* one : honest) {
        if (!noise_paths_.contains(one)) noise_paths_.emplace(one, paths_of(*one, nullptr));
        noise.push_back(noise_paths_.at(one));
        require_possible(*one, noise.back().decode);
      }
      report.noise = judge(own, noise, static_cast<int>(claim.signals.steps()), settings_.noise_rule);
    }
    decide(report);
  }

 private:
  struct Model {
    std::string name;  // as --model has it
    model::Checkpoint checkpoint;
    std::optional<prompt::Tokenizer> tokenizer;
    std::string unknown_tokenizer;
    std::optional<ModelIdentity> identity;
  };

  /// Throws Error for an honest run that no rounding makes of its re-execution.
  static void require_possible(const Claim& honest, const Path& decode) {
    for (const TokenPlace& place : decode.not_best)
      if (!place.gap)
        fail("--noise {}: {}: expected an honest run, and step {} chose token {}, which is not among the top ones here",
             honest.file->name(), honest.name(), place.step, place.token);
  }

  /// The first model for which difference_to(model) is none; nullptr, and the first model's difference, for none.
  template <class Difference>
  Model* find_model(std::string& difference, Difference difference_to) {
    for (Model& one : models_) {
      const evidence::ModelDifference found = difference_to(*one.identity);
      if (!found) {
        difference.clear();
        return &one;
      }
      if (difference.empty())
        difference = fmt::format("model/{}, which is {} there and {} here", found.field, found.a, found.b);
    }
    return nullptr;
  }

  /// By what is known before the files are hashed.
  Model* model_like(const Claim& claim, std::string& difference) {
    return find_model(difference, [&](const ModelIdentity& identity) {
      return evidence::outline_difference(claim.at("/manifest/model"), identity.outline());
    });
  }

  /// By content.
  const Model* model_of(const Claim& claim, std::string& difference) {
    return find_model(difference, [&](const ModelIdentity& identity) {
      return evidence::weights_difference(claim.at("/manifest/model"), identity.describe());
    });
  }

  /// What a claim says of its model and of texts; `report` gets the fields that were held so.
  static void check_fit(Claim& claim, const Model& model, RunReport& report) {
    const auto& config = model.checkpoint.config();
    const auto add = [&]<class... Args>(fmt::format_string<Args...> format, Args&&... args) {
      claim.contradictions.push_back(claim.name() + ": " + fmt::format(format, std::forward<Args>(args)...));
    };
    for (const auto& prompt : claim.prompts)
      for (const auto id : prompt)
        if (id >= config.vocab_size)
          add("its prompt has token {}: the model's vocabulary ends at {}", id, config.vocab_size - 1);
    for (const auto id : claim.signals.logprobs.ids)
      if (id < 0 || id >= config.vocab_size)
        add("logprobs name token {}: the vocabulary ends at {}", id, config.vocab_size - 1);
    if (steps_of(claim) > config.max_positions - static_cast<std::int64_t>(claim.prompts.front().size()))
      add("prompt and steps do not fit into the model's {} positions", config.max_positions);
    if (claim.signals.layers.empty()) add("it records no layer");
    const auto follows = [&](const char* field, const json& found, const json& expected) {
      if (found != expected) add("{} is {:.60}: the model's is {:.60}", field, found.dump(), expected.dump());
    };
    const json& metadata = claim.file->metadata;
    follows("model_size", member_or_null(metadata, "model_size"), model_size(config));
    follows("model_architecture", member_or_null(metadata, "model_architecture"), config.architecture);
    follows("num_hidden_layers", member_or_null(member_or_null(metadata, "extraction_config"), "num_hidden_layers"),
            config.num_layers);
    follows("fixed_params.quantization", claim.at("/fixed_params/quantization"), quantisation_name(model.checkpoint));
    for (const auto& layer : claim.signals.layers) {
      if (layer.layer >= config.num_layers) add("the model has no layer {}", layer.layer);
      if (layer.hidden.width != config.hidden_size || layer.keys.width != config.kv_size())
        add("layer {} has vectors of {} and {}: the model's have {} and {}", layer.layer, layer.hidden.width,
            layer.keys.width, config.hidden_size, config.kv_size());
      const std::int64_t experts = layer.router ? layer.router->k : 0;
      if (experts != (config.is_moe() ? config.experts_per_token : 0) && !claim.signals.token_ids.empty())
        add("layer {} routes to {} experts", layer.layer, experts);
    }
    report.held.insert({"experiment_metadata/model_size", "experiment_metadata/model_architecture",
                        "experiment_metadata/extraction_config/num_hidden_layers"});
    if (!model.tokenizer) return;
    report.held.insert(std::begin(detail::text_fields), std::end(detail::text_fields));
    if (const std::string text = model.tokenizer->decode(claim.prompts.front()); text != claim.texts.prompt_text) {
      const auto at = std::ranges::mismatch(text, claim.texts.prompt_text).in1 - text.begin();
      add("prompt_text is not what its token ids say: they differ at byte {}", at);
    }
    const json& neighbours = member_or_null(claim.run->members, "neighbours");
    for (std::size_t i = 0; i < neighbours.size(); ++i)
      if (const auto& text = member_or_null(neighbours.at(i), "prompt_text");
          text != model.tokenizer->decode(claim.prompts.at(i + 1)))
        add("neighbours[{}].prompt_text is not what its token ids say", i);
    for (std::size_t step = 0; step < claim.signals.token_ids.size(); ++step)
      if (const auto text = model.tokenizer->token_text(claim.signals.token_ids[step]);
          text != claim.texts.token_texts[step])
        add("decode_steps[{}].token_text is {}, token {} is {}", step, json(claim.texts.token_texts[step]).dump(),
            claim.signals.token_ids[step], json(text).dump(-1, ' ', false, json::error_handler_t::replace));
  }

  /// What a run was fed against --tokens.
  void hold_tokens(Claim& claim, const Model& model, RunReport& report) {
    if (settings_.tokens.empty()) {
      if (claim.is_forced() && claim.run->members.at("tokens").at("from") == "file")
        report.notes.push_back("it was fed tokens of a file, and they were held against none (--tokens FILE)");
      return;
    }
    if (!tokens_) tokens_.emplace(settings_.tokens);
    const auto expected = tokens_->of(claim.run->members.value("prompt_sha256", ""), 1, claim.signals.steps(),
                                      model.checkpoint.config().vocab_size);
    const auto at = std::ranges::mismatch(claim.signals.token_ids, expected).in1 - claim.signals.token_ids.begin();
    if (at != std::ssize(expected))
      claim.contradictions.push_back(fmt::format("{}: step {} was fed token {}, --tokens {} has {}", claim.name(), at,
                                                 claim.signals.token_ids[static_cast<std::size_t>(at)],
                                                 settings_.tokens, expected[static_cast<std::size_t>(at)]));
  }

  /// All tokens that a run with forced ones is fed: its own, or, where it ended early, those of a complete run of its
  /// prompt that was fed the same as far as it went; nothing where there is none.
  static std::optional<std::vector<std::int32_t>> all_tokens_of(const Claim& claim) {
    if (claim.complete()) return claim.signals.token_ids;
    for (const evidence::StoredRun& other : claim.file->runs) {
      if (evidence::prompt_index(other) != evidence::prompt_index(*claim.run)) continue;
      auto ids = evidence::tokens_fed(other);
      if (prompt::prompt_sha256(ids) == claim.run->members.at("tokens").value("sha256", "")) return ids;
    }
    return {};
  }

  /// Steps that the run was asked for: those that it has, but for one that ended in no number.
  static std::int64_t steps_of(const Claim& claim) {
    return claim.complete() ? claim.signals.steps() : json_as<std::int64_t>(claim.file->metadata.at("decode_steps"));
  }

  /// A run that ended in no number, against a decode that chooses its own tokens, or is fed what it was. `report` gets
  /// manifests and own repetitions.
  NonFinite non_finite_of(const Claim& claim, RunReport& report) {
    std::string unused;
    const Model& model = *model_of(claim, unused);
    const RunSettings settings = settings_for(claim);
    Session& setup = setup_for(claim, model, settings);
    Progress progress(claim.id(), settings_.reps * (settings.decode_steps + 1), settings_.verbosity);
    std::vector<std::int32_t> fed;
    if (claim.is_forced()) fed = all_tokens_of(claim).value();
    const auto run = [&] { return setup.run(claim.prompts, fed, [&] { progress.advance(); }).signals; };
    const evidence::Signals here = run();
    for (int rep = 1; rep < settings_.reps; ++rep)
      if (const auto place = evidence::first_difference(here, run()); place && !report.own_noise)
        report.own_noise = place;
    report.differences = differences(claim, manifest_of(model.identity->describe(), settings, setup));
    NonFinite out;
    out.claimed = non_finite_place(claim.run->members);
    out.here = evidence::first_non_finite(here);
    out.steps = settings.decode_steps;
    out.same_digests = evidence::digests_of(here).combined() == claim.run->members.value("signals_sha256", "");
    if (claim.signals.steps() > 0) out.first_difference = evidence::first_difference(claim.signals, here);
    return out;
  }

  /// Both re-executions of a claim against it. For the evidence itself, `report` gets manifests and own repetitions.
  Paths paths_of(const Claim& claim, RunReport* report) {
    std::string unused;
    const Model& model = *model_of(claim, unused);
    const RunSettings settings = settings_for(claim);
    Session& setup = setup_for(claim, model, settings);
    const auto& tokens = claim.signals.token_ids;
    const int reps = report == nullptr ? 1 : settings_.reps;
    RunProgress progress(claim.id(), reps, settings.decode_steps, 1, settings_.verbosity);
    const Repetition decode = setup.run(claim.prompts, tokens, progress.run());
    for (int rep = 1; rep < reps; ++rep)
      if (const auto place =
              evidence::first_difference(decode.signals, setup.run(claim.prompts, tokens, progress.run()).signals);
          place && !report->own_noise)
        report->own_noise = place;
    check_interrupt();
    const Repetition prefill = setup.run_prefill(claim.prompts.front(), tokens);
    progress.prefill();
    if (report != nullptr)
      report->differences = differences(claim, manifest_of(model.identity->describe(), settings, setup));
    return {path_of(claim.signals, decode.signals, decode.timing.total),
            path_of(claim.signals, prefill.signals, prefill.timing.total)};
  }

  static std::vector<FieldDifference> differences(const Claim& claim, const json& here) {
    auto out = manifest_differences(claim.at("/manifest"), here);
    const std::pair<const char*, std::string> versions[] = {{"/cuda_version", cuda_version()},
                                                            {"/torch_version", torch_version()}};
    for (const auto& [field, own] : versions)
      if (claim.text_at(field) != own) out.push_back({field + 1, claim.text_at(field), own, true});
    return out;
  }

  RunSettings settings_for(const Claim& claim) const {
    RunSettings out;
    for (const auto& layer : claim.signals.layers) out.layers.push_back(layer.layer);
    out.top_k = claim.signals.logprobs.k;
    out.decode_steps = steps_of(claim);
    out.dtype = claim.signals.layers.front().hidden.dtype;
    const std::string claimed = claim.text_at("/manifest/device/type");
    out.device = !settings_.device.empty()      ? settings_.device
                 : !claimed.starts_with("cuda") ? std::string("cpu")
                                                : default_device();
    require_device(out.device);
    out.ranks.size = ranks_of(claim);
    const json placement = claim.at("/fixed_params/expert_placement");
    if (placement.is_string()) out.ranks.placement = placement;
    out.ranks.emulate = claim.at("/manifest/communicator/emulated") != false ||
                        static_cast<std::size_t>(out.ranks.size) > at::getNumGPUs();
    const json threads = claim.at("/manifest/threads");
    const int wanted = settings_.threads != 0        ? settings_.threads
                       : threads.is_number_integer() ? threads.get<int>()
                                                     : 0;
    const int most = std::max(64, 4 * static_cast<int>(std::thread::hardware_concurrency()));
    if (wanted > 0) at::set_num_threads(std::min(wanted, most));  // the file may say anything
    return out;
  }

  Session& setup_for(const Claim& claim, const Model& model, const RunSettings& settings) {
    const json key = {
        claim.at("/manifest/policies"), settings.layers,       settings.top_k,         settings.decode_steps,
        name_of(settings.dtype),        settings.device,       settings.ranks.size,    settings.ranks.placement,
        settings.ranks.emulate,         at::get_num_threads(), &model - models_.data()};
    if (!setup_ || key != key_) {
      setup_.reset();  // its memory first
      setup_ = std::make_shared<Session>(model.checkpoint, settings, setup_of(claim));
      key_ = key;
    }
    return *setup_;
  }

  const Settings& settings_;
  AskedPrompts asked_;
  std::optional<TokenFile> tokens_;  // --tokens, once it was asked for
  std::vector<Model> models_;
  std::map<const Claim*, Paths> noise_paths_;  // of honest runs that were re-executed
  std::shared_ptr<Session> setup_;
  json key_;
};

}  // namespace fpf::verify
