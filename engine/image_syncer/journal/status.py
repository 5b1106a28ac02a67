"""How a journal stands, for whoever asks from outside: also while a run writes it, and without touching anything."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone
from functools import partial
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
    parse_record,
)
from image_syncer.telemetry import Outcome
from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.journal.file import JournalFile

__all__ = ["MOST_FAILURES", "JournalStatus", "load_status"]

MOST_FAILURES = 1000
"""Failures of which a status holds the reasons."""


class JournalStatus(Value, frozen=True):
    """A journal at one moment. Times are seconds, sizes bytes.

    `pid` is the process that writes it now (0: unknown which), None where none does. `run` is how the last run stood
    when it last told, None where the journal has none. `images_done` and `blobs_verified` count what the journal has,
    whichever run did it; `failures` are the first `MAX_FAILURES` of the last run.
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
        """Of the last run: "running"; how it ended ("complete", "SIGINT", "deadline", …); "killed" where it did not
        end; "none" where there was none.
        """
        if self.run is None:
            return "none" if self.pid is None else "running"
        if self.pid is not None:
            return "running"
        return self.run.ended or "killed"

    @property
    def images_failed(self) -> int:
        """Images that the last run has given up so far."""
        return self.run.outcomes.get(Outcome.FAILED.value, 0) if self.run else 0

    @property
    def images_left(self) -> int | None:
        """Images, of those that the last run had found, that are still to be brought; None where nobody knows."""
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
        """What a run that is under way told last of the time that is left (`Snapshot.eta_s`); None where it knows too
        little. While tags are being listed, it is of what is known.
        """
        return self.run.eta_s if self.run is not None and self.state == "running" else None

    def as_data(self) -> dict[str, Any]:
        """The status as plain data, for programs."""
        left = self.time_left_s
        return {
            "path": self.path,
            "state": self.state,
            "pid": self.pid,
            "program": self.program,
            "settings": dict(self.settings),
            "begun_at": self.begun_at,
            "looked_at": self.looked_at,
            "run": None if self.run is None else asdict(self.run),
            "images_done": self.images_done,
            "images_failed": self.images_failed,
            "images_left": self.images_left,
            "time_left_s": None if left is None else round(left, 1),
            "blobs_verified": self.blobs_verified,
            "uploads_in_flight": self.uploads_in_flight,
            "damaged_records": self.damaged,
            "failures": [asdict(failure) for failure in self.failures],
        }


def load_status(path: str) -> JournalStatus:
    """How the journal `path` stands. Raises JournalError where there is none, or it cannot be read."""
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
    return JournalStatus(path, pid, "unknown", {}, "", None, 0, 0, 0, (), 0, _now())


def _read(path: str, pid: int | None, file: JournalFile) -> JournalStatus:
    header = file.get("fact", HEADER)
    known = None if header is None else parse_record(Header.from_body, header)
    body = file.get("fact", RUN)
    run = None if body is None else parse_record(RunRecord.from_body, body)
    if run is not None and pid and run.pid != pid:
        run = None  # a run has just begun, and has not told anything yet
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
        failures=tuple(_failures(file)),
        damaged=file.damaged,
        looked_at=_now(),
    )


def _failures(file: JournalFile) -> list[Trouble]:
    rows = file.records("trouble", join_key(Outcome.FAILED.value, ""), MOST_FAILURES)
    found = [parse_record(partial(Trouble.from_record, key), body) for key, body in rows]
    return [trouble for trouble in found if trouble is not None]


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
