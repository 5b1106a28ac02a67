"""docs/security.md: each threat names the test that shows what stops it, and that test is there."""

from __future__ import annotations

import re

from architecture.source_tree import PROJECT

NAMED = re.compile(r"`(?P<file>tests/[\w/]+\.py)::(?P<test>test_\w+)`")
ROW = re.compile(r"^\| (?!threat|---)(?P<threat>.+?) \| (?P<stopped>.+?) \| (?P<shown>.+?) \|$", re.MULTILINE)
THREATS = (
    "A hostile source registry",
    "A hostile destination",
    "An attacker on the network",
    "Other users of the machine",
    "A leaked log",
    "A malicious configuration",
)


def text() -> str:
    return (PROJECT / "docs" / "security.md").read_text(encoding="utf-8")


def test_every_threat_names_a_test_that_is_there() -> None:
    rows = ROW.findall(text())
    assert len(rows) > 40
    assert [threat for threat, _, shown in rows if not NAMED.search(shown)] == []
    missing = []
    for file, test in NAMED.findall(text()):
        path = PROJECT / file
        if not path.is_file() or f"def {test}(" not in path.read_text(encoding="utf-8"):
            missing.append(f"{file}::{test}")
    assert missing == []


def test_every_kind_of_threat_has_a_table() -> None:
    for heading in THREATS:
        part = text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
        assert ROW.search(part), heading
