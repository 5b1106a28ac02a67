"""What people see of a run: progress lines, failures, warnings, what a prune deleted.

Results go to standard output; progress, warnings and failures to standard error. With `--log-format json`
everything on standard error is one JSON object per line.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from image_syncer_cli.display.output import clip, internal_error_lines, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from image_syncer import Deletion, ImageResult, Pruned, Report, Snapshot


LINE_EVERY_S = 5.0
"""In a log of a pipe or of a CI job: often enough to see that the run lives, seldom enough to read."""
_MAX_FAILURES = 20
"""Failures shown one by one; the report has them all."""
MAX_SKIPPED = 3
"""Images shown that the user's own rules or filters left out: enough to see whether that was intended."""
_MAX_HELD = 20
"""Repositories shown in which nothing was pruned; the report has them all."""
_PRUNED = {"would go": "would delete", "deleted": "deleted", "gone already": "gone already"}
_NOT_PRUNED = ("left", "failed")


class Display:
    """Shows nothing (`--quiet`, `--no-progress`); the base of those that show something."""

    def update(self, snapshot: Snapshot) -> None:
        """Take note of the state of the run; called a few times a second."""

    def tell(self, sentences: Sequence[str]) -> None:
        """Show these sentences while there is no run."""

    def close(self) -> None:
        """Remove what must not stay on the screen."""


class LineDisplay(Display):
    """Shows one line every few seconds, for pipes and CI."""

    def __init__(self, *, as_json: bool = False, every_s: float = LINE_EVERY_S) -> None:
        self._as_json = as_json
        self._every_s = every_s
        self._next_s = every_s
        self._next_told = 0.0

    def update(self, snapshot: Snapshot) -> None:
        """Say a line when the last one is old enough, by the clock of the run."""
        if snapshot.elapsed_s < self._next_s:
            return
        self._next_s = snapshot.elapsed_s + self._every_s
        say_event("progress", progress_line(snapshot), as_json=self._as_json, **_progress_data(snapshot))

    def tell(self, sentences: Sequence[str]) -> None:
        """Say the first sentence, as often as a line of a run."""
        now = time.monotonic()
        if now >= self._next_told and sentences:
            self._next_told = now + self._every_s
            say_event("watch", sentences[0], as_json=self._as_json, text=sentences[0])


def is_live_terminal(environ: Mapping[str, str] | None = None) -> bool:
    """Return whether standard error is a terminal on which lines can be drawn again."""
    environ = os.environ if environ is None else environ
    return sys.stderr.isatty() and environ.get("TERM", "") not in ("", "dumb", "unknown") and not environ.get("CI")


def progress_line(snapshot: Snapshot) -> str:
    """Return the state of a run in one line."""
    from image_syncer.units import format_duration
    from image_syncer_cli.display.screen import count_words, movement_words

    parts = [format_duration(snapshot.elapsed_s), count_words(snapshot), movement_words(snapshot)]
    if snapshot.waiting:
        parts.append(f"waiting: {snapshot.waiting}")
    return " · ".join(parts)


def _progress_data(snapshot: Snapshot) -> dict[str, Any]:
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


def say_event(event: str, text: str, /, *, as_json: bool, **fields: object) -> None:
    """Say `text` on standard error, or with `as_json` an object in the shape of the logs."""
    if not as_json:
        say(text, err=True)
        return
    import json

    from image_syncer.errors import redact

    say(redact(json.dumps({"event": event, **fields}, ensure_ascii=False, default=str)), err=True)


def say_warning(text: str, *, as_json: bool) -> None:
    """Say a warning, which not even `--quiet` hides."""
    say_event("warning", f"Warning: {text}", as_json=as_json, message=text)


def say_failures(report: Report, *, as_json: bool) -> None:
    """Say the first failures, each in at most three lines, and how many more there are.

    Images that were not tried because the run was interrupted are counted in the summary, and need no reasons.
    """
    from image_syncer import Outcome

    told = (Outcome.FAILED, Outcome.UNCHECKED)
    shown = [result for result in report.failures if result.outcome in told][:_MAX_FAILURES]
    for result in shown:
        say_event(str(result.outcome), "\n".join(_failure_lines(result)), as_json=as_json, **result.as_data())
    more = sum(report.totals.outcomes.get(outcome, 0) for outcome in told) - len(shown)
    if more > 0 and shown and not as_json:
        say(f"… and {more:,} more, each with its reason in the file of --report.", err=True)


def _failure_lines(result: ImageResult) -> list[str]:
    """Return one failed image in at most three lines: which, why, and what to do."""
    from image_syncer import SyncError

    head = f"{result.outcome}: {result.source} → {result.destination}"
    if result.error is not None:
        details = str(SyncError.from_data(result.error)).splitlines()
    else:
        details = [result.reason or "no reason is known"]
    return [head, *(f"  {clip(line.strip())}" for line in details[:2])]


def say_skipped(shown: Sequence[ImageResult], report: Report, *, as_json: bool) -> None:
    """Say the first skipped images, each with the reason, and how many more there are."""
    from image_syncer import Outcome

    for result in shown:
        text = f"skipped: {result.source} → {result.destination}: {clip(result.reason or '')}"
        say_event("skipped", text, as_json=as_json, **result.as_data())
    more = report.totals.outcomes.get(Outcome.SKIPPED, 0) - len(shown)
    if more > 0 and not as_json:
        say(f"… and {more:,} more skipped, each with its reason in the file of --report.", err=True)


def say_errors(report: Report, *, as_json: bool) -> None:
    """Say what kept the report from being written, and the internal error that ended the run, if any."""
    if report.unwritten is not None:
        say_event("error", f"Error: {report.unwritten}", as_json=as_json, message=report.unwritten)
    if report.internal_error is not None:
        text = "Error: " + "\n".join(map(clip, internal_error_lines(report.internal_error)))
        say_event("error", text, as_json=as_json, message=report.internal_error)


def prune_lines(pruned: Pruned) -> Iterator[str]:
    """Yield a line for each tag that was or would be deleted, and for each manifest without a tag."""
    for each in pruned.told():
        if each.outcome in _PRUNED:
            for name in _deleted_names(each):
                yield f"{_PRUNED[each.outcome]}: {name}: {clip(each.reason)}"


def say_unpruned(pruned: Pruned, *, as_json: bool) -> None:
    """Say on standard error what could not be deleted, or was kept for a reason."""
    for each in pruned.told():
        if each.outcome in _NOT_PRUNED:
            hint = each.error.get("hint") if each.error is not None else None
            more = f"\n  {hint}" if hint else ""
            lines = [f"{each.outcome}: {name}: {clip(each.reason)}{more}" for name in _deleted_names(each)]
            say_event(f"prune {each.outcome}", "\n".join(lines), as_json=as_json, **each.as_data())
    held = [each for each in pruned.held if each.is_failure]
    for one in pruned.held if as_json else held[:_MAX_HELD]:
        text = f"not pruned: {one.repository}: {clip(one.reason)}"
        say_event("prune held", text, as_json=as_json, **one.as_data())
    if len(held) > _MAX_HELD and not as_json:
        say(f"… and {len(held) - _MAX_HELD:,} more, each with its reason in the file of --report.", err=True)
    for warning in (pruned.excess, pruned.unsaved):
        if warning is not None:
            say_warning(warning, as_json=as_json)


def _deleted_names(deletion: Deletion) -> list[str]:
    if not deletion.tags:
        return [f"{deletion.repository}@{deletion.digest}"]
    repository = deletion.repository.removesuffix(":")  # the name of a layout ends in one
    return [f"{repository}:{tag} ({deletion.digest})" for tag in deletion.tags]
