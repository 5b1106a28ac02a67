"""Suggestions for unknown words of a command line. They are only shown: no other verb runs instead."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


_CUTOFF = 0.5
_MOST_VERBS = 3


def nearest(word: str, known: Sequence[str]) -> str:
    """Return a question with the nearest word, or "" if none is near."""
    matches = get_close_matches(word, known, n=1, cutoff=_CUTOFF)
    return f" Did you mean {matches[0]}?" if matches else ""


def nearest_option(name: str, context: click.Context) -> str:
    """Return what to write instead of an option that the verb lacks: the verbs that have it, or the nearest option.
    Those of the command itself, such as --version, come before every verb.
    """
    root = context.find_root().command
    own = {one: f"image-syncer {one}" for one in _options(root) if one not in _options(context.command)}
    if name in own:
        return f" Did you mean {own[name]}?"
    if name.startswith("--"):
        others = [path for path, command in _verbs(root) if name in _options(command)]
        if others and len(others) <= _MOST_VERBS:
            return f" It is an option of {' and '.join(others)}."
    question = nearest(name, [*_options(context.command), *own])
    return next(
        (f" Did you mean {full}?" for one, full in own.items() if question == f" Did you mean {one}?"), question
    )


def nearest_verb(word: str, group: click.Group, root: click.Command) -> str:
    """Return what to write instead of an unknown verb: the nearest of the group, or one below another verb."""
    known = [name for name, command in group.commands.items() if not command.hidden]
    if question := nearest(word, known):
        return question
    below = [path for path, _ in _verbs(root) if path.endswith(f" {word}")]
    return f" Did you mean {below[0]}?" if below else ""


def _options(command: click.Command) -> list[str]:
    """Return the visible options; hidden ones exist only to be refused."""
    shown = (param for param in command.params if isinstance(param, click.Option) and not param.hidden)
    return [name for param in shown for name in (*param.opts, *param.secondary_opts)] + ["--help"]


def _verbs(command: click.Command, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield every verb below a group, with the words that lead to it."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, below in command.commands.items():
        yield from _verbs(below, f"{path} {name}".strip())
