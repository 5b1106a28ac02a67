"""`image-syncer prune`: shows or deletes what no rule selects any more at the destinations."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.display.output import json_line, say
from image_syncer_cli.options import VERIFY_OPTIONS, RunOptions, options_in
from image_syncer_cli.prune_options import PruneOptions, prune_options
from image_syncer_cli.shared_options import json_lines_option, rule_files
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from image_syncer import Configuration, Report, Settings
    from image_syncer_cli.shared_options import Files


EXIT_WOULD_DELETE = 1


@click.command(cls=Verb)
@rule_files
@json_lines_option
@prune_options
@options_in(VERIFY_OPTIONS | {"--state"})
def prune(files: Files, as_json: bool, **options: Any) -> int:
    """Show the tags and manifests at the destinations that no rule selects any more; with --yes or --plan, delete them.

    Looks only at repositories to which a rule writes all its tags. Never deletes what a remaining tag, index or
    referrer reaches. The exit code is 1 if something would be deleted, or with --yes if something could not be.
    """
    files.require_images("prune by")
    wanted = PruneOptions.take(options)
    if wanted.save is not None and wanted.deletes:
        raise click.UsageError("--save writes what would go, and --yes and --plan delete: give one of them.")
    given = RunOptions.from_click(options)
    if given.settings["state_path"] is not None and not wanted.deletes:
        raise click.UsageError("--state has the journal forget what is deleted: give it with --yes or --plan.")
    import image_syncer
    from image_syncer_cli.display.render import prune_lines, say_unpruned
    from image_syncer_cli.run import run_and_show

    configuration = files.load()
    pruning = wanted.build()

    def engine(configuration: Configuration, settings: Settings, **callbacks: Any) -> Report:
        return image_syncer.prune(configuration, replace(settings, pruning=pruning), **callbacks)

    def finish(report: Report) -> str:
        pruned = report.pruned
        assert pruned is not None
        for line in (json_line(each.as_data()) for each in pruned.told()) if as_json else prune_lines(pruned):
            say(line)
        say_unpruned(pruned, as_json=given.as_json)
        if as_json:
            return json_line({"summary": report.as_data()})
        return "\n".join([report.summary_line(), *report.limit_lines(), pruned.summary_line()])

    report = run_and_show(
        configuration,
        given,
        files.access_words(),
        engine,
        on_image=lambda _result: None,
        finish=finish,
        writes=pruning.delete,
    )
    pruned = report.pruned
    assert pruned is not None
    would_delete = bool(pruned.tag_count or pruned.manifest_count) and not pruned.deletes
    return report.exit_code or (EXIT_WOULD_DELETE if would_delete else 0)
