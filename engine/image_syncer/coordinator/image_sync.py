"""One image: from its tag at the source to an outcome at each of its destinations.

DestinationHeads: what is at the destinations of an image now, asked at all of them at once.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from image_syncer.config import NO_REFERRERS, Only
from image_syncer.coordinator.conflicts import Conflicts, leave_missing, leave_there
from image_syncer.coordinator.foreign_layers import refuse_foreign
from image_syncer.coordinator.guard import TaskWatch
from image_syncer.coordinator.image_delivery import ImageDelivery
from image_syncer.coordinator.image_memory import ImageMemory
from image_syncer.coordinator.image_outcomes import enter_recalled, enter_unchanged, fail, fail_delivery
from image_syncer.coordinator.open_image import OpenImage
from image_syncer.coordinator.planned_state import PlannedState
from image_syncer.errors import AuthenticationError, Origin, SyncError
from image_syncer.oci import Digest, PlatformFilter, Reference
from image_syncer.registry.referrers import is_fallback_tag
from image_syncer.telemetry import Outcome

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from image_syncer.config import ReferrerSelection, Settings
    from image_syncer.coordinator.ahead import AheadLooks
    from image_syncer.coordinator.discovery import Discovery, Selected
    from image_syncer.coordinator.ending import Ending
    from image_syncer.coordinator.ledger import Ledger
    from image_syncer.coordinator.parking import PlannedImage
    from image_syncer.coordinator.plan_maker import PlanMaker
    from image_syncer.coordinator.policy import PolicyGate
    from image_syncer.coordinator.preparation import Preparation
    from image_syncer.coordinator.publisher import Publisher
    from image_syncer.coordinator.referrer_copies import ReferrerCopies
    from image_syncer.coordinator.referrers import FoundReferrers
    from image_syncer.coordinator.transfers import Transfers
    from image_syncer.coordinator.verify_tree import TreeCheck
    from image_syncer.coordinator.watchdog import Watchdog, Watched
    from image_syncer.journal.journal import Journal
    from image_syncer.oci import Manifest
    from image_syncer.planning import ImageTree, KnownBlobs
    from image_syncer.registry import ManifestHead

__all__ = ["DestinationHeads", "ImageSync", "Look"]


Look = tuple[Reference, asyncio.Task[Digest | None]]
"""A destination, and the question what is there."""


class DestinationHeads:
    """Begins and ends them for all images of a run. A repository that is to be created is, where a registry does not
    let one look that is not there; not so in a dry run.
    """

    def __init__(
        self, discovery: Discovery, conflicts: Conflicts, preparation: Preparation | None, *, dry_run: bool
    ) -> None:
        creates = preparation is not None and preparation.creates
        self._discovery = discovery
        self._preparation = None if dry_run else preparation
        self._head = self._head_or_create if creates else discovery.head_destination
        self._surely = not conflicts.overwrites
        self._create_task = asyncio.get_running_loop().create_task

    def begin(self, destinations: list[Reference], *, surely: bool = False) -> list[Look]:
        """One task for each of `destinations`: whoever begins them ends or abandons them. With `surely`, what is not
        found there is not there, whatever is done about conflicts.
        """
        create_task, head, surely = self._create_task, self._head, surely or self._surely
        return [(destination, create_task(head(destination, surely=surely))) for destination in destinations]

    async def _head_or_create(self, destination: Reference, *, surely: bool) -> Digest | None:
        """What is at a destination. Harbor does not let everybody see that a project is missing: it forbids to look."""
        try:
            return await self._discovery.head_destination(destination, surely=surely)
        except AuthenticationError:
            if self._preparation is None or not await self._preparation.create(destination.repository):
                raise
        return await self._discovery.head_destination(destination, surely=surely)

    async def end(self, image: OpenImage, looks: list[Look]) -> dict[Reference, Digest | None]:
        """What is at the destinations now; a destination of `image` whose look fails ends so."""
        present: dict[Reference, Digest | None] = {}
        for destination, look in looks:
            try:
                present[destination] = await look
            except SyncError as error:  # noqa: PERF203 - each has its own
                error.origin = Origin.DESTINATION
                error.located(repository=str(destination.repository), reference=destination.target)
                image.fail(destination, error)
        return present

    def abandon(self, looks: list[Look]) -> None:
        """What has not ended is not wanted any more; and whatever became of the rest, nobody asks."""
        for _, look in looks:
            if not look.done():
                look.cancel()
            elif not look.cancelled():
                look.exception()

    async def retarget(self, image: OpenImage, digest: Digest) -> dict[Reference, Digest | None]:
        """Destinations that are named by digest get the digest of the rewritten index; whether it is there is asked."""
        looks = self.begin(image.rename(digest))
        try:
            return await self.end(image, looks)
        finally:
            self.abandon(looks)


LIST_OF_REFERRERS = "the tag is a list of referrers, which is kept for each image that has some"


class ImageSync:
    """What all images of a run share. Every destination of every image that is started ends with exactly one entry in
    the ledger, also where the work is cancelled before its first step.
    """

    def __init__(
        self,
        discovery: Discovery,
        transfers: Transfers,
        publisher: Publisher,
        ledger: Ledger,
        settings: Settings,
        known_blobs: KnownBlobs,
        *,
        ending: Ending,
        watchdog: Watchdog,
        journal: Journal | None = None,
        check: TreeCheck | None = None,
        preparation: Preparation | None = None,
        referrers: ReferrerCopies | None = None,
        policy: PolicyGate | None = None,
        plan: PlanMaker | None = None,
        ahead: AheadLooks | None = None,
    ) -> None:
        """`check` is asked about every image that was published, before it counts as copied; `preparation` before its
        blobs are brought; `referrers` what else goes with it; `policy` whether it may go at all.
        `plan` takes what a dry run finds, `ahead` says there which side has moved on.
        """
        self._discovery = discovery
        self._transfers = transfers
        self._ledger = ledger
        self._settings = settings
        self._ending = ending
        self._watchdog = watchdog
        self._journal = journal
        self._referrers = referrers
        self._policy = policy
        self._conflicts = conflicts = Conflicts(settings.on_conflict, discovery, publisher, datetime.now(timezone.utc))
        self._looks = DestinationHeads(discovery, conflicts, preparation, dry_run=settings.dry_run)
        self._delivery = ImageDelivery(
            discovery,
            transfers,
            publisher,
            conflicts,
            settings,
            known_blobs,
            ending=ending,
            watchdog=watchdog,
            check=check,
            preparation=preparation,
            plan=plan,
            ahead=ahead,
        )
        self._loop = asyncio.get_running_loop()
        self._under_way: set[OpenImage] = set()

    def start(self, planned: PlannedImage) -> Coroutine[None, None, None]:
        """The work that brings one image to its destinations, and what refers to it."""
        referrers = self._settings.referrers if planned.referrers is None else planned.referrers
        image = self.open(planned, holds=not referrers.is_empty)
        if self._referrers is not None and not referrers.is_empty:
            self._referrers.claim(image)
        return self._run(image, planned.wanted, referrers, planned.only)

    def open(self, planned: PlannedImage, referrer_of: str | None = None, *, holds: bool = False) -> OpenImage:
        """The image of `planned`; from here on it ends in the ledger."""
        source, destinations = planned.source, list(planned.destinations)
        memory = None
        if self._journal is not None:
            memory = ImageMemory(self._journal, source, destinations, planned.wanted)
        image = OpenImage(
            source,
            destinations,
            self._ledger,
            self._loop.time,
            memory,
            planned.facts,
            referrer_of,
            holds=holds,
            plan=PlannedState(planned.pin) if planned.pin is not None else None,
        )
        self._under_way.add(image)
        return image

    async def bring(self, image: OpenImage) -> None:
        """Bring one that was opened to its destinations, and nothing that refers to it; what it holds stays held."""
        await self._run(image, PlatformFilter(), NO_REFERRERS)

    def close(self) -> None:
        """Nothing runs any more: what has no outcome yet was not tried."""
        for image in self._under_way:
            for destination in image.open:
                image.enter(destination, Outcome.NOT_TRIED, reason=self._ending.reason)
            image.leave(self._ending.reason)

    async def _run(
        self, image: OpenImage, wanted: PlatformFilter, referrers: ReferrerSelection, only: Only = Only.ALL
    ) -> None:
        watch = TaskWatch(self._watchdog, f"image {image.source}", "asks both sides for the tag")
        watch.watched.excuse = self._watchdog.turn_at(image.source, *image.open)
        try:
            found = await self._sync(image, wanted, referrers, only, watch.watched)
            if found is not None and self._referrers is not None:
                watch.watched.enter("carries its referrers along", lambda _now: True)  # each is watched for itself
                await self._referrers.carry(self, image, found, referrers)
            elif not referrers.is_empty:
                image.release_all()
        except SyncError as error:
            fail(image, error)
        except asyncio.CancelledError:
            if watch.error is None:
                raise
            fail(image, watch.error)
        finally:
            watch.watched.leave()
        if not (image.open or image.held):
            self._under_way.discard(image)

    async def _sync(
        self, image: OpenImage, wanted: PlatformFilter, referrers: ReferrerSelection, only: Only, watched: Watched
    ) -> FoundReferrers | None:
        """What refers to the image, where that is to be carried along."""
        if self._policy is not None:
            self._policy.settle_by_name(image)
        self._recall(image, referrers)
        if not image.open:
            return None
        head, present = await self._look(image, surely=only is not Only.ALL)
        if image.plan is not None:
            head = image.plan.hold(head)
        if only is Only.CHANGED:
            leave_missing(image, present)
        if head.digest is not None and referrers.is_empty and not self._discovery.rewrites(wanted, head.media_type):
            self._settle_by_digest(image, head.digest, present, only)
        if not image.open:
            return None
        watched.enter("asks the source for the manifest", self._watchdog.turn_at(image.source, *image.open))
        root = await self._discovery.get_root(image.source, head)
        selected = await self._discovery.select(image.source.repository, root, wanted)
        if selected.root is None:
            for destination in image.open:
                image.enter(
                    destination, Outcome.SKIPPED, reason=selected.reason, source_digest=str(selected.source_digest)
                )
            return None
        found = None
        if self._referrers is not None and not referrers.is_empty:
            watched.enter("looks for its referrers", self._watchdog.turn_at(image.source))
            found = await self._referrers.find(image.source.repository, selected, referrers)
        try:
            await self._deliver_to_all(image, selected, selected.root, present, only, watched)
        except SyncError as error:
            fail(image, error)  # not for those that have it: their referrers are carried along
        return found

    def _settle_by_digest(
        self, image: OpenImage, digest: Digest, present: dict[Reference, Digest | None], only: Only
    ) -> None:
        """What can be said of an image of which nothing but the `digest` is known, and nothing else will be written."""
        if not self._settings.force:
            enter_unchanged(image, present, digest, digest)
        if only is Only.MISSING:
            leave_there(image, {place: there for place, there in present.items() if there != digest})
        if image.open and not self._settings.dry_run:
            self._transfers.start()  # something will move: workers start while the manifests are read

    def _recall(self, image: OpenImage, referrers: ReferrerSelection) -> None:
        """What can be said of an image without asking anybody."""
        alone, source = referrers.is_empty, image.source
        if image.memory is not None:
            if self._settings.trust_state or (source.digest is not None and alone):
                enter_recalled(image, image.memory)  # a digest cannot move, and a tag is said to have not
            elif not alone:
                # An image whose referrers cannot be read fails, so it has no outcome before they are.
                for destination in list(image.memory.recalled):
                    image.memory.revoke(destination)
        if not alone and source.tag is not None and is_fallback_tag(source.tag):
            for destination in image.open:
                image.enter(destination, Outcome.SKIPPED, reason=LIST_OF_REFERRERS)

    async def _deliver_to_all(
        self,
        image: OpenImage,
        selected: Selected,
        root: Manifest,
        present: dict[Reference, Digest | None],
        only: Only,
        watched: Watched,
    ) -> None:
        """Bring what was `selected`, with its `root`, to where it is not `present`."""
        watched.enter("asks for the manifest", self._watchdog.turn_at(image.source, *image.open))
        if root.digest != selected.source_digest:
            present.update(await self._looks.retarget(image, root.digest))
        if not self._settings.force:
            enter_unchanged(image, present, root.digest, selected.source_digest)
        changed = {place: there for place, there in present.items() if there != root.digest}
        if only is Only.MISSING:
            leave_there(image, changed)
        self._conflicts.settle(image, changed)
        if not image.open:
            return
        if not self._settings.dry_run:
            self._transfers.start()
        watched.enter("asks the source for the manifests under it", self._watchdog.turn_at(image.source))
        tree = await self._discovery.get_tree(image.source.repository, selected)
        watched.enter("asks what may go out", lambda _now: True)  # programs have an end of their own
        await self._admit(image, selected, tree, changed)
        watched.enter("is being delivered", lambda _now: True)  # each delivery is watched for itself
        deliver = self._delivery.deliver
        await asyncio.gather(*(deliver(image, place, tree, selected, changed.get(place)) for place in image.open))

    async def _admit(
        self, image: OpenImage, selected: Selected, tree: ImageTree, changed: dict[Reference, Digest | None]
    ) -> None:
        """All of the image is known, and nothing of it is on its way: what must not go to a destination ends there."""
        for destination in image.open:
            try:
                refuse_foreign(tree, self._settings.foreign_layers)
                if image.plan is not None:
                    image.plan.check(destination, tree.manifest.digest)
            except SyncError as error:  # noqa: PERF203 - each has its own
                fail_delivery(image, destination, error)
        if self._policy is not None:
            await self._policy.settle(image, selected, tree, changed)

    async def _look(self, image: OpenImage, *, surely: bool) -> tuple[ManifestHead, dict[Reference, Digest | None]]:
        """HEAD on both sides at once. A destination that fails ends here, and leaves the others alone.

        A tag that has not changed is little more than this, so there is one task for each destination, and no other.
        A destination that the journal has is asked only where the source is not what was copied.
        """
        recalled = image.memory.recalled if image.memory is not None else {}
        looks = self._looks.begin([place for place in image.open if place not in recalled], surely=surely)
        try:
            head = await self._discovery.head_source(image.source)
            if image.memory is not None and recalled:
                looks += self._looks.begin(enter_recalled(image, image.memory, head), surely=surely)
            return head, await self._looks.end(image, looks)
        finally:
            self._looks.abandon(looks)
