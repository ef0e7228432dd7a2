// compare/output/table.hpp: tables that fit the terminal, colours for terminals alone.
#include <fpf/compare/output/table.hpp>
#include <sstream>

#include "compare_program.hpp"

BOOST_AUTO_TEST_SUITE(test_table)

namespace {

std::size_t longest_line(const std::string& text) {
  std::size_t longest = 0;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) longest = std::max(longest, fpf::code_points(line));
  return longest;
}

}  // namespace

BOOST_AUTO_TEST_CASE(tables_fit_the_terminal) {
  const std::string file = write("narrow.json", experiment());
  for (const std::size_t columns : {40u, 60u, 80u, 120u}) {
    const Outcome outcome =
        compare({file, "--signal", "all", "--layer", "all"}, ".", {{"COLUMNS", std::to_string(columns)}});
    BOOST_TEST(outcome.code == 0);
    BOOST_TEST(longest_line(outcome.out) <= columns);
  }
  const std::string layout = R"({"raw_activations": {"layer_1": [[1, 2], [1, 2]], "layer_2": [[4, 6], [4, 6]]}})";
  const std::string names[] = {"published_with_a_name_of_some_length.json", "another_published_with_a_long_name.json"};
  for (const std::string& name : names) std::ofstream(name) << layout;
  const Outcome outcome = compare({"--published", names[0], names[1]}, ".", {{"COLUMNS", "40"}});
  BOOST_TEST(outcome.code == 0, outcome.err);
  BOOST_TEST(mentions(outcome.out, {"mean of", "Repetitions: 4 of 4"}));
  BOOST_TEST(longest_line(outcome.out) <= 40u);
}

BOOST_AUTO_TEST_CASE(colours_are_for_terminals_alone) {
  using namespace fpf::compare;
  const Terminal plain{.width = 40, .colour = false}, coloured{.width = 40, .colour = true};
  BOOST_TEST(styled("yes", Style::good, plain) == "yes");
  BOOST_TEST(styled("yes", Style::good, coloured) == "\033[32myes\033[0m");
  Table table({"name", ">value"});
  table.add({{"größer"}, {"1", Style::bad}});
  table.add({{"b"}, {"23"}});
  BOOST_TEST(table.render(plain) == "name    value\ngrößer      1\nb          23\n");
  std::string without = table.render(coloured);
  for (const char* code : {"\033[2m", "\033[31m", "\033[0m"})
    for (auto at = without.find(code); at != without.npos; at = without.find(code))
      without.erase(at, std::string(code).size());
  BOOST_TEST(without == table.render(plain));
  // script(1) gives the program a terminal
  const std::string file = write("terminal.json", experiment());
  const auto on_terminal = [&](const char* no_colour) {
    return run({"script", "-qec", program + " " + file, "/dev/null"}, ".",
               {{"NO_COLOR", no_colour}, {"COLUMNS", "120"}});
  };
  BOOST_TEST(mentions(on_terminal("").out, {"\033[1m"}));
  BOOST_TEST(!mentions(on_terminal("1").out, {"\033["}));
}

BOOST_AUTO_TEST_CASE(narrow_tables_lose_optional_columns_first) {
  using namespace fpf::compare;
  Table table({"a", "?b", "?c"});
  table.add({{"aaaa"}, {"bbbb"}, {"cccc"}});
  BOOST_TEST(table.render({.width = 16}) == "a     b     c\naaaa  bbbb  cccc\n");
  BOOST_TEST(table.render({.width = 15}) == "a     b\naaaa  bbbb\n");
  BOOST_TEST(table.render({.width = 9}) == "a\naaaa\n");
  BOOST_TEST(wrapped("one two three", 9, "  ") == "  one two\n  three\n");
  BOOST_TEST(wrapped("äöüäöüäöüä", 8) == "äöüäöüäö\nüä\n");
}

BOOST_AUTO_TEST_SUITE_END()
