"""What a run remembers, without a journal and from one."""

from __future__ import annotations

from pathlib import Path

import pytest

from image_syncer.config import Settings
from image_syncer.coordinator.run_parts import CHILDREN_IN_MEMORY, RunMemory
from image_syncer.errors import ConfigurationError
from image_syncer.oci import Repository, digest_of

HERE = Repository("registry.example", "team/app")
BLOB = digest_of(b"blob")
SESSION = "https://registry.example/session"


def fill(memory: RunMemory) -> None:
    memory.known_blobs.add(HERE, BLOB)
    memory.sessions.note(HERE, BLOB, SESSION)
    memory.capabilities.note("registry.example", "takes pieces", False)


def test_without_a_journal_a_run_begins_with_nothing() -> None:
    fill(RunMemory(Settings()))
    memory = RunMemory(Settings())
    assert memory.journal is None
    assert not memory.known_blobs.has(HERE, BLOB)
    assert (memory.sessions.urls, memory.capabilities.all()) == ({}, [])


def test_with_a_journal_the_next_run_knows_what_this_one_did(tmp_path: Path) -> None:
    settings = Settings(state_path=str(tmp_path / "state"))
    memory = RunMemory(settings)
    fill(memory)
    assert memory.blobs.has(HERE, BLOB)
    assert memory.journal is not None
    memory.journal.close()
    again = RunMemory(settings)
    assert again.journal is not None
    assert again.known_blobs.has(HERE, BLOB)
    assert again.sessions.known(HERE, BLOB) == SESSION
    assert again.capabilities.all() == [("registry.example", "takes pieces", False)]
    again.journal.close()


def test_what_is_put_is_bounded_by_what_blobs_may_take() -> None:
    few, many = RunMemory(Settings(blobs_in_memory=10)), RunMemory(Settings(blobs_in_memory=10**6))
    assert (few.children.most, many.children.most) == (10, CHILDREN_IN_MEMORY)


def test_a_dry_run_has_no_journal(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        RunMemory(Settings(state_path=str(tmp_path / "state"), dry_run=True))
