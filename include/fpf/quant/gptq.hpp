// GPTQ checkpoints (arXiv:2210.17323) as a quantisation policy.
#pragma once

#include <ATen/ops/linear.h>

#include <fpf/quant/device_matrix.hpp>
#include <fpf/quant/gptq_format.hpp>
#include <fpf/quant/packed_tensor.hpp>

namespace fpf::quant {

/// 4-bit codes with a zero and a scale per group of inputs, in any order of inputs, kept as stored. linear()
/// is that of the dequantised weights in x's dtype.
struct Gptq {
  static constexpr std::string_view name = "gptq";

  struct Weight {
    at::Tensor qweight, qzeros, scales, g_idx;  // [ceil(in/8), out], [groups, words], [groups, out], [in]
    DType scale_dtype = DType::float16;
    std::int64_t first_column = 0;  // of the outputs within the first word of qzeros
    bool zeros_are_one_less = true;
    bool all_inputs = true;

    GptqView view() const {
      return {
          .in = g_idx.size(0),
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
    const auto found =
        GptqTensors::find(loader.source, config, spec.name, spec.out_features, spec.in_features);
    if (spec.in.begin % 8 != 0)
      fail("inputs {} to {} of layer '{}' were asked for: GPTQ can be cut at multiples of 8 only",
           spec.in.begin, spec.in.end, spec.name);
    const auto& source = loader.source;
    const Range groups{0, found.groups};
    Weight weight;
    weight.qweight =
        detail::rectangle(source, *found.qweight, {spec.in.begin / 8, (spec.in.end + 7) / 8}, spec.out);
    weight.qzeros =
        detail::rectangle(source, *found.qzeros, groups, {spec.out.begin / 8, (spec.out.end + 7) / 8});
    weight.scales = detail::rectangle(source, *found.scales, groups, spec.out);
    const at::Tensor g_idx = stored_tensor(source, *found.g_idx);
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
  /// Layers of one input as one matrix on a GPU. Throws Error for a part of the inputs of a layer with
  /// desc_act.
  static DeviceMatrix pack(const std::vector<const Weight*>& weights, at::ScalarType dtype,
                           at::Device device) {
    std::vector<std::optional<GptqRegrouped>> regrouped;
    std::vector<GptqView> views;
    for (const Weight* weight : weights) {
      regrouped.push_back(regroup(weight->view()));
      views.push_back(regrouped.back() ? regrouped.back()->view : weight->view());
      if (!regrouped.back() && !weight->all_inputs)
        fail(
            "a GPTQ layer with desc_act cannot be split by its inputs on a GPU: its groups would have "
            "unequal lengths");
    }
    return quant::pack(views, dtype, device);
  }
  static std::size_t bytes(const Weight& weight) {
    return weight.qweight.nbytes() + weight.qzeros.nbytes() + weight.scales.nbytes() + weight.g_idx.nbytes();
  }
};

static_assert(QuantScheme<Gptq>);

}  // namespace fpf::quant
