// exp0_reference as a user runs it, on tiny models: what its tests share.
#pragma once

#include <map>

#include "folders.hpp"

using Options = std::map<std::string, std::string>;

inline const fs::path fixtures = FPF_FIXTURES,
                      tiny = fixtures / "parity" / "llama_tied";  // 4 layers, 199 tokens
inline const fs::path smollm2 = fs::path(FPF_BUILD) / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf";
inline const fs::path manual = fs::path(FPF_BUILD) / "documents" / "bashref.pdf";
inline const std::string program = FPF_BIN "/exp0_reference", result = "reference_baseline.json";

/// A copy of a tiny model that a test may damage.
inline fs::path copy_of(const std::string& name, const fs::path& to) {
  fresh_folder(to);
  for (const char* file : {"config.json", "model.safetensors"})
    fs::copy_file(fixtures / "parity" / name / file, to / file, fs::copy_options::overwrite_existing);
  fs::permissions(to / "model.safetensors", fs::perms::owner_all);
  return to;
}

/// The options in `changes` over those of a small run in `out`; an empty value removes an option.
inline Strings command(const Options& changes = {}, const Strings& more = {}) {
  std::map<std::string, std::string> options{
      {"--model", tiny.string()}, {"--prompt-ids", (tiny / "prompt.json").string()},
      {"--decode-steps", "6"},    {"--layers", "0,1,last"},
      {"--threads", "1"},         {"--out", "out"}};
  for (const auto& [name, value] : changes) options[name] = value;
  Strings out{program};
  for (const auto& [name, value] : options)
    if (!value.empty()) out.insert(out.end(), {name, value});
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

/// Runs it into a fresh folder `out`, expecting success, and returns the file's content.
inline json experiment(const Options& changes = {}, const Strings& more = {}, int code = 0) {
  fresh_folder("out");
  const Outcome outcome = run(command(changes, more));
  BOOST_REQUIRE_MESSAGE(outcome.code == code, outcome.code << ": " << outcome.err);
  BOOST_TEST((names_in("out") == std::set<std::string>{result}));
  return json::parse(text_of(fs::path("out") / result));
}

inline void require_recomputed() {
  const Outcome outcome = recomputed(fs::path("out") / result);
  BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome.out << outcome.err);
}
