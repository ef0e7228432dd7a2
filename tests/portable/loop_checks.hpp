// Every loop of a table beside the plain one, on random inputs and at the edges: bit for bit, but for NaNs, whose sign and
// payload are not defined. Needs no libtorch and no Boost.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fpf/portable/loops.hpp>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

namespace loop_checks {

using fpf::portable::IntegerLoops;
using fpf::portable::lanes;
using fpf::portable::Loops;

/// What loops wrote, as bits.
struct Bits {
  std::vector<std::uint32_t> of;

  Bits& add(const std::vector<float>& values) {
    for (const float x : values) of.push_back(std::isnan(x) ? 0x7fc00000u : fpf::portable::bits_of(x));
    return *this;
  }
  template <class T>
  Bits& add(const std::vector<T>& values) {
    for (const T x : values) of.push_back(static_cast<std::uint32_t>(x));
    return *this;
  }
};

/// Room for what a loop writes, and for what it must leave alone.
template <class T>
std::vector<T> room(std::int64_t count, T before = T{}) {
  std::vector<T> out(static_cast<std::size_t>(count) + 16, T{77});
  std::fill_n(out.begin(), count, before);
  return out;
}

class Checks {
 public:
  Checks(const Loops& loops, const IntegerLoops& integer_loops) : loops_(loops), integers_(integer_loops) {}

  /// A sentence for each that differs, at most one a loop.
  std::vector<std::string> differences() {
    chains();
    weights();
    for (const bool any : {false, true}) functions(any);
    softmaxes();
    tiles();
    slices();
    dots();
    group_ends();
    attention_rows();
    return differences_;
  }

 private:
  // ---- inputs

  std::uint32_t bits() { return static_cast<std::uint32_t>(random_()); }
  int below(int most) { return static_cast<int>(bits() % static_cast<unsigned>(most)); }
  float number() { return static_cast<float>(bits() >> 8) / 8388608.0f - 1.0f; }

  /// One of the numbers at which formats and operations end, or any bits at all.
  float any_float() {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    static constexpr float edges[] = {0.0f,       -0.0f,       infinity, -infinity, NAN,   0x1p-149f, -0x1p-126f,
                                      3.4028e38f, -3.4028e38f, 0x1p-64f, 0x1p64f,   89.0f, -104.0f,   1.0f};
    const int which = below(40);
    return which < 14 ? edges[which] : which < 20 ? fpf::portable::float_of(bits()) : number();
  }

  std::vector<float> floats(std::int64_t count, bool any = false) {
    std::vector<float> out;
    while (std::ssize(out) < count) out.push_back(any ? any_float() : number());
    return out;
  }
  template <class T>
  std::vector<T> codes(std::int64_t count) {
    std::vector<T> out;
    while (std::ssize(out) < count) out.push_back(static_cast<T>(bits()));
    return out;
  }

  // ---- a loop of both tables

  template <class F>
  void check(const std::string& what, F f) {
    compare(what, f(loops_).of, f(fpf::portable::plain::loops).of);
  }
  template <class F>
  void check_integers(const std::string& what, F f) {
    compare(what, f(integers_).of, f(fpf::portable::plain::integer_loops).of);
  }
  void compare(const std::string& what, const std::vector<std::uint32_t>& found,
               const std::vector<std::uint32_t>& wanted) {
    const auto at = std::ranges::mismatch(found, wanted);
    if (at.in1 == found.end() && at.in2 == wanted.end()) return;
    const std::string loop = what.substr(0, what.find(':'));
    if (std::ranges::any_of(differences_, [&](const std::string& other) { return other.starts_with(loop + ":"); }))
      return;
    differences_.push_back(fmt::format("{}: the plain loop gives {:08x} at {}, and this one {:08x}", what, *at.in2,
                                       at.in1 - found.begin(), *at.in1));
  }

  // ---- loops of floats

  void chains() {
    for (int rows = 1; rows <= 26; rows = rows < 17 ? rows + 1 : rows + 9)
      for (const int count : {1, 31, 32, 33, 64, 127, 128, 129, 250, 256, 300})
        for (const bool any : {false, true}) {
          const int first = below(3), stride = lanes * (1 + below(2)),
                    length = count == 250 ? 48 : fpf::portable::block;
          const std::vector<float> w = floats(std::int64_t{count} * stride, any);
          std::vector<std::vector<float>> x;
          std::vector<const float*> pointers;
          for (int r = 0; r < rows; ++r) x.push_back(floats(first + count, any));
          for (const auto& row : x) pointers.push_back(row.data());
          check(fmt::format("chain: {} rows, {} products, {} in a block", rows, count, length),
                [&](const Loops& loops) {
                  auto out = room<float>(rows * lanes);
                  loops.chain({pointers.data(), first, rows, w.data(), stride, count, length}, out.data());
                  return Bits().add(out);
                });
        }
  }

  void weights() {
    for (const int count : {1, 3, 4, 8, 13, 32, 120, 128})
      for (const bool any : {false, true}) {
        const int first = below(20);
        const auto words = codes<std::uint32_t>((first + count + 7) / 8 * lanes);
        auto zeros = codes<std::uint8_t>(lanes);
        for (std::uint8_t& zero : zeros) zero = zero % 17;
        const std::vector<float> scales = floats(lanes, any), map = floats(16, any);
        check(fmt::format("unpack_int4: {} columns", count), [&](const Loops& loops) {
          auto out = room<float>(count * lanes);
          loops.unpack_int4(words.data(), first, count, scales.data(), zeros.data(), out.data());
          return Bits().add(out);
        });
        check(fmt::format("unpack_map: {} columns", count), [&](const Loops& loops) {
          auto out = room<float>(count * lanes);
          loops.unpack_map(words.data(), first, count, scales.data(), map.data(), out.data());
          return Bits().add(out);
        });
      }
    std::vector<std::uint16_t> halves(65536);
    std::iota(halves.begin(), halves.end(), std::uint16_t{0});
    for (const int left : {0, 1, 7, 8, 15, 65535, 65519})
      for (const auto loop : {&Loops::widen_bfloat16, &Loops::widen_float16})
        check(fmt::format("{}: {} left out", loop == &Loops::widen_float16 ? "widen_float16" : "widen_bfloat16", left),
              [&](const Loops& loops) {
                auto out = room<float>(65536 - left);
                (loops.*loop)(halves.data() + left, out.data(), 65536 - left);
                return Bits().add(out);
              });
  }

  void functions(bool any) {
    std::vector<int> counts(40);
    std::iota(counts.begin(), counts.end(), 1);
    for (const int count : {63, 64, 65, 127, 128, 129, 255, 256, 257, 576, 1000, 2048}) counts.push_back(count);
    for (const int count : counts) {
      const auto wide = [&](std::int64_t size) {
        std::vector<float> out = floats(size, any);
        for (float& x : out) x *= 40.0f;
        return out;
      };
      const std::vector<float> x = wide(2 * count), y = wide(count), z = wide(count);
      const float a = any ? any_float() : 3.0f * number(), b = any ? any_float() : number();
      const auto of = [&](const char* name) {
        return fmt::format("{}: {} {}", name, count, any ? "of any kind" : "numbers");
      };
      check(of("exp_below"), [&](const Loops& loops) {
        std::vector<float> out = x;
        loops.exp_below(out.data(), a, count);
        return Bits().add(out);
      });
      check(of("silu_mul"), [&](const Loops& loops) {
        auto out = room<float>(count);
        loops.silu_mul(x.data(), y.data(), out.data(), count);
        return Bits().add(out);
      });
      check(of("norm"), [&](const Loops& loops) {
        auto out = room<float>(count);
        loops.norm(x.data(), y.data(), 1e-6f, count, out.data());
        std::vector<float> itself = x;
        loops.norm(itself.data(), y.data(), 1e-5f, count, itself.data());
        return Bits().add(out).add(itself);
      });
      check(of("rotate"), [&](const Loops& loops) {
        std::vector<float> out = x;
        loops.rotate(out.data(), y.data(), z.data(), count);
        return Bits().add(out);
      });
      check(of("sum"), [&](const Loops& loops) { return Bits().add(std::vector<float>{loops.sum(x.data(), count)}); });
      check(of("join"), [&](const Loops& loops) {
        std::vector<float> out = x;
        loops.join(out.data(), y.data(), a, b, count);
        return Bits().add(out);
      });
      check(of("add_scaled"), [&](const Loops& loops) {
        std::vector<float> out = x;
        loops.add_scaled(out.data(), y.data(), a, count);
        return Bits().add(out);
      });
    }
  }

  void softmaxes() {
    constexpr std::int64_t block = fpf::portable::position_block;
    for (std::int64_t rows = 1; rows <= 17; ++rows)
      for (const bool any : {false, true}) {
        std::vector<float> scores = floats(rows * block, any), maxima = floats(rows, any), sums = floats(rows, any);
        for (float& x : scores) x *= 20.0f;
        for (std::int64_t j = 1; j < block; j += 3)
          scores[static_cast<std::size_t>(j)] = -std::numeric_limits<float>::infinity();
        maxima[0] = -std::numeric_limits<float>::infinity();
        sums[0] = 0.0f;
        check(fmt::format("softmax_block: {} rows", rows), [&](const Loops& loops) {
          std::vector<float> exponentials = scores, most = room<float>(rows), totals = room<float>(rows);
          loops.softmax_block(exponentials.data(), rows, most.data(), totals.data());
          return Bits().add(exponentials).add(most).add(totals);
        });
        check(fmt::format("join_softmaxes: {} rows", rows), [&](const Loops& loops) {
          std::vector<float> most = maxima, totals = sums, before = room<float>(rows), now = room<float>(rows);
          loops.join_softmaxes({rows, most.data(), totals.data(), scores.data() + 1, scores.data() + rows + 1,
                                before.data(), now.data()});
          return Bits().add(most).add(totals).add(before).add(now);
        });
      }
  }

  // ---- loops of integers

  void tiles() {
    for (int count = 8; count <= 128; count += 8) {
      const auto packed = codes<std::uint8_t>(count * lanes / 2), high_of = codes<std::uint8_t>(16),
                 low_of = codes<std::uint8_t>(16);
      check_integers(fmt::format("unpack_codes: {} columns", count), [&](const IntegerLoops& loops) {
        auto tile = room<std::uint8_t>(count * lanes);
        loops.unpack_codes(packed.data(), count, tile.data());
        return Bits().add(tile);
      });
      check_integers(fmt::format("unpack_map: {} columns of slices", count), [&](const IntegerLoops& loops) {
        auto high = room<std::uint8_t>(count * lanes), low = high;
        loops.unpack_map(packed.data(), count, high_of.data(), low_of.data(), high.data(), low.data());
        return Bits().add(high).add(low);
      });
    }
  }

  void slices() {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    // Alone or with the others of a block: no number, ties, the edge at which a block takes the next unit.
    const std::vector<float> largest{0.0f,      0x1p-149f,  0x1p-126f, 1.0f,      32639.0f,
                                     32639.49f, 32639.5f,   -32639.5f, 32640.0f,  0x1p127f,
                                     3.389e38f, 3.4028e38f, infinity,  -infinity, NAN};
    for (int count = 1; count <= 128; count = count < 40 ? count + 1 : count + 11)
      for (const float most : largest) {
        std::vector<float> x = floats(count);
        for (float& value : x) {
          const int kind = below(4);
          const float half = static_cast<float>(below(60000) - 30000) + 0.5f;
          value = kind == 0 ? -0.0f : kind == 1 ? half : kind == 2 ? value * 0x1p-20f : value * most;
        }
        x[static_cast<std::size_t>(below(count))] = most;
        check_integers(fmt::format("integers: {} values, {} among them", count, most), [&](const IntegerLoops& loops) {
          auto q = room<std::int16_t>(count);
          const unsigned e = loops.integers(x.data(), count, q.data());
          return Bits().add(q).add(std::vector<unsigned>{e});
        });
      }
  }

  /// Rows of x within +-32639, by kind: random, all the largest, zeros, alternating.
  std::vector<std::int16_t> integers_of(std::int64_t count, int kind) {
    constexpr int most = 32639;
    std::vector<std::int16_t> out;
    while (std::ssize(out) < count) {
      const int random = below(2 * most + 1) - most, sign = std::ssize(out) % 2 == 0 ? 1 : -1;
      out.push_back(static_cast<std::int16_t>(kind == 0   ? random
                                              : kind == 1 ? most
                                              : kind == 2 ? -most
                                              : kind == 3 ? sign * most
                                                          : 0));
    }
    return out;
  }

  void dots() {
    for (int rows = 1; rows <= 33; rows = rows < 20 ? rows + 1 : rows + 13)
      for (const int count : {8, 16, 24, 32, 56, 64, 72, 96, 120, 128, 192, 256})
        for (const bool sliced : {false, true})
          for (const bool apart : {false, true}) one_dot(rows, count, sliced, apart);
    for (const int rows : {1, 4, 16})
      for (int kind = 1; kind < 5; ++kind)
        for (const int byte : {0, 128, 255})
          for (const bool sliced : {false, true}) one_dot(rows, 128, sliced, false, kind, byte);
  }

  /// spread() is seen through dot(): sets have rows as they like. Bytes are random, or all `byte`.
  void one_dot(int rows, int count, bool sliced, bool apart, int kind = 0, int byte = -1) {
    const std::int64_t columns = count + 8 * below(8), first = 8 * below(static_cast<int>(columns - count) / 8 + 1);
    const auto size = [](std::int64_t of) { return static_cast<std::size_t>(of); };
    std::vector<std::vector<std::int16_t>> x;
    std::vector<std::int32_t> sums;
    for (int r = 0; r < rows; ++r) {
      const auto& row = x.emplace_back(integers_of(columns, kind));
      sums.push_back(std::accumulate(row.begin() + first, row.begin() + first + count, std::int32_t{0}));
    }
    auto high = codes<std::uint8_t>(count * lanes), low = codes<std::uint8_t>(count * lanes);
    if (byte >= 0) std::ranges::fill(high, static_cast<std::uint8_t>(byte));
    if (byte >= 0) std::ranges::fill(low, static_cast<std::uint8_t>(byte));
    if (sliced)  // of -32639 to 32639
      std::ranges::transform(high, high.begin(), [](std::uint8_t h) { return std::max<std::uint8_t>(h, 1); });
    check_integers(fmt::format("dot: {} rows{}, columns {} to {} of {}, {}", rows, apart ? " here and there" : "",
                               first, first + count, columns, sliced ? "slices" : "codes"),
                   [&](const IntegerLoops& loops) {
                     const std::int64_t bytes = columns * loops.column_bytes;
                     std::vector<std::byte> all(size(rows * bytes));
                     std::vector<std::vector<std::byte>> own(size(rows), std::vector<std::byte>(size(bytes)));
                     std::vector<const std::byte*> pointers;
                     for (int r = 0; r < rows; ++r) {
                       std::byte* const to = apart ? own[size(r)].data() : all.data() + r * bytes;
                       loops.spread(x[size(r)].data(), columns, to);
                       pointers.push_back(to);
                     }
                     auto out = room<std::int32_t>(rows * lanes);
                     loops.dot({pointers.data(), columns, first, count, rows, high.data(),
                                sliced ? low.data() : nullptr, sliced ? sums.data() : nullptr},
                               out.data());
                     return Bits().add(out);
                   });
  }

  std::vector<std::int32_t> sums_of(std::int64_t count) {
    std::vector<std::int32_t> out = codes<std::int32_t>(count);
    for (std::int32_t& x : out) x = x >> below(24);
    return out;
  }

  void group_ends() {
    for (int rows = 1; rows <= 17; ++rows)
      for (const bool any : {false, true})
        for (const bool minima : {false, true}) {
          const auto dots = sums_of(rows * lanes), sums = sums_of(rows);
          const auto zeros = codes<std::uint8_t>(lanes);
          const std::vector<float> units = floats(rows, any), scales = floats(lanes, any), least = floats(lanes, any);
          const std::int64_t stride = lanes + below(2) * 48;
          const std::vector<float> before = floats(rows * stride, any), new_scales = floats(rows, any);
          check_integers(fmt::format("end_group: {} rows", rows), [&](const IntegerLoops& loops) {
            std::vector<float> results = before;
            loops.end_group({rows, dots.data(), sums.data(), zeros.data(), units.data(), scales.data(),
                             minima ? least.data() : nullptr, results.data()});
            return Bits().add(results);
          });
          check_integers(fmt::format("end_values: {} rows", rows), [&](const IntegerLoops& loops) {
            std::vector<float> results = before;
            loops.end_values({rows, dots.data(), units.data(), new_scales.data(), results.data(), stride});
            return Bits().add(results);
          });
        }
  }

  void attention_rows() {
    using namespace fpf::portable;
    for (int count = 1; count <= 128; ++count)
      for (int kind = 0; kind < 6; ++kind) {  // keys and values alike, of any units, the least, the largest
        const auto unit = [&](unsigned most) {
          return slice_unit(kind == 0 ? 120u : kind == 4 ? 15u : kind == 5 ? most : 15u + bits() % (most - 14u));
        };
        std::vector<float> key_units, value_units;
        for (int j = 0; j < count; ++j) {
          key_units.push_back(unit(no_score - 1));
          value_units.push_back(unit(no_number - 1));
        }
        std::vector<std::int32_t> dots = sums_of(count);
        if (kind == 2) std::ranges::fill(dots, 0);
        const float factor = mul(mul(unit(no_score - 1), sliced_unit), 0.18033688f);
        const float before = kind % 2 == 0 ? -std::numeric_limits<float>::infinity() : 100.0f * number();
        check_integers(fmt::format("weigh: {} positions of kind {}", count, kind), [&](const IntegerLoops& loops) {
          std::vector<float> row{before, std::isinf(before) ? 0.0f : 3.25f, 77.0f, 77.0f};
          auto weights = room<std::int16_t>(128);
          loops.weigh({count, dots.data(), key_units.data(), value_units.data(), factor, row.data(), row.data() + 1,
                       row.data() + 2, row.data() + 3, weights.data()});
          return Bits().add(row).add(weights);
        });
      }
  }

  const Loops& loops_;
  const IntegerLoops& integers_;
  std::mt19937 random_{5};  // NOLINT: the same every time
  std::vector<std::string> differences_;
};

inline std::vector<std::string> differences(const Loops& loops, const IntegerLoops& integer_loops) {
  return Checks(loops, integer_loops).differences();
}

}  // namespace loop_checks
