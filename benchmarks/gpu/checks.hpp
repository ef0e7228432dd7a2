// Every kernel against float64 on the host: fresh random inputs, poisoned outputs, a hundred launches bit for
// bit.
#pragma once

#include <fpf/kernel/plan/attention.hpp>
#include <fpf/kernel/plan/ends.hpp>
#include <fpf/kernel/plan/experts.hpp>
#include <fpf/kernel/plan/linear.hpp>
#include <fpf/kernel/plan/repack.hpp>
#include <fpf/kernel/plan/synthetic.hpp>
#include <fpf/model/synthetic_model.hpp>
#include <nlohmann/json.hpp>

#include "host_model.hpp"

namespace bench {

/// Runs checks, prints a line each, and counts failures.
class Checker {
 public:
  Checker(Library& kernels, cuda::Stream on, std::uint64_t seed, int repeats)
      : library(kernels), stream(on), random(seed), repeats_(repeats) {}

  Library& library;
  cuda::Stream stream;
  Random random;
  int failures = 0;
  double slack = 1;  // on the bounds
  nlohmann::ordered_json results = nlohmann::ordered_json::array();

  /// ||out - ref|| / ||ref|| below the type's bound, and `repeats` launches with the same bits in all of
  /// `outputs`.
  void check(const std::string& name, DType dtype, const std::function<void()>& launch, std::vector<Buffer*> outputs,
             const std::vector<double>& reference, double bound = 0) {
    if (bound == 0) bound = dtype == DType::bfloat16 ? 2e-3 : dtype == DType::float16 ? 5e-4 : 2e-5;
    bound *= slack;
    for (Buffer* output : outputs) output->poison();
    launch();
    synchronise(stream);
    const std::vector<float> out = download(*outputs[0], dtype);
    double difference = 0, norm = 0;
    for (std::size_t i = 0; i < reference.size(); ++i) {
      const double d = static_cast<double>(out.at(i)) - reference[i];
      difference += d * d;
      norm += reference[i] * reference[i];
    }
    const double error = std::sqrt(difference / norm);
    report(name, error, bound, error < bound && out.size() == reference.size(), same_bits(launch, outputs));
  }

  /// A yes or no.
  void expect(const std::string& name, bool holds) { report(name, holds ? 0 : 1, 0.5, holds, true); }

  bool same_bits(const std::function<void()>& launch, const std::vector<Buffer*>& outputs) {
    std::vector<std::vector<std::byte>> first;
    for (const Buffer* output : outputs) first.push_back(output->download<std::byte>());
    for (int i = 0; i < repeats_; ++i) {
      for (Buffer* output : outputs) output->poison();
      launch();
      synchronise(stream);
      for (std::size_t o = 0; o < outputs.size(); ++o)
        if (outputs[o]->download<std::byte>() != first[o]) return false;
    }
    return true;
  }

 private:
  void report(const std::string& name, double error, double bound, bool accurate, bool repeatable) {
    const bool good = accurate && repeatable;
    failures += !good;
    fmt::print("{}  {:<66} error {:.2e} (< {:.0e}){}\n", good ? "ok  " : "FAIL", name, error, bound,
               repeatable ? "" : "  NOT REPEATABLE");
    results.push_back({{"check", name},
                       {"error", std::isfinite(error) ? nlohmann::ordered_json(error) : nullptr},
                       {"bound", bound},
                       {"repeatable", repeatable},
                       {"ok", good}});
  }

  int repeats_;
};

inline std::string describe(const HostMatrix& m) {
  const char* layout = m.layout == Layout::awq ? "awq" : m.layout == Layout::gptq ? "gptq" : "nf4";
  return fmt::format("{}{} {} {}x{}", m.format.kind == WeightFormat::Kind::dense ? "dense" : layout,
                     m.format.kind == WeightFormat::Kind::int4
                         ? fmt::format(" g{}{}", m.format.group, m.format.permuted ? " act-order" : "")
                         : "",
                     name_of(m.dtype), m.n, m.k);
}

/// Packing loses nothing: dequantised to float32, every weight is the format's, bit for bit.
inline void check_packing(Checker& c, const HostMatrix& m) {
  const Buffer packed = pack(c.library, c.stream, m);
  Buffer dense(m.weights.size() * size_of(m.dtype));
  const DequantiseParams p{packed.at(), dense.at(), m.n};
  Operation(c.library, plan_dequantise(m.format, m.dtype, m.n, m.k))(c.stream, p);
  synchronise(c.stream);
  c.expect("pack and dequantise " + describe(m), dense.download<std::byte>() == encode(m.weights, m.dtype));
}

inline void check_gemv(Checker& c, const HostMatrix& m, int rows, Fusion fusion, Arithmetic arithmetic,
                       bool head = false) {
  const Buffer packed = pack(c.library, c.stream, m);
  const std::size_t k = static_cast<std::size_t>(m.k), n = static_cast<std::size_t>(m.n),
                    count = static_cast<std::size_t>(rows), added = fusion.bias ? n : count * n;
  const auto x = c.random.normals(count * k, m.dtype), residual = c.random.normals(added, m.dtype);
  const auto weight = c.random.normals(k, m.dtype, 0.2f, 1);
  const Buffer bx = upload(x, m.dtype), bresidual = upload(residual, m.dtype), bweight = upload(weight, m.dtype);
  Buffer out(count * n * size_of(m.dtype)), normed(count * k * size_of(m.dtype));
  const float eps = 1e-6f;
  GemvParams p{packed.at(), bx.at(), bweight.at(), bresidual.at(), out.at(), fusion.norm ? normed.at() : nullptr,
               m.n,         rows,    eps};
  const Operation operation(c.library, head ? plan_head(m.format, m.dtype, m.n, m.k, fusion.norm, 132)
                                            : plan_gemv(m.format, m.dtype, m.n, m.k, fusion, arithmetic));
  auto normal = fusion.norm ? rms_norm(widened(x), weight, 1e-6) : widened(x);
  for (double& value : normal)
    value = static_cast<double>(round_to(static_cast<float>(value), m.dtype));  // by definition
  auto reference = product(m, normal);
  for (std::size_t i = 0; fusion.adds() && i < reference.size(); ++i)
    reference[i] += static_cast<double>(residual[i % added]);
  const std::string name = fmt::format("{} {}{}{} {} row(s)",
                                       head                                     ? "head"
                                       : arithmetic == Arithmetic::tensor_cores ? "tensor cores"
                                                                                : "fma",
                                       describe(m), fusion.norm ? " +norm" : "",
                                       fusion.add    ? " +add"
                                       : fusion.bias ? " +bias"
                                                     : "",
                                       rows);
  std::vector<Buffer*> outputs{&out};
  if (fusion.norm) outputs.push_back(&normed);
  c.check(
      name, m.dtype, [&] { operation(c.stream, p, rows); }, outputs, reference);
  if (rows == 1) return;
  // The last row alone has the same bits.
  const auto together = out.download<std::byte>();
  out.poison();
  p.rows = 1;
  p.x = bx.at((count - 1) * k * size_of(m.dtype));
  if (!fusion.bias) p.residual = bresidual.at((count - 1) * n * size_of(m.dtype));
  operation(c.stream, p, 1);
  synchronise(c.stream);
  const auto alone = out.download<std::byte>();
  const std::size_t row_bytes = n * size_of(m.dtype);
  c.expect(name + ", a row alone", std::equal(alone.begin(), alone.begin() + static_cast<std::ptrdiff_t>(row_bytes),
                                              together.end() - static_cast<std::ptrdiff_t>(row_bytes)));
}

/// All experts of a projection at once: the values that packing keeps, bit for bit.
template <class Experts>
void check_dequantise_stack(Checker& c, const Experts& experts, DType dtype) {
  for (int projection = 0; projection < 3; ++projection) {
    const auto& matrices = projection == 0 ? experts.gate : projection == 1 ? experts.up : experts.down;
    const int n = matrices[0].n, k = matrices[0].k, count = static_cast<int>(matrices.size());
    std::vector<std::byte> expected;
    for (const auto& m : matrices) {
      const auto bytes = encode(m.weights, dtype);
      expected.insert(expected.end(), bytes.begin(), bytes.end());
    }
    Buffer out(expected.size());
    Operation(c.library, plan_dequantise_stack(matrices[0].format, dtype, n, k, count))(
        c.stream, StackParams{experts.table.template at<Expert>(), out.at(), n, projection});
    synchronise(c.stream);
    c.expect(fmt::format("dequantise {} experts' projection {} {}", count, projection, describe(matrices[0])),
             out.download<std::byte>() == expected);
  }
}

/// Every tensor of a small synthetic model, made on the device: the host's bytes.
inline void check_synthetic(Checker& c) {
  for (const char* quant : {"none", "awq", "gptq", "nf4"}) {
    const model::SyntheticModel model(fmt::format("synthetic:qwen3-moe-tiny?seed=5&quant={}", quant));
    std::size_t different = 0, bytes = 0;
    for (const auto& name : model.names()) {
      const auto& tensor = model.at(name);
      std::vector<std::byte> expected;
      model.bytes_of(tensor, expected);
      if (expected.empty()) expected.assign(tensor.data.begin(), tensor.data.end());
      Buffer made(expected.size());
      make_synthetic(c.library, c.stream, *model.recipe(tensor), tensor.format, made.at(), expected.size());
      synchronise(c.stream);
      different += made.download<std::byte>() != expected;
      bytes += expected.size();
    }
    c.expect(fmt::format("synthetic {}: {} tensors, {} bytes", quant, model.names().size(), bytes), different == 0);
  }
  // A tensor that ends within a unit.
  const auto recipe = weights::synthetic::Recipe::codes();
  std::vector<std::byte> expected(1027);
  weights::synthetic::generate(recipe, weights::Format::uint8, 0, expected);
  Buffer made(1027 + 5);
  make_synthetic(c.library, c.stream, recipe, weights::Format::uint8, made.at(), 1027);
  synchronise(c.stream);
  expected.resize(1032, std::byte{0xff});
  c.expect("synthetic codes end where they should", made.download<std::byte>() == expected);
}

/// The router's choice in float64: ids by descending probability, ties by the lower id.
struct HostChoice {
  std::vector<int> ids;
  std::vector<double> weights;
  double margin;
};
inline HostChoice choose_on_host(const float* logits, int experts, int top_k, bool renormalise) {
  std::vector<int> order(static_cast<std::size_t>(experts));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return logits[a] > logits[b]; });
  double sum = 0, chosen = 0;
  for (int e = 0; e < experts; ++e)
    sum += std::exp(static_cast<double>(logits[e]) - static_cast<double>(logits[order[0]]));
  HostChoice choice{{order.begin(), order.begin() + top_k}, {}, 0};
  for (const int id : choice.ids) {
    choice.weights.push_back(std::exp(static_cast<double>(logits[id]) - static_cast<double>(logits[order[0]])) / sum);
    chosen += choice.weights.back();
  }
  for (double& weight : choice.weights) weight /= renormalise ? chosen : 1;
  choice.margin = static_cast<double>(logits[order[static_cast<std::size_t>(top_k) - 1]]) -
                  static_cast<double>(logits[order[static_cast<std::size_t>(top_k)]]);
  return choice;
}

inline void check_route(Checker& c, DType dtype, int experts, int top_k) {
  const int rows = 64;
  auto logits = c.random.normals(static_cast<std::size_t>(rows * experts), dtype);
  for (std::size_t i = 0; i < static_cast<std::size_t>(experts); ++i)
    logits[i] = round_to(std::floor(logits[i] * 2) / 2, dtype);  // ties
  const Buffer blogits = upload(logits, dtype);
  const std::size_t count = static_cast<std::size_t>(rows * top_k);
  Buffer ids(count * 4), weights(count * 4), margin(static_cast<std::size_t>(rows) * 4);
  const RouteParams p{blogits.at(), ids.at<int>(), weights.at<float>(), margin.at<float>(), rows};
  std::vector<double> reference;
  std::vector<int> expected;
  std::vector<float> margins;
  for (int r = 0; r < rows; ++r) {
    const auto choice = choose_on_host(logits.data() + r * experts, experts, top_k, true);
    reference.insert(reference.end(), choice.weights.begin(), choice.weights.end());
    expected.insert(expected.end(), choice.ids.begin(), choice.ids.end());
    margins.push_back(static_cast<float>(choice.margin));
  }
  const Operation operation(c.library, plan_route(dtype, experts, top_k, true, false));
  const std::string name = fmt::format("router {} top {} of {}", name_of(dtype), top_k, experts);
  c.check(
      name, DType::float32, [&] { operation(c.stream, p, rows); }, {&weights, &ids, &margin}, reference);
  c.expect(name + ", ids and margins", ids.download<int>() == expected && margin.download<float>() == margins);
}

/// A small layer of experts; gate, up and down of each, packed.
struct HostExperts {
  std::vector<HostMatrix> gate, up, down;
  std::vector<Buffer> packed;
  Buffer table;
};

template <class Make>
HostExperts make_experts(Checker& c, const MoeShape& shape, const Make& make) {
  HostExperts experts;
  std::vector<Expert> table;
  for (int e = 0; e < shape.experts; ++e) {
    experts.gate.push_back(make(shape.intermediate, shape.hidden));
    experts.up.push_back(make(shape.intermediate, shape.hidden));
    experts.down.push_back(make(shape.hidden, shape.intermediate));
    const void* pointers[3];
    const HostMatrix* matrices[3] = {&experts.gate.back(), &experts.up.back(), &experts.down.back()};
    for (int i = 0; i < 3; ++i) {
      experts.packed.push_back(pack(c.library, c.stream, *matrices[i]));
      pointers[i] = experts.packed.back().at();
    }
    table.push_back({pointers[0], pointers[1], pointers[2]});
  }
  experts.table = Buffer(table);
  return experts;
}

inline void check_moe(Checker& c, const HostExperts& experts, const MoeShape& shape, DType dtype, int rows,
                      MoeOptions options) {
  options.rows = rows;
  const std::size_t hidden = static_cast<std::size_t>(shape.hidden), count = static_cast<std::size_t>(rows),
                    intermediate = static_cast<std::size_t>(shape.intermediate),
                    k = static_cast<std::size_t>(shape.top_k);
  const auto x = c.random.normals(count * hidden, dtype), residual = c.random.normals(count * hidden, dtype, 0.3f);
  const auto logits = c.random.normals(count * static_cast<std::size_t>(shape.experts), dtype);
  const Buffer bx = upload(x, dtype), bresidual = upload(residual, dtype), blogits = upload(logits, dtype);
  std::vector<int> ids;
  std::vector<float> weights;
  std::vector<double> activated, out = widened(residual);
  const auto op = [&](double value) {  // an operation's result as separate operations leave it
    return options.round ? static_cast<double>(round_to(static_cast<float>(value), dtype)) : value;
  };
  for (std::size_t r = 0; r < count; ++r) {
    const auto choice =
        choose_on_host(logits.data() + r * static_cast<std::size_t>(shape.experts), shape.experts, shape.top_k, true);
    const std::vector<double> row(x.begin() + static_cast<std::ptrdiff_t>(r * hidden),
                                  x.begin() + static_cast<std::ptrdiff_t>((r + 1) * hidden));
    for (std::size_t s = 0; s < k; ++s) {
      const auto e = static_cast<std::size_t>(choice.ids[s]);
      ids.push_back(choice.ids[s]);
      weights.push_back(static_cast<float>(op(choice.weights[s])));
      const auto gate = product(experts.gate[e], row), up = product(experts.up[e], row);
      for (std::size_t i = 0; i < intermediate; ++i) {
        const double g = op(gate[i]);
        activated.push_back(op(g / (1 + std::exp(-g))) * op(up[i]));
      }
    }
  }
  const Buffer bids(ids), bweights(weights);
  Buffer bactivated(count * k * intermediate * size_of(dtype)), bout(count * hidden * size_of(dtype));
  Buffer chosen(k * 4), chosen_weights(k * 4), margin(4);
  const MoeParams p{experts.table.at<Expert>(),
                    blogits.at(),
                    bids.at<int>(),
                    bweights.at<float>(),
                    bx.at(),
                    bactivated.at(),
                    bresidual.at(),
                    bout.at(),
                    chosen.at<int>(),
                    chosen_weights.at<float>(),
                    margin.at<float>(),
                    rows};
  const WeightFormat& format = experts.gate[0].format;
  const Operation gate_up(c.library, plan_gate_up(format, dtype, shape, options)),
      down(c.library, plan_down(format, dtype, shape, options));
  const std::string name =
      fmt::format("{} {}{}{} {} row(s)", options.arithmetic == Arithmetic::tensor_cores ? "tensor cores" : "fma",
                  describe(experts.gate[0]), options.route ? " routed" : "", options.round ? " rounded" : "", rows);
  c.check(
      "experts' gate and up: " + name, dtype, [&] { gate_up(c.stream, p, rows); }, {&bactivated}, activated);
  if (options.route) c.expect("experts' choice: " + name, chosen.download<int>() == ids);
  // down by itself: from the activations that gate_up left.
  const auto exact = download(bactivated, dtype);
  for (std::size_t r = 0; r < count; ++r) {
    std::vector<std::size_t> slots(k);  // by ascending expert
    std::iota(slots.begin(), slots.end(), r * k);
    std::sort(slots.begin(), slots.end(), [&](std::size_t a, std::size_t b) { return ids[a] < ids[b]; });
    std::vector<double> sum(hidden);
    for (const std::size_t slot : slots) {
      const auto begin = exact.begin() + static_cast<std::ptrdiff_t>(slot * intermediate);
      const auto y = product(experts.down[static_cast<std::size_t>(ids[slot])],
                             std::vector<double>(begin, begin + shape.intermediate));
      for (std::size_t i = 0; i < hidden; ++i) sum[i] = op(sum[i] + op(op(y[i]) * static_cast<double>(weights[slot])));
    }
    for (std::size_t i = 0; i < hidden; ++i) out[r * hidden + i] += sum[i];
  }
  c.check(
      "experts' down: " + name, dtype, [&] { down(c.stream, p, rows); }, {&bout}, out);
}

}  // namespace bench
