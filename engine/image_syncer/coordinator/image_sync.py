"""One image: from its tag at the source to an outcome at each of its destinations."""

from __future__ import annotations

import asyncio
import itertools
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from image_syncer.config import NO_REFERRERS
from image_syncer.coordinator.conflicts import Conflicts
from image_syncer.coordinator.delivery import Delivery
from image_syncer.coordinator.foreign_layers import blobs_to_bring, explain, refuse_foreign
from image_syncer.coordinator.guard import TaskWatch
from image_syncer.coordinator.image_memory import ImageMemory
from image_syncer.coordinator.image_outcomes import (
    Look,
    abandon,
    enter_recalled,
    enter_unchanged,
    fail,
    fail_delivery,
)
from image_syncer.coordinator.open_image import OpenImage
from image_syncer.coordinator.schema1 import not_taken
from image_syncer.coordinator.source_moves import ask_whether_moved
from image_syncer.errors import AuthenticationError, Origin, RegistryError, SyncError
from image_syncer.oci import PlatformFilter
from image_syncer.planning import BlobNeed
from image_syncer.registry import is_fallback_tag
from image_syncer.telemetry import Outcome, get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from image_syncer.config import ReferrerSelection, Settings
    from image_syncer.coordinator.discovery import Discovery, Selected
    from image_syncer.coordinator.ending import Ending
    from image_syncer.coordinator.journal import Journal
    from image_syncer.coordinator.ledger import Ledger
    from image_syncer.coordinator.parking import PlannedImage
    from image_syncer.coordinator.preparation import Preparation
    from image_syncer.coordinator.publisher import Publisher
    from image_syncer.coordinator.referrer_copies import ReferrerCopies
    from image_syncer.coordinator.referrers import FoundReferrers
    from image_syncer.coordinator.transfers import Transfers
    from image_syncer.coordinator.verify_tree import TreeCheck
    from image_syncer.coordinator.watchdog import Watchdog, Watched
    from image_syncer.oci import Digest, Manifest, Reference
    from image_syncer.planning import Holdings, ImageTree
    from image_syncer.registry import ManifestHead

__all__ = ["ImageSync"]

LIST_OF_REFERRERS = "the tag is a list of referrers, which is kept for each image that has some"
_BLOB_UNKNOWN = frozenset({"BLOB_UNKNOWN", "MANIFEST_BLOB_UNKNOWN"})
"""OCI distribution specification 1.1, "Error Codes": a manifest names a blob that is not there."""

_log = get_logger(__name__)


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
        holdings: Holdings,
        *,
        ending: Ending,
        dog: Watchdog,
        journal: Journal | None = None,
        check: TreeCheck | None = None,
        preparation: Preparation | None = None,
        referrers: ReferrerCopies | None = None,
    ) -> None:
        """`check` is asked about every image that was published, before it counts as copied; `preparation` before its
        blobs are brought; `referrers` what else goes with it.
        """
        self._discovery = discovery
        self._transfers = transfers
        self._publisher = publisher
        self._ledger = ledger
        self._settings = settings
        self._ending = ending
        self._dog = dog
        self._journal = journal
        self._check = check
        self._preparation = preparation
        self._referrers = referrers
        self._conflicts = Conflicts(settings.on_conflict, discovery, publisher, datetime.now(timezone.utc))
        self._loop = asyncio.get_running_loop()
        self._ids = itertools.count(1)
        self._holdings = holdings
        self._under_way: set[OpenImage] = set()

    def start(self, planned: PlannedImage) -> Coroutine[None, None, None]:
        """The work that brings one image to its destinations, and what refers to it."""
        referrers = self._settings.referrers if planned.referrers is None else planned.referrers
        image = self.open(planned, holds=not referrers.is_empty)
        if self._referrers is not None and not referrers.is_empty:
            self._referrers.claim(image)
        return self._run(image, planned.wanted, referrers)

    def open(self, planned: PlannedImage, referrer_of: str | None = None, *, holds: bool = False) -> OpenImage:
        """The image of `planned`; from here on it ends in the ledger."""
        source, destinations = planned.source, list(planned.destinations)
        memory = None
        if self._journal is not None:
            memory = ImageMemory(self._journal, source, destinations, planned.wanted)
        image = OpenImage(
            source, destinations, self._ledger, self._loop.time, memory, planned.facts, referrer_of, holds=holds
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

    async def _run(self, image: OpenImage, wanted: PlatformFilter, referrers: ReferrerSelection) -> None:
        watch = TaskWatch(self._dog, f"image {image.source}", "asks both sides for the tag")
        watch.watched.excuse = self._turn(image.source, *image.open)
        try:
            found = await self._sync(image, wanted, referrers, watch.watched)
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

    def _turn(self, *places: Reference) -> Callable[[float], bool]:
        return self._dog.turn(*{place.repository.registry for place in places})

    async def _sync(
        self, image: OpenImage, wanted: PlatformFilter, referrers: ReferrerSelection, watched: Watched
    ) -> FoundReferrers | None:
        """What refers to the image, where that is to be carried along."""
        self._recall(image, referrers)
        if not image.open:
            return None
        head, present = await self._look(image)
        filtered = self._discovery.rewrites(wanted, head.media_type)
        if head.digest is not None and not filtered and referrers.is_empty:
            if not self._settings.force:
                enter_unchanged(image, present, head.digest, head.digest)
            if image.open and not self._settings.dry_run:
                self._transfers.start()  # something will move: workers start while the manifests are read
        if not image.open:
            return None
        watched.enter("asks the source for the manifest", self._turn(image.source, *image.open))
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
            watched.enter("looks for its referrers", self._turn(image.source))
            found = await self._referrers.find(image.source.repository, selected, referrers)
        try:
            await self._deliver_to_all(image, selected, selected.root, present, watched)
        except SyncError as error:
            fail(image, error)  # not for those that have it: their referrers are carried along
        return found

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
        watched: Watched,
    ) -> None:
        """Bring what was `selected`, with its `root`, to where it is not `present`."""
        watched.enter("asks for the manifest", self._turn(image.source, *image.open))
        if root.digest != selected.source_digest:
            present.update(await self._retarget(image, root.digest))
        if not self._settings.force:
            enter_unchanged(image, present, root.digest, selected.source_digest)
        changed = {place: there for place, there in present.items() if there != root.digest}
        self._conflicts.settle(image, changed)
        if not image.open:
            return
        if not self._settings.dry_run:
            self._transfers.start()
        watched.enter("asks the source for the manifests under it", self._turn(image.source))
        tree = await self._discovery.get_tree(image.source.repository, selected)
        refuse_foreign(tree, self._settings.foreign_layers)
        watched.enter("is being delivered", lambda _now: True)  # each delivery is watched for itself
        await asyncio.gather(*(self._deliver(image, place, tree, selected, changed.get(place)) for place in image.open))

    async def _look(self, image: OpenImage) -> tuple[ManifestHead, dict[Reference, Digest | None]]:
        """HEAD on both sides at once. A destination that fails ends here, and leaves the others alone.

        A tag that has not changed is little more than this, so there is one task for each destination, and no other.
        A destination that the journal has is asked only where the source is not what was copied.
        """
        recalled = image.memory.recalled if image.memory is not None else {}
        looks = self._begin_looks([destination for destination in image.open if destination not in recalled])
        try:
            head = await self._discovery.head_source(image.source)
            if image.memory is not None and recalled:
                looks += self._begin_looks(enter_recalled(image, image.memory, head))
            return head, await self._end_looks(image, looks)
        finally:
            abandon(looks)

    def _begin_looks(self, destinations: list[Reference]) -> list[Look]:
        creates = self._preparation is not None and self._preparation.creates
        create_task, head = self._loop.create_task, self._head if creates else self._discovery.head_destination
        surely = not self._conflicts.overwrites
        return [(destination, create_task(head(destination, surely=surely))) for destination in destinations]

    async def _head(self, destination: Reference, *, surely: bool) -> Digest | None:
        """What is at a destination. Harbor does not let everybody see that a project is missing: it forbids to look."""
        try:
            return await self._discovery.head_destination(destination, surely=surely)
        except AuthenticationError:
            if self._preparation is None or self._settings.dry_run:
                raise
            if not await self._preparation.create(destination.repository):
                raise
        return await self._discovery.head_destination(destination, surely=surely)

    async def _end_looks(self, image: OpenImage, looks: list[Look]) -> dict[Reference, Digest | None]:
        """What is at the destinations now; one that fails ends."""
        present: dict[Reference, Digest | None] = {}
        for destination, look in looks:
            try:
                present[destination] = await look
            except SyncError as error:  # noqa: PERF203 - each has its own
                error.origin = Origin.DESTINATION
                error.located(repository=str(destination.repository), reference=destination.target)
                image.fail(destination, error)
        return present

    async def _retarget(self, image: OpenImage, digest: Digest) -> dict[Reference, Digest | None]:
        """Destinations that are named by digest get the digest of the rewritten index; whether it is there is asked."""
        looks = self._begin_looks(image.rename(digest))
        try:
            return await self._end_looks(image, looks)
        finally:
            abandon(looks)

    async def _deliver(
        self, image: OpenImage, destination: Reference, tree: ImageTree, selected: Selected, there: Digest | None
    ) -> None:
        """Bring `tree` to `destination`, where under this tag `there` is now."""
        blobs = blobs_to_bring(tree, self._settings.foreign_layers)
        facts: dict[str, Any] = {
            "source_digest": str(selected.source_digest),
            "destination_digest": str(tree.manifest.digest),
            "bytes_total": self._count(destination, tree),
        }
        if there is not None:
            facts["replaced_digest"] = str(there)
        if self._settings.dry_run:
            image.enter(destination, Outcome.PLANNED, **facts)
            return
        delivery = Delivery(next(self._ids), {blob.digest for blob in blobs})
        watch = TaskWatch(self._dog, f"image {image.source} → {destination}", "begins")
        try:
            kept = await self._bring(image, destination, tree, delivery, watch.watched, there)
            if kept is not None:
                facts["reason"] = f"what was there is kept under the tag {kept}"
            if self._check is not None:
                watch.watched.enter("compares what is there", self._turn(destination))
                findings = await self._check.compare(destination, tree.manifest.digest)
                facts.update(findings.facts())
                for blob in blobs if findings.differences else ():
                    self._holdings.forget(destination.repository, blob.digest)
                findings.raise_if_wrong()
        except SyncError as error:
            explain(error, tree)
            if (reason := not_taken(error, tree)) is None:
                fail_delivery(image, destination, error, **facts, **delivery.facts())
            else:
                moved = {name: facts[name] for name in ("source_digest", "bytes_total")}
                image.enter(destination, Outcome.SKIPPED, reason=reason, **moved, **delivery.facts())
        except asyncio.CancelledError:
            if watch.error is not None:
                fail_delivery(image, destination, watch.error, **facts, **delivery.facts())
                return
            image.enter(destination, Outcome.NOT_TRIED, reason=self._ending.reason, **facts, **delivery.facts())
            raise
        else:
            await self._end_copied(image, destination, selected, watch, {**facts, **delivery.facts()}, delivery.tries)
        finally:
            watch.watched.leave()
            self._transfers.release(delivery)

    async def _end_copied(
        self,
        image: OpenImage,
        destination: Reference,
        selected: Selected,
        watch: TaskWatch,
        facts: dict[str, Any],
        tries: int,
    ) -> None:
        watch.watched.enter("asks the source for the tag once more", self._turn(image.source))
        try:
            surely, copied = self._settings.verify, selected.source_digest
            facts.update(await ask_whether_moved(self._discovery, image, copied, surely=surely))
        except asyncio.CancelledError:
            if watch.error is None:
                raise
        finally:
            image.enter(destination, Outcome.COPIED, **facts, tries=tries)

    async def _bring(
        self,
        image: OpenImage,
        destination: Reference,
        tree: ImageTree,
        delivery: Delivery,
        watched: Watched,
        there: Digest | None,
    ) -> str | None:
        """The blobs that are missing, then the manifests; both once more where the registry does not have what it had
        when this run, or an earlier one, last looked. The tag under which what was there is kept, if it is.
        """
        source, target = image.source.repository, destination.repository
        blobs = blobs_to_bring(tree, self._settings.foreign_layers)
        if self._preparation is not None:
            watched.enter("prepares the repository", lambda _now: True)  # the cloud's calls have an end of their own
            await self._preparation.prepare(target, [blob.digest for blob in blobs])
        for is_last in (False, True):
            needs = [BlobNeed(blob.digest, blob.size, source, target, delivery.id) for blob in blobs]
            self._transfers.deliver(delivery, needs)
            watched.enter(f"waits for {len(needs)} blobs", lambda _now: self._transfers.scheduler.expects(delivery.id))
            await delivery.settled()
            if image.memory is not None:
                await image.memory.settled()
            watched.enter("puts the manifests", self._turn(destination))
            kept = await self._conflicts.keep(destination, there)
            try:
                await self._publisher.publish(tree, destination)
            except RegistryError as error:
                if is_last or not _BLOB_UNKNOWN.intersection(error.codes):
                    raise
                _log.info("blobs are gone", destination=str(destination), reason=error.message)
            else:
                return kept
            for blob in blobs:
                self._holdings.forget(target, blob.digest)
            self._transfers.release(delivery)
            delivery.begin(next(self._ids), {blob.digest for blob in blobs})
        raise RuntimeError("the last try ends with its error")

    def _count(self, destination: Reference, tree: ImageTree) -> int:
        """Bytes that this image is the first of the run to need at that registry."""
        total = 0
        registry = destination.repository.registry
        for blob in blobs_to_bring(tree, self._settings.foreign_layers):
            if not self._holdings.knows(registry, blob.digest):
                self._holdings.note(registry, blob.digest)
                total += max(blob.size, 0)
        return total
