// What an interrupted experiment must agree in to be resumed, in one process: programs of two versions of a numerics,
// which their revision alone may not tell apart, are two descriptions of one execution here.
#include <boost/test/unit_test.hpp>
#include <fpf/core/atomic_directory.hpp>
#include <fpf/experiment/registry.hpp>
#include <fpf/experiment/runner_declaration.hpp>
#include <fstream>

#include "driver.hpp"
#include "error_text.hpp"

BOOST_AUTO_TEST_SUITE(test_resuming)

using namespace fpf;

namespace {

/// Registers another description for an execution while it lives.
class Described {
 public:
  Described(const execution::Policy& policy, std::string_view description) : own_(policy), before_(&policy) {
    own_.description = description;
    std::ranges::replace(registry().executions, before_, &own_);
  }
  Described(const Described&) = delete;
  Described& operator=(const Described&) = delete;
  ~Described() { std::ranges::replace(registry().executions, &own_, before_); }

 private:
  execution::Policy own_;
  const execution::Policy* before_;
};

/// Begins experiment 0 in the folder "resuming", or goes on with it, and is interrupted before its file is complete.
void begin(const std::string& dtype, bool resume) {
  Options options;
  options.model = "synthetic:qwen2-tiny?seed=1";
  std::ofstream("resuming.json") << "[1, 22, 333]";
  options.prompt_ids = {"resuming.json"};
  options.execution = "portable";
  options.dtype = dtype;
  options.device = "cpu";
  options.decode_steps = 2;
  options.reps = 2;
  options.out = "resuming";
  options.resume = resume;
  options.verbosity = Verbosity::quiet;
  const ExperimentInfo info{{"exp0_reference", "", ""}, "reference", "none"};
  Runner runner(info, options);
  runner.run({"reference", nullptr}, runner.reference());
}

}  // namespace

BOOST_AUTO_TEST_CASE(what_another_version_of_the_portable_numerics_began_is_not_resumed) {
  for (const char* dtype : {"bfloat16", "float32"}) {
    remove_tree("resuming");
    {
      const Described first(execution::policy<execution::Portable>(), "fpf portable numerics, version 1: of that time");
      begin(dtype, false);
      BOOST_TEST(error_text([&] { begin(dtype, true); }) == "no error");
    }
    const std::string message = error_text([&] { begin(dtype, true); });
    BOOST_TEST(mentions(message, {"reference_baseline.json.partial", "software", "--resume"}), message);
  }
}

BOOST_AUTO_TEST_SUITE_END()
