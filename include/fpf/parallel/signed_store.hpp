// Values at a place that strangers reach, too: each is signed, and what is not is as if it were not there.
#pragma once

#include <cstdint>
#include <fpf/core/hash.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <utility>
#include <vector>

namespace fpf::parallel {

/// libtorch's TCPStore with an HMAC-SHA256 of name and value before every value. Who does not know the key can neither
/// make a value that is believed nor give one another's name; who reaches the store can read, overwrite and delete:
/// that ends a run, but never changes it. What the store throws passes through.
class SignedStore {
 public:
  using Store = c10::intrusive_ptr<c10d::TCPStore>;

  SignedStore(Store store, std::string key) : store_(std::move(store)), key_(std::move(key)) {}

  /// The same place and key over another connection.
  SignedStore over(Store store) const { return {std::move(store), key_}; }

  void set(const std::string& name, std::string_view value) { store_->set(name, sealed(name, value)); }

  /// Nothing where there is none that is signed.
  std::optional<std::string> get(const std::string& name) const {
    if (!store_->check({name})) return std::nullopt;
    return opened(name, store_->get(name));
  }
  bool has(const std::string& name) const { return get(name).has_value(); }
  /// Whether a value stands there, signed or not.
  bool is_taken(const std::string& name) const { return store_->check({name}); }

  /// The signed value that stands there from now on: this one, unless another came first.
  std::string set_first(const std::string& name, std::string_view value) {
    const auto own = sealed(name, value);
    for (std::vector<std::uint8_t> expected;;) {  // instead of nothing, or of what a stranger put there
      const auto found = store_->compareSet(name, expected, own);
      if (auto text = opened(name, found)) return *text;
      expected =
          found == expected ? std::vector<std::uint8_t>() : found;  // what was expected comes back where nothing is
    }
  }

  void remove(const std::string& name) { store_->deleteKey(name); }

 private:
  static constexpr std::size_t seal_size = 32;

  std::string seal(std::string_view name, std::string_view value) const {
    return hmac_sha256(key_, std::to_string(name.size()) + ":" + std::string(name).append(value));
  }
  std::vector<std::uint8_t> sealed(std::string_view name, std::string_view value) const {
    const std::string text = seal(name, value).append(value);
    return {text.begin(), text.end()};
  }
  std::optional<std::string> opened(std::string_view name, const std::vector<std::uint8_t>& bytes) const {
    if (bytes.size() < seal_size) return std::nullopt;
    const std::string_view all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const std::string_view value = all.substr(seal_size);
    if (!equal_in_constant_time(all.substr(0, seal_size), seal(name, value))) return std::nullopt;
    return std::string(value);
  }

  Store store_;
  std::string key_;
};

}  // namespace fpf::parallel
