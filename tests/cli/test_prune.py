from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import Behaviour, ContentBuilder, MemoryStorage, push_to, serve_in_thread
from support.command import Command as Process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cli.conftest import Command, FakeEngine, Files
    from image_syncer.embedded import EmbeddedRegistry


class Mirror:
    """Source and destination with ten tags each, of which one is the destination's alone; and a file with the rule."""

    def __init__(self, source: EmbeddedRegistry, destination: EmbeddedRegistry, directory: Path) -> None:
        self.source, self.destination = source, destination
        self.content = ContentBuilder(5)
        for number in range(9):
            image = self.content.image(1)
            for registry in (source, destination):
                push_to(registry.storage, "app", image, [f"v{number}"])
        self.old = self.content.index()
        push_to(destination.storage, "app", self.old, ["old"])
        self.file = directory / "rules.yaml"
        self.file.write_text(
            f"version: 2\nregistries:\n  '{source.address}': {{insecure: true}}\n"
            f"  '{destination.address}': {{insecure: true}}\n"
            f"rules:\n- {{source: '{source.address}/app', destination: '{destination.address}/app'}}\n"
        )

    @property
    def tags(self) -> list[str]:
        return list(self.destination.storage.tags("app"))


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    with serve_in_thread(MemoryStorage()) as source, serve_in_thread(MemoryStorage()) as destination:
        yield Mirror(source, destination, tmp_path)


@pytest.fixture
def process(tmp_path: Path) -> Process:
    directory = tmp_path / "run"
    directory.mkdir()
    return Process(directory, workers=None)


def test_without_yes_it_is_told_and_the_exit_code_is_1(command: Command, mirror: Mirror) -> None:
    ran = command("prune", "--config", mirror.file, "--no-progress")
    place = f"{mirror.destination.address}/app"
    first, *others, images, summary = ran.out.splitlines()
    assert first == f"would delete: {place}:old ({mirror.old.digest}): no rule selects it"
    assert len(others) == len(list(mirror.old.manifests())) - 1
    assert all(line.startswith(f"would delete: {place}@sha256:") for line in others)
    assert images.startswith("9 images: 9 selected · ")
    assert summary == f"would prune 1 tag and {len(others) + 1} manifests"
    assert (ran.code, ran.err) == (1, "")
    assert "old" in mirror.tags


def test_with_yes_it_is_gone_and_then_nothing_would_go(process: Process, command: Command, mirror: Mirror) -> None:
    """By processes of their own."""
    ran = process.run("prune", "--config", mirror.file, "--yes")
    assert ran.out.startswith("deleted: ")
    assert mirror.tags == [f"v{number}" for number in range(9)]
    assert ran.report["kind"] == "prune"
    assert {each["outcome"] for each in ran.report["pruned"]["deletions"]} == {"deleted"}
    again = command("prune", "--config", mirror.file)
    assert (again.code, again.out.splitlines()[-1]) == (0, "would prune 0 tags and 0 manifests")


def test_a_plan_is_saved_and_carried_out(command: Command, mirror: Mirror, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    assert command("prune", "--config", mirror.file, "--save", plan).code == 1
    push_to(mirror.destination.storage, "app", mirror.content.image(1), ["since"])
    assert command("prune", "--config", mirror.file, "--plan", plan).code == 0
    assert mirror.tags == ["since", *(f"v{number}" for number in range(9))]


def test_its_report_is_shown(command: Command, mirror: Mirror, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command("prune", "--config", mirror.file, "--yes", "--report", report)
    ran = command("report", report)
    assert ran.out.startswith("Prune of ")
    assert f"{len(list(mirror.old.manifests()))} deleted" in ran.out
    report.write_text(report.read_text().replace('"deletions": [', '"deletions": [7,'))
    assert "what it pruned is no list" in command("report", report).err


def test_json(command: Command, mirror: Mirror) -> None:
    ran = command("prune", "--config", mirror.file, "--json", "--yes")
    *lines, last = (json.loads(line) for line in ran.out.splitlines())
    assert lines[0] == {
        "repository": f"{mirror.destination.address}/app",
        "digest": mirror.old.digest,
        "tags": ["old"],
        "outcome": "deleted",
        "reason": "no rule selects it",
        "alone": False,
    }
    assert last["summary"]["pruned"]["tags"] == 1
    assert last["summary"]["pruned"]["settings"] == {
        "most": 0.2,
        "keep": [],
        "keep_backups": True,
        "backup_tag": "{tag}-{digest}",
        "empty_sources": False,
        "orphans": False,
        "by_plan": False,
    }
    assert ran.code == 0


def test_too_much_is_told_with_the_count_and_how_to_go_on(command: Command, mirror: Mirror) -> None:
    ran = command("prune", "--config", mirror.file, "--yes", "--prune-most", "0%")
    assert ran.code == 0  # one tag always may
    push_to(mirror.destination.storage, "app", mirror.old, ["a", "b", "c"])
    ran = command("prune", "--config", mirror.file, "--yes")
    assert ran.code == 1
    assert "3 of the 12 tags" in ran.err
    assert "--prune-most" in ran.err
    assert mirror.tags[:3] == ["a", "b", "c"]


def test_what_could_not_be_deleted_is_told_with_what_to_do(command: Command, mirror: Mirror) -> None:
    mirror.destination.behaviour = Behaviour(deletes=False)
    ran = command("prune", "--config", mirror.file, "--yes")
    assert ran.code == 1
    assert ran.err.startswith("failed: ")
    assert "REGISTRY_STORAGE_DELETE_ENABLED=true" in ran.err
    assert "old" in mirror.tags


def test_a_repository_that_is_held_is_told(command: Command, mirror: Mirror) -> None:
    for number in range(9):
        mirror.source.storage.delete_tag("app", f"v{number}")
    ran = command("prune", "--config", mirror.file, "--yes", "--quiet")
    assert ran.code == 1
    assert f"not pruned: {mirror.destination.address}/app: " in ran.err
    assert len(mirror.tags) == 10


def test_with_json_logs_everything_on_standard_error_is_json(command: Command, mirror: Mirror) -> None:
    mirror.destination.behaviour = Behaviour(deletes=False)
    ran = command("prune", "--config", mirror.file, "--yes", "--log-format", "json", "--no-progress")
    events = [json.loads(line) for line in ran.err.splitlines()]
    assert {each["event"] for each in events} == {"prune failed"}
    assert events[0]["error"]["status"] == 405
    push_to(mirror.destination.storage, "app", mirror.old, ["a", "b", "c"])
    ran = command("prune", "--config", mirror.file, "--log-format", "json", "--no-progress")
    [warning] = [json.loads(line) for line in ran.err.splitlines()]
    assert warning["event"] == "warning"


def test_a_sync_tells_what_would_go_and_deletes_it_with_yes(process: Process, mirror: Mirror) -> None:
    words = ("sync", "--config", mirror.file, "--prune")
    told = process.run(*words)
    assert f"would delete: {mirror.destination.address}/app:old" in told.out
    assert "old" in mirror.tags
    done = process.run(*words, "--yes")
    assert "old" not in mirror.tags
    assert done.report["kind"] == "sync"
    assert done.out.splitlines()[-1].startswith("pruned 1 of 1 tag and ")


def test_a_sync_keeps_its_own_backups(command: Command, mirror: Mirror) -> None:
    push_to(mirror.source.storage, "app", mirror.content.image(1), ["v1"])
    words = ("sync", "--config", mirror.file, "--prune", "--yes", "--on-conflict", "backup:{tag}-before-{date}")
    assert command(*words, "--workers", "1").code == 0
    [backup] = [tag for tag in mirror.tags if "-before-" in tag]
    assert command(*words, "--workers", "1", "--prune-backups").code == 0
    assert backup not in mirror.tags


def test_an_interrupted_prune_deletes_no_more_and_says_what_it_was_at(mirror: Mirror, tmp_path: Path) -> None:
    """SIGINT while a deletion waits for its answer."""
    mirror.destination.behaviour = Behaviour(latency_s=0.0)
    for number in range(2):
        push_to(mirror.destination.storage, "app", mirror.content.image(1), [f"older{number}"])
    report = tmp_path / "report.json"
    words = ["prune", "--config", mirror.file, "--yes", "--prune-most", "100%", "--report", report]
    running = subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(Process(tmp_path)._environment()),
    )
    out, err = running.communicate(timeout=120)
    assert running.returncode == 130, out + err
    pruned = json.loads(report.read_text())["pruned"]
    assert pruned["complete"] is False
    assert [each["outcome"] for each in pruned["deletions"]] == ["failed"]
    assert "may be gone" in pruned["deletions"][0]["reason"]
    assert len(mirror.tags) >= 11


_INTERRUPTED = """
import os, signal, sys
from image_syncer.pruning.pruner import PruneDeletion
from image_syncer_cli.main import main

ask = PruneDeletion._ask

async def interrupted(self, *words):
    os.kill(os.getpid(), signal.SIGINT)
    import asyncio
    await asyncio.sleep(60)

PruneDeletion._ask = interrupted
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("prune",), "nothing to prune by"),
        (("prune", "--images", "i", "--yes", "--save", "f"), "give one of them"),
        (("prune", "--images", "i", "--state", "f"), "--state has the journal forget"),
        (("prune", "--images", "i", "--prune-most", "much"), "write 20%"),
        (("prune", "--images", "i", "--prune-most", "120%"), "write 20%"),
        (("prune", "--images", "i", "--backup-tag", "old"), "the tag needs {tag} or {digest}"),
        (("sync", "--images", "i", "--yes"), "go with --prune"),
        (("sync", "--images", "i", "--prune-keep", "x"), "go with --prune"),
        (("sync", "--images", "i", "--prune", "--yes", "--dry-run"), "leave out --yes"),
    ],
)
def test_options_that_do_not_fit(command: Command, words: tuple[str, ...], said: str) -> None:
    ran = command(*words)
    assert ran.code == 2
    assert said in ran.err


NO_DIGEST = {"repository": "reg/x", "tags": [], "manifests": [{"digest": "sha256:1", "tags": []}]}
NO_PLANS = [
    "",
    "{}",
    "[]",
    "null",
    '{"kind": "prune plan", "version": 2, "repositories": []}',
    json.dumps({"kind": "prune plan", "version": 1, "repositories": [NO_DIGEST]}),
    json.dumps({"kind": "prune plan", "version": 1, "repositories": [{**NO_DIGEST, "manifests": 7}]}),
]


@pytest.mark.parametrize("text", NO_PLANS)
def test_a_file_that_is_no_plan(command: Command, files: Files, tmp_path: Path, text: str) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(text)
    ran = command("prune", *files.words, "--plan", plan)
    assert ran.code == 2
    assert "--save FILE" in ran.err


def test_a_sync_without_prune_has_none(command: Command, engine: FakeEngine, files: Files) -> None:
    command("sync", *files.words)
    assert engine.settings is not None
    assert engine.settings.pruning is None


@pytest.mark.slow
def test_a_layout_is_pruned_as_a_registry_is(command: Command, mirror: Mirror, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    rules = tmp_path / "layout.yaml"
    rules.write_text(
        f"version: 2\nregistries:\n  '{mirror.source.address}': {{insecure: true}}\n"
        f"rules:\n- {{source: '{mirror.source.address}/**', destination: 'oci:{layout}:**'}}\n"
    )
    push_to(mirror.source.storage, "app", mirror.content.image(1), ["v9"])
    assert command("sync", "--config", rules, "--workers", "1").code == 0
    mirror.source.storage.delete_tag("app", "v9")
    told = command("prune", "--config", rules)
    assert told.code == 1
    assert told.out.startswith(f"would delete: oci:{layout}:app:v9 (")
    assert len(json.loads((layout / "index.json").read_text())["manifests"]) == 10
    assert command("prune", "--config", rules, "--yes").code == 0
    entries = json.loads((layout / "index.json").read_text())["manifests"]
    assert len(entries) == 9
    assert "9 equal" in command("verify", "--config", rules, "--deep").out
