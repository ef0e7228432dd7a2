// evidence/file_digest.hpp: digests of large files, and when an earlier one may be believed.
#include <sys/stat.h>

#include <chrono>
#include <fpf/evidence/file_digest.hpp>
#include <thread>

#include "folders.hpp"

BOOST_AUTO_TEST_SUITE(test_file_digest)

using namespace fpf;
using namespace fpf::evidence;

namespace {

// FIPS 180-4's example, and the digest of nothing.
const std::string abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                  empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

std::vector<FileStamp> stamps_of(const std::vector<fs::path>& files) {
  std::vector<FileStamp> out;
  for (const auto& file : files) out.push_back(FileStamp::of(file));
  return out;
}

FileDigest digest_of(const fs::path& file, const fs::path& cache, Hashing hashing = Hashing::cached) {
  FileDigests digests({file}, stamps_of({file}), hashing, DigestCache(fs::absolute(cache)));
  return digests.wait(Verbosity::quiet).at(0);
}

void settle() { std::this_thread::sleep_for(std::chrono::milliseconds(3500)); }

}  // namespace

BOOST_AUTO_TEST_CASE(an_earlier_digest_counts_while_the_file_is_the_same_in_every_respect) {
  const auto folder = fresh_folder("digest"), cache = fresh_folder("cache");
  const auto file = write(folder / "model.gguf", "abc");
  write(folder / "model.gguf.sha256", "3 0.000000000 " + empty + "\n");
  BOOST_TEST(digest_of(file, cache).sha256 == abc);  // whatever lies beside it
  BOOST_TEST(names_in(cache).empty());               // it has only just been written
  settle();
  BOOST_CHECK(digest_of(file, cache).from == Hashing::content);
  BOOST_TEST(names_in(cache).size() == 1u);
  const FileDigest again = digest_of(file, cache);
  BOOST_TEST(again.sha256 == abc);
  BOOST_CHECK(again.from == Hashing::cached);
  BOOST_CHECK(digest_of(file, cache, Hashing::content).from == Hashing::content);

  struct stat before {};
  BOOST_REQUIRE(::stat(file.c_str(), &before) == 0);
  std::ofstream(file) << "abd";
  const timespec times[] = {before.st_atim, before.st_mtim};
  BOOST_REQUIRE(::utimensat(AT_FDCWD, file.c_str(), times, 0) == 0);
  const FileDigest changed = digest_of(file, cache);  // of the same inode, size and time of modification
  BOOST_CHECK(changed.from == Hashing::content);
  BOOST_TEST(changed.sha256 == run({"sha256sum", file.string()}).out.substr(0, 64));
  BOOST_TEST(names_in(folder).size() == 2u);  // nothing is written beside it
}

BOOST_AUTO_TEST_CASE(a_damaged_entry_counts_for_nothing) {
  const auto file = write(fresh_folder("digest") / "model.gguf", ""), cache = fresh_folder("cache");
  settle();
  BOOST_TEST(digest_of(file, cache).sha256 == empty);
  const fs::path entry = cache / *names_in(cache).begin();
  const std::string line = text_of(entry);
  BOOST_TEST(line.ends_with(empty + "\n"));
  BOOST_CHECK(digest_of(file, cache).from == Hashing::cached);
  for (const std::string& damaged : {line.substr(0, line.size() - 9) + "\n", line.substr(0, line.size() - 1),
                                     std::string(), "0" + line, replaced(line, " 0 ", " 1 ")}) {
    write(entry, damaged);
    const FileDigest found = digest_of(file, cache);
    BOOST_TEST(found.sha256 == empty);
    BOOST_CHECK(found.from == Hashing::content);
  }
}

BOOST_AUTO_TEST_CASE(without_a_cache_folder_everything_is_hashed) {
  const auto file = write(fresh_folder("digest") / "model.gguf", "abc");
  settle();
  for (int i = 0; i < 2; ++i) {
    FileDigests digests({file}, stamps_of({file}), Hashing::cached, DigestCache("relative"));
    BOOST_CHECK(digests.wait(Verbosity::quiet).at(0).from == Hashing::content);
  }
  BOOST_TEST(!fs::exists("relative"));
}

BOOST_AUTO_TEST_CASE(files_that_change_under_way_are_named) {
  const auto folder = fresh_folder("digest");
  const auto file = write(folder / "a.safetensors", "abc"), other = write(folder / "b.safetensors", "");
  FileDigests digests({file, other}, stamps_of({file, other}), Hashing::content, DigestCache("none"));
  const auto found = digests.wait(Verbosity::quiet);
  BOOST_TEST(found.at(0).sha256 == abc);
  BOOST_TEST(found.at(1).sha256 == empty);
  fs::create_hard_link(file, folder / "linked");  // times change, the content does not
  fs::permissions(other, fs::perms::owner_read | fs::perms::owner_write);
  BOOST_TEST(digests.wait(Verbosity::quiet).at(0).sha256 == abc);
  for (int i = 0; i < 2; ++i) {
    std::ofstream(file) << "abd";  // in place, of the same size
    BOOST_TEST(mentions(error_text([&] { digests.wait(Verbosity::quiet); }), {"a.safetensors", "changed while"}));
  }
  std::ofstream(file) << "abc";
  BOOST_TEST(digests.wait(Verbosity::quiet).at(0).sha256 == abc);
  write(other, "more");
  BOOST_TEST(mentions(error_text([&] { digests.wait(Verbosity::quiet); }), {"b.safetensors", "changed while"}));
  write(other, "");
  write(folder / "new", "abc");
  fs::rename(folder / "new", file);
  BOOST_TEST(mentions(error_text([&] { digests.wait(Verbosity::quiet); }), {"a.safetensors", "changed while"}));
  BOOST_TEST(mentions(error_text([&] { FileStamp::of(folder / "gone"); }), {"gone", "No such file"}));
}

BOOST_AUTO_TEST_SUITE_END()
