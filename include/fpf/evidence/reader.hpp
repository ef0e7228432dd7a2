// Reads experiment files of any size: the index first, then rows as they are needed.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <fpf/core/decimal.hpp>
#include <fpf/core/interrupt.hpp>
#include <fpf/evidence/experiment_index.hpp>
#include <numeric>
#include <span>
#include <unordered_map>

namespace fpf::evidence {

/// "decode_steps[3].hidden_states.layer_2.pos_-1"
inline std::string path_of(const StoredRow& row) {
  const std::string layer = row.layer < 0 ? "" : fmt::format("layer_{}.", row.layer);
  return fmt::format("decode_steps[{}].{}.{}pos_{}", row.step, name_of(row.signal), layer, row.back);
}

namespace detail {

/// The text of rows as numbers.
template <class T>
class RowParser {
 public:
  RowParser(const ExperimentFile& file, const StoredRun& run) : file_(file), run_(run) {}

  /// Appends the row's numbers to those of `to`.
  void parse(const StoredRow& row, Rows<T>& to) const {
    const std::string_view text = file_.text(row);
    const SignalInfo& signal = info(row.signal);
    if (signal.is_vector()) {
      if (append_numbers(row, "", text, to.values) == 0) fail_at(row, "expected numbers, found none");
      return;
    }
    std::array<std::string_view, std::tuple_size_v<decltype(signal.storage)>> texts;
    const auto fields = signal.fields();
    JsonCursor members(text, row_name(row));
    members.enter_object();
    while (const auto key = members.next_key()) {
      const auto field = std::ranges::find(fields, *key, &SignalField::name);
      const std::string_view value = members.take();
      if (field != fields.end()) texts[static_cast<std::size_t>(field - fields.begin())] = value;
    }
    std::size_t width = 0;
    for (std::size_t i = 0; i < fields.size(); ++i) {
      const std::string inside = fmt::format(".{}", fields[i].name);
      if (fields[i].one) {
        append_number(row, inside, texts[i], to.singles);
        continue;
      }
      const std::size_t found = fields[i].type == SignalField::Type::int32
                                    ? append_ids(row, inside, texts[i], to.ids)
                                    : append_numbers(row, inside, texts[i], to.values);
      if (i == 0) width = found;
      if (found != width)
        fail_at(row, fmt::format("expected as many {} as {}, found {} and {}", fields[0].name, fields[i].name, width,
                                 found));
    }
  }

  /// Whether two rows hold the same bits; equal text decides without reading them.
  bool equal(const StoredRow& a, const StoredRow& b) const {
    if (file_.text(a) == file_.text(b)) return true;
    Rows<T> x, y;
    parse(a, x);
    parse(b, y);
    const auto bytes = [](const std::vector<T>& values) { return std::as_bytes(std::span(values)); };
    return x.ids == y.ids && std::ranges::equal(bytes(x.values), bytes(y.values)) &&
           std::ranges::equal(bytes(x.singles), bytes(y.singles));
  }

  [[noreturn]] void fail_at(const StoredRow& row, std::string_view what, std::string_view inside = "") const {
    fail("{}{}, byte {}: {}", row_name(row), inside, row.offset, what);
  }

 private:
  std::string row_name(const StoredRow& row) const {
    return fmt::format("{}: runs[{}].{}", file_.name(), &run_ - file_.runs.data(), path_of(row));
  }

  std::size_t append_numbers(const StoredRow& row, std::string_view inside, std::string_view text,
                             std::vector<T>& values) const {
    const std::size_t before = values.size();
    bool finite = true;
    append(row, inside, text, "a number", [&](const char* at) {
      T value{};
      const char* const end = read_decimal(at, value);
      finite &= std::isfinite(value);
      values.push_back(value);
      return end;
    });
    if (!finite) {
      const auto found = std::ranges::find_if_not(values.begin() + static_cast<std::ptrdiff_t>(before), values.end(),
                                                  [](T value) { return std::isfinite(value); });
      fail_at(row, "a number out of range",
              fmt::format("{}[{}]", inside, found - values.begin() - static_cast<std::ptrdiff_t>(before)));
    }
    return values.size() - before;
  }

  void append_number(const StoredRow& row, std::string_view inside, std::string_view text,
                     std::vector<T>& values) const {
    T value{};
    const char* const end = text.empty() ? nullptr : read_decimal(text.data(), value);
    if (end != text.data() + text.size())
      fail_at(row, fmt::format("expected a number, found {:.40}", text.empty() ? "none" : text), inside);
    if (!std::isfinite(value)) fail_at(row, "a number out of range", inside);
    values.push_back(value);
  }

  std::size_t append_ids(const StoredRow& row, std::string_view inside, std::string_view text,
                         std::vector<std::int32_t>& ids) const {
    const std::size_t before = ids.size();
    append(row, inside, text, "an id", [&](const char* at) -> const char* {
      std::int32_t id = 0;
      const char* const end = end_of_number(at);
      if (end == nullptr || *at == '-') return nullptr;
      const auto [stop, error] = std::from_chars(at, end, id);
      if (error != std::errc{} || stop != end) return nullptr;
      ids.push_back(id);
      return end;
    });
    return ids.size() - before;
  }

  template <class Read>
  void append(const StoredRow& row, std::string_view inside, std::string_view text, std::string_view what,
              Read read) const {
    const ArrayFault fault = text.empty() ? ArrayFault{text.data()} : read_array(text, read);
    if (text.empty() || fault.at == text.data()) fail_at(row, fmt::format("expected an array, each {}", what), inside);
    if (fault.at == nullptr) return;
    fail_at(row,
            fmt::format("expected {}, found {:.40}", fault.element ? what : "',' or ']'", token_at(fault.at, text)),
            fmt::format("{}[{}]", inside, fault.index));
  }

  const ExperimentFile& file_;
  const StoredRun& run_;
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
    const std::size_t each = rows.singles.size() / rows.size();
    for (std::size_t j = 0; j < each; ++j) out.singles.push_back(rows.singles[i * each + j]);
    if (!rows.ids.empty()) out.ids.insert(out.ids.end(), rows.row_ids(i).begin(), rows.row_ids(i).end());
    out.starts.push_back(out.values.size());
  }
  return out;
}

}  // namespace detail

/// Which rows of a run are read: every position once, or each as often as the file repeats it (the plan's
/// 30 steps x 3 positions), in the file's order.
enum class RowRule { unique, every };

/// The rows of `signal` at `layer` (-1 for those of the head) of a run of `file`. T is float or double.
/// With RowRule::unique they come ascending by position; a position that stands several times is read where
/// it stands first, and repeats with other values are counted in `contradictions`. Throws Error for anything
/// but finite numbers, and for vectors of unequal width.
template <class T>
Rows<T> read_rows(const ExperimentFile& file, const StoredRun& run, StoredSignal signal, int layer,
                  RowRule rule = RowRule::unique) {
  const auto wanted = [&](const StoredRow& row) { return row.signal == signal && row.layer == layer; };
  const auto count = static_cast<std::size_t>(std::ranges::count_if(run.rows, wanted));
  const detail::RowParser<T> parser(file, run);
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
    parser.parse(row, out);
    const std::size_t width = out.values.size() - out.starts.back();
    // Untouched where rows repeat, so free; a number takes two bytes of text.
    if (out.size() == 0) out.values.reserve(std::min<std::size_t>(width * count, run.length / 2));
    out.starts.push_back(out.values.size());
    out.positions.push_back(position);
    out.places.push_back(&row);
    if (info(signal).is_vector() && width != out.starts[1])
      parser.fail_at(row, fmt::format("expected {} numbers, as in the rows before, found {}", out.starts[1], width));
  }
  return rule == RowRule::unique ? detail::sorted(std::move(out)) : out;
}

}  // namespace fpf::evidence
