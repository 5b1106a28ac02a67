from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import ContentBuilder, push_to
from image_syncer.errors import Origin, UnavailableError
from image_syncer.oci import Digest, PlatformFilter
from image_syncer.telemetry import Difference, ImageResult, Outcome

if TYPE_CHECKING:
    from cli.conftest import Command, FakeEngine, Files
    from support.bad_input import Bench

DIFFERENCE = Difference("blob", "reg/nginx@sha256:aa", "sha256:aa", "nothing")
EQUAL = ImageResult("nginx:1", "reg/nginx:1", Outcome.EQUAL, manifests_checked=1, blobs_checked=3)
DIFFERENT = ImageResult("nginx:2", "reg/nginx:2", Outcome.DIFFERENT, reason="…", differences=(DIFFERENCE,))


def unchecked() -> ImageResult:
    error = UnavailableError("it is down", origin=Origin.DESTINATION, repository="reg/nginx", reference="3")
    return ImageResult("nginx:3", "reg/nginx:3", Outcome.UNCHECKED, reason=str(error), error=error.to_data())


def test_equal_is_one_line_and_exit_code_0(command: Command, engine: FakeEngine, files: Files) -> None:
    engine.results = [EQUAL]
    ran = command("verify", *files.words)
    assert (ran.code, ran.err, engine.deep) == (0, "", False)
    assert ran.out == "1 image: 1 equal · 1 manifest and 3 blobs checked in 2.0 s · 2 requests\n"


def test_each_difference_is_a_line_and_what_could_not_be_checked_is_told_apart(
    command: Command, engine: FakeEngine, files: Files
) -> None:
    engine.results = [EQUAL, DIFFERENT, unchecked()]
    ran = command("verify", *files.words, "--deep", "--quiet")
    assert (ran.code, engine.deep) == (1, True)
    first, last = ran.out.splitlines()
    assert first == ("different: nginx:2 → reg/nginx:2: blob reg/nginx@sha256:aa: expected sha256:aa, found nothing")
    assert last.startswith("3 images: 1 equal, 1 different, 1 not checked · 1 difference · ")
    *failure, doctor = ran.err.splitlines()
    assert failure == ["not checked: nginx:3 → reg/nginx:3", "  destination reg/nginx:3: it is down"]
    assert doctor == f"To find out why: image-syncer doctor reg/nginx --auth {files.auth}"


def test_json_is_an_object_a_line_and_the_summary_last(command: Command, engine: FakeEngine, files: Files) -> None:
    engine.results = [EQUAL, DIFFERENT, unchecked()]
    lines = [json.loads(line) for line in command("verify", *files.words, "--json").out.splitlines()]
    assert lines[0] == {
        "source": "nginx:2",
        "destination": "reg/nginx:2",
        "outcome": "different",
        "what": "blob",
        "where": "reg/nginx@sha256:aa",
        "expected": "sha256:aa",
        "found": "nothing",
    }
    assert (lines[1]["outcome"], lines[1]["error"]["kind"]) == ("not checked", "unavailable")
    assert lines[2]["summary"]["totals"]["outcomes"]["different"] == 1
    assert len(lines) == 3


def test_options_reach_the_engine(command: Command, engine: FakeEngine, files: Files) -> None:
    words = ("--os", "linux", "--arch", "amd64", "-r", "5", "--report", "r.json", "--blobs-in-memory", "7")
    assert command("verify", *files.words, *words).code == 0
    assert engine.settings is not None
    assert engine.settings.platform_filter == PlatformFilter(os_names=("linux",), architectures=("amd64",))
    assert (engine.settings.retries, engine.settings.report_path, engine.settings.blobs_in_memory) == (5, "r.json", 7)


@pytest.mark.parametrize("words", [["--force"], ["--workers", "2"], ["--state", "x"], ["--dry-run"]])
def test_options_of_a_copy_are_none_of_a_verification(command: Command, files: Files, words: list[str]) -> None:
    assert command("verify", *files.words, *words).code == 2


def test_nothing_to_verify_is_a_mistake(command: Command) -> None:
    ran = command("verify", "--auth", "a")
    assert ran.code == 2
    assert "nothing to verify: give --images FILE" in ran.err


def test_a_file_that_is_not_there_is_a_mistake(command: Command, tmp_path: Path) -> None:
    assert command("verify", "--images", tmp_path / "none.yaml").code == 2


def test_between_two_registries(command: Command, bench: Bench, tmp_path: Path) -> None:
    image = ContentBuilder(seed=3).index()
    push_to(bench.source.storage, "team/app", image, ["v1"])
    names = [f"{registry.address}/team/app" for registry in (bench.source, bench.destination)]
    config = tmp_path / "all.json"
    insecure = {registry.address: {"insecure": True} for registry in (bench.source, bench.destination)}
    (tmp_path / "auth.json").write_text(json.dumps(insecure))
    config.write_text(json.dumps({f"{names[0]}:v1": names[1]}))
    words = ("--auth", tmp_path / "auth.json", "--images", config, "--no-progress")
    assert command("verify", *words).code == 1
    assert command("sync", *words, "--workers", "1", "--verify").code == 0
    report = tmp_path / "verified.json"
    assert command("verify", *words, "--deep", "--report", report).code == 0
    document = json.loads(report.read_text(encoding="utf-8"))
    assert (document["kind"], document["settings"]["deep"]) == ("verify", True)
    assert command("report", report).out.startswith("Verification of ")
    bench.destination.storage.delete_blob("team/app", Digest(image.children[0].blobs[0].digest))
    ran = command("verify", *words)
    assert ran.code == 1
    assert ran.out.count("\n") == 2
    assert f" → {names[1]}:v1: blob {names[1]}@" in ran.out
