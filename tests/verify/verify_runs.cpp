// Runs that are not what was asked for: those that ended in no number, and prefixes of longer ones.
#include <cstring>
#include <limits>

#include "verify.hpp"

BOOST_AUTO_TEST_SUITE(test_verify_runs)

namespace {

const fs::path tiny = fs::path(FPF_FIXTURES) / "parity" / "llama_untied";
const std::string result = "/reference_baseline.json";

/// Experiment 0 with a model, into a folder of its name.
Outcome experiment(const std::string& model, const std::string& prompt, const std::string& out, const Strings& more,
                   const Child::Environment& environment = {}) {
  Strings args{bin + "/exp0_reference",
               "--model",
               model,
               "--prompt-ids",
               prompt,
               "--threads",
               "1",
               "--device",
               "cpu",
               "--layers",
               "0,last",
               "--out",
               out};
  args.insert(args.end(), more.begin(), more.end());
  fresh_folder(out);
  return run(args, ".", environment);
}

/// A copy of a tiny model in which the embedding of a token has no number.
std::string broken_model(std::int64_t token, const std::string& to) {
  fresh_folder(to);
  fs::copy_file(tiny / "config.json", to + "/config.json");
  std::string bytes = text_of(tiny / "model.safetensors");
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), 8);
  const json embedding = json::parse(bytes.substr(8, header)).at("model.embed_tokens.weight");
  const auto width = embedding.at("shape").at(1).get<std::size_t>(),
             begin = embedding.at("data_offsets").at(0).get<std::size_t>();
  const float infinity = std::numeric_limits<float>::infinity();
  bytes.replace(8 + header + begin + 4 * width * static_cast<std::size_t>(token), 4,
                reinterpret_cast<const char*>(&infinity), 4);
  write(to + "/model.safetensors", bytes);
  return to;
}

}  // namespace

BOOST_AUTO_TEST_CASE(an_honest_run_that_ended_in_no_number_is_accepted_by_its_digests) {
  const std::string prompt = (tiny / "prompt.json").string();
  BOOST_REQUIRE(experiment(tiny.string(), prompt, "clean", {"--decode-steps", "6"}).code == 0);
  const json clean = read("clean" + result).at("runs").at(0), asked = json::parse(text_of(prompt));
  std::set<int> seen = asked;
  std::int64_t step = 1;  // the first whose token is new: everything before it stays as it was
  for (; step < 6; ++step)
    if (const int token = clean.at("decode_steps").at(step).at("token_id");
        seen.insert(clean.at("decode_steps").at(step - 1).at("token_id").get<int>()), !seen.contains(token))
      break;
  BOOST_REQUIRE(step < 6);
  const std::vector<std::pair<std::int64_t, std::int64_t>> places{
      {clean.at("decode_steps").at(step).at("token_id"), step}, {asked.at(0), 0}};
  for (const auto& [token, at] : places) {
    const std::string model = broken_model(token, "broken");
    BOOST_REQUIRE(experiment(model, prompt, "out", {"--decode-steps", "6"}).code == 3);
    const json run = read("out" + result).at("runs").at(0);
    BOOST_REQUIRE(run.at("status") == "non_finite");
    BOOST_REQUIRE_EQUAL(run.at("decode_steps").size(), static_cast<std::size_t>(at));
    const Verified found = verified("out" + result, {model});
    BOOST_TEST(found.code == 0, found.out << found.err);
    BOOST_TEST(mentions(found.first().at("reason"), {"6 steps", "digests", "step " + std::to_string(at)}),
               found.first().at("reason"));
    // another place, and the same with other numbers before it
    const Verified moved =
        verified(forged("out" + result, {"member", "/runs/0/non_finite/signal", "\"router\""}), {model});
    BOOST_TEST(moved.first().at("verdict") == "reject");
    BOOST_TEST(mentions(moved.first().at("reason"), {"no number is at", "here it is at"}), moved.first().at("reason"));
    if (at == 0) continue;
    const Verified edited = verified(forged("out" + result, {"element", "0", "0", "hidden_states", "0", "1"}), {model});
    BOOST_TEST(edited.first().at("verdict") == "reject");
    BOOST_TEST(mentions(edited.first().at("reason"), {"differs first at step 0"}), edited.first().at("reason"));
  }
}

BOOST_AUTO_TEST_CASE(a_run_that_claims_no_number_without_one_is_rejected_or_undecided_with_a_reason) {
  for (const char* step : {"0", "2"}) {
    const std::string claim = forged(Inputs::baseline(), {"non_finite", "0", step});
    const Verified here = verified(claim, {Inputs::model()});
    BOOST_TEST(here.code == 3);
    BOOST_TEST(here.first().at("verdict") == "reject");
    BOOST_TEST(mentions(here.first().at("reason"),
                        {"no number is at step " + std::string(step), "here all values are numbers"}),
               here.first().at("reason"));
    const Verified elsewhere = verified(
        forged(claim, {"member", "/configurations/0/manifest/device/name", "\"another CPU\""}), {Inputs::model()});
    BOOST_TEST(elsewhere.first().at("verdict") == "undecided");
    BOOST_TEST(mentions(elsewhere.first().at("reason"), {"here all values are numbers"}),
               elsewhere.first().at("reason"));
  }
}

BOOST_AUTO_TEST_CASE(noise_decides_nothing_about_a_run_that_ended_in_no_number) {
  const std::string claim = forged(Inputs::baseline(), {"non_finite", "0", "2"});
  const Verified asked = verified(claim, {Inputs::model()}, {"--noise", Inputs::baseline()}),
                 noise = verified(Inputs::baseline(), {Inputs::model()}, {"--noise", claim});
  BOOST_TEST(asked.code == 2);
  BOOST_TEST(mentions(asked.err, {"--noise " + Inputs::baseline(), "ended in no number"}), asked.err);
  BOOST_TEST(noise.code == 2);
  BOOST_TEST(mentions(noise.err, {"--noise " + claim, "2 decode steps, the evidence 4"}), noise.err);
}

BOOST_AUTO_TEST_CASE(what_contradicts_itself_is_shown_whatever_the_status) {
  const std::string claim = forged(Inputs::baseline(), {"non_finite", "0", "2"}),
                    emptied = forged(claim, {"member", "/runs/0/decode_steps", "[]"});
  const std::vector<std::pair<std::string, Strings>> all{
      {forged(Inputs::baseline(), {"member", "/runs/0/status", "\"non_finite\""}), {"non_finite names no place"}},
      {forged(claim, {"member", "/runs/0/status", "\"complete\""}), {"non_finite names a place"}},
      {forged(claim, {"member", "/runs/0/status", "\"ended\""}), {"status is 'ended'"}},
      {emptied, {"non_finite is at step 2, so that it has 2 steps: found 0"}},
      {forged(emptied, {"member", "/runs/0/non_finite/step", "0"}), {"step 0 and absolute_position 14"}},
      {forged(claim, {"member", "/runs/0/non_finite/step", "\"x\""}), {"type"}},
      {forged(claim, {"member", "/runs/0/non_finite/layer", "-2"}), {"layer -2"}},
      {forged(claim, {"member", "/runs/0/non_finite/signal", "\"thoughts\""}), {"signal 'thoughts'"}},
      {forged(claim, {"member", "/experiment_metadata/decode_steps", "2"}), {"says 2 steps"}},
      {forged(claim, {"member", "/runs/0/signals_sha256", "\"00\""}), {"signals_sha256", "digests give"}},
      {forged(claim, {"prompt", "0", "5"}), {"prompt_sha256"}}};
  for (const auto& [evidence, words] : all) {
    const Verified found = verified(evidence, {Inputs::model()});
    BOOST_TEST(found.code == 3, found.err);
    BOOST_REQUIRE(found.result.contains("runs"));
    BOOST_TEST(found.first().at("verdict") == "reject");
    BOOST_TEST(mentions(found.first().at("contradictions").dump(), words), found.first().at("contradictions").dump());
    BOOST_TEST(!found.first().at("reason").get<std::string>().empty());
  }
}

BOOST_AUTO_TEST_CASE(a_run_beside_a_rejected_one_says_why_it_was_not_re_executed) {
  const Verified found = verified(forged(made(case_of("attention")), {"token", "1", "2"}), {Inputs::model()});
  BOOST_TEST(found.first().at("verdict") == "undecided");
  BOOST_TEST(mentions(found.first().at("reason"), {"not re-executed", "another run"}), found.first().at("reason"));
}

// Heads of 18 numbers: their rows' alignment must not follow from the number of steps. MKL is asked for instructions of
// which the kernels depend on it on many processors.
BOOST_AUTO_TEST_CASE(an_honest_file_that_was_cut_verifies_as_the_prefix_that_it_is) {
  const Child::Environment mkl{{"MKL_ENABLE_INSTRUCTIONS", "SSE4_2"}};
  json config = small_shape();
  config.update({{"architectures", {"Qwen3ForCausalLM"}},
                 {"model_type", "qwen3"},
                 {"head_dim", 18},
                 {"max_position_embeddings", 128},
                 {"rope_theta", 10000.0},
                 {"hidden_act", "silu"},
                 {"tie_word_embeddings", false}});
  fresh_folder("odd_heads");
  write("odd_heads/config.json", config.dump());
  json prompt;
  for (int i = 0; i < 33; ++i) prompt.push_back((i * 131 + 5) % 512);
  write("odd_heads/ids.json", prompt.dump());
  const std::string model = "synthetic:odd_heads/config.json?seed=3";
  const Outcome outcome =
      experiment(model, "odd_heads/ids.json", "odd_heads/out", {"--dtype", "float32", "--decode-steps", "4"}, mkl);
  BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  for (const char* steps : {"3", "2", "1"}) {
    const Verified found =
        verified(forged("odd_heads/out" + result, {"truncate", steps, "--resign"}), {model}, {}, mkl);
    BOOST_TEST(found.code == 0, steps << " steps: " << found.out << found.err);
  }
}

BOOST_AUTO_TEST_SUITE_END()
