"""The parts of a run that verifies: as of one that copies, but that no image is brought anywhere.

Verification of images: what the source has now, against what each destination has now. Nothing is written.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

from image_syncer.config import Only
from image_syncer.coordinator.conflicts import leave_missing, leave_there
from image_syncer.coordinator.ledger import Ledger
from image_syncer.coordinator.open_image import OpenImage
from image_syncer.coordinator.policy import settle_by_name
from image_syncer.coordinator.run_parts import RunParts
from image_syncer.coordinator.verify_blob import BlobReading
from image_syncer.coordinator.verify_tree import build_check
from image_syncer.errors import Origin, SyncError
from image_syncer.planning import split_connections
from image_syncer.telemetry import Outcome, RateMeter
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from image_syncer.config.policy import Policy
    from image_syncer.coordinator.discovery import Discovery
    from image_syncer.coordinator.ending import Ending
    from image_syncer.coordinator.parking import PlannedImage
    from image_syncer.coordinator.rules import Images
    from image_syncer.coordinator.verify_tree import TreeCheck
    from image_syncer.oci import Digest, PlatformFilter, Reference
    from image_syncer.planning import RetryPolicies
    from image_syncer.telemetry import ImageResult, Snapshot

__all__ = ["ImageVerify", "VerifyLedger", "VerifyParts"]


class VerifyLedger(Ledger):
    """A ledger in which what failed is called what it is: not checked, which is not to say that it is wrong."""

    def enter(self, result: ImageResult, *, planned_as: str | None = None) -> None:
        """See `Ledger`."""
        if result.outcome is Outcome.FAILED:
            result = replace(result, outcome=Outcome.UNCHECKED)
        super().enter(result, planned_as=planned_as)


class ImageVerify:
    """Brings every image to an outcome as `ImageSync` does, by looking only.

    A manifest is named by the digest of its bytes, and names everything under it by digest. So where the digest of the
    root is as planned, what has to be there is read from the destination's own manifests, each of which is hashed: what
    the source has under the same digest cannot be anything else. With a platform filter, or another form, the digest is
    that of the manifest which a sync would write.
    """

    def __init__(
        self,
        discovery: Discovery,
        check: TreeCheck,
        ledger: Ledger,
        *,
        ending: Ending,
        policies: Sequence[Policy] = (),
    ) -> None:
        self._discovery = discovery
        self._check = check
        self._ledger = ledger
        self._ending = ending
        self._policies = policies
        self._loop = asyncio.get_running_loop()
        self._under_way: set[OpenImage] = set()

    def start(self, planned: PlannedImage) -> Coroutine[None, None, None]:
        """The work that compares one image with its destinations."""
        image = OpenImage(planned.source, list(planned.destinations), self._ledger, self._loop.time)
        self._under_way.add(image)
        return self._run(image, planned.wanted, planned.only)

    def close(self) -> None:
        """Nothing runs any more: what has no outcome yet was not tried."""
        for image in self._under_way:
            for destination in image.open:
                image.enter(destination, Outcome.NOT_TRIED, reason=self._ending.reason)

    async def _run(self, image: OpenImage, wanted: PlatformFilter, only: Only) -> None:
        try:
            await self._verify(image, wanted, only)
        except SyncError as error:
            error.located(repository=str(image.source.repository), reference=image.source.target)
            for destination in image.open:
                image.fail(destination, error)
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
                for destination in image.open:
                    reason = selected.reason
                    image.enter(destination, Outcome.SKIPPED, reason=reason, source_digest=str(source_digest))
                return
            expected = selected.root.digest
            if expected != source_digest:
                image.rename(expected)
        if only is not Only.ALL:
            await self._leave_out(image, expected, only)
        await asyncio.gather(
            *(self._compare(image, destination, expected, source_digest) for destination in image.open)
        )

    async def _leave_out(self, image: OpenImage, expected: Digest, only: Only) -> None:
        """End `image` where its rule does not bring it, whatever is there."""
        present: dict[Reference, Digest | None] = {}
        for destination in image.open:
            try:
                present[destination] = await self._discovery.head_destination(destination, surely=True)
            except SyncError:  # noqa: PERF203 - the comparison meets it, too, and tells
                present[destination] = expected
        if only is Only.CHANGED:
            leave_missing(image, present)
        else:
            leave_there(image, {place: there for place, there in present.items() if there != expected})

    async def _compare(self, image: OpenImage, destination: Reference, expected: Digest, source_digest: Digest) -> None:
        findings = await self._check.compare(destination, expected)
        facts = {**findings.facts(), "source_digest": str(source_digest)}
        if findings.root is not None:
            facts["destination_digest"] = str(findings.root)
        error = findings.error
        if error is not None:
            if error.origin is Origin.LOCAL:
                error.origin = Origin.DESTINATION
            error.located(repository=str(destination.repository), reference=destination.target)
        if findings.differences:
            if error is not None:
                facts["error"] = error.to_data()
            image.enter(destination, Outcome.DIFFERENT, reason=findings.reason, **facts)
        elif error is not None:
            image.fail(destination, error, **facts)
        else:
            image.enter(destination, Outcome.EQUAL, **facts)


_TOLD = ("retries", "foreign_layers", "format", "platforms", "os", "arch")
"""What of the settings of a run means something here."""


class VerifyParts(RunParts):
    """One verification of a configuration; with `deep` it reads every blob."""

    kind = "verify"

    def __init__(self, *given: Any, deep: bool, **further: Any) -> None:
        self._deep = deep
        self._reading: BlobReading | None = None
        self._read_rate = RateMeter()
        super().__init__(*given, **further)

    def _new_ledger(self, on_image: Callable[[ImageResult], None] | None) -> Ledger:
        return VerifyLedger(self.files.report, on_image)

    def _new_check(self, policies: RetryPolicies) -> TreeCheck:
        if self._deep:
            self._reading = BlobReading(
                self._client,
                retry=policies.resume,
                chance=random.random,
                limit_of=self._limit_of,
            )
        return build_check(self._client, self.access.endpoints, self._settings, self._reading)

    def _limit_of(self, registry: str) -> int | None:
        """How many blobs of `registry` are read at a time at most."""
        host = self._configuration.registries.host_settings(registry)
        bounds = (split_connections(host.max_connections)[1], self.transfers.pacing.bytes.streams_for(registry))
        return min((bound for bound in bounds if bound is not None), default=None)

    def _new_images(self) -> Images:
        assert self._check is not None
        return ImageVerify(
            self._discovery, self._check, self.ledger, ending=self._ending, policies=self._configuration.policies
        )

    def snapshot(self, now: float) -> Snapshot:
        """With what was read, for what was copied."""
        snapshot = super().snapshot(now)
        assert self._check is not None
        read = self._reading.bytes_read if self._reading is not None else 0
        self._read_rate.update(now, read)
        if self._deep:  # what is left of the images tells nothing of the bytes that are to be read
            snapshot = replace(snapshot, eta_s=None, eta_least_s=None, eta_most_s=None, eta_waits_for=None)
        return replace(
            snapshot,
            blobs_total=self._check.blobs_known,
            blobs_done=self._check.blobs_checked,
            bytes_total=self._check.bytes_known if self._deep else 0,
            bytes_done=read,
            bytes_per_s=self._read_rate.bytes_per_s(now),
        )

    def settings_data(self) -> dict[str, Any]:
        """Those that mean something here."""
        data = super().settings_data()
        return {name: data[name] for name in _TOLD} | {"deep": self._deep}
