"""The rows of the live display: one transfer each, in as many characters as the terminal has."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer import TransferRow

__all__ = ["GAP", "transfer_cells"]

GAP = 2
"""Characters between two columns."""

_DIGEST = 12
"""Hexadecimal digits of a digest that are shown."""

_SHORT_NAME = 20
"""Characters of a repository's name below which duration and rate make room for it."""


def transfer_cells(rows: Sequence[TransferRow], width: int) -> list[list[str]]:
    """What a table of `width` characters shows of transfers, one list a row: blob and name, size, rate, duration.

    Where it is narrow, names lose their destination, their registry and then their beginnings, and duration and rate
    are left out.
    """
    from image_syncer.units import format_duration, format_rate, format_size

    columns = [
        [f"{format_size(row.bytes_done)} of {_size(row)}" for row in rows],
        [format_rate(row.bytes_per_s) for row in rows],
        [format_duration(row.seconds) for row in rows],
    ]
    blobs = [row.digest.partition(":")[2][:_DIGEST] for row in rows]

    def room() -> int:
        taken = sum(max(map(len, column)) + GAP for column in (blobs, *columns))
        return width - taken

    while len(columns) > 1 and room() < _SHORT_NAME:
        columns.pop()
    names = [f"{blob}  {name}" for blob, name in zip(blobs, _names(rows, room()), strict=True)]
    return [list(row) for row in zip(names, *columns, strict=True)]


def _size(row: TransferRow) -> str:
    from image_syncer.units import format_size

    return format_size(row.size_bytes) if row.size_bytes >= 0 else "?"


def _names(rows: Sequence[TransferRow], room: int) -> list[str]:
    """The longest form of the names for which there is room, the same for all."""
    sources = [row.source for row in rows]
    paths = [source.partition("/")[2] or source for source in sources]
    for names in ([f"{row.source} → {row.destination}" for row in rows], sources, paths):
        if max(map(len, names)) <= room:
            return names
    return [name if len(name) <= room else f"…{name[len(name) - room + 1 :]}" if room > 1 else "" for name in paths]
