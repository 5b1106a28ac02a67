"""Delivery: made-up content into a storage, or into any registry over HTTP.

By the standard library's client and not by the engine's, so that the engine is not its own judge.
"""

from __future__ import annotations

import base64
import http.client
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from image_syncer.embedded.manifests import describe_manifest
from image_syncer.oci import parse_manifest

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping

    from image_syncer.embedded.made import MadeBlob, MadeManifest
    from image_syncer.embedded.storage import Storage

__all__ = ["push_over_http", "push_to"]

_TIMEOUT_S = 60.0


def push_to(storage: Storage, repository: str, manifest: MadeManifest, tags: Iterable[str] = ()) -> None:
    """Put `manifest` and everything under it into `storage`, without a server in between."""
    for blob in manifest.all_blobs():
        if storage.blob_size(repository, blob.digest) is None:
            storage.put_blob(repository, blob.pieces(), blob.digest)
    for item in manifest.manifests():
        described = describe_manifest(parse_manifest(item.raw, item.media_type))
        storage.put_manifest(repository, described, item.raw)
        for tag in tags if item is manifest else ():
            storage.put_manifest(repository, described, item.raw, tag)


def push_over_http(
    base_url: str,
    repository: str,
    manifest: MadeManifest,
    tags: Iterable[str] = (),
    *,
    credential: tuple[str, str] | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> None:
    """Push `manifest` and everything under it to the registry at `base_url` ("http://127.0.0.1:5000").

    `credential` is a name and a password for Basic. What is there already is left alone. Raises RuntimeError
    where the registry refuses, OSError where it cannot be reached.
    """
    client = _Client(base_url, credential, ssl_context)
    try:
        for blob in manifest.all_blobs():
            client.push_blob(repository, blob)
        for item in manifest.manifests():
            names = [item.digest, *tags] if item is manifest else [item.digest]
            for name in names:
                headers = {"Content-Type": item.media_type}
                client.send("PUT", f"/v2/{repository}/manifests/{name}", {201}, item.raw, headers)
    finally:
        client.close()


class _Client:
    def __init__(self, base_url: str, credential: tuple[str, str] | None, ssl_context: ssl.SSLContext | None) -> None:
        parts = urlsplit(base_url)
        self._connection = (
            http.client.HTTPSConnection(parts.netloc, timeout=_TIMEOUT_S, context=ssl_context)
            if parts.scheme == "https"
            else http.client.HTTPConnection(parts.netloc, timeout=_TIMEOUT_S)
        )
        self._headers = {}
        if credential is not None:
            secret = base64.b64encode(":".join(credential).encode()).decode()
            self._headers["Authorization"] = f"Basic {secret}"

    def close(self) -> None:
        self._connection.close()

    def push_blob(self, repository: str, blob: MadeBlob) -> None:
        path = f"/v2/{repository}/blobs"
        status, _ = self.send("HEAD", f"{path}/{blob.digest}", {200, 404})
        if status == http.client.OK:
            return
        _, headers = self.send("POST", f"{path}/uploads/", {202})
        parts = urlsplit(headers["location"])
        query = f"{parts.query}&" if parts.query else ""
        length = {"Content-Length": str(blob.size), "Content-Type": "application/octet-stream"}
        self.send("PUT", f"{parts.path}?{query}digest={blob.digest}", {201}, blob.pieces(), length)

    def send(
        self,
        method: str,
        path: str,
        wanted: set[int],
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, http.client.HTTPMessage]:
        self._connection.request(method, path, body, {**self._headers, **(headers or {})})
        response = self._connection.getresponse()
        answer = response.read()
        if response.status not in wanted:
            text = answer[:200].decode("utf-8", "replace")
            raise RuntimeError(f"{method} {path.partition('?')[0]}: {response.status} {text}")
        return response.status, response.headers
