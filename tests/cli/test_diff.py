from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import ContentBuilder, MemoryStorage, push_to, serve_in_thread
from image_syncer.telemetry import ImageResult, Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command, FakeEngine, Files

SAME = ImageResult("nginx:1", "reg/nginx:1", Outcome.UNCHANGED)
NEW = ImageResult("nginx:2", "reg/nginx:2", Outcome.PLANNED, destination_digest="sha256:bb")
CHANGED = ImageResult(
    "nginx:3", "reg/nginx:3", Outcome.PLANNED, destination_digest="sha256:cc", replaced_digest="sha256:00"
)


def test_nothing_differs(command: Command, engine: FakeEngine, files: Files) -> None:
    engine.results = [SAME]
    ran = command("diff", *files.words)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("0 new, 0 changed · 1 image: 1 unchanged")


def test_each_difference_is_a_line_and_the_exit_code_is_1(command: Command, engine: FakeEngine, files: Files) -> None:
    engine.results = [SAME, NEW, CHANGED]
    ran = command("diff", *files.words, "--quiet")
    assert ran.code == 1
    new, changed, summary = ran.out.splitlines()
    assert new == "new: nginx:2 → reg/nginx:2: sha256:bb"
    assert changed == "changed: nginx:3 → reg/nginx:3: sha256:00 → sha256:cc"
    assert summary.startswith("1 new, 1 changed · 3 images: ")


def test_json(command: Command, engine: FakeEngine, files: Files) -> None:
    engine.results = [CHANGED]
    first, last = (json.loads(line) for line in command("diff", *files.words, "--json").out.splitlines())
    assert first == {
        "source": "nginx:3",
        "destination": "reg/nginx:3",
        "difference": "changed",
        "expected": "sha256:cc",
        "found": "sha256:00",
    }
    assert (last["summary"]["new"], last["summary"]["changed"]) == (0, 1)


def test_which_side_is_ahead(command: Command, engine: FakeEngine, files: Files) -> None:
    engine.results = [replace(CHANGED, ahead="destination", ahead_because="it says so"), NEW]
    ran = command("diff", *files.words, "--ahead", "--quiet")
    changed, _new, _summary = ran.out.splitlines()
    assert engine.settings.tell_ahead
    assert changed.endswith("sha256:00 → sha256:cc; the destination is ahead: it says so")
    first = json.loads(command("diff", *files.words, "--ahead", "--json").out.splitlines()[0])
    assert (first["ahead"], first["because"]) == ("destination", "it says so")


def test_without_files(command: Command) -> None:
    ran = command("diff")
    assert ran.code == 2
    assert "nothing to compare" in ran.err


def test_registries_are_asked_and_nothing_is_written(command: Command, tmp_path: Path) -> None:
    content = ContentBuilder(3)
    first, second = content.image(1), content.index()
    here, there = MemoryStorage(), MemoryStorage()
    push_to(here, "app", first, ["same", "new"])
    push_to(here, "app", second, ["changed"])
    push_to(there, "app", first, ["same", "changed"])
    with serve_in_thread(here) as source, serve_in_thread(there) as destination:
        path = tmp_path / "own.yaml"
        path.write_text(
            f"version: 2\nregistries:\n  '{source.address}': {{insecure: true}}\n"
            f"  '{destination.address}': {{insecure: true}}\n"
            f"rules:\n- {{source: '{source.address}/app', destination: '{destination.address}/app'}}\n"
        )
        ran = command("diff", "--config", path)
        changed, new = sorted(ran.out.splitlines()[:2])
        assert changed.endswith(f": {first.digest} → {second.digest}")
        assert new.endswith(f"/app:new: {first.digest}")
        assert ran.code == 1
        assert there.tag("app", "new") is None
        assert destination.counters.values().count("put manifest") == 0


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.NOT_TRIED])
def test_what_could_not_be_compared_is_no_success(
    command: Command, engine: FakeEngine, files: Files, outcome: Outcome
) -> None:
    engine.results = [ImageResult("nginx:9", "reg/nginx:9", outcome, reason="it is down")]
    assert command("diff", *files.words).code == 1
