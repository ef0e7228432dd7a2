// weights/gguf.hpp and gguf_blocks.hpp: files and values made by the gguf package (fixtures/make_weights.py),
// the embedded default model, and files that lie.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <filesystem>
#include <fpf/core/hash.hpp>
#include <fpf/weights/gguf.hpp>
#include <fpf/weights/gguf_blocks.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

#include "error_text.hpp"
#include "gguf_file.hpp"

BOOST_AUTO_TEST_SUITE(test_gguf)

using namespace fpf;
using namespace fpf::weights;
namespace fs = std::filesystem;

namespace {

const fs::path fixtures = fs::path(FPF_FIXTURES) / "weights";

nlohmann::json expectations(const char* name) { return nlohmann::json::parse(std::ifstream(fixtures / name)); }

std::string sha_of(std::span<const float> values) { return sha256_hex(std::as_bytes(values)); }

/// "Q4_1" and so on, as the gguf package names what this reader calls `format`.
std::string package_name(Format format) {
  switch (format) {
    case Format::float32:
      return "F32";
    case Format::float16:
      return "F16";
    case Format::bfloat16:
      return "BF16";
    default:
      return std::string(name_of(format));
  }
}

/// Builds GGUF bytes piece by piece, right or wrong.
struct Builder {
  std::string bytes;

  template <class T>
  Builder& number(T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof(T));
    return *this;
  }
  Builder& text(const std::string& value) {
    number<std::uint64_t>(value.size());
    bytes += value;
    return *this;
  }
  Builder& head(std::uint64_t tensors, std::uint64_t keys, std::uint32_t version = 3) {
    bytes += "GGUF";
    return number(version).number(tensors).number(keys);
  }
  Builder& tensor(const std::string& name, const std::vector<std::uint64_t>& dims, std::uint32_t type,
                  std::uint64_t offset) {
    text(name).number(static_cast<std::uint32_t>(dims.size()));
    for (const auto dim : dims) number(dim);
    return number(type).number(offset);
  }
  Builder& data(std::size_t count) {
    bytes.resize((bytes.size() + 31) / 32 * 32, '\0');
    bytes.append(count, '\0');
    return *this;
  }
};

std::string complaint(const Builder& builder) {
  std::ofstream("bad.gguf", std::ios::binary) << builder.bytes;
  return error_text([] { GgufFile("bad.gguf"); });
}

void refused(const Builder& builder, std::initializer_list<std::string> words) {
  const auto text = complaint(builder);
  BOOST_TEST(mentions(text, words), text);
  BOOST_TEST(mentions(text, {"bad.gguf"}), text);
}

}  // namespace

BOOST_AUTO_TEST_CASE(reads_every_kind_of_value) {
  const GgufFile file(fixtures / "small.gguf");
  const auto& meta = file.metadata();
  BOOST_TEST(meta.get<std::string>("general.architecture") == "llama");
  BOOST_TEST(meta.get<std::uint8_t>("kv.u8") == 255);
  BOOST_TEST(meta.get<std::int8_t>("kv.i8") == -128);
  BOOST_TEST(meta.get<int>("kv.u16") == 65535);
  BOOST_TEST(meta.get<std::int64_t>("kv.i16") == -32768);
  BOOST_TEST(meta.get<std::uint32_t>("kv.u32") == 4294967295u);
  BOOST_TEST(meta.get<int>("kv.i32") == std::numeric_limits<int>::min());
  BOOST_TEST(meta.get<std::uint64_t>("kv.u64") == std::numeric_limits<std::uint64_t>::max());
  BOOST_TEST(meta.get<std::int64_t>("kv.i64") == std::numeric_limits<std::int64_t>::min());
  BOOST_TEST(meta.get<float>("kv.f32") == 0.1f);
  BOOST_TEST(meta.get<double>("kv.f64") == 0.1);
  BOOST_TEST(meta.get<double>("kv.u8") == 255.0);
  BOOST_TEST(meta.get<bool>("kv.yes"));
  BOOST_TEST(!meta.get<bool>("kv.no"));
  BOOST_TEST(meta.get<std::string_view>("kv.text") == "Grüße, 世界");
  BOOST_TEST((meta.strings("kv.strings") == std::vector<std::string_view>{"a", "", "Ġthe", "\u200d"}));
  BOOST_TEST((meta.integers("kv.ints") == std::vector<std::int64_t>{1, -2, 3}));
  BOOST_TEST((meta.get<std::vector<double>>("kv.floats") == std::vector<double>{0.5, -1.25}));
  BOOST_TEST((meta.integers("kv.bools") == std::vector<std::int64_t>{1, 0}));
  BOOST_TEST(meta.get_or<int>("kv.none", 7) == 7);
}

BOOST_AUTO_TEST_CASE(says_which_value_is_not_what_was_wanted) {
  const GgufFile file(fixtures / "small.gguf");
  const auto& meta = file.metadata();
  BOOST_TEST(mentions(error_text([&] { meta.get<int>("kv.none"); }), {"kv.none", "small.gguf", "missing"}));
  BOOST_TEST(mentions(error_text([&] { meta.get<int>("kv.text"); }), {"kv.text", "a string", "an integer"}));
  BOOST_TEST(mentions(error_text([&] { meta.get<std::int64_t>("kv.u64"); }), {"kv.u64", "9223372036854775807"}));
  BOOST_TEST(mentions(error_text([&] { meta.get<std::uint8_t>("kv.i8"); }), {"kv.i8", "0 to 255"}));
  BOOST_TEST(mentions(error_text([&] { meta.get<bool>("kv.u8"); }), {"kv.u8", "a boolean"}));
  BOOST_TEST(mentions(error_text([&] { meta.get<std::string>("kv.u8"); }), {"kv.u8", "a string"}));
  BOOST_TEST(mentions(error_text([&] { meta.get_or<int>("kv.f64", 1); }), {"kv.f64", "a float"}));
  BOOST_TEST(mentions(error_text([&] { meta.strings("kv.ints"); }), {"kv.ints", "an array of strings"}));
}

BOOST_AUTO_TEST_CASE(dequantises_as_the_gguf_package_does) {
  const GgufFile file(fixtures / "small.gguf");
  const auto expected = expectations("gguf.json");
  for (const auto& [name, what] : expected.items()) {
    BOOST_TEST_CONTEXT(name) {
      const auto& tensor = file.at(name);
      BOOST_TEST(package_name(tensor.format) == what["type"].get<std::string>());
      BOOST_TEST((tensor.shape == what["shape"].get<std::vector<std::int64_t>>()));
      std::vector<float> all(static_cast<std::size_t>(tensor.elements()));
      dequantise(tensor, 0, all);
      BOOST_TEST(sha_of(all) == what["sha256"].get<std::string>());
      const auto columns = tensor.shape[1];
      std::vector<float> row(static_cast<std::size_t>(columns));
      dequantise(tensor, 3 * columns, row);
      BOOST_TEST(sha_of(row) == what["row3"].get<std::string>());
    }
  }
  BOOST_TEST((file.at("stacked").shape == std::vector<std::int64_t>{2, 3, 4}));
}

BOOST_AUTO_TEST_CASE(refuses_ranges_that_cut_blocks_or_leave_the_tensor) {
  const GgufFile file(fixtures / "small.gguf");
  const auto& tensor = file.at("Q4_0.weight");  // [5, 96]
  std::vector<float> out(32);
  const auto text = [&](std::int64_t first) { return error_text([&] { dequantise(tensor, first, out); }); };
  BOOST_TEST(text(448) == "no error");
  for (const std::int64_t first : {-32, 16, 449, 480, 1 << 20})
    BOOST_TEST(mentions(text(first), {"Q4_0.weight", "480"}), text(first));
  out.resize(31);
  BOOST_TEST(mentions(text(0), {"Q4_0", "31"}), text(0));
  BOOST_TEST(mentions(error_text([&] { tensor.dtype(); }), {"Q4_0.weight", "small.gguf", "plain"}));
}

BOOST_AUTO_TEST_CASE(reads_the_default_model) {
  const fs::path path = fs::path(FPF_BUILD) / "models/SmolLM2-135M-Instruct.Q4_1.gguf";
  BOOST_REQUIRE_MESSAGE(fs::exists(path), path.string() + " is not there: cmake/setup.sh fetches it");
  const auto expected = expectations("smollm2.json");
  const GgufFile file(path);
  BOOST_TEST(file.size() == expected["tensors"].size());
  for (const auto& [name, what] : expected["tensors"].items()) {
    const auto& tensor = file.at(name);
    BOOST_TEST(package_name(tensor.format) == what["type"].get<std::string>(), name);
    BOOST_TEST((tensor.shape == what["shape"].get<std::vector<std::int64_t>>()), name);
    if (!what.contains("rows")) continue;
    for (const auto& [row, sha] : what["rows"].items()) {
      std::vector<float> values(static_cast<std::size_t>(tensor.shape.back()));
      dequantise(tensor, std::stoll(row) * tensor.shape.back(), values);
      BOOST_TEST(sha_of(values) == sha.get<std::string>(), name + " row " + row);
    }
  }
  const auto& meta = file.metadata();
  BOOST_TEST(meta.get<std::string>("general.architecture") == expected["scalars"]["general.architecture"]);
  BOOST_TEST(meta.get<int>("llama.block_count") == expected["scalars"]["llama.block_count"].get<int>());
  BOOST_TEST(meta.get<double>("llama.rope.freq_base") == expected["scalars"]["llama.rope.freq_base"].get<double>());
  BOOST_TEST(meta.get<std::string>("tokenizer.ggml.pre") == expected["scalars"]["tokenizer.ggml.pre"]);
  const auto& tokens = meta.strings("tokenizer.ggml.tokens");
  BOOST_TEST(tokens.size() == expected["token_count"].get<std::size_t>());
  std::string joined;
  for (const auto token : tokens) (joined += token) += '\0';
  joined.pop_back();
  BOOST_TEST(sha256_hex(joined) == expected["tokens_sha256"].get<std::string>());
}

BOOST_AUTO_TEST_CASE(every_truncation_is_refused) {
  const std::string whole(MappedFile(fixtures / "small.gguf").text());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto text = complaint({whole.substr(0, size)});
    // The last tensor's padding may be missing; everything else must be noticed.
    if (size < whole.size() - 32) BOOST_TEST(text != "no error", "truncated to " << size);
  }
}

BOOST_AUTO_TEST_CASE(refuses_heads_that_lie) {
  refused(Builder{"GGML"}, {"'GGUF'"});
  refused(Builder{}.head(0, 0, 2), {"version 2", "3"});
  refused(Builder{}.head(0, 0, 3u << 24), {"big-endian", "version 3"});
  refused(Builder{}.head(1ull << 60, 0), {"1152921504606846976 tensors"});
  refused(Builder{}.head(0, ~0ull), {"18446744073709551615 key-values"});
  BOOST_TEST(complaint(Builder{}.head(0, 0)) == "no error");
}

BOOST_AUTO_TEST_CASE(refuses_values_that_lie) {
  const auto key = [](std::uint32_t type) { return Builder{}.head(0, 1).text("k").number(type); };
  BOOST_TEST(complaint(key(0).number<std::uint8_t>(1)) == "no error");
  refused(key(13).number<std::uint64_t>(1), {"'k'", "type 13"});
  refused(key(4).number<std::uint16_t>(1), {"truncated", "4 bytes of k"});
  refused(key(7).number<std::uint8_t>(2), {"'k'", "boolean", "2"});
  refused(key(8).number<std::uint64_t>(~0ull), {"truncated", "18446744073709551615"});
  const auto array = [&](std::uint32_t type, std::uint64_t count) { return key(9).number(type).number(count); };
  refused(array(4, ~0ull / 2).number<std::uint64_t>(0), {"'k'", "9223372036854775807"});
  refused(array(8, 1ull << 40).number<std::uint64_t>(0), {"'k'", "1099511627776 strings"});
  refused(array(9, 1).number<std::uint32_t>(9).number<std::uint64_t>(1), {"'k'", "array of arrays"});
  refused(array(77, 0), {"'k'", "type 77"});
  refused(array(10, 1).number(~0ull), {"'k'", "18446744073709551615"});
  refused(
      Builder{}.head(0, 2).text("k").number(0u).number<std::uint8_t>(1).text("k").number(0u).number<std::uint8_t>(1),
      {"'k'", "twice"});
}

BOOST_AUTO_TEST_CASE(refuses_tensors_that_lie) {
  const auto one = [](std::vector<std::uint64_t> dims, std::uint32_t type, std::uint64_t offset = 0) {
    return Builder{}.head(1, 0).tensor("t", dims, type, offset).data(256);
  };
  BOOST_TEST(complaint(one({32, 2}, 0)) == "no error");
  BOOST_TEST(complaint(one({}, 0)) == "no error");
  // A type that fpf does not read is refused when somebody asks for the tensor; its size is known before.
  for (const auto& [type, name] :
       std::map<std::uint32_t, std::string>{{12, "Q4_K"}, {14, "Q6_K"}, {4, "number 4"}, {4000, "number 4000"}}) {
    BOOST_TEST(complaint(one({256}, type)) == "no error");
    const auto text = error_text([] { GgufFile("bad.gguf").at("t"); });
    BOOST_TEST(mentions(text, {"'t'", "bad.gguf", name, "Q4_0"}), text);
  }
  refused(one({512}, 14), {"'t'", "420 bytes", "256"});
  refused(one({255}, 14), {"'t'", "[255]", "Q6_K", "256"});
  refused(one({1, 1, 1, 1, 1}, 0), {"'t'", "5 dimensions"});
  refused(one({33}, 2), {"'t'", "[33]", "Q4_0", "32"});
  refused(one({16, 2}, 8), {"'t'", "[2, 16]", "Q8_0"});
  refused(one({1ull << 32, 1ull << 32}, 0), {"'t'", "4294967296"});
  refused(one({1ull << 63}, 0), {"'t'", "-9223372036854775808"});
  refused(one({65}, 0), {"'t'", "260 bytes", "256"});
  refused(one({8}, 0, 8), {"'t'", "offset 8", "32"});
  refused(one({8}, 0, 256), {"'t'", "offset 256"});
  refused(one({8}, 0, ~31ull), {"'t'", "18446744073709551584"});
  const auto two = [](const std::string& second, std::uint64_t offset) {
    return Builder{}.head(2, 0).tensor("t", {16}, 0, 0).tensor(second, {8}, 0, offset).data(256);
  };
  BOOST_TEST(complaint(two("u", 64)) == "no error");
  refused(two("u", 32), {"'t'", "'u'", "overlap"});
  refused(two("t", 64), {"'t'", "twice"});
  const auto aligned = [](std::uint32_t alignment) {
    return Builder{}.head(0, 1).text("general.alignment").number(4u).number(alignment).data(64);
  };
  BOOST_TEST(complaint(aligned(64)) == "no error");
  refused(aligned(0), {"general.alignment", "0"});
  refused(aligned(24), {"general.alignment", "24"});
}

namespace {

/// A model of three tensors in parts "model-0000N-of-0000M.gguf" in the fresh folder "split".
GgufContent three_tensors() {
  GgufContent out;
  out.text("general.architecture", "llama");
  out.number("llama.block_count", 7);
  for (const char* name : {"a", "b", "c"}) out.floats(name, {static_cast<float>(name[0])});
  return out;
}
void split(std::uint16_t parts) {
  fs::remove_all("split");
  fs::create_directory("split");
  write_split(three_tensors(), "split", "model", parts);
}
std::string split_complaint(const std::string& file) {
  return error_text([&] { GgufFile(fs::path("split") / file); });
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_split_model_is_read_whole_from_any_part) {
  split(3);
  for (int part = 1; part <= 3; ++part) {
    const GgufFile file(fmt::format("split/model-0000{}-of-00003.gguf", part));
    BOOST_TEST((file.names() == std::vector<std::string>{"a", "b", "c"}));
    for (const char* name : {"a", "b", "c"}) BOOST_TEST(file.at(name).as<float>()[0] == static_cast<float>(name[0]));
    BOOST_TEST(file.metadata().get<int>("llama.block_count") == 7);
    BOOST_REQUIRE(file.files().size() == 3u);
    for (std::size_t i = 0; i < 3; ++i)
      BOOST_TEST(file.files()[i].filename().string() == fmt::format("model-0000{}-of-00003.gguf", i + 1));
  }
  BOOST_TEST(GgufFile::model_name("x/model-00002-of-00003.gguf") == "model");
  BOOST_TEST(GgufFile::model_name("x/model-00004-of-00003.gguf") == "model-00004-of-00003");
}

BOOST_AUTO_TEST_CASE(a_split_model_whose_parts_do_not_belong_together) {
  split(3);
  fs::remove("split/model-00002-of-00003.gguf");
  BOOST_TEST(mentions(split_complaint("model-00003-of-00003.gguf"), {"split/model-00002-of-00003.gguf is missing"}));
  fs::copy_file("split/model-00003-of-00003.gguf", "split/model-00002-of-00003.gguf");
  BOOST_TEST(mentions(split_complaint("model-00001-of-00003.gguf"), {"model-00002-of-00003.gguf", "part 3 of 3"}));
  BOOST_TEST(mentions(split_complaint("model-00002-of-00003.gguf"), {"part 3 of 3", "its name says part 2 of 3"}));
  fs::copy_file("split/model-00003-of-00003.gguf", "split/renamed.gguf");
  BOOST_TEST(mentions(split_complaint("renamed.gguf"), {"renamed.gguf", "part 3 of 3", "-00003-of-00003.gguf"}));

  const auto second = [](auto change) {
    split(2);
    GgufContent part;
    part.small("split.no", 1);
    part.small("split.count", 2);
    part.number("split.tensors.count", 3);
    part.floats("b", {1});
    change(part);
    part.write("split/model-00002-of-00002.gguf");
    return split_complaint("model-00001-of-00002.gguf");
  };
  BOOST_TEST(second([](GgufContent&) {}) == "no error");
  const auto text = [&](auto change, std::initializer_list<std::string> words) {
    const auto found = second(change);
    BOOST_TEST(mentions(found, words), found);
    BOOST_TEST(mentions(found, {"00002.gguf"}), found);
  };
  text([](GgufContent& c) { c.number("split.tensors.count", 4); }, {"4 tensors", "one of 3"});
  text([](GgufContent& c) { c.small("split.count", 3); }, {"part 2 of 3", "part 2 of 2"});
  text([](GgufContent& c) { c.keys.erase("split.count"); }, {"part 1 of 1"});
  text([](GgufContent& c) { c.tensors.clear(); }, {"2 tensors", "says 3"});
  text(
      [](GgufContent& c) {
        c.tensors.clear();
        c.floats("a", {1});
      },
      {"'a'", "twice", "00001-of-00002.gguf"});
  text([](GgufContent& c) { c.number("llama.block_count", 8); }, {"llama.block_count", "another"});
  text([](GgufContent& c) { c.number("llama.rope.x", 8); }, {"llama.rope.x", "first part"});

  GgufContent plain = three_tensors();
  plain.write("split/whole-00001-of-00002.gguf");
  BOOST_TEST(mentions(split_complaint("whole-00001-of-00002.gguf"), {"part 1 of 2 by its name", "split.count"}));
}

BOOST_AUTO_TEST_SUITE_END()
