// How each field of an experiment file is held: the one list of it, field by field of experiment.schema.json.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <fpf/core/json.hpp>
#include <fpf/evidence/experiment_file.hpp>
#include <fpf/evidence/experiment_kinds.hpp>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>

namespace fpf::evidence {

/// What stands behind a field.
enum class Support : std::uint8_t {
  reader,       // its place and type: the reader refuses others
  derived,      // other fields of the file: labels.hpp
  digest,       // the digests, and they the vectors: stored_signals.hpp
  re_executed,  // what the model gives and says of itself when verify runs it
  not_checked   // nothing: it is taken on trust
};

/// A field by its path in a file ("*": each element or name; at the end it and all below it).
struct SchemaField {
  std::string_view path;
  Support support;
};

inline constexpr auto schema_fields = [] {
  using enum Support;
  return std::to_array<SchemaField>({
      {"experiment_metadata/schema_version", reader},
      {"experiment_metadata/experiment_type", derived},
      {"experiment_metadata/variable_tested", derived},
      {"experiment_metadata/model", derived},
      {"experiment_metadata/model_size", re_executed},
      {"experiment_metadata/architecture", derived},
      {"experiment_metadata/model_architecture", re_executed},
      {"experiment_metadata/sequence_length", derived},
      {"experiment_metadata/decode_steps", derived},
      {"experiment_metadata/tokens", derived},
      {"experiment_metadata/prompts/count", derived},
      {"experiment_metadata/prompts/seed", not_checked},
      {"experiment_metadata/prompts/documents/*/name", not_checked},
      {"experiment_metadata/prompts/documents/*/sha256", not_checked},
      {"experiment_metadata/date_created", not_checked},
      {"experiment_metadata/extraction_config/layers/*", re_executed},
      {"experiment_metadata/extraction_config/positions/*", reader},
      {"experiment_metadata/extraction_config/hidden_dim", re_executed},
      {"experiment_metadata/extraction_config/key_dim", re_executed},
      {"experiment_metadata/extraction_config/top_k_logprobs", re_executed},
      {"experiment_metadata/extraction_config/num_hidden_layers", re_executed},
      {"experiment_metadata/extraction_config/signal_dtypes/*", derived},
      {"configurations/*/config_id", derived},
      {"configurations/*/hardware", not_checked},
      {"configurations/*/provider", not_checked},
      {"configurations/*/variable_value", derived},
      {"configurations/*/baseline", derived},
      {"configurations/*/cuda_version", derived},
      {"configurations/*/torch_version", derived},
      {"configurations/*/transformers_version", derived},
      {"configurations/*/flash_attn_version", derived},
      {"configurations/*/python_version", derived},
      {"configurations/*/fixed_params/compile", derived},
      {"configurations/*/fixed_params/execution", derived},
      {"configurations/*/fixed_params/attention_impl", derived},
      {"configurations/*/fixed_params/tp_size", derived},
      {"configurations/*/fixed_params/ep_size", derived},
      {"configurations/*/fixed_params/concurrent_streams", derived},
      {"configurations/*/fixed_params/batch_size", derived},
      {"configurations/*/fixed_params/quantization", derived},
      {"configurations/*/fixed_params/expert_placement", derived},
      {"configurations/*/fixed_params/*", not_checked},  // a user's own
      {"configurations/*/manifest/fpf/*", re_executed},
      {"configurations/*/manifest/device/*", re_executed},
      {"configurations/*/manifest/activation_dtype", derived},
      {"configurations/*/manifest/prompt/*", not_checked},
      {"configurations/*/manifest/model/*", re_executed},
      {"configurations/*/manifest/policies/*", re_executed},
      {"configurations/*/manifest/ranks/*", re_executed},
      {"configurations/*/manifest/operations/*", re_executed},
      {"configurations/*/manifest/*", re_executed},
      {"runs/*/config_id", re_executed},
      {"runs/*/rep_id", derived},
      {"runs/*/timestamp", not_checked},
      {"runs/*/runtime_seconds", derived},
      {"runs/*/status", re_executed},
      {"runs/*/non_finite/*", re_executed},
      {"runs/*/runtime/seconds/*", not_checked},
      {"runs/*/runtime/*", derived},
      {"runs/*/reproducibility/*", derived},
      {"runs/*/tokens/*", derived},
      {"runs/*/signals_sha256", digest},
      {"runs/*/prompt_index", derived},
      {"runs/*/document_sha256", not_checked},
      {"runs/*/document_offset", not_checked},
      {"runs/*/prompt_sha256", derived},
      {"runs/*/prompt_text", re_executed},
      {"runs/*/prompt_token_ids/*", derived},
      {"runs/*/peak_memory_bytes", not_checked},
      {"runs/*/peak_device_memory_bytes", not_checked},
      {"runs/*/neighbours/*/prompt_text", re_executed},
      {"runs/*/neighbours/*", derived},
      {"runs/*/contention/accompanied", derived},
      {"runs/*/contention/*", not_checked},
      {"runs/*/quiet_runtime/*", derived},
      {"runs/*/decode_steps/*/step", derived},
      {"runs/*/decode_steps/*/token_id", derived},
      {"runs/*/decode_steps/*/chosen_token_id", derived},
      {"runs/*/decode_steps/*/token_text", re_executed},
      {"runs/*/decode_steps/*/absolute_position", derived},
      {"runs/*/decode_steps/*/*", digest},
  });
}();

/// Whether a row's path is that of a field, "configurations/*/manifest/threads".
constexpr bool covers(const SchemaField& row, std::string_view path) {
  if (!row.path.ends_with("/*")) return row.path == path;
  const std::string_view parent = row.path.substr(0, row.path.size() - 2);
  return path.starts_with(parent) && (path.size() == parent.size() || path[parent.size()] == '/');
}

/// The row of a field, the first that covers it; null where none does.
constexpr const SchemaField* field_of(std::string_view path) {
  for (const SchemaField& row : schema_fields)
    if (covers(row, path)) return &row;
  return nullptr;
}

namespace detail {

/// Whether a value's field is taken on trust. What follows from a manifest is where there is none, and what an
/// experiment varies where it is a user's own.
inline bool is_trusted(std::string_view path, const SchemaField* row, bool manifest, bool own_type) {
  if (row == nullptr || row->support == Support::not_checked) return true;
  if (own_type && (path.ends_with("/variable_value") || path.ends_with("/variable_tested") ||
                   path.ends_with("/baseline") || path.ends_with("/experiment_type")))
    return true;
  if (row->support == Support::derived) return !manifest && !path.starts_with("runs/");
  return row->support == Support::re_executed && path.find("/manifest/") == std::string_view::npos &&
         !path.ends_with("/config_id");
}

/// Adds the rows of all values below `path` that `trusted` says so of.
template <class IsTrusted>
void add_not_checked(const nlohmann::json& value, const std::string& path, const IsTrusted& trusted,
                     std::set<std::string>& to) {
  if (value.is_structured()) {
    for (const auto& [name, member] : value.items())
      add_not_checked(member, path + "/" + (value.is_array() ? "*" : name), trusted, to);
    return;
  }
  if (value.is_null()) return;
  const SchemaField* row = field_of(path);
  if (trusted(path, row)) to.emplace(row == nullptr ? path : row->path);
}

}  // namespace detail

/// The fields of a file that nothing supports where nothing is re-executed: rows of the table, or a path that no row
/// covers, ascending.
inline std::set<std::string> fields_not_checked(const ExperimentFile& file) {
  const auto& type = member_or_null(file.metadata, "experiment_type");
  const bool own_type = !type.is_string() || kind_of(type.get_ref<const std::string&>()) == nullptr;
  const bool manifest =
      std::ranges::all_of(file.configurations, [](const auto& one) { return one.contains("manifest"); });
  const auto trusted = [&](std::string_view path, const SchemaField* row) {
    return detail::is_trusted(path, row, manifest, own_type);
  };
  std::set<std::string> out;
  detail::add_not_checked(file.metadata, "experiment_metadata", trusted, out);
  for (const auto& one : file.configurations) detail::add_not_checked(one, "configurations/*", trusted, out);
  for (const auto& one : file.runs) {
    detail::add_not_checked(one.members, "runs/*", trusted, out);
    if (one.prompt_text) out.emplace("runs/*/prompt_text");
    if (member_or_null(member_or_null(one.members, "reproducibility"), "digests").size() > 1)
      out.emplace("runs/*/reproducibility/digests of repetitions that are not stored");
  }
  return out;
}

}  // namespace fpf::evidence
