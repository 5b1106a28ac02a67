"""A module past 300 lines usually holds two ideas; past this bound it surely does."""

from __future__ import annotations

from architecture.source_tree import CLI_ROOT, ENGINE_ROOT, modules_under

# 300 lines are one sitting's reading; a third more leaves room for a table or an essay on a state machine.
MOST_LINES = 400
PUBLIC_NAMES = "image_syncer/__init__.py"


def test_no_module_is_longer_than_one_idea() -> None:
    modules = [*modules_under(ENGINE_ROOT), *modules_under(CLI_ROOT)]
    assert len(modules) > 1
    # The list of the public names is read by looking for one.
    long = [module for module in modules if module.lines > MOST_LINES and module.place != PUBLIC_NAMES]
    assert [f"{module.place}: {module.lines} lines" for module in long] == []
