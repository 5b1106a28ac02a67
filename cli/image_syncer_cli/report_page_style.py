"""The style of the page of a report: light, dark, and on paper.

The colours of layers are those of Okabe and Ito (2008, "Color Universal Design"), which people who see colours
differently can tell apart; layers differ in their hatching and their order too.
"""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
:root { color-scheme: light dark; --page: #fbfbfa; --card: #fff; --ink: #1c1d1f; --soft: #5b5e64; --line: #dededa;
  --grid: #d4d4cf; --lane: #f4f4f1; --good: #00694b; --bad: #b3410a; --c0: #0072b2; --c1: #e69f00; --c2: #009e73;
  --c3: #cc79a7; --c4: #56b4e9; --c5: #d55e00; --c6: #8a8d93; }
@media (prefers-color-scheme: dark) { :root { --page: #17181a; --card: #1f2023; --ink: #eceded; --soft: #a9acb2;
  --line: #3a3c41; --grid: #45474d; --lane: #26282c; --good: #4fd3a8; --bad: #ff9d5c; --c0: #3c9fdc; --c1: #f0b429;
  --c2: #2bc79b; --c3: #d990b8; --c4: #8accf5; --c5: #f07c2b; --c6: #9a9da4; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 24px 28px 60px; background: var(--page); color: var(--ink);
  font: 14px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
h1 { margin: 0; font-size: 22px; font-weight: 650; overflow-wrap: anywhere; }
h2 { margin: 0 0 4px; font-size: 17px; font-weight: 650; }
header p { margin: 2px 0 0; color: var(--soft); overflow-wrap: anywhere; }
header p.verdict { margin: 12px 0 0; font-size: 16px; color: var(--ink); border-left: 5px solid var(--good);
  padding: 4px 12px; background: var(--card); }
header p.verdict.bad { border-left-style: double; border-left-width: 9px; border-left-color: var(--bad); }
section { margin: 30px 0 0; }
section > p { margin: 0 0 8px; color: var(--soft); max-width: 105ch; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(250px, 1fr)); gap: 10px; margin: 16px 0 0; }
dl div { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 9px 13px; }
dl div.bad { border-color: var(--bad); border-width: 2px; padding: 8px 12px; }
dt { color: var(--soft); font-size: 12px; }
dd { margin: 0; font-size: 20px; font-weight: 620; overflow-wrap: anywhere; }
small { display: block; color: var(--soft); font-size: 12px; font-weight: 400; line-height: 1.35; }
.fig { display: grid; grid-template-columns: 250px minmax(0, 1fr); gap: 4px 14px; align-items: start;
  background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 16px 8px; }
.fig .label { font-size: 13px; overflow-wrap: anywhere; line-height: 1.3; }
.fig .label b { font-weight: 600; }
.fig .label.axis { color: var(--soft); font-size: 12px; text-align: right; }
.fig .label.time { color: var(--soft); font-size: 12px; text-align: center; width: calc(100% - 68px); }
.fig ul { list-style: none; margin: 0; padding: 0; display: flex; flex-direction: column; gap: 6px; }
.fig ul.up { flex-direction: column-reverse; }
.fig li { position: relative; padding-left: 22px; }
svg.key { position: absolute; left: 0; top: 2px; width: 14px; height: 14px; }
svg.defs { position: absolute; }
svg.plot { width: calc(100% - 68px); display: block; overflow: visible; }
svg.plot.row { background: var(--lane); }
svg text { font-size: 11px; fill: var(--soft); }
svg .mark { text-anchor: middle; fill: var(--bad); font-size: 12px; paint-order: stroke; stroke: var(--card);
  stroke-width: 2px; }
.area { stroke-width: 1; vector-effect: non-scaling-stroke; }
.grid { stroke: var(--grid); stroke-width: 1; vector-effect: non-scaling-stroke; }
.tick { stroke: var(--soft); }
.tip { fill: transparent; }
.tip:hover { fill: var(--ink); fill-opacity: .1; }
.hatch { fill: var(--card); fill-opacity: .55; }
.k0 { fill: var(--c0); } .k1 { fill: var(--c1); } .k2 { fill: var(--c2); } .k3 { fill: var(--c3); }
.rest { fill: var(--grid); fill-opacity: .6; }
.k4 { fill: var(--c4); } .k5 { fill: var(--c5); } .k6 { fill: var(--c6); } .k7 { fill: var(--soft); }
.cause { background: var(--card); border: 1px solid var(--line); border-left: 5px double var(--bad); border-radius: 4px;
  padding: 8px 14px; margin: 0 0 8px; overflow-wrap: anywhere; break-inside: avoid; }
.cause p { margin: 2px 0; } .cause p:nth-child(2) { color: var(--soft); }
.cause ul { margin: 4px 0 0; padding-left: 18px; font-size: 12.5px; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
th { text-align: left; font-weight: 500; color: var(--soft); font-size: 12px; white-space: nowrap; }
th, td { padding: 5px 12px; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
td { font-variant-numeric: tabular-nums; min-width: 150px; }
th.n, td.n { text-align: right; white-space: nowrap; min-width: 0; }
td.w { white-space: nowrap; min-width: 0; }
tr:last-child td { border-bottom: 0; }
ul.plain { margin: 0; padding-left: 20px; overflow-wrap: anywhere; }
footer { margin-top: 34px; color: var(--soft); font-size: 12.5px; }
@media (max-width: 900px) { dl { grid-template-columns: repeat(auto-fit, minmax(152px, 1fr)); }
  body { padding: 16px 14px 40px; } th, td { padding: 4px 6px; } table { font-size: 12px; } }
@media (max-width: 700px) { .fig { grid-template-columns: minmax(0, 1fr); }
  .fig .label.axis { text-align: left; order: 1; } td { min-width: 100px; }
  td:last-child:not(.n) { min-width: 150px; }
  .scroll { background: linear-gradient(to right, var(--card), var(--card)) local,
    linear-gradient(to left, var(--soft), transparent 9px) right / 9px 100% no-repeat var(--card); } }
@media print { :root { color-scheme: light; --page: #fff; --card: #fff; --ink: black; --soft: #4a4a4a; --line: #bbb;
  --grid: #bbb; --lane: #f3f3f3; --good: #00694b; --bad: #b3410a; --c0: #0072b2; --c1: #e69f00; --c2: #009e73;
  --c3: #cc79a7; --c4: #56b4e9; --c5: #d55e00; --c6: #8a8d93; }
  @page { margin: 14mm; }
  body { padding: 0; max-width: none; font-size: 12px; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .fig { grid-template-columns: 200px minmax(0, 1fr); } .fig .label { font-size: 11.5px; }
  .fig .label small { font-size: 10.5px; }
  h2, section > p { break-after: avoid; break-inside: avoid; }
  tr, .fig, dl div, svg.plot { break-inside: avoid; }
  .scroll { overflow: visible; } td { min-width: 0; } table { font-size: 10.5px; }
  th, td { padding: 3px 6px; } section { margin-top: 18px; } }
"""
