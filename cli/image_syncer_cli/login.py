"""`image-syncer login [HOST]`: a user name and password, checked and kept."""

from __future__ import annotations

import getpass
import os
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from image_syncer_cli.options import debug_option
from image_syncer_cli.output import printable, say
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from image_syncer import KeptLogin, LoginPlace

__all__ = ["login"]

_MOST_BYTES = 64 * 1024
"""Tokens of clouds have some kilobytes."""


def _refuse(_ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise click.UsageError(
            "a password in a command line can be read by everybody on this machine, and stays in the shell's history: "
            "type it when you are asked for it, or give it with --password-stdin."
        )


@click.command(cls=Verb)
@click.argument("host", metavar="[HOST]", default="docker.io")
@click.option("-u", "--username", metavar="NAME", help="User name; without it, you are asked for it.")
@click.option("-p", "--password", hidden=True, expose_value=False, callback=_refuse)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--authfile", metavar="FILE", help="Keep the login in this file, instead of docker's.")
@click.option("--auth", metavar="FILE", help="How the registry is reached (TLS, proxy): a file as for `sync`.")
@click.option("--insecure", is_flag=True, help="Take any certificate of the registry, or plain HTTP.")
@click.option("--no-check", is_flag=True, help="Keep the login without asking the registry whether it takes it.")
@debug_option
def login(
    host: str,
    username: str | None,
    password_stdin: bool,
    authfile: str | None,
    auth: str | None,
    insecure: bool,
    no_check: bool,
    debug: bool,  # noqa: ARG001 - main reads --debug
) -> int:
    """Log in to the registry HOST (docker.io, where none is named), or to a namespace in it (quay.io/team).

    The registry is asked whether it takes the user name and the password; then they are kept where `docker login` keeps
    them, in docker's format or by the credential helper that its file names.
    """
    from image_syncer import Credential, check_login, parse_login_place, store_login
    from image_syncer_cli.registry_options import read_registries

    place = parse_login_place(host)
    if password_stdin and not username:
        raise click.UsageError("--password-stdin reads the password alone; give the user name with -u NAME.")
    configuration = read_registries(auth, (place.registry,) if insecure else ())
    for warning in configuration.warnings:
        say(printable(f"Warning: {warning}"), err=True)
    if not password_stdin and not _is_terminal():
        _no_terminal()
    if not username:
        username = str(click.prompt("User name", err=True))
    credential = Credential(username, _read_password() if password_stdin else _ask_password())
    was_checked = not no_check and check_login(place, credential, registries=configuration.registries)
    kept = store_login(place, credential, environ=os.environ, authfile=authfile)
    for line in _lines(place, username, kept, authfile, was_checked=was_checked or no_check):
        say(printable(line), err=line.startswith("Warning: "))
    return 0


def _lines(place: LoginPlace, username: str, kept: KeptLogin, authfile: str | None, *, was_checked: bool) -> list[str]:
    lines = []
    if not was_checked:
        lines.append(f"Warning: {place.registry} lets everybody in at /v2/, so the password was not checked")
    where = f"in {kept.file}, for you alone to read (mode 600)"
    if kept.helper is not None:
        where = f"by docker-credential-{kept.helper}, which {kept.file} names"
    lines.append(f"logged in to {place.prefix} as {username}; kept {where}")
    if kept.shadowed_by is not None:
        cure = f"image-syncer logout --authfile {kept.shadowed_by} {place.prefix}"
        lines.append(f"Warning: another login for {place.prefix} is found before it, in {kept.shadowed_by} → {cure}")
    if authfile is not None and os.environ.get("REGISTRY_AUTH_FILE") != authfile:
        lines.append(f"image-syncer finds it with REGISTRY_AUTH_FILE={authfile}")
    return lines


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _no_terminal() -> NoReturn:
    raise click.UsageError("there is no terminal to type a password at: give it with -u NAME --password-stdin.")


def _ask_password() -> str:
    """What is typed at the terminal, which does not show it: the echo is off before the prompt is seen."""
    try:
        password = getpass.getpass("Password: ")
    except EOFError:
        password = ""
    if not password:
        raise click.UsageError("nothing was typed where a password was to come from.")
    return password


def _read_password() -> str:
    raw = sys.stdin.buffer.read(_MOST_BYTES + 1)
    if len(raw) > _MOST_BYTES:
        raise click.UsageError(f"standard input has more than {_MOST_BYTES // 1024} KiB: that is no password.")
    try:
        # One end of line is the shell's or the editor's.
        password = raw.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise click.UsageError("standard input is not UTF-8.") from None
    if not password:
        raise click.UsageError("standard input is empty, where the password was to come from.")
    return password
