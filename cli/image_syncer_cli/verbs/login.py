"""`image-syncer login` verifies a user name and password and stores them; `logout` erases them."""

from __future__ import annotations

import getpass
import os
import sys
from typing import TYPE_CHECKING

import click

from image_syncer_cli.display.output import printable, say
from image_syncer_cli.options import quiet_debug_option
from image_syncer_cli.shared_options import Files
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from image_syncer.credentials.login import KeptLogin, LoginPlace


@click.command(cls=Verb)
@click.argument("host", metavar="[HOST]", default="docker.io")
@click.option("--authfile", metavar="FILE", help="Remove the login from this file, instead of Docker's.")
@quiet_debug_option
def logout(host: str, authfile: str | None) -> int:
    """Remove the login of the registry HOST (default: docker.io), or of a namespace in it.

    From the file in which `login` stores it, and from the credential helper that the file names. Asks no registry.
    """
    from image_syncer.credentials.login import erase_login, parse_login_place

    place = parse_login_place(host)
    erased = erase_login(place, environ=os.environ, authfile=authfile)
    where = erased.file if erased.helper is None else f"{erased.file}, docker-credential-{erased.helper}"
    say(printable(f"{'logged out of' if erased.was_there else 'there was no login for'} {place.prefix} ({where})"))
    if erased.left_in is not None:
        cure = f"image-syncer logout --authfile {erased.left_in} {place.prefix}"
        say(printable(f"Warning: there is still a login for {place.prefix} in {erased.left_in} → {cure}"), err=True)
    return 0


_MOST_BYTES = 64 * 1024
"""Tokens of cloud registries have some kilobytes."""


def _refuse(_ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise click.UsageError(
            "a password in a command line can be read by everybody on this machine, and stays in the shell's history: "
            "type it when you are asked for it, or give it with --password-stdin."
        )


@click.command(cls=Verb)
@click.argument("host", metavar="[HOST]", default="docker.io")
@click.option("-u", "--username", metavar="NAME", help="User name; without it, it is prompted for.")
@click.option("-p", "--password", hidden=True, expose_value=False, callback=_refuse)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--authfile", metavar="FILE", help="Store the login in this file, instead of Docker's.")
@click.option("--auth", metavar="FILE", help="How to reach the registry (TLS, proxy): a file as for `sync`.")
@click.option("--insecure", is_flag=True, help="Accept any certificate of the registry, or plain HTTP.")
@click.option("--no-check", is_flag=True, help="Store the login without verifying it.")
@quiet_debug_option
def login(
    host: str,
    username: str | None,
    password_stdin: bool,
    authfile: str | None,
    auth: str | None,
    insecure: bool,
    no_check: bool,
) -> int:
    """Log in to the registry HOST (default: docker.io), or to a namespace in it (quay.io/team).

    Verifies the user name and the password with the registry, and stores them where `docker login` does: in Docker's
    file, or by the credential helper that it names.
    """
    from image_syncer import Credential
    from image_syncer.coordinator.single_requests import check_login
    from image_syncer.credentials.login import parse_login_place, store_login

    place = parse_login_place(host)
    if password_stdin and not username:
        raise click.UsageError("--password-stdin reads the password alone; give the user name with -u NAME.")
    configuration = Files(auth, insecure_hosts=(place.registry,) if insecure else ()).load_registries()
    for warning in configuration.warnings:
        say(printable(f"Warning: {warning}"), err=True)
    if not password_stdin and not _is_terminal():
        raise click.UsageError("there is no terminal to type a password at: give it with -u NAME --password-stdin.")
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


def _ask_password() -> str:
    """Read a password from the terminal; the echo is off before the prompt is shown."""
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
