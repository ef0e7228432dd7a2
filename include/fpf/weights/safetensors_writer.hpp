// Writing safetensors: one file, or a directory of shards with an index.
#pragma once

#include <fpf/core/atomic_file.hpp>
#include <fpf/weights/tensor_source.hpp>
#include <memory>
#include <nlohmann/json.hpp>

namespace fpf::weights {

using TensorMetadata = std::map<std::string, std::string>;

/// Writes one safetensors file: all tensors are announced first, then their bytes come in any order. The file
/// appears under its name at commit(). Data is ordered by element size, largest first, so that every tensor
/// is aligned.
class SafetensorsFileWriter {
 public:
  /// Throws Error when a name comes twice or the file cannot be made.
  SafetensorsFileWriter(const std::filesystem::path& path, std::span<const TensorSpec> tensors,
                        const TensorMetadata& metadata = {{"format", "pt"}})
      : path_(path), file_(path) {
    std::vector<const TensorSpec*> order;
    for (const auto& tensor : tensors) order.push_back(&tensor);
    std::ranges::stable_sort(order, std::greater<>(), [](const TensorSpec* t) { return size_of(t->dtype); });
    nlohmann::json header = nlohmann::json::object();
    if (!metadata.empty()) header["__metadata__"] = metadata;
    std::size_t end = 0;
    for (const auto* tensor : order) {
      const auto begin = std::exchange(end, end + tensor->bytes());
      if (!places_.try_emplace(tensor->name, Place{begin, end - begin, false}).second || tensor->name == "__metadata__")
        fail("cannot write tensor '{}' twice into {}", tensor->name, path.string());
      header[tensor->name] = {
          {"dtype", info(tensor->dtype).safetensors}, {"shape", tensor->shape}, {"data_offsets", {begin, end}}};
    }
    auto text = header.dump();
    text.append((8 - text.size() % 8) % 8, ' ');
    const std::uint64_t length = text.size();
    data_begin_ = 8 + text.size();
    file_.write_at(0, std::as_bytes(std::span(&length, 1)));
    file_.write_at(8, std::as_bytes(std::span(text)));
  }

  /// Throws Error for a tensor that was not announced or whose size is another.
  void write(std::string_view name, std::span<const std::byte> bytes) {
    const auto found = places_.find(name);
    if (found == places_.end()) fail("tensor '{}' was not announced for {}", name, path_.string());
    auto& place = found->second;
    if (bytes.size() != place.size)
      fail("tensor '{}' for {} has {} bytes: expected {}", name, path_.string(), bytes.size(), place.size);
    file_.write_at(data_begin_ + place.begin, bytes);
    place.written = true;
  }

  /// Throws Error naming a tensor that was announced and never written.
  void require_complete() const {
    for (const auto& [name, place] : places_)
      if (!place.written) fail("tensor '{}' was announced for {} and not written", name, path_.string());
  }

  void commit() {
    require_complete();
    file_.commit();
  }

 private:
  struct Place {
    std::size_t begin, size;
    bool written;
  };

  std::filesystem::path path_;
  AtomicFile file_;
  std::size_t data_begin_ = 0;
  std::map<std::string, Place, std::less<>> places_;
};

/// Writes the weights of a Hugging Face directory: model.safetensors, or shards of at most `shard_bytes` of
/// data (a larger tensor has a shard to itself) and model.safetensors.index.json, filled in the order of the
/// tensors. Nothing appears under its final name before finish(), the index last.
class SafetensorsDirectoryWriter {
 public:
  SafetensorsDirectoryWriter(std::filesystem::path directory, const std::vector<TensorSpec>& tensors,
                             std::size_t shard_bytes = 4'000'000'000)
      : directory_(std::move(directory)) {
    std::vector<std::vector<TensorSpec>> shards(1);
    std::size_t used = 0;
    for (const auto& tensor : tensors) {
      const auto bytes = tensor.bytes();
      if (!shards.back().empty() && used + bytes > shard_bytes) {
        shards.emplace_back();
        used = 0;
      }
      shards.back().push_back(tensor);
      used += bytes;
      total_ += bytes;
    }
    for (std::size_t i = 0; i < shards.size(); ++i) {
      const auto file = shards.size() == 1 ? std::string("model.safetensors")
                                           : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
      writers_.push_back(std::make_unique<SafetensorsFileWriter>(directory_ / file, shards[i]));
      for (const auto& tensor : shards[i])
        if (!shard_of_.try_emplace(tensor.name, i, file).second)
          fail("cannot write tensor '{}' twice into {}", tensor.name, directory_.string());
    }
  }

  /// Throws Error for a tensor that was not announced or whose size is another.
  void write(std::string_view name, std::span<const std::byte> bytes) {
    const auto found = shard_of_.find(name);
    if (found == shard_of_.end()) fail("tensor '{}' was not announced for {}", name, directory_.string());
    writers_[found->second.first]->write(name, bytes);
  }

  /// Throws Error naming a tensor that was not written; then nothing appears.
  void finish() {
    for (const auto& writer : writers_) writer->require_complete();
    for (const auto& writer : writers_) writer->commit();
    const auto index = directory_ / "model.safetensors.index.json";
    if (writers_.size() == 1) return;
    nlohmann::json json = {{"metadata", {{"total_size", total_}}}, {"weight_map", nlohmann::json::object()}};
    for (const auto& [name, shard] : shard_of_) json["weight_map"][name] = shard.second;
    AtomicFile(index).append(json.dump(2) + "\n").commit();
  }

 private:
  std::filesystem::path directory_;
  std::vector<std::unique_ptr<SafetensorsFileWriter>> writers_;
  std::map<std::string, std::pair<std::size_t, std::string>, std::less<>> shard_of_;
  std::size_t total_ = 0;
};

}  // namespace fpf::weights
