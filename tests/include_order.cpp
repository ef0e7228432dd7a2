// include/fpf: folders know one another in one direction only, headers include no cycle, and what a header names it
// includes, itself or through fpf's own headers.
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace fs = std::filesystem;

namespace {

using Names = std::set<std::string>;

/// Which folders the headers of a folder may include, beside their own. "folder/file.hpp" is that header alone.
const std::map<std::string, Names> may_include{
    {"core", {}},
    {"weights", {"core"}},
    {"prompt", {"core", "weights"}},
    {"evidence", {"core"}},
    {"compare", {"core", "evidence"}},
    {"kernel", {"core", "weights"}},
    {"device", {"core", "weights", "kernel"}},
    {"attention", {"core", "kernel"}},
    {"execution", {"core", "kernel", "device"}},
    {"stream", {"core", "kernel", "device"}},
    {"parallel", {"core", "device", "model/config.hpp"}},
    {"quant", {"core", "weights", "kernel", "device"}},
    {"model",
     {"core", "prompt", "weights", "kernel", "device", "quant", "attention", "execution", "parallel", "evidence"}},
    {"checkpoint",
     {"core", "prompt", "weights", "device", "quant", "attention", "execution", "parallel", "model"}},
    {"experiment",
     {"core", "prompt", "weights", "evidence", "kernel", "device", "quant", "attention", "execution", "stream", "parallel",
      "model"}},
};

struct Header {
  std::string text;
  std::vector<std::string> own;   // "folder/file.hpp"
  std::vector<std::string> others;  // "ATen/core/Tensor.h"
};

/// include/fpf's headers by "folder/file.hpp".
const std::map<std::string, Header>& headers() {
  static const auto all = [] {
    std::map<std::string, Header> out;
    const fs::path root = fs::path(FPF_SOURCE) / "include/fpf";
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
      if (entry.path().extension() != ".hpp") continue;
      std::ifstream in(entry.path());
      std::ostringstream text;
      text << in.rdbuf();
      Header header{text.str(), {}, {}};
      std::istringstream lines(header.text);
      for (std::string line; std::getline(lines, line);) {
        if (!line.starts_with("#include <")) continue;
        const std::string name = line.substr(10, line.find('>') - 10);
        name.starts_with("fpf/") ? header.own.push_back(name.substr(4)) : header.others.push_back(name);
      }
      out.emplace(fs::relative(entry.path(), root).string(), std::move(header));
    }
    return out;
  }();
  return all;
}

std::string folder_of(const std::string& header) { return header.substr(0, header.find('/')); }

/// The header and all that it includes of fpf's own.
void reach(const std::string& header, Names& seen) {
  if (!seen.insert(header).second) return;
  const auto found = headers().find(header);
  if (found == headers().end()) return;  // generated at build time
  for (const auto& next : found->second.own) reach(next, seen);
}

bool includes(const std::string& header, const std::string& prefix) {
  Names seen;
  reach(header, seen);
  for (const auto& name : seen)
    if (const auto found = headers().find(name); found != headers().end())
      for (const auto& other : found->second.others)
        if (other.starts_with(prefix)) return true;
  return false;
}

}  // namespace

BOOST_AUTO_TEST_CASE(folders_see_only_what_comes_before_them) {
  BOOST_REQUIRE(headers().size() > 100);
  for (const auto& [name, header] : headers()) {
    if (name.find('/') == std::string::npos) continue;  // the umbrella
    const auto rule = may_include.find(folder_of(name));
    BOOST_REQUIRE_MESSAGE(rule != may_include.end(), name << " is in a folder that has no place in the order");
    for (const auto& other : header.own)
      BOOST_TEST((folder_of(other) == folder_of(name) || rule->second.contains(folder_of(other)) ||
                  rule->second.contains(other)),
                 name << " includes " << other);
  }
}

BOOST_AUTO_TEST_CASE(no_header_includes_itself_in_the_end) {
  for (const auto& [name, header] : headers()) {
    Names seen;
    for (const auto& next : header.own) reach(next, seen);
    BOOST_TEST(!seen.contains(name), name << " is reached from its own includes");
  }
}

// Verification behind a precompiled header would not show these.
BOOST_AUTO_TEST_CASE(what_is_named_is_included) {
  const std::vector<std::pair<std::string, std::string>> needs{
      {"at::Tensor", "ATen/"}, {"nlohmann::", "nlohmann/"}, {"fmt::", "fmt/"}};
  for (const auto& [name, header] : headers())
    for (const auto& [word, include] : needs)
      if (header.text.find(word) != std::string::npos)
        BOOST_TEST(includes(name, include), name << " names " << word << " and includes nothing of " << include);
}
