// The experiment file as it grows: NAME.json.partial, one synced record a finished configuration, then
// NAME.json.
#pragma once

#include <algorithm>
#include <fpf/core/atomic_file.hpp>
#include <fpf/evidence/run_json.hpp>
#include <fstream>

namespace fpf::evidence {

/// Collects finished configurations in `<path>.partial` and turns them into `path` at the end.
///
/// The partial file's first line is {"experiment_metadata": ..., "fingerprint": ...}; every further line is a record
/// {"configuration": ..., "runs": [...]} that was synced to disk when it was added. The fingerprint says what the records
/// were made from (model, prompt, options); resuming with another one is refused.
class ExperimentWriter {
 public:
  /// Starts anew, or, with `resume`, goes on after the last complete record of an earlier partial file (if
  /// any). Throws Error when the folder cannot be written or the partial file was made from something else.
  ExperimentWriter(std::filesystem::path path, Json metadata, const std::string& fingerprint, bool resume)
      : path_(std::move(path)), partial_(path_.string() + ".partial") {
    const Json head = {{"experiment_metadata", std::move(metadata)}, {"fingerprint", fingerprint}};
    if (resume && std::filesystem::exists(partial_)) take_up(fingerprint);
    const bool fresh = lines_.empty();
    if (fresh) lines_.push_back(head.dump());
    fd_ = ::open(partial_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | (fresh ? O_TRUNC : O_APPEND), 0644);
    if (fd_ < 0) fail("cannot write {}: {}", partial_.string(), std::strerror(errno));
    if (fresh) put(lines_.front());
  }
  ExperimentWriter(const ExperimentWriter&) = delete;
  ExperimentWriter& operator=(const ExperimentWriter&) = delete;
  /// An experiment that ends before its first record leaves no file.
  ~ExperimentWriter() {
    if (fd_ < 0) return;
    ::close(fd_);
    if (lines_.size() == 1) ::unlink(partial_.c_str());
  }

  /// Whether a configuration is already recorded (after resuming).
  bool has(std::string_view config_id) const { return std::ranges::find(finished_, config_id) != finished_.end(); }

  /// Whether a resumed configuration has repetitions that differ, or a value that is no number.
  bool has_finding(std::string_view config_id) const {
    return std::ranges::find(findings_, config_id) != findings_.end();
  }

  /// Records a configuration and its runs (each the text of one JSON object), durably.
  void add(const Json& configuration, const std::vector<std::string>& runs) {
    std::string line = configuration_key + configuration.dump() + runs_key;
    std::size_t size = line.size() + 3;
    for (const std::string& run : runs) size += run.size() + 1;
    line.reserve(size);
    for (const std::string& run : runs) {
      if (line.back() != '[') line += ',';
      append_on_one_line(line, run);
    }
    line += "]}";
    put(line);
    finished_.push_back(configuration.at("config_id").get<std::string>());
    lines_.push_back(std::move(line));
  }

  /// Writes the experiment file and removes the partial one.
  void finish() {
    AtomicFile file(path_);
    const Json head = Json::parse(lines_.front());
    file.append("{\"experiment_metadata\":" + head.at("experiment_metadata").dump() + ",\n\"configurations\":[");
    for (std::size_t i = 1; i < lines_.size(); ++i) {
      const std::string_view line = lines_[i];
      file.append(i == 1 ? "\n" : ",\n")
          .append(line.substr(configuration_key.size(), split(line) - configuration_key.size()));
    }
    file.append("],\n\"runs\":[");
    for (std::size_t i = 1; i < lines_.size(); ++i) {
      std::string_view line = lines_[i];
      line.remove_prefix(split(line) + runs_key.size());
      file.append(i == 1 ? "\n" : ",\n").append(line.substr(0, line.size() - 2));
    }
    file.append("]}\n").commit();
    std::error_code ignored;
    std::filesystem::remove(partial_, ignored);
  }

 private:
  inline static const std::string configuration_key = "{\"configuration\":";
  inline static const std::string runs_key = ",\"runs\":[";  // inside JSON strings the quotes would be escaped

  static std::size_t split(std::string_view line) { return line.find(runs_key); }

  /// A record is a line, and JSON has line breaks between its tokens alone.
  static void append_on_one_line(std::string& line, std::string_view text) {
    while (!text.empty()) {
      const std::size_t end = std::min(text.find('\n'), text.size());
      line += text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
    }
  }

  void put(const std::string& line) {
    write_all(fd_, line, partial_);
    write_all(fd_, "\n", partial_);
    if (::fsync(fd_) != 0) fail("cannot write {}: {}", partial_.string(), std::strerror(errno));
  }

  /// Reads the complete lines of an earlier partial file and cuts off what was being written when it stopped.
  void take_up(const std::string& fingerprint) {
    std::ifstream file(partial_, std::ios::binary);
    std::uintmax_t whole = 0;
    for (std::string line; std::getline(file, line) && !file.eof();) {
      const Json record = Json::parse(line, nullptr, false);
      try {
        lines_.empty() ? check_head(record, fingerprint) : take_up(record);
      } catch (const Json::exception&) {
        fail("{} is damaged at byte {}: expected what an interrupted experiment leaves; remove it", partial_.string(),
             whole);
      }
      whole += line.size() + 1;
      lines_.push_back(std::move(line));
    }
    std::filesystem::resize_file(partial_, whole);
  }

  void check_head(const Json& head, const std::string& fingerprint) const {
    if (!head.at("experiment_metadata").is_object() || head.at("fingerprint").get<std::string>() != fingerprint)
      fail(
          "{} was made from another model, prompt or options than this run's: remove it, or run without "
          "--resume",
          partial_.string());
  }

  void take_up(const Json& record) {
    using Pointer = Json::json_pointer;
    finished_.push_back(record.at("configuration").at("config_id").get<std::string>());
    for (const Json& run : record.at("runs"))
      if (run.value("status", "complete") != "complete" || !run.value(Pointer("/reproducibility/bit_exact"), true))
        findings_.push_back(finished_.back());
  }

  std::filesystem::path path_;
  std::filesystem::path partial_;
  std::vector<std::string> lines_;
  std::vector<std::string> finished_;
  std::vector<std::string> findings_;
  int fd_ = -1;
};

}  // namespace fpf::evidence
