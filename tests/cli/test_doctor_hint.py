"""The last word of a run with failures: the doctor's command for the first one in which it can help."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.telemetry import ImageResult, Outcome
from image_syncer_cli.main import main

if TYPE_CHECKING:
    from cli.conftest import Command, FakeEngine, Files

HEAD = "To find out why: "
SOURCE, DESTINATION = "quay.io/team/app:1", "registry.example:5000/mirror/app:1"


def failure(**error: Any) -> ImageResult:
    data = {"message": "no", "side": "destination", **error}
    return ImageResult(SOURCE, DESTINATION, Outcome.FAILED, error=data)


def hints(err: str) -> list[str]:
    return [line.removeprefix(HEAD) for line in err.splitlines() if line.startswith(HEAD)]


@pytest.mark.parametrize(
    "kind", ["transport", "authentication", "refused", "unavailable", "registry down", "protocol violation"]
)
def test_a_failure_in_which_it_can_help(command: Command, engine: FakeEngine, files: Files, kind: str) -> None:
    answered = failure(kind=kind, repository="registry.example/mirror/app", request="GET https://registry.example/v2/")
    engine.results = [failure(kind="integrity"), answered]
    ran = command(*files.words)
    assert ran.code == 1
    assert hints(ran.err) == [f"image-syncer doctor registry.example/mirror/app --auth {files.auth}"]


@pytest.mark.parametrize(
    "error",
    [
        {"kind": "integrity"},
        {"kind": "not found"},
        {"kind": "refused", "operation": "put manifest", "request": "PUT https://registry.example/v2/x/manifests/1"},
        {"kind": "refused", "operation": "list referrers"},
        {"kind": "worker"},
    ],
)
def test_a_failure_in_which_it_cannot(
    command: Command, engine: FakeEngine, files: Files, error: dict[str, str]
) -> None:
    engine.results = [failure(**error)]
    assert hints(command(*files.words).err) == []


@pytest.mark.parametrize(
    ("side", "place"),
    [("source", ["quay.io/team/app"]), ("destination", ["registry.example:5000/mirror/app"]), ("local", [])],
)
def test_where_the_error_does_not_name_a_repository_its_side_does(
    command: Command, engine: FakeEngine, side: str, place: list[str]
) -> None:
    engine.results = [failure(kind="transport", side=side)]
    ran = command("copy", SOURCE, DESTINATION)
    assert hints(ran.err) == [f"image-syncer doctor {each}" for each in place]


def test_a_list_of_repositories_is_of_no_repository(command: Command, engine: FakeEngine, files: Files) -> None:
    engine.results = [failure(kind="authentication", repository="registry.example/_catalog")]
    assert hints(command(*files.words).err) == [f"image-syncer doctor registry.example --auth {files.auth}"]


def test_the_command_reaches_registries_as_the_run_did(command: Command, engine: FakeEngine, tmp_path: Any) -> None:
    auth = tmp_path / "my auth.yaml"
    auth.write_text("quay.io: {username: a, password: b}\n")
    engine.results = [failure(kind="transport", repository="quay.io/team/app")]
    ran = command("copy", SOURCE, DESTINATION, "--auth", auth, "--insecure", "registry.example:5000")
    [hint] = hints(ran.err)
    words = ["--auth", str(auth), "--insecure", "registry.example:5000"]
    assert shlex.split(hint) == ["image-syncer", "doctor", "quay.io/team/app", *words]


def test_verify_names_it_too(command: Command, engine: FakeEngine, files: Files) -> None:
    engine.results = [ImageResult(SOURCE, DESTINATION, Outcome.UNCHECKED, error=failure(kind="transport").error)]
    assert hints(command("verify", *files.words).err) == [
        f"image-syncer doctor registry.example:5000/mirror/app --auth {files.auth}"
    ]


def test_diff_names_it_too(command: Command, engine: FakeEngine, files: Files) -> None:
    engine.results = [failure(kind="transport")]
    assert hints(command("diff", *files.words).err) == [
        f"image-syncer doctor registry.example:5000/mirror/app --auth {files.auth}"
    ]


def test_for_programs(command: Command, engine: FakeEngine, files: Files) -> None:
    engine.results = [failure(kind="transport")]
    events = [json.loads(line) for line in command(*files.words, "--log-format", "json").err.splitlines()]
    [told] = [event for event in events if event["event"] == "doctor"]
    assert told["command"].startswith("image-syncer doctor registry.example:5000/mirror/app --auth ")


def test_what_is_named_can_be_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert main(["copy", "registry.invalid/a:1", "registry.invalid/b", "--retries", "0", "--give-up-after", "1s"]) == 1
    [hint] = hints(capsys.readouterr().err)
    assert main(shlex.split(hint)[1:]) == 1
    assert "✗ DNS" in capsys.readouterr().out
