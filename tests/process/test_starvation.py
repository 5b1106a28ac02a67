"""Too little of something: memory for a worker, room on the disk for report and log, a terminal that is gone."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys

import pytest

from process.conftest import MIB, Pair
from support.processes import process_of, wait_until
from support.sync_process import SOURCE_ROOTS, RunFiles

STARVED = """
import sys
if "image_syncer.worker.process" in " ".join(sys.orig_argv):
    import mmap
    before, left = mmap.mmap, [{windows}]
    class Refused(before):
        def __new__(cls, number, size, *rest, **more):
            if number == -1 and size >= {size}:
                if not left[0]:
                    raise OSError(12, "Cannot allocate memory")
                left[0] -= 1
            return before(number, size, *rest, **more)
    mmap.mmap = Refused
"""
"""A worker whose machine gives it so many windows."""
LIMITED = """
import sys
if "image_syncer.worker.process" in " ".join(sys.orig_argv):
    import resource
    from image_syncer.worker.streamed_copy import StreamedCopy
    before = StreamedCopy.run
    async def run(self):
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + {room}, used + {room}))
        return await before(self)
    StreamedCopy.run = run
"""
"""A worker that gets nothing any more, from the first blob on."""


@pytest.mark.extended
@pytest.mark.parametrize("windows", [1, 3])
def test_a_worker_with_memory_for_few_windows_moves_everything_with_them(pair: Pair, windows: int) -> None:
    pair.add_images(8, layer_bytes=2 * MIB)
    words = ("--workers", "1", "--retries", "0", "--small-blobs", "0")
    with pair.run(*words, sabotage=STARVED.format(windows=windows, size=MIB)) as run:
        assert run.wait() == 0, run.err
        assert run.events("worker lost") == []
    pair.assert_copied()


@pytest.mark.extended
def test_without_memory_for_any_window_it_is_said_so(pair: Pair) -> None:
    pair.add_images(2, layer_bytes=2 * MIB)
    words = ("--workers", "1", "--retries", "1", "--small-blobs", "0")
    with pair.run(*words, sabotage=STARVED.format(windows=0, size=MIB)) as run:
        assert run.wait() == 1, run.err
        assert run.events("worker lost") == []
    for image in run.report["images"]:
        assert image["outcome"] == "failed"
        assert "there is no memory for a window of 1.0 MiB: [Errno 12] Cannot allocate memory" in image["reason"]
        assert image["tries"] == 2
    assert "Traceback" not in run.err


@pytest.mark.parametrize("room", [0, MIB, 4 * MIB])
def test_a_worker_that_gets_no_memory_at_all_ends_with_a_reason_and_the_run_too(pair: Pair, room: int) -> None:
    # What fails first for want of memory nobody can say: an outcome for every image, a reason, and an end.
    pair.add_images(3, layer_bytes=2 * MIB)
    with pair.run("--workers", "1", "--retries", "0", sabotage=LIMITED.format(room=room)) as run:
        assert run.wait() in (0, 1), run.err
    outcomes = [image["outcome"] for image in run.report["images"]]
    assert len(outcomes) == 3
    assert set(outcomes) <= {"copied", "failed"}
    for image in run.report["images"]:
        assert image["outcome"] == "copied" or image["reason"]
    assert run.orphans == []
    assert pair.assert_consistent() == outcomes.count("copied")


def test_a_disk_that_is_full_costs_the_report_and_no_image(pair: Pair) -> None:
    # No file may have more than 4 KiB (RLIMIT_FSIZE): the report does not fit, nor does the log.
    pair.add_images(40, layer_bytes=1000)
    launcher = ("sh", "-c", 'trap "" XFSZ; ulimit -f 8; exec "$@"', "sh")
    with pair.run("--workers", "1", launcher=launcher) as run:
        assert run.wait() == 1, run.err
    assert run.out.startswith("40 images: 40 copied")
    assert "the report cannot be written to" in run.err
    assert "File too large" in run.err
    assert not run.files.report.exists()
    assert not list(run.files.directory.glob("*.partial"))
    assert "Traceback" not in run.err
    pair.assert_copied()


@pytest.mark.extended
def test_a_log_without_room_costs_no_image(pair: Pair) -> None:
    pair.add_images(3, layer_bytes=1000)
    with pair.run("--workers", "1") as run:
        assert run.wait() == 0
    log = run.files.log
    log.unlink()
    log.symlink_to("/dev/full")
    assert pair.assert_consistent() == 3
    pair.add_images(2, layer_bytes=1000)
    with pair.run("--workers", "1", "--log", "/dev/full") as again:
        assert again.wait() == 0, again.err
    assert "a log cannot be written any more" in again.err
    pair.assert_copied()


@pytest.mark.parametrize("words", [(), ("--log-format", "json")], ids=["console", "json"])
@pytest.mark.parametrize("ending", [signal.SIGHUP, None], ids=["hang-up", "gone"])
def test_a_terminal_that_is_closed_ends_a_run_cleanly(pair: Pair, words: tuple[str, ...], ending: int | None) -> None:
    """The controlling terminal goes away in the middle: SIGHUP to the group, and every write fails with EIO. Where the
    signal is ignored (nohup), the run goes on without its terminal.
    """
    pair.add_images(4, layer_bytes=MIB)
    pair.slow_down(MIB)
    files = RunFiles(pair.directory / "terminal")
    files.write(pair.source.address, pair.destination.address, pair.images)
    ours, theirs = pty.openpty()
    command = ["-m", "image_syncer_cli", "--auth", files.auth, "--images", files.images, *words]
    command += ["--report", files.report]
    child = subprocess.Popen(
        [sys.executable, "-c", _IN_TERMINAL, str(int(ending is None)), os.ttyname(theirs), *map(str, command)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(SOURCE_ROOTS), "DOCKER_CONFIG": str(pair.directory)},
        start_new_session=True,
    )
    os.close(theirs)
    try:
        process = process_of(child.pid)
        wait_until(lambda: pair.source.counters.bytes_out > MIB // 2, "it copies")
        os.close(ours)
        code = child.wait(60)
    finally:
        child.kill()
    report = json.loads(files.report.read_text())
    assert not process.is_alive
    if ending is None:
        assert (code, report["interrupted"]) == (0, None)
        pair.assert_copied()
    else:
        assert (code, report["interrupted"]) == (129, "SIGHUP")
        assert len(report["images"]) == 4
        pair.assert_consistent()


_IN_TERMINAL = """
import fcntl, os, signal, sys, termios
ignore, terminal, *words = sys.argv[1:]
if ignore == "1":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
descriptor = os.open(terminal, os.O_RDWR)
fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)
for number in range(3):
    os.dup2(descriptor, number)
os.execv(sys.executable, [sys.executable, *words])
"""
