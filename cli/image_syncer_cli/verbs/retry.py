"""`image-syncer retry`: copies again only what failed, or was not tried, in an earlier run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from image_syncer_cli.display.output import say
from image_syncer_cli.options import RunOptions, options_without
from image_syncer_cli.shared_options import (
    AUTH_OPTION,
    INSECURE_OPTION,
    REGISTRIES_OPTION,
    control_option,
    file_options,
)
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from image_syncer.reporting.chosen_work import PlannedWork, Unfinished
    from image_syncer_cli.shared_options import Files


_CHOICES = ("missing_platform", "foreign_layers", "manifest_format", "on_conflict", "referrers")


def with_choices(given: RunOptions, earlier: PlannedWork | Unfinished) -> RunOptions:
    """Return `given`, with the choices of an `earlier` run or plan where the command line makes none."""
    platforms = earlier.filter_or(given.build_settings().platform_filter)
    chosen = {name: getattr(earlier, name) for name in _CHOICES if given.settings.get(name) is None}
    force = given.settings.get("force") or earlier.force
    return replace(
        given.with_settings(**chosen, force=force),
        os_names=platforms.os_names,
        architectures=platforms.architectures,
    )


@click.command(cls=Verb)
@click.option("--report", "old", metavar="FILE", required=True, help="Report of the earlier run; it is only read.")
@click.option("--new-report", metavar="FILE", help="Write a JSON report on this run, as --report of sync does.")
@file_options(AUTH_OPTION, REGISTRIES_OPTION, INSECURE_OPTION)
@options_without("--report")
@control_option
def retry(old: str, new_report: str | None, files: Files, **options: object) -> int:
    """Copy only what failed, or was not tried, in the run that wrote the report FILE.

    The report says what to copy, for which platforms, in which format, and with which --referrers, --force and
    --on-conflict. Tags that could not be listed are listed again. Give all other options again, and the file with
    the policies if the run had some.
    """
    from image_syncer import load_report
    from image_syncer.reporting.chosen_work import find_unfinished
    from image_syncer_cli.run import prepare_workers, run_images

    given = RunOptions.from_click(options).with_settings(report_path=new_report)
    prepare_workers(given)
    registries = files.load_registries()
    unfinished = find_unfinished(load_report(old))
    choice = with_choices(given, unfinished)
    configuration = replace(registries, rules=unfinished.rules, catalogs=unfinished.catalogs)
    unfinished.check_policies(configuration)
    if not (unfinished.rules or unfinished.catalogs) and not choice.quiet:
        say(f"{old}: nothing failed, and nothing was left out", err=True)
    return run_images(configuration, choice, files.access_words())
