"""What people see of a watch: each round as `sync` shows a run, and lines for what happens between rounds."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from image_syncer_cli.display.render import Display, say_event, say_warning
from image_syncer_cli.run import ImageNotes, choose_display, say_end, summary_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from image_syncer import Configuration, ImageResult, Report, RunControl, Snapshot
    from image_syncer.watch.orders import WatchOrder
    from image_syncer_cli.options import RunOptions


def watch_lines(told: Mapping[str, Any], now: datetime) -> list[str]:
    """Return the state of a watch, as its socket reports it, in sentences. Raises SyncError for another format."""
    try:
        return _lines(told, now)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        from image_syncer import SyncError

        raise SyncError("the watch reports its state in a format that this version cannot read") from error


def _lines(told: Mapping[str, Any], now: datetime) -> list[str]:
    watch = told["watch"]
    lines = [_head(watch, told, now)]
    if last := watch.get("last_run"):
        lines.append(_last(last, watch["rounds"], now))
    if told.get("paused"):
        lines.append("paused: the next round begins, and copies nothing until it is resumed")
    if not watch["configuration"]["in_force"]:
        lines.append("the files on disk have errors: the configuration that was read before is in effect")
    return lines


def _head(watch: Mapping[str, Any], told: Mapping[str, Any], now: datetime) -> str:
    from image_syncer.units import format_duration

    if told.get("draining"):
        return "watch: drains, and ends"
    if watch["state"] != "waiting" or watch["next_at"] is None:
        return f"watch: {watch['state']}"
    due = datetime.fromisoformat(watch["next_at"])
    left = max(0.0, (due - now).total_seconds())
    return f"watch: the next round is due in {format_duration(left)}, at {_time(due, now)}"


def _last(last: Mapping[str, Any], rounds: int, now: datetime) -> str:
    from image_syncer.units import format_duration

    count = f"{rounds:,} round{'' if rounds == 1 else 's'} so far"
    ended = _time(datetime.fromisoformat(last["ended_at"]), now)
    if "error" in last:
        return f"{count}; the last one could not begin at {ended}: {last['error']}"
    outcomes = ", ".join(f"{number:,} {name}" for name, number in last["outcomes"].items() if number) or "no images"
    took, code = format_duration(float(last["seconds"])), last["exit_code"]
    failed = f", exit code {code}" if code else ""
    return f"{count}; the last one ({last['cause']}) ended at {ended} after {took}: {outcomes}{failed}"


def _time(at: datetime, now: datetime) -> str:
    local = at.astimezone(now.tzinfo)
    return local.strftime("%H:%M:%S") if local.date() == now.date() else local.strftime("%Y-%m-%d %H:%M:%S")


class CommandView:
    """A `WatchView` for the command line; see `run_images`."""

    def __init__(self, options: RunOptions, access_words: Sequence[str], control: RunControl | None) -> None:
        self._control = control
        self._options = options
        self._access_words = access_words
        self._display = Display()
        self._notes: ImageNotes | None = None
        self._told_warnings: set[str] = set()

    def on_line(self, text: str) -> None:
        """Say something of interest."""
        if not self._options.quiet:
            say_event("watch", f"{_now()} {text}", as_json=self._options.as_json, text=text)

    def on_trouble(self, text: str) -> None:
        """Warn of something."""
        for line in text.splitlines():
            say_warning(line, as_json=self._options.as_json)

    def on_configuration(self, configuration: Configuration) -> None:
        """Say the warnings of the files, each once."""
        for warning in map(str, configuration.warnings):
            if warning not in self._told_warnings:
                self._told_warnings.add(warning)
                say_warning(warning, as_json=self._options.as_json)

    def on_begin(self, order: WatchOrder) -> None:  # noqa: ARG002 - every run is shown the same way
        """Show a run that begins."""
        self._notes = ImageNotes(self._options)
        self._display = choose_display(self._options, self._control)

    def on_progress(self, snapshot: Snapshot) -> None:
        """Show the progress of the run."""
        self._display.update(snapshot)

    def on_image(self, result: ImageResult) -> None:
        """Note an image of the run."""
        if self._notes is not None:
            self._notes.add(result)

    def on_end(self, order: WatchOrder, report: Report | None) -> None:
        """Show how the run ended; `report` is None if it could not begin."""
        self._display.close()
        self._display = Display()
        notes, self._notes = self._notes, None
        if notes is None or report is None:
            if notes is not None:
                notes.abandon()
            return
        summary = "\n".join(summary_lines(report))
        say_end(
            report,
            order.configuration,
            self._options,
            skipped=notes.skipped,
            access_words=self._access_words,
            summary=f"{_now()} {order.cause}: {summary}",
        )
        notes.close()


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
