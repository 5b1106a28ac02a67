"""Versions: which tags are meant by a range of semantic versions, and which are the newest of them.

A tag is a version with or without `v` in front, with one number or more (`1`, `v1.20`, `1.20.3-rc.1`). The ranges are
those of npm (https://github.com/npm/node-semver#ranges): `>=1.20 <2`, `^1.2`, `~1.2.3`, `1.x`, `1.2 - 1.5`, `||`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from functools import lru_cache, partial, reduce
from typing import TYPE_CHECKING, Any

from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from semantic_version import NpmSpec, Version

__all__ = ["VersionError", "VersionSelection", "check_range"]

_VERSION = re.compile(
    r"v?([0-9]{1,20})(?:\.([0-9]{1,20})(?:\.([0-9]{1,20}))?)?(?P<rest>[-+][0-9A-Za-z.+-]+)?", re.ASCII
)
_SPACED = re.compile(r"(?<=[<>=~^])\s+", re.ASCII)
_COMMA = re.compile(r"\s*,\s*", re.ASCII)
"""Between two conditions, as pip, Cargo and Helm have it."""
_LED = re.compile(r"(?<![0-9A-Za-z.+*-])[vV](?=[0-9])", re.ASCII)
"""The v in front of a version, which tags and npm have and the library does not take behind an operator."""
MAX_RANGE_CHARACTERS = 200


_Release = tuple[int, int, int]
"""Major, minor, patch."""
_NEVER_AND_ALWAYS = ("==", "!=")
_MIRRORED: dict[str, Callable[[_Release, _Release], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.gt,
    "<=": operator.ge,
    ">": operator.lt,
    ">=": operator.le,
}
"""Operators of the library, with what they compare to on the left."""
_Test = Callable[[_Release], bool]


class VersionError(ValueError):
    """A range that cannot be understood; says what is wrong."""


class VersionSelection(Value, frozen=True):
    """Of the tags that are versions, those in `within` (None: all); a prerelease only with `prereleases`, where it
    counts as the version that it leads to. With `newest`, only so many of them: the highest.

    `suffix` stands behind the version in every tag that is meant ("-alpine"), and is no part of it.
    """

    within: str | None = None
    prereleases: bool = False
    newest: int | None = None
    suffix: str = ""

    def select(self, tags: Iterable[str]) -> list[str]:
        """Those of `tags` that are meant, in their order. With `newest`, `tags` has to be all there are, or the newest
        of some and all of the others.
        """
        found = [(version, tag) for tag in tags if (version := self._version_of(tag)) is not None]
        if self.newest is None or len(found) <= self.newest:
            return [tag for _, tag in found]
        if not all(isinstance(version, tuple) for version, _ in found):
            found = [(_whole(version), tag) for version, tag in found]
        # Of equal versions the longer tag is the newer: 1.20.0 says more than 1.20.
        kept = set(sorted(found, key=lambda one: (one[0], len(one[1]), one[1]))[-self.newest :])
        return [tag for version, tag in found if (version, tag) in kept]

    def explain(self, tag: str) -> tuple[bool, str]:
        """Whether `tag` is such a version, and in a sentence why, or why not; `newest` is left aside."""
        if not tag.endswith(self.suffix):
            return False, f"suffix: the tag does not end with “{self.suffix}”"
        version = _parse(tag[: len(tag) - len(self.suffix)])
        if version is None:
            return False, "versions: the tag is no version"
        if version.prerelease and not self.prereleases:
            return False, "prereleases: the tag is a prerelease, and these are left out"
        if self._holds(version):
            return True, "versions: the tag is a version" + (f" in {self.within}" if self.within else "")
        return False, f"versions: {version} is not in {self.within}"

    def _version_of(self, tag: str) -> _Release | Version | None:
        """Most tags are releases, and need no more than their numbers; the library is asked about the others."""
        if not tag.endswith(self.suffix):
            return None
        written = tag[: len(tag) - len(self.suffix)] if self.suffix else tag
        match = _VERSION.fullmatch(written)
        if match is None:
            return None
        rest: str | None = match["rest"]
        version: _Release | Version | None
        if rest is None:
            version = release = _numbers(match)
        elif rest[0] == "-" and not self.prereleases:
            return None
        else:
            version = _parse(written)
            if version is None or (version.prerelease and not self.prereleases):
                return None
            release = (version.major, version.minor, version.patch)
            if version.build and not version.prerelease:
                return version if self._holds(version) else None
        return version if self.within is None or _test_of(self.within)(release) else None

    def _holds(self, version: Version) -> bool:
        return self.within is None or bool(
            _range(self.within).match(version.truncate() if version.prerelease else version)
        )


def check_range(text: str) -> str:
    """The range that `text` is, in the spelling of `VersionSelection.within`. Raises VersionError."""
    tidy = _LED.sub("", _SPACED.sub("", _COMMA.sub(" ", text).strip()))
    if not tidy or len(tidy) > MAX_RANGE_CHARACTERS:
        raise VersionError("empty" if not tidy else f"longer than {MAX_RANGE_CHARACTERS} characters")
    try:
        _range(tidy)
    except (ValueError, AttributeError):  # the latter for “>=1 - 2”: the library takes each half for a version
        raise VersionError("no range of versions") from None
    return tidy


@lru_cache(maxsize=1024)
def _range(text: str) -> NpmSpec:
    from semantic_version import NpmSpec  # only where it is asked for

    return NpmSpec(text)


@lru_cache(maxsize=1024)
def _test_of(text: str) -> _Test:
    """Whether a release is in the range `text`: what `NpmSpec.match` says of it, at a tenth of the time."""
    return _test(_range(text).clause)


def _test(clause: Any) -> _Test:
    from semantic_version.base import AllOf, AnyOf, Range

    if isinstance(clause, AllOf | AnyOf) and clause.clauses:
        join = _both if isinstance(clause, AllOf) else _either
        return reduce(join, [_test(each) for each in clause.clauses])
    if not isinstance(clause, Range) or clause.target.build:
        return lambda release: bool(clause.match(_whole(release)))
    target, compare = clause.target, clause.operator
    if target.prerelease:  # which comes right before its release
        if compare in _NEVER_AND_ALWAYS:
            return lambda _release: compare == Range.OP_NEQ
        compare = {"<=": "<", ">": ">="}.get(compare, compare)
    return partial(_MIRRORED[compare], (target.major, target.minor, target.patch))


def _both(one: _Test, other: _Test) -> _Test:
    return lambda release: one(release) and other(release)


def _either(one: _Test, other: _Test) -> _Test:
    return lambda release: one(release) or other(release)


def _numbers(match: re.Match[str]) -> _Release:
    major, minor, patch, _ = match.groups()
    return int(major), int(minor or 0), int(patch or 0)


def _whole(version: _Release | Version) -> Version:
    from semantic_version import Version

    if not isinstance(version, tuple):
        return version
    major, minor, patch = version
    return Version(major=major, minor=minor, patch=patch)


def _parse(tag: str) -> Version | None:
    from semantic_version import Version

    match = _VERSION.fullmatch(tag)
    if match is None:
        return None
    try:
        return Version(".".join(map(str, _numbers(match))) + (match["rest"] or ""))
    except ValueError:  # such as 1.0-rc..1
        return None
