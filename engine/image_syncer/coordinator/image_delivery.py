"""The delivery of one image to one destination: preparation of the repository, blobs, manifests, a check."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from image_syncer.config import ConflictPolicy, ForeignLayers, OnConflict
from image_syncer.dispatch.transfers import Delivery
from image_syncer.dispatch.watchdog import TaskWatch
from image_syncer.errors import IntegrityError, NotFoundError, Origin, RefusedError, RegistryError, SyncError
from image_syncer.oci import ManifestKind, Reference, is_index
from image_syncer.registry import Operation
from image_syncer.scheduling import BlobNeed
from image_syncer.telemetry import Difference, Outcome, get_logger

if TYPE_CHECKING:
    from datetime import datetime

    from image_syncer.coordinator.context import RunContext
    from image_syncer.coordinator.dry_run import AheadLooks, PlanMaker
    from image_syncer.coordinator.open_image import OpenImage
    from image_syncer.coordinator.preparation import Preparation
    from image_syncer.discovery.discovery import Discovery
    from image_syncer.discovery.publisher import Publisher
    from image_syncer.dispatch.watchdog import Watched
    from image_syncer.oci import Descriptor, Digest
    from image_syncer.scheduling import ImageTree


_DIGEST_CHARACTERS = 12
ASK_AFTER_S = 60.0
"""Copies that took less than this are not worth a request: two runs of a schedule are further apart."""
ANSWER_WITHIN_S = 15.0
"""The image has arrived; its outcome does not wait longer for an answer that only informs."""
_BLOB_UNKNOWN = frozenset({"BLOB_UNKNOWN", "MANIFEST_BLOB_UNKNOWN"})
"""A manifest names a blob that the registry lacks (OCI distribution specification 1.1, "Error Codes")."""
_MANIFEST_REFUSED = frozenset({"MANIFEST_INVALID", "MANIFEST_UNVERIFIED", "UNSUPPORTED"})
_MANIFEST_REFUSED_STATUSES = frozenset({405, 406, 415})
"""Answers without a code to a manifest of a kind that the registry does not take; zot answers 415."""
_NO_URLS = frozenset({400, 500})
"""distribution 2.8 answers 500 UNKNOWN with MANIFEST_BLOB_UNKNOWN, whether it has the foreign layer or not."""
_LEAVE = "--foreign-layers leave copies the manifest alone, which names their URLs"

_log = get_logger(__name__)


class ImageDelivery:
    """Delivers the images of a run. `check` compares a destination with a published image before the image counts as
    copied. In a dry run, `plan` takes the blobs that a destination lacks, and `ahead` finds which side has moved on.
    """

    def __init__(
        self,
        context: RunContext,
        conflicts: Conflicts,
        preparation: Preparation,
        *,
        check: DestinationCheck | None = None,
        plan: PlanMaker | None = None,
        ahead: AheadLooks | None = None,
    ) -> None:
        self._settings = context.settings
        self._discovery = context.discovery
        self._transfers = context.transfers
        self._publisher = context.publisher
        self._known_blobs = context.known_blobs
        self._ending = context.ending
        self._watchdog = context.watchdog
        self._conflicts = conflicts
        self._preparation = preparation
        self._check = check
        self._plan = plan
        self._ahead = ahead
        self._ids = itertools.count(1)

    async def deliver(
        self, image: OpenImage, destination: Reference, tree: ImageTree, source_digest: Digest, there: Digest | None
    ) -> None:
        """Copy `tree` to `destination`, where the tag has the digest `there` now, and enter the outcome."""
        blobs = blobs_to_bring(tree, self._settings.foreign_layers)
        facts: dict[str, Any] = {
            "source_digest": str(source_digest),
            "destination_digest": str(tree.manifest.digest),
            "bytes_total": self._count(destination.repository.registry, blobs),
            **({"replaced_digest": str(there)} if there is not None else {}),
            **(image.plan.facts(destination, there) if image.plan is not None else {}),
        }
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
            if (reason := _schema1_refusal(error, tree)) is None:
                image.fail_delivery(destination, _explain_foreign(error, tree), **facts, **delivery.facts())
            else:
                known = {name: facts[name] for name in ("source_digest", "bytes_total")}
                image.enter(destination, Outcome.SKIPPED, reason=reason, **known, **delivery.facts())
        except asyncio.CancelledError:
            if watch.error is not None:
                image.fail_delivery(destination, watch.error, **facts, **delivery.facts())
                return
            image.enter(destination, Outcome.NOT_TRIED, reason=self._ending.reason, **facts, **delivery.facts())
            raise
        else:
            facts |= {**delivery.facts(), "tries": delivery.tries}
            await self._end_copied(image, destination, source_digest, watch, facts)
        finally:
            watch.watched.leave()
            self._transfers.release(delivery)

    async def _enter_planned(
        self, image: OpenImage, destination: Reference, tree: ImageTree, there: Digest | None, facts: dict[str, Any]
    ) -> None:
        try:
            if there is not None and self._ahead is not None:
                found = await self._ahead.look(image.source, destination, tree.manifest, there)
                facts["ahead"], facts["ahead_because"] = found
            if self._plan is not None:
                blobs = blobs_to_bring(tree, self._settings.foreign_layers)
                await self._plan.survey(image.source, destination, tree, blobs)
        except SyncError as error:
            image.fail_delivery(destination, error, **facts)
        else:
            image.enter(destination, Outcome.PLANNED, **facts)

    async def _end_copied(
        self, image: OpenImage, destination: Reference, source_digest: Digest, watch: TaskWatch, facts: dict[str, Any]
    ) -> None:
        watch.watched.enter("asks the source for the tag once more", self._watchdog.turn_at(image.source))
        try:
            facts |= await ask_whether_moved(self._discovery, image, source_digest, surely=self._settings.verify)
        except asyncio.CancelledError:
            if watch.error is None:
                raise
        finally:
            image.enter(destination, Outcome.COPIED, **facts)

    async def _bring(
        self,
        image: OpenImage,
        destination: Reference,
        tree: ImageTree,
        delivery: Delivery,
        watched: Watched,
        there: Digest | None,
    ) -> str | None:
        """Copy the missing blobs, then the manifests; both once more where the registry has lost blobs that this run,
        or an earlier one, has found there. Return the tag under which the former image is kept, if it is.
        """
        source, target = image.source.repository, destination.repository
        blobs = blobs_to_bring(tree, self._settings.foreign_layers)
        watched.enter("prepares the repository", lambda _now: True)  # the cloud's calls have time-outs of their own
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

    def _count(self, registry: str, blobs: list[Descriptor]) -> int:
        """Return the bytes of `blobs` that this image is the first of the run to need at `registry`."""
        total = 0
        for blob in blobs:
            if not self._known_blobs.knows(registry, blob.digest):
                self._known_blobs.note(registry, blob.digest)
                total += max(blob.size, 0)
        return total


class Conflicts:
    """Carries out `policy`. Backups are named after `began`, the UTC time at which the run did."""

    def __init__(self, policy: OnConflict, discovery: Discovery, publisher: Publisher, began: datetime) -> None:
        self._policy = policy
        self._discovery = discovery
        self._publisher = publisher
        self._began = began
        self._written: set[int] = set()
        """Hashes of the tags that this run writes."""
        self._kept: dict[Reference, Digest] = {}

    @property
    def overwrites(self) -> bool:
        """Whether tags are overwritten whatever they have."""
        return self._policy.policy is ConflictPolicy.OVERWRITE

    def settle(self, image: OpenImage, present: dict[Reference, Digest | None]) -> None:
        """End the destinations whose tag is to keep its other content."""
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
            hint = "Remove the tag there, or choose another policy: --on-conflict overwrite, skip or backup."
            image.fail(
                destination, _refused(destination, f"{what}, and --on-conflict fail lets none be overwritten", hint)
            )

    async def keep(self, destination: Reference, there: Digest | None) -> str | None:
        """Return the backup tag under which the image `there` is kept before it is overwritten; None where none is.

        Raises RefusedError where that tag is taken, also by an image of this run, and the errors of registries.
        """
        if self._policy.policy is not ConflictPolicy.BACKUP or destination.tag is None:
            return None
        if destination in self._kept:
            raise self._not_kept(destination, "the tag keeps what was under another one before this run")
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
            raise self._not_kept(destination, f"what is there cannot be kept: {error}") from None
        backup = Reference(destination.repository, tag, None)
        # Nothing is awaited between these checks and the claim, so two images cannot both find the tag free.
        if hash(backup) in self._written:
            raise self._not_kept(destination, f"what is there cannot be kept: this run writes the tag {tag} itself")
        if self._kept.setdefault(backup, there) != there:
            raise self._not_kept(destination, f"what is there cannot be kept: the tag {tag} keeps something else")
        taken = await self._discovery.head_destination(backup, surely=True)
        if taken == there:
            return tag  # an earlier try has put it
        if taken is not None:
            raise self._not_kept(destination, f"what is there cannot be kept: the tag {tag} has other content")
        manifest = await self._discovery.get_destination(Reference(destination.repository, None, there))
        await self._publisher.put(destination.repository, manifest, tag)
        return tag

    def _not_kept(self, destination: Reference, what: str) -> RefusedError:
        hint = f"Choose another tag for backups: --on-conflict backup:TAG, now {self._policy.backup_tag}."
        return _refused(destination, what, hint)


def _refused(destination: Reference, what: str, hint: str) -> RefusedError:
    return RefusedError(
        what,
        origin=Origin.DESTINATION,
        operation=Operation.PUT_MANIFEST.value,
        repository=str(destination.repository),
        reference=destination.target,
        hint=hint,
    )


def blobs_to_bring(tree: ImageTree, policy: ForeignLayers) -> list[Descriptor]:
    """Return every distinct blob of `tree` that its destination has to have.

    Foreign layers may not be given away; manifests name them by URLs. These URLs are never asked: the author of the
    image chooses them, and they may lead into our own network (docs/security.md).
    """
    return tree.blobs(foreign=policy is ForeignLayers.COPY)


def refuse_foreign(tree: ImageTree, policy: ForeignLayers) -> None:
    """Raise RefusedError where `tree` has foreign layers and the policy is to refuse them."""
    foreign = _foreign(tree) if policy is ForeignLayers.REFUSE else {}
    if not foreign:
        return
    first = next(iter(foreign.values()))
    count = "a foreign layer" if len(foreign) == 1 else f"{len(foreign)} foreign layers"
    where = "one of its images" if is_index(tree.manifest.media_type) else "the image"
    raise RefusedError(
        f"{where} has {count} ({first.digest.short}, {first.media_type}), and --foreign-layers refuse lets none pass",
        origin=Origin.SOURCE,
        operation=Operation.GET_MANIFEST.value,
        hint=f"{_LEAVE}; --foreign-layers copy copies them too, where the source registry has them.",
    )


def _foreign(tree: ImageTree) -> dict[str, Descriptor]:
    return {str(blob.digest): blob for each in tree.publish_order() for blob in each.foreign_layers}


def _explain_foreign(error: SyncError, tree: ImageTree) -> SyncError:
    """Return `error`, with a hint where foreign layers of `tree` are its cause."""
    if not isinstance(error, RegistryError):
        return error
    if isinstance(error, NotFoundError) and error.origin is Origin.SOURCE:
        if error.digest in _foreign(tree):
            return error.changed(hint=f"It is a foreign layer, which the source registry need not have. {_LEAVE}.")
    elif error.operation == Operation.PUT_MANIFEST.value and error.status in _NO_URLS and _foreign(tree):
        return error.changed(
            hint="It names foreign layers by URLs, which distribution refuses unless validation.manifests.urls.allow "
            "in its configuration has a pattern for them."
        )
    return error


def _schema1_refusal(error: SyncError, tree: ImageTree) -> str | None:
    """Return why an image with a schema 1 manifest is skipped, if `error` is the destination's refusal of it.

    Only the answer tells: distribution 2.8 takes such manifests with a signature that it can check, 3.0 and zot take
    none. A conversion is impossible: newer manifests name the digests of unpacked layers, and nothing is unpacked here.
    """
    if tree.manifest.kind is not ManifestKind.SCHEMA1 or not isinstance(error, RegistryError):
        return None
    if error.operation != Operation.PUT_MANIFEST.value:
        return None
    if error.status not in _MANIFEST_REFUSED_STATUSES and not _MANIFEST_REFUSED.intersection(error.codes):
        return None
    return f"the destination takes no schema 1 manifests, or not this one: {error.message}"


async def ask_whether_moved(discovery: Discovery, image: OpenImage, copied: Digest, *, surely: bool) -> dict[str, str]:
    """Return `source_moved`, the digest that the tag has at the source now, where it is not `copied`; else nothing.

    It costs a HEAD; the source is asked where the image took long, or `surely`.
    """
    if image.source.digest is not None or not (surely or image.seconds >= ASK_AFTER_S):
        return {}
    try:
        head = await asyncio.wait_for(discovery.head_source(image.source), ANSWER_WITHIN_S)
    except (SyncError, asyncio.TimeoutError) as error:
        _log.info("whether the tag has moved is not known", source=str(image.source), reason=str(error))
        return {}
    return {} if head.digest in (None, copied) else {"source_moved": str(head.digest)}


class CheckFindings(Struct):
    """The result of the check of one image. `root` is the digest that the destination has under the image's name.

    `manifests`, `blobs` and `bytes_read` count the requests that this image caused, not those of others for the same.
    """

    root: Digest | None = None
    differences: tuple[Difference, ...] = ()
    error: SyncError | None = None
    manifests: int = 0
    blobs: int = 0
    bytes_read: int = 0

    @property
    def reason(self) -> str:
        """The first difference in words, and the number of the others."""
        more = len(self.differences) - 1
        return f"{self.differences[0]}" + (f" (and {more:,} more)" if more else "")

    def raise_if_wrong(self) -> None:
        """Raise IntegrityError where there are differences, or the error that ended the check."""
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
        """Return the fields of the report."""
        facts: dict[str, Any] = {
            "manifests_checked": self.manifests,
            "blobs_checked": self.blobs,
            "bytes_read": self.bytes_read,
        }
        if self.differences:
            facts["differences"] = self.differences
        return facts


class DestinationCheck(Protocol):
    """Compares a destination with what was pushed to it; `verification.tree_check.TreeCheck` is one."""

    async def compare(self, destination: Reference, expected: Digest) -> CheckFindings:
        """Return what `destination` lacks of `expected` and all that it names."""

    async def close(self) -> None:
        """Give up checks that are under way."""
