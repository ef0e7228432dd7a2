// kernel/: the run-time compiler, its cache and its errors, on a machine with or without a GPU. The compiler
// comes from the libtorch environment that every build has; its results are judged by ELF fields that ptxas
// wrote.
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <fpf/kernel/host/builder.hpp>
#include <fpf/kernel/host/library.hpp>
#include <fstream>
#include <thread>

#include "error_text.hpp"
#include "toolkit.hpp"

BOOST_AUTO_TEST_SUITE(test_kernel_loader)

using namespace fpf;
using namespace fpf::kernel;
namespace fs = std::filesystem;

namespace {

fs::path fresh_folder(const char* name) {
  const fs::path folder = fs::current_path() / name;
  fs::remove_all(folder);
  return folder;
}

constexpr std::string_view scale_source = R"(// A kernel in two files.
#include "factor.cuh"
template <int Count>
__global__ void scale(float* values) {
  if (threadIdx.x < Count) values[threadIdx.x] *= factor();
}
template <int Count>
__global__ void spill(float* values, const int* at) {
  float array[Count];
  for (int i = 0; i < Count; ++i) array[i] = 0;
  for (int i = 0; i < 1000; ++i) array[at[i]] += values[i];
  for (int i = 0; i < Count; ++i) values[i] = array[i];
}
)";
constexpr std::string_view factor_source = "// The factor.\n__device__ inline float factor() { return 3.0f; }\n";
constexpr std::string_view broken_source =
    "// Line one.\ntemplate <int N>\n__global__ void broken(float* v) {\n  v[0] = undeclared_name;\n}\n";

std::vector<SourceText> sources(std::string_view factor = factor_source) {
  return {{"scale.cuh", scale_source}, {"factor.cuh", factor}, {"broken.cuh", broken_source}};
}

}  // namespace

BOOST_AUTO_TEST_CASE(toolkit_is_found_in_the_wheels_layout_and_refused_elsewhere) {
  const Toolkit toolkit = find_toolkit(packages / "nvidia/cu13");
  BOOST_TEST(toolkit.nvrtc.filename().string().starts_with("libnvrtc.so"));
  BOOST_TEST(fs::exists(toolkit.include / "cuda_bf16.h"));
  const std::string message = error_text([] { find_toolkit("no/such/toolkit"); });
  BOOST_TEST(mentions(message, {"no/such/toolkit"}), message);
  const auto broken = fresh_folder("toolkit");
  fs::create_directories(broken / "lib");
  std::ofstream(broken / "lib/libnvrtc.so.13") << "not a library";
  BOOST_TEST(mentions(error_text([&] { Compiler(find_toolkit(broken)); }), {"cannot load NVRTC from"}));
}

BOOST_AUTO_TEST_CASE(code_is_made_for_several_architectures_and_says_what_it_needs) {
  BOOST_TEST(compiler()->version() >= 11080);
  for (const int architecture : {80, 90}) {
    const Builder builder(compiler(), architecture, CubinCache(fresh_folder("arch")), sources());
    const Binary scale = builder.build("scale.cuh", "scale<32>");
    const Binary spill = builder.build("scale.cuh", "spill<32>");
    BOOST_TEST(scale.symbol == "_Z5scaleILi32EEvPf");  // the C++ ABI's mangling
    BOOST_TEST(scale.record.resources.symbol == scale.symbol);
    BOOST_TEST(scale.record.resources.stack_bytes == 0u);
    BOOST_TEST(scale.record.resources.registers > 0u);
    BOOST_TEST(scale.record.resources.instructions >= 5u);
    BOOST_TEST(spill.record.resources.stack_bytes == 128u);  // 32 floats with a run-time index
    BOOST_TEST(scale.record.architecture == architecture);
    BOOST_TEST(scale.record.resources.code_sha256 != spill.record.resources.code_sha256);
  }
  const std::string message = error_text([] { Builder(compiler(), 35); });
  BOOST_TEST(mentions(message, {"sm_35"}), message);
  BOOST_TEST(mentions(message, {"sm_90"}), message);
}

BOOST_AUTO_TEST_CASE(a_compile_error_names_file_line_and_text) {
  const Builder builder(compiler(), 90, CubinCache(fresh_folder("error")), sources());
  const std::string message = error_text([&] { builder.build("broken.cuh", "broken<1>"); });
  BOOST_TEST(mentions(message, {"broken.cuh:4:"}), message);
  BOOST_TEST(mentions(message, {"undeclared_name"}), message);
  BOOST_TEST(mentions(message, {"v[0] = undeclared_name;"}), message);
  BOOST_TEST(mentions(error_text([&] { builder.build("missing.cuh", "x"); }), {"missing.cuh"}));
  // An error inside an included file is reported there.
  const Builder wrong(compiler(), 90, CubinCache(fresh_folder("error")),
                      sources("// One.\n// Two.\n;float x = y_is_missing;\n"));
  const std::string inner = error_text([&] { wrong.build("scale.cuh", "scale<1>"); });
  BOOST_TEST(mentions(inner, {"factor.cuh:3:"}), inner);
}

BOOST_AUTO_TEST_CASE(the_cache_answers_only_for_the_same_source_options_and_architecture) {
  const CubinCache cache(fresh_folder("cache"));
  const auto build = [&](int architecture, const char* name, std::string_view factor = factor_source) {
    return Builder(compiler(), architecture, cache, sources(factor)).build("scale.cuh", name);
  };
  const Binary first = build(90, "scale<32>");
  const Binary again = build(90, "scale<32>");
  BOOST_TEST(!first.from_cache);
  BOOST_TEST(again.from_cache);
  BOOST_TEST(first.cubin == again.cubin);
  BOOST_TEST(first.symbol == again.symbol);
  BOOST_TEST(first.record.cubin_sha256 == again.record.cubin_sha256);
  BOOST_TEST(!build(80, "scale<32>").from_cache);
  BOOST_TEST(!build(90, "scale<33>").from_cache);
  const Binary changed = build(90, "scale<32>", "// The factor.\n__device__ inline float factor() { return 5.0f; }\n");
  BOOST_TEST(!changed.from_cache);  // only an included file differs
  BOOST_TEST(changed.record.source_sha256 != first.record.source_sha256);
  BOOST_TEST(changed.record.resources.code_sha256 != first.record.resources.code_sha256);
}

BOOST_AUTO_TEST_CASE(a_damaged_entry_is_compiled_again) {
  const fs::path folder = fresh_folder("damaged");
  const Builder builder(compiler(), 90, CubinCache(folder), sources());
  const Binary good = builder.build("scale.cuh", "scale<8>");
  const fs::path entry = fs::directory_iterator(folder)->path();
  const auto size = fs::file_size(entry);
  const auto damage = [&](auto&& how) {
    how();
    const Binary repaired = builder.build("scale.cuh", "scale<8>");
    BOOST_TEST(!repaired.from_cache);
    BOOST_TEST(repaired.cubin == good.cubin);
    BOOST_TEST(builder.build("scale.cuh", "scale<8>").from_cache);
  };
  damage([&] { fs::resize_file(entry, size - 1); });
  damage([&] { fs::resize_file(entry, 0); });
  damage([&] { fs::resize_file(entry, 20); });
  damage([&] {
    std::fstream file(entry, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(size / 2));
    file.put(static_cast<char>(file.peek() ^ 1));
  });
}

BOOST_AUTO_TEST_CASE(processes_that_start_together_share_one_cache) {
  const fs::path folder = fresh_folder("concurrent");
  const Builder builder(compiler(), 90, CubinCache(folder), sources());
  std::vector<pid_t> children;
  for (int i = 0; i < 2; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      bool correct = true;
      for (int n = 1; n <= 6; ++n) {
        const Binary binary = builder.build("scale.cuh", fmt::format("scale<{}>", n));
        correct = correct && kernel_resources(binary.cubin).size() == 1;
      }
      ::_exit(correct ? 0 : 1);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    BOOST_REQUIRE(::waitpid(child, &status, 0) == child);
    BOOST_TEST(status == 0);
  }
  int entries = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    BOOST_TEST(entry.path().extension() == ".cubin");  // no temporary file is left
    ++entries;
  }
  BOOST_TEST(entries == 6);
  for (int n = 1; n <= 6; ++n) BOOST_TEST(builder.build("scale.cuh", fmt::format("scale<{}>", n)).from_cache);
}

BOOST_AUTO_TEST_CASE(a_cache_that_cannot_be_used_is_an_error_only_where_it_was_asked_for) {
  std::ofstream("a_file") << "x";
  BOOST_TEST(mentions(error_text([] { CubinCache("a_file/below"); }), {"a_file/below"}));
  ::setenv("XDG_CACHE_HOME", (fs::current_path() / "a_file").c_str(), 1);
  const Builder builder(compiler(), 90, CubinCache(), sources());
  BOOST_TEST(!builder.build("scale.cuh", "scale<8>").from_cache);
  BOOST_TEST(!builder.build("scale.cuh", "scale<8>").from_cache);
  ::setenv("XDG_CACHE_HOME", (fs::current_path() / "xdg").c_str(), 1);
  BOOST_TEST(CubinCache().folder() == fs::current_path() / "xdg/fpf");
}

BOOST_AUTO_TEST_CASE(without_a_gpu_the_driver_says_so) {
  std::string reason;
  if (cuda::driver_available(&reason)) return;  // a machine with a GPU: the benchmarks check it there
  BOOST_TEST(!reason.empty());
  BOOST_TEST(mentions(error_text([] { Library(0, compiler()); }), {reason}));
}

BOOST_AUTO_TEST_CASE(what_is_no_cubin_is_refused) {
  const std::string text = "\177ELF and then nothing of the kind";
  BOOST_CHECK_THROW(kernel_resources(std::as_bytes(std::span(text))), Error);
  BOOST_CHECK_THROW(kernel_resources({}), Error);
}

BOOST_AUTO_TEST_SUITE_END()
