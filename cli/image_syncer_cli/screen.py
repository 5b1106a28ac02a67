"""What the live display shows, as lines: pure, from a snapshot and the size of the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from image_syncer_cli.output import printable
from image_syncer_cli.transfer_rows import GAP, transfer_cells

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer import RegistryRow, Snapshot, WorkerRow

__all__ = ["SPARE_COLUMNS", "Line", "View", "count_words", "movement_words", "screen_lines"]

SPARE_COLUMNS = 3
"""Room for the ^C that a terminal writes where the cursor is: on a line of its own it would move the display."""

_MOST_REGISTRIES, _MOST_TRANSFERS, _MOST_STUCK = 6, 5, 2
"""Rows of each kind; more tell nothing more, and the report has them all."""
_MOST_WORKER_LINES = 3
_NAME = 30
"""Characters of a registry's name beside which there is room for everything else in 80 columns."""
_SHORTEST_BAR, _LONGEST_BAR = 10, 60
_ROOM_FOR_SIDES = 60

GREEN, YELLOW, RED, DIM, BOLD = "32", "33", "31", "2", "1"


@dataclass(frozen=True)
class Line:
    """Pieces of text with their colours (numbers of SGR, ECMA-48; "" for none)."""

    pieces: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """Without colours."""
        return "".join(text for text, _ in self.pieces)

    def styled(self) -> str:
        """With the sequences that make a terminal colour it."""
        return "".join(f"\x1b[{style}m{text}\x1b[0m" if style and text else text for text, style in self.pieces)

    def clipped(self, width: int) -> Line:
        """Its first `width` characters, with a mark where there were more."""
        if len(self.text) <= width:
            return self
        left, kept = max(0, width - 1), []
        for text, style in self.pieces:
            kept.append((text[:left], style))
            left -= len(text[:left])
        return Line((*kept, ("…" if width > 0 else "", "")))


class View(Enum):
    """What is shown beside the bar."""

    RUN = "run"
    ERRORS = "errors"
    HELP = "help"


_HELP = (
    "p  pause: begin nothing more, what is under way ends; p again goes on",
    "d  drain: begin no further image, and end when those under way have ended (asks once)",
    "e  the last errors, and back",
    "?  this, and back",
)


def screen_lines(
    snapshot: Snapshot,
    width: int,
    height: int,
    *,
    view: View = View.RUN,
    errors: Sequence[tuple[str, str]] = (),
    keys: str = "",
    notice: str = "",
) -> list[Line]:
    """At most `height` - 1 lines of at most `width` - `SPARE_COLUMNS` characters. `errors` are shown in their view, the
    last ones; `keys` is the line that says which keys there are, `notice` what the last of them did.
    """
    width = max(1, width - SPARE_COLUMNS)
    lines = [*_bar(snapshot, width), _plain(count_words(snapshot))]
    if snapshot.held == "paused":
        lines.append(_colored("paused: nothing more begins, what is under way ends", YELLOW))
    elif snapshot.held == "drains":
        lines.append(_colored("drains: ends when the images under way have ended", YELLOW))
    if notice:
        lines.append(_colored(notice, YELLOW))
    if snapshot.waiting:
        lines.append(_colored(f"waiting: {snapshot.waiting}", YELLOW))
    foot = [_colored(keys, DIM)] if keys else []
    room = max(0, height - 1 - len(lines) - len(foot))
    if view is View.HELP:
        lines += [_plain(text) for text in _HELP[:room]]
    elif view is View.ERRORS:
        shown = [_plain(f"{at[11:19]} {printable(text)}") for at, text in errors][-room:] if room else []
        lines += shown or [_plain("no errors so far")][:room]
    else:
        lines += _details(snapshot, width, room)
    return [line.clipped(width) for line in [*lines, *foot][: max(1, height - 1)]]


def count_words(snapshot: Snapshot) -> str:
    """How many images and blobs are done."""
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in snapshot.outcomes.items() if count)
    more = "+" if snapshot.listing else ""
    images = f"{snapshot.images_done:,} of {snapshot.images_total:,}{more} images"
    blobs = f"{snapshot.blobs_done:,} of {snapshot.blobs_total:,} blobs"
    return f"{images} ({outcomes}) · {blobs}" if outcomes else f"{images} · {blobs}"


def movement_words(snapshot: Snapshot) -> str:
    """How many bytes have moved, how fast, and how long the rest will take."""
    from image_syncer.units import format_duration, format_rate, format_size

    parts = [
        f"{format_size(snapshot.bytes_done)} of {format_size(snapshot.bytes_total)}",
        format_rate(snapshot.bytes_per_s),
    ]
    if snapshot.eta_s is not None and not snapshot.listing:
        parts.append(f"{format_duration(snapshot.eta_s)} left")
    return " · ".join(parts)


def _details(snapshot: Snapshot, width: int, room: int) -> list[Line]:
    """As much as there is room for: what is stuck first, then registries, workers, and the slowest."""
    lines = [_colored(f"stuck: {printable(text)}", RED) for text in snapshot.stuck[:_MOST_STUCK]][:room]
    registries = _registries(snapshot.registries, width)
    lines += registries[: max(0, room - len(lines))]
    if snapshot.workers:
        workers = _workers(snapshot.workers, snapshot.streams, snapshot.rate_limit, width)
        lines += workers[: max(0, room - len(lines))]
    rows = snapshot.slowest[: max(0, min(_MOST_TRANSFERS, room - len(lines)))]
    if rows:
        cells = transfer_cells(rows, width)
        widths = [max(len(row[at]) for row in cells) for at in range(len(cells[0]))]
        first = width - sum(size + GAP for size in widths[1:])
        for name, *others in cells:
            right = "".join(" " * GAP + cell.rjust(size) for cell, size in zip(others, widths[1:], strict=True))
            lines.append(Line(((printable(name)[:first].ljust(first), DIM), (right, ""))))
    return lines


def _bar(snapshot: Snapshot, width: int) -> list[Line]:
    """The bar beside what has moved; above it where the terminal is narrow."""
    done, total = snapshot.images_done, snapshot.images_total
    if snapshot.bytes_total:
        done, total = snapshot.bytes_done, snapshot.bytes_total
    part = min(1.0, max(0.0, done / total)) if total else 0.0
    percent, words = f"{part:4.0%}", movement_words(snapshot)
    beside = width - len(words) - len(percent) - 2
    size = min(_LONGEST_BAR, beside if beside >= _SHORTEST_BAR else width - len(percent) - 1)
    full = round(part * size)
    bar = (("━" * full, GREEN), ("─" * max(0, size - full), DIM), (f" {percent}", BOLD))
    if beside >= _SHORTEST_BAR:
        return [Line((*bar, (f" {words}", "")))]
    return [Line(bar), _plain(words)]


def _registries(rows: Sequence[RegistryRow], width: int) -> list[Line]:
    """A row for each: the name, its side, rate, blobs in flight and their limit, errors, and what is wrong."""
    from image_syncer.units import format_rate

    if not rows:
        return []
    busiest = sorted(rows, key=lambda row: (row.throttled is not None, row.bytes_per_s, row.in_flight), reverse=True)
    kept = set(map(id, busiest[:_MOST_REGISTRIES]))
    shown = [row for row in rows if id(row) in kept]
    cells = [("registry", "", "rate", "in flight", "errors", "")]
    for row in shown:
        flight = f"{row.in_flight}" if row.connections is None else f"{row.in_flight} of {row.connections}"
        limit = "" if row.requests_per_s is None else f"{row.requests_per_s:.3g} requests/s at most"
        note = row.throttled or limit
        side = {"source": "from", "destination": "to"}.get(row.side, row.side)
        cells.append((printable(row.name), side, format_rate(row.bytes_per_s), flight, f"{row.errors:,}", note))
    if width < _ROOM_FOR_SIDES:
        cells = [(name, "", rate, "", errors, note) for name, _, rate, _, errors, note in cells]
    sizes = [max(len(row[at]) for row in cells) for at in range(5)]
    fixed = sum(size + GAP for size in sizes[1:] if size)
    sizes[0] = min(sizes[0], max(8, min(_NAME if any(row[5] for row in cells) else width, width - fixed)))
    lines = []
    for at, (name, side, *figures, note) in enumerate(cells):
        left = _shortened(name, sizes[0]).ljust(sizes[0])
        if sizes[1]:
            left += " " * GAP + side.ljust(sizes[1])
        middle = "".join(" " * GAP + cell.rjust(size) for cell, size in zip(figures, sizes[2:], strict=True) if size)
        if at == 0:
            lines.append(_colored(left + middle, DIM))
        else:
            lines.append(Line(((left + middle, ""), (f"  {note}" if note else "", YELLOW))))
    if len(rows) > len(shown):
        lines.append(_colored(f"… and {len(rows) - len(shown)} more registries", DIM))
    return lines


def _workers(rows: Sequence[WorkerRow], streams: int, rate_limit: float | None, width: int) -> list[Line]:
    """What each worker moves, and what it holds (streams+small), in three lines at most."""
    from image_syncer.units import format_rate

    parts = []
    for row in rows:
        again = f" (restart {row.restarts})" if row.restarts else ""
        parts.append(f"{row.number}: {format_rate(row.bytes_per_s)}, {row.streamed}+{row.small}{again}")
    bounds = f"{streams} streams each" if streams else ""
    if rate_limit is not None:
        bounds += f"{', ' if bounds else ''}held to {format_rate(rate_limit)}"
    head = f"workers ({bounds})  " if bounds else "workers  "
    lines, text = [], ""
    for part in parts:
        if text and len(head) + len(text) + GAP + len(part) > width:
            lines.append(Line(((head, DIM), (text, ""))))
            head, text = " " * GAP, ""
        text += f"{' ' * GAP if text else ''}{part}"
    lines.append(Line(((head, DIM), (text, ""))))
    return lines[:_MOST_WORKER_LINES]


def _shortened(name: str, size: int) -> str:
    return name if len(name) <= size else f"…{name[len(name) - size + 1 :]}"


def _plain(text: str) -> Line:
    return Line(((printable(text), ""),))


def _colored(text: str, style: str) -> Line:
    return Line(((printable(text), style),))
