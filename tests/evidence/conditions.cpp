// evidence/conditions.hpp and weights.hpp: everything that can differ between a baseline and its variant, or between two
// machines' files, has a decision, and programs act on it.
#include <fpf/evidence/conditions.hpp>
#include <optional>

#include "decisions.hpp"
#include "experiments.hpp"

BOOST_AUTO_TEST_SUITE(test_conditions)

namespace {

using fpf::evidence::Treatment;
using namespace decided;

void add_fields(const json& value, const std::string& at, std::set<std::string>& out) {
  if (!value.is_object()) {
    out.insert(at);
    return;
  }
  for (const auto& [name, member] : value.items())
    if (at != "manifest" || name != "own_kernels") add_fields(member, at.empty() ? name : at + "/" + name, out);
}

std::set<std::string> all_fields() {
  std::set<std::string> out;
  add_fields(on_gpu, "", out);
  for (const Case& one : cases()) {
    const json file = read(made(one));
    for (const json& configuration : file.at("configurations")) add_fields(configuration, "", out);
  }
  return out;
}

struct Compared {
  int code = 0;
  std::string err;
  json caveats = json::array();  // of every verdict, one after another
  std::size_t verdicts = 0;
};

Compared compared(const Strings& files) {
  Strings args{bin + "/compare", "--json", "--output", "conditions/result.json"};
  args.insert(args.end(), files.begin(), files.end());
  const Outcome outcome = run(args);
  Compared out{outcome.code, outcome.err};
  if (outcome.code != 0) return out;
  const json result = json::parse(outcome.out);
  for (const json& verdict : result.at("analyses").at(0).at("verdicts")) {
    ++out.verdicts;
    for (const json& caveat : verdict.at("caveats")) {
      out.caveats.push_back(caveat);
      BOOST_TEST(mentions(verdict.at("text"), {caveat.get<std::string>()}));
    }
  }
  return out;
}

json changed(const json& value) {
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_number()) return value.get<int>() + 1;
  return "another";
}

json& at(json& configuration, const std::string& field) { return configuration[json::json_pointer("/" + field)]; }

std::string saved(const json& file, const std::string& name = "a") {
  const fs::path path = fs::path("conditions") / (name + ".json");
  write(path, file.dump());
  return path.string();
}

/// The same experiment from another machine: its labels, and its device's own name.
json elsewhere(json file) {
  for (json& configuration : file.at("configurations")) {
    const std::string id = configuration["config_id"], other = "another-machine" + id.substr(id.rfind('_'));
    configuration["hardware"] = configuration["manifest"]["device"]["name"] = "another machine";
    configuration["config_id"] = other;
    for (json& one : file.at("runs"))
      if (one["config_id"] == id) one["config_id"] = other;
  }
  return file;
}

/// Fields that others of the file follow from, or that follow from others: changed alone, the file contradicts itself
/// (labels.cpp).
bool is_tied(const std::string& field) {
  static const std::set<std::string> tied{"cuda_version",
                                          "torch_version",
                                          "transformers_version",
                                          "flash_attn_version",
                                          "python_version",
                                          "manifest/libraries/cuda",
                                          "manifest/libraries/libtorch",
                                          "manifest/activation_dtype",
                                          "manifest/policies/attention",
                                          "manifest/policies/execution",
                                          "manifest/policies/quantisation"};
  return tied.contains(field) || field.starts_with("fixed_params/");  // another parallelism or stream is a user's own
}

/// What the table makes of a difference between two configurations, whatever else the file says.
std::optional<Treatment> treatment_of(const json& a, const json& b, fpf::evidence::Relation relation,
                                      const std::string& experiment) {
  const auto found = fpf::evidence::condition_differences(
      fpf::evidence::conditions_of(a, nullptr), fpf::evidence::conditions_of(b, nullptr), relation, experiment);
  BOOST_REQUIRE(found.size() < 2);
  return found.empty() ? std::nullopt : std::optional(found.front().treatment);
}

json attention() { return read(made(case_of("attention"))); }

}  // namespace

BOOST_AUTO_TEST_CASE(every_field_of_a_configuration_has_a_decision) {
  std::set<std::string> used;
  const std::set<std::string> fields = all_fields();
  for (const std::string& field : fields) {
    const Decision* decision = decision_on(field);
    BOOST_TEST(decision != nullptr, field << " is new: decide what a difference in it means");
    const auto& row = fpf::evidence::condition_of(field);
    BOOST_TEST(row.field != "", field << " is not in the table");
    if (decision == nullptr) continue;
    BOOST_TEST((row.beside == decision->beside && row.between == decision->between), field);
    BOOST_TEST(row.variable_of == decision->variable_of, field);
    used.insert(decision->field);
  }
  for (const auto& row : fpf::evidence::conditions) {
    const auto decides = [&](const std::string& field) { return &fpf::evidence::condition_of(field) == &row; };
    const bool of_ones_own = row.field == "fixed_params/*" || row.field == "manifest/policies/*";
    BOOST_TEST((of_ones_own || std::ranges::any_of(fields, decides)), row.field << " of the table is stale");
  }
  for (const Decision& decision : decisions) BOOST_TEST(used.contains(decision.field), decision.field << " is stale");
  BOOST_CHECK(fpf::evidence::condition_of("manifest/new_field").beside == reported);
}

// Every field in turn, in the variant alone: compare says so in the verdict, or nothing where it cannot matter.
BOOST_AUTO_TEST_CASE(what_changed_beside_the_variable_stands_in_the_verdict) {
  fresh_folder("conditions");
  const json original = attention();
  const Compared undisturbed = compared({saved(original)});
  BOOST_TEST(undisturbed.verdicts != 0u);
  BOOST_TEST(undisturbed.caveats == json::array());
  std::set<std::string> fields;
  add_fields(original.at("configurations").at(1), "", fields);
  for (const std::string& field : fields) {
    if (field == "hardware" || field == "config_id" || field == "variable_value" || field == "baseline") continue;
    if (field.starts_with("manifest/model/")) continue;
    json file = original;
    json& value = at(file["configurations"][1], field);
    if (value.is_structured()) continue;
    value = changed(value);
    const Decision& decision = *decision_on(field);
    const bool told = decision.beside != allowed && decision.variable_of.find("attention") == std::string::npos;
    json unchanged = file["configurations"][1];
    at(unchanged, field) = original["configurations"][1].at(json::json_pointer("/" + field));
    BOOST_TEST((treatment_of(unchanged, file["configurations"][1], fpf::evidence::Relation::beside, "attention") ==
                (told ? std::optional(decision.beside) : std::nullopt)),
               field);
    const Compared found = compared({saved(file)});
    BOOST_TEST_CONTEXT(field << " " << found.err << found.caveats) {
      if (is_tied(field)) {
        BOOST_TEST(found.code == 3);
        BOOST_TEST(mentions(found.err, {"contradicts itself"}));
        continue;
      }
      BOOST_REQUIRE(found.code == 0);
      BOOST_TEST(found.caveats.size() == (told ? found.verdicts : 0u));
      if (told)
        BOOST_TEST(mentions(found.caveats.at(0),
                            {"also differs: ", fmt::format("{}", value.is_string() ? "another" : value.dump())}));
    }
  }
}

// Every field in turn, in all configurations of a second machine's file.
BOOST_AUTO_TEST_CASE(what_differs_between_machines_is_refused_reported_or_noise) {
  fresh_folder("conditions");
  const json original = attention(), other = elsewhere(original);
  const std::string first = saved(original);
  const Compared alike = compared({first, saved(other, "b")});
  BOOST_TEST(alike.code == 0, alike.err);
  BOOST_TEST(alike.caveats == json::array());
  std::set<std::string> fields;
  add_fields(original.at("configurations").at(0), "", fields);
  for (const std::string& field : fields) {
    if (field == "hardware" || field == "config_id" || field == "variable_value" || field == "baseline") continue;
    if (field.starts_with("manifest/model/")) continue;
    json file = other;
    if (at(file["configurations"][0], field).is_structured()) continue;
    for (json& configuration : file["configurations"]) at(configuration, field) = changed(at(configuration, field));
    const Compared found = compared({first, saved(file, "b")});
    const Treatment expected = decision_on(field)->between;
    BOOST_TEST((treatment_of(other["configurations"][0], file["configurations"][0], fpf::evidence::Relation::between,
                             "") == (expected == allowed ? std::nullopt : std::optional(expected))),
               field);
    BOOST_TEST_CONTEXT(field << " " << found.err << found.caveats) {
      if (is_tied(field)) {
        BOOST_TEST(found.code == 3);
        BOOST_TEST(mentions(found.err, {"contradicts itself"}));
        continue;
      }
      if (field == "manifest/device/name") continue;  // beside hardware: labels.cpp
      BOOST_TEST(found.code == (expected == refused ? 2 : 0));
      if (expected == refused) BOOST_TEST(mentions(found.err, {field, "a.json", "b.json"}));
      if (expected == allowed) BOOST_TEST(found.caveats == json::array());
      if (expected == reported) BOOST_TEST(!found.caveats.empty());
    }
  }
}

BOOST_AUTO_TEST_CASE(threads_count_where_they_compute) {
  fresh_folder("conditions");
  json file = attention();
  file["configurations"][1]["manifest"]["ranks"][0]["threads"] = 2;
  BOOST_TEST(mentions(compared({saved(file)}).caveats.at(0), {"also differs: threads 2 against 1"}));
  for (json& configuration : file["configurations"]) configuration["manifest"]["device"]["type"] = "cuda";
  BOOST_TEST(compared({saved(file)}).caveats == json::array());
}

BOOST_AUTO_TEST_CASE(other_neighbours_are_another_set_up) {
  fresh_folder("conditions");
  const json original = read(made(case_of("batch_size")));
  json other = elsewhere(original);
  const std::string first = saved(original);
  BOOST_TEST(compared({first, saved(other, "b")}).code == 0);
  std::swap(other["runs"].back()["neighbours"][0], other["runs"].back()["neighbours"][1]);
  const Compared found = compared({first, saved(other, "b")});
  BOOST_TEST(found.code == 2);
  BOOST_TEST(mentions(found.err, {"neighbours"}), found.err);
}

// By content, not by name; of one file and of two.
BOOST_AUTO_TEST_CASE(configurations_of_other_weights_are_not_compared) {
  const auto with_files = [](json file) {
    for (json& configuration : file["configurations"])
      configuration["manifest"]["model"]["files"] = {{{"file", "model.safetensors"}, {"sha256", std::string(64, 'a')}}};
    return file;
  };
  const auto digest = [](json& file, std::size_t configuration) -> json& {
    return file["configurations"][configuration]["manifest"]["model"]["files"][0]["sha256"];
  };
  const std::string b(64, 'b');
  fresh_folder("conditions");
  const json original = with_files(attention());
  json file = original;
  BOOST_TEST(compared({saved(file)}).code == 0);
  digest(file, 1) = b;
  Compared found = compared({saved(file)});
  BOOST_TEST(found.code == 2);
  BOOST_TEST(mentions(found.err, {"a.json", "different models", "files/0/sha256", std::string(64, 'a'), b}), found.err);

  json other = elsewhere(original);
  digest(other, 0) = b;
  digest(other, 1) = b;
  found = compared({saved(original), saved(other, "b")});
  BOOST_TEST(found.code == 2);
  BOOST_TEST(mentions(found.err, {"a.json", "b.json", std::string(64, 'a'), b}), found.err);

  other = elsewhere(original);
  for (json& configuration : other["configurations"])
    configuration["manifest"]["model"]["files"][0]["file"] = "renamed.safetensors";
  BOOST_TEST(compared({saved(original), saved(other, "b")}).code == 0);
  other["experiment_metadata"]["model"] = "the same under another folder's name";
  for (json& configuration : other["configurations"])
    configuration["manifest"]["model"]["id"] = other["experiment_metadata"]["model"];
  BOOST_TEST(compared({saved(original), saved(other, "b")}).code == 0);
  for (const char* field : {"config_sha256", "placement_sha256"}) {
    json changed_field = other;
    for (json& configuration : changed_field["configurations"]) configuration["manifest"]["model"][field] = b;
    BOOST_TEST(compared({saved(original), saved(changed_field, "b")}).code == 2, field);
  }

  file = original;
  file["configurations"][1]["manifest"]["model"]["files"][0].erase("sha256");
  found = compared({saved(file)});
  BOOST_TEST(found.code == 0, found.err);
  BOOST_TEST(found.caveats == json(std::vector<std::string>(found.verdicts, "weights not identified")));
  file["configurations"][1].erase("manifest");  // as the plan's own files
  file["experiment_metadata"].erase("schema_version");
  found = compared({saved(file)});
  BOOST_TEST(found.caveats == json(std::vector<std::string>(found.verdicts, "weights not identified")));
  file["configurations"][1]["torch_version"] = "2.1";  // what both say is compared all the same
  BOOST_TEST(mentions(compared({saved(file)}).caveats.at(0), {"also differs: torch 2.1 against "}));
}

// Experiment 3 varies the weights: there the model without its format must agree, and machine against machine the weights.
BOOST_AUTO_TEST_CASE(formats_are_of_one_model) {
  fresh_folder("conditions");
  const json original = read(made(case_of("quantization")));
  BOOST_TEST(compared({saved(original)}).caveats == json::array());
  {
    json file = original;  // as files before this field: nothing ties the formats to one model
    for (json& configuration : file["configurations"]) configuration["manifest"]["model"].erase("base_config_sha256");
    BOOST_TEST(mentions(compared({saved(file)}).caveats.at(0), {"weights not identified"}));
  }
  for (const char* field : {"base_config_sha256", "tokenizer_sha256"}) {
    json file = original;
    for (json& configuration : file["configurations"]) configuration["manifest"]["model"][field] = std::string(64, 'a');
    BOOST_TEST(compared({saved(file)}).code == 0);
    file["configurations"][2]["manifest"]["model"][field] = std::string(64, 'b');
    const Compared found = compared({saved(file)});
    BOOST_TEST(found.code == 2);
    BOOST_TEST(mentions(found.err, {field, std::string(64, 'a'), std::string(64, 'b')}), found.err);
  }
  json other = elsewhere(original);
  BOOST_TEST(compared({saved(original), saved(other, "b")}).code == 0);
  other["configurations"][1]["manifest"]["model"]["id"] = "synthetic:inputs/config.json?seed=4&quant=gptq";
  const Compared found = compared({saved(original), saved(other, "b")});
  BOOST_TEST(found.code == 2);
  BOOST_TEST(mentions(found.err, {"seed=3", "seed=4"}), found.err);
}

// The checkpoint under the same folder name is another one since experiment 0.
BOOST_AUTO_TEST_CASE(a_baseline_of_other_weights_is_refused_by_both_digests) {
  const fs::path from = fs::path(FPF_FIXTURES) / "parity/qwen3_moe_raw";
  fresh_folder("model");
  fresh_folder("replaced");
  for (const char* file : {"config.json", "model.safetensors"}) {
    fs::copy_file(from / file, fs::path("model") / file);
    fs::permissions(fs::path("model") / file, fs::perms::owner_all);
  }
  const fs::path weights = "model/model.safetensors";
  const auto digest = [&] { return run({"sha256sum", weights.string()}).out.substr(0, 64); };
  const auto command = [&](const std::string& name) {
    return Strings{bin + "/" + name,
                   "--model",
                   "model",
                   "--prompt-ids",
                   (from / "prompt.json").string(),
                   "--decode-steps",
                   "2",
                   "--reps",
                   "2",
                   "--layers",
                   "0,last",
                   "--threads",
                   "1",
                   "--device",
                   "cpu",
                   "--out",
                   "replaced"};
  };
  BOOST_REQUIRE_EQUAL(run(command("exp0_reference")).code, 0);
  BOOST_REQUIRE_EQUAL(run(command("exp4_attention")).code, 0);
  fs::remove("replaced/attention_experiment.json");
  const std::string before = digest();
  std::string content = text_of(weights);
  content.back() ^= 1;
  write(weights, content);
  const Outcome outcome = run(command("exp4_attention"));
  BOOST_TEST(outcome.code == 2);
  BOOST_TEST(mentions(outcome.err, {"reference_baseline.json", "another model", before, digest()}), outcome.err);
  BOOST_TEST(names_in("replaced") == std::set<std::string>{"reference_baseline.json"},
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()
