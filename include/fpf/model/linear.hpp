// A linear layer as a checkpoint has it: under the model's quantisation, or left out of it.
#pragma once

#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>

#include <fpf/model/stored_form.hpp>
#include <fpf/quant/none.hpp>
#include <fpf/quant/scheme.hpp>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

namespace fpf::model {

/// One linear layer, or several of one input whose outputs follow one another (q, k and v). Which tensors are present
/// decides what a layer is: quantised checkpoints keep some as they were (modules_to_not_convert, the head, router
/// gates). A bias stands beside either and is a part of the product, as transformers' nn.Linear has it: libtorch's
/// addmm, which rounds the sum of products and bias once.
/// On a GPU the layers are one packed matrix; those that cannot be packed together, such as dense ones beside quantised
/// ones, are one dense matrix in the activations' dtype, each value rounded once.
class Linear {
 public:
  Linear() = default;

  /// Loads the layers, or the parts of them, that `specs` name. Throws Error for a layer that is stored twice, dense
  /// and quantised, and for layers that only a dense matrix could hold where the loader keeps values.
  Linear(const quant::Loader& loader, const quant::Scheme& scheme, const std::vector<quant::LinearSpec>& specs) {
    for (const auto& spec : specs) parts_.push_back(load(loader, scheme, spec));
    for (const Part& part : parts_) form_ += {!part.quantised, part.quantised};
    join_biases();
    if (loader.device.is_cuda()) pack(loader, scheme, specs.front().name);
  }
  Linear(const quant::Loader& loader, const quant::Scheme& scheme, const quant::LinearSpec& spec)
      : Linear(loader, scheme, std::vector{spec}) {}

  /// A layer that shares a dense matrix [out, in] with something else (a tied head).
  explicit Linear(at::Tensor matrix) : form_{.dense = 1} {
    if (matrix.is_cuda())
      packed_ = quant::pack({matrix});
    else
      parts_.push_back({false, std::make_unique<Dense>(quant::None::Weight{std::move(matrix), {}}), {}});
  }

  /// [..., in] -> [..., out]
  at::Tensor operator()(const at::Tensor& x) const {
    if (packed_) return at::linear(x, packed_->dense(x.scalar_type()), bias_);
    if (parts_.size() == 1) return parts_.front().linear(x);
    std::vector<at::Tensor> outputs;
    for (const Part& part : parts_) outputs.push_back(part.linear(x));
    return at::cat(outputs, -1);
  }

  std::size_t bytes() const {
    std::size_t total = bias_.defined() ? bias_.nbytes() : 0;
    if (packed_) return total + packed_->bytes.nbytes();
    for (const Part& part : parts_) total += part.weight->bytes();
    return total;
  }

  /// [out, in]: the values that the products stand for, without the bias.
  at::Tensor dequantise(at::ScalarType dtype) const {
    if (packed_) return packed_->dense(dtype);
    std::vector<at::Tensor> matrices;
    for (const Part& part : parts_) matrices.push_back(part.weight->dequantise(dtype));
    return matrices.size() == 1 ? matrices.front() : at::cat(matrices, 0);
  }

  /// Calls f(layer) for each of the layers; only on a CPU.
  template <class F>
  void for_each_part(F f) const {
    for (const Part& part : parts_) f(*part.weight);
  }

  /// [out] of all the layers, in the activations' dtype; undefined without.
  const at::Tensor& bias() const { return bias_; }
  /// Makes it float32, exactly, as the portable execution adds it.
  void widen_bias() {
    if (bias_.defined()) bias_ = bias_.to(at::kFloat);
  }

  /// The packed matrix; only on a GPU.
  const quant::PackedMatrix& packed() const { return packed_.value(); }
  /// The same with the bias, as kernels address them.
  kernel::Matrix matrix() const {
    kernel::Matrix out = packed().matrix();
    if (bias_.defined()) out.bias = bias_.const_data_ptr();
    return out;
  }
  /// Makes it dense; only on a GPU.
  void make_dense(at::ScalarType dtype) {
    if (packed().format == kernel::dense_format()) return;
    packed_ = quant::pack({packed().dense(dtype)});
    form_.made_dense = true;
  }

  const StoredForm& form() const { return form_; }

 private:
  using Dense = quant::Loaded<quant::None>;
  struct Part {
    bool quantised;
    std::unique_ptr<const quant::LoadedLinear> weight;
    at::Tensor bias;  // [out], undefined without

    at::Tensor linear(const at::Tensor& x) const { return weight->linear(x, bias); }
  };

  static Part load(const quant::Loader& loader, const quant::Scheme& scheme, const quant::LinearSpec& spec) {
    quant::require_one_form(loader.source, spec);
    at::Tensor bias = spec.bias ? quant::load_bias(loader, spec) : at::Tensor();
    if (!scheme.is_dense && scheme.stores(loader.source, spec.name))
      return {true, scheme.load(loader, spec), std::move(bias)};
    return {false, std::make_unique<Dense>(quant::None::load(loader, spec)), std::move(bias)};
  }

  /// The parts' biases one after another: all have one, or none.
  void join_biases() {
    std::vector<at::Tensor> biases;
    for (const Part& part : parts_)
      if (part.bias.defined()) biases.push_back(part.bias);
    if (biases.empty()) return;
    if (biases.size() != parts_.size()) throw std::logic_error("of layers that share an input some have a bias");
    bias_ = at::cat(biases);
    form_.biased = true;
  }

  /// The parts' tensors, on a GPU, as one matrix.
  void pack(const quant::Loader& loader, const quant::Scheme& scheme, const std::string& name) {
    const at::ScalarType dtype = loader.dtype;
    if (form_.quantised > 0 && !scheme.packs)
      fail("layer '{}' is stored as {}: that policy has no GPU form", name, scheme.name);
    std::vector<const quant::LoadedLinear*> layers;
    for (const Part& part : parts_) layers.push_back(part.weight.get());
    if (form_.dense == 0) packed_ = layers.front()->pack(layers, dtype);
    if (!packed_) {
      if (form_.quantised > 0 && loader.keeps_values)
        fail(
            "layer '{}' and those that share its input are quantised in part or differently, which --execution portable "
            "has no form for on a GPU: run it on the CPU (--device cpu)",
            name);
      std::vector<at::Tensor> dense;
      for (const Part& part : parts_)
        dense.push_back(part.quantised ? part.weight->pack({part.weight.get()}, dtype).value().dense(dtype)
                                       : part.weight->dequantise(dtype));
      packed_ = quant::pack(dense);
      form_.made_dense = form_.quantised > 0;
    }
    parts_.clear();
  }

  StoredForm form_;
  at::Tensor bias_;
  std::vector<Part> parts_;                    // on the CPU
  std::optional<quant::PackedMatrix> packed_;  // on a GPU
};

}  // namespace fpf::model
