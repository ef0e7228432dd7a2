// What programs say: one line that shows what a file or the command line holds, and never takes the program with it.
#include "compare_program.hpp"

BOOST_AUTO_TEST_SUITE(test_messages)

namespace {

/// compare in a shell that changes its streams: "2>&-".
Outcome shell(const std::string& command) { return run({"bash", "-c", command}); }

const std::string bidi = "\u202e", zero_width = "\u200b";

Json with_ids(const std::vector<std::string>& ids) {
  Json content = experiment();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    Json& configuration = content["configurations"][i];
    const Json before = configuration["config_id"];
    configuration["config_id"] = ids[i];
    for (Json& one : content["runs"])
      if (one["config_id"] == before) one["config_id"] = ids[i];
  }
  return content;
}

}  // namespace

BOOST_AUTO_TEST_CASE(nobody_has_to_listen) {
  const std::string good = write("good.json", experiment());
  for (const std::string stderr_to : {"2>&-", "2>/dev/full", "2> >(exec true)"}) {
    BOOST_TEST(shell(program + " no-such.json " + stderr_to).code == 2, stderr_to);
    BOOST_TEST(shell(program + " " + good + " > /dev/null " + stderr_to).code == 0, stderr_to);
  }
  for (const std::string stdout_to : {">&-", ">/dev/full"})
    for (const std::string& args : {std::string("--help"), std::string("--version"), good}) {
      const Outcome outcome = shell(program + " " + args + " " + stdout_to);
      BOOST_TEST(outcome.code == 2, args << stdout_to);
      BOOST_TEST(mentions(outcome.err, {"compare: error: cannot write to standard output: "}), outcome.err);
    }
}

BOOST_AUTO_TEST_CASE(what_is_refused_is_shown_on_one_short_line) {
  const std::string endless(100'000, '7');
  for (const auto& [args, words] : std::vector<std::pair<Strings, Strings>>{
           {{"--signal", "a\nb\x1b[2J" + bidi, "x"}, {"--signal a\\nb\\x1b[2J\\u202e: expected hidden_states"}},
           {{"--signal", "\xff", "x"}, {"--signal \\xff: expected UTF-8"}},
           {{"--layer", endless, "x"}, {"--layer 777", "…", "expected last, all or a layer's number"}},
           {{"name\nwith a line\xff.json"}, {"cannot open name\\nwith a line\\xff.json: No such file"}},
           {{endless}, {"cannot open 777", "…", "File name too long"}},
           {{""}, {"a file without a name"}},
           {{"/"}, {"cannot read /", "a directory"}},
           {{"--output", ""}, {"a file without a name"}},
           {{"--output", "."}, {"--output .", "it would be replaced"}}}) {
    Strings all = args;
    if (args[0] == "--output") all.push_back(write("good.json", experiment()));
    const Outcome outcome = compare(all);
    BOOST_TEST(outcome.code == 2, outcome.err);
    BOOST_TEST(mentions(outcome.err, words), outcome.err);
    BOOST_TEST(std::ranges::count(outcome.err, '\n') == 1);
    BOOST_TEST(outcome.err.size() < 2100u);
  }
}

BOOST_AUTO_TEST_CASE(odd_files_of_options_are_named) {
  const std::string zero("signal = a\0b\n", 13);
  for (const auto& [text, words] :
       std::vector<std::pair<std::string, Strings>>{{"signal\n", {"invalid line 'signal'"}},
                                                    {"=\n", {"unrecognised option"}},
                                                    {"threshold = " + bidi + "\n", {"'\\u202e'", "threshold"}},
                                                    {"all = maybe\n", {"'maybe'", "all"}},
                                                    {"\n\nsignal = x\n" + zero, {"a zero byte in line 4"}},
                                                    {"signal = \xff\n", {"--signal \\xff: expected UTF-8"}}}) {
    write(fs::path("odd.ini"), text);
    const Outcome outcome = compare({"--config", "odd.ini", "x"});
    BOOST_TEST(outcome.code == 2, outcome.err);
    Strings all = words;
    if (!mentions(outcome.err, {"UTF-8"})) all.push_back("--config odd.ini: ");
    BOOST_TEST(mentions(outcome.err, all), outcome.err);
  }
  check_refused({"--config", "."}, {"--config .", "a directory"});
}

BOOST_AUTO_TEST_CASE(a_zero_byte_hides_nothing_of_a_message) {
  Json content = experiment();
  content["runs"][0]["config_id"] = std::string("a\0b", 3);
  check_refused({write("zero.json", content)}, {"zero.json", "a\\x00b"});
}

BOOST_AUTO_TEST_CASE(configurations_that_look_alike_are_told_apart) {
  const Strings alike{"gpu", "gpu ", "g\u0440u", "gpu" + zero_width, "\uff47pu", "gp" + bidi + "u"};
  const std::string file = write("alike.json", with_ids(alike));
  const Outcome outcome = compare({file, "--report", "alike"});
  BOOST_TEST(outcome.code == 0, outcome.err);
  const std::string page = text_of("alike/index.html"), table = text_of("alike/csv/configurations.csv");
  for (const std::string shown : {"gpu\\x20", "g\\u0440u", "gpu\\u200b", "\\uff47pu", "gp\\u202eu"})
    for (const std::string& text : {outcome.out, page, table}) BOOST_TEST(mentions(text, {shown}), shown);
  for (const std::string& text : {outcome.out, page, table})
    for (const std::string& hidden : {alike[2], zero_width, bidi}) BOOST_TEST(!mentions(text, {hidden}));
}

BOOST_AUTO_TEST_CASE(other_names_cannot_turn_a_line_around) {
  Json content = experiment();
  content["experiment_metadata"]["model"] = "model" + bidi + "ledom";
  for (Json& configuration : content["configurations"])
    configuration["hardware"] = configuration["hardware"].get<std::string>() + bidi;
  const Outcome outcome = compare({write("turned.json", content), "--report", "turned"});
  BOOST_TEST(outcome.code == 0, outcome.err);
  BOOST_TEST(mentions(outcome.out, {"model\\u202eledom"}));
  for (const std::string& text : {outcome.out, text_of("turned/index.html")}) BOOST_TEST(!mentions(text, {bidi}));
}

BOOST_AUTO_TEST_CASE(make_prompt_says_the_same_way) {
  const std::string other = FPF_BIN "/make_prompt";
  const Outcome named = run({other, "--tokenizer", "no\nsuch" + bidi, "--prompt-text", "x"});
  BOOST_TEST(named.code == 2);
  BOOST_TEST(mentions(named.err, {"make_prompt: error: ", "no\\nsuch\\u202e"}), named.err);
  BOOST_TEST(shell(other + " 2>/dev/full").code == 2);
}

BOOST_AUTO_TEST_SUITE_END()
