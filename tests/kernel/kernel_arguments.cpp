// kernel/plan/kernels.hpp and portable_kernels.hpp: what plans spell is what the .cuh's templates take. A swap of two numbers
// would compile, and launch another kernel than the plan describes.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <fpf/kernel/plan/kernels.hpp>
#include <fpf/kernel/plan/plan.hpp>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

BOOST_AUTO_TEST_SUITE(test_kernel_arguments)

using namespace fpf;
using namespace fpf::kernel;

namespace {

/// A kernel's source and its template parameters, in snake_case and in order.
struct Signature {
  std::string file, parameters;
  bool operator==(const Signature&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Signature& s) { return out << s.file << " <" << s.parameters << ">"; }
using Signatures = std::map<std::string, Signature>;

/// "KvHeads" -> "kv_heads"; T is what plans call the type.
std::string plan_name(const std::string& parameter) {
  if (parameter == "T") return "type";
  std::string out;
  for (const char c : parameter) {
    if (std::isupper(static_cast<unsigned char>(c)) && !out.empty()) out += '_';
    out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return out;
}

template <class F>
void each_match(const std::string& text, const char* pattern, F f) {
  const std::regex expression(pattern);
  for (std::sregex_iterator match(text.begin(), text.end(), expression), end; match != end; ++match) f(*match);
}

Signatures kernels_of_sources() {
  Signatures out;
  for (const SourceText& source : embedded_sources) {
    if (!source.name.ends_with(".cuh")) continue;
    each_match(std::string(source.text), R"((?:template <([^>]*)>\n)?__global__ void[^{;]*?(\w+)\(const \w+ p\) \{)",
               [&](const std::smatch& kernel) {
                 std::string parameters;
                 each_match(kernel[1], R"((?:class|int|bool) (\w+))", [&](const std::smatch& parameter) {
                   parameters += (parameters.empty() ? "" : ", ") + plan_name(parameter[1]);
                 });
                 out[kernel[2]] = {std::string(source.name), parameters};
               });
  }
  return out;
}

Signatures kernels_of_plans() {
  Signatures out;
  for (const char* header : {"kernels.hpp", "portable_kernels.hpp"}) {
    std::ifstream in(std::string(FPF_SOURCE) + "/include/fpf/kernel/plan/" + header);
    std::stringstream text;
    text << in.rdbuf();
    each_match(text.str(),
               R"re(file = "([^"]*)", name = "([^"]*)";[^}]*?arguments\(\) const \{\s*return std::tie\(([^)]*)\))re",
               [&](const std::smatch& kernel) {
                 std::string parameters = std::regex_replace(kernel[3].str(), std::regex(R"(\s+)"), " ");
                 out[kernel[2]] = {"fpf/kernel/" + kernel[1].str(), parameters};
               });
  }
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(plans_give_each_kernel_its_template_arguments_in_their_order) {
  const Signatures sources = kernels_of_sources();
  Signatures plans = kernels_of_plans();
  BOOST_TEST(plans.size() > 40u);
  for (const auto& [name, signature] : sources) BOOST_TEST_CONTEXT(name) {
      BOOST_TEST(plans[name] == signature);
    }
  for (const auto& [name, signature] : plans) BOOST_TEST(sources.contains(name), "no kernel " << name << signature);
}

BOOST_AUTO_TEST_CASE(an_expression_names_the_kernel_with_its_arguments) {
  const Plan plan = plan_of(instance::Gemv{
      .weight = "W", .type = "T", .lanes = 64, .groups = 1, .per_thread = 8, .norm = true, .add = false});
  BOOST_TEST(plan.expression == "fpf::kernel::gemv<W, T, 64, 1, 8, true, false>");
  BOOST_TEST(plan.file == "fpf/kernel/product/gemv.cuh");
}

BOOST_AUTO_TEST_SUITE_END()
