"""Completion in shells: click's own protocol, with the words as bash cuts them, and files where files are wanted.

A shell that completes a line starts the command with _IMAGE_SYNCER_COMPLETE in its environment; the answer is a list of
words (https://click.palletsprojects.com/en/stable/shell-completion/). Nothing of the engine is loaded for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import (
    BashComplete,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.shell_completion import CompletionItem

__all__ = ["COMPLETE_VARIABLE", "PROGRAM", "register_shells", "script_for"]

PROGRAM = "image-syncer"
COMPLETE_VARIABLE = "_IMAGE_SYNCER_COMPLETE"

_OF_FILES = frozenset({"FILE", "PLAN", "PICTURE", "SOCKET", "PAGE"})
_OF_FOLDERS = frozenset({"DIR", "FOLDER", "BUNDLE_DIR", "[FORMER_DIR]...", "FORMER"})
_WORDS = {
    "--on-conflict": ("overwrite", "skip", "fail", "backup"),
    "--referrers": ("none", "all", "signature", "sbom", "attestation"),
    "--os": ("linux", "windows"),
    "--arch": ("amd64", "arm64", "arm", "386", "ppc64le", "riscv64", "s390x"),
    "--platform": ("linux/amd64", "linux/arm64", "linux/arm/v7", "linux/386", "linux/ppc64le", "linux/s390x"),
}
"""Values that are most often wanted, of options that take others, too."""


def script_for(shell: str, command: click.Command) -> str:
    """The script for bash, zsh or fish. No shell is started: the one that will read it need not be here."""
    complete = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}[shell](command, {}, PROGRAM, COMPLETE_VARIABLE)
    return ShellComplete.source(complete)


def register_shells() -> None:
    """Has click answer shells as it is done here. For a process that was started by one."""
    for one in (_Bash, _Zsh, _Fish):
        add_completion_class(one)


class _OurAnswers(ShellComplete):
    """What is completed, for every shell."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """What may come next; no words where the line so far is none that we understand."""
        for param in _params(self.cli):
            _tell_values(param)
        try:
            return super().get_completions(args, incomplete)
        except click.ClickException:
            return []


class _Bash(_OurAnswers, BashComplete):
    """Bash cuts words at `=` (COMP_WORDBREAKS), and completes what follows it."""

    def get_completion_args(self) -> tuple[list[str], str]:
        args, incomplete = super().get_completion_args()
        if incomplete == "=":
            return args, ""
        if args and args[-1] == "=":
            args.pop()
        return args, incomplete


class _Zsh(_OurAnswers, ZshComplete):
    """Zsh, as click has it."""


class _Fish(_OurAnswers, FishComplete):
    """Fish, as click has it."""


def _params(command: click.Command) -> Iterator[click.Parameter]:
    yield from command.params
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        yield from _params(below)


def _tell_values(param: click.Parameter) -> None:
    """Says by its type which values a parameter has. For completion alone: values are still read by callbacks."""
    words = next((_WORDS[name] for name in param.opts if name in _WORDS), None)
    if isinstance(param.type, click.Choice | click.Path):
        return
    if words is not None:
        param.type = click.Choice(words)
    elif param.metavar in _OF_FILES:
        param.type = click.Path()
    elif param.metavar in _OF_FOLDERS:
        param.type = click.Path(file_okay=False)
