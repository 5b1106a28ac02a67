"""The key `profile` of a registry's entry."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from image_syncer.config.loader import load_registries
from image_syncer.errors import ConfigurationError
from image_syncer.registry import PROFILES, Mounts

if TYPE_CHECKING:
    from pathlib import Path

    from image_syncer.registry import Profile


def read(tmp_path: Path, text: str, registry: str = "r.example") -> Profile | None:
    path = tmp_path / "auth.yaml"
    path.write_text(text, encoding="utf-8")
    return load_registries(str(path), environ={}).registries.host_settings(registry).profile


def test_a_profile_is_named(tmp_path: Path) -> None:
    assert read(tmp_path, "r.example: {profile: harbor}\n") is PROFILES["harbor"]
    assert read(tmp_path, "r.example: {insecure: true}\n") is None


def test_the_first_of_the_entries_of_a_host_counts(tmp_path: Path) -> None:
    text = "r.example/a: {insecure: true}\nr.example/b: {profile: nexus}\nr.example: {profile: zot}\n"
    assert read(tmp_path, text) is PROFILES["nexus"]


def test_single_fields_are_set(tmp_path: Path) -> None:
    text = """
r.example:
  profile: {kind: ecr, mounts: same owner, takes_pieces: false, cancels_uploads: yes, piece_bytes: 8MiB,
            least_piece_bytes: 6MiB, page_size: 100, mounts_from_itself: no, keeps_partial: true,
            heads_manifests: false}
"""
    assert read(tmp_path, text) == replace(
        PROFILES["ecr"],
        mounts=Mounts.SAME_OWNER,
        takes_pieces=False,
        cancels_uploads=True,
        piece_bytes=8 << 20,
        least_piece_bytes=6 << 20,
        page_size=100,
        mounts_from_itself=False,
        keeps_partial=True,
        heads_manifests=False,
    )


def test_without_a_kind_the_host_tells(tmp_path: Path) -> None:
    text = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team: {profile: {mounts: anywhere}}\n"
    found = read(tmp_path, text, "123456789012.dkr.ecr.eu-west-1.amazonaws.com")
    assert found == replace(PROFILES["ecr"], mounts=Mounts.ANYWHERE)


@pytest.mark.parametrize(
    ("value", "key", "what"),
    [
        ("harbour", "", "“harbour” is no profile"),
        ("{kind: [a]}", " › kind", "a list, where one text is wanted"),
        ("{kind: harbour}", " › kind", "“harbour” is no profile"),
        ("{mounts: here}", " › mounts", "“here” does not say where mounts work"),
        ("{takes_pieces: 3}", " › takes_pieces", "3 is not a boolean"),
        ("{piece_bytes: 0}", " › piece_bytes", "0 is no size of a piece"),
        ("{page_size: 1001}", " › page_size", "1001 names at once are too many"),
        ("{hosts: r}", " › hosts", "unknown key"),
    ],
)
def test_what_is_no_profile_is_told_with_its_place(tmp_path: Path, value: str, key: str, what: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read(tmp_path, f"r.example: {{profile: {value}}}\n")
    [problem] = raised.value.problems
    assert (problem.line, problem.key, problem.what) == (1, f"r.example › profile{key}", what)


def test_a_name_that_is_none_is_answered_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read(tmp_path, "r.example: {profile: harbour}\n")
    assert raised.value.problems[0].mend == f"did you mean “harbor”? known are {', '.join(PROFILES)}"
