"""`image-syncer diff`: which tags a sync would change, and from what to what."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.option_choice import verify_options
from image_syncer_cli.options import RunOptions
from image_syncer_cli.output import json_line, say
from image_syncer_cli.registry_options import auth_option
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from image_syncer import Configuration, ImageResult, Report

__all__ = ["diff"]

EXIT_DIFFERENT = 1
_AHEAD = {
    "source": "the source is ahead",
    "destination": "the destination is ahead",
    "unknown": "which side is ahead is not known",
}


@click.command(cls=Verb)
@auth_option
@click.option("--images", metavar="FILE", help="What to copy where, YAML or JSON: the file that sync has.")
@click.option("--config", metavar="FILE", help="Both in one file, instead of --auth and --images.")
@click.option("--ahead", is_flag=True, help="Find out which side is ahead: two to some six requests a changed tag.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a line to standard output.")
@verify_options
def diff(
    auth: str | None, images: str | None, config: str | None, ahead: bool, as_json: bool, **options: object
) -> int:
    """Tell which tags the destinations lack, or have with other content; nothing is written.

    Digests of tags are compared, which costs two requests a tag; what is under them is for verify. The exit code is 1
    where something differs, or could not be compared.
    """
    if images is None and config is None:
        raise click.UsageError("nothing to compare: give --images FILE (and --auth FILE), or --config FILE.")
    from image_syncer import load_configuration
    from image_syncer_cli.doctor_hint import way_words

    configuration = load_configuration(config=config, auth=auth, images=images, environ=os.environ)
    given = replace(RunOptions.from_click(options), ahead=ahead)
    return _diff(configuration, given, as_json=as_json, ways=way_words(auth, config))


def _diff(configuration: Configuration, options: RunOptions, *, as_json: bool, ways: Sequence[str]) -> int:
    import image_syncer
    from image_syncer_cli.render import MAX_SKIPPED
    from image_syncer_cli.run import begin_telling, run_with_display, say_end

    begin_telling(configuration, options)
    skipped: list[ImageResult] = []
    counts = {"new": 0, "changed": 0}

    def on_image(result: ImageResult) -> None:
        if result.outcome is image_syncer.Outcome.PLANNED:
            counts["new" if result.replaced_digest is None else "changed"] += 1
            say(json_line(_data_of(result)) if as_json else _line_of(result))
        elif result.outcome is image_syncer.Outcome.SKIPPED and len(skipped) < MAX_SKIPPED:
            skipped.append(result)

    engine: Callable[..., Report] = image_syncer.plan
    report = run_with_display(configuration, options, on_image, engine, writes=False)
    summary = (
        json_line({"summary": {**counts, **report.as_data()}})
        if as_json
        else f"{counts['new']} new, {counts['changed']} changed · {report.summary_line()}"
    )
    say_end(report, configuration, options, skipped=skipped, ways=ways, summary=summary)
    return report.exit_code or (EXIT_DIFFERENT if any(counts.values()) else 0)


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
        "difference": "new" if result.replaced_digest is None else "changed",
        "expected": result.destination_digest,
        "found": result.replaced_digest,
    }
    ahead = {} if result.ahead is None else {"ahead": result.ahead, "because": result.ahead_because}
    return data | ahead
