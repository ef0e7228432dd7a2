// What every program's main does: options from the command line and a file, help, version, exit codes.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fpf/core/error.hpp>
#include <fpf/core/lost_pages.hpp>
#include <fpf/core/mapped_file.hpp>
#include <fpf/core/message.hpp>
#include <fpf/core/utf8.hpp>
#include <fpf/core/version.hpp>
#include <new>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace fpf {

namespace po = boost::program_options;

/// Name, purpose and a worked example, as --help shows them.
struct ProgramInfo {
  std::string name;
  std::string summary;
  std::string example;     // a command line that works as printed
  std::string operands{};  // what stands after the options, if anything
};

namespace detail {

/// What a file of options holds. Throws Error where there is no such file, or where a line has a zero byte.
inline std::istringstream config_lines(const std::string& file) {
  if (std::filesystem::is_directory(file)) fail("--config {}: expected a file, found a directory", file);
  if (!std::filesystem::exists(file)) fail("--config {}: no such file", file);
  const MappedFile mapped(file);
  if (const auto zero = mapped.text().find('\0'); zero != std::string_view::npos)
    fail("--config {}: expected lines of text, found a zero byte in line {}", file,
         1 + std::ranges::count(mapped.text().substr(0, zero), '\n'));
  return std::istringstream(std::string(mapped.text()));
}

/// Options stand in results, which are JSON: Throws Error naming one that is no UTF-8. Operands are names of files
/// alone.
inline void require_utf8(const po::options_description& options, const po::variables_map& values) {
  const auto require = [](const std::string& name, std::string_view value) {
    for (std::string_view rest = value; !rest.empty();) {
      const Utf8Step step = decode_utf8(rest);
      if (!step.valid) fail("--{} {}: expected UTF-8, found other bytes", name, value);
      rest.remove_prefix(step.length);
    }
  };
  for (const auto& option : options.options()) {
    const boost::any& value = values[option->long_name()].value();
    if (const auto* text = boost::any_cast<std::string>(&value)) require(option->long_name(), *text);
    if (const auto* list = boost::any_cast<std::vector<std::string>>(&value))
      for (const std::string& text : *list) require(option->long_name(), text);
  }
}

}  // namespace detail

/// Writes to standard output, whole. Throws Error (it is closed, a full disk, or a reader that is gone while SIGPIPE is
/// ignored).
inline void write_stdout(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    fail("cannot write to standard output: {}", std::strerror(errno));
}

/// Parses argv and, where given, `--config FILE` (the command line wins). Prints help or version and returns
/// false when that was all that was asked. `hidden` options are taken but not shown; `positional` names the
/// option that operands belong to. Throws Error, naming the option, for what is unknown, repeated, of a wrong type or
/// no UTF-8.
inline bool parse_options(int argc, const char* const* argv, const ProgramInfo& program,
                          const po::options_description& options, po::variables_map& values,
                          const po::options_description& hidden = po::options_description(),
                          const po::positional_options_description& positional = {}) {
  po::options_description all;
  all.add(options).add(hidden);
  po::options_description general("General");
  general.add_options()("config", po::value<std::string>()->value_name("FILE"),
                        "read options from FILE (name = value lines)")("help,h", "show this text")("version",
                                                                                                   "show the version");
  po::options_description visible("");
  visible.add(options).add(general);
  all.add(general);
  try {
    po::store(po::command_line_parser(argc, argv).options(all).positional(positional).run(), values);
    if (values.count("help") != 0) {
      std::ostringstream text;
      text << program.name << ": " << program.summary << "\n\nUsage: " << program.name << " [options]"
           << (program.operands.empty() ? "" : " ") << program.operands << "\nExample: " << program.example << "\n"
           << visible;
      write_stdout(text.str());
      return false;
    }
    if (values.count("version") != 0) {
      write_stdout(fmt::format("{} (fpf) {}\n", program.name, version));
      return false;
    }
    if (values.count("config") != 0) {
      const auto file = values["config"].as<std::string>();
      auto lines = detail::config_lines(file);
      try {
        po::store(po::parse_config_file(lines, all), values);
      } catch (const po::error& error) {
        fail("--config {}: {} (see {} --help)", file, error.what(), program.name);
      }
    }
    detail::require_utf8(options, values);
    po::notify(values);
  } catch (const po::error& error) {
    fail("{} (see {} --help)", error.what(), program.name);
  }
  return true;
}

namespace detail {

/// Of standard input, output and error those that are closed are opened, the wrong way round: what reads or writes them
/// fails as before, and no file that is opened later becomes one of them.
inline void keep_standard_streams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(fd, F_GETFD) < 0 && errno == EBADF) ::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

/// Whether a message tells of memory that was not to be had: libtorch's and CUDA's errors have no type of their own.
/// Behind their first line they say where in libtorch.
inline bool tells_of_memory(std::string_view message) {
  constexpr std::string_view words[] = {"not enough memory", "can't allocate memory", "out of memory"};
  return std::ranges::any_of(words, [&](auto word) { return message.find(word) != std::string_view::npos; });
}

}  // namespace detail

/// Runs `body`, which returns an exit code, and turns what it throws into the contract's codes and one line
/// on stderr. What the machine refuses (memory, threads, larger files) is an error like any other, with exit code 2.
template <class Body>
int run_program(const std::string& name, Body body) {
  detail::keep_standard_streams();
  std::signal(SIGXFSZ, SIG_IGN);  // a file above the limit is a write that fails
  catch_lost_pages(name);
  const auto say_error = [&](std::string_view what) {
    tell("{}: error: {}", name, what);
    return static_cast<int>(ExitCode::user_error);
  };
  try {
    return static_cast<int>(body());
  } catch (const Interrupted&) {
    tell("{}: interrupted", name);
    return static_cast<int>(ExitCode::interrupted);
  } catch (const Finding& finding) {
    tell("{}: {}", name, finding.what());
    return static_cast<int>(ExitCode::finding);
  } catch (const Error& error) {
    return say_error(error.what());
  } catch (const std::system_error& error) {  // of the file system, or no more threads
    return say_error(error.what());
  } catch (const std::bad_alloc&) {
    return say_error(
        "there is not enough memory: give it more (see ulimit -v and the container's limit) or less to do");
  } catch (const std::exception& error) {
    const std::string_view what = error.what();
    if (detail::tells_of_memory(what)) return say_error(what.substr(0, what.find('\n')));
    tell("{}: internal error, please report it: {}", name, error.what());
    return static_cast<int>(ExitCode::bug);
  }
}

}  // namespace fpf
