"""The doctor as a user calls it, in this process, and what it says as a program reads it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from image_syncer.telemetry import logs
from image_syncer_cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "hunter2hunter2"
PROXY_VARIABLES = ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")


@dataclass(frozen=True)
class Found:
    """What the doctor found: the document of `--json`, and each check of it by its name."""

    code: int
    document: dict[str, Any]

    def __getitem__(self, name: str) -> dict[str, Any]:
        return next(check for check in self.document["checks"] if check["name"] == name)

    def states(self) -> dict[str, str]:
        return {check["name"]: check["state"] for check in self.document["checks"]}

    def failed(self) -> list[str]:
        """The checks that have failed themselves."""
        return [name for name, state in self.states().items() if state == "failed"]

    def said(self, name: str) -> str:
        """What was found, and what to do, in one text."""
        return f"{self[name]['what']} | {self[name]['cure']}"


class Doctor:
    """Calls the command; the secret is never told."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self._capsys = capsys

    def write_auth(self, entries: object) -> str:
        path = self.directory / "auth.yaml"
        path.write_text(yaml.safe_dump(entries))
        return str(path)

    def look(self, subject: str, entry: dict[str, Any] | None = None, *words: str) -> Found:
        """`doctor SUBJECT --json`, with `entry` for its registry in the auth file."""
        auth = self.write_auth({subject.partition("/")[0]: entry} if entry else {"unused.example": {"insecure": True}})
        code = main(["doctor", subject, "--json", "--auth", auth, *words])
        captured = self._capsys.readouterr()
        assert captured.err == ""
        assert SECRET not in captured.out
        document = json.loads(captured.out)
        assert document["healthy"] is (code == 0)
        return Found(code, document)

    def tell(self, subject: str, entry: dict[str, Any], *words: str) -> tuple[int, str]:
        """The same for people: the exit code, and the lines."""
        auth = self.write_auth({subject.partition("/")[0]: entry})
        code = main(["doctor", subject, "--auth", auth, *words])
        captured = self._capsys.readouterr()
        assert captured.err == ""
        assert SECRET not in captured.out
        return code, captured.out


@pytest.fixture
def doctor(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Doctor]:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    yield Doctor(tmp_path, capsys)
    logs._sinks.clear()
