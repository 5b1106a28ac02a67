"""The journal of `--state`: what earlier runs have done, and what this one does.

It knows, for each destination, which source manifest was brought there last; which blobs were verified in which
repository; upload sessions in flight; what was learnt of registries; and, for `status`, how the last run stands. An
image is entered only when its manifest was accepted or found, a blob only when it had landed.

*What it is believed.* That an image is done, as long as the source's tag still has the digest that was copied (one
HEAD): what somebody else does to the destination is not noticed. That a blob is where it was verified: a registry that
has removed it since refuses the manifest, and the image is tried again without that belief. *What is never left
standing* is a record that is about to become wrong: before an image is brought to a destination of which the journal
says something else, that record is dropped, and the drop is on the disk. Where that cannot be had, the file is set
aside under another name.

Whatever goes wrong with the file later never stops a run: it goes on without, and says so once.
"""

from __future__ import annotations

import contextlib
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from image_syncer.journal.records import (
    RUN,
    Change,
    DoneImage,
    JournalReadError,
    RunRecord,
    Trouble,
    join_key,
    parse_record,
    split_key,
)
from image_syncer.oci import Digest, Repository, is_place
from image_syncer.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.journal.file import JournalFile
    from image_syncer.journal.lock import JournalLock
    from image_syncer.oci import Reference
    from image_syncer.telemetry import ImageResult, Snapshot

__all__ = ["ASIDE", "Journal"]

ASIDE = ".set-aside"
"""What is added to the name of a journal that must not be read again."""
TELL_EVERY_S = 1.0
_T = TypeVar("_T")

_log = get_logger(__name__)


class Journal:
    """One journal, open for one run. Reads are answered at once from the file; writes are batched in a thread.

    `warnings` are for the report.
    """

    def __init__(self, path: str, lock: JournalLock, reader: JournalFile) -> None:
        """See `journal_opening`."""
        from image_syncer.journal.writer import JournalWriter

        self._path = path
        self._lock = lock
        self._reader: JournalFile | None = reader
        self._writer = JournalWriter(path, self._on_failure)
        self._damaged = 0
        self._told_at: float | None = None
        self._set_aside = False
        self._forgotten: set[bytes] = set()
        """Blobs that were not where the file says until the next batch."""
        self.warnings: list[str] = []
        before = _load_run(reader)
        now = _now()
        self._run = RunRecord(number=before.number + 1 if before else 1, pid=os.getpid(), started_at=now, told_at=now)
        self._writer.put(Change("trouble", b"", None))  # what troubled the last run is tried again in this one
        self._writer.put(Change("fact", RUN, self._run.to_body()))

    def recall(self, destination: Reference) -> DoneImage | None:
        """What was brought to `destination` last."""
        body = self._get("done", join_key(str(destination)))
        return None if body is None else parse_record(DoneImage.from_body, body)

    def note_done(self, source: Reference, destination: Reference, wanted: str, result: ImageResult) -> None:
        """`destination` has what `result` says."""
        if result.source_digest is None or result.destination_digest is None:
            return
        done = DoneImage(str(source), wanted, result.source_digest, result.destination_digest)
        self._put("done", join_key(str(destination)), done.to_body())

    def revoke(self, destination: Reference) -> None:
        """What was brought to `destination` is not what is wanted there: the record is dropped, which `flush` waits
        for.
        """
        self._put("done", join_key(str(destination)), None)

    def note_result(self, result: ImageResult) -> None:
        """An image has ended: what troubles it is told by `status`."""
        if result.outcome.is_as_wanted:
            return
        kind = result.error.get("kind") if result.error else None
        trouble = Trouble(result.source, result.destination, result.outcome.value, result.reason, kind)
        self._put("trouble", trouble.key, trouble.to_body())

    def has_blob(self, repository: Repository, digest: Digest) -> bool:
        """Whether the blob was verified in `repository`."""
        if join_key(str(repository), digest) in self._forgotten:
            return False
        return self._ask(lambda reader: reader.has_blob(str(repository), digest), otherwise=False)

    def home(self, registry: str, digest: Digest, realm: str = "") -> str | None:
        """The name, which begins with `realm`, of a repository of `registry` in which the blob was verified."""
        nowhere: list[str] = []
        for home in self._ask(lambda reader: reader.homes(digest), otherwise=nowhere):
            host, _, name = home.partition("/")
            forgotten = join_key(home, digest) in self._forgotten
            if host == registry and name.startswith(realm) and not forgotten:
                return name
        return None

    def note_blob(self, repository: Repository, digest: Digest) -> None:
        """The blob has landed in `repository`. Of places that are no registry nothing is noted: they are at hand, and
        people remove files.
        """
        if is_place(repository.registry):
            return
        key = join_key(str(repository), digest)
        self._forgotten.discard(key)
        self._put("blob", key, b"")

    def forget_blob(self, repository: Repository, digest: Digest) -> None:
        """`repository` does not have the blob after all."""
        key = join_key(str(repository), digest)
        self._forgotten.add(key)
        self._put("blob", key, None)

    async def flush(self) -> None:
        """Returns when nothing that was revoked will ever be read again."""
        if not self._set_aside and not await self._writer.flush():
            self._put_aside("the record of an image that changes could not be dropped from it")

    def sessions(self) -> list[tuple[Repository, Digest, str]]:
        """Upload sessions that were in flight: repository, blob, address."""
        found = []
        for key, body in self._records("session"):
            with contextlib.suppress(ValueError):
                repository, digest = split_key(key)
                registry, _, name = repository.partition("/")
                found.append((Repository(registry, name), Digest(digest), body.decode()))
        return found

    def note_session(self, repository: Repository, digest: Digest, url: str | None) -> None:
        """An upload session stands, or (None) is no more. Those of places end with the run."""
        if is_place(repository.registry):
            return
        self._put("session", join_key(str(repository), digest), None if url is None else url.encode())

    def capabilities(self) -> dict[tuple[str, str], bool]:
        """What was learnt of registries, by (registry, fact); see `RegistryCapabilities`."""
        found = {}
        for key, body in self._records("quirk"):
            with contextlib.suppress(ValueError):
                registry, fact = split_key(key)
                found[registry, fact] = body == b"1"
        return found

    def note_capability(self, registry: str, fact: str, value: bool) -> None:
        """Something was learnt of a registry."""
        self._put("quirk", join_key(registry, fact), b"1" if value else b"0")

    def is_due(self, now: float) -> bool:
        """Whether it is time for `note_progress`; `now` in seconds of a monotonic clock."""
        due = self._told_at is None or now - self._told_at >= TELL_EVERY_S
        if due:
            self._told_at = now
        return due

    def note_progress(self, snapshot: Snapshot, ended: str | None = None) -> None:
        """How the run stands; at its end, how it `ended`."""
        now = _now()
        self._run = RunRecord(
            number=self._run.number,
            pid=self._run.pid,
            started_at=self._run.started_at,
            told_at=now,
            ended_at=now if ended else None,
            ended=ended,
            elapsed_s=round(snapshot.elapsed_s, 3),
            images_total=snapshot.images_total,
            images_ended=snapshot.images_done,
            outcomes={outcome.value: count for outcome, count in snapshot.outcomes.items()},
            listing=snapshot.listing,
            blobs_total=snapshot.blobs_total,
            blobs_done=snapshot.blobs_done,
            bytes_total=snapshot.bytes_total,
            bytes_done=snapshot.bytes_done,
            bytes_per_s=round(snapshot.bytes_per_s, 1),
            eta_s=snapshot.eta_s,
            eta_least_s=snapshot.eta_least_s,
            eta_most_s=snapshot.eta_most_s,
        )
        self._put("fact", RUN, self._run.to_body())

    def close(self) -> None:
        """Write what is left, and give the file free for others. May be called again."""
        self._writer.close()
        if self._reader is not None:
            self._count_damaged(self._reader)
            self._reader.close()
            self._reader = None
        if self._damaged:
            self._warn(
                f"{self._damaged:,} damaged record{'' if self._damaged == 1 else 's'} of the journal {self._path} "
                "counted for nothing",
                "What they said was asked or moved again. Does the disk have errors?",
            )
            self._damaged = 0
        self._lock.release()

    def _put(self, table: str, key: bytes, body: bytes | None) -> None:
        self._writer.put(Change(table, key, body))

    def _get(self, table: str, key: bytes) -> bytes | None:
        return self._ask(lambda reader: reader.get(table, key), otherwise=None)

    def _records(self, table: str) -> list[tuple[bytes, bytes]]:
        nothing: list[tuple[bytes, bytes]] = []
        return self._ask(lambda reader: reader.records(table), otherwise=nothing)

    def _ask(self, question: Callable[[JournalFile], _T], otherwise: _T) -> _T:
        """The answer of the file, as long as it can be read."""
        if self._reader is None:
            return otherwise
        try:
            return question(self._reader)
        except JournalReadError as error:
            self._put_aside(str(error))
            return otherwise

    def _on_failure(self, reason: str) -> None:
        self._warn(
            f"the journal {self._path} is not written any more: {reason}",
            "The run goes on without it. What it does from here on, the next run with this journal will ask the "
            "registries.",
        )

    def _put_aside(self, reason: str) -> None:
        """Nobody may read the file again. What is set aside is the name: that needs no room on the disk."""
        if self._set_aside:
            return
        self._set_aside = True
        self._writer.close()
        if self._reader is not None:
            self._count_damaged(self._reader)
            self._reader.close()
            self._reader = None
        aside = f"{self._path}{ASIDE}"
        try:
            # First the database: SQLite deletes a WAL that has none.
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{self._path}{suffix}").replace(f"{aside}{suffix}")
        except OSError as error:
            self._warn(
                f"the journal {self._path} must not be used again: {reason}",
                f"It could not be renamed ({error.strerror}): remove it. The run goes on without it.",
            )
        else:
            self._warn(
                f"the journal {self._path} was set aside as {aside}: {reason}",
                "The run goes on without it; the next one begins a new journal, and asks the registries instead.",
            )

    def _count_damaged(self, reader: JournalFile) -> None:
        self._damaged += reader.damaged
        reader.damaged = 0

    def _warn(self, text: str, hint: str) -> None:
        """Once on the terminal, with the report's other warnings at the end; at once in the log."""
        self.warnings.append(f"{text}. {hint}")
        _log.info("journal", message=text, hint=hint)


def _load_run(reader: JournalFile) -> RunRecord | None:
    body = reader.get("fact", RUN)
    return None if body is None else parse_record(RunRecord.from_body, body)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
