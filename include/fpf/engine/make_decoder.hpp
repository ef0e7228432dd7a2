// Which engine computes, of policies as values or as types.
#pragma once

#include <fpf/engine/library.hpp>
#include <fpf/engine/portable_cpu.hpp>
#include <fpf/engine/portable_gpu_decoder.hpp>
#include <memory>
#include <utility>

namespace fpf::engine {

/// Makes a rank's decoder. All of the engines' code hangs on this one function, which is not inline: `extern template struct
/// DecoderFactory<>` leaves it to another object file.
template <class = void>
struct DecoderFactory {
  static std::unique_ptr<Decoder> make(const Numerics& numerics, const model::Checkpoint& checkpoint,
                                       parallel::Rank rank, at::ScalarType dtype, at::Device device);
};

template <class T>
std::unique_ptr<Decoder> DecoderFactory<T>::make(const Numerics& numerics, const model::Checkpoint& checkpoint,
                                                 parallel::Rank rank, at::ScalarType dtype, at::Device device) {
  const c10::InferenceMode guard;
  require_carried_out(numerics, device.type());
  if (!numerics.execution.portable)
    return std::make_unique<LibraryDecoder>(numerics, checkpoint, std::move(rank), dtype, device);
  if (device.is_cuda())
    return std::make_unique<PortableGpuDecoder>(numerics, checkpoint, std::move(rank), dtype, device);
  return std::make_unique<PortableCpuDecoder>(numerics, checkpoint, std::move(rank), dtype);
}

/// The same for policies as types.
template <quant::QuantScheme Quant, attention::AttentionKernel Attention, execution::Execution Execution>
std::unique_ptr<Decoder> make_decoder(const model::Checkpoint& checkpoint, parallel::Rank rank, at::ScalarType dtype,
                                      at::Device device) {
  const Numerics numerics{quant::scheme<Quant>(), attention::kernel<Attention>(), execution::policy<Execution>()};
  return DecoderFactory<>::make(numerics, checkpoint, std::move(rank), dtype, device);
}

}  // namespace fpf::engine
