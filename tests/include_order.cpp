// include/fpf: folders know one another in one direction only, headers include no cycle, and a program sees no more of
// them than it needs: what is seen is compiled again in each.
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

BOOST_AUTO_TEST_SUITE(test_include_order)

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
    {"parallel", {"core", "kernel", "device", "model/config.hpp"}},
    {"quant", {"core", "weights", "kernel", "device"}},
    {"portable", {"core", "weights", "kernel", "device", "quant", "execution"}},
    {"model", {"core", "weights", "evidence", "kernel", "device", "quant", "execution", "portable", "parallel"}},
    {"engine",
     {"core", "weights", "evidence", "kernel", "device", "quant", "attention", "execution", "portable", "parallel",
      "model"}},
    {"checkpoint",
     {"core", "prompt", "weights", "device", "quant", "attention", "execution", "parallel", "model", "engine"}},
    {"experiment",
     {"core", "prompt", "weights", "evidence", "kernel", "device", "quant", "attention", "execution", "stream",
      "parallel", "model", "engine"}},
    {"campaign", {"core", "prompt", "weights", "evidence", "model", "experiment"}},
    {"preflight",
     {"core", "prompt", "weights", "evidence", "compare", "kernel", "device", "parallel", "model", "experiment",
      "campaign"}},
    {"verify",
     {"core", "prompt", "evidence", "compare", "quant", "attention", "execution", "stream", "parallel", "model",
      "experiment"}},
};

/// What a file includes of fpf's headers and of those beside it, and how long it is.
struct Source {
  std::vector<std::string> headers, beside;
  std::size_t lines = 0;
};

Source source(const fs::path& file) {
  Source out;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line); ++out.lines) {
    if (line.starts_with("#include <fpf/")) out.headers.push_back(line.substr(14, line.find('>') - 14));
    if (line.starts_with("#include \"")) out.beside.push_back(line.substr(10, line.rfind('"') - 10));
  }
  return out;
}

/// include/fpf's headers, "folder/file.hpp".
const std::map<std::string, Source>& headers() {
  static const auto all = [] {
    std::map<std::string, Source> out;
    const fs::path root = fs::path(FPF_SOURCE) / "include/fpf";
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
      if (entry.path().extension() != ".hpp") continue;
      out.emplace(fs::relative(entry.path(), root).string(), source(entry.path()));
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
  for (const auto& next : found->second.headers) reach(next, seen);
}

/// How many lines of include/fpf a file of drivers/ may see. What is above the last column's figure is not there yet:
/// lower the budget with each step towards it.
struct Budget {
  const char* file;
  std::size_t lines, goal;
};
constexpr Budget budgets[]{
    {"exp0_reference.cpp", 2000, 2000},
    {"exp1_batch_size.cpp", 2000, 2000},
    {"exp2_compile.cpp", 2000, 2000},
    {"exp3_quantization.cpp", 2000, 2000},
    {"exp4_attention.cpp", 2000, 2000},
    {"exp5_concurrent_streams.cpp", 4300, 2000},
    {"exp6_cuda_version.cpp", 7550, 2000},
    {"exp7_tensor_parallel.cpp", 2000, 2000},
    {"exp8_expert_parallel.cpp", 2000, 2000},
    {"make_prompt.cpp", 5650, 5650},
    {"compare.cpp", 10350, 8000},
    {"compare_report.cpp", 13800, 8000},
    {"campaign.cpp", 13150, 3000},
    {"preflight.cpp", 15600, 3000},
    {"make_checkpoint.cpp", 21850, 3000},
    {"verify.cpp", 33600, 12000},
    {"runner.cpp", 30200, 18000},
    {"session.cpp", 21300, 14000},
    {"sleeping_threads.cpp", 0, 0},
};

/// All of fpf's headers that a file of drivers/ sees, by those beside it, too.
void reach_from_driver(const std::string& name, Names& seen) {
  const Source file = source(fs::path(FPF_SOURCE) / "drivers" / name);
  for (const auto& header : file.headers) reach(header, seen);
  for (const auto& other : file.beside) reach_from_driver(other, seen);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_program_sees_no_more_lines_than_its_budget) {
  Names left;
  for (const auto& entry : fs::directory_iterator(fs::path(FPF_SOURCE) / "drivers"))
    if (entry.path().extension() == ".cpp") left.insert(entry.path().filename().string());
  for (const auto& [file, budget, goal] : budgets) {
    BOOST_TEST(left.erase(file) == 1u, file << " has a budget and is no file of drivers/");
    Names seen;
    reach_from_driver(file, seen);
    std::size_t lines = 0;
    for (const auto& header : seen)
      if (const auto found = headers().find(header); found != headers().end()) lines += found->second.lines;
    BOOST_TEST(lines <= budget,
               file << " sees " << lines << " lines of fpf, its budget is " << budget << " and shall become " << goal);
  }
  for (const auto& file : left) BOOST_ERROR(file << " has no budget of lines");
}

BOOST_AUTO_TEST_CASE(folders_see_only_what_comes_before_them) {
  BOOST_REQUIRE(headers().size() > 100);
  for (const auto& [name, file] : headers()) {
    if (name.find('/') == std::string::npos) continue;  // the umbrella
    const auto rule = may_include.find(folder_of(name));
    BOOST_REQUIRE_MESSAGE(rule != may_include.end(), name << " is in a folder that has no place in the order");
    for (const auto& other : file.headers)
      BOOST_TEST((folder_of(other) == folder_of(name) || rule->second.contains(folder_of(other)) ||
                  rule->second.contains(other)),
                 name << " includes " << other);
  }
}

BOOST_AUTO_TEST_CASE(no_header_includes_itself_in_the_end) {
  for (const auto& [name, file] : headers()) {
    Names seen;
    for (const auto& next : file.headers) reach(next, seen);
    BOOST_TEST(!seen.contains(name), name << " is reached from its own includes");
  }
}

// What a folder keeps in its namespaces "detail" is its own: others would break when it is tidied.
BOOST_AUTO_TEST_CASE(no_folder_enters_anothers_detail) {
  const fs::path root = fs::path(FPF_SOURCE) / "include/fpf";
  const auto each_line = [](const fs::path& path, auto visit) {
    std::ifstream in(path);
    int number = 0;
    for (std::string line; std::getline(in, line);) visit(line, path.string() + ":" + std::to_string(++number));
  };
  std::map<std::string, Names>
      owners;  // who opens a namespace's detail, by that namespace's last name; all under "detail"
  const std::regex opens(R"(^namespace ([\w:]+) \{)"), enters(R"((?:(\w+)::|\b)detail\b)");
  for (const auto& [name, included] : headers())
    each_line(root / name,
              [&, of = folder_of(name), around = std::string()](const std::string& line, const std::string&) mutable {
                std::smatch found;
                if (!std::regex_search(line, found, opens)) return;
                std::string opened = found[1];
                if (opened == "detail") opened = around + "::detail";
                if (opened.ends_with("::detail")) {
                  opened.resize(opened.size() - 8);
                  owners["detail"].insert(of);
                  owners[opened.substr(opened.rfind(':') + 1)].insert(of);
                } else {
                  around = opened;
                }
              });
  BOOST_TEST(owners.at("fpf").contains("core"));
  BOOST_TEST(!owners.at("fpf").contains("verify"));
  for (const auto& [name, included] : headers())
    each_line(root / name, [&, header = name](const std::string& line, const std::string& where) {
      if (line.find("detail::") == std::string::npos && !line.starts_with("using namespace")) return;
      if (line.starts_with("namespace ") || line.starts_with("}  // namespace ")) return;
      for (std::sregex_iterator at(line.begin(), line.end(), enters), end; at != end; ++at) {
        const auto whose = owners.find((*at)[1].matched ? (*at)[1].str() : "detail");
        const bool own = whose == owners.end() || whose->second.contains(folder_of(header));  // or a library's
        BOOST_TEST(own, where << " enters another folder's detail: " << line);
      }
    });
}

// A reader that goes around parse_json() has no limit to nests and memory.
BOOST_AUTO_TEST_CASE(json_is_parsed_in_one_place) {
  std::size_t files = 0;
  for (const char* folder : {"include/fpf", "drivers"})
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(FPF_SOURCE) / folder)) {
      const auto& path = entry.path();
      if ((path.extension() != ".hpp" && path.extension() != ".cpp") || path.filename() == "json.hpp") continue;
      ++files;
      std::ifstream in(path);
      int number = 0;
      for (std::string line; std::getline(in, line);) {
        ++number;
        for (const char* call : {"json::parse(", "Json::parse(", "json::sax_parse(", "json::from_", "Json::from_"})
          BOOST_TEST((line.find(call) == std::string::npos),
                     path << ":" << number << ": " << call << " beside parse_json()");
      }
    }
  BOOST_TEST(files > 200u);
}

BOOST_AUTO_TEST_SUITE_END()
