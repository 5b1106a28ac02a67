"""A registry that serves files as fast as one core can: `python -m perf.stage.source --root FOLDER`.

Used where nginx is not installed, and for what nginx does not do: tokens, and a limit over all connections. Small files
are kept in memory with their heads, and go out in one `send`; large ones by `sendfile`, which copies nothing here.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from perf.stage.content import INDEX_NAME, MANIFEST_TYPE
from perf.stage.exchange import FileBody, answer
from perf.stage.serving import parse_arguments, serve

if TYPE_CHECKING:
    from perf.stage.exchange import Request

__all__ = ["Source", "main"]

SMALL_BYTES = 128 * 1024
"""Files up to this size are kept in memory when they were asked for once …"""

KEPT_BYTES = 512 * 2**20
"""… as long as there are no more than so many bytes of them."""

PING = answer(200, "Docker-Distribution-Api-Version: registry/2.0\r\nContent-Type: application/json\r\n", b"{}")
NOT_FOUND = answer(404, "Content-Type: application/json\r\n", b'{"errors":[{"code":"NOT_FOUND","message":"none"}]}')
NOT_FOUND_HEAD = answer(404)
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class Source:
    """The site over the files of `root`, as `build_content` lays them out."""

    def __init__(self, root: Path) -> None:
        self.counts: Counter[str] = Counter()
        self._root = root / "v2"
        index = json.loads((root / INDEX_NAME).read_bytes())
        self._digests = {
            f"/v2/{repository}/manifests/{tag}": digest
            for repository, tags in index["manifests"].items()
            for tag, (digest, _) in tags.items()
        }
        self._kept: dict[str, tuple[bytes, bytes]] = {}
        self._kept_bytes = 0

    def keeps(self, request: Request) -> bool:  # noqa: ARG002 - the same for all
        """No body is wanted."""
        return False

    def broken(self, request: Request) -> None:  # noqa: ARG002 - which one does not matter
        """A client went away within a body that nobody wanted."""
        self.counts["broken uploads"] += 1

    def respond(self, request: Request, taken: int, body: bytes) -> bytes | FileBody:  # noqa: ARG002 - none is wanted
        """The file of that path, whole or from where the client wants it (RFC 9110, 14.2)."""
        method, path = request.method, request.path
        if path == "/perf/counts":
            return answer(200, "Content-Type: application/json\r\n", json.dumps(self.counts).encode())
        if method not in {"GET", "HEAD"}:
            self.counts["other requests"] += 1
            return answer(405)
        noun = _noun(path)
        self.counts[f"{method} {noun}"] += 1
        if noun == "ping":
            return PING
        kept = self._kept.get(path)
        if kept is not None and method == "GET" and request.header("range") is None:
            return kept[0] + kept[1]
        return self._respond_with_file(request, unquote(path), noun)

    def _respond_with_file(self, request: Request, path: str, noun: str) -> bytes | FileBody:
        is_head = request.method == "HEAD"
        try:
            if not path.startswith("/v2/") or ".." in path:
                raise FileNotFoundError
            descriptor = os.open(self._root / path[4:], os.O_RDONLY)
        except OSError:
            return NOT_FOUND_HEAD if is_head else NOT_FOUND
        size = os.fstat(descriptor).st_size
        part = _RANGE.fullmatch(request.header("range") or "")
        if part is None:
            first, last, status = 0, size - 1, "200 OK"
        else:
            first, last = int(part[1]), min(int(part[2] or size - 1), size - 1)
            status = f"206 Partial Content\r\nContent-Range: bytes {first}-{last}/{size}"
            if first > last:
                os.close(descriptor)
                return answer(416, f"Content-Range: bytes */{size}\r\n")
        head = self._head(status, path, noun, last - first + 1)
        if is_head:
            os.close(descriptor)
            return head
        if part is None and size <= SMALL_BYTES and self._kept_bytes + size <= KEPT_BYTES:
            body = os.read(descriptor, size)
            os.close(descriptor)
            self._kept[request.path] = head, body
            self._kept_bytes += size
            return head + body
        return FileBody(head, descriptor, first, last - first + 1)

    def _head(self, status: str, path: str, noun: str, length: int) -> bytes:
        kinds = {"manifest": MANIFEST_TYPE, "blob": "application/octet-stream"}
        lines = [f"HTTP/1.1 {status}", f"Content-Type: {kinds.get(noun, 'application/json')}"]
        digest = self._digests.get(path) or path.rpartition("/")[2]
        if digest.startswith("sha256:"):
            lines.append(f"Docker-Content-Digest: {digest}")
        lines += ["Docker-Distribution-Api-Version: registry/2.0", "Accept-Ranges: bytes", f"Content-Length: {length}"]
        return "\r\n".join([*lines, "", ""]).encode()


def _noun(path: str) -> str:
    for part, noun in (("/blobs/", "blob"), ("/manifests/", "manifest")):
        if part in path:
            return noun
    return "ping" if path == "/v2/" else "tags" if path.endswith("/tags/list") else "catalog"


def main() -> None:
    """Serve until ended."""
    arguments = parse_arguments("A registry that serves files as fast as one core can.", "--root")
    serve(Source(Path(arguments.root)), arguments)


if __name__ == "__main__":
    main()
