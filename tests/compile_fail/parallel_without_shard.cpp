// expect: fpf: a parallelism policy needs `Shard shard\(const model::ModelConfig&\) const`
#include <fpf/experiment.hpp>

struct NoShard {
  static constexpr std::string_view name = "no_shard";
  static std::vector<NoShard> local_ranks(const fpf::parallel::RankOptions&) { return {NoShard{}}; }
  static int rank() { return 0; }
  static int size() { return 1; }
  static fpf::parallel::Partial partial() { return {}; }
  static fpf::parallel::Communicator* communicator() { return nullptr; }
};

const auto no_shard = fpf::Experiment<fpf::quant::None, fpf::attention::Flash, NoShard>::setup();
