"""`image-syncer demo`: copies made-up images between two local registries, without any account."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.display.output import say
from image_syncer_cli.option_values import number_option, size_option
from image_syncer_cli.options import RunOptions, debug_option
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from image_syncer import Configuration, Report
    from image_syncer.embedded import CounterValues, DemoImage, RegistryProcess


EXIT_FAILED = 1
EXIT_TERMINATED = 143
"""128 + SIGTERM, as shells report it."""

_DISK_FACTOR = 3
"""Both registries hold the content once, and the disk must not be filled to the last byte."""


@click.command(cls=Verb)
@size_option("--size", default="256MiB", show_default=True, help="Size of the big blob.")
@number_option("--workers", help="Worker processes, as for sync.")
@click.option("--no-progress", is_flag=True, help="Show no progress, neither live nor in lines.")
@click.option("--keep-open", is_flag=True, help="Keep both registries running at the end, until Ctrl-C.")
@debug_option
def demo(size: int, workers: int | None, no_progress: bool, keep_open: bool, debug: bool) -> int:
    """Show a sync with made-up images: no account and no registry needed.

    Starts two test registries on loopback, fills one, and copies everything to the other with the real engine. An
    independent reader verifies every digest, and a second run shows that nothing moves twice.
    """
    from contextlib import ExitStack

    from image_syncer import configure_logging

    options = RunOptions({"workers": workers}, no_progress=no_progress, debug=debug)
    configure_logging(level=options.console_level)
    with ExitStack() as stack:
        before = _end_cleanly_on_sigterm()
        stack.callback(signal.signal, signal.SIGTERM, before)
        stage = _set_stage(stack, size)
        passed = _show(stage, options)
        if passed and keep_open:
            _wait_for_ctrl_c()
    return 0 if passed else EXIT_FAILED


@dataclass(frozen=True)
class _Stage:
    source: RegistryProcess
    destination: RegistryProcess
    images: Sequence[DemoImage]

    def build_configuration(self) -> Configuration:
        from image_syncer import Configuration, RegistryBook, RegistryEntry, rule_from_arguments

        source, destination = self.source.address, self.destination.address
        names = dict.fromkeys(image.repository for image in self.images)
        rules = tuple(
            rule_from_arguments(f"{source}/{name}", f"{destination}/mirror/{name}", all_tags=True, platforms=())
            for name in names
        )
        return Configuration(
            rules, RegistryBook([RegistryEntry(host, insecure=True) for host in (source, destination)])
        )


@dataclass(frozen=True)
class _Run:
    """One run: the report of the engine, and what the two registries counted meanwhile."""

    report: Report
    source: CounterValues
    destination: CounterValues


def _set_stage(stack: ExitStack, size_bytes: int) -> _Stage:
    from image_syncer.embedded import RegistryProcess, build_demo_images, push_over_http
    from image_syncer.units import format_size

    root = _find_room(stack, size_bytes)
    names = ("source", "destination")
    source, destination = (
        stack.enter_context(RegistryProcess(None if root is None else f"{root}/{name}")) for name in names
    )
    say("Two registries for tests, each in a process of its own:")
    for name, server in zip(names, (source, destination), strict=True):
        say(f"  {name:<12} {server.url}")
    say("\nFilling the source with made-up images …")
    images = build_demo_images(size_bytes)
    for image in images:
        push_over_http(source.url, image.repository, image.manifest, [image.tag])
    blobs = {blob.digest: blob.size for image in images for blob in image.manifest.all_blobs()}
    repositories = len({image.repository for image in images})
    say(
        f"  {len(images)} tags in {repositories} repositories: {len(blobs)} distinct blobs, "
        f"{format_size(sum(blobs.values()))}"
    )
    return _Stage(source, destination, images)


def _find_room(stack: ExitStack, size_bytes: int) -> str | None:
    """Return a temporary folder for both registries, or None if the disk has no room: then they use memory."""
    import shutil
    import tempfile

    try:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="image-syncer-demo-"))
        return folder if shutil.disk_usage(folder).free > _DISK_FACTOR * size_bytes else None
    except OSError:
        return None


def _show(stage: _Stage, options: RunOptions) -> bool:
    say("\nFirst run: everything is new.")
    first = _run(stage, options)
    if first.report.exit_code:
        return _stop(first.report)
    if not _audit(stage):
        return False
    say("\nSecond run: everything is there already.")
    second = _run(stage, options)
    if second.report.exit_code:
        return _stop(second.report)
    _say_comparison(first, second)
    if second.destination.bytes_in or second.source.bytes_out:
        say("\nThe second run moved bytes, which it should not have.", err=True)
        return False
    say("\nAll is well: every byte arrived, and the second run moved nothing.")
    return True


def _run(stage: _Stage, options: RunOptions) -> _Run:
    from image_syncer_cli.run import run_with_display

    registries = (stage.source, stage.destination)
    before = [registry.counters() for registry in registries]
    report = run_with_display(stage.build_configuration(), options)
    _end_cleanly_on_sigterm()
    source, destination = (one.counters().minus(then) for one, then in zip(registries, before, strict=True))
    say(f"  {report.summary_line()}")
    return _Run(report, source, destination)


def _stop(report: Report) -> bool:
    from image_syncer_cli.display.render import say_failures

    say_failures(report, as_json=False)
    if report.interrupted:
        raise click.exceptions.Exit(report.exit_code)
    return False


def _audit(stage: _Stage) -> bool:
    from image_syncer.embedded import audit_registry
    from image_syncer.units import format_size

    say("\nReading everything back from the destination, with Python's own HTTP client and hashlib …")
    expected = [replace(image, repository=f"mirror/{image.repository}") for image in stage.images]
    audit = audit_registry(stage.destination.url, expected)
    say(
        f"  {audit.manifests} manifests and {audit.blobs} blobs, {format_size(audit.size_bytes)}: "
        f"{len(audit.mistakes) or 'no'} mistake{'' if len(audit.mistakes) == 1 else 's'}"
    )
    for mistake in audit.mistakes:
        say(f"  {mistake}", err=True)
    return not audit.mistakes


def _say_comparison(first: _Run, second: _Run) -> None:
    from image_syncer.units import format_size

    say(f"\n  {'':<28}{'first run':>12}{'second run':>14}")
    runs = (first, second)
    rows = [
        ("requests to the source", [f"{run.source.total_requests:,}" for run in runs]),
        ("requests to the destination", [f"{run.destination.total_requests:,}" for run in runs]),
        ("bytes from the source", [format_size(run.source.bytes_out) for run in runs]),
        ("bytes to the destination", [format_size(run.destination.bytes_in) for run in runs]),
    ]
    for label, (one, two) in rows:
        say(f"  {label:<28}{one:>12}{two:>14}")


def _wait_for_ctrl_c() -> None:
    import threading

    try:
        say("\nBoth registries stay open. Ctrl-C ends them.")
        threading.Event().wait()
    except KeyboardInterrupt:
        say("")


def _end_cleanly_on_sigterm() -> Any:
    """Have SIGTERM end the registries and remove the folder too, and return the former handler.

    During a run the engine handles the signal itself, and restores the default afterwards.
    """

    def end(_number: int, _frame: object) -> None:
        sys.exit(EXIT_TERMINATED)

    return signal.signal(signal.SIGTERM, end)
