// One run as the experiment file's JSON: shortest round-trip decimals, every unique row formatted once.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <fpf/core/half.hpp>
#include <fpf/core/json.hpp>
#include <fpf/evidence/digests.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fpf::evidence {

inline Json to_json(const Place& place) {
  Json out = {{"step", place.step}, {"absolute_position", place.absolute_position}};
  if (place.layer >= 0) out["layer"] = place.layer;
  out["signal"] = place.signal;
  return out;
}

inline Json to_json(const Digests& digests) {
  Json out;
  for_each_digest(digests, [&](std::string_view name, const std::string& digest) { out[std::string(name)] = digest; });
  return out;
}

/// One repetition as it is stored, with what is known of all repetitions of its configuration.
struct RunRecord {
  std::string config_id;
  int rep_id = 0;
  std::string timestamp;  // YYYY-MM-DD HH:MM:SS, UTC
  double runtime_seconds = 0;
  std::optional<std::size_t> prompt_index{};     // of several prompts
  std::string document_sha256{};                 // of the text that it is of, where there are several documents
  std::optional<std::size_t> document_offset{};  // byte of the document's text at which the prompt begins, where drawn
  std::string prompt_text;
  std::vector<std::int32_t> prompt_token_ids;
  std::string prompt_sha256;
  Json reproducibility;                  // {repetitions, bit_exact, digests, first_difference}
  Json runtime;                          // {seconds, mean, variance, prefill_seconds, decode_seconds}
  Json tokens{};                         // {from, sha256} of forced ones; null: each token fed is the run's choice
  Json extra;                            // further members of the run, an object or null
  std::vector<std::string> token_texts;  // [steps]
  Signals signals;
};

namespace detail {

/// The shortest decimal that readers of JSON turn into this float32 again, whether they read a float32, or a
/// double and round it. Of all finite float32 (tried one by one) three need care: -0 is an integer to Python,
/// and ±7.038531e-26 as a double lies halfway to a neighbour.
inline void append_float(std::string& out, float value) {
  if (value == 0.0f && std::signbit(value)) {
    out += "-0.0";
    return;
  }
  std::array<char, 32> buffer;
  char* const end = buffer.data() + buffer.size();
  const bool halfway = (std::bit_cast<std::uint32_t>(value) & 0x7fffffffu) == 0x15ae43fdu;
  const auto last =
      halfway ? std::to_chars(buffer.data(), end, double{value}).ptr : std::to_chars(buffer.data(), end, value).ptr;
  out.append(buffer.data(), last);
}

inline std::string json_string(std::string_view text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

inline std::string ids_json(std::span<const std::int32_t> ids) { return fmt::format("[{}]", fmt::join(ids, ",")); }

inline std::string floats_json(std::span<const float> values) {
  std::string out = "[";
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i != 0) out += ',';
    append_float(out, values[i]);
  }
  return out += ']';
}

/// The decimals of all values of a 16-bit dtype (1 MB): a row of them is copied, which takes a fraction of
/// converting it.
class HalfTexts {
 public:
  static const HalfTexts& of(DType dtype) {
    static const HalfTexts brain(float32_from_bfloat16), half(float32_from_float16);
    return dtype == DType::bfloat16 ? brain : half;
  }

  std::string_view operator[](std::uint16_t bits) const { return {texts_[bits].characters.data(), texts_[bits].size}; }

 private:
  struct Text {
    std::array<char, 15> characters;  // the longest is as long as -1.1754944e-38
    std::uint8_t size;
  };

  explicit HalfTexts(float (*widened)(std::uint16_t)) : texts_(0x10000) {
    std::string text;
    for (std::size_t bits = 0; bits < texts_.size(); ++bits) {
      text.clear();
      append_float(text, widened(static_cast<std::uint16_t>(bits)));
      std::ranges::copy(text, texts_[bits].characters.begin());
      texts_[bits].size = static_cast<std::uint8_t>(text.size());
    }
  }

  std::vector<Text> texts_;
};

inline std::string array_json(const Column& column, std::int64_t index) {
  const auto row = column.row(index);
  const auto width = static_cast<std::size_t>(column.width);
  if (size_of(column.dtype) == 4) {
    std::vector<std::int32_t> ids(width);
    std::vector<float> values(width);
    if (column.dtype == DType::int32)
      std::memcpy(ids.data(), row.data(), row.size());
    else
      std::memcpy(values.data(), row.data(), row.size());
    return column.dtype == DType::int32 ? ids_json(ids) : floats_json(values);
  }
  const HalfTexts& texts = HalfTexts::of(column.dtype);
  std::string out = "[";
  out.reserve(12 * width);
  for (std::size_t i = 0; i < width; ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, row.data() + 2 * i, 2);
    if (i != 0) out += ',';
    out += texts[bits];
  }
  return out += ']';
}

/// A signal's row: [numbers], or {"field":[numbers],"field":number}.
inline std::string row_json(const SignalAt& signal, std::int64_t index) {
  if (signal.info->is_vector()) return array_json(signal.columns.front(), index);
  std::string out;
  for (std::size_t i = 0; i < signal.columns.size(); ++i) {
    const SignalField& field = signal.info->fields()[i];
    const std::string numbers = array_json(signal.columns[i], index);
    out += fmt::format(R"({}"{}":{})", i == 0 ? '{' : ',', field.name,
                       field.one ? std::string_view(numbers).substr(1, numbers.size() - 2) : numbers);
  }
  return out += '}';
}

/// A signal's rows as text, so that the steps that look at a position share one conversion.
struct SignalText {
  const SignalInfo* info;
  std::int64_t layer;             // -1 for the head's
  std::vector<std::string> rows;  // [steps + look_back - 1]

  /// {"pos_-3":...,"pos_-2":...,"pos_-1":...} of a step.
  void append_positions(std::string& out, std::int64_t step) const {
    for (std::int64_t back = info->look_back; back >= 1; --back) {
      out += fmt::format(R"({}"pos_-{}":)", back == info->look_back ? '{' : ',', back);
      out += rows[static_cast<std::size_t>(step + info->look_back - back)];
    }
    out += '}';
  }
};

/// The first `steps` steps of a run's signals as text, in the table's order, then by layer.
inline std::vector<SignalText> signal_texts(const Signals& signals, std::int64_t steps) {
  std::vector<SignalText> out;
  for (const SignalAt& one : every_signal(signals)) {
    SignalText& text = out.emplace_back(SignalText{one.info, one.layer, {}});
    for (std::int64_t row = 0; steps != 0 && row < steps + one.info->look_back - 1; ++row)
      text.rows.push_back(row_json(one, row));
  }
  return out;
}

inline void append_step(std::string& out, const RunRecord& run, const std::vector<SignalText>& texts,
                        std::int64_t step) {
  const Signals& signals = run.signals;
  const auto index = static_cast<std::size_t>(step);
  out += fmt::format(R"({{"step":{},"token_id":{},"token_text":{},"absolute_position":{})", step,
                     signals.token_ids[index], json_string(run.token_texts[index]), signals.prompt_tokens + step);
  if (!run.tokens.is_null()) out += fmt::format(R"(,"chosen_token_id":{})", signals.chosen(step));
  for (const SignalInfo& info : signal_table) {  // "name":{"layer_1":{...},...} or "name":{...}
    std::string layers;
    for (const SignalText& text : texts) {
      if (text.info != &info) continue;
      if (info.per_layer) layers += fmt::format(R"({}"layer_{}":)", layers.empty() ? "" : ",", text.layer);
      text.append_positions(layers, step);
    }
    if (layers.empty() && info.of_experts) continue;
    out += fmt::format(R"(,"{}":)", info.name);
    out += info.per_layer ? "{" + layers + "}" : layers;
  }
  out += "}\n";
}

}  // namespace detail

/// The run as one JSON object. A run with a value that is no number ends before the step that has it, and
/// says where
/// (`status`, `non_finite`); all others have `status` "complete".
inline std::string to_json(const RunRecord& run) {
  const auto broken = first_non_finite(run.signals);
  const std::int64_t steps = broken ? broken->step : run.signals.steps();
  Json head = {{"config_id", run.config_id},
               {"rep_id", run.rep_id},
               {"timestamp", run.timestamp},
               {"runtime_seconds", run.runtime_seconds},
               {"status", broken ? "non_finite" : "complete"}};
  if (broken) head["non_finite"] = to_json(*broken);
  head["runtime"] = run.runtime;
  head["reproducibility"] = run.reproducibility;
  head["signals_sha256"] = digests_of(run.signals).combined();
  if (!run.tokens.is_null()) head["tokens"] = run.tokens;
  if (run.extra.is_object()) head.update(run.extra);
  if (run.prompt_index) head["prompt_index"] = *run.prompt_index;
  if (!run.document_sha256.empty()) head["document_sha256"] = run.document_sha256;
  if (run.document_offset) head["document_offset"] = *run.document_offset;
  head["prompt_sha256"] = run.prompt_sha256;
  head["prompt_text"] = run.prompt_text;
  head["prompt_token_ids"] = run.prompt_token_ids;
  std::string out = head.dump(-1, ' ', false, Json::error_handler_t::replace);
  out.pop_back();
  out += R"(,"decode_steps":[)";
  const auto texts = detail::signal_texts(run.signals, steps);
  std::size_t bytes = std::size_t{1} << 16;
  for (const auto& text : texts)
    for (const std::string& row : text.rows) bytes += static_cast<std::size_t>(text.info->look_back) * row.size();
  out.reserve(out.size() + bytes);
  for (std::int64_t step = 0; step < steps; ++step) {
    if (step != 0) out += ',';
    detail::append_step(out, run, texts, step);
  }
  return out += "]}";
}

}  // namespace fpf::evidence
