// A linear layer as a checkpoint has it: under the model's quantisation, or left out of it.
#pragma once

#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>

#include <fpf/model/stored_form.hpp>
#include <fpf/quant/none.hpp>
#include <fpf/quant/scheme.hpp>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace fpf::model {

/// One linear layer, or several of one input whose outputs follow one another (q, k and v). Which tensors are present
/// decides what a layer is: quantised checkpoints keep some as they were (modules_to_not_convert, the head, router gates).
/// On a GPU the layers are one packed matrix; those that cannot be packed together, such as dense ones beside quantised
/// ones, are one dense matrix in the activations' dtype, each value rounded once.
class Linear {
 public:
  Linear() = default;

  /// Loads the layers, or the parts of them, that `specs` name. Throws Error for a layer that is stored twice, dense and
  /// quantised, and for layers that only a dense matrix could hold where the loader keeps values.
  Linear(const quant::Loader& loader, const quant::Scheme& scheme, const std::vector<quant::LinearSpec>& specs) {
    for (const auto& spec : specs) parts_.push_back(load(loader, scheme, spec));
    for (const Part& part : parts_) form_ += {!part.quantised, part.quantised};
    if (loader.device.is_cuda()) pack(loader, scheme, specs.front().name);
  }
  Linear(const quant::Loader& loader, const quant::Scheme& scheme, const quant::LinearSpec& spec)
      : Linear(loader, scheme, std::vector{spec}) {}

  /// A layer that shares a dense matrix [out, in] with something else (a tied head).
  explicit Linear(at::Tensor matrix) : form_{.dense = 1} {
    if (matrix.is_cuda())
      packed_ = quant::pack({matrix});
    else
      parts_.push_back({false, std::make_unique<Dense>(quant::None::Weight{std::move(matrix)})});
  }

  /// [..., in] -> [..., out]
  at::Tensor operator()(const at::Tensor& x) const {
    if (packed_) return at::linear(x, packed_->dense(x.scalar_type()));
    if (parts_.size() == 1) return parts_.front().weight->linear(x);
    std::vector<at::Tensor> outputs;
    for (const Part& part : parts_) outputs.push_back(part.weight->linear(x));
    return at::cat(outputs, -1);
  }

  std::size_t bytes() const {
    if (packed_) return packed_->bytes.nbytes();
    std::size_t total = 0;
    for (const Part& part : parts_) total += part.weight->bytes();
    return total;
  }

  /// [out, in]: the values that the products stand for.
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

  /// The packed matrix; only on a GPU.
  const quant::PackedMatrix& packed() const { return packed_.value(); }
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
  };

  static Part load(const quant::Loader& loader, const quant::Scheme& scheme, const quant::LinearSpec& spec) {
    quant::require_one_form(loader.source, spec);
    if (!scheme.is_dense && scheme.stores(loader.source, spec.name)) return {true, scheme.load(loader, spec)};
    return {false, std::make_unique<Dense>(quant::None::load(loader, spec))};
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
  std::vector<Part> parts_;                    // on the CPU
  std::optional<quant::PackedMatrix> packed_;  // on a GPU
};

}  // namespace fpf::model
