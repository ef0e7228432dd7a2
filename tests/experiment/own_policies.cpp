// Policies of a user's own, those that derive from fpf's among them: a CPU calls what they override, a GPU refuses what
// it would not carry out, and the manifest never takes a base's word for them.
#include <boost/test/unit_test.hpp>
#include <fpf/engine/numerics.hpp>
#include <fpf/execution/names.hpp>
#include <fpf/experiment.hpp>
#include <fpf/experiment/repeat.hpp>
#include <fpf/verify/setup.hpp>

#include "compiled.hpp"
#include "error_text.hpp"

BOOST_AUTO_TEST_SUITE(test_own_policies)

using namespace fpf;

namespace {

/// One word of eager execution overridden.
struct HalvedGate : execution::Eager {
  static constexpr std::string_view name = "halved_gate";
  static at::Tensor silu_mul(const at::Tensor& gate, const at::Tensor& up) {
    return execution::Eager::silu_mul(gate.mul(0.5), up);
  }
};

/// One that claims a GPU's kernels for itself, and one that inherits its claim.
struct Claims : execution::Compiled {
  static constexpr std::string_view name = "claims";
  static constexpr Stated<Claims, bool> runs_on_gpu{true};
};
struct Inherits : Claims {
  static constexpr std::string_view name = "inherits";
};
struct Disclaims : Claims {
  static constexpr std::string_view name = "disclaims";
  static constexpr Stated<Disclaims, bool> runs_on_gpu{false};
};

struct DoubledScale : attention::Eager {
  static constexpr std::string_view name = "doubled_scale";
  static at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale) {
    return attention::Eager::attend(q, k, v, 2 * scale);
  }
};
struct ClaimsDecode : attention::Flash {
  static constexpr std::string_view name = "claims_decode";
  static constexpr Stated<ClaimsDecode, kernel::AttentionForm> decode_form{kernel::AttentionForm::split};
};

/// A load that goes with no run before its `late`th, and with a little more of each.
struct LateLoad {
  static constexpr std::string_view name = "late_load";
  static constexpr bool contends = true;
  int late = 0, runs = 0;

  static void start() {}
  nlohmann::ordered_json stop(const std::vector<stream::Span>&) {
    const bool went = runs++ >= late;
    return {{"overlap_fraction", went ? 1.0 : 0.1 * runs}, {"accompanied", went}};
  }
};

struct PortableChild : execution::Portable {
  static constexpr std::string_view name = "child";
};

/// Of a dense checkpoint, products of weights that it rounds itself.
struct Coarse : quant::None {
  static constexpr std::string_view name = "coarse";
  static at::Tensor linear(const at::Tensor& x, const Weight& weight) {
    return quant::None::linear(x, {weight.matrix.mul(4).round().div(4), {}});
  }
};
struct OtherAwq : quant::Awq {
  static constexpr std::string_view name = "other_awq";
};

template <class Quant, class Attention, class Execution>
std::string on(c10::DeviceType device) {
  return error_text([&] {
    engine::require_carried_out(
        {quant::scheme<Quant>(), attention::kernel<Attention>(), execution::policy<Execution>()}, device);
  });
}

const model::Checkpoint& checkpoint() {
  static const auto opened = model::Checkpoint::open(FPF_FIXTURES "/parity/llama_tied");
  return opened;
}

template <class Quant, class Attention, class Execution>
std::unique_ptr<engine::Decoder> make(at::Device device) {
  return engine::make_decoder<Quant, Attention, Execution>(checkpoint(), parallel::Rank::alone(checkpoint().config()),
                                                           at::kFloat, device);
}

at::Tensor logits_of(engine::Decoder& decoder) {
  const at::Tensor tokens = at::arange(1, 9).unsqueeze(0);
  auto cache = decoder.make_cache(1, 8);
  return decoder.forward(tokens, cache, 8, nullptr);
}

std::string operation(const engine::Decoder& decoder, const std::string& name) {
  for (const auto& [operation, by] : decoder.operations())
    if (operation == name) return by;
  return "none";
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_gpu_refuses_what_it_would_not_carry_out) {
  using attention::Flash;
  using execution::Compiled, execution::Eager, execution::Portable;
  using quant::None;
  constexpr auto gpu = c10::DeviceType::CUDA, cpu = c10::DeviceType::CPU;
  BOOST_TEST((on<None, Flash, Eager>(gpu) == "no error"));
  BOOST_TEST((on<quant::Awq, attention::Eager, Compiled>(gpu) == "no error"));
  BOOST_TEST((on<quant::Gptq, Flash, Portable>(gpu) == "no error"));
  BOOST_TEST((on<quant::Nf4, ClaimsDecode, Claims>(gpu) == "no error"));
  for (const auto& [text, name] : {std::pair{on<None, Flash, HalvedGate>(gpu), "'halved_gate'"},
                                   {on<None, Flash, Inherits>(gpu), "'inherits'"},
                                   {on<None, Flash, Disclaims>(gpu), "'disclaims'"}})
    BOOST_TEST(mentions(text, {"execution", name, "--device cpu", "runs_on_gpu"}), text);
  const auto attends = on<None, DoubledScale, Eager>(gpu);
  BOOST_TEST(mentions(attends, {"attention 'doubled_scale'", "--device cpu", "decode_form"}), attends);
  const auto quantises = on<OtherAwq, Flash, Eager>(gpu);
  BOOST_TEST(mentions(quantises, {"quantisation 'other_awq'", "--device cpu", "dequantises"}), quantises);
  BOOST_TEST((on<OtherAwq, DoubledScale, HalvedGate>(cpu) == "no error"));
}

// Before anything is loaded, for prefill and decode alike; there need be no GPU.
BOOST_AUTO_TEST_CASE(a_decoder_on_a_gpu_refuses_them_when_it_is_made) {
  const at::Device gpu(at::kCUDA, 0);
  const auto words = error_text([&] { make<quant::None, attention::Flash, HalvedGate>(gpu); });
  BOOST_TEST(mentions(words, {"execution 'halved_gate'", "not carried out on a GPU"}), words);
  const auto attends = error_text([&] { make<quant::None, DoubledScale, execution::Eager>(gpu); });
  BOOST_TEST(mentions(attends, {"attention 'doubled_scale'", "not carried out on a GPU"}), attends);
  const auto products = error_text([&] { make<Coarse, attention::Flash, execution::Eager>(gpu); });
  BOOST_TEST(mentions(products, {"quantisation 'coarse'", "not carried out on a GPU"}), products);
}

// Integers of models of 16 bits have no kernels yet, and nothing else computes in their name.
BOOST_AUTO_TEST_CASE(portable_models_of_16_bits_are_refused_on_a_gpu_by_name) {
  for (const at::ScalarType dtype : {at::kBFloat16, at::kHalf}) {
    const auto refused = error_text([&] {
      engine::make_decoder<quant::None, attention::Flash, execution::Portable>(
          checkpoint(), parallel::Rank::alone(checkpoint().config()), dtype, at::Device(at::kCUDA, 0));
    });
    BOOST_TEST(mentions(refused, {"--execution portable", "16 bits", "--device cpu", "--dtype float32"}), refused);
  }
}

BOOST_AUTO_TEST_CASE(a_cpu_calls_what_they_override_and_the_manifest_names_them) {
  const auto plain = make<quant::None, attention::Eager, execution::Eager>(at::kCPU);
  const at::Tensor logits = logits_of(*plain);
  const auto gate = make<quant::None, attention::Eager, HalvedGate>(at::kCPU);
  BOOST_TEST(!logits_of(*gate).allclose(logits));
  BOOST_TEST(operation(*gate, "silu_mul") == "execution 'halved_gate'");
  BOOST_TEST(operation(*gate, "norm") == "execution 'halved_gate'");  // which of the words are its own nobody says
  BOOST_TEST(operation(*plain, "norm") == "libtorch add, pow, mean, rsqrt, mul");

  const auto scale = make<quant::None, DoubledScale, execution::Eager>(at::kCPU);
  BOOST_TEST(!logits_of(*scale).allclose(logits));
  BOOST_TEST(operation(*scale, "attention") == "doubled_scale");

  const auto coarse = make<Coarse, attention::Eager, execution::Eager>(at::kCPU);
  BOOST_TEST(!logits_of(*coarse).allclose(logits));
  BOOST_TEST(operation(*coarse, "qkv") == "quantisation 'coarse'");
  BOOST_TEST(operation(*plain, "qkv") == "libtorch linear");

  RunSettings settings;
  settings.layers = {0};
  settings.decode_steps = 1;
  const auto manifest =
      Experiment<quant::None, attention::Flash, parallel::Single, stream::Exclusive, Claims>(checkpoint(), settings)
          .manifest();
  BOOST_TEST(manifest.at("policies").at("execution") == "claims");
  BOOST_TEST(!manifest.at("policies").contains("execution_detail"));  // Compiled's description is not its own
}

// A repetition that the load did not go with shows nothing: it is made again, but not for ever.
BOOST_AUTO_TEST_CASE(a_repetition_is_made_again_until_its_load_goes_with_it) {
  using Setup = Experiment<quant::None, attention::Flash, parallel::Single, LateLoad, execution::Eager>;
  RunSettings settings;
  settings.layers = {0};
  settings.decode_steps = 2;
  settings.top_k = 3;
  const auto made = [&](int late, int& told) {
    Setup setup(checkpoint(), settings, LateLoad{late});
    RunProgress progress("test", 1, settings.decode_steps, 0, Verbosity::quiet);
    std::vector<Repetition> out;
    append_repetition(out, setup, {{1, 2, 3}}, {}, progress, [&](const std::string&) { ++told; });
    return out;
  };
  for (const auto& [late, attempts, accompanied, share] :
       {std::tuple{0, 1, true, 1.0}, {2, 3, true, 1.0}, {4, 5, true, 1.0}, {5, 5, false, 0.5}, {1000, 5, false, 0.5}}) {
    int told = 0;
    const auto found = made(late, told);
    BOOST_REQUIRE(found.size() == 1u);
    BOOST_TEST(found[0].contention.at("attempts") == attempts);
    BOOST_TEST(found[0].accompanied() == accompanied);
    BOOST_TEST(found[0].contention.at("overlap_fraction") == share);
    BOOST_TEST(told == attempts - 1);
  }
}

// A checkpoint's tensor that is loaded and that an engine leaves out would be results of another model.
BOOST_AUTO_TEST_CASE(an_engine_is_refused_what_it_does_not_carry_out) {
  model::ModelConfig config;
  config.architecture = "Qwen3ForCausalLM";
  config.block = {.qk_norm = true};
  engine::require_carried_out(config, {.qk_norm = true}, "an engine");
  BOOST_TEST(error_text([&] { engine::require_carried_out(config, {.experts = true}, "an engine"); }) ==
             "Qwen3ForCausalLM has norms of q and k per head, which an engine does not carry out");
  for (const auto& [words, flag] : model::block_flags)
    for (const model::Block& carries : {engine::LibraryDecoder::carries, engine::DecodeStep::carries,
                                        engine::PortableCpuDecoder::carries, engine::PortableGpuDecoder::carries})
      BOOST_TEST((carries.*flag), words);
}

// A policy that is Portable's child has words, or it is none: it is not the portable decoder under another name.
BOOST_AUTO_TEST_CASE(only_portable_is_portable) {
  BOOST_TEST(execution::is_portable<execution::Portable>());
  BOOST_TEST(!execution::is_portable<PortableChild>());
  BOOST_TEST(!execution::Execution<PortableChild>);
}

// What --execution takes is what the registry has, by the policies' own names.
BOOST_AUTO_TEST_CASE(executions_have_their_names_from_one_place) {
  std::vector<std::string_view> registered;
  for (const execution::Policy* one : registry().executions) registered.push_back(one->name);
  BOOST_TEST(registered == std::vector(execution::names::all.begin(), execution::names::all.end()),
             boost::test_tools::per_element());
  for (const std::string_view name : execution::names::all) execution::names::require(name);
  BOOST_TEST(error_text([] { execution::names::require("turbo"); }) ==
             "--execution turbo: expected eager, compiled or portable");
  BOOST_TEST(error_text([] { reference_setup("turbo"); }) ==
             "--execution 'turbo': expected one of eager, compiled, portable");
}

// Who reads evidence typed no option: what is unknown is named by its field.
BOOST_AUTO_TEST_CASE(verify_names_the_field_of_a_policy_that_is_unknown) {
  for (const char* field : {"execution", "attention", "parallelism"}) {
    nlohmann::json policies = {{"attention", "eager"}, {"parallelism", "single"}, {"execution", "eager"}};
    policies[field] = "turbo";
    const nlohmann::json configuration = {{"manifest", {{"policies", policies}}}};
    verify::Claim claim;
    claim.configuration = &configuration;
    const std::string refused = error_text([&] { verify::setup_of(claim); });
    BOOST_TEST(refused.starts_with(fmt::format("manifest.policies.{} 'turbo': expected one of ", field)), refused);
  }
}

BOOST_AUTO_TEST_CASE(verify_finds_a_policy_that_a_project_registers) {
  const nlohmann::json policies = {{"quantisation", "none"},
                                   {"attention", DoubledScale::name},
                                   {"parallelism", "single"},
                                   {"stream", "exclusive"},
                                   {"execution", "eager"}};
  const nlohmann::json configuration = {{"manifest", {{"policies", policies}}}};
  verify::Claim claim;
  claim.configuration = &configuration;
  const std::string refused = error_text([&] { verify::setup_of(claim); });
  BOOST_TEST(refused == "manifest.policies.attention 'doubled_scale': expected one of flash_attention_2, eager");
  registry().attentions.push_back(&attention::kernel<DoubledScale>());
  const RunSettings settings{
      .layers = {0}, .top_k = 3, .decode_steps = 2, .dtype = DType::float32, .device = "cpu", .ranks = {}};
  Session found(checkpoint(), settings, verify::setup_of(claim));
  Experiment<quant::None, DoubledScale> own(checkpoint(), settings);
  Experiment<> reference(checkpoint(), settings);
  registry().attentions.pop_back();
  const nlohmann::json manifest = nlohmann::json::parse(found.manifest().dump());  // in the same order
  BOOST_TEST(manifest.at("policies") == policies);
  const std::vector<std::vector<std::int32_t>> prompt{{1, 2, 3, 4, 5}};
  const auto signals = found.run(prompt).signals;
  BOOST_TEST(!evidence::first_difference(signals, own.run(prompt).signals));
  BOOST_TEST(evidence::first_difference(signals, reference.run(prompt).signals).has_value());
}

BOOST_AUTO_TEST_SUITE_END()
