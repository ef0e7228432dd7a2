// model/config_json.hpp against what transformers reads (fixtures/make_configs.py), and config_gguf.hpp against
// llama.cpp's keys; facts that stand at two places.
#include <boost/test/unit_test.hpp>
#include <fpf/model/checkpoint.hpp>
#include <fstream>
#include <ranges>

#include "error_text.hpp"
#include "folders.hpp"
#include "gguf_file.hpp"
#include "tensor_file.hpp"

BOOST_AUTO_TEST_SUITE(test_model_config)

using namespace fpf;

namespace {

const fs::path fixtures = FPF_FIXTURES, qwen3 = fixtures / "parity" / "qwen3_untied";

json oracle() { return json::parse(text_of(FPF_SOURCE "/tests/model/fixtures/configs.json")); }

json with(const json& changes = json::object(), const char* model = "qwen3_untied") {
  json out = json::parse(text_of(fixtures / "parity" / model / "config.json"));
  out.update(changes);
  return out;
}

void refused(const json& changes, std::initializer_list<std::string> words, const char* model = "qwen3_untied") {
  const auto text = error_text([&] { model::config_from_json(with(changes, model), "config.json"); });
  BOOST_TEST(mentions(text, words), changes.dump() << " gave: " << text);
  BOOST_TEST(mentions(text, {"config.json"}), text);
}

model::ModelConfig read(const json& changes, const char* model = "qwen3_untied") {
  return model::config_from_json(with(changes, model), "config.json");
}

GgufContent whole() { return gguf_of_qwen3(weights::SafetensorsDirectory(qwen3)); }

/// What opening it complains about.
std::string complaint(const GgufContent& content) {
  content.write("model.gguf");
  return error_text([] { model::Checkpoint::open("model.gguf"); });
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_config_says_what_transformers_reads_in_it) {
  for (const auto& one : oracle()["configs"]) {
    BOOST_TEST_CONTEXT(one["config"].dump()) {
      const auto config = model::config_from_json(one["config"], "config.json");
      const auto& expected = one["expected"];
      BOOST_TEST(config.head_dim == expected["head_dim"].get<std::int64_t>());
      BOOST_TEST(config.num_kv_heads == expected["num_kv_heads"].get<std::int64_t>());
      BOOST_TEST(config.rope_theta == expected["rope_theta"].get<double>());
      BOOST_TEST(config.tied_head == expected["tied_head"].get<bool>());
      BOOST_TEST(config.num_experts == expected["num_experts"].get<std::int64_t>());
      BOOST_TEST(config.norm_topk_prob == expected["norm_topk_prob"].get<bool>());
      BOOST_TEST(config.block.qkv_bias == expected["qkv_bias"].get<bool>());
      BOOST_TEST(model::names_dtype(one["config"]) == !expected["dtype"].is_null());
      if (!expected["dtype"].is_null()) BOOST_TEST(name_of(config.dtype) == expected["dtype"].get<std::string>());
      BOOST_TEST(config.unread_keys.empty());
    }
  }
}

BOOST_AUTO_TEST_CASE(two_keys_that_contradict_each_other_are_named_with_their_values) {
  refused({{"rope_theta", 10000.0}}, {"rope_theta is 10000.0", "rope_parameters.rope_theta is 1000000.0"});
  refused({{"rope_scaling", {{"rope_theta", 5e5}}}},
          {"rope_scaling.rope_theta is 500000.0", "rope_parameters.rope_theta"});
  refused({{"rope_scaling", {{"rope_type", "yarn"}}}},
          {"rope_parameters.rope_type", "rope_scaling.rope_type is \"yarn\""});
  refused({{"rope_scaling", {{"type", "linear"}, {"factor", 2}}}}, {"rope_scaling.type is \"linear\""});
  refused({{"rope_parameters", {{"rope_type", "default"}, {"type", "linear"}}}},
          {"rope_parameters.type is \"linear\""});
  refused({{"torch_dtype", "float16"}}, {"dtype is \"bfloat16\"", "torch_dtype is \"float16\""});
  refused({{"num_experts", 7}, {"num_local_experts", 8}}, {"num_experts is 7", "num_local_experts is 8"},
          "qwen3_moe_renormalised");
  refused({{"model_type", "llama"}}, {"Qwen3ForCausalLM", "model_type", "llama"});
  refused({{"layer_types", {"full_attention"}}}, {"layer_types", "1 layers", "num_hidden_layers is 5"});
  BOOST_TEST(read({{"rope_theta", 1000000}, {"torch_dtype", "bfloat16"}}).rope_theta == 1e6);
  BOOST_TEST(read({{"num_local_experts", 7}}, "qwen3_moe_renormalised").num_experts == 7);
}

BOOST_AUTO_TEST_CASE(keys_that_change_numbers_are_refused_unless_they_are_neutral) {
  for (const char* key : {"attention_bias", "mlp_bias", "use_sliding_window"}) {
    refused({{key, true}}, {key == std::string("use_sliding_window") ? "sliding window" : key});
    read({{key, false}});
    refused({{key, true}}, {key == std::string("use_sliding_window") ? "sliding window" : key}, "qwen2_tied");
    BOOST_TEST(read({{key, false}}, "qwen2_tied").block.qkv_bias);  // its classes have no such key
  }
  BOOST_TEST(!read(json::object()).block.qkv_bias);
  refused({{"hidden_act", "gelu"}}, {"hidden_act gelu"});
  refused({{"is_causal", false}}, {"is_causal"});
  refused({{"transformers_weights", "other.safetensors"}}, {"transformers_weights", "other.safetensors"});
  refused({{"partial_rotary_factor", 0.5}}, {"partial_rotary_factor"});
  read({{"partial_rotary_factor", 1.0}});
  refused({{"rope_parameters", {{"rope_theta", 1e6}, {"partial_rotary_factor", 0.5}}}}, {"partial_rotary_factor"});
  refused({{"rope_parameters", {{"full_attention", {{"rope_theta", 1e6}}}}}}, {"full_attention", "RoPE of its own"});
  refused({{"rope_parameters", {{"rope_theta", 1e6}, {"rope_type", "llama3"}}}},
          {"'llama3'", "rope_parameters.rope_type"});
  refused({{"layer_types", std::vector<std::string>(5, "sliding_attention")}}, {"sliding_attention"});
  read({{"layer_types", std::vector<std::string>(5, "full_attention")}, {"max_window_layers", 28}});
  refused({{"attention_chunk_size", 64}}, {"attention_chunk_size", "64"});
  refused({{"per_layer_config", {{"0", {{"head_dim", 8}}}}}}, {"per_layer_config"});
  refused({{"compression_config", {{"quant_method", "x"}}}}, {"compression_config"});
  refused({{"decoder_sparse_step", 2}}, {"decoder_sparse_step"}, "qwen3_moe_renormalised");
  refused({{"mlp_only_layers", {0}}}, {"mlp_only_layers"}, "qwen3_moe_renormalised");
  // Qwen's window has a switch, which is off; a cache of a Llama's goes by its window.
  read({{"sliding_window", 4096}});
  refused({{"sliding_window", 4096}}, {"sliding_window 4096"}, "llama_untied");
  read({{"sliding_window", nullptr}}, "llama_untied");
  json config = with();
  config.erase("num_key_value_heads");
  BOOST_TEST(mentions(error_text([&] { model::config_from_json(config, "config.json"); }), {"num_key_value_heads"}));
  config = with({{"hidden_size", 70}}, "llama_untied");
  BOOST_TEST(
      mentions(error_text([&] { model::config_from_json(config, "config.json"); }), {"head_dim", "70", "6 heads"}));
}

BOOST_AUTO_TEST_CASE(keys_without_effect_are_known_and_unknown_ones_are_listed) {
  const auto config = read({{"temperature", 0.7}, {"use_cache", true}, {"unsloth_version", "1"}, {"qkv_bias", false}});
  BOOST_TEST((config.unread_keys == std::vector<std::string>{"qkv_bias", "unsloth_version"}));
}

BOOST_AUTO_TEST_CASE(without_a_dtype_it_is_the_stored_one) {
  for (const auto& one : oracle()["dtypes"]) {
    BOOST_TEST_CONTEXT(one.dump()) {
      fresh_folder("dtypes");
      std::string header = "{";
      std::uint64_t end = 0;
      const std::map<std::string, std::pair<std::string, std::uint64_t>> stored{
          {"bfloat16", {"BF16", 16}},       {"float16", {"F16", 16}}, {"float32", {"F32", 32}},
          {"float64", {"F64", 64}},         {"int32", {"I32", 32}},   {"uint8", {"U8", 8}},
          {"float8_e4m3fn", {"F8_E4M3", 8}}};
      const std::map<std::string, std::string> tensors = one["tensors"];
      for (const auto& [name, dtype] : tensors | std::views::reverse) {  // the order of the data does not count
        const auto& [code, bytes] = stored.at(dtype);
        header += fmt::format(R"({}"{}":{{"dtype":"{}","shape":[8],"data_offsets":[{},{}]}})", end == 0 ? "" : ",",
                              name, code, end, end + bytes);
        end += bytes;
      }
      header += "}";
      write("dtypes/model.safetensors",
            GgufContent::of(std::uint64_t{header.size()}) + header + std::string(end, '\0'));
      const weights::SafetensorsDirectory source("dtypes");
      BOOST_TEST(source.dtype().value() == one["expected"].get<std::string>());
    }
  }
  fresh_folder("model");
  fs::copy_file(qwen3 / "model.safetensors", "model/model.safetensors");
  json config = with();
  config.erase("dtype");
  write("model/config.json", config.dump());
  BOOST_TEST(name_of(model::Checkpoint::open("model").config().dtype) == "bfloat16");
}

BOOST_AUTO_TEST_CASE(a_byte_order_mark_and_a_git_lfs_pointer) {
  fresh_folder("model");
  fs::copy_file(qwen3 / "model.safetensors", "model/model.safetensors");
  write("model/config.json", "\xef\xbb\xbf" + with().dump());
  BOOST_TEST(model::Checkpoint::open("model").config().num_layers == 5);
  const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n";
  const auto pointed = [&](const fs::path& file, const std::string& model) {
    const std::string before = fs::exists(file) ? text_of(file) : "";
    fs::remove(file);
    write(file, pointer);
    const auto text = error_text([&] { model::Checkpoint::open(model); });
    BOOST_TEST(mentions(text, {file.string(), "Git LFS pointer", "git lfs pull"}), text);
    write(file, before);
  };
  pointed("model/config.json", "model");
  pointed("model/model.safetensors", "model");
  pointed("pointer.gguf", "pointer.gguf");
  const fs::path index = "model/model.safetensors.index.json";
  fs::rename("model/model.safetensors", "model/one.safetensors");
  pointed(index, "model");
  json map;
  const weights::SafetensorsDirectory shard("model/one.safetensors");
  for (const auto& name : shard.names()) map[name] = "one.safetensors";
  write(index, "\xef\xbb\xbf" + json{{"weight_map", map}}.dump());
  BOOST_TEST(model::Checkpoint::open("model").source().size() == shard.size());
  pointed("model/one.safetensors", "model");
}

BOOST_AUTO_TEST_CASE(quantised_layers_and_the_config_speak_of_one_another) {
  fresh_folder("model");
  fs::copy_file(qwen3 / "model.safetensors", "model/model.safetensors");
  write("model/config.json", with({{"quantization_config", {{"quant_method", "gptq"}, {"bits", 4}}}}).dump());
  const auto opening = [] { return error_text([] { model::Checkpoint::open("model"); }); };
  BOOST_TEST(mentions(opening(), {"config.json", "quantization_config of gptq", "none of the"}), opening());
  const std::vector<std::byte> bytes(4);
  const std::vector<weights::StoredTensor> one{{.name = "model.layers.0.self_attn.q_proj.qweight",
                                                .format = weights::Format::int32,
                                                .shape = {1, 1},
                                                .data = bytes,
                                                .file = {}}};
  fs::remove("model/model.safetensors");
  write_safetensors("model/model.safetensors", one);
  write("model/config.json", with().dump());
  BOOST_TEST(mentions(opening(), {"no quantization_config", "q_proj.qweight", "model.safetensors"}), opening());
  write("model/adapter_config.json", "{}");
  BOOST_TEST(mentions(opening(), {"adapter_config.json"}), opening());
}

BOOST_AUTO_TEST_CASE(a_gguf_files_keys_that_change_numbers_are_refused_unless_they_are_neutral) {
  BOOST_TEST(complaint(whole()) == "no error");
  const auto refuses = [](auto change, std::initializer_list<std::string> words) {
    GgufContent content = whole();
    change(content);
    const auto text = complaint(content);
    BOOST_TEST(mentions(text, words), text);
    BOOST_TEST(mentions(text, {"model.gguf"}), text);
  };
  const auto accepts = [](auto change) {
    GgufContent content = whole();
    change(content);
    BOOST_TEST(complaint(content) == "no error");
  };
  const auto real = [](const char* key, float value) {
    return [=](GgufContent& c) { c.real(std::string("qwen3.") + key, value); };
  };
  const auto number = [](const char* key, std::uint32_t value) {
    return [=](GgufContent& c) { c.number(std::string("qwen3.") + key, value); };
  };
  for (const char* key : {"attention.clamp_kqv", "attention.max_alibi_bias", "attn_logit_softcapping",
                          "final_logit_softcapping", "router_logit_softcapping"}) {
    refuses(real(key, 1), {std::string("qwen3.") + key, "is 1"});
    accepts(real(key, 0));
  }
  for (const char* key : {"logit_scale", "embedding_scale", "residual_scale", "expert_weights_scale",
                          "rope.scaling.factor", "rope.scaling.attn_factor", "rope.scale_linear"}) {
    refuses(real(key, 2), {std::string("qwen3.") + key, "is 2"});
    accepts(real(key, 1));
  }
  for (const char* key : {"leading_dense_block_count", "expert_count", "expert_shared_count", "nextn_predict_layers",
                          "attention.shared_kv_layers"}) {
    refuses(number(key, 1), {std::string("qwen3.") + key, "is 1"});
    accepts(number(key, 0));
  }
  refuses(number("rope.dimension_count", 8), {"qwen3.rope.dimension_count", "is 8", "16"});
  accepts(number("rope.dimension_count", 16));
  refuses(number("attention.value_length", 8), {"qwen3.attention.value_length", "16"});
  refuses(number("vocab_size", 300), {"qwen3.vocab_size", "300", "203"});
  accepts(number("vocab_size", 203));
  refuses(number("attention.sliding_window", 32), {"sliding_window", "window"});
  accepts(number("attention.sliding_window", 128));
  refuses(real("attention.scale", 0.5f), {"attention.scale", "0.5"});
  accepts(real("attention.scale", 0.25f));
  refuses(number("expert_gating_func", 2), {"expert_gating_func"});
  refuses([](GgufContent& c) { c.truth("qwen3.attention.causal", false); }, {"attention.causal"});
  accepts([](GgufContent& c) { c.truth("qwen3.attention.causal", true); });
  for (const char* type : {"yarn", "longrope", "dynamic"})
    refuses([&](GgufContent& c) { c.text("qwen3.rope.scaling.type", type); }, {type, "qwen3.rope.scaling.type"});
  accepts([&](GgufContent& c) {
    c.text("qwen3.rope.scaling.type", "none");
    c.real("qwen3.rope.scaling.factor", 4);
  });
  refuses(
      [](GgufContent& c) {
        c.numbers("qwen3.attention.head_count_kv", {2, 2, 1, 2, 2});
      },
      {"head_count_kv", "2, 2, 1"});
  accepts([](GgufContent& c) { c.numbers("qwen3.attention.head_count_kv", {2, 2, 2, 2, 2}); });
  refuses(number("altup.num_inputs", 4), {"'qwen3.altup.num_inputs'", "does not know"});
  accepts([](GgufContent& c) { c.number("other.altup.num_inputs", 4); });
  accepts(number("pooling_type", 1));
}

BOOST_AUTO_TEST_SUITE_END()
