"""`image-syncer completion SHELL`: prints the script with which a shell completes command lines.

A shell that completes a line starts the command with _IMAGE_SYNCER_COMPLETE in its environment, and gets a list of
words (https://click.palletsprojects.com/en/stable/shell-completion/). Nothing of the engine is loaded for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete, add_completion_class

from image_syncer_cli.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.shell_completion import CompletionItem


_PROGRAM = "image-syncer"
_COMPLETE_VARIABLE = "_IMAGE_SYNCER_COMPLETE"

_FILE_METAVARS = frozenset({"FILE", "PLAN", "PICTURE", "SOCKET", "PAGE"})
_FOLDER_METAVARS = frozenset({"DIR", "FOLDER", "BUNDLE_DIR", "[FORMER_DIR]...", "FORMER"})
_WORDS = {
    "--on-conflict": ("overwrite", "skip", "fail", "backup"),
    "--referrers": ("none", "all", "signature", "sbom", "attestation"),
    "--os": ("linux", "windows"),
    "--arch": ("amd64", "arm64", "arm", "386", "ppc64le", "riscv64", "s390x"),
    "--platform": ("linux/amd64", "linux/arm64", "linux/arm/v7", "linux/386", "linux/ppc64le", "linux/s390x"),
}
"""The most common values of options that take others too."""


def script_for(shell: str, command: click.Command) -> str:
    """Return the script for bash, zsh or fish. No shell is started: it need not be installed here."""
    complete = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}[shell](command, {}, _PROGRAM, _COMPLETE_VARIABLE)
    return ShellComplete.source(complete)


def register_shells() -> None:
    """Register these classes with click, in a process that a shell has started."""
    for one in (_Bash, _Zsh, _Fish):
        add_completion_class(one)


class _Completion(ShellComplete):
    """Completes option values too, for every shell."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """Return what may come next; nothing if the line so far is not valid."""
        for param in _params(self.cli):
            _set_type(param)
        try:
            return super().get_completions(args, incomplete)
        except click.ClickException:
            return []


class _Bash(_Completion, BashComplete):
    """Bash cuts words at `=` (COMP_WORDBREAKS), and completes what follows it."""

    def get_completion_args(self) -> tuple[list[str], str]:
        args, incomplete = super().get_completion_args()
        if incomplete == "=":
            return args, ""
        if args and args[-1] == "=":
            args.pop()
        return args, incomplete


class _Zsh(_Completion, ZshComplete):
    """Zsh, as click has it."""


class _Fish(_Completion, FishComplete):
    """Fish, as click has it."""


def _params(command: click.Command) -> Iterator[click.Parameter]:
    yield from command.params
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        yield from _params(below)


def _set_type(param: click.Parameter) -> None:
    """Give a parameter a type that has its values. Only for completion: callbacks read the values."""
    words = next((_WORDS[name] for name in param.opts if name in _WORDS), None)
    if isinstance(param.type, click.Choice | click.Path):
        return
    if words is not None:
        param.type = click.Choice(words)
    elif param.metavar in _FILE_METAVARS:
        param.type = click.Path()
    elif param.metavar in _FOLDER_METAVARS:
        param.type = click.Path(file_okay=False)


@click.command(cls=Verb)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script with which bash (4.4 or newer), zsh or fish completes verbs, options, choices and files.

    Source it for one session (source <(image-syncer completion bash)), or store it where the shell looks for such
    files. It stays the same when verbs and options change: it asks the command what may come next.
    """
    click.echo(script_for(shell, context.find_root().command), nl=False)
