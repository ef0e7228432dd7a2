// kernel/*.cuh: every kernel compiles for sm_80 and sm_90 without a GPU, in all three quantised formats, and
// those on the decode path keep everything in registers. Refusals name what does not fit.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <fpf/kernel/plan/attention.hpp>
#include <fpf/kernel/plan/ends.hpp>
#include <fpf/kernel/plan/experts.hpp>
#include <fpf/kernel/plan/linear.hpp>
#include <fpf/kernel/plan/repack.hpp>
#include <fpf/kernel/plan/synthetic.hpp>
#include <mutex>
#include <thread>
#include <utility>

#include "error_text.hpp"
#include "toolkit.hpp"

BOOST_AUTO_TEST_SUITE(test_kernel_compile)

using namespace fpf;
using namespace fpf::kernel;
namespace fs = std::filesystem;

namespace {

/// A decoder's dimensions.
struct Model {
  int hidden, heads, kv_heads, head_dim, vocabulary;
  bool head_norm;
  MoeShape mlp;
  bool qkv_bias = false;
};
constexpr Model qwen3_30b{2048, 32, 4, 128, 151936, true, {2048, 768, 128, 8}};
constexpr Model qwen2_half_b{896, 14, 2, 64, 151936, false, {896, 4864, 1, 1}, true};
constexpr Model smollm2{576, 9, 3, 64, 49152, false, {576, 1536, 1, 1}};

/// All the kernels that a decode step and loading need, eager and compiled.
std::vector<Plan> plans(const Model& m, const WeightFormat& format, DType dtype) {
  const AttentionShape attention{m.heads, m.kv_heads, m.head_dim, m.head_norm};
  const int q_size = m.heads * m.head_dim, qkv_size = q_size + 2 * m.kv_heads * m.head_dim;
  std::vector<Plan> all;
  const auto arithmetics =
      dtype == DType::float32 ? std::vector{Arithmetic::fma} : std::vector{Arithmetic::fma, Arithmetic::tensor_cores};
  for (const Arithmetic arithmetic : arithmetics) {
    for (const bool fused : {false, true}) {
      all.push_back(plan_gemv(format, dtype, qkv_size, m.hidden, {fused, false, m.qkv_bias}, arithmetic));
      all.push_back(plan_gemv(format, dtype, m.hidden, q_size, {false, fused}, arithmetic));
      if (m.mlp.experts > 1)
        all.push_back(plan_gemv(dense_format(), dtype, m.mlp.experts, m.hidden, {fused, false}, arithmetic));
      const MoeOptions options{fused && arithmetic == Arithmetic::tensor_cores && m.mlp.experts > 1, !fused,
                               arithmetic};
      all.push_back(plan_gate_up(format, dtype, m.mlp, options));
      for (const int rows : {2, 8}) {
        MoeOptions with_rows = options;
        with_rows.rows = rows;
        all.push_back(plan_down(format, dtype, m.mlp, with_rows));
      }
    }
  }
  all.push_back(plan_head(dense_format(), dtype, m.vocabulary, m.hidden, true, 132));
  for (const bool round : {false, true}) {
    all.push_back(plan_rms_norm(dtype, m.hidden, round));
    all.push_back(plan_rope_append(dtype, attention, round));
    if (m.mlp.experts > 1) all.push_back(plan_route(dtype, m.mlp.experts, m.mlp.top_k, true, round));
  }
  all.push_back(plan_attend(dtype, attention, false));
  all.push_back(plan_eager_scores(dtype, attention));
  all.push_back(plan_eager_softmax(dtype, attention));
  all.push_back(plan_eager_product(dtype, attention));
  if (dtype != DType::float32) all.push_back(plan_attend(dtype, attention, true));
  all.push_back(plan_combine(dtype, attention));
  all.push_back(plan_elementwise(true, dtype, m.mlp.intermediate));
  all.push_back(plan_elementwise(false, dtype, m.hidden));
  all.push_back(plan_embed(dtype, m.hidden));
  all.push_back(plan_log_prob_slices(dtype, m.vocabulary, 10));
  all.push_back(plan_log_probs(10));
  for (const auto kind :
       {weights::synthetic::Kind::codes, weights::synthetic::Kind::floats, weights::synthetic::Kind::ramp})
    all.push_back(plan_synthetic(kind, static_cast<weights::Format>(dtype), 1 << 20));
  if (format.kind != WeightFormat::Kind::dense) {
    const bool nf4 = format.kind == WeightFormat::Kind::nf4;
    for (const Layout layout : nf4 ? std::vector{Layout::bitsandbytes} : std::vector{Layout::awq, Layout::gptq}) {
      all.push_back(plan_repack_codes(layout, format, dtype, q_size, m.hidden));
      all.push_back(plan_repack_scales(layout, format, dtype, q_size, m.hidden));
    }
    all.push_back(plan_dequantise(format, dtype, q_size, m.hidden));
    all.push_back(plan_dequantise_stack(format, dtype, m.mlp.intermediate, m.hidden, m.mlp.experts));
  }
  return all;
}

/// What a block may have at most: CUDA's programming guide, compute capabilities 8.0 and 9.0.
unsigned shared_limit(int architecture) { return (architecture >= 90 ? 227 : 163) * 1024; }

/// Compiles on two threads every `step`th plan, from the `next`th; one line per kernel that spills.
void build_all(const std::vector<Plan>& all, int architecture,
               const std::shared_ptr<const Compiler>& toolkit = compiler(), std::size_t next = 0,
               std::size_t step = 1) {
  const Builder builder(toolkit, architecture, CubinCache(fs::current_path() / "cache"));
  std::mutex mutex;
  std::vector<std::string> faults;
  std::vector<KernelRecord> records(all.size());
  const auto work = [&] {
    for (;;) {
      std::unique_lock lock(mutex);
      if (next >= all.size()) return;
      KernelRecord& record = records[next];
      const Plan& plan = all[std::exchange(next, next + step)];
      lock.unlock();
      std::string fault;
      try {
        record = builder.build(plan.file, plan.expression).record;
        const KernelResources& needs = record.resources;
        const unsigned threads = plan.block.x * plan.block.y * plan.block.z;
        if (needs.registers == 0) fault = "no register count";
        if (const auto parameters = template_parameters(plan); parameters != plan.parameters)
          fault = fmt::format("the plan's arguments are of <{}>, the template is <{}>", plan.parameters, parameters);
        if (plan.hot && needs.stack_bytes != 0 && toolkit == compiler())
          fault = fmt::format("{} bytes of stack", needs.stack_bytes);
        if (threads > needs.max_threads) fault = fmt::format("{} threads, bounded to {}", threads, needs.max_threads);
        if (needs.registers * threads > 65536)
          fault = fmt::format("{} registers x {} threads", needs.registers, threads);
        if (needs.shared_bytes + plan.shared(plan.max_rows) > shared_limit(architecture))
          fault = fmt::format("{} bytes of shared memory", needs.shared_bytes + plan.shared(plan.max_rows));
      } catch (const Error& error) {
        fault = error.what();
      }
      lock.lock();
      if (!fault.empty())
        faults.push_back(
            fmt::format("CUDA {} sm_{} {}: {}", toolkit->version_name(), architecture, plan.expression, fault));
    }
  };
  std::thread second(work);
  work();
  second.join();
  write_code(records);
  BOOST_TEST(std::ranges::count_if(all, &Plan::hot) > static_cast<std::ptrdiff_t>(all.size() / 2));
  for (const auto& fault : faults) BOOST_ERROR(fault);
}

}  // namespace

BOOST_AUTO_TEST_CASE(awq_and_gptq_in_bfloat16) {
  for (const int architecture : {80, 90}) build_all(plans(qwen3_30b, int4_format(128), DType::bfloat16), architecture);
}

BOOST_AUTO_TEST_CASE(gptq_with_activation_order_in_float16) {
  for (const int architecture : {80, 90})
    build_all(plans(qwen3_30b, int4_format(128, DType::float16, true), DType::float16), architecture);
}

BOOST_AUTO_TEST_CASE(nf4_in_bfloat16) {
  for (const int architecture : {80, 90}) build_all(plans(qwen3_30b, nf4_format(), DType::bfloat16), architecture);
}

BOOST_AUTO_TEST_CASE(a_model_with_biases) { build_all(plans(qwen2_half_b, int4_format(128), DType::bfloat16), 90); }

BOOST_AUTO_TEST_CASE(a_residual_and_a_bias_are_one_addend_too_many) {
  const Fusion both{.add = true, .bias = true};
  BOOST_CHECK_THROW(plan_gemv(dense_format(), DType::bfloat16, 64, 128, both, Arithmetic::fma), std::logic_error);
}

// Experiment 6 generates the same kernels by other toolkits. What these spill is theirs (11.8: 8 to 24 bytes of three
// gemv_rows), as is all of their machine code.
BOOST_AUTO_TEST_CASE(older_toolkits) {
  const std::size_t step = step_of_older_toolkits();
  std::size_t sets = 0;
  for (const std::string version : {"11.8", "12.1"}) {
    const auto toolkit = compiler(version);
    BOOST_TEST(toolkit->version_name() == version);
    for (const int architecture : {80, 90})
      for (const auto& all : {plans(qwen3_30b, int4_format(128), DType::bfloat16),
                              plans(qwen3_30b, int4_format(128, DType::float16, true), DType::float16),
                              plans(qwen3_30b, nf4_format(), DType::bfloat16)})
        build_all(all, architecture, toolkit, sets++ % step, step);
  }
}

BOOST_AUTO_TEST_CASE(every_group_size) {
  std::vector<Plan> all;
  for (const int group : {32, 64, 128, 0})
    for (const Arithmetic arithmetic : {Arithmetic::fma, Arithmetic::tensor_cores})
      all.push_back(plan_gemv(int4_format(group), DType::float16, 2048, 2048, {}, arithmetic));
  build_all(all, 90);
}

BOOST_AUTO_TEST_CASE(a_dense_model_in_every_type) {
  for (const DType dtype : {DType::bfloat16, DType::float16, DType::float32})
    build_all(plans(smollm2, dense_format(), dtype), dtype == DType::bfloat16 ? 80 : 90);
  build_all({plan_attend(DType::float32, {32, 4, 128, true}, false), plan_combine(DType::float32, {32, 4, 128, true})},
            90);
  build_all(plans(smollm2, int4_format(64), DType::float32), 90);
  build_all(plans(smollm2, nf4_format(), DType::float32), 90);
}

BOOST_AUTO_TEST_CASE(shapes_without_a_kernel_are_refused_by_name) {
  const auto refused = [](const auto& action, std::string_view part) {
    const std::string message = error_text(action);
    BOOST_TEST(mentions(message, {std::string(part)}), message);
  };
  const auto tensor_cores = Arithmetic::tensor_cores;
  refused([&] { plan_gemv(int4_format(128), DType::bfloat16, 64, 100, {}, tensor_cores); }, "100 columns");
  refused([&] { plan_gemv(int4_format(48), DType::bfloat16, 64, 96, {}, tensor_cores); }, "groups of 48");
  refused([&] { plan_gemv(nf4_format(), DType::bfloat16, 64, 96, {}, tensor_cores); }, "multiple of 64");
  refused([&] { plan_gemv(dense_format(), DType::bfloat16, 64, 100, {}, tensor_cores); }, "multiple of 8");
  refused([&] { plan_gemv(dense_format(), DType::bfloat16, 8, 128, {}, tensor_cores); }, "8 output features");
  refused([&] { plan_gemv(dense_format(), DType::float32, 64, 128, {}, tensor_cores); }, "float32");
  refused([&] { plan_gemv(dense_format(), DType::int8, 64, 128, {}, tensor_cores); }, "int8");
  refused([&] { plan_gate_up(dense_format(), DType::float32, smollm2.mlp, {}); }, "not float32");
  refused([&] { plan_down(nf4_format(), DType::float32, smollm2.mlp, {}); }, "not float32");
  refused([&] { plan_attend(DType::bfloat16, {32, 2, 128, true}, false); }, "32 query heads on 2");
  refused([&] { plan_attend(DType::bfloat16, {32, 4, 80, true}, false); }, "80 dimensions");
  refused([&] { plan_attend(DType::float32, {32, 4, 128, true}, true); }, "float32");
  refused([&] { plan_route(DType::bfloat16, 64, 65, true, true); }, "65 of 64");
  refused([&] { plan_repack_codes(Layout::awq, int4_format(128), DType::bfloat16, 12, 128); }, "12 output features");
  refused([&] { plan_log_prob_slices(DType::bfloat16, 1000, 20); }, "20 best");
}

BOOST_AUTO_TEST_CASE(packed_sizes_are_one_to_one) {
  // Codes half a byte, a 16-bit scale and a 4-bit zero per 128 columns: what the checkpoint has, and rounding
  // to 16 bytes.
  BOOST_TEST(int4_format(128).bytes(5120, 2048, DType::bfloat16) == 5120u * (1024 + 16 * 2 + 8));
  BOOST_TEST(nf4_format().bytes(5120, 2048, DType::bfloat16) == 5120u * (1024 + 32 * 4) + 64);
  BOOST_TEST(dense_format().bytes(128, 2048, DType::bfloat16) == 128u * 2048 * 2);
}

BOOST_AUTO_TEST_SUITE_END()
