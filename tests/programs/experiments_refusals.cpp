// What exp1 to exp8 refuse.
#include "experiments.hpp"

BOOST_AUTO_TEST_SUITE(test_experiments_refusals)

namespace {

struct Refusal {
  std::string program;
  Strings options;
  Strings words;
  std::string format = "none";
};

}  // namespace

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
      {"exp2_compile", {"--model", odd}, {"another model", "quant=none"}},
      {"exp2_compile", {"--baseline", "nowhere.json"}, {"nowhere.json"}},
      {"exp2_compile", {"--baseline", made(case_of("compile")).string()}, {"expected experiment 0's file"}},
      {"exp2_compile", {"--threads", "2"}, {"does not fit", "threads is 1", "this run's is 2"}},
      {"exp2_compile", {"--hardware", "elsewhere"}, {"does not fit", "hardware", "elsewhere"}},
      {"exp3_quantization", {}, {"does not fit", "awq-int4"}},
      {"exp3_quantization", {"--model-bnb", Inputs::model("nf4")}, {"--model-gptq is missing"}, "awq"},
      {"exp3_quantization",
       {"--model-gptq", Inputs::model("nf4"), "--model-bnb", Inputs::model("nf4")},
       {"--model-gptq", "format bitsandbytes", "expected gptq"},
       "awq"},
      {"exp5_concurrent_streams", {"--contention", "0"}, {"--contention 0", "above 0"}},
      {"exp6_cuda_version", {}, {"expected --cuda", "--stack"}},
      {"exp6_cuda_version", {"--cuda", "99.9"}, {"--cuda 99.9", "cuda-99.9", "setup.sh"}},
      {"exp6_cuda_version", {"--cuda", "nowhere"}, {"--cuda nowhere", "neither a version", "nor a folder"}},
      {"exp6_cuda_version", {"--cuda", "inputs"}, {"inputs", "NVRTC"}},
      {"exp6_cuda_version", {"--cuda", "12.1"}, {"--cuda 12.1", "a GPU"}},
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
    BOOST_TEST(outcome.code == 2, one.program << " " << one.words.front() << ": " << outcome.code << outcome.err);
    BOOST_TEST(mentions(outcome.err, one.words), one.program << ": " << outcome.err);
    BOOST_TEST(names_in("refused").empty(), one.program << " " << one.words.front());
  }
}

// A model whose heads do not divide, and one without experts, each with a baseline that fits it.
BOOST_AUTO_TEST_CASE(models_that_do_not_divide_are_refused_by_name) {
  const auto llama = (fs::path(FPF_FIXTURES) / "parity/llama_tied").string();
  const auto refused = [&](const std::string& model, const std::string& program, const Strings& more) {
    fresh_folder("own");
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
  const std::string heads = refused("synthetic:inputs/odd/config.json", "exp7_tensor_parallel", {"--tp", "2"});
  BOOST_TEST(mentions(heads, {"2 ranks", "9 ", "heads"}), heads);
  const std::string dense = refused(llama, "exp8_expert_parallel", {"--ep", "2"});
  BOOST_TEST(mentions(dense, {"LlamaForCausalLM", "no experts"}), dense);
}

// What a finished file holds beyond what this run makes is found out at the end: nothing of either is lost.
BOOST_AUTO_TEST_CASE(a_file_with_more_configurations_is_kept_and_so_are_the_results) {
  fresh_folder("more");
  const Case& one = case_of("compile");
  const auto file = fs::path("more") / "batch_size_experiment.json";
  const Strings neighbours = case_of("batch_size").options;
  BOOST_REQUIRE_EQUAL(run(Inputs::command("exp1_batch_size", "more", neighbours)).code, 0);
  const std::string before = text_of(file);
  Strings fewer = neighbours;
  fewer.insert(fewer.end(), {"--batch-sizes", "2"});
  const Outcome outcome = run(Inputs::command("exp1_batch_size", "more", fewer));
  BOOST_TEST(outcome.code == 2, outcome.err);
  BOOST_TEST(
      mentions(outcome.err, {file.string() + " holds", "_bs4", "It is kept", file.string() + ".partial", "--resume"}),
      outcome.err);
  BOOST_TEST(text_of(file) == before);
  fs::rename(file, "more/earlier");
  fewer.push_back("--resume");
  BOOST_TEST(run(Inputs::command("exp1_batch_size", "more", fewer)).code == 0);
  BOOST_TEST(read(file).at("configurations").size() == 2u);
  const std::string two = text_of(file);
  // other neighbours, under the same name
  Strings others{"--neighbour-ids", "inputs/ids4.json", "--batch-sizes", "2"};
  const Outcome other = run(Inputs::command("exp1_batch_size", "more", others));
  BOOST_TEST(other.code == 2);
  BOOST_TEST(mentions(other.err, {"neighbours' prompt_sha256", "It is kept"}), other.err);
  BOOST_TEST(text_of(file) == two);
  // another share of the load, and another experiment's file
  const Case& load = case_of("concurrent_streams");
  BOOST_REQUIRE_EQUAL(run(Inputs::command(load.program, "more", {})).code, 0);
  const Outcome duty = run(Inputs::command(load.program, "more", {"--contention", "0.25"}));
  BOOST_TEST(mentions(duty.err, {"load's share is 0.5, this run's is 0.25", "It is kept"}), duty.err);
  fs::copy_file(file, fs::path("more") / file_of(one));
  const Outcome type = run(Inputs::command(one.program, "more", {}));
  BOOST_TEST(mentions(type.err, {"experiment_type is \"batch_size\"", "It is kept"}), type.err);
}

BOOST_AUTO_TEST_SUITE_END()
