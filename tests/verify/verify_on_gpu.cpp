// verify on a GPU, where flash and written-out attention are other kernels. Without a GPU all is skipped.
#include "folders.hpp"

BOOST_AUTO_TEST_SUITE(test_verify_on_gpu)

namespace {

namespace ut = boost::unit_test;

const std::string bin = FPF_BIN;

std::string model(const std::string& format) { return "synthetic:qwen3-moe-tiny?seed=1&quant=" + format; }

Strings command(const std::string& program, const std::string& format, const std::string& out,
                const Strings& more = {}) {
  json ids{7};
  while (ids.size() < 64) ids.push_back((ids.back().get<int>() * 1103 + 12345) % 4096);
  write("prompt.json", ids.dump());
  Strings args{bin + "/" + program,
               "--model",
               model(format),
               "--prompt-ids",
               "prompt.json",
               "--dtype",
               "bfloat16",
               "--device",
               "cuda",
               "--decode-steps",
               "6",
               "--layers",
               "0,2,5",
               "--out",
               out};
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

boost::test_tools::assertion_result on_gpu(ut::test_unit_id) {
  static const bool found = !mentions(run(command("exp0_reference", "awq", "probe")).err, {"finds 0 CUDA devices"});
  boost::test_tools::assertion_result out(found);
  if (!out) out.message() << "there is no GPU";
  return out;
}

void require_run(const Strings& args) {
  const Outcome outcome = run(args);
  BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
}

std::string forged(const std::string& from, const std::string& to, const Strings& change) {
  Strings args{"python3", FPF_SOURCE "/tests/verify/forge_evidence.py", from, to};
  args.insert(args.end(), change.begin(), change.end());
  args.push_back("--resign");
  require_run(args);
  return to;
}

/// The verdict on one file, and the reason.
std::pair<std::string, std::string> verdict(const std::string& evidence, const std::string& format) {
  fs::remove("verdict.json");
  const Outcome outcome = run({bin + "/verify", evidence, "--model", model(format), "--output", "verdict.json"});
  BOOST_REQUIRE_MESSAGE(fs::exists("verdict.json"), outcome.err);
  const json result = json::parse(text_of("verdict.json"));
  BOOST_TEST((outcome.code == 0) == (result.at("verdict") == "accept"));
  std::string reasons;
  for (const json& run : result.at("runs")) {
    reasons += run.at("reason").get<std::string>() + "\n";
    for (const json& difference : run.at("manifest_differences")) reasons += difference.dump() + "\n";
  }
  return {result.at("verdict"), reasons};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(gpu, *ut::precondition(on_gpu))

BOOST_AUTO_TEST_CASE(it_accepts_what_this_gpu_made_and_rejects_other_kernels) {
  for (const char* name : {"awq", "gptq", "nf4", "none"}) {
    const std::string format = name, folder = "gpu_" + format, reference = folder + "/reference_baseline.json";
    fresh_folder(folder);
    require_run(command("exp0_reference", format, folder));
    require_run(command("exp4_attention", format, folder));
    require_run(command("exp2_compile", format, folder));
    for (const char* file : {"/reference_baseline.json", "/attention_experiment.json", "/compile_experiment.json"}) {
      const auto [decision, reason] = verdict(folder + file, format);
      BOOST_TEST(decision == "accept", format << file << ": " << reason);
    }
    const auto [eager, why] =
        verdict(forged(reference, "eager.json", {"graft", folder + "/attention_experiment.json", "1"}), format);
    BOOST_TEST(eager == "reject", format << ": " << why);
    const auto [element, place] =
        verdict(forged(reference, "element.json", {"element", "0", "3", "key_vectors", "2", "1"}), format);
    BOOST_TEST(element == "reject", format << ": " << place);
    BOOST_TEST(mentions(place, {"step 3", "layer 2, key_vectors"}), place);
  }
}

BOOST_AUTO_TEST_CASE(another_format_in_the_words_of_awq_is_rejected) {
  for (const char* format : {"awq", "gptq"}) {
    fresh_folder(std::string("words_") + format);
    require_run(command("exp0_reference", format, std::string("words_") + format));
  }
  const auto [decision, reason] = verdict(
      forged("words_awq/reference_baseline.json", "words.json", {"graft", "words_gptq/reference_baseline.json", "0"}),
      "awq");
  BOOST_TEST(decision == "reject", reason);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE_END()
