// compare with several prompts: which runs pair, and that a comparison is over all of them.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fpf/core/hash.hpp>
#include <functional>
#include <map>
#include <random>
#include <span>

#include "compare_program.hpp"

BOOST_AUTO_TEST_SUITE(test_compare_prompts)

namespace {

Json analysis_of(const Json& content, std::vector<std::string> more = {}) {
  more.insert(more.begin(), {write("prompts.json", content), "--json", "--signal", "all"});
  const Outcome outcome = compare(more);
  BOOST_TEST_REQUIRE(outcome.code == 0, outcome.err);
  return Json::parse(outcome.out)["analyses"][0];
}

/// The runs of one prompt alone.
Json only(const Json& content, int prompt) {
  Json out = content;
  out["runs"] = Json::array();
  for (const Json& one : content["runs"])
    if (one["prompt_index"] == prompt) out["runs"].push_back(one);
  return out;
}

bool is_close(const Json& found, double expected) {
  return std::abs(found.get<double>() - expected) <= 1e-12 * std::max(1.0, std::abs(expected));
}

/// Four steps of `prompts` prompts by a machine of type A, which fed `token` throughout, with two values of which
/// neither does anything: rows of decode steps differ from run to run by noise alone, those of the prompt by
/// `at_prompt` of it.
Json nothing_changed(int machine, int prompts, int token, double at_prompt) {
  std::mt19937_64 random(static_cast<std::uint64_t>(machine));
  std::normal_distribution<double> noise;
  Json out{{"experiment_metadata",
            {{"experiment_type", "attention"},
             {"variable_tested", "attention_impl"},
             {"model", "m"},
             {"sequence_length", 4},
             {"decode_steps", 4},
             {"extraction_config", {{"layers", {5}}, {"positions", {-3, -2, -1}}, {"hidden_dim", 8}, {"key_dim", 8}}}}},
           {"configurations", Json::array()},
           {"runs", Json::array()}};
  for (const std::string value : {"flash", "eager"}) {
    const std::string id = value + std::to_string(machine);
    out["configurations"].push_back({{"config_id", id},
                                     {"hardware", "A"},
                                     {"provider", "x"},
                                     {"variable_value", value},
                                     {"baseline", value == "flash"},
                                     {"fixed_params", Json::object()}});
    for (int prompt = 0; prompt < prompts; ++prompt) {
      std::map<int, std::vector<double>> rows;  // by step, from -2
      for (int step = -2; step < 4; ++step) {
        std::mt19937_64 same(static_cast<std::uint64_t>(100 * prompt + step + 2));  // of all runs
        std::normal_distribution<double> normal;
        for (int i = 0; i < 8; ++i)
          rows[step].push_back(normal(same) + 0.01 * (step < 0 ? at_prompt : 1) * noise(random));
      }
      Json steps = Json::array();
      for (int step = 0; step < 4; ++step)
        steps.push_back(
            {{"step", step},
             {"token_id", token},
             {"absolute_position", 4 + step},
             {"key_vectors",
              {{"layer_5", {{"pos_-3", rows[step - 2]}, {"pos_-2", rows[step - 1]}, {"pos_-1", rows[step]}}}}}});
      out["runs"].push_back({{"config_id", id},
                             {"rep_id", 1},
                             {"runtime_seconds", 1.0},
                             {"prompt_index", prompt},
                             {"decode_steps", steps}});
    }
  }
  return out;
}

/// The one verdict of machines 0, 1, ... that fed these tokens.
Json verdict_of_machines(int prompts, double at_prompt, const std::vector<int>& tokens) {
  std::vector<std::string> args{"--json"};
  for (int machine = 0; const int token : tokens) {
    const Json content = nothing_changed(machine, prompts, token, at_prompt);
    args.push_back(write("machine" + std::to_string(machine++) + ".json", content));
  }
  const Outcome outcome = compare(args);
  BOOST_TEST_REQUIRE(outcome.code == 0, outcome.err);
  const Json verdicts = Json::parse(outcome.out)["analyses"][0]["verdicts"];
  BOOST_TEST_REQUIRE(verdicts.size() == 1u);
  return verdicts[0];
}

void each_run(Json& content, const std::function<void(Json&)>& change) {
  for (Json& one : content["runs"]) change(one);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_comparison_is_over_the_rows_of_all_prompts) {
  const Json content = of_prompts(experiment(), 3), all = analysis_of(content);
  std::vector<Json> each;
  for (int prompt = 0; prompt < 3; ++prompt) each.push_back(analysis_of(only(content, prompt)));
  BOOST_TEST_REQUIRE(all["comparisons"].size() == each[0]["comparisons"].size());
  BOOST_TEST(all["prompts"].size() == 3u);
  for (std::size_t c = 0; c < all["comparisons"].size(); ++c) {
    const Json& whole = all["comparisons"][c];
    int steps = 0;
    for (const Json& one : each) steps += one["comparisons"][c]["steps_compared"].get<int>();
    BOOST_TEST(whole["steps_compared"] == steps);
    BOOST_TEST(whole["prompts"].size() == 3u);
    for (std::size_t s = 0; s < whole["signals"].size(); ++s) {
      std::vector<double> l2;
      std::vector<int> prompts;
      double largest = 0;
      for (std::size_t p = 0; p < 3; ++p) {
        const Json& part = each[p]["comparisons"][c]["signals"][s];
        for (const Json& value : part["by_row"]["l2"]) l2.push_back(value), prompts.push_back(static_cast<int>(p));
        largest = std::max(largest, part["l2"]["max"].get<double>());
      }
      BOOST_TEST(whole["signals"][s]["by_row"]["l2"] == l2);
      BOOST_TEST(whole["signals"][s]["by_row"]["prompt"] == prompts);
      BOOST_TEST(whole["signals"][s]["l2"]["max"] == largest);
    }
  }
  for (std::size_t v = 0; v < all["verdicts"].size(); ++v) {
    double floor = 0, level = 0;  // of each comparison and prompt
    for (const Json& one : each) {
      floor += one["verdicts"][v]["noise_floor"].get<double>() / 3;
      level += one["verdicts"][v]["signal_level"].get<double>() / 3;
    }
    const Json& verdict = all["verdicts"][v];
    BOOST_TEST(is_close(verdict["noise_floor"], floor));
    BOOST_TEST(is_close(verdict["signal_level"], level));
    BOOST_TEST(verdict["prompts"] == 3);
    BOOST_TEST(verdict["unit"] == "step");
    BOOST_TEST(verdict["signal_levels"] == 3 * verdict["signal_comparisons"].get<int>());
  }
}

BOOST_AUTO_TEST_CASE(prompts_are_the_units_from_the_fewest_on_that_could_reject) {
  for (const int prompts : {1, 4, 5, 6, 7}) {
    bool looked = false;
    const Json found = analysis_of(of_prompts(experiment(), prompts));
    for (const Json& verdict : found["verdicts"]) {
      if (verdict["noise_rows"] == 0 || verdict["noise_floor"] == 0.0) continue;
      looked = true;
      const std::string answer = verdict["answer"];
      BOOST_TEST_CONTEXT(prompts << " prompts: " << answer) {
        BOOST_TEST(verdict["unit"] == (prompts >= 7 ? "prompt" : "step"));
        if (prompts >= 7) BOOST_TEST(verdict["paired_units"] == prompts);
        BOOST_TEST((verdict["outcome"] == "cannot_tell" && verdict["reason"] == "too_few_units") ==
                   (verdict["smallest_p_value"] > 0.01));
        if (prompts == 5) BOOST_TEST(verdict["smallest_p_value"] <= 0.01);  // more prompts never say less
        if (prompts == 6) BOOST_TEST(mentions(answer, {"steps of 6 prompts"}));
        if (prompts == 7) BOOST_TEST(mentions(answer, {"x the noise between hardware types", "7 prompts)"}));
      }
    }
    BOOST_TEST(looked);
  }
}

BOOST_AUTO_TEST_CASE(runs_pair_by_digest_else_by_index_else_there_is_one_prompt) {
  const Json content = of_prompts(experiment(), 3);
  const auto rows = [](const Json& analysis) { return analysis["comparisons"][0]["signals"][0]["by_row"]["l2"]; };
  const Json expected = rows(analysis_of(content));
  Json other = content;  // the second half of the runs in another order: digests say which is which
  std::reverse(other["runs"].begin(), other["runs"].end());
  each_run(other, [](Json& one) { one.erase("prompt_index"); });
  Json renumbered = other;
  for (std::size_t i = 0; i < other["runs"].size(); ++i)
    renumbered["runs"][i]["prompt_index"] = i;  // to tell runs apart
  Json found = analysis_of(renumbered);
  BOOST_TEST(found["prompts"].size() == 3u);
  other = content;
  each_run(other, [](Json& one) { one.erase("prompt_sha256"); });
  BOOST_TEST(rows(analysis_of(other)) == expected);
  other["runs"][0]["prompt_sha256"] = "prompt 0";  // stated once, it holds for that index
  BOOST_TEST(rows(analysis_of(other)) == expected);
  other = only(content, 0);
  each_run(other, [](Json& one) {
    one.erase("prompt_sha256");
    one.erase("prompt_index");
  });
  found = analysis_of(other);
  BOOST_TEST(found["prompts"].size() == 1u);
  BOOST_TEST(!found["comparisons"][0]["signals"][0]["by_row"].contains("prompt"));
}

BOOST_AUTO_TEST_CASE(configurations_with_other_prompts_are_refused_by_name) {
  const Json content = of_prompts(experiment(), 3);
  const std::string id = content["configurations"][1]["config_id"];
  const auto refused = [&](const Json& changed, std::initializer_list<std::string> words) {
    check_refused({write("refused.json", changed)}, words);
  };
  Json fewer = content;
  fewer["runs"] = Json::array();
  for (const Json& one : content["runs"])
    if (one["config_id"] != id || one["prompt_index"] != 2) fewer["runs"].push_back(one);
  refused(fewer, {"refused.json (" + id + ")",
                  "were not given the same prompts: the first has 3, the second 2; "
                  "prompt_sha256 \"prompt 2\" is the first's alone"});
  each_run(fewer, [](Json& one) { one.erase("prompt_sha256"); });
  refused(fewer, {"prompt_index 2 is the first's alone"});
  Json silent = content;
  silent["runs"][4].erase("prompt_sha256");
  silent["runs"][4].erase("prompt_index");
  refused(silent, {"expected prompt_sha256 or prompt_index to say which of 3 prompts"});
  Json twice = content;
  for (Json& one : twice["runs"])
    if (one["config_id"] == id && one["prompt_index"] == 1) one["prompt_sha256"] = "prompt 0";
  refused(twice, {"(" + id + "): repetition", "stands twice with prompt_sha256 \"prompt 0\""});
  for (const Json& index : {Json(-1), Json(0.5), Json("1"), Json(5'000'000'000)}) {
    Json bad = content;
    bad["runs"][0]["prompt_index"] = index;
    const bool whole = index.is_number_integer();
    refused(bad, {(whole ? "expected a whole number from 0 to 4294967295 as prompt_index, found "
                         : "expected prompt_index to be an integer, found ") +
                  index.dump()});
  }
  check_refused({write("plan.json", content), "--plan-compatible"},
                {"plan.json has runs of 3 prompts: --plan-compatible knows one"});
  Json ambiguous = of_prompts(experiment(), 1);  // two digests for one index, and a run that states the index alone
  ambiguous["runs"][1]["prompt_sha256"] = "another";
  ambiguous["runs"][0].erase("prompt_sha256");
  refused(ambiguous, {"has no prompt_sha256, and other runs have another and prompt 0 as that of prompt_index 0"});
}

BOOST_AUTO_TEST_CASE(tokens_diverge_prompt_by_prompt) {
  Json content = of_prompts(experiment(), 3);
  const std::string id = content["configurations"][0]["config_id"];
  for (Json& one : content["runs"]) {
    int step = 0;
    for (Json& decode : one["decode_steps"]) decode["token_id"] = 100 + step++;
    if (one["config_id"] == id && one["prompt_index"] == 1) one["decode_steps"][1]["token_id"] = 7;
    if (one["config_id"] == id && one["prompt_index"] == 2) one["decode_steps"][0]["token_id"] = 7;
  }
  const Json found = analysis_of(content), first = found["comparisons"][0];
  BOOST_TEST(first["first_divergent_step"] == 0);
  BOOST_TEST(first["first_divergent_prompt"] == 2);
  const int steps = static_cast<int>(content["runs"][0]["decode_steps"].size());
  BOOST_TEST(first["steps_compared"] == steps + 1 + 0);
  BOOST_TEST(first["prompts"][0]["first_divergent_step"].is_null());
  BOOST_TEST(first["prompts"][1]["first_divergent_step"] == 1);
  BOOST_TEST(mentions(found["notes"].dump(), {"tokens differ from step 0 of prompt 2 on, in 2 of 3 prompts"}));
}

// Rows of prompts are equal or nearly so, rows of decode steps are not: where tokens diverge between machines, the
// latter are left of the change on one machine alone.
BOOST_AUTO_TEST_CASE(noise_and_change_are_taken_at_the_same_steps) {
  const Json none = verdict_of_machines(8, 0, {5, 7});
  BOOST_TEST(none["outcome"] == "cannot_tell");
  BOOST_TEST(none["reason"] == "no_shared_steps");
  BOOST_TEST(mentions(none["text"], {"it differs only at steps that noise and change do not share",
                                     "; 64 rows and 0 of noise are left out, at steps that not all comparisons have"}));
  for (const auto& tokens : {std::vector{5, 7}, std::vector{5, 5, 7}}) {
    const Json little = verdict_of_machines(24, 0.1, tokens);
    BOOST_TEST(little["outcome"] == "not_detectable", little["text"]);
    BOOST_TEST(little["noise_rows"] == 2 * 24 * little["noise_comparisons"].get<int>());  // of steps -2 and -1
    BOOST_TEST(little["signal_rows"] == 2 * 24 * little["signal_comparisons"].get<int>());
    BOOST_TEST(little["needed_tokens"] ==
               (little["needed_units"].is_null() ? Json() : Json(2 * little["needed_units"].get<double>())));
  }
  for (const int prompts : {1, 24}) {  // equal tokens leave nothing out
    const Json equal = verdict_of_machines(prompts, 0.1, {5, 5});
    BOOST_TEST(equal["outcome"] != "detectable", equal["text"]);
    BOOST_TEST(equal["noise_rows"] == 2 * 6 * prompts);
    BOOST_TEST(equal["signal_rows"] == 4 * 6 * prompts);
    BOOST_TEST(!mentions(equal["text"], {"left out"}));
  }
}

BOOST_AUTO_TEST_CASE(forced_runs_say_where_they_would_have_chosen_otherwise) {
  Json content = of_prompts(experiment(), 2);
  const std::string own = content["configurations"][0]["config_id"];  // was given nothing: it fed what it chose
  for (Json& one : content["runs"]) {
    int step = 0;
    for (Json& decode : one["decode_steps"]) {
      decode["token_id"] = 100 + step++;
      if (one["config_id"] != own) decode["chosen_token_id"] = decode["token_id"];
    }
    if (one["config_id"] == content["configurations"][1]["config_id"] && one["prompt_index"] == 1)
      one["decode_steps"][1]["chosen_token_id"] = 7;
  }
  const Json found = analysis_of(content), first = found["comparisons"][0];
  const int steps = static_cast<int>(content["runs"][0]["decode_steps"].size());
  BOOST_TEST(first["first_divergent_step"].is_null());
  BOOST_TEST(first["steps_compared"] == 2 * steps);
  BOOST_TEST(first["prompts"][0]["choices"] == steps);
  BOOST_TEST(first["prompts"][0]["other_choices"] == 0);
  BOOST_TEST(first["prompts"][1]["other_choices"] == 1);
  BOOST_TEST(first["prompts"][1]["first_other_choice"] == 1);
  BOOST_TEST(mentions(found["notes"].dump(),
                      {"fed the same tokens, they would have chosen others from step 1 of prompt 1 on, in 1 of " +
                       std::to_string(2 * steps) + " steps"}));
  for (Json& one : content["runs"])  // from step 1 on fed other tokens, of which a choice says nothing
    if (one["config_id"] == own)
      for (Json& decode : one["decode_steps"])
        if (decode["step"] > 0) decode["token_id"] = 7;
  const Json behind = analysis_of(content, {"--after-divergence"});
  BOOST_TEST(behind["comparisons"][0]["steps_compared"] == 2 * steps);
  for (const Json& one : behind["comparisons"][0]["prompts"]) {
    BOOST_TEST(one["choices"] == 1);
    BOOST_TEST(one["other_choices"] == 0);
  }
}

// Other inputs are no experiment of one variable; where each run chooses, they may part.
BOOST_AUTO_TEST_CASE(files_whose_runs_were_fed_different_tokens_are_refused_by_name) {
  const auto forced = [](const char* file, std::int32_t last) {
    Json content = of_prompts(experiment(), 2);
    content["experiment_metadata"]["tokens"] = "file";
    for (Json& one : content["runs"]) {
      one["timestamp"] = file;  // else two files were copies
      std::vector<std::int32_t> fed(one["decode_steps"].size(), 100);
      if (one["prompt_index"] == 1) fed.back() = last;
      for (std::size_t step = 0; step < fed.size(); ++step) one["decode_steps"][step]["token_id"] = fed[step];
      one["tokens"] = {{"from", "file"}, {"sha256", fpf::sha256_hex(std::as_bytes(std::span(fed)))}};
    }
    return write(file, content);
  };
  const std::string a = forced("a.json", 7), same = forced("same.json", 7), other = forced("other.json", 8);
  const Outcome joined = compare({a, same});
  BOOST_TEST(joined.code == 0, joined.err);
  check_refused({a, other},
                {"a.json (", ", prompt 1) and ", "other.json (", "fed different tokens", "tokens.sha256 is"});
}

BOOST_AUTO_TEST_CASE(times_and_repetitions_are_of_all_prompts) {
  Json content = of_prompts(experiment(), 2);
  const std::string id = content["configurations"][0]["config_id"];
  Json again = Json::array();  // two stored repetitions of every run, equal but for one prompt of one configuration
  for (const Json& one : content["runs"]) {
    for (const int repetition : {0, 1}) {
      Json copy = one;
      copy["rep_id"] = repetition;
      copy.erase("reproducibility");
      copy["runtime"] = {{"seconds", {1.0 + copy["prompt_index"].get<int>(), 3.0}}};
      if (repetition == 1 && copy["config_id"] == id && copy["prompt_index"] == 1)
        copy["decode_steps"][1]["key_vectors"]["layer_39"]["pos_-1"][0] = 99.0;
      again.push_back(copy);
    }
  }
  content["runs"] = again;
  Json found = analysis_of(content);
  BOOST_TEST(found["configurations"][0]["reproducibility"]["bit_exact"] == false);
  BOOST_TEST(mentions(found["configurations"][0]["reproducibility"]["first_difference"], {"of prompt 1, key_vectors"}));
  BOOST_TEST(found["configurations"][1]["reproducibility"]["bit_exact"] == true);
  BOOST_TEST(found["configurations"][0]["runtime"]["seconds"] == (std::vector<double>{1, 3, 2, 3}));
  content["runs"] = Json::array();  // of one prompt alone a second repetition is stored: nothing is known of the other
  for (const Json& one : again)
    if (one["rep_id"] == 0 || one["prompt_index"] == 0) content["runs"].push_back(one);
  found = analysis_of(content);
  BOOST_TEST(found["configurations"][1]["reproducibility"]["bit_exact"].is_null());
  BOOST_TEST(found["configurations"][1]["stored_repetitions"] == (std::vector<int>{0, 1}));
}

BOOST_AUTO_TEST_SUITE_END()
