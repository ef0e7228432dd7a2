// GGUF v3 files (ggml's model format, docs/gguf.md in ggml): metadata and tensors, mapped.
#pragma once

#include <bit>
#include <concepts>
#include <fpf/core/mapped_file.hpp>
#include <fpf/weights/tensor_source.hpp>
#include <limits>
#include <type_traits>
#include <variant>

namespace fpf::weights {

static_assert(std::endian::native == std::endian::little, "weights are mapped as stored: little-endian machines only");

/// The key-values of a GGUF file. Strings are views into the mapped file; integers are widened to 64 bits and
/// floats to double, both exactly; booleans stay booleans.
class GgufMetadata {
 public:
  using Value = std::variant<bool, std::int64_t, std::uint64_t, double, std::string_view, std::vector<std::int64_t>,
                             std::vector<double>, std::vector<std::string_view>>;

  explicit GgufMetadata(std::string file = {}) : file_(std::move(file)) {}

  bool contains(std::string_view key) const { return values_.contains(key); }

  const Value* find(std::string_view key) const {
    const auto found = values_.find(key);
    return found == values_.end() ? nullptr : &found->second;
  }

  /// The value as T: an integer type (range-checked), a floating type (integers convert), bool,
  /// std::string_view, std::string, or std::vector of int64_t, double, std::string_view. Throws Error naming
  /// key and file when it is missing or of another kind.
  template <class T>
  T get(std::string_view key) const {
    const auto* value = find(key);
    if (value == nullptr) fail("key '{}' is missing in {}", key, file_);
    return convert<T>(key, *value);
  }

  /// As get(), with `fallback` for a missing key (not for one of another kind).
  template <class T>
  T get_or(std::string_view key, T fallback) const {
    const auto* value = find(key);
    return value == nullptr ? fallback : convert<T>(key, *value);
  }

  /// The strings of an array without copying the vector.
  const std::vector<std::string_view>& strings(std::string_view key) const {
    return alternative<std::vector<std::string_view>>(key, "an array of strings");
  }
  /// The integers of an array without copying the vector.
  const std::vector<std::int64_t>& integers(std::string_view key) const {
    return alternative<std::vector<std::int64_t>>(key, "an array of integers");
  }

  std::vector<std::string_view> keys() const {
    std::vector<std::string_view> out;
    for (const auto& entry : values_) out.push_back(entry.first);
    return out;
  }

  /// Throws Error when the key is taken.
  void add(std::string_view key, Value value) {
    if (!values_.try_emplace(std::string(key), std::move(value)).second)
      fail("key '{}' appears twice in {}", key, file_);
  }

 private:
  template <class A>
  const A& alternative(std::string_view key, std::string_view wanted) const {
    const auto* value = find(key);
    if (value == nullptr) fail("key '{}' is missing in {}", key, file_);
    const auto* held = std::get_if<A>(value);
    if (held == nullptr) mismatch(key, *value, wanted);
    return *held;
  }

  [[noreturn]] void mismatch(std::string_view key, const Value& value, std::string_view wanted) const {
    static constexpr std::array<std::string_view, 8> kinds{
        "a boolean", "an integer",           "an integer",         "a float",
        "a string",  "an array of integers", "an array of floats", "an array of strings"};
    fail("key '{}' in {} is {}: expected {}", key, file_, kinds[value.index()], wanted);
  }

  template <class T>
  T convert(std::string_view key, const Value& value) const {
    if constexpr (std::same_as<T, bool>) {
      if (const auto* held = std::get_if<bool>(&value)) return *held;
      mismatch(key, value, "a boolean");
    } else if constexpr (std::integral<T>) {
      if (const auto* held = std::get_if<std::int64_t>(&value); held != nullptr && std::in_range<T>(*held))
        return static_cast<T>(*held);
      if (const auto* held = std::get_if<std::uint64_t>(&value); held != nullptr && std::in_range<T>(*held))
        return static_cast<T>(*held);
      mismatch(key, value,
               fmt::format("an integer from {} to {}", std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
    } else if constexpr (std::floating_point<T>) {
      if (const auto* held = std::get_if<double>(&value)) return static_cast<T>(*held);
      if (const auto* held = std::get_if<std::int64_t>(&value)) return static_cast<T>(*held);
      mismatch(key, value, "a number");
    } else if constexpr (std::same_as<T, std::string_view> || std::same_as<T, std::string>) {
      if (const auto* held = std::get_if<std::string_view>(&value)) return T(*held);
      mismatch(key, value, "a string");
    } else {
      if (const auto* held = std::get_if<T>(&value)) return *held;
      mismatch(key, value, "another kind of array");
    }
  }

  std::string file_;
  std::map<std::string, Value, std::less<>> values_;
};

/// A GGUF v3 file, mapped. Tensor shapes are reversed to row-major, so that ggml's [in, out] reads [out, in].
/// Tensor types F32, F16, BF16, Q4_0, Q4_1 and Q8_0 (and F64 and the plain integers); others are refused by
/// name.
class GgufFile : public TensorSource {
 public:
  /// Throws Error, naming the file and what is wrong with it, for anything that is no complete, consistent
  /// GGUF v3 file.
  explicit GgufFile(const std::filesystem::path& path)
      : map_(path), name_(path.string()), metadata_(name_), rest_(map_.bytes()) {
    add_file(path);
    const auto [tensors, keys] = read_head();
    for (std::uint64_t i = 0; i < keys; ++i) read_key_value();
    std::vector<Entry> entries;
    for (std::uint64_t i = 0; i < tensors; ++i) entries.push_back(read_tensor_info());
    place(std::move(entries));
  }

  const GgufMetadata& metadata() const { return metadata_; }

  /// True when the file begins with GGUF's magic.
  static bool is_gguf(const std::filesystem::path& path) { return MappedFile(path).text().starts_with("GGUF"); }

 private:
  struct Entry {
    StoredTensor tensor;
    std::uint64_t offset;  // from the start of the data section
  };

  std::size_t position() const { return map_.size() - rest_.size(); }

  std::span<const std::byte> take(std::uint64_t count, std::string_view what) {
    if (count > rest_.size())
      fail("{} is truncated: expected {} bytes of {} at byte {}, found {}", name_, count, what, position(),
           rest_.size());
    const auto taken = rest_.first(static_cast<std::size_t>(count));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }

  template <class T>
  T number(std::string_view what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }

  std::string_view text(std::string_view what) {
    const auto bytes = take(number<std::uint64_t>(what), what);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  /// Refuses a count of things that need at least `smallest` bytes each when the file cannot hold them.
  void require_room(std::uint64_t count, std::size_t smallest, std::string_view what) const {
    if (count > rest_.size() / smallest)
      fail("{} claims {} {} at byte {}: only {} bytes follow", name_, count, what, position(), rest_.size());
  }

  std::pair<std::uint64_t, std::uint64_t> read_head() {
    if (!map_.text().starts_with("GGUF")) fail("{} is no GGUF file: expected it to begin with 'GGUF'", name_);
    take(4, "magic");
    const auto version = number<std::uint32_t>("version");
    if (version != 3)
      fail("{} is GGUF version {}: expected version 3, little-endian", name_,
           (version & 0xffffu) == 0 ? fmt::format("{} in big-endian order", version >> 24) : fmt::to_string(version));
    const auto tensors = number<std::uint64_t>("tensor count"), keys = number<std::uint64_t>("key count");
    require_room(tensors, 24, "tensors");  // name length, dimension count, type, offset
    require_room(keys, 13, "key-values");  // key length, value type, one byte
    return {tensors, keys};
  }

  enum class Type : std::uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

  /// One scalar, widened. The numbers of an array come through here as well.
  GgufMetadata::Value read_scalar(Type type, std::string_view key) {
    switch (type) {
      case Type::u8:
        return std::int64_t{number<std::uint8_t>(key)};
      case Type::i8:
        return std::int64_t{number<std::int8_t>(key)};
      case Type::u16:
        return std::int64_t{number<std::uint16_t>(key)};
      case Type::i16:
        return std::int64_t{number<std::int16_t>(key)};
      case Type::u32:
        return std::int64_t{number<std::uint32_t>(key)};
      case Type::i32:
        return std::int64_t{number<std::int32_t>(key)};
      case Type::u64:
        return widened(number<std::uint64_t>(key));
      case Type::i64:
        return number<std::int64_t>(key);
      case Type::f32:
        return double{number<float>(key)};
      case Type::f64:
        return number<double>(key);
      case Type::boolean: {
        const auto byte = number<std::uint8_t>(key);
        if (byte > 1) fail("key '{}' in {}: expected a boolean of 0 or 1, found {}", key, name_, byte);
        return byte == 1;
      }
      case Type::string:
        return text(key);
      case Type::array:
        break;
    }
    fail("key '{}' in {} has value type {}: expected 0 to 12", key, name_, static_cast<std::uint32_t>(type));
  }

  static GgufMetadata::Value widened(std::uint64_t value) {
    if (std::in_range<std::int64_t>(value)) return static_cast<std::int64_t>(value);
    return value;
  }

  template <class T, class Stored>
  std::vector<T> read_array(std::uint64_t count, std::string_view key) {
    require_room(count, sizeof(Stored), fmt::format("elements of key '{}'", key));
    std::vector<T> out(static_cast<std::size_t>(count));
    for (auto& element : out) {
      const auto stored = number<Stored>(key);
      if constexpr (std::integral<T>)
        if (!std::in_range<T>(stored)) fail("key '{}' in {} holds {}: expected at most 2^63 - 1", key, name_, stored);
      element = static_cast<T>(stored);
    }
    return out;
  }

  GgufMetadata::Value read_array(std::string_view key) {
    using Integers = std::int64_t;
    const auto type = static_cast<Type>(number<std::uint32_t>(key));
    const auto count = number<std::uint64_t>(key);
    switch (type) {
      case Type::u8:
      case Type::boolean:
        return read_array<Integers, std::uint8_t>(count, key);
      case Type::i8:
        return read_array<Integers, std::int8_t>(count, key);
      case Type::u16:
        return read_array<Integers, std::uint16_t>(count, key);
      case Type::i16:
        return read_array<Integers, std::int16_t>(count, key);
      case Type::u32:
        return read_array<Integers, std::uint32_t>(count, key);
      case Type::i32:
        return read_array<Integers, std::int32_t>(count, key);
      case Type::u64:
        return read_array<Integers, std::uint64_t>(count, key);
      case Type::i64:
        return read_array<Integers, std::int64_t>(count, key);
      case Type::f32:
        return read_array<double, float>(count, key);
      case Type::f64:
        return read_array<double, double>(count, key);
      case Type::string: {
        require_room(count, sizeof(std::uint64_t), fmt::format("strings of key '{}'", key));
        std::vector<std::string_view> out(static_cast<std::size_t>(count));
        for (auto& element : out) element = text(key);
        return out;
      }
      case Type::array:
        fail("key '{}' in {} is an array of arrays, which ggml does not read either", key, name_);
    }
    fail("key '{}' in {} is an array of value type {}: expected 0 to 12", key, name_, static_cast<std::uint32_t>(type));
  }

  void read_key_value() {
    const auto key = text("a key");
    const auto type = static_cast<Type>(number<std::uint32_t>(key));
    metadata_.add(key, type == Type::array ? read_array(key) : read_scalar(type, key));
  }

  /// ggml's type numbers; the empty names were removed from ggml.
  static std::string type_name(std::uint32_t type) {
    static constexpr std::array<std::string_view, 42> names{
        "F32",   "F16",    "Q4_0",  "Q4_1", "",     "",        "Q5_0",   "Q5_1",    "Q8_0",  "Q8_1",   "Q2_K",
        "Q3_K",  "Q4_K",   "Q5_K",  "Q6_K", "Q8_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S",
        "IQ2_S", "IQ4_XS", "I8",    "I16",  "I32",  "I64",     "F64",    "IQ1_M",   "BF16",  "",       "",
        "",      "TQ1_0",  "TQ2_0", "",     "",     "",        "MXFP4",  "NVFP4",   "Q1_0"};
    return type < names.size() && !names[type].empty() ? std::string(names[type]) : fmt::format("number {}", type);
  }

  Format format_of_type(std::uint32_t type, std::string_view tensor) const {
    switch (type) {
      case 0:
        return Format::float32;
      case 1:
        return Format::float16;
      case 2:
        return Format::q4_0;
      case 3:
        return Format::q4_1;
      case 8:
        return Format::q8_0;
      case 24:
        return Format::int8;
      case 25:
        return Format::int16;
      case 26:
        return Format::int32;
      case 27:
        return Format::int64;
      case 28:
        return Format::float64;
      case 30:
        return Format::bfloat16;
      default:
        fail(
            "tensor '{}' in {} is of type {}: supported are F32, F16, BF16, Q4_0, Q4_1, Q8_0, F64 and I8 to "
            "I64",
            tensor, name_, type_name(type));
    }
  }

  Entry read_tensor_info() {
    Entry entry{};
    auto& tensor = entry.tensor;
    tensor.name = text("a tensor name");
    tensor.file = name_;
    const auto dimensions = number<std::uint32_t>("tensor dimensions");
    if (dimensions > 4) fail("tensor '{}' in {} has {} dimensions: expected at most 4", tensor.name, name_, dimensions);
    tensor.shape.resize(dimensions);
    for (auto& extent : tensor.shape) extent = number<std::int64_t>("tensor dimensions");
    std::ranges::reverse(tensor.shape);
    tensor.format = format_of_type(number<std::uint32_t>("tensor type"), tensor.name);
    entry.offset = number<std::uint64_t>("tensor offset");
    if (!checked_bytes(tensor.format, tensor.shape))
      fail(
          "tensor '{}' in {} has shape {}: expected sizes whose product fits 63 bits and rows of whole {} "
          "blocks ({})",
          tensor.name, name_, shape_text(tensor.shape), name_of(tensor.format), info(tensor.format).block_elements);
    return entry;
  }

  /// Finds every tensor's bytes behind the header, refusing offsets that are misaligned, past the end, or
  /// overlap.
  void place(std::vector<Entry> entries) {
    const auto alignment = metadata_.get_or<std::uint32_t>("general.alignment", 32);
    if (!std::has_single_bit(alignment))
      fail("key 'general.alignment' in {} is {}: expected a power of two", name_, alignment);
    const auto padding = (alignment - position() % alignment) % alignment;
    const auto data = entries.empty() ? rest_ : (take(padding, "padding"), rest_);
    std::ranges::stable_sort(entries, {}, &Entry::offset);
    std::uint64_t end = 0;
    std::string before;
    for (auto& [tensor, offset] : entries) {
      const auto size = tensor.bytes();
      if (offset % alignment != 0)
        fail("tensor '{}' in {} is at offset {}: expected a multiple of {}", tensor.name, name_, offset, alignment);
      if (offset > data.size() || size > data.size() - offset)
        fail("tensor '{}' in {} is truncated: {} bytes at offset {} of a data section of {}", tensor.name, name_, size,
             offset, data.size());
      if (offset < end) fail("tensors '{}' and '{}' in {} overlap at offset {}", before, tensor.name, name_, offset);
      tensor.data = data.subspan(static_cast<std::size_t>(offset), size);
      if (size != 0) before = tensor.name;
      end = std::max(end, offset + size);
      add(std::move(tensor));
    }
  }

  MappedFile map_;
  std::string name_;
  GgufMetadata metadata_;
  std::span<const std::byte> rest_;  // what is not parsed yet
};

}  // namespace fpf::weights
