"""Files as regsync's documentation shows them (https://regclient.org/usage/regsync), in other words."""

from __future__ import annotations

import pytest

from image_syncer.config.converters import FileFormat
from image_syncer.errors import ConfigurationError

MIRROR = "mirror.example.org"
HUB = "docker.io/library"


def pairs(source, target, *tags):
    return {(f"{source}:{tag}", f"{target}:{tag}") for tag in tags}


def test_an_image_repositories_and_sets_of_tags(convert):
    done = convert(
        """
        version: 1
        creds:
          - registry: mirror.example.org
            user: robot
            pass: 'Pa$$w0rd'
          - registry: docker.io
            user: '{{env "HUB_USER"}}'
            pass: "{{file \\"/run/secrets/hub\\"}}"
        defaults:
          interval: 60m
        x-tags: &tags {allow: [latest, 'v[0-9\\\\.]+']}
        sync:
          - source: busybox
            target: mirror.example.org/library/busybox
            type: image
          - source: alpine
            target: mirror.example.org/library/alpine
            type: repository
            tagSets:
              - allow: [latest, edge]
              - semverRange: [">=3.5.1 <4.0"]
                allow: ['v\\d+\\.\\d+\\.\\d+']
          - source: ghcr.io/regclient/regctl
            target: mirror.example.org/regclient/regctl
            type: repository
            tags: *tags
            fastCopy: true
    """.replace("\\\\", "\\")
    )
    listed = {
        f"{HUB}/alpine": ["latest", "edge", "edge2", "v3.5.0", "v3.5.1", "v3.5.1-rc.1", "v3.9.0", "v4.0.0", "3.6.0"],
        "ghcr.io/regclient/regctl": ["latest", "v0.7", "v0.7-alpine", "0.7"],
    }
    assert done.plan(listed) == (
        pairs(f"{HUB}/busybox", f"{MIRROR}/library/busybox", "latest")
        | pairs(f"{HUB}/alpine", f"{MIRROR}/library/alpine", "latest", "edge", "v3.5.1", "v3.9.0")
        | pairs("ghcr.io/regclient/regctl", f"{MIRROR}/regclient/regctl", "latest", "v0.7")
    )
    assert done.done.format is FileFormat.REGSYNC
    assert [secret.name for secret in done.done.secrets] == ["MIRROR_EXAMPLE_ORG_PASSWORD", "DOCKER_IO_PASSWORD"]
    assert "Pa$$w0rd" not in done.text
    assert '    username: "${HUB_USER}"' in done.in_force
    assert [key for _, key, _ in done.told] == ["creds[1] › pass", "defaults › interval"]


def test_a_registry_with_its_repositories(convert):
    done = convert("""
        sync:
          - source: localhost:5000
            target: mirror.example.org/copy
            type: registry
            repos:
              allow: ["team/.*", "base"]
              deny: ["team/old-.*"]
            tags:
              deny: [".*-rc.*", "tmp|dirty"]
    """)
    tags = ["1.0", "1.0-rc1", "tmp-1", "x-dirty", "atmp", "dirty1"]
    listed = {f"localhost:5000/{name}": tags for name in ("team/a", "team/b/c", "team/old-x", "team", "base", "base2")}
    wanted = ("1.0", "atmp", "dirty1")
    assert done.plan(listed) == set().union(
        *(pairs(f"localhost:5000/{name}", f"{MIRROR}/copy/{name}", *wanted) for name in ("team/a", "team/b/c", "base"))
    )


def test_referrers(convert):
    done = convert("""
        defaults: {referrers: true}
        sync:
          - {source: a.example/a, target: b.example/a, type: image}
          - {source: a.example/b, target: b.example/b, type: image, digestTags: true}
          - {source: a.example/c, target: b.example/c, type: image, referrers: false}
          - {source: a.example/d, target: b.example/d, type: image, referrers: false, digestTags: true}
          - {source: a.example/e, target: b.example/e, type: image, referrerFilters: [{artifactType: x}]}
    """)
    assert [line.strip() for line in done.in_force if "source" in line or "referrers" in line] == [
        "- source: a.example/a:latest",
        'referrers: "cosign=false"',
        "- source: a.example/b:latest",
        "referrers: all",
        "- source: a.example/c:latest",
        "- source: a.example/d:latest",
        "- source: a.example/e:latest",
        'referrers: "cosign=false"',
    ]
    assert [key for _, key, _ in done.told] == ["sync[3] › digestTags", "sync[4] › referrerFilters"]
    assert len(done.plan({})) == 5


def test_how_registries_are_reached(convert):
    done = convert("""
        creds:
          - registry: a.example
            tls: disabled
          - registry: b.example
            tls: insecure
            reqPerSec: 0.5
            reqConcurrent: 1
            blobMax: 1000000
            mirrors: [a.example]
          - {registry: c.example, tls: enabled, regcert: "-----BEGIN", hostname: d.example, repoAuth: true}
        sync: []
    """)
    assert done.in_force == [
        "version: 2",
        "registries:",
        "  a.example:",
        "    insecure: true",
        "  b.example:",
        "    skip_tls_verify: true",
        "    mirrors: [a.example]",
        '    requests_per_s: "0.5"',
        "    max_connections: 2",
        "    pieces_above: 1000000",
        "  c.example: {}",
        "rules: []",
    ]
    assert [key for _, key, _ in done.told] == ["creds[2] › regcert", "creds[2] › hostname"]


def test_layouts_in_folders(convert, tmp_path):
    (tmp_path / "here").mkdir()
    done = convert("""
        sync:
          - {source: "a.example/x:1", target: "ocidir:///srv/mirror:x-1", type: image}
          - {source: "ocidir:///srv/mirror", target: b.example/y, type: image}
          - {source: a.example/z, target: "ocidir://here", type: repository, tags: {allow: ["1.*"]}}
    """)
    assert done.plan({"a.example/z": ["1.0", "2.0"]}) == {
        ("a.example/x:1", "oci:/srv/mirror:x-1"),
        ("oci:/srv/mirror:latest", "b.example/y:latest"),
        ("a.example/z:1.0", f"oci:{tmp_path}/here:1.0"),
    }
    assert [key for _, key, _ in done.told] == ["sync[2] › target"]


def test_what_cannot_be_said_is_left_out_as_a_comment(convert):
    done = convert("""
        sync:
          - {source: "ocidir:///folder", target: a.example, type: registry}
          - {source: "{{.X}}", target: a.example/x, type: image}
          - {source: a.example/x, target: b.example/x, type: repository, tags: {semverRange: ["1.0.0 - 2"]}}
          - {source: a.example, target: b.example, type: registry, repos: {deny: ["(a|b)"]}}
          - {source: a.example/y, target: b.example/y, type: repository, tags: {allow: ['\\pL']}}
          - source: a.example/z:1
            target: b.example/z:2
            type: image
            platform: linux/amd64
            referrers: true
            digestTags: false
            hooks: {pre: {type: x}}
            colour: blue
    """)
    assert done.plan({}) == {("a.example/z:1", "b.example/z:2")}
    assert (done.done.rules, done.done.left_out) == (1, 5)
    left_out = [(line, what.partition(":")[0]) for line, _, what in done.told if what.startswith("left out")]
    assert sorted(left_out) == [(line, "left out") for line in (3, 4, 5, 6, 7)]
    others = [key.rpartition(" ")[2] for _, key, what in done.told if not what.startswith("left out")]
    assert others == ["platform", "hooks", "colour"]
    comments = [line for line in done.text.splitlines() if line.lstrip().startswith("#")]
    assert '  # - source: "oci:/folder/**"' in comments
    assert sum("colour" in line for line in comments) == 1


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("creds: []", "there is no `sync`"),
        ("version: 3\nsync: []", "this version of regsync's files is not known"),
        ("sync: [x]", "no mapping, where keys with values are wanted"),
        ("sync: [{type: folder}]", "none of image, repository and registry"),
        ("sync: []\ncreds: [{registry: a.example, tls: maybe}]", "none of enabled, insecure and disabled"),
        ("sync: [{source: [a], target: b, type: image}]", "no text, where one is wanted"),
        ("sync: [", "not YAML"),
    ],
)
def test_what_is_no_file_of_regsync(convert, content, what):
    with pytest.raises(ConfigurationError, match=what):
        convert(content, source_format=FileFormat.REGSYNC)


def test_a_long_list_becomes_several_rules(convert):
    tags = [f"release-{number:04}" for number in range(200)]
    allow = "[" + ", ".join(tags) + "]"
    done = convert(f"sync: [{{source: a.example/x, target: b.example/x, type: repository, tags: {{allow: {allow}}}}}]")
    assert done.plan({"a.example/x": [*tags, "release-0200"]}) == pairs("a.example/x", "b.example/x", *tags)
    assert done.done.rules > 1


def test_secrets_are_copied_where_they_are_asked_for(convert):
    content = """
        creds: [{registry: a.example, user: me, pass: secret}, {registry: b.example, user: me, pass: 'x${y'}]
        sync: []
    """
    done = convert(content, with_secrets=True)
    assert [line for line in done.in_force if "password" in line] == [
        "    password: secret",
        '    password: "${B_EXAMPLE_PASSWORD}"',
    ]
