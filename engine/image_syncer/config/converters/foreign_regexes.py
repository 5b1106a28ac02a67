"""Regular expressions of other tools, anchored and joined as those tools do it.

regsync compiles `^` + expression + `$` (cmd/regsync/root.go, filterRegexAllow), dregsy adds each of the two where it is
not there (internal/pkg/util/regex.go). Neither encloses the expression in a group, so that `a|b` means what begins with
a, or ends with b: that is kept here.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from image_syncer.config.regex import MAX_REGEX_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "alternatives",
    "anchored",
    "anchored_where_it_is_not",
    "as_globs",
    "as_whole_match",
    "in_portions",
    "literal_of",
]

_CLASS = re.compile(r"\[\^?\]?(?:\[:\^?[a-z]+:\]|\\.|[^\]\\])*\]", re.DOTALL)
_LITERAL = re.compile(r"(?:[A-Za-z0-9_/ ,@:-]|\\[^A-Za-z0-9])*")
_GLOB_PARTS = re.compile(r"\.\*|\.\+|\\\.|[a-z0-9_/-]")
_MOST_GLOBS = 8
_MOST_CHARACTERS = MAX_REGEX_CHARACTERS - 100


def anchored(expressions: Iterable[str]) -> str:
    """One expression for what any of them matches as a whole, as regsync means it."""
    return "|".join(f"^{expression}$" for expression in expressions)


def in_portions(expressions: Iterable[str]) -> list[list[str]]:
    """Expressions of which one is enough, in lists that are short enough for a rule each."""
    portions: list[list[str]] = []
    length = 0
    for expression in expressions:
        length += len(expression) + 3
        if not portions or length > _MOST_CHARACTERS:
            portions.append([])
            length = len(expression) + 3
        portions[-1].append(expression)
    return portions


def anchored_where_it_is_not(expression: str) -> str:
    """An expression of dregsy, as dregsy completes it."""
    head = "" if expression.startswith("^") else "^"
    return f"{head}{expression}{'' if expression.endswith('$') else '$'}"


def alternatives(expression: str) -> list[str]:
    """The parts between the `|` that stand in no group.

    >>> alternatives("a|(b|c)|[|]")
    ['a', '(b|c)', '[|]']
    """
    parts, depth, at, begin = [], 0, 0, 0
    while at < len(expression):
        found = _CLASS.match(expression, at) if expression[at] == "[" else None
        if found:
            at = found.end()
            continue
        if expression[at] == "\\":
            at += 2
            continue
        depth += {"(": 1, ")": -1}.get(expression[at], 0)
        if expression[at] == "|" and depth == 0:
            parts.append(expression[begin:at])
            begin = at + 1
        at += 1
    return [*parts, expression[begin:]]


def as_whole_match(expressions: Iterable[str]) -> str:
    """For what is compared with whole names: what `anchored` finds."""
    written = []
    for each in alternatives(anchored(expressions)):
        body = each[1:] if each.startswith("^") else f".*{each}"
        written.append(body[:-1] if _ends_anchored(body) else f"{body}.*")
    return written[0] if len(written) == 1 else "|".join(f"(?:{one})" for one in written)


def _ends_anchored(expression: str) -> bool:
    body = expression[:-1]
    return expression.endswith("$") and (len(body) - len(body.rstrip("\\"))) % 2 == 0


def as_globs(expression: str) -> list[str] | None:
    """The patterns of our format that stand for an expression over whole names; None where there are none."""
    parts = _GLOB_PARTS.findall(expression)
    if "".join(parts) != expression or not parts:
        return None
    choices = [{".*": ("", "**"), ".+": ("**",), r"\.": (".",)}.get(part, (part,)) for part in parts]
    globs = ["".join(one) for one in itertools.islice(itertools.product(*choices), _MOST_GLOBS + 1)]
    return None if len(globs) > _MOST_GLOBS else [glob for glob in globs if glob and not glob.endswith("/")]


def literal_of(expression: str) -> str | None:
    """The text that an expression without any operator stands for; None where it has one."""
    return re.sub(r"\\(.)", r"\1", expression) if _LITERAL.fullmatch(expression) else None
