from __future__ import annotations

import pytest

from image_syncer.config.pruning import Pruning, is_backup, parse_share

OWN, OTHER = "0123456789ab", "ffffffffffff"
HEX = OWN + "0" * 52


@pytest.mark.parametrize(
    ("tag", "pattern", "expected"),
    [
        (f"v1-{OWN}", "{tag}-{digest}", True),
        (f"v1-{OTHER}", "{tag}-{digest}", False),  # made of another digest than it has: of somebody else
        ("v1-alpine", "{tag}-{digest}", False),
        (f"{OWN}", "{digest}", True),
        (f"{OWN}-{OWN}", "{digest}-{digest}", True),
        (f"{OWN}-{OTHER}", "{digest}-{digest}", False),
        ("v1.old.20260101", "{tag}.old.{date}", True),
        ("v1xold.20260101", "{tag}.old.{date}", False),  # a point is a point
        ("v1-20260101-120000", "{tag}-{date}-{time}", True),
        ("v1-2026", "{tag}-{date}", False),
    ],
)
def test_backups_are_recognised(tag: str, pattern: str, expected: bool) -> None:
    assert is_backup(tag, HEX, (pattern,)) is expected


@pytest.mark.parametrize(("text", "share"), [("20%", 0.2), ("0%", 0.0), ("100%", 1.0), ("2.5%", 0.025)])
def test_shares(text: str, share: float) -> None:
    assert parse_share(text) == share


@pytest.mark.parametrize("text", ["20", "%", "-1%", "101%", "1e2%", "20 %", "٢٠%"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(ValueError, match="is no share"):
        parse_share(text)


def test_why_a_tag_stays() -> None:
    wanted = Pruning(keep=("ci-*",))
    assert wanted.why_kept("ci-7", HEX) == "--prune-keep ci-*"
    assert wanted.why_kept(f"v1-{OWN}", HEX) == "it is a backup of --on-conflict backup"
    assert wanted.why_kept("v1", HEX) is None
    assert Pruning(keep_backups=False).why_kept(f"v1-{OWN}", HEX) is None
