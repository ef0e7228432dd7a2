// A verification as it was asked for: files opened, runs inspected, re-executed and judged.
#pragma once

#include <fpf/evidence/experiment_index.hpp>
#include <fpf/verify/noise_runs.hpp>
#include <fpf/verify/not_checked.hpp>
#include <fstream>
#include <set>

namespace fpf::verify {

/// What came out, in the file's order.
struct Result {
  std::string file;
  std::vector<RunReport> runs;
  std::set<std::string> not_checked;  // fields of the file that nothing supported
  Decision decision = Decision::undecided;
};

namespace detail {

/// Whether a file begins as fpf's experiment files do, so that what the reader refuses in it was edited or cut.
inline bool begins_as_evidence(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string head(64, '\0');
  file.read(head.data(), static_cast<std::streamsize>(head.size()));
  if (head.starts_with("\xef\xbb\xbf")) head.erase(0, 3);  // a byte order mark
  std::erase_if(head, [](char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; });
  return head.starts_with(R"({"experiment_metadata":)");
}

inline RunReport unreadable(const std::string& what) {
  RunReport out;
  out.contradictions.push_back(what);
  decide(out);
  return out;
}

inline bool asked_for(const Settings& settings, const Claim& claim) {
  return settings.config_ids.empty() || std::ranges::find(settings.config_ids, claim.id()) != settings.config_ids.end();
}

}  // namespace detail

/// Does what validated settings ask for. When any run of the evidence is rejected by inspection, nothing is
/// re-executed. Throws Error for what the user gave, and Interrupted.
inline Result run(const Settings& settings) {
  Verifier verifier(settings);
  Result out;
  out.file = settings.evidence;
  evidence::ExperimentFile file;
  try {
    file = evidence::open_experiment(settings.evidence);
  } catch (const Error& error) {
    if (!detail::begins_as_evidence(settings.evidence)) throw;
    out.runs.push_back(detail::unreadable(error.what()));
    out.decision = Decision::reject;
    return out;
  }
  if (!file.metadata.contains("schema_version"))
    fail("{} has no schema_version: expected fpf's evidence, which has digests, prompts and a manifest", file.name());
  std::vector<Claim> claims = read_claims(file);
  std::erase_if(claims, [&](const Claim& claim) { return !detail::asked_for(settings, claim); });
  if (claims.empty()) {
    std::set<std::string> ids;
    for (const auto& one : file.runs) ids.insert(one.config_id);
    fail("--config-id: {} has no such run; it has {}", file.name(), fmt::join(ids, ", "));
  }
  for (Claim& claim : claims) out.runs.push_back(verifier.inspect(claim));
  if (worst_of(out.runs) != Decision::reject) {
    verifier.prepare(claims.front());
    for (std::size_t i = 0; i < claims.size(); ++i) verifier.identify(claims[i], out.runs[i]);
  }
  NoiseRuns noise(settings.noise, claims);
  if (worst_of(out.runs) != Decision::reject) {
    std::vector<std::vector<const Claim*>> honest;
    for (std::size_t i = 0; i < claims.size(); ++i)
      honest.push_back(noise.honest_for(claims[i], verifier, out.runs[i]));
    if (const std::string unused = noise.unused(); !unused.empty())
      fail("--noise {}", *std::ranges::find_if(out.runs.front().notes,
                                               [&](const std::string& note) { return note.starts_with(unused); }));
    for (std::size_t i = 0; i < claims.size(); ++i) verifier.reexecute(claims[i], honest[i], out.runs[i]);
  }
  out.decision = worst_of(out.runs);
  out.not_checked = fields_not_checked(file, claims, out.runs);
  return out;
}

}  // namespace fpf::verify
