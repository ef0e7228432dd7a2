// How a report looks: one style sheet for light and dark, screen and paper, phone and desktop.
#pragma once

#include <string_view>

namespace fpf::compare::report {

/// The drawings' own colours are looked up in --axis, --grid, --noise and --c0 to --c5 (see svg_for_page).
inline constexpr std::string_view style_sheet = R"css(
:root {
  color-scheme: light dark;
  --page: #ffffff; --ink: #1b1f23; --soft: #59616a; --rule: #d9dee3; --panel: #f5f7f8; --link: #0b5a9c;
  --told: #0b5a9c; --unknown: #8a5a00; --not: #59616a;
  --axis: #59616a; --grid: #b9c0c6; --noise: #7b828a;
  --c0: #0072b2; --c1: #d55e00; --c2: #008f68; --c3: #b85a8e; --c4: #b87d00; --c5: #3597d3;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #14171a; --ink: #e6e9ec; --soft: #a3abb3; --rule: #343b42; --panel: #1c2126; --link: #7cc0f5;
    --told: #7cc0f5; --unknown: #f0b95a; --not: #a3abb3;
    --axis: #a3abb3; --grid: #4a525a; --noise: #9aa2aa;
    --c0: #56b0ee; --c1: #ff8a3c; --c2: #2fc796; --c3: #e39ac4; --c4: #f5b93a; --c5: #9ad6fa;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body {
  margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 70rem;
  background: var(--page); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere;
}
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.35rem; line-height: 1.25; margin: 0 0 .5rem; }
h3 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
h4 { font-size: 1rem; margin: 1.75rem 0 .75rem; padding-bottom: .25rem; border-bottom: 1px solid var(--rule); }
h5 { font-size: .95rem; margin: 0; }
p, ul, dl { margin: .5rem 0; }
a { color: var(--link); }
section { margin-top: 2.5rem; padding-top: 1.5rem; border-top: 2px solid var(--rule); }
.soft, .facts, footer { color: var(--soft); font-size: .9em; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .9rem; margin: .5rem 0 1rem; }
.facts dt { font-weight: 600; }
.facts dd { margin: 0; grid-column: 2; }
nav { margin: 1rem 0 2rem; padding: .6rem .9rem; background: var(--panel); border: 1px solid var(--rule); }
nav h2 { font-size: 1rem; margin: 0; }
nav ul { margin: .25rem 0 0; padding-left: 1.2rem; }
:target { scroll-margin-top: 1rem; outline: 2px solid var(--link); outline-offset: .25rem; }
.box { border: 1px solid var(--rule); border-left: .3rem solid var(--unknown); background: var(--panel); padding: .6rem .9rem; margin: 1rem 0; }
.box ul { padding-left: 1.2rem; margin: .25rem 0; }
.rests { padding-left: 1.2rem; font-size: .9rem; }
.scroll { overflow-x: auto; margin: .5rem 0; }
table { border-collapse: collapse; font-size: .875rem; line-height: 1.35; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem .3rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--rule); }
th { font-weight: 600; color: var(--soft); vertical-align: bottom; }
th:last-child, td:last-child { padding-right: 0; }
.scroll td, .scroll th { overflow-wrap: normal; }
.scroll td { white-space: nowrap; }
.scroll .cards td:not(.r, [data-label="where"]) { white-space: normal; }
.scroll .prose td { min-width: 4.5rem; }
.scroll .prose td:last-child { min-width: 14rem; }
.scroll .cards td[data-label="verdict"] { min-width: 10rem; }
.scroll .prose .lead { min-width: 11rem; overflow-wrap: anywhere; }
.scroll table:not(.cards) .lead { position: sticky; left: 0; background: var(--page); }
.scroll table:not(.cards) td:last-child:not(.r) { white-space: normal; min-width: 12rem; }
.r { text-align: right; white-space: nowrap; }
.chip { white-space: nowrap; font-weight: 600; text-decoration: none; }
.chip:hover, .chip:focus { text-decoration: underline; }
.caveat { white-space: normal; font-size: .8em; }
.caveat a { color: var(--soft); }
.told { color: var(--told); } .unknown { color: var(--unknown); } .not { color: var(--not); }
.unknown { font-weight: 400; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 27rem), 1fr)); gap: 1.75rem 2rem; align-items: start; }
figure { margin: 0; min-width: 0; break-inside: avoid; }
figure p { font-size: .9rem; margin: .2rem 0 .6rem; }
figure svg { display: block; width: 100%; max-width: 34rem; height: auto; color: var(--axis); overflow: visible; }
.wide { grid-column: 1 / -1; }
.wide svg { max-width: none; }
.hints { fill: none; pointer-events: all; }
.hints rect:hover { stroke: var(--axis); stroke-dasharray: 2 2; }
.missing { padding-left: 1.2rem; font-size: .9rem; }
details { margin: .4rem 0; font-size: .9rem; }
summary { cursor: pointer; color: var(--soft); }
.files { color: var(--soft); font-size: .8rem; }
footer { margin-top: 3rem; padding-top: 1rem; border-top: 2px solid var(--rule); }
.terms dt { font-weight: 600; margin-top: .5rem; }
.terms dd { margin: 0; }
@media screen and (max-width: 60rem) {
  .cards thead { display: none; }
  .cards, .cards tbody, .cards tr, .cards td { display: block; width: 100%; }
  .cards tbody { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: 0 2rem; }
  .cards tr { border-bottom: 1px solid var(--rule); padding: .4rem 0; }
  .scroll .cards td, .scroll .cards td[data-label="verdict"] { min-width: 0; }
  .cards td { border: 0; padding: .1rem 0; text-align: left; white-space: normal; display: flex; gap: .75rem; }
  .cards td::before { content: attr(data-label); color: var(--soft); flex: 0 0 8rem; }
  .cards td > *, .cards td { overflow-wrap: anywhere; min-width: 0; }
  .scroll table:not(.cards) .lead { white-space: normal; max-width: 40vw; overflow-wrap: anywhere; }
  .cards td.lead { font-weight: 600; }
  .cards td.lead::before { content: none; }
  .cards td.empty { display: none; }
}
@media screen and (max-width: 40rem) {
  .facts { grid-template-columns: 1fr; gap: 0; }
  .facts dt { margin-top: .35rem; }
  .facts dd { grid-column: 1; }
}
@page { margin: 12mm; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  .scroll { overflow: visible; }
  .scroll td { white-space: normal !important; min-width: 0 !important; overflow-wrap: anywhere !important; }
  .wide div { min-width: 0 !important; }
  table { font-size: 7.5pt; }
  th, td { padding-right: .35rem; }
  section { break-before: page; border: 0; padding: 0; }
  h1, h2, h3, h4 { break-after: avoid; }
  tr, li, dt { break-inside: avoid; }
  .figures { grid-template-columns: 1fr 1fr; gap: .6rem 1rem; }
  figure p { margin-bottom: .2rem; line-height: 1.3; }
  figure svg { max-width: 76mm; }
  .rests { font-size: .8rem; }
  details:has(.rests)::details-content { content-visibility: visible; display: block; height: auto; }
  .files, nav, .screen, details:not([open]):not(:has(.rests)) { display: none; }
}
)css";

}  // namespace fpf::compare::report
