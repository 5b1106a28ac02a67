"""The keys of a registry's entry that say how much may be asked of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.config.fields import read_fields, read_mapping, read_text
from image_syncer.config.findings import key_path
from image_syncer.config.rate_schedule import RateSchedule, RateWindow, build_window
from image_syncer.config.tree import SequenceNode
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer.config.entry_fields import EntryFields
    from image_syncer.config.tree import Node

__all__ = ["LIMIT_KEYS", "NO_LIMITS", "Limits", "merge_limits", "read_limits"]

LIMIT_KEYS = ("requests_per_s", "rate")
WINDOW_KEYS = ("rate", "from", "to", "days")
"""Keys of an item where `rate` is a list."""

_MEND = 'write 200MB/s, or a list of {days: mon-fri, from: "08:00", to: "18:00", rate: 50MB/s}'

LEAST_REQUESTS_PER_S = 0.1
"""With less, one image takes minutes: it is meant for a mistake."""


class Limits(Value, frozen=True):
    """What the user allows at one registry: `requests_per_s` at most (None: no bound but what it refuses), and a `rate`
    of bytes, from it and to it each (None: no bound).
    """

    requests_per_s: float | None = None
    rate: RateSchedule | None = None


NO_LIMITS = Limits()


def read_limits(entry: EntryFields) -> Limits:
    """What the entry allows."""
    return Limits(
        requests_per_s=entry.number("requests_per_s", least=LEAST_REQUESTS_PER_S),
        rate=_read_rate(entry) if "rate" in entry else None,
    )


def merge_limits(limits: Sequence[Limits]) -> Limits:
    """The limits of a host out of those of all its entries: the smallest rate of requests, the first rate of bytes."""
    return Limits(
        requests_per_s=min((n for one in limits if (n := one.requests_per_s) is not None), default=None),
        rate=next((one.rate for one in limits if one.rate is not None), None),
    )


def _read_rate(entry: EntryFields) -> RateSchedule | None:
    node, key, findings = entry.fields["rate"], entry.key("rate"), entry.findings
    errors_before = len(findings.errors)
    try:
        if not isinstance(node, SequenceNode):
            text = read_text(node, key, findings)
            return RateSchedule.parse(text) if text else None
        windows = [_read_window(item, f"{key}[{at}]", entry) for at, item in enumerate(node.items)]
        return None if len(findings.errors) > errors_before else RateSchedule.of([one for one in windows if one])
    except ValueError as error:
        findings.error(node.line, key, str(error), _MEND)
        return None


def _read_window(node: Node, key: str, entry: EntryFields) -> RateWindow | None:
    findings, dialect = entry.findings, entry.dialect
    mapping = read_mapping(node, key, findings)
    if mapping is None:
        return None
    fields = read_fields(mapping, WINDOW_KEYS, key, findings, strict=dialect.strict, any_case=dialect.any_case)
    texts = {name: read_text(value, key_path(key, name), findings) or "" for name, value in fields.items()}
    if not texts.get("rate"):
        findings.error(node.line, key, "there is no rate", _MEND)
        return None
    try:
        return build_window(texts["rate"], texts.get("from", ""), texts.get("to", ""), texts.get("days", ""))
    except ValueError as error:
        findings.error(node.line, key, str(error), _MEND)
        return None
