// evidence/schema_fields.hpp and labels.hpp: every field of an experiment file is held by something or named as not
// checked, and compare finds a lie in each that is held.
#include <fpf/evidence/schema_fields.hpp>

#include "lies.hpp"

BOOST_AUTO_TEST_SUITE(test_labels)

namespace {

using fpf::evidence::Support;

const json& schema_json() {
  static const json all = read(schema);
  return all;
}

/// The paths of all values that the schema names, "runs/*/decode_steps/*/token_id".
void add_paths(const json& node, const std::string& path, std::set<std::string>& out) {
  if (node.contains("$ref"))
    return add_paths(schema_json().at(json::json_pointer(node["$ref"].get<std::string>().substr(1))), path, out);
  const auto below = [&](const std::string& name) { return path.empty() ? name : path + "/" + name; };
  bool structured = false;
  for (const char* names : {"properties", "patternProperties"})
    if (node.contains(names))
      for (const auto& [name, member] : node[names].items()) {
        add_paths(member, below(std::string_view(names) == "properties" ? name : "*"), out);
        structured = true;
      }
  if (node.contains("items") && node["items"].is_object()) {
    add_paths(node["items"], below("*"), out);
    structured = true;
  }
  if (!structured) out.insert(path);
}

json forged(const Lie& lie) {
  json file = sound_file(lie.experiment);
  if (lie.value == "relabel") {  // the run goes with it
    file["runs"][1]["config_id"] = file["configurations"][1]["config_id"] = "A100_flash";
  } else {
    file.at(json::json_pointer(lie.pointer)) = lie.value;
  }
  return file;
}

Outcome compared(const json& file) {
  write("labels/a.json", file.dump());
  return run({bin + "/compare", "--json", "--output", "labels/result.json", "labels/a.json"});
}

json verdicts_of(const Outcome& outcome) {
  const json result = json::parse(outcome.out);
  return result.at("analyses").at(0).at("verdicts");
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_field_of_the_schema_is_held_or_named_as_not_checked) {
  std::set<std::string> paths, used;
  add_paths(schema_json(), "", paths);
  BOOST_TEST(paths.size() > 80u);
  for (const std::string& path : paths) {
    const auto* row = fpf::evidence::field_of(path);
    BOOST_TEST(row != nullptr, path << " is new: say in schema_fields.hpp what holds it");
    if (row != nullptr) used.emplace(row->path);
  }
  std::set<std::string> lied_about;
  for (const Lie& lie : lies()) lied_about.insert(lie.row);
  for (const auto& row : fpf::evidence::schema_fields) {
    const bool held = row.support == Support::derived || row.support == Support::digest;
    BOOST_TEST(lied_about.contains(std::string(row.path)) == held,
               row.path << " needs a lie below, or has one too many");
  }
}

BOOST_AUTO_TEST_CASE(compare_finds_a_lie_in_every_field_that_is_held) {
  fresh_folder("labels");
  for (const Lie& lie : lies()) {
    const Outcome found = compared(forged(lie));
    BOOST_TEST_CONTEXT(lie.row << " " << lie.pointer << ": " << found.code << found.err) {
      BOOST_TEST(found.code == (found.err.find("FINDING") != std::string::npos ? 3 : 2));
      BOOST_TEST(mentions(found.err, {"a.json"}));
      BOOST_TEST(mentions(found.err, lie.words));
      BOOST_TEST(found.out == "");
    }
  }
}

// Two fields that agree with one another and with nothing else.
BOOST_AUTO_TEST_CASE(two_lies_that_fit_one_another_contradict_a_third) {
  fresh_folder("labels");
  using Changes = std::vector<std::pair<std::string, json>>;
  const std::string c = "/configurations/1/", r = "/runs/1/";
  const std::vector<std::pair<std::string, Changes>> all{
      {"attention",
       {{c + "variable_value", "flash_attention_2"}, {c + "fixed_params/attention_impl", "flash_attention_2"}}},
      {"compile", {{c + "variable_value", false}, {c + "fixed_params/compile", false}}},
      {"batch_size", {{c + "variable_value", 3}, {c + "fixed_params/batch_size", 3}}},
      {"tensor_parallel", {{c + "variable_value", 8}, {c + "fixed_params/tp_size", 8}}},
      {"concurrent_streams", {{c + "variable_value", false}, {c + "fixed_params/concurrent_streams", false}}},
      {"attention", {{c + "cuda_version", "11.8"}, {c + "torch_version", "2.0"}}},
      {"attention", {{r + "reproducibility/repetitions", 2}, {r + "runtime/seconds", {0.5, 0.5}}}},
      {"attention", {{r + "runtime/mean", 0.5}, {r + "runtime_seconds", 0.5}}},
      {"attention", {{r + "prompt_sha256", std::string(64, '1')}, {"/runs/0/prompt_sha256", std::string(64, '1')}}},
      {"attention", {{"/experiment_metadata/decode_steps", 3}, {"/experiment_metadata/sequence_length", 15}}},
      {"attention",
       {{r + "signals_sha256", read(made(case_of("attention"))).at("runs").at(0).at("signals_sha256")},
        {r + "reproducibility/digests",
         read(made(case_of("attention"))).at("runs").at(0).at("reproducibility").at("digests")}}}};
  for (const auto& [experiment, changes] : all) {
    json file = read(made(case_of(experiment)));
    for (const auto& [pointer, value] : changes) file.at(json::json_pointer(pointer)) = value;
    const Outcome found = compared(file);
    BOOST_TEST(found.code == 3, changes.front().first << ": " << found.code << found.err);
    BOOST_TEST(mentions(found.err, {"contradicts itself", "a.json"}), found.err);
  }
}

// The reference's numbers under the label of what was to change: "the change does nothing".
BOOST_AUTO_TEST_CASE(the_reference_sold_as_the_variant_is_found) {
  fresh_folder("labels");
  json file = read(made(case_of("attention")));
  const json id = file["runs"][1]["config_id"];
  file["runs"][1] = file["runs"][0];
  file["runs"][1]["config_id"] = id;
  for (const char* part : {"fixed_params", "manifest", "flash_attn_version"})
    file["configurations"][1][part] = file["configurations"][0][part];
  const Outcome found = compared(file);
  BOOST_TEST(found.code == 3, found.err);
  BOOST_TEST(mentions(found.err, {"variable_value", "eager", "flash_attention_2"}), found.err);
}

// A file that lies spoils no other: what is left is analysed, and the exit code says that something was found.
BOOST_AUTO_TEST_CASE(a_file_that_contradicts_itself_is_left_out_of_a_comparison) {
  fresh_folder("labels");
  json file = read(made(case_of("attention")));
  file["runs"][1]["signals_sha256"] = std::string(64, '0');
  write("labels/lie.json", file.dump());
  const Outcome found =
      run({bin + "/compare", "--output", "labels/result.json", "labels/lie.json", made(case_of("compile")).string()});
  BOOST_TEST(found.code == 3);
  BOOST_TEST(mentions(found.err, {"lie.json contradicts itself", "runs[1]"}), found.err);
  BOOST_TEST(mentions(found.out, {"compile: compile"}));
  BOOST_TEST(!mentions(found.out, {"attention: attention"}));
  BOOST_TEST(read("labels/result.json").at("analyses").size() == 1u);
}

// Digests are of bits: -0 for 0 is another number, another spelling of a number is not.
BOOST_AUTO_TEST_CASE(another_spelling_is_no_lie) {
  fresh_folder("labels");
  std::string text = text_of(made(case_of("attention")));
  const auto at = text.find("\"pos_-1\":[");
  const auto begin = at + 10, end = text.find(',', begin);
  text.insert(end, text.substr(begin, end - begin).find('.') == std::string::npos ? ".0" : "0");
  write("labels/spelt.json", text);
  const Outcome found = run({bin + "/compare", "--output", "labels/result.json", "labels/spelt.json"});
  BOOST_TEST(found.code == 0, found.err);
}

// Without its manifest a file of fpf's is not believed; one of a user's own type says what it varies on trust.
BOOST_AUTO_TEST_CASE(who_hides_the_manifest_or_the_type_is_found_or_named) {
  fresh_folder("labels");
  json file = read(made(case_of("attention")));
  file["configurations"][1]["manifest"].erase("fpf");
  Outcome found = compared(file);
  BOOST_TEST(found.code == 3);
  BOOST_TEST(mentions(found.err, {"no manifest.fpf.version"}), found.err);
  file = read(made(case_of("attention")));
  file["experiment_metadata"].erase("experiment_type");
  BOOST_TEST(compared(file).code == 3);
  file["experiment_metadata"]["experiment_type"] = "ones_own";
  found = compared(file);
  BOOST_REQUIRE_MESSAGE(found.code == 0, found.err);
  const json result = json::parse(found.out);
  const auto named = result.at("analyses").at(0).at("not_checked").get<std::set<std::string>>();
  for (const char* path :
       {"configurations/*/variable_value", "configurations/*/baseline", "experiment_metadata/variable_tested",
        "runs/*/prompt_text", "runs/*/reproducibility/digests of repetitions that are not stored"})
    BOOST_TEST(named.contains(path), path);
}

// What nothing holds is named, and changes no verdict.
BOOST_AUTO_TEST_CASE(what_is_not_checked_is_named_and_concludes_nothing) {
  fresh_folder("labels");
  const json original = read(made(case_of("concurrent_streams")));
  const Outcome honest = compared(original);
  BOOST_REQUIRE(honest.code == 0);
  const json result = json::parse(honest.out);
  const auto named = result.at("analyses").at(0).at("not_checked").get<std::set<std::string>>();
  for (const char* path : {"configurations/*/provider", "configurations/*/hardware", "runs/*/timestamp",
                           "experiment_metadata/date_created", "runs/*/runtime/seconds/*", "runs/*/contention/*"})
    BOOST_TEST(named.contains(path), path);
  json file = original;
  file["experiment_metadata"]["date_created"] = "1999-01-01 00:00:00";
  for (auto& one : file["runs"]) {
    one["timestamp"] = "1999-01-01 00:00:00";
    one["peak_memory_bytes"] = 1;
  }
  const Outcome found = compared(file);
  BOOST_TEST(found.code == 0, found.err);
  BOOST_TEST(verdicts_of(found) == verdicts_of(honest));
}

BOOST_AUTO_TEST_CASE(hardware_stands_beside_the_names_of_its_devices) {
  fresh_folder("labels");
  json other = read(made(case_of("attention")));
  const std::string device = other["configurations"][0]["manifest"]["device"]["name"];
  for (std::size_t i = 0; i < 2; ++i) {
    const std::string tag = i == 0 ? "flash" : "eager";
    other["configurations"][i]["hardware"] = "H100";
    other["configurations"][i]["config_id"] = other["runs"][i]["config_id"] = "H100_" + tag;
  }
  write("labels/b.json", other.dump());
  const Outcome found = run({bin + "/compare", "--json", "--output", "labels/result.json",
                             made(case_of("attention")).string(), "labels/b.json"});
  BOOST_REQUIRE_MESSAGE(found.code == 0, found.err);
  std::size_t across = 0;
  for (const json& verdict : verdicts_of(found)) {
    if (verdict.at("scope") != "across hardware") continue;
    ++across;
    BOOST_TEST(mentions(verdict.at("text"), {"hardware by label: H100 is " + device}), verdict.at("text"));
  }
  BOOST_TEST(across != 0u);
}

BOOST_AUTO_TEST_SUITE_END()
