"""Policies for tags that have other content at the destination."""

from __future__ import annotations

import pytest

from image_syncer.config import ConflictPolicy, OnConflict, parse_on_conflict


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("overwrite", OnConflict()),
        ("skip", OnConflict(ConflictPolicy.SKIP)),
        ("fail", OnConflict(ConflictPolicy.FAIL)),
        ("backup", OnConflict(ConflictPolicy.BACKUP, "{tag}-{digest}")),
        ("backup:old-{tag}_{date}.{time}", OnConflict(ConflictPolicy.BACKUP, "old-{tag}_{date}.{time}")),
    ],
)
def test_policies(text: str, policy: OnConflict) -> None:
    assert parse_on_conflict(text) == policy
    assert parse_on_conflict(str(policy)) == policy


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "none of overwrite"),
        ("Skip", "none of overwrite"),
        ("skip:x", "skip takes no tag"),
        ("backup:", "the tag needs"),
        ("backup:old", "the tag needs"),
        ("backup:{date}", "the tag needs"),
        ("backup:{tag}", "would be the one that is overwritten"),
        ("backup:{tag}{name}", "in the tag can stand"),
        ("backup:{tag!r}", "in the tag can stand"),
        ("backup:{tag}}", "in the tag can stand"),
        ("backup:{tag", "in the tag can stand"),
        ("backup:-{tag}", "makes no tag"),
        ("backup:{tag}:x", "makes no tag"),
    ],
)
def test_mistakes(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        parse_on_conflict(text)


def test_the_name_of_a_backup() -> None:
    policy = parse_on_conflict("backup:{tag}-{digest}")
    assert policy.name_backup(tag="v1", digest="abc", date="", time="") == "v1-abc"
    with pytest.raises(ValueError, match="is no tag"):
        policy.name_backup(tag="v" * 120, digest="0" * 12, date="", time="")
