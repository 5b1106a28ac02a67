"""Each key that the documentation of the other tools has: it is in the new file, or it is told that it is not, or it
makes no difference to what is copied.
"""

from __future__ import annotations

import copy

import pytest
import yaml

REGSYNC = {
    "creds": [{"registry": "a.example"}],
    "defaults": {},
    "sync": [{"source": "a.example/x", "target": "b.example/x", "type": "repository"}],
}
REGSYNC_STEP = {
    "backup": "old-{{.Ref.Tag}}",
    "interval": "60m",
    "schedule": "15 3 * * *",
    "ratelimit": {"min": 100, "retry": "15m"},
    "digestTags": True,
    "referrers": True,
    "referrerFilters": [{"artifactType": "application/example"}],
    "referrerSource": "a.example/signatures",
    "referrerTarget": "b.example/signatures",
    "forceRecursive": True,
    "includeExternal": True,
    "mediaTypes": ["application/vnd.oci.image.index.v1+json"],
    "hooks": {"pre": {"type": "exec"}},
}
REGSYNC_KEYS = {
    ("creds", 0): {
        "hostname": "c.example",
        "user": "me",
        "pass": "hidden",
        "credHelper": "docker-credential-x",
        "token": "hidden",
        "tls": "disabled",
        "regcert": "-----BEGIN",
        "clientCert": "-----BEGIN",
        "clientKey": "-----BEGIN",
        "pathPrefix": "team",
        "mirrors": ["c.example"],
        "priority": 5,
        "blobChunk": 1000000,
        "blobMax": 2000000,
        "reqPerSec": 0.5,
        "reqConcurrent": 4,
    },
    ("defaults",): {**REGSYNC_STEP, "parallel": 4, "skipDockerConfig": True, "userAgent": "me", "blobLimit": 1000},
    ("sync", 0): {
        **REGSYNC_STEP,
        "tags": {"allow": ["1"]},
        "tagSets": [{"deny": ["1"]}],
        "platform": "linux/amd64",
        "platforms": ["linux/amd64"],
    },
}
SKOPEO = {"a.example": {"images": {"x": ["1"]}}}
SKOPEO_KEYS = {
    ("a.example",): {
        "images-by-tag-regex": {"y": "^1"},
        "images-by-semver": {"z": ">=1"},
        "credentials": {"username": "me", "password": "hidden"},
        "tls-verify": False,
        "cert-dir": "/etc/certs",
    }
}
AUTH = "eyJ1c2VybmFtZSI6ICJtZSIsICJwYXNzd29yZCI6ICJoaWRkZW4ifQ=="
DREGSY = {
    "tasks": [
        {
            "name": "one",
            "source": {"registry": "a.example"},
            "target": {"registry": "b.example"},
            "mappings": [{"from": "x"}],
        }
    ]
}
DREGSY_KEYS = {
    (): {"watch": True, "lister": {"maxItems": 100}, "skopeo": {"certs-dir": "/etc/certs"}},
    ("tasks", 0): {"interval": 60},
    ("tasks", 0, "source"): {"auth": AUTH, "skip-tls-verify": True, "lister": {"type": "index", "search": "x"}},
    ("tasks", 0, "target"): {"auth": AUTH, "skip-tls-verify": True},
    ("tasks", 0, "mappings", 0): {
        "to": "y",
        "tags": ["1"],
        "platform": "linux/amd64",
        "digests": ["sha256:" + "ab" * 32],
        "preserve-digests": True,
    },
}
CASES = [
    pytest.param(base, path, key, value, id=f"{tool}-{'.'.join(map(str, path))}-{key}")
    for tool, base, keys in (
        ("regsync", REGSYNC, REGSYNC_KEYS),
        ("skopeo", SKOPEO, SKOPEO_KEYS),
        ("dregsy", DREGSY, DREGSY_KEYS),
    )
    for path, values in keys.items()
    for key, value in values.items()
]


def with_key(base, path, key, value):
    changed = copy.deepcopy(base)
    place = changed
    for step in path:
        place = place[step]
    place[key] = value
    return changed


@pytest.mark.parametrize(("base", "path", "key", "value"), CASES)
def test_a_key_is_followed_or_told(convert, base, path, key, value):
    without = convert(yaml.safe_dump(base), to="c.example")
    done = convert(yaml.safe_dump(with_key(base, path, key, value)), to="c.example")
    told = [place for _, place, _ in done.told if key in place.split(" › ")]
    assert done.in_force != without.in_force or told
    assert all("hidden" not in text for text in (done.text, str(done.told)))
    if told and done.in_force == without.in_force:
        comments = [line for line in done.text.splitlines() if line.lstrip().startswith("#")]
        assert len(comments) > sum(line.lstrip().startswith("#") for line in without.text.splitlines())


@pytest.mark.parametrize(
    ("base", "path", "key", "value"),
    [
        *((REGSYNC, ("defaults",), key, True) for key in ("fastCheck", "referrerSlow")),
        (REGSYNC, ("defaults",), "cacheCount", 500),
        *((REGSYNC, ("creds", 0), key, value) for key, value in (("credExpire", "1h"), ("repoAuth", True))),
        (REGSYNC, (), "x-mine", {"colour": "blue"}),
        *((DREGSY, (), key, value) for key, value in (("relay", "docker"), ("docker", {"api-version": "1.41"}))),
        (DREGSY, ("tasks", 0), "verbose", True),
        (DREGSY, ("tasks", 0, "target"), "auth-refresh", "10h"),
        (SKOPEO, ("a.example",), "tls-verify", True),
    ],
)
def test_a_key_makes_no_difference_to_what_is_copied(convert, base, path, key, value):
    without = convert(yaml.safe_dump(base), to="c.example")
    done = convert(yaml.safe_dump(with_key(base, path, key, value)), to="c.example")
    assert (done.in_force, done.told) == (without.in_force, without.told)


@pytest.mark.parametrize(("base", "path"), [(REGSYNC, ("sync", 0)), (SKOPEO, ("a.example",)), (DREGSY, ("tasks", 0))])
def test_a_key_of_a_release_to_come_is_told(convert, base, path):
    done = convert(yaml.safe_dump(with_key(base, path, "colour", "blue")), to="c.example")
    assert [place.rpartition(" › ")[2] for _, place, _ in done.told] == ["colour"]


def test_versions_that_are_none_here_are_told_where_ranges_are_used(convert):
    step = {**REGSYNC["sync"][0], "tags": {"semverRange": [">=1"]}}
    done = convert(yaml.safe_dump({"sync": [step, {**step, "target": "c.example/x"}]}))
    assert done.text.count("1.2.3.4 and 2024-01 are versions for regsync") == 1
    assert "1.2.3.4" not in convert(yaml.safe_dump(REGSYNC)).text
