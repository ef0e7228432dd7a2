// checkpoint/checkpoint_writer.hpp: tiny models of every architecture to every format and back through fpf,
// shards, companions, and targets, options and weights that must be refused. What other packages read in such
// checkpoints: check_checkpoint.py.
#include <sys/resource.h>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <csignal>
#include <fpf/checkpoint/checkpoint_writer.hpp>
#include <fpf/checkpoint/perplexity.hpp>
#include <fstream>
#include <random>

#include "compiled.hpp"
#include "error_text.hpp"
#include "tensor_file.hpp"

BOOST_AUTO_TEST_SUITE(test_checkpoint_writer)

using namespace fpf;
using checkpoint::CheckpointRequest;
using model::Checkpoint;
using Quant = CheckpointRequest::Quant;
namespace data = boost::unit_test::data;
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

const std::vector<std::string> quants{"none", "awq", "gptq", "nf4"};

fs::path fresh(const fs::path& path) {
  remove_tree(path);
  return path;
}

/// A config.json whose layers every format can hold, in groups of 16 or 32; the model is made from it by a
/// seed.
std::string small_model(const std::string& architecture) {
  json config = {{"architectures", {architecture}},
                 {"vocab_size", 160},
                 {"hidden_size", 64},
                 {"intermediate_size", 96},
                 {"num_hidden_layers", 2},
                 {"num_attention_heads", 4},
                 {"num_key_value_heads", 2},
                 {"head_dim", 16},
                 {"max_position_embeddings", 256},
                 {"rms_norm_eps", 1e-6},
                 {"rope_theta", 10000.0},
                 {"hidden_act", "silu"},
                 {"tie_word_embeddings", architecture == "LlamaForCausalLM"}};
  if (architecture == "Qwen3MoeForCausalLM")
    config.update(
        {{"num_experts", 12}, {"num_experts_per_tok", 2}, {"moe_intermediate_size", 32}, {"norm_topk_prob", true}});
  const std::string file = architecture + ".json";
  std::ofstream(file) << config.dump();
  return "synthetic:" + file;
}
const std::vector<std::string> architectures{"LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM",
                                             "Qwen3MoeForCausalLM"};

std::vector<std::vector<std::int32_t>> random_texts(std::size_t count, std::size_t length, int vocabulary,
                                                    unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::vector<std::int32_t>> out(count, std::vector<std::int32_t>(length));
  for (auto& text : out)
    for (auto& id : text) id = static_cast<std::int32_t>(random() % static_cast<unsigned>(vocabulary));
  return out;
}

CheckpointRequest request(const std::string& quant, std::int64_t group = 32) {
  CheckpointRequest out;
  out.quant = CheckpointRequest::parse(quant);
  if (out.quant == Quant::awq || out.quant == Quant::gptq) out.group_size = group;
  out.verbosity = Verbosity::quiet;
  return out;
}

at::Tensor dequantised(const Checkpoint& checkpoint, const quant::LinearSpec& layer) {
  const quant::Loader loader{checkpoint.source(), checkpoint.config().quantization, at::kFloat, at::kCPU};
  return quant::select(checkpoint.config().quantization, [&]<class Q>() {
    return model::Linear(loader, quant::scheme<Q>(), layer).dequantise(at::kFloat);
  });
}

double relative(const at::Tensor& x, const at::Tensor& reference) {
  return ((x - reference).norm() / reference.norm()).item<double>();
}

/// Every linear layer's worst relative distance from the source.
double worst_layer(const Checkpoint& result, const Checkpoint& source) {
  double worst = 0;
  for (const auto& [kind, spec] : model::parameters_of(source.config(), source.interleaved_rope())) {
    if (kind != model::Parameter::Kind::linear) continue;
    const auto plain = quant::LinearSpec::whole(spec.name, spec.out_features, spec.in_features);
    worst = std::max(worst, relative(dequantised(result, plain), dequantised(source, spec)));
  }
  return worst;
}

}  // namespace

BOOST_DATA_TEST_CASE(every_architecture_in_every_format,
                     data::make(architectures) * data::make(quants) * data::make({false, true}), architecture, quant,
                     calibrated) {
  if (quant == "none" && calibrated) return;
  const auto source = Checkpoint::open(small_model(architecture));
  auto how = request(quant);
  if (calibrated) how.calibration = random_texts(8, 40, 160, 3);
  const fs::path folder = fresh("model");
  checkpoint::write_checkpoint(source, how, folder);
  const auto result = Checkpoint::open(folder.string());

  BOOST_TEST(result.config().architecture == architecture);
  BOOST_TEST(result.config().tied_head == source.config().tied_head);
  BOOST_TEST(result.source().contains("lm_head.weight") == !source.config().tied_head);
  BOOST_TEST(
      result.source().size() ==
      checkpoint::requantised_tensors(source, *checkpoint::detail::format_of(how, DType::bfloat16), DType::bfloat16)
          .size());
  BOOST_TEST(worst_layer(result, source) < (quant == "none" ? 1e-9 : 0.16));
  for (const auto& parameter : model::parameters_of(source.config())) {  // bfloat16 there and here: the same bits
    if (parameter.kind == model::Parameter::Kind::linear) continue;
    std::vector<std::byte> made, written;
    const auto name = parameter.tensor();
    BOOST_TEST(std::ranges::equal(result.source().bytes_of(result.source().at(name), written),
                                  source.source().bytes_of(source.source().at(name), made)),
               name);
  }
  const auto texts = random_texts(4, 40, 160, 9);
  const double before = checkpoint::perplexity(source, texts, Verbosity::quiet),
               after = checkpoint::perplexity(result, texts, Verbosity::quiet);
  BOOST_TEST(std::abs(after / before - 1) < (quant == "none" ? 1e-6 : 0.1));
}

// Shapes that fill no block and no word: what the reference models of fixtures/parity have. NF4 holds them
// all.
BOOST_DATA_TEST_CASE(odd_shapes_in_nf4,
                     data::make({"llama_tied", "llama_untied", "qwen2_untied", "qwen3_untied", "qwen3_moe_raw"}) *
                         data::make({false, true}),
                     name, calibrated) {
  const auto source = Checkpoint::open(std::string(FPF_FIXTURES "/parity/") + name);
  auto how = request("nf4");
  if (calibrated) how.calibration = random_texts(6, 50, 190, 4);
  const fs::path folder = fresh("odd");
  checkpoint::write_checkpoint(source, how, folder);
  BOOST_TEST(worst_layer(Checkpoint::open(folder.string()), source) < 0.16);
}

BOOST_AUTO_TEST_CASE(the_configuration_says_what_the_weights_are) {
  const auto source = Checkpoint::open(small_model("Qwen3MoeForCausalLM"));
  const auto config_of = [&](const CheckpointRequest& how) {
    const fs::path folder = fresh("config");
    checkpoint::write_checkpoint(source, how, folder);
    return json::parse(std::ifstream(folder / "config.json"));
  };
  const auto check = [](const json& found, const json& expected) {
    for (const auto& [key, value] : expected.items()) BOOST_TEST(found.at(key) == value, key);
  };
  const json awq = config_of(request("awq"));
  BOOST_TEST(awq["quantization_config"] == json({{"quant_method", "awq"},
                                                 {"bits", 4},
                                                 {"group_size", 32},
                                                 {"zero_point", true},
                                                 {"version", "gemm"},
                                                 {"modules_to_not_convert", {"lm_head", "mlp.gate"}}}));
  BOOST_TEST(awq["hidden_size"] == 64);
  auto how = request("gptq", -1);
  how.by_activation = true;
  how.calibration = random_texts(4, 40, 160, 3);
  how.dtype = DType::float16;
  const json gptq = config_of(how);
  check(gptq["quantization_config"], {{"quant_method", "gptq"},
                                      {"bits", 4},
                                      {"group_size", -1},
                                      {"desc_act", true},
                                      {"sym", false},
                                      {"checkpoint_format", "gptq"}});
  BOOST_TEST(gptq["torch_dtype"] == "float16");
  check(config_of(request("nf4"))["quantization_config"],
        {{"quant_method", "bitsandbytes"},
         {"load_in_4bit", true},
         {"bnb_4bit_quant_type", "nf4"},
         {"bnb_4bit_use_double_quant", true},
         {"bnb_4bit_compute_dtype", "bfloat16"},
         {"llm_int8_skip_modules", {"lm_head", "model.layers.0.mlp.gate", "model.layers.1.mlp.gate"}}});
  BOOST_TEST(!config_of(request("none")).contains("quantization_config"));
}

BOOST_AUTO_TEST_CASE(shards_are_small_and_hold_the_same) {
  const auto source = Checkpoint::open(small_model("Qwen3ForCausalLM"));
  auto how = request("gptq");
  checkpoint::write_checkpoint(source, how, fresh("whole"));
  how.shard_bytes = 16000;
  checkpoint::write_checkpoint(source, how, fresh("shards"));
  const json index = json::parse(std::ifstream("shards/model.safetensors.index.json"));
  const auto whole = Checkpoint::open("whole"), shards = Checkpoint::open("shards");
  BOOST_TEST(shards.source().files().size() > 3u);
  BOOST_TEST(index["metadata"]["total_size"] == whole.source().bytes());
  BOOST_REQUIRE(index["weight_map"].size() == whole.source().size());
  std::map<std::string, std::size_t> used, tensors;
  for (const auto& name : whole.source().names()) {
    const auto& tensor = shards.source().at(name);
    BOOST_TEST(std::ranges::equal(tensor.data, whole.source().at(name).data), name);
    const std::string shard = index["weight_map"][name];
    BOOST_TEST(fs::path(tensor.file).filename() == shard);
    used[shard] += tensor.bytes();
    ++tensors[shard];
  }
  for (const auto& [shard, bytes] : used) BOOST_TEST((bytes <= 16000 || tensors[shard] == 1), shard);
}

BOOST_AUTO_TEST_CASE(a_source_in_the_format_is_copied_and_one_in_another_is_dequantised) {
  for (const std::string quant : {"awq", "gptq", "nf4"}) {
    const auto source = Checkpoint::open("synthetic:qwen3-moe-tiny?seed=4&quant=" + quant);
    auto how = request(quant);
    how.group_size.reset();
    checkpoint::write_checkpoint(source, how, fresh("copy"));
    const auto copy = Checkpoint::open("copy");
    BOOST_TEST(copy.config().quantization == source.config().quantization);
    BOOST_REQUIRE(copy.source().names() == source.source().names());
    std::vector<std::byte> made;
    for (const auto& name : source.source().names())
      BOOST_REQUIRE_MESSAGE(
          std::ranges::equal(copy.source().at(name).data, source.source().bytes_of(source.source().at(name), made)),
          name);
    for (int wish = quant == "nf4" ? 1 : 0; wish < 3; ++wish) {
      auto wishful = how;
      if (wish == 0) wishful.group_size = 64;
      if (wish == 1) wishful.dtype = DType::bfloat16;
      if (wish == 2) wishful.calibration = random_texts(2, 40, 160, 3);
      const auto text = error_text([&] { checkpoint::write_checkpoint(source, wishful, fresh("copy")); });
      BOOST_TEST(mentions(text, {quant, "already", "--group-size", "--calibration-pdf"}), text);
    }
    auto none = request("none");
    none.dtype = DType::float32;
    checkpoint::write_checkpoint(source, none, fresh("wide"));
    BOOST_TEST(worst_layer(Checkpoint::open("wide"), source) == 0);
  }
}

BOOST_AUTO_TEST_CASE(companions_are_carried_over) {
  checkpoint::write_checkpoint(Checkpoint::open(small_model("LlamaForCausalLM")), request("none"), fresh("first"));
  const std::map<std::string, std::string> files{{"tokenizer.json", "{\"a\": 1}"},
                                                 {"tokenizer_config.json", "{}"},
                                                 {"chat_template.jinja", "x{{y}}"},
                                                 {"generation_config.json", "{\"eos_token_id\": 5}"}};
  for (const auto& [name, text] : files) std::ofstream(fs::path("first") / name) << text;
  std::ofstream("first/notes.txt") << "mine";
  checkpoint::write_checkpoint(Checkpoint::open("first"), request("awq"), fresh("second"));
  for (const auto& [name, text] : files) BOOST_TEST(MappedFile(fs::path("second") / name).text() == text, name);
  BOOST_TEST(!fs::exists("second/notes.txt"));
}

BOOST_AUTO_TEST_SUITE(refusals)

namespace {

/// The message, and nothing is left in the folder "here".
std::string refused(const Checkpoint& source, const CheckpointRequest& how, const fs::path& to = "here/model") {
  if (!to.string().starts_with("here/taken")) {
    remove_tree("here");
    fs::create_directory("here");
  }
  const auto before = std::distance(fs::directory_iterator("here"), {});
  const auto text = error_text([&] { checkpoint::write_checkpoint(source, how, to); });
  BOOST_TEST(std::distance(fs::directory_iterator("here"), {}) == before);
  return text;
}

}  // namespace

BOOST_AUTO_TEST_CASE(sizes_and_options_that_do_not_fit) {
  const auto source = Checkpoint::open(small_model("LlamaForCausalLM"));
  for (const std::string quant : {"awq", "gptq"}) {
    auto text = refused(source, request(quant, 48));
    BOOST_TEST(mentions(text, {"48", "64 inputs", "model.layers.0.self_attn.q_proj"}), text);
    text = refused(source, request(quant, 64));  // 96 inputs of down_proj
    BOOST_TEST(mentions(text, {"64", "96 inputs", "down_proj"}), text);
    for (const std::int64_t size : {0, -2}) {
      text = refused(source, request(quant, size));
      BOOST_TEST(mentions(text, {"--group-size", std::to_string(size), "-1"}), text);
    }
    text = refused(Checkpoint::open(FPF_FIXTURES "/parity/llama_tied"), request(quant, -1));
    BOOST_TEST(mentions(text, {"q_proj", "84, 60", "multiples of 8"}), text);
  }
  const auto with = [&](const std::string& quant, auto change) {
    auto how = request(quant);
    change(how);
    return refused(source, how);
  };
  auto text = with("nf4", [](auto& how) { how.group_size = 32; });
  BOOST_TEST(mentions(text, {"--group-size", "nf4", "awq"}), text);
  text = with("awq", [](auto& how) { how.symmetric = true; });
  BOOST_TEST(mentions(text, {"--symmetric", "gptq", "awq"}), text);
  text = with("nf4", [](auto& how) { how.by_activation = true; });
  BOOST_TEST(mentions(text, {"--desc-act", "nf4"}), text);
  text = with("awq", [](auto& how) { how.dtype = DType::float32; });
  BOOST_TEST(mentions(text, {"--dtype float32", "float16"}), text);
  text = with("none", [](auto& how) { how.calibration = random_texts(1, 40, 160, 1); });
  BOOST_TEST(mentions(text, {"--calibration-pdf", "none"}), text);
  text = error_text([] { CheckpointRequest::parse("int8"); });
  BOOST_TEST(mentions(text, {"int8", "awq", "nf4"}), text);
}

BOOST_AUTO_TEST_CASE(targets_that_are_taken_or_cannot_be) {
  const auto source = Checkpoint::open(small_model("LlamaForCausalLM"));
  remove_tree("here");
  fs::create_directories("here/taken");
  std::ofstream("here/taken/mine.txt") << "mine";
  auto text = refused(source, request("none"), "here/taken");
  BOOST_TEST(mentions(text, {"here/taken", "not empty"}), text);
  BOOST_TEST(fs::exists("here/taken/mine.txt"));
  text = refused(source, request("none"), "here/taken/mine.txt");
  BOOST_TEST(mentions(text, {"mine.txt", "no folder"}), text);
  text = refused(source, request("none"), "here/nowhere/model");
  BOOST_TEST(mentions(text, {"nowhere/model", "No such file"}), text);
  fs::create_directories("here/taken/empty");
  checkpoint::write_checkpoint(source, request("none"), "here/taken/empty/");
  BOOST_TEST(Checkpoint::open("here/taken/empty").config().hidden_size == 64);
}

// A disk that fills up while weights are written, as a limit on the size of files shows it.
BOOST_AUTO_TEST_CASE(a_full_disk_leaves_nothing) {
  const auto source = Checkpoint::open(small_model("LlamaForCausalLM"));
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{20000, old.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const auto text = refused(source, request("awq"));
  setrlimit(RLIMIT_FSIZE, &old);
  BOOST_TEST(mentions(text, {"cannot write", "model.safetensors", "too large"}), text);
}

BOOST_AUTO_TEST_CASE(weights_that_are_no_numbers_or_too_large) {
  auto none = request("none");
  none.dtype = DType::float32;
  for (const std::string name : {"model.layers.1.mlp.up_proj.weight", "model.norm.weight"})
    for (const float value : {std::nanf(""), 1e6f}) {
      checkpoint::write_checkpoint(Checkpoint::open(small_model("LlamaForCausalLM")), none, fresh("broken"));
      {
        const weights::SafetensorsDirectory file("broken");
        std::vector<weights::StoredTensor> tensors;
        std::vector<std::vector<float>> copies;
        for (const auto& each : file.names()) {
          const auto values = file.at(each).as<float>();
          copies.emplace_back(values.begin(), values.end());
          if (each == name) copies.back()[3] = value;
        }
        for (std::size_t i = 0; const auto& each : file.names()) {
          tensors.push_back(file.at(each));
          tensors.back().data = std::as_bytes(std::span(copies[i++]));
        }
        write_safetensors("broken/edited", tensors);
      }
      fs::rename("broken/edited", "broken/model.safetensors");
      const bool finite = std::isfinite(value), vector = name == "model.norm.weight";
      if (finite && !vector) continue;  // a scale takes what it can; the norm is what float16 cannot hold
      const auto text = refused(Checkpoint::open("broken"), request("awq"));
      BOOST_TEST(mentions(text, {vector ? name : name.substr(0, name.size() - 7), "finite"}), text);
    }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE_END()
