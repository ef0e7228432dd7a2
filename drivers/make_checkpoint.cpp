// Any model fpf reads -> a Hugging Face directory in AWQ, GPTQ, bitsandbytes NF4 or 16 bits.
#include <ATen/Parallel.h>
#include <malloc.h>

#include <fpf/core/program.hpp>
#include <fpf/checkpoint/checkpoint_writer.hpp>
#include <fpf/checkpoint/perplexity.hpp>
#include <fpf/prompt/document.hpp>
#include <optional>

namespace {

using fpf::po::value;

constexpr std::size_t window = 512;  // tokens that see one another, in calibration and in the measure

struct Settings {
  std::string from, to, quant, preset, dtype, perplexity_pdf;
  std::uint64_t seed = 1;
  std::int64_t calibration_tokens = 8192, perplexity_tokens = 8192, group_size = 128;
  std::vector<std::string> calibration_pdfs;
  bool symmetric = false, desc_act = false, quiet = false;
  int threads = 0;
};

fpf::po::options_description describe(Settings& s) {
  const auto text = [](std::string& to, const char* name) { return value(&to)->value_name(name); };
  fpf::po::options_description out("Checkpoint");
  out.add_options()                                                                      //
      ("from", text(s.from, "M"), "Hugging Face directory, GGUF file or synthetic:...")  //
      ("quant", text(s.quant, "Q"), "awq, gptq, nf4 or none")                            //
      ("to", text(s.to, "DIR"), "the folder to make: new or empty")                      //
      ("group-size", value(&s.group_size)->value_name("N")->default_value(s.group_size),
       "inputs that share a scale (awq, gptq); -1: whole columns")  //
      ("calibration-pdf", value(&s.calibration_pdfs)->value_name("F")->composing(),
       "text (PDF or plain) whose activations the quantisation looks at; repeatable. Without it weights are "
       "rounded on their own")  //
      ("calibration-tokens",
       value(&s.calibration_tokens)->value_name("N")->default_value(s.calibration_tokens),
       "tokens of that text, in windows of 512")                                             //
      ("symmetric", fpf::po::bool_switch(&s.symmetric), "gptq: every zero is 8")             //
      ("desc-act", fpf::po::bool_switch(&s.desc_act), "gptq: the most active inputs first")  //
      ("dtype", text(s.dtype, "T"),
       "float16 or bfloat16, of what is not quantised; with --quant none float32 too")  //
      ("preset", text(s.preset, "P"),
       "instead of --from: a synthetic model of that shape (qwen3-30b-a3b, qwen3-moe-tiny), made in the "
       "format")                                                                              //
      ("synthetic-seed", value(&s.seed)->value_name("S")->default_value(s.seed), "its seed")  //
      ("perplexity-pdf", text(s.perplexity_pdf, "F"),
       "held-out text on which to compare source and result")  //
      ("perplexity-tokens", value(&s.perplexity_tokens)->value_name("N")->default_value(s.perplexity_tokens),
       "tokens of that text")                                                              //
      ("threads", value(&s.threads)->value_name("N"), "CPU threads (default: all cores)")  //
      ("quiet", fpf::po::bool_switch(&s.quiet), "no progress");
  return out;
}

void validate(Settings& s, const fpf::po::variables_map& given) {
  if (s.to.empty()) fpf::fail("--to is missing: expected the folder to make");
  if (s.quant.empty()) fpf::fail("--quant is missing: expected awq, gptq, nf4 or none");
  if (s.from.empty() == s.preset.empty())
    fpf::fail("expected exactly one of --from and --preset, found {}", s.from.empty() ? 0 : 2);
  for (const auto& [name, tokens] : {std::pair("calibration-tokens", s.calibration_tokens),
                                     std::pair("perplexity-tokens", s.perplexity_tokens)})
    if (tokens < static_cast<std::int64_t>(window))
      fpf::fail("--{} {}: expected at least {}", name, tokens, window);
  if (given.count("threads") != 0 && s.threads < 1)
    fpf::fail("--threads {}: expected a positive number", s.threads);
  if (s.preset.empty()) {
    if (!given["synthetic-seed"].defaulted()) fpf::fail("--synthetic-seed goes with --preset");
    return;
  }
  s.from = fmt::format("synthetic:{}?seed={}&quant={}", s.preset, s.seed, s.quant);
  if (!given["group-size"].defaulted()) {  // part of how the model is made, not of how it is quantised
    s.from += fmt::format("&group_size={}", s.group_size);
    s.group_size = 0;
  }
}

/// The ids of a document. Throws Error for a model without tokeniser.
std::vector<std::int32_t> ids_of(const std::string& file, const fpf::model::Checkpoint& checkpoint,
                                 const std::string& from) {
  const bool has_folder =
      !checkpoint.folder().empty() && std::filesystem::exists(checkpoint.folder() / "tokenizer.json");
  if (checkpoint.gguf() == nullptr && !has_folder)
    fpf::fail("{} has no tokeniser: a document cannot be read for it", from);
  return fpf::prompt::open_tokenizer(from).encode(fpf::prompt::document_text(file), false);
}

std::vector<std::vector<std::int32_t>> calibration_of(const Settings& s,
                                                      const fpf::model::Checkpoint& checkpoint) {
  std::vector<std::vector<std::int32_t>> out;
  const auto count = static_cast<std::size_t>(s.calibration_tokens) / window;
  for (std::size_t i = 0; i < s.calibration_pdfs.size(); ++i) {
    const std::string& file = s.calibration_pdfs[i];
    const std::size_t share = count * (i + 1) / s.calibration_pdfs.size() - out.size();
    std::ranges::move(fpf::model::spread_windows(ids_of(file, checkpoint, s.from), share, window, file),
                      std::back_inserter(out));
  }
  return out;
}

fpf::model::CheckpointRequest request_of(const Settings& s, const fpf::po::variables_map& given,
                                         const fpf::model::Checkpoint& checkpoint) {
  fpf::model::CheckpointRequest out;
  out.quant = fpf::model::CheckpointRequest::parse(s.quant);
  if (!given["group-size"].defaulted() && s.preset.empty()) out.group_size = s.group_size;
  if (!s.dtype.empty()) out.dtype = fpf::parse_dtype(s.dtype);
  out.symmetric = s.symmetric;
  out.by_activation = s.desc_act;
  out.calibration = calibration_of(s, checkpoint);
  out.verbosity = s.quiet ? fpf::Verbosity::quiet : fpf::Verbosity::normal;
  return out;
}

void report_perplexity(const Settings& s, const fpf::model::Checkpoint& source) {
  const auto verbosity = s.quiet ? fpf::Verbosity::quiet : fpf::Verbosity::normal;
  const auto windows = fpf::model::spread_windows(ids_of(s.perplexity_pdf, source, s.from),
                                                  static_cast<std::size_t>(s.perplexity_tokens) / window,
                                                  window, s.perplexity_pdf);
  const double before = fpf::model::perplexity(source, windows, verbosity);
  const double after = fpf::model::perplexity(fpf::model::Checkpoint::open(s.to), windows, verbosity);
  fmt::print("perplexity on {}: source {:.4f}, {} {:.4f} ({:+.2f} %)\n", s.perplexity_pdf, before, s.quant,
             after, 100 * (after / before - 1));
}

void make(const Settings& s, const fpf::po::variables_map& given) {
  // Large tensors go back to the system when they are freed: kept for later, they leave the heap in
  // fragments.
  mallopt(M_MMAP_THRESHOLD, 8 << 20);
  if (s.threads > 0) at::set_num_threads(s.threads);
  const auto source = fpf::model::Checkpoint::open(s.from);
  if (!source.config().quantization.is_null() && s.preset.empty())
    fmt::print(stderr, "make_checkpoint: {} is quantised ({}) already: what that lost stays lost\n", s.from,
               fpf::quant::name_of(fpf::quant::method_of(source.config().quantization)));
  fpf::model::write_checkpoint(source, request_of(s, given, source), s.to);
  fmt::print(stderr, "make_checkpoint: {} written\n", s.to);
  if (!s.perplexity_pdf.empty()) report_perplexity(s, source);
}

}  // namespace

int main(int argc, char** argv) {
  return fpf::run_program("make_checkpoint", [&] {
    const fpf::ProgramInfo info{
        "make_checkpoint",
        "writes a model as a Hugging Face checkpoint in AWQ, GPTQ, bitsandbytes NF4 or 16 bits",
        "make_checkpoint --from build/models/SmolLM2-135M-Instruct.Q4_1.gguf --quant awq --group-size 64 "
        "--calibration-pdf build/documents/valgrind_manual.pdf.gz --to "
        "build/models/SmolLM2-135M-Instruct-AWQ"};
    Settings settings;
    fpf::po::variables_map given;
    if (!fpf::parse_options(argc, argv, info, describe(settings), given)) return fpf::ExitCode::ok;
    validate(settings, given);
    fpf::catch_interrupts();
    make(settings, given);
    return fpf::ExitCode::ok;
  });
}
