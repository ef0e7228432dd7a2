// What a checkpoint is asked to become, and which wishes go together.
#pragma once

#include <array>
#include <cstdint>
#include <fpf/core/progress.hpp>
#include <fpf/model/checkpoint.hpp>
#include <fpf/model/tokens.hpp>
#include <fpf/quant/quant_config.hpp>
#include <optional>
#include <string_view>

namespace fpf::checkpoint {

/// What make_checkpoint is asked for.
struct CheckpointRequest {
  enum class Quant : std::uint8_t { none, awq, gptq, nf4 };
  static constexpr std::array<std::string_view, 4> names{"none", "awq", "gptq", "nf4"};

  Quant quant = Quant::none;
  std::optional<std::int64_t> group_size;  // of awq and gptq, 128 if not given; -1: whole columns
  std::optional<DType> dtype;              // of what is not quantised; if not given see default_dtype()
  bool symmetric = false;                  // gptq: every zero is 8
  bool by_activation = false;              // gptq: desc_act
  model::Windows calibration;              // see Requantisation
  std::size_t shard_bytes = 4'000'000'000;
  Verbosity verbosity = Verbosity::normal;

  /// Throws Error listing the names.
  static Quant parse(std::string_view name) {
    for (std::size_t i = 0; i < names.size(); ++i)
      if (names[i] == name) return static_cast<Quant>(i);
    fail("--quant {}: expected {}", name, fmt::join(names, ", "));
  }
};

/// Whether the source's linear layers are stored in the requested format already.
inline bool already_in(const CheckpointRequest& request, const model::ModelConfig& config) {
  using enum CheckpointRequest::Quant;
  if (config.quantization.is_null() || request.quant == none) return false;
  constexpr std::array<CheckpointRequest::Quant, 3> by_method{awq, gptq, nf4};
  return by_method[static_cast<std::size_t>(quant::method_of(config.quantization))] == request.quant;
}

/// Every rule between wishes, whoever makes them: what the format does not know of is refused, so that no
/// wish is dropped in silence. Throws Error naming the options of make_checkpoint.
inline void require_sense(const CheckpointRequest& request, const model::Checkpoint& checkpoint) {
  using enum CheckpointRequest::Quant;
  const auto name = CheckpointRequest::names[static_cast<std::size_t>(request.quant)];
  const bool grouped = request.quant == awq || request.quant == gptq;
  if (request.group_size && !grouped) fail("--group-size goes with --quant awq and gptq: found --quant {}", name);
  if ((request.symmetric || request.by_activation) && request.quant != gptq)
    fail("--symmetric and --desc-act go with --quant gptq: found --quant {}", name);
  if (request.group_size && *request.group_size != -1 && *request.group_size < 1)
    fail("--group-size {}: expected a positive number, or -1 for whole columns", *request.group_size);
  if (request.dtype && *request.dtype != DType::float16 && *request.dtype != DType::bfloat16 &&
      !(*request.dtype == DType::float32 && request.quant == none))
    fail("--dtype {}: expected float16 or bfloat16 (float32 too with --quant none)", fpf::name_of(*request.dtype));
  if (!request.calibration.empty() && request.quant == none)
    fail("--calibration-pdf goes with a quantised format: found --quant none");
  if (!already_in(request, checkpoint.config())) return;
  if (request.group_size || request.dtype || request.symmetric || request.by_activation || !request.calibration.empty())
    fail(
        "{} is in {} already and would be copied as it is: expected no --group-size, --dtype, --symmetric, "
        "--desc-act or "
        "--calibration-pdf",
        checkpoint.id(), name);
}

}  // namespace fpf::checkpoint
