// Synthetic models: the tensors of a Hugging Face checkpoint of a given shape and format, made from a seed.
#pragma once

#include <charconv>
#include <fpf/core/mapped_file.hpp>
#include <fpf/weights/nf4_tables.hpp>
#include <fpf/model/synthetic_presets.hpp>
#include <fpf/weights/synthetic_tensor.hpp>
#include <nlohmann/json.hpp>
#include <unordered_map>

namespace fpf::weights {

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
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), into);
      if (error != std::errc() || end != value.data() + value.size())
        fail("'{}' in {}: expected a whole number, found '{}'", key, description, value);
    };
    if (key == "seed") return number(seed);
    if (key == "group_size") return number(group_size);
    if (key != "quant")
      fail("unknown option '{}' in {}: expected seed, quant or group_size", key, description);
    constexpr std::array<std::string_view, 4> names{"none", "awq", "gptq", "nf4"};
    const auto found = std::ranges::find(names, value);
    if (found == names.end())
      fail("unknown quant '{}' in {}: expected none, awq, gptq or nf4", value, description);
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
class SyntheticModel : public TensorSource {
 public:
  /// Throws Error for a description that is not understood, an unreadable or incomplete config.json, and
  /// group sizes that do not divide the layers.
  explicit SyntheticModel(const std::string& description)
      : name_(description), request_(SyntheticRequest::parse(description)) {
    load_config();
    add_model();
    describe_quantisation();
  }

  /// config.json of the model, with quantization_config where it is quantised.
  const nlohmann::json& config() const { return config_; }
  const SyntheticRequest& request() const { return request_; }

  const synthetic::Recipe* recipe(const StoredTensor& tensor) const override {
    return &recipes_.at(&at(tensor.name));
  }

  void read(const StoredTensor& tensor, std::size_t first_byte, std::span<std::byte> out) const override {
    require_range(tensor, first_byte, out.size());
    synthetic::generate(*recipe(tensor), tensor.format, first_byte, out);
  }

 private:
  using Recipe = synthetic::Recipe;
  using Quant = SyntheticRequest::Quant;
  using Shape = std::vector<std::int64_t>;

  void load_config() {
    std::string text(synthetic::preset(request_.model));
    if (text.empty() && std::filesystem::is_regular_file(request_.model))
      text = MappedFile(request_.model).text();
    if (text.empty())
      fail("{} names no model: expected qwen3-30b-a3b, qwen3-moe-tiny or the path of a config.json", name_);
    try {
      config_ = nlohmann::json::parse(text);
    } catch (const nlohmann::json::exception& error) {
      fail("{} is no valid JSON: {}", request_.model, error.what());
    }
    if (!config_.is_object()) fail("{} holds no JSON object", request_.model);
    if (const auto names = config_.find("architectures");
        names != config_.end() && names->is_array() && !names->empty())
      architecture_ = names->front().is_string() ? names->front().get<std::string>() : "";
    if (!is_moe() && architecture_ != "Qwen3ForCausalLM" && architecture_ != "LlamaForCausalLM")
      fail("{} has architecture '{}': expected Qwen3MoeForCausalLM, Qwen3ForCausalLM or LlamaForCausalLM",
           request_.model, architecture_);
    for (const char* key : {"quantization_config", "dtype"}) config_.erase(key);
    const bool half = request_.quant == Quant::awq || request_.quant == Quant::gptq;
    activations_ = half ? Format::float16 : Format::bfloat16;
    config_["torch_dtype"] = name_of(activations_);
  }

  bool is_moe() const { return architecture_ == "Qwen3MoeForCausalLM"; }

  std::int64_t dimension(const char* key) const {
    constexpr std::int64_t most = 1 << 24;
    const auto value =
        config_.contains(key) && config_[key].is_number_integer() ? config_[key].get<std::int64_t>() : 0;
    if (value < 1 || value > most)
      fail("'{}' in {}: expected a number from 1 to {}", key, request_.model, most);
    return value;
  }

  void add_made(std::string name, Format format, Shape shape, Recipe recipe) {
    recipe.key = synthetic::key_of(request_.seed, name);
    StoredTensor tensor{.name = name, .format = format, .shape = std::move(shape), .data = {}, .file = name_};
    if (recipe.kind == synthetic::Kind::fixed) tensor.data = *recipe.bytes;
    add(std::move(tensor));
    recipes_.emplace(find(name), std::move(recipe));
  }

  void add_norm(std::string name, std::int64_t length, double mean = 1.0) {
    add_made(std::move(name), activations_, {length}, Recipe::normal(mean, 0.05 * mean));
  }

  void add_dense(std::string name, std::int64_t out, std::int64_t in, double deviation) {
    add_made(std::move(name), activations_, {out, in}, Recipe::normal(0, deviation));
  }

  /// A linear layer whose weights have about the given standard deviation, in the requested format.
  void add_linear(const std::string& name, std::int64_t out, std::int64_t in, double deviation) {
    switch (request_.quant) {
      case Quant::none:
        return add_dense(name + ".weight", out, in, deviation);
      case Quant::awq:
        return add_awq(name, out, in, deviation);
      case Quant::gptq:
        return add_gptq(name, out, in, deviation);
      case Quant::nf4:
        return add_nf4(name, out, in, deviation);
    }
  }

  // Codes are uniform over 0 to 15 and zeros over 6 to 9: code - zero has mean 0 and variance 255/12 + 15/12
  // = 22.5. Scales spread by 12 % around their mean and stay positive.
  static constexpr double code_variance = 22.5;
  static constexpr synthetic::Hash zero_mask = 0x3333333333333333ull, lowest_zero = 0x6666666666666666ull;
  static Recipe scales(double deviation) {
    const double mean = deviation / std::sqrt(code_variance);
    return Recipe::normal(mean, 0.12 * mean);
  }

  void require_groups(const std::string& name, std::int64_t out, std::int64_t in) const {
    if (request_.group_size < 1 || in % request_.group_size != 0)
      fail("group_size {} does not divide the {} inputs of '{}' in {}", request_.group_size, in, name, name_);
    if (out % 8 != 0 || in % 8 != 0)
      fail("'{}' in {} has shape [{}, {}]: expected multiples of 8", name, name_, out, in);
  }

  void add_awq(const std::string& name, std::int64_t out, std::int64_t in, double deviation) {
    require_groups(name, out, in);
    const auto groups = in / request_.group_size;
    add_made(name + ".qweight", Format::int32, {in, out / 8}, Recipe::codes());
    add_made(name + ".qzeros", Format::int32, {groups, out / 8}, Recipe::codes(zero_mask, lowest_zero));
    add_made(name + ".scales", Format::float16, {groups, out}, scales(deviation));
  }

  void add_gptq(const std::string& name, std::int64_t out, std::int64_t in, double deviation) {
    require_groups(name, out, in);
    const auto groups = in / request_.group_size;
    constexpr auto one_less =
        lowest_zero - 0x1111111111111111ull;  // checkpoint_format "gptq" stores zero - 1
    add_made(name + ".qweight", Format::int32, {in / 8, out}, Recipe::codes());
    add_made(name + ".qzeros", Format::int32, {groups, out / 8}, Recipe::codes(zero_mask, one_less));
    add_made(name + ".scales", Format::float16, {groups, out}, scales(deviation));
    add_made(name + ".g_idx", Format::int32, {in}, Recipe::ramp(request_.group_size));
  }

  /// Nested NF4: block maxima are nested_offset + nested_absmax * dynamic_code[a], within about 25 % of the
  /// offset.
  void add_nf4(const std::string& name, std::int64_t out, std::int64_t in, double deviation) {
    constexpr double code_rms = 0.5172;  // of nf4_code, each value as likely as the others
    const auto offset = static_cast<float>(deviation / code_rms);
    const auto elements = out * in, blocks = (elements + 63) / 64;
    const nlohmann::json state = {{"quant_type", "nf4"},
                                  {"blocksize", 64},
                                  {"dtype", "bfloat16"},
                                  {"shape", {out, in}},
                                  {"nested_blocksize", 256},
                                  {"nested_dtype", "float32"},
                                  {"nested_offset", static_cast<double>(offset)}};
    const auto text = state.dump();
    const auto length = static_cast<std::int64_t>(text.size());
    const auto weight = name + ".weight";
    add_made(weight, Format::uint8, {(elements + 1) / 2, 1}, Recipe::codes());
    add_made(weight + ".absmax", Format::uint8, {blocks}, Recipe::codes());
    add_made(weight + ".quant_map", Format::float32, {16}, Recipe::fixed(std::as_bytes(std::span(nf4_code))));
    add_made(weight + ".nested_absmax", Format::float32, {(blocks + 255) / 256},
             Recipe::normal(0.25 * offset, 0.02 * offset));
    add_made(weight + ".nested_quant_map", Format::float32, {256},
             Recipe::fixed(std::as_bytes(std::span(dynamic_code))));
    add_made(weight + ".quant_state.bitsandbytes__nf4", Format::uint8, {length},
             Recipe::fixed(std::as_bytes(std::span(text))));
  }

  void add_model() {
    const auto hidden = dimension("hidden_size"), vocab = dimension("vocab_size"),
               layers = dimension("num_hidden_layers");
    if (layers > 4096) fail("'num_hidden_layers' in {} is {}: expected at most 4096", request_.model, layers);
    if (is_moe() && layers * dimension("num_experts") > 1 << 20)
      fail("{} has {} layers of {} experts: expected at most 2^20 experts", request_.model, layers,
           dimension("num_experts"));
    const bool tied = config_.contains("tie_word_embeddings") && config_["tie_word_embeddings"] == true;
    // Logits with a deviation of 2: some tokens stand out, none takes all.
    const double head = 2.0 / root(hidden);
    add_dense("model.embed_tokens.weight", vocab, hidden, tied ? head : 1.0);
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      const auto prefix = fmt::format("model.layers.{}.", layer);
      add_norm(prefix + "input_layernorm.weight", hidden);
      add_attention(prefix + "self_attn.", hidden);
      add_norm(prefix + "post_attention_layernorm.weight", hidden);
      add_mlp(prefix + "mlp.", hidden);
    }
    add_norm("model.norm.weight", hidden);
    if (!tied) add_dense("lm_head.weight", vocab, hidden, head);
  }

  static double root(std::int64_t n) { return std::sqrt(static_cast<double>(n)); }

  void add_attention(const std::string& prefix, std::int64_t hidden) {
    const auto heads = dimension("num_attention_heads"), kv_heads = dimension("num_key_value_heads");
    const auto head_dim = config_.contains("head_dim") && !config_["head_dim"].is_null()
                              ? dimension("head_dim")
                              : hidden / heads;
    const auto unit = 1.0 / root(hidden);
    add_linear(prefix + "q_proj", heads * head_dim, hidden, unit);
    add_linear(prefix + "k_proj", kv_heads * head_dim, hidden, unit);
    add_linear(prefix + "v_proj", kv_heads * head_dim, hidden, unit);
    add_linear(prefix + "o_proj", hidden, heads * head_dim, 1.0 / root(heads * head_dim));
    if (architecture_ != "LlamaForCausalLM") {
      add_norm(prefix + "q_norm.weight", head_dim, 1.5);
      add_norm(prefix + "k_norm.weight", head_dim, 1.5);
    }
  }

  void add_mlp(const std::string& prefix, std::int64_t hidden) {
    const bool moe = is_moe();
    const auto inner = dimension(moe ? "moe_intermediate_size" : "intermediate_size");
    const auto experts = moe ? dimension("num_experts") : 1;
    if (moe) add_dense(prefix + "gate.weight", experts, hidden, 1.0 / root(hidden));
    for (std::int64_t expert = 0; expert < experts; ++expert) {
      const auto name = moe ? fmt::format("{}experts.{}.", prefix, expert) : prefix;
      add_linear(name + "gate_proj", inner, hidden, 1.0 / root(hidden));
      add_linear(name + "up_proj", inner, hidden, 1.0 / root(hidden));
      add_linear(name + "down_proj", hidden, inner, (moe ? 2.0 : 1.0) / root(inner));
    }
  }

  void describe_quantisation() {
    auto kept = nlohmann::json::array({"lm_head"}), kept_whole = kept;
    if (is_moe()) kept.push_back("mlp.gate");
    for (std::int64_t layer = 0; is_moe() && layer < dimension("num_hidden_layers"); ++layer)
      kept_whole.push_back(fmt::format("model.layers.{}.mlp.gate", layer));  // as transformers 4 needs them
    switch (request_.quant) {
      case Quant::none:
        return;
      case Quant::awq:
        config_["quantization_config"] = {
            {"quant_method", "awq"}, {"bits", 4},          {"group_size", request_.group_size},
            {"version", "gemm"},     {"zero_point", true}, {"modules_to_not_convert", kept}};
        return;
      case Quant::gptq:
        config_["quantization_config"] = {{"quant_method", "gptq"},
                                          {"bits", 4},
                                          {"group_size", request_.group_size},
                                          {"desc_act", false},
                                          {"sym", false},
                                          {"checkpoint_format", "gptq"},
                                          {"modules_to_not_convert", kept}};
        if (is_moe())  // what GPTQModel reads
          config_["quantization_config"]["dynamic"] = {{R"(-:.*\.mlp.gate$)", nlohmann::json::object()}};
        return;
      case Quant::nf4:
        config_["quantization_config"] = {{"quant_method", "bitsandbytes"},
                                          {"load_in_4bit", true},
                                          {"load_in_8bit", false},
                                          {"bnb_4bit_quant_type", "nf4"},
                                          {"bnb_4bit_use_double_quant", true},
                                          {"bnb_4bit_compute_dtype", "bfloat16"},
                                          {"bnb_4bit_quant_storage", "uint8"},
                                          {"llm_int8_skip_modules", kept_whole}};
        return;
    }
  }

  std::string name_;
  SyntheticRequest request_;
  nlohmann::json config_;
  std::string architecture_;
  Format activations_ = Format::bfloat16;
  std::unordered_map<const StoredTensor*, Recipe> recipes_;
};

}  // namespace fpf::weights
