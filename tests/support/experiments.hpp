// exp1 to exp8 as a user runs them, on a small mixture of experts: what their tests share.
#pragma once

#include <map>

#include "folders.hpp"
#include "small_shape.hpp"

inline const std::string bin = FPF_BIN;
inline const fs::path python = fs::path(FPF_BUILD) / "venv/bin/python",
                      schema = fs::path(FPF_SOURCE) / "include/fpf/evidence/experiment.schema.json";
inline constexpr int prompt_tokens = 12;

inline std::string ids(int seed) {
  json out = json::array();
  for (int i = 0; i < prompt_tokens; ++i) out.push_back((i * 131 + seed * 977 + 5) % 512);
  return out.dump();
}

/// A folder with what the experiments need: a model's shape, prompts, and experiment 0's files of its
/// formats.
struct Inputs {
  Inputs() {
    fresh_folder("inputs");
    json config = small_shape();
    config.update({{"architectures", {"Qwen3MoeForCausalLM"}},
                   {"model_type", "qwen3_moe"},
                   {"num_experts", 8},
                   {"num_experts_per_tok", 2},
                   {"moe_intermediate_size", 128},
                   {"norm_topk_prob", true},
                   {"max_position_embeddings", 64},
                   {"rope_theta", 10000.0},
                   {"hidden_act", "silu"},
                   {"tie_word_embeddings", false}});
    write("inputs/config.json", config.dump());
    config["num_attention_heads"] = 9;
    config["num_key_value_heads"] = 3;
    fs::create_directories("inputs/odd");
    write("inputs/odd/config.json", config.dump());
    for (int i = 0; i < 5; ++i) write("inputs/ids" + std::to_string(i) + ".json", ids(i));
    for (const char* format : {"none", "awq"})
      BOOST_REQUIRE_EQUAL(run(command("exp0_reference", fs::path("inputs") / format, {}, format)).code, 0);
  }

  static std::string model(const std::string& format = "none") {
    return "synthetic:inputs/config.json?seed=3&quant=" + format;
  }
  static std::string baseline(const std::string& format = "none") {
    return "inputs/" + format + "/reference_baseline.json";
  }
  static Strings command(const std::string& program, const fs::path& out, const Strings& more = {},
                         const std::string& format = "none") {
    Strings args{bin + "/" + program, "--model", model(format), "--prompt-ids", "inputs/ids0.json"};
    args.insert(args.end(), {"--dtype", "float32", "--decode-steps", "4", "--layers", "0,last"});
    args.insert(args.end(), {"--threads", "1", "--device", "cpu", "--out", out.string()});
    if (program != "exp0_reference") args.insert(args.end(), {"--baseline", baseline(format)});
    args.insert(args.end(), more.begin(), more.end());
    fs::create_directories(out);
    return args;
  }
};

/// One experiment: its program and options, its file, and the values its configurations must have, baseline
/// first.
struct Case {
  std::string program, file;
  Strings options;
  json values;
  std::string format = "none";
};

inline const std::vector<Case>& cases() {
  static const std::vector<Case> all{{"exp1_batch_size",
                                      "batch_size",
                                      {"--neighbour-ids", "inputs/ids1.json", "--neighbour-ids", "inputs/ids2.json",
                                       "--neighbour-ids", "inputs/ids3.json"},
                                      {1, 2, 4}},
                                     {"exp2_compile", "compile", {}, {false, true}},
                                     {"exp3_quantization",
                                      "quantization",
                                      {"--model-gptq", Inputs::model("gptq"), "--model-bnb", Inputs::model("nf4")},
                                      {"awq", "gptq", "bnb"},
                                      "awq"},
                                     {"exp4_attention", "attention", {}, {"flash_attention_2", "eager"}},
                                     {"exp5_concurrent_streams", "concurrent_streams", {}, {false, true}},
                                     {"exp7_tensor_parallel", "tensor_parallel", {"--tp", "2,4"}, {1, 2, 4}},
                                     {"exp8_expert_parallel", "expert_parallel", {"--ep", "2,4"}, {1, 2, 4}}};
  return all;
}

struct Fixture {
  Fixture() { static const Inputs inputs; }
};

inline std::string file_of(const Case& one) { return one.file + "_experiment.json"; }

inline const Case& case_of(const std::string& file) {
  for (const Case& one : cases())
    if (one.file == file) return one;
  throw std::runtime_error("no experiment writes " + file);
}

/// The file that an uninterrupted run of an experiment leaves in the folder "all"; each runs once a test program.
inline fs::path made(const Case& one) {
  static std::set<std::string> done;
  if (done.empty()) fresh_folder("all");
  if (done.insert(one.file).second) {
    const Outcome outcome = run(Inputs::command(one.program, "all", one.options, one.format));
    BOOST_REQUIRE_MESSAGE(outcome.code == 0, one.program << ": " << outcome.err);
  }
  return fs::path("all") / file_of(one);
}

/// Tensor ranks on two prompts, all fed the baseline's tokens; runs once a test program, in the folder "many".
inline fs::path many() {
  static const fs::path file = [] {
    fresh_folder("many");
    Strings baseline = Inputs::command("exp0_reference", "many", {"--prompt-ids", "inputs/ids4.json"}),
            ranks = baseline;
    ranks.front() = bin + "/exp7_tensor_parallel";
    ranks.insert(ranks.end(), {"--tp", "2", "--tokens", "baseline"});
    for (const Strings& args : {baseline, ranks}) {
      const Outcome outcome = run(args);
      BOOST_REQUIRE_MESSAGE(outcome.code == 0, args.front() << ": " << outcome.err);
    }
    return fs::path("many") / "tensor_parallel_experiment.json";
  }();
  return file;
}

inline json read(const fs::path& path) { return json::parse(text_of(path)); }

/// What a run computed: digests of its stored repetition, by configuration.
inline std::map<std::string, std::string> signals_of(const json& file) {
  std::map<std::string, std::string> out;
  for (const json& one : file.at("runs")) out[one.at("config_id")] = one.at("signals_sha256");
  return out;
}

inline const json& run_of(const json& file, const json& configuration) {
  for (const json& one : file.at("runs"))
    if (one.at("config_id") == configuration.at("config_id")) return one;
  throw std::runtime_error("a configuration without a run");
}

/// Places of an experiment file and what the schema must refuse there.
inline const std::vector<std::pair<std::string, json>>& schema_changes() {
  static const std::vector<std::pair<std::string, json>> all{
      {"/experiment_metadata/variable_tested", "batch_size"},
      {"/experiment_metadata/date_created", "yesterday"},
      {"/configurations/0/variable_value", 1},
      {"/configurations/0/manifest/operations", json::object()},
      {"/configurations/0/fixed_params/tp_size", 0},
      {"/runs/0/signals_sha256", "0123"},
      {"/runs/0/reproducibility/bit_exact", false},
      {"/runs/0/decode_steps/0/hidden_states/layer_0/pos_-1/0", nullptr},
      {"/runs/0/decode_steps/1/hidden_states/layer_x", json::object()},
      {"/runs/0/decode_steps/0/logprobs/pos_-1/log_probs/0", 0.5},
      {"/runs/0/decode_steps/0/router/layer_0/pos_-1/margin", "wide"}};
  return all;
}

BOOST_TEST_GLOBAL_FIXTURE(Fixture);
