// kernel/: what happens between the kernels and the driver, on a driver that has no GPU (fake_cuda/): errors
// that say what is needed and what is there, and decode steps all of whose launches a GPU would accept.
#include <array>
#include <boost/test/unit_test.hpp>
#include <fpf/engine/decode_step.hpp>
#include <fpf/kernel/plan/synthetic.hpp>
#include <map>
#include <memory>

#include "error_text.hpp"
#include "fake_cuda/fake_cuda.hpp"
#include "toolkit.hpp"

BOOST_AUTO_TEST_SUITE(test_kernel_launch)

using namespace fpf;
using namespace fpf::kernel;
using engine::DecodeStep;
namespace fs = std::filesystem;

namespace {

CubinCache cache() { return CubinCache(fs::current_path() / "cache"); }

/// A GPU of that description for one test.
struct With {
  explicit With(FakeGpu gpu) { *fake_gpu() = gpu; }
  ~With() { *fake_gpu() = FakeGpu(); }
};

/// Device memory that lives as long as this does.
struct Memory {
  std::vector<cuda::DevicePointer> all;
  ~Memory() {
    for (const auto address : all) cuda::driver().mem_free(address);
  }
  void* operator()(std::size_t bytes) {
    all.push_back(cuda::driver().allocate(std::max<std::size_t>(bytes, 16)));
    return reinterpret_cast<void*>(all.back());
  }
};

/// A two-layer mixture of experts, of one format or one a layer.
StepConfig small_step(DType dtype, int rows, bool fused) {
  StepConfig config;
  config.dtype = dtype;
  config.hidden = 256;
  config.vocabulary = 1024;
  config.eps = 1e-6f;
  config.attention = {8, 2, 64, true};
  config.mlp = {256, 128, 8, 2};
  config.rows = rows;
  config.fused = fused;
  config.tapped = {1};
  return config;
}
ModelWeights small_model(const WeightFormat& first, const WeightFormat& second) {
  ModelWeights weights;
  for (const WeightFormat& format : {first, second}) {
    LayerWeights layer;
    layer.qkv = {nullptr, format, 768, 256};
    layer.o = {nullptr, format, 256, 512};
    layer.router = {nullptr, dense_format(), 8, 256};
    layer.gate_up = layer.down = format;
    weights.layers.push_back(layer);
  }
  weights.head = {nullptr, dense_format(), 1024, 256};
  return weights;
}

/// Launches of one step.
std::uint64_t launches_of_step(const WeightFormat& first, const WeightFormat& second, DType dtype, int rows,
                               bool fused) {
  Library library(0, compiler(), cache());
  Memory memory;
  const DecodeStep step(library, small_step(dtype, rows, fused), small_model(first, second),
                        [&](std::size_t bytes) { return memory(bytes); });
  const auto before = fake_gpu()->launches;
  step.enqueue(nullptr);
  return fake_gpu()->launches - before;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_driver_without_a_gpu_says_so) {
  std::string text;
  {
    FakeGpu none;
    none.init_result = 100;
    const With gpu(none);
    text = error_text([] { cuda::driver(); });
    BOOST_TEST(mentions(text, {"driver", "no CUDA-capable device"}), text);
  }
  {
    FakeGpu none;
    none.count = 0;
    const With gpu(none);
    text = error_text([] { cuda::driver(); });
    BOOST_TEST(mentions(text, {"finds no GPU"}), text);
  }
  BOOST_TEST(cuda::driver_available());  // and once there is one, it is found
  text = error_text([] { Library(3, compiler(), cache()); });
  BOOST_TEST(mentions(text, {"GPU 3", "finds 1"}), text);
}

BOOST_AUTO_TEST_CASE(old_gpus_and_old_drivers_are_refused_by_name) {
  FakeGpu turing;
  turing.compute_capability = 75;
  turing.name = "Fake T4";
  {
    const With gpu(turing);
    const auto text = error_text([] { Library(0, compiler(), cache()); });
    BOOST_TEST(mentions(text, {"Fake T4", "sm_75", "sm_80"}), text);
  }
  FakeGpu old_driver;
  old_driver.driver_version = 12040;
  const With gpu(old_driver);
  const auto text = error_text([] { Library(0, compiler(), cache()); });
  BOOST_TEST(mentions(text, {"driver supports CUDA 12.4", compiler()->version_name(), "newer driver"}), text);
}

BOOST_AUTO_TEST_CASE(too_little_memory_says_how_much_is_missing) {
  FakeGpu small;
  small.memory_bytes = 100 << 20;
  const With gpu(small);
  Memory memory;
  memory(60 << 20);
  const auto text = error_text([&] { memory(50 << 20); });
  BOOST_TEST(mentions(text, {"40 MB of its 100 MB", "50 MB"}), text);
}

BOOST_AUTO_TEST_CASE(too_little_shared_memory_names_kernel_and_gpu) {
  FakeGpu ada;
  ada.compute_capability = 89;
  ada.shared_bytes = 99 * 1024;
  ada.name = "Fake L4";
  const With gpu(ada);
  Library library(0, compiler(), cache());
  const auto text = error_text([&] { Operation(library, plan_attend(DType::bfloat16, {32, 4, 128, true}, true)); });
  BOOST_TEST(mentions(text, {"attend<", "Fake L4", "sm_89", "101376"}), text);
}

BOOST_AUTO_TEST_CASE(a_kernel_gets_the_shared_memory_of_the_largest_plan_that_launches_it) {
  Library library(0, compiler(), cache());
  for (const int rows : {1, 4, 2}) {
    MoeOptions options;
    options.rows = rows;
    const auto plan = plan_down(int4_format(128), DType::bfloat16, {2048, 768, 128, 8}, options);
    BOOST_TEST(plan.shared(rows) > 48u * 1024);
    Operation(library, plan)(nullptr, MoeParams{}, rows);  // throws when the driver refuses
  }
  BOOST_TEST(library.records().size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_refused_launch_names_kernel_grid_block_and_shared_memory) {
  Library library(0, compiler(), cache());
  const auto plan = plan_rms_norm(DType::bfloat16, 2048, false);
  const Kernel kernel = library.get(plan.file, plan.expression);
  const auto refused = [&](const Launch& how, std::initializer_list<std::string> words) {
    std::string text;
    try {
      kernel.launch(how, NormParams{});
    } catch (const std::runtime_error& error) {
      text = error.what();
    }
    BOOST_TEST(mentions(text, words), text);
  };
  refused({{1, 70000, 1}, {256, 1, 1}, 0}, {"rms_norm<", "1 x 70000 x 1", "256 x 1 x 1", "invalid argument"});
  refused({{1, 1, 1}, {512, 1, 1}, 0}, {"512 x 1 x 1", "at most 256"});
  refused({{1, 1, 1}, {256, 1, 1}, 50000, nullptr, true}, {"50000 bytes of dynamic shared memory"});
}

BOOST_AUTO_TEST_CASE(every_launch_of_a_step_is_one_that_a_gpu_takes) {
  // Separate: embedding; seven kernels and two norms a layer, and the choice of experts; norm, head and two
  // for the log-probabilities. Fused, one row: no norms, no rope, no choice apart.
  for (const int architecture : {80, 90}) {
    FakeGpu gpu;
    gpu.compute_capability = architecture;
    gpu.shared_bytes = (architecture == 80 ? 163 : 227) * 1024;
    const With one(gpu);
    for (const WeightFormat& format :
         {int4_format(32), int4_format(64, DType::float16, true), nf4_format(), dense_format()})
      for (const int rows : {1, 2, 8}) {
        const DType dtype = format.permuted ? DType::float16 : DType::bfloat16;
        BOOST_TEST(launches_of_step(format, format, dtype, rows, false) == 1u + 2 * 11u + 4u);
        BOOST_TEST(launches_of_step(format, format, dtype, rows, true) == 1u + 2 * (rows == 1 ? 7u : 8u) + 3u);
      }
  }
}

// Checkpoints leave layers out of their quantisation: each layer has kernels of its own format, and the names that go into
// the manifest say in which layers.
BOOST_AUTO_TEST_CASE(layers_of_two_formats_have_kernels_of_their_own) {
  const With gpu({});
  Library library(0, compiler(), cache());
  Memory memory;
  for (const bool fused : {false, true}) {
    BOOST_TEST(launches_of_step(int4_format(32), dense_format(), DType::bfloat16, 2, fused) ==
               launches_of_step(dense_format(), dense_format(), DType::bfloat16, 2, fused));
    const auto names = [&](const WeightFormat& first, const WeightFormat& second) {
      const DecodeStep step(library, small_step(DType::bfloat16, 1, fused), small_model(first, second),
                            [&](std::size_t bytes) { return memory(bytes); });
      const auto table = step.operations();
      return std::map<std::string, std::string>(table.begin(), table.end());
    };
    const auto quantised = names(int4_format(32), int4_format(32)), dense = names(dense_format(), dense_format());
    const auto mixed = names(int4_format(32), dense_format());
    BOOST_TEST(mixed.size() == dense.size());
    for (const auto& [operation, kernel] : mixed) {
      const std::string &first = quantised.at(operation), &second = dense.at(operation);
      BOOST_TEST(kernel == (first == second ? first : "layer 0: " + first + "; layer 1: " + second), operation);
    }
    for (const char* operation : {"qkv", "attention_output", "gate_up", "down"})
      BOOST_TEST(mentions(mixed.at(operation), {"layer 0: ", "Int4<", "layer 1: ", "Dense<"}), mixed.at(operation));
    BOOST_TEST(!mentions(mixed.at("router_logits"), {"layer"}));
  }
}

namespace {

std::vector<GemvParams>& products_seen() {
  static std::vector<GemvParams> seen;
  return seen;
}

}  // namespace

// q, k and v of a layer that has biases are another kernel, which adds one to every row before the sum is rounded.
BOOST_AUTO_TEST_CASE(a_step_adds_a_bias_to_every_row) {
  const With gpu({});
  Library library(0, compiler(), cache());
  Memory memory;
  static constexpr std::array<std::uint16_t, 768> bias{};
  for (const int rows : {1, 2})
    for (const bool fused : {false, true}) {
      ModelWeights weights = small_model(dense_format(), dense_format());
      weights.layers[1].qkv.bias = bias.data();
      const DecodeStep step(library, small_step(DType::bfloat16, rows, fused), weights,
                            [&](std::size_t bytes) { return memory(bytes); });
      const auto table = step.operations();
      const auto kernels = std::map<std::string, std::string>(table.begin(), table.end()).at("qkv");
      const std::string norm = fused ? "true" : "false";
      BOOST_TEST(mentions(kernels, {"layer 0: ", norm + ", false>; layer 1: ", norm + ", 2>"}), kernels);
      products_seen().clear();
      fake_gpu()->run = [](const char* symbol, const unsigned(&)[3], unsigned, unsigned, void** params) {
        const std::string name = symbol;
        if (name.find("4gemv") != std::string::npos || name.find("9gemv_rows") != std::string::npos)
          products_seen().push_back(*static_cast<const GemvParams*>(params[0]));
      };
      step.enqueue(nullptr);
      fake_gpu()->run = nullptr;
      std::vector<const void*> added;  // to q, k and v
      for (const GemvParams& p : products_seen()) {
        if (p.n == 768) added.push_back(p.residual);
        if (p.n == 256) BOOST_TEST((p.residual != nullptr) == fused);
      }
      BOOST_TEST((added == std::vector<const void*>{nullptr, bias.data()}));
    }
}

// Experiment 6: kernels of one source by two compilers, in one process.
BOOST_AUTO_TEST_CASE(two_toolkits_serve_one_gpu) {
  const With gpu({});
  Library newest(0, compiler(), cache()), older(0, compiler("11.8"), cache());
  const Plan plan = plan_rms_norm(DType::bfloat16, 256, true);
  const Operation first(newest, plan), second(older, plan);
  const KernelRecord a = newest.records().at(0), b = older.records().at(0);
  BOOST_TEST(a.nvrtc_version == "13.0");
  BOOST_TEST(b.nvrtc_version == "11.8");
  BOOST_TEST(a.source_sha256 == b.source_sha256);
  BOOST_TEST(a.cubin_sha256 != b.cubin_sha256);
  BOOST_TEST(b.resources.instructions > 0u);
}

BOOST_AUTO_TEST_SUITE_END()
