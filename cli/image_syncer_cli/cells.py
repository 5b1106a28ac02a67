"""How much room a text takes on a terminal, in cells: characters of East Asia take two, and marks that are written over
the one before take none (Unicode Standard Annex 11).
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["first_cells", "is_utf8", "plain_ascii", "width_of"]

_ASCII = str.maketrans({"━": "=", "─": "-", "·": "|", "…": "~", "→": ">", "�": "?"})
_WIDE, _MARKS = ("W", "F"), ("Mn", "Me", "Cf")


def width_of(text: str) -> int:
    """The cells that `text` takes; it has no control characters."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def first_cells(text: str, width: int) -> str:
    """As much of the beginning of `text` as fits into `width` cells."""
    if text.isascii():
        return text[: max(0, width)]
    for at, character in enumerate(text):
        width -= _cells(character)
        if width < 0:
            return text[:at]
    return text


def plain_ascii(text: str) -> str:
    """`text` for a terminal that knows nothing else; it takes no more cells."""
    return text.translate(_ASCII).encode("ascii", "replace").decode()


def is_utf8(environ: Mapping[str, str]) -> bool:
    """Whether the user's locale says that the terminal knows UTF-8: locale(7). LC_CTYPE=C.UTF-8 may be of Python's own
    making (PEP 538), and tells nothing.
    """
    named = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    if named == "C.UTF-8" and not environ.get("LC_ALL") and environ.get("LANG", "") in ("", "C", "POSIX"):
        return False
    return "utf8" in named.lower().replace("-", "")


def _cells(character: str) -> int:
    if unicodedata.east_asian_width(character) in _WIDE:
        return 2
    return 0 if unicodedata.category(character) in _MARKS else 1
