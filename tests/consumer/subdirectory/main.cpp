// All that fpf::fpf brings to a project that has fpf's sources in its tree: libtorch, the kernels' text, what reads
// prompts.
#include <ATen/ops/ones.h>

#include <fpf/attention/flash.hpp>
#include <fpf/kernel/sources.hpp>
#include <fpf/prompt/document.hpp>
#include <iostream>

int main(int argc, char** argv) {
  const at::Tensor x = at::ones({1, 1, 1, 8});
  if (argc == 2) std::cout << fpf::prompt::document_text(argv[1]);
  std::cout << fpf::attention::Flash::attend(x, x, x, 1.0).sum().item<float>() << " of 8, "
            << fpf::kernel::embedded_sources.size() << " sources of kernels\n";
}
