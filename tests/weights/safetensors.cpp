// weights/safetensors.hpp and its writer: files made by the safetensors package (fixtures/make_weights.py),
// and files that lie.
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <filesystem>
#include <fpf/core/hash.hpp>
#include <fpf/weights/safetensors.hpp>
#include <fpf/weights/safetensors_writer.hpp>
#include <fstream>

#include "error_text.hpp"
#include "tensor_file.hpp"

BOOST_AUTO_TEST_SUITE(test_safetensors)

using namespace fpf;
using namespace fpf::weights;
namespace fs = std::filesystem;

namespace {

const fs::path fixtures = fs::path(FPF_FIXTURES) / "weights";

void write_file(const fs::path& path, const std::string& content) { std::ofstream(path, std::ios::binary) << content; }

/// A safetensors file with that header text and so many data bytes.
std::string file_of(const std::string& header, std::size_t data) {
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + std::string(data, '\x11');
}

/// What opening a file with that content complains about.
std::string complaint(const std::string& content) {
  write_file("bad.safetensors", content);
  return error_text([] { SafetensorsDirectory("bad.safetensors"); });
}
std::string complaint(const std::string& header, std::size_t data) { return complaint(file_of(header, data)); }

void check_against(const TensorSource& source, const nlohmann::json& expected) {
  BOOST_TEST(source.names().size() == expected.size());
  for (const auto& [name, what] : expected.items()) {
    BOOST_TEST_CONTEXT(name) {
      const auto& tensor = source.at(name);
      BOOST_TEST(name_of(tensor.format) == what["dtype"].get<std::string>());
      BOOST_TEST((tensor.shape == what["shape"].get<std::vector<std::int64_t>>()));
      BOOST_TEST(sha256_hex(tensor.data) == what["sha256"].get<std::string>());
    }
  }
}

nlohmann::json expectations() { return nlohmann::json::parse(std::ifstream(fixtures / "safetensors.json")); }

}  // namespace

BOOST_AUTO_TEST_CASE(reads_what_the_package_wrote) {
  const SafetensorsDirectory single(fixtures / "single");
  check_against(single, expectations()["single"]);
  BOOST_TEST(single.metadata().at("origin") == "make_weights.py");
  BOOST_TEST(single.at("scalar").as<float>()[0] == 1.5f);
  BOOST_TEST(single.at("scalar").elements() == 1);
  BOOST_TEST(single.at("empty").data.size() == 0u);
  check_against(SafetensorsDirectory(fixtures / "single/model.safetensors"), expectations()["single"]);

  const SafetensorsDirectory sharded(fixtures / "sharded");
  check_against(sharded, expectations()["sharded"]);
  BOOST_TEST(sharded.files().size() == 2u);
}

BOOST_AUTO_TEST_CASE(names_a_missing_tensor_and_its_files) {
  const SafetensorsDirectory source(fixtures / "sharded");
  BOOST_TEST(source.find("layer.9.weight") == nullptr);
  const auto text = error_text([&] { source.at("layer.9.weight"); });
  BOOST_TEST(mentions(text, {"layer.9.weight", "model-00001-of-00002", "model-00002-of-00002"}), text);
  const auto shape = error_text([&] { source.at("layer.0.weight", {6, 4}); });
  BOOST_TEST(mentions(shape, {"layer.0.weight", "[4, 6]", "[6, 4]", "model-00001-of-00002"}), shape);
}

BOOST_AUTO_TEST_CASE(reads_any_byte_range) {
  const SafetensorsDirectory source(fixtures / "single");
  const auto& tensor = source.at("f32");
  std::vector<std::byte> part(10);
  source.read(tensor, 7, part);
  BOOST_TEST(std::ranges::equal(part, tensor.data.subspan(7, 10)));
  const auto text = error_text([&] { source.read(tensor, tensor.bytes() - 9, part); });
  BOOST_TEST(mentions(text, {"f32", "168"}), text);
}

BOOST_AUTO_TEST_CASE(refuses_headers_that_lie) {
  const std::string a = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  BOOST_TEST(complaint("{" + a + "}", 8) == "no error");  // the file that the others are variations of

  const auto refused = [](const std::string& header, std::size_t data, std::initializer_list<std::string> words) {
    const auto text = complaint(header, data);
    BOOST_TEST(mentions(text, words), header + " gave: " + text);
    BOOST_TEST(mentions(text, {"bad.safetensors"}), text);
  };
  refused("{" + a + "}", 7, {"'a'", "8", "7", "truncated"});
  refused("{" + a + "}", 9, {"9 bytes", "8"});
  refused(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8, {"'a'", "[8, 0]"});
  refused(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}})", 8, {"'a'", "[0, 8, 8]"});
  refused(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}})", 8, {"'a'", "data_offsets"});
  refused(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,1e18]}})", 8, {"'a'", "data_offsets"});
  refused(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,99999999999999999999]}})", 8, {"'a'", "data_offsets"});
  refused(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8, {"'a'", "8 bytes", "[3]", "12"});
  refused(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8, {"'a'", "shape"});
  refused(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0, {"'a'", "4294967296"});
  refused(R"({"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}})", 0,
          {"'a'", "4611686018427387904"});
  refused(R"({"a":{"dtype":"F8_E4M3","shape":[9],"data_offsets":[0,8]}})", 8, {"'a'", "F8_E4M3", "8 bytes", "9"});
  refused(R"({"a":{"dtype":"F4","shape":[15],"data_offsets":[0,8]}})", 8, {"'a'", "F4", "[15]"});
  refused(R"({"a":{"dtype":7,"shape":[8],"data_offsets":[0,8]}})", 8, {"'a'", "dtype"});
  refused(R"({"a":{"shape":[8],"data_offsets":[0,8]}})", 8, {"'a'", "dtype"});
  refused(R"({"a":{"dtype":"F32","data_offsets":[0,8]}})", 8, {"'a'", "shape"});
  refused(R"({"a":[1,2]})", 8, {"'a'"});
  refused("{" + a + R"(,"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})", 8, {"'b'", "4", "8"});      // overlap
  refused("{" + a + R"(,"b":{"dtype":"U8","shape":[4],"data_offsets":[12,16]}})", 16, {"'b'", "12", "8"});  // gap
  refused("{" + a + "," + a + "}", 8, {"'a'", "twice"});
  refused(R"({"a":{"dtype":"F32","dtype":"I32","shape":[2],"data_offsets":[0,8]}})", 8, {"'dtype'", "twice"});
  refused(R"({"__metadata__":{"x":1},)" + a + "}", 8, {"__metadata__"});
  refused(R"({"__metadata__":{"x":{"y":{"z":[]}}}})", 0, {"nests"});
  refused(std::string(100000, '['), 0, {"nests"});
  refused("{" + a, 8, {"JSON"});
  refused("[]", 0, {"JSON object"});
  refused("{\"\xff\":1}", 0, {"JSON"});
}

BOOST_AUTO_TEST_CASE(refuses_lengths_that_lie) {
  BOOST_TEST(mentions(complaint(""), {"bad.safetensors", "found 0"}));
  BOOST_TEST(mentions(complaint("1234567"), {"bad.safetensors", "found 7"}));
  BOOST_TEST(mentions(complaint("version https://git-lfs"), {"claims a header of", "truncated"}));
  auto short_file = file_of("{}", 0);
  short_file[0] = 3;
  BOOST_TEST(mentions(complaint(short_file), {"3 bytes", "only 2 follow"}));
  const std::uint64_t huge = 100'000'001;  // the reference reader's limit is 100 MB
  write_file("bad.safetensors", std::string(reinterpret_cast<const char*>(&huge), 8));
  fs::resize_file("bad.safetensors", 8 + huge);
  const auto text = error_text([] { SafetensorsDirectory("bad.safetensors"); });
  BOOST_TEST(mentions(text, {"100000001", "100000000"}), text);
  fs::remove("bad.safetensors");
}

BOOST_AUTO_TEST_CASE(refuses_directories_that_lack_something) {
  fs::remove_all("dir");
  fs::create_directory("dir");
  const auto text = [] { return error_text([] { SafetensorsDirectory("dir"); }); };
  BOOST_TEST(mentions(text(), {"dir", "model.safetensors.index.json"}));
  BOOST_TEST(mentions(error_text([] { SafetensorsDirectory("nowhere"); }), {"nowhere", "No such file"}));

  fs::copy(fixtures / "sharded", "dir");
  BOOST_TEST(text() == "no error");
  fs::remove("dir/model-00002-of-00002.safetensors");
  BOOST_TEST(mentions(text(), {"model-00002-of-00002.safetensors", "missing", "layer.3.weight"}), text());

  const auto index = [](const std::string& map) { write_file("dir/model.safetensors.index.json", map); };
  index(
      R"({"weight_map":{"layer.0.weight":"model-00001-of-00002.safetensors","x":"model-00001-of-00002.safetensors"}})");
  BOOST_TEST(mentions(text(), {"'x'", "model-00001-of-00002.safetensors"}), text());
  index(R"({"weight_map":{"layer.0.weight":"../single/model.safetensors"}})");
  BOOST_TEST(mentions(text(), {"layer.0.weight", "../single"}), text());
  index(R"({"weight_map":{"layer.0.weight":3}})");
  BOOST_TEST(mentions(text(), {"layer.0.weight", "3"}), text());
  index(R"({"metadata":{}})");
  BOOST_TEST(mentions(text(), {"weight_map"}), text());
  index("{");
  BOOST_TEST(mentions(text(), {"index.json", "JSON"}), text());
}

BOOST_AUTO_TEST_CASE(a_type_that_fpf_does_not_read_stops_only_who_asks_for_it) {
  for (const auto& [dtype, elements] :
       std::map<std::string, int>{{"F8_E4M3", 8}, {"U16", 4}, {"F4", 16}, {"NEW7", 5}}) {
    const std::string header = R"({"a":{"dtype":")" + dtype + R"(","shape":[)" + std::to_string(elements) +
                               R"(],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[4],"data_offsets":[8,12]}})";
    BOOST_TEST(complaint(header, 12) == "no error", dtype);
    const SafetensorsDirectory source("bad.safetensors");
    BOOST_TEST(source.at("b").as<std::uint8_t>().size() == 4u);
    BOOST_TEST(source.bytes() == 12u);
    const auto text = error_text([&] { source.at("a"); });
    BOOST_TEST(mentions(text, {"'a'", "bad.safetensors", dtype, "BF16"}), text);
  }
}

BOOST_AUTO_TEST_CASE(a_tensor_is_where_the_index_says) {
  fs::remove_all("indexed");
  fs::create_directory("indexed");
  const std::vector<float> stale{1, 2}, right{3, 4};
  const auto tensor = [](const std::string& name, std::span<const float> values) {
    return StoredTensor{.name = name, .shape = {2}, .data = std::as_bytes(values), .file = {}};
  };
  const std::vector<StoredTensor> first{tensor("x", stale), tensor("old", stale)}, second{tensor("x", right)};
  write_safetensors("indexed/1.safetensors", first);
  write_safetensors("indexed/2.safetensors", second);
  std::ofstream("indexed/model.safetensors.index.json") << R"({"weight_map":{"x":"2.safetensors"}})";
  const SafetensorsDirectory alone("indexed");
  BOOST_TEST(alone.at("x").as<float>()[0] == 3);
  std::ofstream("indexed/model.safetensors.index.json")
      << R"({"weight_map":{"x":"2.safetensors","y":"1.safetensors"}})";
  BOOST_TEST(mentions(error_text([] { SafetensorsDirectory("indexed"); }), {"'y'", "1.safetensors"}));
  write_safetensors("indexed/1.safetensors", std::vector{tensor("x", stale), tensor("old", stale), tensor("y", stale)});
  const SafetensorsDirectory both("indexed");
  BOOST_TEST(both.placement() == "x in 2.safetensors\n");  // what digests of the files do not say
  BOOST_TEST(both.at("x").as<float>()[0] == 3);
  BOOST_TEST((both.names() == std::vector<std::string>{"x", "y"}));
  std::vector<std::string> outside = both.outside();
  std::ranges::sort(outside);
  BOOST_TEST((outside == std::vector<std::string>{"old in 1.safetensors", "x in 1.safetensors"}));
  const auto text = error_text([&] { both.at("old"); });
  BOOST_TEST(mentions(text, {"'old' is missing", "index", "1.safetensors"}), text);
}

BOOST_AUTO_TEST_CASE(writes_what_it_reads_aligned) {
  // Round trip: the package's own files pass through the writer; the fixture's hashes judge the result.
  const SafetensorsDirectory source(fixtures / "single");
  std::vector<StoredTensor> tensors;
  for (const auto& name : source.names()) tensors.push_back(source.at(name));
  write_safetensors("written.safetensors", tensors, source.metadata());
  const SafetensorsDirectory written("written.safetensors");
  check_against(written, expectations()["single"]);
  BOOST_TEST(written.metadata().at("origin") == "make_weights.py");
  for (const auto& name : written.names()) {
    const auto& tensor = written.at(name);
    BOOST_TEST(reinterpret_cast<std::uintptr_t>(tensor.data.data()) % size_of(tensor.dtype()) == 0u, name);
  }
}

BOOST_AUTO_TEST_CASE(writes_shards_of_a_given_size) {
  fs::remove_all("out");
  fs::create_directory("out");
  const SafetensorsDirectory source(fixtures / "single");
  std::vector<TensorSpec> specs;
  std::size_t largest = 0;
  for (const auto& name : source.names()) {
    specs.push_back({name, source.at(name).dtype(), source.at(name).shape});
    largest = std::max(largest, source.at(name).bytes());
  }
  {
    SafetensorsDirectoryWriter writer("out", specs, largest);
    for (const auto& name : source.names()) writer.write(name, source.at(name).data);
    writer.finish();
  }
  const SafetensorsDirectory written("out");
  check_against(written, expectations()["single"]);
  BOOST_TEST(written.files().size() > 1u);
  for (const auto& file : written.files()) {
    std::size_t data = 0;
    for (const auto& name : written.names())
      if (written.at(name).file == file.string()) data += written.at(name).bytes();
    BOOST_TEST(data <= largest);
  }
  const auto index = nlohmann::json::parse(std::ifstream("out/model.safetensors.index.json"));
  BOOST_TEST(index["metadata"]["total_size"] == source.bytes());
}

BOOST_AUTO_TEST_CASE(an_unfinished_directory_holds_nothing) {
  fs::remove_all("unfinished");
  fs::create_directory("unfinished");
  const std::vector<TensorSpec> specs{{"a", DType::float32, {2}}, {"b", DType::uint8, {3}}};
  {
    SafetensorsDirectoryWriter writer("unfinished", specs, 4);
    const std::vector<std::byte> bytes(8);
    writer.write("a", bytes);
    BOOST_TEST(mentions(error_text([&] { writer.write("b", bytes); }), {"'b'", "8 bytes", "expected 3"}));
    BOOST_TEST(mentions(error_text([&] { writer.write("c", bytes); }), {"'c'", "announced"}));
    BOOST_TEST(mentions(error_text([&] { writer.finish(); }), {"'b'", "not written"}));
  }
  BOOST_TEST(fs::is_empty("unfinished"));
  const std::vector<TensorSpec> twice{{"a", DType::float32, {2}}, {"a", DType::uint8, {3}}};
  BOOST_TEST(mentions(error_text([&] { SafetensorsDirectoryWriter("unfinished", twice); }), {"'a'", "twice"}));
  BOOST_TEST(mentions(error_text([&] { SafetensorsDirectoryWriter("no-such-folder", specs); }), {"no-such-folder"}));
  BOOST_TEST(fs::is_empty("unfinished"));
}

BOOST_AUTO_TEST_SUITE_END()
