// What an experiment file says about a configuration besides its signals.
#pragma once

#include <algorithm>
#include <fpf/compare/analysis.hpp>
#include <fpf/compare/join.hpp>
#include <fpf/compare/statistics.hpp>
#include <fpf/evidence/prompts.hpp>
#include <fpf/evidence/stored_signals.hpp>
#include <string>
#include <vector>

namespace fpf::compare {

namespace detail {

inline const nlohmann::json* member_of(const nlohmann::json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

/// {step, layer, signal, ...} as "step 3, key_vectors layer 12".
inline std::string place_text(const nlohmann::json& place) {
  if (place.is_string()) return place.get<std::string>();
  std::string text;
  if (const auto* step = member_of(place, "step")) text = "step " + step->dump();
  if (const auto* signal = member_of(place, "signal")) text += (text.empty() ? "" : ", ") + value_text(*signal);
  if (const auto* layer = member_of(place, "layer")) text += " layer " + layer->dump();
  return text;
}

inline double number_or_mean(const nlohmann::json& value) {
  if (value.is_number()) return value.get<double>();
  double sum = 0;
  std::size_t count = 0;
  for (const nlohmann::json& element : value) {
    if (!element.is_number()) continue;
    sum += element.get<double>();
    ++count;
  }
  return count == 0 ? 0 : sum / static_cast<double>(count);
}

/// Adds the times of one prompt's runs, of which the first has those of all repetitions.
inline void add_times(const std::vector<const evidence::StoredRun*>& runs, Timing& out, std::vector<double>& prefills,
                      std::vector<double>& decodes) {
  const nlohmann::json* runtime = runs.empty() ? nullptr : member_of(runs.front()->members, "runtime");
  const nlohmann::json* seconds = runtime == nullptr ? nullptr : member_of(*runtime, "seconds");
  if (seconds != nullptr && seconds->is_array()) {
    for (const nlohmann::json& value : *seconds)
      if (value.is_number()) out.seconds.push_back(value.get<double>());
    if (const nlohmann::json* prefill = member_of(*runtime, "prefill_seconds"))
      prefills.push_back(number_or_mean(*prefill));
    if (const nlohmann::json* decode = member_of(*runtime, "decode_seconds"))
      decodes.push_back(number_or_mean(*decode));
  } else {
    for (const auto* run : runs)
      if (const nlohmann::json* value = member_of(run->members, "runtime_seconds");
          value != nullptr && value->is_number())
        out.seconds.push_back(value->get<double>());
  }
}

inline Timing timing_of(const Member& member, std::size_t prompts) {
  Timing out;
  std::vector<double> prefills, decodes;
  for (std::size_t p = 0; p < prompts; ++p) add_times(member.runs_of(p), out, prefills, decodes);
  if (!prefills.empty()) out.prefill_seconds = mean_of(prefills);
  if (!decodes.empty()) out.decode_seconds = mean_of(decodes);
  if (!out.seconds.empty()) out.mean = mean_of(out.seconds);
  out.variance = variance_of(out.seconds);
  return out;
}

/// Bit-exactness from the digests that a run carries for every repetition of one prompt.
inline Reproducibility reproducibility_of(const std::vector<const evidence::StoredRun*>& runs) {
  Reproducibility out;
  out.repetitions = static_cast<int>(runs.size());
  const nlohmann::json* found = runs.empty() ? nullptr : member_of(runs.front()->members, "reproducibility");
  const nlohmann::json* digests = found == nullptr ? nullptr : member_of(*found, "digests");
  if (digests == nullptr || !digests->is_array() || digests->empty()) return out;
  out.repetitions = static_cast<int>(digests->size());
  if (out.repetitions < 2) return out;
  const bool checked = std::ranges::all_of(runs, [](const auto* run) { return evidence::states_digests(*run); });
  out.basis = checked ? Reproducibility::Basis::digests : Reproducibility::Basis::unchecked_digests;
  out.bit_exact = evidence::equal_repetitions(*digests);  // what the file states of it: evidence/labels.hpp
  if (const nlohmann::json* place = member_of(*found, "first_difference")) out.first_difference = place_text(*place);
  return out;
}

/// Over all prompts: one that does not repeat decides, else one of which nothing is known; the fewest repetitions.
inline Reproducibility reproducibility_of(const Member& member, const std::vector<PromptId>& prompts) {
  constexpr auto digests = Reproducibility::Basis::digests;
  Reproducibility out = reproducibility_of(member.runs_of(0));
  const auto named = [&](Reproducibility one, const PromptId& prompt) {
    if (!one.first_difference.empty())
      one.first_difference = evidence::beside_prompt(one.first_difference, prompt.number, prompts.size());
    return one;
  };
  out = named(out, prompts[0]);
  for (std::size_t p = 1; p < prompts.size(); ++p) {
    const Reproducibility one = reproducibility_of(member.runs_of(p));
    const int fewest = std::min(out.repetitions, one.repetitions);
    const bool weaker = one.repeats() == Repeats::no || (out.repeats() == Repeats::yes && one.basis != digests);
    if (out.repeats() != Repeats::no && weaker) out = named(one, prompts[p]);
    out.repetitions = fewest;
  }
  return out;
}

/// In the file's order; where there are several prompts each once.
inline std::vector<int> stored_repetitions_of(const Member& member, std::size_t prompts) {
  std::vector<int> out;
  for (const auto* run : member.runs)
    if (prompts == 1 || std::ranges::find(out, run->rep_id) == out.end()) out.push_back(run->rep_id);
  return out;
}

inline std::string status_of(const evidence::StoredRun& run) {
  const nlohmann::json* status = member_of(run.members, "status");
  if (status == nullptr || *status == "complete" || *status == "ok") return "";
  const nlohmann::json* place = member_of(run.members, "non_finite");
  return value_text(*status) + (place == nullptr ? "" : ": " + place_text(*place));
}

/// From the manifest: fpf's own kernels, and the operations that on a GPU were not theirs.
inline void add_kernels(Configuration& entry, const nlohmann::json& configuration) {
  const nlohmann::json* manifest = member_of(configuration, "manifest");
  const nlohmann::json* kernels = manifest == nullptr ? nullptr : member_of(*manifest, "own_kernels");
  if (kernels == nullptr || !kernels->is_array()) return;
  for (const nlohmann::json& kernel : *kernels) {
    const nlohmann::json *name = member_of(kernel, "name"), *nvrtc = member_of(kernel, "nvrtc"),
                         *code = member_of(kernel, "code_sha256");
    if (name == nullptr || nvrtc == nullptr || code == nullptr) continue;  // files before code_sha256 was kept
    entry.kernels[value_text(*name)] = {value_text(*nvrtc), value_text(*code), kernel.value("instructions", 0ull),
                                        kernel.value("registers", 0u)};
  }
  const nlohmann::json* operations = member_of(*manifest, "operations");
  for (const char* phase : {"prefill", "decode"}) {
    const nlohmann::json* table = operations == nullptr ? nullptr : member_of(*operations, phase);
    if (table == nullptr || !table->is_object()) continue;
    for (const auto& [operation, by] : table->items())
      if (by.is_string() && by.get<std::string>().find("libtorch") != std::string::npos)
        entry.by_libraries.push_back(std::string(phase) + " " + operation);
  }
}

}  // namespace detail

/// The configurations of an experiment; reproducibility from digests alone, vectors come later (analyse.hpp).
inline std::vector<Configuration> configurations_of(const JoinedExperiment& experiment) {
  std::vector<Configuration> out;
  for (const Member& member : experiment.members) {
    Configuration entry;
    entry.id = member.id;
    entry.hardware = member.hardware;
    if (const auto name = member.conditions.find("manifest/device/name"); name != member.conditions.end())
      entry.device = name->second;
    entry.value = value_text(member.value);
    entry.file = experiment.file_of(member).name();
    if (const auto* provider = detail::member_of(*member.configuration, "provider"))
      entry.provider = value_text(*provider);
    for (const auto& [name, value] : member.configuration->items())
      if (name.ends_with("_version") && !value.is_null()) entry.versions.emplace_back(name, value_text(value));
    const auto& prompts = experiment.prompts;
    entry.stored_repetitions = detail::stored_repetitions_of(member, prompts.size());
    for (std::size_t p = 0; p < prompts.size(); ++p) {
      const auto runs = member.runs_of(p);
      const auto run = std::ranges::min_element(runs, {}, [](const auto* one) { return one->rep_id; });
      if (run == runs.end()) continue;
      entry.decode_steps += static_cast<int>((*run)->steps.size());
      const std::string status = detail::status_of(**run);
      if (!entry.status.empty() || status.empty()) continue;
      entry.status = evidence::beside_prompt(status, prompts[p].number, prompts.size());
    }
    entry.reproducibility = detail::reproducibility_of(member, prompts);
    entry.timing = detail::timing_of(member, prompts.size());
    detail::add_kernels(entry, *member.configuration);
    out.push_back(std::move(entry));
  }
  return out;
}

/// The baseline's value: the one that files mark, else the smallest (the plan's rule). Nothing when values do
/// not vary at all. Throws Error when files mark different ones.
inline std::optional<nlohmann::json> baseline_value(const JoinedExperiment& experiment) {
  std::optional<nlohmann::json> marked, smallest;
  bool varies = false;
  for (const Member& member : experiment.members) {
    if (smallest && !equal_values(member.value, *smallest)) varies = true;
    if (!smallest || compare_values(member.value, *smallest) < 0) smallest = member.value;
    if (!member.baseline) continue;
    if (marked && !equal_values(*marked, member.value))
      fail("expected one baseline value, found {} and {} ({} in {})", value_text(*marked), value_text(member.value),
           member.id, experiment.file_of(member).name());
    marked = member.value;
  }
  if (!varies) return {};
  return marked ? marked : smallest;
}

}  // namespace fpf::compare
