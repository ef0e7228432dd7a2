// The portable execution's integers at their edges: what has no number, what is not seen, odd widths, columns in an
// order of their own, by every instruction set, held against plain scalar C++ (integer_matrix.hpp).
#include <ATen/ops/zeros_like.h>

#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <fpf/portable/integer_attention.hpp>
#include <fpf/portable/products.hpp>
#include <random>

#include "integer_matrix.hpp"

BOOST_AUTO_TEST_SUITE(test_portable_integers)

using namespace fpf;
namespace data = boost::unit_test::data;

namespace {

std::mt19937 random_bits(3);  // NOLINT: the same every time

float number() { return static_cast<float>(random_bits() >> 8) / 8388608.0f - 1.0f; }
std::vector<float> numbers(std::int64_t count) {
  std::vector<float> out(static_cast<std::size_t>(count));
  for (float& value : out) value = number();
  return out;
}

/// Runs f by every instruction set that this CPU has.
template <class F>
void by_every_set(F f) {
  const portable::InstructionSet first = portable::instruction_set();
  for (const auto set : portable::instruction_sets)
    if (portable::has(set)) {
      portable::instruction_set() = set;
      BOOST_TEST_CONTEXT(name_of(set)) { f(); }
    }
  portable::instruction_set() = first;
}

bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](float x, float y) {
    return std::isnan(x) ? std::isnan(y) : std::bit_cast<std::uint32_t>(x) == std::bit_cast<std::uint32_t>(y);
  });
}

/// A matrix of codes with a group's scale, and zero or minimum, for `length` columns each, in both forms.
struct Codes {
  portable::Panels panels;
  slow::IntegerMatrix plain;

  Codes(std::int64_t n, std::int64_t k, std::int64_t length, portable::Panels::Kind kind, bool minima,
        std::vector<std::int32_t> order = {}) {
    using portable::Panels;
    const std::vector<std::int64_t> ends = portable::even_ends(k, length);
    panels = portable::code_panels(kind, portable::Arithmetic::integers, n,
                                   portable::Columns(portable::Arithmetic::integers, ends, order));
    if (minima) {
      panels.minima = at::zeros_like(panels.scales);
      panels.zeros.reset();
    }
    plain.has_minimum = minima;
    plain.order.assign(order.begin(), order.end());
    for (std::int64_t i = 0; order.empty() && i < k; ++i) plain.order.push_back(static_cast<int>(i));
    const int most = kind == Panels::Kind::bytes ? 255 : 15;
    std::vector<std::vector<std::uint8_t>> codes;  // [n][input]
    for (std::int64_t r = 0; r < n; ++r) {
      auto& own = codes.emplace_back();
      std::vector<int>&values = plain.values.emplace_back(), &group = plain.group.emplace_back();
      auto& groups = plain.groups.emplace_back();
      std::vector<int> zeros;
      for (std::size_t g = 0; g < ends.size(); ++g) {
        groups.push_back({0.01f * number(), minima ? number() : 0.0f});
        zeros.push_back(minima ? 0 : kind == Panels::Kind::bytes ? 128 : static_cast<int>(random_bits() % 17));
      }
      for (std::int64_t i = 0; i < k; ++i) own.push_back(static_cast<std::uint8_t>(random_bits() % (most + 1)));
      for (std::int64_t i = 0; i < k; ++i) {
        group.push_back(static_cast<int>(i / length));
        values.push_back(own[static_cast<std::size_t>(plain.order[static_cast<std::size_t>(i)])] -
                         zeros[static_cast<std::size_t>(i / length)]);
      }
      const std::vector<std::int64_t> part = portable::stored_groups(panels.columns, ends);
      for (std::int64_t g = 0; g < panels.columns.count(); ++g) {
        const auto of = static_cast<std::size_t>(part[static_cast<std::size_t>(g)]);
        panels.scales_of(r / 16, g)[r % 16] = groups[of].scale;
        if (!minima) panels.zeros_of(r / 16, g)[r % 16] = static_cast<std::uint8_t>(zeros[of]);
        if (minima) panels.minima.data_ptr<float>()[panels.side(r / 16, g) + r % 16] = groups[of].minimum;
      }
    }
    for (std::int64_t panel = 0; panel < panels.panels(); ++panel)
      portable::put_codes(panels, panel, [&](std::int64_t input, std::uint8_t(&sixteen)[16]) {
        for (std::int64_t r = 0; r < 16 && panel * 16 + r < n; ++r)
          sixteen[r] = codes[static_cast<std::size_t>(panel * 16 + r)][static_cast<std::size_t>(input)];
      });
  }
};

void check(const portable::Panels& panels, const slow::IntegerMatrix& plain, const std::vector<float>& x) {
  const std::int64_t rows = std::ssize(x) / panels.k;
  std::vector<float> wanted;
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto begin = x.begin() + r * panels.k;
    for (const float value : plain.times({begin, begin + panels.k})) wanted.push_back(value);
  }
  by_every_set([&] {
    std::vector<float> found(wanted.size());
    const portable::Inputs inputs(x.data(), rows, panels.k);
    inputs.product(panels, found.data(), panels.n);
    BOOST_TEST(same(found, wanted), rows << " rows of " << panels.k);
  });
}

}  // namespace

namespace {

struct Attended {
  std::int64_t d;
  std::vector<std::vector<float>> keys, values;

  Attended(std::int64_t positions, std::int64_t dimensions) : d(dimensions) {
    for (std::int64_t p = 0; p < positions; ++p)
      for (auto* to : {&keys, &values}) {
        to->push_back(numbers(d));
        for (float& x : to->back()) x = float32_from_bfloat16(bfloat16_from_float32(4 * x));
      }
  }

  std::vector<float> definition(const std::vector<float>& q, std::int64_t position,
                                const slow::IntegerMutation& mutation = {}) const {
    return slow::attended(q, {keys.begin(), keys.begin() + position + 1},
                          {values.begin(), values.begin() + position + 1}, mutation);
  }

  /// Of queries at `positions`, ascending.
  std::vector<std::vector<float>> found(const std::vector<std::vector<float>>& q,
                                        const std::vector<std::int64_t>& positions) const {
    portable::HeadSlices cache(std::ssize(keys), d);
    for (std::size_t p = 0; p < keys.size(); ++p) cache.put(std::int64_t(p), keys[p].data(), values[p].data());
    std::vector<std::vector<float>> out(q.size(), std::vector<float>(static_cast<std::size_t>(d)));
    portable::detail::IntegerQueryTile tile(cache, d, portable::score_scale(d), std::ssize(q));
    for (std::size_t r = 0; r < q.size(); ++r) tile.add(q[r].data(), positions[r], out[r].data());
    tile.attend();
    return out;
  }

  void check(const std::vector<std::vector<float>>& q, const std::vector<std::int64_t>& positions) const {
    std::vector<std::vector<float>> wanted;
    for (std::size_t r = 0; r < q.size(); ++r) wanted.push_back(definition(q[r], positions[r]));
    by_every_set([&] {
      const auto all = found(q, positions);
      for (std::size_t r = 0; r < q.size(); ++r)
        BOOST_TEST(same(all[r], wanted[r]), "heads of " << d << ", position " << positions[r]);
    });
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(codes_of_any_width) {
  using enum portable::Panels::Kind;
  for (const auto [n, k, length] :
       {std::array<std::int64_t, 3>{33, 320, 64}, {16, 100, 100}, {8, 1000, 48}, {40, 256, 32}, {5, 40, 12}})
    for (const auto kind : {int4, bytes})
      for (const bool minima : {false, true})
        for (const std::int64_t rows : {1, 3, 13}) {
          const Codes codes(n, k, length, kind, minima);
          check(codes.panels, codes.plain, numbers(rows * k));
        }
}

BOOST_AUTO_TEST_CASE(columns_in_an_order_of_their_own) {
  for (const std::int64_t length : {128, 32, 20}) {
    std::vector<std::int32_t> order(640);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random_bits);
    const Codes codes(24, 640, length, portable::Panels::Kind::int4, false, order);
    check(codes.panels, codes.plain, numbers(9 * 640));
  }
}

// Each that an implementation could get wrong and still look right: a rounding, where a group ends, units of slices
// that are cut off, a slice's sign, a fused operation split. Numbers of 16 bits hide most of them in a whole model; a
// product's float32 does not.
BOOST_AUTO_TEST_CASE(changes_of_the_definition_show) {
  const Codes codes(20, 384, 128, portable::Panels::Kind::int4, true);
  std::vector<std::vector<float>> dense;
  for (int r = 0; r < 20; ++r) dense.push_back(numbers(384));
  const auto slices = slow::IntegerMatrix::of(dense);
  const std::vector<float> x = numbers(384);
  const Attended heads(200, 64);
  const std::vector<float> q = numbers(64);
  for (const slow::IntegerMutation& mutation : {slow::IntegerMutation{.truncates = true},
                                                {.group_end = 64},
                                                {.rounds_down = true},
                                                {.separate = true},
                                                {.loses_sign = true}}) {
    if (!mutation.separate)  // units are powers of two: their products are exact
      BOOST_TEST(!same(slices.times(x, mutation), slices.times(x)));
    BOOST_TEST(!same(heads.definition(q, 199, mutation), heads.definition(q, 199)));
    if (!mutation.rounds_down) BOOST_TEST(!same(codes.plain.times(x, mutation), codes.plain.times(x)));
  }
}

// Zeros, subnormal numbers, the largest; the edge at which a value rounds to 32639 and the next to one more;
// infinities and NaNs, which are where the block is and nowhere else.
BOOST_AUTO_TEST_CASE(rows_at_the_edges_of_numbers) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const std::vector<std::vector<float>> edges{{0.0f, -0.0f},         {1e-45f, -1e-40f}, {3e38f, 1e30f},
                                              {3.4e38f, 1.0f},       {32639.49f, 0.5f}, {32639.5f, 1.5f},
                                              {16319.7f, 2.5f},      {-32767.9f, 1.0f}, {infinity, 1.0f},
                                              {-infinity, infinity}, {NAN, 1.0f},       {0x1p-126f, 0x1p-127f}};
  const Codes int4(20, 384, 128, portable::Panels::Kind::int4, false);
  at::Tensor matrix = at::empty({20, 384}, at::kBFloat16);
  std::vector<std::vector<float>> dense(20);
  for (std::int64_t i = 0; i < matrix.numel(); ++i) {
    const std::uint16_t bits = bfloat16_from_float32(i == 5000 ? 3e38f : number());
    static_cast<std::uint16_t*>(matrix.data_ptr())[i] = bits;
    dense[static_cast<std::size_t>(i / 384)].push_back(float32_from_bfloat16(bits));
  }
  for (const auto& edge : edges) {
    std::vector<float> x = numbers(384);
    std::fill(x.begin() + 128, x.begin() + 256, 0.0f);
    for (std::size_t i = 0; i < 128; ++i) x[128 + i] = edge[i % 2];
    check(int4.panels, int4.plain, x);
    check(portable::slice_panels(matrix), slow::IntegerMatrix::of(dense), x);
  }
}

BOOST_DATA_TEST_CASE(attention_of_any_head, data::make({8, 20, 64, 96, 128, 256}), d) {
  const Attended all(300, d);
  const std::vector<std::int64_t> positions{0, 1, 7, 63, 64, 126, 127, 128, 255, 256, 299};
  std::vector<std::vector<float>> q;
  for (std::size_t i = 0; i < positions.size(); ++i) q.push_back(numbers(d));
  for (float& x : q[3]) x *= 100;  // one position has all the weight
  std::fill(q[4].begin(), q[4].end(), 0.0f);
  all.check(q, positions);
}

// What a query sees and is no number makes its output none; what it does not see changes no bit, in its own block of
// positions or beyond.
BOOST_AUTO_TEST_CASE(what_is_not_seen_does_not_show) {
  constexpr std::int64_t position = 40;
  Attended all(200, 64);
  const std::vector<float> q = numbers(64), wanted = all.definition(q, position);
  for (const float value : {3e38f, 3.4e38f, std::numeric_limits<float>::infinity(), NAN})
    for (auto* of : {&all.keys, &all.values})
      for (const std::int64_t at : {position + 1, position + 60, std::int64_t{130}}) {
        float& one = (*of)[static_cast<std::size_t>(at)][9];
        const float before = std::exchange(one, value);
        by_every_set([&] {
          for (const std::size_t rows : {2u, 19u}) {  // one after another, or in tiles
            std::vector<std::int64_t> positions(rows, position);
            positions.back() = 199;
            const auto found = all.found(std::vector(rows, q), positions);
            for (std::size_t r = 0; r + 1 < rows; ++r) BOOST_TEST(same(found[r], wanted), value << " at " << at);
            const bool number = value == 3e38f && of == &all.values;
            BOOST_TEST(std::ranges::all_of(found.back(), [](float x) { return std::isnan(x); }) == !number);
          }
        });
        one = before;
      }
  for (const float value : {0x1p48f, std::numeric_limits<float>::infinity(), NAN}) {
    std::vector<float> none = q;
    none[3] = value;
    by_every_set([&] {
      const auto found = all.found({q, none}, {position, position});
      BOOST_TEST(same(found[0], wanted));
      BOOST_TEST(std::ranges::all_of(found[1], [](float x) { return std::isnan(x); }));
      std::vector<std::vector<float>> many(20, q);
      many[7] = none;
      const auto of_many = all.found(many, std::vector<std::int64_t>(20, position));
      for (std::size_t r = 0; r < 20; ++r)
        BOOST_TEST((r == 7 ? std::isnan(of_many[r][0]) : same(of_many[r], wanted)), "row " << r);
    });
  }
}

BOOST_AUTO_TEST_SUITE_END()
