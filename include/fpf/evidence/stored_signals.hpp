// A stored run in memory again, to the bit: what run_json.hpp wrote.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fpf/core/half.hpp>
#include <fpf/evidence/digests.hpp>
#include <fpf/evidence/reader.hpp>
#include <fpf/evidence/signals.hpp>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::evidence {

/// What a run holds beside the rows that the index finds.
struct RunTexts {
  std::string prompt_text;
  std::vector<std::int32_t> prompt_token_ids;
  std::vector<std::string> token_texts;  // [steps]
};

namespace detail {

inline constexpr std::size_t text_limit = std::size_t{256} << 20;   // of a prompt, in bytes
inline constexpr std::size_t router_limit = std::size_t{32} << 20;  // of all steps, in bytes

}  // namespace detail

/// "runs[0] (A100_bs1)"
inline std::string run_name(const ExperimentFile& file, const StoredRun& run) {
  return fmt::format("runs[{}] ({})", &run - file.runs.data(), run.config_id);
}

namespace detail {

/// "runs[0] (A100_bs1), decode_steps[3].hidden_states.layer_2.pos_-1"
inline std::string row_name(const ExperimentFile& file, const StoredRun& run, const StoredRow& row) {
  const std::string layer = row.layer < 0 ? "" : fmt::format("layer_{}.", row.layer);
  return fmt::format("{}, decode_steps[{}].{}.{}pos_{}", run_name(file, run), row.step, name_of(row.signal), layer,
                     row.back);
}

}  // namespace detail

/// A JSON array of token ids. Throws Error for anything else; `name`: where it stands.
inline std::vector<std::int32_t> ids_of(const nlohmann::json& json, const std::string& name) {
  std::vector<std::int32_t> out;
  if (!json.is_array()) fail("{}: expected token ids", name);
  for (const auto& id : json) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() > std::uint64_t{std::numeric_limits<std::int32_t>::max()})
      fail("{}: expected token ids, found {:.40}", name, id.dump());
    out.push_back(id.get<std::int32_t>());
  }
  return out;
}

namespace detail {

/// Appends float32 values in their own dtype. Throws Error naming the row for a value that is none of that dtype's.
inline void append_values(std::vector<std::byte>& to, DType dtype, std::span<const float> values,
                          const ExperimentFile& file, const StoredRun& run, const StoredRow& place) {
  const std::size_t begin = to.size(), size = size_of(dtype);
  to.resize(begin + values.size() * size);
  if (dtype == DType::float32) {
    std::memcpy(to.data() + begin, values.data(), values.size_bytes());
    return;
  }
  const bool brain = dtype == DType::bfloat16;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto half = brain ? exact_bfloat16(values[i]) : exact_float16(values[i]);
    if (!half) fail("{}[{}]: {} is no {}", row_name(file, run, place), i, values[i], name_of(dtype));
    std::memcpy(to.data() + begin + 2 * i, &*half, 2);
  }
}

/// The rows of every position of a run, from two before its first step's to its last step's, ascending; none of a run without
/// steps. Throws Error naming the place where a row is missing or too many, or repeats a position with other values.
inline Rows<float> read_positions(const ExperimentFile& file, const StoredRun& run, StoredSignal signal, int layer) {
  const auto steps = static_cast<std::int64_t>(run.steps.size());
  std::int64_t stored = 0;
  for (const StoredRow& row : run.rows) {
    if (row.signal != signal || row.layer != layer) continue;
    ++stored;
    const std::int64_t index = run.position(row) + look_back - 1;
    if (row.back < -look_back || index < 0 || index >= steps + look_back - 1)
      fail("{}: expected positions -3 to -1 of steps 0 to {}", row_name(file, run, row), steps - 1);
  }
  const std::string layer_name = layer < 0 ? "" : fmt::format(" layer {}", layer);
  if (stored != steps * look_back)
    fail("{}, {}{}: expected {} rows in each of {} steps, found {} in all", run_name(file, run), name_of(signal),
         layer_name, look_back, steps, stored);
  if (steps == 0) return {};  // a run that ended in no number before its first step
  Rows<float> rows = read_rows<float>(file, run, signal, layer);
  if (rows.contradictions != 0)
    fail("{}: its position stands in {} with other values", row_name(file, run, *rows.contradiction.first),
         row_name(file, run, *rows.contradiction.second));
  for (std::int64_t index = 0; index < steps + look_back - 1; ++index)
    if (index >= static_cast<std::int64_t>(rows.size()) ||
        rows.positions[static_cast<std::size_t>(index)] != index - look_back + 1)
      fail("{}, {}{}: position {} of the decoded text is missing", run_name(file, run), name_of(signal), layer_name,
           index - look_back + 1);
  return rows;
}

/// Vectors of one layer in their own dtype. `width`: what each must have; 0 for any.
inline VectorRows read_vectors(const ExperimentFile& file, const StoredRun& run, StoredSignal signal, int layer,
                               DType dtype, std::int64_t width) {
  const Rows<float> rows = read_positions(file, run, signal, layer);
  VectorRows out{dtype, width, {}};
  if (width == 0 && rows.size() != 0) out.width = static_cast<std::int64_t>(rows.row(0).size());
  out.bytes.reserve(rows.values.size() * size_of(dtype));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (static_cast<std::int64_t>(rows.row(i).size()) != out.width)
      fail("{}: expected {} numbers, as extraction_config says, found {}", row_name(file, run, *rows.places[i]), width,
           rows.row(i).size());
    append_values(out.bytes, dtype, rows.row(i), file, run, *rows.places[i]);
  }
  return out;
}

/// Log-probabilities of every position. `k`: how many each must have; 0 for as many as the first.
inline LogProbRows read_logprobs(const ExperimentFile& file, const StoredRun& run, std::int64_t k) {
  Rows<float> rows = read_positions(file, run, StoredSignal::logprobs, -1);
  LogProbRows out;
  out.k = k != 0 || rows.size() == 0 ? k : static_cast<std::int64_t>(rows.row(0).size());
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (static_cast<std::int64_t>(rows.row(i).size()) != out.k)
      fail("{}: expected {} log-probabilities, {}, found {}", row_name(file, run, *rows.places[i]), out.k,
           k != 0 ? "as extraction_config says" : "as in the row before", rows.row(i).size());
  out.ids = std::move(rows.ids);
  out.values = std::move(rows.values);
  return out;
}

inline RouterRows read_router(const ExperimentFile& file, const StoredRun& run,
                              const std::vector<nlohmann::json>& routers, int layer) {
  RouterRows out;
  for (std::size_t step = 0; step < routers.size(); ++step) {
    const std::string name = fmt::format("{}, decode_steps[{}].router.layer_{}", run_name(file, run), step, layer);
    const nlohmann::json::json_pointer at(fmt::format("/layer_{}/pos_-1", layer));
    if (!routers[step].contains(at)) fail("{} is missing", name);
    const JsonObject row(routers[step].at(at), name);
    const auto ids = ids_of(row.get<nlohmann::json>("expert_ids"), name);
    const auto weights = row.get<std::vector<float>>("weights");
    if (step == 0) out.k = static_cast<std::int64_t>(ids.size());
    if (static_cast<std::int64_t>(ids.size()) != out.k || weights.size() != ids.size())
      fail("{}: expected {} experts and weights, found {} and {}", name, out.k, ids.size(), weights.size());
    out.expert_ids.insert(out.expert_ids.end(), ids.begin(), ids.end());
    out.weights.insert(out.weights.end(), weights.begin(), weights.end());
    out.margin.push_back(row.get<float>("margin"));
  }
  return out;
}

/// A value that the index found, parsed; null where there is none.
inline nlohmann::json parsed(const ExperimentFile& file, const StoredRun& run, TextSpan span, const std::string& what) {
  if (!span) return nullptr;
  return JsonCursor(file.text(span), fmt::format("{}: {}, {}", file.name(), run_name(file, run), what))
      .take_as(text_limit);
}

/// [steps]: {layer_k: {pos_-1: {expert_ids, weights, margin}}} or null.
inline std::vector<nlohmann::json> read_routers(const ExperimentFile& file, const StoredRun& run) {
  std::uint64_t bytes = 0;
  for (const StoredStep& step : run.steps) bytes += step.router.length;
  if (bytes > router_limit)
    fail("{}: {}: its routers have {} bytes: expected at most {}", file.name(), run_name(file, run), bytes,
         router_limit);
  std::vector<nlohmann::json> out;
  for (const StoredStep& step : run.steps)
    out.push_back(parsed(file, run, step.router, fmt::format("decode_steps[{}].router", step.step)));
  return out;
}

inline bool any_router(const StoredRun& run) {
  return std::ranges::any_of(run.steps, [](const StoredStep& step) { return bool(step.router); });
}

/// What extraction_config.signal_dtypes names for a signal of vectors; float32 where it names none. Throws Error for a name
/// that is no dtype's.
inline DType stored_dtype(const ExperimentFile& file, StoredSignal signal) {
  const auto& config = member_or_null(file.metadata, "extraction_config");
  const auto& name = member_or_null(member_or_null(config, "signal_dtypes"), std::string(name_of(signal)).c_str());
  if (name.is_null()) return DType::float32;
  if (!name.is_string()) fail("{}: expected a dtype as signal_dtypes.{}", file.name(), name_of(signal));
  return parse_dtype(name.get<std::string>());
}

}  // namespace detail

/// A run's own prompt. Throws Error for anything but token ids.
inline std::vector<std::int32_t> read_prompt_ids(const ExperimentFile& file, const StoredRun& run) {
  return ids_of(detail::parsed(file, run, run.prompt_token_ids, "prompt_token_ids"), "prompt_token_ids");
}

/// Reads a run's prompt and what its steps hold beside numbers. Throws Error with the JSON path for what is missing or of
/// another type.
inline RunTexts read_texts(const ExperimentFile& file, const StoredRun& run) {
  const std::string name = run_name(file, run);
  const auto text = detail::parsed(file, run, run.prompt_text, "prompt_text");
  if (!text.is_string() || !run.prompt_token_ids) fail("{}: expected prompt_text and prompt_token_ids", name);
  RunTexts out;
  out.prompt_text = text.get<std::string>();
  out.prompt_token_ids = read_prompt_ids(file, run);
  for (const StoredStep& step : run.steps) {
    const std::string what = fmt::format("decode_steps[{}].token_text", step.step);
    const auto found = detail::parsed(file, run, step.token_text, what);
    if (!found.is_string() && !found.is_null())
      fail("{}, {}: expected a string, found {:.40}", name, what, found.dump());
    out.token_texts.push_back(found.is_string() ? found.get<std::string>() : "");
  }
  return out;
}

/// A run's signals, each position once. Throws Error naming the place for rows that are missing or of another width than
/// extraction_config says, for repeated rows that differ, and for values that are none of the signal's dtype.
inline Signals read_signals(const ExperimentFile& file, const StoredRun& run, std::size_t prompt_tokens) {
  const JsonObject metadata(file.metadata, "experiment_metadata");
  const auto extraction_json = metadata.get<nlohmann::json>("extraction_config");
  const JsonObject extraction(extraction_json, "extraction_config");
  const auto dtypes_json = extraction.get<nlohmann::json>("signal_dtypes");
  const JsonObject dtypes(dtypes_json, "signal_dtypes");
  const auto layers = extraction.get<std::vector<int>>("layers");
  Signals out;
  out.prompt_tokens = static_cast<std::int64_t>(prompt_tokens);
  for (const StoredStep& step : run.steps) {
    if (!step.token_id) fail("{}, decode_steps[{}] has no token_id", run_name(file, run), step.step);
    out.token_ids.push_back(static_cast<std::int32_t>(*step.token_id));
  }
  for (const StoredRow& row : run.rows)
    if (row.layer >= 0 && std::ranges::find(layers, row.layer) == layers.end())
      fail("{}: extraction_config names no layer {}", detail::row_name(file, run, row), row.layer);
  const bool routed = detail::any_router(run);
  const auto routers = routed ? detail::read_routers(file, run) : std::vector<nlohmann::json>();
  for (const int layer : layers) {
    LayerSignals entry{layer};
    entry.hidden =
        detail::read_vectors(file, run, StoredSignal::hidden_states, layer,
                             parse_dtype(dtypes.get<std::string>("hidden_states")), extraction.positive("hidden_dim"));
    entry.keys =
        detail::read_vectors(file, run, StoredSignal::key_vectors, layer,
                             parse_dtype(dtypes.get<std::string>("key_vectors")), extraction.positive("key_dim"));
    if (routed) entry.router = detail::read_router(file, run, routers, layer);
    out.layers.push_back(std::move(entry));
  }
  out.logprobs = detail::read_logprobs(file, run, extraction.positive("top_k_logprobs"));
  return out;
}

/// Whether a run says which digests its rows have, and stores all of them: one that ended early does not.
inline bool states_digests(const StoredRun& run) {
  if (run.members.value("status", nlohmann::json("complete")) != "complete") return false;
  return !member_or_null(run.members, "signals_sha256").is_null() ||
         !member_or_null(member_or_null(run.members, "reproducibility"), "digests").empty();
}

/// The digests of the rows that a run stores, at the layers that it stores; one layer is in memory at a time. Throws Error
/// as read_signals() does.
inline Digests stored_digests(const ExperimentFile& file, const StoredRun& run) {
  DigestBuilder out;
  const bool routed = detail::any_router(run);
  const auto routers = routed ? detail::read_routers(file, run) : std::vector<nlohmann::json>();
  std::set<int> layers;
  for (const StoredRow& row : run.rows)
    if (row.layer >= 0) layers.insert(row.layer);
  for (const int layer : layers) {
    LayerSignals entry{layer};
    const auto read = [&](StoredSignal signal) {
      return detail::read_vectors(file, run, signal, layer, detail::stored_dtype(file, signal), 0);
    };
    entry.hidden = read(StoredSignal::hidden_states);
    entry.keys = read(StoredSignal::key_vectors);
    if (routed) entry.router = detail::read_router(file, run, routers, layer);
    out.add(entry);
  }
  out.add(detail::read_logprobs(file, run, 0));
  return out.finish();
}

/// Where the digests that a run states are not `found`, one text each.
inline std::vector<std::string> digest_contradictions(const ExperimentFile& file, const StoredRun& run,
                                                      const Digests& found) {
  std::vector<std::string> out;
  const auto hold = [&](std::string_view what, const nlohmann::json& claimed, const std::string& digest) {
    if (!claimed.is_null() && claimed != digest)
      out.push_back(fmt::format("{}: {} is {:.80}, its vectors have {}", run_name(file, run), what,
                                claimed.dump(), digest));
  };
  hold("signals_sha256", member_or_null(run.members, "signals_sha256"), found.combined());
  const auto& repetitions = member_or_null(member_or_null(run.members, "reproducibility"), "digests");
  for (const auto& one : repetitions) {
    if (member_or_null(one, "rep_id") != run.rep_id) continue;
    hold("the digest of hidden_states", member_or_null(one, "hidden_states"), found.hidden_states);
    hold("the digest of key_vectors", member_or_null(one, "key_vectors"), found.key_vectors);
    hold("the digest of logprobs", member_or_null(one, "logprobs"), found.logprobs);
    hold("the digest of router", member_or_null(one, "router"), found.router);
  }
  return out;
}

/// The same of the rows that it stores; nothing where it states no digests or ended early. What cannot be read is a
/// contradiction, too.
inline std::vector<std::string> digest_contradictions(const ExperimentFile& file, const StoredRun& run) {
  if (!states_digests(run)) return {};
  try {
    return digest_contradictions(file, run, stored_digests(file, run));
  } catch (const Error& error) {
    return {error.what()};
  }
}

}  // namespace fpf::evidence
