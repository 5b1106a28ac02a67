"""The report: what a run did, in one line for people and in one JSON document for programs.

`ReportWriter` streams each image and transfer to the file as it ends; a `Report` holds only sums. `LimitsLog` has the
limits of registries over time, `Pruned` what a run deleted at its destinations, or would, and what it kept and why.
"""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import orjson
from msgspec import Struct, field

from image_syncer.telemetry.outcome import ImageResult, Outcome
from image_syncer.telemetry.partial_file import PartialFile
from image_syncer.units import format_count, format_duration, format_rate, format_size, mean_rate
from image_syncer.values import Value, as_dict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import IO

    from image_syncer.scheduling.pruning import RepositoryPrune


TRANSFER_OUTCOMES = ("moved", "mounted", "present", "failed", "split off")
"""How a blob may end at one destination; what was split off goes there in a transfer of its own."""
_BY_WEIGHT = ("failed", "moved", "mounted", "present", "split off")
_DIGITS = 6
"""Digits of a second: libcurl and the loop measure no finer."""


class TransferRecord(Value, frozen=True):
    """One blob from one source to its destinations, in one worker. Sizes are bytes, -1 is an unknown `size_bytes`.

    `source` and `destinations` are repositories with their registries; `outcomes` are `TRANSFER_OUTCOMES`, one for each
    destination. Times are seconds since the run began. `bytes_moved` went to all destinations together. `pauses` counts
    pauses of the download because the ring was full, for `source_waited_s` in all: the destination is the slow side.
    `destination_waited_s` is how long uploads had nothing to send: the source is the slow side. `source_resumes` and
    `destination_resumes` count how often a side broke off and was resumed.
    """

    digest: str
    size_bytes: int
    source: str
    destinations: tuple[str, ...]
    worker: int
    began_s: float
    ended_s: float
    bytes_moved: int
    outcomes: tuple[str, ...]
    source_waited_s: float = 0.0
    destination_waited_s: float = 0.0
    pauses: int = 0
    source_resumes: int = 0
    destination_resumes: int = 0

    @property
    def seconds(self) -> float:
        """The duration."""
        return self.ended_s - self.began_s

    @property
    def bytes_per_s(self) -> float:
        """Bytes per second to all destinations; 0 where it took no time at all."""
        return mean_rate(self.bytes_moved, self.seconds)

    @property
    def outcome(self) -> str:
        """One outcome for all destinations: the worst, and moved rather than mounted or present."""
        return next(word for word in _BY_WEIGHT if word in self.outcomes)

    def as_data(self) -> dict[str, Any]:
        """The record as plain data for the JSON report."""
        data = {
            name: round(value, _DIGITS) if isinstance(value, float) else value for name, value in as_dict(self).items()
        }
        return {**data, "destinations": list(self.destinations), "outcomes": list(self.outcomes)}


MOST_POINTS = 200
ALL_TOGETHER = "all registries"
"""The name of the limits of all registries together."""
NOTABLE = 0.05
"""A rate that changes by less than this part of it is not a new point."""


class Series:
    """A value over time, in seconds since the run began; None is "no limit".

    It has at most `MOST_POINTS` points: beyond them, every other one is dropped, and the next are as far apart.
    """

    def __init__(self, *, notable: float = 0.0) -> None:
        self._notable = notable
        self._spacing_s = 0.0
        self._latest: tuple[float, float | None] | None = None
        self.points: list[tuple[float, float | None]] = []

    def note(self, at_s: float, value: float | None) -> None:
        """Note the value at a time."""
        if self.points and not self._differs(self.points[-1][1], value):
            self._latest = None
            return
        if self.points and at_s - self.points[-1][0] < self._spacing_s:
            self._latest = (at_s, value)
            return
        self._latest = None
        self.points.append((at_s, value))
        if len(self.points) > MOST_POINTS:
            self.points = self.points[::2]
            self._spacing_s = 2 * (self.points[-1][0] - self.points[0][0]) / MOST_POINTS

    def as_data(self) -> list[list[float | None]]:
        """Return the points and the latest value as `[seconds, value]`."""
        latest = [self._latest] if self._latest is not None else []
        return [[round(at, 1), None if value is None else round(value, 2)] for at, value in [*self.points, *latest]]

    def _differs(self, before: float | None, now: float | None) -> bool:
        if before is None or now is None:
            return before is not now
        return abs(now - before) > self._notable * before


class LimitsLog:
    """The limits over time of each registry that has refused, or that the user limits."""

    def __init__(self) -> None:
        self._requests: dict[str, Series] = {}
        self._bytes: dict[str, Series] = {}
        self._connections: dict[str, Series] = {}
        self._refused: Counter[str] = Counter()
        self._done: dict[str, tuple[int, float]] = {}
        self._left_alone_s: defaultdict[str, float] = defaultdict(float)

    def note_rate(self, registry: str, rate: float | None, at_s: float) -> None:
        """Note the rate in requests a second; None: no limit any more."""
        if rate is None:
            # The counts of a registry that is paced again begin at zero.
            refused, left_alone_s = self._done.pop(registry, (0, 0.0))
            self._refused[registry] += refused
            self.left_alone(registry, left_alone_s)
        if rate is not None or registry in self._requests:
            self._requests.setdefault(registry, Series(notable=NOTABLE)).note(at_s, rate)

    def note_refusals(self, registry: str, refused: int, left_alone_s: float) -> None:
        """Note the refused requests and the pauses of a registry since it is paced."""
        self._done[registry] = (refused, left_alone_s)

    def note_connections(self, registry: str, allowed: int | None, at_s: float) -> None:
        """Note the maximum of connections for blobs; None: any number."""
        if allowed is not None or registry in self._connections:
            self._connections.setdefault(registry, Series()).note(at_s, allowed)

    def note_bytes(self, registry: str | None, rate: float | None, at_s: float) -> None:
        """Note the user's limit of bytes per second of `registry` (None: of all together); None: any number."""
        self._bytes.setdefault(registry or ALL_TOGETHER, Series()).note(at_s, rate)

    def left_alone(self, registry: str, seconds: float) -> None:
        """Add a pause of a registry."""
        if seconds > 0:
            self._left_alone_s[registry] += seconds

    def as_data(self) -> dict[str, Any]:
        """Return the limits by registry, for the JSON report."""
        data, nothing = {}, Series()
        for name in sorted({*self._requests, *self._connections, *self._bytes, *self._left_alone_s}):
            refused, left_alone_s = self._done.get(name, (0, 0.0))
            data[name] = {
                "refused": self._refused[name] + refused,
                "left_alone_s": round(self._left_alone_s[name] + left_alone_s, 1),
                "requests_per_s": self._requests.get(name, nothing).as_data(),
                "bytes_per_s": self._bytes.get(name, nothing).as_data(),
                "connections": self._connections.get(name, nothing).as_data(),
            }
        return data


class Deletion(Value, frozen=True):
    """One tag or manifest to delete. `outcome` is "would go", "deleted", "gone already", "left" (`reason` says why) or
    "failed" (`error` is `SyncError.to_data()`).
    """

    repository: str
    digest: str
    tags: tuple[str, ...]
    outcome: str
    reason: str
    alone: bool = False
    """Whether only the tag was to be deleted."""
    error: Mapping[str, Any] | None = None

    def as_data(self) -> dict[str, Any]:
        """Return the deletion as plain data."""
        data = {**as_dict(self), "tags": list(self.tags)}
        if self.error is None:
            del data["error"]
        return data


class Held(Value, frozen=True):
    """A repository in which nothing is pruned, and why; `is_failure` where it should have been."""

    repository: str
    reason: str
    is_failure: bool = True

    def as_data(self) -> dict[str, Any]:
        """Return the repository as plain data."""
        return as_dict(self)


class Pruned(Struct):
    """All deletions of a run. `excess` is why too much would be deleted, and nothing was; `not_over` is whether the run
    ended before pruning did.
    """

    deletes: bool
    plans: list[RepositoryPrune] = field(default_factory=list)
    deletions: list[Deletion] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    excess: str | None = None
    not_over: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The limits of the prune."""
    unsaved: str | None = None
    """Why the plan could not be written to its file."""

    @property
    def tag_count(self) -> int:
        """The number of tags to delete."""
        return sum(plan.tag_count for plan in self.plans)

    @property
    def manifest_count(self) -> int:
        """The number of manifests to delete."""
        return sum(len(plan.manifests) for plan in self.plans)

    @property
    def has_failed(self) -> bool:
        """Whether something was to be pruned, and was not."""
        return (
            self.not_over
            or self.excess is not None
            or self.unsaved is not None
            or any(each.outcome in ("failed", "left") for each in self.deletions)
            or any(each.is_failure for each in self.held)
        )

    def planned(self) -> Iterator[Deletion]:
        """Yield all planned deletions in their order."""
        for plan in self.plans:
            name = str(plan.repository)
            for tag in plan.tags:
                reason = "no rule selects it; its manifest stays, as another tag has it"
                yield Deletion(name, str(tag.digest), (tag.tag,), "would go", reason, alone=True)
            for manifest in plan.manifests:
                yield Deletion(name, str(manifest.digest), manifest.tags, "would go", manifest.why)

    def told(self) -> list[Deletion]:
        """Return what was deleted; in a dry run, or after an excess, what would be."""
        return self.deletions if self.deletes and self.excess is None else list(self.planned())

    def as_data(self) -> dict[str, Any]:
        """Return the section of the JSON report."""
        return {
            "deletes": self.deletes,
            "settings": dict(self.settings),
            "tags": self.tag_count,
            "manifests": self.manifest_count,
            "excess": self.excess,
            "complete": not self.not_over,
            "deletions": [each.as_data() for each in self.told()],
            "held": [each.as_data() for each in self.held],
            "kept": [
                {"repository": str(plan.repository), "tag": tag, "digest": str(digest), "reason": reason}
                for plan in self.plans
                for tag, digest, reason in plan.left
            ],
        }

    def summary_line(self) -> str:
        """Return the deletions in one line for people."""
        tags, manifests = format_count(self.tag_count, "tag"), format_count(self.manifest_count, "manifest")
        held = sum(each.is_failure for each in self.held)
        parts = [f"would prune {tags} and {manifests}"]
        if self.deletes and self.excess is None:
            gone = [each for each in self.deletions if each.outcome in ("deleted", "gone already")]
            gone_tags, gone_manifests = sum(len(each.tags) for each in gone), sum(not each.alone for each in gone)
            remain = len(self.deletions) - len(gone)
            done = f"pruned {gone_tags:,} of {tags} and {gone_manifests:,} of {manifests}"
            done += f"; {remain:,} could not be deleted" if remain else ""
            parts = [done if self.deletions else "nothing to prune"]
        if held:
            parts.append(f"{held:,} repositor{'y' if held == 1 else 'ies'} not pruned")
        if self.not_over:
            parts.append("not all was looked at")
        return " · ".join(parts)


MAX_FAILURES = 50
"""Failures that a `Report` holds in memory; the report file has them all."""
CREATED_SHOWN = 10
"""Created repositories in the summary; the report has all of them."""
_COPY_BYTES = 2**18
"""Pieces in which transfers are appended to the report."""
_EXIT_INTERNAL = 70
"""An internal error (EX_SOFTWARE of sysexits.h)."""
_SIGNAL_EXIT_CODES = {"SIGHUP": 129, "SIGINT": 130, "SIGTERM": 143, "drain": 130}
"""128 + the signal's number, as shells report it (POSIX.1-2017, XCU 2.8.2); a drain is a gentle interrupt."""


class Totals(Struct):
    """Sums over the images that have ended so far. Sizes are bytes.

    `requests` counts by kind (`registry.Operation`). `bytes_planned` is what a dry run would move.
    """

    outcomes: dict[Outcome, int] = field(default_factory=dict)
    bytes_moved: int = 0
    bytes_planned: int = 0
    blobs_moved: int = 0
    blobs_mounted: int = 0
    blobs_present: int = 0
    requests: dict[str, int] = field(default_factory=dict)
    manifests_checked: int = 0
    blobs_checked: int = 0
    bytes_read: int = 0
    differences: int = 0

    def add(self, result: ImageResult) -> None:
        """Counts one more image."""
        self.outcomes[result.outcome] = self.outcomes.get(result.outcome, 0) + 1
        self.bytes_moved += result.bytes_moved
        self.blobs_moved += result.blobs_moved
        self.blobs_mounted += result.blobs_mounted
        self.blobs_present += result.blobs_present
        if result.outcome is Outcome.PLANNED:
            self.bytes_planned += result.bytes_total
        self.manifests_checked += result.manifests_checked or 0
        self.blobs_checked += result.blobs_checked or 0
        self.bytes_read += result.bytes_read or 0
        self.differences += len(result.differences or ())

    def add_requests(self, counts: Mapping[str, int]) -> None:
        """Adds requests by kind."""
        for kind, count in counts.items():
            self.requests[kind] = self.requests.get(kind, 0) + count

    @property
    def images(self) -> int:
        """Images that have ended, whatever the outcome."""
        return sum(self.outcomes.values())

    @property
    def request_count(self) -> int:
        """Requests of every kind."""
        return sum(self.requests.values())

    def as_data(self) -> dict[str, Any]:
        """The totals as plain data for the JSON report."""
        return {
            "images": self.images,
            "outcomes": {
                outcome.value: self.outcomes.get(outcome, 0)
                for outcome in Outcome
                if outcome in self.outcomes or not outcome.is_of_verification
            },
            "bytes_moved": self.bytes_moved,
            "bytes_planned": self.bytes_planned,
            "blobs_moved": self.blobs_moved,
            "blobs_mounted": self.blobs_mounted,
            "blobs_present": self.blobs_present,
            "requests": dict(sorted(self.requests.items())),
            "request_count": self.request_count,
            "manifests_checked": self.manifests_checked,
            "blobs_checked": self.blobs_checked,
            "bytes_read": self.bytes_read,
            "differences": self.differences,
        }


class Report(Value, frozen=True):
    """What a run did. `failures` are the first `MAX_FAILURES`; `settings` are the values really used.

    `started_at` is ISO 8601 in UTC; `interrupted` says what ended the run early: a signal's name ("SIGINT", "SIGTERM",
    "SIGHUP"), "deadline", "stuck", "cancelled" (by its program), or None; `unwritten` says why the report file does not
    exist. `internal_error` is an internal error of image-syncer, for which the run ended early or its counts are
    unreliable: the report is then partial. `resumes` counts how often transfers broke off and were resumed: on the side
    "source", "destination", and "while idle" of both. `limits` has the limits of registries, `mirrors` the bytes and
    the failures of each mirror. `kind` is "sync", "verify" or "prune". `created` are the repositories and projects
    that the run created ("registry/name"). `usage` is processor time and peak memory of coordinator and workers.
    `pruned` is what was deleted, if anything was to be.
    """

    settings: Mapping[str, Any]
    totals: Totals
    started_at: str
    seconds: float
    failures: tuple[ImageResult, ...] = ()
    interrupted: str | None = None
    warnings: tuple[str, ...] = ()
    unwritten: str | None = None
    internal_error: str | None = None
    resumes: Mapping[str, int] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)
    mirrors: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "sync"
    created: tuple[str, ...] = ()
    usage: Mapping[str, float] = field(default_factory=dict)
    pruned: Pruned | None = None

    @property
    def exit_code(self) -> int:
        """0 all as wanted · 1 some image failed or was not tried, something was to be pruned and was not, or the report
        could not be written · 70 an internal error · 129 the terminal is gone · 130 interrupted · 143 terminated.
        """
        if self.internal_error is not None:
            return _EXIT_INTERNAL
        if self.interrupted is not None:
            return _SIGNAL_EXIT_CODES.get(self.interrupted, 1)
        if self.unwritten is not None or (self.pruned is not None and self.pruned.has_failed):
            return 1
        return int(any(count and outcome.is_failure for outcome, count in self.totals.outcomes.items()))

    def summary_line(self) -> str:
        """The run in one line for people."""
        totals = self.totals
        counts = [f"{totals.outcomes[outcome]:,} {outcome}" for outcome in Outcome if totals.outcomes.get(outcome)]
        images = format_count(totals.images, "image")
        parts = [f"{images}: {', '.join(counts)}" if counts else images]
        if self.internal_error:
            parts[0] = f"internal error · {parts[0]}"
        elif self.interrupted:
            parts[0] = f"interrupted ({self.interrupted}) · {parts[0]}"
        if self.kind == "prune":
            parts.append(f"looked at in {format_duration(self.seconds)}")
        elif self.kind == "verify":
            parts.append(self._checks())
        elif totals.outcomes.get(Outcome.PLANNED):
            parts.append(f"{format_size(totals.bytes_planned)} to copy, looked at in {format_duration(self.seconds)}")
        else:
            parts.append(self._movement())
        parts.append(format_count(totals.request_count, "request"))
        return " · ".join(parts)

    def limit_lines(self) -> list[str]:
        """Return a line for people for each registry that refused requests or asked for pauses."""
        said = []
        for name, data in self.limits.items():
            refused, alone_s = data["refused"], data["left_alone_s"]
            parts = []
            if refused:
                parts.append(f"refused {format_count(refused, 'request')} (429)")
            if alone_s:
                parts.append(f"was paused for {format_duration(alone_s)}")
            if data["requests_per_s"] and (rate := data["requests_per_s"][-1][1]) is not None:
                parts.append(f"got at most {rate:.3g} requests per second in the end")
            if refused or alone_s:
                said.append(f"{name} {', '.join(parts)}")
        return said

    def creation_lines(self) -> list[str]:
        """Return a line for people with the first few created repositories; no line where none was created."""
        if not self.created:
            return []
        shown, left = self.created[:CREATED_SHOWN], len(self.created) - CREATED_SHOWN
        more = f" and {left:,} more" if left > 0 else ""
        return [f"created: {', '.join(shown)}{more}"]

    def _checks(self) -> str:
        totals = self.totals
        manifests, blobs = (
            format_count(totals.manifests_checked, "manifest"),
            format_count(totals.blobs_checked, "blob"),
        )
        read = f", {format_size(totals.bytes_read)} read" if totals.bytes_read else ""
        found = f"{format_count(totals.differences, 'difference')} · " if totals.differences else ""
        return f"{found}{manifests} and {blobs} checked{read} in {format_duration(self.seconds)}"

    def _movement(self) -> str:
        totals = self.totals
        moved = f"{format_size(totals.bytes_moved)} in {format_duration(self.seconds)}"
        if totals.bytes_moved and self.seconds > 0:
            moved += f" ({format_rate(totals.bytes_moved / self.seconds)})"
        if resumes := self.resumes.get("source", 0) + self.resumes.get("destination", 0):
            moved += f", {format_count(resumes, 'break')} overcome"
        blobs = format_count(totals.blobs_moved, "blob")
        return f"{moved} · {blobs} moved, {totals.blobs_mounted:,} mounted, {totals.blobs_present:,} already there"

    def as_data(self) -> dict[str, Any]:
        """The report without its images, as plain data."""
        pruned = {} if self.pruned is None else {"pruned": self.pruned.as_data()}
        return {
            "kind": self.kind,
            "started_at": self.started_at,
            "seconds": round(self.seconds, 3),
            "interrupted": self.interrupted,
            "internal_error": self.internal_error,
            "exit_code": self.exit_code,
            "settings": dict(self.settings),
            "totals": self.totals.as_data(),
            "resumes": dict(self.resumes),
            "limits": dict(self.limits),
            "repositories_created": list(self.created),
            "usage": dict(self.usage),
            **pruned,
            "mirrors": dict(self.mirrors),
            "warnings": list(self.warnings),
        }


class ReportWriter:
    """Streams results into `FILE.partial` and makes it `FILE` when the run has ended, in constant memory.

    The document is one JSON object with one image or transfer a line: `{"images": [...], "transfers": [...],
    "started_at": …, "totals": …}`. Transfers end among the images, so they wait in an unnamed file until the last image
    is written. Raises what `PartialFile` raises; failures during the run are raised at its end.
    """

    def __init__(self, path: str) -> None:
        self._file = PartialFile(path, noun="the report", option="--report")
        self._file.write(b'{"images": [\n')
        self._separator = b""
        self._transfers: IO[bytes] | None = None

    def add(self, result: ImageResult) -> None:
        """Write one image. The run continues where that fails."""
        self._file.write(self._separator + orjson.dumps(result.as_data(), default=str))
        self._separator = b",\n"

    def add_transfer(self, record: TransferRecord) -> None:
        """Write one transfer. The run continues where that fails."""
        line = orjson.dumps(record.as_data())
        try:
            if self._transfers is None:
                self._transfers = self._file.open_aside()
                self._transfers.write(line)
            else:
                self._transfers.write(b",\n" + line)
        except OSError as error:
            self._file.fail(error)

    def close(self, report: Report) -> None:
        """Write the rest and give the file its name. Raises SyncError, and leaves no file, where that fails."""
        self._file.write(b'\n],\n"transfers": [\n')
        try:
            if self._transfers is not None:
                with self._transfers as transfers:
                    transfers.seek(0)  # this also flushes the buffer
                    while data := transfers.read(_COPY_BYTES):
                        self._file.write(data)
        except OSError as error:
            self._file.fail(error)
        rest = orjson.dumps(report.as_data(), default=str, option=orjson.OPT_INDENT_2)
        self._file.write(b"\n],\n" + rest.removeprefix(b"{\n") + b"\n")
        self._file.commit()

    def abandon(self) -> None:
        """Leave no file behind; for a run that ended before it could be reported."""
        if self._transfers is not None:
            with contextlib.suppress(OSError):  # the buffer cannot be flushed
                self._transfers.close()
        self._file.abandon()
