"""The manual page, from the verbs themselves: `python -m image_syncer_cli.man_page docs/man/image-syncer.1`.

It is kept in the repository and comes with the wheel; a test holds it against the commands. The form is that of man(7).
"""

from __future__ import annotations

import sys
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING

import click

from image_syncer_cli.help_examples import EXAMPLES
from image_syncer_cli.main import cli
from image_syncer_cli.sync import sync
from image_syncer_cli.verb import option_sections, verb_sections

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["manual_page"]

_PROGRAM = "image-syncer"
_ESCAPES = str.maketrans({"\\": "\\e", "-": "\\-", "`": "\\(ga", "~": "\\(ti", "^": "\\(ha"})

_EXIT_CODES = (
    ("0", "All is as wanted."),
    ("1", "Something failed, or was not tried; of diff and verify: something differs; of prune: something would go."),
    ("2", "A mistake in the command line or in the files. Nothing was copied."),
    ("70", "An internal error of image-syncer."),
    ("129, 130, 143", "Ended by SIGHUP, SIGINT (Ctrl-C) or SIGTERM."),
)
_ENVIRONMENT = (
    ("DOCKER_CONFIG", "The folder of Docker's config.json, which is asked for credentials. Default: ~/.docker."),
    ("REGISTRY_AUTH_FILE", "The file with logins of podman and skopeo."),
    ("https_proxy, http_proxy, all_proxy, no_proxy", "Proxies, as libcurl reads them."),
    ("SSL_CERT_FILE, SSL_CERT_DIR", "Certificates of authorities, instead of those of the distribution."),
    ("NO_COLOR", "Show no colours."),
    ("_IMAGE_SYNCER_COMPLETE", "Set by shells that complete a line; see completion."),
)
_SEE_ALSO = "docker(1), skopeo(1), bash(1), cron(8)"


def manual_page() -> str:
    """The page in troff, with a line feed at its end."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    root = click.Context(cli, info_name=_PROGRAM, **cli.context_settings)
    yield '.\\" Made by `python -m image_syncer_cli.man_page`: what is changed is the help of the verbs.'
    yield f'.TH {_PROGRAM.upper()} 1 "" "{_PROGRAM}" "User Commands"'
    yield ".nh"
    yield ".ad l"
    yield from _section("NAME", f"{_PROGRAM} \\- copy container images between registries")
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
    yield "Those of sync. Other verbs have them where they mean something there."
    for heading, params in _sections(sync, click.Context(sync, root, "sync")):
        yield f".SS {_text(heading)}"
        yield from _options(params, root)
    yield ".SH EXIT STATUS"
    yield from _terms(_EXIT_CODES)
    yield ".SH ENVIRONMENT"
    yield from _terms(_ENVIRONMENT)
    yield from _section("SEE ALSO", _text(_SEE_ALSO))


def _verb(command: click.Command, context: click.Context, path: str) -> Iterator[str]:
    """One verb: how it is written, what it does, its own options, examples; or the verbs below it."""
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
        yield ".PP"
        yield f"{_text(meaning)}:"
        yield ".PP"
        yield ".RS 4"
        yield ".nf"
        yield f"{_PROGRAM.replace('-', chr(92) + '-')} {_text(line)}"
        yield ".fi"
        yield ".RE"


def _sections(command: click.Command, context: click.Context) -> Iterator[tuple[str, list[click.Parameter]]]:
    """The options of a verb by headings, without the one for help, which is told once."""
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


def _section(heading: str, text: str) -> Iterator[str]:
    yield f".SH {heading}"
    yield text


def _paragraphs(command: click.Command) -> Iterator[str]:
    """What a command says of itself. Lines that it wants kept (after click's mark for that) are kept."""
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
    """Words as troff prints them: no character of them commands it, and dashes can be copied into a shell."""
    safe = (
        text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace("~", "\\(ti").replace("^", "\\(ha")
    )
    return f"\\&{safe}" if safe.startswith((".", "'")) else safe


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(manual_page(), encoding="utf-8")
