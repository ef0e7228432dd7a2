// What exp0_reference makes of a model's files: the same model in other layouts gives the same bits (those of the usual
// layout are held to transformers' by the parity suite), and what nobody reads is listed or refused.
#include <deque>
#include <fpf/weights/safetensors.hpp>

#include "exp0.hpp"
#include "gguf_file.hpp"
#include "tensor_file.hpp"

BOOST_AUTO_TEST_SUITE(test_exp0_weights)

using namespace fpf;

namespace {

const fs::path parity = fixtures / "parity";

/// A run in float32 of a model's prompt; the model is at `path`.
json run_of(const std::string& prompt_of, const fs::path& path) {
  return experiment({{"--model", path.string()},
                     {"--prompt-ids", (parity / prompt_of / "prompt.json").string()},
                     {"--dtype", "float32"},
                     {"--layers", "0,last"}},
                    {"--reps", "1"});
}
std::string digest(const json& file) { return file.at("runs").at(0).at("signals_sha256"); }
json model_of(const json& file) { return file.at("configurations").at(0).at("manifest").at("model"); }

/// Exit code 2 and one line of these words.
void refused(const fs::path& model, std::initializer_list<std::string> words) {
  fresh_folder("out");
  const Outcome outcome = run(command({{"--model", model.string()}, {"--layers", "0"}}));
  BOOST_TEST(outcome.code == 2);
  BOOST_TEST(mentions(outcome.err, words), outcome.err);
  BOOST_TEST(names_in("out").empty());
}

}  // namespace

BOOST_AUTO_TEST_CASE(gguf_files_whole_and_split_give_the_bits_of_the_hugging_face_directory) {
  const std::string expected = digest(run_of("qwen3_untied", parity / "qwen3_untied"));
  const GgufContent whole = gguf_of_qwen3(weights::SafetensorsDirectory(parity / "qwen3_untied"));
  fresh_folder("gguf");
  whole.write("gguf/whole.gguf");
  BOOST_TEST(digest(run_of("qwen3_untied", "gguf/whole.gguf")) == expected);
  write_split(whole, "gguf", "parts", 3);
  const json split = run_of("qwen3_untied", "gguf/parts-00002-of-00003.gguf");
  BOOST_TEST(digest(split) == expected);
  BOOST_TEST(split.at("experiment_metadata").at("model") == "parts");
  BOOST_TEST(model_of(split).at("files").size() == 3u);
  BOOST_TEST(model_of(split).at("files").at(0).at("file") == "parts-00001-of-00003.gguf");
  fs::remove("gguf/parts-00001-of-00003.gguf");
  refused("gguf/parts-00002-of-00003.gguf", {"parts-00001-of-00003.gguf is missing"});
  GgufContent scaled = whole;
  scaled.floats("rope_freqs.weight", {1, 1, 1, 1, 1, 1, 1, 8});
  scaled.write("gguf/scaled.gguf");
  refused("gguf/scaled.gguf", {"'rope_freqs.weight'", "gguf/scaled.gguf", "RoPE"});
}

BOOST_AUTO_TEST_CASE(experts_stacked_by_transformers_5_give_the_bits_of_those_by_themselves) {
  const fs::path model = parity / "qwen3_moe_renormalised";
  const weights::SafetensorsDirectory source(model);
  json config = json::parse(text_of(model / "config.json"));
  const auto experts = config["num_experts"].get<std::int64_t>(), hidden = config["hidden_size"].get<std::int64_t>(),
             inner = config["moe_intermediate_size"].get<std::int64_t>();
  std::vector<weights::StoredTensor> tensors;
  for (const auto& name : source.names())
    if (name.find(".mlp.experts.") == std::string::npos) tensors.push_back(*source.find(name));
  std::deque<std::string> stacks;
  for (int layer = 0; layer < config["num_hidden_layers"].get<int>(); ++layer)
    for (const bool down : {false, true}) {
      const auto prefix = fmt::format("model.layers.{}.mlp.experts.", layer);
      std::string& bytes = stacks.emplace_back();
      for (std::int64_t expert = 0; expert < experts; ++expert)
        for (const char* projection : down ? std::vector{"down_proj"} : std::vector{"gate_proj", "up_proj"}) {
          const auto data = source.find(fmt::format("{}{}.{}.weight", prefix, expert, projection))->data;
          bytes.append(reinterpret_cast<const char*>(data.data()), data.size());
        }
      weights::StoredTensor stack = *source.find("model.norm.weight");
      stack.name = prefix + (down ? "down_proj" : "gate_up_proj");
      stack.shape = {experts, down ? hidden : 2 * inner, down ? inner : hidden};
      stack.data = std::as_bytes(std::span(bytes));
      tensors.push_back(stack);
    }
  config["num_local_experts"] = experts;
  config.erase("num_experts");
  fresh_folder("stacked");
  write("stacked/config.json", config.dump());
  write_safetensors("stacked/model.safetensors", tensors);
  const std::string name = "qwen3_moe_renormalised";
  BOOST_TEST(digest(run_of(name, "stacked")) == digest(run_of(name, model)));
}

BOOST_AUTO_TEST_CASE(what_nobody_reads_is_in_the_manifest) {
  BOOST_TEST(!model_of(run_of("llama_tied", copy_of("llama_tied", "model"))).contains("unread"));
  const weights::SafetensorsDirectory source(tiny);
  std::vector<weights::StoredTensor> tensors;
  for (const auto& name : source.names()) tensors.push_back(*source.find(name));
  const std::vector<std::byte> bytes(8);
  for (const char* name : {"visual.blocks.0.bias", "visual.blocks.1.bias"})
    tensors.push_back({.name = name, .shape = {2}, .data = bytes, .file = {}});
  weights::StoredTensor head = *source.find("model.embed_tokens.weight");
  head.name = "lm_head.weight";
  tensors.push_back(head);
  fs::remove("model/model.safetensors");
  write_safetensors("model/model.safetensors", tensors);
  json config = json::parse(text_of("model/config.json"));
  config["vision_config"] = json::object();
  write("model/config.json", config.dump());
  const json file = run_of("llama_tied", "model");
  BOOST_TEST(model_of(file).at("unread") == json({{"tensor_count", 3},
                                                  {"tensors", {"lm_head.weight", "visual.blocks.*.bias"}},
                                                  {"keys", {"vision_config"}}}));
  BOOST_TEST(digest(file) == digest(run_of("llama_tied", tiny)));
  require_recomputed();

  std::vector<std::byte> other(head.data.begin(), head.data.end());
  other.front() ^= std::byte{1};
  tensors.back().data = other;
  write_safetensors("model/model.safetensors", tensors);
  refused("model", {"'lm_head.weight'", "model.safetensors", "tie_word_embeddings"});
  fresh_folder("made");
  const Outcome made = run({FPF_BIN "/make_checkpoint", "--from", "model", "--quant", "none", "--to", "made/model"});
  BOOST_TEST(made.code == 2);
  BOOST_TEST(mentions(made.err, {"'lm_head.weight'", "tie_word_embeddings"}), made.err);
  BOOST_TEST(names_in("made").empty());
}

BOOST_AUTO_TEST_CASE(two_keys_for_one_fact_must_agree) {
  copy_of("llama_tied", "model");
  json config = json::parse(text_of("model/config.json"));
  config["rope_theta"] = 5e5;
  write("model/config.json", config.dump());
  refused("model", {"config.json", "rope_theta is 500000.0", "rope_parameters.rope_theta is 10000.0"});
}

BOOST_AUTO_TEST_SUITE_END()
