"""The options of a run, and what they say: the settings for the engine, and how the run is shown and logged."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.option_values import (
    add_options,
    duration_option,
    file_option,
    flag,
    list_option,
    number_option,
    parsed_by,
    rate_option,
    size_option,
)
from image_syncer_cli.pipeline import PIPELINE_OPTIONS, refuse_same_files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from image_syncer import Settings
    from image_syncer_cli.option_values import Command


MAX_WORKERS = 1024
"""More processes than any machine for which this is the right tool has CPUs."""
MAX_STREAMS = 4096
"""More than one process can feed; each has two connections and four open files."""
_MAX_BLOBS = 1_000_000_000
"""More than any machine has memory for."""
_MAX_LAG_S = 30 * 86400
"""In effect no limit."""
_FAN_OUT_LAG_S = 10
"""A whole number, as reports show it."""
_MAX_RETRIES = 1000
"""With the longest pauses, some hours of attempts."""

RATE_OPTION = rate_option(
    "Maximum bytes per second, e.g. 200MB/s; by time of day: mon-fri 08:00-18:00=50MB/s,500MB/s. [default: no limit]"
)

PATIENCE_OPTIONS = (
    number_option(
        *("-r", "--retries"),
        at_least=0,
        at_most=_MAX_RETRIES,
        default="2",
        show_default=True,
        help="Retries after the first attempt.",
    ),
    duration_option(
        "--retry-for", "retry_for_s", help="Start no retry later than this after the first failure. [default: 30m]"
    ),
    duration_option(
        *("--give-up-after", "give_up_after_s"),
        help="How long to wait for a registry that is down, while others continue. [default: 10m]",
    ),
    duration_option(
        "--connect-timeout", "connect_timeout_s", help="Connect timeout, with name resolution and TLS. [default: 15s]"
    ),
    duration_option("--stall-timeout", "stall_timeout_s", help="Idle timeout per transfer. [default: 60s]"),
    duration_option(
        *("--answer-timeout", "answer_timeout_s"),
        help="How long a destination may take to commit a blob after its last byte. [default: 5m]",
    ),
)

_RESOURCE_OPTIONS = (
    RATE_OPTION,
    number_option("-p", "--proc", help="Maximum number of blobs in flight, over all workers. [default: no limit]"),
    number_option(
        "--workers",
        at_most=MAX_WORKERS,
        help="Worker processes. [default: as many as there is work for, up to the available CPUs and at most 8]",
    ),
    number_option(
        "--streams",
        at_most=MAX_STREAMS,
        help="Maximum number of blobs that one worker streams at a time; it uses as many as help. [default: 16]",
    ),
    size_option("--window", "window_bytes", help="Buffer between source and destination of one blob, e.g. 1MiB."),
    size_option(
        *("--small-blobs", "small_bytes"),
        zero=True,
        help="Copy blobs up to this size whole, many at a time, beside the streams; 0: none. [default: 1MiB]",
    ),
    size_option(
        *("--memory", "memory_bytes"),
        help="Maximum for all windows and buffers together. [default: 512MiB, or a quarter of the cgroup's if less]",
    ),
    number_option(
        "--blobs-in-memory",
        at_most=_MAX_BLOBS,
        default="500000",
        show_default=True,
        help="Blobs to remember in memory (125 bytes each); more go to a temporary file.",
    ),
    number_option(
        *("--fan-out-lag", "fan_out_lag_s"),
        at_most=_MAX_LAG_S,
        default=str(_FAN_OUT_LAG_S),
        show_default=True,
        metavar="SECONDS",
        help="How long a blob's other destinations wait for the slowest before it gets a download of its own.",
    ),
)

_OBSERVER_OPTIONS = (
    click.option(
        "--metrics",
        callback=parsed_by("parse_listen", module="telemetry.http_server"),
        metavar="HOST:PORT",
        help="Serve Prometheus metrics of the run at this address, /metrics; a port alone is on 127.0.0.1.",
    ),
    click.option(
        "--metrics-file",
        metavar="FILE",
        help="Write the metrics to FILE when the run ends, for the textfile collector of Prometheus' node exporter.",
    ),
    click.option(
        "--trace-endpoint",
        metavar="URL",
        help="Send a trace of the run to this OpenTelemetry collector (OTLP over HTTP), e.g. http://127.0.0.1:4318. "
        "[default: OTEL_EXPORTER_OTLP_ENDPOINT]",
    ),
)

_FORMAT_OPTIONS = (
    click.option(
        "--foreign-layers",
        type=click.Choice(["leave", "copy", "refuse"]),
        callback=parsed_by("ForeignLayers"),
        help="Layers whose URLs are in the manifest: leave them there, copy them from the source registry, or refuse "
        "the image. [default: leave]",
    ),
    click.option(
        "--format",
        "manifest_format",
        type=click.Choice(["keep", "oci", "docker"]),
        callback=parsed_by("ManifestFormat"),
        help="Keep manifests as they are, or convert them to OCI's or Docker's media types, with new digests. "
        "[default: keep]",
    ),
)

_SELECTION_OPTIONS = (
    list_option(
        "--os",
        "os_names",
        help="Copy only these operating systems; comma-separated, can be repeated. [default: all]",
    ),
    list_option(
        *("--arch", "architectures"),
        help="Copy only these architectures, e.g. amd64,arm64,arm:v7; comma-separated, can be repeated. [default: all]",
    ),
    click.option(
        "--missing-platform",
        type=click.Choice(["skip", "fail", "copy"]),
        callback=parsed_by("MissingPlatform"),
        help="What to do with an image that has none of these platforms; copy takes all of it. [default: skip]",
    ),
    *_FORMAT_OPTIONS,
    flag("--force", help="Write manifests even if the destination already has them."),
    click.option(
        "--on-conflict",
        callback=parsed_by("parse_on_conflict"),
        metavar="POLICY",
        help="If a tag has other content at the destination: overwrite, skip, fail, backup, or backup:TAG, which "
        "keeps it under another tag such as {tag}-{date}. [default: overwrite]",
    ),
    click.option(
        "--referrers",
        callback=parsed_by("parse_referrer_selection", end=""),
        metavar="WHICH",
        help="Copy the referrers of an image (signatures, SBOMs, attestations) too: none, all, or a list such as "
        "signature,sbom; with require=signature, an image without one fails. [default: none]",
    ),
    flag(
        "--verify", help="Check each image after it was copied: tag, manifests, every blob. What is missing fails it."
    ),
    flag("--dry-run", help="Show what would be copied, with sizes, and copy nothing."),
)

debug_option = flag("--debug", help="Show tracebacks of errors, and log everything.")
quiet_debug_option = flag("--debug", expose_value=False, help="Show tracebacks of errors, and log everything.")
"""--debug of a verb that logs nothing: only `main` reads it."""

_OUTPUT_OPTIONS = (
    duration_option(
        *("--deadline", "deadline_s"),
        help="End the run after this time, e.g. 90m or 6h; what is not finished by then is abandoned.",
    ),
    file_option(
        "--state", "state_path", help="Keep a journal in FILE and resume from it: after a kill, or the next day."
    ),
    flag(
        "--trust-state",
        help="Skip images that are done according to the journal of --state, even if their tags may have moved.",
    ),
    file_option("--report", "report_path", help="Write a JSON report on the run and each of its images."),
    *PIPELINE_OPTIONS,
    click.option(
        "--output-success-images",
        metavar="FILE",
        help="Write an images file with the images that are in place (copied or unchanged).",
    ),
    click.option(
        "--output-images-format",
        type=click.Choice(["yaml", "json"]),
        default="yaml",
        show_default=True,
        help="Format of that file.",
    ),
    flag("--quiet", help="Show only warnings, failures and the summary."),
    flag("--no-progress", help="Show no progress, neither live nor in lines."),
    click.option("--log", metavar="FILE", help="Append logs of every level to FILE."),
    click.option(
        "--log-format",
        type=click.Choice(["console", "json"]),
        default="console",
        show_default=True,
        help="Logs for people or for programs; json makes everything on standard error JSON.",
    ),
    click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        help="Minimum level of logs on standard error. [default: warning]",
    ),
)

_OPTIONS = (
    *_SELECTION_OPTIONS,
    *PATIENCE_OPTIONS,
    *_RESOURCE_OPTIONS,
    *_OUTPUT_OPTIONS,
    *_OBSERVER_OPTIONS,
    debug_option,
)

DOCTOR_OPTIONS = frozenset({"--connect-timeout", "--stall-timeout", "--answer-timeout", "--deadline", "--debug"})
"""The options of a run that apply where one registry is examined."""
VERIFY_OPTIONS = frozenset(
    {
        *("--os", "--arch", "--missing-platform", "--foreign-layers", "--format"),
        *("--retries", "--retry-for", "--give-up-after", "--connect-timeout", "--stall-timeout", "--deadline"),
        *("--blobs-in-memory", "--rate", "--report", "--report-junit", "--report-markdown"),
        *("--quiet", "--no-progress", "--log", "--log-format", "--log-level", "--debug"),
        *("--metrics", "--metrics-file", "--trace-endpoint"),
    }
)
"""The options of a run that apply where nothing is copied."""


def run_options(command: Command) -> Command:
    """Add all options of a run to a verb."""
    return add_options(command, _OPTIONS)


def options_in(names: frozenset[str]) -> Callable[[Command], Command]:
    """Return a decorator that adds the options of a run with these long names."""
    return lambda command: _add_chosen(command, lambda opts: bool(names.intersection(opts)))


def options_without(*names: str) -> Callable[[Command], Command]:
    """Return a decorator that adds the options of a run except those with these long names."""
    return lambda command: _add_chosen(command, lambda opts: not {*names}.intersection(opts))


def _add_chosen(command: Command, chosen: Callable[[list[str]], bool]) -> Command:
    def bare(**_options: object) -> None: ...

    offered: list[click.Parameter] = getattr(run_options(bare), "__click_params__", [])
    before: list[click.Parameter] = command.__dict__.setdefault("__click_params__", [])
    before += [param for param in offered if chosen(param.opts)]
    return command


@dataclass(frozen=True)
class RunOptions:
    """The options of a run by the names of click's parameters. Those that are no field here are in `settings`, by the
    names that they have in the engine's `Settings`; None stands for an option that was not given.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    os_names: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    control: str | None = None
    report_junit: str | None = None
    report_markdown: str | None = None
    output_success_images: str | None = None
    output_images_format: str = "yaml"
    quiet: bool = False
    no_progress: bool = False
    log: str | None = None
    log_format: str = "console"
    log_level: str | None = None
    metrics: Any = None
    metrics_file: str | None = None
    trace_endpoint: str | None = None
    debug: bool = False

    @classmethod
    def from_click(cls, options: Mapping[str, Any]) -> RunOptions:
        """Make them from the keyword arguments of a verb. Raises UsageError where they contradict each other."""
        own = {each.name for each in fields(cls)}
        settings = {name: value for name, value in options.items() if name not in own}
        given = cls(settings, **{name: value for name, value in options.items() if name in own})
        if settings.get("trust_state") and settings.get("state_path") is None:
            raise click.UsageError("--trust-state says to trust a journal, and there is none: give --state FILE.")
        if given.dry_run and settings.get("state_path") is not None:
            raise click.UsageError("--dry-run does nothing that a journal could hold: leave --state out.")
        refuse_same_files(settings.get("report_path"), given.report_junit, given.report_markdown)
        return given

    @property
    def dry_run(self) -> bool:
        """Whether nothing is copied."""
        return bool(self.settings.get("dry_run"))

    @property
    def console_level(self) -> str:
        """The minimum level of logs on standard error."""
        return self.log_level or ("debug" if self.debug else "warning")

    @property
    def as_json(self) -> bool:
        """Whether standard error is for programs."""
        return self.log_format == "json"

    def with_settings(self, **changes: Any) -> RunOptions:
        """Return these options with other settings."""
        return replace(self, settings={**self.settings, **changes})

    def build_settings(self) -> Settings:
        """Return the settings for the engine."""
        from image_syncer import PlatformFilter, Settings

        given = {name: value for name, value in self.settings.items() if value is not None}
        platforms = PlatformFilter(os_names=self.os_names, architectures=self.architectures)
        return Settings(**{"fan_out_lag_s": _FAN_OUT_LAG_S, "platform_filter": platforms, **given})
