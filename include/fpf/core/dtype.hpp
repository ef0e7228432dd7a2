// Element types of tensors and signals, independent of any tensor library.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <fpf/core/error.hpp>
#include <string_view>

namespace fpf {

enum class DType : std::uint8_t { float64, float32, float16, bfloat16, int64, int32, int16, int8, uint8, boolean };

struct DTypeInfo {
  DType dtype;
  std::size_t size;              // bytes per element
  std::string_view name;         // as in Hugging Face configs and experiment files
  std::string_view safetensors;  // as in a safetensors header
};

inline constexpr std::array<DTypeInfo, 10> dtype_table{{{DType::float64, 8, "float64", "F64"},
                                                        {DType::float32, 4, "float32", "F32"},
                                                        {DType::float16, 2, "float16", "F16"},
                                                        {DType::bfloat16, 2, "bfloat16", "BF16"},
                                                        {DType::int64, 8, "int64", "I64"},
                                                        {DType::int32, 4, "int32", "I32"},
                                                        {DType::int16, 2, "int16", "I16"},
                                                        {DType::int8, 1, "int8", "I8"},
                                                        {DType::uint8, 1, "uint8", "U8"},
                                                        {DType::boolean, 1, "bool", "BOOL"}}};

constexpr const DTypeInfo& info(DType dtype) { return dtype_table[static_cast<std::size_t>(dtype)]; }
constexpr std::size_t size_of(DType dtype) { return info(dtype).size; }
constexpr std::string_view name_of(DType dtype) { return info(dtype).name; }

/// The type with that name ("float32", "bfloat16", ...). Throws Error listing the names it knows.
inline DType parse_dtype(std::string_view name) {
  for (const auto& entry : dtype_table)
    if (entry.name == name) return entry.dtype;
  fail("unknown dtype '{}'; known are float64, float32, float16, bfloat16, int64, int32, int16, int8, uint8, bool",
       name);
}

}  // namespace fpf
