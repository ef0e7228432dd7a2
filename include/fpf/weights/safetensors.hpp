// safetensors files and directories (github.com/huggingface/safetensors, format section), mapped.
#pragma once

#include <fpf/core/mapped_file.hpp>
#include <fpf/weights/tensor_source.hpp>

#include <nlohmann/json.hpp>

namespace fpf::weights {

/// The weights of a Hugging Face directory: model.safetensors, or model.safetensors.index.json with its
/// shards. A path to one .safetensors file is taken too.
class SafetensorsDirectory : public TensorSource {
 public:
  /// Throws Error, naming the file (and the tensor), for a missing shard and for every header that lies.
  explicit SafetensorsDirectory(const std::filesystem::path& path);

  /// The `__metadata__` entries of all files together.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  std::vector<MappedFile> maps_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace fpf::weights
