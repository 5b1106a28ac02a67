"""A registry that takes everything and keeps nothing: `python -m perf.stage.sink`.

It checks what it can without looking at the bytes: a manifest is taken when each blob that it names was committed (or
mounted) in that repository with the size that it states. It remembers names, sizes and manifests, no bytes of blobs.
Blobs are found in the repository where they were committed only, so mounts are worth something.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from perf.stage.content import INDEX_NAME, MANIFEST_TYPE
from perf.stage.exchange import answer
from perf.stage.serving import parse_arguments, serve

if TYPE_CHECKING:
    from perf.stage.exchange import FileBody, Request

__all__ = ["Sink", "main"]

PING = answer(200, "Docker-Distribution-Api-Version: registry/2.0\r\nContent-Type: application/json\r\n", b"{}")
NOT_FOUND = answer(404, "Content-Type: application/json\r\n", b'{"errors":[{"code":"NOT_FOUND","message":"none"}]}')
NOT_FOUND_HEAD = answer(404)


class Sink:
    """The site. Its counts have requests by kind ("PUT blob"), and in lower case what else is worth counting."""

    def __init__(self, holds: Path | None) -> None:
        self.counts: Counter[str] = Counter()
        self._held: dict[str, dict[str, tuple[str, int]]] = {}
        self._held_blobs: dict[str, int] = {}
        if holds is not None:
            index = json.loads((holds / INDEX_NAME).read_bytes())
            self._held, self._held_blobs = index["manifests"], index["blobs"]
        self._forget()

    def _forget(self) -> None:
        self.counts.clear()
        self._blobs: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self._manifests: dict[tuple[str, str], tuple[str, str, bytes]] = {}
        self._taken: dict[str, int] = {}
        self._sessions = 0

    def keeps(self, request: Request) -> bool:
        """Manifests are read, blobs are not."""
        return request.method == "PUT" and "/manifests/" in request.path

    def broken(self, request: Request) -> None:  # noqa: ARG002 - which one does not matter
        """The client went away within a body."""
        self.counts["broken uploads"] += 1

    def respond(self, request: Request, taken: int, body: bytes) -> bytes | FileBody:
        """Answer as a registry does (OCI distribution specification 1.1)."""
        method = request.method
        front, _, last = request.path.rpartition("/")
        if front.endswith("/blobs/uploads"):
            return self._on_upload(request, front[4:-14], last, taken)
        if front.endswith("/manifests"):
            self.counts[f"{method} manifest"] += 1
            if method == "PUT":
                return self._put_manifest(request, front[4:-10], unquote(last), body)
            return self._get_manifest(method, front[4:-10], unquote(last))
        if front.endswith("/blobs"):
            self.counts[f"{method} blob"] += 1
            return self._head_blob(front[4:-6], unquote(last))
        return self._respond_rarely(request)

    def _respond_rarely(self, request: Request) -> bytes:
        path = request.path
        if path == "/v2/":
            self.counts["GET ping"] += 1
            return PING
        if path == "/perf/counts":
            return answer(200, "Content-Type: application/json\r\n", json.dumps(self.counts).encode())
        if path == "/perf/reset":
            self._forget()
            return answer(204)
        if path.endswith("/tags/list"):
            self.counts["GET tags"] += 1
            return self._list_tags(path[4:-10])
        self.counts["other requests"] += 1
        return NOT_FOUND

    # -- blobs --------------------------------------------------------------------------------------------------------

    def _on_upload(self, request: Request, repository: str, session: str, taken: int) -> bytes:
        method, counts = request.method, self.counts
        digest = _value(request.query, "digest")
        counts["blob bytes"] += taken
        if method == "PUT" or (method == "POST" and digest):
            counts[f"{method} blob"] += 1
            size = self._taken.pop(session, 0) + taken
            if not digest:
                return answer(400)
            self._blobs[repository][digest] = size
            counts["blobs committed"] += 1
            return _created(repository, digest)
        if method == "POST":
            return self._open_session(request, repository)
        if method == "PATCH":
            counts["PATCH upload"] += 1
            size = self._taken[session] = self._taken.get(session, 0) + taken
            return answer(202, f"Location: /v2/{repository}/blobs/uploads/{session}\r\nRange: 0-{max(0, size - 1)}\r\n")
        counts[f"{method} upload"] += 1
        self._taken.pop(session, None)
        return answer(204)

    def _open_session(self, request: Request, repository: str) -> bytes:
        mount = _value(request.query, "mount")
        if mount:
            self.counts["POST mount"] += 1
            size = self._blobs[_value(request.query, "from")].get(mount)
            if size is not None:
                self._blobs[repository][mount] = size
                self.counts["blobs mounted"] += 1
                return _created(repository, mount)
        else:
            self.counts["POST upload"] += 1
        self._sessions += 1
        return answer(
            202,
            f"Location: /v2/{repository}/blobs/uploads/{self._sessions}\r\nRange: 0-0\r\n"
            f"Docker-Upload-UUID: {self._sessions}\r\n",
        )

    def _head_blob(self, repository: str, digest: str) -> bytes:
        size = self._blobs[repository].get(digest)
        if size is None and self._find_held(repository) is not None:
            size = self._held_blobs.get(digest)
        if size is None:
            return NOT_FOUND_HEAD
        return _head_only(digest, size, "application/octet-stream")

    # -- manifests ----------------------------------------------------------------------------------------------------

    def _put_manifest(self, request: Request, repository: str, reference: str, body: bytes) -> bytes:
        manifest, known = json.loads(body), self._blobs[repository]
        held = self._find_held(repository) is not None
        for blob in (manifest.get("config"), *manifest.get("layers", ())):
            if blob is None:
                continue
            size = known.get(blob["digest"])
            if size is None and held:
                size = self._held_blobs.get(blob["digest"])
            if size != blob["size"]:
                self.counts["missing blobs" if size is None else "wrong sizes"] += 1
                return answer(400, "", b'{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown"}]}')
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        stored = (digest, request.header("content-type") or MANIFEST_TYPE, body)
        self._manifests[repository, reference] = self._manifests[repository, digest] = stored
        self.counts["manifests"] += 1
        return answer(201, f"Location: /v2/{repository}/manifests/{digest}\r\nDocker-Content-Digest: {digest}\r\n")

    def _get_manifest(self, method: str, repository: str, reference: str) -> bytes:
        stored = self._manifests.get((repository, reference))
        if stored is not None:
            digest, media_type, body = stored
            if method == "HEAD":
                return _head_only(digest, len(body), media_type)
            return answer(200, f"Content-Type: {media_type}\r\nDocker-Content-Digest: {digest}\r\n", body)
        held = self._find_held(repository)
        if held is not None and reference in held and method == "HEAD":
            held_digest, held_size = held[reference]
            return _head_only(held_digest, held_size, MANIFEST_TYPE)
        return NOT_FOUND_HEAD if method == "HEAD" else NOT_FOUND

    def _find_held(self, repository: str) -> dict[str, tuple[str, int]] | None:
        """The tags of a repository that is held; "mirror/bench/r0000" is taken for "bench/r0000"."""
        while self._held:
            if repository in self._held:
                return self._held[repository]
            _, slash, repository = repository.partition("/")
            if not slash:
                break
        return None

    def _list_tags(self, repository: str) -> bytes:
        tags = {name for held, name in self._manifests if held == repository and ":" not in name}
        tags.update(self._find_held(repository) or ())
        if not tags:
            return NOT_FOUND
        listing = json.dumps({"name": repository, "tags": sorted(tags)}).encode()
        return answer(200, "Content-Type: application/json\r\n", listing)


def _created(repository: str, digest: str) -> bytes:
    return answer(201, f"Location: /v2/{repository}/blobs/{digest}\r\nDocker-Content-Digest: {digest}\r\n")


def _head_only(digest: str, size: int, media_type: str) -> bytes:
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nDocker-Content-Digest: {digest}\r\n"
        f"Content-Length: {size}\r\n\r\n"
    ).encode()


def _value(query: str, name: str) -> str:
    """A value of a query, "" where it is not there. Twenty times cheaper than urllib's parser, which knows more."""
    for pair in query.split("&"):
        key, _, value = pair.partition("=")
        if key == name:
            return unquote(value) if "%" in value else value
    return ""


def main() -> None:
    """Serve until ended."""
    arguments = parse_arguments("A registry that takes everything and keeps nothing.", "--holds")
    serve(Sink(Path(arguments.holds) if arguments.holds else None), arguments)


if __name__ == "__main__":
    main()
