// expect: fpf: an attention policy needs `static at::Tensor attend
#include <fpf/experiment.hpp>

struct NoAttend {
  static constexpr std::string_view name = "no_attend";
};

const auto no_attend = fpf::Experiment<fpf::quant::None, NoAttend>::setup();
