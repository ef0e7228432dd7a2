// expect: fpf: an execution policy needs `Routing route\(logits, k, renormalise\)`
#include <fpf/experiment.hpp>

struct NoRoute {
  static constexpr std::string_view name = "no_route";
  static at::Tensor norm(const at::Tensor& x, const at::Tensor&, double) { return x; }
  static at::Tensor add_norm(at::Tensor& x, const at::Tensor&, const at::Tensor&, double) { return x; }
  static at::Tensor head_norm_rope(const at::Tensor& x, const at::Tensor&, double, const fpf::execution::RopeTable&) {
    return x;
  }
  static at::Tensor silu_mul(const at::Tensor& gate, const at::Tensor&) { return gate; }
};

const auto no_route = fpf::Experiment<fpf::quant::None, fpf::attention::Flash, fpf::parallel::Single,
                                      fpf::stream::Exclusive, NoRoute>::setup();
