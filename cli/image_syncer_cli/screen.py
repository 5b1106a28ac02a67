"""What the live display shows, as lines: pure, from a snapshot and the size of the terminal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from image_syncer_cli.cells import first_cells, plain_ascii, width_of
from image_syncer_cli.output import printable
from image_syncer_cli.time_words import left_words
from image_syncer_cli.transfer_rows import GAP, transfer_cells

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from image_syncer import RegistryRow, Snapshot, WorkerRow

__all__ = ["SPARE_COLUMNS", "Line", "View", "count_words", "movement_words", "screen_lines", "sentence_lines"]

SPARE_COLUMNS = 3
"""Room for the ^C that a terminal writes where the cursor is: on a line of its own it would move the display."""

_MOST_REGISTRIES, _MOST_TRANSFERS, _MOST_STUCK = 6, 5, 2
"""Rows of each kind; more tell nothing more, and the report has them all."""
_MOST_WORKER_LINES, _MOST_ERROR_LINES = 3, 4
_TIME = 9
"""Characters of the time before an error, and the blank after it."""
_STANDS_AFTER_S, _STANDS_BELOW = 10.0, 1024
"""A transfer that is so old, and has moved fewer bytes a second, stands still or nearly so."""
_DIGEST = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}")
"""Of which the first digits tell one from another on a screen; logs and reports have them whole."""
_TRANSFER_HEADS = ("blob          from", "moved", "rate", "for")
_NAME = 30
"""Characters of a registry's name beside which there is room for everything else in 80 columns."""
_SHORTEST_NAME = 16
"""Of which so many stay where what is said of the registry needs the room."""
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
        """As much of its beginning as fits into `width` cells, with a mark where there was more."""
        if width_of(self.text) <= width:
            return self
        left, kept = max(0, width - 1), []
        for text, style in self.pieces:
            part = first_cells(text, left)
            kept.append((part, style))
            left -= width_of(part) if part == text else left
        return Line((*kept, ("…" if width > 0 else "", "")))

    def in_ascii(self) -> Line:
        """For a terminal that knows nothing else."""
        return Line(tuple((plain_ascii(text), style) for text, style in self.pieces))


class View(Enum):
    """What is shown beside the bar."""

    RUN = "run"
    ERRORS = "errors"
    HELP = "help"


_HELP = (
    "p  pause: begin nothing more, what is under way ends; p again goes on",
    "d  drain: begin no further image, end when those under way have; asks once",
    "e  the last errors, and back",
    "?  this, and back",
    "in flight: blobs on their way from or to a registry, of how many it may have",
    "streams: blobs that a worker passes on as they come; small ones it takes whole",
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
    cells = max(1, width - SPARE_COLUMNS)
    lines = [*_bar(snapshot, cells), _plain(count_words(snapshot))]
    if snapshot.held == "paused":
        lines.append(_colored("paused: nothing more begins, what is under way ends", YELLOW))
    elif snapshot.held == "drains":
        lines.append(_colored("drains: ends when the images under way have ended", YELLOW))
    waiting = [_colored(f"waiting: {snapshot.waiting}", YELLOW)] if snapshot.waiting else []

    def details(room: int) -> list[Line]:
        return _details(snapshot, cells, room)

    return _framed(lines, waiting, details, cells, height, view=view, errors=errors, keys=keys, notice=notice)


def sentence_lines(
    sentences: Sequence[str],
    width: int,
    height: int,
    *,
    view: View = View.RUN,
    errors: Sequence[tuple[str, str]] = (),
    keys: str = "",
    notice: str = "",
) -> list[Line]:
    """The same where there is nothing to show but `sentences`, of which the first is the most important."""
    cells = max(1, width - SPARE_COLUMNS)
    lines = [line for text in sentences for line in _wrapped(printable(text), cells)]
    return _framed(lines, [], lambda _room: [], cells, height, view=view, errors=errors, keys=keys, notice=notice)


def _framed(
    lines: list[Line],
    waiting: list[Line],
    details: Callable[[int], list[Line]],
    width: int,
    height: int,
    *,
    view: View,
    errors: Sequence[tuple[str, str]],
    keys: str,
    notice: str,
) -> list[Line]:
    """`lines`, what the last key did, and what the view shows, above the line of keys."""
    lines = [*lines, *([_colored(notice, YELLOW)] if notice else []), *waiting]
    foot = [_colored(keys, DIM)] if keys else []
    room = max(0, height - 1 - len(lines) - len(foot))
    if view is View.HELP:
        lines += [_plain(text) for text in _HELP[:room]]
    elif view is View.ERRORS:
        told = [line for at, text in errors for line in _wrapped(f"{at[11:19]} {_digests_short(text)}", width)]
        shown = told[-room:] if room else []
        lines += shown or [_plain("no errors so far")][:room]
    else:
        lines += details(room)
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
    from image_syncer.units import format_rate, format_size

    parts = [
        f"{format_size(snapshot.bytes_done)} of {format_size(snapshot.bytes_total)}",
        format_rate(snapshot.bytes_per_s),
    ]
    if (left := left_words(snapshot)) is not None:
        parts.append(left)
    return " · ".join(parts)


def _details(snapshot: Snapshot, width: int, room: int) -> list[Line]:
    """As much as there is room for: what is stuck first, then registries, workers, and the slowest."""
    lines = [_colored(f"stuck: {_digests_short(text)}", RED) for text in snapshot.stuck[:_MOST_STUCK]][:room]
    registries = _registries(snapshot.registries, width)
    lines += registries[: max(0, room - len(lines))]
    if snapshot.workers:
        workers = _workers(snapshot.workers, snapshot.streams, snapshot.rate_limit, width)
        lines += workers[: max(0, room - len(lines))]
    rows = snapshot.slowest[: max(0, min(_MOST_TRANSFERS, room - len(lines)))]
    if rows:
        cells = transfer_cells(rows, width)
        widths = [max(width_of(row[at]) for row in cells) for at in range(len(cells[0]))]
        first = min(widths[0], width - sum(size + GAP for size in widths[1:]))
        if len(lines) + len(rows) < room:
            heads = [head.rjust(size) for head, size in zip(_TRANSFER_HEADS[1:], widths[1:], strict=False)]
            lines.append(_colored((" " * GAP).join([_TRANSFER_HEADS[0].ljust(first)[:first], *heads]), DIM))
        for row, (name, *others) in zip(rows, cells, strict=True):
            right = "".join(" " * GAP + cell.rjust(size) for cell, size in zip(others, widths[1:], strict=True))
            stands = row.seconds >= _STANDS_AFTER_S and row.bytes_per_s < _STANDS_BELOW
            lines.append(Line(((printable(name)[:first].ljust(first), ""), (right, YELLOW if stands else ""))))
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
    notes = max(width_of(row[5]) for row in cells)
    beside = min(_NAME, width - fixed - GAP - notes) if notes else width
    if beside < _SHORTEST_NAME:
        beside = _NAME
    sizes[0] = min(sizes[0], max(8, min(beside, width - fixed)))
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
    """What each worker moves, and how many blobs it has, below a line that says what holds for all: three lines of them
    at most, in columns.
    """
    from image_syncer.units import format_rate

    most = f"{streams} stream{'' if streams == 1 else 's'} at most in each" if streams else ""
    held = "" if rate_limit is None else f"held to {format_rate(rate_limit)} together"
    count = f"{len(rows)} worker{'' if len(rows) == 1 else 's'}"
    lines = [_colored(": ".join(filter(None, (count, ", ".join(filter(None, (most, held)))))), DIM)]
    parts = []
    for row in rows:
        small = f" + {row.small} small" if row.small else ""
        again = f" (restart {row.restarts})" if row.restarts else ""
        name = f"{row.number}: {format_rate(row.bytes_per_s)}, {row.streamed} stream{'' if row.streamed == 1 else 's'}"
        parts.append(f"{name}{small}{again}")
    column = max(map(len, parts)) + GAP
    in_line = max(1, width // column)
    shown = parts[: in_line * _MOST_WORKER_LINES]
    lines += [
        _plain("".join(part.ljust(column) for part in shown[at : at + in_line]).rstrip())
        for at in range(0, len(shown), in_line)
    ]
    return lines


def _wrapped(text: str, width: int) -> list[Line]:
    """`text` in as many lines as it takes, up to `_MOST_ERROR_LINES`, broken between words where that wastes little."""
    lines: list[Line] = []
    indent = ""
    while text and len(lines) < _MOST_ERROR_LINES:
        room = max(1, width - len(indent))
        part = first_cells(text, room) or text[:1]
        if len(lines) == _MOST_ERROR_LINES - 1:
            part = text
        elif part != text and (at := part.rfind(" ")) > len(part) // 2:
            part = part[: at + 1]
        lines.append(_plain(indent + part))
        text, indent = text[len(part) :], " " * min(_TIME, width // 4)
    return lines


def _shortened(name: str, size: int) -> str:
    return name if len(name) <= size else f"…{name[len(name) - size + 1 :]}"


def _digests_short(text: str) -> str:
    return _DIGEST.sub(r"\1…", printable(text))


def _plain(text: str) -> Line:
    return Line(((printable(text), ""),))


def _colored(text: str, style: str) -> Line:
    return Line(((printable(text), style),))
