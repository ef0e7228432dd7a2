// GPTQ's layout (GPTQModel 7.7.0, nn_modules/qlinear): reading, slicing, writing. No tensor library.
//
//   qweight  int32 [ceil(in/8), out]        nibble i of word r is input 8r + i
//   qzeros   int32 [groups, ceil(out/8)]    nibbles in order; checkpoint_format "gptq" stores the words less 0x11111111
//   scales   [groups, out]                  groups = ceil(in / group_size)
//   g_idx    int32 [in]                     the group of each input; not ascending with desc_act, and without it often
//                                           left out: input k is in group k / group_size
#pragma once

#include <fpf/quant/int4_groups.hpp>
#include <fpf/quant/quant_config.hpp>
#include <numeric>
#include <optional>

namespace fpf::quant {

/// What version 1 adds to (and subtracted from) every qzeros word: one for each nibble.
inline constexpr std::uint32_t gptq_v1_offset = 0x11111111u;

/// A layer, or a rectangle of one; a view of somebody's memory. A rectangle keeps all groups.
struct GptqView {
  std::int64_t in = 0;
  std::int64_t out = 0;
  std::int64_t groups = 0;
  const std::int32_t* qweight = nullptr;
  std::int64_t qweight_stride = 0;  // words from row to row
  const std::int32_t* qzeros = nullptr;
  std::int64_t qzeros_stride = 0;
  std::int64_t first_column = 0;  // the rectangle's first output, for qzeros, whose words hold eight
  std::uint32_t zero_offset = 0;  // added to every qzeros word
  ScaleView scales;
  const std::int32_t* g_idx = nullptr;  // null: groups of `group` inputs follow one another
  std::int64_t group = 0;
  std::int64_t first_input = 0;  // the rectangle's, where g_idx is null

  std::int64_t group_of(std::int64_t input) const {
    return g_idx != nullptr ? g_idx[input] : (first_input + input) / group;
  }
};

/// The tensors of layer `name` in a checkpoint, validated.
struct GptqTensors {
  const weights::StoredTensor* qweight = nullptr;
  const weights::StoredTensor* qzeros = nullptr;
  const weights::StoredTensor* scales = nullptr;
  const weights::StoredTensor* g_idx = nullptr;  // may be missing
  std::int64_t in = 0, out = 0, group = 0, groups = 0;
  bool zeros_are_one_less = true, in_order = false;  // in_order: desc_act is said to be false

  /// Throws Error by name for a missing tensor, a wrong dtype or shape, and stored zeros that contradict `sym`.
  static GptqTensors find(const weights::TensorSource& source, const QuantisationConfig& config,
                          const std::string& name, std::int64_t out, std::int64_t in) {
    GptqTensors found;
    found.in = in;
    found.out = out;
    found.group = group_length(config.group_size, in);
    found.groups = (in + found.group - 1) / found.group;
    found.zeros_are_one_less = config.zeros_are_one_less;
    found.in_order = config.desc_act == false;
    found.qweight = &require_dtype(source.at(name + ".qweight", {(in + 7) / 8, out}), {DType::int32});
    found.qzeros = &require_dtype(source.at(name + ".qzeros", {found.groups, (out + 7) / 8}), {DType::int32});
    found.scales = &require_dtype(source.at(name + ".scales", {found.groups, out}),
                                  {DType::float16, DType::bfloat16, DType::float32});
    if (found.groups > 1 && config.desc_act == true && !source.contains(name + ".g_idx"))
      fail(
          "layer '{}' has no '{}.g_idx' in {}, but quantization_config says desc_act: which input is in which group is "
          "not known",
          name, name, found.qweight->file);
    if (source.contains(name + ".g_idx"))
      found.g_idx = &require_dtype(source.at(name + ".g_idx", {in}), {DType::int32});
    found.require_zeros(source, config);
    return found;
  }

  /// The group of every input, [in], where there is no g_idx.
  std::vector<std::int32_t> groups_in_order() const {
    std::vector<std::int32_t> group_of(static_cast<std::size_t>(in));
    for (std::int64_t k = 0; k < in; ++k) group_of[static_cast<std::size_t>(k)] = static_cast<std::int32_t>(k / group);
    return group_of;
  }

  /// Throws Error naming tensor, file and input for a group that does not exist, and for one that is not the input's in
  /// order where desc_act is said to be false: engines that go by the tensor and engines that go by the configuration
  /// (vLLM, GPTQModel's Marlin) compute different numbers. `groups_of_inputs` is g_idx's data.
  void require_groups(std::span<const std::int32_t> groups_of_inputs) const {
    for (std::size_t k = 0; k < groups_of_inputs.size(); ++k) {
      if (groups_of_inputs[k] < 0 || groups_of_inputs[k] >= groups)
        fail("tensor '{}' in {} puts input {} into group {}: there are {} groups", g_idx->name, g_idx->file, k,
             groups_of_inputs[k], groups);
      if (in_order && groups_of_inputs[k] != static_cast<std::int64_t>(k) / group)
        fail(
            "tensor '{}' in {} puts input {} into group {}, but quantization_config says desc_act false, which puts it "
            "into {}: engines that ignore g_idx then compute different numbers",
            g_idx->name, g_idx->file, k, groups_of_inputs[k], static_cast<std::int64_t>(k) / group);
    }
  }

  /// A view of the stored bytes, which must be resident; g_idx is checked.
  GptqView view() const {
    if (g_idx != nullptr) require_groups(g_idx->as<std::int32_t>());
    return {.in = in,
            .out = out,
            .groups = groups,
            .qweight = qweight->as<std::int32_t>().data(),
            .qweight_stride = out,
            .qzeros = qzeros->as<std::int32_t>().data(),
            .qzeros_stride = (out + 7) / 8,
            .first_column = 0,
            .zero_offset = zeros_are_one_less ? gptq_v1_offset : 0,
            .scales = {scales->data.data(), scales->dtype(), out},
            .g_idx = g_idx != nullptr ? g_idx->as<std::int32_t>().data() : nullptr,
            .group = group};
  }

 private:
  /// Symmetric codes have the zero 8, which version 1 stores as 7. Engines that go by `sym` (vLLM's and GPTQModel's
  /// Marlin, Machete) do not read zeros, others do. Throws Error for a zero that both do not agree on; where nothing is
  /// said, for zeros that are all what the other version stores.
  void require_zeros(const weights::TensorSource& source, const QuantisationConfig& config) const {
    if (config.symmetric == false) return;
    const std::uint32_t offset = zeros_are_one_less ? gptq_v1_offset : 0, own = 8 - (zeros_are_one_less ? 1 : 0),
                        others = zeros_are_one_less ? 8 : 7;
    const auto row_words = static_cast<std::size_t>((out + 7) / 8);
    std::int64_t wrong = -1, other_versions = 0;  // the first one's place in [groups, out]
    std::uint32_t stored_wrong = 0;
    for_words(source, *qzeros, [&](std::size_t at, std::uint32_t word) {
      if (word + offset == 0x88888888u) return;
      const auto group_at = static_cast<std::int64_t>(at / row_words),
                 first = static_cast<std::int64_t>(8 * (at % row_words));
      for (std::int64_t i = 0; i < std::min<std::int64_t>(8, out - first); ++i) {
        const std::uint32_t zero = ((word + offset) >> (4 * i)) & 15u,
                            stored = (zero - (zeros_are_one_less ? 1 : 0)) & 15u;
        if (zero == 8) continue;
        other_versions += stored == others;
        if (wrong >= 0) continue;
        wrong = group_at * out + first + i;
        stored_wrong = stored;
      }
    });
    const bool all_others = other_versions == groups * out;
    if (wrong < 0 || (!config.symmetric && !all_others)) return;
    fail(
        "tensor '{}' in {} stores the zero {} (group {}, output {}), but quantization_config says {} and {}, whose zeros are "
        "stored as {}{}",
        qzeros->name, qzeros->file, stored_wrong, wrong / out, wrong % out,
        config.symmetric ? "sym true" : "nothing of sym (true where nothing is said)",
        zeros_are_one_less ? "checkpoint_format gptq (version 1)" : "checkpoint_format gptq_v2", own,
        all_others
            ? fmt::format(": all are those of {}; if the file is of that version, its checkpoint_format must say so",
                          zeros_are_one_less ? "gptq_v2" : "gptq (version 1)")
            : std::string(": with other zeros it is not symmetric"));
  }
};

/// The rectangle of outputs `out` and inputs `in`. Inputs must begin at a multiple of 8 (a word); outputs
/// anywhere.
inline GptqView slice(const GptqView& whole, Range out, Range in) {
  if (in.begin % 8 != 0)
    fail("inputs {} to {} of a GPTQ layer were asked for: it can be cut at multiples of 8 only", in.begin, in.end);
  GptqView part = whole;
  part.in = in.size();
  part.out = out.size();
  part.qweight += in.begin / 8 * whole.qweight_stride + out.begin;
  part.first_column += out.begin;
  part.scales.data += out.begin * static_cast<std::int64_t>(size_of(whole.scales.dtype));
  if (part.g_idx != nullptr) part.g_idx += in.begin;
  part.first_input += in.begin;
  return part;
}

/// Zero of output `column` (of the rectangle) in a group, 0 to 15.
inline std::uint32_t gptq_zero(const GptqView& view, std::int64_t group, std::int64_t column) {
  const auto at = view.first_column + column;
  const auto word = static_cast<std::uint32_t>(view.qzeros[group * view.qzeros_stride + at / 8]) + view.zero_offset;
  return (word >> (4 * (at % 8))) & 15u;
}

/// Inputs [first, first + count) of all outputs -> `values` [count, out], exact products in float32 (rounded
/// once where the scales are float32).
inline void dequantise(const GptqView& view, std::int64_t first, std::int64_t count, float* values) {
  constexpr std::int64_t tile = 64;  // columns; the scales and zeros of all groups stay in the second cache
  const auto groups = static_cast<std::size_t>(view.groups);
  std::vector<float> zeros(groups * tile), scales(groups * tile);
  for (std::int64_t column = 0; column < view.out; column += tile) {
    const auto width = std::min(tile, view.out - column);
    for (std::int64_t g = 0; g < view.groups; ++g) {
      view.scales.read(g, column, width, scales.data() + g * tile);
      for (std::int64_t c = 0; c < width; ++c)
        zeros[static_cast<std::size_t>(g * tile + c)] = static_cast<float>(gptq_zero(view, g, column + c));
    }
    for (std::int64_t k = first; k < first + count; ++k) {
      const auto* words = view.qweight + k / 8 * view.qweight_stride + column;
      const int shift = static_cast<int>(4 * (k % 8));
      const float* zero = zeros.data() + view.group_of(k) * tile;
      const float* scale = scales.data() + view.group_of(k) * tile;
      float* row = values + (k - first) * view.out + column;
      for (std::int64_t c = 0; c < width; ++c) {
        const auto code = static_cast<std::int32_t>((static_cast<std::uint32_t>(words[c]) >> shift) & 15u);
        row[c] = (static_cast<float>(code) - zero[c]) * scale[c];
      }
    }
  }
}

/// The whole view -> [in, out].
inline std::vector<float> dequantise(const GptqView& view) {
  std::vector<float> values(static_cast<std::size_t>(view.in * view.out));
  dequantise(view, 0, view.in, values.data());
  return values;
}

/// The inputs in the order of their groups `group_of`, those of a group in their own order. Throws Error for groups of
/// unequal lengths.
inline std::vector<std::int32_t> inputs_by_group(std::span<const std::int32_t> group_of, std::int64_t groups) {
  const auto in = std::ssize(group_of);
  std::vector<std::int32_t> order(group_of.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, {}, [&](std::int32_t k) { return group_of[static_cast<std::size_t>(k)]; });
  for (std::int64_t at = 0; at < in; ++at)
    if (in % groups != 0 ||
        group_of[static_cast<std::size_t>(order[static_cast<std::size_t>(at)])] != at / (in / groups))
      fail("the {} inputs of a GPTQ layer fall into {} groups of unequal lengths: a GPU needs equal ones", in, groups);
  return order;
}

/// Codes [in, out], 0 to 15 each -> qweight [ceil(in / 8), out]; a last word that is not full has zeros
/// above.
inline std::vector<std::int32_t> gptq_pack_codes(std::span<const std::uint8_t> codes, std::int64_t out) {
  const auto width = static_cast<std::size_t>(out), rows = codes.size() / width;
  std::vector<std::int32_t> words((rows + 7) / 8 * width);
  for (std::size_t k = 0; k < rows; ++k)
    for (std::size_t c = 0; c < width; ++c) {
      auto& word = words[k / 8 * width + c];
      word =
          static_cast<std::int32_t>(static_cast<std::uint32_t>(word) | (codes[k * width + c] & 15u) << (4 * (k % 8)));
    }
  return words;
}

/// Zeros [groups, out] -> qzeros [groups, ceil(out / 8)], in version 1 ("gptq") or 2 ("gptq_v2"). Version 1
/// cannot hold a zero of 0 without borrowing from its neighbour, so 1 to 15 are taken. Throws Error for
/// others.
inline std::vector<std::int32_t> gptq_pack_zeros(std::span<const std::uint8_t> zeros, std::int64_t out, int version) {
  const auto width = static_cast<std::size_t>(out), rows = zeros.size() / width, row_words = (width + 7) / 8;
  std::vector<std::int32_t> words(rows * row_words);
  for (std::size_t g = 0; g < rows; ++g)
    for (std::size_t w = 0; w < row_words; ++w) {
      std::uint32_t word = 0;
      for (std::size_t i = 0; i < std::min<std::size_t>(8, width - 8 * w); ++i) {
        const auto zero = zeros[g * width + 8 * w + i];
        if (zero < 1 || zero > 15) fail("cannot store {} as a GPTQ zero: expected 1 to 15", zero);
        word |= static_cast<std::uint32_t>(zero) << (4 * i);
      }
      words[g * row_words + w] = static_cast<std::int32_t>(version == 1 ? word - gptq_v1_offset : word);
    }
  return words;
}

/// The tensors of a layer [out, in] in groups of `group` inputs.
inline std::vector<weights::TensorSpec> gptq_tensors(const std::string& name, std::int64_t out, std::int64_t in,
                                                     std::int64_t group) {
  return {{name + ".qweight", DType::int32, {in / 8, out}},
          {name + ".qzeros", DType::int32, {in / group, out / 8}},
          {name + ".scales", DType::float16, {in / group, out}},
          {name + ".g_idx", DType::int32, {in}}};
}

/// The quantization_config (version 1) of a model whose modules `kept` are not quantised.
inline nlohmann::ordered_json gptq_config(std::int64_t group_size, bool symmetric, bool desc_act,
                                          const std::vector<std::string>& kept) {
  nlohmann::ordered_json out = {{"quant_method", "gptq"}, {"bits", 4},        {"group_size", group_size},
                                {"desc_act", desc_act},   {"sym", symmetric}, {"checkpoint_format", "gptq"},
                                {"pack_dtype", "int32"},  {"lm_head", false}, {"modules_to_not_convert", kept}};
  for (const std::string& module : kept)  // what GPTQModel reads
    if (module != "lm_head") out["dynamic"]["-:.*\\." + module + "$"] = nlohmann::json::object();
  return out;
}

}  // namespace fpf::quant
