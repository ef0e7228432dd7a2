// What the tests of the quantised formats share: fixtures of fixtures/make_quant.py and checkpoints made of
// them.
#pragma once

#include <algorithm>
#include <fpf/core/half.hpp>
#include <fpf/core/hash.hpp>
#include <fpf/core/range.hpp>
#include <fpf/weights/safetensors.hpp>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "tensor_file.hpp"

/// Cases of one format with the hashes of what its package computes.
inline nlohmann::json quant_cases(const std::string& format) {
  return nlohmann::json::parse(std::ifstream(FPF_FIXTURES "/quant/" + format + ".json"));
}

inline fpf::weights::SafetensorsDirectory quant_tensors(const std::string& format) {
  return fpf::weights::SafetensorsDirectory(FPF_FIXTURES "/quant/" + format + ".safetensors");
}

/// SHA-256 of values in the given dtype, each rounded once from float32.
inline std::string sha_as(const std::string& dtype, std::span<const float> values) {
  if (dtype == "float32") return fpf::sha256_hex(std::as_bytes(values));
  std::vector<std::uint16_t> rounded(values.size());
  std::ranges::transform(values, rounded.begin(),
                         dtype == "float16" ? fpf::float16_from_float32 : fpf::bfloat16_from_float32);
  return fpf::sha256_hex(std::as_bytes(std::span(rounded)));
}

/// Rows `rows` and columns `columns` of a row-major matrix.
inline std::vector<float> rectangle(const std::vector<float>& matrix, std::int64_t width, fpf::Range rows,
                                    fpf::Range columns) {
  std::vector<float> out;
  for (auto r = rows.begin; r < rows.end; ++r)
    out.insert(out.end(), matrix.begin() + r * width + columns.begin, matrix.begin() + r * width + columns.end);
  return out;
}

/// Writes a checkpoint with one case's tensors, some of them replaced (or left out: no value), and opens it.
class Variant {
 public:
  Variant(const fpf::weights::TensorSource& source, const std::string& prefix) {
    for (const auto& name : source.names())
      if (name.starts_with(prefix + ".")) tensors_.push_back(source.at(name));
  }
  Variant& without(const std::string& name) {
    std::erase_if(tensors_, [&](const auto& tensor) { return tensor.name == name; });
    return *this;
  }
  Variant& with(const std::string& name, fpf::DType dtype, std::vector<std::int64_t> shape, std::string bytes = {}) {
    without(name);
    fpf::weights::StoredTensor tensor{
        .name = name, .format = fpf::weights::format_of(dtype), .shape = std::move(shape), .data = {}, .file = {}};
    bytes.resize(tensor.bytes());
    auto& kept = bytes_.emplace_back(std::make_shared<std::string>(std::move(bytes)));
    tensor.data = std::as_bytes(std::span(*kept));
    tensors_.push_back(tensor);
    return *this;
  }
  fpf::weights::SafetensorsDirectory open() const {
    write_safetensors("variant.safetensors", tensors_);
    return fpf::weights::SafetensorsDirectory("variant.safetensors");
  }

 private:
  std::vector<fpf::weights::StoredTensor> tensors_;
  std::vector<std::shared_ptr<std::string>> bytes_;
};
