// model/account.hpp: what of a model's files nobody read. RoPE's frequencies are transformers' (fixtures/make_configs.py).
#include <boost/test/unit_test.hpp>
#include <deque>
#include <fpf/model/account.hpp>

#include "error_text.hpp"
#include "folders.hpp"
#include "gguf_file.hpp"
#include "tensor_file.hpp"

BOOST_AUTO_TEST_SUITE(test_account)

using namespace fpf;

namespace {

const fs::path fixtures = FPF_FIXTURES, parity = fixtures / "parity";

/// Takes the tensors that a decoder takes; `but` is the one that it finds in another form.
void load(const model::Checkpoint& checkpoint, const std::string& but = {}) {
  for (const auto& parameter : model::parameters_of(checkpoint.config()))
    if (parameter.spec.name != but) checkpoint.source().at(parameter.tensor());
}

/// A copy of a tiny model with more tensors, values in float32.
class Model {
 public:
  explicit Model(const std::string& name, const json& changes = json::object()) : source_(parity / name) {
    config_ = json::parse(text_of(parity / name / "config.json"));
    config_.update(changes);
    for (const auto& one : source_.names()) tensors_.push_back(*source_.find(one));
  }
  Model& add(const std::string& name, std::vector<float> values, std::vector<std::int64_t> shape = {}) {
    values_.push_back(std::move(values));
    const std::span<const float> kept = values_.back();
    if (shape.empty()) shape = {std::ssize(kept)};
    tensors_.push_back({.name = name,
                        .format = weights::Format::float32,
                        .shape = std::move(shape),
                        .data = std::as_bytes(kept),
                        .file = {}});
    return *this;
  }
  Model& add(const weights::StoredTensor& tensor) {
    tensors_.push_back(tensor);
    return *this;
  }
  const weights::StoredTensor& at(const std::string& name) const { return *source_.find(name); }

  model::Checkpoint open() const {
    fresh_folder("model");
    write("model/config.json", config_.dump());
    write_safetensors("model/model.safetensors", tensors_);
    return model::Checkpoint::open("model");
  }
  /// What its account complains about, or the names that it lists.
  std::string account(const std::string& but = {}) const {
    std::string listed;
    const auto text = error_text([&] {
      const model::Checkpoint checkpoint = open();
      load(checkpoint, but);
      listed = fmt::format("{}", fmt::join(model::account(checkpoint).tensors, " "));
    });
    return text == "no error" ? "listed: " + listed : text;
  }

 private:
  weights::SafetensorsDirectory source_;
  json config_;
  std::vector<weights::StoredTensor> tensors_;
  std::deque<std::vector<float>> values_;
};

void refused(const Model& model, std::initializer_list<std::string> words, const std::string& but = {}) {
  const auto text = model.account(but);
  BOOST_TEST(mentions(text, words), text);
  BOOST_TEST(mentions(text, {"model.safetensors", "read by no parameter"}), text);
}

std::vector<float> frequencies(const char* kind) {
  return json::parse(text_of(FPF_SOURCE "/tests/model/fixtures/configs.json"))["inv_freq"][kind]
      .get<std::vector<float>>();
}

}  // namespace

BOOST_AUTO_TEST_CASE(looking_takes_nothing) {
  const Model model("qwen3_untied");
  const auto checkpoint = model.open();
  for (const auto& name : checkpoint.source().names()) BOOST_TEST(checkpoint.source().contains(name));
  BOOST_TEST(std::ranges::count(checkpoint.source().taken(), true) == 0);
  const auto text = error_text([&] { model::account(checkpoint); });
  BOOST_TEST(mentions(text, {"lm_head.weight", fmt::format("{} more", checkpoint.source().size() - 1)}), text);
}

BOOST_AUTO_TEST_CASE(a_model_that_is_read_whole_leaves_nothing) {
  for (const auto& entry : fs::directory_iterator(parity)) {
    if (!entry.is_directory()) continue;
    const auto checkpoint = model::Checkpoint::open(entry.path().string());
    load(checkpoint);
    BOOST_TEST(model::account(checkpoint).empty(), entry.path().string());
  }
  const auto synthetic = model::Checkpoint::open("synthetic:qwen3-moe-tiny");
  load(synthetic);
  BOOST_TEST(model::account(synthetic).empty());
}

BOOST_AUTO_TEST_CASE(biases_must_be_zero) {
  const std::string bias = "model.layers.1.self_attn.q_proj.bias";
  refused(Model("qwen3_untied").add(bias, {0, 0, 1e-30f}), {bias, "bias, not zero"});
  BOOST_TEST(Model("qwen3_untied").add(bias, {0, 0, 0}).account() == "listed: " + bias);
  refused(Model("qwen3_untied").add("lm_head.bias", {1}), {"lm_head.bias"});
  refused(Model("qwen3_untied").add("model.norm.bias", {1}), {"model.norm.bias"});
}

// Of Qwen2 three are parameters; what else is called a bias must be zero, as GPTQ's tools write beside every layer.
BOOST_AUTO_TEST_CASE(biases_of_a_family_that_has_them_are_taken) {
  BOOST_TEST(Model("qwen2_untied").account() == "listed: ");
  const std::string other = "model.layers.1.self_attn.o_proj.bias";
  refused(Model("qwen2_untied").add(other, {0, 1}), {other, "bias, not zero"});
  BOOST_TEST(Model("qwen2_untied").add(other, {0, 0}).account() == "listed: " + other);
}

BOOST_AUTO_TEST_CASE(layers_that_nobody_runs) {
  const std::string name = "model.layers.5.input_layernorm.weight";
  refused(Model("qwen3_untied").add(name, {1}), {name, "5 layers (num_hidden_layers)", "layer 5"});
  refused(Model("qwen3_untied", {{"num_hidden_layers", 4}}), {"model.layers.4.", "4 layers", "10 more"});
  const Model trial("qwen3_untied", {{"num_hidden_layers", 1}, {"fpf_first_layers_of", 5}});
  BOOST_TEST(mentions(trial.account(), {"listed: model.layers.1."}), trial.account());
  refused(Model("qwen3_untied", {{"num_hidden_layers", 1}, {"fpf_first_layers_of", 5}}).add(name, {1}), {name});
}

BOOST_AUTO_TEST_CASE(a_layer_in_two_forms) {
  const std::string module = "model.layers.0.self_attn.q_proj";
  for (const char* form : {".qweight", ".qzeros", ".scales", ".g_idx", ".weight.absmax", ".weight.quant_map",
                           ".weight.nested_absmax", ".weight.quant_state.bitsandbytes__nf4"}) {
    const json quantised = {{"quantization_config", {{"quant_method", "gptq"}}}};
    const bool says = std::string(form) != ".weight.nested_absmax";  // without a configuration the others are refused
    refused(Model("qwen3_untied", says ? quantised : json::object()).add(module + form, {1}),
            {module + form, "stored dense and quantised", module + ".weight"});
  }
  refused(Model("qwen3_untied").add("model.layers.0.self_attn.k_scale", {1}), {"k_scale", "does not know"});
  refused(Model("qwen3_untied").add("model.layers.0.self_attn.q_proj.lora_A.weight", {1}), {"lora_A"});
  refused(Model("qwen3_moe_raw").add("model.layers.0.mlp.experts.6.up_proj.weight", {1}), {"experts.6", "6 experts"});
}

BOOST_AUTO_TEST_CASE(a_head_beside_a_tied_one) {
  const Model same("llama_tied");
  weights::StoredTensor head = same.at("model.embed_tokens.weight");
  head.name = "lm_head.weight";
  BOOST_TEST(Model("llama_tied").add(head).account() == "listed: lm_head.weight");
  std::vector<std::byte> bytes(head.data.begin(), head.data.end());
  bytes.back() ^= std::byte{1};
  head.data = bytes;
  refused(Model("llama_tied").add(head), {"lm_head.weight", "tie_word_embeddings"});
}

BOOST_AUTO_TEST_CASE(a_tied_head_of_another_type_is_compared_by_value) {
  const Model model("llama_tied");  // stored in float32, bfloat16 values
  const auto& embedding = model.at("model.embed_tokens.weight");
  std::vector<std::byte> half;
  for (std::size_t i = 0; i < embedding.data.size(); i += 4)
    half.insert(half.end(), &embedding.data[i + 2], &embedding.data[i] + 4);
  weights::StoredTensor head{.name = "lm_head.weight",
                             .format = weights::Format::bfloat16,
                             .shape = embedding.shape,
                             .data = half,
                             .file = {}};
  BOOST_TEST(Model("llama_tied").add(head).account() == "listed: lm_head.weight");
  half[1] ^= std::byte{1};
  refused(Model("llama_tied").add(head), {"lm_head.weight"});
}

BOOST_AUTO_TEST_CASE(frequencies_of_old_llama_files_must_be_those_of_rope_theta) {
  const json rope = {{"rope_parameters", {{"rope_theta", 5e5}}}};
  const std::string name = "model.layers.2.self_attn.rotary_emb.inv_freq";
  BOOST_TEST(Model("qwen3_untied", rope).add(name, frequencies("plain")).account() == "listed: " + name);
  refused(Model("qwen3_untied", rope).add(name, frequencies("llama3")), {name, "rope_theta 500000"});
  refused(Model("qwen3_untied").add(name, frequencies("plain")), {name, "rope_theta 1000000"});
  refused(Model("qwen3_untied", rope).add(name, {1, 0.19392276f}), {name});
}

BOOST_AUTO_TEST_CASE(other_models_tensors_are_listed_and_unknown_ones_of_this_one_refused) {
  Model model("qwen3_untied");
  model.add("visual.blocks.3.norm.weight", {1}).add("mtp.fc.weight", {1});
  BOOST_TEST(model.account() == "listed: mtp.fc.weight visual.blocks.3.norm.weight");
  for (const char* name : {"model.embed_positions.weight", "layers.0.mlp.up_proj.weight", "base_model.x.lora_A.weight"})
    refused(Model("qwen3_untied").add(name, {1}), {name, "does not know"});
  const auto described = model::describe({{"visual.blocks.3.norm.weight", "visual.blocks.14.norm.weight"}, {"k"}});
  BOOST_TEST(described.dump() == R"({"tensor_count":2,"tensors":["visual.blocks.*.norm.weight"],"keys":["k"]})");
}

BOOST_AUTO_TEST_CASE(processes_that_share_the_experts_are_judged_together) {
  const auto checkpoint = Model("qwen3_moe_raw").open();
  std::vector<bool> even(checkpoint.source().size()), odd(checkpoint.source().size());
  for (std::size_t i = 0; i < even.size(); ++i) (i % 2 == 0 ? even : odd)[i] = true;
  BOOST_TEST(error_text([&] { model::account(checkpoint, even); }) != "no error");
  for (std::size_t i = 0; i < even.size(); ++i) even[i] = even[i] || odd[i];
  BOOST_TEST(model::account(checkpoint, even).empty());
}

BOOST_AUTO_TEST_CASE(experts_that_transformers_5_stacks_are_the_same_tensors) {
  const auto per_expert = model::Checkpoint::open((parity / "qwen3_moe_raw").string());
  const auto& source = per_expert.source();
  std::vector<weights::StoredTensor> tensors;
  std::deque<std::string> stacks;
  for (const auto& name : source.names())
    if (name.find(".mlp.experts.") == std::string::npos) tensors.push_back(*source.find(name));
  const auto& c = per_expert.config();
  for (std::int64_t layer = 0; layer < c.num_layers; ++layer) {
    const auto prefix = fmt::format("model.layers.{}.mlp.experts.", layer);
    const auto add = [&](const std::string& name, std::vector<std::string> projections,
                         std::vector<std::int64_t> shape) {
      std::string& bytes = stacks.emplace_back();
      for (std::int64_t expert = 0; expert < c.num_experts; ++expert)
        for (const auto& projection : projections) {
          const auto& one = *source.find(fmt::format("{}{}.{}.weight", prefix, expert, projection));
          bytes.append(reinterpret_cast<const char*>(one.data.data()), one.data.size());
        }
      tensors.push_back({.name = prefix + name,
                         .format = source.find("model.norm.weight")->format,
                         .shape = std::move(shape),
                         .data = std::as_bytes(std::span(bytes)),
                         .file = {}});
    };
    add("gate_up_proj", {"gate_proj", "up_proj"}, {c.num_experts, 2 * c.moe_intermediate_size, c.hidden_size});
    add("down_proj", {"down_proj"}, {c.num_experts, c.hidden_size, c.moe_intermediate_size});
  }
  fresh_folder("stacked");
  json config = json::parse(text_of(parity / "qwen3_moe_raw" / "config.json"));
  config["num_local_experts"] = config["num_experts"];
  config.erase("num_experts");
  write("stacked/config.json", config.dump());
  write_safetensors("stacked/model.safetensors", tensors);
  const auto stacked = model::Checkpoint::open("stacked");
  BOOST_TEST((stacked.source().names() == source.names()));
  for (const auto& name : source.names()) {
    BOOST_TEST((stacked.source().at(name).shape == source.find(name)->shape), name);
    BOOST_TEST(std::ranges::equal(stacked.source().at(name).data, source.find(name)->data), name);
  }
  BOOST_TEST(model::account(stacked).empty());
}

BOOST_AUTO_TEST_CASE(what_a_gguf_file_holds_beside_the_model) {
  const weights::SafetensorsDirectory qwen3(parity / "qwen3_untied");
  const auto account = [&](auto change) {
    GgufContent content = gguf_of_qwen3(qwen3);
    change(content);
    content.write("model.gguf");
    std::string listed;
    const auto text = error_text([&] {
      const auto checkpoint = model::Checkpoint::open("model.gguf");
      load(checkpoint);
      listed = fmt::format("{}", fmt::join(model::account(checkpoint).tensors, " "));
    });
    return text == "no error" ? "listed: " + listed : text;
  };
  const auto refuses = [&](const std::string& name, std::vector<float> values,
                           std::initializer_list<std::string> words) {
    const auto text = account([&](GgufContent& c) { c.floats(name, values); });
    BOOST_TEST(mentions(text, {"'" + name + "'", "model.gguf"}), text);
    BOOST_TEST(mentions(text, words), text);
  };
  BOOST_TEST(account([](GgufContent&) {}) == "listed: ");
  refuses("rope_freqs.weight", {1, 1, 8}, {"RoPE"});
  BOOST_TEST(account([](GgufContent& c) { c.floats("rope_freqs.weight", {1, 1}); }) == "listed: rope_freqs.weight");
  refuses("rope_factors_long.weight", {2}, {"RoPE"});
  refuses("blk.0.attn_q.bias", {1}, {"bias"});
  BOOST_TEST(account([](GgufContent& c) { c.floats("blk.0.attn_q.bias", {0}); }) == "listed: blk.0.attn_q.bias");
  refuses("blk.5.attn_norm.weight", {1}, {"5 layers (block_count)"});
  refuses("blk.0.post_attention_norm.weight", {1}, {"does not know"});
  refuses("token_embd_norm.weight", {1}, {"does not know"});
  refuses("blk.0.attn_rot_embd.weight", {1}, {"frequencies"});
  BOOST_TEST(account([](GgufContent& c) { c.floats("v.blk.0.ln1.weight", {1}); }) == "listed: v.blk.0.ln1.weight");
  // A type that fpf does not read stops those who read it, and nobody else.
  BOOST_TEST(account([](GgufContent& c) {
               c.tensors["mm.0.weight"] = {{256}, 14, std::string(210, '\1')};
             }) == "listed: mm.0.weight");
  const auto text = account([](GgufContent& c) {
    c.tensors["output_norm.weight"] = {{256}, 14, std::string(210, '\1')};
  });
  BOOST_TEST(mentions(text, {"'output_norm.weight'", "Q6_K", "expected one that fpf reads"}), text);
}

BOOST_AUTO_TEST_SUITE_END()
