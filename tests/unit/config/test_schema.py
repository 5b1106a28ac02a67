"""The JSON schema of our format says what the loader does: the same keys, the same documents taken and refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from image_syncer.config.loader import load_configuration
from image_syncer.config.own_format import CATALOG_KEYS, OWN_KEYS, RULE_KEYS, TAG_KEYS
from image_syncer.config.policy import LIST_KEYS, POLICY_KEYS
from image_syncer.config.referrers import REFERRER_KEYS
from image_syncer.config.registries import (
    CLOUD_FIELDS,
    CLOUDS,
    CREATION_FIELDS,
    OWN_ENTRY_KEYS,
    PROFILE_FIELDS,
    WINDOW_KEYS,
)
from image_syncer.config.schema import describe_key, schema_path, schema_text
from image_syncer.config.tag_filters import CREATED_KEYS
from image_syncer.errors import ConfigurationError
from image_syncer.registry import MAX_PAGE_SIZE, PROFILES, Mounts

DOCS = Path(__file__).parents[3] / "docs"
SCHEMA = json.loads(schema_text())
DEFS = SCHEMA["$defs"]
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
SOURCE = "a.io/p"


def test_it_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema_path().name == "schema.json"


@pytest.mark.parametrize(
    ("place", "keys"),
    [
        (SCHEMA, OWN_KEYS),
        (DEFS["registry"], OWN_ENTRY_KEYS),
        (DEFS["rule"], RULE_KEYS),
        (DEFS["tags"], TAG_KEYS),
        (DEFS["created"], CREATED_KEYS),
        (DEFS["referrers"], REFERRER_KEYS),
        (DEFS["profile"], PROFILE_FIELDS),
        (DEFS["policy"], POLICY_KEYS),
        (DEFS["nameLists"], LIST_KEYS),
        (DEFS["cloud"], CLOUD_FIELDS),
        (DEFS["creation"], CREATION_FIELDS),
        (DEFS["registry"]["properties"]["rate"]["anyOf"][1]["items"], WINDOW_KEYS),
    ],
    ids=[
        "top",
        "registry",
        "rule",
        "tags",
        "created",
        "referrers",
        "profile",
        "policy",
        "name lists",
        "cloud",
        "create_repositories",
        "rate",
    ],
)
def test_it_has_every_key_and_says_what_it_is_for(place, keys):
    assert sorted(place["properties"]) == sorted(keys)
    assert [key for key, value in place["properties"].items() if not value.get("description")] == []
    assert place["additionalProperties"] is False


def test_it_has_the_words_and_bounds_of_the_loader():
    otherwise = DEFS["rule"]["then"]
    assert sorted([*otherwise["properties"], *otherwise["then"]["properties"]]) == sorted(CATALOG_KEYS)
    assert set(DEFS["kind"]["enum"]) - {"", None} == set(PROFILES)
    assert set(DEFS["profile"]["properties"]["mounts"]["enum"]) - {"", None} == {one.value for one in Mounts}
    assert set(DEFS["cloudName"]["enum"]) - {"", None, False, "off", "none", "no"} == set(CLOUDS)
    assert DEFS["profile"]["properties"]["page_size"]["maximum"] == MAX_PAGE_SIZE


def documents():
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [
        (DOCS / "examples" / "own.yaml").read_text(encoding="utf-8"),
        *(b for b in blocks if b.startswith("version:")),
    ]


def test_every_documented_example_is_taken():
    assert len(documents()) >= 3
    for text in documents():
        assert [error.message for error in VALIDATOR.iter_errors(yaml.safe_load(text))] == []


def load(tmp_path, text):
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8")
    (tmp_path / "a.pem").write_text("")
    try:
        load_configuration(config=str(path), environ={"P": "p"})
    except ConfigurationError as error:
        return [str(problem) for problem in error.problems]
    return []


def rule(text="", source=SOURCE, destination="b.io/p"):
    return f"version: 2\nrules:\n- {{source: '{source}', destination: {destination}{text}}}\n"


def registry(text):
    return f"version: 2\nregistries: {{a.io: {text}}}\nrules: [{{source: a.io/p, destination: b.io/p}}]\n"


@pytest.mark.parametrize(
    "text",
    [
        rule(),
        rule(", platforms: linux/amd64"),
        rule(", platforms: [linux/amd64], min_tags: 3"),
        rule(", tags: {include: 1.10, exclude: ['*-rc*'], regex: ^1, exclude_regex: 9$, newest: 5}"),
        rule(", tags: {versions: '>=1', prereleases: true, suffix: -alpine}"),
        rule(", tags: "),
        rule(", referrers: all"),
        rule(", referrers: 'sbom,require=signature,depth=2'"),
        rule(", referrers: {types: [sbom, application/*], exclude: text/x, annotations: a.b=c, require: signature}"),
        rule(", referrers: {depth: 2, cosign: false}", source="a.io/**", destination="b.io/**"),
        rule(", tags: {created: {newest: 5, after: '2026-01-31', within: 90d}}"),
        rule(source="a.io/p:1,2", destination="['b.io/p', 'b.io/q:x,y']"),
        rule(source="a.io:5000/p:/^v.*$/"),
        rule(", match: 'x(.*)', exclude: y, flatten: '-'", source="a.io:5000/**", destination="'b.io/\\1'"),
        rule(", exclude: ['**/z']", source="a.io/t-*/?", destination="'b.io/**'"),
        registry("{username: me, password: '${P}', insecure: true, max_connections: 2, pieces_above: 16MiB}"),
        registry("{requests_per_s: 0.5, rate: 200MB/s, mirrors: [m.io, n.io/x], ca_file: a.pem}"),
        registry("{rate: [{days: mon-fri, from: '08:00', to: '18:00', rate: 50MB/s}, {rate: 1GB/s}]}"),
        registry("{proxy: none, resolve: 192.0.2.1, ip_version: 4, http_version: 1.1, headers: {X-A: b, X-B: 1}}"),
        registry("{client_cert: a.pem, client_key: a.pem, client_key_password: x, interface: eth0}"),
        registry("{profile: harbor, cloud: 'off', create_repositories: true, allow_local_redirects: false}"),
        registry("{profile: {kind: ecr, mounts: same owner, takes_pieces: true, page_size: 100, piece_bytes: 8MiB}}"),
        registry("{cloud: {name: aws, region: eu-west-1, profile: x, instance: cri-1, endpoint: 'https://x.io'}}"),
        registry("{create_repositories: {tags: {a: b}, immutable: true, scan_on_push: false, kms_key: k, public: no}}"),
        registry("{username: 17, password: 1.50, rate: }"),
        registry("{insecure: Yes, skip_tls_verify: n, cloud: none}"),
        registry(""),
        "version: 2\nregistries:\nrules: [{source: a.io/p, destination: b.io/p}]\n",
    ],
)
def test_both_take_it(tmp_path, text):
    assert load(tmp_path, text) == []
    assert [error.message for error in VALIDATOR.iter_errors(yaml.safe_load(text))] == []


@pytest.mark.parametrize(
    "text",
    [
        "version: 3\nrules: [{source: a.io/p, destination: b.io/p}]\n",
        "version: 2\nrule: []\nrules: [{source: a.io/p, destination: b.io/p}]\n",
        "version: 2\nrules: {source: a.io/p, destination: b.io/p}\n",
        "version: 2\nregistries: [a.io]\nrules: [{source: a.io/p, destination: b.io/p}]\n",
        "version: 2\nrules: [{source: a.io/p}]\n",
        "version: 2\nrules: [{destination: a.io/p}]\n",
        "version: 2\nrules: [a.io/p]\n",
        rule(source=""),
        rule(destination="[]"),
        rule(destination="{to: b.io/p}"),
        rule(", referrers: {depth: 17}"),
        rule(", referrers: {type: sbom}"),
        rule(", referrers: [sbom]"),
        rule(", platform: linux/amd64"),
        rule(", platforms: []"),
        rule(", platforms: {os: linux}"),
        rule(", min_tags: -1"),
        rule(", min_tags: some"),
        rule(", match: x"),
        rule(", exclude: x"),
        rule(", flatten: '-'", source="a.io/p:/x*/"),
        rule(", flatten: '+'", source="a.io/**", destination="'b.io/**'"),
        rule(", tags: x"),
        rule(", tags: {includes: x}"),
        rule(", tags: {include: {a: b}}"),
        rule(", tags: {include: []}"),
        rule(", tags: {regex: [a]}"),
        rule(", tags: {newest: 0}"),
        rule(", tags: {created: {newest: 0}}"),
        rule(", tags: {created: {before: 2d}}"),
        rule(", tags: {created: {after: never}}"),
        rule(", tags: {created: {}}"),
        rule(", tags: {newest: 1.5}"),
        rule(", tags: {prereleases: true}"),
        rule(", tags: {suffix: -x}"),
        rule(", tags: {versions: '*', prereleases: maybe}"),
        registry("{user: me}"),
        registry("{identityToken: x}"),
        registry("{password: [a]}"),
        registry("{insecure: 1}"),
        registry("{max_connections: 1}"),
        registry("{pieces_above: much}"),
        registry("{requests_per_s: 0}"),
        registry("{rate: [{days: mon}]}"),
        registry("{rate: [{rate: 1MB/s, when: now}]}"),
        registry("{client_key: a.pem}"),
        registry("{client_key_password: x}"),
        registry("{ip_version: 5}"),
        registry("{http_version: 4}"),
        registry("{headers: {'X A': b}}"),
        registry("{headers: [X-A]}"),
        registry("{profile: harbour}"),
        registry("{profile: {kind: harbour}}"),
        registry("{profile: {mounts: here}}"),
        registry("{profile: {page_size: 1001}}"),
        registry("{profile: {colour: red}}"),
        registry("{cloud: ibm}"),
        registry("{cloud: {name: ibm}}"),
        registry("{cloud: {zone: x}}"),
        registry("{cloud: {endpoint: x.io}}"),
        registry("{create_repositories: perhaps}"),
        registry("{create_repositories: {tags: [a]}}"),
        registry("{create_repositories: {colour: red}}"),
        registry("x"),
    ],
)
def test_both_refuse_it(tmp_path, text):
    assert load(tmp_path, text) != []
    assert not VALIDATOR.is_valid(yaml.safe_load(text))


@pytest.mark.parametrize(
    ("path", "name", "begins"),
    [
        ("rules[0] › tags › newest", "newest", "This many of the highest"),
        ("rules[12] › source", "source", "A repository"),
        ("registries › a.io:5000/team › rate[1] › days", "days", "On which days"),
        ("registries › a.io › profile › mounts", "mounts", "Between which"),
        ("registries › a.io › create_repositories › tags", "tags", "Names and values"),
    ],
)
def test_keys_are_described(path, name, begins):
    found = describe_key(path)
    assert found is not None
    assert found[0] == name
    assert found[1].startswith(begins)


@pytest.mark.parametrize(
    "path",
    ["version", "rules", "rules[0]", "rules[0] › colour", "rules[0] › tags › colour", "docker.io › password", "x"],
)
def test_what_is_no_key_is_not(path):
    assert describe_key(path) is None
