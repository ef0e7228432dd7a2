// A model's weights in another format: layer by layer, with or without calibration.
#pragma once

#include <ATen/ops/isfinite.h>
#include <ATen/ops/linear.h>

#include <algorithm>
#include <fpf/attention/flash.hpp>
#include <fpf/checkpoint/linear_format.hpp>
#include <fpf/checkpoint/observed_linears.hpp>
#include <fpf/core/interrupt.hpp>
#include <fpf/core/progress.hpp>
#include <fpf/engine/make_decoder.hpp>
#include <fpf/execution/eager.hpp>
#include <fpf/model/parameters.hpp>
#include <fpf/model/tokens.hpp>
#include <fpf/parallel/single.hpp>
#include <fpf/quant/schemes.hpp>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace fpf::checkpoint {

/// What becomes of a model's weights.
struct Requantisation {
  const LinearFormat& format;    // of the linear layers
  DType dtype = DType::float16;  // of everything else
  /// Texts as token ids, all of one length; without any, weights are rounded on their own.
  model::Windows calibration;
  Verbosity verbosity = Verbosity::normal;
};

namespace detail {

inline std::span<const std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()};
}

/// Quantises every linear layer once: when the calibration's forward pass asks for its product, with what it
/// is given there, and the pass goes on with the product of the quantised weights, so that later layers can
/// make up for what earlier ones lost; layers that the pass does not reach are rounded on their own.
class Requantiser : public LinearObserver {
 public:
  Requantiser(const model::Checkpoint& checkpoint, const Requantisation& how, weights::SafetensorsDirectoryWriter& out)
      : checkpoint_(checkpoint),
        how_(how),
        out_(out),
        parameters_(model::parameters_of(checkpoint.config(), checkpoint.interleaved_rope())),
        progress_("quantising layers",
                  std::ranges::count(parameters_, model::Parameter::Kind::linear, &model::Parameter::kind),
                  how.verbosity) {}

  void run() {
    const c10::InferenceMode guard;
    if (!how_.calibration.empty()) calibrate();
    for (const model::Parameter& parameter : parameters_) {
      if (parameter.kind != model::Parameter::Kind::linear)
        write_plain(parameter);
      else if (!done_.contains(parameter.spec.name))
        quantise(parameter.spec, {});
    }
  }

  at::Tensor product(const quant::LinearSpec& layer, const at::Tensor& x) override {
    if (!x.is_same(input_)) {  // q, k and v share their input, and so do gate and up
      input_ = x;
      statistics_ = InputStatistics::of(x);
    }
    return at::linear(x, quantise(layer, statistics_));
  }

 private:
  void calibrate() {
    std::vector<std::string> layers;
    for (const model::Parameter& parameter : parameters_)
      if (parameter.kind == model::Parameter::Kind::linear) layers.push_back(parameter.spec.name);
    const model::Checkpoint observed =
        checkpoint_.with_source(std::make_unique<ObservedSource>(checkpoint_.source(), layers, *this));
    const auto decoder = engine::make_decoder<Observed, attention::Flash, execution::Eager>(
        observed, parallel::Rank::alone(observed.config()), at::kFloat, at::kCPU);
    const at::Tensor tokens = model::batch_of(how_.calibration);
    const model::ModelConfig& config = checkpoint_.config();
    model::KvCache cache = model::KvCache::for_one_pass(config.num_layers, tokens.size(0), config.num_kv_heads,
                                                        tokens.size(1), config.head_dim, at::kFloat);
    decoder->forward(tokens, cache, 1, nullptr);
    input_.reset();
  }

  /// [out, in] float32, whatever the source stores.
  at::Tensor dense(const quant::LinearSpec& layer) const {
    const auto& quantisation = checkpoint_.config().quantization;
    const quant::Loader loader{checkpoint_.source(), quantisation, at::kFloat, at::kCPU};
    const at::Tensor matrix = model::Linear(loader, quant::scheme_of(quantisation), layer).dequantise(at::kFloat);
    if (!at::isfinite(matrix).all().item<bool>()) fail("the weights of '{}' are not all finite", layer.name);
    return matrix;
  }

  at::Tensor quantise(const quant::LinearSpec& layer, const InputStatistics& inputs) {
    check_interrupt();
    const EncodedLinear encoded = how_.format.encode(layer.name, dense(layer), inputs);
    for (const auto& [name, tensor] : encoded.tensors) out_.write(name, bytes_of(tensor.contiguous()));
    done_.insert(layer.name);
    progress_.advance();
    return encoded.values;
  }

  void write_plain(const model::Parameter& parameter) {
    const quant::Loader loader{checkpoint_.source(), checkpoint_.config().quantization, device::scalar_type(how_.dtype),
                               at::kCPU};
    const std::string name = parameter.tensor();
    const at::Tensor tensor =
        parameter.kind == model::Parameter::Kind::vector ? quant::load_vector(loader, name, parameter.spec.out_features)
        : parameter.kind == model::Parameter::Kind::bias ? quant::load_bias(loader, parameter.spec)
        : quant::packed_tensor(checkpoint_.source(), parameter.spec.name) != nullptr  // a quantised head or router
            ? dense(parameter.spec).to(loader.dtype)
            : quant::load_dense(loader, parameter.spec);
    if (!at::isfinite(tensor).all().item<bool>())
      fail("tensor '{}' is not finite in {}: expected weights that fit; is --dtype bfloat16 meant?", name,
           fpf::name_of(how_.dtype));
    out_.write(name, bytes_of(tensor));
  }

  const model::Checkpoint& checkpoint_;
  const Requantisation& how_;
  weights::SafetensorsDirectoryWriter& out_;
  std::vector<model::Parameter> parameters_;
  Progress progress_;
  std::set<std::string> done_;
  at::Tensor input_;
  InputStatistics statistics_;
};

}  // namespace detail

/// The tensors that the requantised model has. Throws Error naming the layer that its format cannot hold.
inline std::vector<weights::TensorSpec> requantised_tensors(const model::Checkpoint& checkpoint,
                                                            const LinearFormat& format, DType dtype) {
  std::vector<weights::TensorSpec> out;
  for (const model::Parameter& parameter : model::parameters_of(checkpoint.config())) {
    const quant::LinearSpec& spec = parameter.spec;
    if (parameter.kind == model::Parameter::Kind::linear)
      std::ranges::move(format.tensors(spec.name, spec.out_features, spec.in_features), std::back_inserter(out));
    else if (parameter.kind == model::Parameter::Kind::matrix)
      out.push_back({parameter.tensor(), dtype, {spec.out_features, spec.in_features}});
    else
      out.push_back({parameter.tensor(), dtype, {spec.out_features}});
  }
  return out;
}

/// Writes a model's weights in another format. `out` expects requantised_tensors(). A model that is quantised
/// already is dequantised first. Throws Error, by name, for tensors that are missing, misshapen or not
/// finite.
inline void requantise(const model::Checkpoint& checkpoint, const Requantisation& how,
                       weights::SafetensorsDirectoryWriter& out) {
  detail::Requantiser(checkpoint, how, out).run();
}

/// Reads every parameter once, as a decoder would. Throws Error, by name, for tensors that are missing, misshapen or
/// contradict themselves.
inline void read_parameters(const model::Checkpoint& checkpoint) {
  const model::ModelConfig& config = checkpoint.config();
  const quant::Loader loader{checkpoint.source(), config.quantization, device::scalar_type(config.dtype), at::kCPU};
  for (const model::Parameter& parameter : model::parameters_of(config, checkpoint.interleaved_rope())) {
    check_interrupt();
    if (parameter.kind == model::Parameter::Kind::vector)
      quant::load_vector(loader, parameter.tensor(), parameter.spec.out_features);
    else if (parameter.kind == model::Parameter::Kind::bias)
      quant::load_bias(loader, parameter.spec);
    else if (config.quantization.is_null())
      quant::load_dense(loader, parameter.spec);
    else
      model::Linear(loader, quant::scheme_of(config.quantization), parameter.spec);
  }
}

/// Writes the tensors that `out` expects as the source has them.
inline void copy_weights(const weights::TensorSource& source, const std::vector<weights::TensorSpec>& tensors,
                         weights::SafetensorsDirectoryWriter& out, Verbosity verbosity) {
  Progress progress("copying tensors", static_cast<std::int64_t>(tensors.size()), verbosity);
  std::vector<std::byte> scratch;
  for (const weights::TensorSpec& tensor : tensors) {
    check_interrupt();
    out.write(tensor.name, source.bytes_of(source.at(tensor.name), scratch));
    progress.advance();
  }
}

}  // namespace fpf::checkpoint
