// core/dtype.hpp: dtypes by name.
#include <boost/test/unit_test.hpp>
#include <fpf/core/dtype.hpp>
#include <string>

BOOST_AUTO_TEST_SUITE(test_dtype)

using namespace fpf;

BOOST_AUTO_TEST_CASE(unknown_dtypes_are_named) {
  BOOST_TEST((parse_dtype("bfloat16") == DType::bfloat16));
  BOOST_CHECK_EXCEPTION(parse_dtype("float8"), Error,
                        [](const Error& e) { return std::string(e.what()).find("float8") != std::string::npos; });
}

BOOST_AUTO_TEST_SUITE_END()
