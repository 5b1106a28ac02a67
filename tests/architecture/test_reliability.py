"""docs/reliability.md: each promise names the test that shows it, and that test is there."""

from __future__ import annotations

import re

from architecture.source_tree import PROJECT

NAMED = re.compile(r"`(?P<file>tests/[\w/]+\.py)::(?P<test>test_\w+)`")
ROW = re.compile(r"^\| (?!promise|---)(?P<promise>.+?) \| (?P<shown>.+?) \|$", re.MULTILINE)


def test_every_promise_names_a_test_that_is_there() -> None:
    text = (PROJECT / "docs" / "reliability.md").read_text(encoding="utf-8")
    rows = ROW.findall(text)
    assert len(rows) > 30
    assert [promise for promise, shown in rows if not NAMED.search(shown)] == []
    missing = []
    for file, test in NAMED.findall(text):
        path = PROJECT / file
        if not path.is_file() or f"def {test}(" not in path.read_text(encoding="utf-8"):
            missing.append(f"{file}::{test}")
    assert missing == []
