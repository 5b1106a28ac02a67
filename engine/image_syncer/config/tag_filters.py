"""Filters of tags: by semantic versions, and by the time at which their images were created.

A version is a tag with or without `v` in front, with one number or more (`1`, `v1.20`, `1.20.3-rc.1`). The ranges are
those of npm (https://github.com/npm/node-semver#ranges): `>=1.20 <2`, `^1.2`, `~1.2.3`, `1.x`, `1.2 - 1.5`, `||`.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial, reduce
from typing import TYPE_CHECKING, Any

from image_syncer.config.findings import RuleError, shown
from image_syncer.oci.manifest import parse_time
from image_syncer.patterns import lazy_pattern
from image_syncer.units import parse_duration
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from semantic_version import NpmSpec, Version

    from image_syncer.config.fields import Fields


CREATED_KEYS = ("newest", "after", "within")
"""Keys of `created`."""
_DATE = lazy_pattern(r"\d{4}-\d\d-\d\d", re.ASCII)


class CreatedSelection(Value, frozen=True):
    """Images created later than `after` (seconds since 1970) and at most `within_s` ago, and of these the `newest` so
    many; None: no such condition. An image without a creation time counts as the oldest.
    """

    newest: int | None = None
    after: float | None = None
    within_s: float | None = None

    def select(self, tags: Sequence[str], times: Mapping[str, float | None], now: float) -> list[str]:
        """Return the selected tags in their order. `times` has the creation time of each tag's image, `now` is the
        start of the run, both in seconds since 1970. Of equal times the later name counts as the newer.
        """
        bounds = [self.after] if self.after is not None else []
        bounds += [now - self.within_s] if self.within_s is not None else []
        dated = {tag: -math.inf if (time := times[tag]) is None else time for tag in tags}
        left = [tag for tag in tags if all(dated[tag] > bound for bound in bounds)]
        if self.newest is None or len(left) <= self.newest:
            return left
        kept = set(sorted(left, key=lambda tag: (dated[tag], tag))[-self.newest :])
        return [tag for tag in left if tag in kept]


def read_created(tags: Fields) -> CreatedSelection | None:
    """Return the selection of the key `created` of `tags`, None after an error. A warning names its cost."""
    fields = tags.fields("created", CREATED_KEYS)
    if fields is None:
        return None
    findings = fields.findings
    errors_before = len(findings.errors)
    after = fields.parsed("after", _parse_after)
    within_s = fields.parsed("within", _parse_within)
    selection = CreatedSelection(fields.count("newest"), after, within_s)
    if len(findings.errors) > errors_before:
        return None
    line, key = fields.line, fields.path
    if selection == CreatedSelection():
        findings.error(line, key, "no time is said", "write newest: 5, after: 2026-01-31 or within: 90d")
        return None
    findings.warn(
        line,
        key,
        "two or three requests for each tag that the other conditions leave, before the first image begins, and at "
        "Docker Hub each is a pull",
        "leave few: choose by include, regex or versions first",
    )
    return selection


def _parse_after(text: str) -> float:
    moment = parse_time(f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text)
    if moment is None:
        raise RuleError(f"“{shown(text)}” is no time", "write 2026-01-31 (UTC) or 2026-01-31T12:00:00Z")
    return moment


def _parse_within(text: str) -> float:
    with suppress(ValueError):
        if text[-1:].isalpha():  # a number alone would be seconds, where the user means days
            return parse_duration(text)
    raise RuleError(f"“{shown(text)}” is no time", "write such as 90d or 12h")


_VERSION = lazy_pattern(
    r"v?([0-9]{1,20})(?:\.([0-9]{1,20})(?:\.([0-9]{1,20}))?)?(?P<rest>[-+][0-9A-Za-z.+-]+)?", re.ASCII
)
_SPACED = lazy_pattern(r"(?<=[<>=~^])\s+", re.ASCII)
_COMMA = lazy_pattern(r"\s*,\s*", re.ASCII)
"""Between two conditions, as pip, Cargo and Helm have it."""
_LED = lazy_pattern(r"(?<![0-9A-Za-z.+*-])[vV](?=[0-9])", re.ASCII)
"""The v in front of a version, which tags and npm have; the library refuses it behind an operator."""
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
"""Operators of the library, for a release on the right of a bound."""
_Test = Callable[[_Release], bool]


class VersionSelection(Value, frozen=True):
    """Tags that are versions in `within` (None: all); a prerelease only with `prereleases`, where it counts as its
    release. With `newest`, only so many of them: the highest.

    `suffix` follows the version in every selected tag ("-alpine"), and is no part of it.
    """

    within: str | None = None
    prereleases: bool = False
    newest: int | None = None
    suffix: str = ""

    def select(self, tags: Iterable[str]) -> list[str]:
        """Return the selected tags in their order. With `newest`, `tags` must be all tags of the repository, or the
        newest of some and all others.
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
        """Return whether `tag` is such a version, and a sentence that says why; `newest` is ignored."""
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
        """Most tags are releases, of which the numbers are enough; the library parses the others."""
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
    """Return the range `text` in the spelling of `VersionSelection.within`. Raises RuleError."""
    tidy = _LED.sub("", _SPACED.sub("", _COMMA.sub(" ", text).strip()))
    why = f"longer than {MAX_RANGE_CHARACTERS} characters" if tidy else "empty"
    if 0 < len(tidy) <= MAX_RANGE_CHARACTERS:
        with suppress(ValueError, AttributeError):  # for “>=1 - 2”, where the library takes halves for versions
            _range(tidy)
            return tidy
        why = "no range of versions"
    raise RuleError(f"“{shown(text)}”: {why}", "write such as >=1.20 <2, ^1.2, 1.x, or * for every version")


@lru_cache(maxsize=1024)
def _range(text: str) -> NpmSpec:
    from semantic_version import NpmSpec  # only where it is asked for

    return NpmSpec(text)


@lru_cache(maxsize=1024)
def _test_of(text: str) -> _Test:
    """Return a test whether a release is in the range: `NpmSpec.match` at a tenth of the time."""
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
