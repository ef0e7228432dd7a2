// compare --report: a page that people can read anywhere, with every figure, on paper too.
#include <fpf/prompt/document.hpp>

#include "report.hpp"
#include "report_csv.hpp"

BOOST_AUTO_TEST_SUITE(test_report_pages)

BOOST_AUTO_TEST_CASE(no_figure_is_missing_and_nothing_overflows) {
  Json content = experiment(0);
  add_runtimes(content);
  const std::string report = report_of(content, "figures");
  const auto pages = look_at(report + "/index.html");
  check_pages(pages);
  std::set<std::string> wanted{"1-batch_size-timing"}, files;
  for (const std::string signal : {"hidden_states", "key_vectors", "logprobs", "logprobs_aligned"}) {
    for (const char* figure : {"matrix", "by_step", "noise_signal_across", "noise_signal_within"})
      wanted.insert("1-batch_size-" + signal + "-" + figure);
    if (signal != "logprobs_aligned") wanted.insert("1-batch_size-" + signal + "-ulp");
    if (signal[0] == 'l') continue;
    for (const char* figure : {"by_layer", "by_layer_relative"}) wanted.insert("1-batch_size-" + signal + "-" + figure);
  }
  for (const auto& page : pages) {
    BOOST_TEST(figure_ids(page) == wanted, boost::test_tools::per_element());
    BOOST_TEST(page["problems"] == 0);
    BOOST_TEST(page["missing"].empty(), page["missing"].dump());
    for (const std::string table : page["scrolls"])  // what a page is opened for stands there at once
      BOOST_TEST((table != "Summary" && table != "Verdicts"), table << " scrolls at " << page["width"]);
  }
  for (const std::string& name : wanted)
    for (const char* extension : {".dat", ".gp", ".svg"}) files.insert(name + extension);
  BOOST_TEST(names_in(report + "/plots") == files, boost::test_tools::per_element());
  check_scripts(report + "/plots");
}

BOOST_AUTO_TEST_CASE(paper_has_every_figure_and_what_verdicts_rest_on) {
  Json content = experiment(0);
  add_runtimes(content);
  const std::string report = report_of(content, "paper");
  print_page(report + "/index.html", "paper/page.pdf");
  const auto without_spaces = [](std::string text) {
    std::erase_if(text, [](unsigned char c) { return std::isspace(c) != 0; });
    return text;
  };
  const std::string printed = without_spaces(fpf::prompt::document_text("paper/page.pdf"));
  const auto on_paper = [&](const std::string& text) { return printed.find(without_spaces(text)) != printed.npos; };
  const auto page = look_at(report + "/index.html")[2];
  BOOST_TEST(page["figures"].size() == 24u);
  for (const auto& figure : page["figures"])
    BOOST_TEST(on_paper(figure["sentence"]), figure["id"] << ": " << figure["sentence"]);
  std::size_t verdicts = 0;
  const Json found = Json::parse(text_of("paper/r.json"));
  for (const Json& verdict : found["analyses"][0]["verdicts"]) {
    if (verdict["layer"] == 3) continue;  // the page has the last layer
    BOOST_TEST(on_paper(verdict["text"]), verdict["text"]);
    ++verdicts;
  }
  BOOST_TEST(verdicts == 16u);
  for (const char* of_screens : {"script data SVG", "by numbers of the configurations", "Numbers"})
    BOOST_TEST(!on_paper(of_screens), of_screens);
}

BOOST_AUTO_TEST_CASE(one_page_without_the_network) {
  const std::string page = text_of(report_of(experiment(0), "network") + "/index.html");
  BOOST_TEST(mentions(page, {"default-src 'none'", "prefers-color-scheme: dark", "@media print", "<style>"}));
  for (const char* foreign : {"<script", "<img", "<link", "@import", "src=", "url(http"})
    BOOST_TEST(page.find(foreign) == page.npos, foreign);
  std::string addresses = page;
  for (const char* known : {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"})
    for (std::size_t at = 0; (at = addresses.find(known, at)) != addresses.npos;)
      addresses.erase(at, std::string(known).size());
  BOOST_TEST(addresses.find("http") == addresses.find("http-equiv"));
  BOOST_TEST(addresses.rfind("http") == addresses.find("http-equiv"));
}

BOOST_AUTO_TEST_CASE(sentences_come_from_the_data) {
  const std::string report = report_of(experiment(0), "sentences");
  const Json found = Json::parse(text_of("sentences/r.json"))["analyses"][0];
  const auto page = look_at(report + "/index.html")[2];
  const Json* matrix = nullptr;
  for (const Json& one : found["matrices"])
    if (one["signal"] == "key_vectors") matrix = &one;  // the last layer
  double largest = 0;
  std::string a, b;
  for (std::size_t i = 0; i < 6; ++i)
    for (std::size_t j = i + 1; j < 6; ++j)
      if (const double distance = (*matrix)["max_l2"][i][j]; distance > largest) {
        largest = distance;
        a = (*matrix)["configurations"][i];
        b = (*matrix)["configurations"][j];
      }
  BOOST_TEST_CONTEXT(sentence_of(page, "1-batch_size-key_vectors-matrix"))
  BOOST_TEST(mentions(sentence_of(page, "1-batch_size-key_vectors-matrix"), {"Furthest apart are " + a + " and " + b}));
  for (const Json& verdict : found["verdicts"]) {
    if (verdict["signal"] != "key_vectors" || verdict["layer"] != 7 || verdict["scope"] != "across hardware") continue;
    const std::string sentence = sentence_of(page, "1-batch_size-key_vectors-noise_signal_across");
    char ratio[32];
    std::snprintf(ratio, sizeof ratio, "%.3g times", verdict["ratio"].get<double>());
    BOOST_TEST(
        mentions(sentence,
                 {"4 → " + verdict["value"].get<std::string>() + ": " + verdict["answer"].get<std::string>(), ratio}),
        sentence);
  }
  BOOST_TEST(mentions(page["text"], {"2 changes", "Of 6 configurations", "within hardware", "across hardware"}));
}

BOOST_AUTO_TEST_CASE(names_from_files_stay_names) {
  const std::string evil =
      "<script>document.title='x'</script><img src=x onerror=alert(1)> & \" ' `touch pwned` $(touch pwned) "
      "\\";
  Json content = experiment(0);
  content["experiment_metadata"]["experiment_type"] = "../../" + evil;
  content["experiment_metadata"]["variable_tested"] = evil + "\n" + evil;
  content["experiment_metadata"]["model"] = evil + "</style></dl>";
  std::size_t number = 0;
  for (Json& one : content["configurations"]) {
    const std::string from = one["config_id"], to = std::to_string(++number) + evil + "\n\"quoted\"";
    for (Json& a_run : content["runs"])
      if (a_run["config_id"] == from) a_run["config_id"] = to;
    one["config_id"] = to;
    one["hardware"] = one["hardware"] == "H100" ? evil + "#{/:Bold x}_1^2 @macro" : "'; system('touch pwned'); print '";
    one["variable_value"] = one["variable_value"].dump() + "'\n" + evil + "=1+1";
  }
  add_runtimes(content);
  const std::string report = report_of(content, "hostile");
  const auto pages = look_at(report + "/index.html");
  check_pages(pages);
  BOOST_TEST(pages[0]["problems"] == 0);
  BOOST_TEST(figure_ids(pages[0]).size() == 24u);
  BOOST_TEST(mentions(pages[0]["text"], {evil, "'; system('touch pwned'); print '", "</style></dl>"}));
  check_scripts(report + "/plots");
  for (const char* where : {"hostile", "hostile/report", "hostile/report/plots"})
    BOOST_TEST(!fs::exists(std::string(where) + "/pwned"));
  BOOST_TEST((names_in("hostile") == std::set<std::string>{"a.json", "r.json", "report"}));
  for (const auto& [name, rows] : expected_csv(Json::parse(text_of("hostile/r.json"))))
    check_csv(report + "/csv/" + name + ".csv", rows);
}

BOOST_AUTO_TEST_CASE(where_there_is_no_data_the_report_says_so) {
  Json single = experiment(0);
  single["configurations"] = Json::array({single["configurations"][0]});
  single["runs"] = Json::array({single["runs"][0]});
  single["experiment_metadata"]["experiment_type"] = "reference";
  auto page = look_at(report_of(single, "single") + "/index.html")[0];
  BOOST_TEST(page["figures"].empty());
  BOOST_TEST(mentions(
      page["text"], {"Nothing to compare: a second configuration", "The files hold no run times", "No value varies"}));
  BOOST_TEST(!fs::exists("single/report/plots"));

  page = look_at(report_of(experiment(7), "no_noise") + "/index.html")[0];
  BOOST_TEST(mentions(sentence_of(page, "1-tp-key_vectors-noise_signal_across"),
                      {"no noise between hardware types was measured"}));
  BOOST_TEST(figure_ids(page).contains("1-tp-key_vectors-by_step"));
  BOOST_TEST(!figure_ids(page).contains("1-tp-key_vectors-noise_signal_across"));

  Json equal = experiment(0);
  for (Json& one : equal["runs"])
    for (const char* part : {"decode_steps", "reproducibility"}) one[part] = equal["runs"][0][part];
  page = look_at(report_of(equal, "equal") + "/index.html")[0];
  BOOST_TEST(page["figures"].empty());
  BOOST_TEST(mentions(sentence_of(page, "1-batch_size-key_vectors-matrix"), {"All distances are 0 (15 pairs)"}));
  BOOST_TEST(mentions(sentence_of(page, "1-batch_size-key_vectors-by_step"), {"Every distance is 0"}));
  BOOST_TEST(mentions(sentence_of(page, "1-batch_size-key_vectors-ulp"), {"Every element is equal"}));
}

BOOST_AUTO_TEST_CASE(diverging_zero_and_many_hardware_types_are_drawn) {
  for (const std::size_t number : {3u, 4u, 5u, 6u}) {
    BOOST_TEST_CONTEXT("experiment " << number) {
      const std::string report = report_of(experiment(number), "kinds");
      const auto pages = look_at(report + "/index.html");
      check_pages(pages);
      BOOST_TEST(pages[0]["problems"] == 0);
      BOOST_TEST(figure_ids(pages[0]).size() > 5u);
      check_scripts(report + "/plots");
      if (number == 3) BOOST_TEST(mentions(pages[0]["text"], {"Tokens differ from step"}));
      if (number == 5)
        BOOST_TEST(mentions(pages[0]["text"], {"threshold 0: the noise floor is 0",
                                               "detectable (no noise: all repetitions are bit-equal)"}));
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
