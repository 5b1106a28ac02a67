"""Which repositories will probably lack the next blob."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.planning import Arrival

if TYPE_CHECKING:
    from image_syncer.oci import Repository
    from image_syncer.worker.messages import TargetPlace

__all__ = ["FreshRepositories"]


class FreshRepositories:
    """Which destination repositories had not the last blob that was brought to them: they will lack the next one too.

    The first blob of a repository is asked for before it is fetched, and so is one that could be mounted, but for those
    that the registry has said are absent.
    """

    def __init__(self) -> None:
        self._fresh: set[Repository] = set()

    def expect(self, targets: tuple[TargetPlace, ...]) -> bool:
        """Whether a blob for these targets will probably have to be sent to one of them."""
        return any(one.absent or (one.repository in self._fresh and not one.mounts) for one in targets)

    def learn(self, target: TargetPlace, arrival: Arrival | None) -> None:
        """What became of a blob on its way to `target`."""
        if arrival is Arrival.MOVED:
            self._fresh.add(target.repository)
        elif arrival is not None:
            self._fresh.discard(target.repository)
