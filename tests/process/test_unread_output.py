"""Standard error is a pipe that nobody reads: the run ends as ever, and hears its signals meanwhile."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.processes import wait_until
from support.sync_process import RunFiles

if TYPE_CHECKING:
    from process.conftest import Pair

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_reader_that_does_not_read_holds_up_nothing(pair: Pair, interrupted: bool) -> None:
    pair.add_images(12)
    if interrupted:
        pair.slow_down(2**16)
    files = RunFiles(pair.directory / "files")
    files.write(pair.source.address, pair.destination.address, pair.images)
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, select.PIPE_BUF)
    words = ("sync", "--auth", files.auth, "--images", files.images, "--debug", "--workers", "1")
    with subprocess.Popen(
        [sys.executable, "-m", "image_syncer_cli", *map(str, words)], stdout=subprocess.PIPE, stderr=writing
    ) as process:
        try:
            if interrupted:
                wait_until(lambda: pair.source.counters.bytes_out > 0, "something moves")
                process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=90)
        finally:
            process.kill()
            os.close(reading)
            os.close(writing)
    assert process.returncode == (130 if interrupted else 0)
    assert b"12 images" in out
