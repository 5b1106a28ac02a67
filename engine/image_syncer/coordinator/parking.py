"""Images that are not begun, because a registry that they need is down. They keep nobody's place, and little memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from image_syncer.config import Only
from image_syncer.coordinator.ledger import not_begun
from image_syncer.coordinator.retry_facts import image_facts
from image_syncer.errors import Origin
from image_syncer.telemetry import ImageResult, Outcome
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from image_syncer.config import ReferrerSelection
    from image_syncer.config.model import Pin
    from image_syncer.coordinator.ledger import Ledger
    from image_syncer.oci import PlatformFilter, Reference
    from image_syncer.planning import Breakers

__all__ = ["Parking", "PlannedImage"]


class PlannedImage(Value, frozen=True):
    """An image that is owed an outcome at each of its destinations; `wanted` are its platforms, `referrers` what its
    rule says of those (None: nothing), `only` at which of its destinations it is copied, `pin` what a plan says of it.
    """

    source: Reference
    destinations: tuple[Reference, ...]
    wanted: PlatformFilter
    referrers: ReferrerSelection | None = None
    only: Only = Only.ALL
    pin: Pin | None = None

    @property
    def registries(self) -> frozenset[str]:
        """All that it needs."""
        return frozenset((self.source.repository.registry, *(one.repository.registry for one in self.destinations)))

    @property
    def facts(self) -> dict[str, Any] | None:
        """What the report has to say of it where it was not tried."""
        return image_facts(self.wanted.platforms, self.referrers, self.only)


class Parking:
    """`on_first(registry)` is called when images begin to wait for that registry."""

    def __init__(self, breakers: Breakers, ledger: Ledger, on_first: Callable[[str], None]) -> None:
        self._breakers = breakers
        self._ledger = ledger
        self._on_first = on_first
        self._parked: dict[str, list[PlannedImage]] = {}

    def sort_out(self, image: PlannedImage) -> PlannedImage | None:
        """What of `image` can be begun. What needs a registry that is down is parked; what needs one that was given up
        has its outcome with that.
        """
        troubled = self._breakers.troubled
        if not troubled:
            return image  # nearly always
        at_source = image.source.repository.registry
        held: dict[str, list[Reference]] = {}
        for destination in image.destinations:
            registry = destination.repository.registry
            if at_source in troubled or registry in troubled:
                held.setdefault(at_source if at_source in troubled else registry, []).append(destination)
        for registry, destinations in held.items():
            rest = replace(image, destinations=tuple(destinations))
            if self._breakers.is_given_up(registry):
                self._enter_given_up(rest, registry)
            else:
                self._park(rest, registry)
        ready = tuple(one for one in image.destinations if not any(one in some for some in held.values()))
        return replace(image, destinations=ready) if ready else None

    def take(self, registry: str) -> list[PlannedImage]:
        """Those that wait for `registry`, which wait no more."""
        return self._parked.pop(registry, [])

    def close(self, reason: str) -> None:
        """The run ends: what waits was not tried."""
        for registry in list(self._parked):
            self.enter_not_tried(self.take(registry), reason)

    def enter_not_tried(self, images: Iterable[PlannedImage], reason: str) -> None:
        """These will not be begun."""
        for image in images:
            for destination in image.destinations:
                result = ImageResult(
                    str(image.source), str(destination), Outcome.NOT_TRIED, reason=reason, rule=image.facts
                )
                self._ledger.enter(result)

    def _park(self, image: PlannedImage, registry: str) -> None:
        if registry not in self._parked:
            self._parked[registry] = []
            self._on_first(registry)
        self._parked[registry].append(image)

    def _enter_given_up(self, image: PlannedImage, registry: str) -> None:
        is_source = image.source.repository.registry == registry
        for destination in image.destinations:
            error = self._breakers.of(registry).down_error()
            error.origin = Origin.SOURCE if is_source else Origin.DESTINATION
            where = image.source if is_source else destination
            error.located(repository=str(where.repository), reference=where.target)
            self._ledger.enter(not_begun(image.source, destination, error, rule=image.facts))
