"""`image-syncer report`: what a run did, from the file of its `--report`, in words or as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from image_syncer_cli.options import debug_option
from image_syncer_cli.output import say
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer import RecordedReport

__all__ = ["report"]

_FORMATS = (".html", ".png")


def _parse_picture(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is not None and Path(value).suffix.lower() not in _FORMATS:
        raise click.BadParameter(f"{value!r} ends neither in .html nor in .png, and so says no format.")
    return value


@click.command(cls=Verb, short_help="Show what a run did, from its report.")
@click.argument("file", metavar="FILE")
@click.option(
    "--timeline",
    metavar="PICTURE",
    callback=_parse_picture,
    help="Draw which worker moved what, and when, into this .html or .png file.",
)
@debug_option
def report(file: str, timeline: str | None, debug: bool) -> None:  # noqa: ARG001 - main reads --debug
    """Show what a run did, from FILE, which --report of the run wrote.

    In words: outcomes, bytes, requests, what each worker did, the slowest transfers, and which side they waited for.
    With --timeline, as a picture.
    """
    from image_syncer import load_report

    draw = _choose_drawing(timeline)
    recorded = load_report(file)
    if timeline is None:
        from image_syncer_cli.report_summary import summarize

        say(summarize(recorded))
        return
    if not recorded.transfers:
        from image_syncer import ConfigurationError

        raise ConfigurationError(
            f"there is nothing to draw: {file} has no transfers",
            hint="The run moved no blob, or the release that wrote the report did not note them.",
        )
    if _is_same_file(file, timeline):
        raise click.UsageError("--timeline names the report itself, which it would replace.")
    _write(timeline, draw(recorded, Path(file).name))
    count = len(recorded.transfers)
    say(f"{timeline}: {count:,} transfer{'' if count == 1 else 's'} drawn")


def _choose_drawing(timeline: str | None) -> Callable[[RecordedReport, str], bytes]:
    """What makes the picture; says what is missing before anything is read."""
    if timeline is not None and Path(timeline).suffix.lower() == ".png":
        from image_syncer_cli.timeline_plot import draw_plot, require_matplotlib

        require_matplotlib()
        return draw_plot
    from image_syncer_cli.timeline_page import draw_page

    return draw_page


def _is_same_file(file: str, other: str) -> bool:
    try:
        return Path(file).samefile(other)
    except OSError:
        return False


def _write(path: str, picture: bytes) -> None:
    from image_syncer import PartialFile, SyncError

    file = PartialFile(path, noun="the timeline", option="--timeline")
    try:
        file.write(picture)
        file.commit()
    except SyncError:
        file.abandon()
        raise
