"""The rules of public names, as functions from sources to complaints."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from architecture.source_tree import Module, exported_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "faults_of_all",
    "missing_docstrings",
    "missing_future_imports",
    "packages_that_do_more_than_export",
]

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEFINITIONS = (*_FUNCTIONS, ast.ClassDef)
_DIGITS = re.compile(r"(\d+)")


def missing_docstrings(modules: Iterable[Module]) -> list[str]:
    """Public modules, classes, functions and methods that do not say what they are."""
    complaints = []
    for module in modules:
        if ast.get_docstring(module.tree) is None:
            complaints.append(f"{module.place} has no docstring")
        complaints += [
            f"{module.place}:{node.lineno} {name} has no docstring"
            for name, node in _public_definitions(module.tree.body)
            if ast.get_docstring(node) is None
        ]
    return complaints


def missing_future_imports(modules: Iterable[Module]) -> list[str]:
    """Modules whose annotations would be evaluated: newer spellings of types would fail on an old Python."""
    return [
        f"{module.place} lacks `from __future__ import annotations`"
        for module in modules
        if not any(
            isinstance(node, ast.ImportFrom)
            and node.module == "__future__"
            and any(alias.name == "annotations" for alias in node.names)
            for node in module.tree.body
        )
    ]


def faults_of_all(modules: Iterable[Module]) -> list[str]:
    """`__all__` that is missing in a package, unsorted, names what is not there, or leaves a name out."""
    complaints = []
    for module in modules:
        exported = exported_names(module)
        if exported is None:
            if module.is_package:
                complaints.append(f"{module.place} has no __all__")
            continue
        if exported != sorted(set(exported), key=_rank):
            complaints.append(f"{module.place} has an unsorted __all__: {sorted(set(exported), key=_rank)}")
        complaints += [
            f"{module.place} exports {name}, which it does not have"
            for name in exported
            if name not in _bound_names(module.tree.body) and not _resolves_lazily(module)
        ]
        complaints += [
            f"{module.place}:{node.lineno} {node.name} is public and not in __all__"
            for node in module.tree.body
            if isinstance(node, _DEFINITIONS) and not node.name.startswith("_") and node.name not in exported
        ]
    return complaints


def packages_that_do_more_than_export(modules: Iterable[Module]) -> list[str]:
    """Packages whose `__init__` holds more than a docstring, imports and `__all__`.

    One that resolves its names lazily is left out: that takes code, and is what it is there for.
    """
    return [
        f"{module.place}:{node.lineno} does more than export: {ast.unparse(node).splitlines()[0]}"
        for module in modules
        if module.is_package and not _resolves_lazily(module)
        for node in module.tree.body
        if not isinstance(node, (ast.Import, ast.ImportFrom, ast.Expr)) and not _assigns_all(node)
    ]


def _assigns_all(node: ast.stmt) -> bool:
    return isinstance(node, (ast.Assign, ast.AnnAssign)) and ast.unparse(node).startswith("__all__")


def _public_definitions(body: list[ast.stmt], owner: str = "") -> Iterator[tuple[str, ast.AST]]:
    for node in body:
        if not isinstance(node, _DEFINITIONS) or node.name.startswith("_"):
            continue
        if isinstance(node, _FUNCTIONS) and _speaks_elsewhere(node):
            continue
        yield f"{owner}{node.name}", node
        if isinstance(node, ast.ClassDef):
            yield from _public_definitions(node.body, f"{owner}{node.name}.")


def _speaks_elsewhere(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether another definition carries the docstring: that of the getter, or of the last overload."""
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    return any(name.endswith((".setter", ".deleter", "overload")) for name in decorators)


def _rank(name: str) -> tuple[int, list[tuple[int, int, str]]]:
    """Constants, classes, then the rest; in each, numbers by their value. It is ruff's order (RUF022)."""
    kind = 0 if name.isupper() else 1 if name[:1].isupper() else 2
    parts = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in _DIGITS.split(name)]
    return kind, parts


def _bound_names(body: list[ast.stmt]) -> set[str]:
    names: set[str] = set()
    for node in body:
        if isinstance(node, _DEFINITIONS):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update(alias.asname or alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name))
        elif isinstance(node, ast.If):
            names |= _bound_names(node.body) | _bound_names(node.orelse)
        elif isinstance(node, ast.Try):
            names |= _bound_names(node.body)
    return names


def _resolves_lazily(module: Module) -> bool:
    """Whether the module answers for its names when they are asked for (PEP 562)."""
    return any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in module.tree.body)
