"""Rules: from the texts of a source and its destinations to a `Rule`, with every condition on counts and digests.

The forms are those of the Go tool's README, "Image sync configuration file".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from image_syncer.config.findings import has_userinfo, shown
from image_syncer.config.model import Destination
from image_syncer.config.place_texts import place_of, read_place_tags
from image_syncer.config.regex import RegexError, translate_regex
from image_syncer.config.rule_error import RuleError
from image_syncer.config.tag_selection import TagSelection
from image_syncer.oci import InvalidReference, is_tag, parse_reference

if TYPE_CHECKING:
    from image_syncer.oci import Reference, Repository

__all__ = [
    "RuleError",
    "check_destination",
    "check_globs",
    "parse_destination",
    "parse_expression",
    "parse_regex",
    "parse_source",
]

_REGEX_START = ":/"
_SCHEME = re.compile(r"[a-z]+://", re.IGNORECASE)
_BLANK = re.compile(r"\s")
_GLOB = re.compile(r"(?:[\w.-]|[*?]|\[!?[\w.-]+\])+", re.ASCII)


def parse_source(text: str) -> tuple[Repository, TagSelection]:
    """What a source means: `repo` (all tags), `repo:tag`, `repo:t1,t2`, `repo@digest` or `repo:/regex/`.

    Raises RuleError.
    """
    place = place_of(text, is_source=True)
    if place is not None:
        reference, tags, regex = read_place_tags(place, text)
        if regex is not None:
            return reference.repository, TagSelection(regex=parse_regex(regex))
        if reference.digest is not None:
            return reference.repository, TagSelection(digest=reference.digest)
        return reference.repository, TagSelection(names=tags)
    _check_form(text, "source")
    head, separator, regex = text.partition(_REGEX_START)
    if separator:
        if not regex.endswith("/"):
            raise RuleError("the regular expression does not end with a slash", "write repo:/expression/")
        reference = _parse(head)
        if reference.tag is not None or reference.digest is not None:
            raise RuleError("a regular expression, and a tag or digest before it", "leave one of them out")
        return reference.repository, TagSelection(regex=parse_regex(regex[:-1]))
    reference, tags = _parse_tags(text)
    if reference.digest is not None:
        return reference.repository, TagSelection(digest=reference.digest)
    return reference.repository, TagSelection(names=tags)


def parse_destination(text: str) -> Destination:
    """What a destination means: `repo`, `repo:tag`, `repo:t1,t2` or `repo@digest`. Raises RuleError."""
    place = place_of(text, is_source=False)
    regex: str | None = None
    if place is not None:
        reference, tags, regex = read_place_tags(place, text)
    else:
        _check_form(text, "destination")
        if _REGEX_START in text:
            regex = text
        else:
            reference, tags = _parse_tags(text)
    if regex is not None:
        raise RuleError("a destination cannot have a regular expression", "leave out :/…/, the tags stay the same")
    if reference.digest is not None:
        return Destination(reference.repository, digest=reference.digest)
    return Destination(reference.repository, tags=tags)


def parse_regex(text: str) -> str:
    """A regular expression for tags, in Python's spelling. Raises RuleError."""
    if "/,/" in text:
        raise RuleError("several regular expressions", "write one, with the alternatives joined by |")
    if "/" in text:
        raise RuleError("a regular expression with a slash, which no tag has", "leave the slash out")
    return parse_expression(text)


def parse_expression(text: str) -> str:
    """A regular expression, in Python's spelling. Raises RuleError."""
    try:
        return translate_regex(text)
    except RegexError as error:
        raise RuleError(
            f"the regular expression cannot be used: {error}", "see https://golang.org/s/re2syntax"
        ) from None


def check_globs(globs: tuple[str, ...]) -> None:
    """Refuse a glob that no tag can match. Raises RuleError."""
    for glob in globs:
        if not (_GLOB.fullmatch(glob) if re.search(r"[*?\[]", glob) else is_tag(glob)):
            raise RuleError(
                f"“{shown(glob)}” matches no tag",
                "write a tag, or a pattern with *, ? and [abc], in a list if there are several",
            )


def check_destination(selection: TagSelection, destination: Destination) -> None:
    """The conditions between a source and a destination. Raises RuleError."""
    if destination.digest is not None:
        if selection.digest is None:
            raise RuleError(
                "the destination has a digest, and the source has none",
                "leave it out, or write the source with the same digest",
            )
        if selection.digest != destination.digest:
            raise RuleError(
                f"the digests differ: the source has {selection.digest.short}, the destination "
                f"{destination.digest.short}",
                "a digest stays what it is: leave it out at the destination, or write a tag",
            )
        return
    if not destination.tags:
        return
    if selection.needs_listing:
        raise RuleError(
            "the destination has tags, and how many tags the source has is not known",
            "leave the tags out at the destination, or name those of the source one by one",
        )
    count = 1 if selection.digest is not None else len(selection.select(()))
    if count != len(destination.tags):
        raise RuleError(
            f"the source has {_counted(count, selection)}, the destination {_counted(len(destination.tags))}",
            "write as many at the destination, from left to right, or none",
        )


def _counted(count: int, selection: TagSelection | None = None) -> str:
    if selection is not None and selection.digest is not None:
        return "one digest"
    return "1 tag" if count == 1 else f"{count} tags"


def _check_form(text: str, side: str) -> None:
    if not text:
        raise RuleError(f"the {side} is empty", "write a repository, such as quay.io/org/app")
    if has_userinfo(text):
        raise RuleError(
            f"an @ in the {side}, and no digest after it",
            "write a digest as sha256:… in full; user names and passwords go into the auth file",
        )
    if _SCHEME.match(text):
        raise RuleError(
            f"the {side} “{shown(text)}” is a URL",
            "leave out the scheme; `insecure` in the auth file allows plain HTTP",
        )
    if _BLANK.search(text):
        raise RuleError(f"the {side} “{shown(text)}” holds blanks", "write tags without blanks: repo:v1,v2")


def _parse(text: str) -> Reference:
    try:
        return parse_reference(text)
    except InvalidReference as error:
        raise RuleError(str(error)) from None


def _parse_tags(text: str) -> tuple[Reference, tuple[str, ...]]:
    head, *more = text.split(",")
    reference = _parse(head)
    if more and reference.digest is not None:
        raise RuleError("more than one digest", "write one rule for each")
    if more and reference.tag is None:
        raise RuleError(f"a comma in “{shown(text)}”, where there is no tag", "write repo:t1,t2")
    for tag in more:
        if not is_tag(tag):
            raise RuleError(f"“{shown(tag)}” is not a tag", "write tags as repo:t1,t2, without the repository again")
    first = () if reference.tag is None else (reference.tag,)
    return reference, (*first, *more)
