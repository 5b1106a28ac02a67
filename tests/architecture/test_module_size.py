"""A module past this bound holds two ideas."""

from __future__ import annotations

from architecture.source_tree import CLI_ROOT, ENGINE_ROOT, modules_under

# A module is an idea: 700 lines of one read better than seven files that import each other.
MOST_LINES = 700
PUBLIC_NAMES = "image_syncer/__init__.py"


def test_no_module_is_longer_than_one_idea() -> None:
    modules = [*modules_under(ENGINE_ROOT), *modules_under(CLI_ROOT)]
    assert len(modules) > 1
    # The list of the public names is read by looking for one.
    long = [module for module in modules if module.lines > MOST_LINES and module.place != PUBLIC_NAMES]
    assert [f"{module.place}: {module.lines} lines" for module in long] == []
