// core/progress.hpp: what is left of work whose units are of several kinds.
#include <boost/test/unit_test.hpp>
#include <fpf/core/progress.hpp>

BOOST_AUTO_TEST_SUITE(test_progress)

using fpf::RemainingTime;

// A prefill of 100 s and steps of 1 s each: by the mean of all units 50 s a step would be left.
BOOST_AUTO_TEST_CASE(what_is_left_is_counted_by_kind) {
  RemainingTime left({3, 30});
  BOOST_TEST(!left.seconds());
  left.add(0, 1, 100);
  BOOST_TEST(!left.seconds());  // of steps nothing is known
  left.add(1, 1, 1);
  BOOST_TEST(*left.seconds() == 2 * 100 + 29 * 1.0);
  left.add(1, 9, 9);
  BOOST_TEST(*left.seconds() == 2 * 100 + 20 * 1.0);
  BOOST_TEST(left.done() == 11);
  BOOST_TEST(left.total() == 33);
  left.add(0, 2, 200);
  BOOST_TEST(*left.seconds() == 20.0);
  left.add(1, 20, 20);
  BOOST_TEST(*left.seconds() == 0.0);
  left.extend(0, 1);
  BOOST_TEST(*left.seconds() == 100.0);
}

BOOST_AUTO_TEST_CASE(of_one_kind_it_is_the_mean) {
  RemainingTime left({10});
  BOOST_TEST(!left.seconds());
  left.add(0, 4, 2);
  BOOST_TEST(*left.seconds() == 3.0);
}

// Kinds of which there is nothing to do keep nobody from saying how long the others take.
BOOST_AUTO_TEST_CASE(a_kind_without_units_counts_for_nothing) {
  RemainingTime left({2, 0});
  left.add(0, 1, 5);
  BOOST_TEST(*left.seconds() == 5.0);
}

BOOST_AUTO_TEST_SUITE_END()
