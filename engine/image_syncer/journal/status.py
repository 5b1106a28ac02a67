"""The status of a journal for `status`, also while a run writes it; nothing is changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from image_syncer.errors import JournalError
from image_syncer.journal.lock import find_holder
from image_syncer.journal.records import (
    HEADER,
    RUN,
    Header,
    JournalReadError,
    RunRecord,
    Trouble,
    join_key,
    now_text,
    read_fact,
)
from image_syncer.telemetry import Outcome
from image_syncer.values import Value, as_dict

if TYPE_CHECKING:
    from image_syncer.journal.file import JournalFile


MOST_FAILURES = 1000
"""Failures in a status."""


class JournalStatus(Value, frozen=True):
    """A journal at one moment. Times are seconds, sizes bytes.

    `pid` is the process that writes it now (0: unknown), None without one. `run` is the last note of the last run, None
    without one. `images_done` and `blobs_verified` count all runs of the journal; `failures` are the first
    `MOST_FAILURES` of the last run.
    """

    path: str
    pid: int | None
    program: str
    settings: dict[str, str]
    begun_at: str
    run: RunRecord | None
    images_done: int
    blobs_verified: int
    uploads_in_flight: int
    failures: tuple[Trouble, ...]
    damaged: int
    looked_at: str

    @property
    def state(self) -> str:
        """The last run: "running"; how it ended ("complete", "SIGINT", "deadline", …); "killed"; "none" without one."""
        if self.run is None:
            return "none" if self.pid is None else "running"
        if self.pid is not None:
            return "running"
        return self.run.ended or "killed"

    @property
    def images_failed(self) -> int:
        """Images that have failed in the last run so far."""
        return self.run.outcomes.get(Outcome.FAILED.value, 0) if self.run else 0

    @property
    def images_left(self) -> int | None:
        """Images that the last run has found and not yet copied; None where that is unknown."""
        run = self.run
        if run is None:
            return None
        if self.state == "running":
            return max(0, run.images_total - run.images_ended)
        if run.ended is not None:
            return self.images_failed + run.outcomes.get(Outcome.NOT_TRIED.value, 0)
        skipped = run.outcomes.get(Outcome.SKIPPED.value, 0)
        return max(0, run.images_total - self.images_done - skipped)

    @property
    def time_left_s(self) -> float | None:
        """The time left of a run in progress (`Snapshot.eta_s`), by its last note; None where that is unknown."""
        return self.run.eta_s if self.run is not None and self.state == "running" else None

    def as_data(self) -> dict[str, Any]:
        """Return the status as plain data for programs."""
        left = self.time_left_s
        return {
            "path": self.path,
            "state": self.state,
            "pid": self.pid,
            "program": self.program,
            "settings": dict(self.settings),
            "begun_at": self.begun_at,
            "looked_at": self.looked_at,
            "run": None if self.run is None else as_dict(self.run),
            "images_done": self.images_done,
            "images_failed": self.images_failed,
            "images_left": self.images_left,
            "time_left_s": None if left is None else round(left, 1),
            "blobs_verified": self.blobs_verified,
            "uploads_in_flight": self.uploads_in_flight,
            "damaged_records": self.damaged,
            "failures": [as_dict(failure) for failure in self.failures],
        }


def load_status(path: str) -> JournalStatus:
    """Return the status of the journal `path`. Raises JournalError where it does not exist or cannot be read."""
    try:
        from image_syncer.journal.file import JournalFile
    except ImportError as error:
        raise JournalError(f"a journal cannot be read: this Python was built without SQLite ({error})") from None
    real = str(Path(path).resolve())
    pid = find_holder(real)
    file = JournalFile(real, read_only=True)
    try:
        if not file.is_new():
            file.check_format()
            return _read(path, pid, file)
    except JournalReadError as error:
        raise JournalError(f"the journal {path} cannot be read: {error}") from None
    finally:
        file.close()
    return JournalStatus(path, pid, "unknown", {}, "", None, 0, 0, 0, (), 0, now_text())


def _read(path: str, pid: int | None, file: JournalFile) -> JournalStatus:
    known, run = read_fact(Header, file.get("fact", HEADER)), read_fact(RunRecord, file.get("fact", RUN))
    if run is not None and pid and run.pid != pid:
        run = None  # a run has just begun, and has noted nothing yet
    troubles = file.records("trouble", join_key(Outcome.FAILED.value, ""), MOST_FAILURES)
    failures = (Trouble.from_record(key, body) for key, body in troubles)
    return JournalStatus(
        path=path,
        pid=pid,
        program=known.program if known else "unknown",
        settings=known.meaning if known else {},
        begun_at=known.begun_at if known else "",
        run=run,
        images_done=file.count("done"),
        blobs_verified=file.count("blob"),
        uploads_in_flight=file.count("session"),
        failures=tuple(failure for failure in failures if failure is not None),
        damaged=file.damaged,
        looked_at=now_text(),
    )
