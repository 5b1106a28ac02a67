"""Events of a run, told to whoever wants them; where nobody does, they are not made."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from image_syncer.planning import BreakerState
from image_syncer.telemetry.events import (
    ImageEnded,
    ProgressMade,
    RegistryBack,
    RegistryDown,
    RegistryGivenUp,
    RunEnded,
    TransferEnded,
    Warned,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from image_syncer.planning import Breaker, Breakers
    from image_syncer.telemetry import ImageResult, Report, Snapshot, TransferRecord
    from image_syncer.telemetry.events import Event

__all__ = ["EventTeller"]

_Told = TypeVar("_Told")


class EventTeller:
    """Makes events of what the parts of a run tell. Each method that takes a listener gives the one that is to be told
    in its place.

    An `on_event` that raises is told nothing more but the end; `on_failure` gets what it raised.
    """

    def __init__(self, on_event: Callable[[Event], None] | None, *, on_failure: Callable[[Exception], None]) -> None:
        self._on_event = on_event
        self._on_failure = on_failure
        self._has_failed = False
        self._warnings_told = 0

    def images(self, on_image: Callable[[ImageResult], None] | None) -> Callable[[ImageResult], None] | None:
        """For each image that ends."""
        return self._both(ImageEnded, on_image)

    def progress(self, on_progress: Callable[[Snapshot], None] | None) -> Callable[[Snapshot], None] | None:
        """For each snapshot."""
        return self._both(ProgressMade, on_progress)

    def transfers(
        self, on_transfer: Callable[[TransferRecord], None] | None
    ) -> Callable[[TransferRecord], None] | None:
        """For each transfer that ends."""
        return self._both(TransferEnded, on_transfer)

    def listen(self, breakers: Breakers) -> None:
        """Tells of registries that are down, back or given up. To be called after those who say since when."""
        if self._on_event is not None:
            breakers.listen(self._on_breaker)

    def tell_warnings(self, warnings: Sequence[str]) -> None:
        """Tells those that came since it was called last; `warnings` only grows."""
        if self._on_event is None:
            return
        new, self._warnings_told = warnings[self._warnings_told :], len(warnings)
        for text in new:
            self._tell(Warned(text))

    def tell_end(self, report: Report) -> None:
        """The run is over. What `on_event` raises now is for the caller of the run."""
        self.tell_warnings(report.warnings)
        if self._on_event is not None:
            self._on_event(RunEnded(report))

    def _on_breaker(self, breaker: Breaker) -> None:
        if breaker.state is BreakerState.OPEN:
            self._tell(RegistryDown(breaker.registry, breaker.since))
        elif breaker.state is BreakerState.GIVEN_UP:
            self._tell(RegistryGivenUp(breaker.registry, breaker.down_error().message))
        else:
            self._tell(RegistryBack(breaker.registry))

    def _tell(self, event: Event) -> None:
        if self._on_event is None or self._has_failed:
            return
        try:
            self._on_event(event)
        except Exception as error:  # noqa: BLE001 - it is the listener's, and what is under way is not to be lost
            self._has_failed = True
            self._on_failure(error)

    def _both(
        self, event_of: Callable[[_Told], Event], listener: Callable[[_Told], None] | None
    ) -> Callable[[_Told], None] | None:
        if self._on_event is None:
            return listener

        def tell_both(told: _Told) -> None:
            self._tell(event_of(told))
            if listener is not None:
                listener(told)

        return tell_both
