// evidence/reader.hpp: rows come back bit for bit, positions once, and every kind of bad file is named.
#include <sys/stat.h>

#include <bit>
#include <boost/test/unit_test.hpp>
#include <charconv>
#include <fpf/evidence/experiment_writer.hpp>
#include <fpf/evidence/reader.hpp>
#include <fstream>
#include <random>

#include "error_text.hpp"

BOOST_AUTO_TEST_SUITE(test_evidence_reader)

using namespace fpf;
using namespace fpf::evidence;

namespace {

/// A small experiment as text: two runs, two steps, one layer.
const std::string sound =
    R"({"experiment_metadata": {"experiment_type": "tp", "variable_tested": "tp_size", "model": "m"},
"configurations": [{"config_id": "A_1", "hardware": "A", "variable_value": 1}, {"config_id": "A_2", "hardware": "A", "variable_value": 2}],
"runs": [
 {"config_id": "A_1", "rep_id": 2, "prompt_text": "a \"quoted\" [bracket] \\", "runtime_seconds": 1.5, "decode_steps": [
  {"step": 0, "token_id": 7, "absolute_position": 10,
   "key_vectors": {"layer_3": {"pos_-3": [1, 2.5], "pos_-2": [-0.0, 1e-3], "pos_-1": [3, 4]}},
   "logprobs": {"pos_-1": {"token_ids": [15, 16], "log_probs": [-0.5, -1.25]}}},
  {"step": 1, "token_id": 8, "absolute_position": 11,
   "key_vectors": {"layer_3": {"pos_-3": [-0.0, 1e-3], "pos_-2": [3, 4], "pos_-1": [5, 6]}},
   "logprobs": {"pos_-1": {"token_ids": [1, 2, 3], "log_probs": [-1, -2, -3]}}}]},
 {"config_id": "A_2", "rep_id": 0, "decode_steps": []}]}
)";

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  const auto at = text.find(what);
  BOOST_REQUIRE_MESSAGE(at != text.npos, what << " is not in the text");
  return text.replace(at, what.size(), by);
}

ExperimentFile open(const std::string& text) {
  std::filesystem::remove("bad.json");  // or ext4 flushes every time
  std::ofstream("bad.json") << text;
  return open_experiment("bad.json");
}

std::string open_error(const std::string& text) {
  return error_text([&] { open(text); });
}

std::string read_error(const std::string& text) {
  return error_text([&] {
    const auto file = open(text);
    for (const auto& run : file.runs) {
      for (const auto signal : {StoredSignal::hidden_states, StoredSignal::key_vectors})
        for (const int layer : file.layers(signal)) read_rows<float>(file, run, signal, layer);
      read_rows<float>(file, run, StoredSignal::logprobs, -1);
    }
  });
}

std::string shortest(float value) {
  std::array<char, 32> buffer;
  return {buffer.data(), std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr};
}

}  // namespace

BOOST_AUTO_TEST_CASE(what_stands_in_the_file_is_found) {
  const auto file = open(sound);
  BOOST_TEST(file.metadata["model"] == "m");
  BOOST_REQUIRE(file.configurations.size() == 2u);
  BOOST_REQUIRE(file.runs.size() == 2u);
  const StoredRun& run = file.runs[0];
  BOOST_TEST(run.rep_id == 2);
  BOOST_TEST(run.members["runtime_seconds"] == 1.5);
  BOOST_TEST(*run.prompt_tokens == 10);
  BOOST_TEST(*run.steps[1].token_id == 8);
  BOOST_TEST(run.rows.size() == 8u);
  BOOST_TEST(file.runs[1].steps.empty());
  BOOST_TEST(file.layers(StoredSignal::key_vectors) == std::vector{3}, boost::test_tools::per_element());
  BOOST_TEST(file.layers(StoredSignal::hidden_states).empty());
  BOOST_TEST(nlohmann::json::parse(file.text(run))["rep_id"] == 2);
}

BOOST_AUTO_TEST_CASE(a_byte_order_mark_is_passed_over_and_a_git_lfs_pointer_named) {
  const auto file = open("\xef\xbb\xbf" + sound), same = open(sound);
  BOOST_TEST(file.runs.size() == same.runs.size());
  BOOST_TEST((file.metadata == same.metadata));
  BOOST_TEST(mentions(open_error("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"),
                      {"bad.json", "Git LFS pointer", "git lfs pull"}));
}

BOOST_AUTO_TEST_CASE(unique_rows_are_read_once_and_every_row_on_request) {
  const auto file = open(sound);
  const auto unique = read_rows<float>(file, file.runs[0], StoredSignal::key_vectors, 3);
  BOOST_TEST(unique.positions == (std::vector{-2, -1, 0, 1}), boost::test_tools::per_element());
  const std::vector<float> values{1, 2.5f, -0.0f, 1e-3f, 3, 4, 5, 6};
  BOOST_TEST(unique.values == values, boost::test_tools::per_element());
  BOOST_TEST(std::signbit(unique.row(1)[0]));
  BOOST_TEST(unique.contradictions == 0u);
  const auto every = read_rows<double>(file, file.runs[0], StoredSignal::key_vectors, 3, RowRule::every);
  BOOST_TEST(every.positions == (std::vector{-2, -1, 0, -1, 0, 1}), boost::test_tools::per_element());
  BOOST_TEST(every.row(1)[1] == 1e-3);
  const auto logprobs = read_rows<float>(file, file.runs[0], StoredSignal::logprobs, -1);
  BOOST_TEST(logprobs.row(0).size() == 2u);
  BOOST_TEST(logprobs.row(1).size() == 3u);
  BOOST_TEST(logprobs.row_ids(1)[2] == 3);
  BOOST_TEST(logprobs.row(1)[2] == -3.0f);
}

BOOST_AUTO_TEST_CASE(repeats_with_other_values_are_counted_and_other_spellings_are_not) {
  const auto other =
      open(replaced(sound, R"("pos_-2": [3, 4], "pos_-1": [5, 6])", R"("pos_-2": [3, 4.5], "pos_-1": [5, 6])"));
  BOOST_TEST(read_rows<float>(other, other.runs[0], StoredSignal::key_vectors, 3).contradictions == 1u);
  const auto spelt =
      open(replaced(sound, R"("pos_-2": [3, 4], "pos_-1": [5, 6])", R"("pos_-2": [3.0, 4e0], "pos_-1": [5, 6])"));
  BOOST_TEST(read_rows<float>(spelt, spelt.runs[0], StoredSignal::key_vectors, 3).contradictions == 0u);
}

BOOST_AUTO_TEST_CASE(steps_out_of_order_are_sorted_by_position) {
  std::string text = replaced(sound, R"("step": 0, "token_id": 7, "absolute_position": 10)",
                              R"("step": 9, "token_id": 7, "absolute_position": 19)");
  const auto file = open(text);
  const auto rows = read_rows<float>(file, file.runs[0], StoredSignal::key_vectors, 3);
  BOOST_TEST(rows.positions == (std::vector{-1, 0, 1, 7, 8, 9}), boost::test_tools::per_element());
  BOOST_TEST(rows.row(2)[0] == 5.0f);
  BOOST_TEST(rows.row(5)[1] == 4.0f);
}

BOOST_AUTO_TEST_CASE(escaped_keys_and_other_orders_are_the_same_file) {
  std::string text = replaced(sound, R"("runs":)", R"("r\u0075ns":)");
  text = replaced(text, R"("pos_-1": [5, 6])", R"("pos_\u002d1": [5, 6])");
  const auto file = open(text);
  BOOST_TEST(read_rows<float>(file, file.runs[0], StoredSignal::key_vectors, 3).row(3)[0] == 5.0f);
  auto content = nlohmann::ordered_json::parse(sound);
  nlohmann::ordered_json turned;
  for (const char* name : {"runs", "configurations", "experiment_metadata"}) turned[name] = content[name];
  turned["something_new"] = {1, 2, {{"a", nullptr}}};
  BOOST_TEST(open(turned.dump(3)).runs.size() == 2u);
}

BOOST_AUTO_TEST_CASE(shortest_decimals_of_every_dtype_come_back_bit_for_bit) {
  std::vector<float> values{7.038531e-26f, -7.038531e-26f};  // wrong by way of double
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits)
    for (const float value : {float32_from_bfloat16(static_cast<std::uint16_t>(bits)),
                              float32_from_float16(static_cast<std::uint16_t>(bits))})
      if (std::isfinite(value)) values.push_back(value);
  std::mt19937 random(7);
  while (values.size() < 400'000)
    if (const auto value = std::bit_cast<float>(static_cast<std::uint32_t>(random())); std::isfinite(value))
      values.push_back(value);
  std::string row;
  for (const float value : values) row += (row.empty() ? "" : ",") + shortest(value);
  const auto file = open(replaced(sound, "[5, 6]", "[" + row + "]"));
  const StoredRun& run = file.runs[0];
  fpf::evidence::detail::RowParser<float> parser(file, run);
  fpf::evidence::Rows<float> rows;
  for (const StoredRow& stored : run.rows)
    if (stored.length == row.size() + 2) parser.parse(stored, rows);
  const std::vector<float>& found = rows.values;
  BOOST_REQUIRE(found.size() == values.size());
  std::size_t unlike = 0;
  for (std::size_t i = 0; i < values.size(); ++i)
    unlike += std::bit_cast<std::uint32_t>(found[i]) != std::bit_cast<std::uint32_t>(values[i]);
  BOOST_TEST(unlike == 0u);
}

BOOST_AUTO_TEST_CASE(what_the_writer_writes_the_reader_reads) {
  Signals signals{
      .prompt_tokens = 20, .token_ids = {4, 5, 6}, .layers = {}, .logprobs = {.k = 2, .ids = {}, .values = {}}};
  std::mt19937 random(3);
  LayerSignals layer{
      .layer = 11, .hidden = {.dtype = DType::bfloat16, .width = 5}, .keys = {.dtype = DType::float16, .width = 3}};
  for (int i = 0; i < 5 * 5 * 2; ++i) layer.hidden.bytes.push_back(static_cast<std::byte>(random() % 0x7f));
  for (int i = 0; i < 5 * 3 * 2; ++i) layer.keys.bytes.push_back(static_cast<std::byte>(random() % 0x7b));
  signals.layers.push_back(layer);
  for (int i = 0; i < 5 * 2; ++i) {
    signals.logprobs.ids.push_back(static_cast<int>(random() % 1000));
    signals.logprobs.values.push_back(-static_cast<float>(random()) * 0x1p-30f);
  }
  RunRecord record;
  record.config_id = "A_1";
  record.rep_id = 2;
  record.token_texts = {"a", "\"b\"", "\xff"};
  record.signals = signals;
  ExperimentWriter writer("written.json", {{"experiment_type", "t"}, {"schema_version", 1}}, {"print"}, false);
  writer.add({{"config_id", "A_1"}, {"hardware", "A"}, {"variable_value", nullptr}}, {to_json(record)});
  writer.finish();
  const auto file = open_experiment("written.json");
  BOOST_REQUIRE(file.runs.size() == 1u);
  BOOST_TEST(*file.runs[0].prompt_tokens == 20);
  BOOST_TEST(*file.runs[0].steps[2].token_id == 6);
  const auto hidden = read_rows<float>(file, file.runs[0], StoredSignal::hidden_states, 11);
  const auto keys = read_rows<float>(file, file.runs[0], StoredSignal::key_vectors, 11);
  BOOST_REQUIRE(hidden.values.size() == 25u);
  BOOST_REQUIRE(keys.values.size() == 15u);
  for (std::size_t i = 0; i < 25; ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, layer.hidden.bytes.data() + 2 * i, 2);
    BOOST_TEST(bfloat16_from_float32(hidden.values[i]) == bits);
    if (i >= 15) continue;
    std::memcpy(&bits, layer.keys.bytes.data() + 2 * i, 2);
    BOOST_TEST(float16_from_float32(keys.values[i]) == bits);
  }
  const auto logprobs = read_rows<float>(file, file.runs[0], StoredSignal::logprobs, -1);
  BOOST_TEST(logprobs.values == signals.logprobs.values, boost::test_tools::per_element());
  BOOST_TEST(logprobs.ids == signals.logprobs.ids, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_file_cut_anywhere_is_an_error_that_names_it) {
  const std::size_t end = sound.rfind('}');
  for (std::size_t cut = 0; cut <= end; ++cut) {
    const std::string error = open_error(sound.substr(0, cut));
    BOOST_TEST_CONTEXT("cut at " << cut << ": " << error) BOOST_TEST(error.starts_with("bad.json: "));
    if (cut > 0) BOOST_TEST(mentions(error, {"byte"}));
  }
  BOOST_TEST(open_error(sound) == "no error");
}

BOOST_AUTO_TEST_CASE(damage_to_any_byte_ends_in_an_error_or_a_file) {
  for (std::size_t at = 0; at < sound.size(); ++at)
    for (const char c : {'[', ']', '{', '}', '"', ',', ':', '\\', 'x', '0', '\0', '\xff'}) {
      std::string text = sound;
      text[at] = c;
      const std::string error = read_error(text);  // anything but an fpf::Error escapes and fails the test
      BOOST_REQUIRE(error == "no error" || error.starts_with("bad.json: "));
    }
}

BOOST_AUTO_TEST_CASE(wrong_types_are_named_with_their_place) {
  const struct {
    const char *what, *by;
    std::initializer_list<std::string> words;
  } cases[] = {
      {R"("runs": [)", R"("runs": 5, "x": [)", {"runs", "expected an array", "'5'"}},
      {R"("configurations": [)",
       R"("configurations": {}, "x": [)",
       {"configurations", "expected an array", "an object"}},
      {R"({"experiment_type": "tp", "variable_tested": "tp_size", "model": "m"})",
       "3",
       {"experiment_metadata", "expected an object"}},
      {R"("config_id": "A_1", "hardware")", R"("config_id": 4, "hardware")", {"configurations[0]", "config_id"}},
      {R"("hardware": "A", "variable_value": 2)", R"("variable_value": 2)", {"configurations[1]", "hardware"}},
      {R"("variable_value": 2)", R"("variable_value": [2])", {"configurations[1]", "variable_value"}},
      {R"("rep_id": 2)", R"("rep_id": 2.5)", {"runs[0].rep_id", "expected an integer, found 2.5"}},
      {R"("rep_id": 2)", R"("rep_id": 99999999999)", {"runs[0].rep_id", "expected an integer"}},
      {R"("rep_id": 2)", R"("rep_id": "2")", {"runs[0].rep_id", "expected an integer"}},
      {R"({"config_id": "A_1", "rep_id")",
       R"({"config_id": null, "rep_id")",
       {"runs[0].config_id", "expected a string, found null"}},
      {R"({"config_id": "A_1", "rep_id")", R"({"rep_id")", {"runs[0]", "config_id"}},
      {R"({"config_id": "A_1", "rep_id")",
       R"({"config_id": "B_7", "rep_id")",
       {"runs[0]", "stands in configurations", "B_7"}},
      {R"("step": 1)", R"("step": -1)", {"runs[0].decode_steps[1].step", "-1"}},
      {R"("step": 1)", R"("step": 4000000000)", {"runs[0].decode_steps[1].step", "4000000000"}},
      {R"("token_id": 8)", R"("token_id": null)", {"decode_steps[1].token_id", "expected an integer, found null"}},
      {R"("absolute_position": 11)",
       R"("absolute_position": 12)",
       {"expected absolute_position 11 at step 1, found 12"}},
      {R"("decode_steps": [])",
       R"("decode_steps": {})",
       {"runs[1].decode_steps", "expected an array, found an object"}},
      {R"("decode_steps": [])", R"("decode_steps": [7])", {"runs[1].decode_steps[0]", "expected an object"}},
      {R"({"layer_3")",
       R"([], "x": {"layer_3")",
       {"decode_steps[0].key_vectors", "expected an object, found an array"}},
      {R"("pos_-3": [1, 2.5])",
       R"("pos_-3": 1)",
       {"decode_steps[0].key_vectors.layer_3.pos_-3", "expected an array of numbers"}},
      {R"({"token_ids": [15, 16], "log_probs": [-0.5, -1.25]})",
       "[1]",
       {"logprobs.pos_-1", "expected an object, found an array"}},
      {R"({"token_ids": [15, 16], "log_probs": [-0.5, -1.25]})",
       R"({"token_ids": [5]})",
       {"logprobs.pos_-1", "token_ids and log_probs"}},
      {R"("log_probs": [-0.5, -1.25])", R"("log_probs": 4)", {"logprobs.pos_-1.log_probs", "expected an array"}},
  };
  for (const auto& [what, by, words] : cases) {
    const std::string error = open_error(replaced(sound, what, by));
    BOOST_TEST_CONTEXT(by << " gives: " << error) {
      BOOST_TEST(error.starts_with("bad.json: "));
      BOOST_TEST(mentions(error, words));
    }
  }
}

BOOST_AUTO_TEST_CASE(rows_that_are_no_numbers_are_named_with_their_place) {
  const struct {
    const char *what, *by;
    std::initializer_list<std::string> words;
  } cases[] = {
      {"[5, 6]",
       "[5, null]",
       {"runs[0].decode_steps[1].key_vectors.layer_3.pos_-1[1]", "expected a number, found null"}},
      {"[5, 6]", "[5, NaN]", {"pos_-1[1]", "expected a number, found NaN"}},
      {"[5, 6]", "[-Infinity, 6]", {"pos_-1[0]", "found -Infinity"}},
      {"[5, 6]", R"([5, "6"])", {"pos_-1[1]", "found \"6\""}},
      {"[5, 6]", "[5, [6]]", {"pos_-1[1]", "found ["}},
      {"[5, 6]", "[5, 1e39]", {"pos_-1[1]", "out of range"}},
      {"[5, 6]", "[5, 1e999]", {"pos_-1[1]", "out of range"}},
      {"[5, 6]", "[5, 06]", {"pos_-1[1]", "found 06"}},
      {"[5, 6]", "[5, 6.]", {"pos_-1[1]", "found 6."}},
      {"[5, 6]", "[5, 6 7]", {"pos_-1"}},
      {"[5, 6]", "[5,, 6]", {"pos_-1[1]"}},
      {"[5, 6]", "[5, 6, 7]", {"pos_-1", "expected 2 numbers, as in the rows before, found 3"}},
      {"[5, 6]", "[]", {"pos_-1", "expected numbers, found none"}},
      {"[15, 16]", "[5]", {"logprobs.pos_-1", "expected as many token_ids as log_probs, found 1 and 2"}},
      {"[15, 16]", "[5, -6]", {"logprobs.pos_-1.token_ids[1]", "expected an id"}},
      {"[15, 16]", "[5, 6e1]", {"logprobs.pos_-1.token_ids[1]", "expected an id"}},
      {"[-0.5, -1.25]", "[-0.5, null]", {"logprobs.pos_-1.log_probs[1]", "expected a number, found null"}},
  };
  for (const auto& [what, by, words] : cases) {
    const std::string error = read_error(replaced(sound, what, by));
    BOOST_TEST_CONTEXT(by << " gives: " << error) {
      BOOST_TEST(mentions(error, {"bad.json: runs[0].decode_steps", "byte"}));
      BOOST_TEST(mentions(error, words));
    }
  }
}

BOOST_AUTO_TEST_CASE(keys_that_stand_twice_are_refused) {
  for (const auto& [what, by] : {std::pair{R"("model": "m")", R"("model": "m", "model": "n")"},
                                 std::pair{R"("step": 1,)", R"("step": 1, "step": 1,)"},
                                 std::pair{R"("pos_-1": [5, 6])", R"("pos_-1": [5, 6], "pos_\u002d1": [5, 6])"},
                                 std::pair{R"("token_ids": [15, 16])", R"("token_ids": [5, 6], "token_ids": [15, 16])"},
                                 std::pair{R"("runs": [)", R"("runs": [], "runs": [)"},
                                 std::pair{R"("rep_id": 0)", R"("rep_id": 0, "x": {"a": 1, "b": 2, "a": 3})"}}) {
    const std::string error = open_error(replaced(sound, what, by));
    BOOST_TEST_CONTEXT(by << " gives: " << error)
    BOOST_TEST(
        (mentions(error, {"bad.json: "}) && (mentions(error, {"twice"}) || mentions(error, {"empty \"runs\""}))));
  }
  BOOST_TEST(
      mentions(open_error(replaced(sound, R"("config_id": "A_2", "hardware")", R"("config_id": "A_1", "hardware")")),
               {"A_1", "twice"}));
  BOOST_TEST(
      mentions(open_error(replaced(sound, R"("config_id": "A_2", "rep_id": 0)", R"("config_id": "A_1", "rep_id": 2)")),
               {"runs[1]", "repetition 2 of \"A_1\" stands twice"}));
}

BOOST_AUTO_TEST_CASE(depth_and_emptiness_are_bounded) {
  const std::string deep(10'000, '['), back(10'000, ']');
  BOOST_TEST(mentions(open_error(replaced(sound, R"("rep_id": 0)", R"("rep_id": 0, "x": )" + deep + back)),
                      {"runs[1].x", "nested deeper than 256"}));
  BOOST_TEST(mentions(open_error(deep), {"bad.json", "expected an object"}));
  BOOST_TEST(mentions(read_error(replaced(sound, "[5, 6]", deep + back)), {"pos_-1", "nested deeper"}));
  BOOST_TEST(mentions(open_error("{}"), {"bad.json", "experiment_metadata"}));
  BOOST_TEST(mentions(open_error("[]"), {"expected an object, found an array"}));
  BOOST_TEST(mentions(open_error(sound + "{}"), {"expected the end of the file"}));
  BOOST_TEST(mentions(open_error(""), {"bad.json", "an empty file"}));
  auto content = nlohmann::json::parse(sound);
  content["runs"] = nlohmann::json::array();
  BOOST_TEST(mentions(open_error(content.dump()), {"expected at least one run", "empty \"runs\""}));
  content.erase("runs");
  BOOST_TEST(mentions(open_error(content.dump()), {"found no \"runs\""}));
}

BOOST_AUTO_TEST_CASE(schema_versions_are_checked) {
  BOOST_TEST(open_error(replaced(sound, R"("model": "m")", R"("schema_version": 1)")) == "no error");
  BOOST_TEST(mentions(open_error(replaced(sound, R"("model": "m")", R"("schema_version": 2)")),
                      {"expected schema_version 1, found 2"}));
  BOOST_TEST(mentions(open_error(replaced(sound, R"("runs": [)", R"("schema_version": "x", "runs": [)")),
                      {"expected schema_version 1, found \"x\""}));
}

BOOST_AUTO_TEST_CASE(what_is_no_file_is_refused_without_waiting) {
  BOOST_TEST(mentions(error_text([] { open_experiment("."); }), {"regular file", "a directory"}));
  BOOST_TEST(mentions(error_text([] { open_experiment("missing.json"); }), {"missing.json", "No such file"}));
  ::mkfifo("pipe.json", 0600);
  BOOST_TEST(mentions(error_text([] { open_experiment("pipe.json"); }), {"pipe.json", "regular file"}));
}

BOOST_AUTO_TEST_SUITE_END()
