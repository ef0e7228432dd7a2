// compare --published --report: the same of published measurements.
#include "report.hpp"
#include "report_csv.hpp"

BOOST_AUTO_TEST_SUITE(test_report_published)

BOOST_AUTO_TEST_CASE(published_measurements_have_a_report_too) {
  const char* data = std::getenv("FPF_PUBLISHED_DATA");
  if (data == nullptr) {
    BOOST_TEST_MESSAGE("FPF_PUBLISHED_DATA is not set: nothing to look at");
    return;
  }
  const std::string here = fresh_folder("published").string(), from = fs::absolute(data).string();
  std::vector<std::string> args{"--published"};
  for (const char* name :
       {"batch/H100_sdpa", "cuda/cu118", "cuda/cu121", "gpu/A100", "gpu/H100", "tensor_parallel/A100"})
    args.push_back(from + "/" + name + ".json");
  const Outcome outcome = compare(args, here);
  BOOST_TEST_REQUIRE(outcome.code == 0, outcome.err);
  const Json found = Json::parse(text_of(here + "/r.json"));
  const auto pages = look_at(here + "/report/index.html");
  check_pages(pages);
  BOOST_TEST(pages[0]["problems"] == 0);
  const auto differing = std::ranges::count_if(found["matrices"], [](const Json& one) { return one["mean"] != 0.0; });
  BOOST_TEST(figure_ids(pages[0]).size() == static_cast<std::size_t>(differing) + found["between_files"].size());
  BOOST_TEST(pages[0]["missing"].size() + static_cast<std::size_t>(differing) == found["matrices"].size());
  check_scripts(here + "/report/plots");
  std::vector<Json> rows;
  for (const Json& one : found["between_files"])
    for (std::size_t i = 0; i < one["labels"].size(); ++i)
      rows.push_back({{"comparison", one["title"]}, {"label", one["labels"][i]}, {"distance", one["distances"][i]}});
  check_csv(here + "/report/csv/between_files.csv", rows);
}

BOOST_AUTO_TEST_SUITE_END()
