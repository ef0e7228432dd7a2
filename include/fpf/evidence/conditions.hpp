// Everything that two configurations can differ in beside what an experiment varies, and what a difference means: the
// one list of it. (Weights have a header of their own, weights.hpp.)
#pragma once

#include <algorithm>
#include <array>
#include <fpf/core/json.hpp>
#include <fpf/evidence/experiment_file.hpp>
#include <fpf/evidence/experiment_kinds.hpp>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::evidence {

/// What a difference in a field means.
enum class Treatment : std::uint8_t {
  allowed,   // no result depends on it, or it follows from fields that are listed themselves
  reported,  // results may depend on it: whatever is concluded says so
  refused    // results depend on it: nothing is concluded. Reported where the files exist already
};

/// A row of the table: a field of a configuration, or all that begin so ("manifest/knobs/*").
struct Condition {
  std::string_view field;
  Treatment beside;                        // between an experiment's baseline and its variant
  Treatment between;                       // between two machines' files of one value
  std::string_view variable_of = "";       // the experiments that vary it, by type
  std::string_view words = "";             // for people; empty: the field's last part
  bool host_only = false;                  // matters where a CPU computes, other than by portable execution
  std::string_view only_reported_in = "";  // the experiments that cannot keep it equal
};

inline constexpr auto conditions = [] {
  using enum Treatment;
  constexpr std::string_view kernels_vary =
      "batch_size compile quantization attention cuda_version tensor_parallel expert_parallel";
  constexpr std::string_view ranks_vary = "tensor_parallel expert_parallel";
  return std::to_array<Condition>({
      {"config_id", allowed, allowed},
      {"variable_value", allowed, allowed},
      {"baseline", allowed, allowed},
      {"hardware", refused, allowed},
      {"provider", reported, allowed},
      {"cuda_version", refused, reported, "cuda_version", "CUDA"},
      {"torch_version", refused, reported, "cuda_version", "torch"},
      {"transformers_version", refused, reported, "", "transformers"},
      {"flash_attn_version", allowed, allowed},  // attention_impl and torch_version say it
      {"python_version", refused, reported, "", "Python"},
      {"fixed_params/compile", refused, refused, "compile"},
      {"fixed_params/execution", refused, refused, "compile"},
      {"fixed_params/attention_impl", refused, refused, "attention"},
      {"fixed_params/tp_size", refused, refused, "tensor_parallel"},
      {"fixed_params/ep_size", refused, refused, "expert_parallel"},
      {"fixed_params/expert_placement", refused, refused, "expert_parallel"},
      {"fixed_params/concurrent_streams", refused, refused, "concurrent_streams"},
      {"fixed_params/batch_size", refused, refused, "batch_size"},
      {"fixed_params/quantization", refused, refused, "quantization"},
      {"fixed_params/kernels_by", refused, refused, "cuda_version"},
      {"fixed_params/*", refused, refused, "one's own"},
      {"neighbours", refused, refused, "batch_size", "the batch's other prompts"},
      {"manifest/fpf/version", reported, reported, "", "fpf"},
      {"manifest/fpf/revision", reported, reported, "", "fpf's revision"},
      {"manifest/device/type", refused, allowed, "", "device"},
      {"manifest/device/name", refused, allowed, "", "device"},
      {"manifest/device/compute_capability", refused, allowed, "", "compute capability"},
      {"manifest/device/multiprocessors", refused, allowed},
      {"manifest/device/*", reported, allowed},
      {"manifest/threads", allowed, allowed},  // "threads" are those of a rank
      {"threads", refused, allowed, "", "threads", true, ranks_vary},
      {"manifest/cpu_capability", refused, allowed, "cuda_version", "CPU capability", true},
      {"manifest/libraries/mkl", refused, reported, "cuda_version", "MKL", true},
      {"manifest/libraries/onednn", refused, reported, "cuda_version", "oneDNN", true},
      {"manifest/libraries/openmp", refused, reported, "cuda_version", "OpenMP", true},
      {"manifest/libraries/*", refused, reported, "cuda_version"},
      {"manifest/knobs/*", refused, refused},
      {"manifest/model/*", allowed, allowed},   // weights.hpp
      {"manifest/prompt/*", allowed, allowed},  // prompt_sha256 decides: it is over the ids
      {"manifest/activation_dtype", refused, refused, "", "activations"},
      {"manifest/policies/quantisation", refused, refused, "quantization"},
      {"manifest/policies/attention", refused, refused, "attention"},
      {"manifest/policies/parallelism", refused, refused, ranks_vary},
      {"manifest/policies/stream", refused, refused, "concurrent_streams"},
      {"manifest/policies/execution", refused, refused, "compile"},
      {"manifest/policies/execution_detail", refused, refused, "compile"},
      {"manifest/policies/*", refused, refused},
      {"manifest/ranks", allowed, allowed},  // follows from parallelism, its size and the machine
      {"manifest/communicator/emulated", reported, reported, ranks_vary, "emulated ranks"},
      {"manifest/communicator/*", reported, reported, ranks_vary},
      {"manifest/operations/*", reported, allowed, kernels_vary},  // between machines: of the cards
      {"manifest/nvrtc/version", refused, reported, "cuda_version", "NVRTC"},
      {"manifest/nvrtc/library", allowed, allowed},
  });
}();

namespace detail {

inline constexpr Condition unlisted{"", Treatment::reported, Treatment::reported};

constexpr bool covers(std::string_view pattern, std::string_view field) {
  if (!pattern.ends_with('*')) return pattern == field;
  return field.starts_with(pattern.substr(0, pattern.size() - 1));
}

inline bool names(std::string_view list, std::string_view word) {
  if (word.empty()) return false;
  for (std::size_t at = 0; at <= list.size();) {
    const std::size_t end = std::min(list.find(' ', at), list.size());
    if (list.substr(at, end - at) == word) return true;
    at = end + 1;
  }
  return false;
}

inline void flatten(const nlohmann::json& value, const std::string& at, std::map<std::string, std::string>& out) {
  if (value.is_object()) {
    for (const auto& [name, member] : value.items()) flatten(member, at + "/" + name, out);
  } else if (!value.is_null()) {
    out[at.substr(1)] = value.is_string() ? value.get<std::string>() : value.dump();
  }
}

}  // namespace detail

/// The row for a field of conditions_of(). Of what nobody listed a difference is reported.
inline const Condition& condition_of(std::string_view field) {
  const auto* found =
      std::ranges::find_if(conditions, [&](const Condition& c) { return detail::covers(c.field, field); });
  return found == conditions.end() ? detail::unlisted : *found;
}

/// Whether an experiment varies that field. What those of other types than the nine vary is theirs to say: any policy,
/// parameter or library.
inline bool varies(std::string_view experiment_type, const Condition& condition) {
  if (detail::names(condition.variable_of, experiment_type)) return true;
  return kind_of(experiment_type) == nullptr && !condition.variable_of.empty();
}

/// A configuration's fields and their values as text; lists are one value. With them "threads", those that its first
/// rank computes with, and "neighbours", the digests of its first run's. Kernels of fpf's own are left out: operations,
/// NVRTC and fpf's revision say which they are.
inline std::map<std::string, std::string> conditions_of(const nlohmann::json& configuration, const StoredRun* run) {
  nlohmann::json plain = configuration;
  if (plain.is_object() && plain.contains("manifest") && plain["manifest"].is_object())
    plain["manifest"].erase("own_kernels");
  std::map<std::string, std::string> out;
  detail::flatten(plain, "", out);
  const auto& manifest = member_or_null(plain, "manifest");
  const auto& ranks = member_or_null(manifest, "ranks");
  const auto& own = ranks.is_array() && !ranks.empty() ? member_or_null(ranks.front(), "threads") : ranks;
  if (const auto& threads = own.is_number() ? own : member_or_null(manifest, "threads"); threads.is_number())
    out["threads"] = threads.dump();
  if (run == nullptr) return out;
  std::string prompts;
  for (const auto& one : run->members.value("neighbours", nlohmann::json::array()))
    prompts += (prompts.empty() ? "" : " ") + member_or_null(one, "prompt_sha256").dump();
  if (!prompts.empty()) out["neighbours"] = prompts;
  return out;
}

/// A field in which two configurations differ.
struct ConditionDifference {
  std::string field;
  std::string words;
  std::string a, b;  // values; "not recorded" where one says nothing
  Treatment treatment{};

  /// "threads 2 against 1": b's value first.
  std::string text() const { return fmt::format("{} {} against {}", words, b, a); }
};

/// How two configurations stand to each other: on one kind of machine, or on two.
enum class Relation : std::uint8_t { beside, between };

/// Whether conditions_of() a configuration found its manifest.
inline bool has_manifest(const std::map<std::string, std::string>& fields) {
  const auto first = fields.lower_bound("manifest/");
  return first != fields.end() && first->first.starts_with("manifest/");
}

/// What differs between two configurations, but for what is allowed and what an experiment of that type varies (empty:
/// they are of one value, and nothing may). What the manifest has is compared where both have one (has_manifest()),
/// what stands beside it where both say it.
inline std::vector<ConditionDifference> condition_differences(const std::map<std::string, std::string>& a,
                                                              const std::map<std::string, std::string>& b,
                                                              Relation relation, std::string_view experiment_type) {
  const bool manifests = has_manifest(a) && has_manifest(b);
  std::vector<ConditionDifference> out;
  const auto value = [](const auto& side, const std::string& field) {
    const auto found = side.find(field);
    return found == side.end() ? std::string("not recorded") : found->second;
  };
  const auto depends_on_host = [&](const auto& side) {
    return value(side, "manifest/device/type") == "cpu" && value(side, "manifest/policies/execution") != "portable";
  };
  const bool host = depends_on_host(a) || depends_on_host(b);
  auto fields = a;
  fields.insert(b.begin(), b.end());
  for (const auto& [field, unused] : fields) {
    const std::string left = value(a, field), right = value(b, field);
    const Condition& condition = condition_of(field);
    if (left == right || (condition.host_only && !host)) continue;
    if (!manifests && (field.starts_with("manifest/") || !a.contains(field) || !b.contains(field))) continue;
    if (!experiment_type.empty() && varies(experiment_type, condition)) continue;
    Treatment treatment = relation == Relation::beside ? condition.beside : condition.between;
    if (treatment == Treatment::allowed) continue;
    if (detail::names(condition.only_reported_in, experiment_type)) treatment = Treatment::reported;
    const std::string words =
        condition.words.empty() ? field.substr(field.rfind('/') + 1) : std::string(condition.words);
    out.push_back({field, words, left, right, treatment});
  }
  return out;
}

}  // namespace fpf::evidence
