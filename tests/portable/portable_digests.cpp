// fixtures/portable_digests.json: whole runs of the portable execution have these digests on every machine. The cards
// that the file names, or a run names of its own, gave the same (benchmarks/gpu/portable.cpp). FPF_WRITE_DIGESTS=<file>
// writes the digests found here.
#include <boost/test/unit_test.hpp>
#include <cstdlib>

#include "portable_cases.hpp"

BOOST_AUTO_TEST_SUITE(test_portable_digests)

BOOST_AUTO_TEST_CASE(every_machine_has_these_bits) {
  auto file = nlohmann::json::parse(std::ifstream(FPF_FIXTURES "/portable_digests.json"));
  BOOST_TEST(file.at("version") == fpf::portable::version);
  for (auto& entry : file.at("runs")) {
    const portable_cases::Case one(entry, FPF_FIXTURES, FPF_BUILD "/models");
    if (!one.is_here()) continue;
    const fpf::evidence::Digests found = fpf::evidence::digests_of(one.run("cpu"));
    BOOST_TEST((found == one.digests), one.name << ": " << portable_cases::to_json(found).dump());
    entry["digests"] = portable_cases::to_json(found);
  }
  if (const char* to = std::getenv("FPF_WRITE_DIGESTS")) std::ofstream(to) << file.dump(1) << "\n";
}

BOOST_AUTO_TEST_SUITE_END()
