"""The manual page, made from the verbs: `python .ci/man_page.py docs/man/image-syncer.1`.

It is kept in the repository and in the wheel; a test compares it with the commands. Its format is man(7).
"""

from __future__ import annotations

import sys
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING

import click

from image_syncer_cli.help_texts import EXAMPLES
from image_syncer_cli.main import cli
from image_syncer_cli.verb import option_sections, verb_sections
from image_syncer_cli.verbs.sync import sync

if TYPE_CHECKING:
    from collections.abc import Iterator


_PROGRAM = "image-syncer"
_ESCAPES = str.maketrans({"\\": "\\e", "-": "\\-", "`": "\\(ga", "~": "\\(ti", "^": "\\(ha"})

_EXIT_CODES = (
    ("0", "Success."),
    ("1", "Something failed or was not tried; diff, verify: something differs; prune: something would be deleted."),
    ("2", "A mistake in the command line or in the files. Nothing was copied."),
    ("70", "An internal error of image-syncer."),
    ("129, 130, 143", "Ended by SIGHUP, SIGINT (Ctrl-C) or SIGTERM."),
)
_ENVIRONMENT = (
    ("DOCKER_CONFIG", "The folder of Docker's config.json, which has credentials. Default: ~/.docker."),
    ("REGISTRY_AUTH_FILE", "The file with logins of podman and skopeo."),
    ("https_proxy, http_proxy, all_proxy, no_proxy", "Proxies, as for libcurl."),
    ("SSL_CERT_FILE, SSL_CERT_DIR", "CA certificates, instead of those of the distribution."),
    ("NO_COLOR", "Show no colours."),
    ("_IMAGE_SYNCER_COMPLETE", "Set by shells that complete a line; see completion."),
)
_SEE_ALSO = "docker(1), skopeo(1), bash(1), cron(8)"


def manual_page() -> str:
    """Return the page in troff."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    root = click.Context(cli, info_name=_PROGRAM, **cli.context_settings)
    yield '.\\" Made by `python .ci/man_page.py`: what is changed is the help of the verbs.'
    yield f'.TH {_PROGRAM.upper()} 1 "" "{_PROGRAM}" "User Commands"'
    yield ".nh"
    yield ".ad l"
    yield ".SH NAME"
    yield f"{_PROGRAM} \\- copy container images between registries"
    yield ".SH SYNOPSIS"
    for line in ("[sync] \\-\\-auth FILE \\-\\-images FILE [OPTION]...", "VERB [OPTION]... [ARGUMENT]..."):
        yield f".B {_PROGRAM}"
        yield line
        yield ".br"
    yield ".SH DESCRIPTION"
    yield from _paragraphs(cli)
    yield ".PP"
    yield "The verb sync may be left out. Every verb has \\-h and \\-\\-help."
    yield "Results go to standard output; progress, warnings and failures to standard error."
    for heading, commands in verb_sections(cli, root):
        yield f".SH VERBS: {_text(heading).upper()}"
        for name, command in commands:
            yield from _verb(command, click.Context(command, root, name), name)
    yield ".SH OPTIONS OF A RUN"
    yield "Those of sync. Other verbs have those that apply to them."
    for heading, params in _sections(sync, click.Context(sync, root, "sync")):
        yield f".SS {_text(heading)}"
        yield from _options(params, root)
    yield ".SH EXIT STATUS"
    yield from _terms(_EXIT_CODES)
    yield ".SH ENVIRONMENT"
    yield from _terms(_ENVIRONMENT)
    yield ".SH SEE ALSO"
    yield _text(_SEE_ALSO)


def _verb(command: click.Command, context: click.Context, path: str) -> Iterator[str]:
    """Yield the usage of a verb, what it does, its own options and examples; or the verbs below it."""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _verb(below, click.Context(below, context, name), f"{path} {name}")
        return
    yield f".SS {_text(' '.join([path, *command.collect_usage_pieces(context)]))}"
    yield from _paragraphs(command)
    if command is not sync:
        known = {(tuple(param.opts), _help(param)) for param in sync.get_params(context)}
        params = [param for _, params in _sections(command, context) for param in params]
        own = [param for param in params if (tuple(param.opts), _help(param)) not in known]
        yield from _options(own, context)
        shared = [param.opts[-1] for param in params if param not in own]
        if shared:
            yield ".PP"
            yield "Options of a run that it has:"
            yield f"{_text(', '.join(shared))}."
    else:
        yield ".PP"
        yield "Its options are the options of a run, below."
    for line, meaning in EXAMPLES.get(path, ()):
        yield from (".PP", f"{_text(meaning)}:", ".PP", ".RS 4", ".nf")
        yield _text(f"{_PROGRAM} {line}")
        yield from (".fi", ".RE")


def _sections(command: click.Command, context: click.Context) -> Iterator[tuple[str, list[click.Parameter]]]:
    """Yield the options of a verb by headings, without --help."""
    for heading, params in option_sections(command, context):
        yield heading, [param for param in params if "--help" not in param.opts]


def _options(params: list[click.Parameter], context: click.Context) -> Iterator[str]:
    for param in params:
        record = param.get_help_record(context)
        if record is not None:
            yield ".TP"
            yield f"\\fB{_text(record[0])}\\fR"
            yield _text(" ".join(record[1].split()))


def _terms(rows: tuple[tuple[str, str], ...]) -> Iterator[str]:
    for term, meaning in rows:
        yield ".TP"
        yield f"\\fB{_text(term)}\\fR"
        yield _text(meaning)


def _paragraphs(command: click.Command) -> Iterator[str]:
    """Yield the description of a command. Lines after click's mark for that are kept as they are."""
    for number, paragraph in enumerate(cleandoc(command.help or "").split("\n\n")):
        kept = paragraph.startswith("\b\n")
        if number:
            yield ".PP"
        if kept:
            yield ".nf"
            yield from (_text(line) for line in paragraph.splitlines()[1:])
            yield ".fi"
        else:
            yield _text(" ".join(paragraph.split()))


def _help(param: click.Parameter) -> str:
    return (param.help or "") if isinstance(param, click.Option) else ""


def _text(text: str) -> str:
    """Escape text for troff, so that dashes can be copied into a shell."""
    safe = text.translate(_ESCAPES)
    return f"\\&{safe}" if safe.startswith((".", "'")) else safe


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(manual_page(), encoding="utf-8")
