"""Quotation: how a text that someone wrote appears in a message about it."""

from __future__ import annotations

from image_syncer.errors import redact

__all__ = ["quoted"]

_MOST_CHARACTERS = 100
_MOST_SEARCHED = 2048  # for secrets, which takes a time that is quadratic in a stranger's text


def quoted(text: str) -> str:
    r"""`text` in quotes, on one line, without control characters or secrets, cut where it is long.

    >>> quoted("a\n" + 200 * "b")[-5:]
    "bbb…'"
    """
    text = redact(text[:_MOST_SEARCHED])
    return repr(text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…")
