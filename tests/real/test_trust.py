"""TLS with a private authority, and every way to get it wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.embedded import ContentBuilder, MadeManifest, push_over_http
from real.conftest import INSECURE
from support.access_log import AccessLog
from support.certificates import Certificates, make_certificates
from support.client import Client
from support.docker_registry import DockerRegistry, serve_docker_registry
from support.skopeo import Skopeo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.command import Command, Ran

pytestmark = pytest.mark.real

SIDES = ("source", "destination")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[DockerRegistry]:
    """A docker-registry that speaks TLS."""
    with serve_docker_registry(tmp_path_factory.mktemp("guarded"), certificates=certificates) as running:
        yield running


@dataclass
class Crossing:
    """One image between a registry that speaks TLS, on `side`, and one that speaks plain HTTP."""

    command: Command
    plain: DockerRegistry
    guarded: DockerRegistry
    certificates: Certificates
    side: str
    repository: str
    image: MadeManifest

    @property
    def rule(self) -> dict[str, str]:
        ends = [f"{registry.address}/{self.repository}:v1" for registry in (self.guarded, self.plain)]
        source, destination = ends if self.side == "source" else reversed(ends)
        return {source: destination}

    def prepare(self) -> None:
        if self.side == "source":
            context = self.certificates.client_context()
            push_over_http(self.guarded.url, self.repository, self.image, ["v1"], ssl_context=context)
        else:
            push_over_http(self.plain.url, self.repository, self.image, ["v1"])

    def run(self, entry: dict[str, Any] | None, *words: str, code: int = 0) -> Ran:
        """`entry` is what the auth file says of the registry that speaks TLS."""
        auth = {self.plain.address: INSECURE} | ({} if entry is None else {self.guarded.address: entry})
        return self.command.sync(auth, self.rule, *words, code=code)

    def assert_arrived(self) -> None:
        if self.side == "source":
            client = Client(self.plain.url)
        else:
            client = Client(self.guarded.url, context=self.certificates.client_context())
        with client:
            for item in self.image.manifests():
                answer = client.get(f"/v2/{self.repository}/manifests/{item.digest}", Accept=item.media_type)
                assert answer.body == item.raw
            for blob in self.image.all_blobs():
                assert client.get(f"/v2/{self.repository}/blobs/{blob.digest}").body == blob.read()


@pytest.fixture(params=SIDES)
def crossing(
    request: pytest.FixtureRequest,
    command: Command,
    source: DockerRegistry,
    guarded: DockerRegistry,
    certificates: Certificates,
    repository: str,
    content: ContentBuilder,
) -> Crossing:
    made = Crossing(command, source, guarded, certificates, request.param, repository, content.index(attestations=True))
    made.prepare()
    return made


def test_with_the_authority_in_ca_file(crossing: Crossing, tmp_path: Path) -> None:
    assert crossing.run({"ca_file": str(crossing.certificates.authority)}).outcomes == {"copied": 1}
    crossing.assert_arrived()
    if crossing.side == "destination":
        trusted = tmp_path / "trusted"
        trusted.mkdir()
        (trusted / "ca.crt").write_bytes(crossing.certificates.authority.read_bytes())
        skopeo = Skopeo(tls_verify=True, certificate_directory=trusted)
        [reference] = crossing.rule.values()
        assert skopeo.inspect_raw(reference) == crossing.image.raw


@pytest.mark.extended
def test_a_ca_file_is_found_beside_the_file_that_names_it(crossing: Crossing) -> None:
    crossing.command.write("certificates/ours.pem", crossing.certificates.authority.read_text())
    assert crossing.run({"ca_file": "certificates/ours.pem"}).outcomes == {"copied": 1}


@pytest.mark.extended
def test_with_the_authority_in_the_system_s_store(crossing: Crossing) -> None:
    crossing.command.environment["SSL_CERT_FILE"] = str(crossing.certificates.authority)
    assert crossing.run(None).outcomes == {"copied": 1}
    crossing.assert_arrived()


def test_with_skip_tls_verify_which_is_loud(crossing: Crossing) -> None:
    ran = crossing.run({"skip_tls_verify": True}, "--quiet")
    assert ran.outcomes == {"copied": 1}
    assert "the certificate of this registry is not checked" in ran.err
    crossing.assert_arrived()


@pytest.mark.extended
def test_with_insecure_it_is_still_tls(crossing: Crossing) -> None:
    log = AccessLog(crossing.guarded)
    assert crossing.run(INSECURE).outcomes == {"copied": 1}
    crossing.assert_arrived()
    assert 400 not in {request.status for request in log.requests()}


def test_without_the_authority_the_message_names_ca_file(crossing: Crossing) -> None:
    ran = crossing.run(None, code=1)
    assert f"{crossing.side} {crossing.guarded.address}/" in ran.failure
    assert "certificate" in ran.failure
    assert "ca_file" in ran.failure
    assert "tried" not in ran.failure  # another try cannot help
    assert ran.image["error"]["side"] == crossing.side
    assert ran.image["error"]["phase"] == "tls"


@pytest.mark.extended
def test_another_authority_is_not_good_enough(crossing: Crossing, tmp_path: Path) -> None:
    other = make_certificates(tmp_path / "other")
    ran = crossing.run({"ca_file": str(other.authority)}, code=1)
    assert "certificate" in ran.failure
    assert "ca_file" in ran.failure


@pytest.mark.extended
def test_a_ca_file_that_holds_no_certificate(crossing: Crossing) -> None:
    crossing.command.write("notes.txt", "this is no certificate\n")
    ran = crossing.run({"ca_file": "notes.txt"}, code=1)
    assert "ca_file" in ran.failure
    assert "PEM" in ran.failure


@pytest.mark.extended
def test_a_certificate_of_another_host(
    command: Command, source: DockerRegistry, repository: str, content: ContentBuilder, tmp_path: Path
) -> None:
    elsewhere = make_certificates(tmp_path / "elsewhere", ("DNS:registry.example", "DNS:localhost"))
    push_over_http(source.url, repository, content.image(), ["v1"])
    with serve_docker_registry(tmp_path / "registry", certificates=elsewhere) as registry:
        rule = {f"{source.address}/{repository}:v1": f"{registry.address}/{repository}"}
        auth = {source.address: INSECURE, registry.address: {"ca_file": str(elsewhere.authority)}}
        ran = command.sync(auth, rule, code=1)
        assert "name" in ran.failure
        assert "127.0.0.1" in ran.failure
        assert "ca_file" not in ran.failure  # it would not help
        # The same registry under the name that its certificate has.
        name = registry.address.replace("127.0.0.1", "localhost")
        rule = {f"{source.address}/{repository}:v1": f"{name}/{repository}"}
        auth = {source.address: INSECURE, name: {"ca_file": str(elsewhere.authority)}}
        assert command.sync(auth, rule).outcomes == {"copied": 1}


@pytest.mark.parametrize("side", SIDES)
def test_plain_http_where_nobody_allowed_it(
    command: Command,
    source: DockerRegistry,
    destination: DockerRegistry,
    repository: str,
    content: ContentBuilder,
    side: str,
) -> None:
    push_over_http(source.url, repository, content.image(), ["v1"])
    forbidden, allowed = (source, destination) if side == "source" else (destination, source)
    log = AccessLog(forbidden)
    rule = {f"{source.address}/{repository}:v1": f"{destination.address}/{repository}"}
    ran = command.sync({allowed.address: INSECURE}, rule, code=1)
    assert f"{side} {forbidden.address}/" in ran.failure
    assert "plain HTTP" in ran.failure
    assert "insecure: true" in ran.failure
    assert log.requests() == []


@pytest.mark.extended
def test_insecure_of_copy_takes_both_kinds(crossing: Crossing) -> None:
    [(origin, target)] = crossing.rule.items()
    hosts = ("--insecure", crossing.plain.address, "--insecure", crossing.guarded.address)
    assert crossing.command.run("copy", origin, target, *hosts).outcomes == {"copied": 1}
    crossing.assert_arrived()
