"""Which rules are about a repository, which are new, and which are left alone."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from image_syncer.config.loader import load_configuration
from image_syncer.watch.orders import COALESCE_S, MOST_PUSHES, Pushes
from image_syncer.watch.parts import RuleIndex, altered_part, awake_part, is_empty, repository_of
from image_syncer.watch.server import PushedRepository

if TYPE_CHECKING:
    from image_syncer.config import Configuration


@pytest.fixture
def read(tmp_path):
    def read(rules: dict, auth: dict | None = None) -> Configuration:
        (tmp_path / "images.json").write_text(json.dumps(rules, indent=1))
        (tmp_path / "auth.json").write_text(json.dumps(auth or {"src.example": {"username": "", "password": ""}}))
        return load_configuration(auth=str(tmp_path / "auth.json"), images=str(tmp_path / "images.json"), environ={})

    return read


@pytest.fixture
def catalog(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(
        "version: 2\nrules:\n"
        "- source: src.example/team/**\n  destination: dst.example/mirror/**\n"
        "- source: src.example/base/os\n  destination: dst.example/os\n"
    )
    return load_configuration(config=str(path), environ={})


RULES = {
    "src.example/team/app:v1": "dst.example/app",
    "src.example/team/app:v2": "other.example/app",
    "src.example/team/web": "dst.example/web",
    "other.example/team/app": "dst.example/other",
    "nginx": "dst.example/nginx",
}


def sources(configuration: Configuration) -> list[str]:
    return [str(rule.source) for rule in configuration.rules]


def about(configuration: Configuration, host: str, name: str) -> list[str]:
    """The sources of the rules that a push there is about."""
    index, pushed = RuleIndex(configuration), PushedRepository(host, name)
    part = index.part([pushed])
    assert bool(index.about(pushed)) != is_empty(part)
    assert part.registries is configuration.registries
    return sources(part)


def test_exactly_the_rules_that_name_the_repository(read) -> None:
    rules = read(RULES)
    assert about(rules, "src.example", "team/app") == ["src.example/team/app"] * 2
    assert about(rules, "OTHER.example", "team/app") == ["other.example/team/app"]
    assert about(rules, "src.example", "team/none") == []
    assert about(rules, "src.example", "team/ap") == []


def test_docker_hub_has_one_name(read) -> None:
    assert about(read(RULES), "index.docker.io", "library/nginx") == ["docker.io/library/nginx"]


@pytest.mark.parametrize("host", ["10.0.0.7:5000", "", "not a host!"])
def test_a_registry_behind_a_proxy_is_known_by_its_repositories(read, host) -> None:
    found = about(read(RULES), host, "team/app")
    assert found == ["src.example/team/app"] * 2 + ["other.example/team/app"]


def test_a_rule_for_a_catalog_is_asked_for_the_one_repository(catalog) -> None:
    index, pushed = RuleIndex(catalog), PushedRepository("src.example", "team/app")
    assert [str(source) for source in index.about(pushed)] == ["src.example/team/app"]
    part = index.part([pushed])
    assert part.rules == ()
    assert [each.looked_at for each in part.catalogs] == [{"src.example/team/app"}]
    for name in ("else/app", "team/Not A Name"):
        assert index.about(PushedRepository("src.example", name)) == []
        assert is_empty(index.part([PushedRepository("src.example", name)]))


def test_what_a_catalog_would_bring_where_another_rule_writes_waits_for_a_round_that_refuses_it(tmp_path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        "version: 2\nrules:\n"
        "- source: src.example/team/**\n  destination: dst.example/**\n"
        "- source: src.example/base/os\n  destination: dst.example/team/os\n"
    )
    index = RuleIndex(load_configuration(config=str(path), environ={}))
    assert index.about(PushedRepository("src.example", "team/os")) == []
    assert len(index.about(PushedRepository("src.example", "team/app"))) == 1


def test_what_is_new_is_found_wherever_it_is_written(read) -> None:
    old = read(RULES)
    new = read({"src.example/team/new": "dst.example/new", **dict(reversed(RULES.items()))})
    assert [rule.origin for rule in old.rules] != [rule.origin for rule in new.rules]
    altered = altered_part(old, new)
    assert sources(altered) == ["src.example/team/new"]
    assert altered.registries is new.registries
    assert is_empty(altered_part(new, new))


def test_beside_catalogs_whatever_is_new_makes_everything_new(catalog) -> None:
    fewer = replace(catalog, rules=())
    assert altered_part(fewer, catalog) is catalog
    assert is_empty(altered_part(catalog, catalog))
    assert is_empty(altered_part(catalog, fewer))


def test_a_rule_with_another_destination_is_new(read) -> None:
    new = read({**RULES, "src.example/team/web": "dst.example/web2"})
    assert sources(altered_part(read(RULES), new)) == ["src.example/team/web"]


def test_other_registries_make_everything_new(read) -> None:
    new = read(RULES, {"src.example": {"username": "someone", "password": "other"}})
    assert altered_part(read(RULES), new) is new


def test_what_rests_is_left_out(read) -> None:
    found = awake_part(read(RULES), frozenset({"src.example/team/app", "docker.io/library/nginx"}))
    assert sources(found) == ["src.example/team/web", "other.example/team/app"]


def test_beside_catalogs_only_what_they_list_rests(catalog) -> None:
    found = awake_part(catalog, frozenset({"src.example/team/app", "src.example/base/os"}))
    assert sources(found) == ["src.example/base/os"]
    assert found.catalogs[0].resting == {"src.example/team/app", "src.example/base/os"}


@pytest.mark.parametrize(
    ("source", "repository"),
    [
        ("r.example:5000/a/b:v1", "r.example:5000/a/b"),
        ("r.example:5000/a/b", "r.example:5000/a/b"),
        ("r.example/a@sha256:00", "r.example/a"),
        ("r.example/a:v1@sha256:00", "r.example/a"),
        ("docker.io/library/nginx:1", "docker.io/library/nginx"),
    ],
)
def test_the_repository_of_a_source(source, repository) -> None:
    assert repository_of(source) == repository


def test_pushes_are_gathered_for_a_moment(read) -> None:
    configuration = read(RULES)
    pushes = Pushes()
    assert pushes.due_at is None
    pushes.add([PushedRepository("src.example", "team/app")], 10.0)
    pushes.add([PushedRepository("src.example", "team/app"), PushedRepository("src.example", "team/web")], 10.5)
    assert pushes.due_at == 10.0 + COALESCE_S
    part = pushes.take(configuration, RuleIndex(configuration))
    assert sources(part) == ["src.example/team/app", "src.example/team/app", "src.example/team/web"]
    assert pushes.due_at is None


def test_too_many_pushes_are_all_of_them(read) -> None:
    configuration = read(RULES)
    pushes = Pushes()
    pushes.add([PushedRepository("src.example", f"team/{number}") for number in range(MOST_PUSHES + 1)], 1.0)
    assert pushes.take(configuration, RuleIndex(configuration)) is configuration
    assert pushes.due_at is None


def test_sources_of_one_rule_stay_together(tmp_path) -> None:
    """Else nobody would see that one has got a tag that the other has, too."""
    path = tmp_path / "own.yaml"
    text = "version: 2\nrules:\n- source: [a.example/app, b.example/app{more}]\n  destination: dst.example/app\n"
    text += "- source: a.example/web\n  destination: dst.example/web\n"

    def load(more: str = "") -> Configuration:
        path.write_text(text.format(more=more))
        return load_configuration(config=str(path), environ={})

    both = ["a.example/app", "b.example/app"]
    found = awake_part(load(), frozenset({"a.example/app", "a.example/web"}))
    assert sorted(sources(found)) == both
    assert sources(awake_part(load(), frozenset(both))) == ["a.example/web"]
    assert sorted(about(load(), "b.example", "app")) == both
    assert about(load(), "a.example", "web") == ["a.example/web"]
    assert sorted(sources(altered_part(load(), load(", c.example/app")))) == [*both, "c.example/app"]
