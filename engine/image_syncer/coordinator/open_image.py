"""One source image while it is under way: the destinations that have no outcome yet."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from image_syncer.coordinator.ledger import failed
from image_syncer.oci import Reference
from image_syncer.telemetry import ImageResult, Outcome
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from image_syncer.coordinator.image_memory import ImageMemory
    from image_syncer.coordinator.ledger import Ledger
    from image_syncer.coordinator.planned_state import PlannedState
    from image_syncer.errors import SyncError
    from image_syncer.oci import Digest

__all__ = ["OpenImage"]


class OpenImage:
    """Enters each of its destinations into the ledger exactly once; a second outcome raises RuntimeError.

    `clock` gives seconds; `rule` is what a retry has to know of an image that fails; `memory` is what the journal knows
    of it, where there is one. `arrived` are the destinations that have it, or would have it (in a dry run).
    `plan` is what a plan says of it, if it is of one.
    With `holds`, a destination that is as wanted is entered when it is released: something is still to be done there.
    """

    def __init__(
        self,
        source: Reference,
        destinations: list[Reference],
        ledger: Ledger,
        clock: Callable[[], float],
        memory: ImageMemory | None = None,
        rule: Mapping[str, Any] | None = None,
        referrer_of: str | None = None,
        *,
        holds: bool = False,
        plan: PlannedState | None = None,
    ) -> None:
        self.source = source
        self._open = {str(destination): destination for destination in destinations}
        self._planned_as: dict[str, str] = {}
        self._ledger = ledger
        self._clock = clock
        self._began = clock()
        self.memory = memory
        self.rule = rule
        self._of = referrer_of
        self._holds = holds
        self._held: dict[Reference, ImageResult] = {}
        self.plan = plan
        self.arrived: list[Reference] = []
        self.settled = asyncio.Event()
        """Set when no destination is open any more."""

    @property
    def open(self) -> list[Reference]:
        """The destinations that have no outcome yet."""
        return list(self._open.values())

    @property
    def is_carried(self) -> bool:
        """Whether it is carried along with another image."""
        return self._of is not None

    @property
    def seconds(self) -> float:
        """How long it has been under way."""
        return self._clock() - self._began

    def enter(self, destination: Reference, outcome: Outcome, **facts: Any) -> None:
        """`destination` has ended; `facts` are further fields of its `ImageResult`."""
        name = str(destination)
        seconds = self._close(name)
        rule = self.rule if outcome.is_failure or outcome is Outcome.PLANNED else None  # for whoever does it later
        result = ImageResult(str(self.source), name, outcome, seconds=seconds, rule=rule, referrer_of=self._of, **facts)
        if outcome.is_as_wanted or outcome is Outcome.PLANNED:
            self.arrived.append(destination)
        if outcome.is_as_wanted and self._holds:
            self._held[destination] = result
        else:
            self._enter(destination, result)

    def fail(self, destination: Reference, error: SyncError, **facts: Any) -> None:
        """`destination` did not get the image."""
        name = str(destination)
        seconds = self._close(name)
        result = failed(self.source, destination, error, seconds=seconds, rule=self.rule, referrer_of=self._of, **facts)
        self._ledger.enter(result, planned_as=self._planned_as.get(name))

    @property
    def held(self) -> list[Reference]:
        """The destinations that are as wanted and not entered yet."""
        return list(self._held)

    def release(self, destination: Reference, error: SyncError | None = None) -> None:
        """Enter what was held: as wanted or, with `error`, as failed after all."""
        result = self._held.pop(destination)
        if error is not None:
            told = failed(self.source, destination, error)
            result = replace(
                result, outcome=told.outcome, reason=told.reason, error=told.error, tries=told.tries, rule=self.rule
            )
        self._enter(destination, result)

    def release_all(self) -> None:
        """Enter all that was held, as wanted."""
        for destination in self.held:
            self.release(destination)

    def leave(self, reason: str) -> None:
        """Enter all that was held as not tried: nobody knows whether what was still to be done there was done."""
        for destination in self.held:
            result = replace(self._held.pop(destination), outcome=Outcome.NOT_TRIED, reason=reason, rule=self.rule)
            self._enter(destination, result)

    def _enter(self, destination: Reference, result: ImageResult) -> None:
        if self.memory is not None:
            self.memory.note(destination, result)
        self._ledger.enter(result, planned_as=self._planned_as.get(str(destination)))

    def rename(self, digest: Digest) -> list[Reference]:
        """The open destinations without a tag, which go under `digest` from now on."""
        renamed = {one: Reference(one.repository, None, digest) for one in self.open if one.tag is None}
        self._planned_as = {str(new): str(old) for old, new in renamed.items()}
        if self.memory is not None:
            self.memory.rename(renamed)
        new = renamed.values()
        self._open = {str(one): one for one in (*(one for one in self.open if one.tag is not None), *new)}
        return list(new)

    def _close(self, destination: str) -> float:
        if self._open.pop(destination, None) is None:
            raise RuntimeError(f"{destination} has an outcome already")
        if not self._open:
            self.settled.set()
        return self.seconds
