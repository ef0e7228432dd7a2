// A linear layer as a checkpoint has it: under the model's quantisation, or left out of it.
#pragma once

#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>

#include <fpf/model/stored_form.hpp>
#include <fpf/quant/none.hpp>
#include <fpf/quant/packed_matrix.hpp>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace fpf::model {

/// One linear layer, or several of one input whose outputs follow one another (q, k and v). Which tensors are present
/// decides what a layer is: quantised checkpoints keep some as they were (modules_to_not_convert, the head, router gates).
/// On a GPU the layers are one packed matrix; those that cannot be packed together, such as dense ones beside quantised
/// ones, are one dense matrix in the activations' dtype, each value rounded once.
template <quant::QuantScheme Quant>
class Linear {
 public:
  Linear() = default;

  /// Loads the layers, or the parts of them, that `specs` name. Throws Error for a layer that is stored twice, dense and
  /// quantised, and for layers that only a dense matrix could hold where the loader keeps values.
  Linear(const quant::Loader& loader, const std::vector<quant::LinearSpec>& specs) {
    for (const auto& spec : specs) parts_.push_back(load(loader, spec));
    for (const Part& part : parts_) form_ += {part.index() == 0u, part.index() != 0u};
    if (loader.device.is_cuda()) pack(loader, specs.front().name);
  }
  Linear(const quant::Loader& loader, const quant::LinearSpec& spec) : Linear(loader, std::vector{spec}) {}

  /// A layer that shares a dense matrix [out, in] with something else (a tied head).
  explicit Linear(at::Tensor matrix) : form_{.dense = 1} {
    if (matrix.is_cuda())
      packed_ = quant::pack({matrix});
    else
      parts_.push_back(Part(std::in_place_index<0>, Dense{std::move(matrix)}));
  }

  /// [..., in] -> [..., out]
  at::Tensor operator()(const at::Tensor& x) const {
    if (packed_) return at::linear(x, packed_->dense(x.scalar_type()));
    const auto product = [&]<class Q>(const typename Q::Weight& weight) { return Q::linear(x, weight); };
    if (parts_.size() == 1) return visit(parts_.front(), product);
    std::vector<at::Tensor> outputs;
    for (const Part& part : parts_) outputs.push_back(visit(part, product));
    return at::cat(outputs, -1);
  }

  std::size_t bytes() const {
    if (packed_) return packed_->bytes.nbytes();
    std::size_t total = 0;
    for (const Part& part : parts_)
      total += visit(part, []<class Q>(const typename Q::Weight& w) { return static_cast<std::size_t>(Q::bytes(w)); });
    return total;
  }

  /// [out, in]: the values that the products stand for.
  at::Tensor dequantise(at::ScalarType dtype) const {
    if (packed_) return packed_->dense(dtype);
    std::vector<at::Tensor> matrices;
    for (const Part& part : parts_)
      matrices.push_back(visit(part, [&]<class Q>(const typename Q::Weight& w) { return Q::dequantise(w, dtype); }));
    return matrices.size() == 1 ? matrices.front() : at::cat(matrices, 0);
  }

  /// Calls f(weight) for each of the layers, with its policy's or quant::None's Weight; only on a CPU.
  template <class F>
  void for_each_part(F f) const {
    for (const Part& part : parts_) visit(part, [&]<class Q>(const typename Q::Weight& weight) { f(weight); });
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
  using Dense = quant::None::Weight;
  using Quantised = std::conditional_t<std::is_same_v<Quant, quant::None>, std::monostate, typename Quant::Weight>;
  using Part = std::variant<Dense, Quantised>;

  static Part load(const quant::Loader& loader, const quant::LinearSpec& spec) {
    quant::require_one_form(loader.source, spec);
    if constexpr (!std::is_same_v<Quant, quant::None>)
      if (quant::stores<Quant>(loader.source, spec.name))
        return Part(std::in_place_index<1>, Quant::load(loader, spec));
    return Part(std::in_place_index<0>, quant::None::load(loader, spec));
  }

  /// The parts' tensors, on a GPU, as one matrix.
  void pack(const quant::Loader& loader, const std::string& name) {
    const at::ScalarType dtype = loader.dtype;
    std::vector<at::Tensor> dense;
    if (form_.quantised == 0) {
      for (const Part& part : parts_) dense.push_back(std::get<0>(part).matrix);
      packed_ = quant::pack(dense);
    } else if constexpr (requires(const std::vector<const typename Quant::Weight*>& w) { Quant::pack(w, dtype); }) {
      std::vector<const typename Quant::Weight*> weights;
      for (const Part& part : parts_)
        if (part.index() == 1) weights.push_back(&std::get<1>(part));
      if (form_.dense == 0 && Quant::can_stack(weights)) {
        packed_ = Quant::pack(weights, dtype);
      } else {
        if (loader.keeps_values)
          fail(
              "layer '{}' and those that share its input are quantised in part or differently, which --execution portable "
              "has no form for on a GPU: run it on the CPU (--device cpu)",
              name);
        for (const Part& part : parts_)
          dense.push_back(part.index() == 0 ? std::get<0>(part).matrix
                                            : Quant::pack({&std::get<1>(part)}, dtype).dense(dtype));
        packed_ = quant::pack(dense);
        form_.made_dense = true;
      }
    } else {
      fail("layer '{}' is stored as {}: that policy has no GPU form", name, Quant::name);
    }
    parts_.clear();
  }

  template <class F>
  static auto visit(const Part& part, F f) {
    if constexpr (!std::is_same_v<Quant, quant::None>)
      if (const auto* quantised = std::get_if<1>(&part)) return f.template operator()<Quant>(*quantised);
    return f.template operator()<quant::None>(std::get<0>(part));
  }

  StoredForm form_;
  std::vector<Part> parts_;                    // on the CPU
  std::optional<quant::PackedMatrix> packed_;  // on a GPU
};

}  // namespace fpf::model
