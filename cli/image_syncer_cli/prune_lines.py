"""What people are told of a prune: each thing that goes in a line, and what was not done, with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer_cli.output import clip, say
from image_syncer_cli.render import say_json, say_warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_syncer import Deletion, Pruned

__all__ = ["prune_lines", "say_unpruned"]

_WORDS = {"would go": "would delete", "deleted": "deleted", "gone already": "gone already"}
_NOT_DONE = ("left", "failed")
_MAX_HELD = 20
"""Repositories shown in which nothing was pruned; the report has them all."""


def prune_lines(pruned: Pruned) -> Iterator[str]:
    """A line for each tag that went, or would, and for each manifest without one."""
    for each in pruned.told():
        if each.outcome in _WORDS:
            for name in _names(each):
                yield f"{_WORDS[each.outcome]}: {name}: {clip(each.reason)}"


def say_unpruned(pruned: Pruned, *, as_json: bool) -> None:
    """What could not be deleted, or was not, on standard error."""
    for each in pruned.told():
        if each.outcome not in _NOT_DONE:
            continue
        if as_json:
            say_json(f"prune {each.outcome}", **each.as_data())
            continue
        hint = each.error.get("hint") if each.error is not None else None
        for name in _names(each):
            say(f"{each.outcome}: {name}: {clip(each.reason)}" + (f"\n  {hint}" if hint else ""), err=True)
    held = [each for each in pruned.held if each.is_failure]
    for one in pruned.held if as_json else held[:_MAX_HELD]:
        if as_json:
            say_json("prune held", **one.as_data())
        else:
            say(f"not pruned: {one.repository}: {clip(one.reason)}", err=True)
    if len(held) > _MAX_HELD and not as_json:
        say(f"… and {len(held) - _MAX_HELD:,} more, each with its reason in the file of --report.", err=True)
    for text in (pruned.excess, pruned.unsaved):
        if text is not None:
            say_warning(text, as_json=as_json)


def _names(deletion: Deletion) -> list[str]:
    if not deletion.tags:
        return [f"{deletion.repository}@{deletion.digest}"]
    place = deletion.repository.removesuffix(":")  # which a place that is no registry has at its end
    return [f"{place}:{tag} ({deletion.digest})" for tag in deletion.tags]
