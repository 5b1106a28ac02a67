"""A verification: what the source has now is compared with what each destination has; nothing is written."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

from image_syncer.config import Only
from image_syncer.coordinator.ledger import Ledger
from image_syncer.coordinator.open_image import OpenImage, RequestedImage
from image_syncer.coordinator.policy import settle_by_name
from image_syncer.coordinator.run_parts import RunParts
from image_syncer.errors import Origin, SyncError
from image_syncer.oci import Digest, PlatformFilter
from image_syncer.scheduling import split_connections
from image_syncer.telemetry import Outcome, RateMeter
from image_syncer.values import replace
from image_syncer.verification.tree_check import BlobReading, TreeCheck

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from image_syncer.config.policy import Policy
    from image_syncer.coordinator.context import RunContext
    from image_syncer.coordinator.image_delivery import DestinationCheck
    from image_syncer.coordinator.rules import Images
    from image_syncer.oci import Reference
    from image_syncer.scheduling import RetryPolicies
    from image_syncer.telemetry import ImageResult, Snapshot


_REPORTED = ("retries", "foreign_layers", "format", "platforms", "os", "arch")
"""The settings that a verification uses."""


class VerifyParts(RunParts):
    """The parts of a verification; with `deep` it reads every blob."""

    kind = "verify"

    def __init__(self, *given: Any, deep: bool, **further: Any) -> None:
        self._deep = deep
        self._read_rate = RateMeter()
        super().__init__(*given, **further)

    def _new_ledger(self, on_image: Callable[[ImageResult], None] | None) -> Ledger:
        return VerifyLedger(self.files.report, on_image)

    def _new_check(self, context: RunContext, policies: RetryPolicies) -> DestinationCheck:
        reading = None
        if self._deep:
            reading = BlobReading(
                context.client, retry=policies.resume, chance=random.random, limit_of=self._read_limit
            )
        self._tree = TreeCheck(context, reading)
        return self._tree

    def _read_limit(self, registry: str) -> int | None:
        """Return how many blobs of `registry` may be read at a time; None: any number."""
        host = self._configuration.registries.host_settings(registry)
        bounds = (split_connections(host.max_connections)[1], self.transfers.pacing.bytes.streams_for(registry))
        return min((bound for bound in bounds if bound is not None), default=None)

    def _new_images(self, context: RunContext, _check: DestinationCheck | None) -> Images:
        return ImageVerify(context, self._tree, self._configuration.policies)

    def snapshot(self, now: float) -> Snapshot:
        """Return the progress, with what was read in place of what was copied."""
        snapshot, tree = super().snapshot(now), self._tree
        self._read_rate.update(now, tree.bytes_read)
        if self._deep:  # what is left of the images does not say how many bytes are to be read
            snapshot = replace(snapshot, eta_s=None, eta_least_s=None, eta_most_s=None, eta_waits_for=None)
        return replace(
            snapshot,
            blobs_total=tree.blobs_known,
            blobs_done=tree.blobs_checked,
            bytes_total=tree.bytes_known if self._deep else 0,
            bytes_done=tree.bytes_read,
            bytes_per_s=self._read_rate.bytes_per_s(now),
        )

    def settings_data(self) -> dict[str, Any]:
        """Return the settings of the report."""
        data = super().settings_data()
        return {name: data[name] for name in _REPORTED} | {"deep": self._deep}


class VerifyLedger(Ledger):
    """A ledger in which an image that failed is unchecked: that does not say that it is wrong."""

    def enter(self, result: ImageResult, *, planned_as: str | None = None) -> None:
        """See `Ledger`."""
        if result.outcome is Outcome.FAILED:
            result = replace(result, outcome=Outcome.UNCHECKED)
        super().enter(result, planned_as=planned_as)


class ImageVerify:
    """Gives every image an outcome as `ImageSync` does, by reading only.

    A manifest is named by the digest of its bytes, and names everything under it by digest. So where the root has the
    planned digest, the destination's own manifests, each of which is hashed, say what has to be there. With a platform
    filter or a conversion, the planned digest is that of the manifest which a sync would write.
    """

    def __init__(self, context: RunContext, check: DestinationCheck, policies: Sequence[Policy]) -> None:
        self._discovery = context.discovery
        self._ledger = context.ledger
        self._ending = context.ending
        self._check = check
        self._policies = policies
        self._under_way: set[OpenImage] = set()

    def start(self, planned: RequestedImage) -> Coroutine[None, None, None]:
        """Return the work that compares one image with its destinations."""
        # Without what a retry needs: the report of a verification cannot be retried.
        image = OpenImage(RequestedImage(planned.source, planned.destinations, PlatformFilter()), self._ledger)
        self._under_way.add(image)
        return self._run(image, planned.wanted, planned.only)

    def close(self) -> None:
        """Enter what has no outcome as not tried; nothing runs any more."""
        for image in self._under_way:
            image.leave(self._ending.reason)

    async def _run(self, image: OpenImage, wanted: PlatformFilter, only: Only) -> None:
        try:
            await self._verify(image, wanted, only)
        except SyncError as error:
            image.fail_all(error)
        if not image.open:
            self._under_way.discard(image)

    async def _verify(self, image: OpenImage, wanted: PlatformFilter, only: Only) -> None:
        settle_by_name(self._policies, image)
        if not image.open:
            return
        head = await self._discovery.head_source(image.source)
        if head.digest is not None and wanted.is_empty and not self._discovery.rewrites(wanted, head.media_type):
            source_digest = expected = head.digest
        else:
            root = await self._discovery.get_root(image.source, head)
            selected = await self._discovery.select(image.source.repository, root, wanted)
            source_digest = selected.source_digest
            if selected.root is None:
                image.enter_all(Outcome.SKIPPED, selected.reason, source_digest=str(source_digest))
                return
            expected = selected.root.digest
            if expected != source_digest:
                image.rename(expected)
        if only is not Only.ALL:
            await self._leave_out(image, expected, only)
        await asyncio.gather(*(self._compare(image, place, expected, source_digest) for place in image.open))

    async def _leave_out(self, image: OpenImage, expected: Digest, only: Only) -> None:
        """End the destinations to which the rule does not copy the image."""
        present: dict[Reference, Digest | None] = {}
        for destination in image.open:
            try:
                present[destination] = await self._discovery.head_destination(destination, surely=True)
            except SyncError:  # noqa: PERF203 - the comparison gets the error too, and enters it
                present[destination] = expected
        if only is Only.CHANGED:
            image.leave_missing(present)
        else:
            image.leave_changed(present, expected)

    async def _compare(self, image: OpenImage, destination: Reference, expected: Digest, source_digest: Digest) -> None:
        findings = await self._check.compare(destination, expected)
        facts = {**findings.facts(), "source_digest": str(source_digest)}
        if findings.root is not None:
            facts["destination_digest"] = str(findings.root)
        error = findings.error
        if error is not None:
            places = {"repository": str(destination.repository), "reference": destination.target}
            error = error.located(origin=Origin.DESTINATION, **places)
        if findings.differences:
            if error is not None:
                facts["error"] = error.to_data()
            image.enter(destination, Outcome.DIFFERENT, reason=findings.reason, **facts)
        elif error is not None:
            image.fail(destination, error, **facts)
        else:
            image.enter(destination, Outcome.EQUAL, **facts)
