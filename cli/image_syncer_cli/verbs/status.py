"""`image-syncer status`: shows the state of a run from its journal, also while the run writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from image_syncer_cli.display.output import clip, printable, say
from image_syncer_cli.display.timeline_words import plural
from image_syncer_cli.options import quiet_debug_option
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_syncer.journal.status import JournalStatus


_LABEL = 13
_FAILURES = 20
"""Failures that are shown; --json has more."""
_ENDS = {"complete": "has ended", "crashed": "has crashed", "deadline": "has ended at its deadline"}


@click.command(cls=Verb)
@click.argument("file", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object, with up to 1000 failures.")
@quiet_debug_option
def status(file: str, as_json: bool) -> None:
    """Show the state of a run from its journal FILE (--state): what is done, left and failing, and why.

    While the run still writes it, shows an estimate of the time left too. Changes nothing, and uses no network.
    """
    from image_syncer.journal.status import load_status

    found = load_status(file)
    if as_json:
        import json

        say(json.dumps(found.as_data(), indent=2, ensure_ascii=False))
    else:
        say("\n".join(_describe(found)))


def _describe(found: JournalStatus) -> Iterator[str]:
    yield printable(f"{found.path}: {_head(found)}")
    for label, text in _facts(found):
        yield f"{label:<{_LABEL}}{printable(text)}"
    for failure in found.failures[:_FAILURES]:
        yield printable(f"failed: {failure.source} → {failure.destination}")
        yield f"  {printable(clip(failure.reason or 'no reason is known'))}"
    more = found.images_failed - min(len(found.failures), _FAILURES)
    if found.failures and more > 0:
        yield f"… and {more:,} more failed."


def _head(found: JournalStatus) -> str:
    run = found.run
    if run is None:
        if found.pid is None:
            return "no run has told anything yet"
        return f"a run has just begun (process {found.pid})"
    begun = f"begun {run.started_at}"
    process = f" (process {found.pid})" if found.pid else ""
    if found.state == "running":
        return f"run {run.number} is under way{process}, {begun}"
    if run.ended is None:
        return f"run {run.number} was killed, {begun}, last heard of {run.told_at}"
    how = _ENDS.get(run.ended, f"was interrupted ({run.ended})")
    return f"run {run.number} {how}, {begun}, ended {run.ended_at}"


def _facts(found: JournalStatus) -> Iterator[tuple[str, str]]:
    from image_syncer.units import format_duration, format_rate, format_size

    run = found.run
    if run is not None:
        counts = ", ".join(f"{count:,} {outcome}" for outcome, count in run.outcomes.items() if count)
        more = ", and more are being listed" if run.listing and found.state == "running" else ""
        ended = f"{run.images_ended:,} of {run.images_total:,} have ended{more}"
        yield "Images", f"{ended}: {counts}" if counts else ended
        moved = f"{format_size(run.bytes_done)} of {format_size(run.bytes_total)}"
        rate = f", {format_rate(run.bytes_per_s)}" if found.state == "running" and run.bytes_per_s > 0 else ""
        yield "Blobs", f"{run.blobs_done:,} of {run.blobs_total:,} · {moved}{rate}"
        if found.images_left is not None:
            least = "at least " if run.listing else ""
            yield "Left", f"{least}{plural(found.images_left, 'image')}{_estimate(found)}"
        if found.state == "running":
            yield "Running for", format_duration(run.elapsed_s)
    uploads = f", {plural(found.uploads_in_flight, 'upload')} in flight" if found.uploads_in_flight else ""
    yield (
        "Journal",
        f"{plural(found.images_done, 'image')} done, {plural(found.blobs_verified, 'blob')} verified{uploads}",
    )
    if found.damaged:
        yield "Damaged", f"{plural(found.damaged, 'record')} of those read, which count for nothing"


def _estimate(found: JournalStatus) -> str:
    from image_syncer_cli.display.screen import span

    left, run = found.time_left_s, found.run
    if left is None or run is None or run.eta_least_s is None or run.eta_most_s is None:
        return ""
    return f" · {span(left, run.eta_least_s, run.eta_most_s)}"
