"""Which kind of registry it is taken for, by what mark, and where it does otherwise than that kind is said to do."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from image_syncer.doctor.check import Check, fine, warned
from image_syncer.registry import GENERIC

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.doctor.examined import Subject
    from image_syncer.registry import Headers, Profile

__all__ = ["find_differences", "find_mark", "probe_profile"]

_COMPARED = (
    ("head_manifest", "heads_manifests", "tells of manifests by HEAD"),
    ("mount", "mounts_from_itself", "mounts a blob of the same repository"),
    ("patch_pieces", "takes_pieces", "takes a blob in pieces"),
    ("cancel", "cancels_uploads", "lets an upload be given up"),
)
"""What a probe learns, the field of a profile that says it beforehand, and both in words."""
_SEEN_IN_SMALL = frozenset({"patch_pieces"})
"""Where it works with the few bytes that are tried, it may not with the many of a run."""
_REPORT = "Please report it: what image-syncer knows of this kind of registry may be out of date."


async def probe_profile(examined: Subject) -> Check:
    """The profile that a run has for this registry, and what differs from it."""
    profile, mark = examined.profile, examined.learnt.recognised_by or f"by the host {examined.registry}"
    if examined.registries.host_settings(examined.registry).profile is not None:
        mark = "as the auth file says"
    facts: dict[str, Any] = {"profile": profile.name, "learnt": dict(examined.learnt.facts)}
    differences = find_differences(profile, examined.learnt.facts)
    facts["differences"] = differences
    if profile is GENERIC:
        return fine(f"of no kind that is known: {profile.title}", **facts)
    what = f"{profile.title}, {mark}"
    if differences:
        return warned(f"{what}; but it {'; it '.join(differences)}", _REPORT, **facts)
    return fine(what, **facts)


def find_differences(profile: Profile, learnt: Mapping[str, Any]) -> list[str]:
    """Where what was `learnt` contradicts `profile`, in words; what either does not say contradicts nothing."""
    found = []
    for fact, field, words in _COMPARED:
        told, seen = getattr(profile, field, None), learnt.get(fact)
        if not isinstance(told, bool) or not isinstance(seen, bool) or told is seen:
            continue
        if not seen or fact not in _SEEN_IN_SMALL:
            found.append(f"{words}, as that kind does not" if seen else f"does not do what that kind does: it {words}")
    return found


def find_mark(profile: Profile, headers: Headers) -> str | None:
    """The mark of `profile` that an answer has, in words; None where it has none."""
    for mark in profile.marks:
        if any(fnmatchcase(value.lower(), mark.value) for value in headers.get_all(mark.header)):
            return f"by its header {mark.header}"
    return None
