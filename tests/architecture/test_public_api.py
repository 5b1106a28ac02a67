"""What others may use: every public name says what it is, and `__all__` tells the truth."""

from __future__ import annotations

import ast
import importlib

import pytest

from architecture.public_names import (
    faults_of_all,
    missing_docstrings,
    missing_future_imports,
    packages_that_do_more_than_export,
)
from architecture.source_tree import CLI_ROOT, ENGINE_ROOT, Module, exported_names, modules_under


@pytest.fixture(scope="module")
def modules() -> list[Module]:
    return [*modules_under(ENGINE_ROOT), *modules_under(CLI_ROOT)]


def test_every_public_name_has_a_docstring(modules: list[Module]) -> None:
    assert missing_docstrings(modules) == []


def test_every_module_postpones_its_annotations(modules: list[Module]) -> None:
    assert missing_future_imports(modules) == []


def test_all_is_sorted_and_right(modules: list[Module]) -> None:
    assert faults_of_all(modules) == []


def test_an_init_only_exports(modules: list[Module]) -> None:
    assert packages_that_do_more_than_export(modules) == []


def test_every_offered_name_can_be_had() -> None:
    """Lazy names are looked up when they are asked for: here each is."""
    engine = importlib.import_module("image_syncer")
    assert [name for name in engine.__all__ if not hasattr(engine, name)] == []
    assert set(engine.__all__) <= set(dir(engine))


def test_a_name_that_is_not_offered_is_an_attribute_error() -> None:
    engine = importlib.import_module("image_syncer")
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = engine.no_such_name


def module_of(source: str, *, is_package: bool = False) -> Module:
    return Module("made.up", "made/up.py", ast.parse(source), is_package, source.count("\n"))


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("", ["made/up.py has no docstring"]),
        ('"""Doc."""\ndef shown(): ...', ["made/up.py:2 shown has no docstring"]),
        ('"""Doc."""\nasync def shown(): ...', ["made/up.py:2 shown has no docstring"]),
        ('"""Doc."""\nclass Shown:\n    def open(self): ...', None),
        (
            '"""Doc."""\nclass Shown:\n    """Doc."""\n    def go(self): ...',
            ["made/up.py:4 Shown.go has no docstring"],
        ),
        ('"""Doc."""\ndef _hidden(): ...\nclass _Hidden:\n    def go(self): ...', []),
        ('"""Doc."""\nclass Shown:\n    """Doc."""\n    def __len__(self): ...\n    def _own(self): ...', []),
        ('"""Doc."""\nclass Shown:\n    """Doc."""\n    @size.setter\n    def size(self, value): ...', []),
    ],
)
def test_a_missing_docstring_is_caught(source: str, missing: list[str] | None) -> None:
    expected = missing
    if expected is None:
        expected = ["made/up.py:2 Shown has no docstring", "made/up.py:3 Shown.open has no docstring"]
    assert missing_docstrings([module_of(source)]) == expected


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('__all__ = ["b", "a"]\na = b = 1', 1),
        ('__all__ = ["a", "a"]\na = 1', 1),
        ('__all__ = ["gone"]', 1),
        ("__all__ = []\ndef shown(): ...", 1),
        ('__all__ = ["MANY", "Digest", "parse"]\nMANY = 1\nclass Digest: ...\ndef parse(): ...', 0),
        ('__all__ = ["lazy"]\ndef __getattr__(name): ...', 0),
        ('__all__ = ["x2", "x10"]\nimport x2\nfrom x import x10', 0),
        ("def shown(): ...", 0),
    ],
)
def test_a_wrong_all_is_caught(source: str, count: int) -> None:
    assert len(faults_of_all([module_of(source)])) == count


def test_a_package_without_all_is_caught() -> None:
    assert len(faults_of_all([module_of("", is_package=True)])) == 1


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('"""Doc."""\nfrom a import b\n__all__ = ["b"]', 0),
        ("def parse(): ...", 1),
        ("LIMIT = 4", 1),
        ("def __getattr__(name): ...", 0),
    ],
)
def test_an_init_that_does_more_is_caught(source: str, count: int) -> None:
    assert len(packages_that_do_more_than_export([module_of(source, is_package=True)])) == count
    assert packages_that_do_more_than_export([module_of(source)]) == []


@pytest.mark.parametrize(
    ("source", "count"),
    [("", 1), ("from __future__ import annotations", 0), ("from __future__ import division", 1)],
)
def test_a_missing_future_import_is_caught(source: str, count: int) -> None:
    assert len(missing_future_imports([module_of(source)])) == count


def test_exported_names_reads_annotated_lists_too() -> None:
    assert exported_names(module_of('__all__: list[str] = ["a"]')) == ["a"]
    assert exported_names(module_of("a = 1")) is None
