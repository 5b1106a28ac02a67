"""The examples of docs/api.md, run in an empty directory against registries.

What a type checker says of them is in tests/architecture/test_typed_api.py.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from architecture.source_tree import CLI_ROOT, ENGINE_ROOT, PROJECT

if TYPE_CHECKING:
    from pathlib import Path

    from api.conftest import World

EXAMPLES = sorted((PROJECT / "docs" / "examples").glob("*.py"))
PATIENT_S = 120


def run_example(name: str, *words: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """The example in a directory that is empty but for what a test put there."""
    path = os.pathsep.join((str(ENGINE_ROOT), str(CLI_ROOT)))
    env = {**os.environ, "PYTHONPATH": path, "DOCKER_CONFIG": str(directory)}
    example = PROJECT / "docs" / "examples" / f"{name}.py"
    done = subprocess.run(
        [sys.executable, str(example), *words],
        cwd=directory,
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENT_S,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture
def filled(world: World) -> World:
    world.add_images(2, layer_bytes=1000)
    return world


def test_copy_images(filled: World) -> None:
    source, destination = filled.source.address, filled.destination.address
    words = (f"{source}/team/app0", f"{destination}/team/app0", source, destination)
    done = run_example("copy_images", *words, directory=filled.directory)
    assert (done.returncode, done.stderr) == (0, "")
    filled.assert_copied(filled.images[:1])
    assert done.stdout.startswith(f"copied: {source}/team/app0:v1 → {destination}/team/app0@sha256:")
    missing = run_example("copy_images", f"{source}/team/none:v1", *words[1:], directory=filled.directory)
    assert missing.returncode == 1
    assert missing.stdout.startswith("failed: ")
    wrong = run_example("copy_images", f"{source}/UPPER", *words[1:], directory=filled.directory)
    assert wrong.returncode == 1
    assert "[SRC]" in wrong.stderr


@pytest.mark.extended
def test_follow_events(filled: World) -> None:
    insecure = {"insecure": True}
    auth = {filled.source.address: insecure, filled.destination.address: insecure}
    rules = {
        f"{filled.source.address}/{image.repository}:v1": f"{filled.destination.address}/{image.repository}"
        for image in filled.images
    }
    (filled.directory / "auth.json").write_text(json.dumps(auth))
    (filled.directory / "images.json").write_text(json.dumps(rules))
    done = run_example("follow_events", "auth.json", "images.json", "600", directory=filled.directory)
    assert (done.returncode, done.stderr) == (0, "")
    filled.assert_copied()
    assert {line.split(":")[0] for line in done.stdout.splitlines()} >= {"copied", "2 images"}
    # And once more with a source that takes minutes, and little time.
    filled.add_images(1, layer_bytes=2**24)
    filled.slow_down(2**16)
    rules[f"{filled.source.address}/team/app2:v1"] = f"{filled.destination.address}/team/app2"
    (filled.directory / "images.json").write_text(json.dumps(rules))
    done = run_example("follow_events", "auth.json", "images.json", "0.5", directory=filled.directory)
    assert (done.returncode, done.stderr) == (1, "")
    assert "interrupted (cancelled) · 3 images: " in done.stdout


@pytest.mark.extended
def test_plan_and_sync(filled: World) -> None:
    source, destination = filled.source.address, filled.destination.address
    config = {
        "version": 2,
        "registries": {source: {"insecure": True}, destination: {"insecure": True}},
        "rules": [{"source": f"{source}/team/app0", "destination": f"{destination}/copy/app0"}],
    }
    (filled.directory / "own.json").write_text(json.dumps(config))
    done = run_example("plan_and_sync", "own.json", "100", directory=filled.directory)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "nothing is copied")
    done = run_example("plan_and_sync", "own.json", "1MiB", directory=filled.directory)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split(" · ")[0] for line in done.stdout.splitlines()[1:]] == ["1 image: 1 copied", "1 image: 1 equal"]


def test_every_example_is_in_the_documentation() -> None:
    text = (PROJECT / "docs" / "api.md").read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES if f"(examples/{path.name})" not in text] == []


def test_configurations_that_the_page_shows_can_be_made() -> None:
    text = (PROJECT / "docs" / "api.md").read_text(encoding="utf-8")
    part = text.partition("\n## What to copy\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", part, re.DOTALL)
    made = []
    for block in blocks:
        names: dict[str, Any] = {}
        exec(compile(block, "docs/api.md", "exec"), names)
        made.append(names["configuration"])
    assert [len(one.rules) + len(one.catalogs) for one in made] == [2, 2]
    assert [len(one.registries.entries) for one in made] == [3, 2]
    assert made[0].warnings == ()
