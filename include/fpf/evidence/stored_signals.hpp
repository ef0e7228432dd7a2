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

inline constexpr std::size_t text_limit = std::size_t{256} << 20;  // of a prompt, in bytes

}  // namespace detail

/// "runs[0] (A100_bs1)"
inline std::string run_name(const ExperimentFile& file, const StoredRun& run) {
  return fmt::format("runs[{}] ({})", &run - file.runs.data(), run.config_id);
}

namespace detail {

/// "runs[0] (A100_bs1), decode_steps[3].hidden_states.layer_2.pos_-1"
inline std::string row_name(const ExperimentFile& file, const StoredRun& run, const StoredRow& row) {
  return fmt::format("{}, {}", run_name(file, run), path_of(row));
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

/// The rows of every position of a run, from as many before its first step's as a step looks back to its last step's,
/// ascending; none of a run without steps. Throws Error naming the place where a row is missing or too many, or repeats
/// a position with other values.
inline Rows<float> read_positions(const ExperimentFile& file, const StoredRun& run, const SignalInfo& info, int layer) {
  const std::int64_t before = info.look_back - 1;
  const auto steps = static_cast<std::int64_t>(run.steps.size());
  std::int64_t stored = 0;
  for (const StoredRow& row : run.rows) {
    if (row.signal != info.signal || row.layer != layer) continue;
    ++stored;
    const std::int64_t index = run.position(row) + before;
    if (row.back < -info.look_back || index < 0 || index >= steps + before)
      fail("{}: expected positions -{} to -1 of steps 0 to {}", row_name(file, run, row), info.look_back, steps - 1);
  }
  const std::string layer_name = layer < 0 ? "" : fmt::format(" layer {}", layer);
  if (stored != steps * info.look_back)
    fail("{}, {}{}: expected {} rows in each of {} steps, found {} in all", run_name(file, run), info.name, layer_name,
         info.look_back, steps, stored);
  if (steps == 0) return {};  // a run that ended in no number before its first step
  Rows<float> rows = read_rows<float>(file, run, info.signal, layer);
  if (rows.contradictions != 0)
    fail("{}: its position stands in {} with other values", row_name(file, run, *rows.contradiction.first),
         row_name(file, run, *rows.contradiction.second));
  for (std::int64_t index = 0; index < steps + before; ++index)
    if (index >= static_cast<std::int64_t>(rows.size()) ||
        rows.positions[static_cast<std::size_t>(index)] != index - before)
      fail("{}, {}{}: position {} of the decoded text is missing", run_name(file, run), info.name, layer_name,
           index - before);
  return rows;
}

/// How many numbers each array of the rows has. `expected`: what extraction_config says; 0 for nothing.
inline std::size_t width_of(const Rows<float>& rows, std::int64_t expected, const ExperimentFile& file,
                            const StoredRun& run) {
  if (rows.size() == 0) return static_cast<std::size_t>(expected);
  const std::size_t width = expected != 0 ? static_cast<std::size_t>(expected) : rows.row(0).size();
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (rows.row(i).size() != width)
      fail("{}: expected {} numbers, {}, found {}", row_name(file, run, *rows.places[i]), width,
           expected != 0 ? "as extraction_config says" : "as in the rows before", rows.row(i).size());
  return width;
}

/// A signal at one layer (-1 for one of the head), by its fields. `dtype`: of vectors. `width`: what each row must
/// have; 0 for any.
inline std::vector<ColumnValues> read_columns(const ExperimentFile& file, const StoredRun& run, const SignalInfo& info,
                                              int layer, DType dtype, std::int64_t width) {
  const Rows<float> rows = read_positions(file, run, info, layer);
  const std::size_t numbers = width_of(rows, width, file, run);
  const auto bytes_of = [](const auto& values) {
    const auto bytes = std::as_bytes(std::span(values));
    return std::vector<std::byte>(bytes.begin(), bytes.end());
  };
  std::vector<ColumnValues> out;
  for (const SignalField& field : info.fields()) {  // one array of floats each, at most: of rows.values
    ColumnValues& column = out.emplace_back();
    column.width = field.one ? 1 : static_cast<std::int64_t>(numbers);
    if (field.type == SignalField::Type::int32) {
      column.dtype = DType::int32;
      column.bytes = bytes_of(rows.ids);
    } else if (field.type == SignalField::Type::float32) {
      column.bytes = bytes_of(field.one ? rows.singles : rows.values);
    } else {
      column.dtype = dtype;
      column.bytes.reserve(rows.values.size() * size_of(dtype));
      for (std::size_t i = 0; i < rows.size(); ++i)
        append_values(column.bytes, dtype, rows.row(i), file, run, *rows.places[i]);
    }
  }
  return out;
}

/// Whether a run has rows of a signal.
inline bool stores(const StoredRun& run, StoredSignal signal) {
  return std::ranges::any_of(run.rows, [&](const StoredRow& row) { return row.signal == signal; });
}

/// Calls visit(signal, index of the layer, columns) for every signal that a run has, of each of `layers` in turn; one
/// is in memory at a time. shape(signal) gives the dtype of vectors and the width of rows (0 for any).
template <class Shape, class Visit>
void for_each_signal(const ExperimentFile& file, const StoredRun& run, const std::vector<int>& layers, Shape shape,
                     Visit visit) {
  for (const SignalInfo& info : signal_table) {
    if (info.of_experts && !stores(run, info.signal)) continue;
    const auto [dtype, width] = shape(info);
    for (std::size_t i = 0; i < (info.per_layer ? layers.size() : 1); ++i)
      visit(info, i, read_columns(file, run, info, info.per_layer ? layers[i] : -1, dtype, width));
  }
}

/// A value that the index found, parsed; null where there is none.
inline nlohmann::json parsed(const ExperimentFile& file, const StoredRun& run, TextSpan span, const std::string& what) {
  if (!span) return nullptr;
  return JsonCursor(file.text(span), fmt::format("{}: {}, {}", file.name(), run_name(file, run), what))
      .take_as(text_limit);
}

/// What extraction_config.signal_dtypes names for a signal of vectors; float32 where it names none. Throws Error for a
/// name that is no dtype's.
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

/// Reads a run's prompt and what its steps hold beside numbers. Throws Error with the JSON path for what is missing or
/// of another type.
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

/// A run's signals, each position once. Throws Error naming the place for rows that are missing or of another width
/// than extraction_config says, for repeated rows that differ, and for values that are none of the signal's dtype.
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
    out.token_ids.push_back(*step.token_id);
  }
  for (const StoredRow& row : run.rows)
    if (row.layer >= 0 && std::ranges::find(layers, row.layer) == layers.end())
      fail("{}: extraction_config names no layer {}", detail::row_name(file, run, row), row.layer);
  for (const int layer : layers) out.layers.push_back({layer, {}, {}, {}});
  detail::for_each_signal(
      file, run, layers,
      [&](const SignalInfo& info) {
        return std::pair(
            info.is_vector() ? parse_dtype(dtypes.get<std::string>(std::string(info.name).c_str())) : DType::float32,
            info.width.empty() ? 0 : extraction.positive(std::string(info.width).c_str()));
      },
      [&](const SignalInfo& info, std::size_t index, std::vector<ColumnValues> columns) {
        info.store(out, index, std::move(columns));
      });
  return out;
}

/// Whether a run says which digests its rows have, and stores all of them: one that ended early does not.
inline bool states_digests(const StoredRun& run) {
  if (run.members.value("status", nlohmann::json("complete")) != "complete") return false;
  return !member_or_null(run.members, "signals_sha256").is_null() ||
         !member_or_null(member_or_null(run.members, "reproducibility"), "digests").empty();
}

/// The digests of the rows that a run stores, at the layers that it stores. Throws Error as read_signals() does.
inline Digests stored_digests(const ExperimentFile& file, const StoredRun& run) {
  std::set<int> layers;
  for (const StoredRow& row : run.rows)
    if (row.layer >= 0) layers.insert(row.layer);
  DigestBuilder out;
  detail::for_each_signal(
      file, run, {layers.begin(), layers.end()},
      [&](const SignalInfo& info) { return std::pair(detail::stored_dtype(file, info.signal), std::int64_t{0}); },
      [&](const SignalInfo& info, std::size_t, const std::vector<ColumnValues>& columns) {
        out.add(info.signal, columns);
      });
  return out.finish();
}

/// The digests that a repetition's record names, empty where it does not.
inline Digests digests_from(const nlohmann::json& record) {
  Digests out;
  for (const SignalInfo& one : signal_table)
    out.of[static_cast<std::size_t>(one.signal)] = record.value(std::string(one.name), "");
  return out;
}

/// Whether the repetitions whose digests a run lists are equal bit for bit.
inline bool equal_repetitions(const nlohmann::json& digests) {
  const auto signals_alone = [](nlohmann::json one) {
    if (one.is_object()) one.erase("rep_id");
    return one;
  };
  return std::ranges::all_of(
      digests, [&](const nlohmann::json& one) { return signals_alone(one) == signals_alone(digests.front()); });
}

/// Where the digests that a run states are not `found`, one text each.
inline std::vector<std::string> digest_contradictions(const ExperimentFile& file, const StoredRun& run,
                                                      const Digests& found) {
  std::vector<std::string> out;
  const auto hold = [&](std::string_view what, const nlohmann::json& claimed, const std::string& digest) {
    if (!claimed.is_null() && claimed != digest)
      out.push_back(
          fmt::format("{}: {} is {:.80}, its vectors have {}", run_name(file, run), what, claimed.dump(), digest));
  };
  hold("signals_sha256", member_or_null(run.members, "signals_sha256"), found.combined());
  const auto& repetitions = member_or_null(member_or_null(run.members, "reproducibility"), "digests");
  for (const auto& one : repetitions) {
    if (member_or_null(one, "rep_id") != run.rep_id) continue;
    for_each_digest(found, [&](std::string_view name, const std::string& digest) {
      hold(fmt::format("the digest of {}", name), member_or_null(one, std::string(name).c_str()), digest);
    });
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
