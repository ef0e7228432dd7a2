// compare --report: figures that gnuplot draws, and what stands in where it does not.
#include "report.hpp"

BOOST_AUTO_TEST_SUITE(test_report_gnuplot)

BOOST_AUTO_TEST_CASE(without_gnuplot_there_are_tables) {
  fresh_folder("empty_path").string();
  const std::string report = report_of(experiment(0), "tables", {{"PATH", fs::absolute("empty_path").string()}});
  for (const auto& page : look_at(report + "/index.html")) {
    BOOST_TEST(mentions(page["text"], {"gnuplot was not found", "gnuplot-nox"}));
    BOOST_TEST(page["figures"].size() == 23u);
    for (const auto& figure : page["figures"]) {
      BOOST_TEST(!figure["drawn"]);
      BOOST_TEST(figure["table"], figure["id"]);
    }
    BOOST_TEST(page["scrollWidth"] <= page["width"]);
    BOOST_TEST(page["outside"].empty(), page["outside"].dump());
  }
  for (const auto& entry : fs::directory_iterator(report + "/plots")) {
    BOOST_TEST(entry.path().extension() != ".svg");
    if (entry.path().extension() == ".gp")
      BOOST_TEST(run({"gnuplot", entry.path().filename()}, report + "/plots").code == 0);
  }
}

BOOST_AUTO_TEST_CASE(a_gnuplot_that_fails_is_named_and_tables_stand_in) {
  fresh_folder("broken_path").string();
  std::ofstream("broken_path/gnuplot") << "#!/bin/sh\n[ \"$1\" = --version ] && echo gnuplot 5.4 && exit 0\n"
                                          "echo 'no <svg> terminal' >&2; exit 1\n";
  fs::permissions("broken_path/gnuplot", fs::perms::owner_all);
  const std::string report = report_of(experiment(0), "broken", {{"PATH", fs::absolute("broken_path").string()}});
  const auto page = look_at(report + "/index.html")[0];
  BOOST_TEST(page["problems"] == 23);
  BOOST_TEST(mentions(page["text"], {"Not drawn: gnuplot says no <svg> terminal"}));
  for (const auto& figure : page["figures"]) BOOST_TEST(figure["table"], figure["id"]);
}

BOOST_AUTO_TEST_CASE(zeros_are_drawn_as_zeros_on_logarithmic_axes) {
  // Rows of repetition noise from 1e-6 to 1, and exact zeros between them.
  Json content = experiment(4);
  double shift = 1e-6;
  for (Json& one : content["runs"])
    for (Json& step : one["decode_steps"])
      for (auto& [layer, positions] : step["key_vectors"].items())
        for (auto& [position, row] : positions.items()) row = {1.0, 2.0, 3.0};
  Json& changed = content["runs"][3]["decode_steps"];
  for (std::size_t s = 0; s < changed.size(); s += 2, shift *= 100)
    changed[s]["key_vectors"]["layer_7"]["pos_-1"][0] = 1.0 + shift;
  const std::string here = fresh_folder("zeros").string();
  write(here + "/a.json", content);
  BOOST_TEST_REQUIRE(compare({"a.json", "--layer", "7"}, here).code == 0);
  const std::string script = text_of(here + "/report/plots/1-tp-key_vectors-by_step.gp");
  BOOST_TEST(mentions(script, {"set logscale y", "'0' zero", "set object 1 rectangle", "# where zeros are drawn"}));
  const std::string data = text_of(here + "/report/plots/1-tp-key_vectors-by_step.dat");
  BOOST_TEST(!mentions(data, {"NaN"}));  // every series reaches every step
  BOOST_TEST(mentions(data, {" 0 0 0"}));
  const std::string svg = text_of(here + "/report/plots/1-tp-key_vectors-by_step.svg");
  BOOST_TEST(mentions(svg, {"<text>0</text>", "10⁻⁵"}));
  std::size_t points = 0;
  for (std::size_t at = 0; (at = svg.find(" scale(", at)) != svg.npos; ++at) ++points;
  BOOST_TEST(points == 4u * (8 + 1));  // four series of eight rows, zeros among them, and the key
}

BOOST_AUTO_TEST_SUITE_END()
