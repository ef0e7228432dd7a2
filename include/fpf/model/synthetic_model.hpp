// Synthetic models: the tensors of a Hugging Face checkpoint of a given shape and format, made from a seed.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fpf/core/json.hpp>
#include <fpf/core/parse_number.hpp>
#include <fpf/model/parameters.hpp>
#include <fpf/model/synthetic_presets.hpp>
#include <fpf/quant/awq_format.hpp>
#include <fpf/quant/gptq_format.hpp>
#include <fpf/quant/nf4_format.hpp>
#include <fpf/weights/synthetic_tensor.hpp>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace fpf::model {

/// What a synthetic description asks for: `synthetic:<preset or
/// config.json>[?seed=1&quant=awq&group_size=128]`.
struct SyntheticRequest {
  enum class Quant : std::uint8_t { none, awq, gptq, nf4 };

  std::string model;  // preset or path
  std::uint64_t seed = 1;
  Quant quant = Quant::none;
  std::int64_t group_size = 128;  // of awq and gptq

  /// Throws Error naming the part that is not understood.
  static SyntheticRequest parse(std::string_view description) {
    constexpr std::string_view scheme = "synthetic:";
    if (!description.starts_with(scheme)) fail("'{}' does not begin with 'synthetic:'", description);
    const auto rest = description.substr(scheme.size());
    const auto question = std::min(rest.find('?'), rest.size());
    SyntheticRequest out;
    out.model = rest.substr(0, question);
    auto options = rest.substr(std::min(question + 1, rest.size()));
    while (!options.empty()) {
      const auto option = options.substr(0, options.find('&'));
      options = options.substr(std::min(option.size() + 1, options.size()));
      const auto equals = std::min(option.find('='), option.size());
      out.set(option.substr(0, equals), option.substr(std::min(equals + 1, option.size())), description);
    }
    return out;
  }

 private:
  void set(std::string_view key, std::string_view value, std::string_view description) {
    const auto number = [&](auto& into) {
      const auto parsed = parse_number<std::remove_reference_t<decltype(into)>>(value);
      if (!parsed) fail("'{}' in {}: expected a whole number, found '{}'", key, description, value);
      into = *parsed;
    };
    if (key == "seed") return number(seed);
    if (key == "group_size") return number(group_size);
    if (key != "quant") fail("unknown option '{}' in {}: expected seed, quant or group_size", key, description);
    constexpr std::array<std::string_view, 4> names{"none", "awq", "gptq", "nf4"};
    const auto found = std::ranges::find(names, value);
    if (found == names.end()) fail("unknown quant '{}' in {}: expected none, awq, gptq or nf4", value, description);
    quant = static_cast<Quant>(found - names.begin());
  }
};

/// A model made from a seed. Tensors have no resident data (but for code books): read() makes any part of
/// them on any number of threads, the same bytes everywhere, at more than 1 GB/s a core.
///
/// Scales: linear layers keep the variance of what they read, so that the residual stream, which begins with
/// unit variance, grows by a fraction of that in every layer and stays finite in float16; q_norm and k_norm
/// make attention prefer some positions; router rows are independent and of equal length, so that the choice
/// follows the token.
class SyntheticModel : public weights::TensorSource {
 public:
  /// Throws Error for a description that is not understood, an unreadable or incomplete config.json, and
  /// group sizes that do not divide the layers.
  explicit SyntheticModel(const std::string& description)
      : name_(description), request_(SyntheticRequest::parse(description)) {
    load_config();
    const ModelConfig config = dimensions();
    for (const Parameter& parameter : parameters_of(config)) add_parameter(parameter, config);
    describe_quantisation(config);
  }

  /// config.json of the model, with quantization_config where it is quantised.
  const nlohmann::json& config() const { return config_; }
  const SyntheticRequest& request() const { return request_; }

  const weights::synthetic::Recipe* recipe(const weights::StoredTensor& tensor) const override {
    return &recipes_.at(find(tensor.name));
  }

  void read(const weights::StoredTensor& tensor, std::size_t first_byte, std::span<std::byte> out) const override {
    require_range(tensor, first_byte, out.size());
    weights::synthetic::generate(*recipe(tensor), tensor.format, first_byte, out);
  }

 private:
  using Recipe = weights::synthetic::Recipe;
  using Quant = SyntheticRequest::Quant;

  void load_config() {
    std::string text(presets::named(request_.model));
    if (text.empty() && std::filesystem::is_regular_file(request_.model)) text = MappedFile(request_.model).text();
    if (text.empty()) fail("{} names no model: expected {} or the path of a config.json", name_, presets::names());
    config_ = parse_json(text, request_.model);
    if (!config_.is_object()) fail("{} holds no JSON object", request_.model);
    for (const char* key : {"quantization_config", "dtype"}) config_.erase(key);
    const bool half = request_.quant == Quant::awq || request_.quant == Quant::gptq;
    activations_ = half ? DType::float16 : DType::bfloat16;
    config_["torch_dtype"] = name_of(activations_);
  }

  /// What parameters_of() needs, from a config.json that may lack the rest.
  ModelConfig dimensions() const {
    const JsonObject in(config_, request_.model);
    const auto size = [&](const char* key) { return in.up_to(1 << 24, key); };
    ModelConfig out;
    if (const auto names = config_.find("architectures");
        names != config_.end() && names->is_array() && !names->empty() && names->front().is_string())
      out.architecture = names->front();
    const Architecture& architecture = architecture_of(out.architecture, request_.model);
    const bool moe = architecture.block.experts;
    out.hidden_size = size("hidden_size");
    out.vocab_size = size("vocab_size");
    out.num_layers = size("num_hidden_layers");
    if (out.num_layers > 4096)
      fail("'num_hidden_layers' in {} is {}: expected at most 4096", request_.model, out.num_layers);
    if (moe) out.num_experts = size(in.has("num_experts") ? "num_experts" : "num_local_experts");
    if (out.num_layers * out.num_experts > 1 << 20)
      fail("{} has {} layers of {} experts: expected at most 2^20 experts", request_.model, out.num_layers,
           out.num_experts);
    out.num_heads = size("num_attention_heads");
    out.num_kv_heads = size("num_key_value_heads");
    const std::int64_t by_default =
        architecture.default_head_dim != 0 ? architecture.default_head_dim : out.hidden_size / out.num_heads;
    out.head_dim = in.has("head_dim") ? size("head_dim") : by_default;
    (moe ? out.moe_intermediate_size : out.intermediate_size) =
        size(moe ? "moe_intermediate_size" : "intermediate_size");
    out.tied_head = config_.contains("tie_word_embeddings") && config_["tie_word_embeddings"] == true;
    out.block = architecture.block;
    return out;
  }

  void add_made(const weights::TensorSpec& spec, Recipe recipe) {
    recipe.key = weights::synthetic::key_of(request_.seed, spec.name);
    weights::StoredTensor tensor{
        .name = spec.name, .format = weights::format_of(spec.dtype), .shape = spec.shape, .data = {}, .file = name_};
    if (recipe.kind == weights::synthetic::Kind::fixed) tensor.data = *recipe.bytes;
    add(std::move(tensor));
    recipes_.emplace(find(spec.name), std::move(recipe));
  }

  void add_made(const std::vector<weights::TensorSpec>& specs, const std::vector<Recipe>& recipes) {
    for (std::size_t i = 0; i < specs.size(); ++i) add_made(specs[i], recipes[i]);
  }

  void add_parameter(const Parameter& parameter, const ModelConfig& config) {
    const auto& spec = parameter.spec;
    switch (parameter.kind) {
      case Parameter::Kind::linear:
        return add_linear(spec, deviation_of(spec, config));
      case Parameter::Kind::matrix:
        return add_dense(spec, deviation_of(spec, config));
      case Parameter::Kind::vector: {
        const bool of_heads = spec.name.ends_with("q_norm") || spec.name.ends_with("k_norm");
        const double mean = of_heads ? 1.5 : 1.0;
        return add_made({parameter.tensor(), activations_, {spec.out_features}}, Recipe::normal(mean, 0.05 * mean));
      }
      case Parameter::Kind::bias:  // half as large as what it is added to
        return add_made({parameter.tensor(), activations_, {spec.out_features}}, Recipe::normal(0.25, 0.5));
    }
  }

  /// The standard deviation of a matrix's values.
  static double deviation_of(const quant::LinearSpec& matrix, const ModelConfig& config) {
    const bool embedding = matrix.name == "model.embed_tokens";
    if (embedding && !config.tied_head) return 1.0;
    double gain = 1.0;
    // Logits with a deviation of 2: some tokens stand out, none takes all.
    if (embedding || matrix.name == "lm_head") gain = 2.0;
    if (config.is_moe() && matrix.name.ends_with("down_proj")) gain = 2.0;
    return gain / std::sqrt(static_cast<double>(matrix.in_features));
  }

  void add_dense(const quant::LinearSpec& matrix, double deviation) {
    add_made({matrix.name + ".weight", activations_, {matrix.out_features, matrix.in_features}},
             Recipe::normal(0, deviation));
  }

  /// A linear layer whose weights have about the given standard deviation, in the requested format.
  void add_linear(const quant::LinearSpec& layer, double deviation) {
    switch (request_.quant) {
      case Quant::none:
        return add_dense(layer, deviation);
      case Quant::awq:
        return add_awq(layer, deviation);
      case Quant::gptq:
        return add_gptq(layer, deviation);
      case Quant::nf4:
        return add_nf4(layer, deviation);
    }
  }

  // Codes are uniform over 0 to 15 and zeros over 6 to 9: code - zero has mean 0 and variance 255/12 + 15/12
  // = 22.5. Scales spread by 12 % around their mean and stay positive.
  static constexpr double code_variance = 22.5;
  static constexpr weights::synthetic::Hash zero_mask = 0x3333333333333333ull, lowest_zero = 0x6666666666666666ull;
  static Recipe scales(double deviation) {
    const double mean = deviation / std::sqrt(code_variance);
    return Recipe::normal(mean, 0.12 * mean);
  }

  void require_groups(const quant::LinearSpec& layer) const {
    if (request_.group_size < 1 || layer.in_features % request_.group_size != 0)
      fail("group_size {} does not divide the {} inputs of '{}' in {}", request_.group_size, layer.in_features,
           layer.name, name_);
    if (layer.out_features % 8 != 0 || layer.in_features % 8 != 0)
      fail("'{}' in {} has shape [{}, {}]: expected multiples of 8", layer.name, name_, layer.out_features,
           layer.in_features);
  }

  void add_awq(const quant::LinearSpec& layer, double deviation) {
    require_groups(layer);
    add_made(quant::awq_tensors(layer.name, layer.out_features, layer.in_features, request_.group_size),
             {Recipe::codes(), Recipe::codes(zero_mask, lowest_zero), scales(deviation)});
  }

  void add_gptq(const quant::LinearSpec& layer, double deviation) {
    require_groups(layer);
    constexpr auto one_less = lowest_zero - 0x1111111111111111ull;  // checkpoint_format "gptq" stores zero - 1
    add_made(
        quant::gptq_tensors(layer.name, layer.out_features, layer.in_features, request_.group_size),
        {Recipe::codes(), Recipe::codes(zero_mask, one_less), scales(deviation), Recipe::ramp(request_.group_size)});
  }

  /// Nested NF4: block maxima are nested_offset + nested_absmax * dynamic_code[a], within about 25 % of the
  /// offset.
  void add_nf4(const quant::LinearSpec& layer, double deviation) {
    constexpr double code_rms = 0.5172;  // of nf4_code, each value as likely as the others
    const auto offset = static_cast<float>(deviation / code_rms);
    const nlohmann::json state = {{"quant_type", "nf4"},
                                  {"blocksize", 64},
                                  {"dtype", "bfloat16"},
                                  {"shape", {layer.out_features, layer.in_features}},
                                  {"nested_blocksize", 256},
                                  {"nested_dtype", "float32"},
                                  {"nested_offset", static_cast<double>(offset)}};
    const auto text = state.dump();
    add_made(
        quant::nf4_tensors(layer.name, layer.out_features, layer.in_features, std::ssize(text)),
        {Recipe::codes(), Recipe::codes(), Recipe::fixed(std::as_bytes(std::span(weights::nf4_code))),
         Recipe::normal(0.25 * offset, 0.02 * offset), Recipe::fixed(std::as_bytes(std::span(weights::dynamic_code))),
         Recipe::fixed(std::as_bytes(std::span(text)))});
  }

  void describe_quantisation(const ModelConfig& config) {
    const auto kept = kept_modules(config, request_.quant == Quant::nf4);
    auto& described = config_["quantization_config"];
    switch (request_.quant) {
      case Quant::none:
        config_.erase("quantization_config");
        return;
      case Quant::awq:
        described = quant::awq_config(request_.group_size, kept);
        return;
      case Quant::gptq:
        described = quant::gptq_config(request_.group_size, /*symmetric=*/false, /*desc_act=*/false, kept);
        for (const char* key : {"pack_dtype", "lm_head"}) described.erase(key);  // younger than these models' digests
        return;
      case Quant::nf4:
        described = quant::nf4_config(DType::bfloat16, kept);
        return;
    }
  }

  std::string name_;
  SyntheticRequest request_;
  nlohmann::json config_;
  DType activations_ = DType::bfloat16;
  std::unordered_map<const weights::StoredTensor*, Recipe> recipes_;
};

}  // namespace fpf::model
