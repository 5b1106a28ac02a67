"""Registries under the names that the recipes use, and the recipe that a test module is about."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import ContentBuilder, push_over_http
from recipes.recipe import RECIPES, Recipe
from support.certificates import Certificates, make_certificates
from support.client import Client
from support.connect_proxy import ConnectProxy, run_connect_proxy
from support.docker_registry import CREDENTIAL, OTHER_CREDENTIAL, DockerRegistry, serve_docker_registry
from support.signed_images import INDEX

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator

    from image_syncer.embedded import MadeManifest

ACCEPT = f"{INDEX}, application/vnd.oci.image.manifest.v1+json"


@dataclass
class Hosts:
    """Registries (docker-registry, with TLS and passwords) by the names that pages give them."""

    directory: Path
    certificates: Certificates
    names: dict[str, str]
    stack: ExitStack
    _running: dict[str, tuple[DockerRegistry, ExitStack]] = field(default_factory=dict)

    def start(self, name: str, *, root: Path | None = None, read_only: bool = False) -> None:
        """A registry under this name, in the place of one that has it; `root` is the storage of another."""
        if name in self._running:
            self._running[name][1].close()
        inner = self.stack.enter_context(ExitStack())
        folder = self.directory / f"{name}-{len(list(self.directory.glob(f'{name}-*')))}"
        running = inner.enter_context(
            serve_docker_registry(folder, htpasswd=True, certificates=self.certificates, root=root, read_only=read_only)
        )
        self._running[name] = (running, inner)
        self.names[f"{name}:443"] = running.address

    @contextmanager
    def cut_off(self, name: str) -> Iterator[None]:
        """Until the block is left, the commands of a page reach it no more; raw reads still do."""
        way = self.names.pop(f"{name}:443")
        try:
            yield
        finally:
            self.names[f"{name}:443"] = way

    def make_read_only(self, name: str) -> None:
        """As its administrator does it: with the same storage, and without writes."""
        self.start(name, root=self._running[name][0].root, read_only=True)

    def push(self, name: str, repository: str, manifest: MadeManifest, tags: Iterable[str] = ()) -> None:
        """What others push there."""
        push_over_http(
            self._running[name][0].url,
            repository,
            manifest,
            tags,
            credential=CREDENTIAL,
            ssl_context=self._context(),
        )

    def digest(self, image: str) -> str | None:
        """The digest of `host/repository:tag`, or of `…@digest` where it is there, by a raw read; None: nothing."""
        name, _, rest = image.partition("/")
        repository, _, reference = rest.partition("@") if "@" in rest else rest.rpartition(":")
        answer = self.client(name).get(f"/v2/{repository}/manifests/{reference}", accept=ACCEPT)
        return answer.headers["docker-content-digest"] if answer.status == 200 else None

    def repositories(self, name: str) -> list[str]:
        """All that there are."""
        found: list[str] = self.client(name).get("/v2/_catalog?n=1000").json()["repositories"]
        return found

    def tags(self, repository: str) -> list[str]:
        """All tags of `host/repository`."""
        name, _, path = repository.partition("/")
        return sorted(self.client(name).get(f"/v2/{path}/tags/list").json()["tags"] or [])

    def has_all_of(self, repository: str, manifest: MadeManifest) -> bool:
        """Whether every manifest and blob of an image can be read there, byte for byte."""
        name, _, path = repository.partition("/")
        client = self.client(name)
        return all(
            client.get(f"/v2/{path}/manifests/{each.digest}", accept=ACCEPT).body == each.raw
            for each in manifest.manifests()
        ) and all(client.get(f"/v2/{path}/blobs/{blob.digest}").body == blob.read() for blob in manifest.all_blobs())

    def client(self, name: str) -> Client:
        """For raw reads."""
        opened = Client(self._running[name][0].url, credential=CREDENTIAL, context=self._context())
        return self.stack.enter_context(opened)

    def _context(self) -> ssl.SSLContext:
        return self.certificates.client_context()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """For every host of the pages."""
    names = ("DNS:*.example.com", "IP:127.0.0.1")
    return make_certificates(tmp_path_factory.mktemp("certificates"), names)


@pytest.fixture
def proxy() -> Iterator[ConnectProxy]:
    """The way to the hosts."""
    with run_connect_proxy(names={}) as running:
        yield running


@pytest.fixture
def hosts(tmp_path: Path, certificates: Certificates, proxy: ConnectProxy) -> Iterator[Hosts]:
    """No registries yet."""
    directory = tmp_path / "hosts"
    directory.mkdir()
    with ExitStack() as stack:
        yield Hosts(directory, certificates, proxy.names, stack)


@pytest.fixture
def content() -> ContentBuilder:
    """Made-up images."""
    return ContentBuilder(seed=77)


@pytest.fixture
def recipe(
    request: pytest.FixtureRequest, tmp_path: Path, certificates: Certificates, proxy: ConnectProxy
) -> Iterator[Recipe]:
    """The page that the module is about; when the test has passed, nothing on it was left out."""
    page = RECIPES / f"{request.module.__name__.rpartition('.')[2].removeprefix('test_').replace('_', '-')}.md"
    user, password = CREDENTIAL
    robot, robot_password = OTHER_CREDENTIAL
    environment = {
        "HTTPS_PROXY": proxy.url,
        "SSL_CERT_FILE": str(certificates.authority),
        "READER": user,
        "READER_PASSWORD": password,
        "WRITER": robot,
        "WRITER_PASSWORD": robot_password,
    }
    followed = Recipe(page, tmp_path / "followed", environment, secrets=[password, robot_password])
    yield followed
    if not request.session.testsfailed:
        followed.assert_all_was_shown_to_work()
