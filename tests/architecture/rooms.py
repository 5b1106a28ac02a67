"""The rules of the rooms, as functions from sources to complaints."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import TYPE_CHECKING

from architecture.source_tree import RUN_TIME_NAME, Import, Module, exported_names, imports_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "ENGINE",
    "PURE_ROOMS",
    "ROOMS",
    "SHELLS_IN_PURE_ROOMS",
    "eager_imports_of_the_public_api",
    "impurities",
    "private_imports_of_the_cli",
    "upward_imports",
]

ENGINE = "image_syncer"

ROOMS = (
    "patterns",
    "redaction",
    "values",
    "errors",
    "units",
    "oci",
    "registry",
    "config",
    "scheduling",
    "capacity",
    "transfer",
    "nonblocking_write",
    "credentials",
    "net",
    "telemetry",
    "reporting",
    "worker",
    "journal",
    "discovery",
    "dispatch",
    "control",
    "coordinator",
    "verification",
    "pruning",
    "runs",
    "embedded",
    "layout",
    "api",
    "async_runs",
    "bench",
    "doctor",
    "watch",
    "cluster",
)
"""From top to bottom: a room imports itself and rooms above it."""

PURE_ROOMS = frozenset(
    {
        "patterns",
        "redaction",
        "errors",
        "units",
        "values",
        "oci",
        "registry",
        "config",
        "scheduling",
        "capacity",
        "transfer",
    }
)
"""No loop, no libcurl, no socket, no clock, no random source, no file: time and chance are arguments."""

SHELLS_IN_PURE_ROOMS = frozenset(
    {
        f"{ENGINE}.config.loader",
        f"{ENGINE}.config.file_reading",
        f"{ENGINE}.config.making",
        f"{ENGINE}.config.converters.conversion",
        f"{ENGINE}.config.schema",
    }
)
"""The one module of a pure room that touches the world: it reads the configuration files."""

_WORLDLY_MODULES = frozenset(
    {
        *(
            "asyncio",
            "concurrent",
            "multiprocessing",
            "queue",
            "sched",
            "signal",
            "subprocess",
            "threading",
            "_thread",
        ),
        *("pycurl", "uvloop", "aiohttp", "http", "select", "selectors", "socket", "socketserver", "ssl"),
        *("urllib.request", "urllib.error", "urllib3", "requests", "httpx"),
        *("time", "random", "secrets", "uuid"),
        *("os", "pathlib", "tempfile", "shutil", "glob", "fileinput", "fcntl", "mmap", "resource", "sqlite3"),
        *("ctypes", "getpass", "importlib", "pkgutil", "platform"),
        *("logging", "structlog", "rich", "click", "warnings"),
    }
)
_WORLDLY_CALLS = frozenset({"open", "io.open", "print", "input", "breakpoint", "exec", "eval"})
_CLOCK_CALLS = frozenset({"now", "utcnow", "today"})


def upward_imports(modules: Iterable[Module]) -> list[str]:
    """Imports of the engine that reach down the list of rooms, or past it to the public API."""
    complaints = []
    for module in modules:
        if module.name == ENGINE:
            continue  # the public API stands on every room; how it does is `eager_imports_of_the_public_api`
        room = _room_of(module.name)
        if room not in ROOMS:
            complaints.append(f"{module.place} lies in no room: add it to one, or its room to the list")
            continue
        for each in imports_of(module):
            complaint = _reach_of(each, room)
            if complaint:
                complaints.append(f"{each}: {complaint}")
    return complaints


def impurities(modules: Iterable[Module]) -> list[str]:
    """Imports and calls by which a pure room would touch the world."""
    complaints = []
    for module in modules:
        if _room_of(module.name) not in PURE_ROOMS or module.name in SHELLS_IN_PURE_ROOMS:
            continue
        complaints += [f"{each}: not in a pure room" for each in imports_of(module) if _is_worldly(each)]
        complaints += [
            f"{module.place}:{call.lineno} calls {name}(): not in a pure room"
            for call, name in _calls_of(module)
            if name in _WORLDLY_CALLS or _is_clock(name)
        ]
    return complaints


def eager_imports_of_the_public_api(modules: Iterable[Module]) -> list[str]:
    """Imports that run when `image_syncer` itself is imported: a worker must load its own rooms only."""
    root = next(module for module in modules if module.name == ENGINE)
    tree = ast.Module([node for node in root.tree.body if not _runs_later(node)], [])
    eager = replace(root, tree=tree)
    return [
        f"{each}: at import time, which PEP 562 is there to avoid"
        for each in imports_of(eager)
        if _is_of_engine(each.module)
    ]


def private_imports_of_the_cli(cli: Iterable[Module], engine: Iterable[Module]) -> list[str]:
    """What the command takes from the engine without being offered it.

    Offered is what `__all__` holds: that of `image_syncer`, and those of the rooms that its docstring names.
    """
    offers = _offers(engine)
    complaints = []
    for module in cli:
        for each in imports_of(module):
            if not _is_of_engine(each.module):
                continue
            if each.name is not None and f"{each.module}.{each.name}" in offers:
                continue  # `from image_syncer import embedded`: a public subpackage
            if each.module not in offers:
                complaints.append(f"{each}: no public module of the engine")
            elif each.name is not None and each.name not in offers[each.module]:
                complaints.append(f"{each}: not in its __all__")
        complaints += [
            f"{module.place}:{node.lineno} uses {node.value.id}.{node.attr}: not in its __all__"
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == ENGINE
            if node.attr not in offers[ENGINE] and f"{ENGINE}.{node.attr}" not in offers
        ]
    return complaints


def _room_of(name: str) -> str:
    parts = name.split(".")
    return parts[1] if parts[0] == ENGINE and len(parts) > 1 else ""


def _is_of_engine(module: str) -> bool:
    return module == ENGINE or module.startswith(f"{ENGINE}.")


def _reach_of(each: Import, room: str) -> str | None:
    if each.module == RUN_TIME_NAME:
        return "an import that nobody can follow"
    if not _is_of_engine(each.module):
        return None
    target = _room_of(each.module) or (each.name or "")
    if target not in ROOMS:
        return "a room imports rooms, not the public API that stands on them"
    return f"{target} lies below {room}" if ROOMS.index(target) > ROOMS.index(room) else None


def _is_worldly(each: Import) -> bool:
    module = each.module if each.name is None else f"{each.module}.{each.name}"
    parts = module.split(".")
    heads = {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
    if heads & SHELLS_IN_PURE_ROOMS:
        # A pure package may offer its shell; nothing else in a pure room may stand on it.
        return not each.importer.is_package
    return bool(heads & _WORLDLY_MODULES) or each.module == RUN_TIME_NAME


def _calls_of(module: Module) -> Iterator[tuple[ast.Call, str]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node, node.func.id
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node, ast.unparse(node.func)


def _is_clock(call: str) -> bool:
    head, _, name = call.rpartition(".")
    return name in _CLOCK_CALLS and head.rpartition(".")[2] in {"datetime", "date", "dt"}


def _runs_later(node: ast.stmt) -> bool:
    if isinstance(node, ast.If):
        return ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))


def _offers(engine: Iterable[Module]) -> Mapping[str, list[str]]:
    by_name = {module.name: module for module in engine}
    docstring = ast.get_docstring(by_name[ENGINE].tree) or ""
    public = [ENGINE, *(f"{ENGINE}.{room}" for room in ROOMS if f"`{ENGINE}.{room}`" in docstring)]
    offers = {name: exported_names(by_name[name]) or [] for name in public}
    for module, names in _moved(by_name[ENGINE].tree).items():
        offers.setdefault(f"{ENGINE}.{module}", []).extend(names.split())
    return offers


def _moved(root: ast.Module) -> dict[str, str]:
    """The public names of other modules, which `image_syncer` lists so that they are still found there."""
    for node in root.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_MOVED":
            moved: dict[str, str] = ast.literal_eval(node.value)
            return moved
    return {}
