// evidence/digests.hpp: digests of the format against fixtures/make_evidence.py, and the places where
// repetitions differ or numbers end.
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>

#include "evidence.hpp"

BOOST_AUTO_TEST_SUITE(test_digests)

namespace data = boost::unit_test::data;

BOOST_DATA_TEST_CASE(digests_are_those_of_the_format, data::make({0, 1, 2}), index) {
  const nlohmann::json& run = fixture().at(index);
  const Digests found = digests_of(signals_of(run));
  const auto& wanted = run.at("digests");
  BOOST_TEST(found[StoredSignal::hidden_states] == wanted.at("hidden_states").get<std::string>());
  BOOST_TEST(found[StoredSignal::key_vectors] == wanted.at("key_vectors").get<std::string>());
  BOOST_TEST(found[StoredSignal::logprobs] == wanted.at("logprobs").get<std::string>());
  BOOST_TEST(found[StoredSignal::router] == wanted.at("router").get<std::string>());
  BOOST_TEST(found.combined() == run.at("signals_sha256").get<std::string>());
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

BOOST_AUTO_TEST_CASE(a_run_without_rows_differs_from_one_that_has_some) {
  const Signals some = random_signals(DType::float32, 4, 2);
  Signals none = some;
  none.token_ids.clear();
  for (LayerSignals& layer : none.layers) {
    layer.hidden.bytes.clear();
    layer.keys.bytes.clear();
  }
  none.logprobs.ids.clear();
  none.logprobs.values.clear();
  BOOST_TEST(first_difference(some, none).has_value());
  BOOST_TEST(first_difference(none, some).has_value());
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
  for (const auto& [dtype, patterns] :
       std::map<DType, std::vector<std::uint32_t>>{{DType::float32, {0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001}},
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

BOOST_AUTO_TEST_SUITE_END()
