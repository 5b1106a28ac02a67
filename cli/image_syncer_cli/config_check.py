"""`image-syncer config check`: reads everything the user wrote, and reaches no network."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from image_syncer_cli.config_convert import convert
from image_syncer_cli.config_schema import schema
from image_syncer_cli.config_show import show
from image_syncer_cli.options import debug_option
from image_syncer_cli.output import say
from image_syncer_cli.registry_options import auth_option
from image_syncer_cli.verb import VerbGroup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer import Configuration, Problem

__all__ = ["check", "config"]


@click.group(cls=VerbGroup)
def config() -> None:
    """Check files, show what they bring into force, convert those of other tools. Nothing is copied."""


@config.command(short_help="Report every mistake in the files at once.")
@auth_option
@click.option("--images", metavar="FILE", help="What to copy where, YAML or JSON.")
@click.option("--config", "both", metavar="FILE", help="Both in one file, instead of --auth and --images.")
@debug_option
def check(auth: str | None, images: str | None, both: str | None, debug: bool) -> int:  # noqa: ARG001 - main reads --debug
    """Report every mistake in the files at once: file, line, key, what is wrong, what to write instead.

    Reaches no network. The exit code is 2 where there is a mistake, 0 where there are warnings at most.
    """
    if auth is None and images is None and both is None:
        raise click.UsageError("nothing to check: give --auth FILE and --images FILE, or --config FILE.")
    from image_syncer import ConfigurationError, load_configuration, load_registries

    try:
        if auth is not None and images is None and both is None:
            configuration = load_registries(auth, environ=os.environ)
        else:
            configuration = load_configuration(config=both, auth=auth, images=images, environ=os.environ)
    except ConfigurationError as error:
        if not error.problems:
            raise
        for problem in error.problems:
            say(str(problem))
        for line in _explained(error.problems):
            say(line)
        # Beside mistakes, the loader tells what else deserves a look, and marks it.
        warnings = sum(problem.what.startswith("warning: ") for problem in error.problems)
        say(f"{_count(len(error.problems) - warnings, 'problem')} · {_count(warnings, 'warning')}")
        return error.exit_code
    for warning in configuration.warnings:
        say(f"warning: {warning}")
    say(_describe(configuration))
    return 0


def _explained(problems: Sequence[Problem]) -> list[str]:
    """What the schema of our own format says of the keys with mistakes."""
    from image_syncer import describe_key

    found = [describe_key(problem.key) for problem in problems if problem.key]
    return [f"  {one[0]}: {one[1]}" for one in dict.fromkeys(found) if one is not None]


def _describe(configuration: Configuration) -> str:
    rules = len(configuration.rules) + len(configuration.catalogs)
    destinations = sum(len(rule.destinations) for rule in configuration.rules)
    destinations += sum(len(rule.destinations) for rule in configuration.catalogs)
    parts = [
        _count(0, "problem"),
        _count(len(configuration.warnings), "warning"),
        f"{_count(rules, 'rule')} to {_count(destinations, 'destination')}",
    ]
    if policies := len(configuration.policies):
        parts.append("1 policy" if policies == 1 else f"{policies} policies")
    return " · ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


for _verb in (show, convert, schema):
    config.add_command(_verb)
