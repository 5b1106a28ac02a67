"""What every worker of a run is told first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.planning import decide_policies, metered
from image_syncer.worker.messages import Setup

if TYPE_CHECKING:
    from image_syncer.config import RegistryBook, Settings
    from image_syncer.planning import Resources

__all__ = ["worker_setup"]


def worker_setup(settings: Settings, resources: Resources, registries: RegistryBook, *, tallied: bool) -> Setup:
    """From what the user wants, and what the machine allows."""
    rates = {name: one.rate for name, one in registries.limits().items() if one.rate is not None}
    return Setup(
        window_bytes=resources.window_bytes,
        streams=resources.streams,
        small_blob_bytes=resources.small_bytes,
        small_blobs=resources.small_streams,
        connect_timeout_s=settings.connect_timeout_s,
        stall_timeout_s=settings.stall_timeout_s,
        answer_timeout_s=settings.answer_timeout_s,
        fan_out_lag_s=settings.fan_out_lag_s,
        resume=decide_policies(settings).resume,
        metered=metered(settings.rate, rates),
        tallied=tallied,
    )
