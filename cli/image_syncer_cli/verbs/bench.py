"""`image-syncer bench`: measures what this host, and a path between registries, can do."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.display.output import printable, say
from image_syncer_cli.option_values import file_option, flag, size_option
from image_syncer_cli.options import quiet_debug_option
from image_syncer_cli.shared_options import AUTH_OPTION, INSECURE_OPTION, REGISTRIES_OPTION, Files, file_options
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_syncer import Configuration
    from image_syncer.bench.bench_file import BenchFile, HostLimits, HostRate
    from image_syncer.bench.sides import PathSide
    from image_syncer.capacity.measured import MeasuredPath


_GIGABYTE = 1e9
_LABEL = 16
_COMMAND = (sys.executable, "-m", "image_syncer_cli")
_BUDGET_BYTES = 2**30
_LOOPBACK_BUDGET_BYTES = 2 * 2**30
_MAX_SHOWN = 5
_GIVE_UP_S, _STALL_S = 60.0, 20.0
"""A registry that does not answer within that is no path to be measured."""
EXIT_TERMINATED = 143
"""128 + SIGTERM, as shells report it."""


def summarize_bench(found: BenchFile) -> Iterator[str]:
    """Yield the lines of the results, at most 80 columns wide."""
    if found.best is not None:
        yield f"best: {' '.join(found.best.words)}"
    if found.limits is not None:
        yield from _host_lines(found.limits)
    for path in found.paths:
        yield from _path_lines(path)
    for side in found.sides:
        yield from _side_lines(side)


def _host_lines(limits: HostLimits) -> Iterator[str]:
    from image_syncer.units import format_rate

    rows: tuple[tuple[str, HostRate | None, bool], ...] = (
        ("SHA-256", limits.sha256_bytes_per_s, True),
        ("SHA-512", limits.sha512_bytes_per_s, True),
        ("pipe, plain HTTP", limits.pipe_bytes_per_s, True),
        ("pipe, TLS", limits.tls_bytes_per_s, True),
        ("small requests", limits.requests_per_s, False),
    )
    cores = "1 core" if limits.cpus == 1 else f"all {limits.cpus} cores"
    yield f"{'this host, at most':<20}{'a core':>14}{cores:>16}{'for a second of our CPU':>26}"
    for label, rate, in_bytes in rows:
        if rate is None:
            continue
        shown = [format_rate(one) if in_bytes else f"{one:,.0f}/s" for one in (rate.core, rate.all, rate.cpu)]
        yield f"  {label:<18}{shown[0]:>14}{shown[1]:>16}{shown[2]:>26}"


def _path_lines(path: MeasuredPath) -> Iterator[str]:
    from image_syncer.units import format_rate, format_size

    def micros(seconds: float) -> str:
        return f"{seconds * 1e6:,.0f} µs"

    tag, small, byte = path.tag, path.small, path.byte
    workers = f"{byte.worker_s * _GIGABYTE:.2f} s of a worker, {byte.machine_s * _GIGABYTE:.2f} s of the machine"
    memory = f"{format_size(path.coordinator_memory_bytes)}, and {format_size(path.worker_memory_bytes)} a worker"
    rows = [
        ("start of a run", f"{path.start_s:.2f} s, workers {path.workers_start_s:.2f} s more"),
        ("a tag", f"{micros(tag.coordinator_s)} of processor time, {tag.latency_s * 1e3:.1f} ms away"),
        ("an image", f"{micros(path.image.coordinator_s)} beside its blobs"),
        ("a small blob", f"{micros(small.worker_s + small.coordinator_s)}, {small.latency_s * 1e3:.1f} ms away"),
        ("a gigabyte", workers),
        ("processors", f"{path.cores:.1f} to be had, {format_rate(path.host['sha256_bytes_per_s'])} of SHA-256 each"),
        ("memory", memory),
    ]
    if path.limits.stream_bytes_per_s is not None:
        rows.append(("one stream", format_rate(path.limits.stream_bytes_per_s)))
    if path.many_bytes_per_s is not None:
        rows.append(("many streams", f"{format_rate(path.many_bytes_per_s)} together"))
    if path.limits.path_bytes_per_s is not None:
        rows.append(("the path", f"{format_rate(path.limits.path_bytes_per_s)} at most"))
    yield f"from {printable(path.source)}"
    yield from (f"  {label:<{_LABEL}}{text}" for label, text in rows)


def _side_lines(side: PathSide) -> Iterator[str]:
    yield f"{printable(side.registry)} as {side.side}"
    rows = []
    if side.first_s is not None and side.latency_s is not None:
        first = f"the first answer after {side.first_s * 1e3:,.1f} ms"
        rows.append(("away", f"{side.latency_s * 1e3:,.1f} ms; {first}"))
    if side.request_s:
        told = ", ".join(f"{name} {seconds * 1e3:,.1f} ms" for name, seconds in side.request_s.items())
        rows.append(("a request", told))
    if side.requests_per_s is not None:
        rows.append(("requests", f"{side.requests_per_s:,.0f} a second, 16 at a time"))
    rows.append(("limits", printable(", ".join(_limits_of(side)) or "none met")))
    if side.trouble is not None:
        rows.append(("trouble", printable(side.trouble)))
    yield from (f"  {label:<{_LABEL}}{text}" for label, text in rows)


def _limits_of(side: PathSide) -> Iterator[str]:
    from image_syncer.units import format_duration

    if side.allowance is not None:
        yield f"it allows {side.allowance}"
    if side.refused:
        yield f"it refused {side.refused:,} (429)"
    if side.left_alone_s:
        yield f"was paused for {format_duration(side.left_alone_s)}"
    if side.paced_per_s is not None:
        yield f"took {side.paced_per_s:.3g} requests a second"
    if side.connections is not None:
        yield f"took {side.connections:,} connections"


@click.command(cls=Verb)
@click.option("--src", metavar="REPOSITORY", help="Measure the path from this repository, with its images, to --dst.")
@click.option("--dst", metavar="REPOSITORY", help="Destination repository; see --src.")
@file_option(
    "--plan",
    "plan_path",
    help="Measure the paths of this plan (plan --save), with samples of its images. [default: two embedded registries]",
)
@file_options(AUTH_OPTION, REGISTRIES_OPTION, INSECURE_OPTION)
@size_option("--budget", help="Maximum bytes to move to each destination registry. [default: 1GiB]")
@flag(
    *("--sweep", "sweeps"),
    help="Find the workers, streams and window beyond which more do not help; it moves a multiple of the budget. "
    "Without a path, that is always done.",
)
@file_option("--save", help="Write the measurements to FILE, for estimate.")
@flag("--keep", help="Keep what the bench wrote to the destinations.")
@flag("--quiet", help="Show only the results.")
@quiet_debug_option
def bench(  # noqa: PLR0913 - one parameter an option
    *,
    src: str | None,
    dst: str | None,
    plan_path: str | None,
    files: Files,
    budget: int | None,
    sweeps: bool,
    save: str | None,
    keep: bool,
    quiet: bool,
) -> int:
    """Measure what runs cost: on the processors of this host, and on the path between the registries of a plan.

    Without --plan or --src and --dst, uses two embedded registries on this machine. With them, copies samples of the
    images into repositories of its own below the destinations, and deletes them afterwards; nothing else is written.
    """
    import image_syncer
    from image_syncer.bench.bench_file import save_bench
    from image_syncer.bench.loopback import bench_host
    from image_syncer.bench.path import bench_plan
    from image_syncer.telemetry.partial_file import PartialFile

    if (src is None) is not (dst is None) or (src is not None and plan_path is not None):
        raise click.UsageError("give --src and --dst, or --plan, or none of them.")
    if save is not None:
        PartialFile.try_out(save, noun="the bench", option="--save")

    def tell(text: str) -> None:
        if not quiet:
            say(text, err=True)

    with _ending_on_sigterm(), tempfile.TemporaryDirectory(prefix="image-syncer-bench-") as name:
        folder = Path(name)
        if plan_path is None and src is None:
            most_bytes = budget or _LOOPBACK_BUDGET_BYTES
            found = bench_host(_COMMAND, folder, most_bytes=most_bytes, tell=tell)
        else:
            configuration = files.load_registries()
            if src is not None and dst is not None:
                plan_path = _plan_of(configuration, src, dst, folder)
            with _cleaning_up(configuration, keeps=keep) as written:
                found = bench_plan(
                    image_syncer.load_plan(str(plan_path)),
                    _COMMAND,
                    _access_words(files, folder),
                    folder,
                    most_bytes=budget or _BUDGET_BYTES,
                    configuration=configuration,
                    sweeps=sweeps,
                    tell=tell,
                    on_written=written.extend,
                )
    for line in summarize_bench(found):
        say(line)
    if save is not None:
        save_bench(found, save)
    return 0


@contextmanager
def _cleaning_up(configuration: Configuration, *, keeps: bool) -> Iterator[list[Any]]:
    """Delete what the block notes that it wrote to registries, however it ends; say what could not be deleted."""
    from image_syncer.bench.sides import delete_written

    written: list[Any] = []
    try:
        yield written
    finally:
        if written and not keeps:
            try:
                for text in delete_written(configuration, written):
                    say(text, err=True)
            except BaseException:
                places = sorted({str(repository) for repository, _ in written})
                more = f" and {len(places) - _MAX_SHOWN:,} more" if len(places) > _MAX_SHOWN else ""
                say(f"may be left at {', '.join(places[:_MAX_SHOWN])}{more}", err=True)
                raise


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """Have SIGTERM unwind the block as Ctrl-C does, so that runs end and what was written is deleted."""

    def end(_number: int, _frame: object) -> None:
        sys.exit(EXIT_TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _plan_of(configuration: Configuration, src: str, dst: str, folder: Path) -> str:
    """Write a plan of all images of one repository, and return its path."""
    import image_syncer

    path = str(folder / "plan.json")
    rule = image_syncer.rule_from_arguments(src, dst, all_tags=True, platforms=())
    settings = image_syncer.Settings(plan_path=path, give_up_after_s=_GIVE_UP_S, stall_timeout_s=_STALL_S)
    report = image_syncer.plan(replace(configuration, rules=(rule,)), settings)
    if report.exit_code:
        failure = next(iter(report.failures), None)
        raise image_syncer.SyncError(f"{src} cannot be planned: {failure.reason if failure else report.unwritten}")
    return path


def _access_words(files: Files, folder: Path) -> list[str]:
    """Return the options by which runs reach the registries. With a plan there is no --insecure: those hosts go into a
    file.
    """
    if files.insecure_hosts:
        path = folder / "registries.json"
        path.write_text(json.dumps({host: {"insecure": True} for host in files.insecure_hosts}), encoding="utf-8")
        return ["--auth", str(path)]
    return ["--config", files.config] if files.config is not None else files.access_words()
