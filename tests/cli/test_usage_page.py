"""docs/usage.md and `--help` say the same, option for option."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from image_syncer_cli import main as command_line

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(__file__).parents[2] / "docs" / "usage.md").read_text(encoding="utf-8")
SHARED_BY_ALL = {"--help", "-h"}
_OPTION = re.compile(r"`(--?[a-z][a-z-]*)(?: [^`]*)?`")


def verbs(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from verbs(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


VERBS = dict(verbs(command_line.cli))


def section(verb: str) -> str:
    _, _, rest = PAGE.partition(f"\n## {verb}\n")
    assert rest, f"docs/usage.md has no section on {verb}"
    return re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_of_every_verb_is_on_the_page_and_no_other(verb: str) -> None:
    command = VERBS[verb]
    hidden = {name for param in command.params if getattr(param, "hidden", False) for name in param.opts}
    offered = {name for param in command.params if isinstance(param, click.Option) for name in param.opts} - hidden
    text = section(verb)
    told = set(_OPTION.findall(text)) - SHARED_BY_ALL
    # A section may name options of another verb when it says that they are not there.
    others = {"--images", "--config"} if verb == "copy" else set()
    assert told - hidden - others == offered


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_every_option_that_is_on_the_page(verb: str) -> None:
    context = click.Context(VERBS[verb], info_name=verb)
    shown = set(re.findall(r"(?<![\w-])(--?[a-z][a-z-]*)", context.get_help()))
    told = set(_OPTION.findall(section(verb)))
    gone = {"--records", "--registry", "--namespace"}
    others = {"--images", "--config"} if verb == "copy" else set()
    assert told - gone - others - SHARED_BY_ALL <= shown


def test_every_verb_is_in_the_overview_and_has_a_short_help() -> None:
    overview = PAGE.partition("```\n")[2].partition("```")[0]
    for verb, command in VERBS.items():
        assert verb in overview.replace("[sync]", "sync")
        assert command.get_short_help_str(limit=200)


def test_every_option_says_what_it_does() -> None:
    silent = [
        f"{verb} {param.opts[0]}"
        for verb, command in VERBS.items()
        for param in command.params
        if isinstance(param, click.Option) and not param.hidden and not param.help
    ]
    assert silent == []
