// evidence/signals.hpp: the table of signals against the schema, and each signal's way out of memory and back.
#include "evidence.hpp"

BOOST_AUTO_TEST_SUITE(test_signals)

namespace {

nlohmann::json schema() {
  return nlohmann::json::parse(std::ifstream(FPF_SOURCE "/include/fpf/evidence/experiment.schema.json")).at("$defs");
}

std::vector<std::string> names(bool with_experts = true) {
  std::vector<std::string> out;
  for (const SignalInfo& one : signal_table)
    if (with_experts || !one.of_experts) out.emplace_back(one.name);
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(rows_stand_in_the_order_of_the_enumeration_and_are_found_by_name) {
  std::set<int> turns;
  for (const SignalInfo& one : signal_table) {
    BOOST_TEST(&info(one.signal) == &one);
    BOOST_TEST(find_signal(one.name) == &one);
    turns.insert(one.computed);
  }
  BOOST_TEST(turns.size() == signal_table.size());
  BOOST_TEST(find_signal("logprob") == nullptr);
}

BOOST_AUTO_TEST_CASE(the_schema_knows_the_signals_of_the_table_and_no_others) {
  const nlohmann::json defs = schema(), step = defs.at("step"), digests = defs.at("digests");
  const auto& extraction = defs.at("metadata").at("properties").at("extraction_config");
  const auto& dtypes = extraction.at("properties").at("signal_dtypes");
  BOOST_TEST(dtypes.at("propertyNames").at("enum") == names());
  BOOST_TEST(dtypes.at("required") == names(false));
  BOOST_TEST(defs.at("place").at("properties").at("signal").at("enum") == names());
  std::vector<std::string> of_digests = names();
  of_digests.insert(of_digests.begin(), "rep_id");
  std::ranges::sort(of_digests);
  std::vector<std::string> found;
  for (const auto& [name, ignored] : digests.at("properties").items()) found.push_back(name);
  BOOST_TEST(found == of_digests, boost::test_tools::per_element());
  for (const SignalInfo& one : signal_table) {
    BOOST_TEST_CONTEXT(one.name) {
      const auto required = step.at("required").get<std::set<std::string>>();
      BOOST_TEST(step.at("properties").contains(one.name));
      BOOST_TEST(required.contains(std::string(one.name)) == !one.of_experts);
      if (!one.width.empty())
        BOOST_TEST(extraction.at("required").get<std::set<std::string>>().contains(std::string(one.width)));
      // The schema's row: of its fields' names, the arrays as arrays.
      nlohmann::json row = step.at("properties").at(one.name);
      const auto resolved = [&](nlohmann::json json) {
        while (json.contains("$ref")) json = defs.at(json.at("$ref").get<std::string>().substr(8));
        return json;
      };
      row = resolved(row);
      for (int deeper = one.per_layer ? 2 : 1; deeper > 0; --deeper)
        row = resolved(nlohmann::json(row.at("patternProperties").front()));
      BOOST_TEST((row.at("type") == "array") == one.is_vector());
      for (const SignalField& field : one.fields()) {
        if (one.is_vector()) break;
        const nlohmann::json stored = resolved(row.at("properties").at(field.name));
        BOOST_TEST((stored.value("type", "") == "array") == !field.one, field.name);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(columns_of_every_signal_come_back) {
  const Signals run = signals_of(fixture().at(0));  // with experts
  Signals copy{.prompt_tokens = run.prompt_tokens, .token_ids = run.token_ids};
  for (const LayerSignals& layer : run.layers) copy.layers.push_back({layer.layer, {}, {}, {}});
  std::size_t stored = 0;
  for (const SignalAt& one : every_signal(run)) {
    std::vector<ColumnValues> values;
    BOOST_REQUIRE(one.columns.size() == one.info->fields().size());
    for (std::size_t i = 0; i < one.columns.size(); ++i) {
      const Column& column = one.columns[i];
      const bool ids = one.info->fields()[i].type == SignalField::Type::int32;
      BOOST_TEST((column.dtype == DType::int32) == ids);
      BOOST_TEST(column.rows() == run.steps() + one.info->look_back - 1);
      values.push_back({column.dtype, column.width, {column.bytes.begin(), column.bytes.end()}});
    }
    std::size_t index = 0;
    while (one.layer >= 0 && run.layers[index].layer != one.layer) ++index;
    one.info->store(copy, index, std::move(values));
    ++stored;
  }
  BOOST_TEST(stored == 3 * run.layers.size() + 1);
  BOOST_TEST((digests_of(copy) == digests_of(run)));
  BOOST_TEST(!first_difference(copy, run));
}

BOOST_AUTO_TEST_CASE(a_signal_that_one_run_alone_has_is_a_difference) {
  const Signals with = signals_of(fixture().at(0));
  Signals without = with;
  for (LayerSignals& layer : without.layers) layer.router.reset();
  BOOST_TEST(to_string(first_difference(with, without).value()) == "step 0 (position 7), layer 1, router");
  BOOST_TEST(to_string(first_difference(without, with).value()) == "step 0 (position 7), layer 1, router");
}

BOOST_AUTO_TEST_SUITE_END()
