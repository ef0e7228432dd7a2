// What the checks of loops share (loop_checks.hpp): inputs, random and at the edges, and how results are compared: bit
// for bit, but for NaNs, whose sign and payload are not defined. Needs no libtorch and no Boost.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fpf/portable/loops.hpp>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace loop_checks {

using fpf::portable::lanes;

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
  /// A sentence for each that differs, at most one a loop.
  std::vector<std::string> differences() const { return differences_; }

 protected:
  // ---- inputs

  std::uint32_t bits() { return static_cast<std::uint32_t>(random_()); }
  int below(int most) { return static_cast<int>(bits() % static_cast<unsigned>(most)); }
  float number() { return static_cast<float>(bits() >> 8) / 8388608.0f - 1.0f; }

  /// One of the numbers at which formats and operations end, or any bits at
  /// all.
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

  // ---- results

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

 private:
  std::mt19937 random_{5};  // NOLINT: the same every time
  std::vector<std::string> differences_;
};

}  // namespace loop_checks
