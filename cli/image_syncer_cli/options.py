"""The options of a run, shared by `sync` and `copy`: names, meaning, and what they become.

The options that say in which form images arrive.

The options that say how patient a run is: retries and time-outs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from image_syncer_cli.observer_options import OBSERVER_OPTIONS
from image_syncer_cli.option_values import (
    conflict_policy,
    file_name,
    parse_duration_option,
    referrer_selection,
    split_lists,
    whole_number,
)
from image_syncer_cli.pipeline_options import PIPELINE_OPTIONS, refuse_same_files
from image_syncer_cli.resource_options import RESOURCE_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from image_syncer import RateSchedule, Settings

__all__ = [
    "FORM_OPTIONS",
    "PATIENCE_OPTIONS",
    "RunOptions",
    "debug_option",
    "patience_options",
    "run_options",
]


_MOST_RETRIES = 1000
"""With the longest pauses, some hours of trying."""

PATIENCE_OPTIONS = (
    click.option(
        "-r",
        "--retries",
        callback=whole_number(0, _MOST_RETRIES),
        default="2",
        show_default=True,
        metavar="N",
        help="Further tries after the first.",
    ),
    click.option(
        "--retry-for",
        callback=parse_duration_option,
        metavar="DURATION",
        help="Begin no further try later than this after the first failure. [default: 30m]",
    ),
    click.option(
        "--give-up-after",
        callback=parse_duration_option,
        metavar="DURATION",
        help="How long a registry that is down is waited for, while others are served. [default: 10m]",
    ),
    click.option(
        "--connect-timeout",
        callback=parse_duration_option,
        metavar="DURATION",
        help="How long a connection may take, with name and TLS. [default: 15s]",
    ),
    click.option(
        "--stall-timeout",
        callback=parse_duration_option,
        metavar="DURATION",
        help="How long a side may be silent while it is its turn. [default: 60s]",
    ),
    click.option(
        "--answer-timeout",
        callback=parse_duration_option,
        metavar="DURATION",
        help="How long a destination may take to commit a blob of which it has every byte. [default: 5m]",
    ),
)
"""In the order in which `--help` shows them."""


FORM_OPTIONS = (
    click.option(
        "--foreign-layers",
        type=click.Choice(["leave", "copy", "refuse"]),
        help="Layers that a registry need not have, since the manifest names their URLs: left there, copied from the "
        "source registry, or the image fails. [default: leave]",
    ),
    click.option(
        "--format",
        "manifest_format",
        type=click.Choice(["keep", "oci", "docker"]),
        help="Manifests as they are, or converted to OCI's or Docker's media types, under new digests. [default: keep]",
    ),
)


_Command = TypeVar("_Command", bound="Callable[..., Any]")


@dataclass(frozen=True)
class RunOptions:
    """What the command line says about how a run goes. The names are those of click's parameters."""

    os_names: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    missing_platform: str | None = None
    foreign_layers: str | None = None
    manifest_format: str | None = None
    force: bool = False
    on_conflict: str | None = None
    referrers: str | None = None
    verify: bool = False
    dry_run: bool = False
    ahead: bool = False
    retries: int = 2
    retry_for: float | None = None
    give_up_after: float | None = None
    connect_timeout: float | None = None
    stall_timeout: float | None = None
    answer_timeout: float | None = None
    proc: int | None = None
    workers: int | None = None
    streams: int | None = None
    window: int | None = None
    small_blobs: int | None = None
    memory: int | None = None
    blobs_in_memory: int = 500_000
    fan_out_lag: int = 10
    rate: RateSchedule | None = None
    deadline: float | None = None
    state: str | None = None
    trust_state: bool = False
    control: str | None = None
    report: str | None = None
    report_junit: str | None = None
    report_markdown: str | None = None
    plan: str | None = None
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
    def from_click(cls, options: Mapping[str, object]) -> RunOptions:
        """From the keyword arguments that click calls a verb with. Raises UsageError where they do not fit together."""
        given = cls(**cast("dict[str, Any]", options))
        if given.trust_state and given.state is None:
            raise click.UsageError("--trust-state says to trust a journal, and there is none: give --state FILE.")
        if given.dry_run and given.state is not None:
            raise click.UsageError("--dry-run does nothing that a journal could hold: leave --state out.")
        refuse_same_files(given.report, given.report_junit, given.report_markdown)
        return given

    def build_settings(self) -> Settings:
        """The same for the engine."""
        from image_syncer import (
            ForeignLayers,
            ManifestFormat,
            MissingPlatform,
            PlatformFilter,
            Settings,
            parse_on_conflict,
            parse_referrer_selection,
        )

        others: dict[str, Any] = {
            "retry_for_s": self.retry_for,
            "give_up_after_s": self.give_up_after,
            "connect_timeout_s": self.connect_timeout,
            "stall_timeout_s": self.stall_timeout,
            "answer_timeout_s": self.answer_timeout,
        }
        if self.missing_platform is not None:
            others["missing_platform"] = MissingPlatform(self.missing_platform)
        if self.foreign_layers is not None:
            others["foreign_layers"] = ForeignLayers(self.foreign_layers)
        if self.manifest_format is not None:
            others["manifest_format"] = ManifestFormat(self.manifest_format)
        if self.on_conflict is not None:
            others["on_conflict"] = parse_on_conflict(self.on_conflict)
        if self.referrers is not None:
            others["referrers"] = parse_referrer_selection(self.referrers)
        return Settings(
            workers=self.workers,
            streams=self.streams,
            window_bytes=self.window,
            small_bytes=self.small_blobs,
            memory_bytes=self.memory,
            blobs_in_memory=self.blobs_in_memory,
            fan_out_lag_s=self.fan_out_lag,
            rate=self.rate,
            deadline_s=self.deadline,
            proc=self.proc,
            retries=self.retries,
            force=self.force,
            verify=self.verify,
            dry_run=self.dry_run,
            tell_ahead=self.ahead,
            platform_filter=PlatformFilter(os_names=self.os_names, architectures=self.architectures),
            report_path=self.report,
            plan_path=self.plan,
            state_path=self.state,
            trust_state=self.trust_state,
            **{name: value for name, value in others.items() if value is not None},
        )

    @property
    def console_level(self) -> str:
        """From which level on logs are shown: what was asked for, else warnings, with --debug everything."""
        return self.log_level or ("debug" if self.debug else "warning")


debug_option = click.option("--debug", is_flag=True, help="Show tracebacks of errors, and log everything.")

_OPTIONS = (
    click.option(
        "--os",
        "os_names",
        multiple=True,
        metavar="NAMES",
        callback=split_lists,
        help="Copy only these operating systems: a list with commas, or the option again. [default: all]",
    ),
    click.option(
        "--arch",
        "architectures",
        multiple=True,
        metavar="NAMES",
        callback=split_lists,
        help="Copy only these architectures, such as amd64,arm64,arm:v7; list as above. [default: all]",
    ),
    click.option(
        "--missing-platform",
        type=click.Choice(["skip", "fail", "copy"]),
        help="What to do with an image that has none of these platforms; copy takes all of it. [default: skip]",
    ),
    *FORM_OPTIONS,
    click.option("--force", is_flag=True, help="Write manifests even where the destination has them already."),
    click.option(
        "--on-conflict",
        callback=conflict_policy,
        metavar="POLICY",
        help="Where a tag has other content at the destination: overwrite, skip, fail, backup, or backup:TAG, which "
        "keeps it under another tag such as {tag}-{date}. [default: overwrite]",
    ),
    click.option(
        "--referrers",
        callback=referrer_selection,
        metavar="WHICH",
        help="Carry along what refers to an image (signatures, SBOMs, attestations): none, all, or which of them, such "
        "as signature,sbom; with require=signature an image without fails. [default: none]",
    ),
    click.option(
        "--verify",
        is_flag=True,
        help="Look at each image after it was copied (tag, manifests, every blob); what is not there then has failed.",
    ),
    click.option("--dry-run", is_flag=True, help="Say what would be copied, with bytes, and copy nothing."),
    *PATIENCE_OPTIONS,
    *RESOURCE_OPTIONS,
    click.option(
        "--deadline",
        callback=parse_duration_option,
        metavar="DURATION",
        help="End the run after so long, e.g. 90m or 6h: what has not arrived by then is given up.",
    ),
    click.option(
        "--state",
        callback=file_name,
        metavar="FILE",
        help="Keep a journal in FILE, and go on from what it has: after a kill, or the next day.",
    ),
    click.option(
        "--trust-state",
        is_flag=True,
        help="Ask nobody about images that the journal of --state has, not even whether their tags have moved.",
    ),
    click.option(
        "--report",
        callback=file_name,
        metavar="FILE",
        help="Write one JSON document on the run and every image of it.",
    ),
    *PIPELINE_OPTIONS,
    click.option(
        "--output-success-images",
        metavar="FILE",
        help="Write the images that are as wanted (copied, or unchanged) as an images file.",
    ),
    click.option(
        "--output-images-format",
        type=click.Choice(["yaml", "json"]),
        default="yaml",
        show_default=True,
        help="Format of that file.",
    ),
    click.option("--quiet", is_flag=True, help="Show nothing but warnings, failures and the summary."),
    click.option("--no-progress", is_flag=True, help="Show no progress, neither live nor in lines."),
    click.option("--log", metavar="FILE", help="Append logs of every level to FILE."),
    click.option(
        "--log-format",
        type=click.Choice(["console", "json"]),
        default="console",
        show_default=True,
        help="Logs for people or for programs; json makes JSON of everything on standard error.",
    ),
    click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        help="Logs on standard error from this level on. [default: warning]",
    ),
    *OBSERVER_OPTIONS,
    debug_option,
)


def run_options(command: _Command) -> _Command:
    """Gives a verb the options of a run, in the order in which `--help` shows them."""
    return _decorate(command, _OPTIONS)


def patience_options(command: _Command) -> _Command:
    """Gives a verb those of them that say how patient a run is."""
    return _decorate(command, PATIENCE_OPTIONS)


def _decorate(command: _Command, options: Sequence[Callable[[_Command], _Command]]) -> _Command:
    for option in reversed(options):
        command = option(command)
    return command
