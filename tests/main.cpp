// main() of every test program.
#define BOOST_TEST_MODULE fpf
#include <boost/test/unit_test.hpp>
