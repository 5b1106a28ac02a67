"""What is imported before the first request, and in a worker: what costs time at the start is what is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from architecture.source_tree import CLI_ROOT, ENGINE_ROOT

if TYPE_CHECKING:
    from pathlib import Path

FOR_PEOPLE = ("rich", "yaml", "structlog", "pygments", "attr")
"""Display, YAML files and logs: each is loaded by what needs it, when it needs it."""
NEVER = ("aiohttp", "image_syncer.embedded", "multiprocessing", "http.client", "importlib.metadata", "sqlite3", "numpy")
NEVER_BUT_IN_A_WATCH = ("prometheus_client", "cronsim", "image_syncer.watch")
ONLY_OF_THE_COORDINATOR = (
    *("image_syncer.coordinator", "image_syncer.config", "image_syncer.credentials", "image_syncer.telemetry"),
    *("image_syncer_cli", "click"),
)

LOADED_BY_A_WORKER = "import json, sys; import image_syncer.worker.process; print(json.dumps(list(sys.modules)))"
LOADED_BEFORE_THE_FIRST_REQUEST = """
import json, os, sys
import image_syncer_cli.main
from image_syncer.net.multi import CurlDriver
async def perform(driver, easy):
    print(json.dumps(list(sys.modules)), flush=True)
    os._exit(0)
CurlDriver.perform = perform
image_syncer_cli.main.main(sys.argv[1:])
"""


def loaded(code: str, *words: str) -> set[str]:
    """The modules that a fresh interpreter has when `code` prints them."""
    path = os.pathsep.join((str(ENGINE_ROOT), str(CLI_ROOT)))
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    return set(json.loads(done.stdout))


def test_a_worker_loads_its_own_rooms_and_no_other() -> None:
    modules = loaded(LOADED_BY_A_WORKER)
    assert "image_syncer.net.multi" in modules
    assert modules & {*FOR_PEOPLE, *NEVER, *NEVER_BUT_IN_A_WATCH, *ONLY_OF_THE_COORDINATOR} == set()


def test_a_run_has_loaded_nothing_for_people_when_its_first_request_goes_out(tmp_path: Path) -> None:
    """With files in JSON; YAML is loaded for YAML."""
    images = tmp_path / "images.json"
    images.write_text('{"registry.example/team/app:v1": "other.example/team/app"}')
    words = ("sync", "--images", str(images), "--no-progress")
    modules = loaded(LOADED_BEFORE_THE_FIRST_REQUEST, *words)
    assert "image_syncer.coordinator.run" in modules
    assert modules & {*FOR_PEOPLE, *NEVER, *NEVER_BUT_IN_A_WATCH, "image_syncer.worker.process"} == set()
