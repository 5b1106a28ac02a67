"""`image-syncer retry`: runs again just what failed, or was not tried, in an earlier run."""

from __future__ import annotations

from dataclasses import replace

import click

from image_syncer_cli.control_options import control_option
from image_syncer_cli.option_choice import options_without
from image_syncer_cli.options import RunOptions
from image_syncer_cli.registry_options import auth_option, insecure_option, read_registries
from image_syncer_cli.told_choices import with_choices
from image_syncer_cli.verb import Verb

__all__ = ["retry"]


@click.command(cls=Verb)
@click.option("--report", "old", metavar="FILE", required=True, help="The report of the earlier run; it is only read.")
@click.option("--new-report", metavar="FILE", help="Write one JSON document on this run: what --report is for sync.")
@auth_option
@click.option("--config", metavar="FILE", help="The same from a file that has the images too, which are not read.")
@insecure_option
@options_without("report")
@control_option
def retry(
    old: str,
    new_report: str | None,
    auth: str | None,
    config: str | None,
    insecure_hosts: tuple[str, ...],
    **options: object,
) -> int:
    """Copy just what failed, or was not tried, in the run that wrote the report FILE.

    What to copy, for which platforms, in which form, with which --referrers, whether with --force, and --on-conflict,
    is read from the report, and nothing else is: where tags could not be listed, they are listed again. Give the other
    options anew, and the file with the policies where the run had some.
    """
    from image_syncer import find_unfinished, load_report
    from image_syncer_cli.doctor_hint import way_words
    from image_syncer_cli.output import say
    from image_syncer_cli.run import prepare_workers, run_images

    given = replace(RunOptions.from_click(options), report=new_report)
    prepare_workers(given)
    registries = read_registries(auth, insecure_hosts, config)
    unfinished = find_unfinished(load_report(old))
    choice = with_choices(given, unfinished)
    configuration = replace(registries, rules=unfinished.rules, catalogs=unfinished.catalogs)
    unfinished.check_policies(configuration)
    if not (unfinished.rules or unfinished.catalogs) and not choice.quiet:
        say(f"{old}: nothing failed, and nothing was left out", err=True)
    return run_images(configuration, choice, way_words(auth, config, insecure_hosts))
