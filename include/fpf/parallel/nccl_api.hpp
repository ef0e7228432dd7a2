// NCCL, resolved when ranks on GPUs first need it: nothing links against it.
#pragma once

#ifdef FPF_WITH_CUDA

#include <nccl.h>

#include <cstdlib>
#include <fpf/kernel/host/shared_object.hpp>
#include <stdexcept>
#include <string>

namespace fpf::parallel::nccl {

using kernel::SharedObject, kernel::Symbol;

/// NCCL's functions that fpf calls, under NCCL's names without "nccl".
struct Api {
  SharedObject library;

  Symbol<decltype(::ncclGetVersion)> get_version{library, "ncclGetVersion"};
  Symbol<decltype(::ncclGetUniqueId)> get_unique_id{library, "ncclGetUniqueId"};
  Symbol<decltype(::ncclCommInitRank)> comm_init_rank{library, "ncclCommInitRank"};
  Symbol<decltype(::ncclCommDestroy)> comm_destroy{library, "ncclCommDestroy"};
  Symbol<decltype(::ncclCommAbort)> comm_abort{library, "ncclCommAbort"};
  Symbol<decltype(::ncclCommGetAsyncError)> comm_get_async_error{library, "ncclCommGetAsyncError"};
  Symbol<decltype(::ncclAllReduce)> all_reduce{library, "ncclAllReduce"};
  Symbol<decltype(::ncclAllGather)> all_gather{library, "ncclAllGather"};
  Symbol<decltype(::ncclBroadcast)> broadcast{library, "ncclBroadcast"};
  Symbol<decltype(::ncclGroupStart)> group_start{library, "ncclGroupStart"};
  Symbol<decltype(::ncclGroupEnd)> group_end{library, "ncclGroupEnd"};
  Symbol<decltype(::ncclGetErrorString)> get_error_string{library, "ncclGetErrorString"};
  Symbol<decltype(::ncclGetLastError)> get_last_error{library, "ncclGetLastError"};

  /// Throws Error with NCCL's own words when a call failed.
  void check(ncclResult_t result, const char* what) const {
    if (result == ncclSuccess) return;
    const char* detail = get_last_error(nullptr);
    const std::string words = detail == nullptr ? "" : detail;
    fail("NCCL: {}: {}{}{}", what, get_error_string(result), words.empty() ? "" : ": ", words);
  }
};

/// What NCCL chooses by itself otherwise, pinned before it starts; a user's own settings stay. A ring adds in one order
/// for a size and a number of channels; NVLink multicast does not.
inline constexpr const char* pinned[][2] = {
    {"NCCL_ALGO", "Ring"},   {"NCCL_PROTO", "LL,Simple"}, {"NCCL_MIN_CTAS", "24"},  // channels
    {"NCCL_MAX_CTAS", "24"}, {"NCCL_NVLS_ENABLE", "0"},   {"NCCL_COLLNET_ENABLE", "0"}, {"NCCL_GRAPH_REGISTER", "0"}};

/// The NCCL that libtorch brings, loaded and pinned at the first call. Throws Error when there is none.
inline const Api& api() {
  static const Api loaded = [] {
    for (const auto& [name, value] : pinned) ::setenv(name, value, 0);
    std::string reason;
    const auto library = SharedObject::open("libnccl.so.2", reason);
    if (!library) fail("ranks on GPUs need NCCL, which libtorch brings: {}", reason);
    return Api{library};
  }();
  return loaded;
}

/// "2.28.9"
inline std::string version() {
  int number = 0;
  api().check(api().get_version(&number), "ncclGetVersion");
  return fmt::format("{}.{}.{}", number / 10000, number % 10000 / 100, number % 100);
}

}  // namespace fpf::parallel::nccl

#endif
