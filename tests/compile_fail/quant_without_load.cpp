// expect: fpf: a quantisation policy needs `static Weight load\(const Loader&, const LinearSpec&\)`
#include <fpf/experiment.hpp>

struct NoLoad {
  static constexpr std::string_view name = "no_load";
  using Weight = at::Tensor;
  static at::Tensor linear(const at::Tensor& x, const Weight&) { return x; }
  static at::Tensor dequantise(const Weight& weight, at::ScalarType) { return weight; }
  static std::size_t bytes(const Weight& weight) { return weight.nbytes(); }
};

const auto no_load = fpf::Experiment<NoLoad>::setup();
