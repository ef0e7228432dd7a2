// core/atomic_directory.hpp: a folder appears whole, replaces only what it may, and leaves nothing otherwise.
#include <boost/test/unit_test.hpp>
#include <fpf/core/atomic_directory.hpp>

#include "folders.hpp"

BOOST_AUTO_TEST_SUITE(test_atomic_directory)

using fpf::AtomicDirectory;
using fpf::remove_tree;
using Names = std::set<std::string>;

BOOST_AUTO_TEST_CASE(a_folder_appears_with_commit) {
  fresh_folder("new");
  {
    AtomicDirectory folder("new/made/");
    write(folder.content() / "a.txt", "a");
    BOOST_TEST(!fs::exists("new/made"));
    folder.commit();
  }
  BOOST_TEST((names_in("new") == Names{"made"}));
  BOOST_TEST(text_of("new/made/a.txt") == "a");
}

BOOST_AUTO_TEST_CASE(without_commit_nothing_remains) {
  fresh_folder("dropped");
  {
    AtomicDirectory folder("dropped/made");
    fs::create_directories(folder.content() / "deep" / "er");
    write(folder.content() / "deep" / "er" / "a.txt", "a");
  }
  BOOST_TEST(names_in("dropped").empty());
}

BOOST_AUTO_TEST_CASE(what_is_there_is_refused_or_replaced_as_asked) {
  fresh_folder("there");
  fs::create_directory("there/made");
  AtomicDirectory("there/made").commit();  // an empty folder is nothing
  write("there/made/old.txt", "old");
  BOOST_TEST(mentions(error_text([] { AtomicDirectory("there/made"); }), {"there/made", "not empty"}));
  BOOST_TEST(text_of("there/made/old.txt") == "old");
  {
    AtomicDirectory folder("there/made", AtomicDirectory::Existing::replaced);
    write(folder.content() / "new.txt", "new");
    BOOST_TEST(text_of("there/made/old.txt") == "old");
    folder.commit();
  }
  BOOST_TEST((names_in("there/made") == Names{"new.txt"}));
  BOOST_TEST((names_in("there") == Names{"made"}));
  write("there/file", "");
  for (const auto existing : {AtomicDirectory::Existing::refused, AtomicDirectory::Existing::replaced})
    BOOST_TEST(mentions(error_text([&] { AtomicDirectory("there/file", existing); }), {"no folder"}));
}

BOOST_AUTO_TEST_CASE(removing_a_tree_follows_no_links) {
  write(fresh_folder("kept") / "a.txt", "a");
  fs::create_directory_symlink(fs::absolute("kept"), fresh_folder("removed") / "link");
  remove_tree("removed");
  BOOST_TEST(!fs::exists("removed"));
  BOOST_TEST(text_of("kept/a.txt") == "a");
  remove_tree("removed");  // nothing there, nothing said
}

BOOST_AUTO_TEST_SUITE_END()
