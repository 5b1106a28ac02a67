"""Environment variables in values: `$NAME` and `${NAME}`, where a variable that is not set is an error."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BROKEN_REFERENCE", "Expansion", "ExpansionError", "expand"]

BROKEN_REFERENCE = "a ${ that is not followed by a name and }"
"""What is wrong where `ExpansionError.name` is None."""

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_ANYWHERE = re.compile(rf"\$(?:\{{(?P<braced>[^}}]*)\}}|(?P<open>\{{)|(?P<bare>{_NAME}))")
_BRACED = re.compile(r"\$(?:\{(?P<braced>[^}]*)\}|(?P<open>\{))")
_WHOLE = re.compile(rf"\$\{{(?P<braced>{_NAME})\}}")


class Expansion(Enum):
    """Which references to variables are followed."""

    ANYWHERE = "$NAME and ${NAME}, as a whole value or within"
    BRACED = "${NAME}, as a whole value or within"
    WHOLE = "${NAME}, as a whole value only"


class ExpansionError(ValueError):
    """A reference that cannot be followed. `name` is the variable, None where the reference itself is broken.

    `is_telling` says that the name may be shown even where the value is a secret: the value is nothing but a
    reference to a variable, and not a password that happens to hold a dollar sign.
    """

    def __init__(self, name: str | None, *, is_telling: bool = False) -> None:
        super().__init__("a reference to an environment variable cannot be followed")
        self.name = name
        self.is_telling = is_telling


def expand(text: str, style: Expansion, environ: Mapping[str, str] | None) -> str:
    """`text` with its references replaced; what `style` does not follow stays, and without `environ` everything does.
    Raises ExpansionError.

    >>> expand("$REG/app", Expansion.ANYWHERE, {"REG": "quay.io"})
    'quay.io/app'
    >>> expand("pa$$word", Expansion.WHOLE, {})
    'pa$$word'
    """
    if environ is None:
        return text

    def value_of(match: re.Match[str]) -> str:
        groups = match.groupdict()
        name = groups.get("braced") or groups.get("bare")
        if not name or not re.fullmatch(_NAME, name):
            raise ExpansionError(None)
        if name not in environ:
            is_whole = match.group() == text
            raise ExpansionError(name, is_telling=is_whole and (groups.get("bare") is None or name.isupper()))
        return environ[name]

    if style is Expansion.WHOLE:
        whole = _WHOLE.fullmatch(text)
        return value_of(whole) if whole else text
    return (_ANYWHERE if style is Expansion.ANYWHERE else _BRACED).sub(value_of, text)
