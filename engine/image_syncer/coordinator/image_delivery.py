"""The delivery of one image to one destination: its blobs, its manifests, what is compared then, and an outcome.

Schema 1: manifests of 2014, which a destination may not take any more.

Tags that move at the source while they are copied.

What was planned is what arrives: manifests are read by the digest that the tag had when it was asked for, and all that
is under them by theirs. Whoever waited long for it may want to know that there is something newer.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

from image_syncer.coordinator.delivery import Delivery
from image_syncer.coordinator.foreign_layers import blobs_to_bring, explain
from image_syncer.coordinator.guard import TaskWatch
from image_syncer.coordinator.image_outcomes import fail_delivery
from image_syncer.errors import RegistryError, SyncError
from image_syncer.oci import ManifestKind
from image_syncer.planning import BlobNeed
from image_syncer.registry import Operation
from image_syncer.telemetry import Outcome, get_logger

if TYPE_CHECKING:
    from image_syncer.config import Settings
    from image_syncer.coordinator.ahead import AheadLooks
    from image_syncer.coordinator.conflicts import Conflicts
    from image_syncer.coordinator.discovery import Discovery, Selected
    from image_syncer.coordinator.ending import Ending
    from image_syncer.coordinator.open_image import OpenImage
    from image_syncer.coordinator.plan_maker import PlanMaker
    from image_syncer.coordinator.preparation import Preparation
    from image_syncer.coordinator.publisher import Publisher
    from image_syncer.coordinator.transfers import Transfers
    from image_syncer.coordinator.verify_tree import TreeCheck
    from image_syncer.coordinator.watchdog import Watchdog, Watched
    from image_syncer.oci import Digest, Reference
    from image_syncer.planning import ImageTree, KnownBlobs

__all__ = ["ImageDelivery", "ask_whether_moved", "not_taken"]


ASK_AFTER_S = 60.0
"""A copy that took less is not worth a request; two runs of a schedule are further apart."""
ANSWER_WITHIN_S = 15.0
"""The image has arrived, and its outcome does not wait longer for what is only good to know."""


async def ask_whether_moved(discovery: Discovery, image: OpenImage, copied: Digest, *, surely: bool) -> dict[str, str]:
    """`source_moved`, the digest that the source's tag has now, where that is no longer `copied`; else nothing.

    It costs a HEAD, where the image took long, or `surely`. Where nobody can tell, nothing is said.
    """
    if image.source.digest is not None or not (surely or image.seconds >= ASK_AFTER_S):
        return {}
    try:
        head = await asyncio.wait_for(discovery.head_source(image.source), ANSWER_WITHIN_S)
    except (SyncError, asyncio.TimeoutError) as error:
        _log.info("whether the tag has moved is not known", source=str(image.source), reason=str(error))
        return {}
    return {} if head.digest in (None, copied) else {"source_moved": str(head.digest)}


_CODES = frozenset({"MANIFEST_INVALID", "MANIFEST_UNVERIFIED", "UNSUPPORTED"})
_STATUSES = frozenset({405, 406, 415})
"""What says that the kind of a manifest is not taken, where no code does; zot answers 415."""


def not_taken(error: SyncError, tree: ImageTree) -> str | None:
    """Why an image is skipped whose manifest is schema 1, and that `error` kept from being published; None where the
    error is another one, or of another image.

    It cannot be known before: distribution 2.8 takes those whose signature it can check, 3.0 and zot take none. Nor can
    the image be made into another one: what a newer manifest has to name is the digests of the layers unpacked, and
    nothing is unpacked here.
    """
    if tree.manifest.kind is not ManifestKind.SCHEMA1 or not isinstance(error, RegistryError):
        return None
    if error.operation != Operation.PUT_MANIFEST.value:
        return None
    if error.status not in _STATUSES and not _CODES.intersection(error.codes):
        return None
    return f"the destination takes no schema 1 manifests, or not this one: {error.message}"


_BLOB_UNKNOWN = frozenset({"BLOB_UNKNOWN", "MANIFEST_BLOB_UNKNOWN"})
"""OCI distribution specification 1.1, "Error Codes": a manifest names a blob that is not there."""

_log = get_logger(__name__)


class ImageDelivery:
    """What all deliveries of a run share."""

    def __init__(
        self,
        discovery: Discovery,
        transfers: Transfers,
        publisher: Publisher,
        conflicts: Conflicts,
        settings: Settings,
        known_blobs: KnownBlobs,
        *,
        ending: Ending,
        watchdog: Watchdog,
        check: TreeCheck | None,
        preparation: Preparation | None,
        plan: PlanMaker | None = None,
        ahead: AheadLooks | None = None,
    ) -> None:
        """`check` is asked about every image that was published, before it counts as copied; `preparation` before its
        blobs are brought; `ahead`, in a dry run, which side has moved on.
        """
        self._discovery = discovery
        self._transfers = transfers
        self._publisher = publisher
        self._conflicts = conflicts
        self._settings = settings
        self._known_blobs = known_blobs
        self._ending = ending
        self._watchdog = watchdog
        self._check = check
        self._preparation = preparation
        self._plan = plan
        self._ahead = ahead
        self._ids = itertools.count(1)

    async def deliver(
        self, image: OpenImage, destination: Reference, tree: ImageTree, selected: Selected, there: Digest | None
    ) -> None:
        """Bring `tree` to `destination`, where under this tag `there` is now, and enter what became of it."""
        blobs = blobs_to_bring(tree, self._settings.foreign_layers)
        facts = self._facts(image, destination, tree, selected, there)
        if self._settings.dry_run:
            await self._enter_planned(image, destination, tree, there, facts)
            return
        names = str(image.source), str(destination)
        delivery = Delivery(next(self._ids), {blob.digest for blob in blobs}, names)
        watch = TaskWatch(self._watchdog, f"image {names[0]} → {names[1]}", "begins")
        try:
            kept = await self._bring(image, destination, tree, delivery, watch.watched, there)
            if kept is not None:
                facts["reason"] = f"what was there is kept under the tag {kept}"
            if self._check is not None:
                watch.watched.enter("compares what is there", self._watchdog.turn_at(destination))
                findings = await self._check.compare(destination, tree.manifest.digest)
                facts.update(findings.facts())
                for blob in blobs if findings.differences else ():
                    self._known_blobs.forget(destination.repository, blob.digest)
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

    def _facts(
        self, image: OpenImage, destination: Reference, tree: ImageTree, selected: Selected, there: Digest | None
    ) -> dict[str, Any]:
        """What the report says of it, however it ends."""
        facts: dict[str, Any] = {
            "source_digest": str(selected.source_digest),
            "destination_digest": str(tree.manifest.digest),
            "bytes_total": self._count(destination, tree),
        }
        if there is not None:
            facts["replaced_digest"] = str(there)
        if image.plan is not None:
            facts.update(image.plan.facts(destination, there))
        return facts

    async def _enter_planned(
        self,
        image: OpenImage,
        destination: Reference,
        tree: ImageTree,
        there: Digest | None,
        facts: dict[str, Any],
    ) -> None:
        try:
            if there is not None and self._ahead is not None:
                found = await self._ahead.look(image.source, destination, tree.manifest, there)
                facts["ahead"], facts["ahead_because"] = found
            if self._plan is not None:
                blobs = blobs_to_bring(tree, self._settings.foreign_layers)
                await self._plan.survey(image.source, destination, tree, blobs)
        except SyncError as error:
            fail_delivery(image, destination, error, **facts)
        else:
            image.enter(destination, Outcome.PLANNED, **facts)

    async def _end_copied(
        self,
        image: OpenImage,
        destination: Reference,
        selected: Selected,
        watch: TaskWatch,
        facts: dict[str, Any],
        tries: int,
    ) -> None:
        watch.watched.enter("asks the source for the tag once more", self._watchdog.turn_at(image.source))
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
            watched.enter("puts the manifests", self._watchdog.turn_at(destination))
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
                self._known_blobs.forget(target, blob.digest)
            self._transfers.release(delivery)
            delivery.begin(next(self._ids), {blob.digest for blob in blobs})
        raise RuntimeError("the last try ends with its error")

    def _count(self, destination: Reference, tree: ImageTree) -> int:
        """Bytes that this image is the first of the run to need at that registry."""
        total = 0
        registry = destination.repository.registry
        for blob in blobs_to_bring(tree, self._settings.foreign_layers):
            if not self._known_blobs.knows(registry, blob.digest):
                self._known_blobs.note(registry, blob.digest)
                total += max(blob.size, 0)
        return total
