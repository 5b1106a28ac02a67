from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command, Files


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("config show must reach no network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    (tmp_path / "docker").mkdir()


def test_the_policies_follow_the_options(command: Command) -> None:
    ran = command("config", "show", "--json", "--retries", "4", "--retry-for", "90s", "--give-up-after", "1m")
    assert (ran.code, ran.err) == (0, "")
    shown = json.loads(ran.out)
    assert set(shown["policies"]) == {"read", "write", "token", "blob", "resume"}
    assert {shown["policies"][name]["tries"] for name in ("read", "write", "blob", "resume")} == {5}
    assert {shown["policies"][name]["budget_s"] for name in ("read", "write", "blob", "resume")} == {90.0}
    assert shown["times"]["give_up_after_s"] == 60.0
    assert shown["registries"] == []


def test_people_get_one_line_for_each_class_of_operations(command: Command) -> None:
    ran = command("config", "show", "--stall-timeout", "20s")
    lines = ran.out.splitlines()
    assert [line.partition(":")[0] for line in lines[:5]] == [
        f"retries of {name}" for name in ("read", "write", "token", "blob", "resume")
    ]
    assert "tries 3" in lines[0]
    assert "stall timeout: 20 s" in lines


def test_registries_are_told_with_their_source_of_credentials_and_no_secret(
    command: Command, files: Files, tmp_path: Path
) -> None:
    (tmp_path / "docker" / "config.json").write_text('{"credHelpers": {"quay.io": "vault"}}')
    files.auth.write_text(
        "registry.example: {username: robot, password: hunter2hunter2, pieces_above: 100MiB, max_connections: 8,"
        " profile: {kind: harbor, mounts: nowhere}}\n"
    )
    files.images.write_text("quay.io/team/app:1: registry.example/app\nnginx:1: registry.example/nginx\n")
    ran = command("config", "show", *files.words)
    assert ran.code == 0
    assert "hunter2" not in ran.out + ran.err
    assert ran.out.splitlines()[-3:] == [
        "quay.io: credential from docker-credential-vault, if it knows one, profile quay",
        (
            'registry.example: credential from auth file, registry.example, profile harbor {"mounts":"nowhere"}, '
            "max_connections 8, pieces_above 104857600"
        ),
        "docker.io: credential from anonymous, profile hub",
    ]


def test_limits_are_shown_as_they_are_written(command: Command, files: Files) -> None:
    files.auth.write_text("registry.example: {requests_per_s: 20, rate: [{days: sat, rate: 1MB/s}]}\n")
    files.images.write_text("registry.example/app:1: registry.example/copy\n")
    ran = command("config", "show", *files.words, "--rate", "08:00-18:00=50MB/s, 1Gbit/s")
    assert "rate: 08:00-18:00=50MB/s,125MB/s" in ran.out.splitlines()
    assert "requests_per_s 20.0, rate sat=1MB/s" in ran.out


def test_a_mistake_in_a_file_is_told_as_everywhere(command: Command, files: Files) -> None:
    files.images.write_text("nginx:/(/: registry.example/other\n")
    assert command("config", "show", *files.words).code == 2
