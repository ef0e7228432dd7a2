// How code asks for kernels: plans by their template's parameters (toolkit.hpp), files by names that are there.
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fpf/kernel/plan/plan.hpp>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "toolkit.hpp"

BOOST_AUTO_TEST_SUITE(test_kernel_arguments)

using namespace fpf;
using namespace fpf::kernel;
namespace fs = std::filesystem;

BOOST_AUTO_TEST_CASE(an_expression_gives_arguments_in_their_order) {
  const Plan plan = plan_of("ends/norm.cuh", "rms_norm", {{"T", "float"}, {"K", 64}, {"Threads", 32}, {"Round", true}});
  BOOST_TEST(plan.expression == "fpf::kernel::rms_norm<float, 64, 32, true>");
  BOOST_TEST(plan.parameters == template_parameters(plan));
  const Plan swapped =
      plan_of("ends/norm.cuh", "rms_norm", {{"T", "float"}, {"Threads", 32}, {"K", 64}, {"Round", true}});
  BOOST_TEST(swapped.parameters != template_parameters(swapped));
  BOOST_TEST(plan_of("portable/moe.cuh", "portable_silu_mul", {}).expression == "fpf::kernel::portable_silu_mul");
}

// A kernel that no plan describes is asked for by its file; what a move leaves behind only a card would meet.
BOOST_AUTO_TEST_CASE(sources_that_are_asked_for_by_name_are_there) {
  std::set<std::string> known;
  for (const auto& source : embedded_sources) known.emplace(source.name);
  int found = 0;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(FPF_SOURCE) / "include/fpf")) {
    if (entry.path().extension() != ".hpp") continue;
    std::ifstream in(entry.path());
    std::stringstream text;
    text << in.rdbuf();
    const std::string all = text.str();
    static const std::regex call(R"re((plan|get)\w*\(\s*"([\w/.]+\.cuh)")re");
    for (std::sregex_iterator match(all.begin(), all.end(), call), end; match != end; ++match, ++found) {
      const std::string file = (*match)[1] == "get" ? (*match)[2].str() : "fpf/kernel/" + (*match)[2].str();
      BOOST_TEST(known.contains(file), entry.path() << " asks for " << file << ", which is not there");
    }
  }
  BOOST_TEST(found > 40);
}

BOOST_AUTO_TEST_SUITE_END()
