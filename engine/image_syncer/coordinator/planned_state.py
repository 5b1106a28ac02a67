"""An image of a plan while it is carried out: what was planned is what is done, and where the world has moved on since
then is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from image_syncer.errors import Origin, RefusedError
from image_syncer.registry import Operation
from image_syncer.values import replace

if TYPE_CHECKING:
    from image_syncer.config.model import Pin
    from image_syncer.oci import Digest, Reference
    from image_syncer.registry import ManifestHead

__all__ = ["PlannedState"]

_AGAIN = "Make the plan again, or run the sync without it."


class PlannedState:
    """What the plan says of one image, and what was found instead."""

    def __init__(self, pin: Pin) -> None:
        self._pin = pin
        self._moved: Digest | None = None

    def hold(self, head: ManifestHead) -> ManifestHead:
        """What the source is to be taken for, where it says `head`."""
        if head.digest == self._pin.source:
            return head
        self._moved = head.digest
        return replace(head, digest=self._pin.source, media_type=None)

    def check(self, destination: Reference, digest: Digest) -> None:
        """Raises RefusedError where something else would be pushed than was planned."""
        planned = self._pin.digests.get(str(destination))
        if planned is not None and planned != digest:
            raise RefusedError(
                f"the plan has {planned} for it, and with what is given now it would be {digest}",
                origin=Origin.DESTINATION,
                operation=Operation.PUT_MANIFEST.value,
                hint=f"Platforms, formats and the files have to be those of the plan. {_AGAIN}",
            )

    def facts(self, destination: Reference, there: Digest | None) -> dict[str, Any]:
        """What the report says of it: the tag that has moved at the source, the destination that has other content than
        when the plan was made.
        """
        facts: dict[str, Any] = {}
        if self._moved is not None:
            facts["source_moved"] = str(self._moved)
        name = str(destination)
        if name in self._pin.there and self._pin.there[name] != there:
            before, now = (str(digest or "nothing") for digest in (self._pin.there[name], there))
            facts["reason"] = f"the destination had {before} when the plan was made, and {now} before this run"
        return facts
