// Published measurements: the numbers in ../shared/data/published/README.md, where FPF_PUBLISHED_DATA names
// that folder, and small files in each of the three layouts everywhere.
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <fpf/compare/plan/published.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

#include "child.hpp"
#include "error_text.hpp"

BOOST_AUTO_TEST_SUITE(test_compare_published)

using namespace fpf;
using namespace fpf::compare::published;

namespace {

std::string folder() {
  const char* name = std::getenv("FPF_PUBLISHED_DATA");
  return name == nullptr ? "" : name;
}

boost::test_tools::assertion_result has_data(boost::unit_test::test_unit_id) {
  boost::test_tools::assertion_result found(!folder().empty());
  found.message() << "FPF_PUBLISHED_DATA is not set";
  return found;
}

Findings analysed(const std::vector<std::string>& names) {
  std::vector<File> files;
  for (const std::string& name : names) files.push_back(compare::published::open(folder() + "/" + name));
  return compare::published::analyse(files);
}

const SizeMatrix& matrix(const Findings& findings, const std::string& title) {
  for (const auto& found : findings.matrices)
    if (found.title == title) return found;
  throw std::runtime_error("no matrix " + title);
}

void check_close(double found, double expected, double tolerance = 1e-12) {
  BOOST_TEST(std::abs(found - expected) <= tolerance * std::abs(expected), found << " for " << expected);
}

using Classes = std::vector<std::vector<std::string>>;

}  // namespace

BOOST_AUTO_TEST_CASE(gpus_against_each_other, *boost::unit_test::precondition(has_data)) {
  const auto findings = analysed({"gpu/A100.json", "gpu/H100.json"});
  BOOST_REQUIRE(findings.series.size() == 1u);
  const auto& series = findings.series[0];
  BOOST_REQUIRE(series.labels == (std::vector<std::string>{"batch_size_1", "batch_size_2", "batch_size_4"}));
  check_close(series.distances[0], 0.5263758985518925);
  check_close(series.distances[1], 0.6047688423751595);
  check_close(series.distances[2], 0.45689973811488943);
  BOOST_TEST(findings.repetitions_equal.size() == 6u);
  for (const auto& [name, equal] : findings.repetitions_equal) BOOST_TEST(equal, name);
  const auto& own = matrix(findings, "A100.json: activations, repetition 0");
  check_close(own.distances[0][2], 0.6506958751808245);
  BOOST_TEST(std::abs(own.distances[0][2] - 0.65087890625) == 1.830310691755e-4, boost::test_tools::tolerance(1e-6));
  BOOST_TEST(*own.deviation < 0x1p-11);  // the file's are float16, of numbers below 1
}

BOOST_AUTO_TEST_CASE(cuda_versions_layer_by_layer, *boost::unit_test::precondition(has_data)) {
  const auto findings = analysed({"cuda/cu118.json", "cuda/cu121.json"});
  BOOST_REQUIRE(findings.series.size() == 1u);
  const double expected[] = {0.017109456473775993, 0.1884355361803749, 0.2744396298985527, 0.4032289786061414,
                             0.6317601608046859,   0.9733412970042831, 1.2295427455914925, 1.6484337643947127,
                             3.6280373271104396,   15.401661674918813};
  BOOST_REQUIRE(findings.series[0].distances.size() == 10u);
  for (std::size_t i = 0; i < 10; ++i) check_close(findings.series[0].distances[i], expected[i]);
  BOOST_TEST(findings.series[0].labels.back() == "layer_28");
}

BOOST_AUTO_TEST_CASE(batch_sizes_and_their_kernel_classes, *boost::unit_test::precondition(has_data)) {
  const auto findings = analysed({"batch/H100_sdpa.json"});
  const auto& prefill = matrix(findings, "H100_sdpa.json: key_vectors, prefill");
  const auto& decode = matrix(findings, "H100_sdpa.json: key_vectors, decode");
  check_close(prefill.mean, 0.22765632631468438);
  check_close(decode.mean, 0.44410279291340304);
  check_close(matrix(findings, "H100_sdpa.json: logprobs, prefill").mean, 0.04892304831859621);
  check_close(matrix(findings, "H100_sdpa.json: logprobs, decode").mean, 0.11034962542115455);
  BOOST_TEST((prefill.classes == Classes{{"1"}, {"2"}, {"3", "4", "5", "8", "9", "16", "17"}}));
  BOOST_TEST((decode.classes == Classes{{"1"}, {"2"}, {"3"}, {"4", "5", "8"}, {"9", "16"}, {"17"}}));
  BOOST_TEST(findings.matrices.size() == 4u);
  for (const auto& found : findings.matrices) BOOST_TEST(*found.deviation < 1e-12, found.title);
}

BOOST_AUTO_TEST_CASE(tensor_parallel_sizes, *boost::unit_test::precondition(has_data)) {
  const auto findings = analysed({"tensor_parallel/A100.json"});
  const auto& found = matrix(findings, "A100.json: logprobs, prefill");
  check_close(found.distances[0][1], 0.3264639974132602);
  check_close(found.distances[0][2], 0.30657487838269315);
  check_close(found.distances[1][2], 0.26935586077498375);
  check_close(found.mean, 0.3007982455236457);
  BOOST_TEST(*found.deviation < 1e-12);
  BOOST_TEST(found.labels == (std::vector<std::string>{"1", "2", "4"}));
}

BOOST_AUTO_TEST_CASE(the_program_analyses_all_of_them, *boost::unit_test::precondition(has_data)) {
  const auto outcome = run({FPF_BIN "/compare", "--published", folder() + "/gpu/A100.json", folder() + "/gpu/H100.json",
                            folder() + "/batch/H100_sdpa.json", "--json"});
  BOOST_TEST(outcome.code == 0, outcome.err);
  const auto result = nlohmann::json::parse(outcome.out);
  check_close(result["between_files"][0]["distances"][0], 0.5263758985518925);
  BOOST_TEST(result["matrices"].size() == 6u);
}

BOOST_AUTO_TEST_CASE(bare_infinity_and_uneven_ids_are_read) {
  std::ofstream("table.json") << R"({"metadata": {"model": "m", "environments": {"1": {"gpu_name": "G"}}},
    "measurements": {"1": [{"prefill_signals": {"pos_-1": {"logprobs": {"token_ids": [9, 3, 5], "log_probs": [-20, -1, -2]}}}}],
                     "2": [{"prefill_signals": {"pos_-1": {"logprobs": {"token_ids": [3, 5], "log_probs": [-1.5, -2]}}}}]},
    "within_hardware_analysis": {"snr": Infinity, "x": [NaN, -Infinity], "matrix": [[0, 0.5], [0.5, 0]]}})";
  const auto file = compare::published::open("table.json");
  BOOST_TEST((file.layout == Layout::measurement_table));
  BOOST_TEST(file.hardware == "G");
  const auto findings = compare::published::analyse({file});
  BOOST_REQUIRE(findings.matrices.size() == 1u);
  BOOST_TEST(findings.matrices[0].distances[0][1] == 0.5);  // ids 3 and 5 on both sides, 9 on one alone
  BOOST_TEST(findings.matrices[0].mean == 0.5);
  BOOST_TEST(*findings.matrices[0].deviation == 0.0);
}

BOOST_AUTO_TEST_CASE(the_other_layouts_are_read) {
  std::ofstream("list.json") << R"({"metadata": {"environment": {"gpu_name": "H"}}, "measurements": [
    {"ref_name": "r", "batch_size": 1, "decode_signals": {"pos_-1": {"step": 1, "signals": {"key_vectors": {"layer_2": [1, 2]}}},
                                                          "pos_-2": {"step": 0, "signals": {"key_vectors": {"layer_2": [0, 0]}}}}},
    {"ref_name": "r", "batch_size": 4, "decode_signals": {"pos_-1": {"step": 1, "signals": {"key_vectors": {"layer_2": [4, 6]}}},
                                                          "pos_-2": {"step": 0, "signals": {"key_vectors": {"layer_2": [0, 1]}}}}}]})";
  const auto list = compare::published::analyse({compare::published::open("list.json")});
  BOOST_REQUIRE(list.matrices.size() == 1u);
  BOOST_TEST(list.matrices[0].distances[0][1] == 3.0);  // (5 + 1) / 2
  std::ofstream("raw.json") << R"({"hardware": {"gpu": "A"}, "raw_activations": {"batch_size_1": [[1, 2], [1, 2]],
    "batch_size_2": [[4, 6], [4, 6.5]]}, "systematic_deviations": {"bs1_vs_bs2": 5.25}})";
  const auto raw = compare::published::analyse({compare::published::open("raw.json")});
  BOOST_TEST(raw.matrices[0].distances[0][1] == 5.0);
  BOOST_TEST(*raw.matrices[0].deviation == 0.25);
  BOOST_TEST(raw.repetitions_equal[0].second);
  BOOST_TEST(!raw.repetitions_equal[1].second);
  std::ofstream("layers_a.json") << R"({"raw_activations": {"layer_1": [[1, 2], [3, 4]]}})";
  std::ofstream("layers_b.json") << R"({"raw_activations": {"layer_1": [[5, 7]]}})";
  const auto layers = compare::published::analyse(
      {compare::published::open("layers_a.json"), compare::published::open("layers_b.json")});
  BOOST_TEST(layers.series[0].distances[0] == 5.0);  // (2, 3) against (5, 7)
}

BOOST_AUTO_TEST_CASE(what_is_no_published_layout_is_named) {
  const auto error = [](const std::string& text) {
    std::filesystem::remove("other.json");
    std::ofstream("other.json") << text;
    return error_text([] { compare::published::analyse({compare::published::open("other.json")}); });
  };
  BOOST_TEST(mentions(error("{}"), {"other.json", "raw_activations or measurements"}));
  BOOST_TEST(
      mentions(error(R"({"raw_activations": {"batch_size_1": [[1, 2], [1]]}})"), {"expected 2 numbers", "found 1"}));
  BOOST_TEST(mentions(error(R"({"raw_activations": {"batch_size_1": [[1, "2"]]}})"),
                      {"batch_size_1[0]", "element 1 is no number"}));
  BOOST_TEST(mentions(error(R"({"raw_activations": {"batch_size_1": []}})"), {"batch_size_1", "repetitions"}));
  BOOST_TEST(mentions(error(R"({"measurements": [{"batch_size": 1}]})"), {"measurements[0]", "ref_name"}));
  BOOST_TEST(mentions(error(R"({"measurements": [)"), {"ends too early"}));
  BOOST_TEST(mentions(error(R"({"measurements": {"1": [{"prefill_signals": {"pos_-1": {"logprobs":
                              {"token_ids": [1, 2], "log_probs": [-1]}}}}]}})"),
                      {"pos_-1", "as many token_ids", "2 and 1"}));
}

BOOST_AUTO_TEST_CASE(published_files_that_would_take_the_stack_or_the_memory_are_refused) {
  const auto refusal = [](const std::string& text) {
    std::ofstream("bad.json") << text;
    return error_text([] { compare::published::open("bad.json"); });
  };
  std::string nest;
  for (int i = 0; i < 100'000; ++i) nest += "{\"a\":";
  nest += "1" + std::string(100'000, '}');
  BOOST_TEST(mentions(refusal("{\"hardware\":" + nest + "}"), {"bad.json", "nested deeper than 256"}));
  std::string signals;
  for (int i = 0; i < 100'000; ++i) signals += "{\"signals\":";
  BOOST_TEST(
      mentions(refusal(R"({"measurements":[{"decode_signals":{"pos_-1":)" + signals), {"bad.json", "nested deeper"}));
  std::string rows = R"({"raw_activations":{"batch_size_1":[[0])";
  while (rows.size() < (std::size_t{24} << 20)) rows += ",[0],[0],[0],[0],[0],[0],[0],[0]";
  BOOST_TEST(mentions(refusal(rows + "]}}"), {"bad.json", "256 MB of memory"}));
}

BOOST_AUTO_TEST_SUITE_END()
