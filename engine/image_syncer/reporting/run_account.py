"""The sums of a recorded run: failures by cause, pairs of registries, bytes saved, and retries. One pass over its
images and one over its transfers; the result is small, however many there are.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from heapq import nlargest
from typing import TYPE_CHECKING, Any

from image_syncer.telemetry.outcome import Outcome
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from image_syncer.reporting.recorded_report import RecordedReport
    from image_syncer.telemetry.outcome import ImageResult
    from image_syncer.telemetry.report import TransferRecord


EXAMPLES = 3
"""Images that are named for each cause."""
MANY = 6
"""With more causes, those that differ only in their registry are grouped."""

_SUMS = ("bytes_moved", "blobs_moved", "blobs_mounted", "blobs_present")
"""The fields of images that `PairShare` adds up."""

SHOWN = 10
"""The slowest and largest blobs, and the images that were tried most often."""

_ADVICE = {
    "authentication": "Check the name, the password or token, and what it may do there: image-syncer doctor HOST/REPO.",
    "not found": "Check names and tags. Some registries also answer so to those who may not see a repository.",
    "refused": "The registry will not change its mind: read what it said, and change the rule or its settings.",
    "rate limited": "Log in, ask for fewer requests (requests_per_s of the registry), or run again later.",
    "not asked": "The registry had asked for a pause. Run again later, or send it fewer requests.",
    "unavailable": "The registry failed. Run again: image-syncer retry --report FILE.",
    "registry down": "The registry did not answer for long. When it is back: image-syncer retry --report FILE.",
    "protocol violation": "The registry broke the rules of the protocol: tell its operator; the report has the answer.",
    "transport": "Look at the network between here and the registry: image-syncer doctor HOST.",
    "integrity": "Bytes were not what their digest says, and were not published. Repair the image at its source.",
    "worker": "Run again: image-syncer retry --report FILE. If it stays, look at memory and at the log.",
    "not tried": "The run ended before its turn. Finish it: image-syncer retry --report FILE.",
    "different": "Source and destination are not the same. Sync again, or find out who wrote there.",
}
"""What to do, by kind of error, where the error itself does not say it."""
_LAST_RESORT = "Read the reason; image-syncer retry --report FILE tries just these again."


class FailureGroup(Value, frozen=True):
    """All failures of one cause. `kind` is that of the error ("not found"), or the outcome where there was no error;
    `registry` is "" and `status` (of HTTP) None where there is none, or where there are several `registries`.
    `examples` are the first ones.
    """

    kind: str
    side: str
    registry: str
    status: int | None
    count: int
    examples: tuple[ImageResult, ...]
    advice: str
    registries: int = 1

    @property
    def cause(self) -> str:
        """The cause in a few words: "source docker.io: rate limited (429)"."""
        parts = [self.side if self.side != "local" else "", self.registry]
        if self.registries > 1:
            parts = [f"{self.registries:,}", parts[0], "registries"]
        where = " ".join(part for part in parts if part)
        status = f" ({self.status})" if self.status is not None else ""
        return f"{where}: {self.kind}{status}" if where else f"{self.kind}{status}"


class FailureGroups:
    """Groups failures as they come, in memory that grows with their causes only."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str, int | None]] = Counter()
        self._examples: dict[tuple[str, str, str, int | None], list[ImageResult]] = {}

    def add(self, image: ImageResult) -> None:
        """Count one image, if it failed, was not tried, or differs."""
        if not image.outcome.is_failure:
            return
        cause = _cause(image)
        self._counts[cause] += 1
        known = self._examples.setdefault(cause, [])
        if len(known) < EXAMPLES:
            known.append(image)

    def groups(self) -> list[FailureGroup]:
        """The groups, the largest first; with more than `MANY`, the same cause at many registries is one group."""
        found = [
            FailureGroup(*cause, count, tuple(self._examples[cause]), _advice(self._examples[cause]))
            for cause, count in self._counts.most_common()
        ]
        return found if len(found) <= MANY else _merged(found)


def _merged(groups: list[FailureGroup]) -> list[FailureGroup]:
    alike: dict[tuple[str, str, int | None], list[FailureGroup]] = defaultdict(list)
    for group in groups:
        alike[group.kind, group.side, group.status].append(group)
    merged = [_as_one(each) if len(each) > 1 else each[0] for each in alike.values()]
    return sorted(merged, key=lambda group: -group.count)


def _as_one(groups: list[FailureGroup]) -> FailureGroup:
    examples = [image for group in groups for image in group.examples[:1]][:EXAMPLES]
    count = sum(group.count for group in groups)
    return replace(
        groups[0], registry="", count=count, examples=tuple(examples), registries=len(groups), advice=_advice(examples)
    )


def _cause(image: ImageResult) -> tuple[str, str, str, int | None]:
    error: Mapping[str, Any] = image.error or {}
    if image.outcome is Outcome.NOT_TRIED:
        return "not tried", "", "", None
    kind, side, status = (error.get(name) for name in ("kind", "side", "status"))
    side = side if isinstance(side, str) else ""
    names = {"source": image.source, "destination": image.destination}
    place = next((each for each in (error.get("registry"), error.get("repository")) if isinstance(each, str)), "")
    registry = (place or names.get(side, "")).partition("/")[0]
    known = kind if isinstance(kind, str) else image.outcome.value
    return known, side, registry, status if isinstance(status, int) else None


def _advice(examples: list[ImageResult]) -> str:
    first = examples[0]
    hint = (first.error or {}).get("hint")
    if isinstance(hint, str) and hint:
        return hint
    return _ADVICE.get(_cause(first)[0], _LAST_RESORT)


class PairShare(Value, frozen=True):
    """Images from one registry to another, by outcome, with their bytes and blobs."""

    source: str
    destination: str
    images: int
    outcomes: dict[Outcome, int]
    bytes_moved: int
    blobs_moved: int
    blobs_mounted: int
    blobs_present: int


class Savings(Value, frozen=True):
    """Bytes that moved, and those of blobs that a registry mounted, had already (`present`), or got from a download
    that served other destinations too (`shared`: read once, sent often).
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
        """The part of all needed bytes that was not sent."""
        needed = self.bytes_moved + self.bytes_saved
        return self.bytes_saved / needed if needed else 0.0


class RunAccount(Value, frozen=True):
    """The sums. `retried` are the images that were tried most often, `images_retried` counts those that were tried more
    than once; the transfers are the slowest, and the largest.
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


def account_of_run(recorded: RecordedReport) -> RunAccount:
    """The sums of `recorded`. Raises `ConfigurationError` where an image cannot be read."""
    outcomes: defaultdict[tuple[str, str], Counter[Outcome]] = defaultdict(Counter)
    sums: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    failures, images_retried = FailureGroups(), 0
    retried: list[ImageResult] = []
    for image in recorded.images():
        pair = image.source.partition("/")[0], image.destination.partition("/")[0]
        outcomes[pair][image.outcome] += 1
        for name in _SUMS:
            sums[pair][name] += getattr(image, name)
        if image.tries > 1:
            images_retried += 1
            retried = nlargest(SHOWN, (*retried, image), key=lambda image: image.tries)
        failures.add(image)
    shares = [
        PairShare(*pair, sum(counts.values()), dict(counts), *(sums[pair][name] for name in _SUMS))
        for pair, counts in outcomes.items()
    ]
    return RunAccount(
        failures=tuple(failures.groups()),
        pairs=tuple(sorted(shares, key=lambda share: (-share.bytes_moved, -share.images))),
        savings=_savings(recorded.transfers),
        images_retried=images_retried,
        retried=tuple(retried),
        transfer_outcomes=dict(Counter(record.outcome for record in recorded.transfers)),
        transfers_resumed=sum(bool(one.source_resumes or one.destination_resumes) for one in recorded.transfers),
        slowest=tuple(nlargest(SHOWN, recorded.transfers, key=lambda record: record.seconds)),
        largest=_largest(recorded.transfers),
    )


def _largest(records: Iterable[TransferRecord]) -> tuple[TransferRecord, ...]:
    """The slowest transfer of each of the largest blobs."""
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
