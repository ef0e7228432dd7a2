// The loops of every instruction set that this CPU has, and that the checks of
// them see what they must see.
#include <boost/test/unit_test.hpp>

#include "loop_checks.hpp"

BOOST_AUTO_TEST_SUITE(test_portable_loops)

using namespace fpf;

namespace {

// As the plain loops, but for a rounding.
FPF_EXACT void chain(const portable::Chain& c, float* sums) {
  for (int r = 0; r < c.rows; ++r)
    for (int lane = 0; lane < portable::lanes; ++lane) {
      float total = 0.0f;
      for (int first = 0; first < c.count; first += c.block_length) {
        float sum = 0.0f;
        for (int k = first; k < std::min(first + c.block_length, c.count); ++k)
          sum = portable::add(sum, portable::mul(c.x[r][c.first + k], c.w[k * c.stride + lane]));
        total = first == 0 ? sum : portable::add(total, sum);
      }
      sums[r * portable::lanes + lane] = total;
    }
}
FPF_EXACT void add_scaled(float* out, const float* x, float factor, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = portable::add(out[i], portable::mul(factor, x[i]));
}
FPF_EXACT unsigned integers(const float* x, int count, std::int16_t* q) {
  const unsigned e = portable::plain::integers(x, count, q);
  if (e < portable::no_number)
    for (int k = 0; k < count; ++k)
      q[k] = static_cast<std::int16_t>(std::nearbyint(portable::mul(x[k], portable::slice_scale(e)) * 0.99999f));
  return e;
}
FPF_EXACT void dot(const portable::Dot& d) {
  portable::plain::dot(d);
  if (d.low != nullptr && d.count == 24) d.dots[(d.rows - 1) * d.stride] += 1;
}

}  // namespace

// The checks see a product that was rounded by itself, ties that are none, one
// sum of one width that is one more.
BOOST_AUTO_TEST_CASE(a_changed_rounding_shows) {
  const auto found = [](auto change) {
    portable::Loops loops = portable::plain::loops;
    portable::IntegerLoops integer_loops = portable::plain::integer_loops;
    change(loops, integer_loops);
    const auto differences = loop_checks::differences(loops, integer_loops);
    return differences.size() == 1 ? differences[0].substr(0, differences[0].find(':')) : "not one";
  };
  BOOST_TEST(found([](auto& loops, auto&) { loops.chain = chain; }) == "chain");
  BOOST_TEST(found([](auto& loops, auto&) { loops.add_scaled = add_scaled; }) == "add_scaled");
  BOOST_TEST(found([](auto&, auto& loops) { loops.integers = integers; }) == "integers");
  BOOST_TEST(found([](auto&, auto& loops) { loops.dot = dot; }) == "dot");
}

BOOST_AUTO_TEST_CASE(loops_of_this_cpu_give_the_plain_ones_bits) {
  for (const auto set : portable::instruction_sets)
    if (portable::has(set))
      for (const std::string& difference :
           loop_checks::differences(portable::loops_of(set), portable::integer_loops_of(set)))
        BOOST_ERROR(name_of(set) << "'s " << difference);
}

BOOST_AUTO_TEST_SUITE_END()
