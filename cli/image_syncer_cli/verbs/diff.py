"""`image-syncer diff`: shows which tags a sync would change, and from what to what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.display.output import json_line, say
from image_syncer_cli.options import VERIFY_OPTIONS, RunOptions, options_in
from image_syncer_cli.shared_options import json_lines_option, rule_files
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from image_syncer import ImageResult, Report
    from image_syncer_cli.shared_options import Files


EXIT_DIFFERENT = 1
_AHEAD = {
    "source": "the source is ahead",
    "destination": "the destination is ahead",
    "unknown": "which side is ahead is not known",
}


@click.command(cls=Verb)
@rule_files
@click.option("--ahead", is_flag=True, help="Find out which side is ahead, by two to six requests per changed tag.")
@json_lines_option
@options_in(VERIFY_OPTIONS)
def diff(files: Files, ahead: bool, as_json: bool, **options: object) -> int:
    """Show which tags are missing at the destinations, or have other content there; nothing is written.

    Compares the digests of tags, with two requests per tag; verify checks what is below them. The exit code is 1
    if something differs or could not be compared.
    """
    files.require_images("compare")
    import image_syncer
    from image_syncer_cli.run import run_and_show

    counts = {"new": 0, "changed": 0}

    def on_image(result: ImageResult) -> None:
        if result.outcome is image_syncer.Outcome.PLANNED:
            counts[_difference(result)] += 1
            say(json_line(_data_of(result)) if as_json else _line_of(result))

    def summarize(report: Report) -> str:
        if as_json:
            return json_line({"summary": {**counts, **report.as_data()}})
        return f"{counts['new']} new, {counts['changed']} changed · {report.summary_line()}"

    configuration = files.load()
    given = RunOptions.from_click(options).with_settings(tell_ahead=ahead)
    report = run_and_show(
        configuration, given, files.access_words(), image_syncer.plan, on_image=on_image, finish=summarize, writes=False
    )
    return report.exit_code or (EXIT_DIFFERENT if any(counts.values()) else 0)


def _difference(result: ImageResult) -> str:
    return "new" if result.replaced_digest is None else "changed"


def _line_of(result: ImageResult) -> str:
    if result.replaced_digest is None:
        return f"new: {result.source} → {result.destination}: {result.destination_digest}"
    change = f"{result.replaced_digest} → {result.destination_digest}"
    ahead = "" if result.ahead is None else f"; {_AHEAD[result.ahead]}: {result.ahead_because}"
    return f"changed: {result.source} → {result.destination}: {change}{ahead}"


def _data_of(result: ImageResult) -> dict[str, Any]:
    data = {
        "source": result.source,
        "destination": result.destination,
        "difference": _difference(result),
        "expected": result.destination_digest,
        "found": result.replaced_digest,
    }
    ahead = {} if result.ahead is None else {"ahead": result.ahead, "because": result.ahead_because}
    return data | ahead
