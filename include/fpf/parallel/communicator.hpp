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
/// order, with contiguous tensors of one shape, dtype and device type. With one rank all of them are the identity.
/// Throws Aborted once any rank has called abort(). On a GPU they are enqueued on libtorch's current stream.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// t becomes the ranks' sum, in t's dtype and with the same bits on every rank.
  virtual void all_reduce(const at::Tensor& t) = 0;
  /// out [size, t's shape] becomes the ranks' tensors, in rank order.
  virtual void all_gather(const at::Tensor& t, const at::Tensor& out) = 0;
  /// t becomes that rank's.
  virtual void broadcast(const at::Tensor& t, int root) = 0;
  virtual void barrier() = 0;

  /// Releases the other ranks from whatever they wait in. May be called from any thread, more than once.
  virtual void abort() noexcept = 0;
  /// Throws Aborted, or the Error of the rank that failed: for those who wait for a GPU rather than in a collective.
  virtual void check() const = 0;

  /// Whether collectives may be captured into a graph of the rank's own.
  virtual bool can_capture() const { return false; }

  /// For the manifest: {"kind", "emulated", ...}.
  virtual nlohmann::ordered_json describe() const = 0;
};

}  // namespace fpf::parallel
