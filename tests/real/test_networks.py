"""Whole runs over networks as companies have them: each of their parts is real, and its own log says what it saw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import push_over_http
from real.conftest import INSECURE
from support.access_log import AccessLog
from support.certificates import Certificates, make_certificates
from support.client import Client
from support.connect_proxy import run_connect_proxy
from support.docker_registry import DockerRegistry, serve_docker_registry
from support.socks_server import run_socks_server
from support.tinyproxy import SOURCE_ADDRESS, serve_tinyproxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from image_syncer.embedded import ContentBuilder, MadeManifest
    from support.command import Command

pytestmark = pytest.mark.real

NAME = "registry.test"
"""Nobody but our proxies knows where that is (RFC 6761, section 6.2)."""
PASSWORD = "hunter2@hunter2"
SIMPLE = "hunter2hunter2"
"""tinyproxy takes no other characters."""


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, and a certificate for NAME and for loopback."""
    return make_certificates(tmp_path_factory.mktemp("named"), (f"DNS:{NAME}", "IP:127.0.0.1", "IP:::1"))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, named: Certificates) -> Iterator[DockerRegistry]:
    """A registry that speaks TLS."""
    with serve_docker_registry(tmp_path_factory.mktemp("guarded"), certificates=named) as running:
        yield running


def push(registry: DockerRegistry, repository: str, content: ContentBuilder, named: Certificates) -> list[MadeManifest]:
    """Two images of several layers, so that workers have something to do."""
    images = [content.image(4, layer_bytes=300_000) for _ in range(2)]
    context = named.client_context() if registry.url.startswith("https") else None
    for number, image in enumerate(images):
        push_over_http(registry.url, repository, image, [f"v{number}"], ssl_context=context)
    return images


def assert_arrived(registry: DockerRegistry, repository: str, images: list[MadeManifest]) -> None:
    with Client(registry.url) as client:
        for image in images:
            for item in image.manifests():
                answer = client.get(f"/v2/{repository}/manifests/{item.digest}", Accept=item.media_type)
                assert answer.body == item.raw
            for blob in image.all_blobs():
                assert client.get(f"/v2/{repository}/blobs/{blob.digest}").body == blob.read()


# --- HTTP proxies


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_every_request_goes_through_the_proxy(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    command: Command,
    content: ContentBuilder,
    repository: str,
    destination: DockerRegistry,
    named: Certificates,
    scheme: str,
) -> None:
    """Those of the coordinator and of two workers: the registry sees nobody but the proxy."""
    registry = request.getfixturevalue("guarded" if scheme == "https" else "source")
    images = push(registry, repository, content, named)
    command.secrets.append(SIMPLE)
    command.environment["PROXY_PASSWORD"] = SIMPLE
    with serve_tinyproxy(tmp_path / "proxy", f"BasicAuth robot {SIMPLE}") as proxy:
        own = {"proxy": f"http://robot:${{PROXY_PASSWORD}}@{proxy.address}"}
        own |= {"ca_file": str(named.authority)} if scheme == "https" else INSECURE
        auth = {registry.address: own, destination.address: INSECURE}
        log, rule = AccessLog(registry), {f"{registry.address}/{repository}": f"{destination.address}/{repository}"}
        ran = command.sync(auth, rule, "--workers", 2, "--streams", 4)
        asked = log.requests()
        assert ran.outcomes == {"copied": 2}
        assert {request.peer for request in asked} == {SOURCE_ADDRESS}
        assert {request.kind for request in asked} >= {"list tags", "get manifest", "get blob"}
        seen = proxy.requests()
        if scheme == "https":
            assert {target for method, target in seen if method == "CONNECT"} == {registry.address}
        else:
            assert len([target for method, target in seen if method != "CONNECT"]) == len(asked)
        assert destination.address not in str(seen)
    assert_arrived(destination, repository, images)


@pytest.mark.parametrize(
    ("line", "known", "says"),
    [
        (f"BasicAuth robot {SIMPLE}", "", ("response 407", "wants a user name and a password")),
        (f"BasicAuth robot {SIMPLE}", "robot:wrong-one@", ("response 401", "wants a user name and a password")),
        ("ConnectPort 443", "", ("response 403", "have the host and its port allowed")),
    ],
)
def test_a_proxy_that_refuses_is_named_with_the_cure(
    tmp_path: Path,
    command: Command,
    repository: str,
    guarded: DockerRegistry,
    destination: DockerRegistry,
    line: str,
    known: str,
    says: tuple[str, ...],
) -> None:
    command.secrets.append("wrong-one")
    with serve_tinyproxy(tmp_path / "proxy", line) as proxy:
        auth = {guarded.address: {"proxy": f"http://{known}{proxy.address}"}, destination.address: INSECURE}
        rule = {f"{guarded.address}/{repository}:v1": f"{destination.address}/{repository}"}
        failure = command.sync(auth, rule, code=1).failure
        for words in (*says, f"(proxy {proxy.url})", "`proxy` of the registry's entry"):
            assert words in failure
        assert len(proxy.requests()) == 1  # trying again is in vain


@pytest.mark.extended
def test_the_environment_names_the_proxy_of_all_processes(
    command: Command,
    content: ContentBuilder,
    repository: str,
    guarded: DockerRegistry,
    destination: DockerRegistry,
    named: Certificates,
) -> None:
    """The registry has a name that only the proxy knows; the destination is on loopback, and asked without it."""
    images = push(guarded, repository, content, named)
    with run_connect_proxy(names={f"{NAME}:443": guarded.address}) as proxy:
        command.environment |= {"HTTPS_PROXY": proxy.url, "http_proxy": proxy.url, "no_proxy": ""}
        auth = {NAME: {"ca_file": str(named.authority)}, destination.address: INSECURE}
        rule = {f"{NAME}/{repository}": f"{destination.address}/{repository}"}
        assert command.sync(auth, rule, "--workers", 2).outcomes == {"copied": 2}
        assert set(proxy.targets) == {f"{NAME}:443"}
        assert len(proxy.targets) > 1
        # What NO_PROXY names is looked up here, where nobody knows it.
        command.environment["no_proxy"] = f"other.test,{NAME}"
        asked = len(proxy.targets)
        assert (
            "Could not resolve host"
            in command.sync(auth, {f"{NAME}/{repository}:v1": rule.popitem()[1]}, code=1).failure
        )
        assert len(proxy.targets) == asked
    assert_arrived(destination, repository, images)


@pytest.mark.extended
def test_a_proxy_to_which_the_way_is_encrypted(
    command: Command,
    content: ContentBuilder,
    repository: str,
    guarded: DockerRegistry,
    destination: DockerRegistry,
    named: Certificates,
) -> None:
    """It is trusted because of the system, and not because of the registry's entry."""
    images = push(guarded, repository, content, named)
    rule = {f"{NAME}/{repository}": f"{destination.address}/{repository}"}
    with run_connect_proxy(names={f"{NAME}:443": guarded.address}, context=named.server_context()) as proxy:
        auth = {NAME: {"ca_file": str(named.authority), "proxy": proxy.url}, destination.address: INSECURE}
        failure = command.sync(auth, {f"{NAME}/{repository}:v0": rule[f"{NAME}/{repository}"]}, code=1).failure
        assert "If it is the certificate of the proxy" in failure
        command.environment["SSL_CERT_FILE"] = str(named.authority)
        assert command.sync(auth, rule, "--workers", 2).outcomes == {"copied": 2}
        assert set(proxy.targets) == {f"{NAME}:443"}
    assert_arrived(destination, repository, images)


# --- SOCKS


@pytest.mark.extended
def test_every_request_goes_through_socks(
    command: Command,
    content: ContentBuilder,
    repository: str,
    guarded: DockerRegistry,
    destination: DockerRegistry,
    named: Certificates,
) -> None:
    """The name of the registry is known to the SOCKS server alone, which wants a user name and a password."""
    images = push(guarded, repository, content, named)
    command.secrets.append(PASSWORD)
    command.environment["SOCKS_PASSWORD"] = PASSWORD
    with run_socks_server({f"{NAME}:443": guarded.address}, ("robot", PASSWORD)) as server:
        proxy = f"socks5h://robot:${{SOCKS_PASSWORD}}@{server.address}"
        own = {"proxy": proxy, "ca_file": str(named.authority)}
        auth = {NAME: own, destination.address: INSECURE}
        rule = {f"{NAME}/{repository}": f"{destination.address}/{repository}"}
        assert command.sync(auth, rule, "--workers", 2).outcomes == {"copied": 2}
        assert set(server.targets) == {f"{NAME}:443"}
    assert_arrived(destination, repository, images)


def test_socks_that_does_not_let_us_in(
    command: Command, repository: str, guarded: DockerRegistry, destination: DockerRegistry
) -> None:
    command.secrets.append("wrong-one")
    with run_socks_server(login=("robot", PASSWORD)) as server:
        auth = {guarded.address: {"proxy": f"socks5://robot:wrong-one@{server.address}"}, destination.address: INSECURE}
        rule = {f"{guarded.address}/{repository}:v1": f"{destination.address}/{repository}"}
        failure = command.sync(auth, rule, code=1).failure
        assert f"(proxy socks5://{server.address})" in failure
        assert "wants a user name and a password" in failure
