// What happens when a file gets shorter, or its disk fails, while it is mapped: a message that names it, not a signal.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fpf/core/error.hpp>
#include <fpf/core/text.hpp>
#include <string>
#include <string_view>

namespace fpf {

/// A mapping that the handler of SIGBUS knows. The list only grows: who ends leaves its place to the next, so that the
/// handler may walk it whenever it is called.
class KnownMapping {
 public:
  /// Whose pages these are, for as long as they are mapped.
  static KnownMapping* enter(const void* begin, std::size_t size, const std::string& file) {
    KnownMapping* place = first_;
    for (bool free = false; place != nullptr; place = place->next_)
      if (free = false; place->taken_.compare_exchange_strong(free, true)) break;
    if (place == nullptr) {
      place = new KnownMapping;  // never deleted
      place->next_ = first_;
      while (!first_.compare_exchange_weak(place->next_, place)) continue;
    }
    place->message_ = ": error: cannot read " + one_line(file) +
                      ": it was made shorter, or its disk failed, while it was read; it must stay as it is meanwhile\n";
    place->end_ = reinterpret_cast<std::uintptr_t>(begin) + size;
    place->begin_ = reinterpret_cast<std::uintptr_t>(begin);
    return place;
  }
  void leave() {
    begin_ = nowhere;
    taken_ = false;
  }

  /// What to say of an address; empty when no mapping has it. Safe in a signal's handler.
  static std::string_view message_at(const void* address) {
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    for (const KnownMapping* place = first_; place != nullptr; place = place->next_)
      if (at >= place->begin_ && at < place->end_) return place->message_;
    return {};
  }

 private:
  static constexpr std::uintptr_t nowhere = UINTPTR_MAX;

  KnownMapping() = default;

  inline static std::atomic<KnownMapping*> first_ = nullptr;
  std::atomic<bool> taken_ = true;
  std::atomic<std::uintptr_t> begin_ = nowhere, end_ = 0;
  std::string message_;
  KnownMapping* next_ = nullptr;
};

namespace detail {

inline std::array<char, 64> program_name{};

inline void end_at_lost_page(int signal, siginfo_t* info, void*) {
  const std::string_view message = KnownMapping::message_at(info->si_addr);
  if (message.empty()) {
    std::signal(signal, SIG_DFL);  // no file of ours: what would have happened happens when the instruction runs again
    return;
  }
  for (std::string_view text : {std::string_view(program_name.data()), message})
    if (::write(STDERR_FILENO, text.data(), text.size()) < 0) break;
  ::_exit(static_cast<int>(ExitCode::user_error));
}

}  // namespace detail

/// From now on a page of a MappedFile that is not there any more ends the process with one line that names the file,
/// and with exit code 2. Nothing else of the process is cleaned up.
inline void catch_lost_pages(std::string_view program) {
  detail::program_name.back() = '\0';
  std::ranges::copy(program.substr(0, detail::program_name.size() - 1), detail::program_name.begin());
  struct sigaction action {};
  action.sa_sigaction = detail::end_at_lost_page;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGBUS, &action, nullptr);
}

}  // namespace fpf
