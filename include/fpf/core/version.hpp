// The version of fpf, and the revision of its sources where the build recorded it.
#pragma once

#include <string_view>

#define FPF_VERSION_MAJOR 0
#define FPF_VERSION_MINOR 1
#define FPF_VERSION_PATCH 0

// A program built in fpf's own tree links a definition; others do without.
extern "C" [[gnu::weak]] const char fpf_source_revision[];

namespace fpf {

inline constexpr std::string_view version = "0.1.0";

/// The git revision the program was built from, or "unknown".
inline std::string_view source_revision() {
  return fpf_source_revision != nullptr ? std::string_view(fpf_source_revision) : "unknown";
}

}  // namespace fpf
