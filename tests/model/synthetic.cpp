// model/synthetic_model.hpp and weights/synthetic_tensor.hpp: the bytes against an independent implementation
// of their definition in numpy (fixtures/make_weights.py), however they are cut; statistics; descriptions
// that are not understood.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <fpf/core/hash.hpp>
#include <fpf/model/synthetic_model.hpp>
#include <fpf/weights/gguf_blocks.hpp>
#include <fstream>
#include <thread>

#include "error_text.hpp"

BOOST_AUTO_TEST_SUITE(test_synthetic)

using namespace fpf;
using namespace fpf::weights;
using model::SyntheticModel;

namespace {

SyntheticModel tiny(const std::string& options) { return SyntheticModel("synthetic:qwen3-moe-tiny?" + options); }

std::vector<std::byte> bytes_of(const SyntheticModel& model, const std::string& name) {
  std::vector<std::byte> out;
  model.bytes_of(model.at(name), out);
  return out;
}

std::vector<float> values_of(const SyntheticModel& model, const std::string& name) {
  const auto bytes = bytes_of(model, name);
  std::vector<float> out(static_cast<std::size_t>(model.at(name).elements()));
  dequantise(model.at(name).format, bytes, out);
  return out;
}

struct Moments {
  double mean = 0, deviation = 0, largest = 0;
};
Moments moments(std::span<const float> values) {
  Moments m;
  const auto n = static_cast<double>(values.size());
  for (const double v : values) m.mean += v / n;
  for (const double v : values) m.deviation += (v - m.mean) * (v - m.mean) / n;
  m.deviation = std::sqrt(m.deviation);
  for (const double v : values) m.largest = std::max(m.largest, std::abs(v));
  return m;
}

}  // namespace

BOOST_AUTO_TEST_CASE(makes_the_bytes_of_the_definition) {
  const auto expected = nlohmann::json::parse(std::ifstream(FPF_FIXTURES "/weights/synthetic.json"));
  for (const auto& [quant, tensors] : expected["sha256"].items()) {
    const SyntheticModel model = tiny("seed=7&quant=" + quant);
    for (const auto& [name, sha] : tensors.items())
      BOOST_TEST(sha256_hex(bytes_of(model, name)) == sha.get<std::string>(), quant + ": " + name);
  }
}

BOOST_AUTO_TEST_CASE(any_part_on_any_thread_is_the_same) {
  const std::string down = "model.layers.0.mlp.experts.3.down_proj";
  for (const std::string& name : {down + ".qweight", down + ".qzeros", down + ".scales", down + ".g_idx",
                                  std::string("model.layers.0.mlp.gate.weight")}) {
    const SyntheticModel model = tiny("seed=3&quant=gptq");
    const auto& tensor = model.at(name);
    const auto whole = bytes_of(model, name);
    for (const std::size_t piece : {1u, 3u, 7u, 64u, 1000u}) {
      std::vector<std::byte> parts(whole.size());
      std::vector<std::jthread> threads;
      for (std::size_t t = 0; t < 3; ++t)
        threads.emplace_back([&, t] {
          for (std::size_t at = t * piece; at < parts.size(); at += 3 * piece)
            model.read(tensor, at, std::span(parts).subspan(at, std::min(piece, parts.size() - at)));
        });
      threads.clear();
      BOOST_TEST(parts == whole, name << " in pieces of " << piece);
    }
  }
}

BOOST_AUTO_TEST_CASE(rounds_as_the_definition_of_half_precision_does) {
  using namespace synthetic::detail;
  for (std::uint64_t wide = 0; wide < 0x100000000ull; wide += 4099) {  // every exponent, 2^20 values
    const float value = std::bit_cast<float>(static_cast<std::uint32_t>(wide));
    if (std::abs(value) < 65520.0f) BOOST_REQUIRE_EQUAL(finite_float16(value), float16_from_float32(value));
    if (std::abs(value) < 3e38f) BOOST_REQUIRE_EQUAL(finite_bfloat16(value), bfloat16_from_float32(value));
  }
}

BOOST_AUTO_TEST_CASE(seeds_and_names_make_different_weights) {
  const auto one = tiny("seed=1&quant=none"), two = tiny("seed=2&quant=none");
  const std::string q = "model.layers.0.self_attn.q_proj.weight", next = "model.layers.1.self_attn.q_proj.weight";
  const auto a = values_of(one, q);
  for (const auto& b : {values_of(two, q), values_of(one, next)}) {
    double product = 0;
    for (std::size_t i = 0; i < a.size(); ++i) product += static_cast<double>(a[i]) * b[i];
    const double correlation = product / static_cast<double>(a.size()) / (moments(a).deviation * moments(b).deviation);
    BOOST_TEST(std::abs(correlation) < 5 / std::sqrt(static_cast<double>(a.size())));
  }
}

BOOST_AUTO_TEST_CASE(values_have_the_spread_they_claim) {
  const auto model = tiny("quant=none");
  const auto embedding = moments(values_of(model, "model.embed_tokens.weight"));  // 2^20 values, deviation 1
  BOOST_TEST(std::abs(embedding.mean) < 5e-3);
  BOOST_TEST(std::abs(embedding.deviation - 1) < 5e-3);
  BOOST_TEST(embedding.largest < 3.46);  // 510 / sqrt(21845): four bytes cannot be further out
  const auto norm = values_of(model, "model.norm.weight");
  BOOST_TEST(*std::ranges::min_element(norm) > 0.8f);
  BOOST_TEST(*std::ranges::max_element(norm) < 1.2f);
}

BOOST_AUTO_TEST_CASE(zeros_and_scales_are_in_range) {
  const auto model = tiny("quant=gptq");
  const std::string name = "model.layers.1.self_attn.v_proj";
  for (const auto byte : bytes_of(model, name + ".qzeros"))
    for (const int zero : {std::to_integer<int>(byte) & 15, std::to_integer<int>(byte) >> 4})
      BOOST_REQUIRE(zero >= 5 && zero <= 8);  // version 1 stores one less than 6 to 9
  for (const float scale : values_of(model, name + ".scales")) BOOST_REQUIRE(scale > 0.0f);
}

BOOST_AUTO_TEST_CASE(the_large_preset_is_qwen3_30b_a3b) {
  const SyntheticModel model("synthetic:qwen3-30b-a3b?seed=1&quant=awq");
  BOOST_TEST(model.names().size() ==
             48u * (128 * 3 + 4) * 3 + 48u * 5 + 3);  // linears by 3 tensors, norms and router, rest
  BOOST_TEST(
      (model.at("model.layers.47.mlp.experts.127.down_proj.qweight").shape == std::vector<std::int64_t>{768, 256}));
  BOOST_TEST((model.at("model.layers.0.self_attn.k_proj.scales").shape == std::vector<std::int64_t>{16, 512}));
  BOOST_TEST((model.at("lm_head.weight").shape == std::vector<std::int64_t>{151936, 2048}));
  BOOST_TEST(model.config()["quantization_config"]["quant_method"] == "awq");
  BOOST_TEST(model.bytes() < 17'000'000'000u);
  BOOST_TEST(model.files().empty());
  const auto text = error_text([&] { model.at("model.layers.48.input_layernorm.weight"); });
  BOOST_TEST(mentions(text, {"layers.48", "synthetic:qwen3-30b-a3b"}), text);
}

BOOST_AUTO_TEST_CASE(takes_a_config_of_ones_own) {
  std::ofstream("config.json") << R"({"architectures":["LlamaForCausalLM"],"vocab_size":64,"hidden_size":48,
    "intermediate_size":80,"num_hidden_layers":2,"num_attention_heads":6,"num_key_value_heads":2,
    "tie_word_embeddings":true,"torch_dtype":"float32","quantization_config":{"quant_method":"fp8"}})";
  const SyntheticModel model("synthetic:config.json?group_size=16&quant=awq");
  BOOST_TEST((model.at("model.layers.1.mlp.down_proj.qweight").shape == std::vector<std::int64_t>{80, 6}));
  BOOST_TEST((model.at("model.layers.1.self_attn.k_proj.scales").shape == std::vector<std::int64_t>{3, 16}));
  BOOST_TEST(!model.contains("lm_head.weight"));
  BOOST_TEST(!model.contains("model.layers.0.self_attn.q_norm.weight"));
  BOOST_TEST(model.config()["quantization_config"]["group_size"] == 16);
  const SyntheticModel plain("synthetic:config.json");
  BOOST_TEST(!plain.config().contains("quantization_config"));
  BOOST_TEST(plain.config()["torch_dtype"] == "bfloat16");
}

BOOST_AUTO_TEST_CASE(refuses_what_it_does_not_understand) {
  const auto refused = [](const std::string& description, std::initializer_list<std::string> words) {
    const auto text = error_text([&] { SyntheticModel{description}; });
    BOOST_TEST(mentions(text, words), description + " gave: " + text);
  };
  refused("synthetic:qwen9", {"qwen9", "qwen3-30b-a3b", "qwen3-moe-tiny"});
  refused("synthetic:", {"synthetic:", "qwen3-moe-tiny"});
  refused("qwen3-moe-tiny", {"synthetic:"});
  refused("synthetic:qwen3-moe-tiny?quant=int8", {"int8", "nf4"});
  refused("synthetic:qwen3-moe-tiny?seed=-1", {"seed", "-1"});
  refused("synthetic:qwen3-moe-tiny?seed=1x", {"seed", "1x"});
  refused("synthetic:qwen3-moe-tiny?seed", {"seed"});
  refused("synthetic:qwen3-moe-tiny?colour=red", {"colour", "group_size"});
  refused("synthetic:qwen3-moe-tiny?quant=awq&group_size=96", {"96", "256"});
  refused("synthetic:qwen3-moe-tiny?quant=awq&group_size=0", {"group_size"});
  const auto config = [&](const std::string& text, std::initializer_list<std::string> words) {
    std::ofstream("bad.json") << text;
    refused("synthetic:bad.json", words);
  };
  config("{", {"bad.json", "JSON"});
  config("[1]", {"bad.json", "object"});
  config("{}", {"bad.json", "architecture"});
  config(R"({"architectures":["GPT2LMHeadModel"]})", {"GPT2LMHeadModel", "Qwen3MoeForCausalLM"});
  config(R"({"architectures":["LlamaForCausalLM"]})", {"hidden_size", "bad.json"});
  config(R"({"architectures":["LlamaForCausalLM"],"hidden_size":-3})", {"hidden_size"});
  config(R"({"architectures":["LlamaForCausalLM"],"hidden_size":8,"vocab_size":8,"num_hidden_layers":100000})",
         {"num_hidden_layers", "100000"});
}

BOOST_AUTO_TEST_SUITE_END()
