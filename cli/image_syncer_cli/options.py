"""The options of a run, shared by `sync` and `copy`: names, meaning, and what they become."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from image_syncer import Settings

__all__ = [
    "RunOptions",
    "debug_option",
    "parse_size_option",
    "patience_options",
    "run_options",
    "whole_number",
]

_Command = TypeVar("_Command", bound="Callable[..., Any]")

_SHOWN_CHARACTERS = 40
_MOST = 1_000_000
_MOST_WORKERS = 1024
"""More processes than any machine for which this is the right tool has CPUs."""
_MOST_STREAMS = 4096
"""More than one process can feed; each has two connections and four open files."""
_MOST_BLOBS = 1_000_000_000
"""More than any machine has memory for."""
_MOST_LAG_S = 30 * 86400
"""Stands for ever."""
_MOST_RETRIES = 1000
"""With the longest pauses, some hours of trying."""
_LONGEST_S = 366 * 86400
"""More than any run takes."""
_SYSTEMS = frozenset({"linux", "windows", "darwin", "freebsd"})


def parse_size_option(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """A callback for click: bytes, of which there must be some."""
    size_bytes = _parse_any_size(_ctx, _param, value)
    if size_bytes is not None and size_bytes < 1:
        raise click.BadParameter("it must be more than nothing.")
    return size_bytes


def _parse_any_size(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """A callback for click: bytes, or 0."""
    if value is None:
        return None
    from image_syncer.units import parse_size

    try:
        return parse_size(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None


def whole_number(
    at_least: int, at_most: int = _MOST
) -> Callable[[click.Context, click.Parameter, str | None], int | None]:
    """A callback for click: a whole number that is neither too small nor too large."""

    def parse(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
        if value is None:
            return None
        try:
            number = int(value)
        except ValueError:
            shown = value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}…"
            raise click.BadParameter(f"{shown!r} is not a whole number.") from None
        if number < at_least:
            raise click.BadParameter(f"{number} is too small: it must be {at_least} or more.")
        if number > at_most:
            raise click.BadParameter(f"it is too large: it must be {at_most:,} or less.")
        return number

    return parse


def _parse_duration_option(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    """A callback for click: seconds, of which there must be some."""
    if value is None:
        return None
    from image_syncer.units import parse_duration

    try:
        seconds = parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None
    if not 0 < seconds <= _LONGEST_S:
        raise click.BadParameter("it must be more than nothing, and a year at most.")
    return seconds


def _split_lists(_ctx: click.Context, _param: click.Parameter, values: Sequence[str]) -> tuple[str, ...]:
    """`--arch amd64,arm64 --arch arm` and any mixture; empty items are dropped, as the Go tool does."""
    items = tuple(item.strip() for value in values for item in value.split(",") if item.strip())
    for item in items:
        system, slash, rest = item.partition("/")
        if slash and system in _SYSTEMS:
            raise click.BadParameter(f"{item!r} is a whole platform: write --os {system} --arch {rest}.")
    return items


def _file_name(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """An empty name is a variable of the shell that was not set, and not the wish to have no file."""
    if value is not None and not value.strip():
        raise click.BadParameter("the name of the file is empty: is a variable not set?")
    return value


@dataclass(frozen=True)
class RunOptions:
    """What the command line says about how a run goes. The names are those of click's parameters."""

    os_names: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    force: bool = False
    verify: bool = False
    dry_run: bool = False
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
    deadline: float | None = None
    state: str | None = None
    trust_state: bool = False
    report: str | None = None
    output_success_images: str | None = None
    output_images_format: str = "yaml"
    quiet: bool = False
    no_progress: bool = False
    log: str | None = None
    log_format: str = "console"
    log_level: str | None = None
    debug: bool = False

    @classmethod
    def from_click(cls, options: Mapping[str, object]) -> RunOptions:
        """From the keyword arguments that click calls a verb with. Raises UsageError where they do not fit together."""
        given = cls(**cast("dict[str, Any]", options))
        if given.trust_state and given.state is None:
            raise click.UsageError("--trust-state says to trust a journal, and there is none: give --state FILE.")
        if given.dry_run and given.state is not None:
            raise click.UsageError("--dry-run does nothing that a journal could hold: leave --state out.")
        return given

    def build_settings(self) -> Settings:
        """The same for the engine."""
        from image_syncer import PlatformFilter, Settings

        durations = {
            "retry_for_s": self.retry_for,
            "give_up_after_s": self.give_up_after,
            "connect_timeout_s": self.connect_timeout,
            "stall_timeout_s": self.stall_timeout,
            "answer_timeout_s": self.answer_timeout,
        }
        return Settings(
            workers=self.workers,
            streams=self.streams,
            window_bytes=self.window,
            small_bytes=self.small_blobs,
            memory_bytes=self.memory,
            blobs_in_memory=self.blobs_in_memory,
            fan_out_lag_s=self.fan_out_lag,
            deadline_s=self.deadline,
            proc=self.proc,
            retries=self.retries,
            force=self.force,
            verify=self.verify,
            dry_run=self.dry_run,
            platform_filter=PlatformFilter(os_names=self.os_names, architectures=self.architectures),
            report_path=self.report,
            state_path=self.state,
            trust_state=self.trust_state,
            **{name: value for name, value in durations.items() if value is not None},
        )

    @property
    def console_level(self) -> str:
        """From which level on logs are shown: what was asked for, else warnings, with --debug everything."""
        return self.log_level or ("debug" if self.debug else "warning")


debug_option = click.option("--debug", is_flag=True, help="Show tracebacks of errors, and log everything.")

_PATIENCE = (
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
        callback=_parse_duration_option,
        metavar="DURATION",
        help="Begin no further try later than this after the first failure. [default: 30m]",
    ),
    click.option(
        "--give-up-after",
        callback=_parse_duration_option,
        metavar="DURATION",
        help="How long a registry that is down is waited for, while others are served. [default: 10m]",
    ),
    click.option(
        "--connect-timeout",
        callback=_parse_duration_option,
        metavar="DURATION",
        help="How long a connection may take, with name and TLS. [default: 15s]",
    ),
    click.option(
        "--stall-timeout",
        callback=_parse_duration_option,
        metavar="DURATION",
        help="How long a side may be silent while it is its turn. [default: 60s]",
    ),
    click.option(
        "--answer-timeout",
        callback=_parse_duration_option,
        metavar="DURATION",
        help="How long a destination may take to commit a blob of which it has every byte. [default: 5m]",
    ),
)
"""How patient a run is: retries and time-outs."""

_OPTIONS = (
    click.option(
        "--os",
        "os_names",
        multiple=True,
        metavar="NAMES",
        callback=_split_lists,
        help="Copy only these operating systems: a list with commas, or the option again. [default: all]",
    ),
    click.option(
        "--arch",
        "architectures",
        multiple=True,
        metavar="NAMES",
        callback=_split_lists,
        help="Copy only these architectures, such as amd64,arm64,arm:v7; list as above. [default: all]",
    ),
    click.option("--force", is_flag=True, help="Write manifests even where the destination has them already."),
    click.option(
        "--verify",
        is_flag=True,
        help="Look at each image after it was copied (tag, manifests, every blob); what is not there then has failed.",
    ),
    click.option("--dry-run", is_flag=True, help="Say what would be copied, with bytes, and copy nothing."),
    *_PATIENCE,
    click.option(
        "-p",
        "--proc",
        callback=whole_number(1),
        metavar="N",
        help="Most blobs in flight, over all workers. [default: no such bound]",
    ),
    click.option(
        "--workers",
        callback=whole_number(1, _MOST_WORKERS),
        metavar="N",
        help="Worker processes. [default: the CPUs this process may use, at most 8]",
    ),
    click.option(
        "--streams",
        callback=whole_number(1, _MOST_STREAMS),
        metavar="N",
        help="Most blobs that one worker streams at a time; as many are used as pay. [default: 16]",
    ),
    click.option(
        "--window",
        callback=parse_size_option,
        metavar="SIZE",
        help="Memory between source and destination of one blob, e.g. 1MiB.",
    ),
    click.option(
        "--small-blobs",
        callback=_parse_any_size,
        metavar="SIZE",
        help="Take blobs up to this size as a whole, many at a time, beside the streams; 0: none. [default: 1MiB]",
    ),
    click.option(
        "--memory",
        callback=parse_size_option,
        metavar="SIZE",
        help="Ceiling for all windows and buffers together. [default: 512MiB, or a quarter of the cgroup's if less]",
    ),
    click.option(
        "--blobs-in-memory",
        callback=whole_number(1, _MOST_BLOBS),
        default="500000",
        show_default=True,
        metavar="N",
        help="Blobs to remember in memory (125 bytes each); more go to a temporary file.",
    ),
    click.option(
        "--fan-out-lag",
        callback=whole_number(1, _MOST_LAG_S),
        default="10",
        show_default=True,
        metavar="SECONDS",
        help="How long a blob's other destinations wait for the slowest before it gets a download of its own.",
    ),
    click.option(
        "--deadline",
        callback=_parse_duration_option,
        metavar="DURATION",
        help="End the run after so long, e.g. 90m or 6h: what has not arrived by then is given up.",
    ),
    click.option(
        "--state",
        callback=_file_name,
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
        callback=_file_name,
        metavar="FILE",
        help="Write one JSON document on the run and every image of it.",
    ),
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
    debug_option,
)


def run_options(command: _Command) -> _Command:
    """Gives a verb the options of a run, in the order in which `--help` shows them."""
    return _decorate(command, _OPTIONS)


def patience_options(command: _Command) -> _Command:
    """Gives a verb those of them that say how patient a run is."""
    return _decorate(command, _PATIENCE)


def _decorate(command: _Command, options: Sequence[Callable[[_Command], _Command]]) -> _Command:
    for option in reversed(options):
        command = option(command)
    return command
