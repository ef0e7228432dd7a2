// A campaign's journal: what happened when, a line an event, on disk before anything goes on.
#pragma once

#include <fpf/core/json.hpp>
#include <fpf/core/locked_file.hpp>
#include <fpf/evidence/manifest.hpp>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

namespace fpf::campaign {

/// OUT/campaign.journal, a JSON object a line: {"time", "event", ...}. One campaign at a time may hold it.
class Journal {
 public:
  /// Opens or starts it and reads earlier events; a last line that a kill cut off is none. Throws Error where another
  /// campaign holds it, or it cannot be written.
  /// With `read_only` it is only read, and need not be there.
  explicit Journal(std::filesystem::path path, bool read_only = false) : path_(std::move(path)) {
    if (read_only) {
      read();
      return;
    }
    file_.emplace(path_, fmt::format("another campaign is at work in {}: wait for it, or choose another --out",
                                     path_.parent_path().string()));
    if (!read()) file_->append("\n");
  }

  /// Throws Error when it cannot be written (a full disk, say).
  void add(const std::string& event, const Json& members = Json::object()) {
    Json line = {{"time", evidence::timestamp()}, {"event", event}};
    line.update(members);
    file_->append(line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
    events_.push_back(std::move(line));
  }

  /// The same where something has failed already, so that its own failure must not hide that.
  void try_add(const std::string& event, const Json& members) noexcept {
    try {
      add(event, members);
    } catch (const std::exception&) {
    }
  }

  /// The last event of that name about `experiment`, or null.
  Json last(const std::string& event, const std::string& experiment) const {
    for (auto one = events_.rbegin(); one != events_.rend(); ++one)
      if (one->value("event", "") == event && one->value("experiment", "") == experiment) return *one;
    return nullptr;
  }

 private:
  /// Whether it ends with a whole line.
  bool read() {
    std::ifstream file(path_, std::ios::binary);
    bool whole = true;
    for (std::string line; std::getline(file, line);) {
      whole = !file.eof();
      if (auto event = try_parse_json<Json>(line); event && event->is_object()) keep(std::move(*event));
    }
    return whole;
  }

  /// Throws Error for what this program has not written.
  void keep(Json event) {
    for (const auto& [key, value] : event.items()) {
      const bool text = key == "time" || key == "event" || key == "experiment" || key == "options" || key == "file";
      const bool number = key == "seconds" || key == "start_seconds" || key == "exit_code";
      if ((text && !value.is_string()) || (number && !value.is_number()))
        fail("{}: '{}' of an event is {:.40}: expected a {}", path_.string(), key, value.dump(),
             text ? "string" : "number");
    }
    events_.push_back(std::move(event));
  }

  std::filesystem::path path_;
  std::vector<Json> events_;
  std::optional<LockedFile> file_;  // none where it is only read
};

}  // namespace fpf::campaign
