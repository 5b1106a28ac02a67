"""Planning: what has to be done, and when. Pure: time and chance come in as arguments."""

from __future__ import annotations

from image_syncer.scheduling.bandwidth import EVERYWHERE, Bandwidth, Grant, metered, streams_for
from image_syncer.scheduling.blob_set import (
    MOST_LOSSES,
    BlobNeed,
    BlobSet,
    BlobTarget,
    KnownBlobs,
    KnownBlobsInMemory,
    Numbering,
)
from image_syncer.scheduling.breaker import Breaker, Breakers, BreakerState
from image_syncer.scheduling.connections import ConnectionLimits
from image_syncer.scheduling.conversion import MAX_DEPTH, MAX_MANIFESTS, ImageTree
from image_syncer.scheduling.job import Arrival, BlobFailed, BlobLanded, BlobOutcome, Decision, Job, Lease
from image_syncer.scheduling.pacing import Pacer
from image_syncer.scheduling.resources import Machine, Resources, decide_resources, split_connections
from image_syncer.scheduling.retry import ONCE, RetryPolicies, RetryPolicy, Tries, decide_policies
from image_syncer.scheduling.retry_queue import Patience
from image_syncer.scheduling.scheduler import LeaseLimits, Scheduler
from image_syncer.scheduling.stream_tuner import StreamTuner

__all__ = [
    "EVERYWHERE",
    "MAX_DEPTH",
    "MAX_MANIFESTS",
    "MOST_LOSSES",
    "ONCE",
    "Arrival",
    "Bandwidth",
    "BlobFailed",
    "BlobLanded",
    "BlobNeed",
    "BlobOutcome",
    "BlobSet",
    "BlobTarget",
    "Breaker",
    "BreakerState",
    "Breakers",
    "ConnectionLimits",
    "Decision",
    "Grant",
    "ImageTree",
    "Job",
    "KnownBlobs",
    "KnownBlobsInMemory",
    "Lease",
    "LeaseLimits",
    "Machine",
    "Numbering",
    "Pacer",
    "Patience",
    "Resources",
    "RetryPolicies",
    "RetryPolicy",
    "Scheduler",
    "StreamTuner",
    "Tries",
    "decide_policies",
    "decide_resources",
    "metered",
    "split_connections",
    "streams_for",
]
