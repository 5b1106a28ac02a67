"""What can be wrong with who we are: the clock, the password, the token, the rights."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest

from doctor.conftest import SECRET
from image_syncer.embedded import (
    Behaviour,
    ContentBuilder,
    Fault,
    TokenService,
    push_over_http,
    push_to,
    serve_in_thread,
)
from support.docker_registry import CREDENTIAL, serve_docker_registry
from support.raw_server import found, serve_raw
from support.token_server import serve_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from doctor.conftest import Doctor
    from image_syncer.embedded import EmbeddedRegistry
    from support.raw_server import RawServer

ALICE = {"insecure": True, "username": "alice", "password": SECRET}
HOUR_S = 3600


@pytest.fixture
def registry() -> Iterator[EmbeddedRegistry]:
    """One with an image at team/app:v1."""
    with serve_in_thread() as running:
        push_to(running.storage, "team/app", ContentBuilder(seed=2).image(), ["v1"])
        yield running


@pytest.mark.parametrize("bearer", [None, TokenService()], ids=["basic", "token"])
def test_a_wrong_password(doctor: Doctor, registry: EmbeddedRegistry, bearer: TokenService | None) -> None:
    registry.behaviour = Behaviour(users={"alice": "another"}, bearer=bearer)
    seen = doctor.look(f"{registry.address}/team/app", ALICE)
    assert seen.failed() == ["login"]
    if bearer is None:
        assert "the registry does not accept the user 'alice' with its password" in seen.said("login")
        assert f"the credentials came from auth file, {registry.address}" in seen.said("login")
    else:
        assert "answered 401 UNAUTHORIZED: incorrect username or password" in seen.said("login")
        assert "wrong or has expired" in seen.said("login")
    assert seen["tags"]["state"] == "not tried"


@pytest.mark.real
def test_a_wrong_password_for_a_real_registry(doctor: Doctor, tmp_path: Path) -> None:
    with serve_docker_registry(tmp_path / "registry", htpasswd=True) as running:
        entry = {"insecure": True, "username": CREDENTIAL[0]}
        wrong = doctor.look(f"{running.address}/app", {**entry, "password": SECRET})
        right = doctor.look(running.address, {**entry, "password": CREDENTIAL[1]})
    assert wrong.failed() == ["login"]
    assert "does not accept the user 'alice'" in wrong.said("login")
    assert (right.code, right["login"]["what"]) == (0, "the registry accepts the user 'alice'")


def test_no_credential_where_one_is_wanted(doctor: Doctor, registry: EmbeddedRegistry) -> None:
    registry.behaviour = Behaviour(users={"alice": SECRET})
    seen = doctor.look(f"{registry.address}/team/app", {"insecure": True})
    assert seen["credential"]["what"] == "no credentials; anonymous"
    assert seen.failed() == ["login"]
    assert "the registry wants credentials, and there are none for it" in seen.said("login")


def test_a_401_that_does_not_say_how(doctor: Doctor) -> None:
    said = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n"
    with serve_raw(lambda _method, _path: [said]) as server:
        seen = doctor.look(f"{server.address}/app", {"insecure": True})
    assert seen.failed() == ["challenge"]
    assert "offers only negotiate" in seen.said("challenge")


def test_a_token_service_that_is_away(doctor: Doctor, registry: EmbeddedRegistry) -> None:
    registry.behaviour = Behaviour(
        users={"alice": SECRET}, bearer=TokenService(), faults=(Fault("get token", times=None, status=503),)
    )
    seen = doctor.look(f"{registry.address}/team/app", ALICE)
    assert seen.failed() == ["login"]
    assert "This is the token service of" in seen.said("login")


def serve_date(ahead_s: float) -> AbstractContextManager[RawServer]:
    """A server whose clock is so much ahead of ours."""
    return serve_raw(lambda _method, _path: [found(b"{}", Date=formatdate(time.time() + ahead_s, usegmt=True))])


@pytest.mark.parametrize(("ahead_s", "words"), [(HOUR_S + 30, "behind"), (-HOUR_S - 30, "ahead of")])
def test_a_clock_that_is_off(doctor: Doctor, ahead_s: float, words: str) -> None:
    with serve_raw(
        lambda _method, _path: [found(b"{}", Date=formatdate(time.time() + ahead_s, usegmt=True))]
    ) as server:
        seen = doctor.look(server.address, {"insecure": True})
    assert seen.failed() == ["clock"]
    assert f"the clock of this machine is 1 h 0 min {words} the registry's" in seen.said("clock")
    assert "Set the clock of this machine by a time server" in seen.said("clock")


def test_a_clock_that_is_a_little_off_is_told(doctor: Doctor) -> None:
    with serve_date(120) as server:
        seen = doctor.look(server.address, {"insecure": True})
    assert (seen.code, seen["clock"]["state"]) == (0, "warning")


@pytest.mark.real
def test_tokens_that_are_over_at_once(doctor: Doctor, tmp_path: Path) -> None:
    with serve_tokens(tmp_path / "tokens", {"alice": SECRET}) as tokens:
        tokens.lifetime_s, tokens.told_lifetime_s = -HOUR_S, 300
        with serve_docker_registry(tmp_path / "registry", auth=tokens.registry_auth) as running:
            seen = doctor.look(f"{running.address}/app", ALICE)
    assert seen.failed() == ["login"]
    assert "the registry refuses the token that its token service has just given" in seen.said("login")
    assert "by the clock of this machine it ended 1 h" in seen.said("login")
    assert "Set the clock" in seen.said("login")


@pytest.mark.real
def test_the_scopes_of_a_token_that_shows_them(doctor: Doctor, tmp_path: Path) -> None:
    users = {"alice": SECRET}
    with serve_tokens(tmp_path / "tokens", users) as tokens:
        tokens.grants["alice"] = ("team",)
        with serve_docker_registry(tmp_path / "registry", auth=tokens.registry_auth) as running:
            hers = doctor.look(f"{running.address}/team/app", ALICE, "--write")
            others = doctor.look(f"{running.address}/other/app", ALICE)
    assert hers["scopes"]["what"] == "pull, push"
    assert hers["push"]["state"] == "ok"
    assert hers.code == 0
    assert others.failed() == ["scopes", "tags"]
    assert "no right to pull" in others.said("scopes")
    assert "Ask the operator of the registry for the right to pull" in others.said("scopes")
    assert "the token service did not grant pull on other/app" in others.said("tags")


def test_a_missing_scope_of_a_token_that_shows_nothing(doctor: Doctor, registry: EmbeddedRegistry) -> None:
    registry.behaviour = Behaviour(users={"alice": SECRET}, bearer=TokenService(withheld=("pull",)))
    seen = doctor.look(f"{registry.address}/team/app", ALICE)
    assert seen["scopes"]["state"] == "ok"
    assert seen.failed() == ["tags"]
    assert "the user 'alice' may not do this here (insufficient scope)" in seen.said("tags")


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(users={"alice": SECRET}, bearer=TokenService(withheld=("push",))),
        Behaviour(users={"alice": SECRET}, bearer=TokenService(withheld=("push",), insufficient_status=403)),
        Behaviour(users={"alice": SECRET}, permissions={"alice": ("pull",)}),
    ],
    ids=["scope", "scope, 403", "basic"],
)
def test_no_right_to_push(doctor: Doctor, registry: EmbeddedRegistry, behaviour: Behaviour, write: bool) -> None:
    registry.behaviour = behaviour
    seen = doctor.look(f"{registry.address}/team/app", ALICE, *(["--write"] if write else []))
    assert seen["push"]["state"] == ("failed" if write else "warning")
    assert "a push is not let in" in seen.said("push")
    assert f"copied to {registry.address}/team/app, ask who runs the registry for the right to push" in seen.said(
        "push"
    )
    assert seen.code == int(write)
    assert seen["range"]["state"] == "ok"
    if write:
        assert seen["upload"]["state"] == "not tried"


@pytest.mark.real
@pytest.mark.parametrize("write", [False, True])
def test_a_registry_that_takes_no_writes(doctor: Doctor, tmp_path: Path, write: bool) -> None:
    root = tmp_path / "root"
    with serve_docker_registry(tmp_path / "before", root=root) as running:
        push_over_http(running.url, "app", ContentBuilder(seed=3).image(), ["v1"])
    with serve_docker_registry(tmp_path / "after", root=root, read_only=True) as running:
        seen = doctor.look(f"{running.address}/app", {"insecure": True}, *(["--write"] if write else []))
    assert seen["push"]["state"] == ("failed" if write else "warning")
    assert "the registry takes no writes: " in seen.said("push")
    assert "of uploads it allows GET, HEAD only" in seen.said("push")
    assert "maintenance" in seen.said("push")
    assert seen["blob"]["state"] == "ok"
