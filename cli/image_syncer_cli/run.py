"""One run from the command line: the engine with a display, and what is said when the run ends.

After failures, a last line names the `doctor` command that finds out more about the first of them.
"""

from __future__ import annotations

import contextlib
import gc
import os
from typing import TYPE_CHECKING, Any

from image_syncer_cli.display.output import printable, say
from image_syncer_cli.display.render import (
    MAX_SKIPPED,
    Display,
    LineDisplay,
    is_live_terminal,
    prune_lines,
    say_errors,
    say_event,
    say_failures,
    say_skipped,
    say_unpruned,
    say_warning,
)
from image_syncer_cli.shared_options import make_control

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from image_syncer import Configuration, ImageResult, Report, RunControl
    from image_syncer.reporting.result_files import ImageList
    from image_syncer_cli.options import RunOptions


_REFUSED = "refused"
_DOCTOR_HELPS_WITH = (_REFUSED, "transport", "authentication", "unavailable", "registry down", "protocol violation")
"""Kinds of errors that are of the registry, or of the way to it."""
_CATALOG = "/_catalog"
"""The name that errors give to a registry's list of repositories: it is no repository."""
_PUT_MANIFEST = "put manifest"
"""What is refused here is one manifest or one tag, which the doctor does not have."""
_COLLECT_AFTER_OBJECTS = 20_000
"""New objects before Python looks for cycles among the young ones. With its default, 700, a run in which nothing
changed spends a tenth of its processor time on that search."""


def prepare_workers(options: RunOptions) -> None:
    """Fork the workers of the run: after the imports that they share, and before a password is read."""
    if not options.dry_run:
        import image_syncer

        _ = image_syncer.sync
        image_syncer.prepare_workers()


def tune_garbage_collection() -> None:
    """Leave imported objects out of garbage collection, and collect less often."""
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER_OBJECTS, *gc.get_threshold()[1:])


class ImageNotes:
    """What is kept of the images of a run for its end: the first skipped ones, and --output-success-images."""

    def __init__(self, options: RunOptions) -> None:
        import image_syncer

        self.skipped: list[ImageResult] = []
        self._skipped_outcome = image_syncer.Outcome.SKIPPED
        self._list: ImageList | None = None
        if path := options.output_success_images:
            from image_syncer.reporting.result_files import ImageList

            self._list = ImageList(path, list_format=options.output_images_format)

    def add(self, result: ImageResult) -> None:
        """Note one image."""
        if result.outcome is self._skipped_outcome and len(self.skipped) < MAX_SKIPPED:
            self.skipped.append(result)
        if self._list is not None:
            self._list.add(result)

    def close(self) -> None:
        """Finish the file."""
        if self._list is not None:
            self._list.close()

    def abandon(self) -> None:
        """Remove the unfinished file."""
        if self._list is not None:
            self._list.abandon()


def run_images(
    configuration: Configuration,
    options: RunOptions,
    access_words: Sequence[str] = (),
    engine: Callable[..., Report] | None = None,
) -> int:
    """Copy, show progress and results, and return the exit code. `engine` is called instead of `sync`."""
    import image_syncer

    def on_image(result: ImageResult) -> None:
        if options.dry_run and not options.quiet and result.outcome is image_syncer.Outcome.PLANNED:
            from image_syncer.units import format_size

            say(f"would copy {result.source} → {result.destination} ({format_size(result.bytes_total)})")

    def finish(report: Report) -> str:
        lines = summary_lines(report)
        if report.pruned is not None:
            for line in prune_lines(report.pruned) if not options.quiet else ():
                say(line)
            say_unpruned(report.pruned, as_json=options.as_json)
            lines.append(report.pruned.summary_line())
        return "\n".join(lines)

    return run_and_show(configuration, options, access_words, engine, on_image=on_image, finish=finish).exit_code


def summary_lines(report: Report) -> list[str]:
    """Return the lines with which a sync ends."""
    return [report.summary_line(), *report.creation_lines(), *report.limit_lines()]


def run_and_show(
    configuration: Configuration,
    options: RunOptions,
    access_words: Sequence[str],
    engine: Callable[..., Report] | None,
    *,
    on_image: Callable[[ImageResult], None],
    finish: Callable[[Report], str],
    writes: bool = True,
) -> Report:
    """Run `engine` (None: `sync`) with a display, and say how it ended. `access_words` are for the doctor's command
    (see `Files`). `finish` is called with the report and returns the summary.
    """
    begin_logs_and_warn(configuration, options)
    notes = ImageNotes(options)

    def note(result: ImageResult) -> None:
        notes.add(result)
        on_image(result)

    try:
        report = run_with_display(configuration, options, note, engine, writes=writes)
    except BaseException:
        notes.abandon()
        raise
    say_end(report, configuration, options, skipped=notes.skipped, access_words=access_words, summary=finish(report))
    notes.close()
    return report


def say_end(
    report: Report,
    configuration: Configuration,
    options: RunOptions,
    *,
    skipped: Sequence[ImageResult],
    access_words: Sequence[str],
    summary: str,
) -> None:
    """Say how a run ended: warnings, skipped and failed images, the doctor's command, the summary, errors."""
    as_json = options.as_json
    known = [str(warning) for warning in configuration.warnings]
    for text in report.warnings:
        if text not in known:
            say_warning(text, as_json=as_json)
    if not options.quiet:
        say_skipped(skipped, report, as_json=as_json)
    say_failures(report, as_json=as_json)
    _say_doctor(report, access_words, as_json=as_json)
    say(summary)
    say_errors(report, as_json=as_json)


def _say_doctor(report: Report, access_words: Sequence[str], *, as_json: bool) -> None:
    """Name the doctor for the first failure in which it can help."""
    import shlex

    from image_syncer import is_place

    repositories = map(_failed_repository, report.failures)
    repository = next((each for each in repositories if each is not None and not is_place(each)), None)
    if repository is not None:
        command = shlex.join(["image-syncer", "doctor", repository, *access_words])
        say_event("doctor", f"To find out why: {printable(command)}", as_json=as_json, command=command)


def _failed_repository(result: ImageResult) -> str | None:
    """Return the repository in which an image failed, if it failed for a reason that the doctor can find."""
    error: Mapping[str, Any] = result.error or {}
    kind = error.get("kind")
    if kind not in _DOCTOR_HELPS_WITH:
        return None
    if kind == _REFUSED and ("request" not in error or error.get("operation") == _PUT_MANIFEST):
        return None  # without a request it was not a registry that refused, but a rule or an option
    if error.get("repository"):
        return str(error["repository"]).removesuffix(_CATALOG)
    sides = {"source": result.source, "destination": result.destination}
    reference = sides.get(str(error.get("side")))
    if reference is None:
        return None
    head, slash, last = reference.partition("@")[0].rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def begin_logs(options: RunOptions) -> None:
    """Configure logging as the options say."""
    from image_syncer import configure_logging

    configure_logging(
        log_format=options.log_format,
        level=options.console_level,
        log_file=options.log or None,
        colors=is_live_terminal() and not os.environ.get("NO_COLOR"),
    )


def begin_logs_and_warn(configuration: Configuration, options: RunOptions) -> None:
    """Configure logging, and say the warnings of the files."""
    begin_logs(options)
    for warning in configuration.warnings:
        say_warning(str(warning), as_json=options.as_json)


def run_with_display(
    configuration: Configuration,
    options: RunOptions,
    on_image: Callable[[ImageResult], None] = lambda _result: None,
    engine: Callable[..., Report] | None = None,
    *,
    writes: bool = True,
) -> Report:
    """Run `engine` (None: `sync`) with its layouts open (`image_syncer.open_places`), a display and the reports for
    pipelines. Without `writes`, and in a dry run, layouts are not written to.
    """
    from image_syncer_cli.pipeline import PipelineFiles

    if options.report_junit is None and options.report_markdown is None:
        return _run_engine(configuration, options, on_image, engine, writes=writes)
    files = PipelineFiles(options.report_junit, options.report_markdown, ("--report-junit", "--report-markdown"))

    def note(result: ImageResult) -> None:
        files.add(result)
        on_image(result)

    try:
        report = _run_engine(configuration, options, note, engine, writes=writes)
    except BaseException:
        files.abandon()
        raise
    return files.close(report)


def _run_engine(
    configuration: Configuration,
    options: RunOptions,
    on_image: Callable[[ImageResult], None],
    engine: Callable[..., Report] | None,
    *,
    writes: bool,
) -> Report:
    import image_syncer

    tune_garbage_collection()
    control = None if options.dry_run else make_control(options.control)
    controlled: dict[str, Any] = {} if control is None else {"control": control}
    with (
        _observed(options),
        image_syncer.open_places(configuration, writes=writes and not options.dry_run) as opened,
        contextlib.closing(choose_display(options, control)) as display,
    ):
        # Another engine than `sync` may use snapshots for more than the display.
        shows_nothing = engine is None and type(display) is Display
        on_progress = None if shows_nothing else display.update
        run = engine or image_syncer.sync
        return run(opened, options.build_settings(), on_progress=on_progress, on_image=on_image, **controlled)


@contextlib.contextmanager
def _observed(options: RunOptions) -> Iterator[None]:
    """Serve metrics and send traces as the options say. The address of the metrics is said if the user cannot know it,
    or if other machines can read them.
    """
    wanted = (options.metrics, options.metrics_file, options.trace_endpoint)
    if not any(wanted) and not any(name.startswith("OTEL_") for name in os.environ):
        yield
        return
    from image_syncer.telemetry.looking_on import look_on

    listen = options.metrics
    with look_on(
        metrics=listen, metrics_file=options.metrics_file, traces=options.trace_endpoint, environ=os.environ
    ) as address:
        if listen is not None and (listen.port == 0 or not listen.is_loopback):
            readers = "this machine alone" if listen.is_loopback else "every host that reaches this machine"
            text = f"metrics for {readers}: {address}"
            say_event("metrics", text, as_json=options.as_json, address=address, readers=readers)
        yield


def choose_display(options: RunOptions, control: RunControl | None = None) -> Display:
    """Return the display that fits standard error and the options; its keys act on `control`."""
    if options.quiet or options.no_progress:
        return Display()
    if options.as_json:
        return LineDisplay(as_json=True)
    if is_live_terminal():
        from image_syncer_cli.display.live_display import LiveDisplay

        return LiveDisplay(control=control)
    return LineDisplay()
