"""Tags by the time at which their images were created: the newest of them, or those newer than a date or an age."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from image_syncer.config.fields import read_count, read_fields, read_mapping, read_text
from image_syncer.config.findings import Findings, key_path, shown
from image_syncer.oci.created import parse_time
from image_syncer.units import parse_duration
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from image_syncer.config.tree import Node

__all__ = ["CREATED_KEYS", "CreatedSelection", "read_created"]

CREATED_KEYS = ("newest", "after", "within")
"""Keys of `created`."""
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class CreatedSelection(Value, frozen=True):
    """Images that were created later than `after` (seconds since 1970), no longer ago than `within_s`, and of these the
    `newest` so many; None where it does not matter. One that does not say when it was created is older than all others.
    """

    newest: int | None = None
    after: float | None = None
    within_s: float | None = None

    def select(self, tags: Sequence[str], times: Mapping[str, float | None], now: float) -> list[str]:
        """Those of `tags` that are meant, in their order; `times` has when the image of each was created, and `now` is
        when the run began, both in seconds since 1970. Of equal times the later name counts as the newer.
        """
        bounds = [self.after] if self.after is not None else []
        bounds += [now - self.within_s] if self.within_s is not None else []
        dated = {tag: -math.inf if (time := times[tag]) is None else time for tag in tags}
        left = [tag for tag in tags if all(dated[tag] > bound for bound in bounds)]
        if self.newest is None or len(left) <= self.newest:
            return left
        kept = set(sorted(left, key=lambda tag: (dated[tag], tag))[-self.newest :])
        return [tag for tag in left if tag in kept]


def read_created(node: Node, key: str, findings: Findings) -> CreatedSelection | None:
    """The selection that a node means; None after an error. What it costs is a warning."""
    mapping = read_mapping(node, key, findings)
    if mapping is None:
        return None
    fields = read_fields(mapping, CREATED_KEYS, key, findings, strict=True)
    errors_before = len(findings.errors)
    newest = read_count(fields["newest"], key_path(key, "newest"), findings) if "newest" in fields else None
    after = _read_after(fields["after"], key_path(key, "after"), findings) if "after" in fields else None
    within_s = _read_within(fields["within"], key_path(key, "within"), findings) if "within" in fields else None
    selection = CreatedSelection(newest, after, within_s)
    if len(findings.errors) > errors_before:
        return None
    if selection == CreatedSelection():
        findings.error(node.line, key, "no time is said", "write newest: 5, after: 2026-01-31 or within: 90d")
        return None
    findings.warn(
        node.line,
        key,
        "two or three requests for each tag that the other conditions leave, before the first image begins, and at "
        "Docker Hub each is a pull",
        "leave few: choose by include, regex or versions first",
    )
    return selection


def _read_after(node: Node, key: str, findings: Findings) -> float | None:
    text = read_text(node, key, findings) or ""
    moment = parse_time(f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text)
    if moment is None:
        findings.error(node.line, key, f"“{shown(text)}” is no time", "write 2026-01-31 (UTC) or 2026-01-31T12:00:00Z")
    return moment


def _read_within(node: Node, key: str, findings: Findings) -> float | None:
    text = read_text(node, key, findings) or ""
    try:
        if text[-1:].isalpha():  # a number alone would be seconds, and is meant as days
            return parse_duration(text)
    except ValueError:
        pass
    findings.error(node.line, key, f"“{shown(text)}” is no time", "write such as 90d or 12h")
    return None
