// A model as it lies on disk (or is made from a seed): configuration and tensors under Hugging Face's names.
#pragma once

#include <fpf/core/git_lfs.hpp>
#include <fpf/core/hub_name.hpp>
#include <fpf/core/json.hpp>
#include <fpf/model/config_gguf.hpp>
#include <fpf/model/config_json.hpp>
#include <fpf/model/expert_stacks.hpp>
#include <fpf/model/gguf_names.hpp>
#include <fpf/model/synthetic_model.hpp>
#include <fpf/quant/quant_config.hpp>
#include <fpf/quant/stored_form.hpp>
#include <fpf/weights/safetensors.hpp>
#include <memory>

namespace fpf::model {

/// An opened model. Move-only; tensors are views that live as long as it does.
class Checkpoint {
 public:
  /// Opens a Hugging Face directory, a .gguf file or a `synthetic:...` description. Throws Error, by name, for
  /// everything that is neither.
  static Checkpoint open(const std::string& model) {
    if (model.starts_with("synthetic:")) return synthetic(model);
    const std::filesystem::path path(model);
    if (!std::filesystem::exists(path))
      fail("there is no model at '{}': expected a Hugging Face directory, a .gguf file or synthetic:...{}", model,
           hub_hint(model));
    return std::filesystem::is_directory(path) ? directory(path) : gguf_file(path);
  }

  /// The same model with its tensors from `source`, which may stand on this one's; this one must outlive it then.
  Checkpoint with_source(std::unique_ptr<weights::TensorSource> source) const {
    Checkpoint out;
    out.config_ = config_;
    out.source_ = std::move(source);
    out.gguf_ = gguf_;
    out.id_ = id_;
    out.config_text_ = config_text_;
    out.folder_ = folder_;
    return out;
  }

  const ModelConfig& config() const { return config_; }
  const weights::TensorSource& source() const { return *source_; }
  /// The model's name in experiment files: the folder's or file's, or the synthetic description.
  const std::string& id() const { return id_; }
  /// The text whose hash identifies the configuration: config.json, or the same written from GGUF's metadata.
  const std::string& config_text() const { return config_text_; }
  /// The GGUF file, for its vocabulary; nullptr for other sources.
  const weights::GgufFile* gguf() const { return gguf_; }
  /// Where tokenizer.json may lie; empty for GGUF files and synthetic models.
  const std::filesystem::path& folder() const { return folder_; }
  /// Rows of q and k are stored per head as [d/2, 2] (llama GGUF files) instead of Hugging Face's [2, d/2].
  bool interleaved_rope() const { return gguf_ != nullptr && architecture_of(config_).gguf_interleaves; }

 private:
  static Checkpoint synthetic(const std::string& description) {
    Checkpoint out;
    auto source = std::make_unique<SyntheticModel>(description);
    out.config_text_ = source->config().dump();
    out.config_ = config_from_json(source->config(), description);
    out.source_ = std::move(source);
    out.id_ = description;
    return out;
  }

  static Checkpoint directory(const std::filesystem::path& path) {
    Checkpoint out;
    const auto config_path = path / "config.json";
    const std::string file = config_path.string();
    out.config_text_ = std::string(MappedFile(config_path).text());
    refuse_git_lfs_pointer(out.config_text_, file);
    const nlohmann::json json = parse_json(out.config_text_, file);
    out.config_ = config_from_json(json, file);
    if (std::filesystem::exists(path / "adapter_config.json"))
      fail(
          "{} holds an adapter (adapter_config.json), which transformers would add to the weights: merge it into them, "
          "or move it away",
          path.string());
    auto source = std::make_unique<weights::SafetensorsDirectory>(path);
    if (!names_dtype(json)) {
      if (!source->dtype())
        fail("{} names no dtype, and {} holds no floating-point tensor that would tell", file, path.string());
      out.config_.dtype = detail::activations_of(*source->dtype(), "the type of the stored weights", path.string());
    }
    require_quantised(out.config_, *source, file);
    if (UnstackedExperts::are_in(*source))
      out.source_ = std::make_unique<UnstackedExperts>(std::move(source));
    else
      out.source_ = std::move(source);
    out.folder_ = path;
    out.id_ = std::filesystem::canonical(path).filename().string();
    return out;
  }

  /// config.json and the tensors must both speak of quantised layers, or neither.
  static void require_quantised(const ModelConfig& config, const weights::TensorSource& source,
                                const std::string& file) {
    const auto names = source.names();
    const auto packed = std::ranges::find_if(names, [](const std::string& name) {
      return std::ranges::any_of(quant::packed_suffixes, [&](auto suffix) { return name.ends_with(suffix); });
    });
    if (config.quantization.is_null() && packed != names.end())
      fail("{} has no quantization_config: tensor '{}' in {} is of a quantised layer", file, *packed,
           source.find(*packed)->file);
    if (config.quantization.is_null()) return;
    const auto method = naming(file, [&] {
      const auto named = quant::method_of(config.quantization);
      quant::read_quantisation(config.quantization, named);
      return named;
    });
    if (packed == names.end())
      fail("{} has a quantization_config of {}: none of the {} tensors is of a quantised layer", file,
           quant::name_of(method), names.size());
  }

  static Checkpoint gguf_file(const std::filesystem::path& path) {
    refuse_git_lfs_pointer(MappedFile(path).text(), path.string());
    if (!weights::GgufFile::is_gguf(path))
      fail("{} is no model: expected a .gguf file, a Hugging Face directory or synthetic:...", path.string());
    Checkpoint out;
    auto source = std::make_unique<GgufAsHuggingFace>(path);
    out.gguf_ = &source->gguf();
    out.config_ = config_from_gguf(*out.gguf_);
    out.config_text_ = config_to_json(out.config_).dump();
    out.source_ = std::move(source);
    out.id_ = weights::GgufFile::model_name(path);
    return out;
  }

  ModelConfig config_;
  std::unique_ptr<weights::TensorSource> source_;
  const weights::GgufFile* gguf_ = nullptr;
  std::string id_;
  std::string config_text_;
  std::filesystem::path folder_;
};

}  // namespace fpf::model
