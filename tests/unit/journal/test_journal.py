"""The journal by itself: what it gives back, what it never believes, and what becomes of it when its disk fails."""

from __future__ import annotations

import asyncio
import resource
import shutil
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from image_syncer.coordinator.open_image import ImageMemory
from image_syncer.errors import JournalError
from image_syncer.journal.file import JournalFile
from image_syncer.journal.journal import ASIDE, Journal, open_journal
from image_syncer.journal.known_blobs import JournaledKnownBlobs
from image_syncer.journal.lock import JournalLock
from image_syncer.journal.records import DoneImage, JournalChange, JournalReadError, join_key
from image_syncer.journal.status import load_status
from image_syncer.oci import Digest, PlatformFilter, Repository, digest_of, parse_reference
from image_syncer.scheduling import KnownBlobsInMemory
from image_syncer.telemetry import ImageResult, Outcome, Snapshot

SOURCE = parse_reference("source.example/team/app:v1")
TARGET = parse_reference("target.example/team/app:v1")
HOME, OTHER = Repository("target.example", "team/app"), Repository("target.example", "team/other")
ALL = PlatformFilter()
SEED = 20
BATCHES, IN_A_BATCH = 8, 12


def digest(number: int) -> Digest:
    return digest_of(number.to_bytes(8, "big"))


def result(number: int, outcome: Outcome = Outcome.COPIED, **facts: object) -> ImageResult:
    return ImageResult(str(SOURCE), str(TARGET), outcome, source_digest=digest(number), **facts)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "run.db")


def opened(path: str) -> closing[Journal]:
    return closing(open_journal(path, {}))


def test_it_gives_back_what_it_was_told(path: str) -> None:
    with opened(path) as journal:
        journal.note_done(SOURCE, TARGET, "", result(1, destination_digest=digest(2)))
        journal.note_blob(HOME, digest(3))
        journal.note_session(HOME, digest(4), "http://target.example/v2/team/app/blobs/uploads/1?_state=x")
        journal.note_session(OTHER, digest(4), "http://target.example/gone")
        journal.note_session(OTHER, digest(4), None)
        journal.note_capability("target.example", "keeps partial uploads", False)
        journal.note_capability("other.example", "keeps partial uploads", True)
    with opened(path) as journal:
        assert journal.recall(TARGET) == DoneImage(str(SOURCE), "", digest(1), digest(2))
        assert journal.has_blob(HOME, digest(3))
        assert not journal.has_blob(OTHER, digest(3))
        assert not journal.has_blob(HOME, digest(1))
        assert journal.home("target.example", digest(3)) == "team/app"
        assert journal.home("source.example", digest(3)) is None
        assert journal.sessions() == [(HOME, digest(4), "http://target.example/v2/team/app/blobs/uploads/1?_state=x")]
        assert journal.capabilities() == {
            ("target.example", "keeps partial uploads"): False,
            ("other.example", "keeps partial uploads"): True,
        }
        assert journal.warnings == []


def test_it_may_be_read_by_its_owner_only(path: str) -> None:
    with opened(path) as journal:
        journal.note_blob(HOME, digest(1))
        asyncio.run(journal.flush())
        files = sorted(Path(path).parent.iterdir())
        assert [file.name for file in files] == ["run.db", "run.db-lock", "run.db-shm", "run.db-wal"]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert sorted(file.name for file in Path(path).parent.iterdir()) == ["run.db", "run.db-lock"]


@pytest.mark.parametrize(
    ("source", "wanted"),
    [("source.example/team/other:v1", ALL), (str(SOURCE), PlatformFilter(architectures=("amd64",)))],
)
def test_an_image_of_another_source_or_filter_is_not_recalled(path: str, source: str, wanted: PlatformFilter) -> None:
    with opened(path) as journal:
        journal.note_done(SOURCE, TARGET, "", result(1, destination_digest=digest(1)))
    with opened(path) as journal:
        assert ImageMemory(journal, SOURCE, [TARGET], ALL).recalled.keys() == {TARGET}
        assert ImageMemory(journal, parse_reference(source), [TARGET], wanted).recalled == {}


def test_what_does_not_fit_is_gone_before_the_destination_changes(path: str) -> None:
    with opened(path) as journal:
        journal.note_done(SOURCE, TARGET, "", result(1, destination_digest=digest(1)))
    with opened(path) as journal:
        memory = ImageMemory(journal, parse_reference("source.example/team/other:v1"), [TARGET], ALL)
        assert memory.recalled == {}
        asyncio.run(memory.settled())
        with closing(JournalFile(path, read_only=True)) as seen:
            assert seen.count("done") == 0


def test_nothing_waits_for_the_disk_where_nothing_is_revoked(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(path) as journal:
        memory = ImageMemory(journal, SOURCE, [TARGET], ALL)
        monkeypatch.setattr(journal, "flush", None)
        asyncio.run(memory.settled())


def test_blobs_that_are_forgotten_are_not_known_from_that_moment_on(path: str) -> None:
    with opened(path) as journal:
        journal.note_blob(HOME, digest(1))
        journal.note_blob(OTHER, digest(1))
    with opened(path) as journal:
        known_blobs = JournaledKnownBlobs(KnownBlobsInMemory(), journal)
        assert known_blobs.has(HOME, digest(1))
        assert known_blobs.knows("target.example", digest(1))
        known_blobs.forget(HOME, digest(1))
        assert not known_blobs.has(HOME, digest(1))
        assert known_blobs.home("target.example", digest(1)) == OTHER.name
        known_blobs.forget(OTHER, digest(1))
        assert known_blobs.home("target.example", digest(1)) is None
        known_blobs.add(HOME, digest(1))
    with opened(path) as journal:
        assert (journal.has_blob(HOME, digest(1)), journal.has_blob(OTHER, digest(1))) == (True, False)


def test_what_troubled_the_last_run_is_told_and_cleared_by_the_next(path: str) -> None:
    error = {"kind": "not found", "message": "gone"}
    with opened(path) as journal:
        journal.note_result(result(1, Outcome.FAILED, reason="gone", error=error))
        journal.note_result(result(1, Outcome.UNCHANGED))
        outcomes = {Outcome.FAILED: 1, Outcome.UNCHANGED: 1}
        journal.note_progress(Snapshot(images_total=3, images_done=2, outcomes=outcomes), ended="SIGINT")
    status = load_status(path)
    assert (status.state, status.images_failed, status.images_left, status.pid) == ("SIGINT", 1, 1, None)
    [failure] = status.failures
    assert (failure.destination, failure.reason, failure.kind) == (str(TARGET), "gone", "not found")
    assert status.time_left_s is None
    with opened(path):
        pass
    assert load_status(path).failures == ()


def test_a_run_that_did_not_end_was_killed(path: str) -> None:
    with opened(path) as journal:
        journal.note_done(SOURCE, TARGET, "", result(1, destination_digest=digest(1)))
        copied = {Outcome.COPIED: 5}
        journal.note_progress(Snapshot(elapsed_s=10, images_total=11, images_done=5, outcomes=copied, eta_s=12.0))
        asyncio.run(journal.flush())
        status = load_status(path)
        assert (status.state, status.images_left, status.time_left_s) == ("running", 6, 12.0)
    status = load_status(path)
    assert (status.state, status.images_left, status.time_left_s) == ("killed", 10, None)


@pytest.mark.parametrize("content", [b"images:\n", b"\0" * 5000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_what_is_no_journal_is_refused_and_left_as_it_is(path: str, content: bytes) -> None:
    Path(path).write_bytes(content)
    with pytest.raises(JournalError) as caught:
        open_journal(path, {})
    assert caught.value.exit_code == 2
    assert Path(path).read_bytes() == content


def test_a_database_of_others_is_refused_and_left_as_it_is(path: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE theirs (what)")
    before = Path(path).read_bytes()
    with pytest.raises(JournalError, match="is a database, and not a journal"):
        open_journal(path, {})
    with pytest.raises(JournalError, match="is a database, and not a journal"):
        load_status(path)
    assert Path(path).read_bytes() == before


def test_an_empty_file_is_a_new_journal(path: str) -> None:
    Path(path).touch()
    status = load_status(path)
    assert (status.state, status.run, status.images_left) == ("none", None, None)
    with opened(path) as journal:
        assert journal.sessions() == []


@pytest.mark.parametrize("name", ["no such folder/run.db", "."])
def test_a_file_that_cannot_be_made_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(JournalError, match="cannot be"):
        open_journal(str(tmp_path / name), {})


def test_other_settings_are_told_and_refused(path: str) -> None:
    open_journal(path, {"--os and --arch": "os linux", "--force": ""}).close()
    with pytest.raises(JournalError) as caught:
        open_journal(path, {"--os and --arch": "", "--force": "given"})
    assert "--os and --arch was os linux and is now not given; --force was not given and is now given" in str(
        caught.value
    )
    assert "two requests for each image" in str(caught.value)
    open_journal(path, {"--os and --arch": "os linux", "--force": ""}).close()


def test_another_release_and_another_format_are_told_and_refused(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    open_journal(path, {}).close()
    with monkeypatch.context() as patch:
        patch.setattr("importlib.metadata.version", lambda _name: "99.0")
        with pytest.raises(JournalError, match=r"was written by release .* and this is 99\.0"):
            open_journal(path, {})
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 7")
    with pytest.raises(JournalError, match="has format 7, and this release reads format 1"):
        open_journal(path, {})


def test_a_python_without_sqlite_says_so(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "image_syncer.journal.file", None)
    with pytest.raises(JournalError, match="built without SQLite"):
        open_journal(path, {})
    with pytest.raises(JournalError, match="built without SQLite"):
        load_status(path)


def test_there_is_no_status_of_what_is_not_there(path: str) -> None:
    with pytest.raises(JournalError, match="No such file"):
        load_status(path)
    assert list(Path(path).parent.iterdir()) == []


def test_the_lock_is_on_the_file_whatever_its_name(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("image_syncer.journal.lock._PATIENCE_S", 0.0)
    other = Path(path).with_name("link.db")
    other.symlink_to(path)
    with opened(path), pytest.raises(JournalError, match="is writing the journal"):
        open_journal(str(other), {})
    JournalLock(path).release()


def test_a_full_disk_ends_the_journal_and_not_the_run(path: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(path) as journal:
        journal.note_done(SOURCE, TARGET, "", result(1, destination_digest=digest(1)))
        asyncio.run(journal.flush())
        room = Path(f"{path}-wal").stat().st_size + 20_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        try:
            for number in range(2000):
                journal.note_blob(HOME, digest(number))
            asyncio.run(journal._writer.flush())
            [warning] = journal.warnings
            assert "is not written any more" in warning
            assert journal.recall(TARGET) is not None
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with opened(path) as journal:
        assert journal.recall(TARGET) is not None


def test_after_a_full_disk_what_was_written_is_still_good(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(path) as journal:
        journal.note_done(SOURCE, TARGET, "", result(1, destination_digest=digest(1)))
        asyncio.run(journal.flush())
        monkeypatch.setattr(JournalFile, "write", _full)
        journal.note_blob(HOME, digest(1))
        asyncio.run(journal._writer.flush())
        [warning] = journal.warnings
        assert "is not written any more: database or disk is full" in warning
        assert journal.recall(TARGET) is not None
    monkeypatch.undo()
    with opened(path) as journal:
        assert journal.recall(TARGET) is not None
        assert not journal.has_blob(HOME, digest(1))


def test_a_journal_that_would_become_wrong_on_a_full_disk_is_set_aside(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(path) as journal:
        journal.note_done(SOURCE, TARGET, "", result(1, destination_digest=digest(1)))
    with opened(path) as journal:
        monkeypatch.setattr(JournalFile, "write", _full)
        memory = ImageMemory(journal, parse_reference("source.example/team/other:v1"), [TARGET], ALL)
        asyncio.run(memory.settled())
        assert any(f"was set aside as {path}{ASIDE}" in warning for warning in journal.warnings)
        assert not Path(path).exists()
        assert not Path(f"{path}-wal").exists()
        assert journal.recall(TARGET) is None
    monkeypatch.undo()
    with opened(path) as journal:
        assert journal.recall(TARGET) is None
        assert journal.warnings == []


def test_a_disk_that_stands_still_keeps_nobody_waiting(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("image_syncer.journal.file.MOST_PENDING", 100)
    with opened(path) as journal, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # whoever else writes has to wait
        for number in range(1000):
            journal.note_blob(HOME, digest(number))
        [warning] = journal.warnings
        assert "the disk is too slow" in warning
        assert len(journal._writer._pending) == 0
        other.execute("ROLLBACK")


def _full(*_: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


class Truth:
    """A journal written in batches, all of whose records are known, and where in the WAL each batch was whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records = {
            ("done", join_key(f"target.example/app:v{number}")): self._body(number) for number in self._all()
        }
        self.ends: list[int] = []
        with opened(str(path)) as journal:
            asyncio.run(journal.flush())
            for batch in range(BATCHES):
                for number in range(batch * IN_A_BATCH, (batch + 1) * IN_A_BATCH):
                    name = join_key(f"target.example/app:v{number}")
                    journal._writer.put(JournalChange("done", name, self._body(number)))
                    journal.note_blob(HOME, digest(number))
                asyncio.run(journal.flush())
                self.ends.append(Path(f"{path}-wal").stat().st_size)
            self.database = path.read_bytes()
            self.wal = Path(f"{path}-wal").read_bytes()
        self.closed = path.read_bytes()

    def read(self, database: bytes, wal: bytes | None = None) -> int | None:
        """How many batches are there whole, when the files are these; None where they cannot be opened, or read to the
        end. Fails the test where something is there that was never written.
        """
        for suffix in ("", "-wal", "-shm", "-journal"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        self.path.write_bytes(database)
        if wal is not None:
            Path(f"{self.path}-wal").write_bytes(wal)
        try:
            with closing(JournalFile(str(self.path))) as file:
                file.check_format()
                file.load_names()
                return self._check(file)
        except (JournalError, JournalReadError):
            return None

    def _check(self, file: JournalFile) -> int:
        found = [dict(file.records("done"))]
        found.append({key: body for _, key in self.records if (body := file.get("done", key)) is not None})
        for records in found:
            for key, body in records.items():
                assert self.records["done", key] == body
        for number in range(BATCHES * IN_A_BATCH, BATCHES * IN_A_BATCH + 20):
            assert not file.has_blob(str(HOME), digest(number))
            assert file.homes(digest(number)) == []
        there = [
            join_key(f"target.example/app:v{number}") in found[1] and file.has_blob(str(HOME), digest(number))
            for number in self._all()
        ]
        for number in self._all():
            assert not file.has_blob(str(OTHER), digest(number))
            assert set(file.homes(digest(number))) <= {str(HOME)}
        whole = [all(there[at : at + IN_A_BATCH]) for at in range(0, len(there), IN_A_BATCH)]
        return sum(whole)

    @staticmethod
    def _all() -> range:
        return range(BATCHES * IN_A_BATCH)

    @staticmethod
    def _body(number: int) -> bytes:
        return DoneImage(f"source.example/app:v{number}", "", digest(number), digest(number)).to_body()


@pytest.fixture
def truth(tmp_path: Path) -> Truth:
    return Truth(tmp_path / "run.db")


def test_a_torn_wal_loses_the_last_batch_and_nothing_else(truth: Truth) -> None:
    frames = range(32, len(truth.wal), 4096 + 24)
    places = sorted({*range(0, len(truth.wal), 1009), *(near for at in frames for near in (at - 1, at, at + 1))})
    for place in [*places, len(truth.wal)]:
        # What ends before the tables are there cannot be opened as a journal; a run makes it anew.
        whole = truth.read(truth.database, truth.wal[:place]) or 0
        assert whole == sum(end <= place for end in truth.ends), place


def test_a_torn_file_is_refused_or_believed_only_where_it_is_right(truth: Truth) -> None:
    assert truth.read(truth.closed) == BATCHES
    results = [truth.read(truth.closed[:place]) for place in range(1, len(truth.closed), 509)]
    assert results.count(None) > 0


def test_tables_whose_names_are_damaged_are_told(truth: Truth, tmp_path: Path) -> None:
    """SQLite's own message repeats the name, and is no text then."""
    damaged = truth.closed.replace(b"CREATE TABLE repository", b"CREATE TABLE reposit\xc5ry")
    damaged = damaged.replace(b"tablerepositoryrepository", b"tablereposit\xc5ryrepository")
    assert damaged != truth.closed
    path = tmp_path / "damaged"
    path.write_bytes(damaged)
    with pytest.raises(JournalError, match="damaged") as caught:
        JournalFile(str(path))
    assert caught.value.hint is not None


@pytest.mark.parametrize("flips", [100, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("part", ["closed", "database", "wal"])
def test_no_flipped_bit_makes_anything_believed_that_is_not_true(truth: Truth, part: str, flips: int) -> None:
    random = Random(f"{SEED} {part}")
    content = getattr(truth, part)
    places = random.sample(range(len(content)), flips)
    kept = 0
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << random.randrange(8)
        if part == "wal":
            whole = truth.read(truth.database, bytes(damaged))
        else:
            whole = truth.read(bytes(damaged), truth.wal if part == "database" else None)
        kept += bool(whole)
    assert kept > 0


def test_a_flipped_bit_in_a_record_drops_it_with_a_warning(truth: Truth) -> None:
    truth.read(truth.closed)
    body = truth.records["done", join_key("target.example/app:v5")]
    place = truth.closed.index(body)
    damaged = bytearray(truth.closed)
    damaged[place + 10] ^= 1
    truth.path.write_bytes(damaged)
    with opened(str(truth.path)) as journal:
        assert journal.recall(parse_reference("target.example/app:v5")) is None
        assert journal.recall(parse_reference("target.example/app:v6")) is not None
    [warning] = journal.warnings
    assert warning.startswith("1 damaged record of the journal")


def test_a_number_that_means_another_repository_proves_nothing(path: str) -> None:
    with opened(path) as journal:
        journal.note_blob(HOME, digest(1))
        journal.note_blob(OTHER, digest(2))
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE repository SET number = 3 - number + 10")
        database.execute("UPDATE repository SET number = number - 10")
        database.commit()
    with opened(path) as journal:
        assert not journal.has_blob(OTHER, digest(1))
        assert not journal.has_blob(HOME, digest(2))
        assert journal.home("target.example", digest(1)) is None


def test_a_copy_of_the_file_is_another_journal(truth: Truth, tmp_path: Path) -> None:
    truth.read(truth.closed)
    shutil.copy(truth.path, tmp_path / "copy.db")
    with opened(str(truth.path)), opened(str(tmp_path / "copy.db")) as copy:
        assert copy.has_blob(HOME, digest(1))
