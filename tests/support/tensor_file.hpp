// A safetensors file of tensors that are at hand: what tests change in a checkpoint.
#pragma once

#include <filesystem>
#include <fpf/weights/safetensors_writer.hpp>
#include <span>
#include <vector>

/// Writes one file with tensors that are at hand (resident data, plain dtypes).
inline void write_safetensors(const std::filesystem::path& path, std::span<const fpf::weights::StoredTensor> tensors,
                              const fpf::weights::TensorMetadata& metadata = {{"format", "pt"}}) {
  std::vector<fpf::weights::TensorSpec> specs;
  for (const auto& tensor : tensors) specs.push_back({tensor.name, tensor.dtype(), tensor.shape});
  fpf::weights::SafetensorsFileWriter writer(path, specs, metadata);
  for (const auto& tensor : tensors) writer.write(tensor.name, tensor.data);
  writer.commit();
}
