// The weights of one decoder layer, or of one rank's part of it, as the portable execution reads them on a CPU.
#pragma once

#include <fpf/model/weights.hpp>
#include <fpf/portable/products.hpp>
#include <fpf/portable/quantised.hpp>

namespace fpf::engine {

/// One linear layer, or several of one input whose outputs follow one another.
struct PortableLinear {
  std::vector<portable::Panels> parts;
  at::Tensor bias;  // [outputs] float32, undefined without

  PortableLinear() = default;
  /// `dtype`: of weights that are not quantised.
  PortableLinear(const model::Linear& linear, portable::Arithmetic arithmetic, at::ScalarType dtype)
      : PortableLinear(linear, [&](const quant::LoadedLinear& layer) {
          return quant::visit(layer,
                              [&](const auto& weight) { return portable::panels_of(weight, arithmetic, dtype); });
        }) {}

  /// A router or a head: chains over its values, which are made once, rounded to `dtype`.
  static PortableLinear of_values(const model::Linear& linear, at::ScalarType dtype) {
    return PortableLinear(
        linear, [&](const quant::LoadedLinear& layer) { return portable::dense_panels(layer.dequantise(dtype)); });
  }

  std::int64_t outputs() const {
    std::int64_t total = 0;
    for (const auto& part : parts) total += part.n;
    return total;
  }
  std::size_t bytes() const {
    std::size_t total = bias.defined() ? bias.nbytes() : 0;
    for (const auto& part : parts) total += part.bytes();
    return total;
  }

  /// -> [rows, outputs] float32
  at::Tensor operator()(const portable::Inputs& x) const {
    at::Tensor out = at::empty({x.rows(), outputs()}, at::kFloat);
    float* to = out.data_ptr<float>();
    for (const auto& part : parts) {
      x.product(part, to, outputs());
      to += part.n;
    }
    if (bias.defined()) portable::add_to_rows(out.data_ptr<float>(), x.rows(), outputs(), bias.const_data_ptr<float>());
    return out;
  }
  at::Tensor operator()(const at::Tensor& x) const {
    return (*this)(portable::Inputs(x.const_data_ptr<float>(), x.size(0), x.size(1)));
  }

 private:
  template <class PanelsOf>
  PortableLinear(const model::Linear& linear, PanelsOf panels_of) {
    linear.for_each_part([&](const quant::LoadedLinear& layer) { parts.push_back(panels_of(layer)); });
    if (linear.bias().defined()) bias = linear.bias().to(at::kFloat);
  }
};

struct PortableMlp {
  PortableLinear gate, up, down;

  /// silu(gate) * up, [rows, columns] float32
  at::Tensor activate(const portable::Inputs& x) const {
    at::Tensor out = gate(x);
    const at::Tensor by = up(x);
    const std::int64_t width = out.size(1);
    if (width == 0) return out;
    at::parallel_for(0, x.rows(), std::max<std::int64_t>(1, 16384 / width), [&](auto begin, auto end) {
      float* const a = out.data_ptr<float>() + begin * width;
      portable::loops().silu_mul(a, by.const_data_ptr<float>() + begin * width, a, (end - begin) * width);
    });
    return out;
  }
  std::size_t bytes() const { return gate.bytes() + up.bytes() + down.bytes(); }
};

struct PortableLayer {
  at::Tensor input_norm, post_norm, q_norm, k_norm;  // float32; the last two undefined without qk_norm
  PortableLinear qkv, o, router;
  std::vector<PortableMlp> mlps;  // of a dense layer one, else the shard's experts in its order

  /// `layer` as it was loaded on a CPU. A router is small, and the choice of experts hangs on its last bits: chains.
  PortableLayer(const model::Layer& layer, bool is_moe, portable::Arithmetic arithmetic, at::ScalarType dtype)
      : qkv(layer.qkv, arithmetic, dtype), o(layer.o, arithmetic, dtype) {
    const auto wide = [](const at::Tensor& t) { return t.defined() ? t.to(at::kFloat) : t; };
    input_norm = wide(layer.input_norm);
    post_norm = wide(layer.post_norm);
    q_norm = wide(layer.q_norm);
    k_norm = wide(layer.k_norm);
    const auto add = [&](const model::Mlp& mlp) {
      mlps.push_back({{mlp.gate, arithmetic, dtype}, {mlp.up, arithmetic, dtype}, {mlp.down, arithmetic, dtype}});
    };
    if (!is_moe) {
      add(layer.mlp);
      return;
    }
    router = PortableLinear::of_values(layer.router, dtype);
    for (const model::Mlp& expert : layer.experts) add(expert);
  }

  std::size_t bytes() const {
    std::size_t total = qkv.bytes() + o.bytes() + router.bytes();
    for (const at::Tensor* norm : {&input_norm, &post_norm, &q_norm, &k_norm})
      if (norm->defined()) total += norm->nbytes();
    for (const PortableMlp& mlp : mlps) total += mlp.bytes();
    return total;
  }
};

}  // namespace fpf::engine
