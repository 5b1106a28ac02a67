"""Who may do what: tokens that run out, rights that are missing, passwords that are wrong. No secret is ever told."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import Behaviour, Fault, TokenService
from image_syncer.errors import AuthenticationError, Origin, ProtocolViolation, UnavailableError
from image_syncer.registry import Credential
from support.sync_runs import PASSWORD, REPOSITORY, TAG, USER, error_of

if TYPE_CHECKING:
    from pathlib import Path

    from support.sync_runs import SyncLab

FOREVER = None
BASIC = Behaviour(users={USER: PASSWORD}, check_references=False)
BEARER = replace(BASIC, bearer=TokenService())
SHORT = replace(BASIC, bearer=TokenService(expires_in_s=1))


def guard(lab: SyncLab, behaviour: Behaviour = BEARER) -> None:
    """Both sides want `USER` and `PASSWORD`, and the configuration has them."""
    lab.source.behaviour = lab.destination.behaviour = behaviour
    lab.log_in(lab.source, lab.destination)


# Tokens that run out


@pytest.mark.extended
def test_tokens_that_live_for_a_second_are_renewed_before_they_expire(lab: SyncLab) -> None:
    image = lab.image(1, layer_bytes=200_000)
    guard(lab, replace(BEARER, bearer=TokenService(expires_in_s=1), bandwidth_bytes_per_s=150_000))
    lab.run()
    lab.assert_arrived(image)


@pytest.mark.extended
def test_tokens_that_do_not_say_how_long_they_live_are_renewed_when_they_are_refused(lab: SyncLab) -> None:
    image = lab.image(1, layer_bytes=200_000)
    guard(lab, replace(BEARER, bearer=TokenService(expires_in_s=1, say_expiry=False), bandwidth_bytes_per_s=150_000))
    lab.run()
    lab.assert_arrived(image)


def test_tokens_that_are_revoked_in_the_middle_are_renewed(lab: SyncLab) -> None:
    images = [lab.push(lab.content.index(), f"team/app{number}") for number in range(3)]
    guard(lab, replace(BEARER, latency_s=0.02))
    revoked: list[bool] = []

    def revoke(*_: object) -> None:
        if not revoked and lab.destination.counters.requests.get("put upload"):
            lab.source.revoke_tokens()
            lab.destination.revoke_tokens()
            revoked.append(True)

    done = lab.run(workers=2, on_progress=revoke, progress_interval_s=0.01)
    assert revoked
    assert done.at(lab.destination).tokens > 6
    for number, image in enumerate(images):
        lab.assert_arrived(image, f"team/app{number}")


@pytest.mark.extended
def test_an_upload_that_is_refused_for_its_token_starts_over(lab: SyncLab) -> None:
    image = lab.image(2, layer_bytes=1_000_000)
    guard(lab)
    challenge = f'Bearer realm="{lab.destination.url}/token",service="embedded",error="invalid_token"'
    refusal = Fault("put upload", status=401, headers=(("WWW-Authenticate", challenge),))
    lab.destination.behaviour = replace(BEARER, faults=(refusal,))
    done = lab.run()
    assert done.at(lab.destination).count("put upload") == done.at(lab.destination).count("start upload") == 4
    lab.assert_arrived(image)


# Rights that are missing


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_without_the_right_to_push_is_told(lab: SyncLab, status: int) -> None:
    lab.image(2)
    guard(lab)
    lab.destination.behaviour = replace(BEARER, bearer=TokenService(withheld=("push",), insufficient_status=status))
    done = lab.run(exit_code=1)
    assert isinstance(done.error, AuthenticationError)
    assert (done.error.origin, done.error.tries) == (Origin.DESTINATION, 1)
    assert done.error.repository == f"{lab.destination.address}/{REPOSITORY}"
    assert done.at(lab.destination).bytes_in == 0
    assert done.at(lab.destination).tokens <= 4


@pytest.mark.extended
def test_a_token_without_the_right_to_pull_is_told(lab: SyncLab) -> None:
    lab.image(1)
    guard(lab)
    lab.source.behaviour = replace(BEARER, bearer=TokenService(withheld=("pull",)))
    done = lab.run(exit_code=1)
    assert isinstance(done.error, AuthenticationError)
    assert (done.error.origin, done.error.reference) == (Origin.SOURCE, TAG)
    assert done.at(lab.source).tokens <= 3


@pytest.mark.extended
def test_missing_rights_do_not_multiply_the_tokens(lab: SyncLab) -> None:
    for number in range(8):
        lab.push(lab.content.image(), tags=[f"v{number}"])
    guard(lab)
    lab.source.behaviour = replace(BEARER, bearer=TokenService(withheld=("pull",)))
    done = lab.run(exit_code=1)
    assert done.outcomes == ["failed"] * 8
    assert done.at(lab.source).tokens <= 4


def test_a_user_who_may_only_read_the_destination(lab: SyncLab) -> None:
    lab.image(1)
    guard(lab, BASIC)
    lab.destination.behaviour = replace(BASIC, permissions={USER: ("pull",)})
    error = lab.run(exit_code=1).error
    assert isinstance(error, AuthenticationError)
    assert (error.origin, error.status) == (Origin.DESTINATION, 403)


@pytest.mark.extended
def test_servers_that_read_only_the_first_scope(lab: SyncLab) -> None:
    image = lab.content.image(2)
    for repository in ("team/one", "team/two"):
        lab.push(image, repository)
    guard(lab, replace(BEARER, bearer=TokenService(first_scope_only=True)))
    lab.run()
    for repository in ("team/one", "team/two"):
        lab.assert_arrived(image, repository)


# Passwords that change


def log_in_by_file(lab: SyncLab, path: Path, password: str) -> None:
    """Both registries are in docker's file, and no more in the configuration."""
    for registry in (lab.source, lab.destination):
        lab.enter(registry)
    entry = {"username": USER, "password": password}
    text = json.dumps({"auths": {registry.address: entry for registry in (lab.source, lab.destination)}})
    temporary = path.with_suffix(".new")
    temporary.write_text(text)
    temporary.replace(path)


@pytest.mark.extended
@pytest.mark.parametrize("behaviour", [BASIC, SHORT], ids=["basic", "bearer"])
def test_a_password_that_is_changed_in_the_middle_is_read_again_where_it_came_from(
    lab: SyncLab, behaviour: Behaviour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    images = [lab.push(lab.content.index(), f"team/app{number}") for number in range(4)]
    lab.source.behaviour = lab.destination.behaviour = replace(behaviour, latency_s=0.02)
    log_in_by_file(lab, tmp_path / "config.json", PASSWORD)
    changed: list[bool] = []

    def change(*_: object) -> None:
        if not changed and lab.destination.counters.requests.get("put upload"):
            other = f"{PASSWORD}-of-tomorrow"
            log_in_by_file(lab, tmp_path / "config.json", other)
            for registry in (lab.source, lab.destination):
                registry.behaviour = replace(behaviour, users={USER: other}, latency_s=0.02)
                registry.revoke_tokens()
            changed.append(True)

    lab.run(workers=2, on_progress=change, progress_interval_s=0.01)
    assert changed
    for number, image in enumerate(images):
        lab.assert_arrived(image, f"team/app{number}")


@pytest.mark.extended
@pytest.mark.parametrize("behaviour", [BASIC, BEARER], ids=["basic", "bearer"])
def test_a_password_that_stays_wrong_costs_no_more_requests_for_being_asked_for_again(
    lab: SyncLab, behaviour: Behaviour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for number in range(6):
        lab.push(lab.content.image(), tags=[f"v{number}"])
    lab.source.behaviour = behaviour
    log_in_by_file(lab, tmp_path / "config.json", "not-the-right-one")
    done = lab.run(exit_code=1)
    assert done.outcomes == ["failed"] * 6
    assert done.at(lab.source).count("get token") <= 6
    assert f"{tmp_path}/config.json" in done.log


# How many tokens


@pytest.mark.extended
def test_the_number_of_tokens_does_not_grow_with_the_workers(lab: SyncLab) -> None:
    guard(lab)
    counted = []
    for workers in (1, 2, 8):
        rules = []
        for number in range(6):
            lab.push(lab.content.image(2), repository := f"w{workers}/app{number}")
            rules.append(lab.rule(repository))
        done = lab.run(*rules, workers=workers)
        counted.append((done.at(lab.source).tokens, done.at(lab.destination).tokens))
    assert counted == [(6, 12)] * 3


def test_a_file_with_passwords_that_others_may_read_is_warned_of_once(
    lab: SyncLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    image = lab.image(1)
    guard(lab, BASIC)
    log_in_by_file(lab, tmp_path / "config.json", PASSWORD)
    (tmp_path / "config.json").chmod(0o644)
    done = lab.run()
    lab.assert_arrived(image)
    [warning] = done.report.warnings
    assert warning.startswith(f"{tmp_path}/config.json: it holds a password, and others on this machine may read it")
    assert warning.endswith(f"→ chmod 600 {tmp_path}/config.json")


# Credentials


@pytest.mark.extended
@pytest.mark.parametrize("behaviour", [BASIC, BEARER], ids=["basic", "bearer"])
@pytest.mark.parametrize("side", list(Origin)[:2])
@pytest.mark.parametrize("credential", ["wrong", "none"])
def test_credentials_that_do_not_fit(lab: SyncLab, behaviour: Behaviour, side: Origin, credential: str) -> None:
    lab.image(1)
    guarded = lab.source if side is Origin.SOURCE else lab.destination
    guarded.behaviour = behaviour
    if credential == "wrong":
        lab.log_in(guarded, password="not-the-right-one")
    done = lab.run(exit_code=1)
    error = done.error
    assert isinstance(error, AuthenticationError)
    assert (error.origin, error.tries) == (side, 1)
    assert error.repository == f"{guarded.address}/{REPOSITORY}"
    assert error.hint is not None
    assert "not-the-right-one" not in done.log
    assert done.at(guarded).total_requests <= 6


def test_an_identity_token_is_exchanged(lab: SyncLab) -> None:
    image = lab.image(1)
    lab.source.behaviour = replace(BEARER, bearer=TokenService(identity_tokens={"id-of-robot-1234": USER}))
    lab.enter(lab.source, Credential(USER, "", identity_token="id-of-robot-1234"))
    done = lab.run()
    assert "id-of-robot-1234" not in done.log
    lab.assert_arrived(image)


def test_anonymous_tokens(lab: SyncLab) -> None:
    image = lab.image(1)
    lab.source.behaviour = Behaviour(bearer=TokenService(field_names=("access_token",), service=None))
    done = lab.run()
    assert done.at(lab.source).tokens == 1
    lab.assert_arrived(image)


@pytest.mark.extended
def test_a_token_service_on_another_host(lab: SyncLab) -> None:
    image = lab.image(1)
    guard(lab, replace(BEARER, bearer=TokenService(on_companion=True)))
    lab.run()
    lab.assert_arrived(image)


def test_several_challenges_in_one_header(lab: SyncLab) -> None:
    image = lab.image(1)
    offered = ("Negotiate", 'Digest realm="a, b", nonce="x=="')
    guard(lab, replace(BEARER, extra_challenges=offered, one_challenge_header=True))
    lab.run()
    lab.assert_arrived(image)


@pytest.mark.extended
def test_a_registry_that_tells_its_challenge_only_to_a_ping(lab: SyncLab) -> None:
    image = lab.image(1)
    guard(lab, replace(BEARER, challenge_on_ping_only=True))
    done = lab.run()
    assert done.at(lab.source).count("ping") == 1
    lab.assert_arrived(image)


@pytest.mark.parametrize("status", [500, 503])
def test_a_token_service_that_fails_once(lab: SyncLab, status: int) -> None:
    image = lab.image(2)
    guard(lab, replace(BEARER, faults=(Fault("get token", status=status),)))
    lab.run()
    lab.assert_arrived(image)


@pytest.mark.extended
def test_a_token_service_that_stays_broken(lab: SyncLab) -> None:
    lab.image(1)
    lab.source.behaviour = replace(BEARER, faults=(Fault("get token", status=503, times=FOREVER),))
    lab.log_in(lab.source)
    error = lab.run(exit_code=1, retries=1, give_up_after_s=0.3).error
    assert isinstance(error, UnavailableError)
    assert error.origin is Origin.SOURCE
    assert error.tries > 2
    assert "This is the token service of" in str(error)


def test_a_token_service_that_is_away_for_a_while_costs_no_image(lab: SyncLab) -> None:
    images = [lab.image(2, f"team/app{number}") for number in range(3)]
    lab.source.behaviour = replace(BEARER, faults=(Fault("get token", status=503, times=20),))
    lab.log_in(lab.source)
    lab.run(retries=1)
    for number, image in enumerate(images):
        lab.assert_arrived(image, f"team/app{number}")


@pytest.mark.extended
def test_a_token_service_that_was_given_up_is_not_waited_for_again(lab: SyncLab) -> None:
    for number in range(40):
        lab.image(1, f"team/app{number}")
    lab.source.behaviour = replace(BEARER, faults=(Fault("get token", status=503, times=FOREVER),))
    lab.log_in(lab.source)
    began = time.monotonic()
    done = lab.run(exit_code=1, retries=1, give_up_after_s=0.5)
    assert time.monotonic() - began < 30
    assert {error_of(image).kind for image in done.images} == {"unavailable"}


@pytest.mark.extended
def test_a_token_service_that_gives_no_token(lab: SyncLab) -> None:
    lab.image(1)
    page = Fault("get token", status=200, body="<html>Welcome</html>", times=FOREVER)
    lab.source.behaviour = replace(BEARER, faults=(page,))
    lab.log_in(lab.source)
    error = lab.run(exit_code=1).error
    assert isinstance(error, ProtocolViolation)
    assert error.origin is Origin.SOURCE
