// Recorded signals as numbers, and how far they are from others.
#pragma once

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <fpf/core/half.hpp>
#include <fpf/evidence/signals.hpp>
#include <span>
#include <vector>

inline std::vector<float> floats(const fpf::evidence::VectorRows& rows) {
  std::vector<float> out(rows.bytes.size() / size_of(rows.dtype));
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (rows.dtype == fpf::DType::float32) {
      std::memcpy(&out[i], rows.bytes.data() + 4 * i, 4);
    } else {
      std::uint16_t bits = 0;
      std::memcpy(&bits, rows.bytes.data() + 2 * i, 2);
      out[i] = rows.dtype == fpf::DType::bfloat16 ? fpf::float32_from_bfloat16(bits) : fpf::float32_from_float16(bits);
    }
  }
  return out;
}

inline double relative_l2(std::span<const float> x, std::span<const float> reference) {
  BOOST_REQUIRE_EQUAL(x.size(), reference.size());
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    difference += (double(x[i]) - reference[i]) * (double(x[i]) - reference[i]);
    norm += double(reference[i]) * reference[i];
  }
  return std::sqrt(difference / norm);
}

/// Worst single row of a [rows, width] signal.
inline double worst_row(const std::vector<float>& x, const std::vector<float>& reference, std::int64_t width) {
  BOOST_REQUIRE_EQUAL(x.size(), reference.size());
  double worst = 0;
  for (std::size_t at = 0; at < x.size(); at += static_cast<std::size_t>(width))
    worst = std::max(worst, relative_l2(std::span(x).subspan(at, width), std::span(reference).subspan(at, width)));
  return worst;
}
