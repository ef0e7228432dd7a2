// bitsandbytes' NF4 checkpoints (QLoRA, arXiv:2305.14314) as a quantisation policy.
#pragma once

#include <ATen/ops/add.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/repeat_interleave.h>

#include <algorithm>
#include <fpf/quant/nf4_format.hpp>
#include <fpf/quant/packed_matrix.hpp>
#include <fpf/quant/packed_tensor.hpp>
#include <fpf/quant/quant_config.hpp>

namespace fpf::quant {

/// 4-bit normal-float codes in blocks, with or without nested maxima, kept as stored. A part of a layer keeps
/// the whole layer's tensors, whose blocks need not end with its rows. linear() and dequantise() are the CPU's:
/// linear() is that of the dequantised weights in x's dtype.
struct Nf4 {
  static constexpr std::string_view name = "bnb";
  static constexpr Stated<Nf4, bool> dequantises{true};

  /// Codes without a quant_state, too, so that what is missing is named: they are uint8 then.
  static bool stores(const weights::TensorSource& source, const std::string& layer) {
    const auto* codes = source.find(layer + ".weight");
    return packed_tensor(source, layer) != nullptr || codes == nullptr ||
           (weights::is_plain(codes->format) && codes->dtype() == DType::uint8);
  }

  struct Weight {
    at::Tensor codes,
        absmax;  // [ceil(n/2), 1] uint8, whatever dtype they are stored under; [blocks] float32, or uint8 when nested
    at::Tensor quant_map;  // [16], always on the CPU
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
      return stored == nullptr ? at::Tensor() : device::stored_tensor(loader.source, *stored, loader.device);
    };
    return {.codes = tensor(found.codes).view(at::kByte).view({-1, 1}),
            .absmax = tensor(found.absmax),
            .quant_map = device::stored_tensor(loader.source, *found.quant_map),
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
  /// The largest magnitude of every block of the whole layer, [blocks] float32: Nf4View::scale()'s values.
  static at::Tensor maxima(const Weight& weight) {
    if (!weight.nested_absmax.defined()) return weight.absmax;
    const at::Tensor outer =
        weight.nested_absmax.repeat_interleave(weight.nested_blocksize).narrow(0, 0, weight.absmax.size(0));
    const at::Tensor inner = weight.nested_quant_map.index_select(0, weight.absmax.to(at::kInt));
    return inner.mul(outer).add(weight.nested_offset);  // each rounded on its own
  }
  /// The layer's part of codes and maxima, as a layer of its own that is not nested. Throws Error for parts that cut
  /// blocks.
  static Weight part_of(const Weight& weight) {
    for (const auto edge : {weight.in, weight.ins.begin, weight.ins.end})
      if (edge % weight.blocksize != 0)
        fail("inputs {} to {} of {} were asked for: an NF4 layer can be cut at multiples of its blocks of {} only",
             weight.ins.begin, weight.ins.end, weight.in, weight.blocksize);
    const auto cut = [&](const at::Tensor& whole, std::int64_t each) {
      return whole.view({weight.out, weight.in / each})
          .narrow(0, weight.outs.begin, weight.outs.size())
          .narrow(1, weight.ins.begin / each, weight.ins.size() / each)
          .contiguous();
    };
    const std::int64_t out = weight.outs.size(), in = weight.ins.size();
    return {.codes = cut(weight.codes, 2),
            .absmax = cut(maxima(weight), weight.blocksize),
            .quant_map = weight.quant_map,
            .nested_absmax = {},
            .nested_quant_map = {},
            .out = out,
            .in = in,
            .blocksize = weight.blocksize,
            .outs = {0, out},
            .ins = {0, in}};
  }
  /// Whether layers of one input can be one packed matrix.
  static bool can_stack(const std::vector<const Weight*>& weights) {
    return std::ranges::all_of(
        weights, [&](const Weight* weight) { return weight->quant_map.equal(weights.front()->quant_map); });
  }
  /// Layers of one input as one matrix on their GPU. They must be such that can_stack(). Throws Error for parts that
  /// cut blocks.
  static PackedMatrix pack(const std::vector<const Weight*>& weights, at::ScalarType dtype) {
    std::vector<PackedPart> parts;
    for (const Weight* weight : weights) {
      if (weight->blocksize != 64) fail("an NF4 layer with blocks of {}: a GPU needs blocks of 64", weight->blocksize);
      const Weight part = part_of(*weight);
      parts.push_back({.n = part.out,
                       .codes = part.codes,
                       .scales = part.absmax,
                       .map = device::upload(part.quant_map, part.codes.device())});
    }
    return quant::pack(kernel::Layout::bitsandbytes, kernel::nf4_format(), weights.front()->ins.size(), parts, dtype);
  }
  static std::size_t bytes(const Weight& weight) {
    std::size_t total = weight.codes.nbytes() + weight.absmax.nbytes() + weight.quant_map.nbytes();
    if (weight.nested_absmax.defined()) total += weight.nested_absmax.nbytes() + weight.nested_quant_map.nbytes();
    return total;
  }
};

static_assert(QuantScheme<Nf4>);

}  // namespace fpf::quant
