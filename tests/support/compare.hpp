// The program compare: what its tests share.
#pragma once

#include "folders.hpp"

using Json = nlohmann::ordered_json;

inline const std::string program = FPF_BIN "/compare";

/// Returns the path as given.
inline std::string write(const std::string& path, const Json& content) {
  write(fs::path(path), content.dump());
  return path;
}

/// The same experiment with `count` prompts: of prompt p all numbers of the rows are (1 + p) times as large.
inline Json of_prompts(const Json& one, int count) {
  Json out = one;
  out["runs"] = Json::array();
  const auto scale = [](auto& self, Json& value, int by) -> void {
    for (Json& element : value)
      if (element.is_structured())
        self(self, element, by);
      else if (element.is_number_float())
        element = element.get<double>() * by;
  };
  for (int prompt = 0; prompt < count; ++prompt)
    for (Json run : one["runs"]) {
      run["prompt_index"] = prompt;
      run["prompt_sha256"] = "prompt " + std::to_string(prompt);
      for (Json& step : run["decode_steps"])
        for (auto& [name, value] : step.items())
          if (value.is_object()) scale(scale, value, 1 + prompt);
      if (prompt > 0) run.erase("reproducibility");
      out["runs"].push_back(std::move(run));
    }
  return out;
}

inline Json parsed(const fs::path& path) { return Json::parse(text_of(path)); }
