// compare/machine_code.hpp: whether kernels of two compilers are the same machine code.
#include <boost/test/unit_test.hpp>
#include <fpf/compare/machine_code.hpp>

#include "error_text.hpp"

BOOST_AUTO_TEST_SUITE(test_machine_code)

using namespace fpf;
using namespace fpf::compare;

namespace {

/// A configuration as a file describes it.
Configuration described(const std::string& id, const std::string& nvrtc, const std::vector<std::string>& code) {
  nlohmann::json kernels = nlohmann::json::array();
  for (std::size_t i = 0; i < code.size(); ++i)
    kernels.push_back({{"name", "kernel" + std::to_string(i)},
                       {"nvrtc", nvrtc},
                       {"code_sha256", code[i]},
                       {"instructions", 100 * (i + 1)},
                       {"registers", 32 + i}});
  const nlohmann::json manifest = {
      {"own_kernels", kernels},
      {"operations",
       {{"prefill", {{"qkv", "libtorch linear (cuBLAS)"}, {"norm", "rms_norm"}}}, {"decode", {{"qkv", "gemv"}}}}}};
  Configuration out;
  out.id = id;
  fpf::compare::detail::add_kernels(out, {{"manifest", manifest}});
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(code_is_compared_by_kernel_and_compiler) {
  const auto a = described("H100_cu130", "13.0", {"aa", "bb", "cc"}),
             b = described("H100_nvrtc118", "11.8", {"aa", "xx"});
  BOOST_REQUIRE_EQUAL(a.kernels.size(), 3u);
  const auto common = common_kernels(a, b);
  BOOST_REQUIRE_EQUAL(common.size(), 2u);
  BOOST_TEST(common[0].equal());
  BOOST_TEST(!common[1].equal());
  const auto note = machine_code_note(a, b);
  BOOST_REQUIRE(note.has_value());
  BOOST_TEST(mentions(*note, {"H100_cu130 and H100_nvrtc118", "of 2 kernels", "13.0 and 11.8", "1 differ",
                              "300 and 300", "33 and 33", "prefill qkv"}),
             *note);
  BOOST_TEST(!mentions(*note, {"decode qkv"}), *note);
}

BOOST_AUTO_TEST_CASE(one_compiler_says_nothing) {
  const auto a = described("a", "13.0", {"aa"}), b = described("b", "13.0", {"bb"});
  BOOST_TEST(!machine_code_note(a, b).has_value());
  BOOST_TEST(!machine_code_note(a, Configuration{}).has_value());
}

BOOST_AUTO_TEST_SUITE_END()
