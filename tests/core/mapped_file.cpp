// core/mapped_file.hpp: content, padding, what cannot be mapped.
#include <boost/test/unit_test.hpp>
#include <cstddef>
#include <fpf/core/mapped_file.hpp>
#include <fstream>
#include <string>

BOOST_AUTO_TEST_SUITE(test_mapped_file)

using namespace fpf;

BOOST_AUTO_TEST_CASE(a_mapped_file_shows_the_content_and_its_padding) {
  std::ofstream("mapped.txt") << "content";
  const MappedFile file("mapped.txt", 64);
  BOOST_TEST(file.text() == "content");
  for (std::size_t i = 0; i < 64; ++i) BOOST_TEST(file.text().data()[file.size() + i] == '\0');
  std::ofstream("empty.txt") << "";
  BOOST_TEST(MappedFile("empty.txt").size() == 0u);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_mapped_is_named) {
  BOOST_CHECK_EXCEPTION(MappedFile("no/such.file"), Error,
                        [](const Error& e) { return std::string(e.what()).find("no/such.file") != std::string::npos; });
  BOOST_CHECK_EXCEPTION(MappedFile("."), Error,
                        [](const Error& e) { return std::string(e.what()).find("a directory") != std::string::npos; });
  std::ofstream("a") << "content";  // what a name of C would end at
  BOOST_CHECK_EXCEPTION(MappedFile(std::string("a\0b", 3)), Error, [](const Error& e) {
    return std::string(e.what()) == "cannot open a\\x00b: no file's name has a zero byte";
  });
  BOOST_CHECK_THROW(MappedFile(""), Error);
}

BOOST_AUTO_TEST_SUITE_END()
