// make_checkpoint's command line.
#pragma once

#include <cstdint>
#include <fpf/checkpoint/calibration.hpp>
#include <fpf/checkpoint/request.hpp>
#include <fpf/core/overwriting.hpp>
#include <fpf/core/program.hpp>
#include <fpf/core/thread_limit.hpp>
#include <fpf/model/synthetic_presets.hpp>
#include <string>
#include <utility>
#include <vector>

namespace fpf::checkpoint {

/// What the command line says.
struct Settings {
  std::string from, to, quant, preset, dtype, perplexity_pdf;
  std::uint64_t seed = 1;
  std::int64_t calibration_tokens = 8192, perplexity_tokens = 8192, group_size = 128;
  std::vector<std::string> calibration_pdfs;
  bool symmetric = false, desc_act = false, quiet = false;
  int threads = 0;  // 0: all cores

  Verbosity verbosity() const { return quiet ? Verbosity::quiet : Verbosity::normal; }
};

/// The program's options, which set `s`.
inline po::options_description describe(Settings& s) {
  const auto text = [](std::string& to, const char* name) { return po::value(&to)->value_name(name); };
  po::options_description out("Checkpoint");
  out.add_options()                                                                      //
      ("from", text(s.from, "M"), "Hugging Face directory, GGUF file or synthetic:...")  //
      ("quant", text(s.quant, "Q"), "awq, gptq, nf4 or none")                            //
      ("to", text(s.to, "DIR"), "the folder to make: new or empty")                      //
      ("group-size", po::value(&s.group_size)->value_name("N")->default_value(s.group_size),
       "inputs that share a scale (awq, gptq); -1: whole columns")  //
      ("calibration-pdf", po::value(&s.calibration_pdfs)->value_name("F")->composing(),
       "text (PDF or plain) whose activations the quantisation looks at; repeatable. Without it weights are "
       "rounded on their own")  //
      ("calibration-tokens", po::value(&s.calibration_tokens)->value_name("N")->default_value(s.calibration_tokens),
       "tokens of that text, in windows of 512")                                        //
      ("symmetric", po::bool_switch(&s.symmetric), "gptq: every zero is 8")             //
      ("desc-act", po::bool_switch(&s.desc_act), "gptq: the most active inputs first")  //
      ("dtype", text(s.dtype, "T"),
       "float16 or bfloat16, of what is not quantised; with --quant none float32 too")  //
      ("preset", text(s.preset, "P"),
       ("instead of --from: a synthetic model of that shape (" + model::presets::names() + "), made in the format")
           .c_str())                                                                              //
      ("synthetic-seed", po::value(&s.seed)->value_name("S")->default_value(s.seed), "its seed")  //
      ("perplexity-pdf", text(s.perplexity_pdf, "F"),
       "held-out text on which to compare source and result")  //
      ("perplexity-tokens", po::value(&s.perplexity_tokens)->value_name("N")->default_value(s.perplexity_tokens),
       "tokens of that text")                                                                  //
      ("threads", po::value(&s.threads)->value_name("N"), "CPU threads (default: all cores)")  //
      ("quiet", po::bool_switch(&s.quiet), "no progress");
  return out;
}

/// What the request cannot know: options that are missing or exclude one another. Turns a preset into the
/// model it names. Throws Error naming the option; see require_sense() for the rest.
inline void validate(Settings& s, const po::variables_map& given) {
  if (s.to.empty()) fail("--to is missing: expected the folder to make");
  if (s.quant.empty()) fail("--quant is missing: expected awq, gptq, nf4 or none");
  if (s.from.empty() == s.preset.empty())
    fail("expected exactly one of --from and --preset, found {}", s.from.empty() ? 0 : 2);
  for (const auto& [name, tokens] :
       {std::pair("calibration-tokens", s.calibration_tokens), std::pair("perplexity-tokens", s.perplexity_tokens)})
    if (tokens < static_cast<std::int64_t>(window_tokens))
      fail("--{} {}: expected at least {}", name, tokens, window_tokens);
  if (given.count("threads") != 0) require_threads(s.threads);
  std::vector<NamedPath> inputs{{"--from", s.from}, {"--perplexity-pdf", s.perplexity_pdf}, config_file(given)};
  append_paths(inputs, "--calibration-pdf", s.calibration_pdfs);
  refuse_overwriting({"--to", s.to}, inputs);
  if (s.preset.empty()) {
    if (!given["synthetic-seed"].defaulted()) fail("--synthetic-seed goes with --preset");
    return;
  }
  s.from = fmt::format("synthetic:{}?seed={}&quant={}", s.preset, s.seed, s.quant);
  if (!given["group-size"].defaulted())  // part of how the model is made, not of how it is quantised
    s.from += fmt::format("&group_size={}", s.group_size);
}

/// The request that validated options make of a model. Reads the calibration's documents.
inline CheckpointRequest request_of(const Settings& s, const po::variables_map& given,
                                    const model::Checkpoint& checkpoint) {
  CheckpointRequest out;
  out.quant = CheckpointRequest::parse(s.quant);
  if (!given["group-size"].defaulted() && s.preset.empty()) out.group_size = s.group_size;
  if (!s.dtype.empty()) out.dtype = parse_dtype(s.dtype);
  out.symmetric = s.symmetric;
  out.by_activation = s.desc_act;
  out.calibration = windows_of(s.calibration_pdfs, s.calibration_tokens, checkpoint, s.from);
  out.verbosity = s.verbosity();
  return out;
}

}  // namespace fpf::checkpoint
