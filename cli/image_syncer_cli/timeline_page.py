"""The timeline as one HTML file: everything in it, nothing loaded from anywhere.

Names and digests are data of strangers. They stand in the page as escaped text, or in a block of JSON in which nothing
can end the block; the script puts them into the page as text. The page's own policy (CSP 3) lets no other script run
and nothing be loaded.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections import Counter
from typing import TYPE_CHECKING, Any

from image_syncer_cli.timeline_script import SCRIPT
from image_syncer_cli.timeline_template import BODY, PAGE, STYLE
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

__all__ = ["draw_page"]

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
