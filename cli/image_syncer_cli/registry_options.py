"""How registries are reached, for verbs that are told their images otherwise: `--auth` or `--config`, `--insecure`."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from image_syncer_cli.option_values import insecure_hosts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer import Configuration

__all__ = ["auth_option", "insecure_option", "read_registries"]

auth_option = click.option("--auth", metavar="FILE", help="Credentials and TLS settings of registries, YAML or JSON.")
"""`--auth FILE`."""
insecure_option = click.option(
    "--insecure",
    "insecure_hosts",
    multiple=True,
    metavar="HOST",
    callback=insecure_hosts,
    help="Take any certificate of this registry, or plain HTTP; may be given again.",
)
"""`--insecure HOST`, any number of times."""


def read_registries(auth: str | None, insecure_hosts: Sequence[str] = (), config: str | None = None) -> Configuration:
    """A configuration without rules: what the file says of registries, and the hosts of `--insecure`. Raises
    UsageError where both files were given, and what loading them raises.
    """
    from image_syncer import Configuration, RegistryBook, RegistryEntry, load_configuration, load_registries

    if auth is not None and config is not None:
        raise click.UsageError("--auth and --config were given together: use one or the other.")
    if config is not None:
        known = load_configuration(config=config, environ=os.environ)
    else:
        known = Configuration() if auth is None else load_registries(auth, environ=os.environ)
    # Of two entries for one prefix the first one wins: the password of the file stays.
    insecure = [RegistryEntry(host, insecure=True) for host in insecure_hosts]
    return replace(known, rules=(), catalogs=(), registries=RegistryBook((*known.registries.entries, *insecure)))
