// The fused chains of execution::Compiled against float64 and against the same operations one by one.
#include "compiled.hpp"

#include <ATen/Context.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>

#include <boost/mpl/list.hpp>
#include <boost/test/unit_test.hpp>
#include <fpf/execution/compiled.hpp>
#include <fpf/experiment.hpp>
#include <limits>
#include <numeric>

#include "signal_distance.hpp"

namespace {
struct Seeded {
  Seeded() { at::manual_seed(1); }
};
}  // namespace

BOOST_AUTO_TEST_SUITE(test_compiled, *boost::unit_test::fixture<Seeded>())

using namespace fpf;
using execution::Compiled;
using execution::Eager;

namespace {

using Types = boost::mpl::list<float, at::BFloat16, at::Half>;
using Doubles = std::vector<double>;

constexpr double eps = 1e-6;

template <class T>
at::Tensor random(at::IntArrayRef shape, double deviation = 1, double mean = 0) {
  return (at::randn(shape) * deviation + mean).to(c10::CppTypeToScalarType<T>::value);
}

Doubles doubles(const at::Tensor& t) {
  const at::Tensor wide = t.to(at::kDouble).contiguous();
  return {wide.const_data_ptr<double>(), wide.const_data_ptr<double>() + wide.numel()};
}

/// Distance between T's neighbours of x.
template <class T>
double ulp(double x) {
  const int digits = std::numeric_limits<T>::digits;
  const double least = std::numeric_limits<T>::min();
  return std::ldexp(1.0, std::ilogb(std::max(std::abs(x), least)) - digits + 1);
}

/// Rounded once: within half a unit in the last place, and what float32 intermediates may add (`terms`: the
/// magnitude of what was added up).
template <class T>
void check_rounded_once(const at::Tensor& out, const Doubles& exact, const Doubles& terms) {
  const Doubles found = doubles(out);
  BOOST_REQUIRE_EQUAL(found.size(), exact.size());
  for (std::size_t i = 0; i < exact.size(); ++i) {
    const double slack = 4 * std::numeric_limits<float>::epsilon() * terms[i];
    BOOST_REQUIRE_SMALL(found[i] - exact[i], 0.5 * ulp<T>(exact[i]) + slack);
  }
}

double squared_error(const at::Tensor& out, const Doubles& exact) {
  const Doubles found = doubles(out);
  double sum = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) sum += (found[i] - exact[i]) * (found[i] - exact[i]);
  return sum;
}

/// Separate operations give the same up to their few roundings of what was added up, and in 16 bits those
/// cost more.
template <class T>
void check_against_unfused(const at::Tensor& fused, const at::Tensor& unfused, const Doubles& exact,
                           const Doubles& terms) {
  BOOST_CHECK(fused.sizes() == unfused.sizes());
  BOOST_CHECK(fused.scalar_type() == unfused.scalar_type());
  const Doubles a = doubles(fused), b = doubles(unfused);
  for (std::size_t i = 0; i < a.size(); ++i) BOOST_REQUIRE_SMALL(a[i] - b[i], 4 * ulp<T>(terms[i]));
  if (sizeof(T) == 2) BOOST_TEST(squared_error(fused, exact) < squared_error(unfused, exact));
}

Doubles exact_norm(const Doubles& x, const Doubles& weight) {
  Doubles out(x.size());
  const std::size_t n = weight.size();
  for (std::size_t row = 0; row < x.size(); row += n) {
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum += x[row + i] * x[row + i];
    const double inverse = 1 / std::sqrt(sum / static_cast<double>(n) + eps);
    for (std::size_t i = 0; i < n; ++i) out[row + i] = x[row + i] * inverse * weight[i];
  }
  return out;
}

Doubles magnitudes(Doubles x) {
  for (double& value : x) value = std::abs(value);
  return x;
}

}  // namespace

// 50 and 33 are no multiples of the 16 running sums.
BOOST_AUTO_TEST_CASE_TEMPLATE(norm_rounds_once, T, Types) {
  for (const std::int64_t n : {1, 33, 50, 576}) {
    const at::Tensor x = random<T>({3, 5, n}), weight = random<T>({n}, 0.2, 1);
    const at::Tensor fused = Compiled::norm(x, weight, eps);
    const Doubles exact = exact_norm(doubles(x), doubles(weight));
    check_rounded_once<T>(fused, exact, magnitudes(exact));
    if (n > 1) check_against_unfused<T>(fused, Eager::norm(x, weight, eps), exact, magnitudes(exact));
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(add_norm_normalises_the_sum_before_it_is_rounded, T, Types) {
  const std::int64_t n = 200;
  const at::Tensor residual = random<T>({2, 7, n}), delta = random<T>({2, 7, n}, 0.3), weight = random<T>({n}, 0.2, 1);
  Doubles sum = doubles(residual), terms = magnitudes(sum);
  const Doubles added = doubles(delta);
  for (std::size_t i = 0; i < sum.size(); ++i) {
    sum[i] += added[i];
    terms[i] += std::abs(added[i]);
  }
  at::Tensor stream = residual.clone();
  const void* const place = stream.const_data_ptr();
  const at::Tensor fused = Compiled::add_norm(stream, delta, weight, eps);
  const Doubles exact = exact_norm(sum, doubles(weight));
  check_rounded_once<T>(stream, sum, terms);
  check_rounded_once<T>(fused, exact, terms);
  BOOST_CHECK(stream.const_data_ptr() == place);  // in place

  at::Tensor separate = residual.clone();
  check_against_unfused<T>(fused, Eager::add_norm(separate, delta, weight, eps), exact, terms);
  BOOST_TEST(at::equal(stream, separate));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(head_norm_and_rope_round_once, T, Types) {
  const std::int64_t batch = 2, tokens = 5, heads = 3, d = 32, half = d / 2;
  const at::Tensor angles = at::randn({tokens, half}) * 3;
  const at::Tensor both = at::cat({angles, angles}, -1);
  const auto type = c10::CppTypeToScalarType<T>::value;
  const execution::RopeTable rope{both.cos().to(type), both.sin().to(type)};
  const at::Tensor x = random<T>({batch, tokens, heads, d});
  for (const at::Tensor& weight : {random<T>({d}, 0.2, 1), at::Tensor()}) {
    const Doubles in = weight.defined() ? exact_norm(doubles(x), doubles(weight)) : doubles(x);
    const Doubles cos = doubles(rope.cos), sin = doubles(rope.sin);
    Doubles exact(in.size()), terms(in.size());
    for (std::int64_t r = 0; r < batch * tokens * heads; ++r) {
      for (std::int64_t i = 0; i < d; ++i) {
        const std::int64_t token = r / heads % tokens, head = r % heads, b = r / heads / tokens;
        const double own = in[r * d + i], other = in[r * d + (i + half) % d];
        const double a = own * cos[token * d + i], c = (i < half ? -other : other) * sin[token * d + i];
        const auto to = ((b * heads + head) * tokens + token) * d + i;
        exact[to] = a + c;
        terms[to] = std::abs(a) + std::abs(c);
      }
    }
    const at::Tensor fused = Compiled::head_norm_rope(x, weight, eps, rope);
    check_rounded_once<T>(fused, exact, terms);
    check_against_unfused<T>(fused, Eager::head_norm_rope(x, weight, eps, rope), exact, terms);
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(silu_mul_rounds_once, T, Types) {
  const at::Tensor gate = random<T>({11, 97}, 3), up = random<T>({11, 97});
  Doubles exact = doubles(gate);
  const Doubles ups = doubles(up);
  for (std::size_t i = 0; i < exact.size(); ++i) exact[i] = exact[i] / (1 + std::exp(-exact[i])) * ups[i];
  const at::Tensor fused = Compiled::silu_mul(gate, up);
  check_rounded_once<T>(fused, exact, magnitudes(exact));
  check_against_unfused<T>(fused, Eager::silu_mul(gate, up), exact, magnitudes(exact));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(routing_chooses_and_weighs_as_separate_operations_do, T, Types) {
  const std::int64_t rows = 40, experts = 32, k = 8;
  at::Tensor logits = random<T>({rows, experts}, 2);
  logits.select(0, 1).fill_(0.5);                // all equal: the lower ids
  logits.select(0, 2).narrow(0, 3, 9).fill_(9);  // nine equal where eight are chosen
  for (const bool renormalise : {true, false}) {
    const auto fused = Compiled::route(logits, k, renormalise), separate = Eager::route(logits, k, renormalise);
    BOOST_TEST(at::equal(fused.expert_ids, separate.expert_ids));
    BOOST_TEST(at::equal(fused.margin, separate.margin));
    const Doubles l = doubles(logits);
    Doubles exact;
    for (std::int64_t r = 0; r < rows; ++r) {
      const auto weight = [&](std::int64_t e) { return std::exp(l[r * experts + e]); };
      const std::int64_t* const chosen =
          fused.expert_ids.const_data_ptr<std::int64_t>() + r * fused.expert_ids.stride(0);
      double sum = 0;
      for (std::int64_t e = 0; e < experts; ++e)
        if (!renormalise || std::find(chosen, chosen + k, e) != chosen + k) sum += weight(e);
      for (std::int64_t i = 0; i < k; ++i) exact.push_back(weight(chosen[i]) / sum);
    }
    check_rounded_once<T>(fused.weights, exact, magnitudes(exact));
    BOOST_CHECK(separate.weights.scalar_type() == fused.weights.scalar_type());
  }
}

BOOST_AUTO_TEST_CASE(routing_all_experts_has_no_margin) {
  const auto routing = Compiled::route(random<float>({4, 6}), 6, true);
  BOOST_TEST(doubles(routing.margin) == Doubles(4, 0.0));
}

namespace {

/// Keeps what a tap shows it, as it is and as a copy.
struct Witness : model::Taps {
  std::vector<at::Tensor> seen, copies;

  bool wants(std::int64_t) const override { return true; }
  void take(evidence::StoredSignal signal, std::int64_t, const std::vector<at::Tensor>& columns) override {
    if (signal != evidence::StoredSignal::hidden_states) return;
    seen.push_back(columns.front());
    copies.push_back(columns.front().clone());
  }
};

}  // namespace

// The compiled residual stream lives in one place, so that what a tap was shown is gone after the next layer;
// the recorder's copy is not.
BOOST_AUTO_TEST_CASE(taps_copy_before_the_stream_is_overwritten) {
  const auto checkpoint = model::Checkpoint::open("synthetic:qwen3-moe-tiny");
  const auto decoder = engine::make_decoder<quant::None, attention::Flash, Compiled>(
      checkpoint, parallel::Rank::alone(checkpoint.config()), at::kFloat, at::kCPU);
  const std::int64_t layers = checkpoint.config().num_layers;
  const at::Tensor prompt = at::arange(7, at::kLong).unsqueeze(0);

  Witness witness;
  auto cache = decoder->make_cache(1, 7);
  decoder->forward(prompt, cache, 1, &witness);
  BOOST_REQUIRE_EQUAL(witness.seen.size(), layers);
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    BOOST_CHECK(witness.seen[layer].const_data_ptr() == witness.seen[0].const_data_ptr());
    BOOST_TEST(at::equal(witness.seen[layer], witness.copies[layer]) == (layer + 1 == layers));
  }

  std::vector<std::int64_t> all(layers);
  std::iota(all.begin(), all.end(), 0);
  Recorder recorder(checkpoint.config(), all, 5, 7);
  auto second = decoder->make_cache(1, 7);
  recorder.start_pass(7);
  recorder.next_tokens(*decoder, decoder->forward(prompt, second, recorder.kept(), &recorder));
  const auto signals = recorder.take();
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    const at::Tensor last = witness.copies[layer].select(0, 0).narrow(0, 5, 2).contiguous();
    BOOST_TEST(std::memcmp(signals.layers[layer].hidden.bytes.data(), last.const_data_ptr(), last.nbytes()) == 0);
  }
}

BOOST_AUTO_TEST_SUITE_END()
