"""What goes wrong with a leased blob, with its side and its place filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.errors import (
    NotAskedError,
    Origin,
    RateLimitedError,
    SyncError,
    TransportError,
    UnavailableError,
)

if TYPE_CHECKING:
    from image_syncer.worker.messages import LeaseJob

__all__ = ["located", "may_pass", "silence"]

_PASSING = (TransportError, UnavailableError, RateLimitedError, NotAskedError)


def located(error: SyncError, lease: LeaseJob, origin: Origin, target: int = 0) -> SyncError:
    """`error`, which happened on the side `origin` unless it says otherwise, with repository and digest."""
    if error.origin is Origin.LOCAL:
        error.origin = origin
    repository = lease.source.repository if error.origin is Origin.SOURCE else lease.targets[target].repository
    return error.located(repository=str(repository), digest=lease.digest, operation="copy blob")


def silence(seconds: float, lease: LeaseJob, origin: Origin, target: int = 0) -> SyncError:
    """The error of a side that moved nothing for so long although it was its turn."""
    error = TransportError(
        f"next to nothing moved for {seconds:.0f} s",
        phase="timeout",
        origin=origin,
        hint="The registry, or the way to it, is silent.",
    )
    return located(error, lease, origin, target)


def may_pass(error: SyncError) -> bool:
    """Whether `error` is of the moment, and says nothing against the bytes that were sent before it."""
    return isinstance(error, _PASSING) and error.retryable
