// expect: fpf: an execution policy that derives from another needs a `name` of its own
#include <fpf/experiment.hpp>

struct Unnamed : fpf::execution::Eager {
  static at::Tensor silu_mul(const at::Tensor& gate, const at::Tensor& up) { return gate * up; }
};

const auto unnamed = fpf::Experiment<fpf::quant::None, fpf::attention::Flash, fpf::parallel::Single,
                                     fpf::stream::Exclusive, Unnamed>::setup();
