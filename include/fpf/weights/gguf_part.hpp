// One GGUF v3 file (ggml's model format, docs/gguf.md in ggml), mapped: its key-values and tensors.
#pragma once

#include <bit>
#include <fpf/core/git_lfs.hpp>
#include <fpf/core/mapped_file.hpp>
#include <fpf/weights/gguf_metadata.hpp>
#include <fpf/weights/tensor_source.hpp>
#include <tuple>
#include <type_traits>

namespace fpf::weights {

static_assert(std::endian::native == std::endian::little, "weights are mapped as stored: little-endian machines only");

/// ggml's tensor types by number: name, elements and bytes of a block (gguf 0.19.0, GGML_QUANT_SIZES). Those without a
/// name were removed from ggml.
struct GgmlType {
  std::string_view name;
  std::size_t block_elements = 0, block_bytes = 0;
};
inline constexpr std::array<GgmlType, 42> ggml_types{{{"F32", 1, 4},
                                                      {"F16", 1, 2},
                                                      {"Q4_0", 32, 18},
                                                      {"Q4_1", 32, 20},
                                                      {},
                                                      {},
                                                      {"Q5_0", 32, 22},
                                                      {"Q5_1", 32, 24},
                                                      {"Q8_0", 32, 34},
                                                      {"Q8_1", 32, 40},
                                                      {"Q2_K", 256, 84},
                                                      {"Q3_K", 256, 110},
                                                      {"Q4_K", 256, 144},
                                                      {"Q5_K", 256, 176},
                                                      {"Q6_K", 256, 210},
                                                      {"Q8_K", 256, 292},
                                                      {"IQ2_XXS", 256, 66},
                                                      {"IQ2_XS", 256, 74},
                                                      {"IQ3_XXS", 256, 98},
                                                      {"IQ1_S", 256, 50},
                                                      {"IQ4_NL", 32, 18},
                                                      {"IQ3_S", 256, 110},
                                                      {"IQ2_S", 256, 82},
                                                      {"IQ4_XS", 256, 136},
                                                      {"I8", 1, 1},
                                                      {"I16", 1, 2},
                                                      {"I32", 1, 4},
                                                      {"I64", 1, 8},
                                                      {"F64", 1, 8},
                                                      {"IQ1_M", 256, 56},
                                                      {"BF16", 1, 2},
                                                      {},
                                                      {},
                                                      {},
                                                      {"TQ1_0", 256, 54},
                                                      {"TQ2_0", 256, 66},
                                                      {},
                                                      {},
                                                      {},
                                                      {"MXFP4", 32, 17},
                                                      {"NVFP4", 64, 36},
                                                      {"Q1_0", 128, 18}}};

/// A file of a model: the whole of it, or a part of a split one. Tensor shapes are reversed to row-major, so that
/// ggml's [in, out] reads [out, in]. Tensors of types that fpf does not read are of Format::other.
class GgufPart {
 public:
  /// Throws Error, naming the file and what is wrong with it, for anything that is no complete, consistent GGUF v3
  /// file.
  explicit GgufPart(const std::filesystem::path& path)
      : map_(path), name_(path.string()), metadata_(name_), rest_(map_.bytes()) {
    refuse_git_lfs_pointer(map_.text(), name_);
    const auto [tensors, keys] = read_head();
    for (std::uint64_t i = 0; i < keys; ++i) read_key_value();
    std::vector<Entry> entries;
    for (std::uint64_t i = 0; i < tensors; ++i) entries.push_back(read_tensor_info());
    place(std::move(entries));
  }

  const std::filesystem::path& path() const { return map_.path(); }
  const MappedFile& map() const { return map_; }
  const GgufMetadata& metadata() const { return metadata_; }
  /// In the order of their data.
  const std::vector<StoredTensor>& tensors() const { return tensors_; }

 private:
  struct Entry {
    StoredTensor tensor;
    std::uint64_t offset;  // from the start of the data section
    std::uint64_t size;    // 0 where the type is none of ggml's
  };

  // Far above any model's; what is kept of each is up to sixteen times what it takes in the file.
  static constexpr std::uint64_t most_tensors = 1 << 20, most_keys = 1 << 16;
  static constexpr std::size_t array_memory = std::size_t{256} << 20;  // of all arrays among the key-values

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

  /// Counts what an array takes in memory.
  void charge(std::uint64_t count, std::size_t each, std::string_view key) {
    if (count > array_left_ / each)
      fail("key '{}' in {} has {} elements: with the arrays before it they take more than {} MB of memory", key, name_,
           count, array_memory >> 20);
    array_left_ -= count * each;
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
    for (const auto& [count, most, what] :
         {std::tuple(tensors, most_tensors, "tensors"), {keys, most_keys, "key-values"}})
      if (count > most) fail("{} has {} {}: expected at most {}", name_, count, what, most);
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
    charge(count, sizeof(T), key);
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
        charge(count, sizeof(std::string_view), key);
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

  static Format format_of_type(std::uint32_t type) {
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
        return Format::other;
    }
  }

  /// Bytes of a tensor; nothing when that overflows or rows are no whole blocks.
  static std::optional<std::uint64_t> bytes_of(const GgmlType& type, std::span<const std::int64_t> shape) {
    const auto elements = checked_elements(shape);
    const auto block = static_cast<std::int64_t>(type.block_elements);
    if (!elements || (block > 1 && (shape.empty() || shape.back() % block != 0))) return std::nullopt;
    std::int64_t bytes = 0;
    if (block != 0 && __builtin_mul_overflow(*elements / block, static_cast<std::int64_t>(type.block_bytes), &bytes))
      return std::nullopt;
    return static_cast<std::uint64_t>(bytes);
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
    const auto number_of_type = number<std::uint32_t>("tensor type");
    const GgmlType type = number_of_type < ggml_types.size() ? ggml_types[number_of_type] : GgmlType{};
    tensor.type_name = type.name.empty() ? fmt::format("number {}", number_of_type) : std::string(type.name);
    tensor.format = format_of_type(number_of_type);
    entry.offset = number<std::uint64_t>("tensor offset");
    const auto size = bytes_of(type, tensor.shape);
    if (!size)
      fail(
          "tensor '{}' in {} has shape {}: expected sizes whose product fits 63 bits and rows of whole {} "
          "blocks ({})",
          tensor.name, name_, shape_text(tensor.shape), tensor.type_name, type.block_elements);
    entry.size = *size;
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
    for (auto& [tensor, offset, size] : entries) {
      if (offset % alignment != 0)
        fail("tensor '{}' in {} is at offset {}: expected a multiple of {}", tensor.name, name_, offset, alignment);
      if (offset > data.size() || size > data.size() - offset)
        fail("tensor '{}' in {} is truncated: {} bytes at offset {} of a data section of {}", tensor.name, name_, size,
             offset, data.size());
      if (offset < end) fail("tensors '{}' and '{}' in {} overlap at offset {}", before, tensor.name, name_, offset);
      tensor.data = data.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(size));
      if (size != 0) before = tensor.name;
      end = std::max(end, offset + size);
      tensors_.push_back(std::move(tensor));
    }
  }

  MappedFile map_;
  std::string name_;
  GgufMetadata metadata_;
  std::vector<StoredTensor> tensors_;
  std::span<const std::byte> rest_;  // what is not parsed yet
  std::size_t array_left_ = array_memory;
};

}  // namespace fpf::weights
