// Reads experiment files of any size: the index first, then rows as they are needed, through simdjson
// On-Demand.
#pragma once

#include <simdjson.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <fpf/core/interrupt.hpp>
#include <fpf/evidence/experiment_index.hpp>
#include <limits>
#include <numeric>
#include <span>
#include <type_traits>
#include <unordered_map>

namespace fpf::evidence {

namespace detail {

/// The text of rows as numbers, through simdjson On-Demand.
template <class T>
class RowParser {
 public:
  RowParser(const ExperimentFile& file, const StoredRun& run) : file_(file), run_(run) {}

  /// Appends the row's numbers to `values` (and the tokens of log-probabilities to `ids`).
  void parse(const StoredRow& row, std::vector<T>& values, std::vector<std::int32_t>& ids) {
    const std::string_view text = file_.text(row);
    const simdjson::padded_string_view padded(text.data(), text.size(), text.size() + simdjson::SIMDJSON_PADDING);
    simdjson::ondemand::document document;
    if (const auto error = parser_.iterate(padded).get(document)) fail_at(row, simdjson::error_message(error));
    if (row.signal != StoredSignal::logprobs) {
      if (append_numbers(row, "", document.get_array(), values) == 0) fail_at(row, "expected numbers, found none");
      return;
    }
    simdjson::ondemand::object object;
    if (const auto error = document.get_object().get(object)) fail_at(row, simdjson::error_message(error));
    const auto tokens = append_ids(row, object.find_field_unordered("token_ids").get_array(), ids);
    const auto numbers =
        append_numbers(row, ".log_probs", object.find_field_unordered("log_probs").get_array(), values);
    if (tokens != numbers)
      fail_at(row, fmt::format("expected as many token_ids as log_probs, found {} and {}", tokens, numbers));
  }

  /// Whether two rows hold the same bits; equal text decides without reading them.
  bool equal(const StoredRow& a, const StoredRow& b) {
    if (file_.text(a) == file_.text(b)) return true;
    std::vector<T> values_a, values_b;
    std::vector<std::int32_t> ids_a, ids_b;
    parse(a, values_a, ids_a);
    parse(b, values_b, ids_b);
    return ids_a == ids_b && std::ranges::equal(std::as_bytes(std::span(values_a)), std::as_bytes(std::span(values_b)));
  }

  [[noreturn]] void fail_at(const StoredRow& row, std::string_view what, std::string_view inside = "") const {
    const auto run = &run_ - file_.runs.data();
    const std::string layer = row.layer < 0 ? "" : fmt::format("layer_{}.", row.layer);
    fail("{}: runs[{}].decode_steps[{}].{}.{}pos_{}{}, byte {}: {}", file_.name(), run, row.step, name_of(row.signal),
         layer, row.back, inside, row.offset, what);
  }

 private:
  using Array = simdjson::simdjson_result<simdjson::ondemand::array>;

  std::size_t append_numbers(const StoredRow& row, std::string_view inside, Array result, std::vector<T>& values) {
    simdjson::ondemand::array array;
    if (const auto error = std::move(result).get(array)) fail_at(row, simdjson::error_message(error), inside);
    std::size_t count = 0;
    for (auto element : array) {
      simdjson::ondemand::value stored;
      if (const auto error = element.get(stored))
        fail_at(row, simdjson::error_message(error), fmt::format("{}[{}]", inside, count));
      const std::string_view token = stored.raw_json_token();
      double number = 0;
      if (stored.get_double().get(number)) fail_number(row, inside, count, token);
      const T value = narrowed(number, token);
      if (!std::isfinite(value)) fail_at(row, "a number out of range", fmt::format("{}[{}]", inside, count));
      values.push_back(value);
      ++count;
    }
    return count;
  }

  std::size_t append_ids(const StoredRow& row, Array result, std::vector<std::int32_t>& ids) {
    simdjson::ondemand::array array;
    if (const auto error = std::move(result).get(array)) fail_at(row, simdjson::error_message(error), ".token_ids");
    std::size_t count = 0;
    for (auto element : array) {
      std::int64_t id = 0;
      if (element.get_int64().get(id) || id < 0 || id > std::numeric_limits<std::int32_t>::max())
        fail_at(row, "expected a token id", fmt::format(".token_ids[{}]", count));
      ids.push_back(static_cast<std::int32_t>(id));
      ++count;
    }
    return count;
  }

  /// The value nearest to the decimal. Through double it would be rounded twice, which errs where the double
  /// lies halfway between two floats: of all shortest decimals for 7.038531e-26 alone.
  static T narrowed(double number, std::string_view token) {
    auto value = static_cast<T>(number);
    constexpr std::uint64_t below_float = (std::uint64_t{1} << 29) - 1;
    if constexpr (std::is_same_v<T, float>)
      if ((std::bit_cast<std::uint64_t>(number) & below_float) == (below_float + 1) / 2)
        std::from_chars(token.data(), token.data() + token.size(), value);
    return value;
  }

  [[noreturn]] void fail_number(const StoredRow& row, std::string_view inside, std::size_t index,
                                std::string_view token) {
    token = token.substr(0, token.find_first_of(" \n\r\t"));
    fail_at(row, fmt::format("expected a number, found {:.40}", token), fmt::format("{}[{}]", inside, index));
  }

  const ExperimentFile& file_;
  const StoredRun& run_;
  simdjson::ondemand::parser parser_;
};

/// Puts rows in ascending order of their positions.
template <class T>
Rows<T> sorted(Rows<T> rows) {
  if (std::is_sorted(rows.positions.begin(), rows.positions.end())) return rows;
  std::vector<std::size_t> order(rows.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](auto a, auto b) { return rows.positions[a] < rows.positions[b]; });
  Rows<T> out;
  out.contradictions = rows.contradictions;
  out.contradiction = rows.contradiction;
  for (const std::size_t i : order) {
    out.positions.push_back(rows.positions[i]);
    out.places.push_back(rows.places[i]);
    out.values.insert(out.values.end(), rows.row(i).begin(), rows.row(i).end());
    if (!rows.ids.empty()) out.ids.insert(out.ids.end(), rows.row_ids(i).begin(), rows.row_ids(i).end());
    out.starts.push_back(out.values.size());
  }
  return out;
}

}  // namespace detail

/// Which rows of a run are read: every position once, or each as often as the file repeats it (the plan's
/// 30 steps x 3 positions), in the file's order.
enum class RowRule { unique, every };

/// The rows of `signal` at `layer` (-1 for log-probabilities) of a run of `file`. T is float or double.
/// With RowRule::unique they come ascending by position; a position that stands several times is read where
/// it stands first, and repeats with other values are counted in `contradictions`. Throws Error for anything
/// but finite numbers, and for vectors of unequal width.
template <class T>
Rows<T> read_rows(const ExperimentFile& file, const StoredRun& run, StoredSignal signal, int layer,
                  RowRule rule = RowRule::unique) {
  const auto wanted = [&](const StoredRow& row) { return row.signal == signal && row.layer == layer; };
  const auto count = static_cast<std::size_t>(std::ranges::count_if(run.rows, wanted));
  detail::RowParser<T> parser(file, run);
  detail::PageReleaser releaser(file.file, run.offset);
  std::unordered_map<int, const StoredRow*> first;  // where each position stands first
  Rows<T> out;
  for (const StoredRow& row : run.rows) {
    if (!wanted(row)) continue;
    releaser.passed(row.offset);
    check_interrupt();
    const int position = run.position(row);
    if (rule == RowRule::unique) {
      const auto [seen, fresh] = first.emplace(position, &row);
      if (!fresh) {
        if (parser.equal(*seen->second, row)) continue;
        if (out.contradictions++ == 0) out.contradiction = {&row, seen->second};
        continue;
      }
    }
    parser.parse(row, out.values, out.ids);
    const std::size_t width = out.values.size() - out.starts.back();
    // Untouched where rows repeat, so free; a number takes two bytes of text.
    if (out.size() == 0) out.values.reserve(std::min<std::size_t>(width * count, run.length / 2));
    out.starts.push_back(out.values.size());
    out.positions.push_back(position);
    out.places.push_back(&row);
    if (signal != StoredSignal::logprobs && width != out.starts[1])
      parser.fail_at(row, fmt::format("expected {} numbers, as in the rows before, found {}", out.starts[1], width));
  }
  return rule == RowRule::unique ? detail::sorted(std::move(out)) : out;
}

}  // namespace fpf::evidence
