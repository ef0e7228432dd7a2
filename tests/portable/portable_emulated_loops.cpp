// The loops of every x86 instruction set, whatever the CPU at hand has, by vector instructions in plain C++.
#define FPF_EMULATED_X86 <portable/emulated_x86.hpp>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "loop_checks.hpp"

BOOST_AUTO_TEST_SUITE(test_portable_emulated_loops)

using namespace fpf;

BOOST_DATA_TEST_CASE(loops_of_other_cpus_give_the_plain_ones_bits,
                     boost::unit_test::data::make({"avx2", "avx_vnni", "avx512", "avx512_vnni", "amx"}), name) {
  const auto set = std::ranges::find(portable::instruction_sets, name, portable::name_of);
  BOOST_TEST_REQUIRE((set != portable::instruction_sets.end() && portable::has(*set)));
  for (const std::string& difference :
       loop_checks::differences(portable::loops_of(*set), portable::integer_loops_of(*set)))
    BOOST_ERROR(name << "'s " << difference);
}

BOOST_AUTO_TEST_SUITE_END()
