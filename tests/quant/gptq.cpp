// quant/gptq_format.hpp against GPTQModel's packing and dequantisation (fixtures/make_quant.py).
#include <boost/test/unit_test.hpp>
#include <fpf/quant/gptq_format.hpp>

#include "error_text.hpp"
#include "quant_fixture.hpp"

BOOST_AUTO_TEST_SUITE(test_gptq)

using namespace fpf;
using namespace fpf::quant;

namespace {

QuantisationConfig config_of(std::int64_t group_size, const std::string& format = "gptq") {
  return read_quantisation(
      {{"quant_method", "gptq"}, {"bits", 4}, {"group_size", group_size}, {"checkpoint_format", format}}, Method::gptq);
}

GptqTensors find(const weights::TensorSource& source, const nlohmann::json& example) {
  return GptqTensors::find(source, config_of(example["group_size"], example["checkpoint_format"]),
                           example["name"].get<std::string>(), example["out"], example["in"]);
}

}  // namespace

BOOST_AUTO_TEST_CASE(dequantises_as_gptqmodel_does) {
  const auto source = quant_tensors("gptq");
  for (const auto& example : quant_cases("gptq")) {
    BOOST_TEST_CONTEXT(example["name"]) {
      const auto values = dequantise(find(source, example).view());
      BOOST_TEST(sha_as(example["own_dtype"], values) == example["own"].get<std::string>());
      for (const char* dtype : {"float32", "float16", "bfloat16"})
        BOOST_TEST(sha_as(dtype, values) == example[dtype].get<std::string>(), dtype);
    }
  }
}

BOOST_AUTO_TEST_CASE(packs_as_gptqmodel_does) {
  // Codes and zeros, judged by the hash of what the package was given, packed again into the package's own
  // words.
  const auto source = quant_tensors("gptq");
  for (const auto& example : quant_cases("gptq")) {
    BOOST_TEST_CONTEXT(example["name"]) {
      const std::string name = example["name"];
      const auto view = find(source, example).view();
      std::vector<std::uint8_t> codes, zeros;
      for (std::int64_t k = 0; k < view.in; ++k)
        for (std::int64_t c = 0; c < view.out; ++c)
          codes.push_back((static_cast<std::uint32_t>(view.qweight[k / 8 * view.out + c]) >> (4 * (k % 8))) & 15u);
      for (std::int64_t g = 0; g < view.groups; ++g)
        for (std::int64_t c = 0; c < view.out; ++c)
          zeros.push_back(static_cast<std::uint8_t>(quant::gptq_zero(view, g, c)));
      BOOST_TEST(sha256_hex(std::as_bytes(std::span(codes))) == example["codes"].get<std::string>());
      BOOST_TEST(sha256_hex(std::as_bytes(std::span(zeros))) == example["zeros"].get<std::string>());
      const int version = example["checkpoint_format"] == "gptq" ? 1 : 2;
      BOOST_TEST(std::ranges::equal(gptq_pack_codes(codes, view.out), source.at(name + ".qweight").as<std::int32_t>()));
      BOOST_TEST(std::ranges::equal(gptq_pack_zeros(zeros, view.out, version),
                                    source.at(name + ".qzeros").as<std::int32_t>()));
    }
  }
  const std::vector<std::uint8_t> zero(8, 0);
  BOOST_TEST(mentions(error_text([&] { gptq_pack_zeros(zero, 8, 1); }), {"0", "1 to 15"}));
}

BOOST_AUTO_TEST_CASE(slices_are_parts_of_the_whole) {
  const auto source = quant_tensors("gptq");
  for (const auto& example : quant_cases("gptq")) {
    BOOST_TEST_CONTEXT(example["name"]) {
      const auto whole = find(source, example).view();
      const auto values = dequantise(whole);
      for (const Range in : {Range{0, whole.in}, Range{8, 24}, Range{whole.in / 16 * 8, whole.in}})
        for (const Range out : {Range{0, whole.out}, Range{3, 8}, Range{whole.out - 5, whole.out}}) {
          const auto part = slice(whole, out, in);
          BOOST_TEST(dequantise(part) == rectangle(values, whole.out, in, out));
          const auto inner = slice(part, {1, part.out}, {8, part.in});
          BOOST_TEST(dequantise(inner) ==
                     rectangle(values, whole.out, {in.begin + 8, in.end}, {out.begin + 1, out.end}));
        }
    }
  }
  const auto whole = find(source, quant_cases("gptq")[0]).view();
  BOOST_TEST(mentions(error_text([&] { slice(whole, {0, 24}, {4, 12}); }), {"4 to 12", "8"}));
}

// GPTQModel makes version 1 of version 2 by a subtraction from whole words
// (convert_gptq_v2_to_v1_format_module): a zero of 0 borrows from its neighbour, and only an addition to the
// whole word gives both back.
BOOST_AUTO_TEST_CASE(version_1_is_undone_by_the_word) {
  const std::vector<std::uint32_t> zeros{0, 5, 0, 0, 15, 1, 8, 0};
  std::uint32_t word = 0;
  for (std::size_t i = 0; i < 8; ++i) word |= zeros[i] << (4 * i);
  const auto stored = static_cast<std::int32_t>(word - 0x11111111u);
  const GptqView view{
      .out = 8, .groups = 1, .qzeros = &stored, .qzeros_stride = 1, .zero_offset = gptq_v1_offset, .scales = {}};
  for (std::int64_t c = 0; c < 8; ++c) BOOST_TEST(quant::gptq_zero(view, 0, c) == zeros[static_cast<std::size_t>(c)]);
}

BOOST_AUTO_TEST_CASE(inputs_go_by_group_where_groups_are_equal) {
  const auto order = [](const std::vector<std::int32_t>& g_idx, std::int64_t groups) {
    return inputs_by_group(g_idx, groups);
  };
  BOOST_TEST(order({0, 0, 1, 1}, 2) == (std::vector<std::int32_t>{0, 1, 2, 3}));
  BOOST_TEST(order({1, 0, 2, 1, 0, 2}, 3) == (std::vector<std::int32_t>{1, 4, 0, 3, 2, 5}));
  for (const auto& unequal : {std::vector<std::int32_t>{1, 0, 0, 0, 1, 0}, {1, 0, 0, 0, 1}}) {
    const auto text = error_text([&] { order(unequal, 2); });
    BOOST_TEST(mentions(text, {std::to_string(unequal.size()) + " inputs", "2 groups", "unequal"}), text);
  }
}

namespace {

/// A configuration of `example` that says more of it.
QuantisationConfig saying(const nlohmann::json& example, nlohmann::json more) {
  more.update({{"quant_method", "gptq"}, {"bits", 4}, {"group_size", example["group_size"]}});
  if (!more.contains("checkpoint_format")) more["checkpoint_format"] = example["checkpoint_format"];
  return read_quantisation(more, Method::gptq);
}

nlohmann::json example_named(const std::string& name) {
  for (const auto& example : quant_cases("gptq"))
    if (example["name"] == name) return example;
  throw std::logic_error(name);
}

std::string words_of(std::initializer_list<std::uint32_t> words) {
  return {reinterpret_cast<const char*>(words.begin()), 4 * words.size()};
}

}  // namespace

// GPTQModel's own g_idx of layers without desc_act is k / group_size, which many files leave out.
BOOST_AUTO_TEST_CASE(without_g_idx_groups_follow_one_another) {
  const auto source = quant_tensors("gptq");
  for (const std::string name : {"v1_g32", "v2_g32", "g64", "column", "last_group_short"}) {
    const auto example = example_named(name);
    const auto opened = Variant(source, name).without(name + ".g_idx").open();
    for (const nlohmann::json& said : {nlohmann::json::object(), nlohmann::json{{"desc_act", false}}}) {
      const auto found = GptqTensors::find(opened, saying(example, said), name, example["out"], example["in"]);
      const auto values = dequantise(found.view());
      BOOST_TEST(sha_as(example["own_dtype"], values) == example["own"].get<std::string>(), name);
      const auto part = slice(found.view(), {0, found.out}, {8, found.in});
      BOOST_TEST(dequantise(part) == rectangle(values, found.out, {8, found.in}, {0, found.out}));
      BOOST_TEST(std::ranges::equal(found.groups_in_order(), source.at(name + ".g_idx").as<std::int32_t>()));
    }
    const auto text = error_text([&] {
      GptqTensors::find(opened, saying(example, {{"desc_act", true}}), name, example["out"], example["in"]);
    });
    if (name == "column")  // one group, in whatever order
      BOOST_TEST(text == "no error");
    else
      BOOST_TEST(mentions(text, {name + ".g_idx", "desc_act", "variant.safetensors"}), text);
  }
}

BOOST_AUTO_TEST_CASE(an_order_that_desc_act_denies_is_refused) {
  const auto source = quant_tensors("gptq");
  const auto complaint = [&](const std::string& name, const nlohmann::json& said) {
    const auto example = example_named(name);
    return error_text(
        [&] { GptqTensors::find(source, saying(example, said), name, example["out"], example["in"]).view(); });
  };
  for (const std::string name : {"act_order", "act_order_v2"}) {
    BOOST_TEST(complaint(name, nlohmann::json::object()) == "no error");
    BOOST_TEST(complaint(name, {{"desc_act", true}}) == "no error");
    const auto text = complaint(name, {{"desc_act", false}});
    BOOST_TEST(mentions(text, {name + ".g_idx", "gptq.safetensors", "desc_act false", "ignore g_idx"}), text);
  }
  for (const bool desc_act : {false, true}) BOOST_TEST(complaint("v1_g32", {{"desc_act", desc_act}}) == "no error");
}

// g128_sym was packed by GPTQModel with zeros of 8, in version 1: its words are 0x77777777.
BOOST_AUTO_TEST_CASE(zeros_that_contradict_sym_are_refused) {
  const auto source = quant_tensors("gptq");
  for (const auto word : source.at("g128_sym.qzeros").as<std::int32_t>()) BOOST_REQUIRE_EQUAL(word, 0x77777777);
  const auto complaint = [&](const nlohmann::json& said, const std::string& zeros = {}) {
    Variant variant(source, "g128_sym");
    if (!zeros.empty()) variant.with("g128_sym.qzeros", DType::int32, {2, 2}, zeros);
    const auto opened = variant.open();
    return error_text([&] { GptqTensors::find(opened, saying(example_named("g128_sym"), said), "g128_sym", 16, 256); });
  };
  const auto version_2 = words_of({0x88888888u, 0x88888888u, 0x88888888u, 0x88888888u});
  const nlohmann::json symmetric = {{"sym", true}}, v2 = {{"sym", true}, {"checkpoint_format", "gptq_v2"}};
  BOOST_TEST(complaint(symmetric) == "no error");
  BOOST_TEST(complaint(v2, version_2) == "no error");
  const auto taken_for_v1 = complaint(symmetric, version_2);
  BOOST_TEST(mentions(taken_for_v1, {"g128_sym.qzeros", "variant.safetensors", "stores the zero 8", "sym true",
                                     "version 1", "stored as 7", "all are those of gptq_v2"}),
             taken_for_v1);
  const auto taken_for_v2 = complaint(v2);
  BOOST_TEST(mentions(taken_for_v2, {"g128_sym.qzeros", "stores the zero 7", "gptq_v2", "stored as 8",
                                     "all are those of gptq (version 1)"}),
             taken_for_v2);
  // The very last of them.
  const auto last = words_of({0x77777777u, 0x77777777u, 0x77777777u, 0x67777777u});
  const auto one = complaint(symmetric, last);
  BOOST_TEST(mentions(one, {"stores the zero 6", "group 1, output 15", "stored as 7", "not symmetric"}), one);
  // Without a word of sym only zeros that are all the other version's are refused; with sym false none are.
  BOOST_TEST(mentions(complaint(nlohmann::json::object(), version_2), {"nothing of sym", "all are those of gptq_v2"}));
  BOOST_TEST(complaint(nlohmann::json::object(), last) == "no error");
  for (const auto& zeros : {version_2, last}) BOOST_TEST(complaint({{"sym", false}}, zeros) == "no error");
}

// What stands above the last output is nobody's zero.
BOOST_AUTO_TEST_CASE(padding_of_zeros_is_not_judged) {
  const auto source = quant_tensors("gptq");
  const auto opened =
      Variant(source, "odd_out")
          .with("odd_out.qzeros", DType::int32, {2, 3},
                words_of({0x77777777u, 0x77777777u, 0x12347777u, 0x77777777u, 0x77777777u, 0xfedc7777u}))
          .open();
  BOOST_TEST(error_text([&] {
               GptqTensors::find(opened, saying(example_named("odd_out"), {{"sym", true}}), "odd_out", 20, 64);
             }) == "no error");
}

BOOST_AUTO_TEST_CASE(refuses_layers_by_name) {
  const auto source = quant_tensors("gptq");
  const auto complaint = [&](Variant variant, std::int64_t group = 32) {
    const auto opened = variant.open();
    return error_text([&] { GptqTensors::find(opened, config_of(group), "v1_g32", 24, 64).view(); });
  };
  const Variant good(source, "v1_g32");
  BOOST_TEST(complaint(good) == "no error");
  for (const std::string missing : {"qweight", "qzeros", "scales"}) {
    const auto text = complaint(Variant(good).without("v1_g32." + missing));
    BOOST_TEST(mentions(text, {"v1_g32." + missing, "variant.safetensors"}), text);
  }
  for (const std::int32_t group : {-1, 2, 1 << 30}) {
    std::vector<std::int32_t> g_idx(64, 1);
    g_idx[17] = group;
    const std::string bytes(reinterpret_cast<const char*>(g_idx.data()), 256);
    const auto text = complaint(Variant(good).with("v1_g32.g_idx", DType::int32, {64}, bytes));
    BOOST_TEST(mentions(text, {"v1_g32.g_idx", "17", std::to_string(group), "2 groups"}), text);
  }
  const auto dtype = complaint(Variant(good).with("v1_g32.g_idx", DType::int64, {64}));
  BOOST_TEST(mentions(dtype, {"v1_g32.g_idx", "int64", "int32"}), dtype);
  const auto shape = complaint(good, 64);
  BOOST_TEST(mentions(shape, {"v1_g32.qzeros", "[2, 3]", "[1, 3]"}), shape);
}

BOOST_AUTO_TEST_SUITE_END()
