"""`image-syncer doctor`: its words, its checklist, its exit codes; the checks themselves have tests of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.doctor import examination
from image_syncer.doctor.checks import Check, CheckState
from image_syncer.doctor.examination import Examination
from image_syncer_cli.verbs.doctor import Checklist

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command

WELL = Check("ping", CheckState.OK, "answered 200", seconds=0.0123)
BROKEN = Check("login", CheckState.FAILED, "not\x1b[31m accepted", "Correct the password → log in again.", 2.5)
LATER = (
    Check("tags", CheckState.NOT_TRIED, "it depends on: login"),
    Check("blob", CheckState.NOT_TRIED, "it depends on: tags"),
)
FAST = Check("upload", CheckState.OK, "POST, then one PUT", seconds=0.5, size_bytes=2**20)
ALL = (WELL, FAST, BROKEN, *LATER)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """How the engine was called; it finds ALL."""
    seen: dict[str, Any] = {}

    def examine(subject: str, registries: Any, settings: Any, *, write: bool, on_check: Any = None) -> Examination:
        seen.update(subject=subject, registries=registries, settings=settings, write=write)
        for check in ALL if on_check else ():
            on_check(check)
        return Examination(subject, ALL, 3.0, write)

    monkeypatch.setattr(examination, "examine", examine)
    return seen


def test_the_options_reach_the_engine(command: Command, asked: dict[str, Any], tmp_path: Path) -> None:
    auth = tmp_path / "auth.yaml"
    auth.write_text("registry.example:\n  username: me\n  password: hunter2hunter2\n")
    words = ("--auth", auth, "--write", "--connect-timeout", "3s", "--deadline", "1m", "--insecure", "other.example")
    ran = command("doctor", "registry.example/a", *words)
    assert (ran.code, ran.err) == (1, "")
    assert (asked["subject"], asked["write"]) == ("registry.example/a", True)
    assert (asked["settings"].connect_timeout_s, asked["settings"].deadline_s) == (3.0, 60.0)
    assert [entry.prefix for entry in asked["registries"].entries] == ["registry.example", "other.example"]


def test_the_checklist(command: Command, asked: dict[str, Any]) -> None:
    assert command("doctor", "registry.example/a").out.splitlines() == [
        "✓ ping                12.3 ms  answered 200",
        "✓ upload             500.0 ms  POST, then one PUT (1.0 MiB, 2.0 MiB/s)",
        "✗ login                 2.5 s  not�[31m accepted",
        "                                 Correct the password → log in again.",
        "– not tried: tags, blob",
        "registry.example/a: broken: login · 3.0 s",
    ]


def test_a_terminal_that_knows_ascii_only(capsys: pytest.CaptureFixture[str]) -> None:
    checklist = Checklist("ascii")
    for check in (WELL, Check("login", CheckState.FAILED, "no", "Log in → again."), *LATER):
        checklist.tell(check)
    checklist.conclude(Examination("registry.example", (WELL,), 0.5))
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.splitlines()[0].startswith("ok ping ")
    assert "XX login" in out
    assert "-> again" in out
    assert out.splitlines()[-1] == "registry.example: well - 0.5 s"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("registry.example", "--write"), "--write needs a repository to write to"),
        (("https://registry.example",), "is a URL"),
        (("registry.example", "--auth", "missing.yaml"), "missing.yaml"),
        (("registry.example", "--auth", "a", "--config", "b"), "use one or the other"),
        (("registry.example", "--deadline", "soon"), "soon"),
    ],
)
def test_what_cannot_be_used(command: Command, words: tuple[str, ...], says: str) -> None:
    ran = command("doctor", *words)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err


def test_an_examination_that_was_not_ended_is_not_well(capsys: pytest.CaptureFixture[str]) -> None:
    Checklist("utf-8").conclude(Examination("registry.example", LATER, 0.5))
    assert capsys.readouterr().out == "registry.example: not examined to the end · 0.5 s\n"
