// evidence/manifest.hpp: digests of models, kept beside them.
#include <fpf/evidence/manifest.hpp>

#include "folders.hpp"

BOOST_AUTO_TEST_SUITE(test_manifest)

using namespace fpf;
using namespace fpf::evidence;

BOOST_AUTO_TEST_CASE(a_files_digest_is_kept_beside_it_until_the_file_changes) {
  const auto folder = fresh_folder("digest");
  const auto file = folder / "model.gguf", kept = folder / "model.gguf.sha256";
  std::ofstream(file) << "abc";
  const std::string abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";  // FIPS 180-4's example
  const std::string empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  BOOST_TEST(file_sha256(file) == abc);
  auto line = text_of(kept);
  BOOST_TEST(line.ends_with(abc + "\n"));
  std::ofstream(kept) << line.replace(line.find(abc), abc.size(), empty);
  BOOST_TEST(file_sha256(file) == empty);  // from the file beside it
  std::ofstream(kept) << line.substr(0, line.size() - 9) + "\n";
  BOOST_TEST(file_sha256(file) == abc);  // not from one that breaks off
  std::ofstream(file) << "";
  BOOST_TEST(file_sha256(file) == empty);
  BOOST_TEST(text_of(kept).ends_with(empty + "\n"));
}

BOOST_AUTO_TEST_SUITE_END()
