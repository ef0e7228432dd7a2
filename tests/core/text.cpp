// core/text.hpp and core/utf8.hpp: what reaches people is one line of valid UTF-8, whatever a file holds.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <fpf/core/text.hpp>
#include <string>
#include <string_view>
#include <vector>

BOOST_AUTO_TEST_SUITE(test_text)

using namespace fpf;

namespace {

const std::string unknown = "\ufffd";

/// All of it decodes, as the Unicode standard defines it (15.0, table 3-7).
bool is_valid(std::string_view text) {
  while (!text.empty()) {
    const Utf8Step step = decode_utf8(text);
    if (!step.valid) return false;
    text.remove_prefix(step.length);
  }
  return true;
}

}  // namespace

BOOST_AUTO_TEST_CASE(sound_text_stays) {  // also a second time: what is said passes through several hands
  for (const std::string text : {"", "plain", "größer, 数, 😀", "\ufffd", "\u00a0", "\U0010ffff", "\ud7ff\ue000"})
    BOOST_TEST(one_line(text) == text);
}

BOOST_AUTO_TEST_CASE(what_steers_or_cannot_be_seen_is_escaped) {
  BOOST_TEST(one_line("a\nb\r\tc\x1b[2J\x7f") == "a\\nb\\r\\tc\\x1b[2J\\x7f");
  BOOST_TEST(one_line(std::string("\0", 1)) == "\\x00");
  BOOST_TEST(one_line("\xc2\x80|\xc2\x9b|\xc2\x9f|\xc2\xa0") ==
             "\\u0080|\\u009b|\\u009f|\xc2\xa0");  // C1, what follows
  for (const std::string bidi : {"\u061c", "\u200e", "\u200f", "\u202a", "\u202e", "\u2066", "\u2069"})
    BOOST_TEST(one_line("a" + bidi).starts_with("a\\u"));
  BOOST_TEST(one_line("a\u202eb\u200b\u2028\ufeff\U000e0041") == "a\\u202eb\\u200b\\u2028\\ufeff\\U000e0041");
  BOOST_TEST(one_line(one_line("a\n\u202e\xff")) == one_line("a\n\u202e\xff"));
}

BOOST_AUTO_TEST_CASE(what_is_no_utf8_is_escaped_byte_by_byte) {
  BOOST_TEST(one_line("a\xf1\x80\x80\xe1\x80\xc2"
                      "b\x80"
                      "c\x80\xbf"
                      "d") == R"(a\xf1\x80\x80\xe1\x80\xc2b\x80c\x80\xbfd)");
  BOOST_TEST(one_line("\xe0\x80\x80") == R"(\xe0\x80\x80)");  // overlong
  BOOST_TEST(one_line("\xed\xa0\x80") == R"(\xed\xa0\x80)");  // a surrogate
  BOOST_TEST(one_line("\xe2\x82") == R"(\xe2\x82)");          // cut off
}

BOOST_AUTO_TEST_CASE(ill_formed_sequences_are_replaced) {
  // Unicode 15.0, table 3-8: as many U+FFFD as there are maximal subparts. The same as Python's
  // bytes.decode("utf-8", errors="replace").
  BOOST_TEST(replace_invalid_utf8("a\xf1\x80\x80\xe1\x80\xc2"
                                  "b\x80"
                                  "c\x80\xbf"
                                  "d") ==
             "a" + unknown + unknown + unknown + "b" + unknown + "c" + unknown + unknown + "d");
  BOOST_TEST(replace_invalid_utf8("\xe0\x80\x80") == unknown + unknown + unknown);  // overlong
  BOOST_TEST(replace_invalid_utf8("\xf0\x80\x80\x80") == unknown + unknown + unknown + unknown);
  BOOST_TEST(replace_invalid_utf8("\xc0\xaf") == unknown + unknown);
  BOOST_TEST(replace_invalid_utf8("\xed\xa0\x80") == unknown + unknown + unknown);                // a surrogate
  BOOST_TEST(replace_invalid_utf8("\xf4\x90\x80\x80") == unknown + unknown + unknown + unknown);  // above U+10FFFF
  BOOST_TEST(replace_invalid_utf8("\xe2\x82") == unknown);                                        // cut off
}

BOOST_AUTO_TEST_CASE(names_that_differ_are_shown_differently) {
  BOOST_TEST(visible_name("A100-80GB_layers 1, 2 (x)") == "A100-80GB_layers 1, 2 (x)");
  const std::vector<std::string> alike{"a b",
                                       "a  b",
                                       "a b ",
                                       " a b",
                                       "a b  ",
                                       "\u0430 b",
                                       "a\u200b b",
                                       "a\u00a0b",
                                       "a\u2003b",
                                       "a\tb",
                                       "a\\x20b",
                                       "a\nb",
                                       "a\xff"
                                       "b",
                                       "a\u00ff"
                                       "b",
                                       "\u00e1 b",
                                       "a\u0301 b",
                                       "\uff41 b"};
  for (std::size_t i = 0; i < alike.size(); ++i) {
    const std::string shown = visible_name(alike[i]);
    BOOST_TEST(std::ranges::all_of(shown, [](char c) { return c >= 0x20 && c < 0x7f; }), shown);
    BOOST_TEST((!shown.ends_with(' ') && !shown.starts_with(' ') && shown.find("  ") == shown.npos), shown);
    for (std::size_t j = 0; j < i; ++j) BOOST_TEST(shown != visible_name(alike[j]));
  }
}

BOOST_AUTO_TEST_CASE(any_three_bytes_give_valid_text_on_one_line) {
  std::string text(3, '\0');
  const unsigned char tried[] = {0x00, 0x0a, 0x20, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1,
                                 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf4, 0xf5, 0xff};
  for (const unsigned char a : tried)
    for (const unsigned char b : tried)
      for (const unsigned char c : tried) {
        text[0] = static_cast<char>(a), text[1] = static_cast<char>(b), text[2] = static_cast<char>(c);
        const std::string line = one_line(text);
        BOOST_REQUIRE(is_valid(line));
        BOOST_REQUIRE(line.find_first_of("\n\x7f") == line.npos);
      }
}

BOOST_AUTO_TEST_CASE(long_text_ends_in_an_ellipsis) {
  BOOST_TEST(one_line("äöü", 3) == "äöü");
  BOOST_TEST(one_line("äöüß", 3) == "äö…");
  BOOST_TEST(one_line("ab\n", 3) == "ab…");  // an escape is whole or not there
  BOOST_TEST(one_line("abc\n", 3) == "ab…");
  BOOST_TEST(one_line("a\n", 3) == "a\\n");
  BOOST_TEST(cut_in_the_middle("0123456789", 5) == "01…89");
  BOOST_TEST(code_points("äöüß…") == 5u);
}

BOOST_AUTO_TEST_SUITE_END()
