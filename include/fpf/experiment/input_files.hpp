// The files that an experiment reads, by the options that name them.
#pragma once

#include <fpf/core/overwriting.hpp>
#include <fpf/experiment/options.hpp>
#include <string>
#include <vector>

namespace fpf {

/// Of an experiment, or of a campaign's together. `with_baseline`: --baseline's is read, too.
inline std::vector<NamedPath> input_files(const Options& options, bool with_baseline, const po::variables_map& values) {
  std::vector<NamedPath> out{{"--model", options.model},
                             {"--model-gptq", options.model_gptq},
                             {"--model-bnb", options.model_bnb},
                             {"--tokenizer", options.tokenizer},
                             config_file(values)};
  append_paths(out, "--prompt-pdf", options.prompt.pdfs);
  append_paths(out, "--prompt-text", options.prompt.texts);
  append_paths(out, "--prompt-ids", options.prompt_ids);
  if (options.tokens != "own" && options.tokens != "baseline") out.push_back({"--tokens", options.tokens});
  append_paths(out, "--neighbour-pdf", options.neighbour_pdfs);
  append_paths(out, "--neighbour-ids", options.neighbour_ids);
  if (with_baseline) out.push_back({"--baseline", options.baseline});
  return out;
}

}  // namespace fpf
