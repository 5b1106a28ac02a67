"""The access log of docker-registry, in which it writes down every request that it has answered.

A request without a body in its answer is in the log before its client knows; of others the line may come a moment
after the last byte.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.docker_registry import DockerRegistry

AGENT = "image-syncer"
"""The user agent of the engine; the tests' own requests have none, skopeo has another."""

_LINE = re.compile(
    r'^(?P<peer>\S+) - \S+ \[[^]]*\] "(?P<method>[A-Z]+) (?P<target>\S+) HTTP/[\d.]+" (?P<status>\d+) \d+ "[^"]*" '
    r'"(?P<agent>[^"]*)"',
    re.MULTILINE,
)
_KINDS = (
    (re.compile(r"/manifests/[^/]+$"), {"HEAD": "head manifest", "GET": "get manifest", "PUT": "put manifest"}),
    (
        re.compile(r"/blobs/uploads/[^/]*$"),
        {"POST": "start upload", "PUT": "put upload", "GET": "get upload", "DELETE": "cancel upload"},
    ),
    (re.compile(r"/blobs/[^/]+$"), {"HEAD": "head blob", "GET": "get blob"}),
    (re.compile(r"/tags/list$"), {"GET": "list tags"}),
    (re.compile(r"^/v2/$"), {"GET": "ping"}),
)


@dataclass(frozen=True)
class Logged:
    """One request: `path` without its query, `kind` in the words of the report, `peer` the address it came from."""

    method: str
    path: str
    query: dict[str, list[str]]
    status: int
    peer: str

    @property
    def kind(self) -> str:
        for pattern, kinds in _KINDS:
            if pattern.search(self.path):
                return kinds[self.method]
        raise AssertionError(f"what is {self.method} {self.path}?")


class AccessLog:
    """What the engine has asked a registry since this was made."""

    def __init__(self, registry: DockerRegistry) -> None:
        self._path = registry.log
        self._begin = self._path.stat().st_size

    def requests(self) -> list[Logged]:
        """The requests so far, in the order in which they were answered."""
        with self._path.open("rb") as file:
            file.seek(self._begin)
            text = file.read().decode()
        found = []
        for match in _LINE.finditer(text):
            if match["agent"] == AGENT:
                parts = urlsplit(match["target"])
                status = int(match["status"])
                found.append(Logged(match["method"], parts.path, parse_qs(parts.query), status, match["peer"]))
        return found

    def kinds(self) -> Counter[str]:
        """How many requests of each kind."""
        return Counter(request.kind for request in self.requests())

    def methods(self) -> set[str]:
        """The HTTP methods that occur."""
        return {request.method for request in self.requests()}


def count_kinds(logs: Sequence[AccessLog], expected: int) -> Counter[str]:
    """How many requests of each kind the registries have answered together, once they have written down `expected`."""
    wait_until(lambda: sum(len(log.requests()) for log in logs) >= expected, f"{expected} requests in the access logs")
    return sum((log.kinds() for log in logs), Counter())
