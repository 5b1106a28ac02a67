"""The rule of `image-syncer copy`."""

from __future__ import annotations

import pytest

from image_syncer.config.rules import rule_from_arguments
from image_syncer.errors import ConfigurationError
from image_syncer.oci import parse_platform


@pytest.mark.parametrize(
    ("source", "destination", "pairs"),
    [
        ("nginx", "r.io/x", ["docker.io/library/nginx:latest -> r.io/x:latest"]),
        ("nginx", "r.io/x:1", ["docker.io/library/nginx:latest -> r.io/x:1"]),
        ("a.io/b:1,2", "r.io/x:p,q", ["a.io/b:1 -> r.io/x:p", "a.io/b:2 -> r.io/x:q"]),
    ],
)
def test_a_rule(source, destination, pairs):
    rule = rule_from_arguments(source, destination, all_tags=False, platforms=())
    assert [f"{source} -> {target}" for source, target in rule.pairs()] == pairs


def test_all_tags_and_platforms():
    rule = rule_from_arguments("nginx", "r.io/x", all_tags=True, platforms=["linux/arm64", "linux/aarch64"])
    assert rule.tags.needs_listing
    assert rule.platforms == (parse_platform("linux/arm64"),)


def test_every_mistake_is_told():
    with pytest.raises(ConfigurationError) as caught:
        rule_from_arguments("nginx:1", "http://r.io/x", all_tags=True, platforms=["linux"])
    assert [problem.key for problem in caught.value.problems] == ["--platform", "SRC", "DST"]
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("source", "destination", "all_tags", "key"),
    [("nginx", "r.io/x:1,2", False, "DST"), ("nginx", "r.io/x:1", True, "DST"), ("ngi nx", "r.io/x", False, "SRC")],
)
def test_mistakes(source, destination, all_tags, key):
    with pytest.raises(ConfigurationError) as caught:
        rule_from_arguments(source, destination, all_tags=all_tags, platforms=())
    assert [problem.key for problem in caught.value.problems] == [key]
