"""A registry that tells back whatever it is told: passwords, tokens and signatures, in every part of every answer."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from image_syncer.embedded import MadeManifest

__all__ = ["LeakyRegistry", "serve_leaky"]

_WITHOUT_IMAGE = ("empty", "manifest refused", "upload refused", "upload cut")


@dataclass
class LeakyRegistry:
    """Has `image` under `tag`. `mode` says what goes wrong, `secrets` are what it gives away: "token", "refresh",
    "signature", "state", "cookie", "userinfo". `heard` is what it was told, `beside` what it was told last outside of
    Authorization: by the user's own header, and as a proxy.
    """

    image: MadeManifest
    tag: str
    secrets: Mapping[str, str]
    mode: str = "fine"
    address: str = ""
    heard: list[str] = field(default_factory=list)
    beside: str = ""
    stalled: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    def echo(self, told: str) -> bytes:
        """A refusal that is as indiscreet as it can be."""
        secrets = self.secrets
        words = (
            f"denied: you sent {told} and {self.beside}; Authorization: {told}; token={secrets['token']} "
            f"password: {secrets['refresh']} see https://u:{secrets['userinfo']}@h/?X-Amz-Signature={secrets['signature']}"
            f" Bearer {secrets['token']}"
        )
        return json.dumps({"errors": [{"code": "DENIED", "message": words, "detail": {"message": words}}]}).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: LeakyRegistry

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""

    def _answer(self, status: int, body: bytes = b"", **fields: str) -> None:
        secrets = self.registry.secrets
        self.send_response(status, f"no {self.headers.get('Authorization', '')}" if status >= 400 else None)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", f"session={secrets['cookie']}")
        self.send_header("X-Echo", self.headers.get("Authorization", "nothing"))
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _serve(self) -> None:
        registry, told = self.registry, self.headers.get("Authorization", "")
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        registry.heard.append(f"{told} {body[:200]!r} {self.headers.get('Proxy-Authorization', '')}")
        registry.beside = " and ".join(self.headers.get(name, "") for name in ("X-Api-Key", "Proxy-Authorization"))
        path, _, query = self.path.partition("?")
        if path == "/token":
            self._token(told or body.decode("latin-1"))
        elif path.startswith("/storage/"):
            self._storage(path.rpartition("/")[2], query)
        elif not told and registry.mode != "open":
            realm = f'Bearer realm="http://{registry.address}/token?signed={registry.secrets["signature"]}",service="s"'
            self._answer(401, registry.echo("nothing"), WWW_Authenticate=realm)
        elif registry.mode == "basic refused":
            self._answer(401, registry.echo(told), WWW_Authenticate=f'Basic realm="{told}"')
        elif registry.mode in ("500", "403"):
            self._answer(int(registry.mode), registry.echo(told))
        elif "/manifests/" in path:
            self._manifest(path, told)
        elif "/blobs/uploads/" in path:
            self._upload(path, told)
        elif "/blobs/" in path:
            self._blob(path.rpartition("/")[2], told)
        elif path.endswith("/tags/list"):
            self._answer(200, json.dumps({"name": "x", "tags": [registry.tag]}).encode())
        else:
            self._answer(200, b"{}")

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - http.server's names

    def _token(self, told: str) -> None:
        registry, secrets = self.registry, self.registry.secrets
        if registry.mode == "token refused":
            self._answer(401, registry.echo(told))
        elif registry.mode == "token broken":
            self._answer(200, f'{{"token": "{secrets["token"]}\\n", "refresh_token": "{secrets["refresh"]}"}}'.encode())
        else:
            answer = {"token": secrets["token"], "access_token": secrets["token"], "refresh_token": secrets["refresh"]}
            self._answer(200, json.dumps(answer).encode())

    def _manifest(self, path: str, told: str) -> None:
        registry = self.registry
        if self.command == "PUT":
            if registry.mode == "manifest refused":
                self._answer(400, registry.echo(told))
            else:
                self._answer(201, Location=path)
            return
        if registry.mode in _WITHOUT_IMAGE:
            self._answer(404, registry.echo(told))
            return
        target = path.rpartition("/")[2]
        manifests = {str(one.digest): one for one in registry.image.manifests()}
        manifest = manifests.get(str(registry.image.digest) if target == registry.tag else target)
        if manifest is None:
            self._answer(404, registry.echo(told))
            return
        self._answer(200, manifest.raw, Content_Type=manifest.media_type, Docker_Content_Digest=str(manifest.digest))

    def _blob(self, digest: str, told: str) -> None:
        registry, secrets = self.registry, self.registry.secrets
        if registry.mode in _WITHOUT_IMAGE:
            self._answer(404, registry.echo(told))
        elif registry.mode == "userinfo":
            self._answer(307, Location=f"http://user:{secrets['userinfo']}@{registry.address}/storage/{digest}")
        else:
            signed = f"X-Amz-Signature={secrets['signature']}&X-Amz-Credential={secrets['cookie']}"
            self._answer(307, Location=f"http://{registry.address}/storage/{digest}?{signed}")

    def _storage(self, digest: str, query: str) -> None:
        registry = self.registry
        blob = next(blob for blob in registry.image.all_blobs() if str(blob.digest) == digest)
        if registry.mode == "storage refuses":
            words = f"<Error><Code>AccessDenied</Code><Message>{query} is not signed</Message></Error>"
            self._answer(403, words.encode())
        elif registry.mode == "cut":
            self.send_response(200)
            self.send_header("Content-Length", str(blob.size))
            self.end_headers()
            self.close_connection = True
        elif registry.mode == "stall":
            self.send_response(200)
            self.send_header("Content-Length", str(blob.size))
            self.end_headers()
            registry.stalled.set()
            registry.over.wait(60)
            self.close_connection = True
        elif registry.mode == "wrong bytes":
            self._answer(200, b"x" * blob.size)
        else:
            self._answer(200, blob.read())

    def _upload(self, path: str, told: str) -> None:
        registry, secrets = self.registry, self.registry.secrets
        if self.command == "POST":
            self._answer(202, Location=f"{path}one?_state={secrets['state']}")
        elif self.command == "PUT" and registry.mode == "upload refused":
            self._answer(403, registry.echo(f"{told} {self.path}"))
        elif self.command == "PUT" and registry.mode == "upload cut":
            self.close_connection = True
        elif self.command == "GET":
            self._answer(404, registry.echo(told))
        else:
            self._answer(201 if self.command == "PUT" else 204, Location=path)


@contextmanager
def serve_leaky(registry: LeakyRegistry) -> Iterator[LeakyRegistry]:
    """Serve on loopback until the context ends."""
    handler = type("Handler", (_Handler,), {"registry": registry})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    registry.address = f"127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield registry
    finally:
        registry.over.set()
        server.shutdown()
        server.server_close()
