// Which tensors tell how a linear layer is stored: dense, or in a 4-bit format. No tensor library.
#pragma once

#include <array>
#include <fpf/quant/linear_spec.hpp>
#include <fpf/weights/tensor_source.hpp>
#include <string>
#include <string_view>

namespace fpf::quant {

/// What a layer's name is followed by in tensors that only a 4-bit format has (AWQ's and GPTQ's, then bitsandbytes').
/// Not what bitsandbytes keeps under `.weight`: its codes may have any dtype (bnb_4bit_quant_storage).
inline constexpr std::array<std::string_view, 8> packed_suffixes{".qweight",
                                                                 ".qzeros",
                                                                 ".scales",
                                                                 ".g_idx",
                                                                 ".weight.quant_state.bitsandbytes__nf4",
                                                                 ".weight.quant_state.bitsandbytes__fp4",
                                                                 ".weight.absmax",
                                                                 ".weight.quant_map"};

/// A tensor of layer `name` that only a 4-bit format has, or nullptr.
inline const weights::StoredTensor* packed_tensor(const weights::TensorSource& source, const std::string& name) {
  for (const auto suffix : packed_suffixes)
    if (const auto* found = source.find(name + std::string(suffix))) return found;
  return nullptr;
}

/// Throws Error for a layer that is stored both dense and in a 4-bit format: engines take one or the other. As many
/// elements as the layer has are dense; the codes of a 4-bit format are fewer.
inline void require_one_form(const weights::TensorSource& source, const LinearSpec& layer) {
  const auto* dense = source.find(layer.name + ".weight");
  if (dense == nullptr || dense->elements() != layer.out_features * layer.in_features) return;
  if (const auto* packed = packed_tensor(source, layer.name))
    fail(
        "layer '{}' is stored twice, dense ('{}' in {}, {} {}) and quantised ('{}' in {}): expected one of them, remove "
        "the other",
        layer.name, dense->name, dense->file, weights::name_of(dense->format), weights::shape_text(dense->shape),
        packed->name, packed->file);
}

}  // namespace fpf::quant
