"""Places that are no registry: a layout in a directory, an archive; written as skopeo writes them.

`oci:DIR[:NAME]`, `oci-archive:FILE[:NAME]`, `docker-archive:FILE[:NAME]`
(https://github.com/containers/image/blob/main/docs/containers-transports.5.md). The path ends at the first colon, so it
has none in it. What follows is the name of an image there: a tag alone, which skopeo writes, or `repository:tag`.

In references such a place stands where the registry stands, as `oci:/data/mirror`; the repository of names that are
tags alone has the empty name.
"""

from __future__ import annotations

import re
from functools import lru_cache

from image_syncer.values import Value

__all__ = ["PLACE_KINDS", "PlaceText", "is_place", "is_place_name", "split_place"]

PLACE_KINDS = ("oci", "oci-archive", "docker-archive", "bundle")
"""What stands before the first colon. A bundle has a full path, and is nothing that users write."""

_PREFIX = re.compile(r"(?P<kind>oci|oci-archive|docker-archive):|(?P<bundle>bundle):(?=/)")
_DIGEST = re.compile(r"@(?P<digest>(?:sha256|sha512):[0-9A-Fa-f]*)\Z")
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"(?:[A-Za-z0-9.-]{{1,253}}:[0-9]{{1,5}}/)?{_COMPONENT}(?:/{_COMPONENT})*")
_MAX_NAME = 255
_ASKED = 1024
"""Answers that are kept: it is asked of the registry of each blob, many times."""


class PlaceText(Value, frozen=True):
    """What a text names: the place, as a registry (`oci:/data/mirror`), and what follows the second colon; "" where
    nothing does. `digest` is what follows an @, not checked yet.
    """

    registry: str
    kind: str
    path: str
    rest: str
    digest: str | None


@lru_cache(_ASKED)
def is_place(text: str) -> bool:
    """Whether `text`, a reference or the registry of one, begins with the kind of a place."""
    return _PREFIX.match(text) is not None


def is_place_name(name: str) -> bool:
    """Whether `name` can be that of a repository at a place: as in references, and perhaps with a host and its port
    before it, which archives keep.
    """
    return len(name) <= _MAX_NAME and _NAME.fullmatch(name) is not None


def split_place(text: str) -> PlaceText | None:
    """The parts of a text that names a place; None where it names none. The path is "" where it is missing."""
    match = _PREFIX.match(text)
    if match is None:
        return None
    kind = match["kind"] or match["bundle"]
    found = _DIGEST.search(text, match.end())
    path, _, rest = text[match.end() : found.start() if found else len(text)].partition(":")
    path = _tidy(path)
    return PlaceText(f"{kind}:{path}", kind, path, rest, found["digest"] if found else None)


def _tidy(path: str) -> str:
    """One spelling of a path, without asking the file system: "a//./b/" is "a/b". What ".." means is for the system."""
    steps = [step for step in path.split("/") if step not in ("", ".")]
    tidy = "/".join(steps)
    if path.startswith("/"):
        return f"/{tidy}"
    return tidy or ("." if path else "")
