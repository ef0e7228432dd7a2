// A kernel chosen for a shape: which one, how it is launched, what it moves. Pure data, made without a GPU.
#pragma once

#include <algorithm>
#include <fpf/core/dtype.hpp>
#include <fpf/core/error.hpp>
#include <fpf/kernel/library.hpp>
#include <fpf/kernel/params.hpp>
#include <string>
#include <string_view>

namespace fpf::kernel {

/// Everything about one kernel that is known when the model is. Rows (tokens at once) come at launch.
struct Plan {
  std::string file, expression;
  Dim3 grid, block;               // grid for one row
  int rows_axis = 0;              // 0: rows do not change the grid; 1, 2, 3: x, y, z is multiplied by them
  unsigned shared_fixed = 0;      // dynamic shared memory, whatever the rows
  unsigned shared_per_row = 0;    // and for each of them
  int max_rows = 8;               // 0: any number
  double fixed_bytes = 0;         // weights: what a launch reads whatever the rows
  double bytes_per_row = 0;       // activations in and out, the cache apart
  double bytes_per_position = 0;  // of the cache, per row
  double bytes_per_expert = 0;    // weights of one expert, which rows share
  bool hot = false;               // on the decode path: must not spill

  unsigned shared(int rows) const { return shared_fixed + shared_per_row * static_cast<unsigned>(rows); }
  /// What a launch moves at least: every weight, activation and cached value once. experts: how many
  /// different ones the rows chose.
  double bytes(int rows = 1, double positions = 0, double experts = 0) const {
    return fixed_bytes + rows * (bytes_per_row + positions * bytes_per_position) + experts * bytes_per_expert;
  }
};

/// A plan with its kernel loaded. Cheap to copy.
class Operation {
 public:
  Operation() = default;
  Operation(Library& library, Plan plan)
      : plan_(std::move(plan)),
        kernel_(library.get(plan_.file, plan_.expression, plan_.shared(plan_.max_rows))) {}

  const Plan& plan() const { return plan_; }

  /// Throws Error when the kernel does not take so many rows.
  template <class Params>
  void operator()(cuda::Stream stream, const Params& params, int rows = 1, bool overlap = false) const {
    if (rows < 1 || (plan_.max_rows != 0 && rows > plan_.max_rows))
      fail("{} takes 1 to {} rows, not {}", plan_.expression, plan_.max_rows, rows);
    Launch launch{plan_.grid, plan_.block, plan_.shared(rows), stream, overlap};
    const auto count = static_cast<unsigned>(rows);
    if (plan_.rows_axis == 1) launch.grid.x *= count;
    if (plan_.rows_axis == 2) launch.grid.y *= count;
    if (plan_.rows_axis == 3) launch.grid.z *= count;
    kernel_.launch(launch, params);
  }

 private:
  Plan plan_;
  Kernel kernel_;
};

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

namespace detail {

inline unsigned blocks(int count, int each) { return static_cast<unsigned>((count + each - 1) / each); }
inline double element_bytes(DType dtype) { return static_cast<double>(size_of(dtype)); }

}  // namespace detail

}  // namespace fpf::kernel
