// What verify makes of evidence from this build on this machine, and of forgeries of it.
#include <fpf/evidence/schema_fields.hpp>

#include "verify.hpp"

BOOST_AUTO_TEST_SUITE(test_verify_forgeries)

// Every experiment's file: batches, compiled, three formats, written-out attention, a load, ranks.
BOOST_AUTO_TEST_CASE(it_accepts_what_this_build_made_on_this_machine) {
  for (const Case& one : cases()) {
    Strings models{Inputs::model(one.format)};
    if (one.file == "quantization") models = {Inputs::model("awq"), Inputs::model("gptq"), Inputs::model("nf4")};
    const Verified found = verified(made(one).string(), models);
    BOOST_TEST(found.code == 0, one.program << ": " << found.out << found.err);
    BOOST_TEST(mentions(found.out, {"accept", "the same bits"}), found.out);
    BOOST_REQUIRE_EQUAL(found.result.at("runs").size(), one.values.size());
    for (const json& run : found.result.at("runs")) {
      BOOST_TEST(run.at("verdict") == "accept");
      BOOST_TEST(run.at("decode").at("bit_equal") == true);
      BOOST_TEST(run.at("decode").at("signals").size() == 6u);  // two of two layers, log-probabilities twice
      for (const json& difference : run.at("manifest_differences"))
        BOOST_TEST(difference.at("matters") == false, difference);
    }
  }
}

namespace {

struct Forgery {
  Strings change;
  Strings words;  // of the reason
};

/// Rejected before anything runs.
void require_found(const std::string& evidence, const Strings& words) {
  const Verified found = verified(evidence, {Inputs::model()});
  BOOST_TEST(found.code == 3, words.front() << ": " << found.code << found.err);
  BOOST_REQUIRE_MESSAGE(found.result.contains("runs"), words.front());
  BOOST_TEST(found.first().at("verdict") == "reject");
  BOOST_TEST(!found.first().contains("decode"), words.front());  // nothing ran
  BOOST_TEST(mentions(found.first().at("reason"), words), found.first().at("reason"));
}

}  // namespace

BOOST_AUTO_TEST_CASE(edits_are_found_before_anything_runs_and_named) {
  const std::string id = read(Inputs::baseline()).at("runs").at(0).at("config_id");
  const std::vector<Forgery> all{
      {{"element", "0", "1", "hidden_states", "0", "1"}, {"signals_sha256"}},
      {{"element", "0", "2", "key_vectors", "2", "-1"}, {"signals_sha256"}},
      {{"element_once", "0", "1", "hidden_states", "2", "1"},
       {"decode_steps[2].hidden_states.layer_2.pos_-2", "other values"}},
      {{"token", "0", "2"}, {"decode_steps[2].token_id", "log-probabilities"}},
      {{"swap", "0", "2"}, {"signals_sha256"}},
      {{"logprob", "0", "3"}, {"logprobs at position 15", "above 0"}},
      {{"prompt", "0", "5"}, {"prompt_sha256"}},
      {{"position", "0", "2"}, {"absolute_position", "decode_steps[2]"}},
      {{"member", "/runs/0/decode_steps/1/step", "7"}, {"absolute_position"}},
      {{"member", "/runs/0/signals_sha256", "\"00\""}, {"signals_sha256"}},
      {{"member", "/runs/0/reproducibility/digests/2/logprobs", "\"00\""}, {"digest of logprobs"}},
      {{"member", "/runs/0/reproducibility/digests/0/router", "\"00\""}, {"bit_exact is true"}},
      {{"member", "/runs/0/reproducibility/repetitions", "4"}, {"repetitions is 4", "expected 3"}},
      {{"member", "/runs/0/decode_steps/0/router/layer_0/pos_-1/margin", "0.5"}, {"signals_sha256"}},
      {{"member", "/runs/0/decode_steps/0/hidden_states/layer_0/pos_-1/3", "\"x\""},
       {"decode_steps[0].hidden_states.layer_0.pos_-1[3]"}},
      {{"member", "/runs/0/decode_steps/0/hidden_states/layer_1", "{\"pos_-1\":[1]}"}, {"names no layer 1"}},
      {{"member", "/runs/0/status", "3"}, {"status to be a string"}},
      {{"member", "/runs/0/reproducibility", "[]"}, {"contradicts itself", "runs[0]"}},
      {{"member", "/runs/0/reproducibility/bit_exact", "\"yes\""}, {"bit_exact to be true or false"}},
      {{"member", "/configurations/0/manifest", "[]"}, {"contradicts itself"}},
      {{"member", "/configurations/0/fixed_params", "7"}, {"contradicts itself"}},
      {{"member", "/experiment_metadata/extraction_config/signal_dtypes/hidden_states", "\"float99\""}, {"float99"}},
      {{"member", "/experiment_metadata/decode_steps", "5"}, {"decode_steps is 5", "expected 4"}},
      {{"member", "/experiment_metadata/sequence_length", "99"}, {"sequence_length is 99"}},
      {{"member", "/experiment_metadata/extraction_config/layers", "[]"}, {"names no layer"}},
      {{"member", "/configurations/0/fixed_params/attention_impl", "\"eager\""},
       {"attention_impl", "manifest.policies"}},
      {{"member", "/configurations/0/fixed_params/batch_size", "2"}, {"batch_size is 2"}}};
  for (const Forgery& one : all) require_found(forged(Inputs::baseline(), one.change), one.words);
  require_found(forged(Inputs::baseline(), {"no_steps"}), {"complete", "no decode steps"});
  std::string cut = text_of(Inputs::baseline());
  cut.resize(cut.size() / 2);
  write("forged/cut.json", cut);
  require_found("forged/cut.json", {"cut.json", "byte"});
}

// The same with digests made to fit: re-execution finds them, since here honest runs have equal bits.
BOOST_AUTO_TEST_CASE(forgeries_with_fitting_digests_do_not_survive_re_execution) {
  const Strings eager{made(case_of("attention")).string(), "1"}, gptq{made(case_of("quantization")).string(), "1"};
  const std::string awq = Inputs::baseline("awq");
  struct Signed {
    Strings change;
    std::string from, format;
    Strings words;
  };
  const std::vector<Signed> all{
      {{"element", "0", "1", "hidden_states", "0", "1"}, Inputs::baseline(), "none", {"layer 0, hidden_states"}},
      {{"element", "0", "2", "key_vectors", "2", "1"}, Inputs::baseline(), "none", {"step 2", "layer 2, key_vectors"}},
      {{"swap", "0", "2"}, Inputs::baseline(), "none", {"differs first"}},
      {{"prompt", "0", "5"}, Inputs::baseline(), "none", {"differs first at step 0"}},
      {{"graft", eager.front(), "1"}, Inputs::baseline(), "none", {"differs first"}},  // another attention kernel
      {{"graft", gptq.front(), "1"}, awq, "awq", {"differs first"}},                   // another quantisation
      {{"graft", awq, "0"}, Inputs::baseline(), "none", {"differs first"}}};
  for (const Signed& one : all) {
    Strings change = one.change;
    change.push_back("--resign");
    const Verified found = verified(forged(one.from, change), {Inputs::model(one.format)});
    BOOST_TEST(found.code == 3, change.front() << ": " << found.code << found.err);
    BOOST_REQUIRE(found.result.contains("runs"));
    BOOST_TEST(found.first().at("verdict") == "reject", change.front() << found.first().at("reason"));
    BOOST_TEST(found.first().at("contradictions").empty(), found.first().at("contradictions"));
    BOOST_TEST(found.first().at("decode").at("bit_equal") == false);
    BOOST_TEST(mentions(found.first().at("reason"), one.words), found.first().at("reason"));
  }
}

// What only the model can tell: verify rejects it, or names it among the differences to what ran here.
BOOST_AUTO_TEST_CASE(every_field_that_re_execution_supports_is_held_by_it) {
  using fpf::evidence::Support;
  struct Change {
    std::string row, pointer;
    json value;
    std::string word;         // of the reason for a rejection
    bool difference = false;  // accepted, and named as a field of the manifest that differs
  };
  const std::string metadata = "/experiment_metadata/", manifest = "/configurations/0/manifest/";
  const std::vector<Change> all{
      {"experiment_metadata/model_size", metadata + "model_size", "30B", "model_size"},
      {"experiment_metadata/model_architecture", metadata + "model_architecture", "LlamaForCausalLM",
       "model_architecture"},
      {"experiment_metadata/extraction_config/hidden_dim", metadata + "extraction_config/hidden_dim", 32,
       "expected 32"},
      {"experiment_metadata/extraction_config/key_dim", metadata + "extraction_config/key_dim", 16, "expected 16"},
      {"experiment_metadata/extraction_config/layers/*", metadata + "extraction_config/layers", {0}, "names no layer"},
      {"experiment_metadata/extraction_config/top_k_logprobs", metadata + "extraction_config/top_k_logprobs", 5,
       "expected 5"},
      {"experiment_metadata/extraction_config/num_hidden_layers", metadata + "extraction_config/num_hidden_layers", 48,
       "num_hidden_layers"},
      {"configurations/*/manifest/fpf/*", manifest + "fpf/revision", "0123", "fpf/revision", true},
      {"configurations/*/manifest/device/*", manifest + "device/cores", 96, "device/cores", true},
      {"configurations/*/manifest/model/*", manifest + "model/config_sha256", std::string(64, '0'), "another model"},
      {"configurations/*/manifest/policies/*", manifest + "policies/execution_detail", "other",
       "policies/execution_detail", true},
      {"configurations/*/manifest/ranks/*", manifest + "ranks/0/weight_bytes", 1, "ranks/0/weight_bytes", true},
      {"configurations/*/manifest/operations/*", manifest + "operations/decode/norm", "other", "operations/decode/norm",
       true},
      {"configurations/*/manifest/*", manifest + "threads", 2, "threads", true}};
  // Texts need a tokeniser: verify_smollm2.cpp. A status: verify_runs.cpp. A run under another's config_id: grafts, above.
  std::set<std::string> held{
      "runs/*/config_id", "runs/*/prompt_text", "runs/*/neighbours/*/prompt_text", "runs/*/decode_steps/*/token_text",
      "runs/*/status",    "runs/*/non_finite/*"};
  for (const Change& one : all) {
    held.insert(one.row);
    const std::string file = forged(Inputs::baseline(), {"member", one.pointer, one.value.dump()});
    const Verified found = verified(file, {Inputs::model()}, {"--threads", "1"});
    BOOST_REQUIRE_MESSAGE(found.result.contains("runs"), one.pointer << found.err);
    if (!one.difference) {
      BOOST_TEST(found.code == 3, one.pointer);
      BOOST_TEST(mentions(found.first().at("reason"), {one.word}), found.first().at("reason"));
      continue;
    }
    const json& differences = found.first().at("manifest_differences");
    BOOST_TEST(std::ranges::any_of(differences, [&](const json& d) { return d.at("field") == one.word; }),
               one.pointer << differences);
  }
  for (const auto& row : fpf::evidence::schema_fields)
    BOOST_TEST(held.contains(std::string(row.path)) == (row.support == Support::re_executed), row.path);
}

// Honest about its model: said at once. Not honest about its machine: never accepted.
BOOST_AUTO_TEST_CASE(other_models_are_named_and_other_machines_need_noise) {
  const Verified other = verified(Inputs::baseline("awq"), {Inputs::model("gptq")});
  BOOST_TEST(other.code == 3);
  BOOST_TEST(mentions(other.first().at("reason"), {"another model", "model/"}), other.first().at("reason"));
  BOOST_TEST(!other.first().contains("decode"));
  const std::string elsewhere =
      forged(forged(Inputs::baseline(), {"element", "0", "1", "hidden_states", "0", "1", "--resign"}),
             {"member", "/configurations/0/manifest/device/name", "\"another CPU\""});
  const Verified undecided = verified(elsewhere, {Inputs::model()});
  BOOST_TEST(undecided.code == 3);
  BOOST_TEST(undecided.first().at("verdict") == "undecided");
  BOOST_TEST(mentions(undecided.first().at("reason"), {"--noise", "portable"}), undecided.first().at("reason"));
  BOOST_TEST(undecided.first().at("manifest_differences").at(0).at("field") == "device/name");
  BOOST_TEST(undecided.first().at("manifest_differences").at(0).at("evidence") == "another CPU");
  const std::string renamed =
      forged(Inputs::baseline(), {"member", "/configurations/0/manifest/device/name", "\"another CPU\""});
  BOOST_TEST(verified(renamed, {Inputs::model()}).code == 0);  // the bits are those of this machine
}

BOOST_AUTO_TEST_CASE(what_it_refuses) {
  write("forged/no.json", "{}");
  const std::vector<std::pair<Strings, Strings>> all{
      {{}, {"expected an experiment file"}},
      {{"nowhere.json", "--model", Inputs::model()}, {"nowhere.json"}},
      {{"forged/no.json", "--model", Inputs::model()}, {"no.json", "experiment"}},
      {{Inputs::baseline()}, {"--model is missing"}},
      {{Inputs::baseline(), "--model", "nowhere"}, {"no model at 'nowhere'"}},
      {{Inputs::baseline(), "--model", Inputs::model(), "--reps", "1"}, {"--reps 1", "at least 2"}},
      {{Inputs::baseline(), "--model", Inputs::model(), "--threshold", "nan"}, {"--threshold"}},
      {{Inputs::baseline(), "--model", Inputs::model(), "--config-id", "other"}, {"--config-id", "it has"}},
      {{Inputs::baseline(), "--model", Inputs::model(), "--device", "tpu"}, {"--device tpu"}},
      {{Inputs::baseline(), "--model", Inputs::model(), "--noise", "nowhere.json"}, {"nowhere.json"}},
      {{Inputs::baseline(), "--model", Inputs::model(), "--output", "no/such/folder.json"}, {"no/such/folder.json"}},
      {{Inputs::baseline(), "--model", Inputs::model(), "--output", "./" + Inputs::baseline()},
       {"--output", "the evidence", "overwritten"}},
      {{Inputs::baseline(), "--model", Inputs::model(), "--output", Inputs::baseline("awq")},
       {Inputs::baseline("awq") + " is an experiment file"}},
      {{Inputs::baseline(), "--model", "nobody/no-such-model"},
       {"hf download nobody/no-such-model --local-dir build/models/no-such-model"}}};
  for (const auto& [options, words] : all) {
    Strings args{bin + "/verify"};
    args.insert(args.end(), options.begin(), options.end());
    const Outcome outcome = run(args);
    BOOST_TEST(outcome.code == 2, outcome.code << outcome.err);
    BOOST_TEST(mentions(outcome.err, words), outcome.err);
  }
}

BOOST_AUTO_TEST_SUITE_END()
