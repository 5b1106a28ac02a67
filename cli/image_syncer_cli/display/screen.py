"""The lines of the live display, from a snapshot and the size of the terminal. Pure.

The width of a text is counted in cells: East Asian characters take two, combining marks none (Unicode Standard
Annex 11). Estimated times are rounded, so that they do not look exact.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from image_syncer_cli.display.output import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from image_syncer import RegistryRow, Snapshot, TransferRow, WorkerRow


GAP = 2
"""Characters between two columns."""
SPARE_COLUMNS = 3
"""Room for the ^C that a terminal writes at the cursor: on a line of its own it would move the display."""
GREEN, YELLOW, RED, DIM, BOLD = "32", "33", "31", "2", "1"

_DIGEST_DIGITS = 12
"""Hexadecimal digits of a digest that are shown."""
_DIGEST = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}")
_SHORT_NAME = 20
"""Characters of a repository's name below which duration and rate are left out."""
_NARROW = 1.2
"""A span whose end is at most this times its begin is shown as one number."""
_SOON_S = 5.0
_UNITS = (
    (90.0, 1.0, 5.0, "s"),
    (20 * 60.0, 60.0, 1.0, "min"),
    (90 * 60.0, 60.0, 5.0, "min"),
    (48 * 3600.0, 3600.0, 0.5, "h"),
    (float("inf"), 86400.0, 0.5, "days"),
)
"""Below so many seconds: the seconds of a unit, the step to which it is rounded, its name."""
_ASCII = str.maketrans({"━": "=", "─": "-", "·": "|", "…": "~", "→": ">", "�": "?"})
_WIDE, _MARKS = ("W", "F"), ("Mn", "Me", "Cf")
_MAX_REGISTRIES, _MAX_TRANSFERS, _MAX_STUCK = 6, 5, 2
"""Rows of each kind; the report has them all."""
_MAX_WORKER_LINES, _MAX_ERROR_LINES = 3, 4
_TIME = 9
"""Characters of the time before an error, and the blank after it."""
_STALLED_AFTER_S, _STALLED_BELOW = 10.0, 1024
"""A transfer of this age with fewer bytes per second is marked as stalled."""
_TRANSFER_HEADS = ("blob          from", "moved", "rate", "for")
_NAME, _SHORTEST_NAME = 30, 16
"""Characters of a registry's name: where everything else fits into 80 columns, and where a note needs the room."""
_SHORTEST_BAR, _LONGEST_BAR = 10, 60
_ROOM_FOR_SIDES = 60
_HELP = (
    "p  pause: begin nothing more, what is under way ends; p again resumes",
    "d  drain: begin no further image, end when those under way have; asks once",
    "e  the last errors, and back",
    "?  this, and back",
    "in flight: blobs on their way from or to a registry, of how many it may have",
    "streams: blobs that a worker passes on as they come; small ones it takes whole",
)


def transfer_cells(rows: Sequence[TransferRow], width: int) -> list[list[str]]:
    """Return blob and name, size, rate and duration of each transfer, for a table of `width` characters.

    A narrow table has no duration and rate, and names lose their destination, their registry and their beginnings.
    """
    from image_syncer.units import format_duration, format_rate, format_size

    def size(row: TransferRow) -> str:
        return format_size(row.size_bytes) if row.size_bytes >= 0 else "?"

    columns = [
        [f"{format_size(row.bytes_done)} of {size(row)}" for row in rows],
        [format_rate(row.bytes_per_s) for row in rows],
        [format_duration(row.seconds) for row in rows],
    ]
    blobs = [row.digest.partition(":")[2][:_DIGEST_DIGITS] for row in rows]

    def room() -> int:
        taken = sum(max(map(len, column)) + GAP for column in (blobs, *columns))
        return width - taken

    while len(columns) > 1 and room() < _SHORT_NAME:
        columns.pop()
    names = [f"{blob}  {name}" for blob, name in zip(blobs, _names(rows, room()), strict=True)]
    return [list(row) for row in zip(names, *columns, strict=True)]


def _names(rows: Sequence[TransferRow], room: int) -> list[str]:
    """Return the longest form of the names for which there is room, the same for all."""
    sources = [row.source for row in rows]
    paths = [source.partition("/")[2] or source for source in sources]
    for names in ([f"{row.source} → {row.destination}" for row in rows], sources, paths):
        if max(map(len, names)) <= room:
            return names
    return [_shortened(name, room) if room > 1 else "" for name in paths]


def about(seconds: float) -> str:
    """Return one number: "about 12 min", "a few seconds".

    >>> about(47), about(700), about(9000)
    ('about 45 s', 'about 12 min', 'about 2.5 h')
    """
    if seconds < _SOON_S:
        return "a few seconds"
    number, unit = _rounded(seconds, seconds)
    return f"about {number} {unit}"


def span(seconds: float, least_s: float, most_s: float) -> str:
    """Return a range, "10-14 min"; `about` where its ends are close.

    >>> span(700, 600, 840)
    '10-14 min'
    """
    if most_s < 2 * _SOON_S or most_s <= _NARROW * least_s:
        return about(seconds)
    least, unit = _rounded(least_s, most_s)
    most, _ = _rounded(most_s, most_s)
    return f"about {most} {unit}" if least == most else f"{least}-{most} {unit}"


def left_words(snapshot: Snapshot) -> str | None:
    """Return how long the rest of a run takes; None if that is unknown."""
    seconds, least_s, most_s = snapshot.eta_s, snapshot.eta_least_s, snapshot.eta_most_s
    if seconds is None or snapshot.images_done >= snapshot.images_total > 0:
        return None
    words = about(seconds) if least_s is None or most_s is None else span(seconds, least_s, most_s)
    if snapshot.listing:
        words = f"at least {words.removeprefix('about ')}"
    return f"{words} left"


def _rounded(seconds: float, largest_s: float) -> tuple[str, str]:
    """Return a number and its unit, which fits `largest_s`."""
    _, unit_s, step, unit = next(one for one in _UNITS if largest_s < one[0])
    number = round(seconds / unit_s / step) * step
    return f"{max(number, step if seconds > 0 else 0):g}", unit


def width_of(text: str) -> int:
    """Return the cells that `text` takes; it has no control characters."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def first_cells(text: str, width: int) -> str:
    """Return as much of the beginning of `text` as fits into `width` cells."""
    if text.isascii():
        return text[: max(0, width)]
    for at, character in enumerate(text):
        width -= _cells(character)
        if width < 0:
            return text[:at]
    return text


def plain_ascii(text: str) -> str:
    """Return `text` for a terminal that has only ASCII; it takes no more cells."""
    return text.translate(_ASCII).encode("ascii", "replace").decode()


def is_utf8(environ: Mapping[str, str]) -> bool:
    """Return whether the user's locale says that the terminal has UTF-8: locale(7). LC_CTYPE=C.UTF-8 may be set by
    Python itself (PEP 538), and does not count.
    """
    named = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    if named == "C.UTF-8" and not environ.get("LC_ALL") and environ.get("LANG", "") in ("", "C", "POSIX"):
        return False
    return "utf8" in named.lower().replace("-", "")


def _cells(character: str) -> int:
    if unicodedata.east_asian_width(character) in _WIDE:
        return 2
    return 0 if unicodedata.category(character) in _MARKS else 1


@dataclass(frozen=True)
class Line:
    """Pieces of text with their colours (numbers of SGR, ECMA-48; "" for none)."""

    pieces: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """The text without colours."""
        return "".join(text for text, _ in self.pieces)

    def styled(self) -> str:
        """Return the text with escape sequences for its colours."""
        return "".join(f"\x1b[{style}m{text}\x1b[0m" if style and text else text for text, style in self.pieces)

    def clipped(self, width: int) -> Line:
        """Return as much of the beginning as fits into `width` cells, with a mark where it is cut."""
        if width_of(self.text) <= width:
            return self
        left, kept = max(0, width - 1), []
        for text, style in self.pieces:
            part = first_cells(text, left)
            kept.append((part, style))
            left -= width_of(part) if part == text else left
        return Line((*kept, ("…" if width > 0 else "", "")))

    def in_ascii(self) -> Line:
        """Return the line for a terminal that has only ASCII."""
        return Line(tuple((plain_ascii(text), style) for text, style in self.pieces))


class View(Enum):
    """What is shown below the bar."""

    RUN = "run"
    ERRORS = "errors"
    HELP = "help"


@dataclass(frozen=True)
class Controls:
    """What keys decide: the view with the errors that it may show, the line of keys, and the effect of the last key."""

    view: View = View.RUN
    errors: Sequence[tuple[str, str]] = ()
    keys: str = ""
    notice: str = ""


_NO_CONTROLS = Controls()


def screen_lines(snapshot: Snapshot, width: int, height: int, controls: Controls = _NO_CONTROLS) -> list[Line]:
    """Return at most `height` - 1 lines of at most `width` - `SPARE_COLUMNS` cells."""
    cells = max(1, width - SPARE_COLUMNS)
    lines = [*_bar(snapshot, cells), _plain(count_words(snapshot))]
    if snapshot.held == "paused":
        lines.append(_colored("paused: nothing more begins, what is under way ends", YELLOW))
    elif snapshot.held == "drains":
        lines.append(_colored("drains: ends when the images under way have ended", YELLOW))
    if controls.notice:
        lines.append(_colored(controls.notice, YELLOW))
    if snapshot.waiting:
        lines.append(_colored(f"waiting: {snapshot.waiting}", YELLOW))
    return _framed(lines, lambda room: _details(snapshot, cells, room), cells, height, controls)


def sentence_lines(sentences: Sequence[str], width: int, height: int, controls: Controls = _NO_CONTROLS) -> list[Line]:
    """Return the lines while there is no run: `sentences`, of which the first is the most important."""
    cells = max(1, width - SPARE_COLUMNS)
    lines = [line for text in sentences for line in _wrapped(printable(text), cells)]
    if controls.notice:
        lines.append(_colored(controls.notice, YELLOW))
    return _framed(lines, lambda _room: [], cells, height, controls)


def _framed(
    lines: list[Line], details: Callable[[int], list[Line]], width: int, height: int, controls: Controls
) -> list[Line]:
    """Return `lines` and what the view shows, above the line of keys."""
    foot = [_colored(controls.keys, DIM)] if controls.keys else []
    room = max(0, height - 1 - len(lines) - len(foot))
    if controls.view is View.HELP:
        below = [_plain(text) for text in _HELP[:room]]
    elif controls.view is View.ERRORS:
        errors = (f"{at[11:19]} {_digests_short(text)}" for at, text in controls.errors)
        told = [line for text in errors for line in _wrapped(text, width)]
        below = (told[-room:] if room else []) or [_plain("no errors so far")][:room]
    else:
        below = details(room)
    return [line.clipped(width) for line in [*lines, *below, *foot][: max(1, height - 1)]]


def count_words(snapshot: Snapshot) -> str:
    """Return how many images and blobs are done."""
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in snapshot.outcomes.items() if count)
    more = "+" if snapshot.listing else ""
    images = f"{snapshot.images_done:,} of {snapshot.images_total:,}{more} images"
    blobs = f"{snapshot.blobs_done:,} of {snapshot.blobs_total:,} blobs"
    return f"{images} ({outcomes}) · {blobs}" if outcomes else f"{images} · {blobs}"


def movement_words(snapshot: Snapshot) -> str:
    """Return how many bytes have moved, how fast, and how long the rest will take."""
    from image_syncer.units import format_rate, format_size

    parts = [
        f"{format_size(snapshot.bytes_done)} of {format_size(snapshot.bytes_total)}",
        format_rate(snapshot.bytes_per_s),
    ]
    if (left := left_words(snapshot)) is not None:
        parts.append(left)
    return " · ".join(parts)


def _details(snapshot: Snapshot, width: int, room: int) -> list[Line]:
    """Return what fits into `room` lines: stuck transfers, registries, workers, and the slowest transfers."""
    lines = [_colored(f"stuck: {_digests_short(text)}", RED) for text in snapshot.stuck[:_MAX_STUCK]][:room]
    registries = _registries(snapshot.registries, width)
    lines += registries[: max(0, room - len(lines))]
    if snapshot.workers:
        workers = _workers(snapshot.workers, snapshot.streams, snapshot.rate_limit, width)
        lines += workers[: max(0, room - len(lines))]
    rows = snapshot.slowest[: max(0, min(_MAX_TRANSFERS, room - len(lines)))]
    if rows:
        cells = transfer_cells(rows, width)
        widths = [max(width_of(row[at]) for row in cells) for at in range(len(cells[0]))]
        first = min(widths[0], width - sum(size + GAP for size in widths[1:]))
        if len(lines) + len(rows) < room:
            heads = [head.rjust(size) for head, size in zip(_TRANSFER_HEADS[1:], widths[1:], strict=False)]
            lines.append(_colored((" " * GAP).join([_TRANSFER_HEADS[0].ljust(first)[:first], *heads]), DIM))
        for row, (name, *others) in zip(rows, cells, strict=True):
            right = "".join(" " * GAP + cell.rjust(size) for cell, size in zip(others, widths[1:], strict=True))
            stalled = row.seconds >= _STALLED_AFTER_S and row.bytes_per_s < _STALLED_BELOW
            lines.append(Line(((printable(name)[:first].ljust(first), ""), (right, YELLOW if stalled else ""))))
    return lines


def _bar(snapshot: Snapshot, width: int) -> list[Line]:
    """Return the bar and what has moved, in one line or, on a narrow terminal, in two."""
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
    """Return a row for each: name, side, rate, blobs in flight and their limit, errors, and what is wrong."""
    from image_syncer.units import format_rate

    if not rows:
        return []
    busiest = sorted(rows, key=lambda row: (row.throttled is not None, row.bytes_per_s, row.in_flight), reverse=True)
    kept = set(map(id, busiest[:_MAX_REGISTRIES]))
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
    """Return a line on all workers, and in columns what each of them moves."""
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
    shown = parts[: in_line * _MAX_WORKER_LINES]
    lines += [
        _plain("".join(part.ljust(column) for part in shown[at : at + in_line]).rstrip())
        for at in range(0, len(shown), in_line)
    ]
    return lines


def _wrapped(text: str, width: int) -> list[Line]:
    """Return `text` in up to `_MAX_ERROR_LINES` lines, broken between words where that wastes little."""
    lines: list[Line] = []
    indent = ""
    while text and len(lines) < _MAX_ERROR_LINES:
        room = max(1, width - len(indent))
        part = first_cells(text, room) or text[:1]
        if len(lines) == _MAX_ERROR_LINES - 1:
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
