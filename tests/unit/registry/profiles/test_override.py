from __future__ import annotations

from dataclasses import replace

import pytest

from image_syncer.registry import PROFILES, Endpoint, Mounts
from image_syncer.registry.profiles.recognition import profile_from_text, profile_to_text


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_as_it_is_travels_by_its_name(name: str) -> None:
    assert profile_to_text(PROFILES[name]) == name
    assert profile_from_text(name) is PROFILES[name]


def test_what_was_set_otherwise_travels_with_the_name() -> None:
    mine = replace(PROFILES["ecr"], mounts=Mounts.ANYWHERE, piece_bytes=1, takes_pieces=False, page_size=0)
    assert profile_from_text(profile_to_text(mine)) == mine
    assert profile_to_text(replace(PROFILES["ecr"], mounts=Mounts.NOWHERE)) == "ecr"
    endpoint = Endpoint("r.example", "https://r.example", profile=mine)
    assert Endpoint.from_data(*endpoint.to_data()) == endpoint
