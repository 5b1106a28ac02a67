"""`login` against registries that nobody here has written: what it keeps is what runs use, until `logout`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import ContentBuilder, MadeManifest, push_over_http
from support.docker_registry import CREDENTIAL, DockerRegistry, serve_docker_registry
from support.programs import find_program
from support.token_server import serve_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.certificates import Certificates
    from support.command import Command

pytestmark = pytest.mark.real

USER, PASSWORD = CREDENTIAL
PROJECT = Path(__file__).parents[2]
KEEPER = """#!/bin/sh
case "$1" in
store) cat > kept ;;
get) [ -f kept ] && cat kept || { echo credentials not found in native keychain; exit 1; } ;;
erase) cat > erased; rm kept ;;
esac
"""


@pytest.fixture(params=["basic", "bearer"])
def closed(request: pytest.FixtureRequest, tmp_path: Path, source: DockerRegistry) -> Iterator[DockerRegistry]:
    """A registry with the storage of `source` that asks for a password, itself or by its token service."""
    with serve_tokens(tmp_path / "tokens", {USER: PASSWORD}) as service:
        service.grants[""] = ()  # nobody in particular may do nothing
        asks = {"htpasswd": True} if request.param == "basic" else {"auth": service.registry_auth}
        with serve_docker_registry(tmp_path / "closed", root=source.root, **asks) as running:  # type: ignore[arg-type]
            yield running


@pytest.fixture
def image(source: DockerRegistry, repository: str, content: ContentBuilder) -> MadeManifest:
    """An image at the source, under v1."""
    made = content.image()
    push_over_http(source.url, repository, made, ["v1"])
    return made


def run(command: Command, *words: str, password: str | None = None, code: int = 0) -> str:
    """`image-syncer WORDS…`, without what a run has; what it says."""
    environment = dict(command._environment())
    done = subprocess.run(
        [sys.executable, "-m", "image_syncer_cli", *words],
        input=password,
        capture_output=True,
        text=True,
        cwd=command.directory,
        env=environment,
        timeout=60,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert PASSWORD not in said
    return said


def log_in(command: Command, host: str, password: str = PASSWORD, *words: str, code: int = 0) -> str:
    return run(command, "login", host, "-u", USER, "--password-stdin", *words, password=password, code=code)


@pytest.mark.extended
@pytest.mark.usefixtures("image")
def test_a_run_uses_what_login_kept_until_logout(
    command: Command, closed: DockerRegistry, destination: DockerRegistry, repository: str
) -> None:
    plain = {address: {"insecure": True} for address in (closed.address, destination.address)}
    rule = {f"{closed.address}/{repository}:v1": f"{destination.address}/{repository}"}
    said = log_in(command, closed.address, "wrong horse", "--insecure", code=1)
    assert "Nothing was kept" in said
    assert not (command.directory / "docker").exists()
    log_in(command, closed.address, PASSWORD, "--insecure")
    assert command.sync(plain, rule).outcomes == {"copied": 1}
    shown = run(command, "config", "show", "--auth", "auth.yaml", "--images", "images.yaml")
    file = command.directory / "docker" / "config.json"
    assert f"{closed.address}: credential from {file}, {closed.address}" in shown
    run(command, "logout", closed.address)
    assert json.loads(file.read_text()) == {"auths": {}}
    log_in(command, closed.address, PASSWORD, "--insecure", "--authfile", "own.json")
    command.environment["REGISTRY_AUTH_FILE"] = str(command.directory / "own.json")
    assert command.sync(plain, rule).outcomes == {"unchanged": 1}
    run(command, "logout", closed.address)
    again = {f"{closed.address}/{repository}:v1": f"{destination.address}/{repository}-again"}
    command.sync(plain, again, code=1)


@pytest.mark.usefixtures("image")
def test_a_helper_keeps_what_login_gives_it_and_a_run_asks_it(
    command: Command, closed: DockerRegistry, destination: DockerRegistry, repository: str
) -> None:
    helper = command.write("bin/docker-credential-keeper", KEEPER)
    helper.chmod(0o755)
    command.environment["PATH"] = f"{helper.parent}{os.pathsep}{os.environ['PATH']}"
    file = command.write("docker/config.json", '{"credsStore": "keeper"}')
    said = log_in(command, closed.address, PASSWORD, "--insecure")
    assert f"kept by docker-credential-keeper, which {file} names" in said
    assert json.loads(file.read_text()) == {"credsStore": "keeper", "auths": {closed.address: {}}}
    assert json.loads((command.directory / "kept").read_text())["Secret"] == PASSWORD
    plain = {address: {"insecure": True} for address in (closed.address, destination.address)}
    rule = {f"{closed.address}/{repository}:v1": f"{destination.address}/{repository}"}
    assert command.sync(plain, rule).outcomes == {"copied": 1}
    run(command, "logout", closed.address)
    assert (command.directory / "erased").read_text() == closed.address
    assert json.loads(file.read_text()) == {"credsStore": "keeper", "auths": {}}


@pytest.mark.extended
def test_a_private_authority_is_named_in_the_auth_file(
    command: Command, certificates: Certificates, tmp_path: Path
) -> None:
    with serve_docker_registry(tmp_path / "guarded", htpasswd=True, certificates=certificates) as guarded:
        said = log_in(command, guarded.address, code=1)
        assert "certificate" in said
        command.write("auth.yaml", {guarded.address: {"ca_file": str(certificates.authority)}})
        log_in(command, guarded.address, PASSWORD, "--auth", "auth.yaml")
    assert (command.directory / "docker" / "config.json").exists()


def skopeo(command: Command, *words: str, password: str | None = None) -> str:
    """`skopeo WORDS…` in the command's environment; what it says."""
    done = subprocess.run(
        [find_program("skopeo"), *words],
        input=password,
        capture_output=True,
        text=True,
        cwd=command.directory,
        env=dict(command._environment()),
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.extended
@pytest.mark.parametrize("place", ["", "/real"])
@pytest.mark.usefixtures("image")
def test_a_login_of_skopeo_is_found_where_skopeo_leaves_it(
    command: Command, closed: DockerRegistry, destination: DockerRegistry, repository: str, place: str
) -> None:
    runtime = command.directory / "run"
    runtime.mkdir()
    command.environment |= {"DOCKER_CONFIG": "", "HOME": str(command.directory), "XDG_RUNTIME_DIR": str(runtime)}
    words = ("login", "--tls-verify=false", "-u", USER, "--password-stdin", f"{closed.address}{place}")
    skopeo(command, *words, password=PASSWORD)
    assert (runtime / "containers" / "auth.json").exists()
    plain = {address: {"insecure": True} for address in (closed.address, destination.address)}
    rule = {f"{closed.address}/{repository}:v1": f"{destination.address}/{repository}"}
    assert command.sync(plain, rule).outcomes == {"copied": 1}
    # A login of ours lies in docker's file, which comes after that.
    said = log_in(command, f"{closed.address}{place}", PASSWORD, "--insecure")
    assert f"kept in {command.directory}/.docker/config.json" in said
    assert f"another login for {closed.address}{place} is found before it, in {runtime}/containers/auth.json" in said


@pytest.mark.extended
@pytest.mark.usefixtures("image")
def test_skopeo_finds_a_login_of_ours_and_logs_out_of_it(
    command: Command, closed: DockerRegistry, repository: str
) -> None:
    log_in(command, closed.address, PASSWORD, "--insecure", "--authfile", "own.json")
    words = ("--tls-verify=false", "--authfile", "own.json", f"docker://{closed.address}/{repository}:v1")
    assert repository in skopeo(command, "inspect", *words)
    assert skopeo(command, "login", "--get-login", "--authfile", "own.json", closed.address).strip() == USER
    skopeo(command, "logout", "--authfile", "own.json", closed.address)
    assert "there was no login" in run(command, "logout", "--authfile", "own.json", closed.address)
