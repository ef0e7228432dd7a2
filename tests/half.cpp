// core/: half-precision conversions against their definitions, SHA-256 against FIPS 180-4's examples, mapped files.
#include <boost/test/unit_test.hpp>

#include <fpf/core/dtype.hpp>
#include <fpf/core/half.hpp>
#include <fpf/core/hash.hpp>
#include <fpf/core/mapped_file.hpp>

#include <cmath>
#include <fstream>

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
  BOOST_TEST(bfloat16_from_float32(1.00390625f) == 0x3f80);   // 1 + 2^-8: halfway, to even
  BOOST_TEST(bfloat16_from_float32(1.01171875f) == 0x3f82);   // 1 + 3 * 2^-8: halfway, to even
  BOOST_TEST(bfloat16_from_float32(1.0039063692f) == 0x3f81);  // just past the middle
  BOOST_TEST(std::isnan(float32_from_bfloat16(bfloat16_from_float32(NAN))));
  BOOST_TEST(float32_from_bfloat16(0xff80) == -INFINITY);
}

BOOST_AUTO_TEST_CASE(sha256_gives_the_published_digests) {
  // FIPS 180-4 examples, as published by NIST.
  BOOST_TEST(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  BOOST_TEST(sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  BOOST_TEST(Sha256().update("abcdbcdecdefdefgefghfghighij").update("hijkijkljklmklmnlmnomnopnopq").hex() ==
             "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

BOOST_AUTO_TEST_CASE(a_mapped_file_shows_the_content_and_its_padding) {
  std::ofstream("mapped.txt") << "content";
  const MappedFile file("mapped.txt", 64);
  BOOST_TEST(file.text() == "content");
  for (std::size_t i = 0; i < 64; ++i) BOOST_TEST(file.text().data()[file.size() + i] == '\0');
  std::ofstream("empty.txt") << "";
  BOOST_TEST(MappedFile("empty.txt").size() == 0u);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_mapped_is_named) {
  BOOST_CHECK_EXCEPTION(MappedFile("no/such.file"), Error,
                        [](const Error& e) { return std::string(e.what()).find("no/such.file") != std::string::npos; });
  BOOST_CHECK_EXCEPTION(MappedFile("."), Error,
                        [](const Error& e) { return std::string(e.what()).find("a directory") != std::string::npos; });
}

BOOST_AUTO_TEST_CASE(unknown_dtypes_are_named) {
  BOOST_TEST((parse_dtype("bfloat16") == DType::bfloat16));
  BOOST_CHECK_EXCEPTION(parse_dtype("float8"), Error,
                        [](const Error& e) { return std::string(e.what()).find("float8") != std::string::npos; });
}
