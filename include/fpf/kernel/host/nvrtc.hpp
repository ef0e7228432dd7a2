// NVRTC, NVIDIA's run-time compiler: found on the machine, loaded beside other versions of itself, and
// called.
#pragma once

#include <link.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fpf/core/error.hpp>
#include <fpf/kernel/host/shared_object.hpp>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace fpf::kernel {

/// Where one version of the compiler lies.
struct Toolkit {
  std::filesystem::path nvrtc;     // libnvrtc.so.*
  std::filesystem::path builtins;  // libnvrtc-builtins.so.*, which nvrtc opens by its bare name
  std::filesystem::path include;   // CUDA's headers; empty where there are none (fpf's own kernels need none)
};

namespace detail {

/// The newest file in `folder` named `prefix`*; empty when there is none.
inline std::filesystem::path newest(const std::filesystem::path& folder, std::string_view prefix) {
  std::filesystem::path best;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(prefix)) continue;
    // Longer names are fuller versions; among equals the higher number is the newer one.
    const auto rank = [](const std::string& text) { return std::pair(text.size(), text); };
    if (best.empty() || rank(best.filename().string()) < rank(name)) best = entry.path();
  }
  return best;
}

/// A toolkit in one of the layouts that exist: the pip wheels' (nvidia/cu13, or nvidia/cuda_nvrtc beside
/// nvidia/cuda_runtime), an installed toolkit's, or a bare folder of libraries.
inline bool toolkit_in(const std::filesystem::path& root, Toolkit& toolkit) {
  for (const char* folder : {"lib", "lib64", "cuda_nvrtc/lib", "targets/x86_64-linux/lib", "."}) {
    const auto library = newest(root / folder, "libnvrtc.so");
    if (library.empty()) continue;
    toolkit = {library, newest(root / folder, "libnvrtc-builtins.so"), {}};
    for (const char* include : {"include", "cuda_runtime/include", "targets/x86_64-linux/include", "../include"})
      if (std::filesystem::exists(root / include / "cuda_fp16.h")) {
        toolkit.include = root / include;
        break;
      }
    return true;
  }
  return false;
}

/// The folder of libtorch.so, when this process has it loaded.
inline std::filesystem::path libtorch_folder() {
  std::filesystem::path found;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* result) {
        const std::filesystem::path path = info->dlpi_name;
        if (path.filename().string().rfind("libtorch_cpu.so", 0) != 0) return 0;
        *static_cast<std::filesystem::path*>(result) = path.parent_path();
        return 1;
      },
      &found);
  std::error_code error;
  const auto canonical = std::filesystem::canonical(found, error);
  return error ? found : canonical;
}

}  // namespace detail

/// Finds NVRTC: in `folder` when given (a toolkit, a wheel's folder, or a folder of libraries), else in the
/// loaded libtorch's environment, in CUDA_HOME or CUDA_PATH, in /usr/local/cuda, and last by the system's own
/// search. Throws Error that lists where it looked.
inline Toolkit find_toolkit(const std::filesystem::path& folder = {}) {
  std::vector<std::filesystem::path> candidates;
  if (!folder.empty()) {
    candidates = {folder};
  } else {
    if (const auto torch = detail::libtorch_folder(); !torch.empty()) {
      const auto packages = torch.parent_path().parent_path() / "nvidia";
      for (const char* name : {"cu13", "cu12", "."}) candidates.push_back(packages / name);
      candidates.push_back(torch);  // a LibTorch archive keeps NVRTC beside libtorch.so
    }
    for (const char* variable : {"CUDA_HOME", "CUDA_PATH"})
      if (const char* value = std::getenv(variable); value != nullptr && *value != '\0') candidates.emplace_back(value);
    candidates.emplace_back("/usr/local/cuda");
  }
  Toolkit toolkit;
  std::string looked;
  for (const auto& candidate : candidates) {
    if (detail::toolkit_in(candidate, toolkit)) return toolkit;
    looked += (looked.empty() ? "" : ", ") + candidate.string();
  }
  if (folder.empty()) {
    for (const char* soname : {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2"}) {
      std::string reason;
      if (SharedObject::open(soname, reason)) return {soname, {}, {}};
    }
    looked += " and the system's libraries";
  }
  fail("no NVRTC found: looked for libnvrtc.so.* in {}; name a CUDA toolkit's folder or set CUDA_HOME", looked);
}

/// One source text under the name that compile errors and #include use.
struct SourceText {
  std::string_view name, text;
};

/// What the compiler made of one source.
struct Compiled {
  std::vector<std::byte> cubin;
  std::vector<std::pair<std::string, std::string>> lowered;  // name expression -> symbol in the cubin
  std::string log;                                           // warnings
};

/// One version of NVRTC. Several live in a process. Compiling is thread-safe (NVRTC's own guarantee).
class Compiler {
 public:
  /// Loads the library and asks its version. Throws Error when it does not load or is too old (before 11.1).
  explicit Compiler(Toolkit toolkit = find_toolkit()) : toolkit_(std::move(toolkit)), api_{load(toolkit_)} {
    api_.version(&major_, &minor_);
  }

  const Toolkit& toolkit() const { return toolkit_; }
  int version() const { return major_ * 1000 + minor_ * 10; }  // 13000 for 13.0, as CUDA numbers itself
  std::string version_name() const { return fmt::format("{}.{}", major_, minor_); }

  /// Throws Error when this compiler makes no code for `arch` (90 for sm_90), naming what it does make.
  void require_architecture(int arch) const {
    const auto count = api_.library.find<int(int*)>("nvrtcGetNumSupportedArchs");
    const auto list = api_.library.find<int(int*)>("nvrtcGetSupportedArchs");
    if (count == nullptr || list == nullptr) return;  // before 11.2: the compiler itself will say so
    int known = 0;
    count(&known);
    std::vector<int> supported(static_cast<std::size_t>(known));
    list(supported.data());
    if (std::find(supported.begin(), supported.end(), arch) == supported.end())
      fail("NVRTC {} ({}) makes no code for sm_{}; it knows sm_{}", version_name(), toolkit_.nvrtc.string(), arch,
           fmt::join(supported, ", sm_"));
  }

  /// Compiles `source` to machine code with the given options; `headers` are what it may include by name,
  /// `names` the kernels wanted, as C++ expressions ("fpf::kernel::rms_norm<...>"). Throws Error with the
  /// first message, its file and line, and that line's text.
  Compiled compile(SourceText source, const std::vector<SourceText>& headers, const std::vector<std::string>& names,
                   const std::vector<std::string>& options) const {
    std::vector<std::string> texts, header_names;  // NVRTC wants terminated strings
    for (const auto& header : headers) texts.emplace_back(header.text), header_names.emplace_back(header.name);
    std::vector<const char*> text_pointers, name_pointers, option_pointers;
    for (const auto& text : texts) text_pointers.push_back(text.c_str());
    for (const auto& name : header_names) name_pointers.push_back(name.c_str());
    for (const auto& option : options) option_pointers.push_back(option.c_str());

    const std::string main_text(source.text), main_name(source.name);
    Program program(*this);
    check(api_.create(&program.handle, main_text.c_str(), main_name.c_str(), static_cast<int>(texts.size()),
                      text_pointers.data(), name_pointers.data()),
          "nvrtcCreateProgram");
    for (const auto& name : names) check(api_.add_name(program.handle, name.c_str()), name.c_str());
    const int result = api_.compile(program.handle, static_cast<int>(option_pointers.size()), option_pointers.data());
    Compiled out;
    out.log = log_of(program.handle);
    if (result != 0) report(result, out.log, source, headers, names);
    std::size_t size = 0;
    check(api_.cubin_size(program.handle, &size), "nvrtcGetCUBINSize");
    if (size == 0) fail("NVRTC {} made no machine code: its options name no real architecture", version_name());
    out.cubin.resize(size);
    check(api_.cubin(program.handle, reinterpret_cast<char*>(out.cubin.data())), "nvrtcGetCUBIN");
    for (const auto& name : names) {
      const char* lowered = nullptr;
      check(api_.lowered(program.handle, name.c_str(), &lowered), name.c_str());
      out.lowered.emplace_back(name, lowered);
    }
    return out;
  }

 private:
  using ProgramHandle = struct NvrtcProgram*;
  struct Api {
    SharedObject library;

    Symbol<int(int*, int*)> version{library, "nvrtcVersion"};
    Symbol<const char*(int)> error_string{library, "nvrtcGetErrorString"};
    Symbol<int(ProgramHandle*, const char*, const char*, int, const char* const*, const char* const*)> create{
        library, "nvrtcCreateProgram"};
    Symbol<int(ProgramHandle*)> destroy{library, "nvrtcDestroyProgram"};
    Symbol<int(ProgramHandle, const char*)> add_name{library, "nvrtcAddNameExpression"};
    Symbol<int(ProgramHandle, int, const char* const*)> compile{library, "nvrtcCompileProgram"};
    Symbol<int(ProgramHandle, std::size_t*)> log_size{library, "nvrtcGetProgramLogSize"};
    Symbol<int(ProgramHandle, char*)> log{library, "nvrtcGetProgramLog"};
    Symbol<int(ProgramHandle, std::size_t*)> cubin_size{library, "nvrtcGetCUBINSize"};
    Symbol<int(ProgramHandle, char*)> cubin{library, "nvrtcGetCUBIN"};
    Symbol<int(ProgramHandle, const char*, const char**)> lowered{library, "nvrtcGetLoweredName"};
  };
  struct Program {
    explicit Program(const Compiler& owner) : compiler(owner) {}
    ~Program() {
      if (handle != nullptr) compiler.api_.destroy(&handle);
    }
    const Compiler& compiler;
    ProgramHandle handle = nullptr;
  };

  static SharedObject load(const Toolkit& toolkit) {
    std::string reason;
    // NVRTC opens its built-in declarations by bare name: have them in memory, so that its folder need not be
    // on the library path.
    if (!toolkit.builtins.empty()) SharedObject::open(toolkit.builtins.string(), reason);
    const auto library = SharedObject::open(toolkit.nvrtc.string(), reason);
    if (!library) fail("cannot load NVRTC from {}: {}", toolkit.nvrtc.string(), reason);
    return library;
  }

  void check(int result, const char* what) const {
    if (result != 0) fail("NVRTC {}: {} in {}", version_name(), api_.error_string(result), what);
  }

  std::string log_of(ProgramHandle program) const {
    std::size_t size = 0;
    if (api_.log_size(program, &size) != 0 || size <= 1) return {};
    std::string log(size, '\0');
    api_.log(program, log.data());
    log.resize(size - 1);
    return log;
  }

  [[noreturn]] void report(int result, const std::string& log, SourceText source,
                           const std::vector<SourceText>& headers, const std::vector<std::string>& names) const;

  Toolkit toolkit_;
  Api api_;
  int major_ = 0, minor_ = 0;
};

namespace detail {

inline std::string line_of(std::string_view text, std::size_t number) {
  std::size_t begin = 0;
  for (std::size_t line = 1; line < number; ++line) {
    begin = text.find('\n', begin);
    if (begin == std::string_view::npos) return {};
    ++begin;
  }
  begin = std::min(text.find_first_not_of(' ', begin), text.size());
  return std::string(text.substr(begin, text.find('\n', begin) - begin));
}

}  // namespace detail

inline void Compiler::report(int result, const std::string& log, SourceText source,
                             const std::vector<SourceText>& headers, const std::vector<std::string>& names) const {
  const std::string kernel = names.empty() ? std::string(source.name) : names.front();
  // The first message reads `name(line): error: text`.
  const std::size_t error = log.find("): error");
  const std::size_t open = error == std::string::npos ? error : log.rfind('(', error);
  if (open == std::string::npos)
    fail("NVRTC {} cannot compile {}: {} {}", version_name(), kernel, api_.error_string(result), log);
  const std::size_t begin = log.rfind('\n', open) + 1;  // npos + 1 is 0, the log's beginning
  const std::string file = log.substr(begin, open - begin), number = log.substr(open + 1, error - open - 1);
  const std::size_t message = log.find(':', error + 3) + 2;
  std::string line;
  const auto look = [&](SourceText text) {
    if (file == text.name) line = detail::line_of(text.text, std::strtoul(number.c_str(), nullptr, 10));
  };
  look(source);
  for (const auto& header : headers) look(header);
  fail("NVRTC {} cannot compile {}: {}:{}: {}{}{}", version_name(), kernel, file, number,
       log.substr(message, log.find('\n', message) - message), line.empty() ? "" : ", at: ", line);
}

}  // namespace fpf::kernel
