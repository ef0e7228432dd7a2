// One process a rank under a launcher (torchrun --no-python, srun, mpirun): what it says through the environment.
#pragma once

#include <algorithm>
#include <cstdint>
#include <fpf/core/error.hpp>
#include <fpf/core/parse_number.hpp>
#include <fpf/parallel/listener.hpp>
#include <fpf/parallel/secret.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace fpf::parallel {

/// This process's place among those that a launcher started, and where they meet.
struct Launch {
  int rank = 0, size = 1;
  int local_rank = 0;  // among those of this host
  std::string address;
  std::uint16_t port = 0;
  bool hosts_store = false;  // this rank keeps the rendezvous; torchrun's agent keeps its own
  std::string run;           // tells this run from an earlier one at the same place
  std::string secret;        // what the ranks' values are signed with

  /// None without WORLD_SIZE or with WORLD_SIZE=1. Throws Error naming the variable that is missing or is no number;
  /// see run_secret() for FPF_RENDEZVOUS_SECRET.
  static std::optional<Launch> from_environment() {
    if (text("WORLD_SIZE").empty() || text("WORLD_SIZE") == "1") return std::nullopt;
    const auto number = [&](const char* name, int least, int most) {
      const auto value = parse_number<int>(text(name));
      if (std::string_view(name) == "WORLD_SIZE" && (!value || *value < least || *value > most))
        fail("WORLD_SIZE is '{}': expected the number of processes that a launcher started, or none", text(name));
      if (!value || *value < least || *value > most)
        fail(
            "{} is '{}', but WORLD_SIZE is {}: a launcher sets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT; "
            "without one unset WORLD_SIZE",
            name, text(name), text("WORLD_SIZE"));
      return *value;
    };
    Launch out;
    out.size = number("WORLD_SIZE", 1, 1 << 16);
    out.rank = number("RANK", 0, out.size - 1);
    out.local_rank = text("LOCAL_RANK").empty() ? 0 : number("LOCAL_RANK", 0, out.size - 1);
    out.address = text("MASTER_ADDR");
    if (out.address.empty()) fail("MASTER_ADDR is missing, but WORLD_SIZE is {}: expected rank 0's host", out.size);
    out.port = static_cast<std::uint16_t>(number("MASTER_PORT", 1, 65535));
    out.hosts_store = out.rank == 0 && text("TORCHELASTIC_USE_AGENT_STORE") != "True";
    out.run = text("TORCHELASTIC_RUN_ID") + "." + text("TORCHELASTIC_RESTART_COUNT");
    out.secret =
        run_secret(std::ranges::all_of(endpoints_of(out.address, out.port), &Endpoint::is_loopback), out.address);
    return out;
  }

  /// For a program whose work is one process's: throws Error where a launcher started several, which would all write
  /// one file. A WORLD_SIZE that stands there without a RANK is left over from something else (a shell, a container);
  /// returns what to say of it, or nothing.
  static std::string alone(const std::string& program) {
    const std::string size = text("WORLD_SIZE"), rank = text("RANK");
    if (size.empty() || size == "1") return {};
    if (rank.empty())
      return fmt::format("WORLD_SIZE is {} without a RANK: no launcher started this, it runs alone", size);
    fail(
        "RANK is {} and WORLD_SIZE is {}, as a launcher sets them, but {} is one process's work: start it without the "
        "launcher, or, where they are left over from something else, unset both (env -u RANK -u WORLD_SIZE {} ...)",
        rank, size, program, program);
  }

 private:
  static std::string text(const char* name) { return detail::environment_text(name); }
};

}  // namespace fpf::parallel
