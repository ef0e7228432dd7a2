// What ranks say to each other: collectives, whatever carries them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace fpf::parallel {

/// A collective of a run that another rank has given up. That rank's error is the one to report.
class Aborted : public std::runtime_error {
 public:
  Aborted() : std::runtime_error("another rank gave up") {}
};

/// Collectives between the ranks of one run, one object a rank. Every rank calls the same ones in the same
/// order, with tensors of one shape, dtype and device type; results are new tensors, equal on all ranks, and
/// arguments stay as they are. With one rank all of them are the identity. Throws Aborted once any rank has
/// called abort().
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// The ranks' sum in t's dtype.
  virtual at::Tensor all_reduce(const at::Tensor& t) = 0;
  /// The ranks' tensors one after another along `dim`, in rank order.
  virtual at::Tensor all_gather(const at::Tensor& t, std::int64_t dim) = 0;
  /// That rank's tensor; what the others give says shape and dtype.
  virtual at::Tensor broadcast(const at::Tensor& t, int root) = 0;
  virtual void barrier() = 0;

  /// Releases the other ranks from whatever they wait in. May be called from any thread, more than once.
  virtual void abort() noexcept = 0;

  /// For the manifest: {"kind", "emulated", ...}.
  virtual nlohmann::ordered_json describe() const = 0;
};

}  // namespace fpf::parallel
