"""The timeline as one HTML file: everything in it, nothing loaded from anywhere.

Names and digests are data of strangers. They stand in the page as escaped text, or in a block of JSON in which nothing
can end the block; the script puts them into the page as text. The page's own policy (CSP 3) lets no other script run
and nothing be loaded.

The fixed parts of the timeline's page: its frame and its style.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections import Counter
from typing import TYPE_CHECKING, Any

from image_syncer_cli.timeline_script import SCRIPT
from image_syncer_cli.timeline_words import (
    add_waits,
    began,
    destination_registries,
    keep_numbers,
    percent,
    ring_transfers,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_syncer import RecordedReport, Timeline, TransferRecord, WorkerLane

__all__ = ["BODY", "PAGE", "STYLE", "draw_page"]


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


_PIECES = 4096
"""Points of the curves: more than a screen has columns, so that looking closer shows more."""
_SLOWEST = 12
_SHOWN_DIGEST = len("sha256:") + 12
_DIGITS = 5
"""Of a second, in the page."""
_OUTCOMES = ("moved", "mounted", "present", "failed", "split off")
_SIDES = (None, "source", "destination", "both")


def draw_page(recorded: RecordedReport, name: str) -> bytes:
    """The page, in UTF-8; `name` is that of the report's file. There has to be a transfer."""
    import orjson

    from image_syncer import Timeline

    timeline = Timeline(recorded.transfers, recorded.report.seconds)
    body = BODY.format(
        title=html.escape(f"Run of {began(recorded.report)}"),
        run=html.escape(_run(recorded, name)),
        tiles="".join(_tile(*tile) for tile in _tiles(recorded, timeline)),
        workers="".join(map(_worker_row, timeline.workers)),
        slowest="".join(map(_slowest_row, timeline.slowest(_SLOWEST))),
    )
    page = PAGE.format(
        title=html.escape(f"Timeline of {name}"),
        policy=f"default-src 'none'; style-src '{_source_hash(STYLE)}'; script-src '{_source_hash(SCRIPT)}'; "
        "base-uri 'none'; form-action 'none'",
        style=STYLE,
        body=body,
        data=_for_script(orjson.dumps(_page_data(timeline)).decode()),
        script=SCRIPT,
    )
    # A name that came as half of a surrogate pair is no text; nobody misses it.
    return page.encode("utf-8", errors="replace")


def _for_script(text: str) -> str:
    """JSON that may stand inside a script element: its text cannot end or open one, nor a comment (HTML, 4.12.1.3)."""
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _source_hash(text: str) -> str:
    """How a policy names the one inline script or style that it allows (CSP 3, 2.3.1)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _run(recorded: RecordedReport, name: str) -> str:
    from image_syncer.units import format_duration

    report = recorded.report
    parts = [name, f"took {format_duration(report.seconds)}"]
    if report.interrupted is not None:
        parts.append(f"interrupted ({report.interrupted})")
    parts.append(f"exit code {report.exit_code}")
    return " · ".join(parts)


def _tiles(recorded: RecordedReport, timeline: Timeline) -> Iterable[tuple[str, str, str]]:
    from image_syncer import Outcome
    from image_syncer.units import format_duration, format_rate, format_size, mean_rate

    totals, records, span_s = recorded.report.totals, timeline.records, timeline.span_s
    moved = sum(record.bytes_moved for record in records)
    failed = totals.outcomes.get(Outcome.FAILED, 0)
    yield "Images", f"{totals.images:,}", f"{failed:,} failed" if failed else "none failed"
    ended = Counter(record.outcome for record in records)
    words = ", ".join(f"{ended[outcome]:,} {outcome}" for outcome in _OUTCOMES if ended[outcome])
    yield "Transfers", f"{len(records):,}", words
    yield "Moved", format_size(moved), f"in {format_duration(span_s)}"
    yield "Mean rate", format_rate(mean_rate(moved, span_s)), "from the first begin to the last end"
    idle = [lane.idle_share for lane in timeline.workers]
    yield "Idle workers", percent(sum(idle) / len(idle)), f"{len(idle):,} workers, the worst {percent(max(idle))}"
    yield "Tail", percent(timeline.tail_share), f"the last ran alone for {format_duration(timeline.tail_s)}"
    yield "Slow side", *_waiting(recorded)


def _waiting(recorded: RecordedReport) -> tuple[str, str]:
    records, small = ring_transfers(recorded)
    waits = add_waits(records)
    if not waits.noted:
        return "–", "no waits were noted"
    paused, starved = waits.share(waits.source_waited_s), waits.share(waits.destination_waited_s)
    above = f" of blobs above {small}" if small else ""
    return waits.side or "neither", f"waits{above}: {paused} for destinations, {starved} for sources"


def _tile(label: str, value: str, note: str) -> str:
    kept = keep_numbers(note)
    return f"<div><dt>{html.escape(label)}</dt><dd>{html.escape(value)}<small>{html.escape(kept)}</small></dd></div>"


def _worker_row(lane: WorkerLane) -> str:
    from image_syncer.units import format_size

    count = len(lane.records)
    facts = f"{format_size(lane.bytes_moved)}, {count:,} transfer{'' if count == 1 else 's'}"
    idle = f"idle {percent(lane.idle_share)}"
    return (
        f'<div class="row"><div class="label"><b>Worker {lane.worker}</b><span>{facts}</span><span>{idle}</span></div>'
        f'<canvas class="plot lanes" role="img" aria-label="Transfers of worker {lane.worker}: {facts}, {idle}">'
        "</canvas></div>"
    )


def _slowest_row(record: TransferRecord) -> str:
    from image_syncer.units import format_duration, format_rate, format_size

    cells = (
        format_duration(record.seconds),
        format_size(record.size_bytes) if record.size_bytes >= 0 else "?",
        format_rate(record.bytes_per_s) if record.bytes_moved else record.outcome,
        str(record.worker),
        record.digest if len(record.digest) <= _SHOWN_DIGEST else f"{record.digest[:_SHOWN_DIGEST]}…",
        f"{record.source} → {', '.join(record.destinations)}",
    )
    span = f'data-from="{record.began_s:.{_DIGITS}f}" data-to="{record.ended_s:.{_DIGITS}f}"'
    return f'<tr tabindex="0" {span}>{"".join(f"<td>{html.escape(cell)}</td>" for cell in cells)}</tr>'


def _page_data(timeline: Timeline) -> dict[str, Any]:
    """What the script draws, as columns: one entry a transfer, ordered by worker, lane and begin."""
    from image_syncer import slow_side

    names, groups = _Numbers(), _destination_groups(timeline.records)
    columns: dict[str, list[Any]] = {key: [] for key in ("at", "to", "size", "moved", "digest", "source", "targets")}
    columns |= {key: [] for key in ("ended", "outcomes", "side", "group", "paused", "starved", "pauses")}
    workers = []
    for lane in timeline.workers:
        ends = [0] * lane.streams
        for stream, record in sorted(zip(lane.lanes, lane.records, strict=True), key=lambda each: each[0]):
            ends[stream] += 1
            side = slow_side(record.source_waited_s, record.destination_waited_s, record.seconds)
            for key, value in (
                ("at", round(record.began_s, _DIGITS)),
                ("to", round(record.ended_s, _DIGITS)),
                ("size", record.size_bytes),
                ("moved", record.bytes_moved),
                ("digest", record.digest),
                ("source", names.of(record.source)),
                ("targets", [names.of(destination) for destination in record.destinations]),
                ("ended", _OUTCOMES.index(record.outcome)),
                ("outcomes", [_OUTCOMES.index(outcome) for outcome in record.outcomes]),
                ("side", _SIDES.index(side)),
                ("group", groups.of(destination_registries(record))),
                ("paused", round(record.source_waited_s, _DIGITS)),
                ("starved", round(record.destination_waited_s, _DIGITS)),
                ("pauses", record.pauses),
            ):
                columns[key].append(value)
        workers.append({"id": lane.worker, "counts": ends})
    curve = timeline.curve(_PIECES)
    return {
        "horizon": timeline.horizon_s,
        "names": names.known,
        "groups": groups.known,
        "columns": columns,
        "workers": workers,
        "curve": {
            "step": curve.step_s,
            "rate": [_whole(value) for value in curve.bytes_per_s],
            "flight": [_whole(value) for value in curve.bytes_in_flight],
        },
    }


def _whole(value: float) -> int:
    """As JavaScript counts, and JSON writers too: there is no larger whole number (IEEE 754)."""
    return round(min(2.0**53, value))


class _Numbers:
    """Numbers for texts, in the order in which they come: the page holds each text once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def of(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers))

    @property
    def known(self) -> list[str]:
        return list(self._numbers)


def _destination_groups(records: Iterable[TransferRecord]) -> _Numbers:
    """Destination registries, those with the most bytes first: they get the colours."""
    weights: Counter[str] = Counter()
    for record in records:
        weights[destination_registries(record)] += record.bytes_moved
    groups = _Numbers()
    for name, _ in weights.most_common():
        groups.of(name)
    return groups
