"""Findings: what came of the check of one image at one destination."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from image_syncer.errors import IntegrityError, Origin, SyncError

if TYPE_CHECKING:
    from image_syncer.oci import Digest
    from image_syncer.telemetry import Difference

__all__ = ["Findings"]


class Findings(Struct):
    """What came of the check of one image. `root` is the digest that the destination has under the image's name.

    `manifests`, `blobs` and `bytes_read` count what was asked for because of this image, and not because of another.
    """

    root: Digest | None = None
    differences: tuple[Difference, ...] = ()
    error: SyncError | None = None
    manifests: int = 0
    blobs: int = 0
    bytes_read: int = 0

    @property
    def reason(self) -> str:
        """The first difference in words, and how many more there are."""
        more = len(self.differences) - 1
        return f"{self.differences[0]}" + (f" (and {more:,} more)" if more else "")

    def raise_if_wrong(self) -> None:
        """Raises `IntegrityError` where there are differences, and the error that kept them from being looked for."""
        if self.differences:
            first = self.differences[0]
            raise IntegrityError(
                f"what was copied is not all there: {self.reason}",
                origin=Origin.DESTINATION,
                operation="verify",
                expected=first.expected,
                actual=first.found,
                hint="The registry took it and does not have it now. Run it again with --force, and ask its operator.",
            )
        if self.error is not None:
            raise self.error

    def facts(self) -> dict[str, Any]:
        """The same for the report."""
        facts: dict[str, Any] = {
            "manifests_checked": self.manifests,
            "blobs_checked": self.blobs,
            "bytes_read": self.bytes_read,
        }
        if self.differences:
            facts["differences"] = self.differences
        return facts
