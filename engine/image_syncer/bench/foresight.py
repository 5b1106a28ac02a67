"""Foresight: how a run of a plan would go by a bench, reckoned in a process of its own while the run goes on.

A simulation takes 80 µs a blob of Python, in which a loop of the run's own process would stand still, in whatever
thread. So there is a process for it, which gives way to all others; of a large plan it takes a part that stands for all
of it (`thinning.py`), so that it ends within seconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import orjson

from image_syncer.bench.bench_file import load_bench
from image_syncer.config import Settings
from image_syncer.planning.estimate import Question
from image_syncer.planning.forecast import Host
from image_syncer.planning.foreseen import Curve, Foreseen
from image_syncer.telemetry.plan_account import workload_of
from image_syncer.telemetry.plan_file import load_plan

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Foresight", "foresee", "main"]

_START = "import sys; sys.path[:] = sys.argv[2:]; from image_syncer.bench.foresight import main; main(sys.argv[1])"
"""A fresh interpreter with our own import path, as for a worker."""
LONGEST_S = 120.0
"""What is not known by then is not waited for: the run goes on without."""
GIVES_WAY = 3
"""nice(2)"""


class Foresight:
    """Reckons how a run of the plan file `plan`, with `settings`, goes by the bench file `bench`. To be closed; where
    the process cannot be started, or comes to nothing, nothing is foreseen.
    """

    def __init__(self, plan: str, bench: str, settings: Settings) -> None:
        asked = {
            "plan": os.path.abspath(plan),  # noqa: PTH100 - symbolic links stay as they are
            "bench": os.path.abspath(bench),  # noqa: PTH100
            "workers": settings.workers,
            "streams": settings.streams,
            "small_bytes": settings.small_bytes,
        }
        self._until = time.monotonic() + LONGEST_S
        self._process: subprocess.Popen[bytes] | None = None
        path = [entry for entry in sys.path if entry]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, orjson.dumps(asked).decode(), *path],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,  # what it says fits into the buffer of a pipe
                stderr=subprocess.DEVNULL,
            )
        except OSError:
            return

    def take(self) -> Foreseen | None:
        """What was found, once, when it is there; never waits."""
        process = self._process
        if process is None:
            return None
        if process.poll() is None:
            if time.monotonic() >= self._until:
                self.close()
            return None
        assert process.stdout is not None
        with process.stdout:
            said = process.stdout.read()
        self._process = None
        if process.returncode:
            return None
        return Foreseen.from_data(orjson.loads(said))

    def close(self) -> None:
        """Give up what is not known yet."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def __enter__(self) -> Foresight:  # noqa: PYI034 - Self came with Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def foresee(plan: str, bench: str, settings: Settings) -> Foreseen:
    """The same, at once. Raises ConfigurationError where a file cannot be read, ValueError where nothing bounds it."""
    measured = load_bench(bench)
    cores = max(path.cores for path in measured.paths)
    spread = max(path.spread for path in measured.paths)
    question = Question(workload_of(load_plan(plan)), measured.path_of, settings, Host(cores), spread).sketch
    curve = Curve()
    question.forecast(curve)
    return curve.foreseen(question.seconds, question.p90_s, question.times)


def main(asked: str) -> None:
    """Of the process: says what it found as JSON."""
    os.nice(GIVES_WAY)
    given = orjson.loads(asked)
    settings = Settings(workers=given["workers"], streams=given["streams"], small_bytes=given["small_bytes"])
    found = foresee(given["plan"], given["bench"], settings)
    sys.stdout.buffer.write(orjson.dumps(found.as_data()))
