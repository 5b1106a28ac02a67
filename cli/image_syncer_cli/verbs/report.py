"""`image-syncer report`: shows what a run did, from its report, in words or as a picture."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from image_syncer_cli.display.output import say
from image_syncer_cli.display.timeline_words import plural
from image_syncer_cli.option_values import file_option
from image_syncer_cli.options import quiet_debug_option
from image_syncer_cli.pipeline import JUNIT_HELP, MARKDOWN_HELP
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from image_syncer import RecordedReport


FIGURE_NAMES = ("throughput", "waits", "workers", "registries", "limits")
_FORMATS = (".html", ".png")


def _parse_picture(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is not None and Path(value).suffix.lower() not in _FORMATS:
        raise click.BadParameter(f"{value!r} ends neither in .html nor in .png, and so says no format.")
    return value


class _ReportVerb(Verb):
    """Explains --plot if only half of its value is given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.BadOptionUsage as error:
            name = error.option_name
            if name not in ("--plot", "--png"):
                raise
            wanted = f"{name} needs the name of a figure and a file, as in {name} waits waits.png"
            raise click.UsageError(f"{wanted}: {', '.join(FIGURE_NAMES)}.", ctx) from None


@click.command(cls=_ReportVerb)
@click.argument("file", metavar="FILE")
@click.argument("later", metavar="[LATER]", required=False)
@file_option("--html", metavar="PAGE", help="Write everything, with figures, as one page that works offline.")
@file_option("--plan", "plan_file", help="On the page, compare the run with this plan (plan --save).")
@file_option("--estimate", "estimate_file", help="On the page, compare the run with this estimate (estimate --json).")
@click.option(
    "--plot",
    "--png",
    "plots",
    type=(click.Choice(FIGURE_NAMES), str),
    multiple=True,
    metavar="NAME PICTURE",
    help=f"Draw one figure as .png; can be repeated. NAME is {', '.join(FIGURE_NAMES[:-1])} or {FIGURE_NAMES[-1]}.",
)
@file_option("--junit", help=JUNIT_HELP)
@file_option("--markdown", help=MARKDOWN_HELP)
@click.option(
    "--timeline",
    metavar="PICTURE",
    callback=_parse_picture,
    help="Draw which worker moved what, and when, to this .html or .png file.",
)
@quiet_debug_option
def report(  # noqa: PLR0913 - one parameter an option
    *,
    file: str,
    later: str | None,
    html: str | None,
    plan_file: str | None,
    estimate_file: str | None,
    plots: tuple[tuple[str, str], ...],
    junit: str | None,
    markdown: str | None,
    timeline: str | None,
) -> None:
    """Show what a run did, from FILE, the report that it wrote (--report).

    In words: outcomes, bytes, requests, what each worker did, the slowest transfers, and which side they waited for.
    With --html, --plot or --timeline: as a page or a picture. With the report LATER of another run: what is better
    there, and what is worse.
    """
    written = [("--html", html), ("--timeline", timeline), *(("--plot", path) for _, path in plots)]
    written += [("--junit", junit), ("--markdown", markdown)]
    _refuse_same_files(tuple(each for each in (file, later, plan_file, estimate_file) if each), written)
    if html is None and (plan_file or estimate_file):
        raise click.UsageError("--plan and --estimate are for the page, which was not asked for: give --html PAGE.")
    if later is not None and (plan_file or estimate_file or plots or timeline or junit or markdown):
        raise click.UsageError("two reports are compared in words, or with --html, and with nothing else.")
    from image_syncer import load_plan, load_report
    from image_syncer.reporting.report_comparison import load_estimate

    if later is not None:
        _compare(file, later, html)
        return
    name = Path(file).name
    draw = _choose_drawing(timeline)
    if plots:
        from image_syncer_cli.display.plots import require_matplotlib

        require_matplotlib("--plot")
    recorded = load_report(file)
    if html is not None:
        from image_syncer_cli.display.report_page import draw_report_page

        plan = None if plan_file is None else load_plan(plan_file)
        estimate = None if estimate_file is None else load_estimate(estimate_file)
        _write(html, draw_report_page(recorded, name, plan, estimate), "the page", "--html")
        _tell(html, f"{plural(recorded.report.totals.images, 'image')}, {plural(len(recorded.transfers), 'transfer')}")
    if plots:
        _draw_plots(recorded, name, plots)
    if timeline is not None:
        _draw_timeline(recorded, file, timeline, draw)
    if junit is not None or markdown is not None:
        _write_for_pipelines(recorded, junit, markdown)
    if not any(path for _, path in written):
        from image_syncer_cli.display.report_summary import summarize

        say(summarize(recorded))


def _refuse_same_files(read: tuple[str, ...], written: Iterable[tuple[str, str | None]]) -> None:
    """Raise UsageError for a file that another one or its own output would replace, and for plots that are no PNG."""
    known: dict[str, str] = {}
    for option, path in written:
        if path is None:
            continue
        if path == "-":
            raise click.UsageError(f"{option} needs the name of a file; that of standard output is /dev/stdout.")
        place = os.path.realpath(path)
        if place in known and not path.startswith("/dev/"):
            raise click.UsageError(f"{known[place]} and {option} name the same file: {path}.")
        known[place] = option
        if any(_is_same_file(each, path) for each in read):
            raise click.UsageError(f"{option} names the report itself, which it would replace.")
        if option == "--plot" and Path(path).suffix.lower() != ".png":
            raise click.UsageError(f"{path!r} does not end in .png, the one format of --plot.")


def _draw_plots(recorded: RecordedReport, name: str, plots: Iterable[tuple[str, str]]) -> None:
    from image_syncer import ConfigurationError
    from image_syncer_cli.display.figures import figures_of
    from image_syncer_cli.display.plots import draw_figure

    figures = figures_of(recorded)
    for figure, path in plots:
        if figure not in figures:
            raise ConfigurationError(
                f"there is nothing to draw: the report has nothing for {figure}",
                hint=f"It has {', '.join(figures)}." if figures else "The run moved no blob.",
            )
        _write(path, draw_figure(figures[figure], recorded, name), "the plot", "--plot")
        _tell(path, f"{figure} drawn")


def _compare(file: str, later: str, html: str | None) -> None:
    from image_syncer import load_report
    from image_syncer.reporting.report_comparison import compare_reports
    from image_syncer_cli.display.comparison import draw_comparison_page, tell_comparison

    recorded = load_report(file), load_report(later)
    comparison = compare_reports(*recorded)
    names = Path(file).name, Path(later).name
    if html is None:
        say(tell_comparison(comparison, recorded, names))
        return
    _write(html, draw_comparison_page(comparison, recorded, names), "the page", "--html")
    _tell(html, f"{names[0]} and {names[1]} compared")


def _write_for_pipelines(recorded: RecordedReport, junit: str | None, markdown: str | None) -> None:
    from image_syncer_cli.pipeline import PipelineFiles

    files = PipelineFiles(junit, markdown, ("--junit", "--markdown"))
    try:
        for image in recorded.images():
            files.add(image)
    except BaseException:
        files.abandon()
        raise
    files.write(recorded.report)
    for path in (junit, markdown):
        if path is not None:
            _tell(path, plural(recorded.report.totals.images, "image"))


def _draw_timeline(
    recorded: RecordedReport, file: str, timeline: str, draw: Callable[[RecordedReport, str], bytes]
) -> None:
    if not recorded.transfers:
        from image_syncer import ConfigurationError

        raise ConfigurationError(
            f"there is nothing to draw: {file} has no transfers",
            hint="The run moved no blob, or the release that wrote the report did not note them.",
        )
    _write(timeline, draw(recorded, Path(file).name), "the timeline", "--timeline")
    _tell(timeline, f"{plural(len(recorded.transfers), 'transfer')} drawn")


def _choose_drawing(timeline: str | None) -> Callable[[RecordedReport, str], bytes]:
    """Return the function that draws the timeline. Raises ConfigurationError if matplotlib is missing."""
    if timeline is not None and Path(timeline).suffix.lower() == ".png":
        from image_syncer_cli.display.plots import draw_plot, require_matplotlib

        require_matplotlib("--timeline")
        return draw_plot
    from image_syncer_cli.display.timeline_page import draw_page

    return draw_page


def _is_same_file(file: str, other: str) -> bool:
    try:
        return Path(file).samefile(other)
    except OSError:
        return False


def _write(path: str, picture: bytes, noun: str, option: str) -> None:
    from image_syncer.telemetry.partial_file import PartialFile

    PartialFile.write_all(path, picture, noun=noun, option=option)


def _tell(path: str, what: str) -> None:
    """Say that a file is written, and what is in it; on standard error if the file is /dev/stdout."""
    say(f"{path}: {what}", err=path.startswith("/dev/"))
