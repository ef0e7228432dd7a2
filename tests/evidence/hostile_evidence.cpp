// Readers of evidence (experiment files, what an interrupted one leaves, a campaign's journal) on files that are broken
// or made to break them.
#include <boost/test/unit_test.hpp>
#include <fpf/campaign/journal.hpp>
#include <fpf/evidence/reader.hpp>
#include <fpf/evidence/stored_signals.hpp>

#include "error_text.hpp"
#include "evidence.hpp"
#include "mutations.hpp"

BOOST_AUTO_TEST_SUITE(test_hostile_evidence)

namespace {

void read_all(const fs::path& path) {
  const ExperimentFile file = open_experiment(path);
  for (const StoredRun& run : file.runs)
    for (const auto signal : {StoredSignal::hidden_states, StoredSignal::key_vectors, StoredSignal::logprobs})
      for (const int layer : file.layers(signal)) read_rows<float>(file, run, signal, layer);
}

void read_back(const fs::path& path) {
  const ExperimentFile file = open_experiment(path);
  naming(path.string(), [&] {
    for (const StoredRun& run : file.runs) read_signals(file, run, read_texts(file, run).prompt_token_ids.size());
    return true;
  });
}

std::string own_file() {
  return text_of(write_experiment(fresh_folder("own") / "e.json", record_of(signals_of(fixture().at(0)))));
}

/// An experiment with `text` as its configurations' first member.
std::string with_configuration(const std::string& text) {
  return R"({"experiment_metadata":{},"configurations":[{"x":)" + text +
         R"(,"config_id":"a","hardware":"h"}],"runs":[{"config_id":"a","rep_id":0,"decode_steps":[]}]})";
}

std::string refusal(const std::string& text) {
  write("bad.json", text);
  return error_text([] { read_all("bad.json"); });
}

}  // namespace

BOOST_AUTO_TEST_CASE(mutations_of_experiments_are_read_or_refused_by_name) {
  std::vector<std::string> sound{own_file()};
  require_named_refusals(sound, "own.json", {"own.json"}, [] { read_back("own.json"); });
  for (const char* plans : {"plan0", "plans_own", "two_machines", "non_finite"})
    sound.push_back(text_of(fs::path(FPF_SOURCE) / "tests/fuzz/seeds/reader" / (std::string(plans) + ".json")));
  require_named_refusals(sound, "e.json", {"e.json"}, [] { read_all("e.json"); });
  require_modest_memory();
}

BOOST_AUTO_TEST_CASE(mutations_of_a_partial_file_are_taken_up_or_refused_by_name) {
  const auto path = fresh_folder("partial") / "e.json";
  const std::string partial = path.string() + ".partial";
  const ExperimentWriter::Origin origin{"fingerprint", {}};
  {
    ExperimentWriter writer(path, metadata(DType::float32), origin, false);
    writer.add(configuration("a"), {to_json(record_of(signals_of(fixture().at(0)), "a"))});
    writer.add(configuration("b"), {to_json(record_of(signals_of(fixture().at(0)), "b"))});
  }
  require_named_refusals({text_of(partial)}, partial, {partial},
                         [&] { ExperimentWriter(path, metadata(DType::float32), origin, true).finish(); });
}

BOOST_AUTO_TEST_CASE(mutations_of_a_journal_are_read_or_refused_by_name) {
  const std::string line = R"({"time":"2026","event":"finished","experiment":"exp0_reference","options":"x"})";
  Mutations mutations({line + "\n" + line + "\n"});
  for (int i = 0; i < 1500; ++i) {
    write("j.journal", mutations.next());
    const std::string said =
        error_text([] { campaign::Journal("j.journal", true).last("finished", "exp0_reference"); });
    BOOST_TEST((said == "no error" || mentions(said, {"j.journal"})), said);
  }
}

BOOST_AUTO_TEST_CASE(nests_that_would_take_the_stack_are_refused) {
  for (const std::string& deep : deep_json()) {
    BOOST_TEST(mentions(refusal(with_configuration(deep)), {"bad.json", "configurations", "byte", "nested deeper"}));
    BOOST_TEST(mentions(refusal(deep), {"bad.json"}));
    const auto path = fresh_folder("deep") / "e.json";
    const std::string partial = path.string() + ".partial";
    for (const std::string& text :
         {R"({"experiment_metadata":)" + deep + R"(,"fingerprint":"f"})" + "\n",
          R"({"experiment_metadata":{},"fingerprint":"f"})" + ("\n{\"configuration\":" + deep) + ",\"runs\":[]}\n"}) {
      write(partial, text);
      BOOST_TEST(mentions(error_text([&] { ExperimentWriter(path, {}, {"f", {}}, true); }), {partial, "damaged"}));
    }
    write("deep.journal", deep + "\n{\"event\":\"x\",\"experiment\":\"y\"}\n");
    BOOST_TEST(campaign::Journal("deep.journal", true).last("x", "y").is_object());
  }
}

BOOST_AUTO_TEST_CASE(what_is_kept_of_a_file_has_one_budget) {
  const auto too_much = [](const std::string& text) {
    return mentions(refusal(text), {"bad.json", "256 MB of memory"});
  };
  BOOST_TEST(too_much(with_configuration(wide_json())));
  const auto repeated = [](const std::string& one, std::size_t bytes) {
    std::string out;
    while (out.size() < bytes) out += one + ",";
    return out + one;
  };
  const std::string small = "[" + repeated("[]", 100'000) + "]";  // far below the limit of one
  std::string many = R"({"experiment_metadata":{},"configurations":[)";
  for (int i = 0; i < 120; ++i) many += fmt::format(R"({{"config_id":"c{}","hardware":"h","x":{}}},)", i, small);
  BOOST_TEST(too_much(many));
  const std::string head = R"({"experiment_metadata":{},"configurations":[{"config_id":"a","hardware":"h"}],"runs":[)",
                    run = R"({"config_id":"a","decode_steps":[)";
  BOOST_TEST(too_much(head + run + repeated("{}", std::size_t{16} << 20)));
  BOOST_TEST(too_much(head + repeated(R"({"config_id":"a"})", std::size_t{12} << 20)));
  BOOST_TEST(too_much("{" + repeated(R"("a":1)", std::size_t{52} << 20)));  // keys, until the object is left
  require_modest_memory();
}

// Else a look-up somewhere in a program would find another type than it asks for.
BOOST_AUTO_TEST_CASE(members_of_other_types_than_programs_look_up_are_refused_by_name) {
  const auto members = [](std::span<const TypedMember> all, const char* place, auto put) {
    for (const TypedMember& member : all) {
      const std::string path(member.path);
      const bool wants_text = member.type == MemberType::string;
      nlohmann::json value = wants_text ? nlohmann::json(7) : nlohmann::json("x");
      for (std::string rest = path; !rest.empty();) {  // from the innermost outwards
        const auto slash = rest.rfind('/');
        const std::string key = rest.substr(slash == rest.npos ? 0 : slash + 1);
        value = key == "*" ? nlohmann::json::array({value}) : nlohmann::json{{key, value}};
        rest.resize(slash == rest.npos ? 0 : slash);
      }
      nlohmann::json file = {{"experiment_metadata", nlohmann::json::object()},
                             {"configurations", {{{"config_id", "a"}, {"hardware", "h"}}}},
                             {"runs", {{{"config_id", "a"}, {"decode_steps", nlohmann::json::array()}}}}};
      put(file).update(value);
      BOOST_TEST(mentions(refusal(file.dump()), {"bad.json", place, path, wants_text ? "found 7" : "found \"x\""}),
                 path);
    }
  };
  members(
      metadata_types, "experiment_metadata", [](auto& file) -> auto& { return file["experiment_metadata"]; });
  members(
      configuration_types, "configurations[0]", [](auto& file) -> auto& { return file["configurations"][0]; });
  members(
      run_types, "runs[0]", [](auto& file) -> auto& { return file["runs"][0]; });
}

// A cast would make another token of it.
BOOST_AUTO_TEST_CASE(ids_that_no_token_has_are_refused_by_name) {
  for (const char* member : {"token_id", "chosen_token_id"})
    for (const char* id : {"4294967301", "2147483648", "-1", "-4294967291"})
      BOOST_TEST(mentions(refusal(fmt::format(
                              R"({{"experiment_metadata":{{}},"configurations":[{{"config_id":"a","hardware":"h"}}],)"
                              R"("runs":[{{"config_id":"a","decode_steps":[{{"{}":{}}}]}}]}})",
                              member, id)),
                          {"bad.json", std::string("runs[0].decode_steps[0].") + member, "from 0 to 2147483647", id}));
}

// Keys are given back, so that a file may be as long as it likes.
BOOST_AUTO_TEST_CASE(a_long_file_of_many_small_objects_is_within_the_budget) {
  std::string objects = "[";
  for (int i = 0; i < 1'000'000; ++i) objects += R"({"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9},)";
  objects += "0]";
  JsonCursor long_one(objects, "x");
  long_one.enter_array();
  int count = 0;
  while (long_one.next_element() && long_one.peek() == '{') {
    long_one.enter_object();
    while (long_one.next_key()) count += long_one.take() != "";
  }
  BOOST_TEST(count == 9'000'000);
}

BOOST_AUTO_TEST_CASE(rows_of_lying_widths_take_no_memory) {
  // The first row is wide and the others are many: room for as many wide ones would be terabytes.
  std::string text =
      R"({"experiment_metadata":{},"configurations":[{"config_id":"a","hardware":"h"}],"runs":[{"config_id":"a",)"
      R"("decode_steps":[{"hidden_states":{"layer_0":{"pos_-1":[0)";
  for (int i = 0; i < 1'000'000; ++i) text += ",0";
  text += "]}}}";
  for (int i = 0; i < 300'000; ++i) text += R"(,{"hidden_states":{"layer_0":{"pos_-1":[]}}})";
  BOOST_TEST(mentions(refusal(text + "]}]}"), {"bad.json", "expected numbers, found none"}));
  require_modest_memory();
}

BOOST_AUTO_TEST_SUITE_END()
