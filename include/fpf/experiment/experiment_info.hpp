// What an experiment varies, and one of its configurations.
#pragma once

#include <fpf/core/json.hpp>
#include <fpf/core/program.hpp>
#include <fpf/experiment/options.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace fpf {

namespace model {
class Checkpoint;
}

/// A program, what it varies, and under which names its file says so.
struct ExperimentInfo : ProgramInfo {
  std::string type;      // experiment_type: "batch_size"
  std::string variable;  // variable_tested: "batch_size"
  Json baseline_value = nullptr;
  std::string baseline_tag = "reference";
  bool any_checkpoint = false;            // the baseline may be of another checkpoint of the same architecture (exp3)
  Json baseline_params = Json::object();  // fixed_params that the baseline must have, beside those of this run
  std::string default_model{};            // for experiments that the usual model cannot do
  std::function<void(po::options_description&, Options&)> options{};  // its own, beside the shared ones
  bool takes_ranks = false;                                           // a launcher may start it, one process a rank

  std::string file() const { return type == "reference" ? "reference_baseline.json" : type + "_experiment.json"; }
};

/// One configuration of an experiment.
struct Variant {
  std::string tag;                                   // config_id is <hardware>_<tag>
  Json value;                                        // variable_value
  std::size_t neighbours = 0;                        // further sequences of the batch, from the runner's neighbours
  std::int64_t ranks = 1;                            // of its parallelism policy
  std::shared_ptr<const model::Checkpoint> model{};  // another checkpoint than --model
  Json fixed = Json::object();                       // further fixed_params
  Json extra = Json::object();                       // further members of the run
};

}  // namespace fpf
