"""Where a registry does otherwise than its kind."""

from __future__ import annotations

from dataclasses import replace

from image_syncer.doctor.checks import find_differences
from image_syncer.registry import GENERIC


def test_what_either_does_not_say_contradicts_nothing() -> None:
    assert find_differences(GENERIC, {"mount": False, "patch_pieces": True, "head_manifest": False}) == []
    assert find_differences(replace(GENERIC, takes_pieces=False), {}) == []


def test_a_contradiction_is_told_either_way() -> None:
    profile = replace(GENERIC, heads_manifests=False, mounts_from_itself=True)
    assert find_differences(profile, {"head_manifest": True, "mount": False, "cancel": False}) == [
        "answers HEAD for manifests, as that kind does not",
        "does not do what that kind does: it mounts a blob of the same repository",
        "does not do what that kind does: it lets an upload be given up",
    ]


def test_what_works_with_a_few_bytes_may_not_with_many() -> None:
    assert find_differences(replace(GENERIC, takes_pieces=False), {"patch_pieces": True}) == []
    assert find_differences(replace(GENERIC, takes_pieces=True), {"patch_pieces": False}) == [
        "does not do what that kind does: it takes a blob in pieces"
    ]
