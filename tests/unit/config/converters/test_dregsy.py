"""Files as dregsy's README and doc/design-image-matching.md show them, in other words."""

from __future__ import annotations

import base64
import json

import pytest

from image_syncer.config.converters import FileFormat
from image_syncer.errors import ConfigurationError

DIGEST = "sha256:" + "ab" * 32


def auth(username="alex", password="do not tell"):
    return base64.b64encode(json.dumps({"username": username, "password": password}).encode()).decode()


def task(mappings, source="", target=""):
    return f"""
    tasks:
      - name: one
        source: {{registry: s.example{source}}}
        target: {{registry: t.example{target}}}
        mappings: {mappings if isinstance(mappings, str) else json.dumps(mappings)}
    """


def pairs(source, target, *tags):
    return {(f"s.example/{source}:{tag}", f"t.example/{target}:{tag}") for tag in tags}


def test_the_documented_file(convert):
    done = convert(f"""
        relay: skopeo
        watch: true
        skopeo: {{binary: skopeo, certs-dir: /etc/skopeo/certs.d}}
        docker: {{dockerhost: "unix:///var/run/docker.sock"}}
        lister: {{maxItems: 100, cacheDuration: 1h}}
        tasks:
          - name: first
            interval: 60
            verbose: true
            source:
              registry: s.example
              auth: {auth()}
            target:
              registry: t.example
              auth: {auth("bob", "nor this")}
              skip-tls-verify: true
            mappings:
              - from: test/image
                to: archive/test/image
                tags: ['0.1.0', '0.1.1']
              - from: test/another-image
                platform: linux/arm64/v8
              - from: /led
                to: /led/by/slash
                platform: all
    """)
    listed = {"s.example/test/another-image": ["a", "b"], "s.example/led": ["1"]}
    assert done.plan(listed) == (
        pairs("test/image", "archive/test/image", "0.1.0", "0.1.1")
        | pairs("test/another-image", "test/another-image", "a", "b")
        | pairs("led", "led/by/slash", "1")
    )
    assert done.done.format is FileFormat.DREGSY
    assert not any(secret in done.text for secret in ("do not tell", "nor this", auth()))
    assert [line.strip() for line in done.in_force if ":" in line][1:9] == [
        "registries:",
        "s.example:",
        "username: alex",
        'password: "${S_EXAMPLE_PASSWORD}"',
        "t.example:",
        "username: bob",
        'password: "${T_EXAMPLE_PASSWORD}"',
        "insecure: true",
    ]
    assert [key for _, key, _ in done.told] == [
        "skopeo › certs-dir",
        "tasks[0] › mappings[1] › platform",
        "tasks[0] › interval",
        "watch",
        "lister",
    ]
    assert "    platforms: [linux/arm64/v8]" in done.in_force


BUSYBOX = [
    *(
        "1.25.0",
        "1.26.2-glibc",
        "1.26.2-musl",
        "1.26.10-musl",
        "1.29.4",
        "1.30.0",
        "1.31",
        "1.31.0-rc1",
        "1.31.1-glibc",
    ),
    *("v1.31.8", "1.31.9", "1.31.9-rc1", "1.32.0", "latest", "stable"),
]


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        (
            ["semver: >=1.31.0 <1.31.9", r"regex: 1\.26\.[0-9]-(glibc|uclibc|musl)", "1.29.4", "latest"],
            ["1.31", "1.31.1-glibc", "v1.31.8", "1.31.9-rc1", "1.26.2-glibc", "1.26.2-musl", "1.29.4", "latest"],
        ),
        (["latest", "semver: >=1.31.0", "keep: .+-(glibc|musl)"], ["1.31.1-glibc"]),
        (
            ["latest", "1.30.0", "semver: >=1.31.0", "keep: !.*-.*"],
            ["latest", "1.30.0", "1.31", "v1.31.8", "1.31.9", "1.32.0"],
        ),
        (["stable", "semver: >=1.30.0 <=1.32.0", "keep: latest 2"], ["stable", "1.31.9", "1.32.0"]),
        (["semver: >=1.32.0 || <1.26.0"], ["1.32.0", "1.25.0"]),
        (["regex: !.*[0-9].*"], ["latest", "stable"]),
        (["regex: ! 1.*", "regex: 1.30.*"], ["1.30.0", *BUSYBOX]),
        (["keep: !.*-.*", "regex: 1\\.31.*"], ["1.31", "1.31.9"]),
        (["semver: 1.31.x !1.31.8"], ["1.31", "1.31.1-glibc", "1.31.9", "1.31.9-rc1"]),
        ([], BUSYBOX),
    ],
)
def test_tags(convert, tags, wanted):
    done = convert(task([{"from": "busybox", "tags": tags}]))
    assert done.plan({"s.example/busybox": BUSYBOX}) == pairs("busybox", "busybox", *wanted)
    assert done.done.left_out == 0


def test_short_versions_with_an_end_are_no_versions_there(convert):
    done = convert(task([{"from": "x", "tags": ["semver: >=1.0.0"]}]))
    listed = ["1.31", "1.31-glibc", "v2-rc1", "1.31.0-glibc", "2"]
    assert done.plan({"s.example/x": listed}) == pairs("x", "x", "1.31", "1.31.0-glibc", "2")


def test_a_mapping_of_which_nothing_is_kept_is_told(convert):
    done = convert(task([{"from": "x", "tags": ["latest", "keep: 1.*"]}, {"from": "y", "tags": ["1"]}]))
    assert done.plan({}) == pairs("y", "y", "1")
    assert [what for _, _, what in done.told] == ["`keep:` leaves none of the tags that are written out"]


def test_digests(convert):
    done = convert(task([{"from": "x", "to": "y", "tags": [DIGEST, f"1.36@{DIGEST}", "7"]}]))
    assert done.plan({}) == {
        (f"s.example/x@{DIGEST}", f"t.example/y@{DIGEST}"),
        (f"s.example/x@{DIGEST}", "t.example/y:1.36"),
        ("s.example/x:7", "t.example/y:7"),
    }


@pytest.mark.parametrize(
    ("mapping", "wanted"),
    [
        ({"from": "regex:my/.*", "to": "ecr"}, {"my/a": "ecr/my/a", "my/b/c": "ecr/my/b/c"}),
        ({"from": "regex:my/a|other"}, {"my/a": "my/a", "other": "other", "another": "another"}),
        (
            {"from": "regex:my/.*", "to": "regex:my/,dh/other-my/"},
            {"my/a": "dh/other-my/a", "my/b/c": "dh/other-my/b/c"},
        ),
    ],
)
def test_repositories_by_expression(convert, mapping, wanted):
    listed = {f"s.example/{name}": ["latest", "1"] for name in ("my/a", "my/b/c", "other", "another", "yet")}
    done = convert(task([mapping | {"tags": ["latest"]}]))
    assert done.plan(listed) == set().union(*(pairs(name, new, "latest") for name, new in wanted.items()))


@pytest.mark.parametrize(
    ("to", "path"),
    [
        ("regex:my(.+)/,from-dh/your$1/", "from-dh/yourproject/webui"),
        ("regex:^/(?P<first>[a-z]+)/,/${first}2/", "project2/webui"),
        ("regex:webui,$$x$9", "myproject/"),
    ],
)
def test_one_repository_under_a_changed_name(convert, to, path):
    source = "myproject/webui" if not path.startswith("project2") else "project/webui"
    done = convert(task([{"from": source, "to": to, "tags": ["1"]}]))
    if path.endswith("/"):
        assert (done.done.rules, done.done.left_out) == (0, 1)  # $x is no name
    else:
        assert done.plan({}) == pairs(source, path, "1")


@pytest.mark.parametrize(
    "mapping",
    [
        {"from": "x", "tags": ["js: return true"]},
        {"from": "x", "tags": ["regex: a", "keep: b"]},
        {"from": "x", "tags": ["1.0", "2.0", "keep: latest 1"]},
        {"from": "x", "tags": ["1.0", "keep: (?=a)"]},
        {"from": "x", "tags": ["semver: >=1.0.0-rc1"]},
        {"from": "x", "tags": ["semver: >=1.0.0", "regex: a", "keep: latest 3"]},
        {"from": "x", "to": "regex:(?=a),b"},
        {"from": "regex:a.*", "to": "regex:a(.*),b$1"},
        {"from": "regex:a.*", "tags": [DIGEST]},
    ],
)
def test_what_cannot_be_said_is_left_out_as_a_comment(convert, mapping):
    done = convert(task([mapping, {"from": "y", "tags": ["1"]}]))
    assert done.plan({}) == pairs("y", "y", "1")
    assert done.done.left_out == 1
    assert any(what.startswith("left out: ") and line == 6 for line, _, what in done.told)
    assert any(line.startswith("  # - source: ") for line in done.text.splitlines())


def test_registries(convert):
    ecr = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
    done = convert(f"""
        tasks:
          - name: a
            source: {{registry: s.example, auth: {auth()}}}
            target: {{registry: {ecr}, auth-refresh: 10h}}
            mappings: [{{from: x, tags: [1]}}]
          - name: b
            source: {{registry: s.example, auth: {auth("eve")}, lister: {{type: index, search: x}}}}
            target: {{registry: t.example, auth: none}}
            mappings: [{{from: y, tags: [1]}}]
    """)
    assert [line.strip() for line in done.in_force[2:9]] == [
        "s.example:",
        "username: alex",
        'password: "${S_EXAMPLE_PASSWORD}"',
        f"{ecr}:" if ecr[0].isalpha() else f'"{ecr}":',
        "create_repositories: true",
        "t.example:",
        'cloud: "off"',
    ]
    assert [(line, key) for line, key, _ in done.told] == [
        (8, "tasks[1] › source › auth"),
        (8, "tasks[1] › source › lister"),
    ]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("relay: skopeo", "there are no `tasks`"),
        ("tasks: [{source: {registry: a.example}, mappings: []}]", "there is no registry"),
        (task([{"to": "x"}]), "a mapping without `from`"),
        (task([], source=", auth: xx"), "not the base64 of"),
        (task([], source=", skip-tls-verify: maybe"), "not a boolean"),
        (task("{from: x}"), "no list"),
    ],
)
def test_what_is_no_file_of_dregsy(convert, content, what):
    with pytest.raises(ConfigurationError, match=what):
        convert(content, source_format=FileFormat.DREGSY)
