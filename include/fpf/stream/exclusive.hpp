// The device to oneself.
#pragma once

#include <fpf/stream/stream_contention.hpp>

namespace fpf::stream {

struct Exclusive {
  static constexpr std::string_view name = "exclusive";

  static void start() {}
  static nlohmann::ordered_json stop(const std::vector<Span>&) { return nullptr; }
};

static_assert(StreamContention<Exclusive>);

}  // namespace fpf::stream
