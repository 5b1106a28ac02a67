"""Settings: how a run works, as opposed to what it copies (that is `Configuration`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import field

from image_syncer.config.conflicts import OnConflict
from image_syncer.config.referrers import NO_REFERRERS, ReferrerSelection
from image_syncer.errors import ConfigurationError
from image_syncer.oci import ManifestFormat, PlatformFilter
from image_syncer.values import TextEnum, Value

if TYPE_CHECKING:
    from image_syncer.config.model import Configuration
    from image_syncer.config.pruning import Pruning
    from image_syncer.config.rate_schedule import RateSchedule


class ForeignLayers(TextEnum):
    """What to do with non-distributable layers, which name URLs; the values are those of the command line."""

    LEAVE = "leave"
    """They are not copied: the manifest keeps their URLs."""
    COPY = "copy"
    """They are copied as other layers are, only from the source registry."""
    REFUSE = "refuse"
    """The image fails before anything moves."""


class MissingPlatform(TextEnum):
    """What to do with an image that has none of the wanted platforms; the values are those of the command line."""

    SKIP = "skip"
    FAIL = "fail"
    COPY = "copy"
    """All of it, as without a platform filter."""


class Settings(Value, frozen=True):
    """How a run works. `None` means: derived from the machine at the start of the run, and shown in the report.

    Sizes are bytes, times are seconds.
    """

    workers: int | None = None
    """Worker processes; default: the CPUs this process may use, at most 8."""
    streams: int | None = None
    """Maximum of blobs that one worker streams at a time; the run uses as many as are worthwhile."""
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
    """What to do with layers that have URLs."""
    manifest_format: ManifestFormat = ManifestFormat.KEEP
    """The form in which manifests arrive."""
    referrers: ReferrerSelection = NO_REFERRERS
    """Which signatures, SBOMs and attestations are carried along; a rule's own `referrers` come before it."""
    pruning: Pruning | None = None
    """What is deleted at destinations after the copies, because no rule selects it any more; None: nothing."""
    report_path: str | None = None
    """Where the JSON report goes."""
    plan_path: str | None = None
    """Where the plan of a dry run goes: every image with its blobs, and what is there already."""
    state_path: str | None = None
    """The journal, which holds what earlier runs have done; this run adds to it."""
    trust_state: bool = False
    """Skip images that are done according to the journal, without a request to source or destination."""
    rate: RateSchedule | None = None
    """Maximum bytes per second from all sources, and to all destinations; None: no bound."""
    connect_timeout_s: float = 15.0
    """For name resolution, TCP and TLS together (CURLOPT_CONNECTTIMEOUT_MS)."""
    stall_timeout_s: float = 60.0
    """Idle timeout of a transfer while the peer has to act."""
    answer_timeout_s: float = 300.0
    """Timeout for the commit of a blob after its last byte."""
    longest_wait_s: float = 600.0
    """Longest `Retry-After` of a registry that the run obeys, and longest time in which it answers every request of an
    operation with 429; after that the operation fails."""
    fan_out_lag_s: float = 10.0
    """How long the other destinations of a blob wait for the slowest before its copy continues on its own."""
    silence_s: float = 15.0
    """A worker process reports twice a second; one that is silent for so long is killed and replaced."""
    watchdog_s: float | None = None
    """Without progress for so long, a job is given up; None: longer than all time-outs and tries together."""
    deadline_s: float | None = None
    """After so long nothing new begins, and running copies are given up; None: no such bound."""
    progress_interval_s: float = 0.25
    """How often `on_progress` is called."""


def check_form(configuration: Configuration, settings: Settings) -> None:
    """Raises ConfigurationError where manifests are to be converted, and to bring along what refers to them."""
    wanted = [settings.referrers, *(rule.referrers for rule in configuration.rules)]
    wanted += (catalog.referrers for catalog in configuration.catalogs)
    if settings.manifest_format is ManifestFormat.KEEP or all(each is None or each.is_empty for each in wanted):
        return
    raise ConfigurationError(
        f"--format {settings.manifest_format} gives images other digests, and what refers to them names the old ones",
        hint="Leave out --format, or --referrers and the `referrers` of rules.",
    )
