"""Runs of a command: their time is exact, and a command that fails says why."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from image_syncer.bench.measuring import Measurer
from image_syncer.errors import SyncError

SCRIPT = """
import json, sys, time
time.sleep(0.17)
path = sys.argv[sys.argv.index("--report") + 1]
with open(path, "w") as file:
    json.dump({"usage": {"coordinator_cpu_s": 0.5, "workers_cpu_s": 0.25}, "limits": {}}, file)
    file.flush()
    print(time.monotonic(), file=open(path + ".ended", "w"), flush=True)
"""


def test_the_time_of_a_run_is_not_rounded_up_to_the_next_poll(tmp_path: Path) -> None:
    measurer = Measurer([sys.executable, "-S", "-c", SCRIPT], [], tmp_path)
    late = []
    for number in range(1, 6):
        began = time.monotonic()
        done = measurer.run(tmp_path / "plan.json")
        ended = float((tmp_path / f"report-{number}.json.ended").read_text())
        late.append(began + done.wall_s - ended)
        assert done.cost.coordinator_s == 0.5
    assert min(late) < 0.02  # the interpreter's own end; a poll every 50 ms is later more often than not


def test_a_run_that_fails_says_why(tmp_path: Path) -> None:
    measurer = Measurer([sys.executable, "-S", "-c", "import sys; print('no room'); sys.exit(3)"], [], tmp_path)
    with pytest.raises(SyncError, match="exit code 3"):
        measurer.run(tmp_path / "plan.json")
