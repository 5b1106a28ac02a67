"""The parts of a run that verifies: as of one that copies, but that no image is brought anywhere."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from image_syncer.coordinator.run_parts import RunParts
from image_syncer.coordinator.verify_blob import BlobReading
from image_syncer.coordinator.verify_images import ImageVerify, VerifyLedger
from image_syncer.coordinator.verify_tree import build_check
from image_syncer.planning import split_connections
from image_syncer.telemetry import RateMeter
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.coordinator.ledger import Ledger
    from image_syncer.coordinator.rules import Images
    from image_syncer.coordinator.verify_tree import TreeCheck
    from image_syncer.planning import RetryPolicies
    from image_syncer.telemetry import ImageResult, Snapshot

__all__ = ["VerifyParts"]

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
