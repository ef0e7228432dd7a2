// core/decimal.hpp: numbers of JSON text against the C library's, and what is none.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fpf/core/decimal.hpp>
#include <random>
#include <string>
#include <vector>

BOOST_AUTO_TEST_SUITE(test_decimal)

using namespace fpf;

namespace {

/// The number that `text` begins with, and how many characters it has; none of something that is no number.
template <class T>
std::pair<T, std::size_t> read(const std::string& text) {
  const std::string padded = text + std::string(decimal_overrun + 1, '7').replace(0, 1, "]");
  T value{};
  const char* const end = read_decimal(padded.data(), value);
  return {value, end == nullptr ? 0 : static_cast<std::size_t>(end - padded.data())};
}

template <class T>
bool same(T a, T b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

/// Decimals of all shapes: up to twenty digits before the point and after it, exponents, signs.
std::string some_decimal(std::mt19937& random) {
  const auto digits = [&](std::size_t count) {
    std::string out;
    for (std::size_t i = 0; i < count; ++i) out += static_cast<char>('0' + random() % 10);
    return out;
  };
  std::string out = random() % 2 ? "-" : "";
  out += random() % 4 ? digits(1) : std::to_string(1 + random() % 9) + digits(random() % 20);
  if (random() % 8) out += "." + digits(1 + random() % 20);
  if (random() % 4 == 0) out += (random() % 2 ? "e" : "E-") + std::to_string(random() % 60);
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_number_is_the_one_that_strtod_and_strtof_read) {
  std::mt19937 random(11);
  for (int i = 0; i < 300'000; ++i) {
    const std::string text = some_decimal(random);
    const auto [as_double, of_double] = read<double>(text);
    const auto [as_float, of_float] = read<float>(text);
    BOOST_REQUIRE(of_double == text.size());
    BOOST_REQUIRE(of_float == text.size());
    BOOST_REQUIRE_MESSAGE(same(as_double, std::strtod(text.c_str(), nullptr)), text);
    BOOST_REQUIRE_MESSAGE(same(as_float, std::strtof(text.c_str(), nullptr)), text);
  }
  for (const char* text : {"0", "-0", "-0.0", "0.00000000000000", "9.99999999999999", "9.99999999999999999", "1e22",
                           "0.12345678", "0.123456789", "0.1234567890123456", "123456789012345678901234567890",
                           "7.038531e-26", "-7.038531e-26", "5e-324", "1.7976931348623157e308"}) {
    BOOST_TEST(same(read<double>(text).first, std::strtod(text, nullptr)), text);
    BOOST_TEST(same(read<float>(text).first, std::strtof(text, nullptr)), text);
  }
}

BOOST_AUTO_TEST_CASE(numbers_beyond_the_range_are_not_finite) {
  for (const char* text : {"1e999", "-1e400", "1e-400"}) BOOST_TEST(std::isnan(read<double>(text).first), text);
  BOOST_TEST(std::isinf(read<float>("1e39").first));
}

BOOST_AUTO_TEST_CASE(what_is_no_number_of_json_is_none) {  // RFC 8259, section 6
  for (const char* text : {"",    "-",     "+1",  ".5",       "-.5", "5.",    "5.e1", "00",   "01",  "-01.5", "1e",
                           "1e+", "1.5e-", "NaN", "Infinity", "inf", "\"5\"", "[5]",  "null", "--5", " 5",    "0x10"}) {
    const std::size_t found = read<double>(text).second;
    if (std::strcmp(text, "0x10") == 0)
      BOOST_TEST(found == 1u);  // a number, and behind it what no array has
    else
      BOOST_TEST(found == 0u, text);
  }
}

BOOST_AUTO_TEST_CASE(arrays_say_where_they_end_to_be_one) {
  const auto fault = [](const std::string& text) {
    const std::string padded = text + std::string(decimal_overrun, '7');
    std::vector<double> values;
    const ArrayFault found = read_array(std::string_view(padded).substr(0, text.size()),
                                        [&](const char* at) { return read_decimal(at, values.emplace_back()); });
    if (found.at == nullptr) return std::string();
    const std::string_view token = token_at(found.at, std::string_view(padded).substr(0, text.size()));
    return (found.element ? "element " : "separator ") + std::to_string(found.index) + " " + std::string(token);
  };
  for (const char* sound : {"[]", "[ ]", "[1]", "[ 1 ,\n\t2\r]", "[-1.5,2e3, 0]"})
    BOOST_TEST(fault(sound) == "", sound);
  BOOST_TEST(fault("[1 2]") == "separator 0 2");
  BOOST_TEST(fault("[1,,2]") == "element 1 ,");
  BOOST_TEST(fault("[1,]") == "element 1 ]");
  BOOST_TEST(fault("[,]") == "element 0 ,");
  BOOST_TEST(fault("[1, nu ll]") == "element 1 nu");
  BOOST_TEST(fault("[1.5x]") == "separator 0 x");
  BOOST_TEST(fault("5") == "separator 0 5");
}

BOOST_AUTO_TEST_SUITE_END()
