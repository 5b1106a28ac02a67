"""One image: from its tag at the source to an outcome at each of its destinations.

A referrer is an image of its own, copied after its subject and listed at the destination.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from image_syncer.config import NO_REFERRERS, Only
from image_syncer.coordinator.image_delivery import refuse_foreign
from image_syncer.coordinator.open_image import ImageMemory, OpenImage, RequestedImage
from image_syncer.discovery.publisher import FallbackIndexes
from image_syncer.dispatch.watchdog import TaskWatch
from image_syncer.errors import AuthenticationError, Origin, SyncError
from image_syncer.oci import Digest, PlatformFilter, Reference
from image_syncer.registry.referrers import is_attached_tag, is_fallback_tag
from image_syncer.telemetry import Outcome
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from image_syncer.config import ReferrerSelection
    from image_syncer.coordinator.context import RunContext
    from image_syncer.coordinator.image_delivery import Conflicts, ImageDelivery
    from image_syncer.coordinator.policy import PolicyGate
    from image_syncer.coordinator.preparation import Preparation
    from image_syncer.discovery.discovery import Discovery, Selected
    from image_syncer.discovery.referrers import FoundReferrers, Referrer, ReferrerSearch
    from image_syncer.dispatch.watchdog import Watched
    from image_syncer.oci import Manifest, Repository
    from image_syncer.registry import ManifestHead
    from image_syncer.registry.referrers import ReferrerEntry
    from image_syncer.scheduling import ImageTree


class _Carried(NamedTuple):
    """A referrer, and the image that copies it: its own or another one of the run. A bool: that one has ended, and
    whether the referrer has arrived.
    """

    found: Referrer
    key: int
    image: OpenImage | bool
    is_own: bool

    @property
    def has_arrived(self) -> bool:
        return self.image if isinstance(self.image, bool) else bool(self.image.arrived)


class ReferrerCopies:
    """Copies the referrers of `images` as further images, and lists them where the registry does not."""

    def __init__(self, context: RunContext, images: ImageSync) -> None:
        self._images = images
        self._fallback = FallbackIndexes(context.discovery, context.publisher)
        self._ledger = context.ledger
        self._dry_run = context.settings.dry_run
        self._claims: dict[int, OpenImage | bool] = {}
        """By the hash of source and destination: the image that copies it, or whether it has arrived."""

    def claim(self, image: OpenImage) -> None:
        """Note that a rule selects `image` itself: as a referrer of another image it is not copied a second time."""
        if image.source.digest is None and not is_attached_tag(image.source.tag or ""):
            return
        for destination in image.open:
            self._claims[hash((image.source, destination))] = image

    async def carry(self, image: OpenImage, found: FoundReferrers, wanted: ReferrerSelection) -> None:
        """Copy the referrers to every destination that has `image`. Each is planned in the ledger before the first
        step; its errors are entered, and not raised. A referrer that is not listed there has failed.
        """
        # What a rule requires of an image, it does not require of its referrers.
        alone = replace(wanted, require=())
        work = []
        for destination in image.arrived:
            levels = [[self._open(one, destination.repository, alone) for one in level] for level in found.levels]
            work.append(self._carry_to(image, destination, levels, found))
        if found.subject is None:
            image.release_all()  # it has arrived, and no list has to name it
        await asyncio.gather(*work)

    def _open(self, one: Referrer, repository: Repository, wanted: ReferrerSelection) -> _Carried:
        source = one.reference
        target = Reference(repository, source.tag, source.digest)
        key = hash((source, target))
        if (claimed := self._claims.get(key)) is not None:
            return _Carried(one, key, claimed, is_own=False)
        self._ledger.plan(source, target)
        planned = RequestedImage(source, (target,), PlatformFilter(), wanted)
        image = self._images.open(planned, referrer_of=f"{source.repository}@{one.subject}", holds=True)
        self._claims[key] = image
        return _Carried(one, key, image, is_own=True)

    async def _carry_to(
        self, image: OpenImage, destination: Reference, levels: list[list[_Carried]], found: FoundReferrers
    ) -> None:
        for level in levels:
            await asyncio.gather(*map(self._bring, level))
        everything = [each for level in levels for each in level]
        errors: dict[Digest, SyncError] = {}
        if not self._dry_run:
            lists = found.listed({each.found.reference for each in everything if each.has_arrived})
            ended = await asyncio.gather(*(self._list(destination, *item) for item in lists.items()))
            errors = {subject: error for subject, error in zip(lists, ended, strict=True) if error is not None}
        for each in everything:
            error = errors.get(each.found.subject) if each.found.entry is not None else None
            if not isinstance(each.image, bool) and each.is_own:
                self._claims[each.key] = each.has_arrived
                for target in each.image.held:
                    each.image.release(target, error)
        if destination in image.held:
            image.release(destination, None if found.subject is None else errors.get(found.subject))

    async def _list(
        self, destination: Reference, subject: Digest, entries: Sequence[ReferrerEntry]
    ) -> SyncError | None:
        """Return why `entries` are not listed; None where they are."""
        try:
            await self._fallback.ensure(destination.repository, subject, entries)
        except SyncError as error:
            return error.changed(origin=Origin.DESTINATION).located(
                repository=str(destination.repository), reference=str(subject)
            )
        return None

    async def _bring(self, one: _Carried) -> None:
        if isinstance(one.image, bool):
            return
        if one.is_own:
            await self._images.bring(one.image)
        else:
            await one.image.settled.wait()


Look = tuple[Reference, asyncio.Task[Digest | None]]
"""A destination, and the HEAD request for what is there."""

LIST_OF_REFERRERS = "the tag is a list of referrers, which is kept for each image that has some"


class DestinationHeads:
    """Asks what destinations have under a tag, all destinations of an image at once.

    With `surely`, an answer "not found" is checked. Harbor refuses (403) to look into a project that is missing: where
    `preparation` may create it, it does, and looks again; not so in a dry run.
    """

    def __init__(self, discovery: Discovery, preparation: Preparation, *, surely: bool, dry_run: bool) -> None:
        self._discovery = discovery
        self._preparation = None if dry_run else preparation
        self._head = self._head_or_create if preparation.creates else discovery.head_destination
        self._surely = surely
        self._create_task = asyncio.get_running_loop().create_task

    def begin(self, destinations: list[Reference], *, surely: bool = False) -> list[Look]:
        """Begin one task for each of `destinations`; the caller ends or abandons them."""
        create_task, head, surely = self._create_task, self._head, surely or self._surely
        return [(destination, create_task(head(destination, surely=surely))) for destination in destinations]

    async def end(self, image: OpenImage, looks: list[Look]) -> dict[Reference, Digest | None]:
        """Return what is at the destinations; a destination of `image` whose request fails ends with that error."""
        present: dict[Reference, Digest | None] = {}
        for destination, look in looks:
            try:
                present[destination] = await look
            except SyncError as error:  # noqa: PERF203 - each has its own
                failure = error.changed(origin=Origin.DESTINATION)
                repository, reference = str(destination.repository), destination.target
                image.fail(destination, failure.located(repository=repository, reference=reference))
        return present

    def abandon(self, looks: list[Look]) -> None:
        """Cancel the requests that have not ended, and take the errors of the others."""
        for _, look in looks:
            if not look.done():
                look.cancel()
            elif not look.cancelled():
                look.exception()

    async def retarget(self, image: OpenImage, digest: Digest) -> dict[Reference, Digest | None]:
        """Name the destinations without a tag by the `digest` of the rewritten index, and ask whether it is there."""
        looks = self.begin(image.rename(digest))
        try:
            return await self.end(image, looks)
        finally:
            self.abandon(looks)

    async def _head_or_create(self, destination: Reference, *, surely: bool) -> Digest | None:
        try:
            return await self._discovery.head_destination(destination, surely=surely)
        except AuthenticationError:
            if self._preparation is None or not await self._preparation.create(destination.repository):
                raise
        return await self._discovery.head_destination(destination, surely=surely)


class _Found(NamedTuple):
    """What the source has of an image, its referrers (if they are copied), and what its destinations have."""

    selected: Selected
    root: Manifest
    referrers: FoundReferrers | None
    present: dict[Reference, Digest | None]


class ImageSync:
    """Copies the images of a run. Every destination of every image that is started gets exactly one entry in the
    ledger, also where the work is cancelled before its first step.
    """

    def __init__(
        self,
        context: RunContext,
        delivery: ImageDelivery,
        conflicts: Conflicts,
        preparation: Preparation,
        search: ReferrerSearch,
        policy: PolicyGate | None = None,
    ) -> None:
        self._settings = context.settings
        self._discovery = context.discovery
        self._transfers = context.transfers
        self._ledger = context.ledger
        self._journal = context.journal
        self._ending = context.ending
        self._watchdog = context.watchdog
        self._delivery = delivery
        self._conflicts = conflicts
        self._search = search
        self._referrers = ReferrerCopies(context, self)
        self._policy = policy
        self._looks = DestinationHeads(
            context.discovery, preparation, surely=not conflicts.overwrites, dry_run=context.settings.dry_run
        )
        self._under_way: set[OpenImage] = set()

    def start(self, planned: RequestedImage) -> Coroutine[None, None, None]:
        """Return the work that copies one image and its referrers to its destinations."""
        referrers = self._settings.referrers if planned.referrers is None else planned.referrers
        image = self.open(planned, holds=not referrers.is_empty)
        if not referrers.is_empty:
            self._referrers.claim(image)
        return self._run(image, referrers)

    def open(self, planned: RequestedImage, referrer_of: str | None = None, *, holds: bool = False) -> OpenImage:
        """Return the image of `planned`; from here on it ends in the ledger."""
        memory = None
        if self._journal is not None:
            memory = ImageMemory(self._journal, planned.source, planned.destinations, planned.wanted)
        image = OpenImage(planned, self._ledger, memory, referrer_of=referrer_of, holds=holds)
        self._under_way.add(image)
        return image

    def bring(self, image: OpenImage) -> Coroutine[None, None, None]:
        """Return the work that copies an image that was opened, without referrers; what it holds stays held."""
        return self._run(image, NO_REFERRERS)

    def close(self) -> None:
        """Enter what has no outcome as not tried; nothing runs any more."""
        for image in self._under_way:
            image.leave(self._ending.reason)

    async def _run(self, image: OpenImage, referrers: ReferrerSelection) -> None:
        watch = TaskWatch(self._watchdog, f"image {image.source}", "asks both sides for the tag")
        watched = watch.watched
        watched.excuse = self._watchdog.turn_at(image.source, *image.open)
        try:
            found = await self._find(image, referrers, watched)
            if found is not None:
                try:
                    changed = await self._settle_present(image, found, watched)
                    if image.open:
                        tree = await self._admit(image, found.selected, changed, watched)
                        watched.enter("is being delivered", lambda _now: True)  # each delivery has a watch of its own
                        deliver, digest = self._delivery.deliver, found.selected.source_digest
                        work = [deliver(image, place, tree, digest, changed.get(place)) for place in image.open]
                        await asyncio.gather(*work)
                except SyncError as error:
                    image.fail_all(error)  # destinations that have the image still get its referrers
            if found is not None and found.referrers is not None:
                watched.enter("carries its referrers along", lambda _now: True)  # each has a watch of its own
                await self._referrers.carry(image, found.referrers, referrers)
            elif not referrers.is_empty:
                image.release_all()
        except SyncError as error:
            image.fail_all(error)
        except asyncio.CancelledError:
            if watch.error is None:
                raise
            image.fail_all(watch.error)
        finally:
            watched.leave()
        if not (image.open or image.held):
            self._under_way.discard(image)

    async def _find(self, image: OpenImage, referrers: ReferrerSelection, watched: Watched) -> _Found | None:
        """Return what both sides have; None where every destination has its outcome."""
        if self._policy is not None:
            self._policy.settle_by_name(image)
        self._recall(image, referrers)
        if not image.open:
            return None
        head, present = await self._look(image)
        if image.plan is not None:
            head = image.plan.hold(head)
        if image.only is Only.CHANGED:
            image.leave_missing(present)
        rewrites = self._discovery.rewrites
        if head.digest is not None and referrers.is_empty and not rewrites(image.wanted, head.media_type):
            self._settle_by_digest(image, head.digest, present)
        if not image.open:
            return None
        watched.enter("asks the source for the manifest", self._watchdog.turn_at(image.source, *image.open))
        root = await self._discovery.get_root(image.source, head)
        selected = await self._discovery.select(image.source.repository, root, image.wanted)
        if selected.root is None:
            image.enter_all(Outcome.SKIPPED, selected.reason, source_digest=str(selected.source_digest))
            return None
        found = None
        if not referrers.is_empty:
            watched.enter("looks for its referrers", self._watchdog.turn_at(image.source))
            found = await self._search.find(image.source.repository, selected, referrers)
        return _Found(selected, selected.root, found, present)

    def _recall(self, image: OpenImage, referrers: ReferrerSelection) -> None:
        """End what needs no request: destinations that the journal has, tags that are lists of referrers."""
        alone, source = referrers.is_empty, image.source
        if image.memory is not None:
            if self._settings.trust_state or (source.digest is not None and alone):
                image.enter_recalled(image.memory)  # a digest cannot move, and the user says that no tag has
            elif not alone:
                # An image whose referrers cannot be read fails, so it has no outcome before they are.
                for destination in list(image.memory.recalled):
                    image.memory.revoke(destination)
        if not alone and source.tag is not None and is_fallback_tag(source.tag):
            image.enter_all(Outcome.SKIPPED, LIST_OF_REFERRERS)

    async def _look(self, image: OpenImage) -> tuple[ManifestHead, dict[Reference, Digest | None]]:
        """Send HEAD requests to both sides at once. A destination that fails ends here, and the others continue.

        A tag that has not changed is little more than this, so there is one task for each destination, and no other.
        A destination that the journal has is asked only where the source is not what was copied.
        """
        surely = image.only is not Only.ALL
        recalled = image.memory.recalled if image.memory is not None else {}
        looks = self._looks.begin([place for place in image.open if place not in recalled], surely=surely)
        try:
            head = await self._discovery.head_source(image.source)
            if image.memory is not None and recalled:
                looks += self._looks.begin(image.enter_recalled(image.memory, head), surely=surely)
            return head, await self._looks.end(image, looks)
        finally:
            self._looks.abandon(looks)

    def _settle_by_digest(self, image: OpenImage, digest: Digest, present: dict[Reference, Digest | None]) -> None:
        """End what the `digest` of the source decides; nothing but that digest will be written."""
        if not self._settings.force:
            image.enter_unchanged(present, digest, digest)
        if image.only is Only.MISSING:
            image.leave_changed(present, digest)
        if image.open and not self._settings.dry_run:
            self._transfers.start()  # something will move: workers start while the manifests are read

    async def _settle_present(
        self, image: OpenImage, found: _Found, watched: Watched
    ) -> dict[Reference, Digest | None]:
        """End what needs no copy; return what the destinations have that is not the image."""
        selected, root, present = found.selected, found.root, found.present
        watched.enter("asks for the manifest", self._watchdog.turn_at(image.source, *image.open))
        if root.digest != selected.source_digest:
            present.update(await self._looks.retarget(image, root.digest))
        if not self._settings.force:
            image.enter_unchanged(present, root.digest, selected.source_digest)
        changed = {place: there for place, there in present.items() if there != root.digest}
        if image.only is Only.MISSING:
            image.leave_changed(present, root.digest)
        self._conflicts.settle(image, changed)
        return changed

    async def _admit(
        self, image: OpenImage, selected: Selected, changed: dict[Reference, Digest | None], watched: Watched
    ) -> ImageTree:
        """Read all manifests; end the destinations to which the image must not go, before anything is copied."""
        if not self._settings.dry_run:
            self._transfers.start()
        watched.enter("asks the source for the manifests under it", self._watchdog.turn_at(image.source))
        tree = await self._discovery.get_tree(image.source.repository, selected)
        watched.enter("asks what may go out", lambda _now: True)  # programs have time-outs of their own
        for destination in image.open:
            try:
                refuse_foreign(tree, self._settings.foreign_layers)
                if image.plan is not None:
                    image.plan.check(destination, tree.manifest.digest)
            except SyncError as error:  # noqa: PERF203 - each has its own
                image.fail_delivery(destination, error)
        if self._policy is not None:
            await self._policy.settle(image, selected, tree, changed)
        return tree
