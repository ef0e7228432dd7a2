// Every loop of a table beside the plain one: loop_inputs.hpp says how.
#pragma once

#include "integer_loop_checks.hpp"

namespace loop_checks {

using fpf::portable::Loops;

class FloatChecks : public Checks {
 public:
  explicit FloatChecks(const Loops& loops) : loops_(loops) {
    chains();
    weights();
    for (const bool any : {false, true}) functions(any);
    softmaxes();
  }

 private:
  template <class F>
  void check(const std::string& what, F f) {
    compare(what, f(loops_).of, f(fpf::portable::plain::loops).of);
  }

  void chains() {
    for (int rows = 1; rows <= 26; rows = rows < 17 ? rows + 1 : rows + 9)
      for (const int count : {1, 31, 32, 33, 64, 127, 128, 129, 250, 256, 300})
        for (const bool any : {false, true}) {
          const int first = below(3), stride = lanes * (1 + below(2)),
                    length = count == 250 ? 48 : fpf::portable::block;
          const std::vector<float> w = floats(std::int64_t{count} * stride, any);
          const std::vector<float> more = floats(below(2) * std::int64_t{count} * stride, any);
          std::vector<std::vector<float>> x;
          std::vector<const float*> pointers;
          for (int r = 0; r < rows; ++r) x.push_back(floats(first + count, any));
          for (const auto& row : x) pointers.push_back(row.data());
          check(fmt::format("chain: {} rows, {} products, {} in a block", rows, count, length),
                [&](const Loops& loops) {
                  auto out = room<float>(2 * rows * lanes);
                  loops.chain({pointers.data(), first, rows, w.data(), stride, count, length,
                               more.empty() ? nullptr : more.data()},
                              out.data());
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
      check(of("log_sum"), [&](const Loops& loops) {
        std::vector<float> positive = x;
        for (float& one : positive) one = std::abs(one) + 0.125f;
        return Bits().add(std::vector<float>{loops.log_sum(positive.data(), count)});
      });
      check(of("add_all"), [&](const Loops& loops) {
        std::vector<float> out = x;
        loops.add_all(out.data(), y.data(), count);
        return Bits().add(out);
      });
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

  const Loops& loops_;
};

inline std::vector<std::string> differences(const Loops& loops, const IntegerLoops& integer_loops) {
  std::vector<std::string> out = FloatChecks(loops).differences();
  for (const std::string& difference : IntegerChecks(integer_loops).differences()) out.push_back(difference);
  return out;
}

}  // namespace loop_checks
