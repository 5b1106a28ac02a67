"""docs/logs.md has every event of the sources, with its levels and fields, and no other."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from typing import TYPE_CHECKING

from architecture.source_tree import CLI_ROOT, ENGINE_ROOT, PROJECT, modules_under

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (PROJECT / "docs" / "logs.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([^`]+)` \| ([\w, ]+) \|([^|\n]*)\|", re.MULTILINE)
LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}
LOGGERS = ("_log", "get_logger(__name__)")
REST = "…"
"""Fields that the data decides."""
BY_OUTCOME = {"failed"}
"""What is said by an outcome's own word, of those that may be meant."""


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr in LEVELS and ast.unparse(node.func.value) in LOGGERS:
            yield LEVELS[node.func.attr], node


def names(event: ast.expr) -> list[str]:
    """An event is said as it is, or one of two; another expression is none that a page could list."""
    if isinstance(event, ast.IfExp):
        return names(event.body) + names(event.orelse)
    assert isinstance(event, ast.Constant), f"line {event.lineno}: {ast.unparse(event)} is no name of an event"
    return [str(event.value)]


def in_sources() -> dict[str, tuple[set[str], set[str]]]:
    found: dict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for root in (ENGINE_ROOT, CLI_ROOT):
        for module in modules_under(root):
            for level, call in calls(module.tree):
                for name in names(call.args[0]):
                    found[name][0].add(level)
                    found[name][1].update(keyword.arg or REST for keyword in call.keywords)
    return found


def test_the_page_has_every_event_with_its_levels_and_fields_and_no_other() -> None:
    on_page = {
        name: (set(levels.split(", ")), set(re.findall(rf"`(\w+)`|({REST})", fields)))
        for name, levels, fields in ROW.findall(PAGE)
    }
    told = {name: (levels, {a or b for a, b in fields}) for name, (levels, fields) in on_page.items()}
    there = in_sources()
    assert len(there) > 50
    assert told.keys() ^ there.keys() == set()
    assert {name: (told[name], each) for name, each in there.items() if told[name] != each} == {}


def test_the_page_has_what_the_command_says_in_the_same_form() -> None:
    said = {
        node.args[0].value
        for module in modules_under(CLI_ROOT)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "say_event"
        and isinstance(node.args[0], ast.Constant)
    }
    section = PAGE.partition("## What the command says")[2]
    assert said == set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)) - BY_OUTCOME
