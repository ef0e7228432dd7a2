// The plan's validation checklist on this machine, for the models, prompt and experiments at hand.
#pragma once

#include <fpf/experiment/neighbours.hpp>
#include <fpf/kernel/host/builder.hpp>
#include <fpf/kernel/host/toolkit_folder.hpp>
#include <fpf/kernel/plan/ends.hpp>
#include <fpf/preflight/collectives.hpp>
#include <fpf/preflight/memory.hpp>
#include <fpf/preflight/trial.hpp>
#include <functional>
#include <memory>

namespace fpf::preflight {

enum class State : std::uint8_t { pass, fail, not_applicable };

/// One line: a point of the checklist, what was found, and what to do about it.
struct Point {
  State state{};
  std::string name, text;
};

/// experiment.schema.json, as the program was built with it, and what validates by it.
using Validate = std::function<std::vector<std::string>(const nlohmann::json&)>;

class Checklist {
 public:
  /// `steps`: what is planned. `say` is told each point as it is known.
  Checklist(const campaign::Settings& settings, std::vector<campaign::Step> steps, bool full, Validate validate,
            std::function<void(const Point&)> say)
      : settings_(settings),
        options_(settings.options),
        steps_(std::move(steps)),
        full_(full),
        validate_(std::move(validate)),
        say_(std::move(say)) {}

  /// Whether no point failed. Throws Interrupted.
  bool run() {
    point("the model loads", [&] { return load(); });
    point("all signals are captured", [&] { return signals(); });
    point("the file validates against the JSON Schema", [&] { return schema(); });
    point("repetitions are bit-exact", [&] { return repetitions(); });
    point("the prompt has exactly the tokens asked for", [&] { return prompt(); });
    point("CUDA toolkits compile", [&] { return toolkits(); });
    point("GPUs see each other, and an NCCL all-reduce is right", [&] { return collectives(); });
    point("the disk suffices", [&] { return disk(); });
    point("the memory suffices", [&] { return memory(); });
    return ok_;
  }

 private:
  struct Found {
    State state;
    std::string text;
  };

  void point(const char* name, const std::function<Found()>& check) {
    check_interrupt();
    Point out{State::fail, name, ""};
    try {
      const Found found = check();
      out.state = found.state;
      out.text = found.text;
    } catch (const Error& error) {
      out.text = error.what();
    } catch (const std::filesystem::filesystem_error& error) {
      out.text = error.what();
    } catch (const nlohmann::json::exception& error) {
      out.text = error.what();
    }
    ok_ &= out.state != State::fail;
    say_(out);
  }

  bool planned(int number) const {
    return std::ranges::any_of(steps_, [&](const campaign::Step& step) { return step.number == number; });
  }

  std::vector<std::string> models() const {
    std::vector<std::string> out{options_.model};
    for (const auto& other : {options_.model_gptq, options_.model_bnb})
      if (!other.empty() && (planned(3) || settings_.pod == 0)) out.push_back(other);
    return out;
  }

  Found load() {
    std::string text, errors;
    for (const std::string& name : models()) {
      try {
        checkpoints_.push_back(model::Checkpoint::open(name));
        const auto vocabulary = checkpoints_.back().config().vocab_size;
        std::vector<std::int32_t> ids;
        for (std::int32_t i = 0; i < 16; ++i) ids.push_back(static_cast<std::int32_t>((i * 7 + 1) % vocabulary));
        trials_.push_back(try_model(name, checkpoints_.back(), ids, options_, full_));
        const Trial& trial = trials_.back();
        if (!trial.error.empty()) errors += fmt::format("{}{}: {}", errors.empty() ? "" : "; ", name, trial.error);
        text += fmt::format("{}{}: {} of {} layers in {:.0f} s", text.empty() ? "" : "; ", name, trial.layers,
                            trial.of_layers, trial.seconds);
      } catch (const Error& error) {
        if (checkpoints_.size() > trials_.size()) checkpoints_.pop_back();
        errors += fmt::format("{}{}", errors.empty() ? "" : "; ", error.what());
      }
    }
    const bool whole = std::ranges::all_of(trials_, [](const Trial& trial) { return trial.layers == trial.of_layers; });
    if (errors.empty()) return {State::pass, text + (whole ? "" : " (--full: all)")};
    return {State::fail, errors};
  }

  /// The trials that left a file; the points that read one have nothing to say without.
  template <class Check>
  Found of_trials(Check check) const {
    std::string problems;
    int count = 0;
    for (const Trial& trial : trials_) {
      if (!trial.file.is_object()) continue;
      ++count;
      if (const std::string problem = check(trial.file); !problem.empty())
        problems += fmt::format("{}{}: {}", problems.empty() ? "" : "; ", trial.model, problem);
    }
    if (count == 0) return {State::fail, "no model ran: see the first point"};
    if (!problems.empty()) return {State::fail, problems};
    return {State::pass, fmt::format("{} model{}", count, count == 1 ? "" : "s")};
  }

  Found signals() const {
    return of_trials([](const nlohmann::json& file) -> std::string {
      const bool experts = file.at("experiment_metadata").at("architecture") == "MoE";
      for (const auto& step : file.at("runs").at(0).at("decode_steps"))
        for (const evidence::SignalInfo& signal : evidence::signal_table)
          if ((experts || !signal.of_experts) && (!step.contains(signal.name) || step.at(signal.name).empty()))
            return fmt::format("step {} has no {}", step.at("step").dump(), signal.name);
      return "";
    });
  }

  Found schema() const {
    return of_trials([&](const nlohmann::json& file) {
      const auto errors = validate_(file);
      return errors.empty() ? std::string() : errors.front();
    });
  }

  Found repetitions() const {
    auto out = of_trials([](const nlohmann::json& file) {
      const auto& record = file.at("runs").at(0).at("reproducibility");
      return record.at("bit_exact") == true ? std::string()
                                            : "they differ first at " + record.at("first_difference").dump();
    });
    if (out.state == State::pass) out.text += fmt::format(", {} repetitions", std::max<std::int64_t>(2, options_.reps));
    return out;
  }

  Found prompt() const {
    if (checkpoints_.empty()) return {State::fail, "without the model there is no tokeniser: see the first point"};
    const auto& checkpoint = checkpoints_.front();
    const Inputs inputs = load_inputs(options_, checkpoint);
    const auto length = inputs.prompt_tokens();
    if (options_.prompt_ids.empty() && length != static_cast<std::size_t>(options_.prompt.options.tokens))
      return {State::fail, fmt::format("it has {}, expected {}", length, options_.prompt.options.tokens)};
    const prompt::Prompt& first = inputs.prompts.front();
    const std::size_t count = inputs.prompts.size();
    std::string text = !options_.prompt_ids.empty() ? fmt::format("{} ids, taken as they are", length)
                       : count == 1
                           ? fmt::format("{} tokens, {} of the document's {}", length, first.document_tokens_used,
                                         prompt::document_length(first))
                           : fmt::format("{} tokens, {} of the document's", length, first.document_tokens_used);
    if (count > 1) text = fmt::format("{} prompts of {}", count, text);
    if (planned(1)) {
      const auto wanted = static_cast<std::size_t>(std::ranges::max(options_.batch_sizes)) - 1;
      text += fmt::format("; {} neighbours of the same length",
                          load_neighbours(options_, inputs, checkpoint.config(), wanted).size());
    }
    return {State::pass, text};
  }

  Found toolkits() const {
    if (options_.toolkits.empty()) return {State::not_applicable, "no --cuda toolkit is named"};
    const int architecture = gpu_count() > 0 ? kernel::cuda::device_info(0).compute_capability : 80;
    std::string text;
    for (const std::string& name : options_.toolkits) {
      const auto compiler =
          std::make_shared<const kernel::Compiler>(kernel::find_toolkit(kernel::toolkit_folder(name)));
      const auto plan = kernel::plan_rms_norm(DType::bfloat16, 2048, true);
      kernel::Builder(compiler, architecture).build(plan.file, plan.expression);
      text += fmt::format("{}NVRTC {}", text.empty() ? "" : ", ", compiler->version_name());
    }
    return {State::pass, fmt::format("{} for sm_{}", text, architecture)};
  }

  Found collectives() const {
    const int gpus = gpu_count();
    std::int64_t ranks = 0;
    if (planned(7)) ranks = std::max(ranks, std::ranges::max(rank_counts(options_.tp)));
    if (planned(8)) ranks = std::max(ranks, std::ranges::max(rank_counts(options_.ep)));
    if (ranks > gpus && gpus > 0 && !options_.emulate && on_gpu())
      return {State::fail, fmt::format("{} ranks are planned on {} GPU{}: rent more, or give --emulate", ranks, gpus,
                                       gpus == 1 ? "" : "s")};
    if (gpus < 2) return {State::not_applicable, fmt::format("{} GPU{}", gpus, gpus == 1 ? "" : "s")};
    const std::string fault = collective_fault(gpus);
    return fault.empty() ? Found{State::pass, fmt::format("an all-reduce over {} GPUs is right", gpus)}
                         : Found{State::fail, fault};
  }

  bool on_gpu() const { return options_.device.empty() ? gpu_count() > 0 : options_.device.starts_with("cuda"); }

  Found disk() const {
    if (checkpoints_.empty()) return {State::fail, "without the model its size is unknown: see the first point"};
    campaign::Estimate estimate;
    estimate.configuration = campaign::configuration_bytes(options_, checkpoints_.front().config());
    double needed = 0, largest = 0;
    for (const auto& step : steps_) {
      if (std::filesystem::exists(settings_.out() / step.file)) continue;
      needed += campaign::step_bytes(step, estimate);
      largest = std::max(largest, campaign::step_bytes(step, estimate));  // its .partial file, while it is written
    }
    needed += largest;
    auto folder = std::filesystem::absolute(settings_.out());
    while (!std::filesystem::exists(folder)) folder = folder.parent_path();
    const auto free = static_cast<double>(std::filesystem::space(folder).available);
    const auto text = fmt::format("{} needs {:.2f} GB for {} experiments, {:.2f} GB are free",
                                  folder.lexically_normal().string(), needed / 1e9, steps_.size(), free / 1e9);
    return {needed <= free ? State::pass : State::fail,
            needed <= free ? text : text + ": free some, or choose another --out"};
  }

  Found memory() const {
    double needed = 0;
    for (std::size_t i = 0; i < trials_.size(); ++i) {
      const auto& file = trials_[i].file;
      if (!file.is_object()) continue;
      const auto& manifest = file.at("configurations").at(0).at("manifest");
      const DType dtype = parse_dtype(manifest.at("activation_dtype").get<std::string>());
      const auto tokens = options_.prompt_ids.empty()
                              ? options_.prompt.options.tokens
                              : static_cast<std::int64_t>(load_inputs(options_, checkpoints_.front()).prompt_tokens());
      const std::int64_t batch = i == 0 && planned(1) ? std::ranges::max(options_.batch_sizes) : 1;
      needed = std::max(
          needed, needed_memory(checkpoints_[i].config(), manifest.at("ranks").at(0).at("weight_bytes").get<double>(),
                                trials_[i].layers, dtype, tokens + options_.decode_steps, batch, i == 0 && planned(4),
                                on_gpu() ? 1.5e9 : 0.5e9));
    }
    if (needed == 0) return {State::fail, "no model ran: see the first point"};
    const bool gpu = on_gpu();
    const auto number = options_.device.starts_with("cuda:")
                            ? parse_number<int>(std::string_view(options_.device).substr(5)).value_or(0)
                            : 0;
    const double free = gpu ? available_device_memory(number) : available_memory();
    const auto text = fmt::format("about {:.1f} GB are needed, {:.1f} GB of the {} are free", needed / 1e9, free / 1e9,
                                  gpu ? "GPU" : "machine");
    return {needed <= free ? State::pass : State::fail,
            needed <= free ? text : text + ": end other programs, or plan smaller batches or prompts"};
  }

  const campaign::Settings& settings_;
  const Options& options_;
  std::vector<campaign::Step> steps_;
  bool full_;
  Validate validate_;
  std::function<void(const Point&)> say_;
  std::vector<model::Checkpoint> checkpoints_;
  std::vector<Trial> trials_;
  bool ok_ = true;
};

}  // namespace fpf::preflight
