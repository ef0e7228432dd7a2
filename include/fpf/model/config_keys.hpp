// Looking up what a config.json or a GGUF file's metadata says of a model.
#pragma once

#include <algorithm>
#include <fpf/core/json.hpp>
#include <fpf/weights/gguf_metadata.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace fpf::model {

/// One fact as several keys of a JSON object say it. Throws Error naming two of them that disagree, and both values.
class Fact {
 public:
  explicit Fact(std::string file) : file_(std::move(file)) {}

  /// `key` of `in`, where it has a value; `name` is what messages call it.
  void add(const JsonObject& in, const char* key, const std::string& name) {
    if (!in.has(key)) return;
    const nlohmann::json& value = in.at(key);
    if (name_.empty()) {
      name_ = name;
      value_ = value;
    } else if (value != value_) {
      fail("{} contradicts itself: {} is {}, {} is {}; remove the one that is wrong", file_, name_, value_.dump(), name,
           value.dump());
    }
  }
  void add(const JsonObject& in, const char* key) { add(in, key, key); }

  bool has() const { return !name_.empty(); }
  const std::string& name() const { return name_; }

  /// Throws Error for a value of another type.
  template <class T>
  T get_or(T fallback) const {
    if (!has()) return fallback;
    try {
      return json_as<T>(value_);
    } catch (const nlohmann::json::exception&) {
      fail("'{}' in {} is {}: expected another type", name_, file_, value_.dump());
    }
  }

 private:
  std::string file_, name_;
  nlohmann::json value_;
};

/// Keys of GGUF metadata under an architecture's prefix.
class GgufKeys {
 public:
  GgufKeys(const weights::GgufMetadata& metadata, std::string kind, std::string file)
      : metadata_(metadata), kind_(std::move(kind)), file_(std::move(file)) {}

  std::string name(std::string_view key) const { return fmt::format("{}.{}", kind_, key); }
  const std::string& file() const { return file_; }
  bool has(std::string_view key) const { return metadata_.contains(name(key)); }

  template <class T>
  T get(std::string_view key) const {
    return metadata_.get<T>(name(key));
  }
  template <class T>
  T get_or(std::string_view key, T fallback) const {
    return metadata_.get_or<T>(name(key), fallback);
  }

  /// A positive number, or one a layer, which must all be the same.
  std::int64_t size(std::string_view key) const {
    const auto* found = metadata_.find(name(key));
    const auto* each = found == nullptr ? nullptr : std::get_if<std::vector<std::int64_t>>(found);
    if (each != nullptr && (each->empty() || std::ranges::count(*each, each->front()) != std::ssize(*each)))
      fail("'{}' in {} is [{}]: only models whose layers have all the same are supported", name(key), file_,
           fmt::join(*each, ", "));
    const auto value = each != nullptr ? each->front() : get<std::int64_t>(key);
    if (value <= 0) fail("'{}' in {} is {}: expected a positive number", name(key), file_, value);
    return value;
  }

  /// Throws Error unless the key is missing or a number that `neutral` accepts; `meaning` says what it does.
  template <class Neutral>
  void require(std::string_view key, std::string_view meaning, Neutral neutral) const {
    const auto* found = metadata_.find(name(key));
    if (found == nullptr) return;
    const bool truth = std::holds_alternative<bool>(*found);
    const bool number = truth || !std::holds_alternative<std::string_view>(*found);
    const auto value = truth ? (std::get<bool>(*found) ? 1.0 : 0.0) : number ? get<double>(key) : 0.0;
    if (!number || !neutral(value))
      fail("'{}' in {} is {}: {}, which fpf does not compute", name(key), file_,
           number ? fmt::to_string(value) : get<std::string>(key), meaning);
  }

  /// The architecture's keys that nobody asked for.
  std::vector<std::string> unasked() const {
    std::vector<std::string> out;
    for (const std::string_view key : metadata_.unasked())
      if (key.starts_with(kind_ + ".")) out.emplace_back(key.substr(kind_.size() + 1));
    return out;
  }

 private:
  const weights::GgufMetadata& metadata_;
  std::string kind_, file_;
};

}  // namespace fpf::model
