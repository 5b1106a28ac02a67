"""No recipe is shown that is not followed by a test, and what the tests read of a page is what stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recipes.recipe import RECIPES
from support.shown import ShownCommand, blocks_of, commands_of, matches

PAGES = sorted(path for path in RECIPES.glob("*.md") if path.name != "README.md")
_INLINE = re.compile(r"(?<!`)`(image-syncer [^`]+)`(?!`)")
_LONGEST_MENTION_WORDS = 2
"""`image-syncer status` is a mention of a verb; more than that is a command."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_recipe_is_followed(page: Path) -> None:
    assert (Path(__file__).parent / f"test_{page.stem.replace('-', '_')}.py").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_a_file_or_a_transcript(page: Path) -> None:
    blocks = list(blocks_of(page))
    assert [block.line for block in blocks if block.name is None and block.language != "console"] == []
    assert any(commands_of(block) for block in blocks if block.language == "console")


def test_the_index_names_every_recipe_and_shows_no_commands() -> None:
    index = RECIPES / "README.md"
    assert set(re.findall(r"\]\(([\w-]+\.md)\)", index.read_text("utf-8"))) == {page.name for page in PAGES}
    assert list(blocks_of(index)) == []


@pytest.mark.parametrize("page", [RECIPES / "README.md", *PAGES], ids=lambda page: page.name)
def test_what_is_told_between_the_blocks_mentions_verbs_and_no_further_commands(page: Path) -> None:
    told = [text for text in _INLINE.findall(page.read_text("utf-8")) if len(text.split()) > _LONGEST_MENTION_WORDS]
    assert told == []


def test_files_and_commands_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A page\n\n## One\n\n```yaml\n# a.yaml\nkey: 1\n```\n\n## Two\n\n"
        "```console\n$ first \\\n    --more\n# no heading\n$ second\n```\n"
    )
    file, transcript = blocks_of(page)
    assert (file.name, file.section, file.text) == ("a.yaml", "One", "# a.yaml\nkey: 1\n")
    assert (transcript.name, transcript.section) == (None, "Two")
    assert commands_of(transcript) == [
        ShownCommand("first \\\n    --more", ("# no heading",), 13),
        ShownCommand("second", (), 16),
    ]
    page.write_text("```console\nno prompt\n```\n")
    with pytest.raises(ValueError, match="line 2: a transcript begins with a command"):
        commands_of(next(blocks_of(page)))


@pytest.mark.parametrize(
    ("shown", "told", "fits"),
    [
        (("a … c",), ["a b c"], True),
        (("a … c",), ["a b d"], False),
        (("a (…)",), ["a x"], False),
        (("…", "b"), ["a", "a", "b"], True),
        (("…", "b"), ["b"], True),
        (("b", "…"), ["a", "b"], False),
        (("a",), ["a", "b"], False),
        (("a", "b"), ["a"], False),
        (("a…",), ["a", "b"], False),
    ],
)
def test_what_is_told_is_compared_with_what_is_shown(shown: tuple[str, ...], told: list[str], fits: bool) -> None:
    assert matches(shown, told) is fits
