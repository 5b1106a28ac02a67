"""`image-syncer config schema`: the JSON schema of our own format."""

from __future__ import annotations

import click

from image_syncer_cli.options import debug_option
from image_syncer_cli.output import say
from image_syncer_cli.verb import Verb

__all__ = ["schema"]


@click.command(cls=Verb, short_help="Print the JSON schema of our own format, for editors.")
@click.option("--path", "as_path", is_flag=True, help="Print where it is on this machine instead.")
@debug_option
def schema(as_path: bool, debug: bool) -> None:  # noqa: ARG001 - main reads --debug
    """Print the JSON schema (draft 2020-12) of files with `version: 2`.

    Editors with a YAML language server take it from a comment at the top of a file:
    # yaml-language-server: $schema=PATH
    """
    from image_syncer import schema_path, schema_text

    say(str(schema_path()) if as_path else schema_text().removesuffix("\n"))
