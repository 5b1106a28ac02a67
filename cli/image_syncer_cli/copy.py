"""`image-syncer copy SRC DST`: one image or one repository, without files."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from image_syncer_cli.option_values import insecure_hosts
from image_syncer_cli.options import RunOptions, run_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer import Configuration

__all__ = ["copy", "read_registries"]


@click.command(short_help="Copy one image or repository, without files.")
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
@click.option("--auth", metavar="FILE", help="Credentials and TLS settings of registries, YAML or JSON.")
@click.option(
    "--insecure",
    "insecure_hosts",
    multiple=True,
    metavar="HOST",
    callback=insecure_hosts,
    help="Take any certificate of this registry, or plain HTTP; may be given again.",
)
@run_options
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
    from image_syncer_cli.run import run_images

    rule = rule_from_arguments(source, destination, all_tags=all_tags, platforms=platforms, directory=os.getcwd())  # noqa: PTH109
    known = read_registries(auth, insecure_hosts)
    configuration = replace(known, rules=(rule,))
    return run_images(configuration, RunOptions.from_click(options), way_words(auth, None, insecure_hosts))


def read_registries(
    auth: str | None, insecure_hosts: Sequence[str], known: Configuration | None = None
) -> Configuration:
    """A configuration without rules: what is `known` already, or the auth file says, and the hosts of `--insecure`."""
    from image_syncer import Configuration, RegistryBook, RegistryEntry, load_registries

    if known is None:
        known = Configuration() if auth is None else load_registries(auth, environ=os.environ)
    # Of two entries for one prefix the first one wins: the password of the file stays.
    insecure = [RegistryEntry(host, insecure=True) for host in insecure_hosts]
    return replace(known, rules=(), catalogs=(), registries=RegistryBook((*known.registries.entries, *insecure)))
