"""`image-syncer plan`: what a sync would copy, and why an image is among it or is not."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from image_syncer_cli.option_choice import verify_options
from image_syncer_cli.option_values import file_name
from image_syncer_cli.options import RunOptions
from image_syncer_cli.output import say
from image_syncer_cli.registry_options import auth_option
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_syncer import Configuration, Explanation, Verdict

__all__ = ["plan"]

EXIT_NOT_MEANT = 1
_MARKS = {True: "+", False: "-", None: "?"}
_WORDS = {True: "in", False: "out", None: "open"}


@click.command(cls=Verb)
@auth_option
@click.option("--images", metavar="FILE", help="What to copy where, YAML or JSON: the file that sync has.")
@click.option("--config", metavar="FILE", help="Both in one file, instead of --auth and --images.")
@click.option("--explain", "image", metavar="IMAGE", help="Say which rules mean this image, and why others do not.")
@click.option("--json", "as_json", is_flag=True, help="With --explain: one JSON object.")
@click.option(
    "--save",
    callback=file_name,
    metavar="FILE",
    help="Write the plan, with every blob and what is there already, into FILE, and say what it comes to.",
)
@verify_options
def plan(
    auth: str | None,
    images: str | None,
    config: str | None,
    image: str | None,
    as_json: bool,
    save: str | None,
    **options: object,
) -> int:
    """Tell what a sync with these files would copy, as its --dry-run does; or why an image is in or out (--explain).

    With --save, each blob is asked for at its destination (HEAD), so that what is there already is known.

    With --explain the exit code is 0 where some rule means the image, and 1 where none does. No registry is asked then,
    but for its list of tags where a rule takes the newest of them.
    """
    if images is None and config is None:
        raise click.UsageError("nothing to plan: give --images FILE (and --auth FILE), or --config FILE.")
    if as_json and image is None:
        raise click.UsageError("--json goes with --explain; diff --json tells what would change.")
    if save is not None and image is not None:
        raise click.UsageError("--save goes with the whole plan: leave --explain out.")
    from image_syncer import load_configuration

    configuration = load_configuration(config=config, auth=auth, images=images, environ=os.environ)
    given = RunOptions.from_click(options)
    if image is not None:
        return _explain(configuration, image, given, as_json=as_json)
    from image_syncer_cli.doctor_hint import way_words
    from image_syncer_cli.run import run_images

    planned = replace(given, dry_run=True, plan=save, quiet=given.quiet or save is not None)
    code = run_images(configuration, planned, way_words(auth, config))
    if save is not None and not given.quiet and Path(save).is_file():
        from image_syncer import account_for, load_plan
        from image_syncer_cli.plan_summary import summarize_plan

        say("\n".join(summarize_plan(account_for(load_plan(save)))))
    return code


def _explain(configuration: Configuration, image: str, options: RunOptions, *, as_json: bool) -> int:
    import image_syncer
    from image_syncer_cli.run import begin_telling

    begin_telling(configuration, options)
    with image_syncer.open_places(configuration, writes=False) as opened:
        found = image_syncer.explain(opened, image, options.build_settings())
    say(_as_json(found) if as_json else "\n".join(_lines(found)))
    return 0 if found.meant else EXIT_NOT_MEANT


def _lines(found: Explanation) -> Iterator[str]:
    for verdict in found.verdicts:
        places = ", ".join(verdict.destinations)
        yield f"{_WORDS[verdict.meant]}: {verdict.origin}: {verdict.source}" + (f" → {places}" if places else "")
        yield from (f"  {_MARKS[reason.holds]} {reason.text}" for reason in verdict.reasons)
    meant = sum(verdict.meant is True for verdict in found.verdicts)
    others = f"; {_rules(found.others)} about other repositories" if found.others else ""
    yield f"{found.image} is meant by {_rules(meant) if meant else 'no rule'}{others}"


def _rules(number: int) -> str:
    return f"{number} rule{'' if number == 1 else 's'}"


def _as_json(found: Explanation) -> str:
    import json

    def data_of(verdict: Verdict) -> dict[str, object]:
        return {
            "rule": verdict.origin,
            "source": verdict.source,
            "meant": verdict.meant,
            "reasons": [{"holds": reason.holds, "text": reason.text} for reason in verdict.reasons],
            "destinations": list(verdict.destinations),
        }

    verdicts = [data_of(verdict) for verdict in found.verdicts]
    data = {"image": found.image, "meant": found.meant, "rules": verdicts, "other_rules": found.others}
    return json.dumps(data, ensure_ascii=False)
