// The manifest of exp0_reference: what produced the numbers.
#include <chrono>
#include <regex>
#include <thread>

#include "exp0.hpp"

BOOST_AUTO_TEST_SUITE(test_exp0_manifest)

namespace {
const fs::path copied = "copied";
}

BOOST_AUTO_TEST_CASE(it_says_what_produced_the_numbers) {
  const json file = experiment({{"--reps", "1"}, {"--threads", "2"}});
  const json& configuration = file.at("configurations").at(0);
  const json& found = configuration.at("manifest");
  BOOST_TEST(found.at("threads") == 2);
  BOOST_TEST(found.at("device").at("type") == "cpu");
  BOOST_TEST(configuration.at("hardware") == found.at("device").at("name"));
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::string cpu((std::istreambuf_iterator<char>(cpuinfo)), {});
  if (cpu.find("model name") != std::string::npos)
    BOOST_TEST(cpu.find(": " + configuration.at("hardware").get<std::string>() + "\n") != std::string::npos);
  BOOST_TEST(
      std::regex_match(configuration.at("config_id").get<std::string>(), std::regex("[A-Za-z0-9.-]+_reference")));
  BOOST_TEST(run({program, "--version"}).out ==
             "exp0_reference (fpf) " + found.at("fpf").at("version").get<std::string>() + "\n");
  BOOST_TEST(std::regex_match(found.at("fpf").at("revision").get<std::string>(), std::regex("[0-9a-f]{12}|unknown")));
  const json& operations = found.at("operations");
  BOOST_TEST(operations.at("prefill").at("attention") == "libtorch _scaled_dot_product_flash_attention_for_cpu");
  BOOST_TEST(operations.at("prefill").at("norm") == "libtorch add, pow, mean, rsqrt, mul");
  BOOST_TEST(operations.at("decode") == operations.at("prefill"));
  BOOST_TEST(experiment({{"--reps", "1"}, {"--execution", "compiled"}})
                 .at("configurations")
                 .at(0)
                 .at("manifest")
                 .at("operations")
                 .at("decode")
                 .at("norm") == "fpf fused_add_norm");
  BOOST_TEST(found.at("policies") == json({{"quantisation", "none"},
                                           {"attention", "flash_attention_2"},
                                           {"parallelism", "single"},
                                           {"stream", "exclusive"},
                                           {"execution", "eager"}}));
  BOOST_TEST(experiment({{"--reps", "1"}}).at("configurations").at(0).at("manifest").at("threads") == 1);
}

BOOST_AUTO_TEST_CASE(it_says_how_the_prompt_came_about) {
  const auto prompt_of = [](const json& file) { return file.at("configurations").at(0).at("manifest").at("prompt"); };
  const json given = prompt_of(experiment({{"--reps", "1"}}));
  BOOST_TEST(given.at("source") == "ids");
  BOOST_TEST(given.at("template_renderer").is_null());
  Options options{{"--model", smollm2.string()},
                  {"--prompt-ids", ""},
                  {"--prompt-pdf", manual.string()},
                  {"--prompt-tokens", "48"},
                  {"--decode-steps", "2"},
                  {"--reps", "1"},
                  {"--layers", "0"}};
  const json native = prompt_of(experiment(options));
  BOOST_TEST(native.at("source") == "document");
  BOOST_TEST(native.at("template_renderer") == "native");
  BOOST_TEST(native.at("template_sha256") == "872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788");
  BOOST_TEST(native.at("thinking") == false);
  const json raw = prompt_of(experiment(options, {"--no-chat-template"}));
  BOOST_TEST(raw.at("template_renderer") == "none");
  BOOST_TEST(raw.at("template_sha256").is_null());
  BOOST_TEST(raw.at("special_tokens_added") == 0);
}

// Ids are given, so that nothing depends on the tokeniser but the tokens' texts.
BOOST_AUTO_TEST_CASE(a_tokeniser_that_is_not_known_leaves_texts_empty_and_says_so) {
  copy_of("llama_tied", "model");
  const json plain = experiment({{"--reps", "1"}, {"--model", "model"}});
  for (const char* tokenizer : {R"({"model": {"type": "Unigram", "vocab": []}})", "{",
                                "version https://git-lfs.github.com/spec/v1\nsize 7\n"}) {
    write("model/tokenizer.json", tokenizer);
    fresh_folder("out");
    const Outcome outcome = run(command({{"--reps", "1"}, {"--model", "model"}}));
    BOOST_TEST(outcome.code == 0);
    BOOST_TEST(mentions(outcome.err, {"the model's tokeniser is not known", "model/tokenizer.json"}), outcome.err);
    const json file = json::parse(text_of(fs::path("out") / result));
    BOOST_TEST(file.at("runs").at(0).at("signals_sha256") == plain.at("runs").at(0).at("signals_sha256"));
    BOOST_TEST(file.at("runs").at(0).at("decode_steps").at(0).at("token_text") == "");
    const Outcome verified = run({FPF_BIN "/verify", "out/" + result, "--model", "model", "--output", "verdict.json"});
    BOOST_TEST(verified.code == 0);
    BOOST_TEST(mentions(json::parse(text_of("verdict.json")).at("runs").at(0).at("notes").dump(),
                        {"texts of prompt and tokens are not checked", "tokenizer.json"}));
  }
}

// libtorch's version as its wheel states it, against what the running program loaded.
BOOST_AUTO_TEST_CASE(it_has_the_versions_of_the_libraries_that_were_loaded) {
  const json file = experiment({{"--reps", "1"}});
  const json& configuration = file.at("configurations").at(0);
  const json& libraries = configuration.at("manifest").at("libraries");
  std::smatch version;
  const std::string stated = text_of(fs::path(FPF_BUILD) / "torch" / "version.py");
  BOOST_REQUIRE(std::regex_search(stated, version, std::regex("__version__ = '([0-9.]+)")));
  BOOST_TEST(libraries.at("libtorch") == version[1].str());
  BOOST_TEST(configuration.at("torch_version") == version[1].str());
  const bool cuda = std::regex_search(stated, version, std::regex("cuda: Optional\\[str\\] = '([0-9.]+)'"));
  BOOST_TEST(libraries.at("cuda") == (cuda ? version[1].str() : "none"));
  BOOST_TEST(configuration.at("cuda_version") == libraries.at("cuda"));
  for (const char* library : {"mkl", "onednn", "openmp"})
    BOOST_TEST(libraries.at(library).get<std::string>() != "", library);
}

BOOST_AUTO_TEST_CASE(it_has_the_models_digest_and_notices_when_the_file_changes) {
  const auto model = copy_of("llama_tied", "model"), weights = model / "model.safetensors";
  const auto recorded = [&] {
    const json file = experiment({{"--model", model.string()}, {"--reps", "1"}});
    const json files = file.at("configurations").at(0).at("manifest").at("model").at("files");
    BOOST_REQUIRE_EQUAL(files.size(), 1u);
    BOOST_TEST(files.at(0).at("file") == "model.safetensors");
    BOOST_TEST(files.at(0).at("bytes") == fs::file_size(weights));
    return files.at(0).at("sha256").get<std::string>();
  };
  const auto sha256sum = [&] { return run({"sha256sum", weights.string()}).out.substr(0, 64); };
  const std::string first = sha256sum();
  BOOST_TEST(recorded() == first);
  write(weights.string() + ".sha256", std::string(64, '0') + "\n");
  BOOST_TEST(recorded() == first);  // what lies beside the file proves nothing of it
  const auto written = fs::last_write_time(weights);
  std::string changed = text_of(weights);
  changed.back() ^= 1;
  write(weights, changed);
  fs::last_write_time(weights, written);  // as rsync -t, cp -p and images with normalised times leave it
  BOOST_TEST(sha256sum() != first);
  BOOST_TEST(recorded() == sha256sum());
  BOOST_TEST(
      (names_in(model) == std::set<std::string>{"config.json", "model.safetensors", "model.safetensors.sha256"}));
}

// The cache spares a second reading of gigabytes; --hash-weights reads all the same.
BOOST_AUTO_TEST_CASE(it_says_where_a_digest_is_from) {
  const auto from = [](const Strings& more) {
    const json file = experiment({{"--model", copied.string()}, {"--reps", "1"}}, more);
    return file.at("configurations").at(0).at("manifest").at("model").at("files").at(0).at("digest_from");
  };
  copy_of("llama_tied", copied);
  BOOST_TEST(from({}) == "content");
  BOOST_TEST(from({}) == "content");  // just written: its times cannot tell yet whether it changes once more
  std::this_thread::sleep_for(std::chrono::milliseconds(3500));
  BOOST_TEST(from({}) == "content");
  BOOST_TEST(from({}) == "cache");
  BOOST_TEST(from({"--hash-weights"}) == "content");
}

BOOST_AUTO_TEST_CASE(a_configs_digest_is_that_of_the_file) {
  const json file = experiment({{"--reps", "1"}});
  BOOST_TEST(file.at("configurations").at(0).at("manifest").at("model").at("config_sha256") ==
             run({"sha256sum", (tiny / "config.json").string()}).out.substr(0, 64));
}

BOOST_AUTO_TEST_CASE(configuration_ids_are_plain_words) {
  for (const auto& [hardware, id] :
       std::map<std::string, std::string>{{"NVIDIA H100 80GB HBM3", "NVIDIA-H100-80GB-HBM3_reference"},
                                          {"Intel(R) Xeon(R) CPU @ 2.50GHz", "Intel-Xeon-CPU-2.50GHz_reference"},
                                          {"A100-80GB", "A100-80GB_reference"}}) {
    const json file = experiment({{"--hardware", hardware}, {"--reps", "1"}, {"--decode-steps", "1"}});
    BOOST_TEST(file.at("configurations").at(0).at("config_id") == id);
    BOOST_TEST(file.at("configurations").at(0).at("hardware") == hardware);
  }
}

BOOST_AUTO_TEST_SUITE_END()
