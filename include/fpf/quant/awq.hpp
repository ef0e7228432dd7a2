// AWQ checkpoints (arXiv:2306.00978) as a quantisation policy.
#pragma once

#include <ATen/ops/linear.h>

#include <algorithm>
#include <fpf/quant/awq_format.hpp>
#include <fpf/quant/packed_matrix.hpp>
#include <fpf/quant/packed_tensor.hpp>
#include <numeric>
#include <vector>

namespace fpf::quant {

/// 4-bit codes with a zero and a scale per group of inputs, kept as stored. linear() and dequantise() are the CPU's:
/// linear() is that of the dequantised weights in x's dtype.
struct Awq {
  static constexpr std::string_view name = "awq";
  static constexpr Stated<Awq, bool> dequantises{true};

  static bool stores(const weights::TensorSource& source, const std::string& layer) {
    return packed_tensor(source, layer) != nullptr || !source.contains(layer + ".weight");
  }

  struct Weight {
    at::Tensor qweight, qzeros, scales;  // [in, out/8], [groups, out/8] or undefined, [groups, out]
    DType scale_dtype = DType::float16;
    std::int64_t group = 0, skip = 0;  // see AwqView

    AwqView view() const {
      return {.in = qweight.size(0),
              .out = scales.size(1),
              .group = group,
              .skip = skip,
              .qweight = qweight.const_data_ptr<int>(),
              .qzeros = qzeros.defined() ? qzeros.const_data_ptr<int>() : nullptr,
              .stride = qweight.stride(0),
              .scales = {static_cast<const std::byte*>(scales.const_data_ptr()), scale_dtype, scales.stride(0)}};
    }
  };

  static Weight load(const Loader& loader, const LinearSpec& spec) {
    const auto config = read_quantisation(loader.quantization, Method::awq);
    const auto found = AwqTensors::find(loader.source, config, spec.name, spec.out_features, spec.in_features);
    if (spec.out.begin % 8 != 0 || spec.out.size() % 8 != 0)
      fail("outputs {} to {} of layer '{}' were asked for: AWQ can be cut at multiples of 8 only", spec.out.begin,
           spec.out.end, spec.name);
    const Range words{spec.out.begin / 8, spec.out.end / 8};
    const Range groups{spec.in.begin / found.group, (spec.in.end + found.group - 1) / found.group};
    Weight weight;
    weight.qweight = detail::rectangle(loader, *found.qweight, spec.in, words);
    if (found.qzeros != nullptr) weight.qzeros = detail::rectangle(loader, *found.qzeros, groups, words);
    weight.scales = detail::rectangle(loader, *found.scales, groups, spec.out);
    weight.scale_dtype = found.scales->dtype();
    weight.group = found.group;
    weight.skip = spec.in.begin % found.group;
    return weight;
  }

  static at::Tensor dequantise(const Weight& weight, at::ScalarType dtype) {
    return detail::dense_from_columns(weight.view(), dtype);
  }
  static at::Tensor linear(const at::Tensor& x, const Weight& weight) {
    return at::linear(x, dequantise(weight, x.scalar_type()));
  }
  /// The same layer with groups that begin with it: zeros and scales are repeated for groups short enough to end where
  /// its first one does.
  static Weight regroup(const Weight& weight) {
    if (weight.skip == 0) return weight;
    Weight out = weight;
    out.group = std::gcd(weight.group, weight.skip);
    out.skip = 0;
    std::vector<std::int64_t> from;
    for (std::int64_t first = 0; first < weight.qweight.size(0); first += out.group)
      from.push_back((weight.skip + first) / weight.group);
    out.qweight = weight.qweight.contiguous();  // as the zeros are then: both have one stride
    out.scales = detail::rows_of(weight.scales, from);
    if (weight.qzeros.defined()) out.qzeros = detail::rows_of(weight.qzeros, from);
    return out;
  }
  /// Whether layers of one input can be one packed matrix: one format reads them all.
  static bool can_stack(const std::vector<const Weight*>& weights) {
    return std::ranges::all_of(weights, [&](const Weight* weight) {
      return weight->scale_dtype == weights.front()->scale_dtype && weight->group == weights.front()->group &&
             weight->skip == weights.front()->skip;
    });
  }
  /// Layers of one input as one matrix on their GPU. They must be such that can_stack().
  static PackedMatrix pack(const std::vector<const Weight*>& weights, at::ScalarType dtype) {
    std::vector<PackedPart> parts;
    std::int64_t group = 0;
    for (const Weight* weight : weights) {
      const Weight whole = regroup(*weight);
      group = whole.group;
      PackedPart& part = parts.emplace_back();
      part.n = whole.scales.size(1);
      part.codes = whole.qweight.contiguous();
      if (whole.qzeros.defined()) part.zeros = whole.qzeros.contiguous();
      part.scales = whole.scales.contiguous();
    }
    const auto format = kernel::int4_format(static_cast<int>(group), weights.front()->scale_dtype);
    return quant::pack(kernel::Layout::awq, format, weights.front()->qweight.size(0), parts, dtype);
  }
  static std::size_t bytes(const Weight& weight) {
    return weight.qweight.nbytes() + weight.scales.nbytes() + (weight.qzeros.defined() ? weight.qzeros.nbytes() : 0);
  }
};

static_assert(QuantScheme<Awq>);

}  // namespace fpf::quant
