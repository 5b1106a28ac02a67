"""Planning: what has to be done, and when. Pure: time and chance come in as arguments."""

from __future__ import annotations

from image_syncer.planning.bandwidth import EVERYWHERE, Bandwidth, Grant, metered, streams_for
from image_syncer.planning.blob_set import BlobNeed, BlobSet, KnownBlobs, KnownBlobsInMemory, Numbering, Target
from image_syncer.planning.breaker import Breaker, Breakers, BreakerState
from image_syncer.planning.conversion import MAX_DEPTH, MAX_MANIFESTS, ImageTree
from image_syncer.planning.job import MOST_LOSSES, Arrival, BlobFailed, BlobLanded, BlobOutcome, Decision, Job, Lease
from image_syncer.planning.pacing import Pacer
from image_syncer.planning.resources import Machine, Resources, decide_resources, split_connections
from image_syncer.planning.retry import ONCE, RetryPolicies, RetryPolicy, Tries, decide_policies
from image_syncer.planning.retry_queue import Patience
from image_syncer.planning.scheduler import Scheduler
from image_syncer.planning.stream_tuner import StreamTuner

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
    "Breaker",
    "BreakerState",
    "Breakers",
    "Decision",
    "Grant",
    "ImageTree",
    "Job",
    "KnownBlobs",
    "KnownBlobsInMemory",
    "Lease",
    "Machine",
    "Numbering",
    "Pacer",
    "Patience",
    "Resources",
    "RetryPolicies",
    "RetryPolicy",
    "Scheduler",
    "StreamTuner",
    "Target",
    "Tries",
    "decide_policies",
    "decide_resources",
    "metered",
    "split_connections",
    "streams_for",
]
