"""`image-syncer bench`: what this host, and a path between registries, can do."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from image_syncer_cli.option_values import file_name, parse_size_option
from image_syncer_cli.options import debug_option
from image_syncer_cli.output import say
from image_syncer_cli.registry_options import auth_option, insecure_option, read_registries
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer import BenchFile, Configuration, MeasuredPath

__all__ = ["bench"]

COMMAND = (sys.executable, "-m", "image_syncer_cli")
BUDGET = 2**30
LOOPBACK_BUDGET = 2 * 2**30
GIGABYTE = 1e9


@click.command(cls=Verb, short_help="Measure this host, or the path of a plan, for estimates.")
@click.option("--src", metavar="REPOSITORY", help="Measure the path from this repository, with its images, to --dst.")
@click.option("--dst", metavar="REPOSITORY", help="Where to; see --src.")
@click.option(
    "--plan",
    "plan_path",
    callback=file_name,
    metavar="FILE",
    help="Measure the paths of this plan (plan --save), with samples of its images. [default: registries of our own]",
)
@auth_option
@click.option("--config", metavar="FILE", help="The same from a file that has the images too, which are not read.")
@insecure_option
@click.option(
    "--budget",
    callback=parse_size_option,
    metavar="SIZE",
    help="Bytes that are moved at most, to each destination registry. [default: 1GiB]",
)
@click.option(
    "--sweep",
    "sweeps",
    is_flag=True,
    help="Look for the workers, streams and window beyond which more does not pay; it moves a multiple of the budget. "
    "Without a path, that is always done.",
)
@click.option("--save", callback=file_name, metavar="FILE", help="Write what was measured there, for estimate.")
@click.option("--keep", is_flag=True, help="Leave what the bench wrote to the destinations there.")
@click.option("--quiet", is_flag=True, help="Say only what was found.")
@debug_option
def bench(
    *,
    src: str | None,
    dst: str | None,
    plan_path: str | None,
    auth: str | None,
    config: str | None,
    insecure_hosts: tuple[str, ...],
    budget: int | None,
    sweeps: bool,
    save: str | None,
    keep: bool,
    quiet: bool,
    debug: bool,  # noqa: ARG001 - main reads --debug
) -> int:
    """Measure what runs take: of this host's processors, and of the path between the registries of a plan.

    Without --plan or --src and --dst, on two embedded registries on this machine. With them, samples of the images are
    copied into repositories of the bench's own below the destinations, and deleted after; no other one is written.
    """
    import image_syncer

    if (src is None) is not (dst is None) or (src is not None and plan_path is not None):
        raise click.UsageError("give --src and --dst, or --plan, or none of them.")

    def tell(text: str) -> None:
        if not quiet:
            say(text, err=True)

    with tempfile.TemporaryDirectory(prefix="image-syncer-bench-") as name:
        folder = Path(name)
        if plan_path is None and src is None:
            with image_syncer.loopback(folder) as own:
                access = _words(None, None, own.insecure, folder)
                most = budget or LOOPBACK_BUDGET
                result = image_syncer.bench_plan(
                    own.plan, COMMAND, access, folder, most_bytes=most, sweeps=True, tell=tell
                ).found
        else:
            configuration = read_registries(auth, insecure_hosts, config)
            if src is not None and dst is not None:
                plan_path = _plan_of(configuration, src, dst, folder)
            access = _words(auth, config, insecure_hosts, folder)
            found = image_syncer.bench_plan(
                image_syncer.load_plan(str(plan_path)),
                COMMAND,
                access,
                folder,
                most_bytes=budget or BUDGET,
                sweeps=sweeps,
                tell=tell,
            )
            for text in () if keep else image_syncer.delete_written(configuration, found.written):
                say(text, err=True)
            result = found.found
    if result.best is not None:
        say(f"best: {' '.join(result.best.words)}")
    for line in _lines(result):
        say(line)
    if save is not None:
        image_syncer.save_bench(result, save)
    return 0


def _plan_of(configuration: Configuration, src: str, dst: str, folder: Path) -> str:
    """A plan of all that is in one repository."""
    import image_syncer

    path = str(folder / "plan.json")
    rule = image_syncer.rule_from_arguments(src, dst, all_tags=True, platforms=())
    report = image_syncer.plan(replace(configuration, rules=(rule,)), image_syncer.Settings(plan_path=path))
    if report.exit_code:
        failure = next(iter(report.failures), None)
        raise image_syncer.SyncError(f"{src} cannot be planned: {failure.reason if failure else report.unwritten}")
    return path


def _words(auth: str | None, config: str | None, insecure: Sequence[str], folder: Path) -> list[str]:
    """How runs reach the registries. They know no --insecure beside a plan: those hosts are in a file of their own."""
    if insecure:
        path = folder / "registries.json"
        path.write_text(json.dumps({host: {"insecure": True} for host in insecure}), encoding="utf-8")
        return ["--auth", str(path)]
    if config is not None:
        return ["--config", os.fspath(config)]
    return [] if auth is None else ["--auth", os.fspath(auth)]


def _lines(found: BenchFile) -> list[str]:
    return [line for path in found.paths for line in _path_lines(path)]


def _path_lines(path: MeasuredPath) -> list[str]:
    from image_syncer.units import format_rate, format_size

    def micros(seconds: float) -> str:
        return f"{seconds * 1e6:,.0f} µs"

    tag, small, byte = path.tag, path.small, path.byte
    workers = f"{byte.worker_s * GIGABYTE:.2f} s of a worker, {byte.machine_s * GIGABYTE:.2f} s of the machine"
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
    if path.limits.path_bytes_per_s is not None:
        rows.append(("the path", f"{format_rate(path.limits.path_bytes_per_s)} at most"))
    if path.limits.stream_bytes_per_s is not None:
        rows.append(("one stream", format_rate(path.limits.stream_bytes_per_s)))
    return [f"from {path.source}", *(f"  {label:<16}{text}" for label, text in rows)]
