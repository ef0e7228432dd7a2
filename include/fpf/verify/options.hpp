// What a user says of a verification.
#pragma once

#include <cmath>
#include <fpf/core/overwriting.hpp>
#include <fpf/core/program.hpp>
#include <fpf/core/progress.hpp>
#include <fpf/core/thread_limit.hpp>
#include <fpf/evidence/looks_like.hpp>
#include <fpf/verify/noise.hpp>
#include <fpf/verify/question.hpp>
#include <string>
#include <vector>

namespace fpf::verify {

/// What --help says of the rules; verdict.hpp has them, noise.hpp the one behind --noise.
inline constexpr const char* help_text =
    "re-executes evidence here, two ways kept apart (true decode with its tokens forced; one prefill over prompt and\n"
    "tokens), and says accept, reject or undecided.\n\n"
    "Rejected before anything runs: evidence that contradicts itself (digests that do not fit the vectors, tokens\n"
    "that are not the most probable ones of the position before, wrong positions, prompts and texts that do not fit\n"
    "their ids), answers another prompt than the one asked (--prompt-...) or names another model. Accepted: evidence\n"
    "with the bits of the decode here, whatever its manifest says. Rejected: any other from the same machine and\n"
    "build, by its manifest, if the file records equal repetitions and the decode repeats here; and a token that is\n"
    "not among the most probable ones here. On other machines --noise decides: a position's score is its largest\n"
    "relative L2 distance, in units of the honest runs' median; evidence stands out if its scores do by rank (95 %\n"
    "interval of the AUC above 1/2) and the largest is --threshold times the honest runs' largest. It is rejected if\n"
    "it stands out on one path, accepted if by neither rank nor ratio on both and a change of --effect times the\n"
    "noise would have stood out with a power of 0.9: of the honest runs, each judged by the others with such a change\n"
    "in it, that share does. Both take as many honest runs, 2 / --false-positive-rate - 1 and at least 9 (19 for a\n"
    "rate of 0.1), which share no bits with one another or the evidence, so on prompts of their own. All else is\n"
    "undecided, with what is lacking.\n"
    "Exit code 0: accept; 3: reject or undecided; 2: something given is wrong";

struct Settings {
  std::string evidence;
  std::vector<std::string> models;      // each run takes the one that it was made from
  std::vector<std::string> noise;       // files of honest runs on the evidence's machine
  std::vector<std::string> config_ids;  // none: all runs
  Question question;                    // what was asked, if it is given
  std::string tokens;     // what it was fed, if that is given: a file as --tokens of the experiments takes it
  std::string tokenizer;  // for texts and the question's document; default the model's own
  std::string device;     // empty: the evidence's kind, if there is one
  int threads = 0;        // 0: as the evidence says
  int reps = 2;
  NoiseRule noise_rule;
  std::string output;  // a JSON file, if given
  Verbosity verbosity = Verbosity::normal;
};

/// The options, into `out` when notified; the operand, `evidence`, is no option.
inline po::options_description describe(Settings& out) {
  po::options_description described("Verification");
  NoiseRule& rule = out.noise_rule;
  described.add_options()  //
      ("model", po::value(&out.models)->composing()->value_name("M"),
       "Hugging Face directory, GGUF file or synthetic:...; repeatable where the file's runs have several")  //
      ("noise", po::value(&out.noise)->composing()->multitoken()->value_name("FILE..."),
       "honest runs of the same set-up from a machine like the evidence's, on prompts of their own")  //
      ("tokens", po::value(&out.tokens)->value_name("FILE"),
       "what runs with the tokens of a file were fed, as the experiments' --tokens")  //
      ("config-id", po::value(&out.config_ids)->composing()->value_name("ID"),
       "only this configuration; repeatable (default: all)")  //
      ("tokenizer", po::value(&out.tokenizer)->value_name("DIR|GGUF"),
       "the prompt's tokeniser (default: the model's own)")  //
      ("device", po::value(&out.device)->value_name("D"),
       "cpu, cuda or cuda:N (default: the evidence's kind, if this machine has one)")                               //
      ("threads", po::value(&out.threads)->value_name("N"), "CPU threads (default: as many as the evidence says)")  //
      ("reps", po::value(&out.reps)->value_name("N")->default_value(out.reps), "decode re-executions, at least 2")  //
      ("threshold", po::value(&rule.threshold)->value_name("X")->default_value(rule.threshold, "1.5"),
       "ratio to the honest runs' largest distance, as compare's")  //
      ("false-positive-rate",
       po::value(&rule.false_positive_rate)->value_name("P")->default_value(rule.false_positive_rate, "0.1"),
       "largest rate at which honest evidence may be rejected by noise")  //
      ("effect", po::value(&rule.effect)->value_name("X")->default_value(rule.effect, "10"),
       "smallest change, in units of the noise, that must be found with a power of 0.9 before noise accepts")    //
      ("output", po::value(&out.output)->value_name("FILE"), "all distances, row by row, and verdicts as JSON")  //
      ("quiet",
       po::bool_switch()->notifier([&out](bool on) { out.verbosity = on ? Verbosity::quiet : Verbosity::normal; }),
       "no progress");
  po::options_description question(
      "What was asked (one of the first four; without, the prompt is held against nothing)");
  question_options(question, out.question);
  po::options_description all("");
  all.add(described).add(question);
  return all;
}

/// Throws Error naming the option.
inline void validate(const Settings& settings, const po::variables_map& values) {
  if (settings.evidence.empty()) fail("expected an experiment file to verify (see verify --help)");
  if (settings.models.empty())
    fail("--model is missing: expected a Hugging Face directory, a GGUF file or synthetic:...");
  if (settings.reps < 2)
    fail("--reps {}: expected at least 2, since this machine must repeat itself, too", settings.reps);
  if (values.count("threads") != 0) require_threads(settings.threads);
  const NoiseRule& rule = settings.noise_rule;
  if (!(rule.threshold > 0) || !std::isfinite(rule.threshold))
    fail("--threshold {}: expected a positive number", rule.threshold);
  if (!(rule.effect > 0) || !(rule.effect <= 1e6)) fail("--effect {}: expected a number from 0 to 1e6", rule.effect);
  if (!(rule.false_positive_rate >= 1e-3) || rule.false_positive_rate >= 1)
    fail("--false-positive-rate {}: expected a number from 0.001 to 1", rule.false_positive_rate);
  validate(settings.question, values);
  if (settings.output.empty()) return;
  std::vector<NamedPath> inputs{{"the evidence", settings.evidence}, {"--tokenizer", settings.tokenizer, true}};
  inputs.push_back(config_file(values));
  append_paths(inputs, "--model", settings.models, true);
  append_paths(inputs, "--noise", settings.noise);
  append_paths(inputs, "--prompt-ids", settings.question.ids);
  inputs.push_back({"--tokens", settings.tokens});
  append_paths(inputs, "the question's document", settings.question.document.files());
  refuse_overwriting({"--output", settings.output}, inputs);
  evidence::refuse_overwriting_evidence("--output", settings.output);
}

}  // namespace fpf::verify
