"""Measures: what a run has counted until one moment, beyond what a `Snapshot` shows; metrics are made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import field

from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.net import TallyRow

__all__ = ["Measures"]


class Measures(Value, frozen=True):
    """Counts since the run began: `requests` as of `RequestTally.rows`, `moved` bytes of blobs by side and registry,
    `retries` of requests by registry, `breaks` of transfers by side, `transfers` by outcome, how long each side of
    transfers `waited_s` for the other, and `pauses` of downloads because a ring was full.

    What is so now: `pids` of the workers, transfers `in_flight`, bytes that have come for them and wait `in_rings` for
    their destinations, `streams` that a worker may have, and the limits in force by registry (of bytes, None is the
    limit of all together).
    """

    requests: tuple[TallyRow, ...] = ()
    moved: Mapping[tuple[str, str], int] = field(default_factory=dict)
    retries: Mapping[str, int] = field(default_factory=dict)
    breaks: Mapping[str, int] = field(default_factory=dict)
    transfers: Mapping[str, int] = field(default_factory=dict)
    waited_s: Mapping[str, float] = field(default_factory=dict)
    pauses: int = 0
    replaced_workers: int = 0
    pids: tuple[int, ...] = ()
    in_flight: int = 0
    in_rings: int = 0
    streams: int = 0
    requests_allowed: Mapping[str, float] = field(default_factory=dict)
    connections_allowed: Mapping[str, int] = field(default_factory=dict)
    bytes_allowed: Mapping[str | None, float] = field(default_factory=dict)
