// Checks of norms, rotary embedding, attention and the step's two ends.
#pragma once

#include "checks.hpp"

namespace bench {

inline void check_rms_norm(Checker& c, DType dtype, int k, bool round) {
  const std::size_t rows = 5, count = rows * static_cast<std::size_t>(k);
  const auto x = c.random.normals(count, dtype), delta = c.random.normals(count, dtype);
  const auto weight = c.random.normals(static_cast<std::size_t>(k), dtype, 0.2f, 1);
  const Buffer bx = upload(x, dtype), bdelta = upload(delta, dtype), bweight = upload(weight, dtype);
  Buffer sum(count * size_of(dtype)), out(count * size_of(dtype));
  const NormParams p{bx.at(), bdelta.at(), sum.at(), bweight.at(), out.at(), 1e-6f};
  std::vector<double> total(count);
  for (std::size_t i = 0; i < count; ++i) {
    total[i] = static_cast<double>(x[i]) + static_cast<double>(delta[i]);
    if (round) total[i] = static_cast<double>(round_to(static_cast<float>(total[i]), dtype));
  }
  auto reference = rms_norm(total, std::vector<float>(weight.size(), 1.0f), 1e-6);
  for (std::size_t i = 0; i < count; ++i) {
    if (round) reference[i] = static_cast<double>(round_to(static_cast<float>(reference[i]), dtype));
    reference[i] *= static_cast<double>(weight[i % static_cast<std::size_t>(k)]);
  }
  const Operation operation(c.library, plan_rms_norm(dtype, k, round));
  c.check(
      fmt::format("add and rms_norm {} {}{}", name_of(dtype), k, round ? " rounded" : ""), dtype,
      [&] { operation(c.stream, p, static_cast<int>(rows)); }, {&out, &sum}, reference);
}

inline void check_elementwise(Checker& c, bool silu_mul, DType dtype) {
  const std::size_t count = 8 * 768;
  const auto a = c.random.normals(count, dtype), b = c.random.normals(count, dtype);
  const Buffer ba = upload(a, dtype), bb = upload(b, dtype);
  Buffer out(count * size_of(dtype));
  std::vector<double> reference(count);
  for (std::size_t i = 0; i < count; ++i) {
    const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    reference[i] =
        silu_mul ? static_cast<double>(round_to(static_cast<float>(x / (1 + std::exp(-x))), dtype)) * y : x + y;
  }
  const Operation operation(c.library, plan_elementwise(silu_mul, dtype, count));
  const ElementwiseParams p{ba.at(), bb.at(), out.at(), count};
  c.check(
      fmt::format("{} {}", silu_mul ? "silu_mul" : "add", name_of(dtype)), dtype, [&] { operation(c.stream, p); },
      {&out}, reference);
}

/// Attention of each row's new token, its cache filled with random keys and values up to there.
inline void check_attention(Checker& c, DType dtype, const AttentionShape& s, const std::vector<int>& positions,
                            bool fused, bool round) {
  const std::size_t rows = positions.size(), d = static_cast<std::size_t>(s.head_dim),
                    heads = static_cast<std::size_t>(s.heads), kv = static_cast<std::size_t>(s.kv_heads),
                    all = heads + 2 * kv, half = d / 2;
  const std::size_t capacity = static_cast<std::size_t>(*std::max_element(positions.begin(), positions.end())) + 1 + 5;
  const auto qkv = c.random.normals(rows * all * d, dtype);
  const auto q_norm = c.random.normals(d, dtype, 0.2f, 1), k_norm = c.random.normals(d, dtype, 0.2f, 1);
  auto keys = c.random.normals(rows * kv * capacity * d, dtype),
       values = c.random.normals(rows * kv * capacity * d, dtype);
  std::vector<float> cos(capacity * half), sin(capacity * half);
  for (std::size_t p = 0; p < capacity; ++p)
    for (std::size_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(p) * std::pow(1e6, -static_cast<double>(i) / static_cast<double>(half));
      cos[p * half + i] = round_to(static_cast<float>(std::cos(angle)), dtype);
      sin[p * half + i] = round_to(static_cast<float>(std::sin(angle)), dtype);
    }
  const auto op = [&](double value) {
    return round ? static_cast<double>(round_to(static_cast<float>(value), dtype)) : value;
  };
  const auto stored = [&](double value) { return static_cast<double>(round_to(static_cast<float>(value), dtype)); };
  const bool eager = s.form == AttentionForm::written_out;
  const auto written = [&](double value) { return eager ? stored(value) : value; };
  const auto turn = [&](const float* head, const std::vector<float>& norm, int position) {
    std::vector<double> x(head, head + d), out(d);
    if (s.head_norm) {
      x = rms_norm(x, std::vector<float>(d, 1.0f), 1e-6);
      for (std::size_t i = 0; i < d; ++i) x[i] = op(op(x[i]) * static_cast<double>(norm[i]));
    }
    for (std::size_t i = 0; i < half; ++i) {
      const double co = static_cast<double>(cos[static_cast<std::size_t>(position) * half + i]),
                   si = static_cast<double>(sin[static_cast<std::size_t>(position) * half + i]);
      out[i] = stored(op(x[i] * co) + op(-x[half + i] * si));
      out[half + i] = stored(op(x[half + i] * co) + op(x[i] * si));
    }
    return out;
  };
  const Buffer bqkv = upload(qkv, dtype), bq_norm = upload(q_norm, dtype), bk_norm = upload(k_norm, dtype), bcos(cos),
               bsin(sin), bpositions(positions);
  Buffer bkeys = upload(keys, dtype), bvalues = upload(values, dtype), bq(rows * heads * d * size_of(dtype));
  Buffer partial(partial_bytes(s, static_cast<int>(rows))), stats(partial_stats_bytes(s, static_cast<int>(rows)));
  Buffer out(rows * heads * d * size_of(dtype));

  std::vector<double> reference, new_keys;
  for (std::size_t r = 0; r < rows; ++r) {
    const float* row = qkv.data() + r * all * d;
    for (std::size_t h = 0; h < kv; ++h) {
      const auto k = turn(row + (heads + h) * d, k_norm, positions[r]);
      new_keys.insert(new_keys.end(), k.begin(), k.end());
      const std::size_t slot = ((r * kv + h) * capacity + static_cast<std::size_t>(positions[r])) * d;
      for (std::size_t i = 0; i < d; ++i) {
        keys[slot + i] = static_cast<float>(k[i]);
        values[slot + i] = row[(heads + kv + h) * d + i];
      }
    }
    for (std::size_t h = 0; h < heads; ++h) {
      const auto q = turn(row + h * d, q_norm, positions[r]);
      const float* k = keys.data() + (r * kv + h / (heads / kv)) * capacity * d;
      const float* v = values.data() + (r * kv + h / (heads / kv)) * capacity * d;
      std::vector<double> score(static_cast<std::size_t>(positions[r]) + 1), sum(d);
      double maximum = -1e300, total = 0;
      for (std::size_t p = 0; p < score.size(); ++p) {
        for (std::size_t i = 0; i < d; ++i) score[p] += q[i] * static_cast<double>(k[p * d + i]);
        score[p] = written(written(score[p]) / std::sqrt(static_cast<double>(d)));
        maximum = std::max(maximum, score[p]);
      }
      for (std::size_t p = 0; p < score.size(); ++p) {
        const double weight = std::exp(score[p] - maximum);
        total += weight;
        for (std::size_t i = 0; i < d; ++i) sum[i] += weight * static_cast<double>(v[p * d + i]);
      }
      if (eager) {
        sum.assign(d, 0);
        for (std::size_t p = 0; p < score.size(); ++p)
          for (std::size_t i = 0; i < d; ++i)
            sum[i] += written(std::exp(score[p] - maximum) / total) * static_cast<double>(v[p * d + i]);
        total = 1;
      }
      for (const double value : sum) reference.push_back(value / total);
    }
  }
  AttentionParams p{};
  p.qkv = bqkv.at();
  p.q_norm = bq_norm.at();
  p.k_norm = bk_norm.at();
  p.cos = bcos.at<float>();
  p.sin = bsin.at<float>();
  p.position = bpositions.at<int>();
  const auto stride = static_cast<long long>(d);
  p.cache = {bkeys.at(), bvalues.at(), static_cast<long long>(kv * capacity) * stride,
             static_cast<long long>(capacity) * stride, stride};
  p.q = bq.at();
  p.partial = partial.at<float>();
  p.partial_stats = stats.at<float>();
  p.out = out.at();
  p.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(d)));
  p.eps = 1e-6f;
  p.rows = static_cast<int>(rows);
  const Buffer scores(rows * heads * capacity * size_of(dtype));
  p.scores = scores.at();
  p.capacity = static_cast<int>(capacity);
  std::vector<Operation> attention;
  const std::vector<Plan> plans =
      eager ? std::vector{plan_eager_scores(dtype, s), plan_eager_softmax(dtype, s), plan_eager_product(dtype, s)}
            : std::vector{plan_attend(dtype, s, fused), plan_combine(dtype, s)};
  for (const Plan& plan : plans) attention.emplace_back(c.library, plan);
  const Operation rope(c.library, plan_rope_append(dtype, s, round));
  const int count = static_cast<int>(rows);
  const std::string name =
      fmt::format("attention {} {}/{}x{} at {}, {} row(s){}{}{}", name_of(dtype), s.heads, s.kv_heads, s.head_dim,
                  positions[0], rows, fused ? " fused" : "", round ? " rounded" : "", eager ? " written out" : "");
  c.check(
      name, dtype,
      [&] {
        if (!fused) rope(c.stream, p, count);
        for (const Operation& operation : attention) operation(c.stream, p, count);
      },
      {&out}, reference);
  // What was appended: the key within the type's rounding, the value bit for bit; nothing else touched.
  const auto cached_keys = download(bkeys, dtype), cached_values = download(bvalues, dtype);
  double difference = 0;
  for (std::size_t i = 0; i < keys.size(); ++i)
    difference += std::pow(static_cast<double>(cached_keys[i] - keys[i]), 2);
  const double bound = dtype == DType::bfloat16 ? 2e-3 : dtype == DType::float16 ? 5e-4 : 2e-5;
  double key_norm = 0;
  for (const double k : new_keys) key_norm += k * k;
  c.expect(name + ", cache", std::sqrt(difference / key_norm) < bound && cached_values == values);
}

inline void check_log_probs(Checker& c, DType dtype, int vocabulary, int k) {
  const int rows = 3;
  const std::size_t n = static_cast<std::size_t>(vocabulary), best = static_cast<std::size_t>(k);
  auto logits = c.random.normals(static_cast<std::size_t>(rows) * n, dtype, 3);  // rounded to 16 bits: many ties
  logits[7] = logits[n / 2] = logits[n - 1] = 20;
  const Buffer blogits = upload(logits, dtype);
  const std::size_t count = static_cast<std::size_t>(rows) * best;
  Buffer candidates(static_cast<std::size_t>(rows * log_prob_blocks) * best * 8),
      partial(static_cast<std::size_t>(rows * log_prob_blocks) * 8), ids(count * 4), values(count * 4),
      next(static_cast<std::size_t>(rows) * 4), position(std::vector<int>{10, 20, 30});
  LogProbParams p{blogits.at(),   candidates.at(), partial.at<float>(), ids.at<int>(), values.at<float>(),
                  next.at<int>(), nullptr,         vocabulary};
  std::vector<double> reference;
  std::vector<int> expected, tokens;
  for (std::size_t r = 0; r < static_cast<std::size_t>(rows); ++r) {
    const float* row = logits.data() + r * n;
    std::vector<int> order(n);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return row[a] > row[b]; });
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i)
      sum += std::exp(static_cast<double>(row[i]) - static_cast<double>(row[order[0]]));
    for (std::size_t i = 0; i < best; ++i) {
      expected.push_back(order[i]);
      reference.push_back(static_cast<double>(row[order[i]]) - static_cast<double>(row[order[0]]) - std::log(sum));
    }
    tokens.push_back(order[0]);
  }
  const Operation slices(c.library, plan_log_prob_slices(dtype, vocabulary, k)), merge(c.library, plan_log_probs(k));
  const std::string name = fmt::format("log-probabilities {} {} of {}", name_of(dtype), k, vocabulary);
  c.check(
      name, DType::float32,
      [&] {
        slices(c.stream, p, rows);
        merge(c.stream, p, rows);
      },
      {&values, &ids, &next}, reference, 1e-6);
  c.expect(name + ", ids and next token", ids.download<int>() == expected && next.download<int>() == tokens);
  p.position = position.at<int>();
  merge(c.stream, p, rows);
  synchronise(c.stream);
  c.expect(name + ", positions advance", position.download<int>() == std::vector<int>{11, 21, 31});
}

inline void check_embed(Checker& c, DType dtype, int hidden) {
  const auto table = c.random.normals(50 * static_cast<std::size_t>(hidden), dtype);
  const std::vector<int> tokens{49, 0, 17};
  const Buffer btable = upload(table, dtype), btokens(tokens);
  Buffer out(3 * static_cast<std::size_t>(hidden) * size_of(dtype));
  const EmbeddingParams p{btokens.at<int>(), btable.at(), out.at()};
  Operation(c.library, plan_embed(dtype, hidden))(c.stream, p, 3);
  synchronise(c.stream);
  std::vector<float> expected;
  for (const int token : tokens)
    expected.insert(expected.end(), table.begin() + token * hidden, table.begin() + (token + 1) * hidden);
  c.expect(fmt::format("embedding {}", name_of(dtype)), download(out, dtype) == expected);
}

/// All of it. `small`: shapes for a memory checker; a few outputs do not average, so what is bounded there is
/// a single rounding's worst case, not its mean.
inline void check_all(Checker& c, bool small) {
  c.slack = small ? 2 : 1;
  check_synthetic(c);
  const auto tensor_cores = Arithmetic::tensor_cores, fma = Arithmetic::fma;
  const DType bf16 = DType::bfloat16, fp16 = DType::float16, f32 = DType::float32;
  const int wide = small ? 256 : 2048, out = small ? 128 : 2048;
  for (const DType dtype : {bf16, fp16, f32}) {
    std::vector<HostMatrix> matrices;
    matrices.push_back(int4_matrix(c.random, Layout::awq, dtype, out, wide, 128, false));
    matrices.push_back(int4_matrix(c.random, Layout::gptq, dtype, out, wide, 128, false));
    matrices.push_back(int4_matrix(c.random, Layout::gptq, dtype, out, wide, 128, true));
    matrices.push_back(int4_matrix(c.random, Layout::gptq, dtype, out / 2, wide, 32, true));
    matrices.push_back(int4_matrix(c.random, Layout::awq, dtype, out / 2, wide, 64, false));
    matrices.push_back(int4_matrix(c.random, Layout::awq, dtype, 136, 576, 0, false));
    matrices.push_back(nf4_matrix(c.random, dtype, out, wide));
    for (const auto& m : matrices) check_packing(c, m);
    matrices.push_back(dense_matrix(c.random, dtype, 128, wide));
    matrices.push_back(dense_matrix(c.random, dtype, 100, 576));
    for (const auto& m : matrices) {
      check_gemv(c, m, 1, {true, false}, fma);
      check_gemv(c, m, 3, {false, true}, fma);
      check_gemv(c, m, 3, {.norm = true, .bias = true}, fma);
      if (dtype == f32) continue;
      check_gemv(c, m, 1, {true, false}, tensor_cores);
      check_gemv(c, m, 8, {false, true}, tensor_cores);
      check_gemv(c, m, 5, {true, false}, tensor_cores);
      check_gemv(c, m, 4, {.norm = true, .bias = true}, tensor_cores);
    }
    check_gemv(c, dense_matrix(c.random, dtype, small ? 999 : 20001, wide), 1, {true, false}, fma, true);
    check_gemv(c, dense_matrix(c.random, dtype, small ? 999 : 20001, wide), 4, {false, false}, fma, true);

    check_route(c, dtype, 128, 8);
    check_route(c, dtype, 60, 4);
    for (int kind = 0; kind < 4; ++kind) {
      const MoeShape shape = small ? MoeShape{256, 64, 8, 4} : MoeShape{2048, 768, 16, 8};
      const auto experts = make_experts(c, shape, [&](int n, int k) {
        if (kind == 0) return int4_matrix(c.random, Layout::awq, dtype, n, k, small ? 32 : 128, false);
        if (kind == 1) return int4_matrix(c.random, Layout::gptq, dtype, n, k, small ? 32 : 128, true);
        return kind == 2 ? nf4_matrix(c.random, dtype, n, k) : dense_matrix(c.random, dtype, n, k);
      });
      check_dequantise_stack(c, experts, dtype);
      check_moe(c, experts, shape, dtype, 1, {false, false, fma});
      if (dtype == f32) continue;
      check_moe(c, experts, shape, dtype, 1, {true, false, tensor_cores});
      check_moe(c, experts, shape, dtype, 1, {false, true, tensor_cores});
      for (const int rows : {2, 4, 8}) check_moe(c, experts, shape, dtype, rows, {false, rows == 4, tensor_cores});
    }
    for (const bool round : {false, true}) check_rms_norm(c, dtype, 2048, round);
    check_rms_norm(c, dtype, 576, true);
    for (const bool silu_mul : {false, true}) check_elementwise(c, silu_mul, dtype);
    const AttentionShape qwen{32, 4, 128, true}, smollm{9, 3, 64, false, 16, 4};
    const std::vector<int> long_rows = small ? std::vector{300, 17} : std::vector{6143, 1000};
    check_attention(c, dtype, qwen, {long_rows[0]}, false, true);
    check_attention(c, dtype, qwen, long_rows, false, false);
    check_attention(c, dtype, smollm, {0, 33, 700}, false, false);
    for (AttentionShape shape : {qwen, smollm}) {
      shape.form = AttentionForm::written_out;
      check_attention(c, dtype, shape, {long_rows[0]}, false, true);
      check_attention(c, dtype, shape, {0, 33, 700}, false, false);
    }
    if (dtype != f32) {
      check_attention(c, dtype, qwen, {long_rows[0]}, true, false);
      check_attention(c, dtype, qwen, {3, 15, 16, 1055}, true, false);
      check_attention(c, dtype, smollm, {200, 333, 401, 59, 640}, true, false);
    }
    check_log_probs(c, dtype, small ? 5000 : 151936, 10);
    check_log_probs(c, dtype, 49152, 1);
    check_embed(c, dtype, 2048);
  }
}

}  // namespace bench
