// The published measurements recomputed in double, and held against the files' own matrices.
#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fpf/compare/distance.hpp>
#include <fpf/compare/plan/published_file.hpp>
#include <fpf/compare/statistics.hpp>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::compare::published {

/// Distances between sizes (batch or tensor parallel), and what the file says itself.
struct SizeMatrix {
  std::string title;  // "key_vectors, decode"
  std::vector<std::string> labels;
  Matrix distances;  // mean over references of the mean over positions
  std::vector<Matrix> per_reference;
  double mean = 0;                                // of the upper triangle
  std::vector<std::vector<std::string>> classes;  // labels whose distance is below 1e-9
  std::optional<double> deviation;                // largest difference from the file's own matrix
};

/// Distances between two files, one per batch size or layer.
struct Series {
  std::string title;
  std::vector<std::string> labels;
  Vector distances;
};

struct Findings {
  std::vector<std::string> files;
  std::vector<SizeMatrix> matrices;
  std::vector<Series> series;
  std::vector<std::pair<std::string, bool>> repetitions_equal;  // "A100.json batch_size_1"
};

namespace detail {

/// L2 over the first five ids that `a` lists and `b` has too: files list 5, 6 (the prompt's own token first)
/// or 20.
inline double logprob_distance(const Position& a, const Position& b) {
  double sum = 0;
  for (std::size_t i = 0; i < std::min<std::size_t>(5, a.token_ids.size()); ++i) {
    const auto other = std::ranges::find(b.token_ids, a.token_ids[i]);
    if (other == b.token_ids.end()) continue;
    const double difference = a.log_probs[i] - b.log_probs[static_cast<std::size_t>(other - b.token_ids.begin())];
    sum += difference * difference;
  }
  return std::sqrt(sum);
}

inline double distance(const Position& a, const Position& b, bool keys) {
  return keys ? l2_distance(std::span(a.keys), std::span(b.keys)) : logprob_distance(a, b);
}

/// Mean over the positions that both have; NaN without any.
inline double distance(const Measurement& a, const Measurement& b, const std::string& phase, bool keys) {
  Vector found;
  const auto x = a.phases.find(phase), y = b.phases.find(phase);
  if (x == a.phases.end() || y == b.phases.end()) return std::nan("");
  for (const auto& [name, position] : x->second)
    if (const auto other = y->second.find(name); other != y->second.end())
      found.push_back(distance(position, other->second, keys));
  return found.empty() ? std::nan("") : mean_of(found);
}

inline std::vector<std::string> distinct(const File& file, std::string Measurement::*member) {
  std::vector<std::string> found;
  for (const Measurement& measurement : file.measurements)
    if (std::ranges::find(found, measurement.*member) == found.end()) found.push_back(measurement.*member);
  return found;
}

inline double upper_mean(const Matrix& matrix) {
  Vector upper;
  for (std::size_t i = 0; i < matrix.size(); ++i)
    for (std::size_t j = i + 1; j < matrix.size(); ++j) upper.push_back(matrix[i][j]);
  return upper.empty() ? 0 : mean_of(upper);
}

inline std::vector<std::vector<std::string>> classes_of(const SizeMatrix& found) {
  std::vector<std::vector<std::string>> classes;
  std::vector<bool> taken(found.labels.size());
  for (std::size_t i = 0; i < found.labels.size(); ++i) {
    if (taken[i]) continue;
    classes.emplace_back();
    for (std::size_t j = i; j < found.labels.size(); ++j) {
      if (taken[j] || !(found.distances[i][j] < 1e-9)) continue;
      taken[j] = true;
      classes.back().push_back(found.labels[j]);
    }
  }
  return classes;
}

inline std::optional<double> deviation(const Matrix& found, const Matrix& stated) {
  double largest = 0;
  if (found.size() != stated.size()) return {};
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i].size() != stated[i].size()) return {};
    for (std::size_t j = 0; j < found[i].size(); ++j) largest = std::max(largest, std::abs(found[i][j] - stated[i][j]));
  }
  return largest;
}

inline SizeMatrix size_matrix(const File& file, const std::string& phase, bool keys) {
  SizeMatrix out;
  out.title = fmt::format("{}, {}", keys ? "key_vectors" : "logprobs", phase);
  out.labels = distinct(file, &Measurement::size);
  const std::size_t n = out.labels.size();
  const auto references = distinct(file, &Measurement::reference);
  std::map<std::pair<std::string, std::string>, const Measurement*> at;
  for (const Measurement& m : file.measurements) at[{m.reference, m.size}] = &m;
  out.distances.assign(n, Vector(n, 0.0));
  for (const auto& reference : references) {
    Matrix matrix(n, Vector(n, 0.0));
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) {
        const auto a = at.find({reference, out.labels[i]}), b = at.find({reference, out.labels[j]});
        matrix[i][j] = a == at.end() || b == at.end() ? std::nan("") : distance(*a->second, *b->second, phase, keys);
        out.distances[i][j] += matrix[i][j] / static_cast<double>(references.size());
      }
    out.per_reference.push_back(std::move(matrix));
  }
  out.mean = upper_mean(out.distances);
  out.classes = classes_of(out);
  const bool table = file.layout == Layout::measurement_table;
  const std::string own =
      table ? "within_hardware_analysis.matrix" : phase + "_sanity_check." + (keys ? "key_matrix" : "logprob_matrix");
  if (const auto stated = file.stated.find(own); stated != file.stated.end())
    out.deviation = deviation(out.distances, stated->second);
  return out;
}

inline bool holds(const File& file, const std::string& phase, bool keys) {
  return std::ranges::any_of(file.measurements, [&](const Measurement& m) {
    const auto found = m.phases.find(phase);
    return found != m.phases.end() && std::ranges::any_of(found->second, [&](const auto& entry) {
             return !(keys ? entry.second.keys : entry.second.log_probs).empty();
           });
  });
}

inline Vector mean_row(const Matrix& repetitions) {
  Vector mean(repetitions.empty() ? 0 : repetitions.front().size());
  for (std::size_t d = 0; d < mean.size(); ++d) {
    for (const Vector& repetition : repetitions) mean[d] += repetition[d];
    mean[d] /= static_cast<double>(repetitions.size());
  }
  return mean;
}

inline bool by_layer(const File& file) {
  return !file.activations.empty() && file.activations[0].first.starts_with("layer_");
}

/// Batch sizes of one file against each other, repetition 0.
inline SizeMatrix activation_matrix(const File& file) {
  SizeMatrix out;
  out.title = "activations, repetition 0";
  const std::size_t n = file.activations.size();
  out.distances.assign(n, Vector(n, 0.0));
  std::optional<double> largest;
  for (std::size_t i = 0; i < n; ++i) {
    constexpr std::string_view prefix = "batch_size_";
    const std::string& key = file.activations[i].first;
    out.labels.push_back(key.starts_with(prefix) ? key.substr(prefix.size()) : key);
    for (std::size_t j = 0; j < n; ++j)
      out.distances[i][j] =
          l2_distance(std::span(file.activations[i].second.at(0)), std::span(file.activations[j].second.at(0)));
  }
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j)
      if (const auto stated = file.stated_distances.find(fmt::format("bs{}_vs_bs{}", out.labels[i], out.labels[j]));
          stated != file.stated_distances.end())
        largest = std::max(largest.value_or(0), std::abs(out.distances[i][j] - stated->second));
  out.mean = upper_mean(out.distances);
  out.classes = classes_of(out);
  out.deviation = largest;
  return out;
}

/// Two files of one layout: layer by layer over the repetitions' mean, batch size by batch size at repetition
/// 0.
inline Series between(const File& a, const File& b) {
  Series out;
  const bool layers = by_layer(a);
  const auto name = [](const File& f) { return std::filesystem::path(f.name).filename().string(); };
  out.title = fmt::format("{} against {}, {}", name(a), name(b), layers ? "mean of the repetitions" : "repetition 0");
  for (const auto& [key, repetitions] : a.activations) {
    const auto other = std::ranges::find(b.activations, key, &std::pair<std::string, Matrix>::first);
    if (other == b.activations.end() || repetitions.empty() || other->second.empty()) continue;
    const Vector x = layers ? mean_row(repetitions) : repetitions[0];
    const Vector y = layers ? mean_row(other->second) : other->second[0];
    if (x.size() != y.size())
      fail("{} and {} cannot be compared: {} has {} numbers in the first and {} in the second", a.name, b.name, key,
           x.size(), y.size());
    out.labels.push_back(key);
    out.distances.push_back(l2_distance(std::span(x), std::span(y)));
  }
  return out;
}

}  // namespace detail

/// Distances within each file, and between files of the same kind.
inline Findings analyse(const std::vector<File>& files) {
  Findings out;
  for (const File& file : files) {
    const std::string name = std::filesystem::path(file.name).filename().string();
    out.files.push_back(file.name);
    for (const auto& [key, repetitions] : file.activations) {
      const auto is_first = [&first = repetitions](const Vector& r) { return r == first.front(); };
      const bool equal = std::ranges::all_of(repetitions, is_first);
      out.repetitions_equal.emplace_back(name + " " + key, equal);
      if (repetitions.empty()) fail("{}: expected repetitions under raw_activations.{}, found none", file.name, key);
    }
    if (!file.activations.empty() && !detail::by_layer(file)) out.matrices.push_back(detail::activation_matrix(file));
    for (const char* phase : {"prefill", "decode"})
      for (const bool keys : {true, false})
        if (detail::holds(file, phase, keys)) out.matrices.push_back(detail::size_matrix(file, phase, keys));
    for (auto matrix = out.matrices.begin(); matrix != out.matrices.end(); ++matrix)
      if (matrix->title.find(".json") == std::string::npos) matrix->title = name + ": " + matrix->title;
  }
  for (std::size_t i = 0; i < files.size(); ++i)
    for (std::size_t j = i + 1; j < files.size(); ++j)
      if (!files[i].activations.empty() && !files[j].activations.empty())
        if (auto series = detail::between(files[i], files[j]); !series.labels.empty())
          out.series.push_back(std::move(series));
  return out;
}

}  // namespace fpf::compare::published
