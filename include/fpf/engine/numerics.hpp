// The policies that a decoder is made of, and which of them a GPU carries out: words and products are
// fpf's kernels there, and not the policies' own functions.
#pragma once

#include <c10/core/DeviceType.h>

#include <fpf/attention/attention_kernel.hpp>
#include <fpf/core/error.hpp>
#include <fpf/execution/execution.hpp>
#include <fpf/quant/scheme.hpp>

namespace fpf::engine {

/// The choices of numerics that a decoder is made of.
struct Numerics {
  const quant::Scheme& quantisation;
  const attention::Kernel& attention;  // portable execution has its own
  const execution::Policy& execution;
};

/// Throws Error, naming the policy, where `device` would compute something else than what its functions say and the
/// manifest would name it all the same. A CPU calls them all.
inline void require_carried_out(const Numerics& of, c10::DeviceType device) {
  if (device == c10::DeviceType::CPU) return;
  if (!of.execution.runs_on_gpu)
    fail(
        "execution '{}' is not carried out on a GPU, where fpf's kernels stand for the words of policies that state so: run "
        "it on the CPU (--device cpu), or state `runs_on_gpu` in it if the kernels compute the same",
        of.execution.name);
  if (!of.execution.portable && !of.attention.decode_form)
    fail(
        "attention '{}' is not carried out on a GPU, where fpf's kernels decode: run it on the CPU (--device cpu), or state "
        "`decode_form` in it if one of them computes the same",
        of.attention.name);
  if (!of.quantisation.dequantises)
    fail(
        "quantisation '{}' is not carried out on a GPU, where fpf's kernels multiply: run it on the CPU (--device cpu), or "
        "state `dequantises` in it, with a pack() that gives its values to the kernels",
        of.quantisation.name);
}

}  // namespace fpf::engine
