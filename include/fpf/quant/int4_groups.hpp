// What AWQ and GPTQ share: 4-bit codes, and scales and zeros per group of inputs. No tensor library.
//
// A weight is (code - zero) * scale. Codes and zeros are small integers and scales have at most 11
// significant bits (float16, bfloat16), so the product is exact in float32; rounding it once gives what the
// packages compute in float16.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fpf/core/half.hpp>
#include <fpf/core/range.hpp>
#include <fpf/weights/tensor_source.hpp>
#include <span>
#include <vector>

namespace fpf::quant {

/// Scales [groups, out] as stored.
struct ScaleView {
  const std::byte* data = nullptr;
  DType dtype = DType::float16;  // float16, bfloat16 or float32
  std::int64_t stride = 0;       // elements from group to group

  /// Scales of columns [first, first + count) of one group, widened exactly.
  void read(std::int64_t group, std::int64_t first, std::int64_t count, float* out) const {
    const auto* bytes = data + (group * stride + first) * static_cast<std::int64_t>(size_of(dtype));
    for (std::int64_t i = 0; i < count; ++i) {
      if (dtype == DType::float32) {
        std::memcpy(out + i, bytes + 4 * i, 4);
        continue;
      }
      std::uint16_t bits;
      std::memcpy(&bits, bytes + 2 * i, 2);
      out[i] = dtype == DType::float16 ? float32_from_float16(bits) : float32_from_bfloat16(bits);
    }
  }
};

/// Checks that a layer's tensor has the dtype; throws Error naming tensor and file.
inline const weights::StoredTensor& require_dtype(const weights::StoredTensor& tensor,
                                                  std::initializer_list<DType> wanted) {
  if (std::ranges::find(wanted, tensor.dtype()) == wanted.end()) {
    std::vector<std::string_view> names;
    for (const auto dtype : wanted) names.push_back(fpf::name_of(dtype));
    fail("tensor '{}' in {} is {}: expected {}", tensor.name, tensor.file, fpf::name_of(tensor.dtype()),
         fmt::join(names, " or "));
  }
  return tensor;
}

/// Calls f(index, word) for every 32-bit word of a tensor.
template <class F>
void for_words(const weights::TensorSource& source, const weights::StoredTensor& tensor, F f) {
  std::vector<std::byte> scratch;
  const auto bytes = source.bytes_of(tensor, scratch);
  for (std::size_t at = 0; at < bytes.size() / 4; ++at) {
    std::uint32_t word;
    std::memcpy(&word, bytes.data() + 4 * at, 4);
    f(at, word);
  }
}

/// The number of inputs that share a scale: the configured one, or all of them for -1.
inline std::int64_t group_length(std::int64_t group_size, std::int64_t in) {
  return group_size == -1 ? in : group_size;
}

}  // namespace fpf::quant
