"""The documents: their links lead somewhere, the README opens with its two commands, and no module is left out of the
architecture.
"""

from __future__ import annotations

import re

import pytest

from architecture.source_tree import PROJECT

DOCUMENTS = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md"), *(PROJECT / "perf").glob("*.md")])
LISTED_ROOMS = tuple(path.parent.name for path in sorted((PROJECT / "engine" / "image_syncer").glob("*/__init__.py")))
"""Rooms whose modules docs/architecture.md lists one by one."""
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]+)?(?:#([^)\s]+))?\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^```sh\n(?P<command>.*?)\n```", re.MULTILINE | re.DOTALL)


def anchors_of(markdown: str) -> set[str]:
    """Anchors that the headings of a document make: lower case, no punctuation, hyphens for blanks."""
    headings = re.findall(r"^#+ +(.+?) *$", FENCED.sub("", markdown), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_every_link_leads_somewhere(document) -> None:
    lost = []
    for target, anchor in LINK.findall(FENCED.sub("", document.read_text(encoding="utf-8"))):
        path = document.parent / target if target else document
        if not path.exists():
            lost.append(target)
        elif anchor and anchor not in anchors_of(path.read_text(encoding="utf-8")):
            lost.append(f"{target}#{anchor}")
    assert lost == []


def test_the_readme_opens_with_two_commands_that_need_nothing_before_them() -> None:
    demo, tests = [match["command"] for match in COMMAND.finditer((PROJECT / "README.md").read_text())][:2]
    for command in (demo, tests):
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install ")
        assert "\n" not in command
    assert demo.endswith("image-syncer demo")
    assert tests.endswith("-m pytest")


@pytest.mark.parametrize("room", LISTED_ROOMS)
def test_the_architecture_lists_every_module_of_a_room_and_no_other(room) -> None:
    text = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = re.split(r"^##+ ", text.partition(f"\n### {room}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    listed = {name for row in re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE) for name in re.findall(r"\w+", row)}
    modules = {path.stem for path in (PROJECT / "engine" / "image_syncer" / room).glob("*.py")} - {"__init__"}
    assert listed == modules


def test_a_link_that_leads_nowhere_is_found() -> None:
    assert LINK.findall("[a](docs/gone.md#part) [b](#here) [c](https://example.org)") == [
        ("docs/gone.md", "part"),
        ("", "here"),
    ]
    assert anchors_of("# What always holds!\n```\n# no heading\n```\n") == {"what-always-holds"}
