// evidence/run_json.hpp: the layout against fixtures/make_evidence.py, and numbers that survive every reader.
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <fpf/evidence/reader.hpp>
#include <map>
#include <set>

#include "evidence.hpp"

BOOST_AUTO_TEST_SUITE(test_run_json)

namespace data = boost::unit_test::data;

BOOST_DATA_TEST_CASE(steps_show_three_positions_of_the_unique_rows, data::make({0, 1, 2}), index) {
  const nlohmann::json& run = fixture().at(index);
  const auto found = nlohmann::json::parse(to_json(record_of(signals_of(run))));
  require_equal(found.at("decode_steps"), run.at("decode_steps"), "decode_steps");
  BOOST_TEST(found.at("signals_sha256").get<std::string>() == run.at("signals_sha256").get<std::string>());
  BOOST_TEST(found.at("status") == "complete");
}

BOOST_DATA_TEST_CASE(a_position_is_the_same_text_wherever_it_stands, data::make({0, 1, 2}), index) {
  const auto folder = fresh_folder("views");
  const Signals signals = signals_of(fixture().at(index));
  const auto file = open_experiment(write_experiment(folder / "reference_baseline.json", record_of(signals)));
  std::map<std::tuple<StoredSignal, int, int>, std::set<std::string_view>> texts;
  for (const StoredRow& row : file.runs.at(0).rows)
    texts[{row.signal, row.layer, file.runs.at(0).position(row)}].insert(file.text(row));
  const auto rows = static_cast<std::size_t>(signals.rows());
  const std::size_t steps = signals.token_ids.size(), layers = signals.layers.size();
  const std::size_t routers = signals.layers.front().router ? steps * layers : 0;
  BOOST_TEST(texts.size() == rows * (2 * layers + 1) + routers);
  BOOST_TEST(file.runs.at(0).rows.size() == 3u * steps * (2 * layers + 1) + routers);
  for (const auto& [place, found] : texts) BOOST_TEST(found.size() == 1u);
}

// The reader of this library, and Python through the digests: both must get every bit back from the decimals.
BOOST_DATA_TEST_CASE(every_bit_comes_back_from_the_file, data::make({"float32", "float16", "bfloat16"}), name) {
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

BOOST_AUTO_TEST_CASE(a_run_ends_before_its_first_value_that_is_no_number) {
  const Signals clean = signals_of(fixture().at(0));
  const auto whole = nlohmann::json::parse(to_json(record_of(clean)));
  for (std::int64_t row = 0; row < clean.rows(); ++row) {
    Signals broken = clean;
    const std::uint32_t nan = 0x7fc00000;
    std::memcpy(
        broken.layers[1].hidden.bytes.data() + static_cast<std::size_t>(row) * broken.layers[1].hidden.row_bytes(),
        &nan, 4);
    const auto path = write_experiment(fresh_folder("nonfinite") / "reference_baseline.json", record_of(broken));
    const auto found = nlohmann::json::parse(text_of(path)).at("runs").at(0);
    const std::int64_t step = std::max<std::int64_t>(row - 2, 0);
    BOOST_TEST(found.at("status") == "non_finite");
    BOOST_TEST(
        (found.at("non_finite") ==
         nlohmann::json{{"step", step}, {"absolute_position", 5 + row}, {"layer", 6}, {"signal", "hidden_states"}}));
    BOOST_REQUIRE_EQUAL(found.at("decode_steps").size(), static_cast<std::size_t>(step));
    for (std::size_t s = 0; s < static_cast<std::size_t>(step); ++s)
      BOOST_TEST((found.at("decode_steps").at(s) == whole.at("decode_steps").at(s)));
    const std::string text = text_of(path);
    BOOST_TEST(count(text, "null") == 2u);  // variable_value and first_difference: no number became null
    BOOST_TEST(open_experiment(path).runs.at(0).steps.size() == static_cast<std::size_t>(step));
  }
}

BOOST_AUTO_TEST_SUITE_END()
