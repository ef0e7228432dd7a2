// exp1 to exp8 as a user runs them, on a small mixture of experts: what their files hold, what they refuse,
// and what an interruption leaves.
#include <chrono>
#include <map>
#include <thread>

#include "folders.hpp"
#include "small_shape.hpp"

namespace {

const std::string bin = FPF_BIN;
const fs::path python = fs::path(FPF_BUILD) / "venv/bin/python",
               schema = fs::path(FPF_FIXTURES) / "../../include/fpf/evidence/experiment.schema.json";
constexpr int prompt_tokens = 12;

std::string ids(int seed) {
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
    Strings args{bin + "/" + program,
                 "--model",
                 model(format),
                 "--prompt-ids",
                 "inputs/ids0.json",
                 "--dtype",
                 "float32",
                 "--decode-steps",
                 "4",
                 "--layers",
                 "0,last",
                 "--threads",
                 "1",
                 "--out",
                 out.string()};
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

const std::vector<Case>& cases() {
  static const std::vector<Case> all{
      {"exp1_batch_size",
       "batch_size",
       {"--neighbour-ids", "inputs/ids1.json", "--neighbour-ids", "inputs/ids2.json", "--neighbour-ids",
        "inputs/ids3.json"},
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

std::string file_of(const Case& one) { return one.file + "_experiment.json"; }

json read(const fs::path& path) { return json::parse(text_of(path)); }

/// What a run computed: digests of its stored repetition, by configuration.
std::map<std::string, std::string> signals_of(const json& file) {
  std::map<std::string, std::string> out;
  for (const json& one : file.at("runs")) out[one.at("config_id")] = one.at("signals_sha256");
  return out;
}

const json& run_of(const json& file, const json& configuration) {
  for (const json& one : file.at("runs"))
    if (one.at("config_id") == configuration.at("config_id")) return one;
  throw std::runtime_error("a configuration without a run");
}

}  // namespace

BOOST_TEST_GLOBAL_FIXTURE(Fixture);

BOOST_AUTO_TEST_SUITE(files)

// Every experiment: its file alone, valid against the schema, its digests right, every configuration three
// times bit by bit the same, the baseline first and equal to experiment 0's.
BOOST_AUTO_TEST_CASE(every_experiment_leaves_its_file) {
  fresh_folder("all");
  Strings check{python.string(), (fs::path(FPF_FIXTURES) / "check_schema.py").string(), schema.string(),
                Inputs::baseline(), Inputs::baseline("awq")};
  for (const Case& one : cases()) {
    const Outcome outcome = run(Inputs::command(one.program, "all", one.options, one.format));
    BOOST_REQUIRE_MESSAGE(outcome.code == 0, one.program << ": " << outcome.err);
    const fs::path path = fs::path("all") / file_of(one);
    const json file = read(path);
    const Outcome digests = recomputed(path);
    BOOST_TEST(digests.code == 0, digests.out << digests.err);
    json values = json::array();
    for (const json& configuration : file.at("configurations")) {
      values.push_back(configuration.at("variable_value"));
      BOOST_TEST(configuration.at("baseline") == (values.size() == 1));
      const json& reproducibility = run_of(file, configuration).at("reproducibility");
      BOOST_TEST(reproducibility.at("repetitions") == 3);
      BOOST_TEST(reproducibility.at("bit_exact") == true);
      const auto& found = reproducibility.at("digests");
      BOOST_REQUIRE_EQUAL(found.size(), 3u);
      for (const char* signal : {"hidden_states", "key_vectors", "logprobs", "router"})
        for (int rep = 1; rep < 3; ++rep) BOOST_TEST(found.at(rep).at(signal) == found.at(0).at(signal));
    }
    BOOST_TEST(values == one.values, one.program << ": " << values);
    BOOST_TEST(run_of(file, file.at("configurations").at(0)).at("signals_sha256") ==
               read(Inputs::baseline(one.format)).at("runs").at(0).at("signals_sha256"));
    check.push_back(path.string());
  }
  BOOST_TEST(names_in("all").size() == cases().size());
  const Outcome valid = run(check);
  BOOST_TEST(valid.code == 0, valid.out << valid.err);

  fs::copy_file(Inputs::baseline(), "all/reference_baseline.json");
  const Outcome table = run({bin + "/compare", "--all", "--experiment-dir", "all"});
  BOOST_TEST(table.code == 0, table.err);
  for (const Case& one : cases()) BOOST_TEST(table.out.find(one.file) != std::string::npos, table.out);
}

// The schema is one that can fail.
BOOST_AUTO_TEST_CASE(the_schema_refuses_what_the_format_does_not_know) {
  const json good = read(Inputs::baseline());
  const std::vector<std::pair<std::string, json>> changes{
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
  Strings check{python.string(), (fs::path(FPF_FIXTURES) / "check_schema.py").string(), schema.string()};
  for (std::size_t i = 0; i < changes.size(); ++i) {
    json bad = good;
    bad[json::json_pointer(changes[i].first)] = changes[i].second;
    check.push_back(write("bad" + std::to_string(i) + ".json", bad.dump()).string());
  }
  const Outcome outcome = run(check);
  BOOST_TEST(outcome.code == 1);
  for (std::size_t i = 0; i < changes.size(); ++i)
    BOOST_TEST(outcome.out.find("bad" + std::to_string(i) + ".json") != std::string::npos, changes[i].first);
}

BOOST_AUTO_TEST_CASE(neighbours_are_in_the_file_and_only_the_reference_is_recorded) {
  const json file = read("all/batch_size_experiment.json");
  for (std::size_t i = 1; i < 3; ++i) {
    const json& one = run_of(file, file.at("configurations").at(i));
    const auto size = file.at("configurations").at(i).at("variable_value").get<std::size_t>();
    BOOST_REQUIRE_EQUAL(one.at("neighbours").size(), size - 1);
    for (std::size_t n = 0; n + 1 < size; ++n)
      BOOST_TEST(one.at("neighbours").at(n).at("prompt_token_ids") ==
                 json::parse(ids(static_cast<int>(n) + 1)));
    BOOST_TEST(one.at("prompt_token_ids") == json::parse(ids(0)));
  }
}

BOOST_AUTO_TEST_CASE(the_contended_run_overlapped_the_load) {
  const json file = read("all/concurrent_streams_experiment.json");
  const json& one = run_of(file, file.at("configurations").at(1));
  BOOST_TEST(one.at("contention").at("overlap_fraction").get<double>() >= 0.9);
  BOOST_TEST(one.at("contention").at("overlap_fraction").get<double>() <= 1.0);
  BOOST_TEST(one.at("quiet_runtime") == run_of(file, file.at("configurations").at(0)).at("runtime"));
  BOOST_TEST(one.at("runtime").at("mean").get<double>() > 0);
}

// Sharded weights sum to the whole, and what each rank holds is said.
BOOST_AUTO_TEST_CASE(the_ranks_memory_sums_to_the_models) {
  const Outcome outcome = run(Inputs::command("exp7_tensor_parallel", "ranks", {"--tp", "2"}));
  BOOST_REQUIRE_EQUAL(outcome.code, 0);
  BOOST_TEST(mentions(outcome.err, {"tp2 (emulated): rank 0", "tp2 (emulated): rank 1", "MB of weights"}),
             outcome.err);
  const json file = read("ranks/tensor_parallel_experiment.json");
  const auto bytes = [&](int configuration) {
    std::int64_t total = 0;
    for (const json& rank : file.at("configurations").at(configuration).at("manifest").at("ranks"))
      total += rank.at("weight_bytes").get<std::int64_t>();
    return total;
  };
  // every rank has the embedding (512 x 128), norms (2 x 128 a layer, 2 x 32 for heads, 128) and routers (8 x
  // 128) whole
  constexpr std::int64_t replicated = 4 * (512 * 128 + 3 * (2 * 128 + 2 * 32 + 8 * 128) + 128);
  BOOST_TEST(bytes(1) == bytes(0) + replicated);
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(refusals)

struct Refusal {
  std::string program;
  Strings options;
  Strings words;
  std::string format = "none";
};

BOOST_AUTO_TEST_CASE(each_names_what_is_wrong_and_leaves_no_file) {
  const std::string odd = "synthetic:inputs/odd/config.json?seed=3";
  const auto llama = (fs::path(FPF_FIXTURES) / "parity/llama_tied").string();
  const std::vector<Refusal> all{
      {"exp1_batch_size", {}, {"3 neighbours", "found 0"}},
      {"exp1_batch_size", {"--batch-sizes", "1,2"}, {"--batch-sizes", "at least 2"}},
      {"exp1_batch_size",
       {"--batch-sizes", "2", "--neighbour-ids", "inputs/ids0.json"},
       {"ids0.json", "same tokens as the prompt"}},
      {"exp1_batch_size",
       {"--batch-sizes", "3", "--neighbour-ids", "inputs/ids1.json", "--neighbour-ids", "inputs/ids1.json"},
       {"same tokens as inputs/ids1.json"}},
      {"exp2_compile", {"--execution", "compiled"}, {"--execution", "varies it"}},
      {"exp2_compile", {"--prompt-ids", "inputs/ids1.json"}, {"another prompt"}},
      {"exp2_compile", {"--layers", "1"}, {"does not fit", "layers"}},
      {"exp2_compile", {"--decode-steps", "5"}, {"does not fit", "decode_steps"}},
      {"exp2_compile", {"--model", odd}, {"does not fit", "model"}},
      {"exp2_compile", {"--baseline", "nowhere.json"}, {"nowhere.json"}},
      {"exp2_compile", {"--baseline", "all/compile_experiment.json"}, {"expected experiment 0's file"}},
      {"exp3_quantization", {}, {"does not fit", "awq-int4"}},
      {"exp3_quantization", {"--model-bnb", Inputs::model("nf4")}, {"--model-gptq is missing"}, "awq"},
      {"exp3_quantization",
       {"--model-gptq", Inputs::model("nf4"), "--model-bnb", Inputs::model("nf4")},
       {"--model-gptq", "format bitsandbytes", "expected gptq"},
       "awq"},
      {"exp5_concurrent_streams", {"--contention", "0"}, {"--contention 0", "above 0"}},
      {"exp6_cuda_version", {}, {"--stack is missing"}},
      {"exp6_cuda_version", {"--stack", "inputs"}, {"inputs"}},
      {"exp7_tensor_parallel", {"--tp", "3"}, {"3 ranks", "8", "do not divide"}},
      {"exp7_tensor_parallel", {"--tp", "0"}, {"--tp"}},
      {"exp8_expert_parallel", {"--ep", "3"}, {"3 ranks", "8 experts"}},
      {"exp8_expert_parallel", {"--placement", "random"}, {"random", "round_robin"}}};
  for (const Refusal& one : all) {
    fresh_folder("refused");
    Strings args = Inputs::command(one.program, "refused", {}, one.format);
    const Strings usual = args;
    for (std::size_t i = 0; i < one.options.size(); i += 2)
      if (const auto given = std::ranges::find(usual, one.options[i]); given != usual.end())
        args[static_cast<std::size_t>(given - usual.begin()) + 1] = one.options[i + 1];
      else
        args.insert(args.end(), {one.options[i], one.options[i + 1]});
    const Outcome outcome = run(args);
    BOOST_TEST(outcome.code == 2,
               one.program << " " << one.words.front() << ": " << outcome.code << outcome.err);
    BOOST_TEST(mentions(outcome.err, one.words), one.program << ": " << outcome.err);
    BOOST_TEST(names_in("refused").empty(), one.program << " " << one.words.front());
  }
}

// A model whose heads do not divide, and one without experts, each with a baseline that fits it.
BOOST_AUTO_TEST_CASE(models_that_do_not_divide_are_refused_by_name) {
  const auto llama = (fs::path(FPF_FIXTURES) / "parity/llama_tied").string();
  const auto refused = [&](const std::string& model, const std::string& program, const Strings& more) {
    Strings base = Inputs::command("exp0_reference", "own");
    base[2] = model;
    base[4] = "own_ids.json";
    write("own_ids.json", "[1, 2, 3, 4, 5]");
    const Outcome made = run(base);
    BOOST_REQUIRE_MESSAGE(made.code == 0, made.err);
    fresh_folder("refused");
    Strings args = Inputs::command(program, "refused", more);
    args[2] = model;
    args[4] = "own_ids.json";
    *(std::ranges::find(args, "--baseline") + 1) = "own/reference_baseline.json";
    const Outcome outcome = run(args);
    BOOST_TEST(outcome.code == 2);
    BOOST_TEST(names_in("refused").empty());
    return outcome.err;
  };
  const std::string heads =
      refused("synthetic:inputs/odd/config.json", "exp7_tensor_parallel", {"--tp", "2"});
  BOOST_TEST(mentions(heads, {"2 ranks", "9 ", "heads"}), heads);
  const std::string dense = refused(llama, "exp8_expert_parallel", {"--ep", "2"});
  BOOST_TEST(mentions(dense, {"LlamaForCausalLM", "no experts"}), dense);
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(interruption)

/// Waits until a partial file has its head and so many finished configurations.
bool wait_for(const fs::path& partial, std::ptrdiff_t configurations) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(120);
  for (;;) {
    const std::string text = text_of(partial);
    if (std::ranges::count(text, '\n') > configurations) return true;
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

// Each experiment with more than one configuration of its own, each signal, while configurations are finished
// and others not: the old file stays to the byte, and --resume ends with what an uninterrupted run gives.
BOOST_AUTO_TEST_CASE(it_leaves_the_old_file_and_resume_goes_on) {
  for (const Case& one : cases()) {
    const json whole = read(fs::path("all") / file_of(one));
    for (const int signal : {SIGINT, SIGTERM, SIGKILL}) {
      fresh_folder("stopped");
      const fs::path file = fs::path("stopped") / file_of(one), partial = file.string() + ".partial";
      write(file, "old");
      const Strings args = Inputs::command(one.program, "stopped", one.options, one.format);
      Child child(args);
      const bool begun = wait_for(partial, one.values.size() > 2 ? 2 : 0);
      child.send(signal);
      const Outcome stopped = child.wait();
      if (stopped.code == 0) continue;  // it was done before the signal came
      BOOST_TEST(begun, one.program);
      BOOST_TEST(stopped.code == (signal == SIGKILL ? 128 + SIGKILL : 130),
                 one.program << ": " << stopped.err);
      BOOST_TEST(text_of(file) == "old", one.program);
      Strings resume = args;
      resume.push_back("--resume");
      const Outcome resumed = run(resume);
      BOOST_REQUIRE_MESSAGE(resumed.code == 0, one.program << ": " << resumed.err);
      BOOST_TEST(signals_of(read(file)) == signals_of(whole), one.program);
      BOOST_TEST(read(file).at("configurations").size() == whole.at("configurations").size());
      BOOST_TEST(names_in("stopped") == std::set<std::string>{file_of(one)},
                 boost::test_tools::per_element());
    }
  }
}

// What is in the .partial file is not run again.
BOOST_AUTO_TEST_CASE(resume_keeps_what_was_finished) {
  fresh_folder("kept");
  const Case& one = cases().front();
  const fs::path file = fs::path("kept") / file_of(one);
  const Strings args = Inputs::command(one.program, "kept", one.options);
  Child child(args);
  BOOST_REQUIRE(wait_for(file.string() + ".partial", 2));
  child.send(SIGKILL);
  if (child.wait().code == 0) return;
  const std::string before = text_of(file.string() + ".partial");
  std::vector<std::string> kept;  // how long each finished configuration took, to the nanosecond
  for (std::size_t at = 0; (at = before.find("\"runtime_seconds\":", at)) != std::string::npos; ++at)
    kept.push_back(before.substr(at, before.find(',', at) - at));
  BOOST_TEST(kept.size() >= 2u);
  Strings resume = args;
  resume.push_back("--resume");
  BOOST_REQUIRE_EQUAL(run(resume).code, 0);
  const std::string after = text_of(file);
  for (const std::string& one_run : kept) BOOST_TEST(after.find(one_run) != std::string::npos, one_run);
}

// Other options than those of the interrupted run are not mixed with its results.
BOOST_AUTO_TEST_CASE(resume_refuses_another_runs_partial_file) {
  fresh_folder("other");
  const Case& one = cases().front();
  const fs::path partial = fs::path("other") / (file_of(one) + ".partial");
  const Strings args = Inputs::command(one.program, "other", one.options);
  Child child(args);
  BOOST_REQUIRE(wait_for(partial, 2));
  child.send(SIGKILL);
  if (child.wait().code == 0) return;
  Strings other = args;
  other.insert(other.end(), {"--resume", "--reps", "2"});
  const Outcome outcome = run(other);
  BOOST_TEST(outcome.code == 2, outcome.err);
  BOOST_TEST(mentions(outcome.err, {".partial"}), outcome.err);
  BOOST_TEST(fs::exists(partial));
}

BOOST_AUTO_TEST_SUITE_END()
