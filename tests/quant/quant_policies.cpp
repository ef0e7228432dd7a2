// quant::Awq, Gptq and Nf4 as policies: parts of layers, and whole synthetic models against the same models
// with their weights written out, which quant::None runs.
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>

#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <fpf/attention/flash.hpp>
#include <fpf/engine/make_decoder.hpp>
#include <fpf/execution/eager.hpp>
#include <fpf/model/expert_use.hpp>
#include <fpf/model/synthetic_presets.hpp>
#include <fpf/parallel/single.hpp>
#include <fpf/quant/schemes.hpp>
#include <numeric>

#include "compiled.hpp"
#include "error_text.hpp"
#include "quant_fixture.hpp"

BOOST_AUTO_TEST_SUITE(test_quant_policies)

using namespace fpf;
namespace data = boost::unit_test::data;

namespace {

/// On a CPU, whole.
template <class Quant>
std::unique_ptr<engine::Decoder> decoder_of(const model::Checkpoint& checkpoint, DType dtype) {
  return engine::make_decoder<Quant, attention::Flash, execution::Eager>(
      checkpoint, parallel::Rank::alone(checkpoint.config()), device::scalar_type(dtype), at::kCPU);
}

/// What a part becomes before a GPU packs it: its values stay, its groups or blocks begin with it and have one length.
template <class Quant>
void check_packable(const typename Quant::Weight& part) {
  const at::Tensor values = Quant::dequantise(part, at::kFloat);
  if constexpr (requires { part.all_inputs; }) {
    const auto* group_of = part.g_idx.template const_data_ptr<int>();
    if (!part.all_inputs && !std::is_sorted(group_of, group_of + part.g_idx.size(0))) {
      BOOST_TEST(mentions(error_text([&] { Quant::regroup(part); }), {"desc_act", "unequal lengths"}));
      return;
    }
  }
  if constexpr (requires { Quant::regroup(part); }) {
    const auto same = Quant::regroup(part);
    BOOST_TEST(Quant::dequantise(same, at::kFloat).equal(values));
    if constexpr (requires { same.g_idx; }) {
      const auto group_of = same.g_idx.template data_ptr<int>();
      const std::int64_t in = same.g_idx.size(0), groups = same.scales.size(0);
      if (std::is_sorted(group_of, group_of + in))
        for (std::int64_t k = 0; k < in; ++k) BOOST_REQUIRE_EQUAL(group_of[k], k / (in / groups));
      BOOST_TEST(same.first_column == 0);
    } else {
      BOOST_TEST(same.skip == 0);
      BOOST_TEST(same.scales.size(0) * same.group >= part.qweight.size(0));
    }
  } else if (part.in % part.blocksize == 0 && part.ins.begin % part.blocksize == 0 &&
             part.ins.end % part.blocksize == 0) {
    BOOST_TEST(Quant::dequantise(Quant::part_of(part), at::kFloat).equal(values));
    const at::Tensor maxima = Quant::maxima(part);
    for (std::int64_t block = 0; block < maxima.size(0); ++block)
      BOOST_REQUIRE_EQUAL(maxima.template data_ptr<float>()[block], part.view().scale(block));
  } else {
    BOOST_TEST(mentions(error_text([&] { Quant::part_of(part); }), {"blocks of " + std::to_string(part.blocksize)}));
  }
}

/// Every part that a rank may hold equals the same part of the whole.
template <class Quant>
void check_parts(const weights::TensorSource& source, const nlohmann::json& config, const std::string& name,
                 std::int64_t out, std::int64_t in) {
  const quant::Loader loader{source, config, at::kFloat, at::kCPU};
  const auto whole = Quant::load(loader, quant::LinearSpec::whole(name, out, in));
  const at::Tensor dense = Quant::dequantise(whole, at::kFloat);
  const at::Tensor x = at::randn({3, in});
  BOOST_TEST(Quant::linear(x, whole).equal(at::linear(x, dense)));
  BOOST_TEST(Quant::dequantise(whole, at::kHalf).equal(dense.to(at::kHalf)));
  for (const Range outs : {Range{0, out}, Range{8, out}, Range{out - 8, out}})
    for (const Range ins : {Range{0, in}, Range{in / 2, in}, Range{8, 24}}) {
      const auto part = Quant::load(loader, {name, out, in, outs, ins});
      BOOST_TEST(Quant::dequantise(part, at::kFloat)
                     .equal(dense.narrow(0, outs.begin, outs.size()).narrow(1, ins.begin, ins.size())));
      BOOST_TEST(Quant::bytes(part) <= Quant::bytes(whole));
      check_packable<Quant>(part);
    }
}

/// A synthetic model as a 16-bit checkpoint in a folder: quantised layers dequantised and rounded to the
/// model's dtype.
std::filesystem::path written_out(const model::SyntheticModel& model) {
  const std::filesystem::path folder = "written_out_" + model.config()["torch_dtype"].get<std::string>();
  std::filesystem::create_directories(folder);
  auto config = model.config();
  config.erase("quantization_config");
  std::ofstream(folder / "config.json") << config.dump();

  const auto dtype = device::scalar_type(parse_dtype(config["torch_dtype"].get<std::string>()));
  std::map<std::string, at::Tensor> tensors;
  const auto parameters = model::parameters_of(model::config_from_json(model.config(), "model"));
  quant::select(model.config().value("quantization_config", nlohmann::json()), [&]<class Quant>() {
    const auto quantization = model.config()["quantization_config"];
    const quant::Loader loader{model, quantization, dtype, at::kCPU};
    for (const auto& name : model.names()) {
      const auto cut = name.find("_proj.");
      if (cut == std::string::npos || name.ends_with(".bias")) {
        tensors[name] = device::stored_tensor(model, model.at(name));
        continue;
      }
      const auto layer = name.substr(0, cut + 5);
      if (tensors.contains(layer + ".weight")) continue;
      const auto parameter = std::ranges::find(
          parameters, layer, [](const model::Parameter& p) -> auto& { return p.spec.name; });
      tensors[layer + ".weight"] = Quant::dequantise(Quant::load(loader, parameter->spec), dtype).contiguous();
    }
  });
  std::vector<weights::TensorSpec> specs;
  for (const auto& [name, tensor] : tensors)
    specs.push_back({name, device::dtype_of(tensor.scalar_type()), tensor.sizes().vec()});
  weights::SafetensorsDirectoryWriter writer(folder, specs);
  for (const auto& [name, tensor] : tensors)
    writer.write(name, {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()});
  writer.finish();
  return folder;
}

/// Expert choices and the size of the residual stream over a prefill.
class Watch : public model::ExpertUse {
 public:
  std::vector<double> rms;  // by layer

  Watch(std::int64_t layers, std::int64_t experts)
      : ExpertUse(layers, experts), rms(static_cast<std::size_t>(layers)) {}

  void take(evidence::StoredSignal signal, std::int64_t layer, const std::vector<at::Tensor>& columns) override {
    ExpertUse::take(signal, layer, columns);
    if (signal == evidence::StoredSignal::hidden_states)
      rms[static_cast<std::size_t>(layer)] = std::sqrt(columns.front().to(at::kDouble).pow(2).mean().item<double>());
  }
};

at::Tensor random_tokens(std::int64_t count, std::int64_t vocabulary) {
  at::Tensor tokens = at::empty({1, count}, at::kLong);
  for (std::int64_t i = 0; i < count; ++i)
    tokens.data_ptr<std::int64_t>()[i] = static_cast<std::int64_t>(
        weights::synthetic::hash(99, static_cast<std::uint64_t>(i)) % static_cast<std::uint64_t>(vocabulary));
  return tokens;
}

template <class Quant>
at::Tensor logits_of(const std::string& path, const at::Tensor& tokens, model::Taps* taps = nullptr) {
  const auto checkpoint = model::Checkpoint::open(path);
  const auto decoder = decoder_of<Quant>(checkpoint, checkpoint.config().dtype);
  auto cache = decoder->make_cache(1, tokens.size(1));
  return decoder->forward(tokens, cache, tokens.size(1), taps);
}

}  // namespace

BOOST_AUTO_TEST_CASE(parts_of_awq_layers) {
  const auto source = quant_tensors("awq");
  const auto config = [](std::int64_t group, bool zeros) {
    return nlohmann::json{{"quant_method", "awq"}, {"bits", 4}, {"group_size", group}, {"zero_point", zeros}};
  };
  for (const auto& example : quant_cases("awq"))
    check_parts<quant::Awq>(source, config(example["group_size"], example["name"] != "no_zeros"),
                            example["name"].get<std::string>(), example["out"], example["in"]);
  const model::SyntheticModel made("synthetic:qwen3-moe-tiny?quant=awq");
  check_parts<quant::Awq>(made, made.config()["quantization_config"], "model.layers.1.self_attn.o_proj", 256, 512);
  const auto text = error_text([&] {
    const auto json = config(32, true);
    quant::Awq::load({source, json, at::kFloat, at::kCPU}, {"g32", 24, 64, {4, 12}, {0, 64}});
  });
  BOOST_TEST(mentions(text, {"g32", "4 to 12", "8"}), text);
}

BOOST_AUTO_TEST_CASE(parts_of_gptq_layers) {
  const auto source = quant_tensors("gptq");
  for (const auto& example : quant_cases("gptq")) {
    if (example["in"] == 52) continue;  // not a multiple of 8: whole only
    const nlohmann::json config = {{"quant_method", "gptq"},
                                   {"bits", 4},
                                   {"group_size", example["group_size"]},
                                   {"checkpoint_format", example["checkpoint_format"]}};
    check_parts<quant::Gptq>(source, config, example["name"].get<std::string>(), example["out"], example["in"]);
  }
  const model::SyntheticModel made("synthetic:qwen3-moe-tiny?quant=gptq");
  check_parts<quant::Gptq>(made, made.config()["quantization_config"], "model.layers.1.self_attn.o_proj", 256, 512);
}

BOOST_AUTO_TEST_CASE(parts_of_nf4_layers) {
  const auto source = quant_tensors("nf4");
  const nlohmann::json config = {
      {"quant_method", "bitsandbytes"}, {"load_in_4bit", true}, {"bnb_4bit_quant_type", "nf4"}};
  for (const auto& example : quant_cases("nf4"))
    if (example["out"] > 8 && example["in"] > 24)
      check_parts<quant::Nf4>(source, config, example["name"].get<std::string>(), example["out"], example["in"]);
}

// With one rounding of products and bias.
BOOST_DATA_TEST_CASE(quantised_models_compute_what_their_written_out_weights_do,
                     data::make({"qwen3-moe-tiny", "qwen2-tiny"}) * data::make({"awq", "gptq", "nf4"}), shape, format) {
  const std::string description = fmt::format("synthetic:{}?seed=5&quant={}", shape, format);
  const model::SyntheticModel model(description);
  const at::Tensor tokens = random_tokens(48, 4096);
  const at::Tensor plain = logits_of<quant::None>(written_out(model).string(), tokens);
  quant::select(model.config()["quantization_config"],
                [&]<class Quant>() { BOOST_TEST(logits_of<Quant>(description, tokens).equal(plain)); });
}

BOOST_DATA_TEST_CASE(checkpoints_of_the_packages_compute_what_transformers_does,
                     data::make({"awq", "awq_biased", "gptq", "nf4"}), format) {
  // In float32, by transformers on the packages' dequantised weights; the NF4 checkpoint was written by
  // transformers.
  const std::string folder = std::string(FPF_FIXTURES "/quant/") + format + "_model";
  const weights::SafetensorsDirectory expected(folder + "/expected.safetensors");
  const at::Tensor tokens = device::stored_tensor(expected, expected.at("ids")).to(at::kLong).unsqueeze(0);
  const at::Tensor logits = device::stored_tensor(expected, expected.at("logits")).to(at::kDouble);
  const auto checkpoint = model::Checkpoint::open(folder);
  quant::select(checkpoint.config().quantization, [&]<class Quant>() {
    const auto decoder = decoder_of<Quant>(checkpoint, DType::float32);
    auto cache = decoder->make_cache(1, tokens.size(1));
    const at::Tensor ours = decoder->forward(tokens, cache, tokens.size(1), nullptr).squeeze(0).to(at::kDouble);
    BOOST_TEST((ours - logits).norm().template item<double>() < 1e-4 * logits.norm().template item<double>());
    BOOST_TEST(ours.argmax(-1).equal(logits.argmax(-1)));
    // Weights stay quantised: what is held is not more than the files'.
    BOOST_TEST(decoder->weight_bytes() <= checkpoint.source().bytes());
  });
}

namespace {

/// Logits are finite, the residual stream keeps its size, and every expert is used, none above five times its
/// share.
void check_spread(const std::string& description, std::int64_t layers, std::int64_t experts, std::int64_t count) {
  const model::SyntheticModel model(description);
  Watch watch(layers, experts);
  const at::Tensor tokens = random_tokens(count, 4096);
  model::Taps* const taps = &watch;
  quant::select(model.config().value("quantization_config", nlohmann::json()), [&]<class Quant>() {
    const at::Tensor logits = logits_of<Quant>(description, tokens, taps);
    BOOST_TEST(logits.isfinite().all().template item<bool>());
  });
  for (std::size_t layer = 0; layer < watch.layers(); ++layer) {
    const auto shares = watch.shares(layer);
    const auto [least, most] = std::ranges::minmax(shares);
    BOOST_TEST_MESSAGE(description << " layer " << layer << ": residual rms " << watch.rms[layer] << ", expert use "
                                   << least << " to " << most << " of a fair share");
    BOOST_TEST(std::reduce(watch.counts(layer).begin(), watch.counts(layer).end()) == count * 8);
    BOOST_TEST(most < 5);
    BOOST_TEST(least > 0);
    BOOST_TEST(watch.rms[layer] > 0.5);
    BOOST_TEST(watch.rms[layer] < 20);
  }
}

}  // namespace

BOOST_DATA_TEST_CASE(synthetic_models_stay_finite_and_spread_over_their_experts,
                     data::make({"none", "awq", "gptq", "nf4"}), format) {
  check_spread(std::string("synthetic:qwen3-moe-tiny?seed=1&quant=") + format, 6, 32, 512);
}

BOOST_AUTO_TEST_CASE(so_do_layers_of_the_large_preset) {
  auto config = nlohmann::json::parse(model::presets::named("qwen3-30b-a3b"));
  config["num_hidden_layers"] = 2;
  config["vocab_size"] = 4096;
  std::ofstream("two_layers.json") << config;
  check_spread("synthetic:two_layers.json?seed=1&quant=awq", 2, 128, 256);
}

BOOST_AUTO_TEST_CASE(refuses_a_checkpoint_of_another_format) {
  const model::SyntheticModel model("synthetic:qwen3-moe-tiny?quant=gptq");
  const auto& quantization = model.config()["quantization_config"];
  const auto spec = quant::LinearSpec::whole("model.layers.0.self_attn.q_proj", 512, 256);
  const quant::Loader loader{model, quantization, at::kHalf, at::kCPU};
  BOOST_TEST(mentions(error_text([&] { quant::Awq::load(loader, spec); }), {"'gptq'", "'awq'"}));
  BOOST_TEST(mentions(error_text([&] { quant::Nf4::load(loader, spec); }), {"'gptq'", "'bitsandbytes'"}));
  const auto text = error_text([] { quant::select({{"quant_method", "hqq"}}, []<class Q>() {}); });
  BOOST_TEST(mentions(text, {"hqq", "awq", "gptq", "bitsandbytes"}), text);
}

BOOST_AUTO_TEST_SUITE_END()
