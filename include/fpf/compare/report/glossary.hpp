// What a report's words mean, for readers who did not write the experiment.
#pragma once

#include <fmt/format.h>

#include <fpf/compare/metrics.hpp>
#include <fpf/compare/plan/plan.hpp>
#include <fpf/compare/report/summary.hpp>
#include <fpf/compare/report/text.hpp>
#include <fpf/compare/verdict_words.hpp>
#include <string>
#include <string_view>

namespace fpf::compare::report {

namespace detail {

inline std::string glossary_row(const VerdictWord& row, std::string_view id, std::string_view before = "") {
  return fmt::format(
      "<tr{}><td class=\"lead\" data-label=\"word\">{}{}</td><td data-label=\"it means\"><span>{}</span></td>"
      "<td data-label=\"what to do\"><span>{}</span></td></tr>\n",
      id.empty() ? "" : fmt::format(" id=\"{}\"", id), before, html_escaped(row.word), html_escaped(row.meaning),
      html_escaped(row.advice));
}

}  // namespace detail

/// Every reason and word of a verdict that there is (verdict_words.hpp), as one table.
inline std::string glossary_html() {
  std::string out =
      "<section id=\"glossary\">\n<h2>Verdicts in words</h2>\n<p>Caveats follow a verdict behind a semicolon.</p>\n"
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Verdicts in words\"><table class=\"cards prose\">\n"
      "<thead><tr><th scope=\"col\">word</th><th scope=\"col\">it means</th><th scope=\"col\">what to do</th></tr>"
      "</thead>\n<tbody>\n";
  for (std::size_t i = reason_words.size(); i-- > 0;)
    out += detail::glossary_row(reason_words[i].words, word_id(static_cast<Reason>(i)),
                                std::string(look_of(reason_words[i].outcome).second) + " ");
  for (std::size_t i = 0; i < caveat_words.size(); ++i)
    out += detail::glossary_row(caveat_words[i], word_id(static_cast<CaveatKind>(i)), "caveat: ");
  for (const VerdictWord& row : repeat_words) out += detail::glossary_row(row, "", "bit-exact: ");
  for (const VerdictWord& row : time_words) out += detail::glossary_row(row, "");
  return out + "</tbody></table></div>\n</section>\n";
}

inline std::string terms_html(double threshold) {
  std::string out = "<section id=\"terms\">\n<h2>Terms</h2>\n<dl class=\"terms\">\n";
  const auto term = [&](std::string_view word, std::string_view meaning) {
    out += fmt::format("<dt>{}</dt><dd>{}</dd>\n", word, meaning);
  };
  term("Noise",
       fmt::format("Distances between runs of equal value: repetitions or machines of one hardware type (within), or "
                   "different hardware types (across). Its floor is the mean over the comparisons and prompts of their "
                   "largest {}.",
                   deciding_title));
  term("Signal",
       "Distances between runs of which one has the baseline's value and the other a changed one, on one "
       "hardware type (within) or on two (across).");
  term("Rows",
       "A row is one position's vector. Rows are compared while the inputs of both runs are equal: up to the "
       "first token that differs.");
  term("L2",
       "The length of the difference of two rows: the root of the sum of its squares. Relative L2: by the length of "
       "the first row.");
  term("The test",
       fmt::format(
           "Detectable is what a permutation test finds at {:g} % false positives, and any difference where there "
           "is no noise. \"Noise\" and \"signal\" are exchanged at random, {} times; p is the share in which signal "
           "ranks as high as it does.",
           100 * false_positive_rate, permutation_draws));
  term("Units",
       fmt::format(
           "What is exchanged as a whole: a prompt with all its rows, from {} prompts on; of fewer prompts each "
           "step, which takes steps as independent of one another. At least {} units on both sides, or {} on each "
           "of two, are needed before any data could be told from chance.",
           fewest_paired, fewest_paired, fewest_apart));
  term("Ratio",
       fmt::format("The signal's largest {} of a comparison and prompt, on average, over the noise floor. The "
                   "plan calls a change detectable from {:g} on; here it makes nothing detectable: from there on, "
                   "what the test does not confirm is \"cannot tell\" instead of \"not detectable\".",
                   deciding_title, threshold));
  term("The plan", plan::sentence);
  term("AUC",
       fmt::format("The probability that a signal row is further than a noise row; 0.5 is chance, 1 is certainty. The "
                   "interval draws units anew, and needs {} of them. pAUC 1 % counts only the part below 1 % false "
                   "positives, on the same scale, and needs {} rows of noise.",
                   fewest_units, fewest_noise_rows));
  term("Effect sizes",
       "Hedges' g is the distance of the two means in standard deviations; Cliff's delta is 2 AUC - 1, from -1 to 1.");
  term(
      "Needed",
      "Prompts and tokens, or steps of few prompts, on each side with which a rank test finds such a difference with 95 % "
      "power at 1 % false positives, if it is real and the units are independent (Noether 1987).");
  term("ULP",
       "Units in the last place: steps from one value to the other through all numbers of the signal's own type; 0 is "
       "equal.");
  return out + "</dl>\n</section>\n";
}

}  // namespace fpf::compare::report
