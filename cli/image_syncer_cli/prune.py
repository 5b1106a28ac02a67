"""`image-syncer prune`: what no rule selects any more at the destinations, and its deletion."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.option_choice import prune_run_options
from image_syncer_cli.options import RunOptions
from image_syncer_cli.output import json_line, say
from image_syncer_cli.prune_options import PruneOptions, prune_options
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from image_syncer import Configuration, ImageResult, Pruning, Report

__all__ = ["prune"]

EXIT_WOULD_GO = 1


@click.command(cls=Verb)
@click.option("--auth", metavar="FILE", help="Credentials and TLS settings of registries, YAML or JSON.")
@click.option("--images", metavar="FILE", help="What should be where, YAML or JSON: the file that sync has.")
@click.option("--config", metavar="FILE", help="Both in one file, instead of --auth and --images.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a line to standard output.")
@prune_options
@prune_run_options
def prune(auth: str | None, images: str | None, config: str | None, as_json: bool, **options: Any) -> int:
    """Tell which tags and manifests at the destinations no rule selects any more; with --yes or --plan, delete them.

    Only repositories are looked at that a rule writes all its tags to. What a tag, index or referrer that stays reaches
    is never deleted. Without --yes the exit code is 1 where something would go; with it, where something could not.
    """
    if images is None and config is None:
        raise click.UsageError("nothing to prune by: give --images FILE (and --auth FILE), or --config FILE.")
    wanted = PruneOptions.take(options)
    if wanted.save is not None and wanted.deletes:
        raise click.UsageError("--save writes what would go, and --yes and --plan delete: give one of them.")
    given = RunOptions.from_click(options)
    if given.state is not None and not wanted.deletes:
        raise click.UsageError("--state has the journal forget what is deleted: give it with --yes or --plan.")
    from image_syncer import load_configuration
    from image_syncer_cli.doctor_hint import way_words

    configuration = load_configuration(config=config, auth=auth, images=images, environ=os.environ)
    return _prune(configuration, given, wanted.build(), as_json=as_json, ways=way_words(auth, config))


def _prune(
    configuration: Configuration, options: RunOptions, pruning: Pruning, *, as_json: bool, ways: Sequence[str]
) -> int:
    import image_syncer
    from image_syncer_cli.prune_lines import prune_lines, say_unpruned
    from image_syncer_cli.render import MAX_SKIPPED
    from image_syncer_cli.run import begin_telling, run_with_display, say_end

    begin_telling(configuration, options)
    skipped: list[ImageResult] = []

    def on_image(result: ImageResult) -> None:
        if result.outcome is image_syncer.Outcome.SKIPPED and len(skipped) < MAX_SKIPPED:
            skipped.append(result)

    def engine(wanted: Configuration, settings: image_syncer.Settings, **callbacks: Any) -> Report:
        return image_syncer.prune(wanted, replace(settings, pruning=pruning), **callbacks)

    run: Callable[..., Report] = engine
    report = run_with_display(configuration, options, on_image, run, writes=pruning.delete)
    pruned = report.pruned
    assert pruned is not None
    if as_json:
        for each in pruned.told():
            say(json_line(each.as_data()))
    else:
        for line in prune_lines(pruned):
            say(line)
    say_unpruned(pruned, as_json=options.log_format == "json")
    summary = (
        json_line({"summary": report.as_data()})
        if as_json
        else "\n".join([report.summary_line(), *report.limit_lines(), pruned.summary_line()])
    )
    say_end(report, configuration, options, skipped=skipped, ways=ways, summary=summary)
    would_go = bool(pruned.tag_count or pruned.manifest_count) and not pruned.deletes
    return report.exit_code or (EXIT_WOULD_GO if would_go else 0)
