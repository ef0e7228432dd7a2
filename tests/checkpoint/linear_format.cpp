// checkpoint/linear_format.hpp and the quantisers under it: what they write is what is read, GPTQ against its
// definition, and what calibration is for.
#include <ATen/ops/equal.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linalg_inv.h>

#include <boost/test/unit_test.hpp>
#include <fpf/checkpoint/linear_format.hpp>
#include <fpf/quant/schemes.hpp>
#include <fpf/weights/safetensors.hpp>
#include <numeric>
#include <random>

BOOST_AUTO_TEST_SUITE(test_linear_format)

using namespace fpf;
using nlohmann::json;

namespace {

at::Tensor random_matrix(std::int64_t rows, std::int64_t columns, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  at::Tensor out = at::empty({rows, columns}, at::kFloat);
  for (std::int64_t i = 0; i < out.numel(); ++i) out.data_ptr<float>()[i] = normal(random);
  return out;
}

/// Inputs that depend on one another, as activations do, one of them far larger than the others.
at::Tensor correlated_inputs(std::int64_t rows, std::int64_t in, unsigned seed) {
  at::Tensor x = at::matmul(random_matrix(rows, in / 4, seed), random_matrix(in / 4, in, seed + 1)) +
                 random_matrix(rows, in, seed + 2);
  x.select(1, 3).mul_(20);
  return x;
}

double relative(const at::Tensor& x, const at::Tensor& reference) {
  return ((x - reference).norm() / reference.norm()).item<double>();
}

/// |x (w - rounded)ᵀ|² in float64.
double product_error(const at::Tensor& w, const at::Tensor& rounded, const at::Tensor& x) {
  return at::matmul(x.to(at::kDouble), (w.to(at::kDouble) - rounded.to(at::kDouble)).t()).square().sum().item<double>();
}

std::span<const std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()};
}

}  // namespace

// What the encoder believes it has written is what the format's reader finds.
void check_round_trip(const std::string& kind, const checkpoint::InputStatistics& inputs) {
  const at::Tensor w = random_matrix(24, 96, 5);
  std::unique_ptr<checkpoint::LinearFormat> format = std::make_unique<checkpoint::AwqFormat>(32);
  if (kind == "gptq") format = std::make_unique<checkpoint::GptqFormat>(32, true, false);
  if (kind == "gptq-order") format = std::make_unique<checkpoint::GptqFormat>(32, false, true);
  if (kind == "nf4") format = std::make_unique<checkpoint::Nf4Format>(DType::bfloat16);
  const auto encoded = format->encode("layer", w, inputs);

  const auto specs = format->tensors("layer", 24, 96);
  BOOST_REQUIRE_EQUAL(encoded.tensors.size(), specs.size());
  weights::SafetensorsFileWriter writer("layer.safetensors", specs);
  for (const auto& [tensor, values] : encoded.tensors) writer.write(tensor, bytes_of(values));
  writer.commit();
  const weights::SafetensorsDirectory source("layer.safetensors");
  const json config = format->config({"lm_head"});
  const at::Tensor read = quant::select(config, [&]<class Q>() {
    const quant::Loader loader{source, config, at::kFloat, at::kCPU};
    return Q::dequantise(Q::load(loader, quant::LinearSpec::whole("layer", 24, 96)), at::kFloat);
  });
  BOOST_TEST(at::equal(read, encoded.values));
  if (!inputs.known()) BOOST_TEST(relative(read, w) < 0.12);  // a step of range / 15, half of it lost at most
  if (kind == "gptq-order" && inputs.known()) {
    const auto* groups = encoded.tensors.back().second.const_data_ptr<int>();
    BOOST_TEST(!std::is_sorted(groups, groups + 96));
    BOOST_TEST(groups[3] == 0);  // the largest input comes first
  }
}

BOOST_AUTO_TEST_CASE(a_layer_reads_back_as_it_was_rounded) {
  const auto inputs = checkpoint::InputStatistics::of(correlated_inputs(300, 96, 6));
  for (const std::string kind : {"awq", "gptq", "gptq-order", "nf4"}) BOOST_TEST_CONTEXT(kind) {
      check_round_trip(kind, {});
      check_round_trip(kind, inputs);
    }
}

namespace {

/// GPTQ by its definition (Hassibi and Stork's optimal brain surgeon, one input after another, the one of the
/// largest mean square first): round, spread the error by the inverse Hessian, take the input out of it.
/// Float64, no Cholesky factor, no blocks. Grids are the given ones.
std::vector<double> by_elimination(const at::Tensor& w, const at::Tensor& gram, const checkpoint::Int4Codes& grids,
                                   double damping) {
  const std::int64_t out = w.size(0), in = w.size(1), groups = grids.scales.size(1);
  std::vector<std::int64_t> order(static_cast<std::size_t>(in));
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::greater<>(), [&](std::int64_t k) { return gram[k][k].item<float>(); });
  const at::Tensor index = at::from_blob(order.data(), {in}, at::kLong);
  at::Tensor h = gram.to(at::kDouble).index_select(0, index).index_select(1, index);
  const at::Tensor copied = h.diagonal().contiguous();
  std::vector<double> diagonal(copied.data_ptr<double>(), copied.data_ptr<double>() + in);
  std::ranges::nth_element(diagonal, diagonal.begin() + (in - 1) / 2);
  h.diagonal().add_(damping * diagonal[static_cast<std::size_t>((in - 1) / 2)]);
  at::Tensor inverse = at::linalg_inv(h).contiguous();
  at::Tensor open = w.to(at::kDouble).index_select(1, index).contiguous();
  auto* const hi = inverse.data_ptr<double>();
  auto* const values = open.data_ptr<double>();
  std::vector<double> codes(static_cast<std::size_t>(out * in));
  for (std::int64_t j = 0; j < in; ++j) {
    for (std::int64_t r = 0; r < out; ++r) {
      const std::int64_t input = order[static_cast<std::size_t>(j)];
      const std::int64_t grid = r * groups + grids.group_of.const_data_ptr<int>()[input];
      const double scale = grids.scales.const_data_ptr<float>()[grid];
      const double zero = grids.zeros.const_data_ptr<std::uint8_t>()[grid];
      double* const row = values + r * in;
      const double code = std::clamp(std::nearbyint(row[j] / scale) + zero, 0.0, 15.0);
      codes[static_cast<std::size_t>(r * in + input)] = code;
      const double error = (row[j] - (code - zero) * scale) / hi[j * in + j];
      for (std::int64_t k = j + 1; k < in; ++k) row[k] -= error * hi[j * in + k];
    }
    const double pivot = hi[j * in + j];
    const std::vector<double> column(hi + j * in, hi + (j + 1) * in);
    for (std::int64_t a = j + 1; a < in; ++a)
      for (std::int64_t b = j + 1; b < in; ++b)
        hi[a * in + b] -= column[static_cast<std::size_t>(a)] * column[static_cast<std::size_t>(b)] / pivot;
  }
  return codes;
}

}  // namespace

BOOST_AUTO_TEST_CASE(gptq_chooses_the_codes_of_its_definition) {
  for (const auto& [group, by_activation] :
       {std::pair<std::int64_t, bool>{16, false}, {32, true}, {32, false}, {96, false}, {192, true}}) {
    const at::Tensor w = random_matrix(40, 192, 11);
    const auto inputs = checkpoint::InputStatistics::of(correlated_inputs(500, 192, 12));
    const auto ours = checkpoint::gptq_quantise(w, group, checkpoint::Zeros::from_one, by_activation, inputs);
    const auto expected = by_elimination(w, inputs.gram, ours, 2 * 192.0 / 500);
    int different = 0;  // where float32 and float64 fall on different sides of a half
    for (std::int64_t i = 0; i < ours.codes.numel(); ++i)
      different += ours.codes.const_data_ptr<std::uint8_t>()[i] != expected[static_cast<std::size_t>(i)];
    BOOST_TEST(different <= 8, different << " of 7680, in groups of " << group);
  }
}

BOOST_AUTO_TEST_CASE(calibrated_products_are_better_than_rounded_ones) {
  const at::Tensor w = random_matrix(64, 128, 21);
  const at::Tensor x = correlated_inputs(700, 128, 22);
  const auto inputs = checkpoint::InputStatistics::of(x);
  const auto values = [&](const checkpoint::LinearFormat& format, const checkpoint::InputStatistics& known) {
    return product_error(w, format.encode("layer", w, known).values, x);
  };
  const checkpoint::AwqFormat awq(32);
  const checkpoint::GptqFormat gptq(32, false, false), symmetric(32, true, false), ordered(32, false, true);
  const checkpoint::Nf4Format nf4(DType::float16);
  const double plain = values(awq, {});
  BOOST_TEST(values(awq, inputs) < 0.9 * plain);
  BOOST_TEST(values(gptq, inputs) < 0.5 * values(gptq, {}));
  BOOST_TEST(values(symmetric, inputs) < 0.5 * values(symmetric, {}));
  BOOST_TEST(values(ordered, inputs) < 0.5 * values(gptq, {}));
  BOOST_TEST(values(nf4, inputs) < 0.5 * values(nf4, {}));
}

// The paper's claim for its search: of the ranges it tries, none gives a group a better product.
BOOST_AUTO_TEST_CASE(the_search_finds_the_best_range_of_every_group) {
  const at::Tensor w = random_matrix(8, 64, 31);
  const at::Tensor x = correlated_inputs(400, 64, 32);
  const auto whole = checkpoint::GroupRanges::of(w, 32);
  const auto chosen = checkpoint::search_ranges(w, 32, checkpoint::Zeros::any, checkpoint::InputStatistics::of(x).gram);
  const auto error_of = [&](const checkpoint::GroupRanges& ranges, std::int64_t row, std::int64_t group) {
    const at::Tensor rounded = checkpoint::round_to_groups(w, 32, checkpoint::Zeros::any, ranges).values();
    const auto part = [&](const at::Tensor& t) { return t.narrow(0, row, 1).narrow(1, 32 * group, 32); };
    return product_error(part(w), part(rounded), x.narrow(1, 32 * group, 32));
  };
  int shrunk = 0, apart = 0;
  for (std::int64_t row = 0; row < 8; ++row)
    for (std::int64_t group = 0; group < 2; ++group) {
      const double best = error_of(chosen, row, group);
      const auto share = [&](const at::Tensor& part, const at::Tensor& all) {
        return (part[row][group] / all[row][group]).item<float>();
      };
      const float low = share(chosen.low, whole.low), high = share(chosen.high, whole.high);
      shrunk += low < 0.99f && high < 0.99f ? 1 : 0;
      apart += std::abs(low - high) > 0.02f ? 1 : 0;
      for (int i = 0; i < 10; ++i)
        BOOST_TEST(best <= 1.0001 * error_of({whole.low * (1 - 0.05 * i), whole.high * (1 - 0.05 * i)}, row, group));
      for (const double step : {-0.04, 0.04}) {
        BOOST_TEST(best <= 1.0001 * error_of({chosen.low, chosen.high + whole.high * step}, row, group));
      }
    }
  BOOST_TEST(shrunk > 0);
  BOOST_TEST(apart > 0);
}

BOOST_AUTO_TEST_CASE(grids_hold_what_they_must) {
  using checkpoint::Int4Grid;
  using checkpoint::Zeros;
  for (const auto& [low, high] : {std::pair(-1.0f, 2.0f),
                                  {0.0f, 3.0f},
                                  {-3.0f, 0.0f},
                                  {0.5f, 3.0f},
                                  {-0.01f, 3.0f},
                                  {0.0f, 0.0f},
                                  {-1e-30f, 1e-30f},
                                  {-7.0f, 8.0f}})
    for (const auto zeros : {Zeros::middle, Zeros::any, Zeros::from_one}) {
      const auto grid = Int4Grid::over(low, high, zeros);
      BOOST_TEST(grid.scale > 0);
      BOOST_TEST(grid.scale == float32_from_float16(float16_from_float32(grid.scale)));
      BOOST_TEST(grid.zero == std::floor(grid.zero));
      BOOST_TEST(grid.zero >= (zeros == Zeros::from_one ? 1 : zeros == Zeros::middle ? 8 : 0));
      BOOST_TEST(grid.zero <= (zeros == Zeros::middle ? 8 : 15));
      for (const float v : {low, high, 0.0f}) BOOST_TEST(std::abs(grid.value(grid.code(v)) - v) <= 0.51f * grid.scale);
    }
}

BOOST_AUTO_TEST_CASE(few_rows_say_nothing_and_no_rows_neither) {
  BOOST_TEST(!checkpoint::InputStatistics::of(at::empty({0, 8}, at::kFloat)).known());
  BOOST_TEST(!checkpoint::InputStatistics::of(random_matrix(63, 8, 1)).known());
  BOOST_TEST(checkpoint::InputStatistics::of(random_matrix(64, 8, 1)).known());
}

// They say nothing of each other: their weights are rounded to nearest, and the others make up for one
// another.
BOOST_AUTO_TEST_CASE(inputs_that_are_always_zero_do_no_harm) {
  at::Tensor x = correlated_inputs(200, 64, 41);
  x.narrow(1, 10, 20).zero_();
  const at::Tensor w = random_matrix(16, 64, 42);
  const at::Tensor plain = checkpoint::gptq_quantise(w, 32, checkpoint::Zeros::any, false, {}).values();
  for (const bool order : {false, true}) {
    const auto codes =
        checkpoint::gptq_quantise(w, 32, checkpoint::Zeros::any, order, checkpoint::InputStatistics::of(x));
    BOOST_TEST(product_error(w, codes.values(), x) < product_error(w, plain, x));
    for (std::int64_t row = 0; row < 16; ++row)
      for (std::int64_t input = 10; input < 30; ++input) {
        const std::int64_t group = codes.group_of.const_data_ptr<int>()[input];
        const checkpoint::Int4Grid grid{
            codes.scales.const_data_ptr<float>()[2 * row + group],
            static_cast<float>(codes.zeros.const_data_ptr<std::uint8_t>()[2 * row + group])};
        BOOST_TEST(codes.codes.const_data_ptr<std::uint8_t>()[64 * row + input] ==
                   grid.code(w.const_data_ptr<float>()[64 * row + input]));
      }
  }
}

BOOST_AUTO_TEST_SUITE_END()
