// Finds what an experiment file of any size holds and where every row of numbers stands, in one pass.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <fpf/core/decimal.hpp>
#include <fpf/core/interrupt.hpp>
#include <fpf/core/parse_number.hpp>
#include <fpf/evidence/experiment_file.hpp>
#include <fpf/evidence/json_cursor.hpp>
#include <fpf/evidence/member_types.hpp>
#include <limits>
#include <unordered_set>

namespace fpf::evidence {

namespace detail {

/// Gives pages of a map that were read back to the system, so that a pass over a large file stays small.
class PageReleaser {
 public:
  explicit PageReleaser(const MappedFile& file, std::uint64_t from = 0) : base_(file.bytes().data()), from_(from) {}

  /// Everything before `offset` has been read. Releases a window at a time.
  void passed(std::uint64_t offset) {
    if (offset < from_ + window) return;
    const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    const std::uint64_t begin = from_ / page * page, end = offset / page * page;
    ::madvise(const_cast<std::byte*>(base_) + begin, end - begin, MADV_DONTNEED);
    from_ = end;
  }

 private:
  static constexpr std::uint64_t window = std::uint64_t{4} << 20;
  const std::byte* base_;
  std::uint64_t from_;
};

/// The number in "layer_12" or "pos_-3" behind its prefix, if that is what the key is.
inline std::optional<int> numbered(std::string_view key, std::string_view prefix) {
  if (!key.starts_with(prefix)) return {};
  const auto number = parse_number<int>(key.substr(prefix.size()));
  return number && *number <= 1'000'000 ? number : std::nullopt;
}

class Indexer {
 public:
  Indexer(const MappedFile& file, ExperimentFile& out)
      : cursor_(file.text(), file.path().string()), releaser_(file), out_(out) {}

  void run() {
    bool metadata = false, configurations = false, runs = false;
    cursor_.enter_object();
    while (const auto key = cursor_.next_key()) {
      if (*key == "experiment_metadata") {
        out_.metadata = take_object();
        metadata = true;
      } else if (*key == "configurations") {
        read_configurations();
        configurations = true;
      } else if (*key == "runs") {
        read_runs();
        runs = true;
      } else if (*key == "schema_version") {
        check_version(cursor_.take_as());
      } else {
        cursor_.take();
      }
    }
    cursor_.finish();
    if (!metadata) missing("experiment_metadata");
    if (!configurations) missing("configurations");
    if (!runs) missing("runs");
    if (out_.metadata.contains("schema_version")) check_version(out_.metadata["schema_version"]);
    check_ids();
    check_types(out_.metadata, metadata_types, "experiment_metadata");
    for (std::size_t i = 0; i < out_.configurations.size(); ++i)
      check_types(out_.configurations[i], configuration_types, fmt::format("configurations[{}]", i));
    for (std::size_t i = 0; i < out_.runs.size(); ++i)
      check_types(out_.runs[i].members, run_types, fmt::format("runs[{}]", i));
  }

 private:
  /// About what one thing found costs in memory, beside the JSON that is kept of it; twice its size while vectors grow.
  static constexpr std::size_t configuration_memory = 2 * (sizeof(nlohmann::json) + sizeof(std::string)) + 64,
                               run_memory = 2 * (sizeof(StoredRun) + sizeof(std::string)) + 64,
                               member_memory = 2 * sizeof(std::string) + sizeof(nlohmann::json) + 48,
                               step_memory = 2 * sizeof(StoredStep), row_memory = 2 * sizeof(StoredRow);
  static constexpr std::size_t metadata_limit = std::size_t{64} << 20;
  static constexpr std::size_t member_limit = std::size_t{1} << 20;

  [[noreturn]] void missing(std::string_view what) const {
    fail("{}: expected an experiment file, found no \"{}\" in it", out_.name(), what);
  }

  nlohmann::json take_object() {
    if (cursor_.peek() != '{') cursor_.fail_here("expected an object");
    return cursor_.take_as<nlohmann::json>(metadata_limit);
  }

  void check_version(const nlohmann::json& version) const {
    if (version != schema_version)
      fail("{}: expected schema_version {}, found {:.40}", out_.name(), schema_version, version.dump());
  }

  void read_configurations() {
    cursor_.enter_array();
    while (cursor_.next_element()) {
      cursor_.charge(configuration_memory);
      nlohmann::json configuration = take_object();
      for (const char* name : {"config_id", "hardware"})
        if (!configuration.contains(name) || !configuration[name].is_string())
          cursor_.fail_here(fmt::format("expected a configuration with a {}", name));
      if (!configuration.contains("variable_value")) configuration["variable_value"] = nullptr;
      if (configuration["variable_value"].is_structured())
        cursor_.fail_here("expected a variable_value that is a number, string, boolean or null");
      out_.configurations.push_back(std::move(configuration));
    }
  }

  void read_runs() {
    cursor_.enter_array();
    while (cursor_.next_element()) read_run();
    if (out_.runs.empty()) fail("{}: expected at least one run, found an empty \"runs\"", out_.name());
  }

  void read_run() {
    cursor_.charge(run_memory);
    run_ = &out_.runs.emplace_back();
    run_->members = nlohmann::json::object();
    if (cursor_.peek() != '{') cursor_.fail_here("expected a run, that is, an object");
    run_->offset = cursor_.offset();
    bool config_id = false;
    cursor_.enter_object();
    while (const auto key = cursor_.next_key()) {
      if (*key == "config_id") {
        run_->config_id = cursor_.take_as<std::string>();
        config_id = true;
      } else if (*key == "rep_id") {
        run_->rep_id = cursor_.take_as<int>();
      } else if (*key == "decode_steps") {
        read_steps();
      } else if (*key == "prompt_text") {
        run_->prompt_text = take_span();
      } else if (*key == "prompt_token_ids") {
        run_->prompt_token_ids = take_span();
      } else if (*key == "neighbours") {
        run_->members["neighbours"] = cursor_.take_as(metadata_limit);
      } else {
        const std::string name(*key);
        const std::string_view text = cursor_.take();
        if (text.size() > member_limit) continue;
        cursor_.charge(member_memory + name.size());
        run_->members[name] = cursor_.parse<nlohmann::json>(text);
      }
    }
    if (!config_id) cursor_.fail_here("expected a run with a config_id");
    run_->length = cursor_.offset() - run_->offset;
  }

  void read_steps() {
    cursor_.enter_array();
    while (cursor_.next_element()) {
      read_step();
      releaser_.passed(cursor_.offset());
      check_interrupt();
    }
  }

  void read_step() {
    cursor_.charge(step_memory);
    StoredStep& step = run_->steps.emplace_back();
    step.step = static_cast<int>(run_->steps.size()) - 1;
    std::optional<std::int64_t> absolute;
    cursor_.enter_object();
    while (const auto key = cursor_.next_key()) {
      if (*key == "step")
        step.step = static_cast<int>(take_index());
      else if (*key == "token_id")
        step.token_id = take_id();
      else if (*key == "chosen_token_id")
        step.chosen_token_id = take_id();
      else if (*key == "absolute_position")
        absolute = take_index();
      else if (*key == "token_text")
        step.token_text = take_span();
      else if (const SignalInfo* signal = find_signal(*key))
        signal->per_layer ? read_layers(*signal) : read_positions(*signal, -1);
      else
        cursor_.take();
    }
    if (!absolute) return;
    if (!run_->prompt_tokens) run_->prompt_tokens = *absolute - step.step;
    if (const auto expected = *run_->prompt_tokens + step.step; *absolute != expected)
      cursor_.fail_here(
          fmt::format("expected absolute_position {} at step {}, found {}", expected, step.step, *absolute));
  }

  TextSpan take_span() {
    cursor_.peek();  // white space before it is none of it
    const auto offset = cursor_.offset();
    return {offset, cursor_.take().size()};
  }

  std::int64_t take_index() {
    const auto index = cursor_.take_as<std::int64_t>();
    if (index < 0 || index > 1'000'000'000) cursor_.fail_here(fmt::format("expected 0 to 10^9, found {}", index));
    return index;
  }

  std::int32_t take_id() {
    const auto id = cursor_.take_as<std::int64_t>();
    constexpr auto most = std::numeric_limits<std::int32_t>::max();
    if (id < 0 || id > most) cursor_.fail_here(fmt::format("expected a token id from 0 to {}, found {}", most, id));
    return static_cast<std::int32_t>(id);
  }

  void read_layers(const SignalInfo& signal) {
    cursor_.enter_object();
    while (const auto key = cursor_.next_key()) {
      const auto layer = numbered(*key, "layer_");
      if (layer && *layer >= 0)
        read_positions(signal, *layer);
      else
        cursor_.take();
    }
  }

  void read_positions(const SignalInfo& signal, int layer) {
    cursor_.enter_object();
    while (const auto key = cursor_.next_key()) {
      const auto back = numbered(*key, "pos_");
      if (!back || *back >= 0 || *back < -1000) {
        cursor_.take();
        continue;
      }
      const char found = cursor_.peek();
      const auto begin = cursor_.offset();
      if (!signal.is_vector())
        find_fields(signal);
      else if (found == '[')
        cursor_.take();
      else
        cursor_.fail_here("expected an array of numbers");
      const auto length = cursor_.offset() - begin;
      if (length > longest_row)
        cursor_.fail_here(fmt::format("a row of {} bytes: expected at most {}", length, longest_row));
      cursor_.charge(row_memory);
      run_->rows.push_back({.offset = begin,
                            .length = static_cast<std::uint32_t>(length),
                            .step = static_cast<std::uint32_t>(run_->steps.size() - 1),
                            .layer = layer,
                            .back = static_cast<std::int16_t>(*back),
                            .signal = signal.signal});
    }
  }

  void find_fields(const SignalInfo& signal) {
    const auto fields = signal.fields();
    std::size_t found = 0;
    cursor_.enter_object();
    while (const auto key = cursor_.next_key()) {
      const auto field = std::ranges::find(fields, *key, &SignalField::name);
      if (field != fields.end() && !field->one && cursor_.peek() != '[') cursor_.fail_here("expected an array");
      found += field != fields.end();
      cursor_.take();
    }
    std::string names;
    for (const SignalField& field : fields)
      names += fmt::format("{}{}", names.empty() ? "" : &field == &fields.back() ? " and " : ", ", field.name);
    if (found != fields.size()) cursor_.fail_here("expected " + names);
  }

  void check_types(const nlohmann::json& json, std::span<const TypedMember> members, std::string_view place) const {
    check_member_types(json, members, [&](const TypedMember& member, const nlohmann::json& found) {
      fail("{}: {}: expected {} to be {}, found {:.40}", out_.name(), place, member.path, name_of(member.type),
           found.dump());
    });
  }

  void check_ids() const {
    std::unordered_set<std::string> known;
    for (const auto& configuration : out_.configurations)
      if (!known.insert(configuration["config_id"]).second)
        fail("{}: expected configurations with ids of their own, found \"{}\" twice", out_.name(),
             configuration["config_id"].get<std::string>());
    std::unordered_set<std::string> repetitions;
    for (std::size_t i = 0; i < out_.runs.size(); ++i) {
      const StoredRun& run = out_.runs[i];
      if (!known.contains(run.config_id))
        fail("{}: runs[{}]: expected a config_id that stands in configurations, found \"{:.80}\"", out_.name(), i,
             run.config_id);
      const auto& prompt = member_or_null(run.members, "prompt_index");
      if (!repetitions.insert(fmt::format("{} {} {}", run.rep_id, prompt.dump(), run.config_id)).second)
        fail("{}: runs[{}]: repetition {} of \"{:.80}\"{} stands twice", out_.name(), i, run.rep_id, run.config_id,
             prompt.is_null() ? "" : fmt::format(", prompt {},", prompt.dump()));
    }
  }

  JsonCursor cursor_;
  PageReleaser releaser_;
  ExperimentFile& out_;
  StoredRun* run_ = nullptr;
};

}  // namespace detail

/// Opens an experiment file and finds its rows. Throws Error with the file, the JSON path and the byte when
/// the text is not JSON where it was looked at, or not an experiment. Values that are stepped over (rows,
/// until they are read) are checked for brackets and strings alone.
inline ExperimentFile open_experiment(const std::filesystem::path& path) {
  ExperimentFile out;
  out.file = MappedFile(path, decimal_overrun);
  if (out.file.size() == 0) fail("{}: expected an experiment file, found an empty file", path.string());
  ::madvise(const_cast<std::byte*>(out.file.bytes().data()), out.file.size(), MADV_SEQUENTIAL);
  detail::Indexer(out.file, out).run();
  ::madvise(const_cast<std::byte*>(out.file.bytes().data()), out.file.size(), MADV_NORMAL);
  return out;
}

}  // namespace fpf::evidence
