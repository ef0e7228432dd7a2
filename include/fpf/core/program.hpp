// What every program's main does: options from the command line and a file, help, version, exit codes.
#pragma once

#include <boost/program_options.hpp>
#include <cstdio>
#include <filesystem>
#include <fpf/core/error.hpp>
#include <fpf/core/text.hpp>
#include <fpf/core/version.hpp>
#include <iostream>
#include <string>
#include <string_view>

namespace fpf {

namespace po = boost::program_options;

/// Name, purpose and a worked example, as --help shows them.
struct ProgramInfo {
  std::string name;
  std::string summary;
  std::string example;     // a command line that works as printed
  std::string operands{};  // what stands after the options, if anything
};

/// Parses argv and, where given, `--config FILE` (the command line wins). Prints help or version and returns
/// false when that was all that was asked. `hidden` options are taken but not shown; `positional` names the
/// option that operands belong to. Throws Error, naming the option, for what is unknown, repeated or of a
/// wrong type.
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
      std::cout << program.name << ": " << program.summary << "\n\nUsage: " << program.name << " [options]"
                << (program.operands.empty() ? "" : " ") << program.operands << "\nExample: " << program.example << "\n"
                << visible << std::flush;
      return false;
    }
    if (values.count("version") != 0) {
      std::cout << program.name << " (fpf) " << version << "\n";
      return false;
    }
    if (values.count("config") != 0) {
      const auto file = values["config"].as<std::string>();
      if (!std::filesystem::is_regular_file(file)) fail("--config {}: no such file", file);
      po::store(po::parse_config_file(file.c_str(), all), values);
    }
    po::notify(values);
  } catch (const po::error& error) {
    fail("{} (see {} --help)", error.what(), program.name);
  }
  return true;
}

/// Writes to standard output, whole. Throws Error (a full disk, or a reader that is gone while SIGPIPE is
/// ignored).
inline void write_stdout(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    fail("cannot write to standard output");
}

/// Runs `body`, which returns an exit code, and turns what it throws into the contract's codes and one line
/// on stderr.
template <class Body>
int run_program(const std::string& name, Body body) {
  try {
    return static_cast<int>(body());
  } catch (const Interrupted&) {
    fmt::print(stderr, "{}: interrupted\n", name);
    return static_cast<int>(ExitCode::interrupted);
  } catch (const Finding& finding) {
    fmt::print(stderr, "{}: {}\n", name, one_line(finding.what()));
    return static_cast<int>(ExitCode::finding);
  } catch (const Error& error) {
    fmt::print(stderr, "{}: error: {}\n", name, one_line(error.what()));
    return static_cast<int>(ExitCode::user_error);
  } catch (const std::filesystem::filesystem_error& error) {
    fmt::print(stderr, "{}: error: {}\n", name, one_line(error.what()));
    return static_cast<int>(ExitCode::user_error);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: internal error, please report it: {}\n", name, one_line(error.what()));
    return static_cast<int>(ExitCode::bug);
  }
}

}  // namespace fpf
