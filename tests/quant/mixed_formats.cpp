// Checkpoints that are quantised in part, with quantised routers among them (fixtures/make_mixed.py): what transformers
// computes of the weights that they stand for, and what the manifest says of each layer.
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <fpf/attention/flash.hpp>
#include <fpf/core/by_layer.hpp>
#include <fpf/engine/make_decoder.hpp>
#include <fpf/execution/eager.hpp>
#include <fpf/execution/portable.hpp>
#include <map>

#include "compiled.hpp"
#include "error_text.hpp"
#include "quant_fixture.hpp"

BOOST_AUTO_TEST_SUITE(test_mixed_formats)

using namespace fpf;
namespace data = boost::unit_test::data;

namespace {

std::string folder_of(const std::string& format) { return FPF_FIXTURES "/quant/" + format + "_mixed_model"; }

template <class Execution>
std::unique_ptr<engine::Decoder> decoder_of(const model::Checkpoint& checkpoint, at::ScalarType dtype) {
  std::unique_ptr<engine::Decoder> out;
  quant::select(checkpoint.config().quantization, [&]<class Quant>() {
    out = engine::make_decoder<Quant, attention::Flash, Execution>(
        checkpoint, parallel::Rank::alone(checkpoint.config()), dtype, at::kCPU);
  });
  return out;
}

std::map<std::string, std::string> operations_of(const engine::Decoder& decoder) {
  const auto table = decoder.operations();
  return {table.begin(), table.end()};
}

/// What a layer of a checkpoint with that tensor added or changed complains about.
template <class Quant>
std::string complaint(const std::string& format, const std::string& layer, const std::string& tensor, DType dtype,
                      std::vector<std::int64_t> shape) {
  const model::Checkpoint checkpoint = model::Checkpoint::open(folder_of(format));
  Variant variant(checkpoint.source(), layer);
  const auto opened = variant.with(tensor, dtype, std::move(shape)).open();
  const quant::Loader loader{opened, checkpoint.config().quantization, at::kFloat, at::kCPU};
  return error_text([&] { model::Linear(loader, quant::scheme<Quant>(), quant::LinearSpec::whole(layer, 64, 64)); });
}

}  // namespace

BOOST_DATA_TEST_CASE(they_compute_what_transformers_does, data::make({"gptq", "nf4"}), format) {
  const weights::SafetensorsDirectory expected(folder_of(format) + "/expected.safetensors");
  const at::Tensor tokens = device::stored_tensor(expected, expected.at("ids")).to(at::kLong).unsqueeze(0);
  const at::Tensor logits = device::stored_tensor(expected, expected.at("logits")).to(at::kDouble);
  const auto checkpoint = model::Checkpoint::open(folder_of(format));
  const auto eager = decoder_of<execution::Eager>(checkpoint, at::kFloat);
  const auto portable = decoder_of<execution::Portable>(checkpoint, at::kFloat);
  for (engine::Decoder* decoder : {eager.get(), portable.get()}) {
    auto cache = decoder->make_cache(1, tokens.size(1));
    const at::Tensor ours =
        decoder->forward(tokens, cache, tokens.size(1), nullptr).view(logits.sizes()).to(at::kDouble);
    BOOST_TEST((ours - logits).norm().item<double>() < 1e-5 * logits.norm().item<double>());
    BOOST_TEST(ours.argmax(-1).equal(logits.argmax(-1)));
  }
}

BOOST_DATA_TEST_CASE(the_manifest_says_which_layers_are_what, data::make({"gptq", "nf4"}), format) {
  const auto checkpoint = model::Checkpoint::open(folder_of(format));
  const auto found = operations_of(*decoder_of<execution::Eager>(checkpoint, at::kBFloat16));
  const std::string quantised = std::string(format == std::string("nf4") ? "bnb" : format) + " dequantised to BFloat16";
  BOOST_TEST(found.at("qkv") ==
             "layer 0: partly " + quantised + ", libtorch linear; layer 1: " + quantised + ", libtorch linear");
  BOOST_TEST(found.at("attention_output") == "layer 0: " + quantised + ", libtorch linear; layer 1: libtorch linear");
  BOOST_TEST(found.at("router_logits") == quantised + " at loading, libtorch linear");
  BOOST_TEST(found.at("experts") ==
             "layer 0: partly " + quantised +
                 ", libtorch linear, expert by expert; layer 1: libtorch linear, expert by expert");
  BOOST_TEST(found.at("head") == "libtorch linear");
  const auto portable = operations_of(*decoder_of<execution::Portable>(checkpoint, at::kBFloat16));
  BOOST_TEST(portable.at("router_logits") == quantised + " at loading, " + portable.at("qkv"));
}

BOOST_DATA_TEST_CASE(a_router_is_rounded_once_to_the_activations_type, data::make({"gptq", "nf4"}), format) {
  const auto checkpoint = model::Checkpoint::open(folder_of(format));
  const std::string name = "model.layers.1.mlp.gate";
  quant::select(checkpoint.config().quantization, [&]<class Quant>() {
    const quant::Loader loader{checkpoint.source(), checkpoint.config().quantization, at::kBFloat16, at::kCPU};
    const model::Layer layer(loader, quant::scheme<Quant>(), checkpoint, parallel::Shard::whole(checkpoint.config()),
                             1);
    const at::Tensor exact = Quant::dequantise(Quant::load(loader, quant::LinearSpec::whole(name, 4, 64)), at::kFloat);
    BOOST_TEST(layer.router.dequantise(at::kFloat).equal(exact.to(at::kBFloat16).to(at::kFloat)));
  });
}

BOOST_AUTO_TEST_CASE(a_layer_stored_twice_is_refused_by_name) {
  const std::string layer = "model.layers.0.self_attn.q_proj";
  BOOST_TEST(complaint<quant::Gptq>("gptq", layer, layer + ".unrelated", DType::float32, {64, 64}) == "no error");
  for (const DType dtype : {DType::float32, DType::bfloat16}) {
    const auto text = complaint<quant::Gptq>("gptq", layer, layer + ".weight", dtype, {64, 64});
    BOOST_TEST(
        mentions(text, {layer, "stored twice", layer + ".weight", layer + ".qweight", std::string(name_of(dtype))}),
        text);
  }
  const auto over_codes = complaint<quant::Nf4>("nf4", layer, layer + ".weight", DType::float32, {64, 64});
  BOOST_TEST(mentions(over_codes, {layer, "stored twice", layer + ".weight.quant_state"}), over_codes);
  // The same without the format's policy, and where little of the format is left.
  const auto dense = complaint<quant::None>("gptq", layer, layer + ".weight", DType::float32, {64, 64});
  BOOST_TEST(mentions(dense, {layer, "stored twice"}), dense);
  const std::string kept = "model.layers.0.self_attn.k_proj";  // dense in the fixture
  const model::Checkpoint checkpoint = model::Checkpoint::open(folder_of("nf4"));
  const auto opened = Variant(checkpoint.source(), kept).with(kept + ".weight.absmax", DType::float32, {32}).open();
  const quant::Loader loader{opened, checkpoint.config().quantization, at::kFloat, at::kCPU};
  const auto leftover =
      error_text([&] { model::Linear(loader, quant::scheme<quant::Nf4>(), quant::LinearSpec::whole(kept, 32, 64)); });
  BOOST_TEST(mentions(leftover, {kept, "stored twice", kept + ".weight.absmax"}), leftover);
}

BOOST_AUTO_TEST_CASE(layers_are_named_in_ranges) {
  ByLayer all;
  for (int layer = 0; layer < 3; ++layer) all.add(layer, "a");
  BOOST_TEST(all.text() == "a");
  ByLayer some;
  for (const auto& [layer, text] : std::vector<std::pair<int, std::string>>{
           {-1, "a"}, {0, "a"}, {1, "a"}, {2, "b"}, {3, "a"}, {4, "c"}, {6, "a"}, {-1, "d"}})
    some.add(layer, text);
  BOOST_TEST(some.text() == "outside layers, 0-1, 3, 6: a; layer 2: b; layer 4: c; outside layers: d");
}

BOOST_AUTO_TEST_SUITE_END()
