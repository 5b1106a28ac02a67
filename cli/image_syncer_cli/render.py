"""What people see of a run: progress (live on a terminal, in lines elsewhere), failures, warnings.

Results go to standard output; progress, warnings and failures to standard error. With `--log-format json`
everything on standard error is one JSON object a line.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from image_syncer_cli.output import clip, mistake_lines, say
from image_syncer_cli.screen import count_words, movement_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from image_syncer import ImageResult, Report, Snapshot

__all__ = [
    "MAX_SKIPPED",
    "Display",
    "LineDisplay",
    "is_live_terminal",
    "progress_line",
    "render_planned",
    "say_failures",
    "say_internal_error",
    "say_json",
    "say_skipped",
    "say_unwritten",
    "say_warning",
]

LINE_EVERY_S = 5.0
"""In a log of a pipe or of a CI job: often enough to see that it lives, seldom enough to read."""

MAX_FAILURES = 20
"""Failures shown one by one; the report has them all."""

MAX_SKIPPED = 3
"""Images shown that the user's own rules or filters left out: enough to see whether that was meant."""


class Display:
    """Shows nothing (`--quiet`, `--no-progress`); the others show something."""

    def update(self, snapshot: Snapshot) -> None:
        """Takes note of the run's state; called a few times a second."""

    def tell(self, sentences: Sequence[str]) -> None:
        """Shows these, where there is no run."""

    def close(self) -> None:
        """Takes away what must not stay on the screen."""


class LineDisplay(Display):
    """One line every few seconds, for pipes and CI."""

    def __init__(self, *, as_json: bool = False, every_s: float = LINE_EVERY_S) -> None:
        self._as_json = as_json
        self._every_s = every_s
        self._next_s = every_s
        self._next_told = 0.0

    def update(self, snapshot: Snapshot) -> None:
        """Says a line when the last one is old enough, by the run's own clock."""
        if snapshot.elapsed_s < self._next_s:
            return
        self._next_s = snapshot.elapsed_s + self._every_s
        if self._as_json:
            say_json("progress", **_progress_data(snapshot))
        else:
            say(progress_line(snapshot), err=True)

    def tell(self, sentences: Sequence[str]) -> None:
        """Says the first of them, as often as a line of a run."""
        now = time.monotonic()
        if now >= self._next_told and sentences:
            self._next_told = now + self._every_s
            if self._as_json:
                say_json("watch", text=sentences[0])
            else:
                say(sentences[0], err=True)


def is_live_terminal(environ: Mapping[str, str] | None = None) -> bool:
    """Whether standard error is a terminal on which lines can be drawn again."""
    environ = os.environ if environ is None else environ
    return sys.stderr.isatty() and environ.get("TERM", "") not in ("", "dumb", "unknown") and not environ.get("CI")


def progress_line(snapshot: Snapshot) -> str:
    """A run's state in one line."""
    from image_syncer.units import format_duration

    parts = [format_duration(snapshot.elapsed_s), count_words(snapshot), movement_words(snapshot)]
    if snapshot.waiting:
        parts.append(f"waiting: {snapshot.waiting}")
    return " · ".join(parts)


def _progress_data(snapshot: Snapshot) -> dict[str, Any]:
    """A run's state for programs."""
    return {
        "elapsed_s": round(snapshot.elapsed_s, 1),
        "images_done": snapshot.images_done,
        "images_total": snapshot.images_total,
        "listing": snapshot.listing,
        "outcomes": {str(outcome): count for outcome, count in snapshot.outcomes.items()},
        "blobs_done": snapshot.blobs_done,
        "blobs_total": snapshot.blobs_total,
        "bytes_done": snapshot.bytes_done,
        "bytes_total": snapshot.bytes_total,
        "bytes_per_s": round(snapshot.bytes_per_s),
        "eta_s": _rounded(snapshot.eta_s),
        "eta_least_s": _rounded(snapshot.eta_least_s),
        "eta_most_s": _rounded(snapshot.eta_most_s),
        "eta_waits_for": snapshot.eta_waits_for,
        "waiting": snapshot.waiting,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def render_planned(result: ImageResult) -> str:
    """What a dry run says of one image that would be copied."""
    from image_syncer.units import format_size

    return f"would copy {result.source} → {result.destination} ({format_size(result.bytes_total)})"


def say_warning(text: str, *, as_json: bool) -> None:
    """A warning, which not even `--quiet` keeps back."""
    if as_json:
        say_json("warning", message=text)
    else:
        say(f"Warning: {text}", err=True)


def say_failures(report: Report, *, as_json: bool) -> None:
    """The first failures, each in at most three lines, and how many more there are.

    What was not tried because the run was interrupted is in the summary's count, and needs no reasons.
    """
    from image_syncer import Outcome

    told = (Outcome.FAILED, Outcome.UNCHECKED)
    shown = [result for result in report.failures if result.outcome in told][:MAX_FAILURES]
    for result in shown:
        if as_json:
            say_json(str(result.outcome), **result.as_data())
        else:
            say("\n".join(_failure_lines(result)), err=True)
    more = sum(report.totals.outcomes.get(outcome, 0) for outcome in told) - len(shown)
    if more > 0 and shown and not as_json:
        say(f"… and {more:,} more, each with its reason in the file of --report.", err=True)


def say_skipped(shown: Sequence[ImageResult], report: Report, *, as_json: bool) -> None:
    """The first images that were left out, each with the reason, and how many more there are."""
    from image_syncer import Outcome

    for result in shown:
        if as_json:
            say_json("skipped", **result.as_data())
        else:
            say(f"skipped: {result.source} → {result.destination}: {clip(result.reason or '')}", err=True)
    more = report.totals.outcomes.get(Outcome.SKIPPED, 0) - len(shown)
    if more > 0 and not as_json:
        say(f"… and {more:,} more skipped, each with its reason in the file of --report.", err=True)


def say_unwritten(report: Report, *, as_json: bool) -> None:
    """That the file of the report is not there, if so."""
    if report.unwritten is None:
        return
    if as_json:
        say_json("error", message=report.unwritten)
    else:
        say(f"Error: {report.unwritten}", err=True)


def say_internal_error(report: Report, *, as_json: bool) -> None:
    """That the run ended by an internal error, if so, and that its report is a partial one."""
    if report.internal_error is None:
        return
    if as_json:
        say_json("error", message=report.internal_error)
    else:
        say("Error: " + "\n".join(map(clip, mistake_lines(report.internal_error))), err=True)


def _failure_lines(result: ImageResult) -> list[str]:
    """One failed image in at most three lines: which, why, and what to do."""
    from image_syncer import SyncError

    head = f"{result.outcome}: {result.source} → {result.destination}"
    if result.error is not None:
        details = str(SyncError.from_data(result.error)).splitlines()
    else:
        details = [result.reason or "no reason is known"]
    return [head, *(f"  {clip(line.strip())}" for line in details[:2])]


def say_json(event: str, **fields: object) -> None:
    """One JSON object on standard error, in the shape that the logs have."""
    import json

    from image_syncer.errors import redact

    say(redact(json.dumps({"event": event, **fields}, ensure_ascii=False, default=str)), err=True)
