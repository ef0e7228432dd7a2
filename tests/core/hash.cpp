// core/hash.hpp: SHA-256 against FIPS 180-4's examples.
#include <boost/test/unit_test.hpp>
#include <fpf/core/hash.hpp>

BOOST_AUTO_TEST_SUITE(test_hash)

using namespace fpf;

BOOST_AUTO_TEST_CASE(sha256_gives_the_published_digests) {
  // FIPS 180-4 examples, as published by NIST.
  BOOST_TEST(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  BOOST_TEST(sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  BOOST_TEST(Sha256().update("abcdbcdecdefdefgefghfghighij").update("hijkijkljklmklmnlmnomnopnopq").hex() ==
             "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

BOOST_AUTO_TEST_SUITE_END()
