"""`image-syncer verify`: whether the destinations have now what the sources have now."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

import click

from image_syncer_cli.option_choice import verify_options
from image_syncer_cli.options import RunOptions
from image_syncer_cli.output import json_line, say
from image_syncer_cli.registry_options import auth_option
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from image_syncer import Configuration, ImageResult, Report

__all__ = ["verify"]


@click.command(cls=Verb)
@auth_option
@click.option("--images", metavar="FILE", help="What should be where, YAML or JSON: the file that sync has.")
@click.option("--config", metavar="FILE", help="Both in one file, instead of --auth and --images.")
@click.option("--deep", is_flag=True, help="Read and hash every byte at the destinations.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a line to standard output.")
@verify_options
def verify(
    auth: str | None, images: str | None, config: str | None, deep: bool, as_json: bool, **options: object
) -> int:
    """Compare what the files name with what is at its destinations now; nothing is written.

    Every tag, every manifest under it (hashed) and every blob (by HEAD, or read with --deep) is looked at. Each
    difference is one line. The exit code is 1 where something differs, or could not be checked.
    """
    if images is None and config is None:
        raise click.UsageError("nothing to verify: give --images FILE (and --auth FILE), or --config FILE.")
    from image_syncer import load_configuration
    from image_syncer_cli.doctor_hint import way_words

    configuration = load_configuration(config=config, auth=auth, images=images, environ=os.environ)
    return _verify(
        configuration, RunOptions.from_click(options), deep=deep, as_json=as_json, ways=way_words(auth, config)
    )


def _verify(
    configuration: Configuration, options: RunOptions, *, deep: bool, as_json: bool, ways: Sequence[str]
) -> int:
    import image_syncer
    from image_syncer_cli.render import MAX_SKIPPED
    from image_syncer_cli.run import begin_telling, run_with_display, say_end

    begin_telling(configuration, options)
    skipped: list[ImageResult] = []
    tell = _tell_json if as_json else _tell_lines

    def on_image(result: ImageResult) -> None:
        if result.outcome is image_syncer.Outcome.SKIPPED and len(skipped) < MAX_SKIPPED:
            skipped.append(result)
        tell(result)

    engine: Callable[..., Report] = functools.partial(image_syncer.verify, deep=deep)
    report = run_with_display(configuration, options, on_image, engine, writes=False)
    summary = (
        json_line({"summary": report.as_data()})
        if as_json
        else "\n".join([report.summary_line(), *report.limit_lines()])
    )
    say_end(report, configuration, options, skipped=skipped, ways=ways, summary=summary)
    return report.exit_code


def _tell_lines(result: ImageResult) -> None:
    for difference in result.differences or ():
        say(f"{result.outcome}: {result.source} → {result.destination}: {difference}")


def _tell_json(result: ImageResult) -> None:
    """What is not as it should be: each difference, and each image that could not be checked."""
    names = {"source": result.source, "destination": result.destination}
    for difference in result.differences or ():
        say(json_line({**names, "outcome": result.outcome.value, **difference.as_data()}))
    if result.error is not None:
        say(json_line({**names, "outcome": "not checked", "error": dict(result.error)}))
