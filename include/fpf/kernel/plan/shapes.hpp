// What kernels are specialised on: types, packed formats, shapes. Plain data, without a GPU or a compiler.
#pragma once

#include <cstddef>
#include <fpf/core/dtype.hpp>
#include <fpf/core/error.hpp>
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

/// How a matrix is packed (packed.cuh).
struct WeightFormat {
  enum class Kind { int4, nf4, dense } kind = Kind::dense;
  DType scale = DType::float16;  // int4: stored scales
  int group = 128;               // int4: columns that share a scale; 0: all
  bool permuted = false;         // int4: columns sorted by a g_idx that is not monotone

  bool operator==(const WeightFormat&) const = default;

  int chunk(DType dtype) const { return kind == Kind::dense ? 16 / static_cast<int>(size_of(dtype)) : 32; }

  /// The device's type for rows of k columns. Throws Error for a shape that has no packed form.
  std::string type(int k, DType dtype) const {
    const int group_size = group == 0 ? k : group;
    if (k <= 0 || k % (kind == Kind::nf4 ? 64 : kind == Kind::int4 ? 32 : chunk(dtype)) != 0)
      fail("a {} matrix with {} columns: expected a multiple of {}", name(), k,
           kind == Kind::nf4    ? 64
           : kind == Kind::int4 ? 32
                                : chunk(dtype));
    if (kind == Kind::int4 && group_size % 32 != 0)
      fail("a 4-bit matrix with groups of {} columns: expected a multiple of 32", group_size);
    switch (kind) {
      case Kind::int4:
        return fmt::format("fpf::kernel::Int4<{}, {}, {}, {}>", device_type(scale), group_size, k, permuted);
      case Kind::nf4:
        return fmt::format("fpf::kernel::Nf4<{}, {}>", device_type(dtype), k);
      default:
        return fmt::format("fpf::kernel::Dense<{}, {}>", device_type(dtype), k);
    }
  }

  /// Dynamic shared memory of tile.cuh for sixteen rows of k columns.
  unsigned tile_bytes(int k, DType dtype) const {
    const auto row_bytes = kind == Kind::dense ? k * static_cast<int>(size_of(dtype)) : k / 2;
    const int group_size = group == 0 ? k : group, groups = (k + group_size - 1) / group_size;
    const int side = kind == Kind::dense ? 0
                     : kind == Kind::nf4 ? k / 64 * 4
                                         : groups * static_cast<int>(size_of(scale)) + (groups + 7) / 8 * 4;
    return static_cast<unsigned>((16 * ((row_bytes + 127) / 128 * 128 + 64 + side) + 127) / 128 * 128);
  }
  /// And for one row of x beside it, in bytes of a 16-bit type.
  unsigned staged_bytes(int k) const {
    const int staged = kind == Kind::dense ? k : k + k / 32 * 8;
    return static_cast<unsigned>((staged + 63) / 64 * 64 + 32) * 2;
  }

  std::string_view name() const { return kind == Kind::int4 ? "4-bit" : kind == Kind::nf4 ? "NF4" : "dense"; }

  /// Bytes of a packed [n, k] matrix: packed.cuh's layout.
  std::size_t bytes(std::size_t n, std::size_t k, DType dtype) const {
    const auto padded = [](std::size_t bytes) { return (bytes + 15) / 16 * 16; };
    if (kind == Kind::dense) return n * k * size_of(dtype);
    if (kind == Kind::nf4) return n * k / 2 + padded(n * (k / 64) * 4) + 64;
    const std::size_t group_size = group == 0 ? k : static_cast<std::size_t>(group);
    const std::size_t groups = (k + group_size - 1) / group_size;
    return n * k / 2 + padded(n * groups * size_of(scale)) + padded(n * ((groups + 7) / 8) * 4) +
           (permuted ? k * 4 : 0);
  }
};

/// A packed matrix on the device (packed.cuh): out features n, in features k.
struct Matrix {
  const void* data = nullptr;
  WeightFormat format{};
  int n = 0, k = 0;
};

/// AWQ's and GPTQ's, bitsandbytes', and unquantised matrices.
inline WeightFormat int4_format(int group, DType scale = DType::float16, bool permuted = false) {
  return {WeightFormat::Kind::int4, scale, group, permuted};
}
inline WeightFormat nf4_format() { return {WeightFormat::Kind::nf4}; }
inline WeightFormat dense_format() { return {}; }

/// How a product with few rows is computed. Both give each row the bits it would get alone.
enum class Arithmetic {
  lanes,  // float32 fused multiply-adds, rows one after another (gemv.cuh); any activations
  tiles   // matrix units with float32 accumulators, rows at once (rows.cuh); 16-bit activations
};

/// Shape of a mixture-of-experts layer, or of a dense MLP as one expert.
struct MoeShape {
  int hidden, intermediate, experts, top_k;
  bool renormalise = true;
};

/// How a decode step attends: in parts with an online softmax (attention.cuh), or written out as a
/// framework's eager operators (attention_eager.cuh).
enum class AttentionForm { split, written_out };

/// Heads of a layer. splits: parts that a sequence's cache is cut into; a choice that shows in the results'
/// last bits, so it belongs into the manifest and must not depend on the machine at hand unless that is
/// wanted.
struct AttentionShape {
  int heads, kv_heads, head_dim;
  bool head_norm;
  int splits = 33;
  int warps = 12;
  AttentionForm form = AttentionForm::split;
};

}  // namespace fpf::kernel
