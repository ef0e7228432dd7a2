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
  /// `whole_inputs`: of the layer that this is a rank's share of.
  PortableLinear(const model::Linear& linear, std::int64_t whole_inputs) {
    linear.for_each_part([&](const quant::LoadedLinear& layer) {
      parts.push_back(quant::visit(layer, [](const auto& weight) { return portable::panels_of(weight); }));
    });
    for (portable::Panels& part : parts) part.segment = portable::segment_columns(whole_inputs);
    if (linear.bias().defined()) bias = linear.bias().to(at::kFloat);
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

  /// Rows of the input -> [rows, outputs] float32.
  at::Tensor operator()(const portable::RowPointers& x) const {
    at::Tensor out = at::empty({static_cast<std::int64_t>(x.size()), outputs()}, at::kFloat);
    float* to = out.data_ptr<float>();
    for (const auto& part : parts) {
      portable::product(x, part, to, outputs());
      to += part.n;
    }
    if (bias.defined())
      portable::add_to_rows(out.data_ptr<float>(), out.size(0), outputs(), bias.const_data_ptr<float>());
    return out;
  }
  at::Tensor operator()(const at::Tensor& x) const {
    return (*this)(portable::row_pointers(x.const_data_ptr<float>(), x.size(0), x.size(1)));
  }
};

struct PortableMlp {
  PortableLinear gate, up, down;

  /// Rows of the input -> [rows, hidden] float32.
  at::Tensor operator()(const portable::RowPointers& x) const {
    at::Tensor activated = gate(x);
    const at::Tensor by = up(x);
    const std::int64_t width = activated.size(1);
    at::parallel_for(0, activated.size(0), std::max<std::int64_t>(1, 16384 / width), [&](auto begin, auto end) {
      float* const a = activated.data_ptr<float>() + begin * width;
      portable::loops().silu_mul(a, by.const_data_ptr<float>() + begin * width, a, (end - begin) * width);
    });
    return down(activated);
  }
  std::size_t bytes() const { return gate.bytes() + up.bytes() + down.bytes(); }
};

struct PortableLayer {
  at::Tensor input_norm, post_norm, q_norm, k_norm;  // float32; the last two undefined without qk_norm
  PortableLinear qkv, o, router;
  std::vector<PortableMlp> mlps;  // of a dense layer one, else the shard's experts in its order

  /// `layer` as it was loaded on a CPU.
  PortableLayer(const model::Layer& layer, const model::ModelConfig& config)
      : qkv(layer.qkv, config.hidden_size), o(layer.o, config.q_size()) {
    const auto wide = [](const at::Tensor& t) { return t.defined() ? t.to(at::kFloat) : t; };
    input_norm = wide(layer.input_norm);
    post_norm = wide(layer.post_norm);
    q_norm = wide(layer.q_norm);
    k_norm = wide(layer.k_norm);
    const auto add = [&](const model::Mlp& mlp, std::int64_t intermediate) {
      mlps.push_back({{mlp.gate, config.hidden_size}, {mlp.up, config.hidden_size}, {mlp.down, intermediate}});
    };
    if (!config.is_moe()) {
      add(layer.mlp, config.intermediate_size);
      return;
    }
    router = {layer.router, config.hidden_size};
    for (const model::Mlp& expert : layer.experts) add(expert, config.moe_intermediate_size);
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
