"""The `tags` of dregsy's mappings: tags and digests that are written out, and conditions on those that are listed.

What is chosen by one of them is pruned by every `keep:`, tags that are written out as well as others
(https://github.com/xelalexv/dregsy/blob/master/internal/pkg/tags/tagset.go, Expand).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from image_syncer.config.automaton import automaton_of
from image_syncer.config.converters.foreign_ranges import ForeignRange, RangeError, by_precedence
from image_syncer.config.converters.foreign_regexes import anchored_where_it_is_not, in_portions
from image_syncer.config.converters.foreign_tags import Choice
from image_syncer.config.regex import RegexError, translate_regex
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["DregsyTags", "UnsaidError", "read_dregsy_tags"]

_NEWEST = "latest "
_DIGEST = "sha256:"
_SHORT_WITH_END = "^v?[0-9]+(?:\\.[0-9]+)?-"
"""A prerelease of a version of fewer than three numbers, which is no version there (ParseTolerant of blang/semver)."""


class UnsaidError(ValueError):
    """A condition that our format cannot express; says which."""


class DregsyTags(Struct):
    """`written`: what stands behind the repository at the source and at the destination, for what needs no list;
    `exact` are the tags among it. `choices`: conditions of which one is enough. `differences`: what is not quite the
    same here, for people.
    """

    written: list[tuple[str, str]] = field(default_factory=list)
    exact: list[str] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)


def read_dregsy_tags(items: list[str]) -> DregsyTags:
    """What the items mean together. Raises UnsaidError."""
    found = DregsyTags()
    kinds: dict[str, list[str]] = {"semver": [], "regex": [], "keep": [], "js": []}
    for item in items:
        kind, colon, text = item.partition(":")
        if colon and kind in kinds:
            kinds[kind].append(text.strip())
        elif _DIGEST in item:
            tag, _, digest = item.rpartition("@")
            found.written.append((f"@{digest}", f":{tag}" if tag else ""))
        else:
            found.exact.append(item)
    if kinds["js"]:
        raise UnsaidError("tags that a program chooses (js:)")
    wants_all = not (found.exact or found.written or kinds["semver"] or kinds["regex"])
    written, found.exact = found.exact, _kept(dict.fromkeys(found.exact), kinds["keep"])
    if written and not found.exact:
        found.differences.append("`keep:` leaves none of the tags that are written out")
    if found.exact:
        found.written.insert(0, (f":{','.join(found.exact)}", ""))
    found.choices = [Choice()] if wants_all else [*_of_ranges(kinds["semver"]), *_of_regexes(kinds["regex"])]
    _prune(found, kinds["keep"], is_of_versions=bool(kinds["semver"]) and not kinds["regex"])
    return found


def _of_ranges(texts: list[str]) -> list[Choice]:
    try:
        ranges = [one for text in texts for one in by_precedence(text)]
    except RangeError as error:
        raise UnsaidError(f"the range of versions: {error}") from None
    return [Choice(within=one, without=(_SHORT_WITH_END,)) for one in ranges]


def _of_regexes(texts: list[str]) -> list[Choice]:
    wanted = [anchored_where_it_is_not(text) for text in texts if not text.startswith("!")]
    inverted = [anchored_where_it_is_not(text[1:]) for text in texts if text.startswith("!")]
    joined = [Choice(regex="|".join(portion)) for portion in in_portions(wanted)]
    return joined + [Choice(without=(expression,)) for expression in inverted]


def _kept(tags: Iterable[str], keeps: list[str]) -> list[str]:
    """Those of the tags that are written out which every `keep:` leaves."""
    kept = list(tags)
    for text in keeps:
        if text.startswith(_NEWEST):
            continue
        try:
            expression = automaton_of(translate_regex(anchored_where_it_is_not(text.removeprefix("!"))))
        except RegexError as error:
            raise UnsaidError(f"tags that match {text}: {error}") from None
        kept = [tag for tag in kept if expression.search(tag) is not text.startswith("!")]
    return kept


def _prune(found: DregsyTags, keeps: list[str], *, is_of_versions: bool) -> None:
    """Narrow the choices by what every tag has to match, and by how many are kept."""
    newest = [text.removeprefix(_NEWEST).strip() for text in keeps if text.startswith(_NEWEST)]
    filters = [text for text in keeps if not text.startswith(_NEWEST)]
    wanted = [anchored_where_it_is_not(text) for text in filters if not text.startswith("!")]
    without = tuple(anchored_where_it_is_not(text[1:]) for text in filters if text.startswith("!"))
    if wanted and (len(wanted) > 1 or any(choice.regex for choice in found.choices)):
        raise UnsaidError("tags that have to match two expressions at once")
    if wanted:
        found.choices = [replace(choice, regex=wanted[0]) for choice in found.choices]
    if without:
        found.choices = [replace(choice, without=(*choice.without, *without)) for choice in found.choices]
    if not newest:
        return
    if not found.choices:
        raise UnsaidError("the newest of tags that are written out")
    if not newest[-1].isdigit() or len(found.choices) > 1:
        raise UnsaidError("the newest of several choices together")
    if not is_of_versions:
        found.differences.append(
            "tags that are no versions are not kept beside the newest; name them, or leave `newest`"
        )
        found.choices = [replace(choice, within=ForeignRange("*", prereleases=True)) for choice in found.choices]
    if found.exact:
        found.differences.append("tags that are written out do not count among the newest")
    found.choices = [replace(choice, newest=int(newest[-1])) for choice in found.choices]
