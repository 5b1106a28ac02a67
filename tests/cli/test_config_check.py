from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command, Files


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("config check must reach no network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_good_files_are_counted(command: Command, files: Files) -> None:
    ran = command("config", "check", *files.words)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "no problems · no warnings · 1 rule to 1 destination\n"


def test_policies_are_counted(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("version: 2\npolicy: {require: sbom}\nrules:\n- {source: a.io/x, destination: b.io/x}\n")
    assert command("config", "check", "--config", path).out.endswith(" · 1 policy\n")


def test_all_mistakes_of_all_files_are_told_with_place_and_mend(command: Command, files: Files) -> None:
    files.auth.write_text("registry.example:\n  username: $NO_SUCH_VARIABLE\n  password: x\n")
    files.images.write_text("nginx:1,2: registry.example/nginx:1\nnginx:/(/: registry.example/other\n")
    ran = command("config", "check", *files.words)
    assert ran.code == 2
    *lines, count = ran.out.splitlines()
    problems = [line for line in lines if "warning: " not in line]
    assert count.startswith("3 problems · ")
    assert [line.partition(" ")[0] for line in problems] == [
        f"{files.auth}:2",
        f"{files.images}:1",
        f"{files.images}:2",
    ]
    assert all(" → " in line for line in problems)


def test_warnings_alone_are_no_mistake(command: Command, files: Files) -> None:
    files.auth.write_text("registry.example:\n  usrname: me\n")
    ran = command("config", "check", *files.words)
    assert ran.code == 0
    first, last = ran.out.splitlines()
    assert first.startswith(f"warning: {files.auth}:2")
    assert last == "no problems · 1 warning · 1 rule to 1 destination"


def test_an_auth_file_may_be_checked_alone(command: Command, files: Files) -> None:
    assert command("config", "check", "--auth", files.auth).code == 0
    files.auth.write_text("registry.example: [\n")
    ran = command("config", "check", "--auth", files.auth)
    assert (ran.code, ran.out.splitlines()[-1]) == (2, "1 problem · no warnings")


def test_files_that_exclude_each_other(command: Command, files: Files) -> None:
    ran = command("config", "check", *files.words, "--config", files.auth)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("Error: --config was given together with --auth or --images\n")
