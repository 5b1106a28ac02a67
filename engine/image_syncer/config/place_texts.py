"""Sources and destinations that are no registry, as they are written: `oci:DIR:TAG`, `oci-archive:FILE:TAG`.

After the second colon stands what stands after the registry elsewhere: `repository:tag`, or a tag alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.config.findings import shown
from image_syncer.config.rule_error import RuleError
from image_syncer.oci import InvalidReference, is_tag, parse_reference, split_place

if TYPE_CHECKING:
    from image_syncer.oci import PlaceText, Reference

__all__ = ["PlaceTags", "place_of", "read_place_tags"]

PlaceTags = tuple["Reference", tuple[str, ...], "str | None"]
"""What a text names: its repository (and digest), the tags, and a regular expression for tags."""


def place_of(text: str, *, is_source: bool) -> PlaceText | None:
    """The parts of a text that names a place; None where it names none. Raises RuleError for what has no path, and for
    a place that cannot be on that side.
    """
    place = split_place(text)
    if place is None:
        return None
    if place.kind == "bundle":
        raise RuleError(f"“{shown(text)}” is a bundle", "bring it with image-syncer import")
    if place.kind == "docker-archive" and not is_source:
        raise RuleError(f"“{shown(text)}”: archives of docker are read, and not written", "write oci-archive:FILE")
    if not place.path:
        raise RuleError(f"“{shown(text)}” has no path", f"write {place.kind}:PATH, or {place.kind}:PATH:TAG")
    if not place.path.isprintable():
        raise RuleError(f"“{shown(text)}” has a path that cannot be shown", "rename it")
    return place


def read_place_tags(place: PlaceText, text: str) -> PlaceTags:
    """What stands after the second colon: a repository, tags, a digest, a regular expression. Raises RuleError."""
    head, separator, regex = place.rest.partition(":/")
    if place.rest.startswith("/"):
        head, separator, regex = "", "/", place.rest[1:]
    if separator:
        if not regex.endswith("/") or place.digest is not None:
            raise RuleError("the regular expression does not end with a slash", f"write {place.registry}:/expression/")
        # The colon at its end says that a name without a slash is a repository.
        return _parse(f"{place.registry}:{head}:" if head else place.registry), (), regex[:-1]
    first, *more = place.rest.split(",")
    digest = f"@{place.digest}" if place.digest is not None else ""
    reference = _parse(f"{place.registry}:{first}{digest}")
    if more and (reference.tag is None or reference.digest is not None):
        raise RuleError(f"a comma in “{shown(text)}”, where there is no tag", "write oci:DIR:repo:t1,t2")
    for tag in more:
        if not is_tag(tag):
            raise RuleError(f"“{shown(tag)}” is not a tag", "write tags as oci:DIR:repo:t1,t2")
    return reference, (*(() if reference.tag is None else (reference.tag,)), *more), None


def _parse(text: str) -> Reference:
    try:
        return parse_reference(text)
    except InvalidReference as error:
        raise RuleError(str(error)) from None
