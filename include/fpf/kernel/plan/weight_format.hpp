// The packed weight formats by value: the list that plans choose from. What a format is to kernels is in
// weights/<format>.cuh.
#pragma once

#include <cstddef>
#include <fpf/core/dtype.hpp>
#include <fpf/core/error.hpp>
#include <fpf/kernel/shared/layout.hpp>
#include <string>
#include <string_view>

namespace fpf::kernel {

/// The device's name of a floating-point type. Throws Error for others.
inline std::string device_type(DType dtype) {
  switch (dtype) {
    case DType::bfloat16:
      return "fpf::kernel::Bf16";
    case DType::float16:
      return "fpf::kernel::Fp16";
    case DType::float32:
      return "float";
    default:
      fail("kernels compute in bfloat16, float16 or float32, not in {}", name_of(dtype));
  }
}

/// Elements of a type in 16 bytes.
inline int in_16_bytes(DType dtype) { return 16 / static_cast<int>(size_of(dtype)); }

/// How a matrix is packed.
struct WeightFormat {
  enum class Kind { int4, nf4, dense } kind = Kind::dense;
  DType scale = DType::float16;  // int4: stored scales
  int group = 128;               // int4: columns that share a scale; 0: all
  bool permuted = false;         // int4: columns sorted by a g_idx that is not monotone

  bool operator==(const WeightFormat&) const = default;
  bool is_dense() const { return kind == Kind::dense; }

  /// f(layout) for rows of k columns (shared/layout.hpp).
  template <class F>
  auto with_layout(int k, DType dtype, F f) const {
    switch (kind) {
      case Kind::int4:
        return f(Int4Layout{k, group == 0 ? k : group, static_cast<int>(size_of(scale)), permuted});
      case Kind::nf4:
        return f(Nf4Layout{k});
      case Kind::dense:
        break;
    }
    return f(DenseLayout{k, static_cast<int>(size_of(dtype))});
  }

  /// The device's type for rows of k columns. Throws Error for a shape that has no packed form.
  std::string type(int k, DType dtype) const {
    const auto [name, columns, rows, chunk] = units(dtype);
    if (k <= 0 || k % columns != 0) fail("a {} matrix with {} columns: expected a multiple of {}", name, k, columns);
    switch (kind) {
      case Kind::int4: {
        const int shared = group == 0 ? k : group;
        if (shared % columns != 0)
          fail("a 4-bit matrix with groups of {} columns: expected a multiple of {}", shared, columns);
        return fmt::format("fpf::kernel::Int4<{}, {}, {}, {}>", device_type(scale), shared, k, permuted);
      }
      case Kind::nf4:
        return fmt::format("fpf::kernel::Nf4<{}, {}>", device_type(dtype), k);
      case Kind::dense:
        break;
    }
    return fmt::format("fpf::kernel::Dense<{}, {}>", device_type(dtype), k);
  }

  /// Its layout's name and what k, and for tensor cores n, must be a multiple of; columns that a thread takes at once.
  struct Units {
    std::string_view name;
    int columns, rows, chunk;
  };
  Units units(DType dtype) const {
    return with_layout(0, dtype, [](const auto& l) { return Units{l.name(), l.columns(), l.rows(), l.chunk()}; });
  }
  /// Bytes of a packed [n, k] matrix.
  std::size_t bytes(std::size_t n, std::size_t k, DType dtype) const {
    return with_layout(static_cast<int>(k), dtype, [&](const auto& layout) {
      return static_cast<std::size_t>(layout.bytes(static_cast<long long>(n)));
    });
  }
  /// Dynamic shared memory of a tile of rows of k columns.
  unsigned tile_bytes(int k, DType dtype) const {
    return with_layout(k, dtype, [](const auto& layout) { return static_cast<unsigned>(tile_size(layout)); });
  }
  /// And for one row of x beside it, of 16 bits.
  unsigned staged_bytes(int k, DType dtype) const { return 2u * unsigned(staged_stride(staged(k, dtype))); }
  /// Elements of a row of x in shared memory.
  int staged(int k, DType dtype) const { return staged_columns(k, units(dtype).chunk, in_16_bytes(dtype)); }
};

/// A packed matrix on the device: out features n, in features k.
struct Matrix {
  const void* data = nullptr;
  WeightFormat format{};
  int n = 0, k = 0;
  const void* bias = nullptr;  // [n] in the activations' type (portable execution: float32), or null
};

/// AWQ's and GPTQ's, bitsandbytes', and unquantised matrices.
inline WeightFormat int4_format(int group, DType scale = DType::float16, bool permuted = false) {
  return {WeightFormat::Kind::int4, scale, group, permuted};
}
inline WeightFormat nf4_format() { return {WeightFormat::Kind::nf4}; }
inline WeightFormat dense_format() { return {}; }

}  // namespace fpf::kernel
