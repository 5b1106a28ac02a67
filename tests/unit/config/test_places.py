"""Sources and destinations that are no registry, in files and on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.config import SOLE_IMAGE
from image_syncer.config.loader import load_configuration
from image_syncer.config.rules import rule_from_arguments
from image_syncer.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from image_syncer.config import Configuration


def load(tmp_path: Path, rules: str) -> Configuration:
    path = tmp_path / "rules.yaml"
    path.write_text(f"version: 2\nrules:\n{rules}")
    return load_configuration(config=str(path), environ={"DATA": "/srv"})


def pairs(tmp_path: Path, source: str, destination: str, listed: tuple[str, ...] = ("1.0", "2.0")) -> list[str]:
    [rule] = load(tmp_path, f"- source: '{source}'\n  destination: '{destination}'\n").rules
    return [f"{one} {other}".replace(str(tmp_path), "HERE") for one, other in rule.pairs(listed)]


@pytest.mark.parametrize(
    ("source", "destination", "wanted"),
    [
        ("oci:/m:1.0", "r.io/app", ["oci:/m:1.0 r.io/app:1.0"]),
        ("oci:m:1.0", "r.io/app:x", ["oci:HERE/m:1.0 r.io/app:x"]),
        ("oci:m", "r.io/app", ["oci:HERE/m:1.0 r.io/app:1.0", "oci:HERE/m:2.0 r.io/app:2.0"]),
        ("oci:m:1.0,2.0", "r.io/app:a,b", ["oci:HERE/m:1.0 r.io/app:a", "oci:HERE/m:2.0 r.io/app:b"]),
        ("oci:m:/^2/", "r.io/app", ["oci:HERE/m:2.0 r.io/app:2.0"]),
        ("oci:/m:a/b:/^2/", "r.io/app", ["oci:/m:a/b:2.0 r.io/app:2.0"]),
        ("oci:/m:app:/^2/", "r.io/app", ["oci:/m:app:2.0 r.io/app:2.0"]),
        ("oci:/m:a/b:1,2", "oci:/n", ["oci:/m:a/b:1 oci:/n:1", "oci:/m:a/b:2 oci:/n:2"]),
        ("r.io/app:1", "oci:out:a/b", ["r.io/app:1 oci:HERE/out:a/b:1"]),
        ("r.io/app:1", "oci:out:x", ["r.io/app:1 oci:HERE/out:x"]),
        ("r.io/app:1", "oci:out:app:", ["r.io/app:1 oci:HERE/out:app:1"]),
        ("r.io/app:1", "oci-archive:out.tar", ["r.io/app:1 oci-archive:HERE/out.tar:1"]),
        ("docker-archive:a.tar:app:1", "r.io/app", ["docker-archive:HERE/a.tar:app:1 r.io/app:1"]),
        ("r.io/app:1", "oci:${DATA}/out", ["r.io/app:1 oci:/srv/out:1"]),
    ],
)
def test_paths_are_meant_from_the_file(tmp_path: Path, source: str, destination: str, wanted: list[str]) -> None:
    assert pairs(tmp_path, source, destination) == wanted


def test_the_go_tools_map_takes_them_too(tmp_path: Path) -> None:
    path = tmp_path / "images.yaml"
    path.write_text("oci:m:1.0: r.io/app\nr.io/other:1: [oci:m, r.io/third]\n")
    rules = load_configuration(images=str(path), environ={}).rules
    assert [str(one) for rule in rules for pair in rule.pairs() for one in pair] == [
        *(f"oci:{tmp_path}/m:1.0", "r.io/app:1.0"),
        *("r.io/other:1", f"oci:{tmp_path}/m:1"),
        *("r.io/other:1", "r.io/third:1"),
    ]


@pytest.mark.parametrize(
    ("source", "destination", "name", "wanted"),
    [
        ("oci:m:**", "r.io/x/**", "a/b", ("oci:HERE/m:a/b", "r.io/x/a/b")),
        ("oci:m:team-*/**", r"oci:n:\1/\2", "team-a/app", ("oci:HERE/m:team-a/app", "oci:HERE/n:a/app")),
        ("r.io/**", "oci:n:**", "app", ("r.io/app", "oci:HERE/n:app:")),
        ("r.io/**", "oci:n:mirror/**", "app", ("r.io/app", "oci:HERE/n:mirror/app")),
    ],
)
def test_patterns(tmp_path: Path, source: str, destination: str, name: str, wanted: tuple[str, str]) -> None:
    [catalog] = load(tmp_path, f"- source: '{source}'\n  destination: '{destination}'\n").catalogs
    rule = catalog.rule_for(name)
    assert rule is not None
    found = (str(rule.source), *(str(each.repository) for each in rule.destinations))
    assert tuple(text.replace(str(tmp_path), "HERE") for text in found) == wanted


@pytest.mark.parametrize(
    ("source", "destination", "words"),
    [
        ("oci:", "r.io/x", "has no path"),
        ("oci:m:UP/x", "r.io/x", "not the name of a repository"),
        ("oci:m:a/b,c", "r.io/x", "a comma"),
        ("oci:m:/x", "r.io/x", "does not end with a slash"),
        ("oci:m:/[/", "r.io/x", "expression"),
        ("r.io/x:1", "docker-archive:x.tar", "write oci-archive:FILE"),
        ("r.io/x:1", "oci:m:/1/", "regular expression"),
        ("bundle:/x:1", "r.io/x", "image-syncer import"),
        ("oci:m:**", "r.io/x", "write r.io/x/**"),
        ("oci:m:**:1", "r.io/**", "fits no repository"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, source: str, destination: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, f"- source: '{source}'\n  destination: '{destination}'\n")
    assert words in str(caught.value)


def arguments(source: str, destination: str, **more: Any) -> list[str]:
    rule = rule_from_arguments(source, destination, all_tags=False, platforms=(), directory="/here", **more)
    return [str(one) for pair in rule.pairs() for one in pair]


def test_a_copy_takes_paths_from_where_it_is_called() -> None:
    assert arguments("oci:m:1.0", "oci:../n:a/b:2") == ["oci:/here/m:1.0", "oci:/here/../n:a/b:2"]
    assert arguments("oci:m:a/b", "r.io/x") == ["oci:/here/m:a/b:latest", "r.io/x:latest"]


def test_a_copy_of_a_place_without_a_name_means_its_one_image() -> None:
    rule = rule_from_arguments("oci:m", "r.io/x:1", all_tags=False, platforms=(), directory="/here")
    assert rule.tags.names == SOLE_IMAGE
    assert rule_from_arguments("oci:m", "r.io/x", all_tags=True, platforms=()).tags.names == ()
