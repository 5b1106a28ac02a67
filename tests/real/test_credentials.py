"""Names and passwords: Basic by htpasswd, one for each namespace, and where they come from."""

from __future__ import annotations

import base64
import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.embedded import ContentBuilder, MadeManifest, push_over_http
from support.access_log import AccessLog
from support.client import Client
from support.docker_registry import CREDENTIAL, OTHER_CREDENTIAL, DockerRegistry, serve_docker_registry
from support.nginx import serve_nginx

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.command import Command

pytestmark = pytest.mark.real

ALICE = {"username": CREDENTIAL[0], "password": CREDENTIAL[1]}
BOB = {"username": OTHER_CREDENTIAL[0], "password": OTHER_CREDENTIAL[1]}
WRONG = {"username": CREDENTIAL[0], "password": "wrong horse"}
SIDES = ("source", "destination")

# docker-registry names the user where it did not find what was asked for.
_USER = re.compile(r"auth\.user\.name=(?P<user>\S+).* http\.request\.method=HEAD .*vars\.name=(?P<repository>\S+)")


@pytest.fixture(scope="module")
def closed_source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """A docker-registry that asks for a password."""
    with serve_docker_registry(tmp_path_factory.mktemp("closed-source"), htpasswd=True) as running:
        yield running


@pytest.fixture(scope="module")
def closed_destination(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """Another one."""
    with serve_docker_registry(tmp_path_factory.mktemp("closed-destination"), htpasswd=True) as running:
        yield running


@pytest.fixture(autouse=True)
def _secrets(command: Command) -> None:
    command.secrets += [entry["password"] for entry in (ALICE, BOB, WRONG)]
    command.secrets += [encoded(entry) for entry in (ALICE, BOB, WRONG)]


@pytest.fixture
def image(closed_source: DockerRegistry, repository: str, content: ContentBuilder) -> MadeManifest:
    """An image with a tag v1 at the source."""
    made = content.index(attestations=True)
    push_over_http(closed_source.url, repository, made, ["v1"], credential=CREDENTIAL)
    return made


@pytest.fixture
def rule(closed_source: DockerRegistry, closed_destination: DockerRegistry, repository: str) -> dict[str, str]:
    """Copies `image`."""
    return {f"{closed_source.address}/{repository}:v1": f"{closed_destination.address}/{repository}"}


def plain(entry: dict[str, str] | None) -> dict[str, Any]:
    """The entry of a registry that speaks plain HTTP."""
    return {"insecure": True, **(entry or {})}


def encoded(entry: dict[str, str]) -> str:
    """As Basic and docker's config.json have it."""
    return base64.b64encode(f"{entry['username']}:{entry['password']}".encode()).decode()


def assert_arrived(registry: DockerRegistry, repository: str, image: MadeManifest) -> None:
    with Client(registry.url, credential=CREDENTIAL) as client:
        for item in image.manifests():
            assert client.get(f"/v2/{repository}/manifests/{item.digest}", Accept=item.media_type).body == item.raw
        for blob in image.all_blobs():
            assert client.get(f"/v2/{repository}/blobs/{blob.digest}").body == blob.read()


def test_the_right_password_on_both_sides(
    command: Command,
    closed_source: DockerRegistry,
    closed_destination: DockerRegistry,
    rule: dict[str, str],
    repository: str,
    image: MadeManifest,
) -> None:
    auth = {closed_source.address: plain(ALICE), closed_destination.address: plain(BOB)}
    assert command.sync(auth, rule, "--workers", 2).outcomes == {"copied": 1}
    assert_arrived(closed_destination, repository, image)
    logs = AccessLog(closed_source), AccessLog(closed_destination)
    assert command.sync(auth, rule).outcomes == {"unchanged": 1}
    for log in logs:  # the first request shows what the registry wants, and is made again
        assert [(request.kind, request.status) for request in log.requests()] == [
            ("head manifest", 401),
            ("head manifest", 200),
        ]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.usefixtures("image")
def test_a_wrong_password(
    command: Command,
    closed_source: DockerRegistry,
    closed_destination: DockerRegistry,
    rule: dict[str, str],
    side: str,
) -> None:
    wrong, right = (closed_source, closed_destination)[:: 1 if side == "source" else -1]
    logs = AccessLog(closed_source), AccessLog(closed_destination)
    ran = command.sync({right.address: plain(ALICE), wrong.address: plain(WRONG)}, rule, code=1)
    assert f"{side} {wrong.address}/" in ran.failure
    assert "'alice'" in ran.failure
    assert "password" in ran.failure
    assert f"auth file, {wrong.address}" in ran.failure
    assert ran.image["error"]["kind"] == "authentication"
    assert ran.image["tries"] == 1
    assert not {request.method for log in logs for request in log.requests()} - {"HEAD", "GET"}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.usefixtures("image")
def test_no_password(
    command: Command,
    closed_source: DockerRegistry,
    closed_destination: DockerRegistry,
    rule: dict[str, str],
    side: str,
) -> None:
    silent, known = (closed_source, closed_destination)[:: 1 if side == "source" else -1]
    ran = command.sync({known.address: plain(ALICE), silent.address: plain(None)}, rule, code=1)
    assert f"{side} {silent.address}/" in ran.failure
    assert "wants credentials" in ran.failure
    assert "auth file" in ran.failure


@pytest.mark.extended
def test_each_namespace_has_its_own_and_the_longest_prefix_wins(
    command: Command, closed_source: DockerRegistry, closed_destination: DockerRegistry, content: ContentBuilder
) -> None:
    users = {
        "team/app": "bob",
        "team/private": "alice",
        "team/private/app": "alice",
        "team/privateer/app": "bob",
        "team": "bob",
    }
    base = content.layer(100_000)  # a mount leads from one namespace into another
    images = {name: content.image([base, content.layer()]) for name in (*users, "teams/app")}
    for name, image in images.items():
        push_over_http(closed_source.url, name, image, ["v1"], credential=CREDENTIAL)
    source, target = closed_source.address, closed_destination.address
    auth: dict[str, object] = {}
    for address in (source, target):
        auth |= {address: plain(WRONG), f"{address}/team": BOB, f"{address}/team/private": ALICE}
    rules = {f"{source}/{name}:v1": f"{target}/{name}" for name in images}
    begin = closed_destination.log.stat().st_size
    ran = command.sync(auth, rules, code=1)
    assert ran.outcomes == {"copied": len(users), "failed": 1}
    assert f"{target}/teams/app:v1" in ran.failure
    assert "'alice'" in ran.failure
    for name in users:
        assert_arrived(closed_destination, name, images[name])
    log = closed_destination.log.read_text()[begin:]
    found = {(match["repository"], match["user"]) for match in _USER.finditer(log)}
    assert found == set(users.items())
    assert ran.totals["blobs_mounted"] == len(users) - 1


@pytest.mark.extended
@pytest.mark.parametrize("form", ["auth", "username", "prefix"])
@pytest.mark.usefixtures("image")
def test_what_docker_login_left_behind(
    command: Command,
    closed_source: DockerRegistry,
    closed_destination: DockerRegistry,
    rule: dict[str, str],
    repository: str,
    image: MadeManifest,
    form: str,
) -> None:
    places = [registry.address for registry in (closed_source, closed_destination)]
    if form == "prefix":
        places = [f"{place}/{repository.partition('/')[0]}" for place in places]
    entry = ALICE if form == "username" else {"auth": encoded(ALICE)}
    command.write("docker/config.json", json.dumps({"auths": dict.fromkeys(places, entry)}))
    insecure = {registry.address: plain(None) for registry in (closed_source, closed_destination)}
    assert command.sync(insecure, rule).outcomes == {"copied": 1}
    assert_arrived(closed_destination, repository, image)


@pytest.mark.extended
def test_docker_s_credential_helper(
    command: Command,
    closed_source: DockerRegistry,
    closed_destination: DockerRegistry,
    rule: dict[str, str],
    repository: str,
    image: MadeManifest,
) -> None:
    secret = json.dumps({"Username": ALICE["username"], "Secret": ALICE["password"]})
    script = f"#!/bin/sh\necho \"$(cat)\" >>asked\necho '{secret}'\n"
    helper = command.write("bin/docker-credential-madeup", script)
    helper.chmod(0o755)
    command.environment["PATH"] = f"{helper.parent}{os.pathsep}{os.environ['PATH']}"
    helpers = {registry.address: "madeup" for registry in (closed_source, closed_destination)}
    command.write("docker/config.json", json.dumps({"credHelpers": helpers}))
    hosts = [word for address in helpers for word in ("--insecure", address)]
    [(origin, target)] = rule.items()
    assert command.run("copy", origin, target, *hosts, "--workers", 2).outcomes == {"copied": 1}
    assert_arrived(closed_destination, repository, image)
    asked = command.directory / "asked"
    assert sorted(asked.read_text().split()) == sorted(helpers)  # once for each registry, and not in the workers
    asked.unlink()
    many = {origin: [f"{target}-{number}" for number in range(3)]}
    assert command.sync(dict.fromkeys(helpers, plain(None)), many).outcomes == {"copied": 3}
    assert sorted(asked.read_text().split()) == sorted(helpers)  # and not for each repository


@pytest.mark.extended
@pytest.mark.usefixtures("image")
def test_a_helper_is_asked_again_where_the_registry_refuses_what_it_said(
    command: Command, closed_source: DockerRegistry, closed_destination: DockerRegistry, rule: dict[str, str]
) -> None:
    """As where a token of a cloud has ended that the helper had kept: three repositories, and one more question."""
    first, then = (json.dumps({"Username": who["username"], "Secret": who["password"]}) for who in (WRONG, ALICE))
    script = f"""#!/bin/sh
server=$(cat)
grep -qx "$server" asked && echo '{then}' || echo '{first}'
echo "$server" >>asked
"""
    helper = command.write("bin/docker-credential-madeup", script)
    helper.chmod(0o755)
    command.environment["PATH"] = f"{helper.parent}{os.pathsep}{os.environ['PATH']}"
    addresses = [registry.address for registry in (closed_source, closed_destination)]
    command.write("docker/config.json", json.dumps({"credHelpers": dict.fromkeys(addresses, "madeup")}))
    command.write("asked", "")
    [(origin, target)] = rule.items()
    many = {origin: [f"{target}-renewed-{number}" for number in range(3)]}
    assert command.sync(dict.fromkeys(addresses, plain(None)), many, "--workers", 2).outcomes == {"copied": 3}
    assert sorted((command.directory / "asked").read_text().split()) == sorted(2 * addresses)


@pytest.mark.extended
@pytest.mark.parametrize("realm", ["http://{address}/no-token", "no address"])
@pytest.mark.usefixtures("image")
def test_a_registry_that_offers_tokens_which_nobody_gives_gets_the_password_that_it_takes_too(
    command: Command,
    closed_source: DockerRegistry,
    closed_destination: DockerRegistry,
    rule: dict[str, str],
    repository: str,
    tmp_path: Path,
    realm: str,
) -> None:
    challenge = realm.replace("{address}", "$http_host")
    with serve_nginx(
        tmp_path / "nginx",
        closed_source.address,
        f"""add_header WWW-Authenticate 'Bearer realm="{challenge}",service="nobody"' always;""",
        "location /no-token { return 404; }",
    ) as front:
        entry = plain(ALICE)
        auth = {front.address: entry, closed_destination.address: entry}
        [(_, target)] = rule.items()
        ran = command.sync(auth, {f"{front.address}/{repository}:v1": target}, "--workers", 2)
    assert ran.outcomes == {"copied": 1}
    assert ran.totals["requests"].get("get token", 0) <= 2


@pytest.mark.extended
@pytest.mark.usefixtures("image")
def test_the_auth_file_goes_before_docker(
    command: Command, closed_source: DockerRegistry, closed_destination: DockerRegistry, rule: dict[str, str]
) -> None:
    addresses = [registry.address for registry in (closed_source, closed_destination)]
    command.write(
        "docker/config.json", json.dumps({"auths": {address: {"auth": encoded(WRONG)} for address in addresses}})
    )
    assert command.sync(dict.fromkeys(addresses, plain(ALICE)), rule).outcomes == {"copied": 1}
    wrong = {addresses[0]: plain(ALICE), addresses[1]: plain(None)}
    [(origin, target)] = rule.items()
    ran = command.sync(wrong, {origin: f"{target}-again"}, code=1)
    assert f"{command.directory}/docker/config.json, {addresses[1]}" in ran.failure


@pytest.mark.extended
@pytest.mark.usefixtures("image")
def test_a_password_from_the_environment(
    command: Command, closed_source: DockerRegistry, closed_destination: DockerRegistry, rule: dict[str, str]
) -> None:
    entry = {"username": "$REGISTRY_USER", "password": "${REGISTRY_PASSWORD}"}
    auth = dict.fromkeys((closed_source.address, closed_destination.address), plain(entry))
    assert "REGISTRY_PASSWORD" in command.sync(auth, rule, code=2).err
    command.environment |= {"REGISTRY_USER": BOB["username"], "REGISTRY_PASSWORD": BOB["password"]}
    assert command.sync(auth, rule).outcomes == {"copied": 1}
