"""A rule with several sources, `**` for the names of single ones, and `only`."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from image_syncer.config import Only
from image_syncer.config.explanation import explain_image
from image_syncer.config.loader import load_configuration
from image_syncer.config.schema import schema_text
from image_syncer.errors import ConfigurationError
from image_syncer.oci import parse_reference

SCHEMA = jsonschema.Draft202012Validator(json.loads(schema_text()))


def load(tmp_path: Path, rule: str):
    path = tmp_path / "images.yaml"
    path.write_text(f"version: 2\nrules:\n- {{{rule}}}\n", encoding="utf-8")
    return load_configuration(config=str(path), environ={"HOST": "d.io"})


def test_each_source_is_a_rule_with_all_other_keys(tmp_path):
    found = load(
        tmp_path,
        "source: [a.io/x, b.io/y/z, 'c.io/team/*'], destination: ['${HOST}/copy/**', e.io/**], "
        "platforms: linux/amd64, referrers: all, min_tags: 2, only: changed",
    )
    assert [str(rule.source) for rule in found.rules] == ["a.io/x", "b.io/y/z"]
    assert [[str(one.repository) for one in rule.destinations] for rule in found.rules] == [
        ["d.io/copy/x", "e.io/x"],
        ["d.io/copy/y/z", "e.io/y/z"],
    ]
    assert len({rule.group for rule in found.rules}) == 1
    assert found.rules[0].group is not None
    [catalog] = found.catalogs
    for rule in (*found.rules, catalog):
        assert [str(platform) for platform in rule.platforms] == ["linux/amd64"]
        assert (str(rule.referrers), rule.tags.min_tags, rule.only) == ("all", 2, Only.CHANGED)
    assert catalog.rule_for("team/x").only is Only.CHANGED


def test_one_source_has_no_group_and_may_have_its_name_filled_in(tmp_path):
    [rule] = load(tmp_path, "source: a.io/x/y, destination: b.io/copy/**").rules
    assert (rule.group, str(rule.destinations[0].repository)) == (None, "b.io/copy/x/y")


def test_names_are_flattened(tmp_path):
    rules = load(tmp_path, "source: [a.io/x/y, a.io/x/z], destination: b.io/**, flatten: '-'").rules
    assert [str(rule.destinations[0].repository) for rule in rules] == ["b.io/x-y", "b.io/x-z"]


def test_tags_in_sources_that_collide(tmp_path):
    with pytest.raises(ConfigurationError, match=r"d.io/app:1 is also written from a.io/app:1"):
        load(tmp_path, "source: ['a.io/app:1', 'b.io/app:1'], destination: d.io/app")


def test_whether_listed_tags_collide_is_seen_when_they_are_listed(tmp_path):
    assert load(tmp_path, "source: [a.io/app, b.io/app, 'c.io/app:1'], destination: d.io/app").warnings == ()


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("source: [], destination: d.io/**", "the list is empty"),
        ("source: [a.io/x, {b: c}], destination: d.io/**", "where one text is wanted"),
        ("source: [a.io/x, a.io/y], destination: [d.io/**, {b: c}]", "where one text is wanted"),
        ("source: [a.io/x, 'https://a.io/y'], destination: d.io/**", "is a URL"),
        ("source: [a.io/x, a.io/y], destination: d.io/\\1/**", "the pattern has 0 parts"),
        ("source: [a.io/x, a.io/y], destination: 'd.io/**:1'", "is no destination"),
        ("source: [a.io/x, a.io/y], destination: d.io/**, exclude: b", "`exclude`, and the source is one repository"),
        ("source: [a.io/x, a.io/y], destination: d.io/**, flatten: x", "cannot stand between"),
        ("source: a.io/x, destination: d.io/x, only: newer", "newer is none of all, changed, missing"),
        ("source: a.io/**, destination: d.io/**, min_repositories: 0", "not a whole number from 1"),
        ("source: a.io/**, destination: d.io/**, exclude_regex: '('", "cannot be used"),
        ("source: a.io/x, destination: d.io/x, min_repositories: 2", "`min_repositories`, and the source is one"),
    ],
)
def test_mistakes(tmp_path, rule, said):
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, rule)
    assert said in str(caught.value)
    assert len({str(problem) for problem in caught.value.problems}) == len(caught.value.problems)


@pytest.mark.parametrize(
    ("rule", "taken"),
    [
        ("source: [a.io/x, a.io/y], destination: d.io/**, flatten: '-'", True),
        ("source: [a.io/x, 'a.io/*'], destination: d.io/**, exclude: b", True),
        ("source: 'a.io/*', destination: d.io/**, exclude_regex: b, min_repositories: 3, only: missing", True),
        ("source: [], destination: d.io/**", False),
        ("source: [a.io/x, a.io/y], destination: d.io/**, exclude: b", False),
        ("source: a.io/x, destination: d.io/x, flatten: '-'", False),
        ("source: a.io/x, destination: d.io/x, min_repositories: 3", False),
        ("source: a.io/x, destination: d.io/x, only: newer", False),
    ],
)
def test_the_schema_agrees(tmp_path, rule, taken):
    assert SCHEMA.is_valid(yaml.safe_load(f"version: 2\nrules:\n- {{{rule}}}\n")) is taken
    if taken:
        load(tmp_path, rule)
    else:
        with pytest.raises(ConfigurationError):
            load(tmp_path, rule)


def test_a_source_that_is_written_twice_is_warned_of(tmp_path):
    found = load(tmp_path, "source: [a.io/x, a.io/x], destination: d.io/**")
    assert len(found.rules) == 1
    assert "is written twice" in str(found.warnings[0])


def test_an_expression_leaves_repositories_out(tmp_path):
    [catalog] = load(tmp_path, "source: 'a.io/**', destination: d.io/**, exclude_regex: '-(dev|test)$'").catalogs
    assert catalog.means("team/app")
    assert not catalog.means("team/app-dev")
    assert catalog.means("team/app-developer")


def test_it_is_explained(tmp_path):
    found = load(
        tmp_path, "source: 'a.io/**', destination: d.io/**, exclude_regex: 'dev$', min_repositories: 2, only: changed"
    )
    [verdict] = explain_image(found, parse_reference("a.io/team/app:1")).verdicts
    texts = [reason.text for reason in verdict.reasons]
    assert "exclude_regex: “dev$” is not found in team/app" in texts
    assert "min_repositories: the rule fails where it does not mean at least 2 repositories" in texts
    assert "only: it is copied where the destination has the tag with other content" in texts
    [verdict] = explain_image(found, parse_reference("a.io/team/dev:1")).verdicts
    assert verdict.meant is False
