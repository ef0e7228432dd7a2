// kernel/portable/*.cuh against portable/*.hpp without a GPU: the kernels' own text, run on fibers (fibers.hpp), gives
// the bits that the CPU's vectors give. Few rows and many, all three weight formats.
#include <ATen/ops/empty_like.h>

#include <boost/test/unit_test.hpp>
#include <fpf/portable/attention.hpp>
#include <fpf/portable/route.hpp>

#include "emulated/portable/attention.cuh"
#include "emulated/portable/gemm.cuh"
#include "emulated/portable/head.cuh"
#include "emulated/portable/moe.cuh"
#include "emulated_matrices.hpp"

BOOST_AUTO_TEST_SUITE(test_portable_emulation)

using namespace fpf;
using namespace fpf::kernel;
using namespace emulated_matrices;

namespace {

/// Few rows through portable_gemv, many through portable_gemm; onto what is there, or a bias.
template <class Weight, int Add = 1>
void check_products(const Both& m, int n) {
  for (const int rows : {1, 3, 8, 9, 130}) {
    const std::vector<float> x = numbers(static_cast<std::size_t>(rows * Weight::K)),
                             bias = numbers(static_cast<std::size_t>(n));
    std::vector<float> out = numbers(static_cast<std::size_t>(rows * n)), wanted = by_panels(x, rows, m.panels);
    for (std::size_t i = 0; i < out.size(); ++i)
      wanted[i] = portable::add(Add == 2 ? bias[i % bias.size()] : out[i], wanted[i]);
    const PortableProduct params{m.packed.data(), x.data(), nullptr, 0, nullptr, out.data(), n, rows, bias.data()};
    if (rows <= 8) {
      constexpr int lanes = (blocks_in<Weight> + 31) / 32 * 32, groups = std::max(1, 128 / lanes);
      emulation::launch({static_cast<unsigned>((n + groups * 4 - 1) / (groups * 4)), 1, 1}, lanes * groups,
                        sizeof(PortableStage<Weight, groups * 4>),
                        [&] { portable_gemv<Weight, Bf16, lanes, groups, 4, false, Add>(params); });
    } else {
      emulation::launch({static_cast<unsigned>((n + 127) / 128), static_cast<unsigned>((rows + 127) / 128), 1}, 256,
                        portable_tile_bytes(Weight::K, Weight::permuted), [&] { portable_gemm<Weight, Add>(params); });
    }
    BOOST_TEST_CONTEXT(rows << " rows") { check_bits(out, wanted); }
  }
}

/// The same of rows that are normalised on the way, by fewer blocks than there are tiles.
template <class Weight>
void check_normalised_products(const Both& m, int n) {
  constexpr int k = Weight::K, lanes = (blocks_in<Weight> + 31) / 32 * 32, groups = std::max(1, 128 / lanes);
  std::vector<Bf16> weight;
  std::vector<float> wide;
  for (int i = 0; i < k; ++i) {
    weight.push_back(from_float<Bf16>(number()));
    wide.push_back(to_float(weight.back()));
  }
  for (const int rows : {1, 3}) {
    const std::vector<float> x = numbers(static_cast<std::size_t>(rows * k));
    std::vector<float> normed(x.size()), kept(x.size()), out(static_cast<std::size_t>(rows * n));
    for (int row = 0; row < rows; ++row)
      portable::loops().norm(x.data() + row * k, wide.data(), 1e-6f, k, normed.data() + row * k);
    const PortableProduct params{m.packed.data(), x.data(), weight.data(), 1e-6f, kept.data(), out.data(), n, rows};
    emulation::launch({2, 1, 1}, lanes * groups, sizeof(PortableStage<Weight, groups * 2>),
                      [&] { portable_gemv<Weight, Bf16, lanes, groups, 2, true, false>(params); });
    BOOST_TEST_CONTEXT(rows << " rows") {
      check_bits(kept, normed);
      check_bits(out, by_panels(normed, rows, m.panels));
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(int4_products) {
  check_products<Int4<Fp16, 128, 256, false>>(int4_matrix<256, 128>(40), 40);
  check_products<Int4<Fp16, 32, 608, false>>(int4_matrix<608, 32>(24), 24);  // 19 blocks: segments of 3, the last of 1
}
BOOST_AUTO_TEST_CASE(nf4_products) { check_products<Nf4<Bf16, 320>>(nf4_matrix<320>(33), 33); }
BOOST_AUTO_TEST_CASE(dense_products) {
  check_products<Dense<Bf16, 576>>(dense_matrix<576>(30), 30);
  check_products<Dense<Bf16, 576>, 2>(dense_matrix<576>(30), 30);
  check_products<Dense<Bf16, 72>>(dense_matrix<72>(17), 17);  // the last block has 8 columns
}

BOOST_AUTO_TEST_CASE(normalised_products) {
  check_normalised_products<Int4<Fp16, 32, 608, false>>(int4_matrix<608, 32>(50), 50);
  check_normalised_products<Nf4<Bf16, 320>>(nf4_matrix<320>(33), 33);
  check_normalised_products<Dense<Bf16, 72>>(dense_matrix<72>(40), 40);
}

BOOST_AUTO_TEST_CASE(columns_sorted_by_group) {
  constexpr int k = 128, n = 20;
  using Weight = Int4<Fp16, 64, k, true>;
  Both m = int4_matrix<k, 64>(n);
  std::vector<std::int32_t> order(k), columns(k);
  for (int i = 0; i < k; ++i) order[static_cast<std::size_t>(i)] = i;
  std::shuffle(order.begin(), order.end(), random_bits);
  for (int i = 0; i < k; ++i) columns[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])] = i;
  m.panels.columns.order = order;
  put(m.packed, columns.data(), columns.size() * 4);
  check_products<Weight>(m, n);
  check_normalised_products<Weight>(m, n);
}

BOOST_AUTO_TEST_CASE(norms) {
  constexpr int k = 576;
  const std::vector<float> x = numbers(2 * k);
  std::vector<Bf16> narrow;
  std::vector<float> wide, wanted(2 * k), out(2 * k);
  for (int i = 0; i < k; ++i) {
    narrow.push_back(from_float<Bf16>(number()));
    wide.push_back(to_float(narrow.back()));
  }
  for (const int row : {0, 1})
    portable::loops().norm(x.data() + row * k, wide.data(), 1e-6f, k, wanted.data() + row * k);
  const PortableNorm params{x.data(), narrow.data(), out.data(), 1e-6f};
  emulation::launch({2, 1, 1}, 64, 0, [&] { portable_norm<Bf16, k, 64>(params); });
  check_bits(out, wanted);
}

namespace {

/// `tokens` after `before` others, in two sequences: norm and RoPE, the cache, blocks that end within and at 64.
template <int tokens, bool append>
void check_attention(int before) {
  constexpr int heads = 6, kv_heads = 2, d = 64, batch = 2, all = heads + 2 * kv_heads, rows = batch * tokens;
  const int length = before + tokens, blocks = (length + 63) / 64;
  const auto size = [](int count) { return static_cast<std::size_t>(count); };
  std::vector<float> qkv = numbers(rows * all * d), q_norm(d), k_norm(d);
  std::vector<Bf16> q_weight, k_weight;
  for (int i = 0; i < d; ++i) {
    q_weight.push_back(from_float<Bf16>(number()));
    k_weight.push_back(from_float<Bf16>(number()));
    q_norm[static_cast<std::size_t>(i)] = to_float(q_weight.back());
    k_norm[static_cast<std::size_t>(i)] = to_float(k_weight.back());
  }
  std::vector<float> cos, sin;
  for (int i = 0; i < length * d / 2; ++i) {
    cos.push_back(number());
    sin.push_back(number());
  }
  at::Tensor keys = at::empty({batch, kv_heads, length, d}, at::kFloat), values = at::empty_like(keys);
  for (at::Tensor* t : {&keys, &values})
    for (std::int64_t i = 0; i < t->numel(); ++i) t->data_ptr<float>()[i] = number(4.0f);
  keys = portable::narrowed(keys, at::kBFloat16);
  values = portable::narrowed(values, at::kBFloat16);
  at::Tensor gpu_keys = keys.clone(), gpu_values = values.clone();

  std::vector<float> on_cpu = qkv;
  at::Tensor q = at::empty({batch, tokens, heads, d}, at::kFloat), wanted = at::empty_like(q);
  for (int row = 0; row < rows; ++row)
    for (int h = 0; h < all; ++h) {
      float* const x = on_cpu.data() + (row * all + h) * d;
      const auto at = static_cast<std::size_t>((before + row % tokens) * d / 2);
      if (h < heads + kv_heads) {
        portable::loops().norm(x, (h < heads ? q_norm : k_norm).data(), 1e-6f, d, x);
        portable::loops().rotate(x, cos.data() + at, sin.data() + at, d / 2);
      }
      if (h < heads) {
        std::copy_n(x, d, q.data_ptr<float>() + (row * heads + h) * d);
        continue;
      }
      at::Tensor& cache = h < heads + kv_heads ? keys : values;
      auto* to = static_cast<u16*>(cache.data_ptr()) +
                 ((row / tokens * kv_heads + (h - heads) % kv_heads) * length + before + row % tokens) * d;
      for (int i = 0; i < d; ++i) to[i] = bfloat16_from_float32(x[i]);
    }
  portable::CacheFloats copies(1, keys.size(0) * kv_heads, length, d);
  copies.put(0, 0, keys, values);
  portable::attend(q, copies, 0, portable::HeadsOfKv{heads / kv_heads, 0, heads}, before, wanted);

  std::vector<int> position;
  for (int row = 0; row < rows; ++row) position.push_back(before + row % tokens);
  std::vector<float> partial(size(rows * heads * blocks * d), NAN), stats(size(rows * heads * blocks * 2), NAN),
      out(rows * heads * d);
  PortableAttention p{
      qkv.data(),   q_weight.data(), k_weight.data(), cos.data(), sin.data(), position.data(), {}, partial.data(),
      stats.data(), out.data(),      0.125f,          1e-6f,      rows,       tokens,          0,  blocks};
  p.cache = {gpu_keys.data_ptr(), gpu_values.data_ptr(), kv_heads * length * d, length * d, d};
  if (!append)
    emulation::launch({all, rows, 1}, 32, 0, [&] { portable_rope_append<Bf16, heads, kv_heads, d, true>(p); });
  emulation::launch({static_cast<unsigned>(blocks), kv_heads, rows}, 160,
                    sizeof(PortableAttendStage<Bf16, heads / kv_heads, d>),
                    [&] { portable_attend<Bf16, heads, kv_heads, d, true, append>(p); });
  emulation::launch({heads * d / 32, rows, 1}, 128, 0, [&] { portable_attend_join<heads, d>(p); });
  BOOST_TEST(std::memcmp(gpu_keys.const_data_ptr(), keys.const_data_ptr(), keys.nbytes()) == 0);
  BOOST_TEST(std::memcmp(gpu_values.const_data_ptr(), values.const_data_ptr(), keys.nbytes()) == 0);
  check_bits(out, {wanted.data_ptr<float>(), wanted.data_ptr<float>() + wanted.numel()});
}

template <bool Renormalise>
void check_route() {
  constexpr int experts = 40, k = 4, rows = 3;
  at::Tensor logits = at::empty({rows, experts}, at::kFloat);
  for (std::int64_t i = 0; i < logits.numel(); ++i) logits.data_ptr<float>()[i] = number(5.0f);
  logits.data_ptr<float>()[7] = logits.data_ptr<float>()[3] = 9.0f;  // a tie
  const execution::Routing wanted = portable::route(logits, k, Renormalise);
  std::vector<int> ids(rows * k);
  std::vector<float> weights(rows * k), margin(rows);
  const RouteParams params{logits.const_data_ptr(), ids.data(), weights.data(), margin.data(), rows};
  emulation::launch({rows, 1, 1}, 32, 0, [&] { portable_route<experts, k, Renormalise>(params); });
  for (int i = 0; i < rows * k; ++i)
    BOOST_TEST(ids[static_cast<std::size_t>(i)] == wanted.expert_ids.const_data_ptr<std::int64_t>()[i]);
  check_bits(weights, {wanted.weights.const_data_ptr<float>(), wanted.weights.const_data_ptr<float>() + rows * k});
  check_bits(margin, {wanted.margin.const_data_ptr<float>(), wanted.margin.const_data_ptr<float>() + rows});
}

}  // namespace

BOOST_AUTO_TEST_CASE(attention_of_several_tokens) { check_attention<3, false>(126); }
BOOST_AUTO_TEST_CASE(attention_of_a_step) {
  for (const int before : {0, 62, 63, 64, 128 * 64}) BOOST_TEST_CONTEXT(before << " before") {
      check_attention<1, true>(before);
    }
}

BOOST_AUTO_TEST_CASE(routes) {
  check_route<true>();
  check_route<false>();
}

// A few rows and many go through the same experts.
BOOST_AUTO_TEST_CASE(experts) {
  constexpr int hidden = 128, intermediate = 96, count = 5, k = 3, rows = 4, slots = rows * k;
  using Up = Int4<Fp16, 64, hidden, false>;
  using Down = Int4<Fp16, 32, intermediate, false>;
  std::vector<Both> gate, up, down;
  std::vector<Expert> table;
  for (int e = 0; e < count; ++e) {
    gate.push_back(int4_matrix<hidden, 64>(intermediate));
    up.push_back(int4_matrix<hidden, 64>(intermediate));
    down.push_back(int4_matrix<intermediate, 32>(hidden));
  }
  for (int e = 0; e < count; ++e) {
    const auto i = static_cast<std::size_t>(e);
    table.push_back({gate[i].packed.data(), up[i].packed.data(), down[i].packed.data()});
  }
  const std::vector<float> x = numbers(rows * hidden), weights = numbers(slots), residual = numbers(rows * hidden);
  std::vector<int> ids{4, 0, 2, 1, 3, 0, 2, 4, 1, 0, 1, 2};
  std::vector<float> wanted = residual;
  for (int row = 0; row < rows; ++row) {
    std::vector<float> sum(hidden, 0.0f);
    for (int e = 0; e < count; ++e)
      for (int c = 0; c < k; ++c) {
        if (ids[static_cast<std::size_t>(row * k + c)] != e) continue;
        const auto i = static_cast<std::size_t>(e);
        const std::vector<float> own(x.begin() + row * hidden, x.begin() + (row + 1) * hidden);
        std::vector<float> a = by_panels(own, 1, gate[i].panels);
        portable::loops().silu_mul(a.data(), by_panels(own, 1, up[i].panels).data(), a.data(), intermediate);
        portable::loops().add_scaled(sum.data(), by_panels(a, 1, down[i].panels).data(),
                                     weights[static_cast<std::size_t>(row * k + c)], hidden);
      }
    for (int i = 0; i < hidden; ++i)
      wanted[static_cast<std::size_t>(row * hidden + i)] += sum[static_cast<std::size_t>(i)];
  }

  std::vector<float> few = residual, activated(slots * intermediate), many = residual, ups(activated),
                     outputs(slots * hidden);
  std::vector<Bf16> tap(rows * hidden);
  PortableMoe p{table.data(), ids.data(), weights.data(), x.data(), activated.data(),
                few.data(),   tap.data(), nullptr,        rows};
  emulation::launch({intermediate / 8, slots, 1}, 128, sizeof(PortableStage<Up, 16>),
                    [&] { portable_gate_up<Up, intermediate, k, 32, 4, 2>(p); });
  emulation::launch({hidden / 4, rows, 1}, 32, sizeof(PortableDownStage<Down, k, 4>),
                    [&] { portable_down<Down, Bf16, hidden, k, 32, 4>(p); });
  check_bits(few, wanted);
  for (int i = 0; i < rows * hidden; ++i)
    BOOST_TEST(tap[static_cast<std::size_t>(i)].bits == bfloat16_from_float32(wanted[static_cast<std::size_t>(i)]));

  std::vector<int> ends(count), order(slots);
  const PortableGroups groups{ids.data(), ends.data(), order.data(), slots, count};
  emulation::launch({1, 1, 1}, 1024, 0, [&] { portable_group<count>(groups); });
  BOOST_TEST(ends.back() == slots);
  PortableGrouped g{table.data(), x.data(), activated.data(), ends.data(), order.data(), nullptr, k, 0,
                    intermediate, count};
  const std::size_t bytes = portable_tile_bytes(hidden, false);
  emulation::launch({1, count + 1, 1}, 256, bytes, [&] { portable_gemm_grouped<Up>(g); });
  g.out = ups.data();
  g.projection = 1;
  emulation::launch({1, count + 1, 1}, 256, bytes, [&] { portable_gemm_grouped<Up>(g); });
  const ElementwiseParams silu{activated.data(), ups.data(), activated.data(), slots * intermediate};
  emulation::launch({(slots * intermediate + 255) / 256, 1, 1}, 256, 0, [&] { portable_silu_mul(silu); });
  g = {table.data(), activated.data(), outputs.data(), ends.data(), nullptr, order.data(), k, 2, hidden, count};
  emulation::launch({1, count + 1, 1}, 256, bytes, [&] { portable_gemm_grouped<Down>(g); });
  p.outputs = outputs.data();
  p.out = many.data();
  p.tap = nullptr;
  emulation::launch({rows, 1, 1}, 256, 0, [&] { portable_experts_sum<Bf16, hidden, k>(p); });
  check_bits(many, wanted);
}

BOOST_AUTO_TEST_CASE(log_probabilities) {
  constexpr int vocabulary = 3001, k = 5, rows = 2, slices = 132;
  at::Tensor logits = at::empty({rows, vocabulary}, at::kFloat);
  for (std::int64_t i = 0; i < logits.numel(); ++i) logits.data_ptr<float>()[i] = number(12.0f);
  logits.data_ptr<float>()[2000] = logits.data_ptr<float>()[17] = 13.0f;
  const execution::TopK wanted = portable::log_probs(logits, k);
  std::vector<u64> candidates(rows * slices * k);
  std::vector<float> sums(rows * ((vocabulary + 31) / 32)), values(rows * k);
  std::vector<int> ids(rows * k), next(rows), position{6, 9};
  const std::size_t shared = 4 * ((vocabulary + 31) / 32);
  const PortableLogProbs p{logits.const_data_ptr<float>(),
                           candidates.data(),
                           sums.data(),
                           ids.data(),
                           values.data(),
                           next.data(),
                           position.data(),
                           vocabulary};
  emulation::launch({slices, rows, 1}, 256, 0, [&] { portable_top_slices<k, slices, 1>(p); });
  emulation::launch({1, rows, 1}, 256, 0, [&] { portable_exp_sums<k, slices>(p); });
  emulation::launch({rows, 1, 1}, 256, shared, [&] { portable_log_probs<k, slices>(p); });
  for (int i = 0; i < rows * k; ++i)
    BOOST_TEST(ids[static_cast<std::size_t>(i)] == wanted.indices.const_data_ptr<std::int64_t>()[i]);
  check_bits(values, {wanted.values.const_data_ptr<float>(), wanted.values.const_data_ptr<float>() + rows * k});
  BOOST_TEST(next[1] == ids[k]);
  BOOST_TEST(position[0] == 7);
}

BOOST_AUTO_TEST_SUITE_END()
