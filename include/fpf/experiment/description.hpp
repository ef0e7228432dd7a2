// How an experiment file names a model, a machine and what ran on it.
#pragma once

#include <cmath>
#include <fpf/evidence/labels.hpp>
#include <fpf/evidence/manifest.hpp>
#include <fpf/experiment/experiment_info.hpp>
#include <fpf/experiment/settings.hpp>
#include <fpf/model/checkpoint.hpp>
#include <fpf/quant/schemes.hpp>

namespace fpf {

using evidence::config_id;

/// "135M", "30B": parameters of the shape, as model names round them.
inline std::string model_size(const model::ModelConfig& c) {
  const std::int64_t mlp = c.is_moe() ? c.num_experts * (3 * c.moe_intermediate_size * c.hidden_size + c.hidden_size)
                                      : 3 * c.intermediate_size * c.hidden_size;
  const std::int64_t layer = 2 * (c.q_size() + c.kv_size()) * c.hidden_size + mlp;
  const auto total = static_cast<double>(c.num_layers * layer + (c.tied_head ? 1 : 2) * c.vocab_size * c.hidden_size);
  return total >= 1e9 ? fmt::format("{:.0f}B", std::floor(total / 1e9))
                      : fmt::format("{:.0f}M", std::ceil(total / 1e6));
}

/// fixed_params' quantization: "awq-int4", "gguf-Q4_1", "none".
inline std::string quantisation_name(const model::Checkpoint& checkpoint) {
  const auto& quantization = checkpoint.config().quantization;
  if (!quantization.is_null()) return fmt::format("{}-int4", quant::scheme_of(quantization).name);
  const auto* layer = checkpoint.source().find("model.layers.0.self_attn.q_proj.weight");
  if (layer == nullptr || weights::is_plain(layer->format)) return std::string(quant::None::name);
  return fmt::format("gguf-{}", weights::name_of(layer->format));
}

/// The file's experiment_metadata. `prompt_tokens` is the length of the prompt.
inline Json describe_experiment(const ExperimentInfo& info, const model::Checkpoint& checkpoint,
                                const RunSettings& settings, std::size_t prompt_tokens) {
  const auto& config = checkpoint.config();
  Json signal_dtypes;
  for (const evidence::SignalInfo& signal : evidence::signal_table)
    signal_dtypes[std::string(signal.name)] = name_of(dtype_of(signal, settings.dtype));
  return {{"schema_version", 1},
          {"experiment_type", info.type},
          {"variable_tested", info.variable},
          {"model", checkpoint.id()},
          {"model_size", model_size(config)},
          {"architecture", config.is_moe() ? "MoE" : "dense"},
          {"model_architecture", config.architecture},
          {"sequence_length", prompt_tokens + static_cast<std::size_t>(settings.decode_steps)},
          {"decode_steps", settings.decode_steps},
          {"extraction_config",
           {{"layers", settings.layers},
            {"positions", {-3, -2, -1}},
            {"hidden_dim", config.hidden_size},
            {"key_dim", config.kv_size()},
            {"top_k_logprobs", settings.top_k},
            {"num_hidden_layers", config.num_layers},
            {"signal_dtypes", signal_dtypes}}},
          {"date_created", evidence::timestamp()}};
}

/// One line a rank for people: where it runs, what it holds.
inline std::string describe_rank(const Json& rank) {
  const auto range = [](const Json& r) {
    return fmt::format("{}-{}", r[0].get<std::int64_t>(), r[1].get<std::int64_t>() - 1);
  };
  std::string out = fmt::format("rank {} on {}: {:.1f} MB of weights, heads {}, kv heads {}", rank["rank"].get<int>(),
                                rank["device"].get<std::string>(), rank["weight_bytes"].get<double>() / 1e6,
                                range(rank["heads"]), range(rank["kv_heads"]));
  if (rank.contains("experts")) {
    const auto experts = rank["experts"].get<std::vector<std::int64_t>>();
    const bool together = experts.back() - experts.front() + 1 == static_cast<std::int64_t>(experts.size());
    out += fmt::format(
        ", columns {} of experts {}", range(rank["expert_columns"]),
        together ? fmt::format("{}-{}", experts.front(), experts.back()) : fmt::format("{}", fmt::join(experts, " ")));
  } else {
    out += fmt::format(", columns {} of the MLP", range(rank["mlp_columns"]));
  }
  return out;
}

}  // namespace fpf
