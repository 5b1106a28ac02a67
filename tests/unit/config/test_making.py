"""Configurations that a program puts together: the same as a file says, the same checks, and texts as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest
import yaml

from image_syncer import Configuration, ConfigurationError, RegistryBook, RegistryEntry, load_configuration
from image_syncer import make_configuration as make
from image_syncer import rule_from_arguments as rule
from image_syncer.config import making
from image_syncer.config.schema import schema_text

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA: dict[str, Any] = json.loads(schema_text())["$defs"]
SHAPES = {
    "registry": making.RegistryData,
    "profile": making.ProfileData,
    "cloud": making.CloudData,
    "creation": making.CreationData,
    "rule": making.RuleData,
    "tags": making.TagsData,
    "created": making.CreatedData,
    "referrers": making.ReferrersData,
    "policy": making.PolicyData,
    "nameLists": making.NameListsData,
}
REGISTRIES: dict[str, making.RegistryData] = {
    "registry.example.com/mirror": {"username": "robot", "password": "pa$$word", "max_connections": 8},
    "localhost:5000": {"insecure": True, "pieces_above": "64MiB", "requests_per_s": 2.5},
    "quay.io": {
        "proxy": "http://proxy.example.com:3128",
        "ip_version": 4,
        "http_version": "1.1",
        "headers": {"X-Team": "migration"},
        "mirrors": ["mirror.example.com/quay"],
        "rate": [{"days": "mon-fri", "from": "08:00", "to": "18:00", "rate": "50MB/s"}, {"rate": 500_000_000}],
        "profile": {"kind": "registry2", "mounts": "nowhere", "page_size": 100},
    },
    "123456789012.dkr.ecr.eu-west-1.amazonaws.com": {"create_repositories": {"tags": {"team": "x"}, "immutable": True}},
}
RULES: list[making.RuleData] = [
    {
        "source": "quay.io/coreos/etcd",
        "destination": ["localhost:5000/etcd", "registry.example.com/mirror/etcd"],
        "tags": {"versions": ">=3.4 <4", "newest": 3},
        "platforms": "linux/amd64",
        "referrers": {"types": ["signature"], "depth": 2},
        "only": "missing",
    },
    {"source": "quay.io/team/**", "destination": "localhost:5000/**", "exclude": "team/old-*", "min_repositories": 2},
]
POLICIES: list[making.PolicyData] = [{"name": "ours", "sources": {"deny": "quay.io/secret/**"}, "max_size": "10GiB"}]


def loaded(directory: Path, content: Mapping[str, object]) -> Configuration:
    file = directory / "own.yaml"
    file.write_text(yaml.safe_dump({"version": 2, **content}, sort_keys=False))
    return load_configuration(config=str(file), environ={})


def test_it_is_what_a_file_says(tmp_path: Path) -> None:
    made = make(rules=RULES, registries=REGISTRIES, policies=POLICIES)
    there = loaded(tmp_path, {"rules": RULES, "registries": REGISTRIES, "policy": POLICIES})
    assert made.registries == there.registries
    assert made.policies == there.policies
    assert [(one.source, one.tags, one.destinations, one.platforms, one.referrers, one.only) for one in made.rules] == [
        (one.source, one.tags, one.destinations, one.platforms, one.referrers, one.only) for one in there.rules
    ]
    assert [(one.registry, one.destinations, one.tags) for one in made.catalogs] == [
        (one.registry, one.destinations, one.tags) for one in there.catalogs
    ]
    assert [one.origin for one in (*made.rules, *made.catalogs)] == ["configuration rules[0]", "configuration rules[1]"]


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_the_shapes_have_the_keys_of_a_file(name: str) -> None:
    assert set(get_type_hints(SHAPES[name])) == set(SCHEMA[name]["properties"])


def test_the_shape_of_a_time_of_day_has_them_too() -> None:
    windows = next(each for each in SCHEMA["registry"]["properties"]["rate"]["anyOf"] if each.get("type") == "array")
    assert set(get_type_hints(making.RateWindowData)) == set(windows["items"]["properties"])


def test_texts_are_as_they_are() -> None:
    registries: dict[str, making.RegistryData] = {
        "a.example": {"username": "${USER}", "password": "${broken", "headers": {"X-A": "${HOME}"}},
        "b.example": {"username": "yes", "password": "null"},
    }
    first, second = make(registries=registries).registries.entries
    assert first.credential is not None
    assert second.credential is not None
    assert (first.credential.username, first.credential.password) == ("${USER}", "${broken")
    assert first.network.headers == (("X-A", "${HOME}"),)
    assert (second.credential.username, second.credential.password) == ("yes", "null")


def test_none_is_as_if_it_were_not_there() -> None:
    empty: making.RegistryData = {"username": None, "password": None, "ca_file": None, "max_connections": None}
    assert make(registries={"a.example": empty}).registries == make(registries={"a.example": {}}).registries


def test_paths_are_those_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("made up")
    registries: dict[str, making.RegistryData] = {"a.example": {"ca_file": Path("ca.pem")}}
    rules: list[making.RuleData] = [{"source": "a.example/app:1", "destination": "oci:out:app"}]
    made = make(rules=rules, registries=registries, directory=tmp_path)
    assert made.registries.entries[0].ca_file == str(tmp_path / "ca.pem")
    assert str(made.rules[0].destinations[0].repository.registry) == f"oci:{tmp_path}/out"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"registries": {"a.example": {"insecur": True}}}, "[registries › a.example › insecur]: unknown key → did you"),
        ({"registries": {"a.example": {"insecure": "maybe"}}}, "insecure]: maybe is not a boolean"),
        ({"registries": {"a.example": {"max_connections": 1}}}, "1 is not a whole number from 2"),
        ({"registries": {"a.example": {"ca_file": "/none.pem"}}}, "the file /none.pem cannot be read"),
        ({"registries": {"no registry": {}}}, "neither a registry nor a registry with a namespace"),
        ({"registries": {"a.example": {"password": object()}}}, "[password]: object is neither text, number, flag"),
        ({"registries": {"a.example": {"password": b"bytes"}}}, "[password]: bytes is neither text"),
        ({"rules": [{"source": "a.example/x"}]}, "configuration [rules[0]]: the rule has no destination"),
        ({"rules": [{"source": "https://a.example/x", "destination": "b.example/x"}]}, "is a URL"),
        (
            {"rules": [{"source": f"{one}.example/x:1", "destination": "c.example/x:1"} for one in "ab"]},
            "configuration [rules[1]]: c.example/x:1 is also written from a.example/x:1 (configuration rules[0])",
        ),
        ({"policies": [{"name": "nothing"}]}, "policy[0]]: the policy asks for nothing"),
    ],
)
def test_mistakes_are_told(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(**given)
    assert told in str(caught.value)
    assert ":0" not in str(caught.value)


def test_passwords_are_not_in_messages() -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(registries={"a.example": {"password": "hunter2", "max_connections": 1}})
    assert "hunter2" not in str(caught.value)


def test_what_goes_round_has_an_end() -> None:
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(ConfigurationError, match="nested more than"):
        make(rules=ring)


def test_iterators_do_as_well_as_lists() -> None:
    """Of a generator that was gone through once, nothing was copied, and nothing said so."""
    wanted = (rule("a.example/x:1", "b.example/x"), rule("a.example/y:1", "b.example/y"))
    entry = RegistryEntry("b.example", insecure=True)
    configuration = Configuration(rules=(one for one in wanted), registries=RegistryBook(one for one in [entry]))  # type: ignore[arg-type]
    assert (configuration.rules, configuration.registries.entries) == (wanted, (entry,))
    assert configuration.registries.host_settings("b.example").insecure
    assert (
        len(make(rules=({"source": f"a.example/{one}", "destination": f"b.example/{one}"} for one in "xyz")).rules) == 3
    )
