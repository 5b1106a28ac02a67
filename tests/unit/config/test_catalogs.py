"""Catalog rules: which names a pattern means, and where they go."""

from __future__ import annotations

import pytest

from image_syncer.config import TagSelection
from image_syncer.config.loader import load_configuration
from image_syncer.errors import ConfigurationError
from image_syncer.oci import InvalidReference

NAMES = ["app", "team-a/app", "team-a/sub/app", "team-b/app", "team-b/cache", "scratch/x", "library/nginx"]


def load(tmp_path, text):
    path = tmp_path / "own.yaml"
    path.write_text(f"version: 2\nrules:\n{text}", encoding="utf-8")
    return load_configuration(config=str(path), environ={"MIRROR": "m.io"})


def places(tmp_path, source, destination, names=NAMES, **keys):
    """Where each name goes, by a rule with these texts."""
    more = "".join(f"\n  {key}: {value}" for key, value in keys.items())
    [rule] = load(tmp_path, f"- source: {source}\n  destination: {destination}{more}\n").catalogs
    found = {}
    for name in names:
        one = rule.rule_for(name)
        if one is not None:
            assert str(one.source) == f"r.io/{name}"
            found[name] = [str(target.repository) for target in one.destinations]
    return found


@pytest.mark.parametrize(
    ("source", "destination", "keys", "wanted"),
    [
        ("r.io/*", "m.io/**", {}, {"app": "m.io/app"}),
        ("r.io/*/app", "m.io/x/**", {}, {"team-a/app": "m.io/x/team-a/app", "team-b/app": "m.io/x/team-b/app"}),
        (
            "r.io/team-*/**",
            r"m.io/\2/\1",
            {"exclude": '["**/cache"]'},
            {
                "team-a/app": "m.io/app/a",
                "team-a/sub/app": "m.io/sub/app/a",
                "team-b/app": "m.io/app/b",
            },
        ),
        (
            "r.io/team-?/**",
            "m.io/**",
            {"flatten": '"-"'},
            {
                "team-a/app": "m.io/team-a-app",
                "team-a/sub/app": "m.io/team-a-sub-app",
                "team-b/app": "m.io/team-b-app",
                "team-b/cache": "m.io/team-b-cache",
            },
        ),
        ("r.io/**", r"m.io/\1", {"match": "'team-([ab])/app'"}, {"team-a/app": "m.io/a", "team-b/app": "m.io/b"}),
        ("r.io/lib*/**", "${MIRROR}/**", {}, {"library/nginx": "m.io/library/nginx"}),
    ],
)
def test_where_names_go(tmp_path, source, destination, keys, wanted):
    assert places(tmp_path, source, destination, **keys) == {name: [place] for name, place in wanted.items()}


def test_several_destinations_and_all_else_that_a_rule_has(tmp_path):
    text = "- source: r.io/**\n  destination: [m.io/**, n.io/a/**]\n  platforms: linux/amd64\n  tags: {include: 'v*'}\n"
    [rule] = load(tmp_path, text).catalogs
    one = rule.rule_for("a/b")
    assert [str(target.repository) for target in one.destinations] == ["m.io/a/b", "n.io/a/a/b"]
    assert one.tags == TagSelection(include=("v*",))
    assert [str(platform) for platform in one.platforms] == ["linux/amd64"]
    assert one.origin == f"{tmp_path}/own.yaml:3"


def test_a_name_that_is_none(tmp_path):
    [rule] = load(tmp_path, "- source: r.io/**\n  destination: m.io/**\n").catalogs
    with pytest.raises(InvalidReference):
        rule.rule_for("UPPER/x")


def test_a_destination_that_is_none_once_it_is_filled_in(tmp_path):
    with pytest.raises(ValueError, match=r"app would go to m\.io/x-, which is no name"):
        places(tmp_path, "r.io/**", r"m.io/x-\1", match="'app()'")


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("- source: nginx-*\n  destination: m.io/**", ["“nginx-*” has a pattern, and does not begin with a registry"]),
        ("- source: '*.io/x'\n  destination: m.io/**", ["“*.io/x” has a pattern, and does not begin with a registry"]),
        ("- source: r.io/a*:v1\n  destination: m.io/**", ["“a*:v1” fits no repository"]),
        ("- source: r.io/*/*/*/*/*\n  destination: m.io/**", ["more than 4 * in a pattern"]),
        ("- source: r.io/**\n  destination: m.io/x", ["every repository that the pattern finds would go into m.io/x"]),
        (
            "- source: r.io/*\n  destination: m.io/\\2",
            ["\\2 in the destination, and the pattern has 1 parts that vary"],
        ),
        (
            "- source: r.io/*\n  destination: m.io/**:v1",
            ["“m.io/**:v1” is no destination for repositories that a pattern finds"],
        ),
        ("- source: r.io/*\n  destination: m.io/**\n  flatten: x", ["“x” cannot stand between two parts of a name"]),
        ("- source: r.io/a*\n  destination: m.io/**\n  match: b", ["`match`, and a pattern in the source"]),
        (
            "- source: r.io/**\n  destination: m.io/**\n  match: (",
            ["the regular expression cannot be used: missing ), unterminated subpattern (at character 1)"],
        ),
        ("- source: r.io/x\n  destination: m.io/x\n  exclude: y", ["`exclude`, and the source is one repository"]),
        ("- source: r.io/**", ["the rule has no destination"]),
        (
            "- source: r.io/**\n  destination: $M{/**",
            ["“$M{/**” is no destination for repositories that a pattern finds"],
        ),
        ("- source: r.io/**\n  destination: ${NO}/**", ["the environment variable NO is not set"]),
    ],
)
def test_mistakes(tmp_path, text, problems):
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text + "\n")
    assert [problem.what for problem in caught.value.problems] == problems
    assert all(problem.line for problem in caught.value.problems)
