"""`image-syncer copy SRC DST`: copies one image or one repository, without files."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from image_syncer_cli.options import RunOptions, run_options
from image_syncer_cli.shared_options import AUTH_OPTION, INSECURE_OPTION, control_option, file_options
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from image_syncer_cli.shared_options import Files


@click.command(cls=Verb)
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@click.option("--all-tags", is_flag=True, help="Copy every tag of the repository SRC.")
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="OS/ARCH[/VARIANT]",
    help="Copy only this platform, e.g. linux/arm64/v8; can be repeated. [default: all]",
)
@file_options(AUTH_OPTION, INSECURE_OPTION)
@run_options
@control_option
def copy(
    source: str, destination: str, all_tags: bool, platforms: tuple[str, ...], files: Files, **options: object
) -> int:
    """Copy the image SRC to DST: `copy nginx:1.27 registry.example/mirror/nginx`.

    The default tag of SRC is latest, that of DST is the tag of SRC. Credentials come from --auth, or from Docker's
    configuration.
    """
    from image_syncer import rule_from_arguments
    from image_syncer_cli.run import prepare_workers, run_images

    given = RunOptions.from_click(options)
    prepare_workers(given)
    rule = rule_from_arguments(source, destination, all_tags=all_tags, platforms=platforms, directory=os.getcwd())  # noqa: PTH109
    return run_images(replace(files.load_registries(), rules=(rule,)), given, files.access_words())
