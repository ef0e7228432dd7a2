// bitsandbytes' NF4 checkpoints (QLoRA, arXiv:2305.14314) as a quantisation policy.
#pragma once

#include <ATen/ops/linear.h>

#include <fpf/quant/device_matrix.hpp>
#include <fpf/quant/nf4_format.hpp>
#include <fpf/quant/packed_tensor.hpp>
#include <fpf/quant/quant_config.hpp>

namespace fpf::quant {

/// 4-bit normal-float codes in blocks, with or without nested maxima, kept as stored. A part of a layer keeps
/// the whole layer's tensors, whose blocks need not end with its rows. linear() is that of the dequantised
/// weights in x's dtype.
struct Nf4 {
  static constexpr std::string_view name = "bnb";

  struct Weight {
    at::Tensor codes, absmax, quant_map;  // [ceil(n/2)] uint8; [blocks] float32, or uint8 when nested; [16]
    at::Tensor nested_absmax,
        nested_quant_map;  // [ceil(blocks/nested_blocksize)], [256]; undefined when not nested
    std::int64_t out = 0, in = 0, blocksize = 0, nested_blocksize = 256;
    float nested_offset = 0;
    Range outs, ins;  // the part of [out, in] that is this layer's

    Nf4View view() const {
      Nf4View view{.out = out,
                   .in = in,
                   .blocksize = blocksize,
                   .codes = codes.const_data_ptr<std::uint8_t>(),
                   .quant_map = std::span<const float, 16>(quant_map.const_data_ptr<float>(), 16)};
      if (!nested_absmax.defined()) {
        view.absmax = absmax.const_data_ptr<float>();
        return view;
      }
      view.nested_codes = absmax.const_data_ptr<std::uint8_t>();
      view.nested_absmax = nested_absmax.const_data_ptr<float>();
      view.nested_map = std::span<const float, 256>(nested_quant_map.const_data_ptr<float>(), 256);
      view.nested_blocksize = nested_blocksize;
      view.nested_offset = nested_offset;
      return view;
    }
  };

  static Weight load(const Loader& loader, const LinearSpec& spec) {
    read_quantisation(loader.quantization, Method::bitsandbytes);
    const auto found = Nf4Tensors::find(loader.source, spec.name, spec.out_features, spec.in_features);
    const auto tensor = [&](const weights::StoredTensor* stored) {
      return stored == nullptr ? at::Tensor() : stored_tensor(loader.source, *stored);
    };
    return {.codes = tensor(found.codes),
            .absmax = tensor(found.absmax),
            .quant_map = tensor(found.quant_map),
            .nested_absmax = tensor(found.nested_absmax),
            .nested_quant_map = tensor(found.nested_quant_map),
            .out = spec.out_features,
            .in = spec.in_features,
            .blocksize = found.blocksize,
            .nested_blocksize = found.nested_blocksize,
            .nested_offset = found.nested_offset,
            .outs = spec.out,
            .ins = spec.in};
  }

  static at::Tensor dequantise(const Weight& weight, at::ScalarType dtype) {
    at::Tensor out = at::empty({weight.outs.size(), weight.ins.size()}, at::kFloat);
    float* const values = out.data_ptr<float>();
    const Nf4View view = weight.view();
    at::parallel_for(0, weight.outs.size(), 8, [&](std::int64_t begin, std::int64_t end) {
      quant::dequantise(view, {weight.outs.begin + begin, weight.outs.begin + end}, weight.ins,
                        values + begin * weight.ins.size());
    });
    return out.to(dtype);
  }
  static at::Tensor linear(const at::Tensor& x, const Weight& weight) {
    return at::linear(x, dequantise(weight, x.scalar_type()));
  }
  /// Layers of one input as one matrix on a GPU. Throws Error for parts that cut blocks.
  static DeviceMatrix pack(const std::vector<const Weight*>& weights, at::ScalarType dtype,
                           at::Device device) {
    std::vector<Nf4Rectangle> parts;
    for (const Weight* weight : weights)
      parts.push_back(nf4_rectangle(weight->view(), weight->outs, weight->ins));
    std::vector<Nf4View> views;
    for (const auto& part : parts) views.push_back(part.view);
    return quant::pack(views, dtype, device);
  }
  static std::size_t bytes(const Weight& weight) {
    std::size_t total = weight.codes.nbytes() + weight.absmax.nbytes() + weight.quant_map.nbytes();
    if (weight.nested_absmax.defined())
      total += weight.nested_absmax.nbytes() + weight.nested_quant_map.nbytes();
    return total;
  }
};

static_assert(QuantScheme<Nf4>);

}  // namespace fpf::quant
