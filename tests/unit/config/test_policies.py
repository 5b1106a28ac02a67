"""Policies: patterns over names, lists that allow and deny, and the keys of the file."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from image_syncer.config.explanation import explain_image
from image_syncer.config.findings import RuleError
from image_syncer.config.loader import load_configuration, load_registries
from image_syncer.config.policy import NameLists, OnRefusal, Policy, parse_name_pattern, refusal_by_name
from image_syncer.config.schema import schema_text
from image_syncer.errors import ConfigurationError
from image_syncer.oci import Reference, Repository, parse_reference

SCHEMA = jsonschema.Draft202012Validator(json.loads(schema_text()))
DIGEST = f"sha256:{'a' * 64}"
RULES = "rules:\n  - {source: a.io/app, destination: [b.io/app, c.io/app]}\n"


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("a.io/team/app", "a.io/team/app:1", True),
        ("a.io/team/app", f"a.io/team/app@{DIGEST}", True),
        ("a.io/team/app", "a.io/team/app-2:1", False),
        ("a.io/team/app", "a.io/team/app/x:1", False),
        ("a.io/team/*", "a.io/team/app:1", True),
        ("a.io/team/*", "a.io/team/app/x:1", False),
        ("a.io/team/**", "a.io/team/app/x:1", True),
        ("a.io/**/app", "a.io/x/y/app:1", True),
        ("a.io/team/**", "a.io/teams/app:1", False),
        ("a.io/team/app:1.*", "a.io/team/app:1.2", True),
        ("a.io/team/app:1.*", "a.io/team/app:2.1", False),
        ("a.io/team/app:1.*", f"a.io/team/app@{DIGEST}", False),
        ("a.io/**:latest", "a.io/x/y:latest", True),
        ("a.io/**:latest", "a.io/x/y:latest2", False),
        (f"a.io/app@{DIGEST}", f"a.io/app@{DIGEST}", True),
        ("localhost:5000/**", "localhost:5000/app:1", True),
        ("localhost:5000/**", "localhost:5001/app:1", False),
        ("*.example/**", "a.example/app:1", True),
        ("*.example/**", "a.example.evil.io/app:1", False),
        ("*/scratch/**", "a.io/scratch/app:1", True),
        ("index.docker.io/library/*", "nginx:1", True),
        ("A.io/app", "a.io/app:1", True),
        ("a.io/app?", "a.io/app1:1", True),
        ("a.io/app?", "a.io/app:1", False),
        ("**", "a.io/team/app:1", True),
        ("**:dev", "a.io/team/app:dev", True),
        ("**:dev", "a.io/team/app:1", False),
        (r"/a\.io/.*-(dev|debug):.*/", "a.io/x/app-dev:1", True),
        (r"/.*dev/", "a.io/x/app-dev:1", False),
    ],
)
def test_patterns(pattern, name, fits):
    assert parse_name_pattern(pattern).fits(parse_reference(name)) is fits


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("oci:/data/mirror:**", "oci:/data/mirror:nginx:1", True),
        ("oci:/data/mirror:nginx", "oci:/data/mirror:nginx:1", True),
        ("oci:/data/mirror:team/*", "oci:/data/mirror:team/app:1", True),
        ("oci:/data/mirror:team/*", "oci:/data/other:team/app:1", False),
        ("oci:/data/**", "oci:/data/mirror:nginx:1", True),
    ],
)
def test_patterns_of_places(pattern, name, fits):
    repository, _, tag = name.removeprefix("oci:").partition(":")[2].rpartition(":")
    place = name.removesuffix(f":{repository}:{tag}")
    reference = Reference(Repository(place, repository), tag, None)
    assert str(reference) == name
    assert parse_name_pattern(pattern).fits(reference) is fits


def test_a_tag_counts_before_the_digest_of_a_name_that_has_both():
    assert parse_name_pattern("a.io/app:1").fits(parse_reference(f"a.io/app:1@{DIGEST}"))


@pytest.mark.parametrize(
    "text", ["nginx", "library/nginx", "a.io", "a.io/", "https://a.io/app", "a.io/app x", "", "/(?=x)/", "*", "**/"]
)
def test_what_fits_no_image_is_refused(text):
    with pytest.raises(RuleError):
        parse_name_pattern(text)


def patterns(*texts):
    return tuple(parse_name_pattern(text) for text in texts)


def test_deny_wins_and_an_allow_list_leaves_out_the_rest():
    lists = NameLists(patterns("a.io/**"), patterns("a.io/secret/**"))
    assert lists.refusal("source", parse_reference("a.io/app:1")) is None
    assert "is denied by “a.io/secret/**”" in lists.refusal("source", parse_reference("a.io/secret/app:1"))
    assert "is not among those" in lists.refusal("source", parse_reference("b.io/app:1"))
    assert NameLists(deny=patterns("b.io/**")).refusal("source", parse_reference("a.io/app:1")) is None


def test_a_policy_holds_where_it_says():
    policy = Policy("p", to=patterns("prod.io/**"), sources=NameLists(deny=patterns("**")))
    source = parse_reference("a.io/app:1")
    assert refusal_by_name([policy], source, parse_reference("test.io/app:1")) is None
    assert refusal_by_name([policy], source, parse_reference("prod.io/app:1"))[0] is policy


@pytest.mark.parametrize("listed", ["a.io", "a.io:443", "a.io:80"])
@pytest.mark.parametrize("written", ["a.io", "a.io:443", "A.io:0443", "a.io:80"])
def test_a_port_that_is_there_anyway_gets_around_no_policy(listed, written):
    image = parse_reference(f"{written}/secret/app:1")
    denied = NameLists(deny=patterns(f"{listed}/secret/**"))
    assert "is denied" in denied.refusal("source", image)
    assert Policy("p", to=patterns(f"{listed}/**")).holds_for(image)
    allowed = NameLists(patterns("a.io:5000/**"))
    assert "is not among those" in allowed.refusal("source", image)
    assert NameLists(deny=patterns("a.io:5000/**")).refusal("source", image) is None


def load(tmp_path: Path, policy: str, *, rules: str = RULES):
    path = tmp_path / "images.yaml"
    path.write_text(f"version: 2\n{rules}{policy}", encoding="utf-8")
    return load_configuration(config=str(path), environ={})


def test_all_keys(tmp_path):
    [policy] = load(
        tmp_path,
        "policy:\n  name: p\n  to: prod.io/**\n  sources: {allow: [a.io/**, b.io/**], deny: a.io/x}\n"
        "  destinations: {deny: '**:latest'}\n  require: [signature, application/spdx+json]\n  max_size: 1KiB\n"
        "  max_age: 2d\n  command: [prog, --flag]\n  timeout: 5s\n  environment: [A, B]\n  on_refusal: skip\n",
    ).policies
    assert (policy.name, policy.max_bytes, policy.max_age_s, policy.on_refusal) == ("p", 1024, 172800, OnRefusal.SKIP)
    assert [one.written for one in policy.sources.allow] == ["a.io/**", "b.io/**"]
    assert policy.require == ("signature", "application/spdx+json")
    assert (policy.command.words, policy.command.timeout_s) == (("prog", "--flag"), 5)
    assert policy.command.environment == ("A", "B")


def test_a_program_beside_the_file(tmp_path):
    [policy] = load(tmp_path, "policy: {command: [./may-go, x]}\n").policies
    assert policy.command.words == (str(tmp_path / "may-go"), "x")


def test_a_policy_without_a_name_is_called_by_its_place(tmp_path):
    [first, second] = load(tmp_path, "policy:\n  - require: signature\n  - max_size: 1\n").policies
    assert first.name.endswith("images.yaml:5")
    assert second.name.endswith("images.yaml:6")


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("policy: []\n", "the list is empty"),
        ("policy:\n", "asks for nothing"),
        ("policy: {to: a.io/**}\n", "asks for nothing"),
        ("policy: {sources: {}}\n", "neither allow nor deny"),
        ("policy: {sources: {alow: a.io/**}}\n", "did you mean “allow”"),
        ("policy: {sources: {allow: nginx}}\n", "“nginx” fits no image"),
        ("policy: {sources: {allow: []}}\n", "the list is empty"),
        ("policy: {to: [], require: sbom}\n", "the list is empty"),
        ("policy: {require: seal}\n", "is no artifact type"),
        ("policy: {max_size: much}\n", "is not a size"),
        ("policy: {max_age: 90}\n", "“90” is no time"),
        ("policy: {max_age: old}\n", "“old” is no time"),
        ("policy: {require: sbom, timeout: 3s}\n", "`timeout` without `command`"),
        ("policy: {require: sbom, environment: A}\n", "`environment` without `command`"),
        ("policy: {command: prog, environment: A=b}\n", "is no name of a variable"),
        ("policy: {command: 'prog --flag'}\n", "no shell takes it apart"),
        ("policy: {command: ['', x]}\n", "no program"),
        ("policy: {require: sbom, on_refusal: warn}\n", "warn is none of fail, skip"),
        ("policy: {requires: sbom}\n", "did you mean “require”"),
    ],
)
def test_mistakes(tmp_path, policy, said):
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, policy)
    assert said in str(caught.value)
    assert "[policy" in str(caught.value)


@pytest.mark.parametrize(
    ("policy", "taken"),
    [
        ("policy: {require: sbom}\n", True),
        ("policy: [{sources: {deny: a.io/**}}, {max_age: 90d, to: [b.io/**]}]\n", True),
        ("policy: {command: [prog, x], timeout: 1m30s, environment: A}\n", True),
        ("policy: []\n", False),
        ("policy: {to: a.io/**}\n", False),
        ("policy: {sources: {}}\n", False),
        ("policy: {max_age: 90}\n", False),
        ("policy: {require: sbom, timeout: 3s}\n", False),
        ("policy: {require: sbom, on_refusal: warn}\n", False),
    ],
)
def test_the_schema_agrees(tmp_path, policy, taken):
    assert SCHEMA.is_valid(yaml.safe_load(f"version: 2\n{policy}")) is taken
    if taken:
        load(tmp_path, policy)
    else:
        with pytest.raises(ConfigurationError):
            load(tmp_path, policy)


def test_the_policies_of_all_files_hold_each_once(tmp_path):
    auth, images = tmp_path / "auth.yaml", tmp_path / "images.yaml"
    auth.write_text("version: 2\npolicy: {name: a, require: sbom}\n", encoding="utf-8")
    images.write_text(f"version: 2\n{RULES}policy: {{name: b, require: sbom}}\n", encoding="utf-8")
    both = load_configuration(auth=str(auth), images=str(images), environ={})
    assert [policy.name for policy in both.policies] == ["a", "b"]
    same = load_configuration(auth=str(images), images=str(images), environ={})
    assert [policy.name for policy in same.policies] == ["b"]
    assert [policy.name for policy in load_registries(str(auth), environ={}).policies] == ["a"]


def test_a_file_of_rules_alone_names_no_program(tmp_path):
    path = tmp_path / "images.yaml"
    path.write_text(f"version: 2\n{RULES}policy: {{command: prog}}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="for its rules alone runs no program"):
        load_configuration(images=str(path), environ={})
    assert load_configuration(images=str(path), auth=str(path), environ={}).policies
    assert load_configuration(config=str(path), environ={}).policies


def test_why_a_policy_keeps_an_image_back_is_explained(tmp_path):
    configuration = load(
        tmp_path,
        "policy:\n  - {name: closed, to: b.io/**, sources: {deny: '**:dev'}}\n"
        "  - {name: signed, require: signature, max_size: 1GiB, command: prog}\n",
    )
    [verdict] = explain_image(configuration, parse_reference("a.io/app:1")).verdicts
    assert verdict.destinations == ("b.io/app:1", "c.io/app:1")
    assert verdict.reasons[-1].text == (
        "policy “signed”: it goes to b.io/app:1, c.io/app:1 if it has a signature and it has no more than 1.0 GiB "
        "and prog lets it through"
    )
    [verdict] = explain_image(configuration, parse_reference("a.io/app:dev")).verdicts
    assert verdict.destinations == ("c.io/app:dev",)
    texts = [reason.text for reason in verdict.reasons]
    assert "policy “closed”: it does not go to b.io/app:dev: the source a.io/app:dev is denied by “**:dev”" in texts
    assert verdict.meant


def test_an_image_that_may_go_nowhere_is_out(tmp_path):
    configuration = load(tmp_path, "policy: {name: closed, sources: {deny: a.io/**}}\n")
    [verdict] = explain_image(configuration, parse_reference("a.io/app:1")).verdicts
    assert (verdict.meant, verdict.destinations) == (False, ())
