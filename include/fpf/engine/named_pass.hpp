// A forward pass that only says which kernel carries out which operation: what the manifest says of engines that are
// made of functions. (Decode steps and other launches name themselves.)
#pragma once

#include <cstddef>
#include <fpf/engine/pass.hpp>
#include <fpf/kernel/plan/step.hpp>
#include <fpf/model/stored_form.hpp>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace fpf::engine {

/// What carries out an engine's operations.
struct PassNames {
  std::string embedding, norm, head_norm_rope, attention, route, silu_mul, experts_sum, log_probs;
  /// The products of layers that are stored in that form: of experts, of the router, of all others.
  std::function<std::string(const model::StoredForm&)> experts, router, product;
};

template <class Weights>
class NamedPass {
 public:
  NamedPass(const Weights& weights, const PassNames& names, bool moe) : weights_(weights), by_(names), moe_(moe) {}

  /// Operation -> kernel, in the order of the pass.
  std::vector<std::pair<std::string, std::string>> table() {
    forward_pass(*this);
    add("log_probs", by_.log_probs);
    return names_.table();
  }

  struct Named {};

  const Weights& weights() const { return weights_; }
  void embed() { add("embedding", by_.embedding); }
  template <class Norm>
  Named norm(const Norm&) {
    return add("norm", by_.norm);
  }
  Named qkv(std::size_t i, Named) {
    layer_ = static_cast<int>(i);
    const model::StoredForm& form = weights_.forms.qkv[i];
    return add("qkv", by_.product(form) + (form.biased ? ", plus biases" : ""));
  }
  Named attend(std::size_t, Named) {
    add("head_norm_rope", by_.head_norm_rope);
    return add("attention", by_.attention);
  }
  Named project(std::size_t i, Named) {
    return add("attention_output", by_.product(weights_.forms.attention_output[i]));
  }
  Named feed_forward(std::size_t i, Named) {
    const model::StoredForms& forms = weights_.forms;
    if (!moe_) {
      add("mlp", by_.product(forms.mlp[i]));
      return add("silu_mul", by_.silu_mul);
    }
    add("router_logits", by_.router(forms.router[i]));
    add("route", by_.route);
    add("experts", by_.experts(forms.mlp[i]));
    add("silu_mul", by_.silu_mul);
    return add("experts_sum", by_.experts_sum);
  }
  template <class Norm>
  Named add_norm(Named, const Norm& weight) {
    return norm(weight);
  }
  void show(std::size_t) const {}
  Named head(Named) {
    layer_ = -1;
    return add("head", by_.product(weights_.forms.head));
  }

 private:
  Named add(const char* operation, const std::string& by) {
    if (by.empty()) throw std::logic_error(std::string("an engine does not name what carries out ") + operation);
    names_.add(operation, layer_, by);
    return {};
  }

  const Weights& weights_;
  const PassNames& by_;
  bool moe_;
  int layer_ = -1;
  kernel::OperationNames names_;
};

}  // namespace fpf::engine
