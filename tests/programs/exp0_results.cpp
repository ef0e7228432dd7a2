// What exp0_reference computes and writes, and what it says: on the tiny models of fixtures/make_parity.py, a
// synthetic one and SmolLM2.
#include <cmath>
#include <fpf/evidence/experiment_index.hpp>
#include <map>
#include <numeric>
#include <regex>
#include <set>
#include <tuple>

#include "exp0.hpp"

BOOST_AUTO_TEST_SUITE(test_exp0_results)

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
  for (const char* field : {"compile", "attention_impl", "quantization", "tp_size", "ep_size", "concurrent_streams"})
    BOOST_TEST(configuration.at("fixed_params").contains(field), field);

  const json& one = file.at("runs").at(0);
  for (const char* field : {"rep_id", "runtime_seconds", "prompt_text"}) BOOST_TEST(one.contains(field), field);
  BOOST_TEST(std::regex_match(one.at("timestamp").get<std::string>(), date));
  BOOST_TEST(one.at("decode_steps").size() == 6u);
  for (const json& step : one.at("decode_steps")) {
    BOOST_TEST(step.at("token_text") == "");  // ids alone: there is no tokeniser
    for (const char* signal : {"hidden_states", "key_vectors"})
      for (const char* layer : {"layer_0", "layer_1", "layer_3"})
        for (const char* position : {"pos_-3", "pos_-2", "pos_-1"})
          BOOST_TEST(
              step.at(signal).at(layer).at(position).size() ==
              extraction.at(std::string_view(signal) == "hidden_states" ? "hidden_dim" : "key_dim").get<std::size_t>());
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

// What a run takes beyond one of a model that is next to nothing, all weights read and all shards hashed, is its KV
// cache and one layer at a time dequantised, in float32 at most: the checkpoint stays in its file's pages.
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
  const std::int64_t layer = 4 * (1024 * (1024 + 2 * 256) + 1024 * 1024 + 3 * 1024 * 2048);
  const std::int64_t cache = 2 * 48 * 2 * 128 * (8 + 1) * 2;  // bfloat16
  for (const std::string quant : {"awq", "gptq", "nf4"}) {
    std::map<std::string, std::int64_t> peak;
    for (const std::string size : {"small", "large"}) {
      fs::remove_all(size);
      const Outcome made = run({FPF_BIN "/make_checkpoint", "--from", "synthetic:" + size + ".json?quant=" + quant,
                                "--quant", quant, "--to", size, "--quiet"});
      BOOST_REQUIRE_MESSAGE(made.code == 0, made.err);
      fresh_folder("out");
      Child child(command({{"--model", size},
                           {"--prompt-ids", "ids.json"},
                           {"--decode-steps", "1"},
                           {"--layers", "last"},
                           {"--reps", "1"},
                           {"--device", "cpu"}}));
      peak[size] = child.watch_anonymous();
      const Outcome outcome = child.wait();
      BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
    }
    const auto bytes = static_cast<std::int64_t>(fs::file_size("large/model.safetensors"));
    BOOST_TEST_MESSAGE(quant << ": " << peak["large"] - peak["small"] << " bytes for a checkpoint of " << bytes);
    BOOST_TEST(bytes > 200'000'000);
    BOOST_TEST(peak["small"] > 0);
    BOOST_TEST(peak["large"] - peak["small"] < layer + cache);
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
  const auto file = write("options.cfg", "# a comment\nreps = 1\ndecode-steps = 6\nlayers = 0,1,last\nquiet = true\n");
  fresh_folder("out");
  const Outcome outcome = run(command({{"--layers", ""}, {"--decode-steps", "4"}, {"--config", file.string()}}));
  BOOST_TEST(outcome.code == 0);
  BOOST_TEST(outcome.err == "");
  const json from_file = json::parse(text_of(fs::path("out") / result));
  BOOST_TEST(from_file.at("runs").at(0).at("signals_sha256") == straight.at("runs").at(0).at("signals_sha256"));
  BOOST_TEST(from_file.at("runs").at(0).at("runtime").at("seconds").size() == 1u);
  BOOST_TEST(from_file.at("runs").at(0).at("decode_steps").size() == 4u);
}

BOOST_AUTO_TEST_CASE(quiet_runs_say_nothing_and_others_say_where_the_file_is) {
  fresh_folder("out");
  const Outcome quiet = run(command({{"--layers", ""}}, {"--quiet"}));
  BOOST_TEST(quiet.code == 0);
  BOOST_TEST(quiet.out == "");
  BOOST_TEST(quiet.err == "");
  fresh_folder("out");
  const Outcome normal = run(command());
  BOOST_TEST(normal.out == "");
  BOOST_TEST(mentions(normal.err, {"wrote out/" + result}), normal.err);
}

BOOST_AUTO_TEST_CASE(help_and_version_go_to_standard_output) {
  const Outcome help = run({program, "--help"});
  BOOST_TEST(help.code == 0);
  BOOST_TEST(help.err == "");
  for (const char* option :
       {"--model",     "--prompt-pdf",         "--prompt-text",  "--prompt-ids",   "--prompt-tokens", "--request",
        "--tokenizer", "--no-chat-template",   "--thinking",     "--decode-steps", "--reps",          "--layers",
        "--top-k",     "--execution",          "--device",       "--dtype",        "--threads",       "--out",
        "--hardware",  "--provider",           "--resume",       "--quiet",        "--config",        "--help",
        "--version",   "--add-special-tokens", "--template-date"})
    BOOST_TEST(help.out.find(option) != std::string::npos, option);
  BOOST_TEST(help.out.find("inject-fault") == std::string::npos);
  const Outcome version = run({program, "--version"});
  BOOST_TEST(version.code == 0);
  BOOST_TEST(std::regex_match(version.out, std::regex(R"(exp0_reference \(fpf\) \d+\.\d+\.\d+\n)")), version.out);
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
  BOOST_TEST(
      mentions(one.at("prompt_text").get<std::string>(),
               {"<|im_start|>user", "Bash", "Provide a summary of the text above.<|im_end|>\n<|im_start|>assistant"}));
  std::string answer;
  for (const json& step : one.at("decode_steps")) answer += step.at("token_text").get<std::string>();
  BOOST_TEST(mentions(answer, {"Bash"}), answer);
  const Outcome check = recomputed(folder / result);
  BOOST_TEST(check.code == 0, check.out << check.err);

  constexpr std::int64_t vocabulary = 49152, hidden = 576, mlp = 1536, heads = 9, kv_heads = 3, d = 64, layers = 30;
  constexpr std::int64_t layer = 2 * heads * d * hidden + 2 * kv_heads * d * hidden + 3 * mlp * hidden + 2 * hidden;
  constexpr std::int64_t weights = 4 * (vocabulary * hidden + layers * layer + hidden);
  constexpr std::int64_t kv_cache = 4 * layers * 2 * kv_heads * d * 1088;  // 1024 + 30 in 64s
#ifndef __SANITIZE_ADDRESS__
  BOOST_TEST(outcome.peak_bytes <= weights + kv_cache + 1'000'000'000);
#endif
  BOOST_TEST(one.at("peak_memory_bytes").get<std::int64_t>() <= outcome.peak_bytes);
  BOOST_TEST(one.at("peak_memory_bytes").get<std::int64_t>() >= weights);
}

BOOST_AUTO_TEST_SUITE_END()
