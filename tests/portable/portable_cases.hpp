// The runs whose digests fixtures/portable_digests.json holds, for any device: tests/portable/portable_digests.cpp,
// benchmarks/gpu/portable.cpp.
#pragma once

#include <filesystem>
#include <fpf/attention/flash.hpp>
#include <fpf/evidence/digests.hpp>
#include <fpf/evidence/stored_signals.hpp>
#include <fpf/execution/portable.hpp>
#include <fpf/experiment/experiment.hpp>
#include <fpf/quant/schemes.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "compiled.hpp"

namespace portable_cases {

/// One entry of the file's "runs": its model with {fixtures} and {models} replaced, prompt, steps and dtype.
struct Case {
  std::string name, model;
  std::vector<std::int32_t> prompt;
  fpf::RunSettings settings;
  fpf::evidence::Digests digests;

  Case(const nlohmann::json& json, const std::string& fixtures, const std::string& models) {
    name = json.at("model");
    model = name;
    for (const auto& [word, with] : {std::pair{std::string("{fixtures}"), fixtures}, {"{models}", models}})
      if (const auto at = model.find(word); at != std::string::npos) model.replace(at, word.size(), with);
    prompt = json.at("prompt").get<std::vector<std::int32_t>>();
    settings.decode_steps = json.at("decode_steps");
    settings.dtype = json.at("dtype") == "bfloat16"  ? fpf::DType::bfloat16
                     : json.at("dtype") == "float16" ? fpf::DType::float16
                                                     : fpf::DType::float32;
    digests = fpf::evidence::digests_from(json.at("digests"));
  }

  /// Whether the model is here: SmolLM2's file is not everywhere.
  bool is_here() const { return model.starts_with("synthetic:") || std::filesystem::exists(model); }

  /// Sequence 0 of a batch of `batch`, all layers.
  fpf::evidence::Signals run(const std::string& device, int batch = 1) const {
    const auto checkpoint = fpf::model::Checkpoint::open(model);
    fpf::RunSettings own = settings;
    own.device = device;
    own.layers.resize(static_cast<std::size_t>(checkpoint.config().num_layers));
    std::iota(own.layers.begin(), own.layers.end(), 0);
    std::vector<std::vector<std::int32_t>> prompts(static_cast<std::size_t>(batch), prompt);
    for (std::size_t b = 1; b < prompts.size(); ++b)
      for (std::int32_t& id : prompts[b]) id = static_cast<std::int32_t>((id * 7 + static_cast<int>(b)) % 1000);
    fpf::evidence::Signals out;
    fpf::quant::select(checkpoint.config().quantization, [&]<class Quant>() {
      using Setup = fpf::Experiment<Quant, fpf::attention::Flash, fpf::parallel::Single, fpf::stream::Exclusive,
                                    fpf::execution::Portable>;
      out = Setup(checkpoint, own).run(prompts).signals;
    });
    return out;
  }
};

inline nlohmann::json to_json(const fpf::evidence::Digests& digests) {
  nlohmann::json out;
  for_each_digest(digests, [&](std::string_view name, const std::string& digest) { out[std::string(name)] = digest; });
  return out;
}

}  // namespace portable_cases
