"""One image: from its tag at the source to an outcome at each of its destinations."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

from image_syncer.coordinator.delivery import Delivery
from image_syncer.coordinator.ledger import failed
from image_syncer.errors import Origin, SyncError
from image_syncer.oci import Digest, PlatformFilter, Reference, is_index
from image_syncer.planning import BlobNeed
from image_syncer.telemetry import ImageResult, Outcome

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from image_syncer.config import Settings
    from image_syncer.coordinator.discovery import Discovery, Selected
    from image_syncer.coordinator.ledger import Ledger
    from image_syncer.coordinator.publisher import Publisher
    from image_syncer.coordinator.transfers import Transfers
    from image_syncer.planning import ImageTree
    from image_syncer.registry import ManifestHead

__all__ = ["ImageSync"]


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
    ) -> None:
        self._discovery = discovery
        self._transfers = transfers
        self._publisher = publisher
        self._ledger = ledger
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._ids = itertools.count(1)
        self._counted: set[tuple[str, Digest]] = set()
        self._under_way: set[_Image] = set()

    def start(
        self, source: Reference, destinations: list[Reference], wanted: PlatformFilter
    ) -> Coroutine[None, None, None]:
        """The work that brings one image to its destinations."""
        image = _Image(source, destinations, self._loop.time())
        self._under_way.add(image)
        return self._run(image, wanted)

    def close(self) -> None:
        """Nothing runs any more: what has no outcome yet was not tried."""
        for image in list(self._under_way):
            for destination in image.open:
                self._enter_interrupted(image, destination, {})

    async def _run(self, image: _Image, wanted: PlatformFilter) -> None:
        try:
            await self._sync(image, wanted)
        except SyncError as error:
            error.located(repository=str(image.source.repository), reference=image.source.target)
            for destination in image.open:
                self._enter(image, failed(image.source, destination, error, seconds=self._since(image)))

    async def _sync(self, image: _Image, wanted: PlatformFilter) -> None:
        head, present = await self._look(image)
        filtered = not wanted.is_empty and (head.media_type is None or is_index(head.media_type))
        if head.digest is not None and not filtered and not self._settings.force:
            self._enter_unchanged(image, present, head.digest, head.digest)
            if not image.open:
                return
        if not filtered and not self._settings.dry_run:
            self._transfers.start()  # something will move: workers start while the manifests are read
        root = await self._discovery.get_root(image.source, head)
        selected = await self._discovery.select(image.source.repository, root, wanted)
        if selected.root is None:
            for destination in image.open:
                skipped = ImageResult(
                    str(image.source),
                    str(destination),
                    Outcome.SKIPPED,
                    reason=selected.reason,
                    source_digest=str(selected.source_digest),
                    seconds=self._since(image),
                )
                self._enter(image, skipped)
            return
        if selected.root.digest != selected.source_digest:
            present.update(await self._retarget(image, selected.root.digest))
        if not self._settings.force:
            self._enter_unchanged(image, present, selected.root.digest, selected.source_digest)
        if not image.open:
            return
        if not self._settings.dry_run:
            self._transfers.start()
        tree = await self._discovery.get_tree(image.source.repository, selected)
        deliveries = [self._deliver(image, destination, tree, selected) for destination in list(image.open)]
        await asyncio.gather(*deliveries)

    async def _look(self, image: _Image) -> tuple[ManifestHead, dict[Reference, Digest | None]]:
        """HEAD on both sides at once. A destination that fails ends here, and leaves the others alone."""
        source = asyncio.ensure_future(self._discovery.head_source(image.source))
        sides = [asyncio.ensure_future(self._discovery.head_destination(one)) for one in image.open]
        try:
            answers = await asyncio.gather(source, *sides, return_exceptions=True)
        except asyncio.CancelledError:
            for task in (source, *sides):
                task.cancel()
            raise
        head, *digests = answers
        present: dict[Reference, Digest | None] = {}
        for destination, digest in zip(list(image.open), digests, strict=True):
            if isinstance(digest, SyncError):
                digest.origin = Origin.DESTINATION
                digest.located(repository=str(destination.repository), reference=destination.target)
                self._enter(image, failed(image.source, destination, digest, seconds=self._since(image)))
            elif isinstance(digest, BaseException):
                raise digest
            else:
                present[destination] = digest  # type: ignore[assignment]
        if isinstance(head, BaseException):
            raise head
        return head, present  # type: ignore[return-value]

    async def _retarget(self, image: _Image, digest: Digest) -> dict[Reference, Digest | None]:
        """Destinations that are named by digest get the digest of the rewritten index; whether it is there is asked."""
        renamed = image.rename(digest)
        found = await asyncio.gather(*(self._discovery.head_destination(one) for one in renamed))
        return dict(zip(renamed, found, strict=True))

    def _enter_unchanged(
        self, image: _Image, present: dict[Reference, Digest | None], digest: Digest, source_digest: Digest
    ) -> None:
        for destination in list(image.open):
            if present.get(destination) == digest:
                unchanged = ImageResult(
                    str(image.source),
                    str(destination),
                    Outcome.UNCHANGED,
                    source_digest=str(source_digest),
                    destination_digest=str(digest),
                    seconds=self._since(image),
                )
                self._enter(image, unchanged)

    def _enter_interrupted(self, image: _Image, destination: Reference, facts: dict[str, Any]) -> None:
        interrupted = ImageResult(
            str(image.source),
            str(destination),
            Outcome.NOT_TRIED,
            reason="the run was interrupted",
            seconds=self._since(image),
            **facts,
        )
        self._enter(image, interrupted)

    async def _deliver(self, image: _Image, destination: Reference, tree: ImageTree, selected: Selected) -> None:
        blobs = tree.blobs()
        digests: dict[str, Any] = {
            "source_digest": str(selected.source_digest),
            "destination_digest": str(tree.manifest.digest),
        }
        to_move = self._count(destination, tree)
        if self._settings.dry_run:
            planned = ImageResult(
                str(image.source),
                str(destination),
                Outcome.PLANNED,
                bytes_total=to_move,
                seconds=self._since(image),
                **digests,
            )
            self._enter(image, planned)
            return
        delivery = Delivery(next(self._ids), {blob.digest for blob in blobs})
        needs = [
            BlobNeed(blob.digest, blob.size, image.source.repository, destination.repository, delivery.id)
            for blob in blobs
        ]
        try:
            self._transfers.deliver(delivery, needs)
            await delivery.settled()
            await self._publisher.publish(tree, destination)
        except SyncError as error:
            if error.origin is Origin.LOCAL:
                error.origin = Origin.DESTINATION
            where = image.source if error.origin is Origin.SOURCE else destination
            error.located(repository=str(where.repository), reference=where.target)
            result = failed(image.source, destination, error, **self._facts(image, delivery), **digests)
            self._enter(image, result)
            return
        except asyncio.CancelledError:
            self._enter_interrupted(image, destination, delivery.facts())
            raise
        finally:
            self._transfers.release(delivery)
        copied = ImageResult(
            str(image.source),
            str(destination),
            Outcome.COPIED,
            bytes_total=to_move,
            seconds=self._since(image),
            **digests,
            **delivery.facts(),
        )
        self._enter(image, copied)

    def _count(self, destination: Reference, tree: ImageTree) -> int:
        """Bytes that this image is the first of the run to need at that registry."""
        total = 0
        for blob in tree.blobs():
            key = (destination.repository.registry, blob.digest)
            if key not in self._counted:
                self._counted.add(key)
                total += max(blob.size, 0)
        return total

    def _facts(self, image: _Image, delivery: Delivery) -> dict[str, Any]:
        facts: dict[str, Any] = {**delivery.facts(), "seconds": self._since(image)}
        facts.pop("tries")  # the error knows
        return facts

    def _since(self, image: _Image) -> float:
        return self._loop.time() - image.began

    def _enter(self, image: _Image, result: ImageResult) -> None:
        image.close(result.destination)
        if not image.open:
            self._under_way.discard(image)
        self._ledger.enter(result)


class _Image:
    """One source image and the destinations that have no outcome yet."""

    __slots__ = ("_open", "began", "source")

    def __init__(self, source: Reference, destinations: list[Reference], began: float) -> None:
        self.source = source
        self._open = {str(destination): destination for destination in destinations}
        self.began = began

    @property
    def open(self) -> list[Reference]:
        return list(self._open.values())

    def rename(self, digest: Digest) -> list[Reference]:
        """The open destinations without a tag, under `digest` from now on."""
        renamed = [Reference(one.repository, None, digest) for one in self._open.values() if one.tag is None]
        kept = [one for one in self._open.values() if one.tag is not None]
        self._open = {str(one): one for one in (*kept, *renamed)}
        return renamed

    def close(self, destination: str) -> None:
        if self._open.pop(destination, None) is None:
            raise RuntimeError(f"{destination} has an outcome already")
