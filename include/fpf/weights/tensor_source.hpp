// Where weights come from: one `name -> stored tensor` interface for safetensors, GGUF and synthetic models.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fpf/core/dtype.hpp>
#include <fpf/core/error.hpp>
#include <fpf/core/mapped_file.hpp>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::weights {

namespace synthetic {
struct Recipe;
}

/// How a tensor's elements are stored: the plain dtypes (same order as DType), then GGUF's block formats, then whatever
/// fpf does not read, which stands in a source all the same: a file may hold what the model has no use for.
enum class Format : std::uint8_t {
  float64,
  float32,
  float16,
  bfloat16,
  int64,
  int32,
  int16,
  int8,
  uint8,
  boolean,
  q4_0,
  q4_1,
  q8_0,  // blocks of 32 elements along the last dimension
  other
};

struct FormatInfo {
  Format format;
  std::string_view name;
  std::size_t block_elements;  // 1 for plain dtypes
  std::size_t block_bytes;
};

inline constexpr std::array<FormatInfo, 3> block_format_table{
    {{Format::q4_0, "Q4_0", 32, 18}, {Format::q4_1, "Q4_1", 32, 20}, {Format::q8_0, "Q8_0", 32, 34}}};

constexpr bool is_plain(Format format) { return format < Format::q4_0; }
constexpr Format format_of(DType dtype) { return static_cast<Format>(dtype); }

constexpr FormatInfo info(Format format) {
  if (format == Format::other) return {format, "another type", 1, 1};
  if (!is_plain(format)) return block_format_table[static_cast<std::size_t>(format) - dtype_table.size()];
  const auto& dtype = fpf::info(static_cast<DType>(format));
  return {format, dtype.name, 1, dtype.size};
}
constexpr std::string_view name_of(Format format) { return info(format).name; }

/// Number of elements of a shape; nothing when a dimension is negative or the product passes int64.
constexpr std::optional<std::int64_t> checked_elements(std::span<const std::int64_t> shape) {
  std::int64_t count = 1;
  for (const auto extent : shape)
    if (extent < 0 || __builtin_mul_overflow(count, extent, &count)) return std::nullopt;
  return count;
}

/// Bytes that a tensor of that format and shape takes; nothing when that overflows or when the last dimension
/// does not divide into blocks.
constexpr std::optional<std::int64_t> checked_bytes(Format format, std::span<const std::int64_t> shape) {
  const auto layout = info(format);
  const auto elements = checked_elements(shape);
  const auto block = static_cast<std::int64_t>(layout.block_elements);
  if (!elements || (block != 1 && (shape.empty() || shape.back() % block != 0))) return std::nullopt;
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(*elements / block, static_cast<std::int64_t>(layout.block_bytes), &bytes))
    return std::nullopt;
  return bytes;
}

/// One tensor as its file stores it. The shape is row-major, slowest dimension first, whatever the file's own
/// order.
struct StoredTensor {
  std::string name;
  Format format = Format::float32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;  // view of the mapped file; no data when the source generates it (see read)
  std::string file;                 // for messages
  std::string name_in_file{};       // where it stands there under another name
  std::string type_name{};          // of Format::other: what the file calls it

  const std::string& own_name() const { return name_in_file.empty() ? name : name_in_file; }
  std::int64_t elements() const { return checked_elements(shape).value(); }
  std::size_t bytes() const {
    return format == Format::other ? data.size() : static_cast<std::size_t>(checked_bytes(format, shape).value());
  }
  bool resident() const { return data.size() == bytes(); }

  /// The plain dtype. Throws Error, naming tensor and file, when the tensor is stored in blocks.
  DType dtype() const {
    if (!is_plain(format))
      fail("tensor '{}' in {} is stored as {}: expected a plain dtype", name, file, name_of(format));
    return static_cast<DType>(format);
  }

  /// The data as elements of T. Throws Error when the stored element size is not T's; T's alignment is not
  /// assured by every file, so it is checked too.
  template <class T>
  std::span<const T> as() const {
    if (info(format).block_bytes != sizeof(T))
      fail("tensor '{}' in {} is stored as {}: expected elements of {} bytes", name, file, name_of(format), sizeof(T));
    if (reinterpret_cast<std::uintptr_t>(data.data()) % alignof(T) != 0)
      fail("tensor '{}' in {} is not aligned to {} bytes", name, file, alignof(T));
    return {reinterpret_cast<const T*>(data.data()), data.size() / sizeof(T)};
  }
};

inline std::string shape_text(std::span<const std::int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

/// A tensor to be written; the format must be a plain dtype.
struct TensorSpec {
  std::string name;
  DType dtype = DType::float32;
  std::vector<std::int64_t> shape;

  std::size_t bytes() const {
    const auto count = checked_bytes(format_of(dtype), shape);
    if (!count) fail("tensor '{}' has the impossible shape {}", name, shape_text(shape));
    return static_cast<std::size_t>(*count);
  }
};

/// A set of named tensors. Lookups are const and may run from several threads; views stay valid while the
/// source lives. It knows which of its tensors were taken: those that at() gave out. find() and contains() only look.
/// A source that stands on another one keeps its own account; see model/account.hpp for what becomes of the rest.
class TensorSource {
 public:
  virtual ~TensorSource() = default;
  TensorSource(const TensorSource&) = delete;
  TensorSource& operator=(const TensorSource&) = delete;

  const StoredTensor* find(std::string_view name) const {
    const auto found = tensors_.find(name);
    return found == tensors_.end() ? nullptr : &found->second.tensor;
  }

  /// Takes a tensor. Throws Error naming the tensor and the files that lack it, and for one of a type that fpf does not
  /// read.
  const StoredTensor& at(std::string_view name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) missing(name);
    const StoredTensor& tensor = found->second.tensor;
    if (tensor.format == Format::other)
      fail(
          "tensor '{}' in {} is of type {}: expected one that fpf reads (safetensors: F64, F32, F16, BF16, I64, I32, "
          "I16, I8, U8, BOOL; GGUF: F32, F16, BF16, Q4_0, Q4_1, Q8_0, F64, I8 to I64)",
          tensor.own_name(), tensor.file, tensor.type_name);
    found->second.taken.store(true, std::memory_order_relaxed);
    return tensor;
  }

  /// As at(), and the shape must be the given one; throws Error naming both shapes.
  const StoredTensor& at(std::string_view name, std::span<const std::int64_t> shape) const {
    const auto& tensor = at(name);
    if (!std::ranges::equal(tensor.shape, shape))
      fail("tensor '{}' in {} has shape {}: expected {}", name, tensor.file, shape_text(tensor.shape),
           shape_text(shape));
    return tensor;
  }
  const StoredTensor& at(std::string_view name, std::initializer_list<std::int64_t> shape) const {
    return at(name, std::span(shape.begin(), shape.size()));
  }

  bool contains(std::string_view name) const { return find(name) != nullptr; }
  std::size_t size() const { return tensors_.size(); }

  /// Whether at() gave out the tensor, in the order of names().
  std::vector<bool> taken() const {
    std::vector<bool> out;
    out.reserve(tensors_.size());
    for (const auto& entry : tensors_) out.push_back(entry.second.taken.load(std::memory_order_relaxed));
    return out;
  }

  /// What the files hold beside the source's tensors, as "NAME in FILE": what an index of shards does not name.
  const std::vector<std::string>& outside() const { return outside_; }

  /// All names, sorted.
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    out.reserve(tensors_.size());
    for (const auto& entry : tensors_) out.push_back(entry.first);
    return out;
  }

  /// The files the tensors come from (for manifest and messages); a synthetic source has its description
  /// instead.
  const std::vector<std::filesystem::path>& files() const { return files_; }
  /// Their states when they were mapped, in the same order.
  const std::vector<FileStamp>& stamps() const { return stamps_; }
  /// What beside the files' content decides which tensors are read: "name in file" a line, of every tensor that stands
  /// in several files; empty where none does.
  const std::string& placement() const { return placement_; }

  /// Sum of the tensors' stored bytes.
  std::size_t bytes() const {
    std::size_t total = 0;
    for (const auto& entry : tensors_) total += entry.second.tensor.bytes();
    return total;
  }

  /// Copies or generates the bytes [first_byte, first_byte + out.size()) of a tensor of this source. Works
  /// for every source; thread-safe, and the bytes do not depend on how a tensor is cut, so loaders may fill
  /// slices in parallel.
  virtual void read(const StoredTensor& tensor, std::size_t first_byte, std::span<std::byte> out) const {
    require_range(tensor, first_byte, out.size());
    if (!out.empty()) std::memcpy(out.data(), tensor.data.data() + first_byte, out.size());
  }

  /// How to make a tensor of this source from a seed, where it is made so; else nullptr.
  virtual const synthetic::Recipe* recipe(const StoredTensor& /*tensor*/) const { return nullptr; }

  /// The tensor's bytes without a copy where the source has them, else generated into `scratch`.
  std::span<const std::byte> bytes_of(const StoredTensor& tensor, std::vector<std::byte>& scratch) const {
    if (tensor.resident()) return tensor.data;
    scratch.resize(tensor.bytes());
    read(tensor, 0, scratch);
    return scratch;
  }

 protected:
  TensorSource() = default;

  /// Adds a tensor whose shape and format were checked. Throws Error when the name is taken.
  void add(StoredTensor tensor) {
    const auto [at, fresh] = tensors_.try_emplace(tensor.name);
    if (!fresh) fail("tensor '{}' appears twice: in {} and in {}", tensor.name, at->second.tensor.file, tensor.file);
    at->second.tensor = std::move(tensor);
  }
  void add_file(const MappedFile& file) {
    files_.push_back(file.path());
    stamps_.push_back(file.stamp());
  }
  /// All files of another source, which this one stands on.
  void add_files_of(const TensorSource& other) {
    files_.insert(files_.end(), other.files_.begin(), other.files_.end());
    stamps_.insert(stamps_.end(), other.stamps_.begin(), other.stamps_.end());
    placement_ = other.placement_;
  }
  /// Says by what text (see placement()) tensors are placed.
  void set_placement(std::string placement) { placement_ = std::move(placement); }
  void add_outside(std::string description) { outside_.push_back(std::move(description)); }

  static void require_range(const StoredTensor& tensor, std::size_t first_byte, std::size_t count) {
    const auto size = tensor.bytes();
    if (first_byte > size || count > size - first_byte)
      fail("bytes {} to {} of tensor '{}' were asked for: {} has {}", first_byte, first_byte + count, tensor.name,
           tensor.file, size);
  }

 private:
  struct Entry {
    StoredTensor tensor;
    mutable std::atomic<bool> taken = false;
  };

  [[noreturn]] void missing(std::string_view name) const {
    for (const std::string& one : outside_)
      if (one.starts_with(std::string(name) + " in "))
        fail("tensor '{}' is missing: the index does not name it, though there is {}", name, one);
    constexpr std::size_t named = 3;
    std::string where = files_.empty() && !tensors_.empty() ? tensors_.begin()->second.tensor.file : "";
    for (std::size_t i = 0; i < std::min(named, files_.size()); ++i) where += (i == 0 ? "" : ", ") + files_[i].string();
    if (files_.size() > named) where += fmt::format(" and {} more", files_.size() - named);
    fail("tensor '{}' is missing: looked among {} tensors in {}", name, tensors_.size(), where);
  }

  std::map<std::string, Entry, std::less<>> tensors_;
  std::vector<std::filesystem::path> files_;
  std::vector<FileStamp> stamps_;
  std::string placement_;
  std::vector<std::string> outside_;
};

}  // namespace fpf::weights
