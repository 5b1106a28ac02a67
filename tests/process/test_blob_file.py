"""The temporary file of the blob set: where it is, who may read it, and that nothing of it stays."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import ContentBuilder
from image_syncer.journal.known_blobs import CACHE_KIB
from image_syncer.oci import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from process.conftest import Pair

MORE_THAN_THE_CACHE = 25 * CACHE_KIB
"""Blobs: a row has some 50 bytes."""
HOLDER = f"""
import sys
from image_syncer.coordinator.known_blobs import BoundedKnownBlobs
from image_syncer.oci import Repository, digest_of

known_blobs, home = BoundedKnownBlobs(10), Repository("dst.example", "team/secret-project")
for number in range({MORE_THAN_THE_CACHE}):
    known_blobs.add(home, digest_of(b"%d" % number))
assert all(known_blobs.has(home, digest_of(b"%d" % number)) for number in range(0, {MORE_THAN_THE_CACHE}, 1000))
print("there", flush=True)
sys.stdin.readline()
known_blobs.close()
print("closed", flush=True)
sys.stdin.readline()
"""


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds more blobs than SQLite keeps in memory; each line to it makes it go on."""
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment.pop("SQLITE_TMPDIR", None)
    command = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def files_in(folder: Path, pid: int) -> list[Path]:
    """Descriptors of a process that lead to a file that is, or was, in `folder`."""
    links = Path(f"/proc/{pid}/fd").iterdir()
    return [link for link in links if str(link.readlink()).startswith(f"{folder}/")]


@pytest.mark.extended
def test_the_file_has_no_name_and_no_reader_but_us_and_goes_when_it_is_closed(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "there\n"
        [link] = files_in(tmp_path, process.pid)
        facts = link.stat()
        assert (stat.S_IMODE(facts.st_mode), facts.st_nlink) == (0o600, 0)
        assert facts.st_size < 100 * MORE_THAN_THE_CACHE
        content = link.read_bytes()
        assert any(digest_of(b"%d" % number).raw in content for number in range(10, 1000))
        assert b"secret" not in content
        assert list(tmp_path.iterdir()) == []
        process.stdin.write("\n")
        assert process.stdout.readline() == "closed\n"
        assert files_in(tmp_path, process.pid) == []


@pytest.mark.extended
def test_nothing_of_it_is_left_after_a_kill(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        assert len(files_in(tmp_path, process.pid)) == 1
        process.kill()
        process.wait()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("most", ["1", "500000"])
def test_the_bound_changes_neither_what_is_copied_nor_how(pair: Pair, most: str) -> None:
    builder = ContentBuilder(5)
    shared = [builder.layer(1000) for _ in range(5)]
    for number in range(40):
        pair.add(f"team/app{number % 8}", f"v{number}", builder.image([*shared, builder.layer(1000)]))
    with pair.run("--workers", "1", "--blobs-in-memory", most) as run:
        assert run.wait() == 0, run.err
    pair.assert_copied()
    totals = run.report["totals"]
    # Five layers go over once, and to seven further repositories by a mount; layers and configs of their own once.
    assert (totals["blobs_moved"], totals["blobs_mounted"]) == (5 + 2 * 40, 5 * 7)
    assert len(run.events("the blob set goes on in a temporary file")) == (most == "1")
