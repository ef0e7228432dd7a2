// The formats in which fpf writes linear layers: how a matrix becomes a checkpoint's tensors.
#pragma once

#include <ATen/ops/from_blob.h>

#include <fpf/checkpoint/gptq_quantiser.hpp>
#include <fpf/checkpoint/nf4_quantiser.hpp>
#include <fpf/quant/awq_format.hpp>
#include <fpf/quant/dense.hpp>
#include <fpf/quant/gptq_format.hpp>
#include <fpf/weights/safetensors_writer.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace fpf::checkpoint {

/// A linear layer's tensors, by name, and the matrix they stand for.
struct EncodedLinear {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  at::Tensor values;  // [out, in] float32
};

/// A storage format of linear layers.
class LinearFormat {
 public:
  virtual ~LinearFormat() = default;

  /// The tensors of a layer of that shape. Throws Error, naming the layer, where the format cannot hold it.
  virtual std::vector<weights::TensorSpec> tensors(const std::string& name, std::int64_t out,
                                                   std::int64_t in) const = 0;
  /// w [out, in] float32. With statistics of the layer's inputs the rounding looks at its products.
  virtual EncodedLinear encode(const std::string& name, const at::Tensor& w, const InputStatistics& inputs) const = 0;
  /// config.json's quantization_config for a model whose modules `kept` stay as they are; null if there is
  /// none.
  virtual nlohmann::ordered_json config(const std::vector<std::string>& kept) const = 0;
};

namespace detail {

template <class T>
at::Tensor tensor_of(const std::vector<T>& values, const std::vector<std::int64_t>& shape, at::ScalarType type) {
  return at::from_blob(const_cast<T*>(values.data()), shape, at::TensorOptions(type)).clone();
}

inline std::span<const std::uint8_t> codes_of(const at::Tensor& tensor) {
  return {tensor.const_data_ptr<std::uint8_t>(), static_cast<std::size_t>(tensor.numel())};
}

inline void require_groups(const std::string& name, std::int64_t out, std::int64_t in, std::int64_t group) {
  if (group < 1 || in % group != 0)
    fail("--group-size {} does not divide the {} inputs of '{}': expected a divisor, or -1 for whole columns", group,
         in, name);
  if (out % 8 != 0 || in % 8 != 0)
    fail("'{}' has shape [{}, {}]: expected multiples of 8, which share a word", name, out, in);
}

}  // namespace detail

/// Not quantised: one matrix.
class DenseFormat : public LinearFormat {
 public:
  explicit DenseFormat(DType dtype) : dtype_(dtype) {}

  std::vector<weights::TensorSpec> tensors(const std::string& name, std::int64_t out, std::int64_t in) const override {
    return {{name + ".weight", dtype_, {out, in}}};
  }
  EncodedLinear encode(const std::string& name, const at::Tensor& w, const InputStatistics&) const override {
    const at::Tensor stored = w.to(device::scalar_type(dtype_));
    return {{{name + ".weight", stored}}, stored.to(at::kFloat)};
  }
  nlohmann::ordered_json config(const std::vector<std::string>&) const override { return nullptr; }

 private:
  DType dtype_;
};

/// AWQ's GEMM layout: asymmetric groups, rounded to nearest on ranges that were searched.
class AwqFormat : public LinearFormat {
 public:
  explicit AwqFormat(std::int64_t group_size) : group_size_(group_size) {}

  std::vector<weights::TensorSpec> tensors(const std::string& name, std::int64_t out, std::int64_t in) const override {
    const std::int64_t group = quant::group_length(group_size_, in);
    detail::require_groups(name, out, in, group);
    return quant::awq_tensors(name, out, in, group);
  }

  EncodedLinear encode(const std::string& name, const at::Tensor& w, const InputStatistics& inputs) const override {
    const std::int64_t out = w.size(0), in = w.size(1), group = quant::group_length(group_size_, in),
                       groups = in / group;
    const Int4Codes rounded = round_to_groups(w, group, Zeros::any, search_ranges(w, group, Zeros::any, inputs.gram));
    const auto pack = [&](const at::Tensor& codes) {
      return quant::awq_pack(detail::codes_of(codes.t().contiguous()), out);
    };
    return {{{name + ".qweight", detail::tensor_of(pack(rounded.codes), {in, out / 8}, at::kInt)},
             {name + ".qzeros", detail::tensor_of(pack(rounded.zeros), {groups, out / 8}, at::kInt)},
             {name + ".scales", rounded.scales.t().contiguous().to(at::kHalf)}},
            rounded.values()};
  }

  nlohmann::ordered_json config(const std::vector<std::string>& kept) const override {
    return quant::awq_config(group_size_, kept);
  }

 private:
  std::int64_t group_size_;
};

/// GPTQ, version 1.
class GptqFormat : public LinearFormat {
 public:
  GptqFormat(std::int64_t group_size, bool symmetric, bool by_activation)
      : group_size_(group_size), symmetric_(symmetric), by_activation_(by_activation) {}

  std::vector<weights::TensorSpec> tensors(const std::string& name, std::int64_t out, std::int64_t in) const override {
    const std::int64_t group = quant::group_length(group_size_, in);
    detail::require_groups(name, out, in, group);
    return quant::gptq_tensors(name, out, in, group);
  }

  EncodedLinear encode(const std::string& name, const at::Tensor& w, const InputStatistics& inputs) const override {
    const std::int64_t out = w.size(0), in = w.size(1), group = quant::group_length(group_size_, in),
                       groups = in / group;
    const Int4Codes rounded =
        gptq_quantise(w, group, symmetric_ ? Zeros::middle : Zeros::from_one, by_activation_, inputs);
    const auto words = quant::gptq_pack_codes(detail::codes_of(rounded.codes.t().contiguous()), out);
    const auto zeros = quant::gptq_pack_zeros(detail::codes_of(rounded.zeros.t().contiguous()), out, 1);
    return {{{name + ".qweight", detail::tensor_of(words, {in / 8, out}, at::kInt)},
             {name + ".qzeros", detail::tensor_of(zeros, {groups, out / 8}, at::kInt)},
             {name + ".scales", rounded.scales.t().contiguous().to(at::kHalf)},
             {name + ".g_idx", rounded.group_of}},
            rounded.values()};
  }

  nlohmann::ordered_json config(const std::vector<std::string>& kept) const override {
    return quant::gptq_config(group_size_, symmetric_, by_activation_, kept);
  }

 private:
  std::int64_t group_size_;
  bool symmetric_, by_activation_;
};

/// bitsandbytes' NF4, nested, for activations of type `compute`.
class Nf4Format : public LinearFormat {
 public:
  explicit Nf4Format(DType compute) : compute_(compute) {}

  std::vector<weights::TensorSpec> tensors(const std::string& name, std::int64_t out, std::int64_t in) const override {
    return quant::nf4_tensors(name, out, in, state_length(out, in));
  }

  EncodedLinear encode(const std::string& name, const at::Tensor& w, const InputStatistics& inputs) const override {
    const Nf4Codes quantised = nf4_quantise(w, inputs);
    const auto length = [](const auto& values) { return std::vector{static_cast<std::int64_t>(values.size())}; };
    const std::string weight = name + ".weight";
    const std::string state =
        fmt::format("{:<{}}", state_text(w.size(0), w.size(1), nlohmann::json(quantised.maxima.offset).dump()),
                    state_length(w.size(0), w.size(1)));
    const std::vector<char> state_bytes(state.begin(), state.end());
    const std::vector<float> map(weights::nf4_code.begin(), weights::nf4_code.end());
    const std::vector<float> nested_map(weights::dynamic_code.begin(), weights::dynamic_code.end());
    return {{{weight, detail::tensor_of(quantised.codes, {length(quantised.codes)[0], 1}, at::kByte)},
             {weight + ".absmax", detail::tensor_of(quantised.maxima.codes, length(quantised.maxima.codes), at::kByte)},
             {weight + ".quant_map", detail::tensor_of(map, length(map), at::kFloat)},
             {weight + ".nested_absmax",
              detail::tensor_of(quantised.maxima.absmax, length(quantised.maxima.absmax), at::kFloat)},
             {weight + ".nested_quant_map", detail::tensor_of(nested_map, length(nested_map), at::kFloat)},
             {name + std::string(quant::Nf4Tensors::state_suffix),
              detail::tensor_of(state_bytes, length(state_bytes), at::kByte)}},
            quantised.values};
  }

  nlohmann::ordered_json config(const std::vector<std::string>& kept) const override {
    return quant::nf4_config(compute_, kept);
  }

 private:
  std::string state_text(std::int64_t out, std::int64_t in, std::string_view offset) const {
    return fmt::format(R"({{"quant_type":"nf4","blocksize":64,"dtype":"{}","shape":[{},{}],)"
                       R"("nested_blocksize":256,"nested_dtype":"float32","nested_offset":{}}})",
                       fpf::name_of(compute_), out, in, offset);
  }
  /// Room for any offset: the text is filled up with spaces, so that its length is known before the layer is
  /// quantised.
  std::int64_t state_length(std::int64_t out, std::int64_t in) const {
    return static_cast<std::int64_t>(state_text(out, in, "-1.1754943508222875e-38").size());
  }

  DType compute_;
};

}  // namespace fpf::checkpoint
