// A kernel chosen for a shape: which one, how it is launched, what it moves. Pure data, made without a GPU.
#pragma once

#include <algorithm>
#include <fpf/kernel/host/library.hpp>
#include <fpf/kernel/plan/shapes.hpp>
#include <fpf/kernel/shared/layout.hpp>
#include <fpf/kernel/shared/params.hpp>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace fpf::kernel {

/// Everything about one kernel that is known when the model is. Rows (tokens at once) come at launch.
struct Plan {
  std::string file, expression;
  std::string parameters;       // of the kernel's template, "Weight, T, Lanes", to which the expression gives arguments
  Dim3 grid, block;             // grid for one row
  int rows_axis = 0;            // 0: rows do not change the grid; 1, 2, 3: x, y, z is multiplied by them
  unsigned shared_fixed = 0;    // dynamic shared memory, whatever the rows
  unsigned shared_per_row = 0;  // and for each of them
  int max_rows = most_rows;     // 0: any number
  double fixed_bytes = 0;       // weights: what a launch reads whatever the rows
  double bytes_per_row = 0;     // activations in and out, the cache apart
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
      : plan_(std::move(plan)), kernel_(library.get(plan_.file, plan_.expression, plan_.shared(plan_.max_rows))) {}

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

/// A kernel's template argument under its parameter's name.
struct Argument {
  template <class Value>
  Argument(std::string_view of, const Value& given) : parameter(of), value(fmt::format("{}", given)) {}
  std::string_view parameter;
  std::string value;
};

/// The beginning of a plan: a kernel of `file` in include/fpf/kernel, with the arguments of its template in their
/// order, to which tests/toolkit.hpp holds them.
inline Plan plan_of(std::string_view file, std::string_view kernel, std::initializer_list<Argument> arguments) {
  Plan plan;
  plan.file = fmt::format("fpf/kernel/{}", file);
  plan.expression = fmt::format("fpf::kernel::{}", kernel);
  for (const Argument& one : arguments) {
    plan.expression += (plan.parameters.empty() ? "<" : ", ") + one.value;
    plan.parameters += (plan.parameters.empty() ? "" : ", ") + std::string(one.parameter);
  }
  if (arguments.size() != 0) plan.expression += ">";
  return plan;
}

namespace detail {

inline unsigned blocks(long long count, long long each) { return static_cast<unsigned>((count + each - 1) / each); }
inline double element_bytes(DType dtype) { return static_cast<double>(size_of(dtype)); }
/// Puts a kernel on the decode path: its grid for one row, the axis that rows multiply (as Plan says), its threads.
inline void launch_in_steps(Plan& plan, Dim3 grid, int rows_axis, int threads) {
  plan.grid = grid;
  plan.rows_axis = rows_axis;
  plan.block.x = static_cast<unsigned>(threads);
  plan.hot = true;
}
/// Refuses what the tensor cores do not multiply.
inline void check_tile_type(DType dtype) {
  if (dtype == DType::float32) fail("the tensor cores' products take bfloat16 or float16 activations, not float32");
}
/// Bytes of a packed [n, k] matrix.
inline double matrix_bytes(const WeightFormat& format, DType dtype, int n, int k) {
  return static_cast<double>(format.bytes(static_cast<std::size_t>(n), static_cast<std::size_t>(k), dtype));
}

}  // namespace detail

}  // namespace fpf::kernel
