// safetensors files and directories (github.com/huggingface/safetensors, "Format"), mapped.
#pragma once

#include <bit>
#include <fpf/core/git_lfs.hpp>
#include <fpf/core/json.hpp>
#include <fpf/core/mapped_file.hpp>
#include <fpf/weights/tensor_source.hpp>
#include <map>

namespace fpf::weights {

static_assert(std::endian::native == std::endian::little, "weights are mapped as stored: little-endian machines only");

namespace detail {

/// Bits of an element of the dtypes that safetensors has and fpf does not read (safetensors 0.8.0, Dtype).
inline constexpr std::array<std::pair<std::string_view, std::int64_t>, 12> other_dtypes{{{"F4", 4},
                                                                                         {"F6_E2M3", 6},
                                                                                         {"F6_E3M2", 6},
                                                                                         {"F8_E5M2", 8},
                                                                                         {"F8_E4M3", 8},
                                                                                         {"F8_E8M0", 8},
                                                                                         {"F8_E4M3FNUZ", 8},
                                                                                         {"F8_E5M2FNUZ", 8},
                                                                                         {"U16", 16},
                                                                                         {"U32", 32},
                                                                                         {"U64", 64},
                                                                                         {"C64", 64}}};

/// Bytes of a tensor of such a dtype; nothing when that overflows, and -1 for a dtype that is not known.
inline std::optional<std::int64_t> other_bytes(std::string_view dtype, std::span<const std::int64_t> shape) {
  const auto* known = std::ranges::find(other_dtypes, dtype, &decltype(other_dtypes)::value_type::first);
  if (known == other_dtypes.end()) return -1;
  const auto elements = checked_elements(shape);
  std::int64_t bits = 0;
  if (!elements || __builtin_mul_overflow(*elements, known->second, &bits) || bits % 8 != 0) return std::nullopt;
  return bits / 8;
}

/// An object that must not say the same name twice, nor nest deeper than safetensors does. Throws Error
/// naming the file.
inline nlohmann::json parse_strict(std::string_view text, const std::string& file) {
  auto json = parse_json(text, file, {.unique_keys = true, .levels = 3});
  if (!json.is_object()) fail("{} holds no JSON object", file);
  return json;
}

struct SafetensorsHeader {
  std::vector<StoredTensor> tensors;  // in the order of their data
  std::map<std::string, std::string> metadata;
};

/// Reads one tensor's entry; `data` is what follows the header.
inline StoredTensor stored_tensor(const std::string& name, const nlohmann::json& entry, std::span<const std::byte> data,
                                  const std::string& file) {
  const auto unsigned_numbers = [&](const char* key) {
    const bool right = entry.is_object() && entry.contains(key) && entry[key].is_array() &&
                       std::ranges::all_of(entry[key], [](const auto& n) {
                         return n.is_number_unsigned() && std::in_range<std::int64_t>(n.template get<std::uint64_t>());
                       });
    if (!right) fail("tensor '{}' in {}: expected '{}' to be an array of sizes", name, file, key);
    return entry[key].get<std::vector<std::int64_t>>();
  };
  StoredTensor tensor{.name = name, .shape = unsigned_numbers("shape"), .data = {}, .file = file};
  const auto dtype = entry.contains("dtype") && entry["dtype"].is_string() ? entry["dtype"].get<std::string>() : "";
  if (dtype.empty()) fail("tensor '{}' in {}: expected 'dtype' to name a type", name, file);
  const auto* known = std::ranges::find(dtype_table, dtype, &DTypeInfo::safetensors);
  tensor.format = known == dtype_table.end() ? Format::other : format_of(known->dtype);
  tensor.type_name = dtype;

  const auto offsets = unsigned_numbers("data_offsets");
  const auto size = static_cast<std::int64_t>(data.size());
  if (offsets.size() != 2 || offsets[0] > offsets[1])
    fail("tensor '{}' in {} has data_offsets [{}]: expected a begin and an end", name, file, fmt::join(offsets, ", "));
  if (offsets[1] > size)
    fail("tensor '{}' in {} ends at byte {} of the data: the file has {}; is it truncated?", name, file, offsets[1],
         size);
  auto bytes =
      tensor.format == Format::other ? other_bytes(dtype, tensor.shape) : checked_bytes(tensor.format, tensor.shape);
  if (bytes == -1) bytes = offsets[1] - offsets[0];
  if (!bytes || *bytes != offsets[1] - offsets[0])
    fail("tensor '{}' in {} has {} bytes: {} {} needs {}", name, file, offsets[1] - offsets[0],
         known == dtype_table.end() ? dtype : known->name, shape_text(tensor.shape),
         bytes ? fmt::to_string(*bytes) : "more than 63 bits can count");
  tensor.data = data.subspan(static_cast<std::size_t>(offsets[0]), static_cast<std::size_t>(*bytes));
  return tensor;
}

/// As the reference reader: the header is at most 100 MB, and the tensors cover the data without overlap, gap
/// or rest.
inline SafetensorsHeader read_safetensors(const MappedFile& map) {
  constexpr std::uint64_t largest_header = 100'000'000;
  const auto file = map.path().string();
  refuse_git_lfs_pointer(map.text(), file);
  if (map.size() < 8) fail("{} is no safetensors file: expected at least 8 bytes, found {}", file, map.size());
  std::uint64_t length = 0;
  std::memcpy(&length, map.bytes().data(), sizeof(length));
  if (length > map.size() - 8)
    fail("{} claims a header of {} bytes: only {} follow; is it truncated, or no safetensors file?", file, length,
         map.size() - 8);
  if (length > largest_header)
    fail("{} claims a header of {} bytes: expected at most {}", file, length, largest_header);
  const auto json = parse_strict(map.text().substr(8, length), "the header of " + file);
  const auto data = map.bytes().subspan(8 + length);

  SafetensorsHeader header;
  for (const auto& [name, entry] : json.items()) {
    if (name != "__metadata__") {
      header.tensors.push_back(stored_tensor(name, entry, data, file));
      continue;
    }
    if (!entry.is_object() || !std::ranges::all_of(entry, [](const auto& value) { return value.is_string(); }))
      fail("__metadata__ in {}: expected an object of strings", file);
    header.metadata = entry.get<std::map<std::string, std::string>>();
  }
  std::ranges::stable_sort(header.tensors, {}, [](const auto& t) { return std::pair(t.data.data(), t.data.size()); });
  const auto* end = data.data();
  for (const auto& tensor : header.tensors) {
    if (tensor.data.data() != end)
      fail(
          "tensor '{}' in {} begins at byte {} of the data: the one before ends at {} (data must neither "
          "overlap nor have "
          "gaps)",
          tensor.name, file, tensor.data.data() - data.data(), end - data.data());
    end += tensor.data.size();
  }
  if (end != data.data() + data.size())
    fail("{} has {} bytes of data: its header describes {}", file, data.size(), end - data.data());
  return header;
}

}  // namespace detail

/// The weights of a Hugging Face directory: model.safetensors, or model.safetensors.index.json with its
/// shards. A path to one .safetensors file is taken too. With an index a tensor is where the index says; what else the
/// shards hold is outside().
class SafetensorsDirectory : public TensorSource {
 public:
  /// Throws Error, naming the file (and the tensor), for a missing shard, for every header that lies, and for a Git LFS
  /// pointer.
  explicit SafetensorsDirectory(const std::filesystem::path& path) {
    const auto single = path / "model.safetensors", index = path / "model.safetensors.index.json";
    if (!std::filesystem::is_directory(path)) {
      add_shard(path, nullptr);
    } else if (std::filesystem::exists(single)) {
      add_shard(single, nullptr);
    } else if (std::filesystem::exists(index)) {
      add_index(index);
    } else {
      fail("{} holds no weights: expected model.safetensors or model.safetensors.index.json", path.string());
    }
  }

  /// The `__metadata__` entries of all files together.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// The dtype that transformers 5 takes where config.json names none: the index's metadata's, or that of the first
  /// floating-point tensor of the first file, in the order of their names (modeling_utils, _get_dtype). Nothing when
  /// there is none.
  const std::optional<std::string>& dtype() const { return dtype_; }

 private:
  /// `weight_map` is the index's, or null for a file of its own.
  void add_shard(const std::filesystem::path& path, const nlohmann::json* weight_map) {
    auto header = detail::read_safetensors(maps_.emplace_back(path));
    add_file(maps_.back());
    metadata_.merge(header.metadata);
    if (files().size() == 1 && !dtype_) dtype_ = first_floating(header.tensors);
    for (auto& tensor : header.tensors) {
      if (weight_map != nullptr) {
        const auto placed = weight_map->find(tensor.name);
        if (placed == weight_map->end() || *placed != path.filename().string()) {
          if (placed != weight_map->end()) placed_.emplace(tensor.name, placed->get<std::string>());
          add_outside(fmt::format("{} in {}", tensor.name, path.filename().string()));
          continue;
        }
      }
      add(std::move(tensor));
    }
  }

  static std::optional<std::string> first_floating(const std::vector<StoredTensor>& tensors) {
    const StoredTensor* first = nullptr;
    for (const StoredTensor& tensor : tensors)
      if (is_plain(tensor.format) && tensor.format <= Format::bfloat16 &&
          (first == nullptr || tensor.name < first->name))
        first = &tensor;
    return first == nullptr ? std::nullopt : std::optional(std::string(name_of(first->format)));
  }

  void add_index(const std::filesystem::path& index) {
    const MappedFile map(index);
    refuse_git_lfs_pointer(map.text(), index.string());
    const auto json = detail::parse_strict(map.text(), index.string());
    const auto weights = json.find("weight_map");
    if (weights == json.end() || !weights->is_object() || weights->empty())
      fail("{} lacks a weight_map of tensor names and shards", index.string());
    if (const auto said = json.find("metadata"); said != json.end() && said->is_object() && said->contains("dtype"))
      if (const auto& name = (*said)["dtype"]; name.is_string()) dtype_ = name.get<std::string>();
    std::map<std::string, std::string> shards;  // with one tensor that needs it
    for (const auto& [name, shard] : weights->items()) {
      if (!shard.is_string() || std::filesystem::path(shard.get<std::string>()).filename() != shard.get<std::string>())
        fail("{} maps tensor '{}' to {}: expected the name of a file beside it", index.string(), name, shard.dump());
      shards.emplace(shard.get<std::string>(), name);
    }
    for (const auto& [shard, name] : shards) {
      const auto path = index.parent_path() / shard;
      if (!std::filesystem::exists(path))
        fail("shard {} is missing: {} names it for tensor '{}' and others", path.string(), index.string(), name);
      add_shard(path, &*weights);
    }
    std::string placement;
    for (const auto& [name, shard] : placed_) placement += fmt::format("{} in {}\n", name, shard);
    set_placement(std::move(placement));
    for (const auto& [name, shard] : weights->items())
      if (!contains(name))
        fail("tensor '{}' is not in {}, where {} places it", name,
             (index.parent_path() / shard.get<std::string>()).string(), index.string());
  }

  std::vector<MappedFile> maps_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, std::string> placed_;  // tensors that stand in several shards, and the one that is read
  std::optional<std::string> dtype_;
};

}  // namespace fpf::weights
