"""The fixed parts of the timeline's page: its frame and its style."""

from __future__ import annotations

__all__ = ["BODY", "PAGE", "STYLE"]

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""

BODY = """<header>
<h1>{title}</h1>
<p>{run}</p>
</header>
<dl id="tiles">{tiles}</dl>
<div id="tools">
<div id="schemes" role="group" aria-label="Colour by"><span>Colour by</span>
<button type="button" data-scheme="ended">how it ended</button>
<button type="button" data-scheme="group">destination</button>
<button type="button" data-scheme="side">slow side</button></div>
<ul id="legend"></ul>
<div id="zoom"><output id="shown"></output>
<button type="button" id="in" aria-label="Zoom in">+</button>
<button type="button" id="out" aria-label="Zoom out">−</button>
<button type="button" id="whole">whole run</button></div>
</div>
<main id="rows">
<div class="row axis"><div class="label"></div><canvas class="plot" id="axis"></canvas></div>
<div class="row"><div class="label"><b>Throughput</b><span id="peak"></span></div>
<canvas class="plot curve" id="rate" role="img" aria-label="Bytes a second over time"></canvas></div>
<div class="row"><div class="label"><b>In flight</b><span id="most"></span></div>
<canvas class="plot curve" id="flight" role="img" aria-label="Sizes of the blobs in flight over time"></canvas></div>
{workers}
<div id="cross" hidden></div><div id="selection" hidden></div>
</main>
<p id="hint">One lane for each stream of a worker. Drag over a part to look closer, double-click for the whole run.
Keys: + and − zoom, ← and → move, 0 is the whole run. Failed transfers are red in every colouring; where several are
narrower than a pixel, its strength says how full it is.</p>
<noscript><p>The picture needs JavaScript; the numbers above and below do not.</p></noscript>
<section>
<h2>The slowest transfers</h2>
<div id="scroll"><table>
<thead><tr><th>time</th><th>size</th><th>rate</th><th>worker</th><th>blob</th><th>from → to</th></tr></thead>
<tbody id="slowest">{slowest}</tbody>
</table></div>
</section>
<div id="tip" hidden></div>
"""

STYLE = """
:root { color-scheme: light dark; --page: #fbfbfa; --card: #ffffff; --ink: #1c1d1f; --soft: #62656b; --line: #e3e3df;
  --grid: #ecece8; --lane: #f4f4f1; --c1: #2a78d6; --c2: #14a37f; --c3: #e0a100; --c4: #6a4fc4; --c5: #d9679a;
  --c6: #e8702a; --c7: #4f8a10; --grey: #a4a7ad; --bad: #d1242f; }
@media (prefers-color-scheme: dark) { :root { --page: #17181a; --card: #1f2023; --ink: #eceded; --soft: #a0a3a9;
  --line: #34363a; --grid: #2a2c30; --lane: #22242b; --c1: #4c94ea; --c2: #2bb795; --c3: #d9a520; --c4: #9a84e8;
  --c5: #e07fac; --c6: #ee8850; --c7: #7fb53c; --grey: #777b82; --bad: #f0525c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1800px; padding: 24px 28px 60px; background: var(--page); color: var(--ink);
  font: 14px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
h1 { margin: 0; font-size: 22px; font-weight: 650; overflow-wrap: anywhere; }
h2 { margin: 34px 0 8px; font-size: 16px; font-weight: 650; }
header p, #hint { margin: 2px 0 0; color: var(--soft); }
#hint { margin: 12px 0 0; font-size: 12.5px; max-width: 110ch; }
#tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px; margin: 18px 0; }
#tiles div { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 9px 13px; }
dt { color: var(--soft); font-size: 12px; }
dd { margin: 0; font-size: 20px; font-weight: 620; }
dd small { display: block; color: var(--soft); font-size: 12px; font-weight: 400; line-height: 1.35; }
#tools { display: flex; flex-wrap: wrap; gap: 8px 22px; align-items: center; padding: 8px 0; position: sticky; top: 0;
  z-index: 3; background: var(--page); }
#schemes span { color: var(--soft); margin-right: 6px; }
#zoom { margin-left: auto; }
#shown { color: var(--soft); margin-right: 8px; font-variant-numeric: tabular-nums; }
button { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  padding: 2px 10px; cursor: pointer; }
button[aria-pressed="true"] { background: var(--ink); color: var(--page); border-color: var(--ink); }
#legend { display: flex; flex-wrap: wrap; gap: 4px 14px; list-style: none; margin: 0; padding: 0; font-size: 13px; }
#legend i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 5px;
  vertical-align: -1px; }
#rows { position: relative; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 6px 14px 12px; }
.row { display: grid; grid-template-columns: 164px minmax(0, 1fr); padding: 5px 0; border-top: 1px solid var(--line); }
.row.axis { border-top: 0; padding: 0; }
.label b, .label span { display: block; font-size: 12px; color: var(--soft); line-height: 1.35; }
.label b { font-size: 13px; font-weight: 620; color: var(--ink); }
.plot { width: 100%; height: 22px; display: block; cursor: crosshair; touch-action: pan-y; }
.curve { height: 64px; }
#cross { position: absolute; top: 26px; bottom: 0; width: 1px; background: var(--ink); opacity: .35;
  pointer-events: none; }
#selection { position: absolute; top: 26px; bottom: 0; background: var(--c1); opacity: .16; pointer-events: none; }
#tip { position: fixed; z-index: 5; max-width: 560px; pointer-events: none; background: var(--card); color: var(--ink);
  border: 1px solid var(--line); border-radius: 8px; padding: 9px 12px; box-shadow: 0 6px 24px rgba(0, 0, 0, .18);
  font-size: 12.5px; overflow-wrap: anywhere; }
#tip b { display: block; }
#tip .mono, section td:nth-child(5) { font-size: 11.5px;
  font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
#tip table { border-spacing: 0; margin-top: 5px; }
#tip td { padding: 0 12px 0 0; vertical-align: top; }
#tip td:first-child { color: var(--soft); white-space: nowrap; }
#scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
section table { border-collapse: collapse; width: 100%; font-size: 13px; }
th { text-align: left; font-weight: 500; color: var(--soft); font-size: 12px; }
th, section td { padding: 5px 12px; border-bottom: 1px solid var(--grid); }
section td { font-variant-numeric: tabular-nums; white-space: nowrap; }
section th:nth-child(-n+4), section td:nth-child(-n+4) { text-align: right; }
section tr:last-child td { border-bottom: 0; }
tbody tr { cursor: pointer; }
tbody tr:hover, tbody tr:focus { background: var(--lane); outline: none; }
"""
