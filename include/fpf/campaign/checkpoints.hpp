// Which checkpoints a campaign may delete when the plan says "delete the other two quants, keep awq".
#pragma once

#include <filesystem>
#include <fpf/core/atomic_directory.hpp>
#include <fpf/core/json.hpp>
#include <fpf/core/overwriting.hpp>
#include <fpf/experiment/options.hpp>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace fpf::campaign {

/// --model-gptq's and --model-bnb's folders, with their options: folders that exist, are no link, hold a config.json of
/// that format, and hold none of what `kept` names. Nothing else is ever deleted. Throws Error, naming both, for a
/// folder that would be deleted but for what it holds.
inline std::vector<std::pair<std::string, std::filesystem::path>> deletable(const Options& options,
                                                                            const std::vector<NamedPath>& kept) {
  namespace fs = std::filesystem;
  std::vector<std::pair<std::string, fs::path>> out;
  std::error_code error;
  for (const auto& [option, name, method] : {std::tuple{"--model-gptq", options.model_gptq, "gptq"},
                                             std::tuple{"--model-bnb", options.model_bnb, "bitsandbytes"}}) {
    if (name.empty() || name.starts_with("synthetic:") || !fs::is_directory(fs::symlink_status(name, error))) continue;
    const fs::path folder = resolved(name), config = folder / "config.json";
    if (!fs::is_regular_file(config, error)) continue;
    const auto json = read_json(config);
    if (json.value(nlohmann::json::json_pointer("/quantization_config/quant_method"), "") != method) continue;
    for (const NamedPath& one : kept)
      if (holds(folder, one.path))
        fail(
            "--delete-checkpoints would remove {} {}, which holds {}: move one of them, or leave --delete-checkpoints out",
            option, name, one.text());
    out.emplace_back(option, folder);
  }
  return out;
}

}  // namespace fpf::campaign
