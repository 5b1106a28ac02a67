"""Who waits for blobs: deliveries, and how many blobs each of them still lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from image_syncer.planning.blob_set import Target

__all__ = ["Deliveries"]


class Deliveries:
    """Deliveries by their numbers; one that was dropped, or has all, is not in here."""

    def __init__(self) -> None:
        self._awaited: dict[int, int] = {}

    def __contains__(self, delivery: int) -> bool:
        return delivery in self._awaited

    def __len__(self) -> int:
        return len(self._awaited)

    def add(self, delivery: int) -> None:
        """It waits for one more blob."""
        self._awaited[delivery] = self._awaited.get(delivery, 0) + 1

    def drop(self, delivery: int) -> None:
        """It waits for nothing more."""
        self._awaited.pop(delivery, None)

    def want(self, target: Target) -> bool:
        """Whether anyone waits for `target`."""
        for delivery in target.deliveries:  # noqa: SIM110 - runs for every job, and a generator costs more
            if delivery in self._awaited:
                return True
        return False

    def settle(self, target: Target) -> list[int]:
        """`target` has an outcome: those that still waited for it, in the order they came."""
        waiting = [delivery for delivery in target.deliveries if delivery in self._awaited]
        for delivery in waiting:
            self._awaited[delivery] -= 1
            if not self._awaited[delivery]:
                del self._awaited[delivery]
        return waiting
