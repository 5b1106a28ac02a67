"""`image-syncer bench`: what this host, and a path between registries, can do."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.option_values import file_name, parse_size_option
from image_syncer_cli.options import debug_option
from image_syncer_cli.output import say
from image_syncer_cli.registry_options import auth_option, insecure_option, read_registries
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from image_syncer import Configuration

__all__ = ["bench"]

COMMAND = (sys.executable, "-m", "image_syncer_cli")
BUDGET = 2**30
LOOPBACK_BUDGET = 2 * 2**30
MOST_PLACES = 5
GIVE_UP_S, STALL_S = 60.0, 20.0
"""A registry that does not answer is no path that could be measured."""
EXIT_TERMINATED = 143
"""128 + SIGTERM, as shells report it."""


@click.command(cls=Verb)
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
    if save is not None:
        image_syncer.PartialFile.try_out(save, noun="the bench", option="--save")

    def tell(text: str) -> None:
        if not quiet:
            say(text, err=True)

    with _ending_on_sigterm(), tempfile.TemporaryDirectory(prefix="image-syncer-bench-") as name:
        folder = Path(name)
        if plan_path is None and src is None:
            found = image_syncer.bench_host(COMMAND, folder, most_bytes=budget or LOOPBACK_BUDGET, tell=tell)
        else:
            configuration = read_registries(auth, insecure_hosts, config)
            if src is not None and dst is not None:
                plan_path = _plan_of(configuration, src, dst, folder)
            with _cleaning_up(configuration, keeps=keep) as written:
                found = image_syncer.bench_plan(
                    image_syncer.load_plan(str(plan_path)),
                    COMMAND,
                    _words(auth, config, insecure_hosts, folder),
                    folder,
                    most_bytes=budget or BUDGET,
                    configuration=configuration,
                    sweeps=sweeps,
                    tell=tell,
                    on_written=written.extend,
                )
    from image_syncer_cli.bench_summary import summarize_bench

    for line in summarize_bench(found):
        say(line)
    if save is not None:
        image_syncer.save_bench(found, save)
    return 0


@contextmanager
def _cleaning_up(configuration: Configuration, *, keeps: bool) -> Iterator[list[Any]]:
    """The block notes what it writes to registries; whichever way it ends, that is deleted, or told."""
    import image_syncer

    written: list[Any] = []
    try:
        yield written
    finally:
        if written and not keeps:
            try:
                for text in image_syncer.delete_written(configuration, written):
                    say(text, err=True)
            except BaseException:
                places = sorted({str(repository) for repository, _ in written})
                more = f" and {len(places) - MOST_PLACES:,} more" if len(places) > MOST_PLACES else ""
                say(f"may be left at {', '.join(places[:MOST_PLACES])}{more}", err=True)
                raise


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """SIGTERM unwinds the block as Ctrl-C does, so that runs end and what was written goes."""

    def end(_number: int, _frame: object) -> None:
        sys.exit(EXIT_TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _plan_of(configuration: Configuration, src: str, dst: str, folder: Path) -> str:
    """A plan of all that is in one repository."""
    import image_syncer

    path = str(folder / "plan.json")
    rule = image_syncer.rule_from_arguments(src, dst, all_tags=True, platforms=())
    settings = image_syncer.Settings(plan_path=path, give_up_after_s=GIVE_UP_S, stall_timeout_s=STALL_S)
    report = image_syncer.plan(replace(configuration, rules=(rule,)), settings)
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
