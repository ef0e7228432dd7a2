// fpf's dtypes as libtorch's, and back; which GPU a device is.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <fpf/core/dtype.hpp>
#include <fpf/core/error.hpp>

namespace fpf::device {

/// libtorch's scalar type of a stored dtype.
inline at::ScalarType scalar_type(DType dtype) {
  switch (dtype) {
    case DType::float64:
      return at::kDouble;
    case DType::float32:
      return at::kFloat;
    case DType::float16:
      return at::kHalf;
    case DType::bfloat16:
      return at::kBFloat16;
    case DType::int64:
      return at::kLong;
    case DType::int32:
      return at::kInt;
    case DType::int16:
      return at::kShort;
    case DType::int8:
      return at::kChar;
    case DType::uint8:
      return at::kByte;
    case DType::boolean:
      return at::kBool;
  }
  fail("unknown dtype");
}

/// The dtype of activations of that scalar type. Throws Error for types in which no model runs.
inline DType dtype_of(at::ScalarType type) {
  for (const DType dtype : {DType::float32, DType::float16, DType::bfloat16})
    if (scalar_type(dtype) == type) return dtype;
  fail("activations must be float32, float16 or bfloat16, not {}", c10::toString(type));
}

/// The number of a GPU; libtorch's "cuda" without one is the first here.
inline c10::DeviceIndex index_of(at::Device device) {
  return device.has_index() ? device.index() : c10::DeviceIndex{0};
}

}  // namespace fpf::device
