// How far the portable execution is from float64: its products and its attention beside bfloat16's, and whole models
// beside version 1's chains and the default path.
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <fpf/execution/eager.hpp>
#include <fpf/experiment/experiment.hpp>
#include <fpf/portable/integer_attention.hpp>
#include <fpf/portable/products.hpp>
#include <fpf/weights/nf4_tables.hpp>
#include <random>

#include "compiled.hpp"
#include "exact_model.hpp"
#include "portable_runs.hpp"

BOOST_AUTO_TEST_SUITE(test_portable_accuracy)

using namespace fpf;
namespace data = boost::unit_test::data;

namespace {

constexpr std::int64_t rows = 32, outputs = 64;
const std::vector<std::string> kinds{"gaussian", "loud channels", "loud channels and tokens", "silu(gate) * up"};

double bf16(double value) { return float32_from_bfloat16(bfloat16_from_float32(static_cast<float>(value))); }

class Draw {
 public:
  explicit Draw(unsigned seed) : engine_(seed) {}
  double normal() { return normal_(engine_); }
  double uniform(double from, double to) { return std::uniform_real_distribution(from, to)(engine_); }

 private:
  std::mt19937 engine_;
  std::normal_distribution<double> normal_;
};

/// Rows of activations [rows, k] of a kind: of even loudness, with six loud channels, and so on.
std::vector<float> activations(const std::string& kind, std::int64_t k, Draw& draw) {
  std::vector<double> loudness;
  for (std::int64_t i = 0; i < k; ++i) loudness.push_back(kind == "gaussian" ? 1 : std::exp(0.5 * draw.normal()));
  if (kind != "gaussian")
    for (int i = 0; i < 6; ++i) loudness[std::size_t(draw.uniform(0, double(k)))] *= draw.uniform(20, 100);
  std::vector<float> out;
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t i = 0; i < k; ++i) {
      double x = draw.normal() * loudness[std::size_t(i)];
      if (kind == "loud channels and tokens" && r % 8 == 0 && i == 7) x *= 300;
      if (kind == "silu(gate) * up") {
        const double gate = 2 * draw.normal() * std::exp(0.7 * draw.normal());
        x = gate / (1 + std::exp(-gate)) * draw.normal() * std::exp(0.7 * draw.normal());
        if (r % 7 == 0 && i == 5) x *= 200;
      }
      out.push_back(static_cast<float>(x));
    }
  return out;
}

/// A matrix [outputs, k] as panels, and the values that they stand for.
struct Weights {
  portable::Panels panels;
  std::vector<double> values;
};

Weights random_weights(const std::string& format, std::int64_t k, Draw& draw) {
  using portable::Panels;
  Weights out;
  out.values.resize(std::size_t(outputs * k));
  if (format == "dense") {
    at::Tensor matrix = at::empty({outputs, k}, at::kBFloat16);
    for (std::int64_t i = 0; i < matrix.numel(); ++i) {
      out.values[std::size_t(i)] = bf16(0.02 * draw.normal());
      static_cast<std::uint16_t*>(matrix.data_ptr())[i] = bfloat16_from_float32(float(out.values[std::size_t(i)]));
    }
    out.panels = portable::slice_panels(matrix);
    return out;
  }
  const bool int4 = format == "int4";
  const std::int64_t length = int4 ? 128 : 64;
  out.panels =
      portable::code_panels(int4 ? Panels::Kind::int4 : Panels::Kind::map, portable::Arithmetic::integers, outputs,
                            portable::Columns(portable::Arithmetic::integers, portable::even_ends(k, length)));
  out.panels.map = weights::nf4_code;
  std::vector<std::uint8_t> codes(out.values.size());
  for (std::int64_t r = 0; r < outputs; ++r)
    for (std::int64_t g = 0; g < k / length; ++g) {
      const float scale = float32_from_float16(float16_from_float32(float(draw.uniform(0.003, 0.006))));
      const int zero = int(draw.uniform(6, 10));
      out.panels.scales_of(r / 16, g)[r % 16] = int4 ? scale : portable::mul(scale, portable::map_value);
      if (int4) out.panels.zeros_of(r / 16, g)[r % 16] = std::uint8_t(zero);
      for (std::int64_t i = g * length; i < (g + 1) * length; ++i) {
        const int code = std::clamp(int(std::lround(7.5 + 3 * draw.normal())), 0, 15);
        codes[std::size_t(r * k + i)] = std::uint8_t(code);
        out.values[std::size_t(r * k + i)] =
            double(scale) * (int4 ? code - zero : double(weights::nf4_code[std::size_t(code)]));
      }
    }
  for (std::int64_t panel = 0; panel < outputs / 16; ++panel)
    portable::put_codes(out.panels, panel, [&](std::int64_t input, std::uint8_t(&sixteen)[16]) {
      for (std::int64_t r = 0; r < 16; ++r) sixteen[r] = codes[std::size_t((panel * 16 + r) * k + input)];
    });
  return out;
}

double relative(const std::vector<double>& found, const std::vector<double>& exact) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    difference += (found[i] - exact[i]) * (found[i] - exact[i]);
    norm += exact[i] * exact[i];
  }
  return std::sqrt(difference / norm);
}

}  // namespace

// bfloat16's: activations and weights rounded to it, their products added up exactly, as a matrix unit nearly does.
BOOST_DATA_TEST_CASE(products_are_nearer_than_bfloat16s, data::make(kinds) * data::make({"int4", "nf4", "dense"}), kind,
                     format) {
  Draw draw(7);
  const std::int64_t k = kind == "silu(gate) * up" ? 768 : 2048;
  const std::vector<float> x = activations(kind, k, draw);
  const Weights w = random_weights(format, k, draw);
  std::vector<float> found(std::size_t(rows * outputs));
  const portable::Inputs inputs(x.data(), rows, k);
  inputs.product(w.panels, found.data(), outputs);
  std::vector<double> exact, rounded;
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t n = 0; n < outputs; ++n) {
      double sum = 0, other = 0;
      for (std::int64_t i = 0; i < k; ++i) {
        const double a = x[std::size_t(r * k + i)], b = w.values[std::size_t(n * k + i)];
        sum += a * b;
        other += bf16(a) * bf16(b);
      }
      exact.push_back(sum);
      rounded.push_back(other);
    }
  const double own = relative({found.begin(), found.end()}, exact), other = relative(rounded, exact);
  BOOST_TEST_MESSAGE(format << ", " << kind << ": " << own << ", bfloat16 " << other);
  BOOST_TEST(own * (std::string(format) == "dense" ? 4 : 5) <= other,
             format << ", " << kind << ": " << own << " from float64, bfloat16 " << other);
}

// bfloat16's: queries and weights rounded to it, scores and sums exact, as flash attention nearly has them.
BOOST_DATA_TEST_CASE(attention_is_nearer_than_bfloat16s, data::make({0.3, 1.0, 3.0}) * data::make({64, 128, 96}),
                     sharpness, d) {
  constexpr std::int64_t positions = 1024, queries = 16;
  Draw draw(11);
  const auto at = [&](std::int64_t p, std::int64_t i) { return std::size_t(p * d + i); };
  std::vector<float> q(std::size_t(queries * d)), k(std::size_t(positions * d)), v(k.size());
  for (float& x : q) x = float(sharpness * draw.normal());
  for (std::int64_t p = 0; p < positions; ++p) {
    const double loudness = std::exp(0.4 * draw.normal());
    for (std::int64_t i = 0; i < d; ++i) {
      k[at(p, i)] = float(bf16((draw.normal() + (i % 40 == 5 ? 8 : 0)) * (p == 0 ? 0.2 : 1)));
      v[at(p, i)] = float(bf16(draw.normal() * loudness * (p == 0 ? 0.02 : 1)));
    }
  }
  for (std::int64_t r = 0; r < queries; ++r)
    for (std::int64_t i = 5; i < d; i += 40) q[at(r, i)] *= 0.3f;
  portable::HeadSlices cache(positions, d);
  for (std::int64_t p = 0; p < positions; ++p) cache.put(p, &k[at(p, 0)], &v[at(p, 0)]);
  std::vector<float> found(q.size());
  portable::detail::IntegerQueryTile tile(cache, d, portable::score_scale(d), queries);
  for (std::int64_t r = 0; r < queries; ++r) tile.add(&q[at(r, 0)], positions - queries + r, &found[at(r, 0)]);
  tile.attend();
  std::vector<double> exact, rounded;
  for (std::int64_t r = 0; r < queries; ++r) {
    const std::int64_t seen = positions - queries + r + 1;
    std::vector<double> scores[2], sums[2]{std::vector<double>(std::size_t(d)), std::vector<double>(std::size_t(d))};
    double totals[2] = {};
    for (std::int64_t p = 0; p < seen; ++p)
      for (int other = 0; other < 2; ++other) {
        double score = 0;
        for (std::int64_t i = 0; i < d; ++i)
          score += (other == 1 ? bf16(q[at(r, i)]) : double(q[at(r, i)])) * double(k[at(p, i)]);
        scores[other].push_back(score / std::sqrt(double(d)));
      }
    for (int other = 0; other < 2; ++other) {
      const double largest = *std::ranges::max_element(scores[other]);
      for (std::int64_t p = 0; p < seen; ++p) {
        const double weight = std::exp(scores[other][std::size_t(p)] - largest);
        totals[other] += weight;
        for (std::int64_t i = 0; i < d; ++i)
          sums[other][std::size_t(i)] += (other == 1 ? bf16(weight) : weight) * double(v[at(p, i)]);
      }
    }
    for (std::int64_t i = 0; i < d; ++i) {
      exact.push_back(sums[0][std::size_t(i)] / totals[0]);
      rounded.push_back(sums[1][std::size_t(i)] / totals[1]);
    }
  }
  const double own = relative({found.begin(), found.end()}, exact), other = relative(rounded, exact);
  BOOST_TEST_MESSAGE("attention, " << sharpness << ", heads of " << d << ": " << own << ", bfloat16 " << other);
  BOOST_TEST(own * 4 <= other, own << " from float64, bfloat16 " << other);
}

namespace {

/// Root mean square over tokens of how far a row is from float64's, in relation to it: of each layer's hidden states,
/// then keys.
class Distances {
 public:
  void add(const Shown& found, const Shown& exact) {
    squares_.resize(2 * exact.hidden.size());
    for (std::size_t i = 0; i < squares_.size(); ++i) {
      const auto signal = i < exact.hidden.size() ? &Shown::hidden : &Shown::keys;
      const at::Tensor& wanted = (exact.*signal)[i % exact.hidden.size()];
      const at::Tensor difference = (found.*signal)[i % exact.hidden.size()].to(at::kDouble) - wanted;
      squares_[i] += (difference.square().sum(1) / wanted.square().sum(1)).sum().item<double>();
    }
    tokens_ += exact.hidden.front().size(0);
  }
  std::size_t size() const { return squares_.size(); }
  double operator[](std::size_t i) const { return std::sqrt(squares_[i] / static_cast<double>(tokens_)); }

 private:
  std::vector<double> squares_;
  std::int64_t tokens_ = 0;
};

Shown pass(engine::Decoder& decoder, const std::vector<std::int32_t>& tokens) {
  const c10::InferenceMode guard;
  auto cache = decoder.make_cache(1, std::ssize(tokens));
  ShownBy taps;
  decoder.forward(model::batch_of({tokens}), cache, 1, &taps);
  return taps.shown;
}

/// How far this version, version 1 and the default path are from float64, over `prompts` sequences of `length`
/// tokens. Each is held against float64 with the experts that it chose itself. Version 1's chains of float32 are within
/// 1e-6 of a float64 that keeps keys and values, and shows hidden states, in the model's dtype, which stands for them
/// here. Of a float32 model they are this version's.
void check(const model::Checkpoint& checkpoint, DType dtype, int prompts, int length) {
  quant::select(checkpoint.config().quantization, [&]<class Quant>() {
    const auto type = device::scalar_type(dtype);
    const auto exactly = ExactModel::load<Quant>(checkpoint, dtype);
    const auto make = [&]<class Execution>() {
      return engine::make_decoder<Quant, attention::Flash, Execution>(
          checkpoint, parallel::Rank::alone(checkpoint.config()), type, at::kCPU);
    };
    const auto portable = make.template operator()<execution::Portable>();
    const auto eager = make.template operator()<execution::Eager>();
    Distances own, chains, other;
    for (int i = 0; i < prompts; ++i) {
      const auto tokens = some_ids(length, 7 + 31 * i, static_cast<std::int32_t>(checkpoint.config().vocab_size));
      const Shown found = pass(*portable, tokens), chosen = pass(*eager, tokens);
      const Shown exact = exactly.run(tokens, found.experts);
      own.add(found, exact);
      if (dtype != DType::float32) chains.add(exactly.run(tokens, found.experts, type), exact);
      other.add(chosen, found.experts.empty() ? exact : exactly.run(tokens, chosen.experts));
    }
    const Distances& first = dtype == DType::float32 ? own : chains;
    double worst = 0;
    for (std::size_t i = 0; i < own.size(); ++i) {
      const std::string what =
          fmt::format("{} of layer {}: {:.3g} from float64, version 1 {:.3g}, default {:.3g}",
                      i < own.size() / 2 ? "hidden states" : "keys", i % (own.size() / 2), own[i], first[i], other[i]);
      const double least = std::min(first[i], other[i]);
      worst = std::max(worst, own[i] / least);
      BOOST_TEST(own[i] <= 1.1 * least, what);
      BOOST_TEST_MESSAGE(what);
    }
    BOOST_TEST_MESSAGE(name_of(dtype) << ": at most " << worst << " times the nearer");
  });
}

}  // namespace

BOOST_DATA_TEST_CASE(tiny_mixture_of_experts, data::make({"none", "awq", "gptq", "nf4"}), format) {
  const auto checkpoint = model::Checkpoint::open("synthetic:qwen3-moe-tiny?seed=1&quant=" + std::string(format));
  check(checkpoint, DType::bfloat16, 2, 48);
  check(checkpoint, DType::float32, 1, 24);
}

BOOST_DATA_TEST_CASE(models_of_float16, data::make({"none", "awq", "gptq", "nf4"}), format) {
  for (const std::string model : {"qwen3-moe-tiny", "qwen2-tiny"})
    check(model::Checkpoint::open("synthetic:" + model + "?seed=1&quant=" + format), DType::float16, 2, 32);
}

BOOST_DATA_TEST_CASE(biases, data::make({"none", "awq", "gptq", "nf4"}), format) {
  const auto checkpoint = model::Checkpoint::open("synthetic:qwen2-tiny?seed=1&quant=" + std::string(format));
  check(checkpoint, DType::bfloat16, 2, 48);
  check(checkpoint, DType::float32, 1, 24);
}

// Rows of 64 numbers: it takes many tokens until what a rounding happens to give does not count.
BOOST_DATA_TEST_CASE(every_architecture,
                     data::make({"llama_tied", "llama_untied", "qwen2_tied", "qwen2_untied", "qwen3_untied",
                                 "qwen3_tied", "qwen3_moe_renormalised", "qwen3_moe_raw"}),
                     name) {
  const auto checkpoint = model::Checkpoint::open(FPF_FIXTURES "/parity/" + std::string(name));
  check(checkpoint, DType::bfloat16, 8, 64);
  check(checkpoint, DType::float16, 32, 64);
  check(checkpoint, DType::float32, 2, 64);
}

BOOST_AUTO_TEST_CASE(smollm2) {
  const std::string file = FPF_BUILD "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  BOOST_TEST_REQUIRE(std::filesystem::exists(file));
  check(model::Checkpoint::open(file), DType::bfloat16, 2, 20);
  check(model::Checkpoint::open(file), DType::float32, 1, 24);
}

BOOST_AUTO_TEST_SUITE_END()
