// What a machine says of itself, for the manifest.
#pragma once

#include <sys/utsname.h>

#include <chrono>
#include <ctime>
#include <fpf/core/version.hpp>
#include <fstream>
#include <string>

namespace fpf::evidence {

/// The processor's name as the kernel reports it, or the architecture's where it reports none.
inline std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name"))
      if (const auto colon = line.find(": "); colon != std::string::npos) return line.substr(colon + 2);
  utsname name{};
  return ::uname(&name) == 0 ? name.machine : "unknown CPU";
}

/// Now, as the plan writes dates: YYYY-MM-DD HH:MM:SS (UTC).
inline std::string timestamp() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &utc);
  return text;
}

}  // namespace fpf::evidence
