// GPTQ's walk over a matrix (Frantar et al., arXiv:2210.17323, algorithm 1): inputs are rounded one after
// another, and those still to come take up the error that each leaves in the layer's output.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/argsort.h>
#include <ATen/ops/cholesky_inverse.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_cholesky_ex.h>
#include <ATen/ops/masked_select.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/median.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <cstdint>
#include <fpf/checkpoint/input_statistics.hpp>
#include <fpf/core/error.hpp>
#include <tuple>

namespace fpf::checkpoint {

/// The upper triangular U [in, in] float32 with Uᵀ U = (H + damping)⁻¹ for the inputs' Gram matrix H, in
/// float64. The damping is a share of the median of H's diagonal, which a few massive activations do not
/// move: 2 in / rows, a tenth at least, because the fewer rows H was made of, the less of it holds for other
/// texts; ten times as much until H is positive definite. Inputs that were always zero count as independent.
inline at::Tensor inverse_factor(const InputStatistics& inputs) {
  at::Tensor h = inputs.gram.to(at::kDouble);
  const at::Tensor diagonal = h.diagonal(), seen = diagonal.masked_select(diagonal.gt(0));
  const double median = seen.numel() == 0 ? 1.0 : seen.median().item<double>();
  diagonal.copy_(at::where(diagonal.eq(0), median, diagonal));
  const double least = std::max(0.1, 2 * static_cast<double>(h.size(0)) / static_cast<double>(inputs.rows));
  for (double share = least; share <= 1e4 * least; share *= 10) {
    const auto [lower, failed] = at::linalg_cholesky_ex(h + share * median * at::eye(h.size(0), h.options()));
    if (failed.item<int>() != 0) continue;
    const auto [upper, again] = at::linalg_cholesky_ex(at::cholesky_inverse(lower), /*upper=*/true);
    if (again.item<int>() == 0) return upper.to(at::kFloat).contiguous();
  }
  fail("the calibration's activations are not finite, or too large to build on");
}

/// The order in which inputs are rounded: by falling mean square, so that the most active ones are rounded
/// while all others can still take up their errors (the authors' --act-order). [in] int64.
inline at::Tensor by_activity(const at::Tensor& gram) {
  return at::argsort(gram.diagonal(), /*stable=*/true, /*dim=*/0, /*descending=*/true);
}

/// The same statistics of inputs in another order.
inline InputStatistics reordered(const InputStatistics& inputs, const at::Tensor& order) {
  return {inputs.gram.index_select(0, order).index_select(1, order), inputs.rows};
}

/// Rounds w [out, in] float32 input by input, with `factor` from inverse_factor. round(row, input, value)
/// returns the value that the weight becomes, whose own has taken up errors; it is called for rows in
/// parallel and for a row's inputs in order.
template <class Round>
void feed_back_errors(const at::Tensor& w, const at::Tensor& factor, const Round& round) {
  constexpr std::int64_t width = 128;  // inputs whose errors reach the rest in one product
  const std::int64_t out = w.size(0), in = w.size(1);
  at::Tensor open = w.clone(at::MemoryFormat::Contiguous);
  at::Tensor errors = at::empty({out, width}, at::kFloat);
  const float* const u = factor.const_data_ptr<float>();
  for (std::int64_t first = 0; first < in; first += width) {
    const std::int64_t count = std::min(width, in - first);
    at::parallel_for(0, out, 8, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        float* const values = open.data_ptr<float>() + row * in + first;
        float* const error = errors.data_ptr<float>() + row * width;
        for (std::int64_t j = 0; j < count; ++j) {
          const float* const coupling = u + (first + j) * in + first;  // of this input with those of the block
          error[j] = (values[j] - round(row, first + j, values[j])) / coupling[j];
          for (std::int64_t k = j + 1; k < count; ++k) values[k] -= error[j] * coupling[k];
        }
      }
    });
    const std::int64_t rest = in - first - count;
    if (rest > 0)
      open.narrow(1, in - rest, rest)
          .sub_(at::matmul(errors.narrow(1, 0, count), factor.narrow(0, first, count).narrow(1, in - rest, rest)));
  }
}

}  // namespace fpf::checkpoint
