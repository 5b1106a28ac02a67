"""What the summary, the pages and the pictures of a run say in the same words."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_syncer import RecordedReport, Report, TransferRecord


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
        """Whether a wait was noted."""
        return bool(self.source_waited_s or self.destination_waited_s)

    def share(self, waited_s: float) -> str:
        """Return a wait as a part of the time of the transfers."""
        from image_syncer.units import LEAST_S

        return percent(waited_s / self.seconds if self.seconds >= LEAST_S else 0.0)


def add_waits(records: Iterable[TransferRecord]) -> Waits:
    """Return the sums over all records."""
    from image_syncer.reporting.timeline import slow_side

    moving = [record for record in records if record.bytes_moved]
    seconds = sum(record.seconds for record in moving)
    source_waited_s = sum(record.source_waited_s for record in moving)
    destination_waited_s = sum(record.destination_waited_s for record in moving)
    side = slow_side(source_waited_s, destination_waited_s, seconds)
    return Waits(seconds, source_waited_s, destination_waited_s, side)


def ring_transfers(recorded: RecordedReport) -> tuple[tuple[TransferRecord, ...], str]:
    """Return the transfers that show which side was slow, and the size up to which others are left out ("": none are).

    A blob that fits into the ring cannot fill it: thousands of those would hide what the large ones waited for.
    """
    from image_syncer.units import format_size

    settings = (recorded.report.settings.get(name) for name in ("window_bytes", "small_bytes"))
    most = max((value for value in settings if isinstance(value, int)), default=0)
    streamed = tuple(one for one in recorded.transfers if one.size_bytes > most or one.size_bytes < 0)
    if not streamed or len(streamed) == len(recorded.transfers):
        return recorded.transfers, ""
    return streamed, format_size(most)


def began(report: Report) -> str:
    """Return when a run began."""
    return report.started_at.replace("T", " ").replace("+00:00", " UTC")


def destination_registries(record: TransferRecord) -> str:
    """Return the registries to which a blob went, in one text that decides its colour."""
    return " + ".join(sorted({destination.partition("/")[0] for destination in record.destinations}))


def heaviest_destinations(records: Iterable[TransferRecord]) -> list[str]:
    """Return the texts of `destination_registries`, those with the most bytes first."""
    weights: Counter[str] = Counter()
    for record in records:
        weights[destination_registries(record)] += record.bytes_moved
    return [name for name, _ in weights.most_common()]


def transfer_words(record: TransferRecord) -> tuple[str, str, str, str]:
    """Return time, size, rate (or outcome) and worker of a transfer."""
    from image_syncer.units import format_duration, format_rate, format_size

    return (
        format_duration(record.seconds),
        format_size(record.size_bytes) if record.size_bytes >= 0 else "?",
        format_rate(record.bytes_per_s) if record.bytes_moved else record.outcome,
        str(record.worker),
    )


def percent(share: float) -> str:
    """Return a share in per cent; one above zero is never "0 %"."""
    if 0 < share < 0.01:  # noqa: PLR2004 - one per cent
        return "< 1 %"
    return f"{share:.0%}".replace("%", " %")


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: "1 image", "2,000 images"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def keep_numbers(text: str) -> str:
    """Return `text` with non-breaking spaces between numbers and what they count."""
    return _NUMBER.sub("\u00a0", text.replace("< 1", "<\u00a01").replace("&lt; 1", "&lt;\u00a01"))
