// kernel/portable/*.cuh: all compile for sm_80 and sm_90 without a GPU, for every format, and those of a decode step
// keep everything in registers; none holds an instruction that PORTABLE.md does not allow.
#include <boost/test/unit_test.hpp>
#include <fpf/kernel/host/builder.hpp>
#include <fpf/kernel/plan/portable_experts.hpp>

#include "error_text.hpp"
#include "toolkit.hpp"

BOOST_AUTO_TEST_SUITE(test_portable_kernels)

using namespace fpf;
using namespace fpf::kernel;
namespace fs = std::filesystem;

namespace {

struct Model {
  int vocabulary;
  AttentionShape attention;
  MoeShape mlp;  // dense: one expert
  bool qkv_bias = false;
};
const Model qwen3_30b{151936, {32, 4, 128, true}, {2048, 768, 128, 8}};
const Model qwen2_half_b{151936, {14, 2, 64, false}, {896, 4864, 1, 1}, true};
const Model smollm2{49152, {9, 3, 64, false}, {576, 1536, 1, 1}};

std::vector<Plan> plans(const Model& m, const WeightFormat& format, DType dtype) {
  const int q = m.attention.heads * m.attention.head_dim, qkv = q + 2 * m.attention.kv_heads * m.attention.head_dim;
  const int hidden = m.mlp.hidden;
  std::vector<Plan> all{plan_portable_embed(dtype, hidden, true),
                        plan_portable_embed(dtype, hidden, false),
                        plan_portable_norm(dtype, hidden),
                        plan_portable_gemv(format, dtype, qkv, hidden, {true, false, m.qkv_bias}),
                        plan_portable_gemv(format, dtype, hidden, q, {false, true}),
                        plan_portable_gemm(format, dtype, qkv, hidden, 512, {false, false, m.qkv_bias}),
                        plan_portable_gemm(format, dtype, hidden, q, 512, {false, true}),
                        plan_portable_rope(dtype, m.attention),
                        plan_portable_attend(dtype, m.attention, 97, false),
                        plan_portable_attend(dtype, m.attention, 97, true),
                        plan_portable_join(m.attention),
                        plan_portable_gemv(dense_format(), dtype, m.vocabulary, hidden, {true}),
                        plan_portable_gemm(dense_format(), dtype, m.vocabulary, hidden, 16, {}),
                        plan_portable_top_slices(m.vocabulary, 10),
                        plan_portable_exp_sums(m.vocabulary, 10),
                        plan_portable_log_probs(m.vocabulary, 10),
                        plan_portable_narrow(dtype, 1000),
                        plan_portable_silu_mul(1000)};
  if (m.mlp.experts > 1) all.push_back(plan_portable_route(m.mlp));
  all.push_back(plan_portable_gate_up(format, dtype, m.mlp));
  all.push_back(plan_portable_down(format, dtype, m.mlp));
  all.push_back(plan_portable_grouped(format, dtype, m.mlp.intermediate, hidden, 4096, m.mlp.experts));
  all.push_back(plan_portable_grouped(format, dtype, hidden, m.mlp.intermediate, 4096, m.mlp.experts));
  all.push_back(plan_portable_group(m.mlp.experts));
  all.push_back(plan_portable_experts_sum(dtype, m.mlp));
  return all;
}

/// Every `step`th plan, from the `next`th.
void build_all(const std::vector<Plan>& all, int architecture,
               const std::shared_ptr<const Compiler>& toolkit = compiler(), std::size_t next = 0,
               std::size_t step = 1) {
  const Builder builder(toolkit, architecture, CubinCache(fs::current_path() / "cache"));
  for (; next < all.size(); next += step) {
    const Plan& plan = all[next];
    const Binary binary = builder.build(plan.file, plan.expression);
    const KernelResources& needs = binary.record.resources;
    write_code({binary.record});
    BOOST_TEST_CONTEXT(plan.expression << " sm_" << architecture) {
      BOOST_TEST_MESSAGE(plan.expression << " sm_" << architecture << ": " << needs.registers << " registers, "
                                         << needs.stack_bytes << " stack, " << needs.shared_bytes << " shared");
      BOOST_TEST(mentions(binary.record.options, {"--fmad=false"}));
      BOOST_TEST(plan.parameters == template_parameters(plan));
      BOOST_TEST(needs.registers * plan.block.x <= 65536u);
      BOOST_TEST(plan.block.x <= needs.max_threads);
      if (plan.hot && toolkit == compiler()) BOOST_TEST(needs.stack_bytes == 0u);
      BOOST_TEST(needs.shared_bytes + plan.shared(8) <= (architecture >= 90 ? 227u : 163u) * 1024);
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_format) {
  for (const int architecture : {80, 90}) {
    build_all(plans(qwen3_30b, int4_format(128), DType::bfloat16), architecture);
    build_all(plans(qwen3_30b, nf4_format(), DType::bfloat16), architecture);
    build_all(plans(smollm2, dense_format(), DType::float32), architecture);
  }
  build_all(plans(qwen3_30b, int4_format(128, DType::float16, true), DType::float16), 90);
  build_all(plans(smollm2, int4_format(64, DType::float32), DType::float32), 90);
  build_all(plans(qwen2_half_b, int4_format(128), DType::bfloat16), 90);
  build_all(plans(smollm2, dense_format(), DType::bfloat16), 80);
}

// Experiment 6 makes them by other toolkits.
BOOST_AUTO_TEST_CASE(older_toolkits) {
  const std::size_t step = step_of_older_toolkits();
  std::size_t sets = 0;
  for (const std::string version : {"11.8", "12.1"}) {
    const auto toolkit = compiler(version);
    build_all(plans(qwen3_30b, int4_format(128), DType::bfloat16), 90, toolkit, sets++ % step, step);
    build_all(plans(smollm2, dense_format(), DType::float32), 80, toolkit, sets++ % step, step);
  }
}

BOOST_AUTO_TEST_SUITE_END()
