// expect: fpf: a contention policy needs `void start\(\)` and `nlohmann::ordered_json stop\(const std::vector<Span>& work\)`
#include <fpf/experiment.hpp>

struct NoStop {
  static constexpr std::string_view name = "no_stop";
  static void start() {}
};

const auto no_stop = fpf::Experiment<fpf::quant::None, fpf::attention::Flash, fpf::parallel::Single, NoStop>::setup();
