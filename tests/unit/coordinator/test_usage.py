from __future__ import annotations

import os
import subprocess
import sys

from support.command import SOURCE_ROOTS

BIG_BYTES = 200 * 2**20
METER = "from image_syncer.coordinator.run import UsageMeter; print(UsageMeter().as_data()['coordinator_peak_bytes'])"
PARENT = f"""
import subprocess, sys
held = b"x" * {BIG_BYTES}
print(subprocess.run([sys.executable, "-c", {METER!r}], capture_output=True, text=True, check=True).stdout)
"""


def test_the_peak_of_the_coordinator_is_not_that_of_the_process_which_started_it() -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, SOURCE_ROOTS))}
    done = subprocess.run([sys.executable, "-c", PARENT], capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    assert 0 < int(done.stdout) < BIG_BYTES
