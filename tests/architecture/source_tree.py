"""Python sources as data: their modules, imports and public names, read with `ast`, nothing of them run."""

from __future__ import annotations

import ast
import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "CLI_ROOT",
    "ENGINE_ROOT",
    "PROJECT",
    "RUN_TIME_NAME",
    "Import",
    "Module",
    "exported_names",
    "imports_of",
    "modules_under",
    "tracked_files",
]

PROJECT = Path(__file__).resolve().parents[2]
ENGINE_ROOT = PROJECT / "engine"
CLI_ROOT = PROJECT / "cli"

RUN_TIME_NAME = "<a name made at run time>"
"""The module of an import whose name is no literal."""

_DYNAMIC_IMPORTS = {"import_module", "__import__"}


@dataclass(frozen=True)
class Module:
    """One source file: its dotted name, its path below the source root, its syntax tree."""

    name: str
    place: str
    tree: ast.Module = field(repr=False)
    is_package: bool
    lines: int

    @property
    def package(self) -> str:
        """The package that relative imports start from."""
        return self.name if self.is_package else self.name.rpartition(".")[0]


@dataclass(frozen=True)
class Import:
    """`import module` (name is None) or `from module import name`, wherever it stands in the file."""

    importer: Module
    line: int
    module: str
    name: str | None

    def __str__(self) -> str:
        what = self.module if self.name is None else f"{self.name} from {self.module}"
        return f"{self.importer.place}:{self.line} imports {what}"


def modules_under(root: Path) -> list[Module]:
    """Every module below a source root, sorted by path. A process parses the project once: that takes seconds."""
    return list(_parse_once(root) if root in (ENGINE_ROOT, CLI_ROOT) else _parse(root))


def _parse(root: Path) -> Iterator[Module]:
    for path in sorted(root.rglob("*.py")):
        place = path.relative_to(root)
        parts = place.with_suffix("").parts
        is_package = parts[-1] == "__init__"
        text = path.read_text(encoding="utf-8")
        yield Module(
            name=".".join(parts[:-1] if is_package else parts),
            place=place.as_posix(),
            tree=ast.parse(text, filename=str(path)),
            is_package=is_package,
            lines=text.count("\n"),
        )


@cache
def _parse_once(root: Path) -> tuple[Module, ...]:
    return tuple(_parse(root))


def tracked_files() -> list[Path]:
    """The files that are in the repository, or are about to be; outside one, what no tool made."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return [path for name in done.stdout.split("\0") if name and (path := PROJECT / name).is_file()]
    places = [PROJECT / name for name in ("engine", "cli", "tests", "perf", "docs")]
    below = [path for place in places for path in place.rglob("*") if path.is_file()]
    return [path for path in (*PROJECT.glob("*.*"), *below) if path.is_file() and path.suffix != ".pyc"]


def imports_of(module: Module) -> Iterator[Import]:
    """Every import of a module: at the top, inside functions, under TYPE_CHECKING, and by `import_module`."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, node.lineno, alias.name, None)
        elif isinstance(node, ast.ImportFrom):
            origin = _absolute(module, node.level, node.module or "")
            for alias in node.names:
                yield Import(module, node.lineno, origin, alias.name)
        elif isinstance(node, ast.Call) and _called_name(node) in _DYNAMIC_IMPORTS:
            yield Import(module, node.lineno, _literal_module(module, node), None)


def exported_names(module: Module) -> list[str] | None:
    """The names in `__all__`; None where there is no `__all__`.

    Raises ValueError where `__all__` is computed: readers and type checkers need a literal.
    """
    for node in module.tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            try:
                return list(ast.literal_eval(node.value))  # type: ignore[attr-defined]
            except ValueError:
                raise ValueError(f"{module.place}:{node.lineno} has an __all__ that is no literal list") from None
    return None


def _absolute(module: Module, level: int, name: str) -> str:
    if level == 0:
        return name
    parts = module.package.split(".")
    parts = parts[: len(parts) - (level - 1)]
    return ".".join([*parts, name] if name else parts)


def _called_name(call: ast.Call) -> str | None:
    if isinstance(call.func, ast.Name):
        return call.func.id
    return call.func.attr if isinstance(call.func, ast.Attribute) else None


def _literal_module(module: Module, call: ast.Call) -> str:
    argument = call.args[0] if call.args else None
    if not isinstance(argument, ast.Constant) or not isinstance(argument.value, str):
        return RUN_TIME_NAME
    name = argument.value.lstrip(".")
    return _absolute(module, len(argument.value) - len(name), name)
