// What exp0_reference refuses: each ends with exit code 2, one line that names what was wrong, and no file.
#include "exp0.hpp"

BOOST_AUTO_TEST_SUITE(test_exp0_refusals)

namespace {

/// A command that must end with exit code 2, one line that has `words` in it, and no file.
void refused(const Options& changes, std::initializer_list<std::string> words, const Strings& more = {}) {
  fresh_folder("out");
  const Outcome outcome = run(command(changes, more));
  BOOST_TEST_CONTEXT(outcome.err) {
    BOOST_TEST(outcome.code == 2);
    BOOST_TEST(mentions(outcome.err, words));
    const auto message = outcome.err.find("exp0_reference: error: ");
    BOOST_REQUIRE(message != std::string::npos);
    BOOST_TEST(outcome.err.find('\n', message) == outcome.err.size() - 1);
    BOOST_TEST(outcome.out == "");
    BOOST_TEST(names_in("out").empty());
  }
}

/// config.json of a copy of a tiny model with members changed.
void change_config(const fs::path& model, const json& changes) {
  json config = json::parse(text_of(model / "config.json"));
  config.update(changes);
  write(model / "config.json", config.dump());
}

/// A PDF of one page with that content stream, as small as a PDF can be.
std::string pdf(const std::string& content) {
  const std::string head = R"(%PDF-1.4
1 0 obj << /Type /Catalog /Pages 2 0 R >> endobj
2 0 obj << /Type /Pages /Kids [3 0 R] /Count 1 >> endobj
3 0 obj << /Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] /Contents 5 0 R /Resources << /Font << /F 4 0 R >> >> >> endobj
4 0 obj << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> endobj
5 0 obj << /Length )";
  return head + std::to_string(content.size()) + " >> stream\n" + content +
         "\nendstream endobj\ntrailer << /Root 1 0 R >>\n%%EOF\n";
}

/// A GGUF file of string key-values and no tensors.
std::string gguf(const std::map<std::string, std::string>& strings) {
  std::string out = "GGUF";
  const auto number = [&](auto value) { out.append(reinterpret_cast<const char*>(&value), sizeof value); };
  const auto text = [&](const std::string& value) {
    number(std::uint64_t{value.size()});
    out += value;
  };
  number(std::uint32_t{3});
  number(std::uint64_t{0});
  number(std::uint64_t{strings.size()});
  for (const auto& [key, value] : strings) {
    text(key);
    number(std::uint32_t{8});
    text(value);
  }
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(options_that_make_no_sense) {
  refused({}, {"--nonsense", "--help"}, {"--nonsense"});
  refused({}, {"positional"}, {"stray"});
  refused({}, {"--reps"}, {"--reps"});
  refused({}, {"--reps", "more than once"}, {"--reps", "1", "--reps", "2"});
  refused({{"--model", ""}}, {"--model is missing"});
  refused({{"--prompt-ids", ""}}, {"exactly one", "--prompt-pdf", "found 0"});
  refused({{"--prompt-text", "a.txt"}}, {"exactly one", "found 2"});
  refused({{"--thinking", "maybe"}}, {"--thinking maybe", "on or off"});
  refused({{"--add-special-tokens", "1"}}, {"--add-special-tokens 1", "on or off"});
  refused({{"--template-date", "today"}}, {"--template-date today", "YYYY-MM-DD"});
  refused({{"--dtype", "int8"}}, {"--dtype int8", "bfloat16"});
  refused({{"--device", "nonsense"}}, {"--device nonsense", "cuda:N"});
  refused({{"--device", "cuda:99"}}, {"--device cuda:99", "devices"});
  refused({{"--execution", "turbo"}}, {"--execution turbo", "eager"});
  refused({{"--config", "nowhere.cfg"}}, {"--config nowhere.cfg", "no such file"});
  write("bad.cfg", "nonsense = 1\n");
  refused({{"--config", "bad.cfg"}}, {"nonsense"});
  write("bad.cfg", "reps = many\n");
  refused({{"--reps", ""}, {"--config", "bad.cfg"}}, {"many", "reps"});
}

BOOST_AUTO_TEST_CASE(counts_and_layers_out_of_range) {
  for (const char* option : {"--prompt-tokens", "--decode-steps", "--reps", "--top-k", "--threads"})
    for (const char* value : {"0", "-1"}) refused({{option, value}}, {std::string(option) + " " + value, "positive"});
  refused({{"--threads", "5000"}}, {"--threads 5000", "at most 1024", "processors"});  // once a signal
  for (const char* value : {"many", "1.5", "99999999999999999999"}) refused({{"--reps", value}}, {value, "--reps"});
  refused({{"--layers", "99"}}, {"--layers 99", "layer 99 does not exist", "0 to 3"});
  refused({{"--layers", "4"}}, {"layer 4 does not exist", "0 to 3"});
  refused({{"--layers", "0,-1"}}, {"layer -1"});
  refused({{"--layers", "first"}}, {"--layers first", "'first'"});
  refused({{"--layers", "1,,2"}}, {"--layers 1,,2"});
  refused({{"--layers", ","}}, {"--layers"});
}

BOOST_AUTO_TEST_CASE(places_where_nothing_can_be_written) {
  const auto file = write("regular", "");
  refused({{"--out", (file / "below").string()}}, {"regular/below", "Not a directory"});
  refused({{"--out", file.string()}}, {"regular", "Not a directory"});
  refused({{"--out", "/proc/nowhere"}}, {"/proc/nowhere", "No such file"});
  BOOST_TEST(text_of(file) == "");
}

BOOST_AUTO_TEST_CASE(models_that_are_none) {
  refused({{"--model", "nowhere"}}, {"no model at 'nowhere'"});
  write("text.txt", "hello");
  refused({{"--model", "text.txt"}}, {"text.txt is no model"});
  refused({{"--model", fresh_folder("empty").string()}}, {"empty/config.json"});
  refused({{"--model", "synthetic:nothing"}}, {"synthetic:nothing", "qwen3-moe-tiny"});
  fs::copy_file(tiny / "config.json", "empty/config.json");
  refused({{"--model", "empty"}}, {"empty holds no weights", "model.safetensors"});
}

BOOST_AUTO_TEST_CASE(safetensors_files_that_lie) {
  const auto model = copy_of("llama_tied", "model"), weights = model / "model.safetensors";
  const std::string whole = text_of(weights);
  const auto with = [&](const std::string& bytes, std::initializer_list<std::string> words) {
    write(weights, bytes);
    refused({{"--model", "model"}}, words);
  };
  with("", {"model.safetensors", "at least 8 bytes"});
  with(whole.substr(0, 500), {"model.safetensors", "header of", "truncated"});
  with(whole.substr(0, whole.size() - 10), {"model.safetensors", "truncated"});
  with(replaced(whole, std::string(whole, 0, 8), std::string(8, '\x7f')), {"model.safetensors", "claims a header"});
  with(replaced(whole, "\"F32\"", "\"F99\""), {"type F99", "model.safetensors"});
  with(replaced(whole, "model.norm.weight", "model.gone.weight"),
       {"'model.norm.weight' is missing", "model.safetensors"});
  write(weights, whole);
  change_config(model, {{"num_hidden_layers", 5}});
  refused({{"--model", "model"}}, {"model.layers.4.", "is missing", "model.safetensors"});
  change_config(model, {{"num_hidden_layers", 4}, {"hidden_size", 66}});
  refused({{"--model", "model"}}, {"model.embed_tokens.weight", "[199, 60]", "[199, 66]"});
  fs::remove(weights);
  write(model / "model.safetensors.index.json", R"({"weight_map": {"model.norm.weight": "part-1.safetensors"}})");
  refused({{"--model", "model"}}, {"part-1.safetensors is missing", "model.norm.weight"});
}

BOOST_AUTO_TEST_CASE(gguf_files_that_lie) {
  write("cut.gguf", text_of(smollm2).substr(0, 1 << 20));
  refused({{"--model", "cut.gguf"}}, {"cut.gguf claims 48900 strings", "only", "bytes follow"});
  const std::string small = text_of(fixtures / "weights" / "small.gguf");
  write("cut.gguf", small.substr(0, small.size() - 1));
  refused({{"--model", "cut.gguf"}}, {"cut.gguf", "truncated"});
  write("many.gguf", "GGUF" + std::string("\3\0\0\0", 4) + std::string(8, '\x7f') + std::string(8, '\0'));
  refused({{"--model", "many.gguf"}}, {"many.gguf", "claims"});
  write("other.gguf", gguf({{"general.architecture", "mamba"}}));
  refused({{"--model", "other.gguf"}}, {"other.gguf", "'mamba'", "llama, qwen2, qwen3 or qwen3moe"});
  write("bare.gguf", gguf({{"general.architecture", "llama"}}));
  refused({{"--model", "bare.gguf"}}, {"bare.gguf", "llama."});
}

BOOST_AUTO_TEST_CASE(configurations_that_fpf_does_not_compute) {
  const auto with = [](const json& changes, std::initializer_list<std::string> words) {
    change_config(copy_of("llama_tied", "model"), changes);
    refused({{"--model", "model"}}, words);
  };
  with({{"architectures", {"GPT2LMHeadModel"}}}, {"config.json", "GPT2LMHeadModel", "Qwen3MoeForCausalLM"});
  with({{"architectures", json::array()}}, {"config.json", "architecture ''"});
  with({{"architectures", 7}}, {"config.json", "architectures"});
  with({{"dtype", "float8_e4m3fn"}}, {"config.json", "float8_e4m3fn", "bfloat16"});
  with({{"dtype", "float64"}}, {"float64", "--dtype"});
  with({{"num_attention_heads", 0}}, {"config.json", "num_attention_heads", "positive"});
  with({{"num_key_value_heads", 4}}, {"config.json", "6", "4 key-value heads"});
  with({{"vocab_size", "many"}}, {"config.json", "vocab_size"});
  with({{"rope_parameters", "yes"}}, {"config.json", "rope_parameters"});
  with({{"rope_parameters", {{"rope_type", "yarn"}}}}, {"config.json", "yarn"});
  with({{"attention_bias", true}}, {"config.json", "attention_bias"});
  with({{"quantization_config", {{"quant_method", "hqq"}}}}, {"hqq"});
  write(copy_of("llama_tied", "model") / "config.json", "{");
  refused({{"--model", "model"}}, {"config.json", "JSON"});
}

BOOST_AUTO_TEST_CASE(token_ids_that_the_model_cannot_take) {
  const auto with = [](const std::string& ids, std::initializer_list<std::string> words) {
    write("ids.json", ids);
    refused({{"--prompt-ids", "ids.json"}}, words);
  };
  with("[1, 2, 199]", {"token id 199", "ends at 198"});
  with("[1, 2, -1]", {"ids.json", "-1"});
  with("[1, 2.5]", {"ids.json", "2.5"});
  with("[1, 99999999999]", {"ids.json", "99999999999"});
  with("[]", {"ids.json", "no token ids"});
  with("[1]", {"1 tokens", "at least 2"});
  with("{\"a\": 1}", {"ids.json", "array"});
  with("1 2 3", {"ids.json", "JSON"});
  refused({{"--prompt-ids", "nowhere.json"}}, {"nowhere.json"});
  std::string ids = "[1";
  for (int i = 1; i < 123; ++i) ids += ", 2";
  with(ids + "]", {"123 tokens", "6 decode steps", "128 positions"});  // 129 positions
  refused({{"--decode-steps", "9223372036854775807"}}, {"9223372036854775807", "128 positions"});
}

BOOST_AUTO_TEST_CASE(tokenisers_that_do_not_fit) {
  const auto with = [](const fs::path& tokenizer, std::initializer_list<std::string> words) {
    refused({{"--tokenizer", tokenizer.string()}}, words);
  };
  with(smollm2, {"49151", "198"});
  with("nowhere", {"nowhere"});
  with(tiny, {"tokenizer.json"});
  json tokenizer = json::parse(text_of(fixtures / "tokens" / "small_whole" / "tokenizer.json"));
  tokenizer.at("model").erase("merges");
  fresh_folder("tokenizer");
  write("tokenizer/tokenizer.json", tokenizer.dump());
  with("tokenizer", {"tokenizer/tokenizer.json", "no merges"});
  write("tokenizer/tokenizer.json", "{}");
  with("tokenizer", {"tokenizer/tokenizer.json"});
  write("bare.gguf", gguf({{"tokenizer.ggml.model", "gpt2"}}));
  with("bare.gguf", {"bare.gguf", "tokenizer.ggml.tokens"});
  write("bare.gguf", gguf({{"tokenizer.ggml.model", "llama"}}));
  with("bare.gguf", {"bare.gguf", "byte-level BPE"});
  write("a.txt", "some text");
  refused({{"--prompt-ids", ""}, {"--prompt-text", "a.txt"}}, {"no tokeniser", "--tokenizer", "--prompt-ids"});
  copy_of("llama_tied", "model");
  write("model/tokenizer.json", R"({"model": {"type": "Unigram"}})");
  refused({{"--model", "model"}, {"--prompt-ids", ""}, {"--prompt-text", "a.txt"}},
          {"no tokeniser that fpf knows", "unsupported model Unigram", "--prompt-ids"});
}

BOOST_AUTO_TEST_CASE(documents_that_give_no_prompt) {
  const auto with = [](const char* option, const fs::path& document, std::initializer_list<std::string> words,
                       const std::string& tokens = "64") {
    refused(
        {{"--model", smollm2.string()}, {"--prompt-ids", ""}, {option, document.string()}, {"--prompt-tokens", tokens}},
        words);
  };
  with("--prompt-pdf", "nowhere.pdf", {"nowhere.pdf"});
  write("empty.pdf", "");
  with("--prompt-pdf", "empty.pdf", {"empty.pdf", "empty"});
  with("--prompt-pdf", fixtures / "prompts" / "locked.pdf", {"locked.pdf", "encrypted"});
  write("blank.pdf", pdf("0 0 m 9 9 l S"));
  with("--prompt-pdf", "blank.pdf", {"blank.pdf", "no text"});
  write("short.pdf", pdf("BT /F 9 Tf 9 9 Td (Nine words are not enough for sixty-four tokens) Tj ET"));
  with("--prompt-pdf", "short.pdf", {"too short", "tokens"});
  write("cut.pdf", text_of(manual).substr(0, 30000));
  with("--prompt-pdf", "cut.pdf", {"cut.pdf", "damaged"});
  write("text.pdf", "This is no PDF.");
  with("--prompt-pdf", "text.pdf", {"text.pdf", "no PDF"});
  with("--prompt-text", "short.pdf", {"short.pdf", "is a PDF"});
  write("blank.txt", " \n\t\n");
  with("--prompt-text", "blank.txt", {"blank.txt"});
  with("--prompt-text", ".", {"a directory"});
  with("--prompt-pdf", manual, {"3 tokens", "no room"}, "3");
  with("--prompt-pdf", manual, {"8190 tokens", "8192 positions"}, "8190");
}

BOOST_AUTO_TEST_SUITE_END()
