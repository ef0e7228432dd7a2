// core/half.hpp: half-precision conversions against their definitions.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdint>
#include <fpf/core/half.hpp>

BOOST_AUTO_TEST_SUITE(test_half)

using namespace fpf;

BOOST_AUTO_TEST_CASE(every_float16_survives_the_round_trip) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = float32_from_float16(half);
    if (std::isnan(value)) {
      BOOST_TEST(std::isnan(float32_from_float16(float16_from_float32(value))));
      continue;
    }
    const int exponent = static_cast<int>((bits >> 10) & 31);
    const double mantissa = bits & 1023;
    const double magnitude = exponent == 31  ? INFINITY
                             : exponent == 0 ? std::ldexp(mantissa, -24)
                                             : std::ldexp(1024 + mantissa, exponent - 25);
    BOOST_REQUIRE_EQUAL(static_cast<double>(value), (bits & 0x8000) ? -magnitude : magnitude);
    BOOST_REQUIRE_EQUAL(float16_from_float32(value), half);
  }
}

BOOST_AUTO_TEST_CASE(float16_rounds_to_nearest_even) {
  // Between two neighbours h and h+1 the middle goes to the even one, anything past it to the nearer one.
  for (std::uint16_t half = 0; half < 0x7bff; ++half) {
    const double low = float32_from_float16(half), high = float32_from_float16(half + 1), middle = (low + high) / 2;
    const auto even = static_cast<std::uint16_t>(half % 2 == 0 ? half : half + 1);
    BOOST_REQUIRE_EQUAL(float16_from_float32(static_cast<float>(middle)), even);
    BOOST_REQUIRE_EQUAL(float16_from_float32(std::nextafter(static_cast<float>(middle), 0.0f)), half);
    BOOST_REQUIRE_EQUAL(float16_from_float32(std::nextafter(static_cast<float>(middle), 1e9f)), half + 1);
  }
  BOOST_TEST(float16_from_float32(65519.996f) == 0x7bff);
  BOOST_TEST(float16_from_float32(65520.0f) == 0x7c00);
  BOOST_TEST(float16_from_float32(-0.0f) == 0x8000);
}

BOOST_AUTO_TEST_CASE(bfloat16_rounds_to_nearest_even) {
  BOOST_TEST(bfloat16_from_float32(1.0f) == 0x3f80);
  BOOST_TEST(bfloat16_from_float32(1.00390625f) == 0x3f80);    // 1 + 2^-8: halfway, to even
  BOOST_TEST(bfloat16_from_float32(1.01171875f) == 0x3f82);    // 1 + 3 * 2^-8: halfway, to even
  BOOST_TEST(bfloat16_from_float32(1.0039063692f) == 0x3f81);  // just past the middle
  BOOST_TEST(std::isnan(float32_from_bfloat16(bfloat16_from_float32(NAN))));
  BOOST_TEST(float32_from_bfloat16(0xff80) == -INFINITY);
}

BOOST_AUTO_TEST_SUITE_END()
