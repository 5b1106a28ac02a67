"""Certificates, addresses and versions of HTTP, each with a registry that wants them."""

from __future__ import annotations

import shutil
import socket
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import push_over_http
from real.conftest import INSECURE
from support.access_log import AccessLog
from support.caddy import serve_caddy
from support.certificates import Certificates, make_certificates, make_client_certificate
from support.client import Client
from support.docker_registry import DockerRegistry, serve_docker_registry
from support.nginx import serve_nginx

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from image_syncer.embedded import ContentBuilder, MadeManifest
    from support.command import Command

pytestmark = pytest.mark.real

NAME = "registry.test"
"""Nobody knows where that is but who is told by `resolve` (RFC 6761, section 6.2)."""
PASSWORD = "hunter2hunter2"
CONNECT_TIMEOUT_S = 60


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, and a certificate for NAME and for loopback."""
    return make_certificates(tmp_path_factory.mktemp("named"), (f"DNS:{NAME}", "IP:127.0.0.1", "IP:::1"))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, named: Certificates) -> Iterator[DockerRegistry]:
    """A registry that speaks TLS."""
    with serve_docker_registry(tmp_path_factory.mktemp("guarded"), certificates=named) as running:
        yield running


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, named: Certificates) -> Iterator[DockerRegistry]:
    """A registry that lets in whoever shows a certificate."""
    directory = tmp_path_factory.mktemp("strict")
    with serve_docker_registry(directory, certificates=named, client_authority=named.authority) as running:
        yield running


def push(registry: DockerRegistry, repository: str, content: ContentBuilder) -> MadeManifest:
    image = content.image(4, layer_bytes=300_000)
    push_over_http(registry.url, repository, image, ["v1"])
    return image


def assert_arrived(client: Client, repository: str, image: MadeManifest) -> None:
    with client:
        for item in image.manifests():
            answer = client.get(f"/v2/{repository}/manifests/{item.digest}", Accept=item.media_type)
            assert answer.body == item.raw
        for blob in image.all_blobs():
            assert client.get(f"/v2/{repository}/blobs/{blob.digest}").body == blob.read()


# --- Certificates


@pytest.mark.parametrize("how", ["keys", "password", "certs.d"])
def test_a_registry_that_wants_a_client_certificate(
    command: Command,
    content: ContentBuilder,
    repository: str,
    source: DockerRegistry,
    strict: DockerRegistry,
    named: Certificates,
    how: str,
) -> None:
    image = push(source, repository, content)
    command.secrets.append(PASSWORD)
    certificate, key = make_client_certificate(named, PASSWORD if how == "password" else None)
    entry = {"ca_file": str(named.authority), "client_cert": str(certificate), "client_key": str(key)}
    if how == "password":
        entry["client_key_password"] = "${KEY_PASSWORD}"
        command.environment["KEY_PASSWORD"] = PASSWORD
    auth = {source.address: INSECURE, strict.address: entry}
    if how == "certs.d":
        folder = command.directory / ".config" / "containers" / "certs.d" / strict.address
        folder.mkdir(parents=True)
        for origin, name in ((named.authority, "ca.crt"), (certificate, "me.cert"), (key, "me.key")):
            shutil.copy(origin, folder / name)
        command.environment["HOME"] = str(command.directory)
        del auth[strict.address]
    rule = {f"{source.address}/{repository}:v1": f"{strict.address}/{repository}:v1"}
    assert command.sync(auth, rule, "--workers", 2).outcomes == {"copied": 1}
    context = named.client_context()
    certificate, key = make_client_certificate(named)
    context.load_cert_chain(certificate, key)
    assert_arrived(Client(strict.url, context=context), repository, image)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "client_cert"),
        ({"client_key_password": "wrong-one"}, "client_key_password does not open the key"),
        ({"client_key_password": None}, "is encrypted"),
    ],
    ids=["none", "wrong password", "no password"],
)
def test_without_the_right_certificate_the_message_says_so(
    command: Command,
    repository: str,
    destination: DockerRegistry,
    strict: DockerRegistry,
    named: Certificates,
    given: dict[str, str | None],
    says: str,
) -> None:
    """And nobody is asked for a password at the terminal."""
    command.secrets.append("wrong-one")
    entry: dict[str, object] = {"ca_file": str(named.authority)}
    if given:
        certificate, key = make_client_certificate(named, PASSWORD)
        entry |= {"client_cert": str(certificate), "client_key": str(key)}
        entry |= {name: value for name, value in given.items() if value}
    rule = {f"{strict.address}/{repository}:v1": f"{destination.address}/{repository}:v1"}
    auth = {strict.address: entry, destination.address: INSECURE}
    assert says in command.sync(auth, rule, "--retries", 0, code=1).failure


@pytest.mark.extended
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside ca_file"])
def test_the_systems_authorities_are_those_of_ssl_cert_file(
    tmp_path: Path,
    command: Command,
    content: ContentBuilder,
    repository: str,
    source: DockerRegistry,
    guarded: DockerRegistry,
    named: Certificates,
    *,
    beside: bool,
) -> None:
    image = push(source, repository, content)
    other = {"ca_file": str(make_certificates(tmp_path / "other").authority)} if beside else {}
    command.environment |= {"SSL_CERT_FILE": str(named.authority), "SSL_CERT_DIR": "", "CURL_CA_BUNDLE": ""}
    rule = {f"{source.address}/{repository}:v1": f"{guarded.address}/{repository}:v1"}
    assert command.sync({source.address: INSECURE, guarded.address: other}, rule).outcomes == {"copied": 1}
    assert_arrived(Client(guarded.url, context=named.client_context()), repository, image)


# --- Addresses


@pytest.mark.extended
def test_over_ipv6(
    tmp_path: Path,
    command: Command,
    content: ContentBuilder,
    repository: str,
    named: Certificates,
) -> None:
    """From plain HTTP to TLS, both on ::1; the entry is written as the reference is."""
    with ExitStack() as stack:
        here = stack.enter_context(serve_docker_registry(tmp_path / "here", host="[::1]"))
        there = stack.enter_context(serve_docker_registry(tmp_path / "there", host="[::1]", certificates=named))
        image = push(here, repository, content)
        log = AccessLog(there)
        rule = {f"{here.address}/{repository}:v1": f"{there.address}/{repository}:v1"}
        auth = {here.address: INSECURE, there.address: {"ca_file": str(named.authority), "ip_version": 6}}
        assert command.sync(auth, rule, "--workers", 2).outcomes == {"copied": 1}
        assert {request.peer for request in log.requests()} == {"::1"}
        assert_arrived(Client(there.url, context=named.client_context()), repository, image)


@pytest.mark.extended
def test_one_kind_of_addresses(
    command: Command, repository: str, destination: DockerRegistry, guarded: DockerRegistry, named: Certificates
) -> None:
    """The registry is on IPv4 alone, and has an address of each kind."""
    port = int(guarded.address.rpartition(":")[2])
    rule = {f"{NAME}:{port}/{repository}:v1": f"{destination.address}/{repository}:v1"}
    said = {}
    for version in (4, 6):
        entry = {"ca_file": str(named.authority), "resolve": "::1,127.0.0.1", "ip_version": version}
        auth = {f"{NAME}:{port}": entry, destination.address: INSECURE}
        said[version] = command.sync(auth, rule, "--retries", 0, code=1).failure
    assert "answered 404" in said[4]
    assert "Could not connect" in said[6]


@contextmanager
def black_hole(address: str, port: int) -> Iterator[None]:
    """Nobody is refused there, and nobody gets in: the queue of connections that wait to be taken is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex((address, port))
        yield


@pytest.mark.extended
def test_of_several_addresses_dead_ones_cost_little(
    command: Command,
    content: ContentBuilder,
    repository: str,
    source: DockerRegistry,
    guarded: DockerRegistry,
    named: Certificates,
) -> None:
    """The registry has a name that DNS does not know, and three addresses: one refuses, one swallows, one lives."""
    image = push(source, repository, content)
    port = int(guarded.address.rpartition(":")[2])
    with black_hole("127.0.0.3", port):
        entry = {"ca_file": str(named.authority), "resolve": "127.0.0.2,127.0.0.3,127.0.0.1"}
        auth = {source.address: INSECURE, f"{NAME}:{port}": entry}
        rule = {f"{source.address}/{repository}:v1": f"{NAME}:{port}/{repository}:v1"}
        began = time.monotonic()
        ran = command.sync(auth, rule, "--retries", 0, "--connect-timeout", f"{CONNECT_TIMEOUT_S}s")
        assert time.monotonic() - began < CONNECT_TIMEOUT_S / 2
    assert ran.outcomes == {"copied": 1}
    assert_arrived(Client(guarded.url, context=named.client_context()), repository, image)


@pytest.mark.extended
def test_from_an_address_of_our_own(
    command: Command,
    content: ContentBuilder,
    repository: str,
    source: DockerRegistry,
    destination: DockerRegistry,
) -> None:
    push(source, repository, content)
    logs = AccessLog(source), AccessLog(destination)
    auth = {
        source.address: INSECURE | {"interface": "127.0.0.7"},
        destination.address: INSECURE | {"interface": "lo"},
    }
    rule = {f"{source.address}/{repository}:v1": f"{destination.address}/{repository}:v1"}
    assert command.sync(auth, rule, "--workers", 2).outcomes == {"copied": 1}
    assert [{request.peer for request in log.requests()} for log in logs] == [{"127.0.0.7"}, {"127.0.0.1"}]
    auth[source.address] = INSECURE | {"interface": "no-such-0"}
    failure = command.sync(auth, rule, code=1).failure
    assert "Check `interface` of the registry's entry" in failure


# --- Versions of HTTP, headers


@pytest.mark.extended
@pytest.mark.parametrize("version", ["2", "3"])
def test_http_2(
    tmp_path: Path,
    command: Command,
    content: ContentBuilder,
    repository: str,
    source: DockerRegistry,
    named: Certificates,
    version: str,
) -> None:
    """Both sides behind nginx; blobs larger than the windows of HTTP/2, and a ring so small that they are paused. Who
    wants HTTP/3 gets what there is.
    """
    image = content.image(3, layer_bytes=24 * 2**20)
    push_over_http(source.url, repository, image, ["v1"])
    with ExitStack() as stack:
        lines = ("client_max_body_size 0;", "proxy_request_buffering off;", "proxy_buffering off;")
        lines = (*lines, "proxy_set_header X-Forwarded-Proto https;")
        tls = (f"ssl_certificate {named.certificate};", f"ssl_certificate_key {named.key};")
        doors = [
            stack.enter_context(serve_nginx(tmp_path / side, source.address, *lines, tls=tls, http2=True))
            for side in ("from", "to")
        ]
        entry = {"ca_file": str(named.authority), "http_version": version}
        auth = {door.address: entry for door in doors}
        rule = {f"{doors[0].address}/{repository}:v1": f"{doors[1].address}/{repository}-copy:v1"}
        ran = command.sync(auth, rule, "--streams", 3, "--window", "1MiB")
        assert ran.outcomes == {"copied": 1}
        for door in doors:
            asked = [line for line in door.log_lines() if '"image-syncer"' in line]
            assert len(asked) > len(list(image.all_blobs()))
            assert {line.partition(" ")[0] for line in asked} == {"HTTP/2.0"}
    assert_arrived(Client(source.url), f"{repository}-copy", image)


@pytest.mark.slow
def test_http_3(
    tmp_path: Path,
    command: Command,
    content: ContentBuilder,
    repository: str,
    source: DockerRegistry,
    named: Certificates,
) -> None:
    image = content.image(3, layer_bytes=64 * 2**20)
    push_over_http(source.url, repository, image, ["v1"])
    with ExitStack() as stack:
        doors = [stack.enter_context(serve_caddy(tmp_path / side, source.address, named)) for side in ("from", "to")]
        entry = {"ca_file": str(named.authority), "http_version": 3}
        rule = {f"{doors[0].address}/{repository}:v1": f"{doors[1].address}/{repository}-copy:v1"}
        ran = command.sync({door.address: entry for door in doors}, rule, "--streams", 3, "--window", "1MiB")
        assert ran.outcomes == {"copied": 1}
        for door in doors:  # what answers first is taken, which on a busy machine may be HTTP/2 now and then
            assert "HTTP/3.0" in door.protocols() <= {"HTTP/3.0", "HTTP/2.0"}
    assert_arrived(Client(source.url), f"{repository}-copy", image)


@pytest.mark.extended
def test_headers_that_a_gateway_wants(
    tmp_path: Path,
    command: Command,
    content: ContentBuilder,
    repository: str,
    source: DockerRegistry,
    destination: DockerRegistry,
) -> None:
    image = push(source, repository, content)
    command.secrets.append(PASSWORD)
    command.environment["TENANT"] = PASSWORD
    wants = f'if ($http_x_tenant != "blue {PASSWORD}") {{ return 403; }}'
    with serve_nginx(tmp_path / "gateway", destination.address, "client_max_body_size 0;", wants) as gateway:
        rule = {f"{source.address}/{repository}:v1": f"{gateway.address}/{repository}-copy:v1"}
        auth = {source.address: INSECURE, gateway.address: INSECURE | {"headers": {"X-Tenant": "blue ${TENANT}"}}}
        assert command.sync(auth, rule, "--workers", 2).outcomes == {"copied": 1}
        assert {line.split()[2] for line in gateway.log_lines() if '"image-syncer"' in line} <= {
            "200",
            "201",
            "202",
            "404",
        }
        auth[gateway.address] = INSECURE
        assert "403" in command.sync(auth, rule, code=1).failure
    assert_arrived(Client(destination.url), f"{repository}-copy", image)
