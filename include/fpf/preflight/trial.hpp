// A few tokens of a model through exp0_reference: what most points of the checklist are read from.
#pragma once

#include <fpf/campaign/steps.hpp>
#include <fpf/core/atomic_directory.hpp>
#include <fpf/core/child_process.hpp>
#include <fpf/core/json.hpp>
#include <fpf/model/checkpoint.hpp>
#include <fstream>
#include <string>
#include <vector>

namespace fpf::preflight {

/// One model's trial; `error` is empty where it ended well.
struct Trial {
  std::string model;
  std::string error;
  nlohmann::json file;  // what it wrote
  std::int64_t layers = 0, of_layers = 0;
  double seconds = 0;
};

namespace detail {

namespace fs = std::filesystem;

/// A model of the first layer alone: a folder with a config.json that says so and links to the rest, or a synthetic
/// model of such a shape. GGUF files have their shape inside and stay as they are. In `folder`.
inline std::string first_layer_of(const std::string& name, const model::Checkpoint& checkpoint,
                                  const fs::path& folder) {
  if (checkpoint.gguf() != nullptr) return fs::absolute(name);
  auto config = parse_json(checkpoint.config_text(), name);
  config["fpf_first_layers_of"] = checkpoint.config().num_layers;  // the others' tensors are not missed
  config["num_hidden_layers"] = 1;
  if (config.contains("layer_types")) config["layer_types"] = {"full_attention"};
  config["max_window_layers"] = 1;
  std::ofstream(folder / "config.json") << config.dump();
  if (name.starts_with("synthetic:")) {
    const auto question = std::min(name.find('?'), name.size());
    return "synthetic:" + (folder / "config.json").string() + name.substr(question);
  }
  for (const auto& entry : fs::directory_iterator(name))
    if (entry.path().filename() != "config.json")
      fs::create_symlink(fs::canonical(entry.path()), folder / entry.path().filename());
  return folder;
}

}  // namespace detail

/// Runs `reps` repetitions of `ids` and two decode steps on the first layer, or with `full` on the whole model, as
/// `options` says for device, dtype, threads and execution. Leaves nothing behind. Throws Error where it cannot be
/// tried at all, and Interrupted.
inline Trial try_model(const std::string& name, const model::Checkpoint& checkpoint,
                       const std::vector<std::int32_t>& ids, const Options& options, bool full) {
  Trial out;
  out.model = name;
  out.of_layers = checkpoint.config().num_layers;
  const bool whole = full || checkpoint.gguf() != nullptr;
  out.layers = whole ? out.of_layers : 1;
  const AtomicDirectory folder(std::filesystem::temp_directory_path() / "fpf_preflight");  // removed, never committed
  const auto model = folder.content() / "model", results = folder.content() / "out",
             prompt = folder.content() / "ids.json";
  std::filesystem::create_directory(model);
  std::ofstream(prompt) << nlohmann::json(ids).dump();
  std::vector<std::string> args{
      (std::filesystem::read_symlink("/proc/self/exe").parent_path() / "exp0_reference").string(),
      "--model",
      full ? name : detail::first_layer_of(name, checkpoint, model),
      "--prompt-ids",
      prompt.string(),
      "--decode-steps",
      "2",
      "--reps",
      std::to_string(std::max<std::int64_t>(2, options.reps)),
      "--execution",
      options.execution,
      "--out",
      results.string(),
      "--quiet"};
  if (!whole) args.insert(args.end(), {"--layers", "0"});
  if (full) args.emplace_back("--hash-weights");
  if (!options.device.empty()) args.insert(args.end(), {"--device", options.device});
  if (!options.dtype.empty()) args.insert(args.end(), {"--dtype", options.dtype});
  if (options.threads > 0) args.insert(args.end(), {"--threads", std::to_string(options.threads)});
  if (!options.tokenizer.empty()) args.insert(args.end(), {"--tokenizer", options.tokenizer});
  const auto begin = std::chrono::steady_clock::now();
  std::string error;
  const int code = run_child(args, &error);
  check_interrupt();
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const auto file = results / "reference_baseline.json";
  if (std::filesystem::exists(file))
    out.file = read_json(file);
  else
    out.error = fmt::format("exp0_reference ended with exit code {}{}{}", code, error.empty() ? "" : ": ", error);
  return out;
}

}  // namespace fpf::preflight
