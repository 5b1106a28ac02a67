"""Counters of the embedded registry: requests, bytes and tokens. Thread-safe.

Tests, demo and benchmarks judge the engine by them, so they count what arrived.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from msgspec import field

from image_syncer.values import Value, as_dict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from image_syncer.embedded.route import RequestKind


_HISTORY_LENGTH = 20_000  # requests; enough for the largest test, and bounded for a registry that runs for days


class Seen(Value, frozen=True):
    """One ended request: its kind, subject and status (0: cut off)."""

    kind: str
    method: str
    repository: str
    reference: str
    status: int


class CounterValues(Value, frozen=True):
    """The counters at one moment.

    `requests` by kind ("head manifest", "put upload" …); `statuses` by kind and status ("put upload 201").
    `bytes_in` and `bytes_out` are the bytes of blob bodies only; `tokens` those issued; `refused` the answers
    of 401, 403 and 429; `authorization_on_companion` the requests with an Authorization header to the second address,
    which must not get one; `most_at_once` by kind, the maximum of concurrent requests; `quirks` by name, how often a
    request met behaviour outside the specification.
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
        """All requests, with those for tokens."""
        return sum(self.requests.values())

    def count(self, kind: str) -> int:
        """Return the number of requests of one kind."""
        return self.requests.get(str(kind), 0)

    def minus(self, earlier: CounterValues) -> CounterValues:
        """Return the counts since `earlier`; `most_at_once` stays as it is."""
        since: dict[str, Any] = {"most_at_once": self.most_at_once}
        for name, value in as_dict(self).items():
            before = getattr(earlier, name)
            if isinstance(value, int):
                since[name] = value - before
            elif name not in since:
                since[name] = dict(Counter(value) - Counter(before))
        return CounterValues(**since)

    def as_data(self) -> dict[str, Any]:
        """Return the counters as plain data, for `GET /_counters`."""
        return as_dict(self)


_REFUSED_STATUSES = frozenset({401, 403, 429})


class Counters:
    """Counts requests, bytes and tokens. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Condition(threading.RLock())
        self._under_way: Counter[str] = Counter()
        self._clear()

    def _clear(self) -> None:
        self._requests: Counter[str] = Counter()
        self._statuses: Counter[str] = Counter()
        self._most_at_once: dict[str, int] = {}
        self._quirks: Counter[str] = Counter()
        self._history: deque[Seen] = deque(maxlen=_HISTORY_LENGTH)
        self._totals: Counter[str] = Counter()

    def begin(self, kind: RequestKind) -> None:
        """Count a request that has arrived."""
        name = kind.value
        with self._lock:
            self._requests[name] += 1
            self._under_way[name] += 1
            self._most_at_once[name] = max(self._most_at_once.get(name, 0), self._under_way[name])
            self._lock.notify_all()

    def end(self, seen: Seen) -> None:
        """Count a request that was answered, or lost its connection (status 0)."""
        with self._lock:
            self._under_way[seen.kind] -= 1
            self._statuses[f"{seen.kind} {seen.status}"] += 1
            self._history.append(seen)
            self._add("refused", int(seen.status in _REFUSED_STATUSES))

    def _add(self, name: str, count: int = 1) -> None:
        with self._lock:
            self._totals[name] += count
            self._lock.notify_all()

    def add_bytes_in(self, size_bytes: int) -> None:
        """Count bytes of a blob that arrived."""
        self._add("bytes_in", size_bytes)

    def add_bytes_out(self, size_bytes: int) -> None:
        """Count bytes of a blob that were handed to the system."""
        self._add("bytes_out", size_bytes)

    def add_quirk(self, name: str) -> None:
        """Count a request that met a quirk."""
        with self._lock:
            self._quirks[name] += 1
            self._lock.notify_all()

    def add_token(self) -> None:
        """Count an issued token."""
        self._add("tokens")

    def add_connection(self) -> None:
        """Count an accepted connection."""
        self._add("connections")

    def add_authorization_on_companion(self) -> None:
        """Count an Authorization header at the second address."""
        self._add("authorization_on_companion")

    def reset(self) -> None:
        """Set all counts to zero; requests under way stay known."""
        with self._lock:
            self._clear()

    def values(self) -> CounterValues:
        """Return the current counts."""
        with self._lock:
            return CounterValues(
                requests=dict(self._requests),
                statuses=dict(self._statuses),
                most_at_once=dict(self._most_at_once),
                quirks=dict(self._quirks),
                **self._totals,
            )

    def wait_until(self, predicate: Callable[[CounterValues], bool], timeout_s: float) -> bool:
        """Wait until `predicate` is true, at most `timeout_s` seconds. Not for the event loop of the server."""
        with self._lock:
            return self._lock.wait_for(lambda: predicate(self.values()), timeout_s)

    def history(self, kind: str | None = None) -> list[Seen]:
        """Return the latest requests in the order of their end, all or those of one kind."""
        with self._lock:
            return [seen for seen in self._history if kind is None or seen.kind == str(kind)]

    @property
    def requests(self) -> dict[str, int]:
        """Requests by kind."""
        return dict(self.values().requests)

    @property
    def quirks(self) -> dict[str, int]:
        """Met quirks by name."""
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
        """Issued tokens."""
        return self.values().tokens

    @property
    def refused(self) -> int:
        """Answers of 401, 403 and 429."""
        return self.values().refused

    @property
    def authorization_on_companion(self) -> int:
        """Requests with an Authorization header to the second address."""
        return self.values().authorization_on_companion
