"""Conflicts: tags that have other content at the destination, and what the user wants done about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.config import ConflictPolicy, OnConflict
from image_syncer.errors import Origin, RefusedError
from image_syncer.oci import Reference
from image_syncer.registry import Operation
from image_syncer.telemetry import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from image_syncer.coordinator.discovery import Discovery
    from image_syncer.coordinator.open_image import OpenImage
    from image_syncer.coordinator.publisher import Publisher
    from image_syncer.oci import Digest

__all__ = ["Conflicts", "leave_missing", "leave_there"]

_DIGEST_CHARACTERS = 12


def leave_missing(image: OpenImage, present: Mapping[Reference, Digest | None]) -> None:
    """End `image` where nothing is: its rule takes only what changed."""
    for destination in image.open:
        if present.get(destination) is None:
            reason = "the destination does not have the tag, and the rule has `only: changed`"
            image.enter(destination, Outcome.SKIPPED, reason=reason)


def leave_there(image: OpenImage, changed: Mapping[Reference, Digest | None]) -> None:
    """End `image` where something else is: its rule takes only what is missing."""
    for destination in image.open:
        if (there := changed.get(destination)) is not None:
            reason = f"the destination has the tag ({there}), and the rule has `only: missing`"
            image.enter(destination, Outcome.SKIPPED, reason=reason)


class Conflicts:
    """Carries out `policy`. `began` is when the run did, in UTC; backups are named after it."""

    def __init__(self, policy: OnConflict, discovery: Discovery, publisher: Publisher, began: datetime) -> None:
        self._policy = policy
        self._discovery = discovery
        self._publisher = publisher
        self._began = began
        self._written: set[int] = set()  # hashes of the tags that this run writes
        self._kept: dict[Reference, Digest] = {}

    @property
    def overwrites(self) -> bool:
        """Whether it does not matter what is there."""
        return self._policy.policy is ConflictPolicy.OVERWRITE

    def settle(self, image: OpenImage, present: dict[Reference, Digest | None]) -> None:
        """End `image` where its tag has other content, and is to stay as it is. What is the same has ended before."""
        policy = self._policy.policy
        if policy not in (ConflictPolicy.SKIP, ConflictPolicy.FAIL):
            return
        for destination in image.open:
            there = present.get(destination)
            if there is None or destination.digest is not None:
                continue
            what = f"the tag has other content at the destination ({there})"
            if policy is ConflictPolicy.SKIP:
                image.enter(destination, Outcome.SKIPPED, reason=f"{what}, and is left as it is")
                continue
            error = RefusedError(
                f"{what}, and --on-conflict fail lets none be overwritten",
                origin=Origin.DESTINATION,
                operation=Operation.PUT_MANIFEST.value,
                repository=str(destination.repository),
                reference=destination.target,
                hint="Remove the tag there, or choose another policy: --on-conflict overwrite, skip or backup.",
            )
            image.fail(destination, error)

    async def keep(self, destination: Reference, there: Digest | None) -> str | None:
        """Keep what is at `destination` under another tag, where it is about to be overwritten; that tag, if so.

        Raises RefusedError where the other tag is taken, also by an image of this run, and what registries have
        against it.
        """
        if self._policy.policy is not ConflictPolicy.BACKUP or destination.tag is None:
            return None
        if destination in self._kept:
            raise self._refused(destination, "the tag keeps what was under another one before this run")
        self._written.add(hash(destination))
        if there is None:
            return None
        try:
            tag = self._policy.name_backup(
                tag=destination.tag,
                digest=there.hex[:_DIGEST_CHARACTERS],
                date=self._began.strftime("%Y%m%d"),
                time=self._began.strftime("%H%M%S"),
            )
        except ValueError as error:
            raise self._refused(destination, f"what is there cannot be kept: {error}") from None
        backup = Reference(destination.repository, tag, None)
        # Nothing is awaited between these looks and the claim, so two images cannot both find the tag free.
        if hash(backup) in self._written:
            raise self._refused(destination, f"what is there cannot be kept: this run writes the tag {tag} itself")
        if self._kept.setdefault(backup, there) != there:
            raise self._refused(destination, f"what is there cannot be kept: the tag {tag} keeps something else")
        taken = await self._discovery.head_destination(backup, surely=True)
        if taken == there:
            return tag  # an earlier try has put it
        if taken is not None:
            raise self._refused(destination, f"what is there cannot be kept: the tag {tag} has other content")
        manifest = await self._discovery.get_destination(destination.repository, there)
        await self._publisher.put(destination.repository, manifest, tag)
        return tag

    def _refused(self, destination: Reference, what: str) -> RefusedError:
        return RefusedError(
            what,
            origin=Origin.DESTINATION,
            operation=Operation.PUT_MANIFEST.value,
            repository=str(destination.repository),
            reference=destination.target,
            hint=f"Choose another tag for backups: --on-conflict backup:TAG, now {self._policy.backup_tag}.",
        )
