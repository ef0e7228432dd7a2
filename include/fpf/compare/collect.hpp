// From what the user names to experiments: files or folders opened, grouped, joined; what fails is set aside.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fpf/compare/join.hpp>
#include <fpf/compare/parallel.hpp>
#include <fpf/compare/plan/plan.hpp>
#include <fpf/evidence/labels.hpp>
#include <fpf/evidence/looks_like.hpp>
#include <fpf/evidence/reader.hpp>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace fpf::compare {

/// A file or an experiment that could not be used, and why.
struct Failure {
  std::string subject;
  std::string message;
  bool finding = false;  // it can be read, and contradicts itself
};

/// An experiment's file that some folders, of those that were named, do not have.
struct Missing {
  std::string file;
  std::vector<std::string> folders;
  bool everywhere = false;  // none has it, and it is one of the plan's
};

struct Collection {
  std::vector<JoinedExperiment> experiments;
  std::vector<Failure> failures;
  std::vector<Missing> missing;
};

namespace detail {

/// Leaves out, as findings, the files whose runs contradict themselves (evidence::contradictions_of()).
inline void hold_against_themselves(std::vector<std::optional<evidence::ExperimentFile>>& files,
                                    std::vector<Failure>& failures) {
  std::vector<std::pair<std::size_t, const evidence::StoredRun*>> runs;
  for (std::size_t f = 0; f < files.size(); ++f)
    if (files[f])
      for (const auto& run : files[f]->runs) runs.emplace_back(f, &run);
  std::vector<std::vector<std::string>> found(runs.size());
  parallel_for(runs.size(),
               [&](std::size_t i) { found[i] = evidence::contradictions_of(*files[runs[i].first], *runs[i].second); });
  std::vector<std::vector<std::string>> of_file(files.size());
  for (std::size_t i = 0; i < runs.size(); ++i) std::ranges::move(found[i], std::back_inserter(of_file[runs[i].first]));
  for (std::size_t f = 0; f < files.size(); ++f) {
    if (of_file[f].empty()) continue;
    const std::string name = files[f]->name(),
                      more = of_file[f].size() == 1 ? "" : fmt::format(" (and {} more)", of_file[f].size() - 1);
    failures.push_back(
        {name, fmt::format("{} contradicts itself and is left out: {}{}", name, of_file[f].front(), more), true});
    files[f].reset();
  }
}

/// Opens all files, on several threads; those that fail are left out and noted.
inline std::vector<std::optional<evidence::ExperimentFile>> open_all(const std::vector<std::filesystem::path>& paths,
                                                                     std::vector<Failure>& failures) {
  std::vector<std::optional<evidence::ExperimentFile>> files(paths.size());
  std::vector<std::string> messages(paths.size());
  parallel_for(paths.size(), [&](std::size_t i) {
    try {
      files[i] = evidence::open_experiment(paths[i]);
    } catch (const Error& error) {
      messages[i] = error.what();
    }
  });
  for (std::size_t i = 0; i < paths.size(); ++i)
    if (!messages[i].empty()) failures.push_back({paths[i].string(), messages[i]});
  hold_against_themselves(files, failures);
  return files;
}

/// Whether both are files of the same bytes, under two names.
inline bool equal_content(const std::filesystem::path& a, const std::filesystem::path& b) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(a, ignored) || !std::filesystem::is_regular_file(b, ignored)) return false;
  const auto size = std::filesystem::file_size(a, ignored);
  if (ignored || size == 0 || std::filesystem::file_size(b, ignored) != size || ignored) return false;
  std::ifstream x(a, std::ios::binary), y(b, std::ios::binary);
  std::vector<char> left(1 << 20), right(left.size());
  while (x && y) {
    x.read(left.data(), static_cast<std::streamsize>(left.size()));
    y.read(right.data(), static_cast<std::streamsize>(right.size()));
    if (x.gcount() != y.gcount() || !std::equal(left.begin(), left.begin() + x.gcount(), right.begin())) return false;
  }
  return x.eof() && y.eof();
}

/// Also copies: they would stand for a second machine that is equal in every bit.
inline void refuse_duplicates(const std::vector<std::filesystem::path>& paths) {
  for (std::size_t i = 0; i < paths.size(); ++i)
    for (std::size_t j = i + 1; j < paths.size(); ++j) {
      std::error_code ignored;
      if (std::filesystem::equivalent(paths[i], paths[j], ignored))
        fail("{} and {} are one file: it would be compared with itself", paths[i].string(), paths[j].string());
      if (equal_content(paths[i], paths[j]))
        fail("{} and {} are copies of one file, equal in every byte: it would be compared with itself (leave one out)",
             paths[i].string(), paths[j].string());
    }
}

/// Joins files with equal keys, in the order in which the keys appear.
inline void join_groups(std::vector<std::pair<std::string, evidence::ExperimentFile>> files, Collection& out) {
  std::vector<std::string> keys;
  for (const auto& [key, file] : files)
    if (std::ranges::find(keys, key) == keys.end()) keys.push_back(key);
  for (const std::string& key : keys) {
    std::vector<evidence::ExperimentFile> group;
    std::string names;
    for (auto& [other, file] : files) {
      if (other != key) continue;
      names += (names.empty() ? "" : " and ") + file.name();
      group.push_back(std::move(file));
    }
    try {
      out.experiments.push_back(join(std::move(group)));
    } catch (const Error& error) {
      out.failures.push_back({names, error.what()});
    }
  }
}

}  // namespace detail

/// Opens the files and joins those of one experiment_type.
inline Collection collect_files(const std::vector<std::filesystem::path>& paths) {
  detail::refuse_duplicates(paths);
  Collection out;
  std::vector<std::pair<std::string, evidence::ExperimentFile>> files;
  for (auto& file : detail::open_all(paths, out.failures)) {
    if (!file) continue;
    std::string type = file->metadata.value("experiment_type", nlohmann::json()).dump();
    files.emplace_back(std::move(type), std::move(*file));
  }
  detail::join_groups(std::move(files), out);
  return out;
}

/// The names that are looked for in any folder, in order: the plan's eight, behind experiment 0's unless
/// `plan_only`.
inline std::vector<std::string> experiment_names(bool plan_only) {
  std::vector<std::string> names(plan::file_names.begin(), plan::file_names.end());
  if (!plan_only) names.insert(names.begin(), "reference_baseline.json");
  return names;
}

namespace detail {

/// Links that lead nowhere, too: opening them says so.
inline bool is_in(const std::filesystem::path& folder, const std::string& name) {
  std::error_code ignored;
  return std::filesystem::exists(std::filesystem::symlink_status(folder / name, ignored));
}

/// The usual names, and behind them, sorted, those of a user's own experiments.
inline std::vector<std::string> names_in(const std::vector<std::filesystem::path>& folders, bool plan_only) {
  std::vector<std::string> names = experiment_names(plan_only);
  if (plan_only) return names;
  std::set<std::string> own;
  for (const auto& folder : folders)
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      if (entry.path().extension() != ".json" || std::ranges::find(names, name) != names.end()) continue;
      if (name.ends_with("_experiment.json") || evidence::looks_like_experiment(entry.path())) own.insert(name);
    }
  names.insert(names.end(), own.begin(), own.end());
  return names;
}

}  // namespace detail

/// Opens the experiments that the folders hold, those of the plan under their usual names and others under any, and
/// joins those of one name. Says which folder lacks which, and which of the plan's none has. Throws Error when a folder
/// is none, or when nothing is found.
inline Collection collect_folders(const std::vector<std::filesystem::path>& folders, bool plan_only) {
  detail::refuse_duplicates(folders);
  Collection out;
  std::vector<std::filesystem::path> paths;
  for (const auto& folder : folders)
    if (!std::filesystem::is_directory(folder)) fail("--experiment-dir {}: expected a folder", folder.string());
  for (const std::string& name : detail::names_in(folders, plan_only)) {
    std::vector<std::filesystem::path> found;
    Missing missing{name, {}};
    for (const auto& folder : folders)
      if (detail::is_in(folder, name))
        found.push_back(folder / name);
      else
        missing.folders.push_back(folder.string());
    detail::refuse_duplicates(found);
    missing.everywhere = found.empty();
    if (!missing.folders.empty()) out.missing.push_back(std::move(missing));
    paths.insert(paths.end(), found.begin(), found.end());
  }
  if (paths.empty()) {
    std::string names;
    for (const auto& folder : folders) names += (names.empty() ? "" : ", ") + folder.string();
    fail("found no experiment in {}: expected files such as {}", names, experiment_names(plan_only).front());
  }
  std::vector<std::pair<std::string, evidence::ExperimentFile>> files;
  for (auto& file : detail::open_all(paths, out.failures)) {
    if (!file) continue;
    std::string name = file->file.path().filename().string();
    files.emplace_back(std::move(name), std::move(*file));
  }
  detail::join_groups(std::move(files), out);
  return out;
}

}  // namespace fpf::compare
