// Looks at a page as people see it: headless Chromium lays it out at phone, tablet and desktop width, light and dark.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "child.hpp"

/// The browser's name in PATH; tests that look at pages need one (cmake/setup.sh --tests installs it).
inline std::string browser() {
  std::istringstream folders(std::getenv("PATH") == nullptr ? "" : std::getenv("PATH"));
  for (std::string folder; std::getline(folders, folder, ':');)
    for (const char* name : {"chromium", "chromium-browser", "google-chrome"})
      if (std::filesystem::exists(std::filesystem::path(folder) / name)) return name;
  throw std::runtime_error("no Chromium in PATH: cmake/setup.sh --tests installs it");
}

/// The browser without a window, on a page of the disk.
inline Outcome run_browser(std::vector<std::string> options, const std::string& page) {
  namespace fs = std::filesystem;
  options.insert(options.begin(), {browser(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                                   "--no-first-run", "--user-data-dir=" + fs::absolute("profile").string()});
  options.push_back("file://" + fs::absolute(page).string());
  return run(options);
}

/// Prints a page to a PDF file.
inline void print_page(const std::string& page, const std::string& pdf) {
  std::filesystem::remove(pdf);
  const Outcome printed = run_browser({"--print-to-pdf=" + pdf, "--no-pdf-header-footer"}, page);
  if (!std::filesystem::exists(pdf)) throw std::runtime_error("the browser did not print " + page + ": " + printed.err);
}

/// Runs in the page and reports to the one around it. Heat maps write on their own colours, so their numbers
/// are left out of the contrasts.
inline constexpr const char* inspection = R"js(
const colour = text => text.match(/[\d.]+/g).slice(0, 3).map(Number);
const luminance = rgb => rgb.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const page = luminance(colour(getComputedStyle(document.body).backgroundColor));
const contrast = text => { const own = luminance(colour(text));
  return (Math.max(own, page) + 0.05) / (Math.min(own, page) + 0.05); };
const shown = e => e.getClientRects().length > 0;
const width = document.documentElement.clientWidth;
const name = e => e.tagName + (e.id ? '#' + e.id : '') + ' ' + (e.textContent || '').trim().slice(0, 40);
const found = { width, scrollWidth: document.documentElement.scrollWidth,
  outside: [...document.body.querySelectorAll('*')]
    .filter(e => shown(e) && !e.closest('svg') && !e.parentElement.closest('.scroll')
                 && (e.getBoundingClientRect().right > width + 0.5 || e.getBoundingClientRect().left < -0.5)).map(name),
  scrolls: [...document.querySelectorAll('.scroll')].filter(e => shown(e) && e.scrollWidth > e.clientWidth + 1)
    .map(e => e.getAttribute('aria-label')),
  figures: [...document.querySelectorAll('figure')].map(f => {
    const svg = f.querySelector('svg'), box = svg && svg.getBoundingClientRect();
    return { id: f.id, drawn: !!svg && box.width > 200 && box.height > 60, sentence: f.querySelector('p').textContent,
      table: [...f.querySelectorAll('table')].some(shown),
      marks: svg ? svg.querySelectorAll('[id*="gnuplot_plot"] path, [id*="gnuplot_plot"] use, [id*="gnuplot_plot"] polygon').length : 0,
      cut: svg ? [...svg.querySelectorAll('text')].filter(t => { const b = t.getBoundingClientRect();
        return b.left < box.left - 2 || b.right > box.right + 2 || b.top < box.top - 2 || b.bottom > box.bottom + 2; })
        .map(t => t.textContent) : [],
      labels: svg ? [...svg.querySelectorAll('text')].map(t => t.textContent) : [],
      hints: svg ? [...svg.querySelectorAll('title')].map(t => t.textContent) : [],
      hintsOutside: svg ? [...svg.querySelectorAll('.hints rect')].filter(r => { const b = r.getBoundingClientRect();
        return !(b.width > 0 && b.height > 0) || b.left < box.left - 1 || b.right > box.right + 1 || b.top < box.top - 1 ||
          b.bottom > box.bottom + 1; }).map(r => r.textContent) : [] }; }),
  missing: [...document.querySelectorAll('.missing > li')].map(e => ({ id: e.id, sentence: e.textContent })),
  links: [...document.querySelectorAll('nav a')].map(a => a.textContent),
  glossary: [...document.querySelectorAll('#glossary tr')].map(r => [...r.cells].map(c => c.textContent)),
  changes: [...document.querySelectorAll('[data-label="change"]')].map(c => c.textContent),
  broken: [...document.querySelectorAll('a[href^="#"]')].filter(a => !document.getElementById(a.hash.slice(1))).map(name),
  twice: [...document.querySelectorAll('[id]')].map(e => e.id).filter((id, i, all) => all.indexOf(id) < i),
  problems: document.querySelectorAll('.problem').length,
  scripts: document.scripts.length - 1,
  foreign: [...document.querySelectorAll('[src], [srcset], link, iframe, object, embed, base, form, [onerror], [onload]')].map(name),
  textContrast: Math.min(...[...document.querySelectorAll('h1, h2, h5, p, td, th, li, a, summary, .chip')].filter(shown)
    .map(e => contrast(getComputedStyle(e).color))),
  labelContrast: Math.min(...[...document.querySelectorAll('figure:not([id$=matrix]) svg g:has(> text)')]
    .map(e => contrast(getComputedStyle(e).fill)), 99),
  lineContrast: Math.min(...[...document.querySelectorAll('figure:not([id$=matrix]) svg [id*="gnuplot_plot"] path')]
    .map(e => getComputedStyle(e).stroke).filter(c => c.startsWith('rgb')).map(contrast), 99),
  dark: page < 0.2, text: document.body.innerText };
parent.postMessage(JSON.stringify(found), '*');
)js";

/// The widths at which pages are looked at: a small phone's, a tablet's, a desktop's.
inline constexpr const char* widths[] = {"360", "800", "1400"};

/// What the inspection finds in a page at the three widths, light, then dark: six objects.
inline std::vector<nlohmann::json> look_at(const std::string& page) {
  namespace fs = std::filesystem;
  std::ifstream file(page);
  std::string html{std::istreambuf_iterator<char>(file), {}};
  const auto policy = html.find("<meta http-equiv=\"Content-Security-Policy\"");
  if (policy == html.npos) throw std::runtime_error(page + " has no content security policy");
  html.erase(policy, html.find('\n', policy) - policy);  // it would keep the inspection from running
  html.insert(html.rfind("</body>"), std::string("<script>") + inspection + "</script>\n");
  fs::remove_all("look");
  fs::create_directory("look");
  std::ofstream("look/page.html") << html;
  std::ofstream around("look/around.html");
  around << "<!DOCTYPE html><script>addEventListener('message', m => { const p = document.createElement('pre');"
            "p.textContent = m.data.replace(/[<>&]/g, c => '\\\\u00' + c.charCodeAt(0).toString(16)); "
            "document.body.append(p); })"
            "</script><body>\n";
  for (const char* scheme : {"light", "dark"})
    for (const char* width : widths)
      around << "<iframe src='page.html' style='border:0;height:900px;width:" << width << "px;color-scheme:" << scheme
             << "'></iframe>\n";
  around.close();
  const Outcome seen = run_browser(
      {"--allow-file-access-from-files", "--window-size=1500,1000", "--virtual-time-budget=20000", "--dump-dom"},
      "look/around.html");
  std::vector<nlohmann::json> out;
  for (std::size_t at = 0; (at = seen.out.find("<pre>", at)) != seen.out.npos;) {
    const std::size_t end = seen.out.find("</pre>", at);
    out.push_back(nlohmann::json::parse(seen.out.substr(at + 5, end - at - 5)));
    at = end;
  }
  if (out.size() != 6) throw std::runtime_error("the browser did not look at " + page + ": " + seen.err);
  return out;
}
