// quant/nf4_format.hpp against bitsandbytes on the CPU (fixtures/make_quant.py).
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <fpf/quant/nf4_format.hpp>
#include <fpf/quant/quant_config.hpp>

#include "error_text.hpp"
#include "quant_fixture.hpp"

BOOST_AUTO_TEST_SUITE(test_nf4)

using namespace fpf;
using namespace fpf::quant;

namespace {

Nf4Tensors find(const weights::TensorSource& source, const nlohmann::json& example) {
  return Nf4Tensors::find(source, example["name"].get<std::string>(), example["out"], example["in"]);
}

/// The matrix that the package quantised, in float32.
std::vector<float> source_values(const weights::TensorSource& source, const std::string& name) {
  const auto& tensor = source.at(name + ".source");
  if (tensor.dtype() == DType::float32) return {tensor.as<float>().begin(), tensor.as<float>().end()};
  std::vector<float> out;
  for (const auto bits : tensor.as<std::uint16_t>())
    out.push_back(tensor.dtype() == DType::float16 ? float32_from_float16(bits) : float32_from_bfloat16(bits));
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(dequantises_as_bitsandbytes_does) {
  const auto source = quant_tensors("nf4");
  for (const auto& example : quant_cases("nf4")) {
    BOOST_TEST_CONTEXT(example["name"]) {
      const auto tensors = find(source, example);
      BOOST_TEST(tensors.nested() == example["nested"].get<bool>());
      BOOST_TEST(tensors.blocksize == example["blocksize"].get<std::int64_t>());
      const auto values = dequantise(tensors.view());
      BOOST_TEST(sha_as(example["own_dtype"], values) == example["own"].get<std::string>());
      for (const char* dtype : {"float32", "float16", "bfloat16"})
        BOOST_TEST(sha_as(dtype, values) == example[dtype].get<std::string>(), dtype);
    }
  }
}

// bnb_4bit_quant_storage: bitsandbytes gives the same bytes under another dtype (functional.quantize_4bit's quant_storage).
BOOST_AUTO_TEST_CASE(codes_may_be_stored_under_another_dtype) {
  const auto source = quant_tensors("nf4");
  for (const auto& example : quant_cases("nf4")) {
    const std::string name = example["name"], weight = name + ".weight";
    const auto bytes = source.at(weight).data;
    for (const DType dtype : {DType::int8, DType::float16, DType::bfloat16, DType::float32}) {
      if (bytes.size() % size_of(dtype) != 0) continue;
      const auto opened = Variant(source, name)
                              .with(weight, dtype, {static_cast<std::int64_t>(bytes.size() / size_of(dtype)), 1},
                                    {reinterpret_cast<const char*>(bytes.data()), bytes.size()})
                              .open();
      BOOST_TEST(
          sha_as(example["own_dtype"], dequantise(find(opened, example).view())) == example["own"].get<std::string>(),
          name << " as " << name_of(dtype));
    }
  }
  for (const char* storage : {"uint8", "int8", "float16", "bfloat16", "float32"})
    read_quantisation({{"quant_method", "bitsandbytes"}, {"load_in_4bit", true}, {"bnb_4bit_quant_storage", storage}},
                      Method::bitsandbytes);
  const auto text = error_text([] {
    read_quantisation({{"quant_method", "bitsandbytes"}, {"bnb_4bit_quant_storage", "int64"}}, Method::bitsandbytes);
  });
  BOOST_TEST(mentions(text, {"bnb_4bit_quant_storage", "int64"}), text);
}

BOOST_AUTO_TEST_CASE(the_code_books_are_the_packages) {
  const auto source = quant_tensors("nf4");
  BOOST_TEST(std::ranges::equal(source.at("nested.weight.quant_map").as<float>(), weights::nf4_code));
  BOOST_TEST(std::ranges::equal(source.at("nested.weight.nested_quant_map").as<float>(), weights::dynamic_code));
}

BOOST_AUTO_TEST_CASE(quantises_to_the_packages_codes) {
  const auto source = quant_tensors("nf4");
  for (const auto& example : quant_cases("nf4")) {
    BOOST_TEST_CONTEXT(example["name"]) {
      const std::string name = example["name"];
      const auto values = source_values(source, name);
      const auto blocks = nf4_quantise(values, example["blocksize"]);
      BOOST_TEST(std::ranges::equal(blocks.codes, source.at(name + ".weight").as<std::uint8_t>()));
      if (!example["nested"])
        BOOST_TEST(std::ranges::equal(blocks.absmax, source.at(name + ".weight.absmax").as<float>()));
    }
  }
}

BOOST_AUTO_TEST_CASE(nested_maxima_are_as_close_as_the_packages) {
  // The package sums float32 for its mean, so bits may differ; the error must not be larger.
  const auto source = quant_tensors("nf4");
  for (const auto& example : quant_cases("nf4")) {
    if (!example["nested"]) continue;
    BOOST_TEST_CONTEXT(example["name"]) {
      const auto theirs = find(source, example).view();
      const auto blocks = nf4_quantise(source_values(source, example["name"]), example["blocksize"]);
      const auto nested = nf4_nest(blocks.absmax);
      BOOST_TEST(std::abs(nested.offset - theirs.nested_offset) <= 1e-6f * std::abs(theirs.nested_offset));
      auto ours = theirs;
      ours.nested_codes = nested.codes.data();
      ours.nested_absmax = nested.absmax.data();
      ours.nested_offset = nested.offset;
      double our_error = 0, their_error = 0;
      for (std::int64_t b = 0; b < theirs.blocks(); ++b) {
        our_error += std::abs(ours.scale(b) - blocks.absmax[static_cast<std::size_t>(b)]);
        their_error += std::abs(theirs.scale(b) - blocks.absmax[static_cast<std::size_t>(b)]);
      }
      BOOST_TEST(our_error <= 1.001 * their_error + 1e-9);
    }
  }
}

BOOST_AUTO_TEST_CASE(slices_are_parts_of_the_whole) {
  const auto source = quant_tensors("nf4");
  for (const auto& example : quant_cases("nf4")) {
    const auto view = find(source, example).view();
    const auto values = dequantise(view);
    for (const Range out : {Range{0, view.out}, Range{1, 4}, Range{view.out - 1, view.out}})
      for (const Range in : {Range{0, view.in}, Range{1, 4}, Range{3, view.in}, Range{view.in - 1, view.in}}) {
        const auto expected = rectangle(values, view.in, out, in);
        std::vector<float> part(expected.size());
        dequantise(view, out, in, part.data());
        BOOST_TEST(part == expected);
      }
  }
}

BOOST_AUTO_TEST_CASE(refuses_layers_by_name) {
  const auto source = quant_tensors("nf4");
  const auto complaint = [&](Variant variant) {
    const auto opened = variant.open();
    return error_text([&] { Nf4Tensors::find(opened, "nested", 24, 64).view(); });
  };
  const Variant good(source, "nested");
  const std::string weight = "nested.weight", state = weight + ".quant_state.bitsandbytes__nf4";
  BOOST_TEST(complaint(good) == "no error");
  for (const std::string missing :
       {"", ".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map", ".quant_state.bitsandbytes__nf4"}) {
    const auto text = complaint(Variant(good).without(weight + missing));
    BOOST_TEST(mentions(text, {"'" + weight + missing + "'", "variant.safetensors"}), text);
  }
  const auto absmax = complaint(Variant(good).with(weight + ".absmax", DType::uint8, {23}));
  BOOST_TEST(mentions(absmax, {weight + ".absmax", "23", "24"}), absmax);
  const auto wide = complaint(Variant(good).with(weight + ".absmax", DType::float32, {24}));
  BOOST_TEST(mentions(wide, {weight + ".absmax", "float32", "uint8"}), wide);
  const auto codes = complaint(Variant(good).with(weight, DType::uint8, {767, 1}));
  BOOST_TEST(mentions(codes, {weight, "767", "768"}), codes);
  for (const DType storage :
       {DType::bfloat16, DType::float16, DType::float32}) {  // as many elements, not as many bytes
    const auto text = complaint(Variant(good).with(weight, storage, {768, 1}));
    BOOST_TEST(mentions(text, {weight, std::to_string(768 * size_of(storage)), "768", "[768, 1]"}), text);
  }
  const auto whole = complaint(Variant(good).with(weight, DType::int64, {96, 1}));
  BOOST_TEST(mentions(whole, {weight, "int64", "bfloat16"}), whole);
  const std::string fp4 = weight + ".quant_state.bitsandbytes__fp4";
  const auto other = complaint(Variant(good).without(state).with(fp4, DType::uint8, {2}, "{}"));
  BOOST_TEST(mentions(other, {"nested", fp4, "expected nf4"}), other);

  const auto described = [&](const std::string& text) {
    return complaint(Variant(good).with(state, DType::uint8, {static_cast<std::int64_t>(text.size())}, text));
  };
  const auto refused = [&](const std::string& text, std::initializer_list<std::string> words) {
    const auto message = described(text);
    BOOST_TEST(mentions(message, words), message);
    BOOST_TEST(mentions(message, {state, "variant.safetensors"}), message);
  };
  refused("not JSON", {"JSON"});
  refused("\xff\xfe", {"JSON"});
  refused("[]", {"JSON"});
  refused("{}", {"quant_type"});
  const nlohmann::json right = {{"quant_type", "nf4"}, {"blocksize", 64},         {"dtype", "float32"},
                                {"shape", {24, 64}},   {"nested_blocksize", 256}, {"nested_dtype", "float32"},
                                {"nested_offset", 0.5}};
  BOOST_TEST(described(right.dump()) == "no error");
  const auto changed = [&](const char* key, const nlohmann::json& value) {
    auto json = right;
    json[key] = value;
    return json.dump();
  };
  refused(changed("quant_type", "fp4"), {"fp4", "nf4"});
  refused(changed("shape", {64, 24}), {"[64,24]", "[24, 64]"});
  refused(changed("shape", 3), {"3", "[24, 64]"});
  refused(changed("blocksize", 0), {"0"});
  refused(changed("blocksize", 100), {"100"});
  refused(changed("blocksize", "64"), {"JSON"});
  refused(changed("nested_dtype", "float16"), {"float16", "float32"});
  refused(changed("nested_offset", nullptr), {"JSON"});
}

BOOST_AUTO_TEST_SUITE_END()
