"""The journal of `--state`: done images, verified blobs, upload sessions, capabilities, state of the last run.

A done image counts while the source's tag has the digest that was copied (one HEAD); changes by others at the
destination are not noticed. A blob counts as verified where it was: a registry that has deleted it refuses the
manifest, and the image is tried again without that record. A record that is about to become wrong is dropped, and the
drop is on the disk before the destination changes; where that fails, the file is set aside under another name. Later
failures of the file never stop a run. A journal belongs to one release and its settings that decide what an image is.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from image_syncer.config import ForeignLayers, MissingPlatform
from image_syncer.errors import ConfigurationError, JournalError
from image_syncer.journal.lock import JournalLock
from image_syncer.journal.records import (
    HEADER,
    NEW_JOURNAL,
    RUN,
    DoneImage,
    Header,
    JournalChange,
    JournalReadError,
    RunRecord,
    Trouble,
    join_key,
    now_text,
    read_fact,
    split_key,
)
from image_syncer.oci import Digest, ManifestFormat, Repository, is_place
from image_syncer.telemetry import get_logger
from image_syncer.values import as_dict, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from image_syncer.config import Settings
    from image_syncer.journal.file import JournalFile
    from image_syncer.oci import Reference
    from image_syncer.telemetry import ImageResult, Snapshot


def journal_of(settings: Settings, path: str) -> Journal:
    """Return the journal at `path` for a run. Raises JournalError, or ConfigurationError for a dry run."""
    if settings.dry_run:
        raise ConfigurationError("a dry run does nothing that a journal could hold", hint="Leave --state out.")
    platforms = "" if settings.platform_filter.is_empty else str(settings.platform_filter)
    foreign, wanted = settings.foreign_layers, settings.manifest_format
    # The journal has no skipped or failed images, but those that were copied whole.
    whole = settings.missing_platform is MissingPlatform.COPY
    meaning = {
        "--missing-platform": str(settings.missing_platform) if whole else "",
        "--os and --arch": platforms,
        "--force": "given" if settings.force else "",
        "--foreign-layers": "" if foreign is ForeignLayers.LEAVE else str(foreign),
        "--format": "" if wanted is ManifestFormat.KEEP else str(wanted),
    }
    return open_journal(path, meaning)


def open_journal(path: str, meaning: Mapping[str, str]) -> Journal:
    """Open the journal `path`, or create it.

    `meaning` has the settings that decide what an image becomes, by their options. Raises JournalError where another
    run has it open, where it was written with other settings or by another release, or where it cannot be used.
    """
    try:
        from image_syncer.journal.file import JournalFile, make_file
    except ImportError as error:
        raise JournalError(
            f"there can be no journal: this Python was built without SQLite ({error})",
            hint="Run it with another Python, or without --state.",
        ) from None
    path = os.path.realpath(path)
    with contextlib.ExitStack() as undo:
        lock = JournalLock(path)
        undo.callback(lock.release)
        make_file(path)
        reader = JournalFile(path)
        undo.callback(reader.close)
        header = Header(_program_version(), dict(meaning), now_text())
        try:
            if not reader.prepare(JournalChange("fact", HEADER, header.to_body())):
                _check_header(path, reader.get("fact", HEADER), header)
            reader.load_names()
            journal = Journal(path, lock, reader)
        except JournalReadError as error:
            raise JournalError(f"the journal {path} is damaged: {error}", hint=NEW_JOURNAL) from None
        undo.pop_all()
    return journal


def _check_header(path: str, body: bytes | None, ours: Header) -> None:
    theirs = read_fact(Header, body)
    if theirs is None:
        raise JournalError(f"the journal {path} is damaged: its header cannot be read", hint=NEW_JOURNAL)
    if theirs.program != ours.program:
        raise JournalError(
            f"the journal {path} was written by release {theirs.program} of image-syncer, and this is {ours.program}",
            hint=f"Go on with the release that wrote it. {NEW_JOURNAL}",
        )
    before, now = theirs.meaning, ours.meaning
    differences = [
        f"{name} was {before.get(name) or 'not given'} and is now {now.get(name) or 'not given'}"
        for name in dict.fromkeys((*before, *now))
        if before.get(name, "") != now.get(name, "")
    ]
    if differences:
        raise JournalError(
            f"the journal {path} is of a run with other settings: {'; '.join(differences)}",
            hint=f"Run it with the settings that it had. {NEW_JOURNAL}",
        )


def _program_version() -> str:
    from importlib import metadata

    try:
        return metadata.version("image-syncer")
    except metadata.PackageNotFoundError:
        return "unknown"


ASIDE = ".set-aside"
"""The suffix of a journal that must not be read again."""
TELL_EVERY_S = 1.0
_T = TypeVar("_T")

_log = get_logger(__name__)


class Journal:
    """One journal, open for one run. Reads go to the file at once; a thread batches the writes.

    `warnings` are for the report.
    """

    def __init__(self, path: str, lock: JournalLock, reader: JournalFile) -> None:
        """Take over a `lock` and a prepared `reader`, see `open_journal`."""
        from image_syncer.journal.file import JournalWriter

        self._path = path
        self._lock = lock
        self._reader: JournalFile | None = reader
        self._writer = JournalWriter(path, self._on_failure)
        self._damaged = 0
        self._told_at: float | None = None
        self._set_aside = False
        self._forgotten: set[bytes] = set()
        """Blobs that are missing, though the file may have them until the next batch."""
        self.warnings: list[str] = []
        before, now = read_fact(RunRecord, reader.get("fact", RUN)), now_text()
        self._run = RunRecord(number=before.number + 1 if before else 1, pid=os.getpid(), started_at=now, told_at=now)
        self._writer.put(JournalChange("trouble", b"", None))  # this run tries the last one's failures again
        self._writer.put(JournalChange("fact", RUN, self._run.to_body()))

    def recall(self, destination: Reference) -> DoneImage | None:
        """Return the last image of `destination`."""
        key = join_key(str(destination))
        body = self._ask(lambda reader: reader.get("done", key), otherwise=None)
        return None if body is None else DoneImage.from_body(body)

    def note_done(self, source: Reference, destination: Reference, wanted: str, result: ImageResult) -> None:
        """Note the image of `destination`."""
        if result.source_digest is None or result.destination_digest is None:
            return
        done = DoneImage(str(source), wanted, result.source_digest, result.destination_digest)
        self._put("done", join_key(str(destination)), done.to_body())

    def revoke(self, destination: Reference) -> None:
        """Drop the record of `destination`, which gets another image; `flush` waits for it."""
        self._put("done", join_key(str(destination)), None)

    def note_result(self, result: ImageResult) -> None:
        """Note an image that has ended without success, for `status`."""
        if result.outcome.is_as_wanted:
            return
        kind = result.error.get("kind") if result.error else None
        trouble = Trouble(result.source, result.destination, result.outcome.value, result.reason, kind)
        self._put("trouble", trouble.key, trouble.to_body())

    def has_blob(self, repository: Repository, digest: Digest) -> bool:
        """Return whether the blob was verified in `repository`."""
        if join_key(str(repository), digest) in self._forgotten:
            return False
        return self._ask(lambda reader: reader.has_blob(str(repository), digest), otherwise=False)

    def home(self, registry: str, digest: Digest, realm: str = "") -> str | None:
        """Return a repository of `registry`, whose name begins with `realm`, in which the blob was verified."""
        nowhere: list[str] = []
        for home in self._ask(lambda reader: reader.homes(digest), otherwise=nowhere):
            host, _, name = home.partition("/")
            forgotten = join_key(home, digest) in self._forgotten
            if host == registry and name.startswith(realm) and not forgotten:
                return name
        return None

    def note_blob(self, repository: Repository, digest: Digest) -> None:
        """Note that `repository` has the blob; not for layouts and archives, whose files users may delete."""
        if is_place(repository.registry):
            return
        key = join_key(str(repository), digest)
        self._forgotten.discard(key)
        self._put("blob", key, b"")

    def forget_blob(self, repository: Repository, digest: Digest) -> None:
        """Note that `repository` does not have the blob."""
        key = join_key(str(repository), digest)
        self._forgotten.add(key)
        self._put("blob", key, None)

    async def flush(self) -> None:
        """Return when no revoked record can be read again."""
        if not self._set_aside and not await self._writer.flush():
            self._put_aside("the record of an image that changes could not be dropped from it")

    def sessions(self) -> list[tuple[Repository, Digest, str]]:
        """Return the upload sessions that were open: repository, blob, URL."""
        found = []
        for key, body in self._records("session"):
            with contextlib.suppress(ValueError):
                repository, digest = split_key(key)
                registry, _, name = repository.partition("/")
                found.append((Repository(registry, name), Digest(digest), body.decode()))
        return found

    def note_session(self, repository: Repository, digest: Digest, url: str | None) -> None:
        """Note an open upload session, or (None) its end. Those of layouts and archives end with the run."""
        if is_place(repository.registry):
            return
        self._put("session", join_key(str(repository), digest), None if url is None else url.encode())

    def capabilities(self) -> dict[tuple[str, str], bool]:
        """Return the facts of `RegistryCapabilities` by (registry, fact)."""
        found = {}
        for key, body in self._records("quirk"):
            with contextlib.suppress(ValueError):
                registry, fact = split_key(key)
                found[registry, fact] = body == b"1"
        return found

    def note_capability(self, registry: str, fact: str, value: bool) -> None:
        """Note a fact of a registry."""
        self._put("quirk", join_key(registry, fact), b"1" if value else b"0")

    def is_due(self, now: float) -> bool:
        """Return whether it is time for `note_progress`; `now` is in seconds of a monotonic clock."""
        due = self._told_at is None or now - self._told_at >= TELL_EVERY_S
        if due:
            self._told_at = now
        return due

    def note_progress(self, snapshot: Snapshot, ended: str | None = None) -> None:
        """Note the progress of the run; at its end, how it `ended`."""
        now, progress = now_text(), as_dict(snapshot)
        same = {name: progress[name] for name in RunRecord.__struct_fields__ if name in progress}
        changes = {
            "told_at": now,
            "ended_at": now if ended else None,
            "ended": ended,
            "elapsed_s": round(snapshot.elapsed_s, 3),
            "images_ended": snapshot.images_done,
            "outcomes": {outcome.value: count for outcome, count in snapshot.outcomes.items()},
            "bytes_per_s": round(snapshot.bytes_per_s, 1),
        }
        self._run = replace(self._run, **(same | changes))
        self._put("fact", RUN, self._run.to_body())

    def close(self) -> None:
        """Write what is left, and release the file. May be called again."""
        self._close_file()
        if self._damaged:
            self._warn(
                f"{self._damaged:,} damaged record{'' if self._damaged == 1 else 's'} of the journal {self._path} "
                "counted for nothing",
                "What they said was asked or moved again. Does the disk have errors?",
            )
            self._damaged = 0
        self._lock.release()

    def _put(self, table: str, key: bytes, body: bytes | None) -> None:
        self._writer.put(JournalChange(table, key, body))

    def _records(self, table: str) -> list[tuple[bytes, bytes]]:
        nothing: list[tuple[bytes, bytes]] = []
        return self._ask(lambda reader: reader.records(table), otherwise=nothing)

    def _ask(self, question: Callable[[JournalFile], _T], otherwise: _T) -> _T:
        """Return the answer of the file, or `otherwise` where it cannot be read."""
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
            "The run continues without it. What it does from here on, the next run with this journal will ask the "
            "registries.",
        )

    def _put_aside(self, reason: str) -> None:
        """Rename the file, which must not be read again; that needs no room on the disk."""
        if self._set_aside:
            return
        self._set_aside = True
        self._close_file()
        aside = f"{self._path}{ASIDE}"
        try:
            # The database first: SQLite deletes a WAL without one.
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{self._path}{suffix}").replace(f"{aside}{suffix}")
        except OSError as error:
            self._warn(
                f"the journal {self._path} must not be used again: {reason}",
                f"It could not be renamed ({error.strerror}): remove it. The run continues without it.",
            )
        else:
            self._warn(
                f"the journal {self._path} was set aside as {aside}: {reason}",
                "The run continues without it; the next one begins a new journal, and asks the registries instead.",
            )

    def _close_file(self) -> None:
        self._writer.close()
        if self._reader is not None:
            self._damaged += self._reader.damaged
            self._reader.close()
            self._reader = None

    def _warn(self, text: str, hint: str) -> None:
        """Add a warning to the report, and log it at once."""
        self.warnings.append(f"{text}. {hint}")
        _log.info("journal", message=text, hint=hint)
