// The weights of a decoder, or of one rank's part of it: loaded here, whoever computes.
#pragma once

#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <concepts>
#include <fpf/model/checkpoint.hpp>
#include <fpf/model/linear.hpp>
#include <fpf/model/parameters.hpp>
#include <fpf/parallel/parallelism.hpp>
#include <fpf/quant/schemes.hpp>
#include <functional>
#include <span>

namespace fpf::model {

/// A rank's part of a layer: some of its outputs, or some of its inputs. Of a projection back to the residual stream it
/// is some of the inputs, but where no reduction is cut.
inline quant::LinearSpec outputs_of(quant::LinearSpec whole, Range own) {
  whole.out = own;
  return whole;
}
inline quant::LinearSpec inputs_of(quant::LinearSpec whole, Range own) {
  whole.in = own;
  return whole;
}

inline quant::LinearSpec back_part(const quant::LinearSpec& whole, const parallel::Shard& shard, Range inputs) {
  return shard.by_outputs ? outputs_of(whole, shard.hidden) : inputs_of(whole, inputs);
}

inline at::Tensor load_norm(const quant::Loader& loader, const NormParameter& norm) {
  return quant::load_vector(loader, norm.name + ".weight", norm.size);
}

/// Gate, up and down projection: a dense layer's MLP or one expert.
struct Mlp {
  Linear gate;  // [intermediate, hidden]
  Linear up;    // [intermediate, hidden]
  Linear down;  // [hidden, intermediate]

  Mlp() = default;
  /// `columns`: of the intermediate features.
  Mlp(const quant::Loader& loader, const quant::Scheme& scheme, const MlpParameters& parameters,
      const parallel::Shard& shard, Range columns)
      : gate(loader, scheme, outputs_of(parameters.gate, columns)),
        up(loader, scheme, outputs_of(parameters.up, columns)),
        down(loader, scheme, back_part(parameters.down, shard, columns)) {}

  std::size_t bytes() const { return gate.bytes() + up.bytes() + down.bytes(); }
  StoredForm form() const {
    StoredForm out = gate.form();
    out += up.form();
    return out += down.form();
  }
};

struct Layer {
  at::Tensor input_norm;     // [hidden]
  at::Tensor post_norm;      // [hidden]
  at::Tensor q_norm;         // [head_dim], undefined without qk_norm
  at::Tensor k_norm;         // [head_dim]
  Linear qkv;                // [(own heads + 2 own kv_heads) * head_dim, hidden]: q heads, k heads, v heads
  Linear o;                  // [hidden, own heads * head_dim], or [own hidden, all heads * head_dim]
  Mlp mlp;                   // dense models
  Linear router;             // [experts, hidden], MoE models
  StoredForm router_form;    // of the router in the checkpoint
  std::vector<Mlp> experts;  // of the shard, in its order
  // On a GPU:
  at::Tensor own_table;     // kernel::Expert of each of `experts`, or of the dense MLP
  at::Tensor expert_table;  // the same of all experts of the model, null where other ranks hold them
  at::Tensor
      own_place;  // [experts] int64: where an expert stands in own_table, or its length; only if some are others'

  Layer(const quant::Loader& loader, const quant::Scheme& scheme, const Checkpoint& checkpoint,
        const parallel::Shard& shard, std::int64_t index) {
    const ModelConfig& c = checkpoint.config();
    const LayerParameters p = layer_parameters(c, index, checkpoint.interleaved_rope());
    input_norm = load_norm(loader, p.input_norm);
    post_norm = load_norm(loader, p.post_norm);
    if (p.q_norm) q_norm = load_norm(loader, *p.q_norm);
    if (p.k_norm) k_norm = load_norm(loader, *p.k_norm);
    const auto features = [&](Range heads) { return Range{heads.begin * c.head_dim, heads.end * c.head_dim}; };
    const Range heads = features(shard.heads), kv = features(shard.kv_heads);
    qkv = {loader, scheme, {outputs_of(p.q, heads), outputs_of(p.k, kv), outputs_of(p.v, kv)}};
    o = {loader, scheme, back_part(p.o, shard, heads)};
    if (!p.router) {
      mlp = {loader, scheme, p.mlps.front(), shard, shard.mlp};
      unify({&mlp, 1}, loader, p.mlps.front().gate.name);
      if (loader.device.is_cuda()) expert_table = own_table = device_table({&mlp, 1}, loader.device);
      return;
    }
    load_router(loader, *p.router);
    for (const std::int64_t expert : shard.experts)
      experts.emplace_back(loader, scheme, p.mlps[static_cast<std::size_t>(expert)], shard, shard.expert_mlp);
    unify(experts, loader, p.mlps.front().gate.name);
    if (loader.device.is_cuda()) place_experts(shard.experts, c.num_experts, loader.device);
  }

  /// Of the MLP or of all experts.
  StoredForm mlp_form() const {
    StoredForm out = experts.empty() ? mlp.form() : StoredForm{};
    for (const auto& expert : experts) out += expert.form();
    return out;
  }

  std::size_t bytes() const {
    std::size_t total = qkv.bytes() + o.bytes();
    for (const at::Tensor* norm : {&input_norm, &post_norm, &q_norm, &k_norm})
      if (norm->defined()) total += norm->nbytes();
    if (experts.empty()) return total + mlp.bytes();
    for (const auto& expert : experts) total += expert.bytes();
    return total + router.bytes();
  }

 private:
  /// A router that the checkpoint quantises is dequantised once, to the activations' dtype, on every device and under
  /// every policy: its product is small, and the choice of experts hangs on its last bits.
  void load_router(const quant::Loader& loader, const quant::LinearSpec& spec) {
    const quant::Scheme& stored = quant::scheme_of(loader.quantization);
    if (!stored.is_dense && stored.stores(loader.source, spec.name)) {
      quant::require_one_form(loader.source, spec);
      const quant::Loader host{loader.source, loader.quantization, loader.dtype, at::kCPU};
      router = Linear(device::upload(stored.load(host, spec)->dequantise(loader.dtype), loader.device));
      router_form = {.dense = 0, .quantised = 1, .made_dense = true, .format = stored.name};
      return;
    }
    router = {loader, quant::scheme<quant::None>(), spec};
    router_form = router.form();
  }

  /// A GPU's kernels read the gates and ups of a layer's MLPs by one format, and their downs by one. Where a checkpoint
  /// has several, all of them become dense.
  static void unify(std::span<Mlp> mlps, const quant::Loader& loader, const std::string& first) {
    if (!loader.device.is_cuda()) return;
    const auto make_one = [&](const std::vector<Linear*>& projections) {
      const auto is_first = [&](const auto* p) { return p->packed().format == projections.front()->packed().format; };
      if (std::ranges::all_of(projections, is_first)) return;
      if (loader.keeps_values)
        fail(
            "the matrices of '{}' and its like are quantised in part or differently, which --execution portable has no form "
            "for on a GPU: run it on the CPU (--device cpu)",
            first);
      for (auto* projection : projections) projection->make_dense(loader.dtype);
    };
    std::vector<Linear*> ups, downs;
    for (Mlp& m : mlps) {
      ups.insert(ups.end(), {&m.gate, &m.up});
      downs.push_back(&m.down);
    }
    make_one(ups);
    make_one(downs);
  }

  void place_experts(const std::vector<std::int64_t>& held, std::int64_t all, at::Device device) {
    own_table = expert_table = device_table(experts, device);
    const auto own = static_cast<std::int64_t>(held.size());
    if (own == all) return;
    const at::Tensor ids = at::tensor(held).to(device);
    expert_table = at::zeros({all, 3}, own_table.options()).index_copy_(0, ids, own_table);
    own_place = at::full({all}, own, own_table.options()).index_copy_(0, ids, at::arange(own, own_table.options()));
  }

  /// [mlps, 3] addresses: what the kernels read as an array of kernel::Expert.
  static at::Tensor device_table(std::span<const Mlp> mlps, at::Device device) {
    static_assert(sizeof(kernel::Expert) == 3 * sizeof(std::int64_t));
    at::Tensor table = at::empty({static_cast<std::int64_t>(mlps.size()), 3}, at::kLong);
    auto* at = table.data_ptr<std::int64_t>();
    for (const Mlp& m : mlps)
      for (const Linear* projection : {&m.gate, &m.up, &m.down})
        *at++ = reinterpret_cast<std::int64_t>(projection->packed().matrix().data);
    return table.to(device);
  }
};

/// What a rank holds of a model. KeptLayer and KeptLinear are a layer and a head as the engine that computes reads
/// them: made of Layer and Linear one after another, so that no more than one layer is there twice.
template <class KeptLayer = Layer, class KeptLinear = Linear>
struct Weights {
  at::Tensor embedding;  // [vocabulary, hidden]
  std::vector<KeptLayer> layers;
  at::Tensor final_norm;  // [hidden]
  KeptLinear head;        // [own vocabulary, hidden]; shares the embedding's memory where the model is tied
  StoredForms forms;
  bool tied_head = false;

  /// Throws Error, by name, for tensors that are missing or misshapen. keep_layer(Layer) and keep_head(Linear) make
  /// what is kept.
  template <class KeepLayer = std::identity, class KeepHead = std::identity>
  Weights(const quant::Loader& loader, const quant::Scheme& scheme, const Checkpoint& checkpoint,
          const parallel::Shard& shard, KeepLayer keep_layer = {}, KeepHead keep_head = {})
      : tied_head(checkpoint.config().tied_head) {
    const ModelConfig& config = checkpoint.config();
    embedding = quant::load_dense(loader, embedding_parameter(config));
    for (std::int64_t index = 0; index < config.num_layers; ++index) {
      Layer layer(loader, scheme, checkpoint, shard, index);
      forms.add(layer);
      layers.push_back(keep_layer(std::move(layer)));
    }
    final_norm = load_norm(loader, final_norm_parameter(config));
    Linear whole = tied_head ? Linear(embedding.narrow(0, shard.vocabulary.begin, shard.vocabulary.size()))
                             : Linear(loader, scheme, outputs_of(head_parameter(config), shard.vocabulary));
    forms.head = whole.form();
    head = keep_head(std::move(whole));
  }

  std::size_t bytes() const {
    std::size_t total = embedding.nbytes() + final_norm.nbytes();
    for (const auto& layer : layers) total += layer.bytes();
    return total + (tied_head && shares_embedding ? 0 : head.bytes());
  }

  static constexpr bool shares_embedding = std::same_as<KeptLinear, Linear>;  // else a tied head is a copy
};

}  // namespace fpf::model
