// AWQ checkpoints (arXiv:2306.00978) as a quantisation policy.
#pragma once

#include <ATen/ops/linear.h>

#include <fpf/quant/awq_format.hpp>
#include <fpf/quant/device_matrix.hpp>
#include <fpf/quant/packed_tensor.hpp>

namespace fpf::quant {

/// 4-bit codes with a zero and a scale per group of inputs, kept as stored. linear() is that of the
/// dequantised weights in x's dtype.
struct Awq {
  static constexpr std::string_view name = "awq";

  struct Weight {
    at::Tensor qweight, qzeros, scales;  // [in, out/8], [groups, out/8] or undefined, [groups, out]
    DType scale_dtype = DType::float16;
    std::int64_t group = 0, skip = 0;  // see AwqView

    AwqView view() const {
      return {
          .in = qweight.size(0),
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
    const auto found =
        AwqTensors::find(loader.source, config, spec.name, spec.out_features, spec.in_features);
    if (spec.out.begin % 8 != 0 || spec.out.size() % 8 != 0)
      fail("outputs {} to {} of layer '{}' were asked for: AWQ can be cut at multiples of 8 only",
           spec.out.begin, spec.out.end, spec.name);
    const Range words{spec.out.begin / 8, spec.out.end / 8};
    const Range groups{spec.in.begin / found.group, (spec.in.end + found.group - 1) / found.group};
    const auto& source = loader.source;
    Weight weight;
    weight.qweight = detail::rectangle(source, *found.qweight, spec.in, words);
    if (found.qzeros != nullptr) weight.qzeros = detail::rectangle(source, *found.qzeros, groups, words);
    weight.scales = detail::rectangle(source, *found.scales, groups, spec.out);
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
  /// Layers of one input as one matrix on a GPU.
  static DeviceMatrix pack(const std::vector<const Weight*>& weights, at::ScalarType dtype,
                           at::Device device) {
    std::vector<AwqRegrouped> regrouped;
    for (const Weight* weight : weights) regrouped.push_back(regroup(weight->view()));
    std::vector<AwqView> views;
    for (const auto& layer : regrouped) views.push_back(layer.view);
    return quant::pack(views, dtype, device);
  }
  static std::size_t bytes(const Weight& weight) {
    return weight.qweight.nbytes() + weight.scales.nbytes() +
           (weight.qzeros.defined() ? weight.qzeros.nbytes() : 0);
  }
};

static_assert(QuantScheme<Awq>);

}  // namespace fpf::quant
