"""What is imported before the first request, and in a worker: what costs time at the start is what is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from architecture.source_tree import CLI_ROOT, ENGINE_ROOT
from image_syncer.embedded import ContentBuilder, push_to, serve_in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator
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


UNUSED_BY_A_PLAIN_RUN = (
    *("image_syncer.coordinator.policy", "image_syncer.discovery.catalogs", "image_syncer.coordinator.dry_run"),
    *("image_syncer.pruning.pruner", "image_syncer.verification.tree_check", "image_syncer.journal.journal"),
    *(
        "image_syncer.discovery.creation_times",
        "image_syncer.dispatch.meter",
    ),
    *("image_syncer.discovery.owner_lists", "image_syncer.control.client"),
    *("image_syncer.config.policy", "image_syncer.config.explanation", "image_syncer.config.tag_filters"),
    *("image_syncer.config.tag_filters", "image_syncer.config.pruning", "image_syncer.config.converters"),
    *(
        "image_syncer.credentials.clouds.ecr",
        "image_syncer.credentials.clouds.ecr",
        "image_syncer.credentials.login",
    ),
    *("image_syncer.layout.layout_server", "image_syncer.layout.layout_server", "image_syncer.layout.tar_index"),
    *("image_syncer.capacity.simulation", "image_syncer.capacity.time_left", "image_syncer.scheduling.pruning"),
    *("image_syncer.telemetry.traces", "image_syncer.telemetry.metrics", "image_syncer.reporting.plan_file"),
    *("image_syncer.async_runs", "image_syncer.telemetry.looking_on", "image_syncer.bench"),
    *(
        "image_syncer.doctor",
        "image_syncer.cluster",
        "image_syncer_cli.display.live_display",
        "image_syncer_cli.verbs.bench",
    ),
    *("image_syncer.worker.process", "tempfile", "email", "difflib", "semantic_version"),
)
"""What needs one of these imports it."""
PACKAGES = {"click", "msgspec", "orjson", "pycurl", "typing_extensions", "uvloop"}
"""All packages of others that a plain run with files in JSON imports (msgspec brings typing_extensions where it is)."""
AROUND = {"sitecustomize", "usercustomize", "_distutils_hack", "_virtualenv", "cython_runtime"}
"""What environments, and Cython's modules such as uvloop, load into every interpreter."""
MOST_MODULES = {"copy": 178, "sync": 178, "worker": 87, "help": 15}
"""Modules of ours: as many as there are, and two. A module costs 0.2 ms of every run; a new one of a plain run is to be
worth that.
"""
MOST_VALUES = {"dataclasses": 4, "structs": 162}
"""Definitions of a plain `copy`: as many as there are, and a few. A dataclass costs 0.5 ms, so the engine has none; the
command has its options as dataclasses, since `--help` is faster without msgspec. A Struct costs 0.02 ms.
"""
LOADED_BY_THE_COMMAND = """
import json, sys
from image_syncer_cli.main import main
code = main(sys.argv[1:])
values = {"dataclasses": 0, "structs": 0}
for name, module in list(sys.modules.items()):
    if name.split(".")[0] in ("image_syncer", "image_syncer_cli"):
        for one in vars(module).values():
            if isinstance(one, type) and one.__module__ == name:
                values["dataclasses"] += "__dataclass_params__" in vars(one)
                values["structs"] += hasattr(one, "__struct_fields__")
print(json.dumps([code, list(sys.modules), values]), file=sys.stderr)
"""


def command(*words: str) -> tuple[int, set[str], dict[str, int]]:
    """The exit code of the command in a fresh interpreter, the modules that it has at its end, and what it defines."""
    path = os.pathsep.join((str(ENGINE_ROOT), str(CLI_ROOT)))
    done = subprocess.run(
        [sys.executable, "-c", LOADED_BY_THE_COMMAND, *words],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        timeout=60,
        check=True,
    )
    code, modules, values = json.loads(done.stderr.splitlines()[-1])
    return code, set(modules), values


def ours(modules: set[str]) -> set[str]:
    return {name for name in modules if name.split(".")[0] in ("image_syncer", "image_syncer_cli")}


def of_others(modules: set[str]) -> set[str]:
    """Packages that are neither ours nor Python's own; those without a file are built in or made at run time."""
    known = {*sys.stdlib_module_names, "image_syncer", "image_syncer_cli", "__main__", "__mp_main__"}
    return {name.split(".")[0] for name in modules if not name.startswith(("__editable__", "_cython_"))} - known


@pytest.fixture(scope="module")
def one_image() -> Iterator[tuple[str, str]]:
    """A registry with one small image, and an empty one: their addresses."""
    with serve_in_thread() as source, serve_in_thread() as destination:
        push_to(source.storage, "team/app", ContentBuilder(1).image(1, layer_bytes=1000), ["v1"])
        yield source.address, destination.address


def test_what_a_plain_copy_does_not_use_is_not_loaded(one_image: tuple[str, str]) -> None:
    source, destination = one_image
    insecure = [word for address in one_image for word in ("--insecure", address)]
    code, modules, values = command(
        "copy", f"{source}/team/app:v1", f"{destination}/copied:v1", *insecure, "--quiet", "--no-progress"
    )
    assert code == 0
    assert sorted(modules & {*UNUSED_BY_A_PLAIN_RUN, *FOR_PEOPLE, *NEVER, *NEVER_BUT_IN_A_WATCH}) == []
    assert len(ours(modules)) <= MOST_MODULES["copy"]
    assert {name: count for name, count in values.items() if count > MOST_VALUES[name]} == {}
    assert of_others(modules) <= {*PACKAGES, *AROUND}


def test_what_a_plain_sync_does_not_use_is_not_loaded(one_image: tuple[str, str], tmp_path: Path) -> None:
    source, destination = one_image
    files = {
        "auth": {address: {"insecure": True} for address in one_image},
        "images": {f"{source}/team/app:v1": f"{destination}/synced"},
    }
    (tmp_path / "both.json").write_text(json.dumps(files))
    code, modules, _ = command("sync", "--config", str(tmp_path / "both.json"), "--quiet", "--no-progress")
    assert code == 0
    assert sorted(modules & {*UNUSED_BY_A_PLAIN_RUN, *FOR_PEOPLE, *NEVER, *NEVER_BUT_IN_A_WATCH}) == []
    assert len(ours(modules)) <= MOST_MODULES["sync"]
    assert of_others(modules) <= {*PACKAGES, *AROUND}


def test_help_loads_no_verb_but_the_one_that_may_be_left_out() -> None:
    code, modules, _ = command("--help")
    assert code == 0
    assert "image_syncer" not in modules
    assert len(ours(modules)) <= MOST_MODULES["help"]
    assert of_others(modules) <= {"click", *AROUND}


def test_a_worker_loads_no_more_modules_than_it_did() -> None:
    assert len(ours(loaded(LOADED_BY_A_WORKER))) <= MOST_MODULES["worker"]
