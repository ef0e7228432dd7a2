// A configuration's manifest: everything that produced its numbers.
#pragma once

#include <fpf/experiment/environment.hpp>
#include <fpf/experiment/session.hpp>

namespace fpf {

/// What a set-up says of itself, with its environment and the model's content. On a GPU complete once a repetition has
/// run. `model`: as ModelIdentity describes it.
inline Json manifest_of(const Json& model, const RunSettings& settings, const Session& setup) {
  Json out = describe_environment(settings.device);
  if (const Json kernels = describe_kernels(settings.device); !kernels.empty()) {
    const auto& compiler = device::kernels(at::Device(settings.device)).builder().compiler();
    out["own_kernels"] = kernels;
    out["nvrtc"] = {{"version", compiler.version_name()}, {"library", compiler.toolkit().nvrtc.string()}};
  }
  out["model"] = model;
  if (!setup.unread().empty()) out["model"]["unread"] = model::describe(setup.unread());
  out["activation_dtype"] = name_of(settings.dtype);
  out.update(setup.manifest());
  return out;
}

}  // namespace fpf
