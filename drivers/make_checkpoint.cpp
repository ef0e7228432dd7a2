// Any model fpf reads -> a Hugging Face directory in AWQ, GPTQ, bitsandbytes NF4 or 16 bits.
#include <ATen/Parallel.h>
#include <malloc.h>

#include <fpf/checkpoint/checkpoint_writer.hpp>
#include <fpf/checkpoint/options.hpp>
#include <fpf/checkpoint/perplexity.hpp>

namespace fpf {
extern template struct engine::DecoderFactory<>;  // session.cpp compiles it
}

using namespace fpf;

namespace {

void make(const checkpoint::Settings& options, const po::variables_map& given) {
  // Large tensors go back to the system when they are freed: kept for later, they leave the heap in
  // fragments.
  mallopt(M_MMAP_THRESHOLD, 8 << 20);
  if (options.threads > 0) at::set_num_threads(options.threads);
  const auto source = model::Checkpoint::open(options.from);
  if (!source.config().quantization.is_null() && options.preset.empty())
    tell("make_checkpoint: {} is quantised ({}) already: what that lost stays lost", options.from,
         quant::name_of(quant::method_of(source.config().quantization)));
  checkpoint::write_checkpoint(source, checkpoint::request_of(options, given, source), options.to);
  tell("make_checkpoint: {} written", options.to);
  if (options.perplexity_pdf.empty()) return;
  const auto windows =
      checkpoint::windows_of({options.perplexity_pdf}, options.perplexity_tokens, source, options.from);
  const auto change =
      checkpoint::compare_perplexity(source, model::Checkpoint::open(options.to), windows, options.verbosity());
  write_stdout(fmt::format("perplexity on {}: source {:.4f}, {} {:.4f} ({:+.2f} %)\n", one_line(options.perplexity_pdf),
                           change.source, options.quant, change.result, change.percent()));
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("make_checkpoint", [&] {
    const ProgramInfo info{
        "make_checkpoint", "writes a model as a Hugging Face checkpoint in AWQ, GPTQ, bitsandbytes NF4 or 16 bits",
        "make_checkpoint --from build/models/SmolLM2-135M-Instruct.Q4_1.gguf --quant awq --group-size 64 "
        "--calibration-pdf build/documents/valgrind_manual.pdf.gz --to "
        "build/models/SmolLM2-135M-Instruct-AWQ"};
    checkpoint::Settings options;
    po::variables_map given;
    if (!parse_options(argc, argv, info, checkpoint::describe(options), given)) return ExitCode::ok;
    checkpoint::validate(options, given);
    catch_interrupts();
    make(options, given);
    return ExitCode::ok;
  });
}
