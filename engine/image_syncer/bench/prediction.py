"""Predicts how a run of a plan goes by a benchmark file, in a process of its own while the run continues.

A simulation takes 80 µs of Python per blob, which would block the event loop of the run. So it has a process with a low
priority, and of a large plan it takes a part that stands for the whole, so that it ends within seconds.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time

import msgspec

from image_syncer.bench.bench_file import load_bench
from image_syncer.capacity.estimate import Question
from image_syncer.capacity.forecast import Foreseen, Host, PredictedCurve
from image_syncer.config import Settings
from image_syncer.reporting.plan_account import workload_of
from image_syncer.reporting.plan_file import load_plan

_START = "import sys; sys.path[:] = sys.argv[2:]; from image_syncer.bench.prediction import main; main(sys.argv[1])"
"""A fresh interpreter with the import path of this process, as for a worker."""
LONGEST_S = 120.0
"""After this time the prediction is given up, and the run continues without it."""
NICENESS = 3
"""Of the process (nice(2)): it gives way to all others."""


class Foresight(contextlib.AbstractContextManager["Foresight"]):
    """The prediction of a run of the plan file `plan` with `settings` by the benchmark file `bench`. It has to be
    closed. Where its process cannot be started, or fails, there is no prediction.
    """

    def __init__(self, plan: str, bench: str, settings: Settings) -> None:
        asked = {
            "plan": os.path.abspath(plan),  # noqa: PTH100 - symbolic links stay as they are
            "bench": os.path.abspath(bench),  # noqa: PTH100
            "settings": {name: getattr(settings, name) for name in ("workers", "streams", "small_bytes")},
        }
        self._until = time.monotonic() + LONGEST_S
        self._process: subprocess.Popen[bytes] | None = None
        path = [entry for entry in sys.path if entry]
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, msgspec.json.encode(asked).decode(), *path],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,  # the answer fits into the buffer of a pipe
                stderr=subprocess.DEVNULL,
            )

    def take(self) -> Foreseen | None:
        """Return the prediction once, when it is ready; never wait."""
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
        return None if process.returncode else msgspec.json.decode(said, type=Foreseen)

    def close(self) -> None:
        """End the process, if it still runs."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def __exit__(self, *_: object) -> None:
        self.close()


def predict(plan: str, bench: str, settings: Settings) -> Foreseen:
    """The same in this process. Raises ConfigurationError where a file cannot be read, ValueError without any bound."""
    measured = load_bench(bench)
    cores = max(path.cores for path in measured.paths)
    spread = max(path.spread for path in measured.paths)
    question = Question(workload_of(load_plan(plan)), measured.path_of, settings, Host(cores), spread).sketch
    curve = PredictedCurve()
    question.forecast(curve)
    return curve.prediction(question.seconds, question.p90_s, question.times)


def main(asked: str) -> None:
    """The process: write the prediction as JSON."""
    os.nice(NICENESS)
    given = msgspec.json.decode(asked)
    found = predict(given["plan"], given["bench"], Settings(**given["settings"]))
    sys.stdout.buffer.write(msgspec.json.encode(found))
