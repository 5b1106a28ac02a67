"""What the summary and the pictures of a run say in the same words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_syncer import RecordedReport, Report, TransferRecord

__all__ = [
    "Waits",
    "add_waits",
    "began",
    "destination_registries",
    "keep_numbers",
    "percent",
    "plural",
    "ring_transfers",
]

_NUMBER = re.compile(r"(?<=\d) (?=\D)")


@dataclass(frozen=True)
class Waits:
    """How long transfers that moved bytes took, how long they waited, and for which side (see `slow_side`)."""

    seconds: float
    source_waited_s: float
    destination_waited_s: float
    side: str | None

    @property
    def noted(self) -> bool:
        """Whether there were any."""
        return bool(self.source_waited_s or self.destination_waited_s)

    def share(self, waited_s: float) -> str:
        """A wait as a part of the time that the transfers took."""
        from image_syncer.units import LEAST_S

        return percent(waited_s / self.seconds if self.seconds >= LEAST_S else 0.0)


def add_waits(records: Iterable[TransferRecord]) -> Waits:
    """The waits of all records together."""
    from image_syncer import slow_side

    moving = [record for record in records if record.bytes_moved]
    seconds = sum(record.seconds for record in moving)
    source_waited_s = sum(record.source_waited_s for record in moving)
    destination_waited_s = sum(record.destination_waited_s for record in moving)
    side = slow_side(source_waited_s, destination_waited_s, seconds)
    return Waits(seconds, source_waited_s, destination_waited_s, side)


def ring_transfers(recorded: RecordedReport) -> tuple[tuple[TransferRecord, ...], str]:
    """The transfers that say which side was slow, and the size up to which others are left out, in words.

    A blob that fits into the ring as a whole cannot fill it, and is no stream where it is small enough to be held: the
    time of thousands of those would hide what the large ones waited for. Where there are no others, they count ("").
    """
    from image_syncer.units import format_size

    settings = (recorded.report.settings.get(name) for name in ("window_bytes", "small_bytes"))
    most = max((value for value in settings if isinstance(value, int)), default=0)
    streamed = tuple(one for one in recorded.transfers if one.size_bytes > most or one.size_bytes < 0)
    if not streamed or len(streamed) == len(recorded.transfers):
        return recorded.transfers, ""
    return streamed, format_size(most)


def began(report: Report) -> str:
    """When a run began, as people read it."""
    return report.started_at.replace("T", " ").replace("+00:00", " UTC")


def destination_registries(record: TransferRecord) -> str:
    """The registries to which a blob went, in one text; colours are given by it."""
    return " + ".join(sorted({destination.partition("/")[0] for destination in record.destinations}))


def percent(share: float) -> str:
    """A share as people read it; what is more than nothing is never "0 %"."""
    if 0 < share < 0.01:  # noqa: PLR2004 - one per cent
        return "< 1 %"
    return f"{share:.0%}".replace("%", " %")


def plural(count: int, noun: str) -> str:
    """A count with its noun: "1 image", "2,000 images"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def keep_numbers(text: str) -> str:
    """`text` with blanks that do not break between a number and what it counts."""
    return _NUMBER.sub("\u00a0", text.replace("< 1", "<\u00a01").replace("&lt; 1", "&lt;\u00a01"))
