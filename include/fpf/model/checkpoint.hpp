// A model as it lies on disk (or is made from a seed): configuration and tensors under Hugging Face's names.
#pragma once

#include <fpf/core/json.hpp>
#include <fpf/model/config.hpp>
#include <fpf/model/gguf_names.hpp>
#include <fpf/model/synthetic_model.hpp>
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
      fail("there is no model at '{}': expected a Hugging Face directory, a .gguf file or synthetic:...", model);
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
  bool interleaved_rope() const {
    return gguf_ != nullptr && architecture_of(config_.architecture, id_).gguf_interleaves;
  }

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
    out.config_text_ = std::string(MappedFile(config_path).text());
    out.config_ = config_from_json(parse_json(out.config_text_, config_path.string()), config_path.string());
    out.source_ = std::make_unique<weights::SafetensorsDirectory>(path);
    out.folder_ = path;
    out.id_ = std::filesystem::canonical(path).filename().string();
    return out;
  }

  static Checkpoint gguf_file(const std::filesystem::path& path) {
    if (!weights::GgufFile::is_gguf(path))
      fail("{} is no model: expected a .gguf file, a Hugging Face directory or synthetic:...", path.string());
    Checkpoint out;
    auto source = std::make_unique<GgufAsHuggingFace>(path);
    out.gguf_ = &source->gguf();
    out.config_ = config_from_gguf(*out.gguf_);
    out.config_text_ = config_to_json(out.config_).dump();
    out.source_ = std::move(source);
    out.id_ = path.stem().string();
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
