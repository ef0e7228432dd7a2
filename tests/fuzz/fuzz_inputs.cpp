// libFuzzer target for the readers of what users give: any bytes give a result or an fpf::Error that names the file. Built
// with clang and its sanitizers where clang is found. FPF_FUZZ says which reader; by hand for longer:
//   FPF_FUZZ=tokenizer fuzz_inputs -max_total_time=600 corpus
#include <cstdlib>
#include <fpf/campaign/journal.hpp>
#include <fpf/compare/analyse.hpp>
#include <fpf/compare/output/result_json.hpp>
#include <fpf/compare/plan/plan.hpp>
#include <fpf/compare/plan/published.hpp>
#include <fpf/core/json.hpp>
#include <fpf/evidence/experiment_writer.hpp>
#include <fpf/model/config_json.hpp>
#include <fpf/prompt/document.hpp>
#include <fpf/prompt/gguf_vocabulary.hpp>
#include <fpf/prompt/prompt_file.hpp>
#include <fpf/quant/quant_config.hpp>
#include <fpf/weights/gguf.hpp>
#include <fpf/weights/safetensors.hpp>
#include <fstream>
#include <map>
#include <string>

using namespace fpf;

namespace {

/// In the current one.
const std::filesystem::path& folder() {
  static const std::filesystem::path one = [] {
    std::filesystem::create_directories("fuzzed_input");
    return "fuzzed_input";
  }();
  return one;
}

void encode(const prompt::Tokenizer& tokenizer) {
  tokenizer.encode_first("babaAA 12 \u00e9\u0301 <x> b\n\n", true, 1000);
}

void read_config(const std::string& file) {
  const auto json = read_json(file);
  const auto config = model::config_from_json(json, file);
  if (!config.quantization.is_null())
    naming(file, [&] { return quant::read_quantisation(config.quantization, quant::method_of(config.quantization)); });
}

/// The file is tokenizer_config.json beside a sound tokenizer.json (FPF_FUZZ_TOKENIZER).
void read_directory(const std::string&) {
  const auto sound = folder() / "tokenizer.json";
  if (!std::filesystem::exists(sound)) std::filesystem::copy_file(std::getenv("FPF_FUZZ_TOKENIZER"), sound);
  encode(prompt::Tokenizer::from_directory(folder()));
}

/// In this process, so that its coverage is seen; the programs read PDFs in a child.
void read_pdf(const std::string& file) {
  std::vector<std::string> problems;
  prompt::detail::pdf_text(MappedFile(file).text(), file, &problems);
}

void take_up(const std::string& file) {
  const auto path = std::filesystem::path(file).replace_extension();  // without .partial
  evidence::ExperimentWriter(path, Json::object(), {"f", {}}, true).finish();
}

template <class Call>
void allow_errors(Call call) {
  try {
    call();
  } catch (const Error&) {
  }
}

void analyse_experiment(const compare::JoinedExperiment& experiment) {
  compare::AnalysisOptions options;
  options.signals = compare::compared_signals();
  options.all_layers = true;
  options.threads = 1;
  allow_errors([&] {
    const std::string text = to_json(compare::analyse(experiment, options)).dump();
    if (!nlohmann::json::accept(text)) std::abort();  // NaN or infinity would show as null at worst
  });
  for (const evidence::StoredSignal signal : options.signals)
    allow_errors([&] { compare::plan::analyse(experiment, signal).dump(); });
}

void read_evidence(const std::string& file) {
  allow_errors([&] { compare::to_json(compare::published::analyse({compare::published::open(file)})).dump(); });
  std::vector<evidence::ExperimentFile> files;
  files.push_back(evidence::open_experiment(file));
  allow_errors([&] { analyse_experiment(compare::join(std::move(files))); });
}

struct Reader {
  const char* file;
  void (*read)(const std::string& file);
};

const std::map<std::string, Reader> readers{
    {"evidence", {"e.json", read_evidence}},
    {"prompt_ids", {"ids.json", [](const std::string& file) { prompt::read_prompt_ids(file); }}},
    {"config", {"config.json", read_config}},
    {"tokenizer", {"t.json", [](const std::string& file) { encode(prompt::open_tokenizer(file)); }}},
    {"chat_template", {"tokenizer_config.json", read_directory}},
    {"safetensors", {"m.safetensors", [](const std::string& file) { weights::SafetensorsDirectory{file}; }}},
    {"gguf", {"m.gguf", [](const std::string& file) { encode(prompt::open_tokenizer(file)); }}},
    {"partial", {"e.json.partial", take_up}},
    {"journal", {"j.journal", [](const std::string& file) { campaign::Journal(file, true).last("a", "b"); }}},
    {"gzip", {"d.gz", [](const std::string& file) { prompt::detail::FileContent{file}; }}},
    {"pdf", {"d.pdf", read_pdf}}};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const char* name = std::getenv("FPF_FUZZ");
  const auto reader = readers.find(name == nullptr ? "" : name);
  if (reader == readers.end()) {
    for (const auto& [known, unused] : readers) fmt::print(stderr, "FPF_FUZZ={}\n", known);
    std::_Exit(2);
  }
  const std::string file = (folder() / reader->second.file).string();
  std::ofstream(file, std::ios::binary).write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  try {
    reader->second.read(file);
  } catch (const Error& error) {
    if (std::string_view(error.what()).find(folder().string()) == std::string_view::npos) {
      fmt::print(stderr, "no name in: {}\n", error.what());
      std::abort();
    }
  }
  return 0;
}
