"""Bearer tokens that docker-registry itself checks: one for a scope, renewed when it ends, with the right rights."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.embedded import ContentBuilder, MadeManifest, push_over_http
from support.access_log import AccessLog, count_kinds
from support.client import Client
from support.docker_registry import DockerRegistry, serve_docker_registry
from support.nginx import serve_nginx
from support.token_server import TokenService, serve_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.command import Command, Ran

pytestmark = pytest.mark.real

ALICE = {"username": "alice", "password": "correct horse"}
BOB = {"username": "bob", "password": "battery staple"}
WRONG = {"username": "alice", "password": "wrong horse"}
USERS = {entry["username"]: entry["password"] for entry in (ALICE, BOB)}
MIB = 2**20


@dataclass
class Pair:
    """A source and a destination that believe in one token service; `open_source` and `open_destination` are other
    doors to their storages, which ask for nothing.
    """

    service: TokenService
    open_source: DockerRegistry
    open_destination: DockerRegistry
    source: DockerRegistry
    destination: DockerRegistry
    command: Command

    def push(self, repository: str, image: MadeManifest) -> None:
        push_over_http(self.open_source.url, repository, image, ["v1"])

    def sync(self, repositories: list[str], auth: dict[str, Any], *words: object, code: int = 0) -> Ran:
        """Copy the tag v1 of each; `auth` is what the auth file says of namespaces, or with "" of the registries."""
        entries: dict[str, Any] = {}
        for registry in (self.source, self.destination):
            entries[registry.address] = {"insecure": True, **auth.get("", {})}
        for name, entry in auth.items():
            if name:
                entries |= {
                    f"{self.source.address}/{name}": entry,
                    f"{self.destination.address}/{copy_of(name)}": entry,
                }
        rules = {
            f"{self.source.address}/{name}:v1": f"{self.destination.address}/{copy_of(name)}" for name in repositories
        }
        return self.command.sync(entries, rules, *words, code=code)

    def assert_arrived(self, repository: str, image: MadeManifest) -> None:
        with Client(self.open_destination.url) as client:
            for item in image.manifests():
                answer = client.get(f"/v2/{copy_of(repository)}/manifests/{item.digest}", Accept=item.media_type)
                assert answer.body == item.raw
            for blob in image.all_blobs():
                assert client.get(f"/v2/{copy_of(repository)}/blobs/{blob.digest}").body == blob.read()

    def asked(self) -> Counter[tuple[str | None, tuple[str, ...]]]:
        """Token requests by user and scopes."""
        return Counter((request.user, request.scopes) for request in self.service.requests)


def copy_of(repository: str) -> str:
    """Where it goes: another name, so that scopes tell source and destination apart."""
    return f"copies/{repository}"


@pytest.fixture
def pair(tmp_path: Path, command: Command, source: DockerRegistry, destination: DockerRegistry) -> Iterator[Pair]:
    command.secrets += [entry["password"] for entry in (ALICE, BOB, WRONG)]
    command.secrets.append("eyJ")  # as every JWT begins
    with (
        serve_tokens(tmp_path / "tokens", USERS) as service,
        serve_docker_registry(tmp_path / "source", auth=service.registry_auth, root=source.root) as closed_source,
        serve_docker_registry(
            tmp_path / "destination", auth=service.registry_auth, root=destination.root
        ) as closed_destination,
    ):
        yield Pair(service, source, destination, closed_source, closed_destination, command)


@pytest.fixture
def catalogue(pair: Pair, repository: str, content: ContentBuilder) -> dict[str, MadeManifest]:
    """Three repositories that share a layer, with an index each."""
    base = content.layer(100_000)
    images = {
        f"{repository}/{name}": content.index(shared_layers=[base], attestations=True) for name in ("a", "b", "c")
    }
    for name, image in images.items():
        pair.push(name, image)
    return images


@pytest.mark.extended
@pytest.mark.parametrize("workers", [1, 2, 8])
def test_one_token_request_for_a_scope_however_many_workers(
    pair: Pair, catalogue: dict[str, MadeManifest], workers: int
) -> None:
    logs = [AccessLog(pair.source), AccessLog(pair.destination)]
    ran = pair.sync(list(catalogue), {"": ALICE}, "--workers", workers)
    assert ran.outcomes == {"copied": len(catalogue)}
    for name, image in catalogue.items():
        pair.assert_arrived(name, image)
    assert set(pair.asked().values()) == {1}
    assert ran.totals["requests"].pop("get token") == len(pair.service.requests)
    counted = count_kinds(logs, sum(ran.totals["requests"].values()))
    assert ran.totals["requests"] == counted
    # Each registry's first request shows what it wants; no other is refused.
    assert [request.status for log in logs for request in log.requests()].count(401) == len(logs)


@pytest.mark.extended
def test_the_number_of_tokens_is_the_same_for_every_number_of_workers(
    pair: Pair, repository: str, content: ContentBuilder
) -> None:
    """Of images that share no blob, so that none is mounted from where it happened to come first."""
    asked = []
    for workers in (1, 2, 8):
        names = [f"{repository}/w{workers}/{number}" for number in range(4)]
        for name in names:
            pair.push(name, content.image(3))
        pair.service.requests.clear()
        assert pair.sync(names, {"": ALICE}, "--workers", workers).outcomes == {"copied": len(names)}
        scopes = sorted(scope.replace(f"w{workers}", "w") for _, scopes in pair.asked() for scope in scopes)
        asked.append((len(pair.service.requests), scopes))
    assert asked[0] == asked[1] == asked[2]
    assert asked[0][0] == 3 * len(names)  # to read at the source, to read and to write at the destination


@pytest.mark.extended
def test_a_service_that_takes_only_a_post_gets_the_password_in_one(
    pair: Pair, repository: str, content: ContentBuilder
) -> None:
    image = content.image()
    pair.push(repository, image)
    pair.service.get_status = 405
    assert pair.sync([repository], {"": ALICE}, "--workers", 2).outcomes == {"copied": 1}
    pair.assert_arrived(repository, image)
    assert {(request.user, request.status, request.how) for request in pair.service.requests} == {
        ("alice", 200, "password")
    }


@pytest.mark.extended
def test_identity_tokens_that_are_good_for_one_exchange(pair: Pair, repository: str, content: ContentBuilder) -> None:
    image = content.image()
    pair.push(repository, image)
    pair.service.refresh_tokens = {"identity-of-alice": "alice"}
    pair.service.lifetime_s = 300.0
    pair.command.secrets += ["identity-of-alice", "refresh-"]
    # One registry, so that one identity token goes round.
    auth = {pair.source.address: {"insecure": True, "username": "alice", "identityToken": "identity-of-alice"}}
    rule = {f"{pair.source.address}/{repository}:v1": f"{pair.source.address}/{copy_of(repository)}"}
    assert pair.command.sync(auth, rule, "--workers", 2).outcomes == {"copied": 1}
    assert {request.how for request in pair.service.requests} == {"refresh_token"}
    assert {request.user for request in pair.service.requests if request.status == 200} == {"alice"}
    assert len(pair.service.refresh_tokens) == 1


def test_the_scopes_are_right(pair: Pair, catalogue: dict[str, MadeManifest]) -> None:
    assert pair.sync(list(catalogue), {"": ALICE}, "--workers", 2).outcomes == {"copied": len(catalogue)}
    asked = pair.asked()
    assert {user for user, _ in asked} == {"alice"}
    assert {request.status for request in pair.service.requests} == {200}
    scopes = [scopes for _, scopes in asked]
    alone = {scope for scope, *others in scopes if not others}
    assert alone == {
        *(f"repository:{name}:pull" for name in catalogue),
        *(f"repository:{copy_of(name)}:{actions}" for name in catalogue for actions in ("pull", "push,pull")),
    }
    # To mount a blob from another repository: the right to write stands first.
    mounts = [pair_of_scopes for pair_of_scopes in scopes if len(pair_of_scopes) > 1]
    assert mounts
    for to_write, to_read in mounts:
        assert to_write in {f"repository:{copy_of(name)}:push,pull" for name in catalogue}
        assert to_read in {f"repository:{copy_of(name)}:pull" for name in catalogue}


@pytest.mark.extended
def test_a_rerun_asks_only_to_read(pair: Pair, catalogue: dict[str, MadeManifest]) -> None:
    pair.sync(list(catalogue), {"": ALICE})
    pair.service.requests.clear()
    ran = pair.sync(list(catalogue), {"": ALICE})
    assert ran.outcomes == {"unchanged": len(catalogue)}
    names = [*catalogue, *map(copy_of, catalogue)]
    assert pair.asked() == Counter({("alice", (f"repository:{name}:pull",)): 1 for name in names})
    assert ran.totals["requests"]["get token"] == len(names)


@pytest.mark.extended
def test_without_credentials_where_the_service_lets_anybody_in(pair: Pair, catalogue: dict[str, MadeManifest]) -> None:
    assert pair.sync(list(catalogue), {}).outcomes == {"copied": len(catalogue)}
    assert {user for user, _ in pair.asked()} == {None}


def test_a_wrong_password_is_said_once_for_each_image_and_not_tried_again(
    pair: Pair, repository: str, content: ContentBuilder
) -> None:
    pair.push(repository, content.image())
    ran = pair.sync([repository], {"": WRONG}, code=1)
    assert "password" in ran.failure
    assert pair.source.address in ran.failure or pair.destination.address in ran.failure
    assert ran.image["error"]["kind"] == "authentication"
    assert {request.status for request in pair.service.requests} == {401}
    assert len(pair.service.requests) <= 4


@pytest.mark.extended
def test_a_user_who_may_not_write_there(pair: Pair, repository: str, content: ContentBuilder) -> None:
    """The service grants less than it was asked for, and says 200; the registry then refuses."""
    image = content.image()
    pair.push(repository, image)
    pair.service.grants["bob"] = ("elsewhere",)
    source, destination = pair.source.address, pair.destination.address
    auth = {source: {"insecure": True, **ALICE}, destination: {"insecure": True, **BOB}}
    ran = pair.command.sync(auth, {f"{source}/{repository}:v1": f"{destination}/{copy_of(repository)}"}, code=1)
    assert f"destination {destination}/{copy_of(repository)}" in ran.failure
    assert "'bob'" in ran.failure
    assert f"the token service did not grant pull on {copy_of(repository)}" in ran.failure
    assert set(pair.asked().values()) == {1}


@pytest.mark.extended
def test_each_namespace_has_its_own_user(pair: Pair, repository: str, content: ContentBuilder) -> None:
    """Nobody may read the other's namespace, so no mount leads from one into the other: the blob comes by itself."""
    base = content.layer(100_000)
    users = {f"{repository}/ours/app": ALICE, f"{repository}/theirs/app": BOB}
    images = {name: content.image([base, content.layer()]) for name in users}
    for name, image in images.items():
        pair.push(name, image)
    namespaces = {name.rpartition("/")[0]: user for name, user in users.items()}
    pair.service.grants |= {user["username"]: (name, copy_of(name)) for name, user in namespaces.items()}
    auth = {"": WRONG} | namespaces
    ran = pair.sync(list(users), auth, "--retries", 0)
    assert ran.outcomes == {"copied": 2}
    for name, image in images.items():
        pair.assert_arrived(name, image)
    for user, scopes in pair.asked():
        assert user == users[scopes[0].split(":")[1].removeprefix("copies/")]["username"]


@pytest.mark.extended
@pytest.mark.parametrize(
    "told_lifetime_s",
    [
        pytest.param(None, id="told"),
        pytest.param(300.0, id="earlier-than-told"),
    ],
)
def test_tokens_that_end_while_blobs_move(
    pair: Pair, repository: str, content: ContentBuilder, tmp_path: Path, told_lifetime_s: float | None
) -> None:
    image = content.image(5, layer_bytes=MIB)
    pair.push(repository, image)
    pair.service.lifetime_s, pair.service.told_lifetime_s = 2.0, told_lifetime_s
    logs = AccessLog(pair.source), AccessLog(pair.destination)
    # A source that sends no faster than this makes the run outlive its tokens on every machine.
    with serve_nginx(tmp_path / "nginx", pair.source.address, "limit_rate 1m;") as slow:
        auth = {address: {"insecure": True, **ALICE} for address in (slow.address, pair.destination.address)}
        rule = {f"{slow.address}/{repository}:v1": f"{pair.destination.address}/{copy_of(repository)}"}
        ran = pair.command.sync(auth, rule, "--workers", 1, "--proc", 1)
    assert ran.outcomes == {"copied": 1}
    pair.assert_arrived(repository, image)
    assert pair.asked()["alice", (f"repository:{repository}:pull",)] >= 2
    refused = [request for log in logs for request in log.requests() if request.status == 401]
    if told_lifetime_s is not None:
        assert len(refused) > len(logs)
