"""The file of skopeo-sync(1), in other words."""

from __future__ import annotations

import pytest

from image_syncer.config.converters import FileFormat
from image_syncer.errors import ConfigurationError

DIGEST = "sha256:" + "0" * 32 + "1" * 32
FILE = f"""
    registry.example.com:
        images:
            busybox: []
            redis: ["1.0", "2.0", "{DIGEST}", "no tag"]
        images-by-tag-regex:
            team/nginx: ^1\\.13\\.[12]-alpine-perl$
        images-by-semver:
            alpine: ">= 3.12.0, < 4"
            node: "!=20.1.0 >=20"
        credentials:
            username: john
            password: "do not tell"
        tls-verify: true
        cert-dir: /etc/certs/john
    quay.io:
        tls-verify: false
        images:
            coreos/etcd: [latest]
"""
LISTED = {
    "registry.example.com/busybox": ["a", "b"],
    "registry.example.com/team/nginx": ["1.13.1-alpine-perl", "1.13.1-alpine-perl2", "1.13.3-alpine-perl"],
    "registry.example.com/alpine": ["3.11", "3.12", "v3.13.1", "3.14.0-rc1", "4", "edge", "4.0.0-rc1"],
    "registry.example.com/node": ["19", "20.0.9", "20.1", "v20.1.0", "20.1.0-slim", "20.2.0"],
}


def expected(destination):
    copies = {
        "busybox": ["a", "b"],
        "redis": ["1.0", "2.0"],
        "team/nginx": ["1.13.1-alpine-perl"],
        "alpine": ["3.12", "v3.13.1"],
        "node": ["20.0.9", "20.2.0"],
    }
    found = {
        (f"registry.example.com/{name}:{tag}", f"{destination('registry.example.com/' + name)}:{tag}")
        for name, tags in copies.items()
        for tag in tags
    }
    found.add((f"registry.example.com/redis@{DIGEST}", f"{destination('registry.example.com/redis')}@{DIGEST}"))
    return found | {("quay.io/coreos/etcd:latest", f"{destination('quay.io/coreos/etcd')}:latest")}


def test_the_documented_file(convert):
    done = convert(FILE, to="mirror.example/repo/")
    assert done.plan(LISTED) == expected(lambda name: f"mirror.example/repo/{name.rpartition('/')[2]}")
    assert [(line, what.partition(";")[0]) for line, _, what in done.told] == [
        (15, "a folder of certificates"),
        (5, "“no tag” is neither a tag nor a digest"),
    ]
    assert "do not tell" not in done.text
    assert done.in_force[1:7] == [
        "registries:",
        "  registry.example.com:",
        "    username: john",
        '    password: "${REGISTRY_EXAMPLE_COM_PASSWORD}"',
        "  quay.io:",
        "    insecure: true",
    ]


def test_scoped(convert):
    done = convert(FILE, to="mirror.example", scoped=True)
    assert done.plan(LISTED) == expected(lambda name: f"mirror.example/{name}")


def test_docker_hub_has_its_library(convert):
    done = convert("docker.io: {images: {nginx: [1.27]}}", to="mirror.example", scoped=True)
    assert done.plan({}) == {("docker.io/library/nginx:1.27", "mirror.example/docker.io/library/nginx:1.27")}


@pytest.mark.parametrize(
    ("written", "listed", "wanted"),
    [
        (">=1.2.0-0", ["1.1.0", "1.2.0-rc1", "1.3.0-rc1", "2"], ["1.2.0-rc1", "1.3.0-rc1", "2"]),
        ("~>1.2", ["1.1.9", "1.2.7", "1.3"], ["1.2.7"]),
        ("^1.2 || =>3", ["1.2.0", "2", "3", "4"], ["1.2.0", "3", "4"]),
        ("1.2 - 1.4.5", ["1.1", "1.2", "1.4.5", "1.4.6"], ["1.2", "1.4.5"]),
        ("1.2.x", ["1.2.9", "1.3"], ["1.2.9"]),
        ("*", ["1", "x", "2-rc"], ["1"]),
    ],
)
def test_ranges(convert, written, listed, wanted):
    done = convert(f"a.example: {{images-by-semver: {{x: '{written}'}}}}", to="b.example")
    assert done.plan({"a.example/x": listed}) == {(f"a.example/x:{tag}", f"b.example/x:{tag}") for tag in wanted}


@pytest.mark.parametrize("written", [">=1.0.0-rc1", "!=1.2", ">=1.0.0-0 <2", "latest", "!=1.0.0 || 2"])
def test_ranges_that_cannot_be_said(convert, written):
    done = convert(f"a.example: {{images-by-semver: {{x: '{written}'}}, images: {{y: [1]}}}}", to="b.example")
    assert (done.done.rules, done.done.left_out) == (1, 1)


def test_a_destination_is_needed(convert):
    with pytest.raises(ConfigurationError, match="does not say where its images go → add --to"):
        convert(FILE)


@pytest.mark.parametrize("content", ["a.example: {tls-verify: true}", "a.example: [x]", "sync: []"])
def test_what_is_no_file_of_skopeo(convert, content):
    with pytest.raises(ConfigurationError, match="no registry with images"):
        convert(content, to="b.example", source_format=FileFormat.SKOPEO)


def test_two_repositories_of_one_name_are_told(convert):
    done = convert("a.example: {images: {x/app: [1], y/app: [1]}}", to="b.example")
    assert [(line, what) for line, _, what in done.told] == [
        (1, "b.example/app:1 is also written from a.example/x/app:1"),
    ]


def test_an_entry_that_our_format_refuses_is_left_out_too(convert):
    done = convert(
        """
        a.example: {images: {x: [1]}}
        docker.io: {tls-verify: false, images: {z: [1]}}
        index.docker.io: {tls-verify: false, images: {y: [1]}}
        "not a host": {tls-verify: false}
        """,
        to="b.example",
        source_format=FileFormat.SKOPEO,
    )
    assert done.plan({}) == {
        ("a.example/x:1", "b.example/x:1"),
        ("docker.io/library/z:1", "b.example/z:1"),
        ("docker.io/library/y:1", "b.example/y:1"),
    }
    assert [line for line in done.in_force if line.endswith(":") or "insecure" in line][:3] == [
        "registries:",
        "  docker.io:",
        "    insecure: true",
    ]
    assert [(line, what.partition(":")[0]) for line, _, what in done.told] == [(4, "left out"), (5, "left out")]
