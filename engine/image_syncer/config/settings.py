"""Settings: how a run goes, as opposed to what it copies (that is `Configuration`).

Forms: what is done about layers that images name and registries need not have.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from msgspec import field

from image_syncer.config.conflicts import OnConflict
from image_syncer.config.referrers import NO_REFERRERS, ReferrerSelection
from image_syncer.oci import ManifestFormat, PlatformFilter
from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.config.pruning import Pruning
    from image_syncer.config.rate_schedule import RateSchedule

__all__ = ["ForeignLayers", "MissingPlatform", "Settings"]


class ForeignLayers(str, Enum):
    """What becomes of non-distributable layers, which name the URLs where everyone is to get them; the values are those
    of the command line.
    """

    LEAVE = "leave"
    """They are not moved: the manifest says where they are, as it did."""
    COPY = "copy"
    """They are moved as other layers are, from the source registry and from nowhere else."""
    REFUSE = "refuse"
    """The image fails before anything moves."""

    def __str__(self) -> str:
        return self.value


class MissingPlatform(str, Enum):
    """What to do with an image that has none of the wanted platforms; the values are those of the command line."""

    SKIP = "skip"
    FAIL = "fail"
    COPY = "copy"
    """All of it, as if no platform had been asked for."""

    def __str__(self) -> str:
        return self.value


class Settings(Value, frozen=True):
    """How a run goes. `None` means: decided from the machine when the run starts, and told in the report.

    Sizes are bytes, times are seconds.
    """

    workers: int | None = None
    """Worker processes; default: the CPUs this process may use, at most 8."""
    streams: int | None = None
    """Most blobs that one worker streams at a time; as many of them are used as pay."""
    window_bytes: int | None = None
    """The ring of one pipe."""
    small_bytes: int | None = None
    """Blobs up to this size go through a buffer as a whole, beside the streams; 0: all are streamed."""
    memory_bytes: int | None = None
    """Ceiling for all rings and buffers together; default: 512 MiB or a quarter of what the cgroup allows, whichever is
    less."""
    blobs_in_memory: int = 500_000
    """Blobs that the coordinator remembers in memory (some 125 bytes each, counted once for every repository that has
    the blob); it remembers more in a temporary file.
    """
    proc: int | None = None
    """Most blobs in flight over all workers; None: no such bound."""
    retries: int = 2
    """Further tries after the first, for each operation of an image."""
    retry_for_s: float = 1800.0
    """How long an operation, a blob or an image is tried again, from its first failure on: no try begins later. Room
    for two of the longest waits that a registry may ask for, and for a failover."""
    give_up_after_s: float = 600.0
    """How long a registry, or a token service, may be down before it is given up for this run."""
    force: bool = False
    """Write manifests even where the destination already has the same digest."""
    on_conflict: OnConflict = field(default_factory=OnConflict)
    """What is done where a tag has other content at the destination."""
    verify: bool = False
    """Look at each image after it was copied: its tag, its manifests, and by HEAD every blob."""
    dry_run: bool = False
    """Say what would be copied, and copy nothing."""
    tell_ahead: bool = False
    """In a dry run: find out which side is ahead where a tag has other content at the destination."""
    platform_filter: PlatformFilter = field(default_factory=PlatformFilter)
    """The platforms asked for on the command line; a rule's own platforms come before it."""
    missing_platform: MissingPlatform = MissingPlatform.SKIP
    """What to do with an image that has none of the wanted platforms."""
    foreign_layers: ForeignLayers = ForeignLayers.LEAVE
    """What becomes of layers that images name by URLs."""
    manifest_format: ManifestFormat = ManifestFormat.KEEP
    """The form in which manifests arrive."""
    referrers: ReferrerSelection = NO_REFERRERS
    """Which signatures, SBOMs and attestations are carried along; a rule's own `referrers` come before it."""
    pruning: Pruning | None = None
    """What is deleted at destinations when everything is there, since no rule selects it any more; None: nothing."""
    report_path: str | None = None
    """Where the JSON report goes."""
    plan_path: str | None = None
    """Where the plan of a dry run goes: every image with its blobs, and what is there already."""
    state_path: str | None = None
    """The journal: what was done in earlier runs is read from it, what this one does is written to it."""
    trust_state: bool = False
    """Ask nobody about images that are done according to the journal, not even whether the source has changed."""
    rate: RateSchedule | None = None
    """How many bytes a second come from all sources, and go to all destinations; None: as many as can."""
    connect_timeout_s: float = 15.0
    """For name resolution, TCP and TLS together (CURLOPT_CONNECTTIMEOUT_MS)."""
    stall_timeout_s: float = 60.0
    """A transfer that moves nothing for so long, while we wait for the peer, is given up."""
    answer_timeout_s: float = 300.0
    """How long a destination may take to commit a blob of which it has every byte."""
    longest_wait_s: float = 600.0
    """A registry that asks to be left alone for longer (`Retry-After`) is not waited for; nor is one that lets an
    operation through nowhere for so long, and answers 429."""
    fan_out_lag_s: float = 10.0
    """How long the other destinations of a blob may wait for the slowest before it gets a download of its own."""
    silence_s: float = 15.0
    """A worker process says twice a second that it is alive; one that is silent for so long is killed and replaced."""
    watchdog_s: float | None = None
    """What gives no sign of progress for so long is given up; None: longer than all time-outs and tries together."""
    deadline_s: float | None = None
    """When the run has lasted so long, nothing new begins and what is under way is given up; None: no such bound."""
    progress_interval_s: float = 0.25
    """How often `on_progress` is called."""
