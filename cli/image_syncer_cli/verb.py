"""Commands and groups for the verbs: `--help` with headings and examples, and suggestions for unknown words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from image_syncer_cli.help_texts import EXAMPLES, FIRST_HEADING, LAST_VERBS, OPTION_HEADINGS, VERBS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from click.shell_completion import CompletionItem


_MODULES = {"import": ("import_bundle", "import_bundle"), "logout": ("login", "logout")}
"""Verbs whose module and command have other names."""
_FEW = 12
"""With no more options than this, headings are not needed."""
_PROGRAM = "image-syncer"
_HEADING_OF_OPTION = {name: heading for heading, names in OPTION_HEADINGS.items() for name in names}
_SHORT_HELP_CHARACTERS = 200
"""More than any short help has: it is wrapped, not cut."""


class Verb(click.Command):
    """A verb: its options under headings, examples at the end of its `--help`."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, under headings if there are many."""
        for heading, params in option_sections(self, ctx):
            with formatter.section(heading):
                formatter.write_dl([record for param in params if (record := param.get_help_record(ctx))])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples of the verb."""
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
        """Parse as click does; for a value that is none of the choices, suggest the nearest one."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as error:
            if error.param is None or not isinstance(error.param.type, click.Choice):
                raise
            message = error.message + _nearest_choice(error.param, error.param.type, given)
            raise click.BadParameter(message, error.ctx, error.param, error.param_hint) from None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Return what may come next; if nothing must, the options."""
        return super().shell_complete(ctx, incomplete) or ([] if incomplete else super().shell_complete(ctx, "--"))


class VerbGroup(click.Group):
    """Verbs below a verb."""

    command_class = Verb

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as click does; for an unknown verb, suggest the nearest one. It is never run instead."""
        if args and not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:
            from image_syncer_cli.suggestions import nearest_verb

            path = " ".join([*verb_path(ctx).split(), args[0]])
            raise click.UsageError(f"no such verb: {path}.{nearest_verb(args[0], self, ctx.find_root().command)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs, under headings."""
        for heading, commands in verb_sections(self, ctx):
            with formatter.section(heading):
                formatter.write_dl(
                    [(name, command.get_short_help_str(_SHORT_HELP_CHARACTERS)) for name, command in commands]
                )


class MainGroup(VerbGroup):
    """The verbs of the command; each is imported on first use."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.commands = _Verbs()  # type: ignore[assignment]  # no verb is added or removed

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's own
        """Write the verbs, under headings, without importing them."""
        for heading, verbs in VERBS.items():
            with formatter.section(heading):
                formatter.write_dl(list(verbs.items()))


class _Verbs(Mapping[str, click.Command]):
    """The verbs by name: `copy` is in the module `copy`, unless `_MODULES` says otherwise."""

    def __init__(self) -> None:
        self._short_help = {name: text for verbs in VERBS.values() for name, text in verbs.items()}
        self._loaded: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._loaded:
            short_help = self._short_help[name]
            module, attribute = _MODULES.get(name, (name, name))
            command: click.Command = getattr(import_module(f"image_syncer_cli.verbs.{module}"), attribute)
            command.short_help = short_help
            self._loaded[name] = command
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._short_help)

    def __len__(self) -> int:
        return len(self._short_help)


def verb_path(ctx: click.Context) -> str:
    """Return the words that lead to a verb, without the name of the program: `config check`."""
    words: list[str] = []
    at: click.Context | None = ctx
    while at is not None and at.parent is not None:
        words.insert(0, at.info_name or "")
        at = at.parent
    return " ".join(words)


def option_sections(command: click.Command, ctx: click.Context) -> list[tuple[str, list[click.Parameter]]]:
    """Return the visible options of a verb by headings. Required ones are under the first."""
    options = [param for param in command.get_params(ctx) if isinstance(param, click.Option)]
    shown: list[click.Parameter] = [option for option in options if not option.hidden]
    if len(shown) <= _FEW:
        return [(FIRST_HEADING, shown)]
    found: dict[str, list[click.Parameter]] = {heading: [] for heading in (FIRST_HEADING, *OPTION_HEADINGS)}
    for param in shown:
        heading = _HEADING_OF_OPTION.get(max(param.opts, key=len), FIRST_HEADING)
        found[FIRST_HEADING if param.required else heading].append(param)
    return [(heading, params) for heading, params in found.items() if params]


def verb_sections(group: click.Group, ctx: click.Context) -> list[tuple[str, list[tuple[str, click.Command]]]]:
    """Return the visible verbs of a group by headings, in the order of the table; those of `config` have no heading."""
    commands = [(name, command) for name in group.list_commands(ctx) if (command := group.get_command(ctx, name))]
    commands = [(name, command) for name, command in commands if not command.hidden]
    if ctx.parent is not None:
        return [("Verbs", commands)]
    by_name = dict(commands)
    found = [
        (heading, [(name, by_name.pop(name)) for name in verbs if name in by_name]) for heading, verbs in VERBS.items()
    ]
    found.append((LAST_VERBS, list(by_name.items())))
    return [(heading, verbs) for heading, verbs in found if verbs]


def _nearest_choice(param: click.Parameter, choice: click.Choice[Any], given: Sequence[str]) -> str:
    """Return a suggestion for the value that is none of the choices."""
    from image_syncer_cli.suggestions import nearest

    known = [str(one) for one in choice.choices]
    wrong = [value for value in _values(param, given) if value not in known]
    return nearest(wrong[0], known) if wrong else ""


def _values(param: click.Parameter, given: Sequence[str]) -> list[str]:
    """Return the values of an option on a command line; for an argument, every word."""
    if isinstance(param, click.Argument):
        return list(given)
    values = []
    for word, following in zip(given, [*given[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name in param.opts:
            values.append(value if equals else following)
    return values
