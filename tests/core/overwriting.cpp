// core/overwriting.hpp, core/locked_file.hpp: files under all the names that they have.
#include <fpf/core/locked_file.hpp>
#include <fpf/core/overwriting.hpp>

#include "folders.hpp"

BOOST_AUTO_TEST_SUITE(test_overwriting)

using namespace fpf;

BOOST_AUTO_TEST_CASE(an_output_that_is_an_input_is_refused_by_whatever_name) {
  const auto here = fresh_folder("overwriting");
  write(here / "input", "1");
  write(here / "other", "2");
  fs::create_symlink("input", here / "link");
  fs::create_hard_link(here / "input", here / "hard");
  fs::create_symlink("..", here / "up");
  const std::vector<NamedPath> inputs{{"--nothing", ""}, {"--absent", "nowhere"}, {"--in", (here / "input").string()}};
  const auto refused = [&](const fs::path& output) {
    return error_text([&] { refuse_overwriting({"--output", output.string()}, inputs); });
  };
  for (const auto& name : {here / "input", here / "link", here / "hard", here / "./input",
                           here / "up/overwriting/input", fs::absolute(here / "input")})
    BOOST_TEST(mentions(refused(name), {"--output", name.string(), "--in", (here / "input").string(), "overwritten"}),
               refused(name));
  for (const auto& name : {here / "other", here / "new", fs::path("nowhere"), here}) {
    if (name != here) BOOST_TEST(refused(name) == "no error", name.string());
  }
  BOOST_TEST(mentions(refused(here), {"holds --in", "replaced"}), refused(here));  // a folder is written as a whole
}

// A model is a folder or one part of several; its files are named one by one.
BOOST_AUTO_TEST_CASE(the_files_that_a_model_consists_of_are_inputs) {
  const auto here = fresh_folder("parts");
  fresh_folder(here / "model");
  for (const char* name : {"model/config.json", "model/notes", "a-1-of-2.gguf", "a-2-of-2.gguf", "results.json"})
    write(here / name, "x");
  fs::create_hard_link(here / "model/config.json", here / "elsewhere");
  const auto refused = [&](const std::string& output, const std::string& model) {
    return error_text([&] {
      refuse_overwriting({"--output", (here / output).string()}, {{"--model", (here / model).string(), true}});
    });
  };
  for (const char* output : {"model/config.json", "model/notes", "elsewhere"})
    BOOST_TEST(mentions(refused(output, "model"), {"belongs to --model"}), refused(output, "model"));
  BOOST_TEST(mentions(refused("a-2-of-2.gguf", "a-1-of-2.gguf"), {"a-2-of-2.gguf", "belongs to --model"}));
  for (const char* output : {"model/new.json", "results.json"}) BOOST_TEST(refused(output, "model") == "no error");
  BOOST_TEST(refused("results.json", "a-1-of-2.gguf") == "no error");
}

BOOST_AUTO_TEST_CASE(a_folder_holds_what_is_in_it_and_what_will_be) {
  const auto here = fresh_folder("holding");
  fresh_folder(here / "folder/deep");
  write(here / "folder/file", "x");
  fs::create_directory_symlink("folder", here / "link");
  for (const char* inside :
       {"folder", "folder/file", "folder/deep", "folder/new/newer", "link/deep", "folder/deep/../file"})
    BOOST_TEST(holds(here / "folder", here / inside), inside);
  for (const char* outside : {"", "folder2", "other/folder"})
    BOOST_TEST(!holds(here / "folder", here / outside), outside);
  BOOST_TEST(!holds(here / "folder", ""));
  BOOST_TEST(!holds(here / "nowhere", here / "nowhere/file"));
}

BOOST_AUTO_TEST_CASE(a_locked_file_that_was_replaced_is_opened_again) {
  const auto path = fresh_folder("locked") / "file";
  {
    LockedFile first(path, "busy");
    BOOST_TEST(error_text([&] { LockedFile(path, "busy"); }) == "busy");
    first.append("one\n");
    first.remove();
    LockedFile second(path, "busy");  // another file by now
    second.append("two\n");
    BOOST_TEST(text_of(path) == "two\n");
    second.truncate(1);
    second.append("!");
  }
  LockedFile(path, "busy").append("?");
  BOOST_TEST(text_of(path) == "t!?");
}

BOOST_AUTO_TEST_SUITE_END()
