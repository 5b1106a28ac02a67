"""Outcome: how one image of a run ended, for people, for the report and for `on_image`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from image_syncer.values import TextEnum, Value, as_dict

if TYPE_CHECKING:
    from collections.abc import Mapping


class Outcome(TextEnum):
    """The outcome of an image; each image of a run has exactly one."""

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
    """One difference between a destination and what it should have.

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
        """Return the difference as plain data."""
        return as_dict(self)


class ImageResult(Value, frozen=True):
    """One image and one destination, and how it ended. Sizes are bytes, times seconds.

    `source` and `destination` are whole references ("docker.io/library/nginx:1.27"). `reason` is a phrase after the
    outcome ("no platform of the filter is in it"); `error` is `SyncError.to_data()` of a failure. `bytes_total` is what
    had to move for this image and for no other one of the run (in a dry run: would have to). Digests are those of the
    manifest; they differ only after a platform filter or a conversion. `replaced_digest` is another digest that the
    destination had under the tag before (in a dry run: has), `source_moved` another one that the source had after the
    copy. `ahead` is the newer side ("source", "destination", "unknown"), and `ahead_because` why, where a dry run found
    that out. `referrer_of` is the manifest at the source whose referrer this image is. `rule` is what a retry of a
    failure needs beyond the names (`coordinator/parking.py`). A verified image has `differences`, if there are any,
    and what was checked for it and for no other image.
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
        """The image at the destination by its digest ("host/repository@sha256:…"); None where it is not there."""
        if not self.outcome.is_as_wanted or self.destination_digest is None:
            return None
        name, at, _ = self.destination.partition("@")
        return f"{name if at else name.rpartition(':')[0]}@{self.destination_digest}"

    def as_data(self) -> dict[str, Any]:
        """Return the result and `pinned` as plain data for the JSON report, without what is None."""
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
