"""Report: what a whole run did, in one line for people and in one JSON document for programs.

The images and transfers of a run are not held in memory: `ReportWriter` streams each one to a file as it ends.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import orjson
from msgspec import Struct, field

from image_syncer.errors import SyncError
from image_syncer.telemetry.limits import describe_limits
from image_syncer.telemetry.outcome import ImageResult, Outcome
from image_syncer.telemetry.partial_file import PartialFile
from image_syncer.units import format_duration, format_rate, format_size
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO

    from image_syncer.telemetry.pruned import Pruned
    from image_syncer.telemetry.transfer_record import TransferRecord

__all__ = ["MAX_FAILURES", "Report", "ReportWriter", "Totals"]

MAX_FAILURES = 50
"""Failures that a `Report` holds in memory; the report file has them all."""

CREATED_SHOWN = 10
"""Of what was created; the report has all of it."""

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

    `started_at` is ISO 8601 in UTC; `interrupted` says what ended it before all was done: a signal's name ("SIGINT",
    "SIGTERM", "SIGHUP"), "deadline", "stuck", "cancelled" (by the program around it), or None; `unwritten` says why the
    file that was asked for is not there.
    `internal_error` is an internal error of image-syncer, for which the run ended early or its counts are unreliable;
    the report is then a partial one. `resumes` counts how often transfers broke off and went on: on the side "source",
    "destination", and "while idle" of both. `limits` has what was learnt of registries that limited us, by registry,
    `mirrors` the bytes and the failures of each mirror that was asked. `kind` is "sync", "verify" or "prune". `created`
    are repositories and projects that had to be made ("registry/name"). `usage` is processor time and peak memory of
    the coordinator and of the workers. `pruned` is what was deleted, where that was
    asked for.
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
        images = f"{totals.images:,} image{'' if totals.images == 1 else 's'}"
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
        parts.append(f"{totals.request_count:,} request{'' if totals.request_count == 1 else 's'}")
        return " · ".join(parts)

    def limit_lines(self) -> list[str]:
        """For people: each registry that refused requests for their number, or asked to be left alone, in a line."""
        return describe_limits(self.limits)

    def creation_lines(self) -> list[str]:
        """For people: what was created, in a line; of many, the first few."""
        if not self.created:
            return []
        shown, left = self.created[:CREATED_SHOWN], len(self.created) - CREATED_SHOWN
        more = f" and {left:,} more" if left > 0 else ""
        return [f"created: {', '.join(shown)}{more}"]

    def _checks(self) -> str:
        totals = self.totals
        counts = (
            (totals.differences, "difference"),
            (totals.manifests_checked, "manifest"),
            (totals.blobs_checked, "blob"),
        )
        differences, manifests, blobs = (f"{count:,} {noun}{'' if count == 1 else 's'}" for count, noun in counts)
        read = f", {format_size(totals.bytes_read)} read" if totals.bytes_read else ""
        found = f"{differences} · " if totals.differences else ""
        return f"{found}{manifests} and {blobs} checked{read} in {format_duration(self.seconds)}"

    def _movement(self) -> str:
        totals = self.totals
        moved = f"{format_size(totals.bytes_moved)} in {format_duration(self.seconds)}"
        if totals.bytes_moved and self.seconds > 0:
            moved += f" ({format_rate(totals.bytes_moved / self.seconds)})"
        went_on = self.resumes.get("source", 0) + self.resumes.get("destination", 0)
        if went_on:
            moved += f", {went_on:,} break{'' if went_on == 1 else 's'} overcome"
        blobs = f"{totals.blobs_moved:,} blob{'' if totals.blobs_moved == 1 else 's'} moved"
        return f"{moved} · {blobs}, {totals.blobs_mounted:,} mounted, {totals.blobs_present:,} already there"

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
    "started_at": …, "totals": …}`. Transfers end among the images, so they wait in a file without a name until the last
    image is written. Raises what `PartialFile` raises, but for what goes wrong in the middle of a run: that is said at
    its end.
    """

    def __init__(self, path: str) -> None:
        self._file = PartialFile(path, noun="the report", option="--report")
        self._file.write(b'{"images": [\n')
        self._separator = b""
        self._transfers: IO[bytes] | None = None
        self._failure: SyncError | None = None

    def add(self, result: ImageResult) -> None:
        """Writes one image. The copying goes on where that fails."""
        if self._failure is not None:
            return
        try:
            self._file.write(self._separator + orjson.dumps(result.as_data(), default=str))
        except SyncError as error:
            self._failure = error
        self._separator = b",\n"

    def add_transfer(self, record: TransferRecord) -> None:
        """Writes one transfer. The copying goes on where that fails."""
        if self._failure is not None:
            return
        line = orjson.dumps(record.as_data())
        try:
            if self._transfers is None:
                self._transfers = self._file.open_aside()
                self._transfers.write(line)
            else:
                self._transfers.write(b",\n" + line)
        except OSError as error:
            self._failure = self._file.failure(error)

    def close(self, report: Report) -> None:
        """Writes everything else and gives the file its name. Raises SyncError, and leaves no file, where the report
        could not be written.
        """
        try:
            if self._failure is not None:
                raise self._failure
            self._finish(report)
        except SyncError:
            self.abandon()
            raise

    def _finish(self, report: Report) -> None:
        self._file.write(b'\n],\n"transfers": [\n')
        self._append_transfers()
        rest = orjson.dumps(report.as_data(), default=str, option=orjson.OPT_INDENT_2)
        self._file.write(b"\n],\n" + rest.removeprefix(b"{\n") + b"\n")
        self._file.commit()

    def _append_transfers(self) -> None:
        if self._transfers is None:
            return
        try:
            self._transfers.seek(0)  # what is still in a buffer goes to the disk here
            while data := self._transfers.read(_COPY_BYTES):
                self._file.write(data)
            self._transfers.close()
        except OSError as error:
            raise self._file.failure(error) from None

    def abandon(self) -> None:
        """Leaves no file behind; for a run that ended before it could be reported."""
        if self._transfers is not None:
            with contextlib.suppress(OSError):  # what is in its buffer has nowhere to go
                self._transfers.close()
        self._file.abandon()
