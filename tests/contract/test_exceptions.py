"""The table of exceptions: it speaks of doubles that there are, and of tests that there are."""

from __future__ import annotations

import ast
from pathlib import Path

from contract.exceptions import EXCEPTIONS
from contract.target import CAN
from image_syncer.embedded import DOUBLES


def test_every_exception_is_one_of_a_test_of_the_contract() -> None:
    modules = [ast.parse(path.read_text(encoding="utf-8")) for path in Path(__file__).parent.glob("test_*.py")]
    tests = {node.name for module in modules for node in module.body if isinstance(node, ast.FunctionDef)}
    named = {name.partition("[")[0] for of_kind in EXCEPTIONS.values() for name in of_kind}
    assert named <= tests
    assert set(EXCEPTIONS) <= set(DOUBLES)


def test_every_double_takes_the_contract() -> None:
    assert set(CAN) == set(DOUBLES)
