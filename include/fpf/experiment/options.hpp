// The options that all experiments share (the command-line contract), from strings to checked values.
#pragma once

#include <cstdint>
#include <fpf/core/parse_number.hpp>
#include <fpf/core/program.hpp>
#include <fpf/core/progress.hpp>
#include <fpf/core/text.hpp>
#include <fpf/core/thread_limit.hpp>
#include <fpf/execution/names.hpp>
#include <fpf/prompt/prompt_options.hpp>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

namespace fpf {

/// What the user asked for; strings as given where only the model can tell whether they make sense.
struct Options {
  std::string model, model_gptq, model_bnb;
  prompt::PromptSource prompt;
  std::vector<std::string> prompt_ids;  // in place of documents: one file a prompt
  std::int64_t prompts = 1;             // of documents: how many
  std::uint64_t seed = 0;               // and where they are cut
  std::vector<std::string> neighbour_pdfs, neighbour_ids;
  std::string tokenizer;
  std::int64_t decode_steps = 30;
  std::int64_t reps = 3;
  std::string layers = "1,2,4,12,last";
  bool default_layers = true;
  std::int64_t top_k = 10;
  std::string tokens = "own";  // or "baseline", or a file: what decode steps are fed
  std::string execution{execution::names::eager};
  std::string device;  // empty: cuda if there is one
  std::string dtype;
  int threads = 0;
  std::string out = ".";
  std::string baseline;
  std::string hardware;
  std::string provider = "unknown";
  bool resume = false;
  bool hash_weights = false;
  Verbosity verbosity = Verbosity::normal;
  std::vector<std::int64_t>
      inject_fault;  // repetition, step, layer where a recorded hidden state is changed; for tests
  std::vector<std::int64_t> batch_sizes{2, 4}, tp, ep;
  std::vector<std::string> stacks, toolkits;
  double contention = 0.5;
  bool emulate = false;
  double rank_timeout = 30;  // seconds
  std::string placement = "contiguous";
  std::vector<std::string> given;  // the shared options as arguments, but for those on files of this run
};

/// How many prompts each configuration answers.
inline std::int64_t prompt_count(const Options& options) {
  return options.prompt_ids.empty() ? options.prompts : std::ssize(options.prompt_ids);
}

/// The numbers of ranks to run: those asked for, or 2 and 4.
inline std::vector<std::int64_t> rank_counts(const std::vector<std::int64_t>& asked) {
  return asked.empty() ? std::vector<std::int64_t>{2, 4} : asked;
}

/// An item of a list without the blanks before it: "2, 4" is read as "2,4".
inline std::string_view unpadded(std::string_view item) {
  return item.substr(std::min(item.find_first_not_of(" \t"), item.size()));
}

namespace detail {

/// "2,4" and repeated options alike -> {2, 4}. Throws Error naming the option for anything but positive
/// numbers.
inline std::vector<std::int64_t> positive_list(const std::string& option, const std::vector<std::string>& values) {
  std::vector<std::int64_t> out;
  for (const std::string& value : values) {
    std::istringstream items(value);
    for (std::string item; std::getline(items, item, ',');) {
      const auto number = parse_number<std::int64_t>(unpadded(item));
      if (!number || *number <= 0) fail("--{} {}: expected positive numbers, found '{}'", option, value, item);
      out.push_back(*number);
    }
  }
  return out;
}

/// Throws Error for anything but a whole number that files can hold.
inline std::uint64_t seed_of(const std::string& text) {
  const auto seed = parse_number<std::uint64_t>(text);
  if (!seed)
    fail("--seed {}: expected a whole number from 0 to {}", text, std::numeric_limits<std::uint64_t>::max());
  return *seed;
}

inline void require_positive(const char* option, std::int64_t value) {
  if (value <= 0) fail("--{} {}: expected a positive number", option, value);
}

}  // namespace detail

/// The shared options, into `out` when notified; --resume is left out for programs that always do, or never.
inline po::options_description shared_options(Options& out, bool with_resume = true) {
  const auto text = [](std::string& to, const char* name) { return po::value(&to)->value_name(name); };
  po::options_description model("Model and prompt");
  model.add_options()                                                                           //
      ("model", text(out.model, "M"), "Hugging Face directory, GGUF file or synthetic:...")     //
      ("tokenizer", text(out.tokenizer, "DIR|GGUF"), "another tokeniser than the model's own")  //
      ("prompt-ids", po::value(&out.prompt_ids)->value_name("F"),  // those given replace a --config file's
       "token ids, a JSON array, taken as they are (several times: so many prompts)");
  prompt::prompt_options(model, out.prompt);
  model.add_options()  //
      ("prompts", po::value(&out.prompts)->value_name("N")->default_value(out.prompts),
       "how many prompts to make of the document, or of several (--prompt-pdf and --prompt-text repeated), of parts that "
       "do not overlap")  //
      ("seed",
       po::value<std::string>()->value_name("S")->default_value(std::to_string(out.seed))->notifier(
           [&out](const std::string& seed) { out.seed = detail::seed_of(seed); }),
       "where the parts of --prompts are drawn");
  po::options_description run("Run");
  run.add_options()  //
      ("decode-steps", po::value(&out.decode_steps)->value_name("N")->default_value(out.decode_steps),
       "tokens to decode")  //
      ("tokens", po::value(&out.tokens)->value_name("T")->default_value(out.tokens),
       "what steps are fed: own (each run's choice), baseline (the baseline's), or a file of ids or evidence")       //
      ("reps", po::value(&out.reps)->value_name("N")->default_value(out.reps), "repetitions of each configuration")  //
      ("layers", po::value(&out.layers)->value_name("LIST")->default_value(out.layers),
       "zero-based decoder layers to record")                                                                      //
      ("top-k", po::value(&out.top_k)->value_name("K")->default_value(out.top_k), "log-probabilities a position")  //
      ("execution", po::value(&out.execution)->value_name("E")->default_value(out.execution),
       listed(execution::names::all).c_str())                                                      //
      ("device", text(out.device, "D"), "cpu, cuda or cuda:N (default: cuda if there is one)")     //
      ("dtype", text(out.dtype, "T"), "float32, float16 or bfloat16 (default: the checkpoint's)")  //
      ("threads", po::value(&out.threads)->value_name("N"), "CPU threads (default: all cores)");
  po::options_description files("Files and names");
  files.add_options()                                                                                              //
      ("out", po::value(&out.out)->value_name("DIR")->default_value(out.out), "where the experiment file goes")    //
      ("baseline", text(out.baseline, "F"), "experiment 0's file (default: OUT/reference_baseline.json)")          //
      ("hardware", text(out.hardware, "NAME"), "the device's name in the file, e.g. A100-80GB")                    //
      ("provider", po::value(&out.provider)->value_name("NAME")->default_value(out.provider), "who rents it out")  //
      ("hash-weights", po::bool_switch(&out.hash_weights),
       "hash the model's files even where an earlier run did and they have not changed since")  //
      ("quiet",
       po::bool_switch()->notifier([&out](bool on) { out.verbosity = on ? Verbosity::quiet : Verbosity::normal; }),
       "no progress");
  if (with_resume)
    files.add_options()("resume", po::bool_switch(&out.resume), "go on from an interrupted run's .partial file");
  po::options_description all("");
  all.add(model).add(run).add(files);
  return all;
}

/// Checks what can be checked without the model. Throws Error naming the option.
inline void validate(Options& options, const po::variables_map& values) {
  if (options.model.empty())
    fail("--model is missing: expected a Hugging Face directory, a GGUF file or synthetic:...");
  const std::size_t documents = options.prompt.documents(), prompts = documents + !options.prompt_ids.empty();
  const bool several = documents > 1 && documents == prompts;
  if (prompts != 1 && !(several && options.prompts > 1))
    fail("expected exactly one of --prompt-pdf, --prompt-text and --prompt-ids, found {}{}", prompts,
         several ? ": several documents go with --prompts, which draws prompts over all of them" : "");
  for (const std::string& file : options.prompt.files())
    if (file.empty()) fail("--prompt-pdf and --prompt-text: expected a value, found none");
  detail::require_positive("prompts", options.prompts);
  if (options.prompts > 1 && !options.prompt_ids.empty())
    fail("--prompts {} makes prompts of a document: found --prompt-ids, of which each file is one", options.prompts);
  if (options.prompts == 1 && !values["seed"].defaulted())
    fail("--seed {} draws where several prompts are cut: expected --prompts 2 or more with it", options.seed);
  detail::require_positive("prompt-tokens", options.prompt.options.tokens);
  detail::require_positive("decode-steps", options.decode_steps);
  detail::require_positive("reps", options.reps);
  detail::require_positive("top-k", options.top_k);
  if (!(options.rank_timeout >= 0.1) || options.rank_timeout > 1e6)
    fail("--rank-timeout {:g}: expected a number of seconds from 0.1 to 1000000", options.rank_timeout);
  if (values.count("threads") != 0) require_threads(options.threads);
  options.default_layers = values["layers"].defaulted();
  if (!options.dtype.empty() && options.dtype != "float32" && options.dtype != "float16" && options.dtype != "bfloat16")
    fail("--dtype {}: expected float32, float16 or bfloat16", options.dtype);
  execution::names::require(options.execution);
  if (options.baseline.empty())
    options.baseline = (std::filesystem::path(options.out) / "reference_baseline.json").string();
}

/// REP,STEP,LAYER -> the three numbers.
inline std::vector<std::int64_t> parse_fault(const std::string& text) {
  auto out = detail::positive_list("inject-fault", {text});
  if (out.size() != 3) fail("--inject-fault {}: expected REP,STEP,LAYER", text);
  return out;
}

/// Of the options in `described`, those that the user gave, as arguments of another program.
inline std::vector<std::string> given_options(const po::options_description& described,
                                              const po::variables_map& values) {
  std::vector<std::string> out;
  for (const auto& option : described.options()) {
    const std::string& name = option->long_name();
    if (values.count(name) == 0 || values[name].defaulted()) continue;
    if (name == "out" || name == "baseline" || name == "resume") continue;
    const boost::any& value = values[name].value();
    if (const auto* list = boost::any_cast<std::vector<std::string>>(&value)) {
      for (const std::string& one : *list) out.insert(out.end(), {"--" + name, one});
      continue;
    }
    if (const auto* on = boost::any_cast<bool>(&value); on != nullptr && !*on) continue;
    out.push_back("--" + name);
    if (const auto* text = boost::any_cast<std::string>(&value)) out.push_back(*text);
    if (const auto* number = boost::any_cast<std::int64_t>(&value)) out.push_back(std::to_string(*number));
    if (const auto* count = boost::any_cast<int>(&value)) out.push_back(std::to_string(*count));
    if (const auto* share = boost::any_cast<double>(&value)) out.push_back(fmt::format("{}", *share));
  }
  return out;
}

/// "1,2,4,12,last" -> ascending zero-based layers. Of the default list, layers that the model lacks are
/// dropped and `notice` says so; explicit ones are errors.
inline std::vector<std::int64_t> parse_layers(const Options& options, std::int64_t num_layers, std::string& notice) {
  std::vector<std::int64_t> out;
  std::istringstream items(options.layers);
  for (std::string item; std::getline(items, item, ',');) {
    const auto number = item == "last" ? num_layers - 1 : parse_number<std::int64_t>(unpadded(item));
    if (!number) fail("--layers {}: expected numbers and 'last', found '{}'", options.layers, item);
    const std::int64_t layer = *number;
    if (layer >= 0 && layer < num_layers) {
      out.push_back(layer);
    } else if (options.default_layers) {
      notice += fmt::format("{}{}", notice.empty() ? "" : ", ", layer);
    } else {
      fail("--layers {}: layer {} does not exist, the model has layers 0 to {}", options.layers, layer, num_layers - 1);
    }
  }
  std::ranges::sort(out);
  out.erase(std::ranges::unique(out).begin(), out.end());
  if (out.empty()) fail("--layers {}: no layers", options.layers);
  if (!notice.empty()) notice = fmt::format("the model has {} layers: leaving out {}", num_layers, notice);
  return out;
}

}  // namespace fpf
