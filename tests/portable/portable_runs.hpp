// Runs of the portable execution for its tests.
#pragma once

#include <boost/test/unit_test.hpp>
#include <fpf/engine/make_decoder.hpp>
#include <fpf/evidence/digests.hpp>
#include <fpf/experiment/host_repetition.hpp>
#include <fpf/parallel/single.hpp>
#include <fpf/quant/schemes.hpp>
#include <numeric>

#include "compiled.hpp"

/// `count` ids of a fixed sequence below `vocabulary`.
inline std::vector<std::int32_t> some_ids(int count, std::int32_t first = 7, std::int32_t vocabulary = 4096) {
  std::vector<std::int32_t> out{first % vocabulary};
  while (static_cast<int>(out.size()) < count) out.push_back((out.back() * 1103 + 12345) % vocabulary);
  return out;
}

inline fpf::RunSettings all_layers(const fpf::model::Checkpoint& checkpoint, fpf::DType dtype, std::int64_t steps) {
  fpf::RunSettings out;
  out.layers.resize(static_cast<std::size_t>(checkpoint.config().num_layers));
  std::iota(out.layers.begin(), out.layers.end(), 0);
  out.decode_steps = steps;
  out.dtype = dtype;
  return out;
}

/// The portable decoder of a checkpoint's format.
inline std::unique_ptr<fpf::engine::Decoder> portable_decoder(const fpf::model::Checkpoint& checkpoint,
                                                              fpf::DType dtype) {
  std::unique_ptr<fpf::engine::Decoder> out;
  fpf::quant::select(checkpoint.config().quantization, [&]<class Quant>() {
    out = fpf::engine::make_decoder<Quant, fpf::attention::Flash, fpf::execution::Portable>(
        checkpoint, fpf::parallel::Rank::alone(checkpoint.config()), fpf::device::scalar_type(dtype), at::kCPU);
  });
  return out;
}

inline fpf::evidence::Signals portable_run(fpf::engine::Decoder& decoder, const fpf::RunSettings& settings,
                                           const std::vector<std::vector<std::int32_t>>& prompts,
                                           const std::vector<std::int32_t>& forced = {}) {
  return fpf::run_on_host(decoder, settings, prompts, forced, [] {}).signals;
}
