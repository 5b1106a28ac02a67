"""Ctrl-C in the middle of writing: what was made until then is taken away all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from image_syncer.embedded import Behaviour, serve_in_thread
from support.client import Client

PROJECT = Path(__file__).parents[2]
LONGEST_S = 120


def test_what_was_written_is_taken_away_after_an_interrupt(tmp_path: Path) -> None:
    roots = os.pathsep.join(str(PROJECT / name) for name in ("engine", "cli"))
    environment = {**os.environ, "PYTHONPATH": roots, "DOCKER_CONFIG": str(tmp_path)}
    with serve_in_thread(behaviour=Behaviour(latency_s=0.1)) as registry:
        words = ["doctor", f"{registry.address}/app", "--insecure", registry.address, "--write"]
        command = [sys.executable, "-m", "image_syncer_cli", *words]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        ) as run:
            # After both uploads of the usual form; the PUT before them is for a session that does not exist.
            assert registry.counters.wait_until(lambda values: values.count("head blob") >= 1, LONGEST_S)
            run.send_signal(signal.SIGINT)
            out, err = run.communicate(timeout=LONGEST_S)
        assert (run.returncode, err.split()) == (130, ["Interrupted."])
        assert "everything that was made is gone again" in out
        stored = [seen for seen in registry.counters.history("put upload") if seen.status == 201]
        assert len(registry.counters.history("delete blob")) >= len(stored) >= 2
        with Client(registry.url) as client:
            assert client.get("/v2/app/tags/list").status in (200, 404)
