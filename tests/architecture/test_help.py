"""Every verb has a heading and examples in `--help`, fits into 80 columns, and is in the manual page."""

from __future__ import annotations

import runpy
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

import click
import pytest

from architecture.source_tree import PROJECT
from image_syncer_cli.help_texts import EXAMPLES, OPTION_HEADINGS
from image_syncer_cli.help_texts import VERBS as HEADED_VERBS
from image_syncer_cli.main import cli
from image_syncer_cli.verb import Verb, VerbGroup, option_sections, verb_sections

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = 80
PAGE = PROJECT / "docs" / "man" / "image-syncer.1"
HELP = ["-h", "--help"]
"""click keeps the option for help that it makes first, also for the tests after these."""
ALONE = click.Context(cli, info_name="image-syncer", help_option_names=HELP)


def verbs(group: click.Group = cli, path: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from verbs(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


VERBS = dict(verbs())


def context_of(path: str) -> click.Context:
    context = click.Context(cli, info_name="image-syncer", terminal_width=COLUMNS, help_option_names=HELP)
    for word in path.split():
        assert isinstance(context.command, click.Group)
        command = context.command.get_command(context, word)
        assert command is not None
        context = click.Context(command, context, word, terminal_width=COLUMNS, help_option_names=HELP)
    return context


@pytest.mark.parametrize("path", VERBS)
def test_a_verb_is_made_of_what_gives_it_headings_and_examples(path: str) -> None:
    assert isinstance(VERBS[path], Verb), "write @click.command(cls=Verb, …), from image_syncer_cli.verb"
    assert 2 <= len(EXAMPLES.get(path, ())) <= 4, f"give `{path}` two to four examples in help_texts.py"


def test_every_verb_has_a_heading() -> None:
    named = [name for names in HEADED_VERBS.values() for name in names]
    assert sorted(cli.commands.keys() - set(named)) == [], "add it in help_texts.py"
    assert len(named) == len(set(named))
    shown = [name for _, commands in verb_sections(cli, ALONE) for name, _ in commands]
    assert sorted(shown) == sorted(cli.commands)


def test_no_option_has_two_headings() -> None:
    named = [name for names in OPTION_HEADINGS.values() for name in names]
    assert len(named) == len(set(named))


@pytest.mark.parametrize("path", ["", "config", *VERBS])
def test_help_fits_into_a_terminal(path: str) -> None:
    lines = context_of(path).get_help().splitlines()
    assert [line for line in lines if len(line) > COLUMNS] == []


@pytest.mark.parametrize("path", VERBS)
def test_every_option_stands_under_one_heading(path: str) -> None:
    context = context_of(path)
    shown = [param for _, params in option_sections(VERBS[path], context) for param in params]
    expected = [param for param in VERBS[path].get_params(context) if isinstance(param, click.Option)]
    assert len(shown) == len(set(shown))
    assert set(shown) == {param for param in expected if not param.hidden}


def test_many_options_stand_under_headings_and_few_do_not() -> None:
    page = context_of("sync").get_help()
    headings = [line.removesuffix(":") for line in page.splitlines() if line and line[0] != " " and line[-1] == ":"]
    assert headings[:4] == ["Files and registries", "What to copy", "Format", "Retries and timeouts"]
    assert headings[-2:] == ["Display and logs", "Examples"]
    assert "\nRetries and timeouts:\n  -r, --retries N " in page
    assert "Display and logs" not in context_of("logout").get_help()


@pytest.mark.parametrize(
    ("path", "line"), [(path, line) for path, examples in EXAMPLES.items() if path in VERBS for line, _ in examples]
)
def test_examples_are_understood(path: str, line: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(str(tmp_path))
    words = shlex.split(line.partition(" < ")[0].partition(" > ")[0])
    command: click.Command = cli
    context = click.Context(cli, info_name="image-syncer", help_option_names=HELP)
    while isinstance(command, VerbGroup):
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command, context = found, click.Context(found, context, name)
    assert command is VERBS[path]
    command.make_context(path, words, help_option_names=HELP)


def test_the_manual_page_is_that_of_the_commands() -> None:
    made = runpy.run_path(str(PROJECT / ".ci" / "man_page.py"))["manual_page"]()
    assert PAGE.read_text(encoding="utf-8") == made, "run `python .ci/man_page.py docs/man/image-syncer.1`"


def test_the_manual_page_has_every_verb_and_every_option() -> None:
    text = PAGE.read_text(encoding="utf-8").replace("\\-", "-")
    assert [path for path in VERBS if f"\n.SS {path} " not in text] == []
    names = {
        name
        for command in VERBS.values()
        for param in command.params
        if isinstance(param, click.Option) and not param.hidden
        for name in param.opts
    }
    assert len(names) > 50
    assert [name for name in names if name not in text] == []


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not on this machine")
def test_man_has_nothing_to_say_against_the_page() -> None:
    done = subprocess.run(
        ["man", "--warnings", "--local-file", str(PAGE)],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "80"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    assert "image-syncer - copy container images between registries" in done.stdout
