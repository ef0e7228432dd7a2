// The weights of one decoder layer, or of one rank's part of it.
#pragma once

#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <fpf/model/checkpoint.hpp>
#include <fpf/model/linear.hpp>
#include <fpf/parallel/parallelism.hpp>
#include <fpf/quant/schemes.hpp>
#include <span>

namespace fpf::model {

/// Gate, up and down projection: a dense layer's MLP or one expert.
struct Mlp {
  Linear gate;  // [intermediate, hidden]
  Linear up;    // [intermediate, hidden]
  Linear down;  // [hidden, intermediate]

  Mlp() = default;
  Mlp(const quant::Loader& loader, const quant::Scheme& scheme, const std::string& prefix, std::int64_t hidden,
      std::int64_t intermediate, Range columns)
      : gate(loader, scheme, quant::LinearSpec{prefix + "gate_proj", intermediate, hidden, columns, {0, hidden}}),
        up(loader, scheme, quant::LinearSpec{prefix + "up_proj", intermediate, hidden, columns, {0, hidden}}),
        down(loader, scheme, quant::LinearSpec{prefix + "down_proj", hidden, intermediate, {0, hidden}, columns}) {}

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
  Linear o;                  // [hidden, own heads * head_dim]
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
    const std::string prefix = fmt::format("model.layers.{}.", index);
    input_norm = quant::load_vector(loader, prefix + "input_layernorm.weight", c.hidden_size);
    post_norm = quant::load_vector(loader, prefix + "post_attention_layernorm.weight", c.hidden_size);
    const std::string attention = prefix + "self_attn.";
    if (c.qk_norm) {
      q_norm = quant::load_vector(loader, attention + "q_norm.weight", c.head_dim);
      k_norm = quant::load_vector(loader, attention + "k_norm.weight", c.head_dim);
    }
    const Range hidden{0, c.hidden_size};
    const Range heads{shard.heads.begin * c.head_dim, shard.heads.end * c.head_dim};
    const Range kv{shard.kv_heads.begin * c.head_dim, shard.kv_heads.end * c.head_dim};
    const bool interleaved = checkpoint.interleaved_rope();
    qkv = {loader,
           scheme,
           {{attention + "q_proj", c.q_size(), c.hidden_size, heads, hidden, interleaved ? c.num_heads : 0},
            {attention + "k_proj", c.kv_size(), c.hidden_size, kv, hidden, interleaved ? c.num_kv_heads : 0},
            {attention + "v_proj", c.kv_size(), c.hidden_size, kv, hidden}}};
    o = {loader, scheme, quant::LinearSpec{attention + "o_proj", c.hidden_size, c.q_size(), hidden, heads}};
    if (!c.is_moe()) {
      mlp = {loader, scheme, prefix + "mlp.", c.hidden_size, c.intermediate_size, shard.mlp};
      unify({&mlp, 1}, loader, prefix + "mlp");
      if (loader.device.is_cuda()) expert_table = own_table = device_table({&mlp, 1}, loader.device);
      return;
    }
    load_router(loader, quant::LinearSpec::whole(prefix + "mlp.gate", c.num_experts, c.hidden_size));
    for (const std::int64_t expert : shard.experts)
      experts.emplace_back(loader, scheme, fmt::format("{}mlp.experts.{}.", prefix, expert), c.hidden_size,
                           c.moe_intermediate_size, shard.expert_mlp);
    unify(experts, loader, prefix + "mlp.experts");
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
  /// A router that the checkpoint quantises is dequantised once, to the activations' dtype, on every device and under every
  /// policy: its product is small, and the choice of experts hangs on its last bits.
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

  /// A GPU's kernels read the gates and ups of a layer's MLPs by one format, and their downs by one. Where a checkpoint has
  /// several, all of them become dense.
  static void unify(std::span<Mlp> mlps, const quant::Loader& loader, const std::string& name) {
    if (!loader.device.is_cuda()) return;
    const auto make_one = [&](const std::vector<Linear*>& projections) {
      const auto is_first = [&](const auto* p) { return p->packed().format == projections.front()->packed().format; };
      if (std::ranges::all_of(projections, is_first)) return;
      if (loader.keeps_values)
        fail(
            "the matrices of '{}' are quantised in part or differently, which --execution portable has no form for on a "
            "GPU: run it on the CPU (--device cpu)",
            name);
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

}  // namespace fpf::model
