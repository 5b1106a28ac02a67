"""What a recorded run comes to: failures by cause, pairs of registries, what need not move, and what was tried again.

Arithmetic over a `RecordedReport`, in one pass over its images and one over its transfers; however many there are, what
comes out is small.
"""

from __future__ import annotations

from collections import Counter
from heapq import nlargest
from typing import TYPE_CHECKING

from msgspec import Struct, field

from image_syncer.telemetry.failure_groups import FailureGroup, FailureGroups
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_syncer.telemetry.outcome import ImageResult, Outcome
    from image_syncer.telemetry.recorded_report import RecordedReport
    from image_syncer.telemetry.transfer_record import TransferRecord

__all__ = ["PairShare", "RunAccount", "Savings", "account_of_run"]

_BLOBS = ("blobs_moved", "blobs_mounted", "blobs_present")

SHOWN = 10
"""Slowest and largest blobs, and images that were tried most often."""


class PairShare(Value, frozen=True):
    """Images from one registry to another, how they ended, and their bytes and blobs."""

    source: str
    destination: str
    images: int
    outcomes: dict[Outcome, int]
    bytes_moved: int
    blobs_moved: int
    blobs_mounted: int
    blobs_present: int


class Savings(Value, frozen=True):
    """Bytes that moved, and those of blobs that a registry took from another repository of its own (`mounted`), had
    already (`present`), or got from a download that served other destinations too (`shared`: read once, sent often).
    """

    bytes_moved: int = 0
    blobs_mounted: int = 0
    bytes_mounted: int = 0
    blobs_present: int = 0
    bytes_present: int = 0
    bytes_shared: int = 0

    @property
    def bytes_saved(self) -> int:
        """Bytes that were not sent to a destination."""
        return self.bytes_mounted + self.bytes_present

    @property
    def share(self) -> float:
        """Of all that destinations needed, the part that was not sent."""
        needed = self.bytes_moved + self.bytes_saved
        return self.bytes_saved / needed if needed else 0.0


class RunAccount(Value, frozen=True):
    """Sums over a run. `retried` are the images that were tried most often, `images_retried` how many were tried more
    than once; the transfers are those that took longest, and the largest.
    """

    failures: tuple[FailureGroup, ...]
    pairs: tuple[PairShare, ...]
    savings: Savings
    images_retried: int
    retried: tuple[ImageResult, ...]
    transfer_outcomes: dict[str, int]
    transfers_resumed: int
    slowest: tuple[TransferRecord, ...]
    largest: tuple[TransferRecord, ...]


class _Pair(Struct):
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    bytes_moved: int = 0
    blobs: Counter[str] = field(default_factory=Counter)


class _Images:
    """One pass over the images."""

    def __init__(self) -> None:
        self.pairs: dict[tuple[str, str], _Pair] = {}
        self.images_retried = 0
        self.retried: list[ImageResult] = []
        self.failures = FailureGroups()

    def read(self, images: Iterable[ImageResult]) -> None:
        for image in images:
            key = image.source.partition("/")[0], image.destination.partition("/")[0]
            pair = self.pairs.setdefault(key, _Pair())
            pair.outcomes[image.outcome] += 1
            pair.bytes_moved += image.bytes_moved
            for name in _BLOBS:
                pair.blobs[name] += getattr(image, name)
            if image.tries > 1:
                self.images_retried += 1
                self.retried.append(image)
                if len(self.retried) > 4 * SHOWN:
                    self.retried = self._most_tried()
            self.failures.add(image)

    def _most_tried(self) -> list[ImageResult]:
        return nlargest(SHOWN, self.retried, key=lambda image: image.tries)

    def most_tried(self) -> tuple[ImageResult, ...]:
        return tuple(self._most_tried())

    def shares(self) -> tuple[PairShare, ...]:
        found = (
            PairShare(
                *key,
                sum(pair.outcomes.values()),
                dict(pair.outcomes),
                pair.bytes_moved,
                *(pair.blobs[n] for n in _BLOBS),
            )
            for key, pair in self.pairs.items()
        )
        return tuple(sorted(found, key=lambda share: (-share.bytes_moved, -share.images)))


def account_of_run(recorded: RecordedReport) -> RunAccount:
    """The sums over `recorded`. Raises `ConfigurationError` where one of its images is none."""
    images = _Images()
    images.read(recorded.images())
    return RunAccount(
        failures=tuple(images.failures.groups()),
        pairs=images.shares(),
        savings=_savings(recorded.transfers),
        images_retried=images.images_retried,
        retried=images.most_tried(),
        transfer_outcomes=dict(Counter(record.outcome for record in recorded.transfers)),
        transfers_resumed=sum(bool(one.source_resumes or one.destination_resumes) for one in recorded.transfers),
        slowest=tuple(nlargest(SHOWN, recorded.transfers, key=lambda record: record.seconds)),
        largest=_largest(recorded.transfers),
    )


def _largest(records: Iterable[TransferRecord]) -> tuple[TransferRecord, ...]:
    """Of each blob the transfer that took longest."""
    best: dict[str, TransferRecord] = {}
    for record in records:
        known = best.get(record.digest)
        if known is None or record.seconds > known.seconds:
            best[record.digest] = record
    return tuple(nlargest(SHOWN, best.values(), key=lambda record: record.size_bytes))


def _savings(records: Iterable[TransferRecord]) -> Savings:
    bytes_moved = bytes_shared = 0
    blobs: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for record in records:
        size = max(0, record.size_bytes)
        bytes_moved += record.bytes_moved
        for outcome in record.outcomes:
            blobs[outcome] += 1
            sizes[outcome] += size
        bytes_shared += max(0, record.outcomes.count("moved") - 1) * size
    return Savings(
        bytes_moved=bytes_moved,
        blobs_mounted=blobs["mounted"],
        bytes_mounted=sizes["mounted"],
        blobs_present=blobs["present"],
        bytes_present=sizes["present"],
        bytes_shared=bytes_shared,
    )
