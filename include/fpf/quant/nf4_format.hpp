// bitsandbytes' NF4 (QLoRA, arXiv:2305.14314; bitsandbytes 0.50.2): reading, slicing, writing. No tensor
// library.
//
//   X.weight                                uint8 [ceil(out*in/2), 1]   row-major over [out, in], the high nibble is
//                                                                       the even element; the same bytes may be stored
//                                                                       under another dtype (bnb_4bit_quant_storage)
//   X.weight.absmax                         float32 [blocks], or uint8 when nested; blocks = ceil(out*in / blocksize)
//   X.weight.quant_map                      float32 [16]
//   X.weight.nested_absmax                  float32 [ceil(blocks/nested_blocksize)]
//   X.weight.nested_quant_map               float32 [256]
//   X.weight.quant_state.bitsandbytes__nf4  JSON as uint8
//
// absmax = nested_quant_map[a] * nested_absmax + nested_offset, each operation rounded to float32; a weight
// is quant_map[nibble] * absmax in float32, then rounded once.
#pragma once

#include <cmath>
#include <fpf/core/json.hpp>
#include <fpf/core/range.hpp>
#include <fpf/quant/int4_groups.hpp>
#include <fpf/weights/nf4_tables.hpp>
#include <nlohmann/json.hpp>

namespace fpf::quant {

/// A layer's NF4 values; a view of somebody's memory.
struct Nf4View {
  std::int64_t out = 0;
  std::int64_t in = 0;
  std::int64_t blocksize = 64;
  const std::uint8_t* codes = nullptr;
  std::span<const float, 16> quant_map = weights::nf4_code;
  const float* absmax = nullptr;  // of each block; null when nested
  const std::uint8_t* nested_codes = nullptr;
  const float* nested_absmax = nullptr;
  std::span<const float, 256> nested_map = weights::dynamic_code;
  std::int64_t nested_blocksize = 256;
  float nested_offset = 0;

  std::int64_t elements() const { return out * in; }
  std::int64_t blocks() const { return (elements() + blocksize - 1) / blocksize; }

  /// The block's largest magnitude.
  float scale(std::int64_t block) const {
    if (absmax != nullptr) return absmax[block];
    // Rounded on its own, as the package does, and not fused with the addition.
    const volatile float product = nested_map[nested_codes[block]] * nested_absmax[block / nested_blocksize];
    return product + nested_offset;
  }
};

/// The tensors of layer `name` in a checkpoint, validated.
struct Nf4Tensors {
  const weights::StoredTensor* codes = nullptr;
  const weights::StoredTensor* absmax = nullptr;
  const weights::StoredTensor* quant_map = nullptr;
  const weights::StoredTensor* nested_absmax = nullptr;  // null when not nested
  const weights::StoredTensor* nested_quant_map = nullptr;
  std::int64_t out = 0, in = 0, blocksize = 64, nested_blocksize = 256;
  float nested_offset = 0;

  bool nested() const { return nested_absmax != nullptr; }

  static constexpr std::string_view state_suffix = ".weight.quant_state.bitsandbytes__nf4";

  /// Throws Error by name for a missing tensor, a wrong dtype or length (of codes in bytes), and a quant_state that is
  /// no JSON or describes something else.
  static Nf4Tensors find(const weights::TensorSource& source, const std::string& name, std::int64_t out,
                         std::int64_t in) {
    Nf4Tensors found;
    found.out = out;
    found.in = in;
    const auto weight = name + ".weight";
    const auto elements = out * in;
    found.codes =
        &require_dtype(source.at(weight), {DType::uint8, DType::int8, DType::float16, DType::bfloat16, DType::float32});
    if (const auto bytes = static_cast<std::size_t>((elements + 1) / 2); found.codes->bytes() != bytes)
      fail("tensor '{}' in {} has {} bytes ({} {}): expected {}, two 4-bit codes each", weight, found.codes->file,
           found.codes->bytes(), fpf::name_of(found.codes->dtype()), weights::shape_text(found.codes->shape), bytes);
    found.read_state(source, name);
    const auto blocks = (elements + found.blocksize - 1) / found.blocksize;
    found.absmax = &sized(source, weight + ".absmax", blocks, {found.nested_ ? DType::uint8 : DType::float32});
    found.quant_map = &sized(source, weight + ".quant_map", 16, {DType::float32});
    if (!found.nested_) return found;
    const auto outer = (blocks + found.nested_blocksize - 1) / found.nested_blocksize;
    found.nested_absmax = &sized(source, weight + ".nested_absmax", outer, {DType::float32});
    found.nested_quant_map = &sized(source, weight + ".nested_quant_map", 256, {DType::float32});
    return found;
  }

  /// A view of the stored bytes, which must be resident.
  Nf4View view() const {
    Nf4View view{.out = out,
                 .in = in,
                 .blocksize = blocksize,
                 .codes = reinterpret_cast<const std::uint8_t*>(codes->data.data()),
                 .quant_map = quant_map->as<float>().first<16>()};
    if (!nested()) {
      view.absmax = absmax->as<float>().data();
      return view;
    }
    view.nested_codes = absmax->as<std::uint8_t>().data();
    view.nested_absmax = nested_absmax->as<float>().data();
    view.nested_map = nested_quant_map->as<float>().first<256>();
    view.nested_blocksize = nested_blocksize;
    view.nested_offset = nested_offset;
    return view;
  }

 private:
  bool nested_ = false;

  static const weights::StoredTensor& sized(const weights::TensorSource& source, const std::string& name,
                                            std::int64_t elements, std::initializer_list<DType> dtypes) {
    const auto& tensor = require_dtype(source.at(name), dtypes);
    if (tensor.elements() != elements)
      fail("tensor '{}' in {} has {} elements: expected {}", name, tensor.file, tensor.elements(), elements);
    return tensor;
  }

  void read_state(const weights::TensorSource& source, const std::string& name) {
    const std::string fp4 = name + ".weight.quant_state.bitsandbytes__fp4";
    if (const auto* other = source.find(fp4))
      fail("layer '{}' in {} is stored as fp4 ('{}'): expected nf4", name, other->file, fp4);
    const auto& stored = require_dtype(source.at(name + std::string(state_suffix)), {DType::uint8});
    std::vector<std::byte> scratch;
    const auto bytes = source.bytes_of(stored, scratch);
    const auto wrong = [&](std::string_view what) { fail("tensor '{}' in {} {}", stored.name, stored.file, what); };
    const auto no_state = [&](JsonFault, const std::string& what) {
      wrong(fmt::format("is no quant_state in JSON: {}", what));
    };
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const nlohmann::json state = parse_json(text, JsonRules{}, no_state);
    try {
      if (state.at("quant_type") != "nf4")
        wrong(fmt::format("has quant_type {}: expected nf4", state["quant_type"].dump()));
      if (state.at("shape") != nlohmann::json{out, in})
        wrong(fmt::format("has shape {}: expected [{}, {}]", state["shape"].dump(), out, in));
      blocksize = json_as<std::int64_t>(state.at("blocksize"));
      nested_ = state.contains("nested_offset");
      if (nested_) {
        nested_blocksize = json_as<std::int64_t>(state.at("nested_blocksize"));
        nested_offset = static_cast<float>(state.at("nested_offset").get<double>());
        if (state.at("nested_dtype") != "float32")
          wrong(fmt::format("has nested_dtype {}: expected float32", state["nested_dtype"].dump()));
      }
    } catch (const nlohmann::json::exception& error) {
      no_state(JsonFault::syntax, error.what());
    }
    for (const auto size : {blocksize, nested_blocksize})
      if (size < 2 || size > 4096 || (size & (size - 1)) != 0)
        wrong(fmt::format("has blocks of {} elements: expected a power of two up to 4096", size));
  }
};

/// Elements [first, first + count) of the flattened [out, in] -> `values`, in float32.
inline void dequantise(const Nf4View& view, std::int64_t first, std::int64_t count, float* values) {
  const auto end = first + count;
  for (std::int64_t i = first; i < end;) {
    const auto block = i / view.blocksize, block_end = std::min(end, (block + 1) * view.blocksize);
    std::array<float, 16> products;
    const float scale = view.scale(block);
    for (std::size_t code = 0; code < 16; ++code) products[code] = view.quant_map[code] * scale;
    if (i % 2 != 0) *values++ = products[view.codes[i++ / 2] & 15u];
    for (; i + 1 < block_end; i += 2, values += 2) {
      const auto byte = view.codes[i / 2];
      values[0] = products[byte >> 4];
      values[1] = products[byte & 15u];
    }
    if (i < block_end) *values++ = products[view.codes[i++ / 2] >> 4];
  }
}

/// The rectangle of outputs `out` and inputs `in` -> `values` [out.size(), in.size()].
inline void dequantise(const Nf4View& view, Range out, Range in, float* values) {
  if (in.size() == view.in) return dequantise(view, out.begin * view.in, out.size() * view.in, values);
  for (std::int64_t row = out.begin; row < out.end; ++row, values += in.size())
    dequantise(view, row * view.in + in.begin, in.size(), values);
}

/// The whole view -> [out, in].
inline std::vector<float> dequantise(const Nf4View& view) {
  std::vector<float> values(static_cast<std::size_t>(view.elements()));
  dequantise(view, 0, view.elements(), values.data());
  return values;
}

/// A quantised matrix: codes two a byte, the largest magnitude of each block.
struct Nf4Blocks {
  std::vector<std::uint8_t> codes;
  std::vector<float> absmax;
};

/// Quantises to the nearest of nf4_code (ties to the lower), in blocks, as bitsandbytes' reference operation
/// does.
inline Nf4Blocks nf4_quantise(std::span<const float> values, std::size_t blocksize = 64) {
  std::array<float, 15> bounds;
  for (std::size_t i = 0; i < 15; ++i) bounds[i] = (weights::nf4_code[i] + weights::nf4_code[i + 1]) / 2;
  Nf4Blocks out{std::vector<std::uint8_t>((values.size() + 1) / 2), {}};
  for (std::size_t begin = 0; begin < values.size(); begin += blocksize) {
    const auto block = values.subspan(begin, std::min(blocksize, values.size() - begin));
    float largest = 0;
    for (const float v : block) largest = std::max(largest, std::abs(v));
    out.absmax.push_back(largest);
    const bool full = block.size() == blocksize;  // the package multiplies by the reciprocal here, and divides there
    const float divisor = std::max(largest, 1e-38f), factor = 1.0f / divisor;
    for (std::size_t i = 0; i < block.size(); ++i) {
      const float scaled = std::clamp(full ? block[i] * factor : block[i] / divisor, -1.0f, 1.0f);
      const auto code = static_cast<unsigned>(std::ranges::lower_bound(bounds, scaled) - bounds.begin());
      const auto at = begin + i;
      out.codes[at / 2] = static_cast<std::uint8_t>(out.codes[at / 2] | (at % 2 == 0 ? code << 4 : code));
    }
  }
  // An odd count is padded with a value of 0, whose code is 7.
  if (values.size() % 2 != 0) out.codes.back() = static_cast<std::uint8_t>(out.codes.back() | 7u);
  return out;
}

/// Block maxima quantised again: 8-bit codes of dynamic_code in blocks, about their mean.
struct Nf4Nested {
  std::vector<std::uint8_t> codes;
  std::vector<float> absmax;
  float offset = 0;
};

inline Nf4Nested nf4_nest(std::span<const float> absmax, std::size_t blocksize = 256) {
  double sum = 0;
  for (const float v : absmax) sum += v;
  Nf4Nested out;
  out.offset = static_cast<float>(sum / static_cast<double>(std::max<std::size_t>(absmax.size(), 1)));
  for (std::size_t begin = 0; begin < absmax.size(); begin += blocksize) {
    const auto block = absmax.subspan(begin, std::min(blocksize, absmax.size() - begin));
    float largest = 0;
    for (const float v : block) largest = std::max(largest, std::abs(v - out.offset));
    out.absmax.push_back(largest);
    for (const float v : block) {
      const float scaled = largest == 0 ? 0 : (v - out.offset) / largest;
      const auto above = std::ranges::lower_bound(weights::dynamic_code, scaled);
      const auto below = above == weights::dynamic_code.begin() ? above : above - 1;
      const bool up = above != weights::dynamic_code.end() && *above - scaled < scaled - *below;
      out.codes.push_back(static_cast<std::uint8_t>((up ? above : below) - weights::dynamic_code.begin()));
    }
  }
  return out;
}

/// The tensors of a nested layer [out, in] in blocks of 64, whose quant_state has `state_length` bytes.
inline std::vector<weights::TensorSpec> nf4_tensors(const std::string& name, std::int64_t out, std::int64_t in,
                                                    std::int64_t state_length) {
  const std::int64_t elements = out * in, blocks = (elements + 63) / 64;
  const std::string weight = name + ".weight";
  return {{weight, DType::uint8, {(elements + 1) / 2, 1}},
          {weight + ".absmax", DType::uint8, {blocks}},
          {weight + ".quant_map", DType::float32, {16}},
          {weight + ".nested_absmax", DType::float32, {(blocks + 255) / 256}},
          {weight + ".nested_quant_map", DType::float32, {256}},
          {name + std::string(Nf4Tensors::state_suffix), DType::uint8, {state_length}}};
}

/// The quantization_config of a model with activations of type `compute` whose modules `kept` are not
/// quantised.
inline nlohmann::ordered_json nf4_config(DType compute, const std::vector<std::string>& kept) {
  return {{"quant_method", "bitsandbytes"},
          {"load_in_4bit", true},
          {"load_in_8bit", false},
          {"bnb_4bit_quant_type", "nf4"},
          {"bnb_4bit_use_double_quant", true},
          {"bnb_4bit_compute_dtype", name_of(compute)},
          {"bnb_4bit_quant_storage", "uint8"},
          {"llm_int8_skip_modules", kept}};
}

}  // namespace fpf::quant
