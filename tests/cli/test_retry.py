from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import Behaviour, ContentBuilder, Fault, push_to
from image_syncer.oci import PlatformFilter

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command, FakeEngine, Files
    from support.bad_input import Bench

FAILED = {"source": "docker.io/library/nginx:1", "destination": "registry.example/x:1", "outcome": "failed"}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    document = {
        "images": [FAILED, {**FAILED, "outcome": "copied", "destination": "registry.example/y:1"}],
        "totals": {
            "outcomes": {"failed": 1, "copied": 1},
            "requests": {},
            **dict.fromkeys(("bytes_moved", "bytes_planned", "blobs_moved", "blobs_mounted", "blobs_present"), 0),
        },
        "settings": {"os": ["linux"], "arch": [], "force": True, "platforms": "os linux"},
        "started_at": "2026-01-01T00:00:00Z",
        "seconds": 1,
        "warnings": [],
    }
    path = tmp_path / "old.json"
    path.write_text(json.dumps(document))
    return path


def test_what_failed_is_asked_for_with_the_platforms_of_the_run(
    command: Command, engine: FakeEngine, files: Files, old: Path
) -> None:
    before = old.read_bytes()
    assert command("retry", "--report", old, "--auth", files.auth, "--new-report", "n.json", "-r", "7").code == 0
    assert engine.configuration is not None
    assert engine.settings is not None
    [rule] = engine.configuration.rules
    assert [(str(source), str(target)) for source, target in rule.pairs()] == [
        (FAILED["source"], FAILED["destination"])
    ]
    assert [entry.prefix for entry in engine.configuration.registries.entries] == ["registry.example"]
    settings = engine.settings
    assert (settings.platform_filter, settings.force) == (PlatformFilter(os_names=("linux",)), True)
    assert (settings.report_path, settings.retries) == ("n.json", 7)
    assert old.read_bytes() == before


def test_a_run_with_policies_is_not_tried_again_without_any(
    command: Command, engine: FakeEngine, old: Path, tmp_path: Path
) -> None:
    document = json.loads(old.read_text())
    document["settings"]["policies"] = ["production"]
    old.write_text(json.dumps(document))
    ran = command("retry", "--report", old)
    assert ran.code == 2
    assert "the run had policies (“production”), and what is given now has none" in ran.err
    assert engine.configuration is None
    path = tmp_path / "own.yaml"
    path.write_text("version: 2\npolicy: {require: signature}\n")
    assert command("retry", "--report", old, "--auth", path).code == 0
    assert engine.configuration is not None
    assert [policy.require for policy in engine.configuration.policies] == [("signature",)]


def test_platforms_of_the_command_line_come_first(command: Command, engine: FakeEngine, old: Path) -> None:
    assert command("retry", "--report", old, "--arch", "arm64", "--insecure", "registry.example").code == 0
    assert engine.settings is not None
    assert engine.settings.platform_filter == PlatformFilter(architectures=("arm64",))
    assert engine.configuration is not None
    assert engine.configuration.registries.host_settings("registry.example").insecure


def test_registries_of_a_file_that_has_both(command: Command, engine: FakeEngine, old: Path, tmp_path: Path) -> None:
    both = tmp_path / "both.json"
    rules = {"auth": {"registry.example": {"insecure": True}}, "images": {"a.example/other:1": "b.example/other"}}
    both.write_text(json.dumps(rules))
    assert command("retry", "--report", old, "--config", both).code == 0
    assert engine.configuration is not None
    assert engine.configuration.registries.host_settings("registry.example").insecure
    assert [str(rule.source) for rule in engine.configuration.rules] == ["docker.io/library/nginx"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("{", "ends in the middle"),
        ("[]", "is no report of image-syncer"),
        ('{"images": [], "totals": {}, "settings": {}}', "is no report of image-syncer"),
    ],
)
def test_what_is_no_report_is_a_mistake(command: Command, old: Path, text: str, says: str) -> None:
    old.write_text(text)
    ran = command("retry", "--report", old)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err


def test_words_that_do_not_fit(command: Command, old: Path) -> None:
    assert command("retry").code == 2
    assert command("retry", "--report", old, "--auth", "a", "--config", "b").code == 2
    assert command("retry", "--report", "none.json").code == 2


def test_nothing_left_is_said(command: Command, engine: FakeEngine, old: Path) -> None:
    document = json.loads(old.read_text())
    document["images"] = document["images"][1:]
    old.write_text(json.dumps(document))
    ran = command("retry", "--report", old)
    assert ran.code == 0
    assert ran.err == f"{old}: nothing failed, and nothing was left out\n"


def test_between_two_registries(command: Command, bench: Bench, tmp_path: Path) -> None:
    content = ContentBuilder(seed=4)
    for tag in ("good", "bad"):
        push_to(bench.source.storage, "team/more", content.image(), [tag])
    auth, images = tmp_path / "auth.json", tmp_path / "images.json"
    auth.write_text(json.dumps({each.address: {"insecure": True} for each in (bench.source, bench.destination)}))
    images.write_text(json.dumps({f"{bench.source.address}/team/more": f"{bench.destination.address}/team/more"}))
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    common = ("--auth", auth, "--no-progress", "--workers", "1", "--retries", "0")
    bench.destination.behaviour = Behaviour(faults=(Fault("put manifest", status=500, times=None, match="/bad"),))
    state = ("--state", tmp_path / "run.db")
    assert command("sync", "--images", images, *common, *state, "--report", first).code == 1
    bench.destination.behaviour = Behaviour()
    ran = command("retry", "--report", first, *common, *state, "--new-report", second)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("1 image: 1 copied")
    assert command("retry", "--report", second, *common).code == 0
    assert list(bench.destination.storage.tags("team/more")) == ["bad", "good"]
