// A model in GGUF files: one, or the parts into which llama-gguf-split cuts it (llama.cpp, llama_model_loader).
#pragma once

#include <fpf/core/parse_number.hpp>
#include <fpf/weights/gguf_part.hpp>

namespace fpf::weights {

namespace detail {

/// Where a file stands among the parts of a split model.
struct GgufSplit {
  std::uint64_t number = 0, count = 1;  // from 0, as split.no counts
  std::uint64_t tensors = 0;            // of all parts together
};

/// "NAME-00002-of-00003.gguf": {"NAME", 1, 3}.
struct GgufPartName {
  std::string stem;
  std::uint64_t number = 0, count = 1;

  static std::optional<GgufPartName> parse(const std::filesystem::path& path) {
    constexpr std::size_t tail = 15;  // "-00002-of-00003"
    const std::string stem = path.stem().string();
    if (path.extension() != ".gguf" || stem.size() <= tail) return std::nullopt;
    const std::string_view end = std::string_view(stem).substr(stem.size() - tail);
    const auto number = parse_number<std::uint64_t>(end.substr(1, 5)),
               count = parse_number<std::uint64_t>(end.substr(10));
    if (end[0] != '-' || end.substr(6, 4) != "-of-" || !number || !count || *number < 1 || *number > *count)
      return std::nullopt;
    return GgufPartName{stem.substr(0, stem.size() - tail), *number - 1, *count};
  }

  std::string of_part(std::uint64_t part) const { return fmt::format("{}-{:05}-of-{:05}.gguf", stem, part + 1, count); }
};

/// What a file's keys say of that; a file without them is a whole model.
inline GgufSplit split_of(const GgufPart& part) {
  const GgufMetadata& keys = part.metadata();
  if (!keys.contains("split.count")) return {};
  GgufSplit out{keys.get<std::uint16_t>("split.no"), keys.get<std::uint16_t>("split.count"), 0};
  if (out.count > 1) out.tensors = keys.get<std::uint32_t>("split.tensors.count");
  if (out.number >= std::max<std::uint64_t>(out.count, 1))
    fail("{} says that it is part {} of {} (split.no, split.count)", part.path().string(), out.number + 1, out.count);
  return out;
}

}  // namespace detail

/// A GGUF model, mapped: the file given, or all parts of a split model, whichever of them is given. The key-values are
/// those of the first part.
class GgufFile : public TensorSource {
 public:
  /// Throws Error, naming the file and what is wrong with it, for anything that is no complete, consistent GGUF v3
  /// file, and for a part that is missing or does not belong to the others.
  explicit GgufFile(const std::filesystem::path& path) {
    open(path);
    for (const GgufPart& part : parts_) {
      add_file(part.map());
      for (const StoredTensor& tensor : part.tensors()) add(tensor);
    }
  }

  const GgufMetadata& metadata() const { return parts_.front().metadata(); }

  /// True when the file begins with GGUF's magic.
  static bool is_gguf(const std::filesystem::path& path) { return MappedFile(path).text().starts_with("GGUF"); }

  /// The file's name without ".gguf" and without a part's number.
  static std::string model_name(const std::filesystem::path& path) {
    const auto part = detail::GgufPartName::parse(path);
    return part ? part->stem : path.stem().string();
  }

 private:
  void open(const std::filesystem::path& path) {
    GgufPart given(path);
    const detail::GgufSplit split = detail::split_of(given);
    const auto name = detail::GgufPartName::parse(path);
    if (split.count <= 1) {
      if (name && name->count > 1)
        fail("{} is part {} of {} by its name: expected the keys split.no and split.count to say so too", path.string(),
             name->number + 1, name->count);
      parts_.push_back(std::move(given));
      return;
    }
    if (!name)
      fail(
          "{} is part {} of {} of a split model: expected a name that ends in -{:05}-of-{:05}.gguf, by which the "
          "other parts are found",
          path.string(), split.number + 1, split.count, split.number + 1, split.count);
    if (name->number != split.number || name->count != split.count)
      fail("{} says that it is part {} of {} (split.no, split.count): its name says part {} of {}; was it renamed?",
           path.string(), split.number + 1, split.count, name->number + 1, name->count);
    for (std::uint64_t part = 0; part < split.count; ++part) {
      const auto file = path.parent_path() / name->of_part(part);
      if (part == split.number) {
        parts_.push_back(std::move(given));
      } else {
        if (!std::filesystem::exists(file))
          fail("{} is missing: {} is part {} of {}, and all are needed", file.string(), path.string(), split.number + 1,
               split.count);
        parts_.emplace_back(file);
      }
      require_part(parts_.back(), {part, split.count, split.tensors}, path);
    }
    std::uint64_t tensors = 0;
    for (const GgufPart& part : parts_) tensors += part.tensors().size();
    if (tensors != split.tensors)
      fail("the {} parts of {} have {} tensors: split.tensors.count says {}", split.count, path.string(), tensors,
           split.tensors);
  }

  /// Refuses a part that says it is another one, or says of the model what the first one does not.
  void require_part(const GgufPart& part, const detail::GgufSplit& expected, const std::filesystem::path& given) const {
    const auto file = part.path().string();
    const detail::GgufSplit found = detail::split_of(part);
    if (found.number != expected.number || found.count != expected.count)
      fail("{} says that it is part {} of {} (split.no, split.count): expected part {} of {}", file, found.number + 1,
           found.count, expected.number + 1, expected.count);
    if (found.tensors != expected.tensors)
      fail("{} belongs to a split model of {} tensors (split.tensors.count): {} belongs to one of {}", file,
           found.tensors, given.string(), expected.tensors);
    const GgufMetadata& first = parts_.front().metadata();
    for (const std::string_view key : part.metadata().keys()) {
      if (key.starts_with("split.") || key == "general.alignment") continue;
      const auto* said = first.peek(key);
      if (said == nullptr && !key.starts_with("general."))
        fail("key '{}' is in {}: expected it in the first part, {}", key, file, parts_.front().path().string());
      if (said != nullptr && *said != *part.metadata().peek(key))
        fail("key '{}' in {} is another than in {}: are they parts of one model?", key, file,
             parts_.front().path().string());
    }
  }

  std::vector<GgufPart> parts_;
};

}  // namespace fpf::weights
