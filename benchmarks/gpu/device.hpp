// Device memory, streams, graphs and timing for the benchmark: the driver API with owners.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fpf/core/half.hpp>
#include <fpf/kernel/host/library.hpp>
#include <functional>
#include <random>
#include <vector>

namespace bench {

using namespace fpf;
using namespace fpf::kernel;

/// Device memory. Fresh buffers hold NaNs in every type: what a kernel does not write is seen.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t bytes) : bytes_(bytes) {
    if (bytes == 0) return;
    address_ = cuda::driver().allocate(bytes);
    poison();
  }
  template <class T>
  explicit Buffer(const std::vector<T>& values) : Buffer(values.size() * sizeof(T)) {
    upload(values);
  }
  Buffer(Buffer&& other) noexcept
      : address_(std::exchange(other.address_, 0)), bytes_(std::exchange(other.bytes_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(address_, other.address_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Buffer() {
    if (address_ != 0) cuda::driver().mem_free(address_);
  }

  void poison() { cuda::driver().check(cuda::driver().memset_bytes(address_, 0xff, bytes_), "cuMemsetD8"); }
  template <class T>
  void upload(const std::vector<T>& values) {
    if (!values.empty())
      cuda::driver().check(cuda::driver().memcpy_host_to_device(address_, values.data(), values.size() * sizeof(T)),
                           "upload");
  }
  template <class T>
  std::vector<T> download() const {
    std::vector<T> values(bytes_ / sizeof(T));
    if (!values.empty())
      cuda::driver().check(cuda::driver().memcpy_device_to_host(values.data(), address_, values.size() * sizeof(T)),
                           "download");
    return values;
  }
  template <class T = void>
  T* at(std::size_t offset = 0) const {
    return reinterpret_cast<T*>(address_ + offset);
  }
  cuda::DevicePointer address() const { return address_; }
  std::size_t bytes() const { return bytes_; }

 private:
  cuda::DevicePointer address_ = 0;
  std::size_t bytes_ = 0;
};

inline cuda::Stream make_stream() {
  cuda::Stream stream = nullptr;
  cuda::driver().check(cuda::driver().stream_create(&stream, 1), "cuStreamCreate");  // non-blocking
  return stream;
}

inline void synchronise(cuda::Stream stream) {
  cuda::driver().check(cuda::driver().stream_synchronize(stream), "cuStreamSynchronize");
}

/// A captured sequence of launches.
class CapturedGraph {
 public:
  CapturedGraph(cuda::Stream stream, const std::function<void()>& body) : stream_(stream) {
    const auto& api = cuda::driver();
    api.check(api.stream_begin_capture(stream, 1), "cuStreamBeginCapture");
    body();
    api.check(api.stream_end_capture(stream, &graph_), "cuStreamEndCapture");
    api.check(api.graph_instantiate(&exec_, graph_, 0), "cuGraphInstantiate");
  }
  CapturedGraph(const CapturedGraph&) = delete;
  CapturedGraph& operator=(const CapturedGraph&) = delete;
  ~CapturedGraph() {
    cuda::driver().graph_exec_destroy(exec_);
    cuda::driver().graph_destroy(graph_);
  }
  void launch() const { cuda::driver().check(cuda::driver().graph_launch(exec_, stream_), "cuGraphLaunch"); }

 private:
  cuda::Stream stream_;
  cuda::Graph graph_ = nullptr;
  cuda::GraphExec exec_ = nullptr;
};

/// Microseconds by device events.
struct Timing {
  double median = 0, least = 0, most = 0;
};

inline Timing time_on_device(cuda::Stream stream, const std::function<void()>& body, int repeats, int warm_up = 3) {
  const auto& api = cuda::driver();
  cuda::Event begin = nullptr, end = nullptr;
  api.check(api.event_create(&begin, 0), "cuEventCreate");
  api.check(api.event_create(&end, 0), "cuEventCreate");
  std::vector<double> times;
  for (int i = 0; i < warm_up + repeats; ++i) {
    api.check(api.event_record(begin, stream), "cuEventRecord");
    body();
    api.check(api.event_record(end, stream), "cuEventRecord");
    api.check(api.event_synchronize(end), "cuEventSynchronize");
    float milliseconds = 0;
    api.check(api.event_elapsed_time(&milliseconds, begin, end), "cuEventElapsedTime");
    if (i >= warm_up) times.push_back(1000.0 * milliseconds);
  }
  api.event_destroy(begin);
  api.event_destroy(end);
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times.front(), times.back()};
}

// ---- values of a type on the host

inline std::vector<std::byte> encode(const std::vector<float>& values, DType dtype) {
  std::vector<std::byte> bytes(values.size() * size_of(dtype));
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (dtype == DType::float32) {
      std::memcpy(bytes.data() + 4 * i, &values[i], 4);
    } else {
      const std::uint16_t bits =
          dtype == DType::bfloat16 ? bfloat16_from_float32(values[i]) : float16_from_float32(values[i]);
      std::memcpy(bytes.data() + 2 * i, &bits, 2);
    }
  }
  return bytes;
}

inline std::vector<float> decode(const std::vector<std::byte>& bytes, DType dtype) {
  std::vector<float> values(bytes.size() / size_of(dtype));
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint16_t bits = 0;
    if (dtype == DType::float32)
      std::memcpy(&values[i], bytes.data() + 4 * i, 4);
    else
      std::memcpy(&bits, bytes.data() + 2 * i, 2);
    if (dtype == DType::bfloat16) values[i] = float32_from_bfloat16(bits);
    if (dtype == DType::float16) values[i] = float32_from_float16(bits);
  }
  return values;
}

inline float round_to(float value, DType dtype) {
  if (dtype == DType::bfloat16) return float32_from_bfloat16(bfloat16_from_float32(value));
  if (dtype == DType::float16) return float32_from_float16(float16_from_float32(value));
  return value;
}

/// Fresh for every check: std::random_device seeds it, and the seed is printed.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::uint32_t bits() { return static_cast<std::uint32_t>(engine_() >> 32); }
  float uniform(float low, float high) { return low + (high - low) * static_cast<float>(bits()) * 0x1p-32f; }
  float normal() { return distribution_(engine_); }
  /// Values that `dtype` holds exactly.
  std::vector<float> normals(std::size_t count, DType dtype, float deviation = 1, float mean = 0) {
    std::vector<float> values(count);
    for (float& value : values) value = round_to(mean + deviation * normal(), dtype);
    return values;
  }

 private:
  std::mt19937_64 engine_;
  std::normal_distribution<float> distribution_;
};

inline Buffer upload(const std::vector<float>& values, DType dtype) { return Buffer(encode(values, dtype)); }
inline std::vector<float> download(const Buffer& buffer, DType dtype) {
  return decode(buffer.download<std::byte>(), dtype);
}

}  // namespace bench
