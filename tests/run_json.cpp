// evidence/: digests and layout against fixtures/make_evidence.py, numbers that survive every reader, the
// writer's promises about files, and the places where repetitions differ or numbers end.
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <fpf/evidence/experiment_writer.hpp>
#include <fpf/evidence/manifest.hpp>
#include <fpf/evidence/reader.hpp>

#include <fstream>
#include <map>
#include <random>
#include <set>

#include "child.hpp"
#include "error_text.hpp"

using namespace fpf;
using namespace fpf::evidence;
namespace fs = std::filesystem;
namespace data = boost::unit_test::data;

namespace {

std::vector<std::byte> from_hex(const std::string& text) {
  std::vector<std::byte> out;
  for (std::size_t i = 0; i < text.size(); i += 2)
    out.push_back(static_cast<std::byte>(std::stoi(text.substr(i, 2), nullptr, 16)));
  return out;
}

template <class T>
void append_hex(std::vector<T>& to, const nlohmann::json& text) {
  const auto bytes = from_hex(text.get<std::string>());
  to.resize(to.size() + bytes.size() / sizeof(T));
  std::memcpy(to.data() + to.size() - bytes.size() / sizeof(T), bytes.data(), bytes.size());
}

void append_ids(std::vector<std::int32_t>& to, const nlohmann::json& ids) {
  for (const auto& id : ids) to.push_back(id);
}

VectorRows vectors(DType dtype, const nlohmann::json& rows) {
  VectorRows out{dtype};
  for (const auto& row : rows) append_hex(out.bytes, row);
  out.width = static_cast<std::int64_t>(out.bytes.size() / rows.size() / size_of(dtype));
  return out;
}

/// A run of the fixture as the recorder would leave it.
Signals signals_of(const nlohmann::json& run) {
  const DType dtype = parse_dtype(run.at("dtype").get<std::string>());
  Signals out{run.at("prompt_tokens"), run.at("token_ids")};
  for (const auto& layer : run.at("rows").at("layers")) {
    LayerSignals entry{layer.at("layer"), vectors(dtype, layer.at("hidden_states")),
                       vectors(dtype, layer.at("key_vectors"))};
    if (layer.contains("router")) {
      RouterRows& router = entry.router.emplace();
      for (const auto& row : layer.at("router")) {
        router.k = static_cast<std::int64_t>(row.at("expert_ids").size());
        append_ids(router.expert_ids, row.at("expert_ids"));
        append_hex(router.weights, row.at("weights"));
        append_hex(router.margin, row.at("margin"));
      }
    }
    out.layers.push_back(std::move(entry));
  }
  for (const auto& row : run.at("rows").at("logprobs")) {
    out.logprobs.k = static_cast<std::int64_t>(row.at("ids").size());
    append_ids(out.logprobs.ids, row.at("ids"));
    append_hex(out.logprobs.values, row.at("values"));
  }
  return out;
}

const nlohmann::json& fixture() {
  static const auto json = nlohmann::json::parse(std::ifstream(FPF_FIXTURES "/evidence.json"));
  return json;
}

Json as_json(const Digests& d) {
  return {{"rep_id", 0},
          {"hidden_states", d.hidden_states},
          {"key_vectors", d.key_vectors},
          {"logprobs", d.logprobs},
          {"router", d.router}};
}

RunRecord record_of(Signals signals, const std::string& config_id = "test_reference") {
  RunRecord out;
  out.config_id = config_id;
  out.timestamp = "2026-01-01 00:00:00";
  out.prompt_text = "a \"quoted\" text,\"runs\":[ and \n lines";
  out.prompt_token_ids.assign(static_cast<std::size_t>(signals.prompt_tokens), 5);
  out.prompt_sha256 = sha256_hex(std::as_bytes(std::span(out.prompt_token_ids)));
  out.reproducibility = {{"repetitions", 1},
                         {"bit_exact", true},
                         {"digests", Json::array({as_json(digests_of(signals))})},
                         {"first_difference", nullptr}};
  out.runtime = {{"seconds", {1.5}}, {"mean", 1.5}, {"variance", 0.0}};
  out.token_texts.resize(signals.token_ids.size());
  out.signals = std::move(signals);
  return out;
}

Json configuration(const std::string& config_id = "test_reference") {
  return {{"config_id", config_id}, {"hardware", "test"}, {"variable_value", nullptr}};
}

Json metadata(DType dtype) {
  return {{"schema_version", 1},
          {"experiment_type", "reference"},
          {"extraction_config",
           {{"signal_dtypes",
             {{"hidden_states", name_of(dtype)},
              {"key_vectors", name_of(dtype)},
              {"logprobs", "float32"},
              {"router", "float32"}}}}}};
}

/// Writes an experiment of one configuration with one run.
fs::path write_experiment(const fs::path& path, const RunRecord& run) {
  ExperimentWriter writer(path, metadata(run.signals.layers.front().hidden.dtype), "fingerprint", false);
  writer.add(configuration(run.config_id), {to_json(run)});
  writer.finish();
  return path;
}

std::uint32_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }

/// Equal JSON, numbers as the float32 that they stand for.
void require_equal(const nlohmann::json& ours, const nlohmann::json& theirs, const std::string& where) {
  if (theirs.is_number_float()) {
    BOOST_REQUIRE_MESSAGE(ours.is_number(), where);
    const auto a = static_cast<float>(ours.get<double>()), b = static_cast<float>(theirs.get<double>());
    BOOST_REQUIRE_MESSAGE(bits(a) == bits(b), where << ": " << ours << " for " << theirs);
  } else if (theirs.is_structured()) {
    BOOST_REQUIRE_MESSAGE(ours.type() == theirs.type() && ours.size() == theirs.size(), where);
    for (const auto& [key, value] : theirs.items()) {
      const bool object = theirs.is_object();
      BOOST_REQUIRE_MESSAGE(!object || ours.contains(key), where << " lacks " << key);
      require_equal(object ? ours.at(key) : ours.at(std::stoul(key)), value, where + "." + key);
    }
  } else {
    BOOST_REQUIRE_MESSAGE(ours == theirs, where << ": " << ours << " for " << theirs);
  }
}

/// Signals of random finite bits, `width` numbers a row.
Signals random_signals(DType dtype, std::int64_t width, std::int64_t steps) {
  std::mt19937 generator(7);
  const std::uint32_t exponent = dtype == DType::float32   ? 0x7f800000u
                                 : dtype == DType::float16 ? 0x7c00u
                                                           : 0x7f80u;
  const auto fill = [&](std::byte* to, std::size_t count) {
    for (std::size_t i = 0; i < count;) {
      const auto pattern =
          static_cast<std::uint32_t>(generator()) & (dtype == DType::float32 ? ~0u : 0xffffu);
      if ((pattern & exponent) == exponent) continue;
      std::memcpy(to + i++ * size_of(dtype), &pattern, size_of(dtype));
    }
  };
  Signals out{3, std::vector<std::int32_t>(static_cast<std::size_t>(steps), 1)};
  LayerSignals layer{2, {dtype, width}, {dtype, width}};
  for (VectorRows* rows : {&layer.hidden, &layer.keys}) {
    rows->bytes.resize(static_cast<std::size_t>(out.rows()) * rows->row_bytes());
    fill(rows->bytes.data(), static_cast<std::size_t>(out.rows() * width));
  }
  out.layers.push_back(std::move(layer));
  out.logprobs = {1, std::vector<std::int32_t>(static_cast<std::size_t>(out.rows()), 1),
                  std::vector<float>(static_cast<std::size_t>(out.rows()), -0.5f)};
  return out;
}

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::size_t count(const std::string& text, const std::string& word) {
  std::size_t found = 0;
  for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++found;
  return found;
}

/// Names in a folder.
std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> out;
  for (const auto& entry : fs::directory_iterator(folder)) out.insert(entry.path().filename().string());
  return out;
}

fs::path fresh_folder(const std::string& name) {
  fs::remove_all(name);
  fs::create_directories(name);
  return name;
}

}  // namespace

BOOST_DATA_TEST_CASE(digests_are_those_of_the_format, data::make({0, 1, 2}), index) {
  const nlohmann::json& run = fixture().at(index);
  const Digests found = digests_of(signals_of(run));
  const auto& wanted = run.at("digests");
  BOOST_TEST(found.hidden_states == wanted.at("hidden_states").get<std::string>());
  BOOST_TEST(found.key_vectors == wanted.at("key_vectors").get<std::string>());
  BOOST_TEST(found.logprobs == wanted.at("logprobs").get<std::string>());
  BOOST_TEST(found.router == wanted.at("router").get<std::string>());
  BOOST_TEST(found.combined() == run.at("signals_sha256").get<std::string>());
}

BOOST_DATA_TEST_CASE(steps_show_three_positions_of_the_unique_rows, data::make({0, 1, 2}), index) {
  const nlohmann::json& run = fixture().at(index);
  const auto json = nlohmann::json::parse(to_json(record_of(signals_of(run))));
  require_equal(json.at("decode_steps"), run.at("decode_steps"), "decode_steps");
  BOOST_TEST(json.at("signals_sha256").get<std::string>() == run.at("signals_sha256").get<std::string>());
  BOOST_TEST(json.at("status") == "complete");
}

BOOST_DATA_TEST_CASE(a_position_is_the_same_text_wherever_it_stands, data::make({0, 1, 2}), index) {
  const auto folder = fresh_folder("views");
  const Signals signals = signals_of(fixture().at(index));
  const auto file = open_experiment(write_experiment(folder / "reference_baseline.json", record_of(signals)));
  std::map<std::tuple<StoredSignal, int, int>, std::set<std::string_view>> texts;
  for (const StoredRow& row : file.runs.at(0).rows)
    texts[{row.signal, row.layer, file.runs.at(0).position(row)}].insert(file.text(row));
  const auto rows = static_cast<std::size_t>(signals.rows());
  BOOST_TEST(texts.size() == rows * (2 * signals.layers.size() + 1));
  BOOST_TEST(file.runs.at(0).rows.size() == 3u * signals.token_ids.size() * (2 * signals.layers.size() + 1));
  for (const auto& [place, found] : texts) BOOST_TEST(found.size() == 1u);
}

// The reader of this library, and Python through the digests: both must get every bit back from the decimals.
BOOST_DATA_TEST_CASE(every_bit_comes_back_from_the_file, data::make({"float32", "float16", "bfloat16"}),
                     name) {
  const DType dtype = parse_dtype(name);
  Signals signals = random_signals(dtype, 1500, 2);
  if (dtype == DType::float32) {
    const std::vector<float> hard{-0.0f,           0.0f,
                                  7.038531e-26f,   -7.038531e-26f,
                                  1e-45f,          -1.17549421e-38f,
                                  1.17549435e-38f, 3.40282347e38f,
                                  -3.40282347e38f, 0.1f,
                                  16777216.0f,     1e10f,
                                  123456792.0f,    5.0f};
    std::memcpy(signals.layers[0].keys.bytes.data(), hard.data(), hard.size() * sizeof(float));
  }
  const auto path = write_experiment(fresh_folder("bits") / "reference_baseline.json", record_of(signals));
  const auto file = open_experiment(path);
  for (const auto& [signal, rows] : {std::pair(StoredSignal::hidden_states, &signals.layers[0].hidden),
                                     std::pair(StoredSignal::key_vectors, &signals.layers[0].keys)}) {
    const Rows<float> read = read_rows<float>(file, file.runs.at(0), signal, 2);
    BOOST_TEST(read.contradictions == 0u);
    BOOST_REQUIRE_EQUAL(read.values.size(), rows->bytes.size() / size_of(dtype));
    for (std::size_t i = 0; i < read.values.size(); ++i) {
      std::uint32_t stored = 0;
      std::memcpy(&stored, rows->bytes.data() + i * size_of(dtype), size_of(dtype));
      const auto half = static_cast<std::uint16_t>(stored);
      const float value = dtype == DType::float32   ? std::bit_cast<float>(stored)
                          : dtype == DType::float16 ? float32_from_float16(half)
                                                    : float32_from_bfloat16(half);
      BOOST_REQUIRE_EQUAL(bits(read.values[i]), bits(value));
    }
  }
  const Outcome python = run({"python3", FPF_FIXTURES "/check_evidence.py", path.string()});
  BOOST_TEST(python.code == 0, python.out << python.err);
}

// The C library's correctly rounded printf and strtof say how few digits suffice.
BOOST_AUTO_TEST_CASE(decimals_are_the_shortest_that_give_the_float_back) {
  const Signals signals = random_signals(DType::float32, 2000, 1);
  const auto* values = reinterpret_cast<const float*>(signals.layers[0].hidden.bytes.data());
  const auto digits = [](std::string text) {
    text = text.substr(0, text.find_first_of("e"));
    std::erase_if(text, [](char c) { return c == '-' || c == '.'; });
    text.erase(0, text.find_first_not_of('0'));
    while (text.ends_with('0')) text.pop_back();
    return text.size();
  };
  for (int i = 0; i < 2000; ++i) {
    std::string ours;
    evidence::detail::append_float(ours, values[i]);
    char shortest[32] = "";
    for (int precision = 0; precision < 9 && std::strtof(shortest, nullptr) != values[i]; ++precision)
      std::snprintf(shortest, sizeof shortest, "%.*e", precision, static_cast<double>(values[i]));
    // Large integers may be written out with all their digits where that is no longer.
    BOOST_REQUIRE(digits(ours) <= digits(shortest) || ours.size() <= std::strlen(shortest));
    BOOST_REQUIRE_EQUAL(std::strtof(ours.c_str(), nullptr), values[i]);
  }
}

BOOST_AUTO_TEST_CASE(the_first_difference_is_the_earliest_in_a_forward_pass) {
  const Signals a = signals_of(fixture().at(0));  // layers 1 and 6, P = 7, rows are positions 5 to 10
  BOOST_TEST(!first_difference(a, a));
  const auto vector_place = [&](VectorRows LayerSignals::*signal, std::size_t layer, std::int64_t row) {
    Signals b = a;
    VectorRows& rows = b.layers[layer].*signal;
    rows.bytes[static_cast<std::size_t>(row + 1) * rows.row_bytes() - 1] ^= std::byte{1};
    return to_string(first_difference(a, b).value());
  };
  BOOST_TEST(vector_place(&LayerSignals::hidden, 0, 0) == "step 0 (position 5), layer 1, hidden_states");
  BOOST_TEST(vector_place(&LayerSignals::keys, 1, 1) == "step 0 (position 6), layer 6, key_vectors");
  BOOST_TEST(vector_place(&LayerSignals::hidden, 1, 2) == "step 0 (position 7), layer 6, hidden_states");
  BOOST_TEST(vector_place(&LayerSignals::keys, 0, 5) == "step 3 (position 10), layer 1, key_vectors");

  // Row by row from the latest place to the earliest, each hides those after it.
  Signals b = a;
  const auto differs_at = [&](const std::string& place) {
    BOOST_TEST(to_string(first_difference(a, b).value()) == place);
  };
  const std::size_t row4 = 4;  // position 9, step 2
  b.logprobs.values[row4 * 3 + 2] = -b.logprobs.values[row4 * 3 + 2];
  differs_at("step 2 (position 9), logprobs");
  b.layers[1].hidden.bytes[row4 * b.layers[1].hidden.row_bytes()] ^= std::byte{1};
  differs_at("step 2 (position 9), layer 6, hidden_states");
  b.layers[1].router->margin[2] = 1e9f;
  differs_at("step 2 (position 9), layer 6, router");
  b.layers[1].keys.bytes[row4 * b.layers[1].keys.row_bytes()] ^= std::byte{1};
  differs_at("step 2 (position 9), layer 6, key_vectors");
  b.layers[0].router->expert_ids[2 * 2 + 1] ^= 1;
  differs_at("step 2 (position 9), layer 1, router");
  b.layers[1].router->weights[1 * 2] = 1e9f;
  differs_at("step 1 (position 8), layer 6, router");
  b.logprobs.ids[1 * 3] += 1;
  differs_at("step 0 (position 6), logprobs");
}

BOOST_AUTO_TEST_CASE(zeros_of_two_signs_differ_and_equal_nans_do_not) {
  Signals a = random_signals(DType::float32, 4, 2), b = a;
  const auto put = [](Signals& to, float value) { std::memcpy(to.layers[0].hidden.bytes.data(), &value, 4); };
  put(a, 0.0f);
  put(b, -0.0f);
  BOOST_TEST(first_difference(a, b).has_value());
  put(a, std::numeric_limits<float>::quiet_NaN());
  put(b, std::numeric_limits<float>::quiet_NaN());
  BOOST_TEST(!first_difference(a, b));
}

BOOST_AUTO_TEST_CASE(values_that_are_no_numbers_are_found_in_every_signal_and_type) {
  const auto place_in = [](const Signals& s) {
    const auto place = first_non_finite(s);
    return place ? to_string(*place) : "";
  };
  for (const auto& [dtype, patterns] : std::map<DType, std::vector<std::uint32_t>>{
           {DType::float32, {0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001}},
           {DType::float16, {0x7c00, 0xfc00, 0x7e00, 0x7c01}},
           {DType::bfloat16, {0x7f80, 0xff80, 0x7fc0, 0x7f81}}}) {
    const Signals clean = random_signals(dtype, 3, 4);  // P = 3: rows are positions 1 to 6
    BOOST_TEST(place_in(clean) == "");
    for (const std::uint32_t pattern : patterns) {
      Signals broken = clean;
      std::memcpy(broken.layers[0].keys.bytes.data() + 14 * size_of(dtype), &pattern, size_of(dtype));
      BOOST_TEST(place_in(broken) == "step 2 (position 5), layer 2, key_vectors");
      std::memcpy(broken.layers[0].hidden.bytes.data() + 5 * size_of(dtype), &pattern, size_of(dtype));
      BOOST_TEST(place_in(broken) == "step 0 (position 2), layer 2, hidden_states");
    }
  }
  const Signals clean = signals_of(fixture().at(0));
  constexpr float infinity = std::numeric_limits<float>::infinity();
  Signals broken = clean;
  BOOST_TEST(place_in(broken) == "");
  broken.logprobs.values[5 * 3 + 1] = -infinity;
  BOOST_TEST(place_in(broken) == "step 3 (position 10), logprobs");
  broken.layers[1].router->margin[3] = infinity;
  BOOST_TEST(place_in(broken) == "step 3 (position 10), layer 6, router");
  broken.layers[0].router->weights[0] = std::numeric_limits<float>::quiet_NaN();
  BOOST_TEST(place_in(broken) == "step 0 (position 7), layer 1, router");
}

BOOST_AUTO_TEST_CASE(a_run_ends_before_its_first_value_that_is_no_number) {
  const Signals clean = signals_of(fixture().at(0));
  const auto whole = nlohmann::json::parse(to_json(record_of(clean)));
  for (std::int64_t row = 0; row < clean.rows(); ++row) {
    Signals broken = clean;
    const std::uint32_t nan = 0x7fc00000;
    std::memcpy(broken.layers[1].hidden.bytes.data() +
                    static_cast<std::size_t>(row) * broken.layers[1].hidden.row_bytes(),
                &nan, 4);
    const auto path =
        write_experiment(fresh_folder("nonfinite") / "reference_baseline.json", record_of(broken));
    const auto json = nlohmann::json::parse(text_of(path)).at("runs").at(0);
    const std::int64_t step = std::max<std::int64_t>(row - 2, 0);
    BOOST_TEST(json.at("status") == "non_finite");
    BOOST_TEST(
        (json.at("non_finite") ==
         nlohmann::json{
             {"step", step}, {"absolute_position", 5 + row}, {"layer", 6}, {"signal", "hidden_states"}}));
    BOOST_REQUIRE_EQUAL(json.at("decode_steps").size(), static_cast<std::size_t>(step));
    for (std::size_t s = 0; s < static_cast<std::size_t>(step); ++s)
      BOOST_TEST((json.at("decode_steps").at(s) == whole.at("decode_steps").at(s)));
    const std::string text = text_of(path);
    BOOST_TEST(count(text, "null") == 2u);  // variable_value and first_difference: no number became null
    BOOST_TEST(open_experiment(path).runs.at(0).steps.size() == static_cast<std::size_t>(step));
  }
}

BOOST_AUTO_TEST_CASE(a_file_appears_under_its_name_only_when_it_is_complete) {
  const auto folder = fresh_folder("writer");
  const auto path = folder / "reference_baseline.json";
  const auto run_text = to_json(record_of(signals_of(fixture().at(0))));
  {
    ExperimentWriter writer(path, metadata(DType::float32), "fingerprint", false);
    BOOST_TEST((names_in(folder) == std::set<std::string>{"reference_baseline.json.partial"}));
    writer.add(configuration(), {run_text});
    BOOST_TEST((names_in(folder) == std::set<std::string>{"reference_baseline.json.partial"}));
    const auto partial = text_of(path.string() + ".partial");
    BOOST_TEST(std::count(partial.begin(), partial.end(), '\n') == 2);
    writer.finish();
  }
  BOOST_TEST((names_in(folder) == std::set<std::string>{"reference_baseline.json"}));
  const auto json = nlohmann::json::parse(text_of(path));
  BOOST_TEST((json.at("experiment_metadata") == nlohmann::json(metadata(DType::float32))));
  BOOST_TEST((json.at("configurations") == nlohmann::json::array({configuration()})));
  BOOST_TEST((json.at("runs") == nlohmann::json::array({nlohmann::json::parse(run_text)})));
}

BOOST_AUTO_TEST_CASE(what_ends_before_its_first_record_leaves_nothing_and_what_was_there_stays) {
  const auto folder = fresh_folder("writer");
  const auto path = folder / "reference_baseline.json";
  std::ofstream(path) << "an earlier file";
  { const ExperimentWriter writer(path, metadata(DType::float32), "fingerprint", false); }
  BOOST_TEST((names_in(folder) == std::set<std::string>{"reference_baseline.json"}));
  BOOST_TEST(text_of(path) == "an earlier file");
  { AtomicFile(path).append("half"); }
  BOOST_TEST((names_in(folder) == std::set<std::string>{"reference_baseline.json"}));
  BOOST_TEST(text_of(path) == "an earlier file");
}

BOOST_AUTO_TEST_CASE(an_interrupted_experiment_is_continued_record_by_record) {
  const auto folder = fresh_folder("writer");
  const auto path = folder / "batch_size_experiment.json";
  const fs::path partial = path.string() + ".partial";
  const auto run_of = [](const std::string& id) {
    return to_json(record_of(signals_of(fixture().at(1)), id));
  };
  const auto write = [&](bool resume, std::initializer_list<const char*> ids, bool finish) {
    ExperimentWriter writer(path, metadata(DType::float16), "fingerprint", resume);
    for (const std::string id : ids)
      if (!writer.has(id)) writer.add(configuration(id), {run_of(id)});
    if (finish) writer.finish();
  };
  write(false, {"t_bs1", "t_bs2", "t_bs4"}, true);
  const auto straight = text_of(path);
  fs::remove(path);

  write(false, {"t_bs1", "t_bs2"}, false);
  const auto two = text_of(partial);
  std::ofstream(partial, std::ios::app)
      << R"({"configuration":{"config_id":"t_bs4"},"runs":[{"confi)";  // cut off
  {
    const ExperimentWriter writer(path, metadata(DType::float16), "fingerprint", true);
    BOOST_TEST(writer.has("t_bs1"));
    BOOST_TEST(writer.has("t_bs2"));
    BOOST_TEST(!writer.has("t_bs4"));
    BOOST_TEST(!writer.has_finding("t_bs1"));
    BOOST_TEST((text_of(partial) == two));
  }
  write(true, {"t_bs1", "t_bs2", "t_bs4"}, true);
  BOOST_TEST((text_of(path) == straight));
  BOOST_TEST((names_in(folder) == std::set<std::string>{path.filename().string()}));

  write(false, {"t_bs1"}, false);
  write(false, {"t_bs2"}, true);  // without --resume it starts anew
  BOOST_TEST(open_experiment(path).configurations.size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_resumed_configuration_keeps_its_finding) {
  const auto path = fresh_folder("writer") / "x_experiment.json";
  RunRecord differing = record_of(signals_of(fixture().at(0)), "t_differs");
  differing.reproducibility["bit_exact"] = false;
  Signals broken = signals_of(fixture().at(0));
  broken.logprobs.values[0] = std::numeric_limits<float>::infinity();
  {
    ExperimentWriter writer(path, metadata(DType::float32), "fingerprint", false);
    writer.add(configuration("t_differs"), {to_json(differing)});
    writer.add(configuration("t_broken"), {to_json(record_of(broken, "t_broken"))});
    writer.add(configuration("t_fine"), {to_json(record_of(signals_of(fixture().at(0)), "t_fine"))});
    writer.add(configuration("t_plan"), {R"({"config_id":"t_plan","rep_id":0,"decode_steps":[]})"});
  }
  const ExperimentWriter writer(path, metadata(DType::float32), "fingerprint", true);
  BOOST_TEST(writer.has_finding("t_differs"));
  BOOST_TEST(writer.has_finding("t_broken"));
  BOOST_TEST(!writer.has_finding("t_fine"));
  BOOST_TEST(!writer.has_finding("t_plan"));
}

BOOST_AUTO_TEST_CASE(a_partial_file_of_something_else_is_refused_and_kept) {
  const auto path = fresh_folder("writer") / "x_experiment.json";
  const fs::path partial = path.string() + ".partial";
  const auto complaint = [&] {
    return error_text([&] { ExperimentWriter(path, metadata(DType::float32), "fingerprint", true); });
  };
  {
    ExperimentWriter writer(path, metadata(DType::float32), "another", false);
    writer.add(configuration(), {to_json(record_of(signals_of(fixture().at(0))))});
  }
  const auto before = text_of(partial);
  BOOST_TEST(mentions(complaint(), {partial.string(), "another model, prompt or options", "--resume"}),
             complaint());
  BOOST_TEST((text_of(partial) == before));
  for (const char* text : {"5\n", "nonsense\n", "[]\n", "{\"fingerprint\":1}\n"}) {
    std::ofstream(partial) << text;
    BOOST_TEST(mentions(complaint(), {partial.string(), "damaged at byte 0"}), complaint());
  }
  std::ofstream(partial) << before.substr(0, before.find('\n') + 1) << "{\"configuration\":{}}\n";
  BOOST_TEST(mentions(error_text([&] { ExperimentWriter(path, metadata(DType::float32), "another", true); }),
                      {partial.string(), "damaged at byte"}));
}

BOOST_AUTO_TEST_CASE(places_that_cannot_be_written_are_named) {
  const auto folder = fresh_folder("writer");
  std::ofstream(folder / "file") << "";
  const auto below = folder / "file" / "reference_baseline.json";
  BOOST_TEST(mentions(error_text([&] { ExperimentWriter(below, metadata(DType::float32), "f", false); }),
                      {below.string(), "Not a directory"}));
  const auto taken = folder / "reference_baseline.json";
  fs::create_directory(taken);
  {
    ExperimentWriter writer(taken, metadata(DType::float32), "f", false);
    writer.add(configuration(), {to_json(record_of(signals_of(fixture().at(0))))});
    BOOST_TEST(mentions(error_text([&] { writer.finish(); }), {taken.string(), "directory"}));
  }
  const std::set<std::string> kept{"file", "reference_baseline.json", "reference_baseline.json.partial"};
  BOOST_TEST((names_in(folder) == kept));
  fs::remove(taken);
  ExperimentWriter(taken, metadata(DType::float32), "f", true).finish();
  BOOST_TEST(open_experiment(taken).runs.size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_files_digest_is_kept_beside_it_until_the_file_changes) {
  const auto folder = fresh_folder("digest");
  const auto file = folder / "model.gguf", kept = folder / "model.gguf.sha256";
  std::ofstream(file) << "abc";
  const std::string abc =
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";  // FIPS 180-4's example
  const std::string empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  BOOST_TEST(file_sha256(file) == abc);
  auto line = text_of(kept);
  BOOST_TEST(line.ends_with(abc + "\n"));
  std::ofstream(kept) << line.replace(line.find(abc), abc.size(), empty);
  BOOST_TEST(file_sha256(file) == empty);  // from the file beside it
  std::ofstream(kept) << line.substr(0, line.size() - 9) + "\n";
  BOOST_TEST(file_sha256(file) == abc);  // not from one that breaks off
  std::ofstream(file) << "";
  BOOST_TEST(file_sha256(file) == empty);
  BOOST_TEST(text_of(kept).ends_with(empty + "\n"));
}
