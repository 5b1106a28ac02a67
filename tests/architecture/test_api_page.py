"""docs/api.md lists every name that is public, and none that is not."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections import Counter

import pytest

import image_syncer
from architecture.source_tree import PROJECT
from image_syncer import errors

MOST_NAMES = 90
PAGE = (PROJECT / "docs" / "api.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| ((?:`[\w.]+`: )?`\w+`(?:(?:, |; `[\w.]+`: |; )`\w+`)*) \|", re.MULTILINE)
PART = re.compile(r"(?:`([\w.]+)`: )?(`\w+`(?:, `\w+`)*)")


def test_the_page_lists_the_public_names_each_once() -> None:
    rows = ROW.findall(PAGE.partition("\n## Names\n")[2])
    listed = Counter(
        f"{module}.{name}" if module else name
        for row in rows
        for part in row.split("; ")
        for module, names in PART.findall(part)
        for name in re.findall(r"\w+", names)
    )
    public = {*image_syncer.__all__}
    public |= {f"{module}.{name}" for module, names in image_syncer._MOVED.items() for name in names.split()}
    assert sorted(public - set(listed)) == [], "public, and in no table of docs/api.md under “Names”: add them there"
    assert sorted(set(listed) - public) == [], "in a table of docs/api.md, and not public any more"
    assert [name for name, count in listed.items() if count > 1] == []


def test_the_page_shows_the_whole_tree_of_errors() -> None:
    tree = PAGE.partition("\n## Errors\n")[2].partition("\n## ")[0]
    classes = [name for name in errors.__all__ if isinstance(getattr(errors, name), type)]
    errors_only = [name for name in classes if issubclass(getattr(errors, name), errors.SyncError)]
    assert [name for name in errors_only if not re.search(rf"\b{name}\b", tree)] == []


def test_every_error_of_the_engine_is_public() -> None:
    """Whoever catches one has to be able to name it."""
    for module in pkgutil.walk_packages(image_syncer.__path__, "image_syncer."):
        if not module.name.endswith(("__main__", ".engine_actor")):
            importlib.import_module(module.name)
    found: list[type[errors.SyncError]] = [errors.SyncError]
    for one in found:
        found += one.__subclasses__()
    ours = {one.__name__ for one in found if one.__module__.startswith("image_syncer.")}
    assert sorted(ours - set(image_syncer.__all__)) == []


def test_a_name_that_moved_is_found_with_a_warning() -> None:
    for module, names in image_syncer._MOVED.items():
        for name in names.split():
            with pytest.warns(DeprecationWarning, match=rf"import it from image_syncer\.{module}$"):
                found = getattr(image_syncer, name)
            assert found is getattr(importlib.import_module(f"image_syncer.{module}"), name)
    assert len(image_syncer.__all__) <= MOST_NAMES
