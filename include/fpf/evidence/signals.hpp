// The signals of one repetition, each position once: what a run leaves behind as evidence. And the table of them, from
// which all that writes, reads, hashes or holds signals takes their names, order and fields: a new signal is a row
// there with a member of LayerSignals or Signals, the call that records it, and the schema.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fpf/core/dtype.hpp>
#include <optional>
#include <span>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::evidence {

/// The plan looks back over this many positions at every decode step: pos_-3, pos_-2 and pos_-1.
inline constexpr std::int64_t look_back = 3;

/// Vectors of one signal at one layer, one row a position: [rows, width], little-endian, in the signal's own dtype.
struct VectorRows {
  DType dtype = DType::float32;
  std::int64_t width = 0;
  std::vector<std::byte> bytes{};

  std::size_t row_bytes() const { return static_cast<std::size_t>(width) * size_of(dtype); }
  std::int64_t rows() const { return width == 0 ? 0 : static_cast<std::int64_t>(bytes.size() / row_bytes()); }
  std::span<const std::byte> row(std::int64_t index) const {
    return std::span(bytes).subspan(static_cast<std::size_t>(index) * row_bytes(), row_bytes());
  }
};

/// Top-k log-probabilities of the next token: ids and values [rows, k], descending, ties by the lower id.
struct LogProbRows {
  std::int64_t k = 0;
  std::vector<std::int32_t> ids{};
  std::vector<float> values{};
};

/// The experts one layer's router chose, one row a decoded position.
struct RouterRows {
  std::int64_t k = 0;
  std::vector<std::int32_t> expert_ids{};  // [rows, k], by descending weight
  std::vector<float> weights{};            // [rows, k], as the experts' sums use them
  std::vector<float> margin{};             // [rows], logit of the last chosen less that of the first rejected
};

struct LayerSignals {
  std::int64_t layer = 0;
  VectorRows hidden{};  // [steps + 2, hidden_size]: residual stream leaving the layer
  VectorRows keys{};    // [steps + 2, kv_heads * head_dim]: as the cache holds them
  std::optional<RouterRows> router{};
};

/// One repetition. Row r of a signal is absolute position prompt_tokens - 2 + r, so that decode step s
/// (which feeds token_ids[s] at position prompt_tokens + s) sees rows s, s + 1 and s + 2 as pos_-3, -2 and -1.
/// Router rows start at position prompt_tokens.
struct Signals {
  std::int64_t prompt_tokens = 0;
  std::vector<std::int32_t> token_ids{};  // [steps]
  std::vector<LayerSignals> layers{};     // ascending
  LogProbRows logprobs{};

  /// The token that the run would feed at a step by its own choice: the most probable one at the position before.
  std::int32_t chosen(std::int64_t step) const {
    return logprobs.ids.at(static_cast<std::size_t>((step + 1) * logprobs.k));
  }

  std::int64_t steps() const { return static_cast<std::int64_t>(token_ids.size()); }
  std::int64_t rows() const { return steps() + look_back - 1; }
};

/// In the order in which files and digests have them.
enum class StoredSignal : std::uint8_t { hidden_states, key_vectors, logprobs, router };

/// A field of a signal's rows: an array of numbers, or one number. A row whose only field has no name is that array
/// itself; other rows are objects of their fields, in which all arrays are equally long.
struct SignalField {
  enum class Type : std::uint8_t { activation, int32, float32 };  // activation: of the run's own dtype
  std::string_view name{};
  Type type = Type::float32;
  bool one = false;
};

/// A field's values in memory: [rows, width], little-endian.
struct Column {
  DType dtype = DType::float32;
  std::int64_t width = 0;
  std::span<const std::byte> bytes{};

  std::int64_t rows() const {
    return width == 0 ? 0
                      : static_cast<std::int64_t>(bytes.size() / (static_cast<std::size_t>(width) * size_of(dtype)));
  }
  std::span<const std::byte> row(std::int64_t index) const {
    const std::size_t size = static_cast<std::size_t>(width) * size_of(dtype);
    return bytes.subspan(static_cast<std::size_t>(index) * size, size);
  }
};

/// A field's values as they were read.
struct ColumnValues {
  DType dtype = DType::float32;
  std::int64_t width = 0;
  std::vector<std::byte> bytes{};

  operator Column() const { return {dtype, width, bytes}; }
};

struct SignalInfo {
  StoredSignal signal;
  std::string_view
      name;        // its member of decode_steps[i], of a repetition's digests and of extraction_config.signal_dtypes
  bool per_layer;  // else one of the head's
  std::int64_t look_back;       // positions that every step stores: pos_-n to pos_-1
  int computed;                 // its turn among a layer's in a forward pass
  std::string_view width;       // the member of extraction_config that is its width; none where its rows alone say it
  bool of_experts;              // dense models do not have it
  std::optional<int> distinct;  // from this layer on equal rows are of equal texts; nothing where no row says so
  std::array<SignalField, 3> storage;

  /// Its fields in a run, of layers[index] where it is one of layers; of no columns where the run does not have it.
  std::vector<Column> (*columns)(const Signals& run, std::size_t index);
  /// Puts columns into a run, whose layers[index] must be there.
  void (*store)(Signals& run, std::size_t index, std::vector<ColumnValues> columns);
  /// Puts rows behind those that a run has, the first ones, too.
  void (*append)(Signals& run, std::size_t index, std::span<const Column> rows);

  constexpr bool is_vector() const { return storage[0].name.empty(); }
  constexpr std::span<const SignalField> fields() const {
    const auto named = static_cast<std::size_t>(
        std::ranges::count_if(storage, [](const SignalField& field) { return !field.name.empty(); }));
    return std::span(storage).first(is_vector() ? 1 : named);
  }
};

namespace detail {

inline Column column(const VectorRows& rows) { return {rows.dtype, rows.width, rows.bytes}; }
inline Column column(const std::vector<float>& values, std::int64_t width) {
  return {DType::float32, width, std::as_bytes(std::span(values))};
}
inline Column column(const std::vector<std::int32_t>& values, std::int64_t width) {
  return {DType::int32, width, std::as_bytes(std::span(values))};
}

template <VectorRows LayerSignals::*rows>
std::vector<Column> vector_columns(const Signals& run, std::size_t index) {
  return {column(run.layers[index].*rows)};
}
template <VectorRows LayerSignals::*rows>
void store_vectors(Signals& run, std::size_t index, std::vector<ColumnValues> columns) {
  run.layers[index].*rows = {columns[0].dtype, columns[0].width, std::move(columns[0].bytes)};
}

template <class T>
void append(std::vector<T>& to, const Column& rows) {
  const std::size_t before = to.size();
  to.resize(before + rows.bytes.size() / sizeof(T));
  std::memcpy(to.data() + before, rows.bytes.data(), rows.bytes.size());
}
template <VectorRows LayerSignals::*rows>
void append_vectors(Signals& run, std::size_t index, std::span<const Column> more) {
  VectorRows& to = run.layers[index].*rows;
  if (to.width == 0) to = {more[0].dtype, more[0].width};
  if (to.dtype != more[0].dtype || to.width != more[0].width)
    throw std::logic_error("rows of one signal have one dtype and one width");
  append(to.bytes, more[0]);
}

template <class T>
std::vector<T> values_of(const ColumnValues& column) {
  std::vector<T> out(column.bytes.size() / sizeof(T));
  std::memcpy(out.data(), column.bytes.data(), column.bytes.size());
  return out;
}

}  // namespace detail

/// Every signal, one row each, in the order of StoredSignal.
inline constexpr std::array<SignalInfo, 4> signal_table{{
    {.signal = StoredSignal::hidden_states,
     .name = "hidden_states",
     .per_layer = true,
     .look_back = look_back,
     .computed = 2,
     .width = "hidden_dim",
     .of_experts = false,
     .distinct = 0,
     .storage = {{{"", SignalField::Type::activation}}},
     .columns = detail::vector_columns<&LayerSignals::hidden>,
     .store = detail::store_vectors<&LayerSignals::hidden>,
     .append = detail::append_vectors<&LayerSignals::hidden>},
    {.signal = StoredSignal::key_vectors,
     .name = "key_vectors",
     .per_layer = true,
     .look_back = look_back,
     .computed = 0,
     .width = "key_dim",
     .of_experts = false,
     .distinct = 1,  // those of layer 0 depend on one token and its position alone
     .storage = {{{"", SignalField::Type::activation}}},
     .columns = detail::vector_columns<&LayerSignals::keys>,
     .store = detail::store_vectors<&LayerSignals::keys>,
     .append = detail::append_vectors<&LayerSignals::keys>},
    {.signal = StoredSignal::logprobs,
     .name = "logprobs",
     .per_layer = false,
     .look_back = look_back,
     .computed = 3,
     .width = "top_k_logprobs",
     .of_experts = false,
     .distinct = -1,
     .storage = {{{"token_ids", SignalField::Type::int32}, {"log_probs"}}},
     .columns =
         [](const Signals& run, std::size_t) {
           const LogProbRows& rows = run.logprobs;
           return std::vector{detail::column(rows.ids, rows.k), detail::column(rows.values, rows.k)};
         },
     .store =
         [](Signals& run, std::size_t, std::vector<ColumnValues> read) {
           run.logprobs = {read[0].width, detail::values_of<std::int32_t>(read[0]), detail::values_of<float>(read[1])};
         },
     .append =
         [](Signals& run, std::size_t, std::span<const Column> rows) {
           run.logprobs.k = rows[0].width;
           detail::append(run.logprobs.ids, rows[0]);
           detail::append(run.logprobs.values, rows[1]);
         }},
    {.signal = StoredSignal::router,
     .name = "router",
     .per_layer = true,
     .look_back = 1,
     .computed = 1,
     .width = "",
     .of_experts = true,
     .distinct = std::nullopt,  // a few numbers may repeat where all experts are alike
     .storage = {{{"expert_ids", SignalField::Type::int32}, {"weights"}, {"margin", SignalField::Type::float32, true}}},
     .columns = [](const Signals& run, std::size_t index) -> std::vector<Column> {
       const auto& rows = run.layers[index].router;
       if (!rows) return {};
       return {detail::column(rows->expert_ids, rows->k), detail::column(rows->weights, rows->k),
               detail::column(rows->margin, 1)};
     },
     .store =
         [](Signals& run, std::size_t index, std::vector<ColumnValues> read) {
           run.layers[index].router = {read[0].width, detail::values_of<std::int32_t>(read[0]),
                                       detail::values_of<float>(read[1]), detail::values_of<float>(read[2])};
         },
     .append =
         [](Signals& run, std::size_t index, std::span<const Column> rows) {
           if (!run.layers[index].router) run.layers[index].router.emplace().k = rows[0].width;
           RouterRows& router = *run.layers[index].router;
           detail::append(router.expert_ids, rows[0]);
           detail::append(router.weights, rows[1]);
           detail::append(router.margin, rows[2]);
         }},
}};

constexpr const SignalInfo& info(StoredSignal signal) { return signal_table[static_cast<std::size_t>(signal)]; }
constexpr std::string_view name_of(StoredSignal signal) { return info(signal).name; }

/// The signal of that name, or nothing.
constexpr const SignalInfo* find_signal(std::string_view name) {
  for (const SignalInfo& one : signal_table)
    if (one.name == name) return &one;
  return nullptr;
}

/// The dtype that a signal's numbers have where a model's activations have `activations`.
constexpr DType dtype_of(const SignalInfo& info, DType activations) {
  return info.is_vector() ? activations : DType::float32;
}

/// One signal of a run at one place.
struct SignalAt {
  const SignalInfo* info;
  std::int64_t layer;  // -1 for the head's
  std::vector<Column> columns;

  bool at(const SignalAt& other) const { return info == other.info && layer == other.layer; }
};

/// What a run has of all signals: by the table's order, then layer.
inline std::vector<SignalAt> every_signal(const Signals& run) {
  std::vector<SignalAt> out;
  for (const SignalInfo& one : signal_table)
    for (std::size_t i = 0; i < (one.per_layer ? run.layers.size() : 1); ++i)
      if (auto columns = one.columns(run, i); !columns.empty())
        out.push_back({&one, one.per_layer ? run.layers[i].layer : -1, std::move(columns)});
  return out;
}

/// Seconds of one repetition.
struct Timing {
  double total = 0;
  double prefill = 0;
  double decode = 0;
};

}  // namespace fpf::evidence
