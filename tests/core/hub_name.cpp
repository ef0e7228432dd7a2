// core/hub_name.hpp: names of models on a hub, told from paths.
#include <fpf/core/hub_name.hpp>

#include "folders.hpp"

BOOST_AUTO_TEST_SUITE(test_hub_name)

BOOST_AUTO_TEST_CASE(a_name_on_a_hub_gets_the_command_that_fetches_it) {
  BOOST_TEST(mentions(fpf::hub_hint("Qwen/Qwen3-30B-A3B"),
                      {"hf download Qwen/Qwen3-30B-A3B --local-dir build/models/Qwen3-30B-A3B"}));
  BOOST_TEST(fpf::is_hub_name("hugging_face/smol.lm-2"));
}

BOOST_AUTO_TEST_CASE(paths_get_none) {
  fresh_folder("models");
  for (const char* name : {"", "model", "/Qwen/model", "./Qwen", "../models", "a/b/c", "Qwen/", "a b/c", "x/model.gguf",
                           "x/tokenizer.json", "models/typo"})
    BOOST_TEST(fpf::hub_hint(name).empty(), name);
}

BOOST_AUTO_TEST_SUITE_END()
