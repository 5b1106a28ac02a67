"""Who may do what, over Basic and over TLS: the same answers from the embedded registry and from a real one."""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from contract.target import DISTRIBUTION_2_8, EMBEDDED, Target
from image_syncer.embedded import Behaviour, ContentBuilder, push_over_http, serve_in_thread
from support.certificates import Certificates, make_certificates
from support.client import Client
from support.docker_registry import CREDENTIAL, serve_docker_registry
from support.skopeo import Skopeo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVERS = ["embedded", pytest.param("docker-registry", marks=pytest.mark.real)]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@contextmanager
def serve(name: str, directory: Path, certificates: Certificates | None, *, basic: bool) -> Iterator[Target]:
    credential = CREDENTIAL if basic else None
    context = None if certificates is None else certificates.client_context()
    if name == "docker-registry":
        with serve_docker_registry(directory, htpasswd=basic, certificates=certificates) as real:
            yield Target(name, real.url, DISTRIBUTION_2_8, credential, context)
        return
    behaviour = Behaviour(users=dict([CREDENTIAL]) if basic else {})
    server = None if certificates is None else certificates.server_context()
    with serve_in_thread(behaviour=behaviour, ssl_context=server) as embedded:
        yield Target(name, embedded.url, EMBEDDED, credential, context)


@pytest.fixture(scope="module", params=SERVERS)
def basic(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A registry that asks for CREDENTIAL."""
    with serve(request.param, tmp_path_factory.mktemp("basic"), None, basic=True) as target:
        yield target


@pytest.fixture(scope="module", params=SERVERS)
def guarded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[Target]:
    """A registry that asks for CREDENTIAL and speaks TLS."""
    with serve(request.param, tmp_path_factory.mktemp("guarded"), certificates, basic=True) as target:
        yield target


@pytest.mark.parametrize("credential", [None, ("alice", "wrong"), ("bob", CREDENTIAL[1])])
@pytest.mark.parametrize(("method", "path"), [("GET", "/v2/"), ("POST", "/v2/a/b/blobs/uploads/")])
def test_nobody_gets_in_without_the_password(
    basic: Target, credential: tuple[str, str] | None, method: str, path: str
) -> None:
    with Client(basic.url, credential=credential) as client:
        answer = client.send(method, path)
    assert (answer.status, answer.codes) == (401, ["UNAUTHORIZED"])
    assert len(answer.challenges) == 1
    assert answer.challenges[0].startswith('Basic realm="')


def test_the_password_opens_everything(basic: Target, repository: str, content: ContentBuilder) -> None:
    image = content.image()
    push_over_http(basic.url, repository, image, ["v1"], credential=CREDENTIAL)
    with basic.client() as client:
        assert client.head(f"/v2/{repository}/blobs/{image.blobs[0].digest}").status == 200


def test_over_tls_too(guarded: Target, repository: str, content: ContentBuilder) -> None:
    image = content.image([content.layer(3 * 2**20 + 17)])
    push_over_http(guarded.url, repository, image, ["v1"], credential=CREDENTIAL, ssl_context=guarded.context)
    with guarded.client() as client:
        for blob in image.blobs:
            assert client.get(f"/v2/{repository}/blobs/{blob.digest}").body == blob.read()


def test_a_client_that_does_not_know_the_authority_is_not_served(guarded: Target) -> None:
    with (
        Client(guarded.url, context=ssl.create_default_context()) as client,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        client.get("/v2/")


def test_plain_http_where_tls_is_spoken(guarded: Target) -> None:
    with Client(guarded.url.replace("https", "http")) as client:
        try:
            assert client.get("/v2/").status == 400
        except OSError:
            assert guarded.name == "embedded"  # Go is kind enough to answer, Python's TLS is not


@pytest.mark.real
def test_skopeo_gets_in(
    guarded: Target, certificates: Certificates, repository: str, content: ContentBuilder, tmp_path: Path
) -> None:
    index = content.index(attestations=True)
    push_over_http(guarded.url, repository, index, ["v1"], credential=CREDENTIAL, ssl_context=guarded.context)
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    (trusted / "ca.crt").write_bytes(certificates.authority.read_bytes())
    skopeo = Skopeo(tls_verify=True, certificate_directory=trusted, credential=CREDENTIAL)
    name = f"{guarded.address}/{repository}"
    skopeo.copy(f"{name}:v1", f"{name}:v2")
    assert skopeo.inspect_raw(f"{name}:v2") == index.raw
    assert skopeo.digest(f"{name}:v2") == index.digest
    assert sorted(skopeo.list_tags(name)) == ["v1", "v2"]
