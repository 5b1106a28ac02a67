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
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
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
    config = tmp_path / "docker" / "config.json"
    config.write_text('{"credHelpers": {"quay.io": "vault"}}')
    files.auth.write_text(
        "registry.example: {username: robot, password: hunter2hunter2, pieces_above: 100MiB, max_connections: 8,"
        " profile: {kind: harbor, mounts: nowhere}}\n"
    )
    files.images.write_text("quay.io/team/app:1: registry.example/app\nnginx:1: registry.example/nginx\n")
    ran = command("config", "show", *files.words)
    assert ran.code == 0
    assert "hunter2" not in ran.out + ran.err
    assert ran.out.splitlines()[-3:] == [
        f"quay.io: credential from docker-credential-vault, if it knows one (named in {config}), profile quay",
        (
            'registry.example: credential from auth file, registry.example, profile harbor {"mounts":"nowhere"}, '
            "max_connections 8, pieces_above 104857600"
        ),
        "docker.io: credential from anonymous, profile hub",
    ]


def test_limits_are_shown_as_they_are_written(command: Command, files: Files) -> None:
    files.auth.write_text(
        "registry.example: {requests_per_s: 20, rate: [{days: sat, rate: 1MB/s}], mirrors: m.example/x}\n"
    )
    files.images.write_text("registry.example/app:1: registry.example/copy\n")
    ran = command("config", "show", *files.words, "--rate", "08:00-18:00=50MB/s, 1Gbit/s")
    assert "rate: 08:00-18:00=50MB/s,125MB/s" in ran.out.splitlines()
    assert "requests_per_s 20.0, rate sat=1MB/s" in ran.out
    assert ran.out.rstrip().endswith("mirror m.example/x")


def test_the_network_is_told_with_the_environments_proxies_and_dockers_folders(
    command: Command, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ".config" / "containers" / "certs.d" / "registry.example"
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_text("-----BEGIN CERTIFICATE-----")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter2@proxy:3128")
    monkeypatch.setenv("NO_PROXY", ".lan")
    files.auth.write_text(
        "registry.example: {proxy: 'socks5h://me:hunter2@other', resolve: 192.0.2.1, headers: {X-Key: hunter2}}\n"
    )
    files.images.write_text("quay.io/team/app:1: registry.example/app\n")
    ran = command("config", "show", *files.words)
    assert "hunter2" not in ran.out + ran.err
    quay, own = ran.out.splitlines()[-2:]
    assert quay.endswith(
        "proxy http://proxy:3128 of the environment, proxy for plain HTTP none of the environment, "
        "no_proxy .lan,localhost,127.0.0.0/8,::1"
    )
    assert own.endswith(
        f"proxy socks5h://other:1080, authorities {folder}/ca.crt, "
        "resolve registry.example:443:192.0.2.1 registry.example:80:192.0.2.1, headers X-Key"
    )


def test_a_network_that_cannot_be_is_a_mistake_too(command: Command, files: Files, tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "containers" / "certs.d" / "quay.io"
    folder.mkdir(parents=True)
    (folder / "me.cert").write_text("-----BEGIN CERTIFICATE-----")
    files.images.write_text("quay.io/team/app:1: registry.example/app\n")
    ran = command("config", "show", *files.words)
    assert ran.code == 2
    assert "me.cert: there is no me.key beside it" in ran.err


def test_a_mistake_in_a_file_is_told_as_everywhere(command: Command, files: Files) -> None:
    files.images.write_text("nginx:/(/: registry.example/other\n")
    assert command("config", "show", *files.words).code == 2
