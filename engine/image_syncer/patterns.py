"""Regular expressions that most runs do not use, and that are therefore not compiled at every start."""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast


class _LazyPattern:
    """Has the methods and attributes of a `re.Pattern`, which is compiled when the first of them is asked for."""

    def __init__(self, text: str | bytes, flags: int) -> None:
        self._text = text
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        found = getattr(re.compile(self._text, self._flags), name)
        setattr(self, name, found)  # from now on it is found without this method
        return found


def lazy_pattern(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Return the pattern of `text` and `flags` of `re.compile`. A mistake in it raises `re.error` at its first use.

    Compiling all of them would be a twentieth of the time to start. What every run uses is a `re.compile`.
    """
    return cast("re.Pattern[AnyStr]", _LazyPattern(text, flags))
