// The checklist: what passes on a machine that can, what fails and what it says to do.
#include <fpf/preflight/schema.hpp>
#include <sstream>

#include "campaign.hpp"

BOOST_AUTO_TEST_SUITE(test_preflight)

namespace {

struct Checked {
  int code;
  std::string out, err;
  std::map<std::string, std::string> points;  // by their first words: "pass", "FAIL", "n/a "
  std::string state(const std::string& name) const {
    for (const auto& [point, found] : points)
      if (point.starts_with(name)) return found;
    return "missing";
  }
};

Checked preflight(const Strings& options) {
  Strings args{bin + "/preflight"};
  args.insert(args.end(), options.begin(), options.end());
  const Outcome outcome = run(args);
  Checked out{outcome.code, outcome.out, outcome.err, {}};
  std::istringstream lines(outcome.out);
  for (std::string line; std::getline(lines, line);)
    if (line.size() > 6) out.points[line.substr(6)] = line.substr(0, 4);
  return out;
}

Strings on(const std::string& model, const Strings& more = {}) {
  Strings out{"--model", model, "--prompt-ids", "inputs/ids0.json", "--threads", "1", "--decode-steps", "4"};
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

const Strings all_points{"the model loads",
                         "all signals",
                         "the file validates",
                         "repetitions are bit-exact",
                         "the prompt has exactly",
                         "CUDA toolkits",
                         "GPUs see",
                         "the disk",
                         "the memory"};

}  // namespace

BOOST_AUTO_TEST_CASE(every_point_has_a_line_and_passes_where_it_can) {
  const Checked found =
      preflight(on(Inputs::model("awq"), {"--model-gptq", Inputs::model("gptq"), "--model-bnb", Inputs::model("nf4")}));
  BOOST_TEST(found.code == 0, found.out << found.err);
  BOOST_TEST(found.points.size() == all_points.size(), found.out);
  for (const auto& point : all_points) {
    const bool applies = point != "CUDA toolkits" && point != "GPUs see";
    if (applies) BOOST_TEST(found.state(point) == "pass", point << "\n" << found.out);
  }
  BOOST_TEST(found.state("CUDA toolkits") == "n/a ");
  BOOST_TEST(mentions(found.out, {"1 of 3 layers", "3 models", "3 repetitions", "12 ids"}), found.out);
  const Checked full = preflight(on(Inputs::model(), {"--full"}));
  BOOST_TEST(full.code == 0, full.out);
  BOOST_TEST(mentions(full.out, {"3 of 3 layers"}), full.out);
}

// A Hugging Face folder's first layer; nothing is left beside its files.
BOOST_AUTO_TEST_CASE(a_checkpoint_in_a_folder_is_tried_by_its_first_layer) {
  const fs::path from = fs::path(FPF_FIXTURES) / "parity/qwen3_moe_raw";
  fresh_folder("folder");
  for (const char* file : {"config.json", "model.safetensors"}) fs::copy_file(from / file, fs::path("folder") / file);
  const Checked found = preflight(
      {"--model", "folder", "--prompt-ids", (from / "prompt.json").string(), "--threads", "1", "--decode-steps", "2"});
  BOOST_TEST(found.code == 0, found.out << found.err);
  BOOST_TEST(mentions(found.out, {"folder: 1 of "}), found.out);
  BOOST_TEST((names_in("folder") == std::set<std::string>{"config.json", "model.safetensors"}));
}

// Every option that --help shows is taken, and does not end the checklist; what campaign always does is not offered.
BOOST_AUTO_TEST_CASE(help_offers_what_is_taken) {
  for (const char* program : {"/preflight", "/campaign"}) {
    std::istringstream lines(run({bin + program, "--help"}).out);
    Strings offered;
    for (std::string line; std::getline(lines, line);)
      if (const auto at = line.find("--"); at != std::string::npos && line.find_first_not_of(" -h[]") >= at)
        offered.push_back(line.substr(at, line.find_first_of(" \t", at) - at));
    BOOST_TEST(offered.size() > 30u);
    BOOST_TEST(std::ranges::count(offered, std::string("--resume")) == 0);
    BOOST_TEST(std::ranges::count(offered, std::string("--skip")) == 1);
    for (const std::string& option : offered) {
      const Outcome outcome = run({bin + program, option, "1", "--version"});
      BOOST_TEST(outcome.err.find("unrecognised") == std::string::npos, option << ": " << outcome.err);
    }
  }
  const Checked resumed = preflight(on(Inputs::model(), {"--resume"}));
  BOOST_TEST(resumed.code == 2);
  BOOST_TEST(mentions(resumed.err, {"--resume"}), resumed.err);
  // one file for both programs
  write("both.ini", "keep-going = true\nno-preflight = true\nskip = 1,3,6\n");
  BOOST_TEST(preflight(on(Inputs::model(), {"--config", "both.ini"})).code == 0);
}

BOOST_AUTO_TEST_CASE(what_fails_says_so_and_what_to_do) {
  const Checked none = preflight(on("nowhere"));
  BOOST_TEST(none.code == 2);
  BOOST_TEST(none.state("the model loads") == "FAIL", none.out);
  BOOST_TEST(mentions(none.out, {"no model at 'nowhere'", "see the first point"}), none.out);
  BOOST_TEST(none.points.size() == all_points.size(), none.out);

  write("long.json", "[1, 2, 99999]");
  const Checked prompt = preflight({"--model", Inputs::model(), "--prompt-ids", "long.json", "--threads", "1"});
  BOOST_TEST(prompt.code == 2);
  BOOST_TEST(prompt.state("the prompt has exactly") == "FAIL", prompt.out);
  BOOST_TEST(prompt.state("the model loads") == "pass");

  const Checked toolkit = preflight(on(Inputs::model(), {"--cuda", "99.9"}));
  BOOST_TEST(toolkit.code == 2);
  BOOST_TEST(toolkit.state("CUDA toolkits") == "FAIL", toolkit.out);
  BOOST_TEST(mentions(toolkit.out, {"99.9", "setup.sh"}), toolkit.out);

  const Checked large = preflight({"--model", Inputs::model(), "--prompt-ids", "inputs/ids0.json", "--threads", "1",
                                   "--decode-steps", "100000000", "--pod", "1", "--skip", "1,3,6"});
  BOOST_TEST(large.state("the disk") == "FAIL", large.out);
  BOOST_TEST(mentions(large.out, {"choose another --out"}), large.out);
  BOOST_TEST(preflight({"--pod", "3"}).code == 2);
}

BOOST_AUTO_TEST_CASE(toolkits_compile_without_a_gpu) {
  for (const char* version : {"11.8", "12.1"})
    if (!fs::exists(fs::path(FPF_BUILD) / (std::string("cuda-") + version))) return;
  const Checked found = preflight(on(Inputs::model(), {"--cuda", "11.8", "--cuda", "12.1"}));
  BOOST_TEST(found.code == 0, found.out);
  BOOST_TEST(mentions(found.out, {"NVRTC 11.8", "NVRTC 12.1"}), found.out);
}

// valijson and Python's jsonschema must agree on what the schema takes and refuses.
BOOST_AUTO_TEST_CASE(the_schema_takes_what_experiments_write_and_refuses_changes) {
  const json rules = read(schema);
  for (const Case& one : cases()) {
    const auto errors = fpf::preflight::schema_errors(rules, read(made(one)));
    BOOST_TEST(errors.empty(), one.program << ": " << (errors.empty() ? "" : errors.front()));
  }
  const json good = read(Inputs::baseline());
  for (const auto& [place, value] : schema_changes()) {
    json bad = good;
    bad[json::json_pointer(place)] = value;
    BOOST_TEST(!fpf::preflight::schema_errors(rules, bad).empty(), place);
  }
}

// A campaign begins with it, and stops where it fails.
BOOST_AUTO_TEST_CASE(a_campaign_checks_first) {
  campaign("unused");  // writes campaign.ini
  write("checked.ini", replaced(text_of("campaign.ini"), "no-preflight = true\n", ""));
  fresh_folder("checked");
  const Strings args{bin + "/campaign", "--pod", "1", "--config", "checked.ini", "--out", "checked"};
  Strings failing = args;
  failing.insert(failing.end(), {"--cuda", "99.9"});
  const Outcome refused = run(failing);
  BOOST_TEST(refused.code == 2, refused.err);
  BOOST_TEST(mentions(refused.out, {"FAIL  CUDA toolkits"}), refused.out);
  BOOST_TEST(mentions(refused.err, {"preflight", "exit code 2"}), refused.err);
  BOOST_TEST(!happened("checked", "started exp0_reference"));
  const Outcome passed = run(args);
  BOOST_TEST(passed.code == 0, passed.err);
  BOOST_TEST(happened("checked", "preflight passed"));
  BOOST_TEST(signals_in("checked") == signals_in(undisturbed()));
}

BOOST_AUTO_TEST_SUITE_END()
