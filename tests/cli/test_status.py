"""`image-syncer status`, over journals of real runs and of runs that are made up; and what --state refuses."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from image_syncer.journal.journal import open_journal
from image_syncer.oci import Repository, digest_of
from image_syncer.telemetry import ImageResult, Outcome, Snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command, FakeEngine, Files
    from image_syncer.journal.journal import Journal


@pytest.fixture
def state(tmp_path: Path) -> str:
    return str(tmp_path / "run.db")


def tell(journal: Journal, ended: str | None = None, **facts: object) -> None:
    """A run that has brought one image, and failed with twenty-five."""
    for number in range(25):
        journal.note_result(
            ImageResult("src.example/a:v", f"dst.example/a:{number}", Outcome.FAILED, reason=f"refused\x1b[2J {number}")
        )
    journal.note_blob(Repository("dst.example", "a"), digest_of(b"a"))
    outcomes = {Outcome.COPIED: 1, Outcome.FAILED: 25}
    snapshot = Snapshot(
        elapsed_s=52,
        images_total=40,
        images_done=26,
        outcomes=outcomes,
        blobs_total=9,
        blobs_done=3,
        bytes_total=4 * 2**20,
        bytes_done=2**20,
        bytes_per_s=2**20 / 10,
        eta_s=30.0,
        eta_least_s=24.0,
        eta_most_s=41.0,
    )
    journal.note_progress(snapshot, ended)
    asyncio.run(journal.flush())


def test_a_run_that_is_under_way(command: Command, state: str) -> None:
    with closing(open_journal(state, {})) as journal:
        tell(journal)
        ran = command("status", state)
    assert ran.code == 0
    assert ran.err == ""
    lines = ran.out.splitlines()
    assert lines[0].startswith(f"{state}: run 1 is under way (process ")
    assert "26 of 40 have ended: 1 copied, 25 failed" in lines[1]
    assert "3 of 9 · 1.0 MiB of 4.0 MiB" in lines[2]
    assert "14 images · 25-40 s" in lines[3]
    assert "0 images done, 1 blob verified" in ran.out
    assert ran.out.count("failed: src.example/a:v → dst.example/a:") == 20
    assert lines[-1] == "… and 5 more failed."
    assert "\x1b" not in ran.out


@pytest.mark.parametrize(
    ("ended", "words"),
    [("complete", "has ended"), ("SIGTERM", "was interrupted (SIGTERM)"), ("deadline", "has ended at its deadline")],
)
def test_a_run_that_has_ended(command: Command, state: str, ended: str, words: str) -> None:
    with closing(open_journal(state, {})) as journal:
        tell(journal, ended)
    ran = command("status", state)
    assert f"run 1 {words}, begun " in ran.out
    assert "25 images\n" in ran.out


def test_a_run_that_was_killed(command: Command, state: str) -> None:
    with closing(open_journal(state, {})) as journal:
        tell(journal)
    assert "run 1 was killed, begun " in command("status", state).out


def test_as_json(command: Command, state: str) -> None:
    with closing(open_journal(state, {"--force": "given"})) as journal:
        tell(journal)
    document = json.loads(command("status", state, "--json").out)
    assert document["state"] == "killed"
    assert document["pid"] is None
    assert document["settings"] == {"--force": "given"}
    assert document["images_failed"] == len(document["failures"]) == 25
    assert document["failures"][0]["reason"] == "refused\x1b[2J 0"
    assert document["run"]["images_total"] == 40


def test_no_journal_is_exit_code_2(command: Command, state: str, files: Files) -> None:
    ran = command("status", state)
    assert (ran.code, ran.out) == (2, "")
    assert "No such file" in ran.err
    ran = command("status", files.images)
    assert ran.code == 2
    assert "is not a journal of image-syncer" in ran.err


def test_options_become_settings(command: Command, engine: FakeEngine, files: Files, state: str) -> None:
    assert command("sync", *files.words, "--state", state, "--trust-state").code == 0
    assert engine.settings is not None
    assert (engine.settings.state_path, engine.settings.trust_state) == (state, True)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--trust-state"], "give --state FILE"),
        (["--state", "run.db", "--dry-run"], "leave --state out"),
        (["--state", " "], "the name of the file is empty"),
    ],
)
@pytest.mark.usefixtures("engine")
def test_options_that_do_not_fit_together(command: Command, files: Files, words: list[str], reason: str) -> None:
    ran = command("sync", *files.words, *words)
    assert ran.code == 2
    assert reason in ran.err


def test_a_journal_that_cannot_be_used_is_exit_code_2_and_nothing_is_left(
    command: Command, files: Files, tmp_path: Path
) -> None:
    before = files.images.read_bytes()
    ran = command("sync", *files.words, "--state", files.images, "--report", tmp_path / "report.json")
    assert ran.code == 2
    assert "is not a journal of image-syncer" in ran.err
    assert "Give --state the name of a journal" in ran.err
    assert files.images.read_bytes() == before
    assert not list(tmp_path.glob("report*"))


def test_a_report_that_cannot_be_written_frees_the_journal(
    command: Command, files: Files, tmp_path: Path, state: str
) -> None:
    ran = command("sync", *files.words, "--state", state, "--report", tmp_path / "no folder" / "report.json")
    assert ran.code != 0
    open_journal(state, {"--os and --arch": "", "--force": ""}).close()
