// Readers of model files (config.json, safetensors and its index, GGUF) on files that are broken or made to break them.
#include <boost/test/unit_test.hpp>
#include <fpf/core/json.hpp>
#include <fpf/model/config_json.hpp>
#include <fpf/quant/quant_config.hpp>
#include <fpf/weights/gguf.hpp>
#include <fpf/weights/safetensors.hpp>

#include "error_text.hpp"
#include "folders.hpp"
#include "gguf_file.hpp"
#include "mutations.hpp"

BOOST_AUTO_TEST_SUITE(test_hostile_weights)

using namespace fpf;

namespace {

const fs::path all = FPF_FIXTURES;

/// As Checkpoint::open() reads it, without its weights.
void read_config(const fs::path& path) {
  const auto json = read_json(path);
  const auto config = model::config_from_json(json, path.string());
  model::names_dtype(json);
  if (!config.quantization.is_null())
    naming(path.string(),
           [&] { return quant::read_quantisation(config.quantization, quant::method_of(config.quantization)); });
}

}  // namespace

BOOST_AUTO_TEST_CASE(mutations_of_a_configuration_are_read_or_refused_by_name) {
  std::vector<std::string> sound;
  for (const char* model : {"parity/llama_tied", "parity/qwen3_moe_raw", "quant/gptq_mixed_model", "quant/nf4_model"})
    sound.push_back(text_of(all / model / "config.json"));
  require_named_refusals(sound, "config.json", {"config.json"}, [] { read_config("config.json"); });
  require_modest_memory();
}

BOOST_AUTO_TEST_CASE(mutations_of_safetensors_are_read_or_refused_by_name) {
  require_named_refusals({text_of(all / "weights/single/model.safetensors"), text_of(all / "quant/nf4.safetensors")},
                         "m.safetensors", {"m.safetensors"}, [] { weights::SafetensorsDirectory("m.safetensors"); });
  const auto folder = fresh_folder("sharded");
  fs::copy(all / "weights/sharded", folder, fs::copy_options::overwrite_existing);
  const auto index = folder / "model.safetensors.index.json";
  require_named_refusals({text_of(index)}, index.string(), {folder.string()},
                         [&] { weights::SafetensorsDirectory{folder}; });
  require_modest_memory();
}

BOOST_AUTO_TEST_CASE(mutations_of_gguf_are_read_or_refused_by_name) {
  require_named_refusals({text_of(all / "weights/small.gguf")}, "m.gguf", {"m.gguf"},
                         [] { weights::GgufFile("m.gguf"); });
  require_modest_memory();
}

BOOST_AUTO_TEST_CASE(json_that_would_take_the_stack_or_the_memory_is_refused_before_it_is_parsed) {
  for (const std::string& deep : deep_json())
    for (const char* key : {"vocab_size", "quantization_config", "rope_parameters"}) {
      std::string text = text_of(all / "parity/llama_tied/config.json");
      text.replace(text.rfind('}'), 1, fmt::format(",\"{}\":{}}}", key, deep));
      std::ofstream("config.json") << text;
      BOOST_TEST(mentions(error_text([] { read_config("config.json"); }), {"config.json", "nests deeper", "at byte"}));
    }
  std::ofstream("config.json") << wide_json();
  BOOST_TEST(mentions(error_text([] { read_config("config.json"); }), {"config.json", "more memory than the 512 MB"}));
  const auto folder = fresh_folder("index");
  for (const std::string& deep : deep_json()) {
    std::ofstream(folder / "model.safetensors.index.json") << "{\"weight_map\":" << deep << "}";
    BOOST_TEST(mentions(error_text([&] { weights::SafetensorsDirectory{folder}; }), {"index.json", "nests deeper"}));
    const std::uint64_t length = deep.size();
    std::ofstream("m.safetensors") << std::string(reinterpret_cast<const char*>(&length), 8) << deep;
    BOOST_TEST(mentions(error_text([] { weights::SafetensorsDirectory("m.safetensors"); }),
                        {"m.safetensors", "nests deeper"}));
  }
  require_modest_memory();
}

BOOST_AUTO_TEST_CASE(a_gguf_file_whose_arrays_would_take_the_memory_is_refused) {
  GgufContent content;
  content.keys["a"] = GgufContent::of(std::uint32_t{9}) + GgufContent::of(std::uint32_t{0}) +
                      GgufContent::of(std::uint64_t{40} << 20) + std::string(std::size_t{40} << 20, 'x');
  content.write("wide.gguf");
  BOOST_TEST(mentions(error_text([] { weights::GgufFile("wide.gguf"); }), {"wide.gguf", "'a'", "256 MB"}));
  std::string many = "GGUF";
  many +=
      GgufContent::of(std::uint32_t{3}) + GgufContent::of(std::uint64_t{2} << 20) + GgufContent::of(std::uint64_t{0});
  std::ofstream("many.gguf") << many << std::string(std::size_t{60} << 20, '\0');
  BOOST_TEST(mentions(error_text([] { weights::GgufFile("many.gguf"); }), {"many.gguf", "2097152 tensors"}));
}

BOOST_AUTO_TEST_SUITE_END()
