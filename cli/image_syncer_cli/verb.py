"""What the verbs are made of: commands whose `--help` has headings and examples, and that say what was meant."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.help_examples import EXAMPLES
from image_syncer_cli.help_headings import (
    FIRST_HEADING,
    LAST_VERBS,
    OPTION_HEADINGS,
    VERBS,
    heading_of_option,
    heading_of_verb,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from click.shell_completion import CompletionItem

__all__ = ["MainGroup", "Verb", "VerbGroup", "option_sections", "verb_path", "verb_sections"]

_MODULES = {"import": ("import_bundle", "import_bundle"), "config": ("config_check", "config")}
"""Verbs whose module and command have other names."""
_FEW = 12
"""So many options are seen at one glance, and need no headings."""
_PROGRAM = "image-syncer"
_LONGEST = 200
"""Of what a verb does in short: nothing is cut off, lines are broken."""


class Verb(click.Command):
    """A verb: its options under headings, examples at the end of its `--help`."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options, under headings where there are many."""
        for heading, params in option_sections(self, ctx):
            with formatter.section(heading):
                formatter.write_dl([record for param in params if (record := param.get_help_record(ctx))])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the examples of the verb, one a line, as they can be typed."""
        examples = EXAMPLES.get(verb_path(ctx), ())
        if examples:
            with formatter.section("Examples"):
                for line, meaning in examples:
                    formatter.write_text(f"{meaning}:")
                    formatter.indent()
                    formatter.write(f"{'':>{formatter.current_indent}}{_PROGRAM} {line}\n")
                    formatter.dedent()
        super().format_epilog(ctx, formatter)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, and notes what was given where a value is none of the choices: what was meant is told."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as error:
            if error.param is None or not isinstance(error.param.type, click.Choice):
                raise
            message = error.message + _meant_choice(error.param, error.param.type, given)
            raise click.BadParameter(message, error.ctx, error.param, error.param_hint) from None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """What may come next; where nothing has to, the options."""
        return super().shell_complete(ctx, incomplete) or ([] if incomplete else super().shell_complete(ctx, "--"))


class VerbGroup(click.Group):
    """Verbs below a verb, under headings where they have some."""

    command_class = Verb

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; a verb that is not there is told with what may have been meant. It is never run instead."""
        if args and not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:
            from image_syncer_cli.suggestions import nearest_verb

            path = " ".join([*verb_path(ctx).split(), args[0]])
            raise click.UsageError(f"no such verb: {path}.{nearest_verb(args[0], self, ctx.find_root().command)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the verbs, under headings."""
        for heading, commands in verb_sections(self, ctx):
            with formatter.section(heading):
                formatter.write_dl([(name, command.get_short_help_str(_LONGEST)) for name, command in commands])


class MainGroup(VerbGroup):
    """The verbs of the command, each of which is imported when it is asked for."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.commands = _Verbs()

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's own
        """Writes the verbs, under headings, and imports none."""
        for heading, verbs in VERBS.items():
            with formatter.section(heading):
                formatter.write_dl(list(verbs.items()))


class _Verbs(MutableMapping[str, click.Command]):
    """The verbs by name: `copy` is in the module `copy`, unless _MODULES says otherwise."""

    def __init__(self) -> None:
        self._short_help = {name: text for verbs in VERBS.values() for name, text in verbs.items()}
        self._loaded: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._loaded:
            short_help = self._short_help[name]
            module, attribute = _MODULES.get(name, (name, name))
            command: click.Command = getattr(import_module(f"image_syncer_cli.{module}"), attribute)
            command.short_help = short_help
            self._loaded[name] = command
        return self._loaded[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"the verb {name} stays")

    def __iter__(self) -> Iterator[str]:
        return iter(self._short_help)

    def __len__(self) -> int:
        return len(self._short_help)


def verb_path(ctx: click.Context) -> str:
    """The words that lead to a verb, without the name of the program: `config check`."""
    words: list[str] = []
    at: click.Context | None = ctx
    while at is not None and at.parent is not None:
        words.insert(0, at.info_name or "")
        at = at.parent
    return " ".join(words)


def option_sections(command: click.Command, ctx: click.Context) -> list[tuple[str, list[click.Parameter]]]:
    """The options that a verb shows, by headings. What it cannot do without is under the first."""
    shown = [param for param in command.get_params(ctx) if isinstance(param, click.Option) and not param.hidden]
    if len(shown) <= _FEW:
        return [(FIRST_HEADING, list(shown))]
    found: dict[str, list[click.Parameter]] = {heading: [] for heading in (FIRST_HEADING, *OPTION_HEADINGS)}
    for param in shown:
        found[FIRST_HEADING if param.required else heading_of_option(_long_name(param.opts))].append(param)
    return [(heading, params) for heading, params in found.items() if params]


def verb_sections(group: click.Group, ctx: click.Context) -> list[tuple[str, list[tuple[str, click.Command]]]]:
    """The verbs that a group shows, by headings, in the order of the table; those of `config` have none."""
    commands = [(name, command) for name in group.list_commands(ctx) if (command := group.get_command(ctx, name))]
    commands = [(name, command) for name, command in commands if not command.hidden]
    if ctx.parent is not None:
        return [("Verbs", commands)]
    order = [name for verbs in VERBS.values() for name in verbs]
    commands.sort(key=lambda item: order.index(item[0]) if item[0] in order else len(order))
    found: dict[str, list[tuple[str, Any]]] = {heading: [] for heading in (*VERBS, LAST_VERBS)}
    for name, command in commands:
        found[heading_of_verb(name)].append((name, command))
    return [(heading, verbs) for heading, verbs in found.items() if verbs]


def _long_name(names: Iterable[str]) -> str:
    return max(names, key=len)


def _meant_choice(param: click.Parameter, choice: click.Choice[Any], given: Sequence[str]) -> str:
    """What may have been meant by the value that is none of the choices."""
    from image_syncer_cli.suggestions import nearest

    values = _values(param, given)
    known = [str(one) for one in choice.choices]
    wrong = [value for value in values if value not in known]
    return nearest(wrong[0], known) if wrong else ""


def _values(param: click.Parameter, given: Sequence[str]) -> list[str]:
    """The values of an option on a command line; for an argument, every word."""
    if isinstance(param, click.Argument):
        return list(given)
    values = []
    for word, following in zip(given, [*given[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name in param.opts:
            values.append(value if equals else following)
    return values
