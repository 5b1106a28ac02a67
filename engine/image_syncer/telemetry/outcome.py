"""Outcome: how one image of a run ended, for people, for the report and for `on_image`."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from image_syncer.values import Value, as_dict

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Difference", "ImageResult", "Outcome"]


class Outcome(str, Enum):
    """How an image ended. Every image of a run ends as exactly one of these."""

    COPIED = "copied"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    FAILED = "failed"
    NOT_TRIED = "not tried"
    PLANNED = "would be copied"
    EQUAL = "equal"
    DIFFERENT = "different"
    UNCHECKED = "not checked"
    SELECTED = "selected"

    def __str__(self) -> str:
        return self.value

    @property
    def is_as_wanted(self) -> bool:
        """Whether the destination now holds what the source holds."""
        return self in (Outcome.COPIED, Outcome.UNCHANGED, Outcome.EQUAL)

    @property
    def is_failure(self) -> bool:
        """Whether the user asked for this image and does not have it (a dry run asks for nothing)."""
        return self in (Outcome.FAILED, Outcome.NOT_TRIED, Outcome.DIFFERENT, Outcome.UNCHECKED)

    @property
    def is_of_verification(self) -> bool:
        """Whether only `verify` or `prune` gives this outcome."""
        return self in (Outcome.EQUAL, Outcome.DIFFERENT, Outcome.UNCHECKED, Outcome.SELECTED)


class Difference(Value, frozen=True):
    """One thing that is not at a destination as it should be.

    `what` is "tag", "manifest" or "blob", `where` its whole name; `expected` and `found` are digests or sizes, or words
    ("nothing").
    """

    what: str
    where: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.what} {self.where}: expected {self.expected}, found {self.found}"

    def as_data(self) -> dict[str, str]:
        """The difference as plain data."""
        return as_dict(self)


class ImageResult(Value, frozen=True):
    """One image and one destination, and how it ended. Sizes are bytes, times seconds.

    `source` and `destination` are whole references ("docker.io/library/nginx:1.27"). `reason` is a phrase
    that follows the outcome ("no platform of the filter is in it"); `error` is `SyncError.to_data()` of a
    failure. `bytes_total` is what had to move for this image (in a dry run: would have to); what another
    image of the run moves is not in it. Digests are those of the manifest; they differ only where a
    platform filter rewrote an index, or it was converted. `replaced_digest` is what the destination had under the tag
    before (in a dry run: has), where that is another. `source_moved` is what the source had under the tag after the
    copy, where it was asked again, and that is no longer what was copied. `ahead` is the side that has moved on
    ("source", "destination", "unknown"), and `ahead_because` why, where a dry run had to find that out.
    `referrer_of` is the manifest at the source to which it belongs, where it was carried along with that.
    `rule` is what a retry of a failure has to know beyond the names (`coordinator/retry_facts.py`).
    What was verified has `differences`, if there are any, and says how much was asked for because of this image, and of
    no other.
    """

    source: str
    destination: str
    outcome: Outcome
    reason: str | None = None
    source_digest: str | None = None
    destination_digest: str | None = None
    replaced_digest: str | None = None
    ahead: str | None = None
    ahead_because: str | None = None
    source_moved: str | None = None
    referrer_of: str | None = None
    bytes_moved: int = 0
    bytes_total: int = 0
    blobs_moved: int = 0
    blobs_mounted: int = 0
    blobs_present: int = 0
    seconds: float = 0
    tries: int = 1
    error: Mapping[str, Any] | None = None
    differences: tuple[Difference, ...] | None = None
    manifests_checked: int | None = None
    blobs_checked: int | None = None
    bytes_read: int | None = None
    rule: Mapping[str, Any] | None = None

    @property
    def pinned(self) -> str | None:
        """What the destination has, by its digest ("host/repository@sha256:…"); None where it does not have it."""
        if not self.outcome.is_as_wanted or self.destination_digest is None:
            return None
        name, at, _ = self.destination.partition("@")
        return f"{name if at else name.rpartition(':')[0]}@{self.destination_digest}"

    def as_data(self) -> dict[str, Any]:
        """The result as plain data for the JSON report, `pinned` with it; what is not known (None) is left out."""
        data = {name: value for name, value in as_dict(self).items() if value is not None}
        if self.pinned is not None:
            data["pinned"] = self.pinned
        data["outcome"] = self.outcome.value
        data["seconds"] = round(self.seconds, 3)
        if self.error is not None:
            data["error"] = dict(self.error)
        if self.differences is not None:
            data["differences"] = [difference.as_data() for difference in self.differences]
        return data
