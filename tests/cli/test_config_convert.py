from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command, Files

SKOPEO = "a.example: {images: {app: [1]}, credentials: {username: me, password: hidden}}\n"


@pytest.fixture
def skopeo(tmp_path: Path) -> Path:
    path = tmp_path / "sync.yaml"
    path.write_text(SKOPEO)
    return path


def test_what_is_written_can_be_checked_and_says_the_same(
    command: Command, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = tmp_path / "new.yaml"
    ran = command("config", "convert", *files.words, "--output", new)
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.splitlines()[-1] == "from the Go tool · 1 rule · no warnings"
    monkeypatch.setenv(ran.err.partition(":")[0].removeprefix("set "), "hidden")
    checked = command("config", "check", "--config", new)
    assert (checked.code, checked.out) == (0, "no problems · no warnings · 1 rule to 1 destination\n")


def test_the_new_file_is_on_standard_output_and_all_else_is_not(command: Command, skopeo: Path) -> None:
    ran = command("config", "convert", skopeo, "--to", "b.example")
    assert ran.code == 0
    assert ran.out.startswith("# Made by `image-syncer config convert` from sync.yaml (skopeo sync).\n")
    assert ran.out.endswith("  - source: a.example/app:1\n    destination: b.example/app\n")
    assert ran.err == (
        f"set A_EXAMPLE_PASSWORD: the password of a.example ({skopeo}:1)\nfrom skopeo sync · 1 rule · no warnings\n"
    )


def test_passwords_are_copied_into_a_file_of_ones_own(command: Command, skopeo: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.yaml"
    assert command("config", "convert", skopeo, "--to", "b.example", "--with-secrets", "--output", new).code == 0
    assert "    password: hidden\n" in new.read_text()
    assert stat.S_IMODE(new.stat().st_mode) == 0o600
    assert command("config", "convert", skopeo, "--to", "b.example", "--output", new).code == 0
    assert "hidden" not in new.read_text()


def test_a_rule_that_is_left_out_is_told_by_the_exit_code(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "regsync.yaml"
    path.write_text("sync: [{source: '{{.X}}', target: a.example/x, type: image}]\n")
    ran = command("config", "convert", path)
    assert ran.code == 1
    assert ran.err.splitlines() == [
        f"warning: {path}:1 [sync[0]]: left out: a template in the source → write the name",
        "from regsync · 0 rules · 1 left out · 1 warning",
    ]


@pytest.mark.parametrize("words", [(), ("--from", "dregsy")])
def test_what_cannot_be_read_as_that_format(command: Command, tmp_path: Path, words: tuple[str, ...]) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("tasks: [{source: {}}]\n")
    ran = command("config", "convert", path, *words)
    assert (ran.code, ran.out) == (2, "")
    assert "x.yaml:1 [tasks[0] › source]: there is no registry" in ran.err


def test_a_file_is_not_written_over_itself(command: Command, skopeo: Path) -> None:
    ran = command("config", "convert", skopeo, "--to", "b.example", "--output", skopeo)
    assert ran.code == 2
    assert "is a file that is converted" in ran.err
    assert skopeo.read_text() == SKOPEO
    assert command("config", "convert", skopeo, "--to", "b.example", "--output", skopeo.parent / "no" / "x").code == 2
