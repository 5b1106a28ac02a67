"""What the documents show works: their files load without a complaint, and their commands are taken as they stand.

A block of YAML that begins with `# NAME` is the file NAME of the commands on its page. The recipes, whose commands
are run between real registries, have tests of their own.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from image_syncer.journal.journal import open_journal
from image_syncer.telemetry import ImageResult, Outcome, Report, Totals, TransferRecord
from image_syncer_cli.main import cli
from support.shown import blocks_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.conftest import Command, FakeEngine

PROJECT = Path(__file__).parents[2]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
ENVIRON = {"REGISTRY_PASSWORD": "hunter2"}
PLACES = ("oci:", "oci-archive:", "docker-archive:")
OTHER_FILES = {"--cluster", "own.yaml", "--plan", "--plot", "monday.json"}
SHELL = {"<", ">", "|"}
NOT_RUN = {"top", "demo", "registry", "doctor", "login", "logout", "watch", "bench", "prune", "export", "import"}
"""Verbs that serve, take their time, or ask registries themselves: only their words are looked at here. They have tests
of their own, as has what takes the files of others, a file of our own format, a plan, or a place that is no registry.
"""


def blocks(page: Path, language: str) -> list[str]:
    return [block.text for block in blocks_of(page) if block.language == language]


def shown_files(page: Path) -> dict[str, str]:
    return {block.name: block.text for block in blocks_of(page) if block.language == "yaml" and block.name}


def shown_commands(page: Path) -> Iterator[list[str]]:
    """The words after `image-syncer` of every command of a page; lines of other programs are left out."""
    for text in blocks(page, "sh"):
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["image-syncer"]:
                of_the_shell = next((at for at, word in enumerate(words) if word in SHELL), None)
                yield words[1:of_the_shell]


TRANSFER = TransferRecord("a", 1, "b", ("c",), 1, 0.0, 1.0, 1, ("moved",))
COMMANDS = [(page, words) for page in PAGES for words in shown_commands(page)]


def is_run(words: list[str]) -> bool:
    if words[0] in NOT_RUN or words[:2] == ["config", "convert"]:
        return False
    return OTHER_FILES.isdisjoint(words) and not any(word.startswith(PLACES) for word in words)


RUN = [(page, words) for page, words in COMMANDS if is_run(words)]
OTHERS = [(page, words) for page, words in COMMANDS if not is_run(words)]
WITH_FILES = [page for page in PAGES if shown_files(page)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, with the variables that the files name."""
    monkeypatch.chdir(tmp_path)
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def write_files(page: Path, folder: Path) -> None:
    for name, text in (shown_files(page) or shown_files(PROJECT / "README.md")).items():
        (folder / name).write_text(text, encoding="utf-8")


def shown_report() -> str:
    [text] = blocks(PROJECT / "docs" / "usage.md", "json")
    return text


def test_the_pages_show_what_is_looked_for() -> None:
    assert [page.name for page in WITH_FILES] == ["README.md", "quickstart.md"]
    verbs = {words[0] for _, words in COMMANDS}
    assert {"copy", "config", "sync", "demo", "registry", "--auth"} <= verbs


@pytest.mark.parametrize("page", WITH_FILES, ids=lambda page: page.name)
def test_shown_files_have_neither_mistakes_nor_warnings(page: Path, folder: Path, command: Command) -> None:
    write_files(page, folder)
    ran = command("config", "check", "--auth", "auth.yaml", "--images", "images.yaml")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("no problems · no warnings · ")


@pytest.mark.parametrize(
    ("page", "words"), RUN, ids=lambda value: value.name if isinstance(value, Path) else " ".join(value)
)
def test_shown_commands_are_taken_as_they_stand(
    page: Path, words: list[str], folder: Path, command: Command, engine: FakeEngine
) -> None:
    write_files(page, folder)
    (folder / "run.json").write_text(shown_report(), encoding="utf-8")
    open_journal(str(folder / "run.db"), {}).close()
    ran = command(*words)
    assert (ran.code, ran.err) == (0, "")
    assert (engine.configuration is None) is (words[0] in ("config", "report", "status"))


@pytest.mark.parametrize(
    ("page", "words"), OTHERS, ids=lambda value: value.name if isinstance(value, Path) else " ".join(value)
)
def test_the_words_of_other_shown_commands_are_understood(page: Path, words: list[str], folder: Path) -> None:
    write_files(page, folder)
    group: click.Command = cli
    left = list(words)
    while isinstance(group, click.Group):
        name, found, left = group.resolve_command(click.Context(group), left)
        assert found is not None, name
        group = found
    group.make_context(name, left)


def test_flags_of_the_go_tool_are_those_of_sync(command: Command) -> None:
    table = (PROJECT / "docs" / "migrating.md").read_text("utf-8").partition("\n## Flags that stay\n")[2]
    flags = set(re.findall(r"(?<![\w-])-(?:-[a-z][a-z-]+|[a-z])\b", table.partition("\n## ")[0].partition("Go's ")[0]))
    assert {"--auth", "--proc", "-p", "--output-images-format"} <= flags
    offered = command("--help").out
    assert [flag for flag in flags if flag not in offered] == []


def test_the_shown_report_has_the_fields_of_a_report() -> None:
    shown = json.loads(shown_report())
    whole = Report({}, Totals(requests={"get blob": 4}), "2026-11-24T15:52:45+00:00", 0.6).as_data()
    assert list(shown) == ["images", "transfers", *whole]
    assert [list(transfer) for transfer in shown["transfers"]] == [list(TRANSFER.as_data())]
    assert shown["totals"].keys() == whole["totals"].keys()
    assert shown["totals"]["outcomes"].keys() == whole["totals"]["outcomes"].keys()
    failed, copied = shown["images"]
    for image in (failed, copied):
        known = {name: value for name, value in image.items() if name not in ("outcome", "pinned")}
        assert ImageResult(**known, outcome=Outcome(image["outcome"])).as_data().keys() == image.keys()


def test_every_field_of_the_report_is_told() -> None:
    section = (PROJECT / "docs" / "usage.md").read_text("utf-8").partition("\n## The report\n")[2].partition("\n## ")[0]
    rows = [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]
    told = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    report = Report({}, Totals(), "", 0.0).as_data()
    every = dict.fromkeys(ImageResult.__dataclass_fields__, "x")
    image = ImageResult(**{**every, "outcome": Outcome.COPIED, "seconds": 1.0, "error": {}, "differences": ()})  # type: ignore[arg-type]
    assert told == {"images", "transfers", "pruned", *report, *image.as_data(), *TRANSFER.as_data()}
