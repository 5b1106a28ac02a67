"""`image-syncer config convert`: files of other tools, as one file in our own format."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from image_syncer_cli.options import debug_option
from image_syncer_cli.output import say
from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from image_syncer import Conversion

__all__ = ["convert"]

_FORMATS = ("auto", "go", "regsync", "skopeo", "dregsy")
_PRIVATE = 0o077
"""What others lose of a file with passwords in it (umask)."""


@click.command(cls=Verb, short_help="Write our own format from files of the Go tool, regsync, skopeo sync or dregsy.")
@click.argument("file", metavar="[FILE]", required=False)
@click.option("--auth", metavar="FILE", help="Registries: an auth file of the Go tool.")
@click.option("--images", metavar="FILE", help="What to copy where: an images file of the Go tool.")
@click.option(
    "--from", "source_format", metavar="TOOL", type=click.Choice(_FORMATS), default="auto", help="The tool of FILE."
)
@click.option("--to", metavar="REGISTRY[/PATH]", help="Where the images of skopeo's file go, which it does not say.")
@click.option("--scoped", is_flag=True, help="Below their full names, as with skopeo's --scoped.")
@click.option("--output", metavar="FILE", help="Write to FILE instead of standard output.")
@click.option("--with-secrets", is_flag=True, help="Copy passwords, instead of referring to variables.")
@debug_option
def convert(
    file: str | None,
    auth: str | None,
    images: str | None,
    *,
    source_format: str,
    to: str | None,
    scoped: bool,
    output: str | None,
    with_secrets: bool,
    debug: bool,  # noqa: ARG001 - main reads --debug
) -> int:
    """Write a file in our own format (`version: 2`) that means what FILE, or the Go tool's two files, mean.

    What has no counterpart is told with its line, and kept as a comment. The exit code is 1 where a rule had to be left
    out, 2 where a file cannot be read.
    """
    from image_syncer import ConversionOptions, FileFormat, convert_files

    folder = None if output is None else os.path.dirname(output)  # noqa: PTH120 - Path has no empty folder
    done = convert_files(
        file=file,
        auth=auth,
        images=images,
        source_format=None if source_format == "auto" else FileFormat(source_format),
        options=ConversionOptions(to=to, scoped=scoped, with_secrets=with_secrets, folder=folder),
    )
    if output is None:
        say(done.text.removesuffix("\n"))
    else:
        _write(output, done.text, [path for path in (file, auth, images) if path is not None], is_private=with_secrets)
    for warning in done.warnings:
        say(f"warning: {warning}", err=True)
    for secret in done.secrets:
        say(f"set {secret.name}: {secret.what}", err=True)
    say(_describe(done), err=True)
    return 1 if done.left_out else 0


def _write(output: str, text: str, inputs: list[str], *, is_private: bool) -> None:
    from image_syncer import PartialFile

    if any(os.path.realpath(path) == os.path.realpath(output) and Path(path).exists() for path in inputs):
        raise click.UsageError(f"{output} is a file that is converted: give --output another name.")
    mask = os.umask(_PRIVATE) if is_private else None
    try:
        written = PartialFile(output, noun="the new file", option="--output")
        try:
            written.write(text.encode())
            written.commit()
        except BaseException:
            written.abandon()
            raise
    finally:
        if mask is not None:
            os.umask(mask)


def _describe(done: Conversion) -> str:
    parts = [f"from {done.tool}", f"{done.rules} rule{'' if done.rules == 1 else 's'}"]
    if done.left_out:
        parts.append(f"{done.left_out} left out")
    count = len(done.warnings)
    parts.append("no warnings" if not count else f"{count} warning{'' if count == 1 else 's'}")
    return " · ".join(parts)
