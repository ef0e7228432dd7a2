// compare --report: what a reader is told in words. Where the numbers come from, where they stand, what they mean.
#include <fpf/compare/plan/plan.hpp>
#include <fpf/compare/verdict_words.hpp>
#include <fpf/core/hash.hpp>
#include <map>
#include <span>

#include "report.hpp"

namespace {

/// An experiment with everything that a file of fpf's own says of its origin.
Json with_origin() {
  Json content = experiment(0);
  auto& metadata = content["experiment_metadata"];
  metadata.update(
      Json{{"experiment_type", "ones_own"}, {"date_created", "2031-02-03 04:05:06"}, {"architecture", "dense"}});
  metadata["sequence_length"] = 56;
  metadata["extraction_config"]["signal_dtypes"]["router"] = "float32";
  for (Json& one : content["configurations"]) {
    one.update(Json{{"cuda_version", "13.0"},
                    {"torch_version", "2.11.0"},
                    {"flash_attn_version", "none"},
                    {"transformers_version", "none"},
                    {"python_version", "none"}});
    one["fixed_params"] = {{"compile", false}, {"execution", "eager"},  {"attention_impl", "eager"},
                           {"tp_size", 1},     {"ep_size", 1},          {"concurrent_streams", false},
                           {"batch_size", 1},  {"quantization", "none"}};
    one["manifest"] = {{"fpf", {{"version", "9.8.7"}, {"revision", "0123456789ab"}}},
                       {"device", {{"type", "cuda"}, {"name", "Card of " + one["hardware"].get<std::string>()}}},
                       {"threads", 1},
                       {"libraries", {{"libtorch", "2.11.0"}, {"cuda", "13.0"}}},
                       {"model", {{"id", metadata["model"]}}},
                       {"activation_dtype", "bfloat16"},
                       {"policies",
                        {{"quantisation", "none"},
                         {"attention", "eager"},
                         {"parallelism", "single"},
                         {"stream", "exclusive"},
                         {"execution", "eager"}}},
                       {"ranks", Json::array({{{"rank", 0}}})}};
  }
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 50; ++i) ids.push_back(1000 + i);
  for (Json& one : content["runs"]) {
    Json& steps = one["decode_steps"];
    for (std::size_t i = 0; i < steps.size(); ++i)  // greedily
      steps[i]["token_id"] = steps[i]["logprobs"]["pos_-2"]["token_ids"][0];
    one["prompt_sha256"] = fpf::sha256_hex(std::as_bytes(std::span(ids)));
    one["prompt_text"] = "The quick \"brown\" <fox>\njumps over " + std::string(5000, 'x');
    one["prompt_token_ids"] = ids;
    one["runtime_seconds"] = 2.0;
    one["runtime"] = {{"seconds", {2.0, 2.0, 2.0}}, {"mean", 2.0}, {"variance", 0.0}, {"prefill_seconds", 1.5}};
    one["runtime"]["decode_seconds"] = 0.5;
  }
  return content;
}

std::string without_breaks(std::string text) {
  std::string out;
  for (const char c : text)
    if (c != ' ' && c != '\n')
      out += c;
    else if (!out.ends_with(' '))
      out += ' ';
  return out;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(test_report_words)

BOOST_AUTO_TEST_CASE(the_page_begins_with_its_date_prompt_revisions_and_machines) {
  const std::string report = report_of(with_origin(), "origin");
  const auto pages = look_at(report + "/index.html");
  check_pages(pages);
  const std::string text = pages[2]["text"], head = text.substr(0, text.find("Summary\n"));
  for (const auto& words : {"UTC, by fpf compare", "2031-02-03 04:05:06", "fpf 9.8.7, revision 0123456789ab",
                            "“The quick \"brown\" <fox>\\njumps over x", "50 tokens", "SHA-256 76b2c2ef",
                            "H100: Card of H100, cuda, 1 thread", "A100-80GB: Card of A100-80GB, cuda, 1 thread"})
    BOOST_TEST(mentions(head, {words}), head);
  BOOST_TEST(!mentions(head, {"not recorded"}));
  BOOST_TEST(!mentions(head, {std::string(200, 'x').c_str()}));
  const Json found = Json::parse(text_of("origin/r.json"))["analyses"][0];
  BOOST_TEST_REQUIRE(found["prompts"].size() == 1u);
  BOOST_TEST(found["prompts"][0]["tokens"] == 50);
  BOOST_TEST(found["created"] == Json::array({"2031-02-03 04:05:06"}));
  BOOST_TEST(found["configurations"][0]["fpf"] == "9.8.7, revision 0123456789ab");

  Json ids_alone = with_origin();
  for (Json& one : ids_alone["runs"]) one["prompt_text"] = "";
  write("origin/b.json", ids_alone);
  const Outcome shown = run({program, "b.json", "--output", "b.r.json"}, "origin");
  BOOST_TEST(mentions(without_breaks(shown.out), {"prompt token ids 1000, 1001, ", "50 tokens", "written 2031-02-03"}),
             shown.out);

  const std::string plain = look_at(report_of(experiment(0), "no_origin") + "/index.html")[0]["text"];
  BOOST_TEST(mentions(plain.substr(0, plain.find("Summary\n")), {"not recorded"}));
}

BOOST_AUTO_TEST_CASE(contents_lead_everywhere) {
  const std::string here = fresh_folder("contents").string();
  write(here + "/batch_size_experiment.json", experiment(0));
  Json other = experiment(3);
  write(here + "/compile_experiment.json", other);
  std::ofstream(here + "/attention_experiment.json") << "[]";
  BOOST_TEST(compare({"--all"}, here).code == 2);
  const auto pages = look_at(here + "/report/index.html");
  check_pages(pages);  // no link leads nowhere
  std::set<std::string> links;
  for (const std::string link : pages[0]["links"]) links.insert(link);
  for (const char* wanted : {"Left out", "Summary", "batch_size", "verdicts", "configurations", "figures", "notes",
                             "Terms", "Verdicts in words", "Files: CSV, figures"})
    BOOST_TEST(links.contains(wanted), wanted);
  for (const auto& page : pages)
    for (const std::string table : page["scrolls"])  // on a phone these are cards
      BOOST_TEST((table != "Configurations" || page["width"] != 360), table << " scrolls at " << page["width"]);
}

BOOST_AUTO_TEST_CASE(tooltips_say_what_between_whom) {
  const auto page = look_at(report_of(experiment(0), "tooltips") + "/index.html")[2];
  const Json found = Json::parse(text_of("tooltips/r.json"))["analyses"][0];
  std::size_t looked_at = 0;
  for (const auto& figure : page["figures"]) {
    const std::string id = figure["id"];
    const auto says = [&](std::initializer_list<const char*> words) {
      for (const std::string hint : figure["hints"]) {
        bool all = true;
        for (const char* word : words) all &= mentions(hint, {word});
        if (all) return true;
      }
      return false;
    };
    for (const std::string hint : figure["hints"])
      BOOST_TEST(!mentions(hint, {"file using"}), id << ": " << hint);  // not gnuplot's own
    if (id == "1-batch_size-key_vectors-matrix") {
      BOOST_TEST(figure["hints"].size() == 30u);
      for (const Json& matrix : found["matrices"])
        for (std::size_t i = 0; matrix["signal"] == "key_vectors" && matrix["layer"] == 7 && i < 6; ++i)
          for (std::size_t j = 0; j < i; ++j) {
            char value[32];
            std::snprintf(value, sizeof value, "%.3g", matrix["max_l2"][i][j].get<double>());
            const std::string pair = matrix["configurations"][i].get<std::string>() + " and " +
                                     matrix["configurations"][j].get<std::string>() + "\n";
            BOOST_TEST(says({pair.c_str(), value, "key vectors, layer 7"}), pair << value);
          }
    } else if (id == "1-batch_size-key_vectors-by_step") {
      BOOST_TEST(says({"key vectors, layer 7, step 3: L2 distance\n", "4 → 1: ", " comparisons, "}),
                 figure["hints"].dump());
    } else if (id == "1-batch_size-hidden_states-by_layer_relative") {
      BOOST_TEST(says({"hidden states, layer 3: ", "4 → 1: "}), figure["hints"].dump());
    } else if (id == "1-batch_size-key_vectors-noise_signal_within") {
      BOOST_TEST(says({"key vectors, layer 7: rows with an L2 distance of ", " %"}), figure["hints"].dump());
    } else {
      continue;
    }
    ++looked_at;
  }
  BOOST_TEST(looked_at == 4u);
  // One comparison: by name.
  const auto two = look_at(report_of(experiment(7), "tooltip_names") + "/index.html")[2];
  const Json names = Json::parse(text_of("tooltip_names/r.json"))["analyses"][0]["configurations"];
  bool named = false;
  for (const auto& figure : two["figures"])
    for (const std::string hint : figure["hints"])
      named |= mentions(hint, {" between "}) && mentions(hint, {names[0]["config_id"].get<std::string>().c_str()});
  BOOST_TEST(named);
}

BOOST_AUTO_TEST_CASE(every_verdict_is_in_the_glossary) {
  namespace compare_words = fpf::compare;
  std::vector<std::string> words;
  const auto add = [&](const auto& table) {
    for (const auto& row : table) {
      words.emplace_back(row.word);
      for (const auto text : {row.word, row.meaning, row.advice}) BOOST_TEST(!text.empty(), row.word);
    }
  };
  std::map<std::string, std::string> word_of_reason;
  std::vector<compare_words::VerdictWord> reasons;
  for (const auto& row : compare_words::reason_words) {
    reasons.push_back(row.words);
    BOOST_TEST(row.words.word.starts_with(compare_words::name_of(row.outcome)), row.words.word);
    BOOST_TEST(word_of_reason.emplace(row.id, row.words.word).second, row.id);
  }
  add(reasons);
  add(compare_words::caveat_words);
  add(compare_words::repeat_words);
  add(compare_words::time_words);
  BOOST_TEST((std::set<std::string>(words.begin(), words.end()).size() == words.size()));
  Json content = experiment(0);
  add_runtimes(content);
  const auto page = look_at(report_of(content, "glossary") + "/index.html")[0];
  std::set<std::string> explained;
  for (const auto& row : page["glossary"]) {
    BOOST_TEST_REQUIRE(row.size() == 3u);
    std::string word = row[0];
    for (const std::string before : {"● ", "○ ", "? ", "caveat: ", "bit-exact: "})
      if (word.starts_with(before)) word.erase(0, before.size());
    explained.insert(word);
  }
  for (const std::string& word : words) BOOST_TEST(explained.contains(word), word);
  // What experiments of every kind are told.
  std::set<std::string> outcomes;
  for (std::size_t number = 0; number < 8; ++number) {
    Json one = experiment(number);
    add_runtimes(one);
    const std::string here = fresh_folder("told").string();
    write(here + "/a.json", one);
    BOOST_TEST_REQUIRE(run({program, "a.json", "--output", "r.json", "--signal", "all"}, here).code == 0);
    const Json found = Json::parse(text_of(here + "/r.json"))["analyses"][0];
    for (const Json& verdict : found["verdicts"]) {
      const std::string reason = verdict["reason"], outcome = verdict["outcome"], answer = verdict["answer"];
      outcomes.insert(reason);
      BOOST_TEST(explained.contains(word_of_reason[reason]), reason);
      std::string said = outcome;
      std::ranges::replace(said, '_', ' ');
      BOOST_TEST(answer.starts_with(said), outcome << ": " << answer);
      for (const std::string caveat : verdict["caveats"])
        BOOST_TEST(explained.contains(caveat.substr(0, caveat.find(':'))), caveat);
    }
    for (const Json& timing : found["timing"]) {
      const std::string text = timing["text"];
      BOOST_TEST(std::ranges::any_of(explained, [&](const std::string& word) { return text.ends_with(word); }), text);
    }
  }
  BOOST_TEST(outcomes.size() >= 4u);
}

BOOST_AUTO_TEST_CASE(the_plan_is_explained_where_it_is_named) {
  const std::string sentence(fpf::compare::plan::sentence);
  BOOST_TEST(mentions(without_breaks(text_of(FPF_SOURCE "/README.md")), {sentence.c_str()}));
  const std::string here = fresh_folder("plan").string();
  write(here + "/a.json", experiment(0));
  const Outcome plan = run({program, "a.json", "--plan-compatible", "--output", "r.json"}, here);
  BOOST_TEST_REQUIRE(plan.code == 0);
  BOOST_TEST(mentions(without_breaks(plan.out), {sentence.c_str()}), plan.out);
  BOOST_TEST(mentions(without_breaks(run({program, "--help"}, here).out), {sentence.c_str()}));
  BOOST_TEST_REQUIRE(compare({"a.json"}, here).code == 0);
  const std::string page = look_at(here + "/report/index.html")[2]["text"];
  BOOST_TEST(mentions(page, {sentence.c_str()}));
  BOOST_TEST(page.find("plan") >= page.find("Terms"));  // not named before
}

BOOST_AUTO_TEST_SUITE_END()
