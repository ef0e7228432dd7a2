// A stored run in memory again, to the bit: what run_json.hpp wrote.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fpf/core/half.hpp>
#include <fpf/evidence/reader.hpp>
#include <fpf/evidence/signals.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::evidence {

/// What a run holds beside the rows that the index finds.
struct RunTexts {
  std::string prompt_text;
  std::vector<std::int32_t> prompt_token_ids;
  nlohmann::json neighbours;             // [{prompt_token_ids, prompt_sha256, ...}] or null
  std::vector<std::string> token_texts;  // [steps]
  std::vector<nlohmann::json> routers;   // [steps]: {layer_k: {pos_-1: {expert_ids, weights, margin}}} or null
};

namespace detail {

inline constexpr std::size_t text_limit = std::size_t{256} << 20;  // of a prompt, in bytes

inline std::string run_name(const ExperimentFile& file, const StoredRun& run) {
  return fmt::format("runs[{}] ({})", &run - file.runs.data(), run.config_id);
}

/// "runs[0] (A100_bs1), decode_steps[3].hidden_states.layer_2.pos_-1"
inline std::string row_name(const ExperimentFile& file, const StoredRun& run, const StoredRow& row) {
  const std::string layer = row.layer < 0 ? "" : fmt::format("layer_{}.", row.layer);
  return fmt::format("{}, decode_steps[{}].{}.{}pos_{}", run_name(file, run), row.step, name_of(row.signal), layer,
                     row.back);
}

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

/// Appends float32 values in their own dtype. Throws Error naming the row for a value that is none of that dtype's.
inline void append_values(std::vector<std::byte>& to, DType dtype, std::span<const float> values,
                          const std::string& name) {
  const std::size_t begin = to.size(), size = size_of(dtype);
  to.resize(begin + values.size() * size);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (dtype == DType::float32) {
      std::memcpy(to.data() + begin + 4 * i, &values[i], 4);
      continue;
    }
    const bool brain = dtype == DType::bfloat16;
    const std::uint16_t half = brain ? bfloat16_from_float32(values[i]) : float16_from_float32(values[i]);
    const float back = brain ? float32_from_bfloat16(half) : float32_from_float16(half);
    if (back != values[i]) fail("{}[{}]: {} is no {}", name, i, values[i], name_of(dtype));
    std::memcpy(to.data() + begin + 2 * i, &half, 2);
  }
}

/// Calls put(row index, rows, i) once for every position of a run, ascending; for none of a run without steps. Throws Error
/// naming the place where a row is missing, or repeats a position with other values.
template <class Put>
void for_each_position(const ExperimentFile& file, const StoredRun& run, StoredSignal signal, int layer, Put put) {
  const Rows<float> rows = read_rows<float>(file, run, signal, layer, RowRule::every);
  std::vector<const StoredRow*> places;
  for (const StoredRow& row : run.rows)
    if (row.signal == signal && row.layer == layer) places.push_back(&row);
  const auto steps = static_cast<std::int64_t>(run.steps.size());
  std::vector<std::size_t> first(static_cast<std::size_t>(steps + look_back - 1), rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::int64_t index = rows.positions[i] + look_back - 1;
    if (places[i]->back < -look_back || index < 0 || index >= static_cast<std::int64_t>(first.size()))
      fail("{}: expected positions -3 to -1 of steps 0 to {}", row_name(file, run, *places[i]), steps - 1);
    std::size_t& seen = first[static_cast<std::size_t>(index)];
    if (seen == rows.size()) {
      seen = i;
      continue;
    }
    const auto a = rows.row(seen), b = rows.row(i);
    const bool ids = signal != StoredSignal::logprobs || std::ranges::equal(rows.row_ids(seen), rows.row_ids(i));
    if (!ids || a.size() != b.size() || std::memcmp(a.data(), b.data(), a.size_bytes()) != 0)
      fail("{}: its position stands in {} with other values", row_name(file, run, *places[i]),
           row_name(file, run, *places[seen]));
  }
  const std::string layer_name = layer < 0 ? "" : fmt::format(" layer {}", layer);
  if (rows.size() != static_cast<std::size_t>(steps * look_back))
    fail("{}, {}{}: expected {} rows in each of {} steps, found {} in all", run_name(file, run), name_of(signal),
         layer_name, look_back, steps, rows.size());
  if (steps == 0) return;  // a run that ended in no number before its first step
  for (std::size_t index = 0; index < first.size(); ++index) {
    if (first[index] == rows.size())
      fail("{}, {}{}: position {} of the decoded text is missing", run_name(file, run), name_of(signal), layer_name,
           static_cast<std::int64_t>(index) - look_back + 1);
    put(rows, first[index], *places[first[index]]);
  }
}

inline VectorRows read_vectors(const ExperimentFile& file, const StoredRun& run, StoredSignal signal, int layer,
                               DType dtype, std::int64_t width) {
  VectorRows out{dtype, width, {}};
  for_each_position(file, run, signal, layer, [&](const Rows<float>& rows, std::size_t i, const StoredRow& place) {
    if (static_cast<std::int64_t>(rows.row(i).size()) != width)
      fail("{}: expected {} numbers, as extraction_config says, found {}", row_name(file, run, place), width,
           rows.row(i).size());
    append_values(out.bytes, dtype, rows.row(i), row_name(file, run, place));
  });
  return out;
}

inline RouterRows read_router(const ExperimentFile& file, const StoredRun& run, const RunTexts& texts, int layer) {
  RouterRows out;
  for (std::size_t step = 0; step < texts.routers.size(); ++step) {
    const std::string name = fmt::format("{}, decode_steps[{}].router.layer_{}", run_name(file, run), step, layer);
    const nlohmann::json::json_pointer at(fmt::format("/layer_{}/pos_-1", layer));
    if (!texts.routers[step].contains(at)) fail("{} is missing", name);
    const JsonObject row(texts.routers[step].at(at), name);
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

}  // namespace detail

/// Reads a run's prompt and what its steps hold beside vectors. Throws Error with the JSON path for what is missing or of
/// another type.
inline RunTexts read_texts(const ExperimentFile& file, const StoredRun& run) {
  JsonCursor cursor(file.text(run), file.name() + ": " + detail::run_name(file, run));
  RunTexts out;
  bool text = false, ids = false;
  cursor.enter_object();
  while (const auto key = cursor.next_key()) {
    if (*key == "prompt_text") {
      const auto value = cursor.take_as(detail::text_limit);
      text = value.is_string();
      if (text) out.prompt_text = value;
    } else if (*key == "prompt_token_ids") {
      out.prompt_token_ids = detail::ids_of(cursor.take_as(detail::text_limit), "prompt_token_ids");
      ids = true;
    } else if (*key == "neighbours") {
      out.neighbours = cursor.take_as(detail::text_limit);
    } else if (*key == "decode_steps") {
      cursor.enter_array();
      while (cursor.next_element()) {
        out.token_texts.emplace_back();
        out.routers.emplace_back();
        cursor.enter_object();
        while (const auto member = cursor.next_key()) {
          if (*member == "token_text")
            out.token_texts.back() = cursor.take_as<std::string>();
          else if (*member == "router")
            out.routers.back() = cursor.take_as();
          else
            cursor.take();
        }
      }
    } else {
      cursor.take();
    }
  }
  if (!text || !ids) fail("{}: expected prompt_text and prompt_token_ids", detail::run_name(file, run));
  return out;
}

/// A run's signals, each position once. Throws Error naming the place for rows that are missing or of another width than
/// extraction_config says, for repeated rows that differ, and for values that are none of the signal's dtype.
inline Signals read_signals(const ExperimentFile& file, const StoredRun& run, const RunTexts& texts) {
  const JsonObject metadata(file.metadata, "experiment_metadata");
  const auto extraction_json = metadata.get<nlohmann::json>("extraction_config");
  const JsonObject extraction(extraction_json, "extraction_config");
  const auto dtypes_json = extraction.get<nlohmann::json>("signal_dtypes");
  const JsonObject dtypes(dtypes_json, "signal_dtypes");
  const auto layers = extraction.get<std::vector<int>>("layers");
  Signals out;
  out.prompt_tokens = static_cast<std::int64_t>(texts.prompt_token_ids.size());
  for (const StoredStep& step : run.steps) {
    if (!step.token_id) fail("{}, decode_steps[{}] has no token_id", detail::run_name(file, run), step.step);
    out.token_ids.push_back(static_cast<std::int32_t>(*step.token_id));
  }
  for (const StoredRow& row : run.rows)
    if (row.layer >= 0 && std::ranges::find(layers, row.layer) == layers.end())
      fail("{}: extraction_config names no layer {}", detail::row_name(file, run, row), row.layer);
  const bool routed = std::ranges::any_of(texts.routers, [](const auto& router) { return !router.is_null(); });
  for (const int layer : layers) {
    LayerSignals entry{layer};
    entry.hidden =
        detail::read_vectors(file, run, StoredSignal::hidden_states, layer,
                             parse_dtype(dtypes.get<std::string>("hidden_states")), extraction.positive("hidden_dim"));
    entry.keys =
        detail::read_vectors(file, run, StoredSignal::key_vectors, layer,
                             parse_dtype(dtypes.get<std::string>("key_vectors")), extraction.positive("key_dim"));
    if (routed) entry.router = detail::read_router(file, run, texts, layer);
    out.layers.push_back(std::move(entry));
  }
  out.logprobs.k = extraction.positive("top_k_logprobs");
  detail::for_each_position(
      file, run, StoredSignal::logprobs, -1, [&](const Rows<float>& rows, std::size_t i, const StoredRow& place) {
        if (static_cast<std::int64_t>(rows.row(i).size()) != out.logprobs.k)
          fail("{}: expected {} log-probabilities, as extraction_config says, found {}",
               detail::row_name(file, run, place), out.logprobs.k, rows.row(i).size());
        out.logprobs.ids.insert(out.logprobs.ids.end(), rows.row_ids(i).begin(), rows.row_ids(i).end());
        out.logprobs.values.insert(out.logprobs.values.end(), rows.row(i).begin(), rows.row(i).end());
      });
  return out;
}

}  // namespace fpf::evidence
