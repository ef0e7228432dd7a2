// An experiment file as a reader sees it: what it holds and where, with the rows of numbers still in the
// file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fpf/core/mapped_file.hpp>
#include <fpf/evidence/signals.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::evidence {

/// The file's `schema_version` that this reader knows; files without one are the plan's own.
inline constexpr int schema_version = 1;

/// Where one row of numbers stands: the text of decode_steps[step].signal.layer_k.pos_back.
struct StoredRow {
  std::uint64_t offset = 0;  // of its first byte in the file
  std::uint32_t length = 0;
  std::uint32_t step = 0;   // index into StoredRun::steps
  std::int32_t layer = -1;  // -1 for those of the head
  std::int16_t back = 0;    // -1, -2, -3, ...
  StoredSignal signal{};
};

/// A value's own text in the file; of no bytes where there is none.
struct TextSpan {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;

  explicit operator bool() const { return length != 0; }
};

struct StoredStep {
  int step = 0;
  std::optional<std::int32_t> token_id;         // fed at this step
  std::optional<std::int32_t> chosen_token_id;  // where tokens are forced: what the run would have fed
  TextSpan token_text;
};

/// One element of `runs`.
struct StoredRun {
  std::string config_id;
  int rep_id = 0;
  nlohmann::json members;    // all that is small: everything but decode_steps, prompt_text and prompt_token_ids
  std::uint64_t offset = 0;  // of the run's object in the file
  std::uint64_t length = 0;
  TextSpan prompt_text, prompt_token_ids;
  std::vector<StoredStep> steps;              // in the file's order
  std::vector<StoredRow> rows;                // in the file's order
  std::optional<std::int64_t> prompt_tokens;  // absolute position of step 0, where the file says so

  /// Position of a row relative to the end of the prompt: decode step s is fed at position s, and the
  /// prompt's last token stands at -1.
  int position(const StoredRow& row) const { return steps[row.step].step + row.back + 1; }
};

/// An open experiment file. The map stays alive as long as this does; rows are read on demand (reader.hpp).
struct ExperimentFile {
  MappedFile file;
  nlohmann::json metadata;                     // experiment_metadata
  std::vector<nlohmann::json> configurations;  // each with a config_id of its own
  std::vector<StoredRun> runs;                 // never empty; every config_id is one of the configurations'

  std::string name() const { return file.path().string(); }

  std::string_view text(const StoredRow& row) const { return file.text().substr(row.offset, row.length); }
  std::string_view text(TextSpan span) const { return file.text().substr(span.offset, span.length); }

  /// The run's own JSON text, for programs that copy it into another file.
  std::string_view text(const StoredRun& run) const { return file.text().substr(run.offset, run.length); }

  /// Layers at which any step of any run stores a signal, ascending.
  std::vector<int> layers(StoredSignal signal) const {
    std::set<int> found;
    for (const auto& run : runs)
      for (const auto& row : run.rows)
        if (row.signal == signal) found.insert(row.layer);
    return {found.begin(), found.end()};
  }
};

/// The rows of one signal at one layer of one run. Vectors have rows of equal width; log-probabilities may
/// list a few ids more at one position than at another.
template <class T>
struct Rows {
  std::vector<int> positions;            // of each row, ascending when rows are unique
  std::vector<std::size_t> starts{0};    // [rows + 1] into values
  std::vector<T> values;                 // of each row its arrays of floats, one behind the other
  std::vector<std::int32_t> ids;         // of each row its ids (tokens, experts), as many as values in all
  std::vector<T> singles;                // of each row its fields that are one number
  std::vector<const StoredRow*> places;  // where each row was read
  std::size_t contradictions = 0;        // repeated rows whose bits are not those of the first
  std::pair<const StoredRow*, const StoredRow*> contradiction{};  // the first such, and where its position stands first

  std::size_t size() const { return positions.size(); }
  std::span<const T> row(std::size_t i) const {
    return std::span(values).subspan(starts[i], starts[i + 1] - starts[i]);
  }
  std::span<const std::int32_t> row_ids(std::size_t i) const {
    return std::span(ids).subspan(starts[i], starts[i + 1] - starts[i]);
  }
};

}  // namespace fpf::evidence
