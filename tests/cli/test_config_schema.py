from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cli.conftest import Command


def test_the_schema_is_printed_as_it_is(command: Command) -> None:
    ran = command("config", "schema")
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(ran.out)["properties"]["version"]["enum"] == [2, "2"]
    path = command("config", "schema", "--path").out.removesuffix("\n")
    assert Path(path).read_text(encoding="utf-8") == ran.out


def test_check_tells_what_a_key_with_a_mistake_is_for(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("version: 2\nrules:\n- source: nginx\n  destination: a.example/x\n  tags: {newest: 0, colour: x}\n")
    ran = command("config", "check", "--config", path)
    assert ran.code == 2
    *_, described, count = ran.out.splitlines()
    assert described == "  newest: This many of the highest versions."
    assert count == "2 problems · no warnings"
