// Which policies a GPU carries out: words and products are fpf's kernels there, and not the policies' own functions.
#pragma once

#include <c10/core/DeviceType.h>

#include <fpf/attention/attention_kernel.hpp>
#include <fpf/core/error.hpp>
#include <fpf/execution/execution.hpp>
#include <fpf/quant/quant_scheme.hpp>

namespace fpf::model {

/// Throws Error, naming the policy, where `device` would compute something else than what its functions say and the
/// manifest would name it all the same. A CPU calls them all.
/// (Portable execution has no attention policy.)
template <class Quant, class Attention, class Execution>
void require_carried_out(c10::DeviceType device) {
  if (device == c10::DeviceType::CPU) return;
  if (!execution::runs_on_gpu<Execution>())
    fail(
        "execution '{}' is not carried out on a GPU, where fpf's kernels stand for the words of policies that state so: run "
        "it on the CPU (--device cpu), or state `runs_on_gpu` in it if the kernels compute the same",
        Execution::name);
  if constexpr (!execution::is_portable<Execution>() && !attention::decodes_on_gpu<Attention>())
    fail(
        "attention '{}' is not carried out on a GPU, where fpf's kernels decode: run it on the CPU (--device cpu), or state "
        "`decode_form` in it if one of them computes the same",
        Attention::name);
  if (!quant::dequantises<Quant>())
    fail(
        "quantisation '{}' is not carried out on a GPU, where fpf's kernels multiply: run it on the CPU (--device cpu), or "
        "state `dequantises` in it, with a pack() that gives its values to the kernels",
        Quant::name);
}

}  // namespace fpf::model
