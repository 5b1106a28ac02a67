"""Counters: what was asked of the registry, and what it moved. Safe to read from any thread.

Tests, demo and benchmarks judge the engine by them, so they count what arrived and not what was meant.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from msgspec import field

from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from image_syncer.embedded.route import RequestKind

__all__ = ["CounterValues", "Counters", "Seen"]

_HISTORY_LENGTH = 20_000  # requests; enough for the largest test, and a bound for a registry that runs for days


class Seen(Value, frozen=True):
    """One request in the order of its end: its kind, what it was about, and the status that it got (0: cut
    off).
    """

    kind: str
    method: str
    repository: str
    reference: str
    status: int


class CounterValues(Value, frozen=True):
    """The counters at one moment.

    `requests` by kind ("head manifest", "put upload" …); `statuses` by kind and status ("put upload 201").
    `bytes_in` and `bytes_out` are the bytes of blob bodies only; `tokens` those issued; `refused` the answers
    of 401, 403 and 429; `authorization_on_companion` the requests that brought an Authorization header to the
    second address, where none belongs; `most_at_once` by kind, how many requests were under way at one time;
    `quirks` by name, how often a request met what no registry would do that keeps to the specification.
    """

    requests: Mapping[str, int] = field(default_factory=dict)
    statuses: Mapping[str, int] = field(default_factory=dict)
    most_at_once: Mapping[str, int] = field(default_factory=dict)
    quirks: Mapping[str, int] = field(default_factory=dict)
    bytes_in: int = 0
    bytes_out: int = 0
    tokens: int = 0
    refused: int = 0
    authorization_on_companion: int = 0
    connections: int = 0

    @property
    def total_requests(self) -> int:
        """All requests, tokens included."""
        return sum(self.requests.values())

    def count(self, kind: str) -> int:
        """The requests of one kind."""
        return self.requests.get(str(kind), 0)

    def minus(self, earlier: CounterValues) -> CounterValues:
        """What was counted since `earlier`; `most_at_once` stays as it is."""
        return CounterValues(
            requests=dict(Counter(self.requests) - Counter(earlier.requests)),
            statuses=dict(Counter(self.statuses) - Counter(earlier.statuses)),
            most_at_once=self.most_at_once,
            quirks=dict(Counter(self.quirks) - Counter(earlier.quirks)),
            bytes_in=self.bytes_in - earlier.bytes_in,
            bytes_out=self.bytes_out - earlier.bytes_out,
            tokens=self.tokens - earlier.tokens,
            refused=self.refused - earlier.refused,
            authorization_on_companion=self.authorization_on_companion - earlier.authorization_on_companion,
            connections=self.connections - earlier.connections,
        )

    def as_data(self) -> dict[str, Any]:
        """The counters as plain data, for `GET /_counters`."""
        return {
            "requests": dict(self.requests),
            "statuses": dict(self.statuses),
            "most_at_once": dict(self.most_at_once),
            "quirks": dict(self.quirks),
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "tokens": self.tokens,
            "refused": self.refused,
            "authorization_on_companion": self.authorization_on_companion,
            "connections": self.connections,
        }


_REFUSED_STATUSES = frozenset({401, 403, 429})


class Counters:
    """Counts requests, bytes and tokens. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Condition(threading.RLock())
        self._clear()

    def _clear(self) -> None:
        self._requests: Counter[str] = Counter()
        self._statuses: Counter[str] = Counter()
        self._under_way: Counter[str] = Counter()
        self._most_at_once: dict[str, int] = {}
        self._quirks: Counter[str] = Counter()
        self._history: deque[Seen] = deque(maxlen=_HISTORY_LENGTH)
        self._bytes_in = self._bytes_out = self._tokens = self._refused = 0
        self._authorization_on_companion = self._connections = 0

    def begin(self, kind: RequestKind) -> None:
        """A request has arrived."""
        name = kind.value
        with self._lock:
            self._requests[name] += 1
            self._under_way[name] += 1
            self._most_at_once[name] = max(self._most_at_once.get(name, 0), self._under_way[name])
            self._lock.notify_all()

    def end(self, seen: Seen) -> None:
        """A request has been answered, or has lost its connection (status 0)."""
        with self._lock:
            self._under_way[seen.kind] -= 1
            self._statuses[f"{seen.kind} {seen.status}"] += 1
            self._history.append(seen)
            if seen.status in _REFUSED_STATUSES:
                self._refused += 1
            self._lock.notify_all()

    def add_bytes_in(self, size_bytes: int) -> None:
        """Bytes of a blob arrived."""
        with self._lock:
            self._bytes_in += size_bytes
            self._lock.notify_all()

    def add_bytes_out(self, size_bytes: int) -> None:
        """Bytes of a blob were handed to the system to be sent."""
        with self._lock:
            self._bytes_out += size_bytes
            self._lock.notify_all()

    def add_quirk(self, name: str) -> None:
        """A request met a quirk."""
        with self._lock:
            self._quirks[name] += 1
            self._lock.notify_all()

    def add_token(self) -> None:
        """A token was issued."""
        with self._lock:
            self._tokens += 1

    def add_connection(self) -> None:
        """A connection was accepted."""
        with self._lock:
            self._connections += 1

    def add_authorization_on_companion(self) -> None:
        """An Authorization header arrived where none belongs."""
        with self._lock:
            self._authorization_on_companion += 1

    def reset(self) -> None:
        """Begin at zero again."""
        with self._lock:
            under_way = self._under_way
            self._clear()
            self._under_way = under_way

    def values(self) -> CounterValues:
        """The counters as they are now."""
        with self._lock:
            return CounterValues(
                requests=dict(self._requests),
                statuses=dict(self._statuses),
                most_at_once=dict(self._most_at_once),
                quirks=dict(self._quirks),
                bytes_in=self._bytes_in,
                bytes_out=self._bytes_out,
                tokens=self._tokens,
                refused=self._refused,
                authorization_on_companion=self._authorization_on_companion,
                connections=self._connections,
            )

    def wait_until(self, predicate: Callable[[CounterValues], bool], timeout_s: float) -> bool:
        """Wait until `predicate` holds; False where it does not within `timeout_s` seconds.

        How a test waits for something to be under way. Not for the event loop that serves.
        """
        with self._lock:
            return self._lock.wait_for(lambda: predicate(self.values()), timeout_s)

    def history(self, kind: str | None = None) -> list[Seen]:
        """The latest requests in the order of their end, all or those of one kind."""
        with self._lock:
            return [seen for seen in self._history if kind is None or seen.kind == str(kind)]

    @property
    def requests(self) -> dict[str, int]:
        """Requests by kind."""
        return dict(self.values().requests)

    @property
    def quirks(self) -> dict[str, int]:
        """How often requests met each quirk, by its name."""
        return dict(self.values().quirks)

    @property
    def bytes_in(self) -> int:
        """Bytes of blobs that arrived."""
        return self.values().bytes_in

    @property
    def bytes_out(self) -> int:
        """Bytes of blobs that were sent."""
        return self.values().bytes_out

    @property
    def tokens(self) -> int:
        """Tokens that were issued."""
        return self.values().tokens

    @property
    def refused(self) -> int:
        """Answers of 401, 403 and 429."""
        return self.values().refused

    @property
    def authorization_on_companion(self) -> int:
        """Requests that brought an Authorization header to the second address."""
        return self.values().authorization_on_companion
