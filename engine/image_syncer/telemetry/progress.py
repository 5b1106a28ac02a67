"""Progress: a snapshot of a run, and the arithmetic of its rate, without I/O."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from msgspec import field

from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.telemetry.outcome import Outcome


RATE_WINDOW_S = 10.0
"""The window of a rate: long enough to be readable, short enough to show a stall."""
_SAMPLE_EVERY_S = 0.25
"""Samples closer than this replace each other, so that a meter holds at most window / spacing of them."""
_FIRST_RATE_AFTER_S = 0.5
"""The shortest time over which a rate means anything."""


class TransferRow(Value, frozen=True):
    """One blob on its way between two repositories. Sizes are bytes, -1 is an unknown `size_bytes`."""

    digest: str
    source: str
    destination: str
    bytes_done: int
    size_bytes: int
    seconds: float
    bytes_per_s: float


class RegistryRow(Value, frozen=True):
    """The blobs of one registry at one moment; rates are bytes per second.

    `side` is "source", "destination", "both", or "" before its first blob. `in_flight` counts its blobs in flight,
    `connections` is their maximum, and `requests_per_s` the limit of the request rate (None: no limit). `errors` counts
    the tries of blobs that it made fail or break off. `throttled` is the reason for a lower rate, if there is one
    ("down for 40 s", "paused for 12 s").
    """

    name: str
    side: str
    bytes_per_s: float = 0.0
    in_flight: int = 0
    connections: int | None = None
    requests_per_s: float | None = None
    errors: int = 0
    throttled: str | None = None


class WorkerRow(Value, frozen=True):
    """One worker process at one moment. `number` is that of the logs; `restarts` counts the workers it has replaced."""

    number: int
    bytes_per_s: float = 0.0
    streamed: int = 0
    small: int = 0
    restarts: int = 0


class Snapshot(Value, frozen=True):
    """A run at one moment, for `on_progress`.

    While `listing` is true, tags are still being resolved and the totals still grow. `slowest` are the transfers that
    are longest in flight, longest first. `waiting` is what the whole run waits for, if anything ("registry.example
    asked for a pause of 30 s"). `stuck` names what shows no progress. `eta_s` is the time left, expected between
    `eta_least_s` and `eta_most_s`, and `eta_waits_for` names the reason for it (`capacity.time_left`). They are None
    while too little is known, while the run is paused, and while a needed registry does not answer; while `listing`,
    they cover what is known. `streams` is the maximum of blobs that a worker streams, `rate_limit` the maximum of bytes
    per second (None: no limit), and `held` is "paused", "drains", or None. Numbers may fall when a transfer restarts.
    """

    elapsed_s: float = 0.0
    images_total: int = 0
    images_done: int = 0
    outcomes: Mapping[Outcome, int] = field(default_factory=dict)
    listing: bool = False
    blobs_total: int = 0
    blobs_done: int = 0
    bytes_total: int = 0
    bytes_done: int = 0
    bytes_per_s: float = 0.0
    eta_s: float | None = None
    eta_least_s: float | None = None
    eta_most_s: float | None = None
    eta_waits_for: str | None = None
    slowest: tuple[TransferRow, ...] = ()
    waiting: str | None = None
    registries: tuple[RegistryRow, ...] = ()
    workers: tuple[WorkerRow, ...] = ()
    stuck: tuple[str, ...] = ()
    streams: int = 0
    rate_limit: float | None = None
    held: str | None = None


class RateMeter:
    """The rate of a counter over the last `window_s` seconds, in constant memory.

    >>> meter = RateMeter()
    >>> for second in range(4):
    ...     meter.update(now_s=second, total_bytes=second * 100)
    >>> meter.bytes_per_s(now_s=3)
    100.0
    """

    def __init__(self, window_s: float = RATE_WINDOW_S) -> None:
        self._window_s = window_s
        self._samples: deque[tuple[float, int]] = deque()

    def update(self, now_s: float, total_bytes: int) -> None:
        """Notes that `total_bytes` had moved by `now_s`; a total that shrinks (a retry) resets the meter."""
        samples = self._samples
        if samples and total_bytes < samples[-1][1]:
            samples.clear()
        # The first sample is kept: it is the far end of the window.
        if len(samples) > 1 and now_s - samples[-2][0] < _SAMPLE_EVERY_S:
            samples.pop()
        samples.append((now_s, total_bytes))
        self._forget(now_s)

    def bytes_per_s(self, now_s: float) -> float:
        """The rate as seen at `now_s`; falls to zero when updates stop."""
        self._forget(now_s)
        if not self._samples:
            return 0.0
        began_s, began_bytes = self._samples[0]
        seconds = now_s - began_s
        if seconds < _FIRST_RATE_AFTER_S:
            return 0.0
        return (self._samples[-1][1] - began_bytes) / seconds

    def _forget(self, now_s: float) -> None:
        while len(self._samples) > 1 and now_s - self._samples[0][0] > self._window_s:
            self._samples.popleft()
