// quant/awq_format.hpp against AutoAWQ's packing utilities (fixtures/make_quant.py), and quant_config.hpp's
// refusals.
#include <boost/test/unit_test.hpp>
#include <fpf/quant/awq_format.hpp>

#include "error_text.hpp"
#include "quant_fixture.hpp"

BOOST_AUTO_TEST_SUITE(test_awq)

using namespace fpf;
using namespace fpf::quant;

namespace {

QuantisationConfig config_of(std::int64_t group_size, bool zero_point = true) {
  return read_quantisation({{"quant_method", "awq"},
                            {"bits", 4},
                            {"group_size", group_size},
                            {"zero_point", zero_point},
                            {"version", "gemm"}},
                           Method::awq);
}

AwqTensors find(const weights::TensorSource& source, const nlohmann::json& example) {
  const std::string name = example["name"];
  return AwqTensors::find(source, config_of(example["group_size"], name != "no_zeros"), name, example["out"],
                          example["in"]);
}

}  // namespace

BOOST_AUTO_TEST_CASE(dequantises_as_autoawq_does) {
  const auto source = quant_tensors("awq");
  for (const auto& example : quant_cases("awq")) {
    BOOST_TEST_CONTEXT(example["name"]) {
      const auto values = dequantise(find(source, example).view());
      BOOST_TEST(sha_as(example["own_dtype"], values) == example["own"].get<std::string>());
      for (const char* dtype : {"float32", "float16", "bfloat16"})
        BOOST_TEST(sha_as(dtype, values) == example[dtype].get<std::string>(), dtype);
    }
  }
}

BOOST_AUTO_TEST_CASE(slices_are_parts_of_the_whole) {
  const auto source = quant_tensors("awq");
  for (const auto& example : quant_cases("awq")) {
    const auto whole = find(source, example).view();
    const auto values = dequantise(whole);
    // Inputs are cut inside groups too: a rank's share of 768 inputs in groups of 128 is 192.
    for (const Range in : {Range{0, whole.in}, Range{0, 17}, Range{31, 33}, Range{whole.in / 2 + 1, whole.in}})
      for (const Range out : {Range{0, whole.out}, Range{0, 8}, Range{whole.out - 8, whole.out}}) {
        if (in.end > whole.in) continue;
        const auto part = slice(whole, out, in);
        BOOST_TEST(dequantise(part) == rectangle(values, whole.out, in, out));
        std::vector<float> some(static_cast<std::size_t>(part.out));  // the last input alone, of a slice of the slice
        const auto inner = slice(part, {0, part.out}, {part.in - 1, part.in});
        dequantise(inner, 0, 1, some.data());
        BOOST_TEST(some == rectangle(values, whole.out, {in.end - 1, in.end}, out));
      }
  }
  const auto whole = find(source, quant_cases("awq")[0]).view();
  BOOST_TEST(mentions(error_text([&] { slice(whole, {4, 12}, {0, 64}); }), {"4 to 12", "8"}));
}

BOOST_AUTO_TEST_CASE(packs_what_it_unpacks) {
  // The words themselves come from the fixture's random bits: codes out of them, packed again, must be the
  // same words.
  const auto source = quant_tensors("awq");
  const auto words = source.at("wide.qweight").as<std::int32_t>();
  std::vector<std::uint8_t> codes(words.size() * 8);
  for (std::size_t w = 0; w < words.size(); ++w) quant::awq_unpack(words[w], codes.data() + 8 * w);
  BOOST_TEST(std::ranges::equal(awq_pack(codes, 1032), words));
  // Columns 0 to 7 of one word hold 0 to 7, by formats.md's order {0, 2, 4, 6, 1, 3, 5, 7} of nibbles.
  const std::vector<std::uint8_t> ascending{0, 1, 2, 3, 4, 5, 6, 7};
  BOOST_TEST(awq_pack(ascending, 8)[0] == 0x75316420);
  BOOST_TEST(mentions(error_text([&] { awq_pack(ascending, 7); }), {"8 codes", "7"}));
}

BOOST_AUTO_TEST_CASE(refuses_layers_by_name) {
  const auto source = quant_tensors("awq");
  const auto complaint = [&](Variant variant, std::int64_t out = 24, std::int64_t in = 64, std::int64_t group = 32) {
    const auto opened = variant.open();
    return error_text([&] { AwqTensors::find(opened, config_of(group), "g32", out, in); });
  };
  const Variant good(source, "g32");
  BOOST_TEST(complaint(good) == "no error");
  for (const std::string missing : {"qweight", "qzeros", "scales"}) {
    const auto text = complaint(Variant(good).without("g32." + missing));
    BOOST_TEST(mentions(text, {"g32." + missing, "variant.safetensors"}), text);
  }
  const auto shape = complaint(Variant(good).with("g32.scales", DType::float16, {2, 16}));
  BOOST_TEST(mentions(shape, {"g32.scales", "[2, 16]", "[2, 24]"}), shape);
  const auto dtype = complaint(Variant(good).with("g32.qweight", DType::int16, {64, 3}));
  BOOST_TEST(mentions(dtype, {"g32.qweight", "int16", "int32"}), dtype);
  BOOST_TEST(mentions(complaint(good, 20), {"g32", "[20, 64]"}));
  BOOST_TEST(mentions(complaint(good, 24, 64, 48), {"g32", "48"}));
  BOOST_TEST(mentions(complaint(good, 24, 128), {"g32.qweight", "[64, 3]", "[128, 3]"}));
}

// Engines that read zeros and engines that go by zero_point agree only where they are 8.
BOOST_AUTO_TEST_CASE(zeros_that_zero_point_denies_are_refused) {
  const auto source = quant_tensors("awq");
  const auto complaint = [&](Variant variant) {
    const auto opened = variant.open();
    return error_text([&] { AwqTensors::find(opened, config_of(32, false), "g32", 24, 64); });
  };
  const Variant given(source, "g32");
  const auto text = complaint(given);
  BOOST_TEST(mentions(text, {"g32.qzeros", "variant.safetensors", "zero_point false", "8"}), text);
  BOOST_TEST(complaint(Variant(given).with("g32.qzeros", DType::int32, {2, 3}, std::string(24, '\x88'))) == "no error");
  BOOST_TEST(complaint(Variant(given).without("g32.qzeros")) == "no error");
}

BOOST_AUTO_TEST_CASE(refuses_configurations_by_name) {
  const auto refused = [](const nlohmann::json& json, Method method, std::initializer_list<std::string> words) {
    const auto text = error_text([&] { read_quantisation(json, method); });
    BOOST_TEST(mentions(text, words), text);
  };
  refused(nullptr, Method::awq, {"no quantization_config", "awq"});
  refused(3, Method::awq, {"quantization_config", "3"});
  refused({{"quant_method", "gptq"}, {"bits", 4}}, Method::awq, {"'gptq'", "'awq'"});
  refused({{"quant_method", "awq"}, {"bits", 4}}, Method::bitsandbytes, {"'awq'", "'bitsandbytes'"});
  refused({{"quant_method", "fp8"}}, Method::awq, {"fp8", "awq", "gptq", "bitsandbytes"});
  refused({{"quant_method", "awq"}, {"bits", 8}}, Method::awq, {"'bits'", "8", "4"});
  refused({{"quant_method", "awq"}, {"bits", "four"}}, Method::awq, {"'bits'", "four"});
  refused({{"quant_method", "awq"}, {"version", "gemv"}}, Method::awq, {"'version'", "gemv", "gemm"});
  refused({{"quant_method", "awq"}, {"group_size", 0}}, Method::awq, {"'group_size'", "0"});
  refused({{"quant_method", "gptq"}, {"bits", 3}}, Method::gptq, {"'bits'", "3"});
  refused({{"quant_method", "gptq"}, {"checkpoint_format", "marlin"}}, Method::gptq, {"marlin", "gptq_v2"});
  refused({{"quant_method", "gptq"}, {"format", "marlin"}}, Method::gptq, {"'format'", "marlin", "gptq_v2"});
  refused({{"quant_method", "gptq"}, {"format", "gptq_v2"}, {"checkpoint_format", "gptq"}}, Method::gptq,
          {"'format'", "'gptq_v2'", "'checkpoint_format'", "'gptq'"});
  BOOST_TEST(!read_quantisation({{"quant_method", "gptq"}, {"format", "gptq_v2"}}, Method::gptq).zeros_are_one_less);
  refused({{"quant_method", "gptq"}, {"sym", "yes"}}, Method::gptq, {"'sym'", "yes"});
  refused({{"quant_method", "gptq"}, {"pack_dtype", "int16"}}, Method::gptq, {"'pack_dtype'", "int16"});
  refused({{"quant_method", "gptq"}, {"dynamic", {{"+:.*down.*", {{"bits", 8}}}}}}, Method::gptq,
          {"'dynamic'", "down"});
  refused({{"quant_method", "bitsandbytes"}, {"load_in_8bit", true}}, Method::bitsandbytes, {"load_in_8bit"});
  refused({{"quant_method", "bitsandbytes"}, {"load_in_4bit", true}, {"bnb_4bit_quant_type", "fp4"}},
          Method::bitsandbytes, {"bnb_4bit_quant_type", "fp4", "nf4"});
  const auto read = read_quantisation({{"quant_method", "gptq"},
                                       {"bits", 4},
                                       {"group_size", -1},
                                       {"desc_act", true},
                                       {"checkpoint_format", "gptq_v2"},
                                       {"modules_to_not_convert", {"lm_head"}},
                                       {"dynamic", {{"-:.*gate", nlohmann::json::object()}}}},
                                      Method::gptq);
  BOOST_TEST(read.group_size == -1);
  BOOST_TEST(!read.zeros_are_one_less);
}

BOOST_AUTO_TEST_SUITE_END()
