// Which checkpoints a campaign may delete when the plan says "delete the other two quants, keep awq".
#pragma once

#include <filesystem>
#include <fpf/core/atomic_directory.hpp>
#include <fpf/core/json.hpp>
#include <fpf/experiment/options.hpp>
#include <string>
#include <utility>
#include <vector>

namespace fpf::campaign {

/// --model-gptq's and --model-bnb's folders, with their options: folders that exist, are no link, hold a config.json of that
/// format, and are not --model's or around it. Nothing else is ever deleted.
inline std::vector<std::pair<std::string, std::filesystem::path>> deletable(const Options& options) {
  namespace fs = std::filesystem;
  std::vector<std::pair<std::string, fs::path>> out;
  std::error_code error;
  const fs::path kept = fs::weakly_canonical(options.model, error);
  for (const auto& [option, name, method] : {std::tuple{"--model-gptq", options.model_gptq, "gptq"},
                                             std::tuple{"--model-bnb", options.model_bnb, "bitsandbytes"}}) {
    if (name.empty() || name.starts_with("synthetic:") || !fs::is_directory(fs::symlink_status(name, error))) continue;
    const fs::path folder = fs::weakly_canonical(name, error), config = folder / "config.json";
    const auto [end, rest] = std::ranges::mismatch(folder, kept);
    if (end == folder.end() || !fs::is_regular_file(config, error)) continue;
    const auto json = read_json(config);
    if (json.value(nlohmann::json::json_pointer("/quantization_config/quant_method"), "") == method)
      out.emplace_back(option, folder);
  }
  return out;
}

}  // namespace fpf::campaign
