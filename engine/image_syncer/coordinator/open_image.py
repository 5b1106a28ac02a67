"""One source image under way: its destinations without an outcome, what the journal and a plan say of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from image_syncer.config import Only
from image_syncer.coordinator.ledger import failed
from image_syncer.errors import Origin, RefusedError
from image_syncer.oci import Reference, is_place
from image_syncer.registry import Operation
from image_syncer.telemetry import ImageResult, Outcome
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from image_syncer.config import ReferrerSelection
    from image_syncer.config.model import Pin
    from image_syncer.coordinator.ledger import Ledger
    from image_syncer.errors import SyncError
    from image_syncer.journal.journal import Journal
    from image_syncer.journal.records import DoneImage
    from image_syncer.oci import Digest, Platform, PlatformFilter
    from image_syncer.registry import ManifestHead


BY_JOURNAL = "the journal has it; the destination was not asked"
"""The reason of an image that an earlier run has copied."""


class ImageMemory:
    """One image in the journal, with the platforms that are `wanted` of it.

    `recalled` are its destinations that an earlier run has written from this source with these platforms. What the
    journal says of its other destinations is revoked, and `settled` returns once that is on the disk.
    """

    def __init__(
        self, journal: Journal, source: Reference, destinations: Iterable[Reference], wanted: PlatformFilter
    ) -> None:
        self._journal = journal
        self._source = source
        self._wanted = "" if wanted.is_empty else repr(wanted)
        self._names = {destination: destination for destination in destinations}
        """The name of a destination in the journal: a platform filter may rename one without a tag."""
        self._revoked = False
        self.recalled: dict[Reference, DoneImage] = {}
        for destination in self._names:
            done = journal.recall(destination)
            if done is None or is_place(destination.repository.registry):  # asking there is cheap; files get removed
                continue
            if (done.source, done.wanted) == (str(source), self._wanted):
                self.recalled[destination] = done
            else:
                self.revoke(destination)

    def revoke(self, destination: Reference) -> None:
        """Remove `destination` from the journal."""
        self.recalled.pop(destination, None)
        self._journal.revoke(self._names[destination])
        self._revoked = True

    def rename(self, renamed: Mapping[Reference, Reference]) -> None:
        """Note the new references of destinations without a tag."""
        for former, destination in renamed.items():
            self._names[destination] = self._names.pop(former)

    async def settled(self) -> None:
        """Return once nothing that was revoked can be read from the disk."""
        if self._revoked:
            await self._journal.flush()

    def note(self, destination: Reference, result: ImageResult) -> None:
        """Note the `result` of `destination`."""
        if result.outcome.is_as_wanted and destination not in self.recalled:
            self._journal.note_done(self._source, self._names[destination], self._wanted, result)


class PlannedState:
    """What a plan says of one image. The run does what was planned, and reports what has changed since."""

    def __init__(self, pin: Pin) -> None:
        self._pin = pin
        self._moved: Digest | None = None

    def hold(self, head: ManifestHead) -> ManifestHead:
        """Return `head`, the answer of the source, with the digest that was planned."""
        if head.digest == self._pin.source:
            return head
        self._moved = head.digest
        return replace(head, digest=self._pin.source, media_type=None)

    def check(self, destination: Reference, digest: Digest) -> None:
        """Raise RefusedError where `digest` is not what was planned for `destination`."""
        planned = self._pin.digests.get(str(destination))
        if planned is not None and planned != digest:
            raise RefusedError(
                f"the plan has {planned} for it, and with what is given now it would be {digest}",
                origin=Origin.DESTINATION,
                operation=Operation.PUT_MANIFEST.value,
                hint="Platforms, formats and the files have to be those of the plan. "
                "Make the plan again, or run the sync without it.",
            )

    def facts(self, destination: Reference, there: Digest | None) -> dict[str, Any]:
        """Return what the report says of changes since the plan: at the source, and at `destination`."""
        facts: dict[str, Any] = {}
        if self._moved is not None:
            facts["source_moved"] = str(self._moved)
        name = str(destination)
        if name in self._pin.there and self._pin.there[name] != there:
            before, now = (str(digest or "nothing") for digest in (self._pin.there[name], there))
            facts["reason"] = f"the destination had {before} when the plan was made, and {now} before this run"
        return facts


class OpenImage:
    """Enters each destination of one image into the ledger exactly once; a second outcome raises RuntimeError.

    `arrived` are the destinations that have the image, or would have it (in a dry run). With `holds`, a destination
    that has the image is entered when it is released: its referrers are still to be copied.
    """

    def __init__(
        self,
        planned: RequestedImage,
        ledger: Ledger,
        memory: ImageMemory | None = None,
        *,
        referrer_of: str | None = None,
        holds: bool = False,
    ) -> None:
        self.source = planned.source
        self.wanted = planned.wanted
        self.only = planned.only
        self.plan = PlannedState(planned.pin) if planned.pin is not None else None
        self.memory = memory
        self.referrer_of = referrer_of
        """The image with which this one is copied, if it is a referrer."""
        self._rule = planned.facts
        self._open = {str(destination): destination for destination in planned.destinations}
        self._planned_as: dict[str, str] = {}
        self._ledger = ledger
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._holds = holds
        self._held: dict[Reference, ImageResult] = {}
        self.arrived: list[Reference] = []
        self.settled = asyncio.Event()
        """Set when every destination has an outcome."""

    @property
    def open(self) -> list[Reference]:
        """The destinations without an outcome."""
        return list(self._open.values())

    @property
    def held(self) -> list[Reference]:
        """The destinations that have the image and are not entered yet."""
        return list(self._held)

    @property
    def seconds(self) -> float:
        """Seconds since the image was begun."""
        return self._clock() - self._began

    def enter(self, destination: Reference, outcome: Outcome, **facts: Any) -> None:
        """End `destination` with `outcome`; `facts` are further fields of its `ImageResult`."""
        name = str(destination)
        seconds = self._close(name)
        rule = self._rule if outcome.is_failure or outcome is Outcome.PLANNED else None  # for a later run that does it
        result = ImageResult(
            str(self.source), name, outcome, seconds=seconds, rule=rule, referrer_of=self.referrer_of, **facts
        )
        if outcome.is_as_wanted or outcome is Outcome.PLANNED:
            self.arrived.append(destination)
        if outcome.is_as_wanted and self._holds:
            self._held[destination] = result
        else:
            self._enter(destination, result)

    def enter_all(self, outcome: Outcome, reason: str | None, **facts: Any) -> None:
        """End all open destinations with the same outcome."""
        for destination in self.open:
            self.enter(destination, outcome, reason=reason, **facts)

    def enter_unchanged(
        self, present: Mapping[Reference, Digest | None], digest: Digest, source_digest: Digest
    ) -> None:
        """End the open destinations at which `digest` is `present`."""
        facts = {"source_digest": str(source_digest), "destination_digest": str(digest)}
        for destination in self.open:
            if present.get(destination) == digest:
                self.enter(destination, Outcome.UNCHANGED, **facts)

    def enter_recalled(self, memory: ImageMemory, head: ManifestHead | None = None) -> list[Reference]:
        """End the destinations that `memory` recalls; with `head`, only those where it is the digest that was copied.
        Revoke and return the others.
        """
        moved = []
        for destination, done in list(memory.recalled.items()):
            if head is not None and str(head.digest) != done.source_digest:
                memory.revoke(destination)
                moved.append(destination)
                continue
            facts = {"source_digest": done.source_digest, "destination_digest": done.destination_digest}
            self.enter(destination, Outcome.UNCHANGED, reason=BY_JOURNAL, **facts)
        return moved

    def leave_missing(self, present: Mapping[Reference, Digest | None]) -> None:
        """Skip the destinations without the tag: the rule copies only what changed."""
        for destination in self.open:
            if present.get(destination) is None:
                reason = "the destination does not have the tag, and the rule has `only: changed`"
                self.enter(destination, Outcome.SKIPPED, reason=reason)

    def leave_changed(self, present: Mapping[Reference, Digest | None], digest: Digest) -> None:
        """Skip the destinations that have the tag with another digest: the rule copies only what is missing."""
        for destination in self.open:
            if (there := present.get(destination)) not in (None, digest):
                reason = f"the destination has the tag ({there}), and the rule has `only: missing`"
                self.enter(destination, Outcome.SKIPPED, reason=reason)

    def fail(self, destination: Reference, error: SyncError, **facts: Any) -> None:
        """End `destination` with `error`."""
        name = str(destination)
        common: dict[str, Any] = {
            "seconds": self._close(name),
            "rule": self._rule,
            "referrer_of": self.referrer_of,
        }
        result = failed(self.source, destination, error, **common, **facts)
        self._ledger.enter(result, planned_as=self._planned_as.get(name))

    def fail_delivery(self, destination: Reference, error: SyncError, **facts: Any) -> None:
        """End `destination` with `error`, which names the reference of the side on which it happened."""
        where = self.source if error.origin is Origin.SOURCE else destination
        places = {"repository": str(where.repository), "reference": where.target}
        self.fail(destination, error.located(origin=Origin.DESTINATION, **places), **facts)

    def fail_all(self, error: SyncError) -> None:
        """End all open destinations with `error`."""
        error = error.located(repository=str(self.source.repository), reference=self.source.target)
        for destination in self.open:
            self.fail(destination, error)

    def release(self, destination: Reference, error: SyncError | None = None) -> None:
        """Enter a held destination; as failed, where there is an `error`."""
        result = self._held.pop(destination)
        if error is not None:
            new = failed(self.source, destination, error)
            result = replace(
                result, outcome=new.outcome, reason=new.reason, error=new.error, tries=new.tries, rule=self._rule
            )
        self._enter(destination, result)

    def release_all(self) -> None:
        """Enter all held destinations."""
        for destination in self.held:
            self.release(destination)

    def leave(self, reason: str) -> None:
        """End every destination that is open or held as not tried: the run ends."""
        self.enter_all(Outcome.NOT_TRIED, reason)
        for destination in self.held:
            result = replace(self._held.pop(destination), outcome=Outcome.NOT_TRIED, reason=reason, rule=self._rule)
            self._enter(destination, result)

    def rename(self, digest: Digest) -> list[Reference]:
        """Name the open destinations without a tag by `digest`, and return them."""
        renamed = {one: Reference(one.repository, None, digest) for one in self.open if one.tag is None}
        self._planned_as = {str(new): str(old) for old, new in renamed.items()}
        if self.memory is not None:
            self.memory.rename(renamed)
        tagged = [one for one in self.open if one.tag is not None]
        self._open = {str(one): one for one in (*tagged, *renamed.values())}
        return list(renamed.values())

    def _enter(self, destination: Reference, result: ImageResult) -> None:
        if self.memory is not None:
            self.memory.note(destination, result)
        self._ledger.enter(result, planned_as=self._planned_as.get(str(destination)))

    def _close(self, destination: str) -> float:
        """Remove `destination` from the open ones; return how long the image took."""
        if self._open.pop(destination, None) is None:
            raise RuntimeError(f"{destination} has an outcome already")
        if not self._open:
            self.settled.set()
        return self.seconds


def image_facts(
    platforms: Iterable[Platform], referrers: ReferrerSelection | None = None, only: Only = Only.ALL
) -> dict[str, Any] | None:
    """Return what `retry` needs to know of the rule of an image; None where the rule has nothing of its own."""
    facts: dict[str, Any] = {}
    if names := [str(platform) for platform in platforms]:
        facts["platforms"] = names
    if referrers is not None:
        facts["referrers"] = str(referrers)
    if only is not Only.ALL:
        facts["only"] = str(only)
    return facts or None


class RequestedImage(Value, frozen=True):
    """An image that is owed an outcome at each of its destinations, with what its rule says of it: the platforms that
    are `wanted`, its `referrers` (None: as the settings say), `only` at which destinations it is copied. `pin` is what
    a plan says of it.
    """

    source: Reference
    destinations: tuple[Reference, ...]
    wanted: PlatformFilter
    referrers: ReferrerSelection | None = None
    only: Only = Only.ALL
    pin: Pin | None = None

    @property
    def registries(self) -> frozenset[str]:
        """The registries that it needs."""
        return frozenset((self.source.repository.registry, *(one.repository.registry for one in self.destinations)))

    @property
    def facts(self) -> dict[str, Any] | None:
        """The facts of its rule for the report."""
        return image_facts(self.wanted.platforms, self.referrers, self.only)
