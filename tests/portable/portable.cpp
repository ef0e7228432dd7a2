// execution::Portable on the CPU: the definition's functions against long double, its whole runs against the same
// definition in plain C++ (portable_model.hpp), and a change of one bit, one position or one operation showing. That
// nothing else changes a bit: portable_formats.cpp.
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>

#include "portable_model.hpp"
#include "portable_runs.hpp"

BOOST_AUTO_TEST_SUITE(test_portable)

using namespace fpf;
namespace data = boost::unit_test::data;

namespace {

const std::vector<std::string> formats{"none", "awq", "gptq", "nf4"};

model::Checkpoint tiny(const std::string& format) {
  return model::Checkpoint::open("synthetic:qwen3-moe-tiny?seed=1&quant=" + format);
}

/// Units in the last place of float32 between `found` and `wanted`.
double ulps(float found, long double wanted) {
  int e = 0;
  std::frexp(wanted, &e);
  return static_cast<double>(std::abs(found - wanted) / std::ldexp(1.0L, std::max(e - 24, -149)));
}

/// The worst over every `stride`-th float32 of [from, to], both of one sign.
template <class Found, class Wanted>
double worst(float from, float to, std::uint32_t stride, Found found, Wanted wanted) {
  double out = 0;
  const auto end = std::bit_cast<std::uint32_t>(to);
  for (auto bits = std::bit_cast<std::uint32_t>(from); bits <= end; bits += stride) {
    const auto x = std::bit_cast<float>(bits);
    out = std::max(out, ulps(found(x), wanted(static_cast<double>(x))));
  }
  return out;
}

/// A source with one bit of one tensor flipped.
class Flipped : public weights::TensorSource {
 public:
  Flipped(const weights::TensorSource& from, std::string name, std::size_t byte)
      : from_(from), name_(std::move(name)), byte_(byte) {
    for (const auto& tensor : from.names()) {
      weights::StoredTensor stored = from.at(tensor);
      stored.data = {};
      add(std::move(stored));
    }
  }
  void read(const weights::StoredTensor& tensor, std::size_t first, std::span<std::byte> out) const override {
    from_.read(from_.at(tensor.name), first, out);
    if (tensor.name == name_ && first <= byte_ && byte_ < first + out.size()) out[byte_ - first] ^= std::byte{1};
  }

 private:
  const weights::TensorSource& from_;
  std::string name_;
  std::size_t byte_;
};

evidence::Digests slow_digests(const model::Checkpoint& checkpoint, DType dtype, int prompt, int steps,
                               const slow::Mutation& mutation = {}) {
  return slow::digests(checkpoint, dtype,
                       some_ids(prompt, 7, static_cast<std::int32_t>(checkpoint.config().vocab_size)), steps, mutation);
}

evidence::Digests digests(const model::Checkpoint& checkpoint, DType dtype, int prompt, int steps) {
  const auto decoder = portable_decoder(checkpoint, dtype);
  return evidence::digests_of(
      portable_run(*decoder, all_layers(checkpoint, dtype, steps),
                   {some_ids(prompt, 7, static_cast<std::int32_t>(checkpoint.config().vocab_size))}));
}

}  // namespace

// PORTABLE.md states these bounds; over all float32 of the ranges they are 1.0104 (exp), 1.0951 (log) and 2.4031
// (silu).
BOOST_AUTO_TEST_CASE(functions_are_as_near_as_stated) {
  const auto exp = [](float x) { return portable::exp(x); };
  const auto true_exp = [](double x) { return std::exp(x); };
  BOOST_TEST(worst(1e-8f, 88.7f, 997, exp, true_exp) < 1.02);
  BOOST_TEST(worst(-1e-8f, -87.3f, 997, exp, true_exp) < 1.02);
  const auto log = [](float x) { return portable::log(x); };
  const auto true_log = [](double x) { return std::log(x); };
  BOOST_TEST(worst(1.0000001f, 1e30f, 997, log, true_log) < 1.1);
  BOOST_TEST(worst(1e-30f, 0.9999999f, 997, log, true_log) < 1.1);
  const auto silu = [](float x) { return portable::silu(x); };
  const auto true_silu = [](double x) { return x / (1 + std::exp(-x)); };
  BOOST_TEST(worst(1e-20f, 1e20f, 1499, silu, true_silu) < 2.5);
  BOOST_TEST(worst(-1e-20f, -87.0f, 1499, silu, true_silu) < 2.5);
  BOOST_TEST(portable::exp(0.0f) == 1.0f);
  BOOST_TEST(portable::exp(-INFINITY) == 0.0f);
  BOOST_TEST(portable::exp(INFINITY) == INFINITY);
  BOOST_TEST(std::isnan(portable::exp(NAN)));
  BOOST_TEST(portable::log(1.0f) == 0.0f);
  BOOST_TEST(std::signbit(portable::silu(-200.0f)));
}

BOOST_AUTO_TEST_CASE(rope_is_rounded_from_the_exact_angle) {
  for (const std::int64_t begin : {0, 6000, 131000}) {
    constexpr std::int64_t count = 40, d = 128;
    const portable::RopeTable table(begin, count, portable::inverse_frequencies(d, 1e6));
    double worst_cos = 0;
    for (std::int64_t p = 0; p < count; ++p)
      for (std::int64_t i = 0; i < d / 2; ++i) {
        const long double angle =
            static_cast<long double>(begin + p) / std::pow(1e6L, 2.0L * static_cast<long double>(i) / d);
        const auto at = static_cast<std::size_t>(p * d / 2 + i);
        worst_cos = std::max({worst_cos, static_cast<double>(std::abs(table.cos[at] - std::cos(angle))),
                              static_cast<double>(std::abs(table.sin[at] - std::sin(angle)))});
      }
    BOOST_TEST(worst_cos < 3.0e-8 + 1e-10);  // half a unit in the last place below 1, and the stated error
  }
}

// Positions past one and two blocks of 64; untied and tied heads; heads of other widths; weights of the router that
// are not renormalised.
BOOST_DATA_TEST_CASE(of_every_architecture,
                     data::make({"llama_tied", "llama_untied", "qwen2_tied", "qwen2_untied", "qwen3_untied",
                                 "qwen3_tied", "qwen3_moe_renormalised", "qwen3_moe_raw"}),
                     name) {
  const auto checkpoint = model::Checkpoint::open(FPF_FIXTURES "/parity/" + std::string(name));
  for (const DType dtype : {DType::float32, DType::float16})
    BOOST_TEST((digests(checkpoint, dtype, 130, 3) == slow_digests(checkpoint, dtype, 130, 3)));
}

BOOST_DATA_TEST_CASE(biases_beside_weights_of_every_format, data::make(formats), format) {
  const auto checkpoint = model::Checkpoint::open("synthetic:qwen2-tiny?seed=1&quant=" + format);
  const evidence::Digests whole = digests(checkpoint, DType::bfloat16, 9, 3);
  BOOST_TEST((whole == slow_digests(checkpoint, DType::bfloat16, 9, 3)));
  const auto flipped =
      checkpoint.with_source(std::make_unique<Flipped>(checkpoint.source(), "model.layers.3.self_attn.v_proj.bias", 1));
  BOOST_TEST(digests(flipped, DType::bfloat16, 9, 3).combined() != whole.combined());
}

BOOST_AUTO_TEST_CASE(changes_show) {
  const auto checkpoint = tiny("awq");
  const evidence::Digests whole = digests(checkpoint, DType::bfloat16, 9, 3);
  const auto flipped = checkpoint.with_source(
      std::make_unique<Flipped>(checkpoint.source(), "model.layers.3.mlp.experts.5.down_proj.qweight", 4321));
  BOOST_TEST(digests(flipped, DType::bfloat16, 9, 3).combined() != whole.combined());
  const auto in_attention = checkpoint.with_source(
      std::make_unique<Flipped>(checkpoint.source(), "model.layers.0.self_attn.q_proj.qweight", 0));
  BOOST_TEST(digests(in_attention, DType::bfloat16, 9, 3)[evidence::StoredSignal::hidden_states] !=
             whole[evidence::StoredSignal::hidden_states]);
  slow::Mutation moved, separate;
  moved.moved_position = 4;
  separate.separate_rope = true;
  const auto with = [&](const slow::Mutation& mutation) {
    return slow_digests(checkpoint, DType::bfloat16, 9, 3, mutation);
  };
  BOOST_TEST(with(moved)[evidence::StoredSignal::hidden_states] != whole[evidence::StoredSignal::hidden_states]);
  // One unit in the last place of an angle's product: what integers of 16 bits round away, float32 shows.
  BOOST_TEST(slow_digests(checkpoint, DType::float32, 9, 3, separate).combined() !=
             slow_digests(checkpoint, DType::float32, 9, 3).combined());
}

// A head that a checkpoint quantises is a matrix of its values, rounded to the model's dtype, and chains.
BOOST_DATA_TEST_CASE(heads_are_of_their_values, data::make({"awq", "gptq", "nf4"}), format) {
  const auto checkpoint = tiny(format);
  const std::string layer = "model.layers.0.self_attn.q_proj";
  const std::int64_t out = checkpoint.config().q_size(), in = checkpoint.config().hidden_size;
  const quant::Loader loader{checkpoint.source(), checkpoint.config().quantization, at::kBFloat16, at::kCPU};
  quant::select(checkpoint.config().quantization, [&]<class Quant>() {
    const model::Linear linear(loader, quant::scheme<Quant>(), quant::LinearSpec::whole(layer, out, in));
    const at::Tensor values = linear.dequantise(at::kBFloat16).to(at::kFloat);
    std::vector<float> x;
    for (std::int64_t k = 0; k < in; ++k) x.push_back(std::sin(0.7f * static_cast<float>(k)));
    const at::Tensor found = engine::PortableLinear::of_values(linear, at::kBFloat16)(portable::Inputs(x.data(), 1, in));
    for (std::int64_t row = 0; row < out; ++row) {
      const float* const w = values.const_data_ptr<float>() + row * in;
      const float wanted = slow::reduce(static_cast<int>(in), [&](int k, float sum) {
        return std::fma(x[static_cast<std::size_t>(k)], w[k], sum);
      });
      BOOST_TEST(found.const_data_ptr<float>()[row] == wanted);
    }
  });
}

BOOST_AUTO_TEST_CASE(heads_of_more_dimensions_than_the_bounds_hold_for) {
  auto config = nlohmann::json::parse(std::ifstream(FPF_FIXTURES "/qwen3_heads_of_96.json"));
  config["head_dim"] = 512;
  std::ofstream("heads_of_512.json") << config;
  const auto checkpoint = model::Checkpoint::open("synthetic:heads_of_512.json?seed=1");
  BOOST_CHECK_EXCEPTION(portable_decoder(checkpoint, DType::bfloat16), Error, [](const Error& error) {
    return std::string(error.what()).find("heads of 512 dimensions") != std::string::npos;
  });
  BOOST_CHECK_NO_THROW(portable_decoder(checkpoint, DType::float32));
}

BOOST_AUTO_TEST_CASE(loops_take_the_threads_that_they_may) {
  const int threads = at::get_num_threads();
  at::set_num_threads(3);
  std::array<int, 3> took{-1, -1, -1};
  at::parallel_for(0, 3, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) took[static_cast<std::size_t>(i)] = at::get_thread_num();
  });
  at::set_num_threads(threads);
  BOOST_TEST(took == (std::array<int, 3>{0, 1, 2}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()
