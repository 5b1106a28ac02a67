"""`image-syncer verify`: checks that the destinations have now what the sources have now."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import click

from image_syncer_cli.display.output import json_line, say
from image_syncer_cli.options import VERIFY_OPTIONS, RunOptions, options_in
from image_syncer_cli.shared_options import json_lines_option, rule_files
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from image_syncer import ImageResult, Report
    from image_syncer_cli.shared_options import Files


@click.command(cls=Verb)
@rule_files
@click.option("--deep", is_flag=True, help="Read and hash every byte at the destinations.")
@json_lines_option
@options_in(VERIFY_OPTIONS)
def verify(files: Files, deep: bool, as_json: bool, **options: object) -> int:
    """Compare the images that the files name with their destinations; nothing is written.

    Checks every tag, every manifest (by its hash) and every blob (by HEAD, or with --deep by reading it). Each
    difference is one line. The exit code is 1 if something differs or could not be checked.
    """
    files.require_images("verify")
    import image_syncer
    from image_syncer_cli.run import run_and_show

    def summarize(report: Report) -> str:
        if as_json:
            return json_line({"summary": report.as_data()})
        return "\n".join([report.summary_line(), *report.limit_lines()])

    configuration = files.load()
    return run_and_show(
        configuration,
        RunOptions.from_click(options),
        files.access_words(),
        functools.partial(image_syncer.verify, deep=deep),
        on_image=_tell_json if as_json else _tell_lines,
        finish=summarize,
        writes=False,
    ).exit_code


def _tell_lines(result: ImageResult) -> None:
    for difference in result.differences or ():
        say(f"{result.outcome}: {result.source} → {result.destination}: {difference}")


def _tell_json(result: ImageResult) -> None:
    """Say each difference, and that an image could not be checked."""
    names = {"source": result.source, "destination": result.destination}
    for difference in result.differences or ():
        say(json_line({**names, "outcome": result.outcome.value, **difference.as_data()}))
    if result.error is not None:
        say(json_line({**names, "outcome": "not checked", "error": dict(result.error)}))
