"""How much there is to read: files, lines, parameters, and names that mean one thing.

A module is an idea, not a number of lines; but a reader has to hold all of them, so the whole is bounded.
"""

from __future__ import annotations

import ast
import statistics
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import pytest

from architecture.source_tree import CLI_ROOT, ENGINE_ROOT, PROJECT, imports_of, modules_under, tracked_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from architecture.source_tree import Module

MOST_FILES = 313
MOST_LINES = 69_600
"""Of engine and command together, with templates, data and generated files."""
LEAST_MEDIAN_LINES = 160
"""Of the engine's modules, packages and `doubles` and `profiles` (one small file a kind of registry) not counted."""
MOST_MODULES_IN_A_FOLDER = 26
MOST_LINES_OF_A_MODULE = 700
MOST_PARAMETERS = 7
MOST_LINES_OF_A_FUNCTION = 60
MOST_FIELDS_OF_A_CONTEXT = 12
KINDS = ("doubles", "profiles")
PUBLIC_SIGNATURES = frozenset(
    {
        *("SyncError.__init__", "export_bundle", "import_bundle", "bench_plan"),
        *("ContentBuilder.image", "ContentBuilder.index", "RegistryProcess.__init__", "EmbeddedRegistry.__init__"),
    }
)
"""Kept as programs call them."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules() -> list[Module]:
    return [*modules_under(ENGINE_ROOT), *modules_under(CLI_ROOT)]


def functions(module: Module) -> Iterator[tuple[str, Function]]:
    """Every function with its name, that of its class before it."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{each.name}", each) for each in node.body if isinstance(each, Function))
        elif isinstance(node, ast.Module):
            yield from ((each.name, each) for each in node.body if isinstance(each, Function))


def is_click_callback(function: Function) -> bool:
    return any("click" in ast.unparse(each) or "option" in ast.unparse(each) for each in function.decorator_list)


def test_there_are_few_enough_files_and_lines_to_own() -> None:
    files = [
        path
        for path in tracked_files()
        if path.relative_to(PROJECT).parts[0] in ("engine", "cli") and "egg-info" not in str(path)
    ]
    assert len([path for path in files if path.suffix == ".py"]) <= MOST_FILES
    assert sum(path.read_bytes().count(b"\n") for path in files) <= MOST_LINES


def test_a_module_is_an_idea() -> None:
    engine = [
        module
        for module in modules_under(ENGINE_ROOT)
        if not module.is_package and not set(module.name.split(".")) & {*KINDS}
    ]
    assert statistics.median(module.lines for module in engine) >= LEAST_MEDIAN_LINES
    long = [module for module in modules() if module.lines > MOST_LINES_OF_A_MODULE]
    assert [f"{module.place}: {module.lines} lines" for module in long] == []


def test_a_folder_can_be_taken_in_at_a_glance() -> None:
    folders = Counter(module.name.rpartition(".")[0] for module in modules() if not module.is_package)
    crowded = {folder: count for folder, count in folders.items() if count > MOST_MODULES_IN_A_FOLDER}
    assert {folder: count for folder, count in crowded.items() if folder.rpartition(".")[2] not in KINDS} == {}


def test_no_function_takes_many_parameters_or_is_long() -> None:
    wide, long = [], []
    for module in modules():
        for name, function in functions(module):
            given = function.args
            count = len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs)
            count -= bool(given.args) and given.args[0].arg in ("self", "cls")
            excepted = name in PUBLIC_SIGNATURES or is_click_callback(function)
            if count > MOST_PARAMETERS and not excepted:
                wide.append(f"{module.place}: {name} has {count} parameters")
            assert function.end_lineno is not None
            if (lines := function.end_lineno - function.lineno + 1) > MOST_LINES_OF_A_FUNCTION and not excepted:
                long.append(f"{module.place}: {name} has {lines} lines")
    assert wide == []
    assert long == []


@pytest.mark.parametrize("name", ["RunContext", "WorkerContext"])
def test_a_context_holds_a_few_things(name: str) -> None:
    [context] = [
        node
        for module in modules()
        for node in module.tree.body
        if isinstance(node, ast.ClassDef) and node.name == name
    ]
    assert len([node for node in context.body if isinstance(node, ast.AnnAssign)]) <= MOST_FIELDS_OF_A_CONTEXT


def test_no_two_classes_share_a_name() -> None:
    places = defaultdict(list)
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(module.place)
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Imports for types and inside functions count; `__init__` of packages, which collect names, do not."""
    known = {module.name: module for module in modules() if not module.is_package}
    needed = {
        name: {
            found
            for each in imports_of(module)
            for found in (each.module, f"{each.module}.{each.name}")
            if found in known and found != name
        }
        for name, module in known.items()
    }
    left = set(needed)
    while ends := {
        name for name in left if not needed[name] & left or not any(name in needed[other] for other in left)
    }:
        left -= ends
    assert sorted(left) == []
