// GPTQ checkpoints (arXiv:2210.17323) as a quantisation policy.
#pragma once

#include <ATen/ops/arange.h>
#include <ATen/ops/bitwise_and.h>
#include <ATen/ops/bitwise_left_shift.h>
#include <ATen/ops/bitwise_right_shift.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/linear.h>

#include <algorithm>
#include <fpf/quant/gptq_format.hpp>
#include <fpf/quant/packed_matrix.hpp>
#include <fpf/quant/packed_tensor.hpp>
#include <numeric>
#include <span>
#include <vector>

namespace fpf::quant {

/// 4-bit codes with a zero and a scale per group of inputs, in any order of inputs, kept as stored. linear() and
/// dequantise() are the CPU's: linear() is that of the dequantised weights in x's dtype.
struct Gptq {
  static constexpr std::string_view name = "gptq";
  static constexpr Stated<Gptq, bool> dequantises{true};

  static bool stores(const weights::TensorSource& source, const std::string& layer) {
    return packed_tensor(source, layer) != nullptr || !source.contains(layer + ".weight");
  }

  struct Weight {
    at::Tensor qweight, qzeros, scales;  // [ceil(in/8), out], [groups, words], [groups, out]
    at::Tensor g_idx;                    // [in], always on the CPU
    DType scale_dtype = DType::float16;
    std::int64_t first_column = 0;  // of the outputs within the first word of qzeros
    bool zeros_are_one_less = true;
    bool all_inputs = true;

    GptqView view() const {
      return {.in = g_idx.size(0),
              .out = scales.size(1),
              .groups = scales.size(0),
              .qweight = qweight.const_data_ptr<int>(),
              .qweight_stride = qweight.stride(0),
              .qzeros = qzeros.const_data_ptr<int>(),
              .qzeros_stride = qzeros.stride(0),
              .first_column = first_column,
              .zero_offset = zeros_are_one_less ? gptq_v1_offset : 0,
              .scales = {static_cast<const std::byte*>(scales.const_data_ptr()), scale_dtype, scales.stride(0)},
              .g_idx = g_idx.const_data_ptr<int>()};
    }
  };

  static Weight load(const Loader& loader, const LinearSpec& spec) {
    const auto config = read_quantisation(loader.quantization, Method::gptq);
    const auto found = GptqTensors::find(loader.source, config, spec.name, spec.out_features, spec.in_features);
    if (spec.in.begin % 8 != 0)
      fail("inputs {} to {} of layer '{}' were asked for: GPTQ can be cut at multiples of 8 only", spec.in.begin,
           spec.in.end, spec.name);
    const Range groups{0, found.groups};
    Weight weight;
    weight.qweight = detail::rectangle(loader, *found.qweight, {spec.in.begin / 8, (spec.in.end + 7) / 8}, spec.out);
    weight.qzeros = detail::rectangle(loader, *found.qzeros, groups, {spec.out.begin / 8, (spec.out.end + 7) / 8});
    weight.scales = detail::rectangle(loader, *found.scales, groups, spec.out);
    const at::Tensor g_idx = found.g_idx != nullptr ? device::stored_tensor(loader.source, *found.g_idx)
                                                    : at::tensor(found.groups_in_order(), at::kInt);
    if (found.g_idx != nullptr)
      found.require_groups({g_idx.const_data_ptr<int>(), static_cast<std::size_t>(spec.in_features)});
    weight.g_idx = g_idx.narrow(0, spec.in.begin, spec.in.size());
    weight.scale_dtype = found.scales->dtype();
    weight.first_column = spec.out.begin % 8;
    weight.zeros_are_one_less = found.zeros_are_one_less;
    weight.all_inputs = spec.in.size() == spec.in_features;
    return weight;
  }

  static at::Tensor dequantise(const Weight& weight, at::ScalarType dtype) {
    return detail::dense_from_columns(weight.view(), dtype);
  }
  static at::Tensor linear(const at::Tensor& x, const Weight& weight) {
    return at::linear(x, dequantise(weight, x.scalar_type()));
  }
  /// The same layer with groups of one length that follow one another: zeros (from a word's first nibble) and scales
  /// are repeated for groups as short as its inputs need. Throws Error for a part of the inputs of a layer whose groups
  /// do not follow one another (desc_act).
  static Weight regroup(const Weight& weight) {
    const std::int64_t in = weight.g_idx.size(0);
    const auto* group_of = weight.g_idx.const_data_ptr<int>();
    if (!std::is_sorted(group_of, group_of + in)) {
      if (!weight.all_inputs)
        fail(
            "a GPTQ layer with desc_act cannot be split by its inputs on a GPU: its groups would have unequal lengths");
      return weight;
    }
    std::int64_t length = in;
    for (std::int64_t k = 1; k < in; ++k)
      if (group_of[k] != group_of[k - 1]) length = std::gcd(length, k);
    std::vector<std::int64_t> from;
    Weight out = weight;
    out.g_idx = at::empty({in}, at::kInt);
    for (std::int64_t k = 0; k < in; ++k) {
      if (k % length == 0) from.push_back(group_of[k]);
      out.g_idx.data_ptr<int>()[k] = static_cast<int>(k / length);
    }
    const bool groups_are_so = std::ssize(from) == weight.scales.size(0) && out.g_idx.equal(weight.g_idx);
    if (weight.first_column == 0 && groups_are_so) return weight;
    out.scales = detail::rows_of(weight.scales, from);
    out.qzeros = detail::rows_of(weight.qzeros, from);
    if (weight.first_column == 0) return out;
    const at::Tensor shifts = at::arange(0, 32, 4, weight.qzeros.options());
    const std::int64_t offset = weight.zeros_are_one_less ? gptq_v1_offset : 0, columns = weight.scales.size(1);
    const at::Tensor words = out.qzeros.to(at::kLong).add(offset).unsqueeze(2);
    const at::Tensor zeros =
        words.bitwise_right_shift(shifts).bitwise_and(15).flatten(1).narrow(1, weight.first_column, columns);
    const at::Tensor padded = at::constant_pad_nd(zeros, {0, (8 - columns % 8) % 8}).view({zeros.size(0), -1, 8});
    out.qzeros = padded.bitwise_left_shift(shifts).sum(-1).to(at::kInt);
    out.first_column = 0;
    out.zeros_are_one_less = false;
    return out;
  }
  /// Whether layers of one input can be one packed matrix: one format and one order of inputs reads them all.
  static bool can_stack(const std::vector<const Weight*>& weights) {
    return std::ranges::all_of(weights, [&](const Weight* weight) {
      return weight->scale_dtype == weights.front()->scale_dtype && weight->g_idx.equal(weights.front()->g_idx);
    });
  }
  /// Layers of one input as one matrix on their GPU. They must be such that can_stack(), and groups must have one
  /// length.
  static PackedMatrix pack(const std::vector<const Weight*>& weights, at::ScalarType dtype) {
    std::vector<Weight> regrouped;
    for (const Weight* weight : weights) regrouped.push_back(regroup(*weight));
    const Weight& first = regrouped.front();
    const std::int64_t in = first.g_idx.size(0);
    const std::span group_of(first.g_idx.const_data_ptr<int>(), static_cast<std::size_t>(in));
    const bool permuted = !std::ranges::is_sorted(group_of);
    at::Tensor order;
    if (permuted)
      order = at::tensor(inputs_by_group(group_of, first.scales.size(0)), at::kInt).to(first.qweight.device());
    std::vector<PackedPart> parts;
    for (const Weight& weight : regrouped)
      parts.push_back({.n = weight.scales.size(1),
                       .codes = weight.qweight.contiguous(),
                       .zeros = weight.qzeros.contiguous(),
                       .scales = weight.scales.contiguous(),
                       .order = order,
                       .zero_offset = weight.zeros_are_one_less ? gptq_v1_offset : 0});
    const auto format = kernel::int4_format(static_cast<int>(in / first.scales.size(0)), first.scale_dtype, permuted);
    return quant::pack(kernel::Layout::gptq, format, in, parts, dtype);
  }
  static std::size_t bytes(const Weight& weight) {
    return weight.qweight.nbytes() + weight.qzeros.nbytes() + weight.scales.nbytes() + weight.g_idx.nbytes();
  }
};

static_assert(QuantScheme<Gptq>);

}  // namespace fpf::quant
