// Writing a model as a Hugging Face directory: configuration, tokeniser, and weights in one of the formats
// fpf reads.
#pragma once

#include <array>
#include <filesystem>
#include <fpf/checkpoint/requantise.hpp>
#include <fpf/checkpoint/request.hpp>
#include <fpf/core/atomic_directory.hpp>
#include <fpf/core/atomic_file.hpp>
#include <fpf/core/json.hpp>
#include <fpf/model/account.hpp>
#include <fpf/prompt/tokenizer_writer.hpp>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

namespace fpf::checkpoint {

namespace detail {

/// The source's own type where it has 16 bits; float16 for wider ones, whose values it rounds less than
/// bfloat16.
inline DType default_dtype(const model::ModelConfig& config) {
  return size_of(config.dtype) == 2 ? config.dtype : DType::float16;
}

inline std::unique_ptr<LinearFormat> format_of(const CheckpointRequest& request, DType dtype) {
  using enum CheckpointRequest::Quant;
  const std::int64_t group = request.group_size.value_or(128);
  switch (request.quant) {
    case none:
      return std::make_unique<DenseFormat>(dtype);
    case awq:
      return std::make_unique<AwqFormat>(group);
    case gptq:
      return std::make_unique<GptqFormat>(group, request.symmetric, request.by_activation);
    case nf4:
      return std::make_unique<Nf4Format>(dtype);
  }
  throw std::logic_error("no such format");
}

/// The source's config.json with another type and quantisation.
inline nlohmann::ordered_json config_json(const model::Checkpoint& checkpoint, DType dtype,
                                          const nlohmann::ordered_json& quantisation) {
  auto out = parse_json<nlohmann::ordered_json>(checkpoint.config_text(), checkpoint.id());
  if (!out.contains("dtype")) out["torch_dtype"] = fpf::name_of(dtype);
  for (const char* key : {"dtype", "torch_dtype"})  // the newer name, the older one
    if (out.contains(key)) out[key] = fpf::name_of(dtype);
  out.erase("quantization_config");
  if (!quantisation.is_null()) out["quantization_config"] = quantisation;
  return out;
}

inline void write_json(const std::filesystem::path& path, const auto& json) {
  AtomicFile(path).append(json.dump(2) + "\n").commit();
}

/// The token ids that config.json and generation_config.json name, from GGUF's metadata.
inline nlohmann::ordered_json special_ids(const weights::GgufMetadata& metadata) {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  for (const prompt::SpecialToken& token : prompt::special_tokens)
    if (token.id != nullptr && metadata.contains(token.gguf)) out[token.id] = metadata.get<std::int64_t>(token.gguf);
  return out;
}

/// Tokeniser, chat template and generation_config.json: copied, or written from GGUF's metadata where it has
/// a tokeniser.
inline void write_companions(const model::Checkpoint& checkpoint, const nlohmann::ordered_json& config,
                             const std::filesystem::path& to) {
  constexpr std::array files{
      "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
      "merges.txt",     "chat_template.jinja",   "generation_config.json"};
  if (!checkpoint.folder().empty())
    for (const char* file : files)
      if (std::filesystem::exists(checkpoint.folder() / file))
        AtomicFile(to / file).append(MappedFile(checkpoint.folder() / file).text()).commit();
  if (checkpoint.gguf() != nullptr && checkpoint.gguf()->metadata().contains("tokenizer.ggml.model")) {
    const auto& metadata = checkpoint.gguf()->metadata();
    write_json(to / "tokenizer.json", prompt::tokenizer_json(metadata));
    write_json(to / "tokenizer_config.json", prompt::tokenizer_config_json(metadata));
  }
  if (std::filesystem::exists(to / "generation_config.json")) return;
  nlohmann::ordered_json generation = {{"_from_model_config", true}};
  for (const prompt::SpecialToken& token : prompt::special_tokens)
    if (token.id != nullptr && config.contains(token.id)) generation[token.id] = config[token.id];
  write_json(to / "generation_config.json", generation);
}

/// The tensors that the model's parameters are made of, as the source stores them. Throws Error for others that may not
/// be left behind.
inline std::vector<weights::TensorSpec> stored_tensors(const model::Checkpoint& checkpoint) {
  read_parameters(checkpoint);
  model::account(checkpoint);
  const weights::TensorSource& source = checkpoint.source();
  const std::vector<std::string> names = source.names();
  const std::vector<bool> taken = source.taken();
  std::vector<weights::TensorSpec> out;
  for (std::size_t i = 0; i < names.size(); ++i)
    if (taken[i]) out.push_back({names[i], source.at(names[i]).dtype(), source.at(names[i]).shape});
  return out;
}

}  // namespace detail

/// Writes the folder `to`, which must be new or empty; it appears when it is complete. A source whose linear
/// layers are in the requested format already is copied bit for bit; one in another quantised format is
/// dequantised first. Throws Error by name for what does not fit: group sizes, options that the format has no
/// use for, a disk without room, tensors of the source that may not be left unread (model/account.hpp).
inline void write_checkpoint(const model::Checkpoint& checkpoint, const CheckpointRequest& request,
                             const std::filesystem::path& to) {
  require_sense(request, checkpoint);
  const model::ModelConfig& config = checkpoint.config();
  const bool copy = already_in(request, config);
  const DType dtype = copy ? config.dtype : request.dtype.value_or(detail::default_dtype(config));
  const auto format = detail::format_of(request, dtype);
  const auto tensors = copy ? detail::stored_tensors(checkpoint) : requantised_tensors(checkpoint, *format, dtype);

  AtomicDirectory folder(to);
  folder.require_space(std::accumulate(tensors.begin(), tensors.end(), std::uintmax_t{0},
                                       [](std::uintmax_t sum, const auto& tensor) { return sum + tensor.bytes(); }));
  auto json = detail::config_json(
      checkpoint, dtype,
      copy ? nlohmann::ordered_json(config.quantization)
           : format->config(model::kept_modules(config, request.quant == CheckpointRequest::Quant::nf4)));
  if (checkpoint.gguf() != nullptr) json.update(detail::special_ids(checkpoint.gguf()->metadata()));
  detail::write_json(folder.content() / "config.json", json);
  detail::write_companions(checkpoint, json, folder.content());
  {
    weights::SafetensorsDirectoryWriter out(folder.content(), tensors, request.shard_bytes);
    if (copy)
      copy_weights(checkpoint.source(), tensors, out, request.verbosity);
    else
      requantise(checkpoint, {*format, dtype, request.calibration, request.verbosity}, out);
    out.finish();
  }
  if (!copy) model::account(checkpoint);
  folder.commit();
}

}  // namespace fpf::checkpoint
