"""A scheduler that dies with its workers, and comes back later than Dask's client waits for it."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from process.conftest import MIB, Pair
from support.certificates import make_certificates
from support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENT_S = 120.0
CONNECT_S = 2
"""Dask's client gives up a scheduler that is away for longer than the connect time-out."""


@contextlib.contextmanager
def started(*words: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [str(Path(sys.executable).parent / "dask"), *words]
    with log.open("wb") as stream, subprocess.Popen(command, stdout=stream, stderr=stream) as process:
        try:
            yield process
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


@contextlib.contextmanager
def cluster(directory: Path, tls: tuple[str, ...], port: int) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A scheduler and a worker; the address, and the scheduler."""
    plain = ("--protocol", "tls", "--host", "127.0.0.1", *tls, "--no-dashboard")
    log = directory / f"scheduler-{time.monotonic_ns()}.log"
    with started("scheduler", *plain, "--port", str(port), log=log) as scheduler:
        there = re.compile(r"Scheduler at:\s+(tls://\S+)")
        wait_until(lambda: there.search(log.read_text()), "the scheduler listens", patience_s=PATIENT_S)
        address = there.findall(log.read_text())[0]
        words = ("--nworkers", "1", "--nthreads", "1", "--memory-limit", "0", "--local-directory", str(directory))
        with started("worker", address, *plain, *words, log=directory / f"worker-{time.monotonic_ns()}.log"):
            registered = "Register worker"
            wait_until(lambda: registered in log.read_text(), "the worker is known", patience_s=PATIENT_S)
            yield address, scheduler


@pytest.mark.slow
def test_a_scheduler_may_be_away_for_long(pair: Pair, tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "tls")
    tls = ("--tls-ca-file", str(made.authority), "--tls-cert", str(made.certificate), "--tls-key", str(made.key))
    pair.add_images(2, layer_bytes=2 * MIB)
    pair.slow_down(MIB / 8)
    with contextlib.ExitStack() as stack:
        with cluster(tmp_path, tls, 0) as (address, scheduler):
            files = ("--cluster-ca", made.authority, "--cluster-cert", made.certificate, "--cluster-key", made.key)
            words = ("--cluster", address, *map(str, files), "--connect-timeout", f"{CONNECT_S}s", "--small-blobs", "0")
            run = stack.enter_context(pair.run(*words))
            pair.wait_for_bytes(MIB // 4)
            scheduler.send_signal(signal.SIGKILL)
        wait_until(lambda: run.events("worker lost"), "the loss is seen", patience_s=PATIENT_S)
        time.sleep(CONNECT_S * 2)  # not a wait for anything: so long is it away
        pair.speed_up()
        with cluster(tmp_path, tls, int(address.rpartition(":")[2])):
            assert run.wait(PATIENT_S) == 0, run.err
    pair.assert_copied()
    assert "mistake" not in run.err
