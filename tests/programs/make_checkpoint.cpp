// make_checkpoint as a user runs it: options that must be refused with nothing left behind, and a synthetic
// model.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <fpf/model/checkpoint.hpp>

#include "folders.hpp"
#include "vocabularies.hpp"

BOOST_AUTO_TEST_SUITE(test_make_checkpoint)

using namespace fpf;
using model::Checkpoint;

BOOST_AUTO_TEST_CASE(as_a_user_runs_it) {
  const std::string program = FPF_BIN "/make_checkpoint";
  const auto here = fresh_folder("user");
  const auto result = [&](std::vector<std::string> args) {
    args.insert(args.begin(), program);
    return run(args, here.string());
  };
  const auto fails = [&](const std::vector<std::string>& args, std::initializer_list<std::string> words) {
    const auto outcome = result(args);
    BOOST_TEST(outcome.code == 2);
    BOOST_TEST(mentions(outcome.err, words), outcome.err);
    BOOST_TEST(fs::is_empty(here));
  };
  const std::string moe = "synthetic:qwen3-moe-tiny", pdf = FPF_FIXTURES "/prompts/open.pdf";
  fails({"--quant", "awq", "--to", "x"}, {"--from", "--preset"});
  fails({"--from", moe, "--preset", "qwen3-moe-tiny", "--quant", "awq", "--to", "x"}, {"--from", "--preset", "2"});
  fails({"--from", moe, "--to", "x"}, {"--quant"});
  fails({"--from", moe, "--quant", "awq"}, {"--to"});
  fails({"--from", moe, "--quant", "fp8", "--to", "x"}, {"fp8", "gptq"});
  fails({"--from", "nowhere", "--quant", "awq", "--to", "x"}, {"nowhere"});
  fails({"--from", moe, "--quant", "awq", "--to", "x", "--calibration-pdf", pdf}, {moe, "tokeniser"});
  fails({"--from", moe, "--quant", "awq", "--to", "x", "--synthetic-seed", "3"}, {"--synthetic-seed", "--preset"});
  fails({"--from", moe, "--quant", "awq", "--to", "x", "--calibration-tokens", "5"}, {"--calibration-tokens", "512"});
  fails({"--preset", "qwen9", "--quant", "awq", "--to", "x"}, {"qwen9", "qwen3-30b-a3b"});
  fails({"--preset", "qwen3-moe-tiny", "--quant", "awq", "--group-size", "96", "--to", "x"}, {"96", "256"});
  fails({"--from", model_file("SmolLM2-135M-Instruct.Q4_1.gguf").string(), "--quant", "awq", "--to", "x"},
        {"128", "576", "q_proj"});
  fails({"--from", model_file("SmolLM2-135M-Instruct.Q4_1.gguf").string(), "--quant", "nf4", "--to", "x",
         "--calibration-pdf", pdf},
        {"open.pdf", "tokens", "8192"});

  const auto made = result({"--preset", "qwen3-moe-tiny", "--synthetic-seed", "7", "--quant", "gptq", "--group-size",
                            "64", "--to", "x", "--quiet"});
  BOOST_TEST(made.code == 0, made.err);
  const auto expected = Checkpoint::open("synthetic:qwen3-moe-tiny?seed=7&quant=gptq&group_size=64");
  const auto found = Checkpoint::open((here / "x").string());
  BOOST_TEST(found.config().quantization == expected.config().quantization);
  std::vector<std::byte> bytes;
  const std::string name = "model.layers.5.mlp.experts.31.down_proj.qweight";
  BOOST_TEST(
      std::ranges::equal(found.source().at(name).data, expected.source().bytes_of(expected.source().at(name), bytes)));
}

BOOST_AUTO_TEST_SUITE_END()
