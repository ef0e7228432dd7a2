// core/json.hpp, core/parse_number.hpp and what model/config_json.hpp reads with them.
#include <malloc.h>

#include <boost/test/unit_test.hpp>
#include <fpf/core/json.hpp>
#include <fpf/core/parse_number.hpp>
#include <fpf/model/config_json.hpp>
#include <fstream>

#include "error_text.hpp"

BOOST_AUTO_TEST_SUITE(test_json)

using namespace fpf;
using nlohmann::json;

namespace {

std::string refused(const std::string& text, const JsonRules& rules = {}) {
  return error_text([&] { parse_json(text, "a.json", rules); });
}

}  // namespace

BOOST_AUTO_TEST_CASE(what_is_no_json_is_refused_by_name) {
  for (const std::string text : {"", "{", "{\"a\":1,}", "[1 2]", "01", "\"\xff\"", "nan", "{} {}"})
    BOOST_TEST(mentions(refused(text), {"a.json", "not JSON"}), text);
  std::ofstream("broken.json") << "{";
  BOOST_TEST(mentions(error_text([] { read_json("broken.json"); }), {"broken.json", "not JSON"}));
  BOOST_TEST(mentions(error_text([] { read_json("nowhere.json"); }), {"nowhere.json"}));
}

BOOST_AUTO_TEST_CASE(a_byte_order_mark_is_passed_over) {
  for (const JsonRules& rules : {JsonRules{}, JsonRules{.unique_keys = true, .levels = 3}})
    BOOST_TEST(parse_json("\xef\xbb\xbf{\"a\": 1}", "a.json", rules)["a"] == 1);
  BOOST_TEST(mentions(refused("\xef\xbb{}"), {"a.json", "not JSON"}));
  BOOST_TEST(mentions(refused("{\xef\xbb\xbf}"), {"a.json", "not JSON"}));
}

BOOST_AUTO_TEST_CASE(git_lfs_pointers_are_named_as_such) {
  const std::string pointer =
      "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
      "size 12345\n";
  BOOST_TEST(mentions(refused(pointer), {"a.json", "Git LFS pointer", "12345 bytes", "git lfs pull"}));
  BOOST_TEST(!is_git_lfs_pointer("{\"version\": \"https://git-lfs.github.com/spec/v1\"}"));
  BOOST_TEST(!is_git_lfs_pointer(pointer + std::string(1024, ' ')));
  BOOST_TEST(error_text([&] { refuse_git_lfs_pointer("text", "a"); }) == "no error");
}

BOOST_AUTO_TEST_CASE(stricter_rules_where_they_are_asked_for) {
  const std::string twice = R"({"a":[{"b":1,"c":{"b":2}},{"b":3,"b":4}]})";
  BOOST_TEST(parse_json(twice, "a.json")["a"][1]["b"] == 4);
  BOOST_TEST(mentions(refused(twice, {.unique_keys = true}), {"a.json", "'b'", "twice"}));
  BOOST_TEST(parse_json(R"([{"b":1},{"b":2}])", "a.json", {.unique_keys = true}).size() == 2u);
  BOOST_TEST(parse_json("[[[]]]", "a.json", {.levels = 3}).size() == 1u);
  BOOST_TEST(mentions(refused("[[[[]]]]", {.levels = 3}), {"a.json", "nests", "3"}));
}

BOOST_AUTO_TEST_CASE(nests_and_memory_are_bounded_whatever_is_asked_for) {
  const auto nest = [](std::size_t levels) { return std::string(levels, '[') + std::string(levels, ']'); };
  for (const bool unique : {false, true}) {
    const JsonRules rules{.unique_keys = unique};
    BOOST_TEST(parse_json(nest(256), "a.json", rules).size() == 1u);
    BOOST_TEST(mentions(refused(nest(257), rules), {"a.json", "nests deeper than 256 levels at byte 256"}));
    BOOST_TEST(mentions(refused(std::string(1'000'000, '['), rules), {"a.json", "nests deeper"}));
  }
  const std::string brackets = R"(["\"[[[[[[[[[[[", "\\\\"])";  // in strings they nest nothing
  BOOST_TEST(parse_json(brackets, "a.json", {.levels = 1}).size() == 2u);
  BOOST_TEST((parse_json<nlohmann::ordered_json>(R"({"b":1,"a":2})", "a.json").dump() == R"({"b":1,"a":2})"));
  std::size_t left = 1000;
  const JsonRules rules{.memory = &left};
  BOOST_TEST(parse_json("[1, 2, 3]", "a.json", rules).size() == 3u);
  BOOST_TEST(left == 1000u - 48 - 2 * 24);
  BOOST_TEST(mentions(refused("[" + std::string(100, ',') + "1]", rules), {"a.json", "more memory"}));
  BOOST_TEST(!try_parse_json(nest(257)).has_value());
  BOOST_TEST(!try_parse_json("{").has_value());
  BOOST_TEST((try_parse_json("[1]") == json{1}));
}

// What measure_json() says is not below what the tree takes, nor far above it.
BOOST_AUTO_TEST_CASE(the_account_of_memory_is_about_right) {
  const auto of = [](const std::string& one) {
    std::string text = "[";
    for (int i = 0; i < 100'000; ++i) text += one + ",";
    text += "0]";
    const struct mallinfo2 before = ::mallinfo2();
    const auto tree = nlohmann::json::parse(text);
    const struct mallinfo2 after = ::mallinfo2();
    const auto taken = static_cast<double>(after.uordblks + after.hblkhd - before.uordblks - before.hblkhd);
    return static_cast<double>(measure_json(text, json_levels, ~std::size_t{0}).memory) / taken;
  };
  for (const char* one : {"1", "1.5", "[]", "{}", "[[]]", "{\"a\":1}", "{\"a\":{\"b\":[]}}", "\"a\"", "[1,2,3,4]",
                          "\"a text that is longer than fifteen bytes\"", "{\"a longer key than fifteen\":null}"}) {
    const double ratio = of(one);
    BOOST_TEST((ratio > 0.7 && ratio < 3), one << ": " << ratio);
  }
}

BOOST_AUTO_TEST_CASE(look_ups_name_the_key_and_the_place) {
  const json object = {{"n", 3}, {"s", "x"}, {"null", nullptr}, {"zero", 0}};
  const JsonObject in(object, "a.json");
  BOOST_TEST(in.get<int>("n") == 3);
  BOOST_TEST(in.get_or("null", 7) == 7);
  BOOST_TEST(in.up_to(3, "n") == 3);
  in.require<std::string>("s", {"w", "x"});
  in.require<std::string>("missing", {"w"});
  const auto refuses = [](auto look_up, std::initializer_list<std::string> words) {
    const auto text = error_text(look_up);
    BOOST_TEST(mentions(text, words), text);
  };
  refuses([&] { in.get<int>("null"); }, {"a.json", "lacks 'null'"});
  refuses([&] { in.get<int>("s"); }, {"a.json", "'s'", "\"x\"", "another type"});
  refuses([&] { in.positive("zero"); }, {"a.json", "'zero'", "positive"});
  refuses([&] { in.up_to(2, "n"); }, {"a.json", "'n'", "from 1 to 2"});
  refuses([&] { in.require<int>("n", {4, 5}); }, {"a.json", "'n'", "3", "4 or 5"});
}

// A fraction is not cut off, and what is too large does not become another number.
BOOST_AUTO_TEST_CASE(whole_numbers_are_those_that_fit) {
  const json object = {{"half", 2.5},   {"float", 3.0},         {"huge", 6.7e129}, {"billions", 3'000'000'000},
                       {"minus", -1},   {"list", {1, 2.5}},     {"truth", true},   {"ids", {1, 2}},
                       {"text", "two"}, {"largest", ~0ull >> 1}};
  const JsonObject in(object, "a.json");
  for (const char* key : {"half", "float", "huge", "billions", "truth", "text", "list"})
    BOOST_TEST(mentions(error_text([&] { in.get<int>(key); }), {"a.json", key, "another type"}), key);
  BOOST_TEST(mentions(error_text([&] { in.get<std::vector<int>>("list"); }), {"'list'", "another type"}));
  BOOST_TEST(mentions(error_text([&] { in.get<std::vector<int>>("half"); }), {"'half'", "another type"}));
  BOOST_TEST(mentions(error_text([&] { in.get<unsigned>("minus"); }), {"'minus'", "another type"}));
  BOOST_TEST(in.get<std::int64_t>("billions") == 3'000'000'000);
  BOOST_TEST(in.get<std::int64_t>("largest") == 9223372036854775807);
  BOOST_TEST((in.get<std::vector<std::int64_t>>("ids") == std::vector<std::int64_t>{1, 2}));
  BOOST_TEST(in.get<double>("minus") == -1.0);
  BOOST_TEST(in.get<std::string>("text") == "two");
}

BOOST_AUTO_TEST_CASE(numbers_are_the_whole_text) {
  BOOST_TEST((parse_number<int>("-12") == -12));
  BOOST_TEST((parse_number<std::int64_t>("9223372036854775807") == 9223372036854775807));
  for (const char* text : {"", "1x", "x1", " 1", "1 ", "+1", "0x1", "99999999999"})
    BOOST_TEST(!parse_number<int>(text).has_value(), text);
  BOOST_TEST(!parse_number<unsigned>("-1").has_value());
}

BOOST_AUTO_TEST_CASE(a_models_dtype_is_a_floating_point_type) {
  json config = {{"architectures", {"LlamaForCausalLM"}},
                 {"vocab_size", 8},
                 {"hidden_size", 8},
                 {"intermediate_size", 8},
                 {"num_hidden_layers", 1},
                 {"num_attention_heads", 2},
                 {"rms_norm_eps", 1e-6},
                 {"max_position_embeddings", 8}};
  for (const std::string name : {"float32", "float16", "bfloat16", "float64"}) {
    config["torch_dtype"] = name;
    BOOST_TEST(name_of(model::config_from_json(config, "config.json").dtype) == name);
  }
  for (const std::string name : {"int16", "bool", "fp8"}) {
    config["torch_dtype"] = name;
    BOOST_TEST(mentions(error_text([&] { model::config_from_json(config, "config.json"); }),
                        {"config.json", "torch_dtype", name, "bfloat16"}));
  }
}

BOOST_AUTO_TEST_SUITE_END()
