"""`image-syncer copy SRC DST`: one image or one repository, without files."""

from __future__ import annotations

import os
from dataclasses import replace

import click

from image_syncer_cli.control_options import control_option
from image_syncer_cli.options import RunOptions, run_options
from image_syncer_cli.registry_options import auth_option, insecure_option, read_registries
from image_syncer_cli.verb import Verb

__all__ = ["copy"]


@click.command(cls=Verb)
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@click.option("--all-tags", is_flag=True, help="Copy every tag of the repository SRC.")
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="OS/ARCH[/VARIANT]",
    help="Copy only this platform, such as linux/arm64/v8; may be given again. [default: all]",
)
@auth_option
@insecure_option
@run_options
@control_option
def copy(
    source: str,
    destination: str,
    all_tags: bool,
    platforms: tuple[str, ...],
    auth: str | None,
    insecure_hosts: tuple[str, ...],
    **options: object,
) -> int:
    """Copy the image SRC to DST: `copy nginx:1.27 registry.example/mirror/nginx`.

    A SRC without a tag means latest, a DST without a tag gets that of SRC. Credentials are those of --auth, else
    those that docker has.
    """
    from image_syncer import rule_from_arguments
    from image_syncer_cli.doctor_hint import way_words
    from image_syncer_cli.run import prepare_workers, run_images

    given = RunOptions.from_click(options)
    prepare_workers(given)
    rule = rule_from_arguments(source, destination, all_tags=all_tags, platforms=platforms, directory=os.getcwd())  # noqa: PTH109
    configuration = replace(read_registries(auth, insecure_hosts), rules=(rule,))
    return run_images(configuration, given, way_words(auth, None, insecure_hosts))
