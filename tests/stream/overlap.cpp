// stream/overlap.hpp: when a load that pauses counts as being there.
#include <boost/test/unit_test.hpp>
#include <fpf/stream/overlap.hpp>

using namespace fpf::stream;

BOOST_AUTO_TEST_SUITE(test_overlap)

namespace {

/// Spans from milliseconds {begin, end, begin, end, ...}.
Spans spans(std::initializer_list<int> milliseconds) {
  Spans out;
  const std::chrono::steady_clock::time_point zero{};
  for (auto at = milliseconds.begin(); at != milliseconds.end(); at += 2)
    out.push_back({zero + std::chrono::milliseconds(at[0]), zero + std::chrono::milliseconds(at[1])});
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_pause_that_the_duty_cycle_asks_for_ends_no_activity) {
  // Half of the time: pieces of 10 ms, one of them of 400 ms since the machine was busy, and the pause that follows it.
  const Spans pieces = spans({0, 10, 20, 30, 40, 440, 840, 850, 860, 870});
  BOOST_TEST(activity(pieces, 0.5).size() == 1u);
  BOOST_TEST(common_seconds(spans({0, 870}), activity(pieces, 0.5)) == 0.87, boost::test_tools::tolerance(1e-9));
}

BOOST_AUTO_TEST_CASE(a_load_that_was_away_is_not_counted_as_there) {
  const Spans pieces = spans({0, 10, 20, 30, 940, 950});
  const Spans found = activity(pieces, 0.5);
  BOOST_TEST(found.size() == 2u);
  BOOST_TEST(common_seconds(spans({0, 950}), found) == 0.04, boost::test_tools::tolerance(1e-9));
}

BOOST_AUTO_TEST_SUITE_END()
