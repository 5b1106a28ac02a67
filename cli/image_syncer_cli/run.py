"""One run from the command line: what `sync` and `copy` do once they know what to copy."""

from __future__ import annotations

import contextlib
import gc
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from image_syncer_cli.control_options import make_control
from image_syncer_cli.doctor_hint import say_doctor
from image_syncer_cli.observer_options import looked_on
from image_syncer_cli.output import say
from image_syncer_cli.render import (
    MAX_SKIPPED,
    Display,
    LineDisplay,
    is_live_terminal,
    render_planned,
    say_failures,
    say_internal_error,
    say_skipped,
    say_unwritten,
    say_warning,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from image_syncer import Configuration, ImageResult, Pruned, Report, RunControl
    from image_syncer_cli.options import RunOptions

__all__ = [
    "COLLECT_AFTER_OBJECTS",
    "begin_logs",
    "begin_telling",
    "choose_display",
    "prepare_workers",
    "run_images",
    "run_with_display",
    "say_end",
]

COLLECT_AFTER_OBJECTS = 20_000
"""More objects made than freed before Python looks for cycles among the young ones; it would do so after 700, and spend
a tenth of the processor time of a run in which nothing changed, to find next to nothing.
"""


def prepare_workers(options: RunOptions) -> None:
    """Have the workers of the run forked from here: after the modules are imported that they share, and before a
    password is read.
    """
    if not options.dry_run:
        import image_syncer

        _ = image_syncer.sync
        image_syncer.prepare_workers()


def run_images(
    configuration: Configuration,
    options: RunOptions,
    ways: Sequence[str] = (),
    engine: Callable[..., Report] | None = None,
) -> int:
    """Copies, shows how it goes and how it went, and returns the exit code. `ways` are those of `doctor_hint`; `engine`
    is called instead of `sync`.
    """
    import image_syncer

    begin_telling(configuration, options)
    path = options.output_success_images
    wanted = image_syncer.ImageList(path, list_format=options.output_images_format) if path else None

    skipped: list[ImageResult] = []

    def on_image(result: ImageResult) -> None:
        if result.outcome is image_syncer.Outcome.SKIPPED and len(skipped) < MAX_SKIPPED:
            skipped.append(result)
        if wanted is not None:
            wanted.add(result)
        if options.dry_run and not options.quiet and result.outcome is image_syncer.Outcome.PLANNED:
            say(render_planned(result))

    try:
        report = run_with_display(configuration, options, on_image, engine)
    except BaseException:
        if wanted is not None:
            wanted.abandon()
        raise
    summary = "\n".join([report.summary_line(), *report.creation_lines(), *report.limit_lines()])
    if report.pruned is not None:
        _say_pruned(report.pruned, options)
        summary += f"\n{report.pruned.summary_line()}"
    say_end(report, configuration, options, skipped=skipped, ways=ways, summary=summary)
    if wanted is not None:
        wanted.close()
    return report.exit_code


def _say_pruned(pruned: Pruned, options: RunOptions) -> None:
    from image_syncer_cli.prune_lines import prune_lines, say_unpruned

    for line in prune_lines(pruned) if not options.quiet else ():
        say(line)
    say_unpruned(pruned, as_json=options.log_format == "json")


def say_end(
    report: Report,
    configuration: Configuration,
    options: RunOptions,
    *,
    skipped: Sequence[ImageResult],
    summary: str,
    ways: Sequence[str] | None = None,
) -> None:
    """What is said when a run is over: what it warns of, what was skipped and what failed, with the doctor's command
    where `ways` are its words, the summary, and what kept the report from being written.
    """
    as_json = options.log_format == "json"
    _say_warnings(report, configuration, as_json=as_json)
    if not options.quiet:
        say_skipped(skipped, report, as_json=as_json)
    say_failures(report, as_json=as_json)
    if ways is not None:
        say_doctor(report, ways, as_json=as_json)
    say(summary)
    say_unwritten(report, as_json=as_json)
    say_internal_error(report, as_json=as_json)


def begin_telling(configuration: Configuration, options: RunOptions) -> None:
    """Logs go where they were wanted, and what the files deserve to be warned of is said."""
    begin_logs(options)
    for warning in configuration.warnings:
        say_warning(str(warning), as_json=options.log_format == "json")


def begin_logs(options: RunOptions) -> None:
    """Logs go where they were wanted."""
    from image_syncer import configure_logging

    configure_logging(
        log_format=options.log_format,
        level=options.console_level,
        log_file=options.log or None,
        colors=is_live_terminal() and not os.environ.get("NO_COLOR"),
    )


def _say_warnings(report: Report, configuration: Configuration, *, as_json: bool) -> None:
    """What the run warns of, but for what was said at its begin."""
    told = [str(warning) for warning in configuration.warnings]
    for text in report.warnings:
        if text not in told:
            say_warning(text, as_json=as_json)


def run_with_display(
    configuration: Configuration,
    options: RunOptions,
    on_image: Callable[[ImageResult], None] | None = None,
    engine: Callable[..., Report] | None = None,
    *,
    writes: bool = True,
) -> Report:
    """The run itself, with its places open (`image_syncer.open_places`), and the display that fits taken away at its
    end. `engine` is called instead of `sync`; without `writes`, and in a dry run, nothing is written at its places.
    """
    import image_syncer
    from image_syncer_cli.pipeline_files import PipelineFiles

    if options.report_junit is not None or options.report_markdown is not None:
        names = "--report-junit", "--report-markdown"
        files = PipelineFiles(options.report_junit, options.report_markdown, names)
        alone = replace(options, report_junit=None, report_markdown=None)
        try:
            report = run_with_display(configuration, alone, files.watch(on_image), engine, writes=writes)
        except BaseException:
            files.abandon()
            raise
        return files.close(report)
    shows_nothing = engine is None  # another engine may do more with what is shown
    engine = engine or image_syncer.sync
    gc.freeze()  # what was imported stays, and need not be looked at again
    gc.set_threshold(COLLECT_AFTER_OBJECTS, *gc.get_threshold()[1:])
    control = None if options.dry_run else make_control(options.control)
    controlled: dict[str, Any] = {} if control is None else {"control": control}
    with (
        looked_on(options),
        image_syncer.open_places(configuration, writes=writes and not options.dry_run) as opened,
        contextlib.closing(choose_display(options, control)) as display,
    ):
        on_progress = None if shows_nothing and type(display) is Display else display.update
        return engine(opened, options.build_settings(), on_progress=on_progress, on_image=on_image, **controlled)


def choose_display(options: RunOptions, control: RunControl | None = None) -> Display:
    """The display that fits where standard error goes, and what was asked for; `control` is what its keys act on."""
    if options.quiet or options.no_progress:
        return Display()
    if options.log_format == "json":
        return LineDisplay(as_json=True)
    if is_live_terminal():
        from image_syncer_cli.live_display import LiveDisplay

        return LiveDisplay(control=control)
    return LineDisplay()
