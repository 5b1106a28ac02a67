"""The timeline as one HTML file that loads nothing: `timeline.html`, `timeline.css`, `timeline.js`, and the data.

Names and digests come from strangers. They are in the page as escaped text, or in a block of JSON in which nothing
can end the block; the script shows them as text. The policy of the page lets no other script run.
"""

from __future__ import annotations

import html
from collections import Counter
from typing import TYPE_CHECKING, Any

from image_syncer_cli.display.pages import fill_page, page_part, source_hash
from image_syncer_cli.display.timeline_words import (
    add_waits,
    began,
    destination_registries,
    heaviest_destinations,
    keep_numbers,
    percent,
    plural,
    ring_transfers,
    transfer_words,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_syncer import RecordedReport, TransferRecord
    from image_syncer.reporting.timeline import Timeline, WorkerLane


_PIECES = 4096
"""Points of the curves: more than a screen has columns, so that looking closer shows more."""
_SLOWEST = 12
_SHOWN_DIGEST = len("sha256:") + 12
_DIGITS = 5
"""Of a second, in the page."""
_OUTCOMES = ("moved", "mounted", "present", "failed", "split off")
_SIDES = (None, "source", "destination", "both")


def draw_page(recorded: RecordedReport, name: str) -> bytes:
    """Return the page, in UTF-8; `name` is that of the report's file. There must be a transfer."""
    import orjson

    from image_syncer.reporting.timeline import Timeline

    timeline = Timeline(recorded.transfers, recorded.report.seconds)
    body = (
        page_part("timeline.html")
        .removeprefix("\n")
        .format(
            title=html.escape(f"Run of {began(recorded.report)}"),
            run=html.escape(_run(recorded, name)),
            tiles="".join(_tile(*tile) for tile in _tiles(recorded, timeline)),
            workers="".join(map(_worker_row, timeline.workers)),
            slowest="".join(map(_slowest_row, timeline.slowest(_SLOWEST))),
        )
    )
    style, script = page_part("timeline.css"), page_part("timeline.js")
    data = _for_script(orjson.dumps(_page_data(timeline)).decode())
    return fill_page(
        title=html.escape(f"Timeline of {name}"),
        body=f'{body}\n<script type="application/json" id="data">{data}</script>\n<script>{script}</script>',
        style=style,
        policy=f"style-src '{source_hash(style)}'; script-src '{source_hash(script)}'",
        meta="",
    )


def _for_script(text: str) -> str:
    """Escape JSON for a script element: it cannot end or open one, nor a comment (HTML, 4.12.1.3)."""
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _run(recorded: RecordedReport, name: str) -> str:
    from image_syncer.units import format_duration

    report = recorded.report
    interrupted = [] if report.interrupted is None else [f"interrupted ({report.interrupted})"]
    return " · ".join([name, f"took {format_duration(report.seconds)}", *interrupted, f"exit code {report.exit_code}"])


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

    facts = f"{format_size(lane.bytes_moved)}, {plural(len(lane.records), 'transfer')}"
    idle = f"idle {percent(lane.idle_share)}"
    return (
        f'<div class="row"><div class="label"><b>Worker {lane.worker}</b><span>{facts}</span><span>{idle}</span></div>'
        f'<canvas class="plot lanes" role="img" aria-label="Transfers of worker {lane.worker}: {facts}, {idle}">'
        "</canvas></div>"
    )


def _slowest_row(record: TransferRecord) -> str:
    cells = (
        *transfer_words(record),
        record.digest if len(record.digest) <= _SHOWN_DIGEST else f"{record.digest[:_SHOWN_DIGEST]}…",
        f"{record.source} → {', '.join(record.destinations)}",
    )
    span = f'data-from="{record.began_s:.{_DIGITS}f}" data-to="{record.ended_s:.{_DIGITS}f}"'
    return f'<tr tabindex="0" {span}>{"".join(f"<td>{html.escape(cell)}</td>" for cell in cells)}</tr>'


def _page_data(timeline: Timeline) -> dict[str, Any]:
    """Return what the script draws, as columns: one entry per transfer, ordered by worker, lane and begin."""
    names: dict[str, int] = {}
    groups = {name: number for number, name in enumerate(heaviest_destinations(timeline.records))}
    columns: dict[str, list[Any]] = {}
    workers = []
    for lane in timeline.workers:
        records = sorted(zip(lane.lanes, lane.records, strict=True), key=lambda each: each[0])
        for _, record in records:
            for key, value in _transfer_data(record, names, groups).items():
                columns.setdefault(key, []).append(value)
        counts = Counter(lane.lanes)
        workers.append({"id": lane.worker, "counts": [counts[stream] for stream in range(lane.streams)]})
    curve = timeline.curve(_PIECES)
    return {
        "horizon": timeline.horizon_s,
        "names": list(names),
        "groups": list(groups),
        "columns": columns,
        "workers": workers,
        "curve": {
            "step": curve.step_s,
            "rate": [_whole(value) for value in curve.bytes_per_s],
            "flight": [_whole(value) for value in curve.bytes_in_flight],
        },
    }


def _transfer_data(record: TransferRecord, names: dict[str, int], groups: dict[str, int]) -> dict[str, Any]:
    """Return one transfer; `names` numbers each text, in the order in which they come."""
    from image_syncer.reporting.timeline import slow_side

    side = slow_side(record.source_waited_s, record.destination_waited_s, record.seconds)
    return {
        "at": round(record.began_s, _DIGITS),
        "to": round(record.ended_s, _DIGITS),
        "size": record.size_bytes,
        "moved": record.bytes_moved,
        "digest": record.digest,
        "source": names.setdefault(record.source, len(names)),
        "targets": [names.setdefault(destination, len(names)) for destination in record.destinations],
        "ended": _OUTCOMES.index(record.outcome),
        "outcomes": [_OUTCOMES.index(outcome) for outcome in record.outcomes],
        "side": _SIDES.index(side),
        "group": groups[destination_registries(record)],
        "paused": round(record.source_waited_s, _DIGITS),
        "starved": round(record.destination_waited_s, _DIGITS),
        "pauses": record.pauses,
    }


def _whole(value: float) -> int:
    """Return a whole number that JavaScript can count to (IEEE 754)."""
    return round(min(2.0**53, value))
