// exp0_reference as a user runs it: files, manifest, findings, interruptions; on the tiny models of
// fixtures/make_parity.py, a synthetic one and SmolLM2.
#include <cmath>
#include <fpf/evidence/experiment_index.hpp>
#include <numeric>
#include <regex>
#include <thread>

#include "exp0.hpp"

BOOST_AUTO_TEST_SUITE(results)

BOOST_AUTO_TEST_CASE(three_bit_exact_repetitions_leave_the_last_and_the_digests_of_all) {
  const json file = experiment();
  require_recomputed();
  const json& configuration = file.at("configurations").at(0);
  BOOST_TEST(file.at("configurations").size() == 1u);
  BOOST_TEST(file.at("runs").size() == 1u);
  const json& one = file.at("runs").at(0);
  BOOST_TEST(one.at("rep_id") == 2);
  BOOST_TEST(one.at("config_id") == configuration.at("config_id"));
  BOOST_TEST(one.at("status") == "complete");
  const json& reproducibility = one.at("reproducibility");
  BOOST_TEST(reproducibility.at("repetitions") == 3);
  BOOST_TEST(reproducibility.at("bit_exact") == true);
  BOOST_TEST(reproducibility.at("first_difference").is_null());
  BOOST_TEST(reproducibility.at("digests").size() == 3u);
  for (const char* signal : {"hidden_states", "key_vectors", "logprobs", "router"})
    for (const auto& digest : reproducibility.at("digests"))
      BOOST_TEST(digest.at(signal) == reproducibility.at("digests").at(0).at(signal));
  BOOST_TEST(one.at("prompt_token_ids") == json::parse(text_of(tiny / "prompt.json")));

  const auto seconds = one.at("runtime").at("seconds").get<std::vector<double>>();
  BOOST_REQUIRE_EQUAL(seconds.size(), 3u);
  const double mean = (seconds[0] + seconds[1] + seconds[2]) / 3;
  double variance = 0;
  for (const double s : seconds) variance += (s - mean) * (s - mean) / 3;
  BOOST_TEST(std::abs(one.at("runtime").at("mean").get<double>() - mean) <= 1e-12 * mean);
  BOOST_TEST(std::abs(one.at("runtime").at("variance").get<double>() - variance) <= 1e-9 * mean * mean);
}

// Every field of the plan's schema, and what formats.md decides for a C++ program.
BOOST_AUTO_TEST_CASE(the_file_has_the_plans_fields) {
  const json file = experiment({{"--hardware", "A100-80GB"}, {"--provider", "RunPod"}});
  const json& metadata = file.at("experiment_metadata");
  BOOST_TEST(metadata.at("schema_version") == 1);
  BOOST_TEST(metadata.at("experiment_type") == "reference");
  BOOST_TEST(metadata.at("variable_tested") == "none");
  BOOST_TEST(metadata.at("model") == "llama_tied");
  BOOST_TEST(metadata.at("architecture") == "dense");
  BOOST_TEST(metadata.at("sequence_length") == 23 + 6);
  BOOST_TEST(metadata.at("decode_steps") == 6);
  BOOST_TEST(metadata.contains("model_size"));
  const std::regex date(R"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)");
  BOOST_TEST(std::regex_match(metadata.at("date_created").get<std::string>(), date));
  const json& extraction = metadata.at("extraction_config");
  BOOST_TEST(extraction.at("layers") == json({0, 1, 3}));
  BOOST_TEST(extraction.at("positions") == json({-3, -2, -1}));
  BOOST_TEST(extraction.at("hidden_dim") == 60);
  BOOST_TEST(extraction.at("key_dim") == 28);
  BOOST_TEST(extraction.at("top_k_logprobs") == 10);

  const json& configuration = file.at("configurations").at(0);
  BOOST_TEST(configuration.at("config_id") == "A100-80GB_reference");
  BOOST_TEST(configuration.at("hardware") == "A100-80GB");
  BOOST_TEST(configuration.at("provider") == "RunPod");
  BOOST_TEST(configuration.at("variable_value").is_null());
  BOOST_TEST(configuration.at("baseline") == true);
  BOOST_TEST(configuration.at("transformers_version") == "none");
  BOOST_TEST(configuration.at("python_version") == "none");
  BOOST_TEST(configuration.at("flash_attn_version").get<std::string>().starts_with("libtorch "));
  for (const char* field :
       {"compile", "attention_impl", "quantization", "tp_size", "ep_size", "concurrent_streams"})
    BOOST_TEST(configuration.at("fixed_params").contains(field), field);

  const json& one = file.at("runs").at(0);
  for (const char* field : {"rep_id", "runtime_seconds", "prompt_text"})
    BOOST_TEST(one.contains(field), field);
  BOOST_TEST(std::regex_match(one.at("timestamp").get<std::string>(), date));
  BOOST_TEST(one.at("decode_steps").size() == 6u);
  for (const json& step : one.at("decode_steps")) {
    BOOST_TEST(step.at("token_text") == "");  // ids alone: there is no tokeniser
    for (const char* signal : {"hidden_states", "key_vectors"})
      for (const char* layer : {"layer_0", "layer_1", "layer_3"})
        for (const char* position : {"pos_-3", "pos_-2", "pos_-1"})
          BOOST_TEST(step.at(signal).at(layer).at(position).size() ==
                     extraction.at(std::string_view(signal) == "hidden_states" ? "hidden_dim" : "key_dim")
                         .get<std::size_t>());
    for (const char* position : {"pos_-3", "pos_-2", "pos_-1"}) {
      BOOST_TEST(step.at("logprobs").at(position).at("token_ids").size() == 10u);
      BOOST_TEST(step.at("logprobs").at(position).at("log_probs").size() == 10u);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_position_stands_in_the_file_as_the_same_text_three_times) {
  experiment();
  const auto file = fpf::evidence::open_experiment(fs::path("out") / result);
  const auto& one = file.runs.at(0);
  BOOST_TEST(one.rows.size() == 6u * 3 * (3 + 3 + 1));
  std::map<std::tuple<fpf::evidence::StoredSignal, int, int>, std::multiset<std::string_view>> views;
  for (const auto& row : one.rows) views[{row.signal, row.layer, one.position(row)}].insert(file.text(row));
  BOOST_TEST(views.size() == (6u + 2) * (3 + 3 + 1));
  for (const auto& [place, texts] : views) {
    BOOST_TEST(texts.count(*texts.begin()) == texts.size());
    const auto row = static_cast<std::size_t>(std::get<2>(place) + 2);  // of 8: seen by up to three steps
    BOOST_TEST(texts.size() == std::min({row + 1, std::size_t{3}, 8 - row}));
  }
}

BOOST_AUTO_TEST_CASE(the_recomputation_sees_one_changed_digit) {
  experiment();
  const std::string text = text_of(fs::path("out") / result);
  const auto first_row = text.find("\"pos_-1\":[") + 10, digit = text.find_first_of("123456789", first_row);
  write(fs::path("out") / result, std::string(text).replace(digit, 1, text[digit] == '7' ? "6" : "7"));
  const Outcome outcome = recomputed(fs::path("out") / result);
  BOOST_TEST(outcome.code == 1);
  BOOST_TEST(mentions(outcome.out, {"differs between steps"}));
}

BOOST_AUTO_TEST_CASE(sixteen_bit_runs_name_their_type_and_keep_its_bits) {
  std::set<std::string> digests;
  for (const char* dtype : {"float32", "float16", "bfloat16"}) {
    const json file = experiment({{"--dtype", dtype}, {"--reps", "2"}});
    require_recomputed();
    const json& dtypes = file.at("experiment_metadata").at("extraction_config").at("signal_dtypes");
    BOOST_TEST(dtypes.at("hidden_states") == dtype);
    BOOST_TEST(dtypes.at("key_vectors") == dtype);
    BOOST_TEST(dtypes.at("logprobs") == "float32");
    BOOST_TEST(file.at("configurations").at(0).at("manifest").at("activation_dtype") == dtype);
    digests.insert(file.at("runs").at(0).at("signals_sha256").get<std::string>());
  }
  BOOST_TEST(digests.size() == 3u);
}

BOOST_AUTO_TEST_CASE(every_quantisation_format_repeats_bit_for_bit) {
  write("ids.json", "[1, 22, 333, 4000, 5, 66, 777]");
  std::set<std::string> digests;
  for (const std::string quant : {"none", "awq", "gptq", "nf4"}) {
    const json file =
        experiment({{"--model", "synthetic:qwen3-moe-tiny?quant=" + quant}, {"--prompt-ids", "ids.json"}});
    require_recomputed();
    const json& one = file.at("runs").at(0);
    BOOST_TEST(one.at("reproducibility").at("repetitions") == 3);
    BOOST_TEST(one.at("reproducibility").at("bit_exact") == true);
    digests.insert(one.at("signals_sha256").get<std::string>());
  }
  BOOST_TEST(digests.size() == 4u);
}

// What a run takes beyond one of a model that is next to nothing, all weights read and all shards hashed, is
// the checkpoint, its KV cache, and one layer at a time dequantised.
BOOST_AUTO_TEST_CASE(quantised_weights_stay_quantised_in_memory) {
  json config = {{"architectures", {"LlamaForCausalLM"}},
                 {"vocab_size", 512},
                 {"hidden_size", 1024},
                 {"intermediate_size", 2048},
                 {"num_hidden_layers", 48},
                 {"num_attention_heads", 8},
                 {"num_key_value_heads", 2},
                 {"head_dim", 128},
                 {"rms_norm_eps", 1e-6},
                 {"max_position_embeddings", 512},
                 {"rope_theta", 1e4},
                 {"hidden_act", "silu"},
                 {"tie_word_embeddings", false}};
  write("large.json", config.dump());
  config.update({{"num_hidden_layers", 1},
                 {"hidden_size", 128},
                 {"intermediate_size", 128},
                 {"num_attention_heads", 1},
                 {"num_key_value_heads", 1}});
  write("small.json", config.dump());
  write("ids.json", "[1, 22, 333, 40, 5, 66, 77, 8]");
  const std::int64_t cache = 2 * 48 * 2 * 128 * (8 + 1) * 2;  // bfloat16
  for (const std::string quant : {"awq", "gptq", "nf4"}) {
    std::map<std::string, std::int64_t> peak;
    for (const std::string size : {"small", "large"}) {
      fs::remove_all(size);
      const Outcome made =
          run({FPF_BIN "/make_checkpoint", "--from", "synthetic:" + size + ".json?quant=" + quant, "--quant",
               quant, "--to", size, "--quiet"});
      BOOST_REQUIRE_MESSAGE(made.code == 0, made.err);
      fresh_folder("out");
      const Outcome outcome = run(command({{"--model", size},
                                           {"--prompt-ids", "ids.json"},
                                           {"--decode-steps", "1"},
                                           {"--layers", "last"},
                                           {"--reps", "1"},
                                           {"--device", "cpu"}}));
      BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
      peak[size] = outcome.peak_bytes;
    }
    const auto bytes = static_cast<std::int64_t>(fs::file_size("large/model.safetensors"));
    BOOST_TEST_MESSAGE(quant << ": " << peak["large"] - peak["small"] << " bytes for a checkpoint of "
                             << bytes);
    BOOST_TEST(bytes > 200'000'000);
    BOOST_TEST(peak["large"] - peak["small"] < bytes + bytes * 3 / 20 + cache);
  }
  fs::remove_all("large");
}

BOOST_AUTO_TEST_CASE(a_synthetic_mixture_of_experts_leaves_router_evidence) {
  write("ids.json", "[1, 22, 333, 4000, 5, 66, 777]");
  const json file =
      experiment({{"--model", "synthetic:qwen3-moe-tiny"}, {"--prompt-ids", "ids.json"}, {"--reps", "2"}});
  require_recomputed();
  BOOST_TEST(file.at("experiment_metadata").at("architecture") == "MoE");
  BOOST_TEST(file.at("experiment_metadata").at("model") == "synthetic:qwen3-moe-tiny");
  for (const json& step : file.at("runs").at(0).at("decode_steps")) {
    BOOST_TEST(step.at("router").size() == 3u);
    for (const auto& [layer, positions] : step.at("router").items()) {
      BOOST_TEST(positions.size() == 1u);
      const auto experts = positions.at("pos_-1").at("expert_ids").get<std::vector<int>>();
      const auto weights = positions.at("pos_-1").at("weights").get<std::vector<double>>();
      BOOST_TEST(experts.size() == 8u);
      BOOST_TEST(std::set<int>(experts.begin(), experts.end()).size() == 8u);
      for (const int expert : experts) BOOST_TEST((expert >= 0 && expert < 32));
      BOOST_TEST(std::is_sorted(weights.rbegin(), weights.rend()));
      // norm_topk_prob: they sum to one, but for eight roundings to bfloat16 (2^-9 relative each)
      BOOST_TEST(std::abs(std::accumulate(weights.begin(), weights.end(), 0.0) - 1) < 0x1p-8);
      BOOST_TEST(positions.at("pos_-1").at("margin").get<double>() >= 0);
    }
  }
}

BOOST_AUTO_TEST_CASE(default_layers_that_the_model_lacks_are_left_out_with_a_notice) {
  fresh_folder("out");
  const Outcome outcome = run(command({{"--layers", ""}, {"--reps", "1"}}));
  BOOST_TEST(outcome.code == 0);
  BOOST_TEST(mentions(outcome.err, {"4 layers", "leaving out 4, 12"}), outcome.err);
  const json file = json::parse(text_of(fs::path("out") / result));
  BOOST_TEST(file.at("experiment_metadata").at("extraction_config").at("layers") == json({1, 2, 3}));
  BOOST_TEST(experiment({{"--layers", "3,last,0"}, {"--reps", "1"}})
                 .at("experiment_metadata")
                 .at("extraction_config")
                 .at("layers") == json({0, 3}));
}

BOOST_AUTO_TEST_CASE(options_come_from_a_file_too_and_the_command_line_wins) {
  const json straight = experiment({{"--reps", "1"}, {"--decode-steps", "4"}});
  const auto file =
      write("options.cfg", "# a comment\nreps = 1\ndecode-steps = 6\nlayers = 0,1,last\nquiet = true\n");
  fresh_folder("out");
  const Outcome outcome =
      run(command({{"--layers", ""}, {"--decode-steps", "4"}, {"--config", file.string()}}));
  BOOST_TEST(outcome.code == 0);
  BOOST_TEST(outcome.err == "");
  const json from_file = json::parse(text_of(fs::path("out") / result));
  BOOST_TEST(from_file.at("runs").at(0).at("signals_sha256") ==
             straight.at("runs").at(0).at("signals_sha256"));
  BOOST_TEST(from_file.at("runs").at(0).at("runtime").at("seconds").size() == 1u);
  BOOST_TEST(from_file.at("runs").at(0).at("decode_steps").size() == 4u);
}

BOOST_AUTO_TEST_CASE(quiet_runs_say_nothing_and_others_say_where_the_file_is) {
  fresh_folder("out");
  const Outcome quiet = run(command({{"--layers", ""}}, {"--quiet"}));
  BOOST_TEST(quiet.code == 0);
  BOOST_TEST(quiet.out == "");
  BOOST_TEST(quiet.err == "");
  const Outcome normal = run(command());
  BOOST_TEST(normal.out == "");
  BOOST_TEST(mentions(normal.err, {"wrote out/" + result}), normal.err);
}

BOOST_AUTO_TEST_CASE(help_and_version_go_to_standard_output) {
  const Outcome help = run({program, "--help"});
  BOOST_TEST(help.code == 0);
  BOOST_TEST(help.err == "");
  for (const char* option : {"--model",         "--prompt-pdf",   "--prompt-text", "--prompt-ids",
                             "--prompt-tokens", "--request",      "--tokenizer",   "--no-chat-template",
                             "--thinking",      "--decode-steps", "--reps",        "--layers",
                             "--top-k",         "--execution",    "--device",      "--dtype",
                             "--threads",       "--out",          "--hardware",    "--provider",
                             "--resume",        "--quiet",        "--config",      "--help",
                             "--version"})
    BOOST_TEST(help.out.find(option) != std::string::npos, option);
  BOOST_TEST(help.out.find("inject-fault") == std::string::npos);
  const Outcome version = run({program, "--version"});
  BOOST_TEST(version.code == 0);
  BOOST_TEST(std::regex_match(version.out, std::regex(R"(exp0_reference \(fpf\) \d+\.\d+\.\d+\n)")),
             version.out);
}

// The example of --help as printed, in a folder laid out as the project's; and what it may take of memory:
// the weights in float32, the KV cache of 1054 positions, and 1 GB.
BOOST_AUTO_TEST_CASE(the_example_works_as_printed_within_its_memory) {
  const std::string help = run({program, "--help"}).out;
  std::smatch example;
  BOOST_REQUIRE(std::regex_search(help, example, std::regex("Example: (exp0_reference .*)\n")));
  const auto folder = fresh_folder("project");
  fs::create_directory_symlink(FPF_BUILD, folder / "build");
  const Outcome outcome =
      run({"bash", "-c", "exec " + example[1].str()}, folder.string(),
          {{"PATH", std::string(FPF_BIN) + ":" + std::getenv("PATH")}, {"OMP_WAIT_POLICY", "PASSIVE"}});
  BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  const json file = json::parse(text_of(folder / result));
  const json& one = file.at("runs").at(0);
  BOOST_TEST(one.at("prompt_token_ids").size() == 1024u);
  BOOST_TEST(one.at("reproducibility").at("bit_exact") == true);
  BOOST_TEST(mentions(
      one.at("prompt_text").get<std::string>(),
      {"<|im_start|>user", "Bash", "Provide a summary of the text above.<|im_end|>\n<|im_start|>assistant"}));
  std::string answer;
  for (const json& step : one.at("decode_steps")) answer += step.at("token_text").get<std::string>();
  BOOST_TEST(mentions(answer, {"Bash"}), answer);
  const Outcome check = recomputed(folder / result);
  BOOST_TEST(check.code == 0, check.out << check.err);

  constexpr std::int64_t vocabulary = 49152, hidden = 576, mlp = 1536, heads = 9, kv_heads = 3, d = 64,
                         layers = 30;
  constexpr std::int64_t layer =
      2 * heads * d * hidden + 2 * kv_heads * d * hidden + 3 * mlp * hidden + 2 * hidden;
  constexpr std::int64_t weights = 4 * (vocabulary * hidden + layers * layer + hidden);
  constexpr std::int64_t kv_cache = 4 * layers * 2 * kv_heads * d * (1024 + 30);
#ifndef __SANITIZE_ADDRESS__
  BOOST_TEST(outcome.peak_bytes <= weights + kv_cache + 1'000'000'000);
#endif
  BOOST_TEST(one.at("peak_memory_bytes").get<std::int64_t>() <= outcome.peak_bytes);
  BOOST_TEST(one.at("peak_memory_bytes").get<std::int64_t>() >= weights);
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(manifest)

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
  BOOST_TEST(std::regex_match(configuration.at("config_id").get<std::string>(),
                              std::regex("[A-Za-z0-9.-]+_reference")));
  BOOST_TEST(run({program, "--version"}).out ==
             "exp0_reference (fpf) " + found.at("fpf").at("version").get<std::string>() + "\n");
  BOOST_TEST(std::regex_match(found.at("fpf").at("revision").get<std::string>(),
                              std::regex("[0-9a-f]{12}|unknown")));
  const json& operations = found.at("operations");
  BOOST_TEST(operations.at("prefill").at("attention") ==
             "libtorch _scaled_dot_product_flash_attention_for_cpu");
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
  const fs::path cache = weights.string() + ".sha256";
  BOOST_TEST(mentions(text_of(cache), {first}));
  write(cache, replaced(text_of(cache), first, std::string(64, '0')));
  BOOST_TEST(recorded() == std::string(64, '0'));  // taken from beside the file, which has not changed
  std::string changed = text_of(weights);
  changed.back() ^= 1;
  write(weights, changed);
  BOOST_TEST(sha256sum() != first);
  BOOST_TEST(recorded() == sha256sum());
  BOOST_TEST(mentions(text_of(cache), {sha256sum()}));
}

BOOST_AUTO_TEST_CASE(a_configs_digest_is_that_of_the_file) {
  const json file = experiment({{"--reps", "1"}});
  BOOST_TEST(file.at("configurations").at(0).at("manifest").at("model").at("config_sha256") ==
             run({"sha256sum", (tiny / "config.json").string()}).out.substr(0, 64));
}

BOOST_AUTO_TEST_CASE(configuration_ids_are_plain_words) {
  for (const auto& [hardware, id] : std::map<std::string, std::string>{
           {"NVIDIA H100 80GB HBM3", "NVIDIA-H100-80GB-HBM3_reference"},
           {"Intel(R) Xeon(R) CPU @ 2.50GHz", "Intel-Xeon-CPU-2.50GHz_reference"},
           {"A100-80GB", "A100-80GB_reference"}}) {
    const json file = experiment({{"--hardware", hardware}, {"--reps", "1"}, {"--decode-steps", "1"}});
    BOOST_TEST(file.at("configurations").at(0).at("config_id") == id);
    BOOST_TEST(file.at("configurations").at(0).at("hardware") == hardware);
  }
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(findings)

BOOST_AUTO_TEST_CASE(repetitions_that_differ_are_all_stored_and_the_place_is_named) {
  fresh_folder("out");
  const Outcome outcome = run(command({{"--inject-fault", "1,2,3"}}));  // repetition 1, step 2, layer 3
  BOOST_TEST(outcome.code == 3);
  BOOST_TEST(
      mentions(outcome.err, {"FINDING", "repetition 1", "step 2 (position 25), layer 3, hidden_states"}),
      outcome.err);
  BOOST_TEST((names_in("out") == std::set<std::string>{result}));
  require_recomputed();
  const json file = json::parse(text_of(fs::path("out") / result));
  BOOST_REQUIRE_EQUAL(file.at("runs").size(), 3u);
  const json& digests = file.at("runs").at(0).at("reproducibility").at("digests");
  for (int rep = 0; rep < 3; ++rep) {
    const json& one = file.at("runs").at(rep);
    BOOST_TEST(one.at("rep_id") == rep);
    BOOST_TEST(one.at("status") == "complete");
    BOOST_TEST(one.at("reproducibility").at("bit_exact") == false);
    BOOST_TEST(one.at("reproducibility").at("first_difference") == json({{"rep_id", 1},
                                                                         {"step", 2},
                                                                         {"absolute_position", 25},
                                                                         {"layer", 3},
                                                                         {"signal", "hidden_states"}}));
    BOOST_TEST((digests.at(rep).at("hidden_states") == digests.at(0).at("hidden_states")) == (rep != 1));
    BOOST_TEST(digests.at(rep).at("key_vectors") == digests.at(0).at("key_vectors"));
    BOOST_TEST(digests.at(rep).at("logprobs") == digests.at(0).at("logprobs"));
  }
  const auto vector = [&](int rep) {
    return file.at("runs").at(rep).at("decode_steps").at(2).at("hidden_states").at("layer_3").at("pos_-1");
  };
  BOOST_TEST(vector(0) != vector(1));
  BOOST_TEST(vector(0) == vector(2));
  BOOST_TEST(run(command({{"--inject-fault", "1,2,3"}}, {"--quiet"})).err.find("FINDING") !=
             std::string::npos);
}

// The embedding of a token that the model first chooses at step 3 becomes infinite: feeding it gives no
// number from layer 0 on, and all before stays as it was.
BOOST_AUTO_TEST_CASE(a_value_that_is_no_number_ends_the_run_where_it_is) {
  const auto model = copy_of("llama_untied", "model"), weights = model / "model.safetensors";
  const Options options{{"--model", model.string()},
                        {"--prompt-ids", (fixtures / "parity/llama_untied/prompt.json").string()}};
  const json clean = experiment(options).at("runs").at(0);
  std::set<int> seen = clean.at("prompt_token_ids");
  int step = 0;
  for (const json& one : clean.at("decode_steps"))
    if (!seen.insert(one.at("token_id").get<int>()).second || one.at("step") < 2)
      ++step;
    else
      break;
  BOOST_REQUIRE(step >= 2 && step < 6);
  const int token = clean.at("decode_steps").at(step).at("token_id");

  std::string bytes = text_of(weights);
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), 8);
  const json embedding = json::parse(bytes.substr(8, header)).at("model.embed_tokens.weight");
  const auto at = 8 + header + embedding.at("data_offsets").at(0).get<std::size_t>() +
                  4u * 72 * static_cast<std::size_t>(token);
  const float infinity = std::numeric_limits<float>::infinity();
  bytes.replace(at, 4, reinterpret_cast<const char*>(&infinity), 4);
  write(weights, bytes);

  fresh_folder("out");
  const Outcome outcome = run(command(options));
  BOOST_TEST(outcome.code == 3);
  const std::string place = fmt::format("step {} (position {}), layer 0, key_vectors", step, 23 + step);
  BOOST_TEST(mentions(outcome.err, {"FINDING", "no finite number", place}), outcome.err);
  BOOST_TEST((names_in("out") == std::set<std::string>{result}));
  const json file = json::parse(text_of(fs::path("out") / result));
  BOOST_REQUIRE_EQUAL(file.at("runs").size(), 1u);
  const json& broken = file.at("runs").at(0);
  BOOST_TEST(broken.at("status") == "non_finite");
  BOOST_TEST(
      broken.at("non_finite") ==
      json({{"step", step}, {"absolute_position", 23 + step}, {"layer", 0}, {"signal", "key_vectors"}}));
  BOOST_TEST(broken.at("reproducibility").at("bit_exact") == true);
  BOOST_REQUIRE_EQUAL(broken.at("decode_steps").size(), static_cast<std::size_t>(step));
  for (int s = 0; s < step; ++s)
    BOOST_TEST((broken.at("decode_steps").at(s) == clean.at("decode_steps").at(s)));
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(interruptions)

/// A run of minutes, started; ready to be interrupted once it has begun its file.
struct LongRun {
  Child child;

  explicit LongRun(const Strings& more = {})
      : child((fresh_folder("out"), write("ids.json", "[1, 22, 333, 4000]"),
               command({{"--model", "synthetic:qwen3-moe-tiny"},
                        {"--prompt-ids", "ids.json"},
                        {"--decode-steps", "30000"}},
                       more))) {
    const fs::path partial = fs::path("out") / (result + ".partial");
    for (int i = 0; i < 3000 && text_of(partial).find('\n') == std::string::npos; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
};

BOOST_AUTO_TEST_CASE(sigint_and_sigterm_leave_no_file_and_resume_starts_again) {
  for (const int signal : {SIGINT, SIGTERM}) {
    LongRun started;
    BOOST_TEST((names_in("out") == std::set<std::string>{result + ".partial"}));
    started.child.send(signal);
    const Outcome outcome = started.child.wait();
    BOOST_TEST(outcome.code == 130);
    BOOST_TEST(mentions(outcome.err, {"exp0_reference: interrupted\n"}), outcome.err);
    BOOST_TEST(names_in("out").empty());
  }
  BOOST_TEST(run(command({}, {"--resume"})).code == 0);
  BOOST_TEST((names_in("out") == std::set<std::string>{result}));
  require_recomputed();
}

BOOST_AUTO_TEST_CASE(a_killed_run_leaves_no_half_written_file_and_can_be_resumed) {
  LongRun started;
  started.child.send(SIGKILL);
  BOOST_TEST(started.child.wait().code == 128 + SIGKILL);
  BOOST_TEST((names_in("out") == std::set<std::string>{result + ".partial"}));
  const Outcome other = run(command({}, {"--resume"}));  // another model: refused, the partial file stays
  BOOST_TEST(other.code == 2);
  BOOST_TEST(mentions(other.err, {result + ".partial", "another model"}), other.err);
  BOOST_TEST((names_in("out") == std::set<std::string>{result + ".partial"}));
  BOOST_TEST(run(command()).code == 0);
  BOOST_TEST((names_in("out") == std::set<std::string>{result}));
}

// A folder in the final file's place stops the program between its last record and the end.
BOOST_AUTO_TEST_CASE(what_was_finished_is_not_computed_again) {
  fresh_folder("out");
  fs::create_directory(fs::path("out") / result);
  const Outcome stopped = run(command());
  BOOST_TEST(stopped.code == 2);
  BOOST_TEST(mentions(stopped.err, {"out/" + result, "directory"}), stopped.err);
  BOOST_TEST((names_in("out") == std::set<std::string>{result, result + ".partial"}));
  const std::string partial = text_of(fs::path("out") / (result + ".partial"));
  fs::remove(fs::path("out") / result);
  BOOST_TEST(run(command({}, {"--resume"})).code == 0);
  BOOST_TEST((names_in("out") == std::set<std::string>{result}));
  const json record = json::parse(partial.substr(partial.find('\n')));
  BOOST_TEST(
      (json::parse(text_of(fs::path("out") / result)).at("runs") == record.at("runs")));  // with its times
  require_recomputed();
}

BOOST_AUTO_TEST_CASE(a_finding_is_not_lost_by_resuming) {
  fresh_folder("out");
  fs::create_directory(fs::path("out") / result);
  BOOST_TEST(run(command({{"--inject-fault", "2,1,1"}})).code == 2);
  fs::remove(fs::path("out") / result);
  const Outcome resumed = run(command({}, {"--resume"}));
  BOOST_TEST(resumed.code == 3);
  BOOST_TEST(mentions(resumed.err, {"FINDING", "reference"}), resumed.err);
  BOOST_TEST(json::parse(text_of(fs::path("out") / result)).at("runs").size() == 3u);
}

BOOST_AUTO_TEST_SUITE_END()
