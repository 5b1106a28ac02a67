"""A source and a destination on loopback, and a watch between them in a process of its own."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from image_syncer.embedded import ContentBuilder, EmbeddedRegistry, push_to
from support.client import Client
from support.processes import wait_until
from support.sync_process import RunFiles, SyncProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.client import Answer

_ADDRESS = re.compile(r"listening at (http://[0-9.:]+)")


class WatchProcess(SyncProcess):
    """`image-syncer watch`, with what it answers at its address."""

    @property
    def url(self) -> str:
        wait_until(lambda: bool(_ADDRESS.search(self.err)) or not self.process.is_alive, "an address to ask")
        found = _ADDRESS.search(self.err)
        assert found is not None, self.err
        return found[1]

    def get(self, path: str) -> Answer:
        with Client(self.url) as client:
            return client.get(path)

    def health(self) -> dict[str, Any]:
        health: dict[str, Any] = self.get("/healthz").json()
        return health

    def notify(self, document: object, **headers: str) -> Answer:
        fields = {"Content-Type": "application/json", **headers}
        with Client(self.url) as client:
            return client.send("POST", "/notify", json.dumps(document).encode(), fields)

    def wait_for_runs(self, count: int) -> None:
        """Returns when so many runs have ended."""

        def runs() -> int:
            return self.out.count(" images: ") + self.out.count(" image: ")

        wait_until(lambda: runs() >= count or not self.process.is_alive, f"{count} runs")
        assert runs() >= count, self.err


@dataclass
class World:
    """Two registries, and the rules between them: a repository at the source to one of the same name."""

    source: EmbeddedRegistry
    destination: EmbeddedRegistry
    directory: Path
    builder: ContentBuilder = field(default_factory=lambda: ContentBuilder(7))

    @property
    def files(self) -> RunFiles:
        return RunFiles(self.directory)

    def push(self, repository: str, tag: str, *, layer_bytes: int = 2000) -> None:
        push_to(self.source.storage, repository, self.builder.image(1, layer_bytes=layer_bytes), [tag])

    def write_rules(self, *repositories: str) -> None:
        source, destination = self.source.address, self.destination.address
        rules = {f"{source}/{name}": f"{destination}/{name}" for name in repositories}
        self.files.images.write_text(json.dumps(rules))

    def write_auth(self) -> None:
        insecure = {"insecure": True, "username": "", "password": ""}
        addresses = (self.source.address, self.destination.address)
        self.files.auth.write_text(json.dumps(dict.fromkeys(addresses, insecure)))

    def start(self, *words: str, repositories: tuple[str, ...] = ("team/app",), **more: Any) -> WatchProcess:
        self.write_auth()
        self.write_rules(*repositories)
        common = ("--workers", "1", "--no-progress", "--listen", "127.0.0.1:0")
        return WatchProcess(self.files, *common, *words, verb="watch", **more)

    def has(self, repository: str, tag: str) -> bool:
        with Client(self.destination.url) as client:
            return client.head(f"/v2/{repository}/manifests/{tag}").status == 200

    def wait_for(self, repository: str, tag: str) -> None:
        wait_until(lambda: self.has(repository, tag), f"{repository}:{tag} at the destination")

    def event(self, repository: str, action: str = "push") -> dict[str, Any]:
        """What distribution tells of a push."""
        target = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "repository": repository, "tag": "v2"}
        return {"events": [{"action": action, "target": target, "request": {"host": self.source.address}}]}


@dataclass
class Hook:
    """A webhook on loopback: what it was told, and with which header fields. Answers `status`."""

    url: str = ""
    status: int = 204
    told: list[dict[str, Any]] = field(default_factory=list)
    fields: list[dict[str, str]] = field(default_factory=list)


@contextlib.contextmanager
def serve_hook() -> Iterator[Hook]:
    hook = Hook()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.fields.append({name.lower(): value for name, value in self.headers.items()})
            hook.told.append(json.loads(body))
            self.send_response(hook.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hook.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield hook
        finally:
            server.shutdown()
            thread.join()
