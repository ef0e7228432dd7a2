// Shared libraries opened at run time, so that one binary runs with and without a GPU's software.
#pragma once

#include <dlfcn.h>

#include <filesystem>
#include <fpf/core/error.hpp>
#include <memory>
#include <string>

namespace fpf::kernel {

/// A library from dlopen with RTLD_LOCAL: several versions of one library live beside each other in a
/// process. It stays loaded for the life of the process, because drivers and compilers keep threads and exit
/// handlers.
class SharedObject {
 public:
  SharedObject() = default;

  /// Opens a soname or a path; an empty object when that fails, with the loader's words in `reason`.
  static SharedObject open(const std::string& name, std::string& reason) {
    SharedObject object;
    object.handle_ = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (object.handle_ == nullptr) reason = ::dlerror();
    return object;
  }

  explicit operator bool() const { return handle_ != nullptr; }

  /// Sets `function` to the symbol of that name. Throws Error naming symbol and file when the library is too
  /// old.
  template <class Signature>
  void resolve(Signature*& function, const char* symbol) const {
    function = find<Signature>(symbol);
    if (function == nullptr) fail("{} has no {}: it is too old for fpf", path_of_handle(), symbol);
  }

  template <class Signature>
  Signature* find(const char* symbol) const {
    return reinterpret_cast<Signature*>(::dlsym(handle_, symbol));
  }

  /// The file that holds `symbol`, as the dynamic linker found it.
  static std::filesystem::path file_of(const void* symbol) {
    Dl_info info{};
    if (::dladdr(symbol, &info) == 0 || info.dli_fname == nullptr) return {};
    return info.dli_fname;
  }

 private:
  std::string path_of_handle() const {
    const void* any = ::dlsym(handle_, "cuInit");
    if (any == nullptr) any = ::dlsym(handle_, "nvrtcVersion");
    return any != nullptr ? file_of(any).string() : "the library";
  }

  void* handle_ = nullptr;
};

/// A function of a library, resolved where it is declared: its type, its name here and its name there are said once.
/// Called like a pointer to it.
template <class Signature>
class Symbol {
 public:
  /// Throws Error naming symbol and file when the library is too old.
  Symbol(const SharedObject& library, const char* name) { library.resolve(function_, name); }
  operator Signature*() const { return function_; }

 private:
  Signature* function_ = nullptr;
};

}  // namespace fpf::kernel
