// verify on a real model: texts against ids, and honest noise between two thread counts.
#include "exp0.hpp"

BOOST_AUTO_TEST_SUITE(test_verify_smollm2)

namespace {

const fs::path documents = fs::path(FPF_BUILD) / "documents";
constexpr int steps = 6;

/// Experiment 0's file of SmolLM2 on a document, with one thread unless `options` say otherwise; each is made once.
std::string reference(const std::string& document, const Options& options = {}, const std::string& folder = "") {
  const fs::path out = fs::path("runs") / (folder.empty() ? document : folder);
  const std::string file = (out / result).string();
  if (fs::exists(file)) return file;
  fs::create_directories(out);
  Options all{{"--model", smollm2.string()},
              {"--prompt-ids", ""},
              {"--prompt-pdf", (documents / document).string()},
              {"--prompt-tokens", "64"},
              {"--decode-steps", std::to_string(steps)},
              {"--layers", ""},
              {"--out", out.string()}};
  for (const auto& [name, value] : options) all[name] = value;
  const Outcome outcome = run(command(all));
  BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  return file;
}

struct Verified {
  int code;
  json run, not_checked;
};

Verified verified(const std::string& evidence, const Strings& more = {}) {
  Strings args{FPF_BIN "/verify", evidence, "--model", smollm2.string(), "--output", "verdict.json"};
  args.insert(args.end(), more.begin(), more.end());
  fs::remove("verdict.json");
  const Outcome outcome = run(args);
  BOOST_REQUIRE_MESSAGE(fs::exists("verdict.json"), outcome.err);
  const json result = json::parse(text_of("verdict.json"));
  return {outcome.code, result.at("runs").at(0), result.at("not_checked")};
}

std::string forged(const std::string& from, const std::string& to, const Strings& change) {
  Strings args{"python3", FPF_SOURCE "/tests/verify/forge_evidence.py", from, to};
  args.insert(args.end(), change.begin(), change.end());
  BOOST_REQUIRE_EQUAL(run(args).code, 0);
  return to;
}

bool is_named(const json& names, const std::string& name) {
  return std::ranges::find(names, json(name)) != names.end();
}

struct Fresh {
  Fresh() { fresh_folder("runs"); }
};

}  // namespace

BOOST_TEST_GLOBAL_FIXTURE(Fresh);

// Cuts of a document are drawn again from the seed that the evidence states, and another seed or place does not pass.
BOOST_AUTO_TEST_CASE(cuts_are_drawn_again_from_the_document_and_the_stated_seed) {
  const std::string honest =
      reference("bashref.pdf", {{"--prompts", "2"}, {"--seed", "3"}, {"--decode-steps", "2"}}, "cuts");
  const Strings asked{"--prompt-pdf", (documents / "bashref.pdf").string(), "--prompt-tokens", "64"};
  const Verified found = verified(honest, asked);
  BOOST_TEST(found.code == 0, found.run);
  BOOST_TEST(found.run.at("prompt").at("is_what_was_asked") == true);
  // what was held is not in the list of what was not, and what was not, is
  const Verified without = verified(honest);
  for (const char* field : {"experiment_metadata/prompts/seed", "runs/*/document_offset"}) {
    BOOST_TEST(!is_named(found.not_checked, field), found.not_checked);
    BOOST_TEST(is_named(without.not_checked, field), without.not_checked);
  }
  for (const char* field : {"runs/*/prompt_text", "runs/*/decode_steps/*/token_text", "runs/*/status"})
    BOOST_TEST(!is_named(without.not_checked, field), without.not_checked);
  for (const auto& [pointer, value, words] :
       {std::tuple<const char*, const char*, Strings>{
            "/experiment_metadata/prompts/seed", "4", {"document_offset", "puts it at"}},
        {"/runs/0/document_offset", "1", {"document_offset is 1", "puts it at"}},
        {"/experiment_metadata/prompts/seed", "-1", {"seed"}}}) {
    const Verified lie = verified(forged(honest, "cut.json", {"member", pointer, value}), asked);
    BOOST_TEST(lie.code == 3, pointer);
    BOOST_TEST(lie.run.at("verdict") == "reject");
    BOOST_TEST(mentions(lie.run.at("reason"), words), lie.run.at("reason"));
    BOOST_TEST(is_named(lie.not_checked, "runs/*/status"), lie.not_checked);  // nothing ran
  }
}

// The same of several documents, in whatever order they are given here; others, or one of them alone, do not pass.
BOOST_AUTO_TEST_CASE(cuts_of_several_documents_are_drawn_again_from_all_of_them) {
  const std::string a = FPF_SOURCE "/include/fpf/execution/PORTABLE.md", b = FPF_SOURCE "/CONTRIBUTING.md";
  fresh_folder("both");
  Strings args{FPF_BIN "/exp0_reference", "--model", smollm2.string(), "--prompt-text", a, "--prompt-text", b};
  args.insert(args.end(), {"--prompts", "4", "--seed", "1", "--prompt-tokens", "64", "--decode-steps", "1"});
  args.insert(args.end(), {"--layers", "0", "--reps", "2", "--threads", "1", "--out", "both"});
  const Outcome outcome = run(args);
  BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  const std::string honest = "both/reference_baseline.json";
  const auto asked = [](const Strings& documents) {
    Strings out{"--prompt-tokens", "64"};
    for (const std::string& one : documents) out.insert(out.end(), {"--prompt-text", one});
    return out;
  };
  const Verified found = verified(honest, asked({b, a}));
  BOOST_TEST(found.code == 0, found.run);
  for (const char* field : {"experiment_metadata/prompts/seed", "experiment_metadata/prompts/documents/*/sha256",
                            "runs/*/document_sha256", "runs/*/document_offset"})
    BOOST_TEST(!is_named(found.not_checked, field), found.not_checked);
  for (const Strings& others : {Strings{a}, Strings{a, FPF_SOURCE "/README.md"}, Strings{a, b, FPF_SOURCE "/README.md"}}) {
    const Verified lie = verified(honest, asked(others));
    BOOST_TEST(lie.code == 3);
    BOOST_TEST(mentions(lie.run.at("reason"), {"other documents than", "2 by SHA-256"}), lie.run.at("reason"));
  }
  const json file = json::parse(text_of(honest));
  const json& documents = file.at("experiment_metadata").at("prompts").at("documents");
  const json own = file.at("runs").at(0).at("document_sha256");
  const json other = documents[0]["sha256"] == own ? documents[1]["sha256"] : documents[0]["sha256"];
  for (const auto& [pointer, value, word] :
       {std::tuple<const char*, std::string, const char*>{"/experiment_metadata/prompts/seed", "2", "document_"},
        {"/runs/0/document_sha256", other.dump(), "document_sha256"},
        {"/runs/0/document_offset", "1", "document_offset is 1"}}) {
    const Verified lie = verified(forged(honest, "cut.json", {"member", pointer, value}), asked({a, b}));
    BOOST_TEST(lie.code == 3, pointer);
    BOOST_TEST(mentions(lie.run.at("reason"), {word}), lie.run.at("reason"));
  }
}

BOOST_AUTO_TEST_CASE(a_prompt_word_or_a_tokens_text_that_was_changed_is_named) {
  const std::string honest = reference("bashref.pdf");
  BOOST_TEST(verified(honest).code == 0);
  const Verified word = verified(forged(honest, "word.json", {"text", "0", "Bash", "Dash"}));
  BOOST_TEST(word.code == 3);
  BOOST_TEST(mentions(word.run.at("reason"), {"prompt_text", "byte"}), word.run.at("reason"));
  BOOST_TEST(!word.run.contains("decode"));
  const Verified token =
      verified(forged(honest, "token.json", {"member", "/runs/0/decode_steps/1/token_text", "\"forged\""}));
  BOOST_TEST(token.code == 3);
  BOOST_TEST(mentions(token.run.at("reason"), {"decode_steps[1].token_text", "forged"}), token.run.at("reason"));
  const Verified ids = verified(forged(honest, "ids.json", {"prompt", "0", "9", "--resign"}));
  BOOST_TEST(ids.code == 3);
  BOOST_TEST(mentions(ids.run.at("reason"), {"prompt_text"}), ids.run.at("reason"));
}

// One thread against two are an honest pair of machines. Three honest runs decide nothing, neither way.
BOOST_AUTO_TEST_CASE(between_machines_a_few_honest_runs_decide_nothing) {
  const std::string honest = reference("bashref.pdf");
  const Verified alone = verified(honest, {"--threads", "2"});
  BOOST_TEST(alone.code == 3);
  BOOST_TEST(alone.run.at("verdict") == "undecided", alone.run.at("reason"));
  Strings with{"--threads", "2", "--noise"};
  for (const char* document : {"developers-reference.pdf", "valgrind_manual.pdf.gz", "policy.pdf.gz"})
    with.push_back(reference(document));
  const Verified near = verified(honest, with);
  BOOST_TEST(near.code == 3);
  BOOST_TEST(mentions(near.run.at("reason"), {"3 honest runs are here, 19 are needed", "8 tokens", "24 of noise"}),
             near.run.at("reason"));
  BOOST_TEST(near.run.at("noise").at("honest_runs") == 3);

  // the same model in half precision, in the words of the honest run: not what was claimed
  const std::string rounded = reference("bashref.pdf", {{"--dtype", "bfloat16"}}, "rounded");
  const Verified far = verified(forged(honest, "half.json", {"graft", rounded, "0", "--resign"}), with);
  BOOST_TEST(far.run.at("verdict") == "undecided", far.run.at("reason"));
  BOOST_TEST(mentions(far.run.at("reason"), {"stands out, but 3 honest runs", "19 are needed"}), far.run.at("reason"));
  BOOST_TEST(far.run.at("contradictions").empty(), far.run.at("contradictions"));
  BOOST_TEST(far.run.at("noise").at("decode").at("outcome") == "detectable");
}

BOOST_AUTO_TEST_CASE(a_document_as_the_question_is_made_a_prompt_with_the_models_tokeniser) {
  const std::string honest = reference("bashref.pdf"), pdf = (documents / "bashref.pdf").string();
  const Verified same = verified(honest, {"--prompt-pdf", pdf, "--prompt-tokens", "64"});
  BOOST_TEST(same.code == 0, same.run.at("reason"));
  const json prompt = same.run.at("prompt");
  BOOST_TEST(prompt.at("held_against") == "--prompt-pdf " + pdf);
  BOOST_TEST(prompt.at("is_what_was_asked") == true);
  BOOST_TEST(mentions(prompt.at("begins"), {"<|im_start|>system\\nYou are a helpful"}), prompt.at("begins"));
  const Verified request =
      verified(honest, {"--prompt-pdf", pdf, "--prompt-tokens", "64", "--request", "List the names above."});
  BOOST_TEST(request.code == 3);
  BOOST_TEST(request.run.at("verdict") == "reject");
  BOOST_TEST(!request.run.contains("decode"));
  BOOST_TEST(
      mentions(request.run.at("reason"), {"another prompt than --prompt-pdf", "token ", "asked was", "(\"\\n\")"}),
      request.run.at("reason"));
  const Verified longer = verified(honest, {"--prompt-pdf", pdf, "--prompt-tokens", "65"});
  BOOST_TEST(mentions(longer.run.at("reason"), {"64 tokens, 65 were asked"}), longer.run.at("reason"));
}

BOOST_AUTO_TEST_CASE(noise_of_other_machines_or_set_ups_is_refused) {
  const std::string honest = reference("bashref.pdf");
  for (const auto& [options, word] : std::vector<std::pair<Options, std::string>>{
           {{{"--threads", "2"}}, "threads"}, {{{"--execution", "compiled"}}, "fixed_params"}}) {
    const std::string other = reference("policy.pdf.gz", options, word);
    const Outcome outcome =
        run({FPF_BIN "/verify", honest, "--model", smollm2.string(), "--threads", "2", "--noise", other});
    BOOST_TEST(outcome.code == 2, outcome.err);
    BOOST_TEST(mentions(outcome.err, {"--noise", word}), outcome.err);
  }
}

BOOST_AUTO_TEST_SUITE_END()
