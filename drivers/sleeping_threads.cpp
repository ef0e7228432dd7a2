// OpenMP's threads sleep while they wait for one another, where the user does not say otherwise: beside other work spinning
// ones cost a run several times its time. No result depends on it.
#include <alloca.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

namespace {

/// libgomp reads its environment in its constructor, before main. So this runs before all constructors (.preinit_array), while
/// little but the loading has been done, and starts the program again, as the same process, with OMP_WAIT_POLICY set. A
/// setting of the user's stays, and is what ends this after the first time. Where it cannot be done threads spin.
void start_with_sleeping_threads(int, char** argv, char** environment) {
  std::size_t count = 0;
  for (; environment[count] != nullptr; ++count)
    for (const char* name : {"OMP_WAIT_POLICY=", "GOMP_SPINCOUNT=", "KMP_BLOCKTIME="})
      if (std::strncmp(environment[count], name, std::strlen(name)) == 0) return;
  if (::getauxval(AT_BASE) == 0) return;  // an argument of the dynamic loader, which is what would be started again
  std::array<char, 4096> program;         // by its own name: /proc/self/exe would be the process's
  const auto length = ::readlink("/proc/self/exe", program.data(), program.size());
  if (length <= 0 || static_cast<std::size_t>(length) >= program.size()) return;
  program[static_cast<std::size_t>(length)] = '\0';
  static char setting[] = "OMP_WAIT_POLICY=passive";
  auto* const changed = static_cast<char**>(::alloca((count + 2) * sizeof(char*)));  // no heap before its constructors
  std::copy_n(environment, count, changed);
  changed[count] = setting;
  changed[count + 1] = nullptr;
  ::execve(program.data(), argv, changed);
}

[[gnu::section(".preinit_array"), gnu::used]] void (*entry)(int, char**, char**) = start_with_sleeping_threads;

}  // namespace
