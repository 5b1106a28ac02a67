"""What people see of a watch: each run as `sync` shows it, and a line for what happens between them.

Where nothing changed in a round, its summary is one line: a log of a year is read when something is wrong.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from image_syncer_cli.output import say
from image_syncer_cli.render import MAX_SKIPPED, Display, say_json, say_warning
from image_syncer_cli.run import choose_display, say_end

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer import Configuration, ImageList, ImageResult, Report, RunControl, Snapshot, WatchOrder
    from image_syncer_cli.options import RunOptions

__all__ = ["CommandView"]


class CommandView:
    """Looks on for the command line. `ways` are those of `doctor_hint`; keys act on `control`."""

    def __init__(self, options: RunOptions, ways: Sequence[str], control: RunControl | None) -> None:
        self._control = control
        self._options = options
        self._ways = ways
        self._as_json = options.log_format == "json"
        self._display = Display()
        self._wanted: ImageList | None = None
        self._skipped: list[ImageResult] = []
        self._told_warnings: set[str] = set()

    def on_line(self, text: str) -> None:
        """Something happened that people like to know."""
        if self._options.quiet:
            return
        if self._as_json:
            say_json("watch", text=text)
        else:
            say(f"{_now()} {text}", err=True)

    def on_trouble(self, text: str) -> None:
        """Something happened that people should know."""
        for line in text.splitlines():
            say_warning(line, as_json=self._as_json)

    def on_configuration(self, configuration: Configuration) -> None:
        """Says what files deserve to be warned of, each warning once."""
        for warning in map(str, configuration.warnings):
            if warning not in self._told_warnings:
                self._told_warnings.add(warning)
                say_warning(warning, as_json=self._as_json)

    def on_begin(self, order: WatchOrder) -> None:  # noqa: ARG002 - every run is shown the same way
        """A run begins."""
        import image_syncer

        self._skipped = []
        path = self._options.output_success_images
        self._wanted = image_syncer.ImageList(path, list_format=self._options.output_images_format) if path else None
        self._display = choose_display(self._options, self._control)

    def on_progress(self, snapshot: Snapshot) -> None:
        """As of `sync`."""
        self._display.update(snapshot)

    def on_image(self, result: ImageResult) -> None:
        """As of `sync`."""
        import image_syncer

        if result.outcome is image_syncer.Outcome.SKIPPED and len(self._skipped) < MAX_SKIPPED:
            self._skipped.append(result)
        if self._wanted is not None:
            self._wanted.add(result)

    def on_end(self, order: WatchOrder, report: Report | None) -> None:
        """The run that was begun has ended, or could not begin (None)."""
        self._display.close()
        self._display = Display()
        wanted, self._wanted = self._wanted, None
        if report is None:
            if wanted is not None:
                wanted.abandon()
            return
        summary = "\n".join([report.summary_line(), *report.creation_lines(), *report.limit_lines()])
        say_end(
            report,
            order.configuration,
            self._options,
            skipped=self._skipped,
            ways=self._ways,
            summary=f"{_now()} {order.cause}: {summary}",
        )
        if wanted is not None:
            wanted.close()


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
