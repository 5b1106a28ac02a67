"""A plain HTTP client for registries, on the standard library alone: an independent judge of both ends."""

from __future__ import annotations

import base64
import http.client
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping

TIMEOUT_S = 30
REDIRECTS = frozenset({302, 307})


@dataclass(frozen=True)
class Answer:
    """What came back: `headers` by lower-case name, the last one of each; `challenges` all of WWW-Authenticate."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    challenges: tuple[str, ...] = ()

    @property
    def codes(self) -> list[str]:
        """The error codes of the body."""
        return [error["code"] for error in self.json()["errors"]]

    def json(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)


class Client:
    """One connection at a time to `url` ("http://127.0.0.1:5000"); opens a new one after each failure.

    With `follow` a redirect to an absolute URL is followed, without the credential.
    """

    def __init__(
        self,
        url: str,
        *,
        credential: tuple[str, str] | None = None,
        token: str | None = None,
        context: ssl.SSLContext | None = None,
        follow: bool = False,
    ) -> None:
        self.url = url
        self._follow = follow
        self._context = context
        self._headers: dict[str, str] = {}
        if credential is not None:
            secret = base64.b64encode(":".join(credential).encode()).decode()
            self._headers["Authorization"] = f"Basic {secret}"
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._connection: http.client.HTTPConnection | None = None

    def connect(self) -> http.client.HTTPConnection:
        """The connection, for tests that talk below the level of requests."""
        if self._connection is None:
            parts = urlsplit(self.url)
            if parts.scheme == "https":
                self._connection = http.client.HTTPSConnection(parts.netloc, timeout=TIMEOUT_S, context=self._context)
            else:
                self._connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_S)
        return self._connection

    def __enter__(self) -> Client:  # noqa: PYI034 - Self came with Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, whatever is under way on it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def send(
        self,
        method: str,
        target: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request: `target` is a path with its query, or an absolute URL of this server."""
        parts = urlsplit(target)
        if parts.netloc:
            target = target[target.index(parts.netloc) + len(parts.netloc) :]
        connection = self.connect()
        try:
            connection.request(method, target, body, {**self._headers, **(headers or {})})
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        found = {name.lower(): value for name, value in response.getheaders()}
        where = urlsplit(found.get("location", ""))
        if self._follow and response.status in REDIRECTS and where.scheme:
            with Client(f"{where.scheme}://{where.netloc}", context=self._context) as other:
                return other.send(method, found["location"], body, headers)
        return Answer(response.status, found, content, tuple(response.headers.get_all("WWW-Authenticate") or ()))

    def get(self, target: str, **headers: str) -> Answer:
        """A GET; header names are written with underscores."""
        return self.send("GET", target, headers=_named(headers))

    def head(self, target: str, **headers: str) -> Answer:
        """A HEAD; header names are written with underscores."""
        return self.send("HEAD", target, headers=_named(headers))

    def delete(self, target: str) -> Answer:
        """A DELETE."""
        return self.send("DELETE", target)

    def start_upload(self, repository: str) -> str:
        """The Location of a new session."""
        answer = self.send("POST", f"/v2/{repository}/blobs/uploads/")
        assert answer.status == 202, answer
        return answer.headers["location"]

    def push_blob(self, repository: str, data: bytes, digest: str) -> Answer:
        """POST and one PUT."""
        location = self.start_upload(repository)
        return self.send("PUT", with_digest(location, digest), data, {"Content-Type": "application/octet-stream"})

    def push_manifest(self, repository: str, reference: str, raw: bytes, media_type: str) -> Answer:
        """PUT of a manifest."""
        return self.send("PUT", f"/v2/{repository}/manifests/{reference}", raw, {"Content-Type": media_type})


def with_digest(location: str, digest: str) -> str:
    """A Location with `digest=` at its end and every other byte as it was."""
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
