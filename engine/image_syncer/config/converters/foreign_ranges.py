"""Ranges of versions of other tools, as `versions`, `prereleases` and `exclude_regex` of ours.

Two kinds. skopeo (Masterminds/semver) leaves prereleases out, as we do, unless the range itself has one. regsync
(internal/semver) and dregsy (blang/semver) compare by precedence alone, so that 2.0.0-rc.1 is in `>=1.0.0` and below
2.0.0. Ours counts a prerelease as the version that it leads to; the difference is at the bounds, and is made up for by
expressions over tags.
"""

from __future__ import annotations

import re

from msgspec import Struct, field

from image_syncer.values import Value

__all__ = ["ForeignRange", "RangeError", "by_precedence", "of_masterminds"]

_VERSION = re.compile(r"v?(?P<numbers>[0-9]+(?:\.[0-9]+){0,2})(?P<rest>[-+].*)?", re.ASCII)
_TERM = re.compile(r"(?P<operator>>=|=>|<=|=<|!=|==|~>|[<>=!^~])?\s*(?P<version>v?[0-9][^\s,<>=!^~|]*|\*)")
_SPELLINGS = {"=>": ">=", "=<": "<=", "==": "=", "~>": "~", "!": "!=", None: ""}
_LOWEST = ("-0",)


class RangeError(ValueError):
    """A range that our format cannot express; says why."""


class ForeignRange(Value, frozen=True):
    """What a range is in our format. `without`: expressions for tags that are not in it."""

    within: str
    prereleases: bool = False
    without: tuple[str, ...] = ()


class _Terms(Struct):
    within: list[str] = field(default_factory=list)
    without: list[str] = field(default_factory=list)


def by_precedence(text: str) -> list[ForeignRange]:
    """The ranges of an expression in which prereleases are compared like other versions, one for each alternative.
    Raises RangeError.
    """
    return [_precedence_group(group) for group in text.split("||")]


def _precedence_group(text: str) -> ForeignRange:
    terms = _Terms()
    for operator, written in _split(text):
        if operator == "~":  # up to the next minor version, whatever is written
            numbers = _numbers(written)
            _bound(terms, ">=", written)
            _bound(terms, "<", f"{numbers[0]}.{numbers[1] + 1}.0")
        elif operator == "^":
            numbers = _numbers(written)
            place = next((at for at in (0, 1) if numbers[at]), 2)
            upper = [*numbers[:place], numbers[place] + 1, 0, 0][:3]
            _bound(terms, ">=", written)
            _bound(terms, "<", ".".join(map(str, upper)))
        else:
            _bound(terms, operator or "=", written)
    return ForeignRange(" ".join(terms.within) or "*", True, tuple(dict.fromkeys(terms.without)))


def _bound(terms: _Terms, operator: str, written: str) -> None:
    if "x" in written.lower() or "*" in written:
        return _wildcard(terms, operator, written)
    match = _VERSION.fullmatch(written)
    if match is None:
        raise RangeError(f"“{written}” is no version")
    version, tag = ".".join(map(str, _numbers(written))), _tag_of(_numbers(written))
    rest = match["rest"] or ""
    if rest and not (rest in _LOWEST and operator == ">="):
        raise RangeError(f"a bound that is a prerelease ({written})")
    if operator == "<":
        terms.within.append(f"<={version}")
        terms.without.append(f"^{tag}$")
        return None
    if operator == "!=":
        terms.without.append(f"^{tag}$")
        return None
    terms.within.append(f"{operator}{version}")
    if operator in {">=", "="} and not rest:
        terms.without.append(f"^{tag}-")
    return None


def _wildcard(terms: _Terms, operator: str, written: str) -> None:
    """`1.x` and `1.2.x`: from there up to the next, which has prereleases too."""
    given = [part for part in re.split(r"\.", written.lstrip("v")) if part.isdigit()]
    if operator not in {"=", ""}:
        raise RangeError(f"{operator}{written}")
    if not given:
        return
    numbers = [*map(int, given), 0, 0][:3]
    upper = [*numbers[: len(given) - 1], numbers[len(given) - 1] + 1, 0, 0][:3]
    _bound(terms, ">=", ".".join(map(str, numbers)))
    _bound(terms, "<", ".".join(map(str, upper)))


def of_masterminds(text: str) -> ForeignRange:
    """A constraint of Masterminds/semver, as skopeo has them. Raises RangeError."""
    groups, without, lowest = [], [], []
    for group in text.split("||"):
        if re.search(r"\S\s+-\s+\S", group):
            groups.append(group.strip())
            lowest.append(False)
            continue
        terms = []
        for operator, written in _split(group):
            match = _VERSION.fullmatch(written)
            rest = (match["rest"] or "") if match else ""
            if rest and rest not in _LOWEST:
                raise RangeError(f"a bound that is a prerelease ({written})")
            lowest.append(bool(rest))
            if operator == "!=":
                if "||" in text or match is None or len(match["numbers"].split(".")) < 3:  # noqa: PLR2004 - all of them
                    raise RangeError(f"!={written}")
                without.append(f"^{_tag_of(_numbers(written))}$")
            else:
                terms.append(f"{operator}{written.removesuffix(rest) if rest else written}")
        groups.append(" ".join(terms) or "*")
    if any(lowest) and not all(lowest):
        raise RangeError("some of its bounds are prereleases, and some are not")
    return ForeignRange(" || ".join(groups), any(lowest), tuple(without))


def _split(text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    for match in _TERM.finditer(text):
        if text[at : match.start()].strip(" ,"):
            raise RangeError(f"“{text.strip()}” is no range")
        at = match.end()
        operator = match["operator"]
        found.append((_SPELLINGS.get(operator, operator), match["version"]))
    if text[at:].strip(" ,") or not found:
        raise RangeError(f"“{text.strip()}” is no range")
    return found


def _numbers(written: str) -> tuple[int, int, int]:
    match = _VERSION.match(written)
    if match is None:
        raise RangeError(f"“{written}” is no version")
    major, minor, patch, *_ = [*map(int, match["numbers"].split(".")), 0, 0]
    return major, minor, patch


def _tag_of(numbers: tuple[int, int, int]) -> str:
    """The expression of all tags that are this version: what is zero at the end may be left out."""
    major, minor, patch = (f"0*{number}" if number else "0+" for number in numbers)
    if numbers[2]:
        return rf"v?{major}\.{minor}\.{patch}"
    if numbers[1]:
        return rf"v?{major}\.{minor}(?:\.{patch})?"
    return rf"v?{major}(?:\.{minor}(?:\.{patch})?)?"
