// Which model ran, by content: the manifest's `model`.
#pragma once

#include <fpf/core/hash.hpp>
#include <fpf/evidence/file_digest.hpp>
#include <fpf/evidence/run_json.hpp>
#include <fpf/model/checkpoint.hpp>
#include <fpf/prompt/tokenizer.hpp>
#include <fpf/prompt/tokenizer_digest.hpp>
#include <memory>
#include <optional>
#include <string>

namespace fpf {

/// The digests of an opened checkpoint, found while it loads. Movable; `checkpoint` must outlive it.
class ModelIdentity {
 public:
  /// Starts to hash. Throws Error for a file that is gone.
  ModelIdentity(const model::Checkpoint& checkpoint, evidence::Hashing hashing, Verbosity verbosity)
      : checkpoint_(&checkpoint), verbosity_(verbosity) {
    digests_ =
        std::make_unique<evidence::FileDigests>(checkpoint.source().files(), checkpoint.source().stamps(), hashing);
  }

  /// The tokeniser in use with it, if any.
  void set_tokenizer(const std::optional<prompt::Tokenizer>& tokenizer) {
    if (tokenizer) tokenizer_sha256_ = prompt::tokenizer_sha256(tokenizer->vocabulary());
  }

  /// What is known at once: {"id", "config_sha256", "base_config_sha256", "tokenizer_sha256" where there is one,
  /// "placement_sha256" where an index decides between tensors of one name, "files"},
  /// the files by name and size alone (none of a synthetic model, whose id says how it is made).
  Json outline() const {
    Json out = {{"id", checkpoint_->id()},
                {"config_sha256", sha256_hex(checkpoint_->config_text())},
                {"base_config_sha256", sha256_hex(model::base_config(checkpoint_->config()).dump())}};
    if (tokenizer_sha256_) out["tokenizer_sha256"] = *tokenizer_sha256_;
    if (const auto& placement = checkpoint_->source().placement(); !placement.empty())
      out["placement_sha256"] = sha256_hex(placement);
    out["files"] = Json::array();
    for (std::size_t i = 0; i < digests_->files().size(); ++i)
      out["files"].push_back(
          {{"file", digests_->files()[i].filename().string()}, {"bytes", digests_->stamps()[i].size}});
    return out;
  }

  /// The same with every file's "sha256" and "digest_from": "content" when it was hashed now, "cache" when an earlier
  /// run hashed the same state of the file. Waits until all are found. Throws Error when a file changed since it was
  /// opened.
  Json describe() const {
    Json out = outline();
    const auto& digests = digests_->wait(verbosity_);
    for (std::size_t i = 0; i < digests.size(); ++i) {
      out["files"][i]["sha256"] = digests[i].sha256;
      out["files"][i]["digest_from"] = digests[i].from == evidence::Hashing::content ? "content" : "cache";
    }
    return out;
  }

 private:
  const model::Checkpoint* checkpoint_;
  Verbosity verbosity_;
  std::unique_ptr<evidence::FileDigests> digests_;
  std::optional<std::string> tokenizer_sha256_;
};

}  // namespace fpf
