"""What documents show: blocks of Markdown, the files that stand in them, and transcripts of commands.

A block whose first line is `# NAME`, where NAME has a suffix, is the file NAME. A block in the language `console` is a
transcript: lines that begin with `$ ` are commands (a backslash at the end continues one), the others are what they
tell.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Block", "ShownCommand", "blocks_of", "commands_of", "matches"]

_PART = re.compile(
    r"^ *```(?P<language>\w*)(?P<info>[^\n]*)\n(?P<text>.*?)^ *```$|^#{1,6} +(?P<heading>[^\n]+)$",
    re.MULTILINE | re.DOTALL,
)
_NAME = re.compile(r"# (?P<name>\.?[\w-]+(?:\.[\w-]+)+)\n")
_PROMPT = "$ "
_ANYTHING = "…"


@dataclass(frozen=True)
class Block:
    """A fenced block; `section` is the heading that it stands under, `line` that of its text, counted from 1."""

    language: str
    text: str
    section: str
    line: int

    @property
    def name(self) -> str | None:
        """Of the file that it is; None where it is none."""
        found = _NAME.match(self.text)
        return found["name"] if found else None


@dataclass(frozen=True)
class ShownCommand:
    """A command of a transcript, and the lines that it is shown to tell."""

    text: str
    told: tuple[str, ...]
    line: int


def blocks_of(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in their order."""
    text, section = page.read_text("utf-8"), ""
    for part in _PART.finditer(text):
        if part["heading"] is not None:
            section = part["heading"]
        else:
            yield Block(part["language"], part["text"], section, text.count("\n", 0, part.start("text")) + 1)


def commands_of(block: Block) -> list[ShownCommand]:
    """The commands of a transcript."""
    found: list[ShownCommand] = []
    command: list[str] = []
    told: list[str] = []
    begun_at = 0

    def end() -> None:
        if command:
            found.append(ShownCommand("\n".join(command), tuple(told), begun_at))
            command.clear()
            told.clear()

    for line, text in enumerate(block.text.splitlines(), block.line):
        if command and not told and command[-1].endswith("\\"):
            command.append(text)
        elif text.startswith(_PROMPT):
            end()
            command.append(text.removeprefix(_PROMPT))
            begun_at = line
        elif not command:
            raise ValueError(f"line {line}: a transcript begins with a command")
        else:
            told.append(text)
    end()
    return found


def matches(shown: tuple[str, ...], told: list[str]) -> bool:
    """Whether a command tells what is shown: `…` stands for anything in a line, alone for any number of lines."""
    patterns = [r"(?:[^\n]*\n)*?" if line.strip() == _ANYTHING else f"{_of_line(line)}\n" for line in shown]
    return re.fullmatch("".join(patterns), "".join(f"{line}\n" for line in told)) is not None


def _of_line(line: str) -> str:
    return r"[^\n]*".join(re.escape(part) for part in line.rstrip().split(_ANYTHING))
