"""`image-syncer logout [HOST]`: what `login` keeps is forgotten."""

from __future__ import annotations

import os

import click

from image_syncer_cli.options import debug_option
from image_syncer_cli.output import printable, say
from image_syncer_cli.verb import Verb

__all__ = ["logout"]


@click.command(cls=Verb)
@click.argument("host", metavar="[HOST]", default="docker.io")
@click.option("--authfile", metavar="FILE", help="Forget the login in this file, instead of docker's.")
@debug_option
def logout(host: str, authfile: str | None, debug: bool) -> int:  # noqa: ARG001 - main reads --debug
    """Forget the login of the registry HOST (docker.io, where none is named), or of a namespace in it.

    In the file where `login` would keep it, and at the credential helper that the file names. Asks no registry.
    """
    from image_syncer import erase_login, parse_login_place

    place = parse_login_place(host)
    erased = erase_login(place, environ=os.environ, authfile=authfile)
    where = erased.file if erased.helper is None else f"{erased.file}, docker-credential-{erased.helper}"
    say(printable(f"{'logged out of' if erased.was_there else 'there was no login for'} {place.prefix} ({where})"))
    if erased.left_in is not None:
        cure = f"image-syncer logout --authfile {erased.left_in} {place.prefix}"
        say(printable(f"Warning: there is still a login for {place.prefix} in {erased.left_in} → {cure}"), err=True)
    return 0
