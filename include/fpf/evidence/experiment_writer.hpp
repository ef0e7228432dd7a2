// The experiment file as it grows: NAME.json.partial, one synced record a finished configuration, then
// NAME.json.
#pragma once

#include <algorithm>
#include <fpf/core/atomic_file.hpp>
#include <fpf/core/json.hpp>
#include <fpf/core/locked_file.hpp>
#include <fpf/evidence/partial_record.hpp>
#include <fpf/evidence/record_check.hpp>
#include <fpf/evidence/run_json.hpp>
#include <fpf/evidence/weights.hpp>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::evidence {

/// Collects finished configurations in `<path>.partial` and turns them into `path` at the end. What was recorded is on
/// disk alone: memory holds where it lies.
///
/// The partial file's first line is {"experiment_metadata": ..., "fingerprint": ..., "model": ...}; every further line
/// is a record {"configuration": ..., "runs": [...]} that was synced to disk when it was added. Fingerprint and model
/// say what the records are made from; resuming with others is refused, and with a record whose vectors do not fit its
/// digests, or whose tokens are not those that it says. One process at a time may hold it.
class ExperimentWriter {
 public:
  /// What records are made from.
  struct Origin {
    std::string fingerprint;  // of prompt, options, machine and software
    Json model{};             // its manifest.model
    std::vector<std::string> tokens{};  // where they are forced, tokens.sha256 of each prompt's runs
  };

  /// A finished configuration. The members behind `resumed` are those of one that an earlier process left.
  struct Recorded {
    std::string config_id;
    bool resumed = false;
    Json model{};                           // its manifest.model
    std::vector<std::string> neighbours{};  // prompt_sha256 of its first run's other sequences
    bool finding = false;                   // repetitions differ, a value is no number, or a load did not go with it
  };

  /// Starts anew, or, with `resume`, goes on after the last complete record of an earlier partial file (if
  /// any). Throws Error when the folder cannot be written, another process writes this experiment, or the partial file
  /// was made from something else.
  ExperimentWriter(std::filesystem::path path, Json metadata, const Origin& origin, bool resume)
      : path_(std::move(path)),
        partial_(path_.string() + ".partial",
                 fmt::format("another process is writing {}.partial: wait for it, or choose another --out",
                             path_.string())) {
    const Json head = {
        {"experiment_metadata", std::move(metadata)}, {"fingerprint", origin.fingerprint}, {"model", origin.model}};
    if (resume) take_up(origin);
    if (!head_.empty()) return;
    partial_.truncate(0);
    head_ = head.dump();
    put({head_, "\n"});
  }
  ExperimentWriter(const ExperimentWriter&) = delete;
  ExperimentWriter& operator=(const ExperimentWriter&) = delete;
  /// An experiment that ends before its first record leaves no file.
  ~ExperimentWriter() {
    if (places_.empty() && !finished_) partial_.remove();
  }

  /// The record of a configuration that is finished already; null while it is not.
  const Recorded* find(std::string_view config_id) const {
    const auto found = std::ranges::find(recorded_, config_id, &Recorded::config_id);
    return found == recorded_.end() ? nullptr : &*found;
  }
  bool has(std::string_view config_id) const { return find(config_id) != nullptr; }

  /// Where the records lie until the file is complete.
  const std::filesystem::path& partial() const { return partial_.path(); }

  /// Records a configuration and its runs (each the text of one JSON object), durably.
  void add(const Json& configuration, const std::vector<std::string>& runs) {
    const std::string own = configuration_key + configuration.dump();
    std::vector<std::string_view> parts{own, runs_key};
    for (const std::string& run : runs) {
      if (&run != runs.data()) parts.emplace_back(",");
      add_on_one_line(parts, run);
    }
    parts.emplace_back("]}\n");
    const std::uintmax_t begin = size_;
    put(parts);
    recorded_.push_back({.config_id = configuration.at("config_id").get<std::string>()});
    places_.push_back({begin, begin + own.size(), size_});
  }

  /// Writes the experiment file and removes the partial one.
  void finish() {
    AtomicFile file(path_);
    const Json head = parse_json<Json>(head_, partial().string());
    file.append("{\"experiment_metadata\":" + head.at("experiment_metadata").dump() + ",\n\"configurations\":[");
    const auto separator = [&](const Place& one) { return &one == places_.data() ? "\n" : ",\n"; };
    for (const Place& one : places_) {
      file.append(separator(one));
      copy(one.begin + configuration_key.size(), one.split, file);
    }
    file.append("],\n\"runs\":[");
    for (const Place& one : places_) {
      file.append(separator(one));
      copy(one.split + runs_key.size(), one.end - std::string_view("]}\n").size(), file);
    }
    file.append("]}\n").commit();
    partial_.remove();
    finished_ = true;
  }

 private:
  inline static const std::string configuration_key = "{\"configuration\":";
  inline static const std::string runs_key = ",\"runs\":[";  // inside JSON strings the quotes would be escaped

  /// Where a record lies in the partial file, and where its configuration ends; in bytes.
  struct Place {
    std::uintmax_t begin, split, end;
  };

  static std::size_t split(std::string_view line) { return line.find(runs_key); }

  /// A record is a line, and JSON has line breaks between its tokens alone.
  static void add_on_one_line(std::vector<std::string_view>& parts, std::string_view text) {
    while (!text.empty()) {
      const std::size_t end = std::min(text.find('\n'), text.size());
      parts.push_back(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
  }

  void put(const std::vector<std::string_view>& parts) {
    partial_.append(parts);
    for (const std::string_view part : parts) size_ += part.size();
  }

  /// Bytes of the partial file, through a small buffer.
  void copy(std::uintmax_t begin, std::uintmax_t end, AtomicFile& to) const {
    constexpr std::uintmax_t most = 1 << 20;
    std::string buffer;
    for (; begin < end; begin += buffer.size()) {
      buffer.resize(static_cast<std::size_t>(std::min(most, end - begin)));
      partial_.read(begin, buffer);
      to.append(buffer);
    }
  }

  /// Reads the complete lines of an earlier partial file and cuts off what was being written when it stopped.
  void take_up(const Origin& origin) {
    std::ifstream file(partial(), std::ios::binary);
    std::uintmax_t whole = 0;
    for (std::string line; std::getline(file, line) && !file.eof();) {
      const Json record = partial_record(line);
      try {
        head_.empty() ? check_head(record, origin) : take_up(record, line, origin);
      } catch (const Json::exception&) {
        fail("{} is damaged at byte {}: expected what an interrupted experiment leaves; remove it", partial().string(),
             whole);
      }
      const std::uintmax_t begin = std::exchange(whole, whole + line.size() + 1);
      if (head_.empty())
        head_ = std::move(line);
      else
        places_.push_back({begin, begin + split(line), whole});
    }
    partial_.truncate(whole);
    size_ = whole;
  }

  void check_head(const Json& head, const Origin& origin) const {
    if (!head.at("experiment_metadata").is_object() || head.at("fingerprint").get<std::string>() != origin.fingerprint)
      fail(
          "{} was made from another model, prompt or options, or on another machine or software, than this run: remove it, "
          "or run without --resume",
          partial().string());
    const nlohmann::json before = head.value("model", Json()), now = origin.model;
    if (!identifies_weights(before) || !identifies_weights(now)) return;
    if (const auto difference = weights_difference(before, now))
      fail(
          "{} was made from other weights: model/{} is {} there and {} in this run; remove it, or run without --resume",
          partial().string(), difference.field, difference.a, difference.b);
  }

  void take_up(const Json& record, const std::string& line, const Origin& origin) {
    using Pointer = Json::json_pointer;
    const Json& configuration = record.at("configuration");
    Recorded& out = recorded_.emplace_back();
    out.resumed = true;
    out.config_id = configuration.at("config_id").get<std::string>();
    out.model = configuration.value(Pointer("/manifest/model"), Json());
    for (const Json& run : record.at("runs"))
      out.finding |= run.value("status", "complete") != "complete" ||
                     !run.value(Pointer("/reproducibility/bit_exact"), true) ||
                     !run.value(Pointer("/contention/accompanied"), true);
    for (const Json& one : record.at("runs").at(0).value("neighbours", Json::array()))
      out.neighbours.push_back(one.at("prompt_sha256").get<std::string>());
    check_record(out.config_id, line, origin);
  }

  void check_record(const std::string& config_id, std::string_view line, const Origin& origin) const {
    const Json metadata = parse_json<Json>(head_, partial().string()).at("experiment_metadata");
    const auto configuration = line.substr(configuration_key.size(), split(line) - configuration_key.size());
    const auto runs = line.substr(split(line) + runs_key.size());
    const std::string fault = record_fault(fmt::format(R"({{"experiment_metadata":{},"configurations":[{}],"runs":[{})",
                                                       metadata.dump(), configuration, runs),
                                           origin.tokens);
    if (!fault.empty())
      fail("{} holds {}, which is not what was recorded ({}): remove it, or run without --resume", partial().string(),
           config_id, fault);
  }

  std::filesystem::path path_;
  LockedFile partial_;
  std::string head_;  // the first line
  std::uintmax_t size_ = 0;
  std::vector<Place> places_;  // of recorded_
  std::vector<Recorded> recorded_;
  bool finished_ = false;
};

}  // namespace fpf::evidence
