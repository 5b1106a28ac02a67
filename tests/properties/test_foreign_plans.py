"""Files of regsync, skopeo sync and dregsy, as their documentation shows them and in other words: what they are
converted to plans what those tools copy, whatever tags the registries have.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from image_syncer.config.converters import Conversion, ConversionOptions, convert_files
from support.foreign_tools import has_equal_versions, planned_by_dregsy, planned_by_regsync, planned_by_skopeo
from support.planned_copies import planned_for_platforms

DIGEST = "sha256:" + "0" * 32 + "1" * 32
TO = "mirror.example/copies/"
few = settings(max_examples=60)
"""Each example is a file that is converted, written, read and planned."""

REGSYNC = r"""
version: 1
x-nightly: &nightly "15 01 * * *"
x-releases: &releases {allow: ['v?\d+\.\d+\.\d+'], deny: ['v?0\..*']}
creds:
  - {registry: "mirror.example:5000", tls: disabled}
  - {registry: docker.io, user: '{{env "HUB_USER"}}', pass: '{{file "/run/hub_token"}}'}
defaults: {ratelimit: {min: 100, retry: 15m}, parallel: 2, interval: 60m, backup: "bkup-{{.Ref.Tag}}"}
sync:
  - {source: "busybox:latest", target: "mirror.example:5000/library/busybox:latest", type: image}
  - source: ghcr.io/org/tool
    target: mirror.example:5000/org/tool:stable
    type: image
    platforms: [linux/amd64, linux/arm64]
  - source: alpine
    target: mirror.example:5000/library/alpine
    type: repository
    tags: {allow: [latest, edge, "3", '3.\d+'], deny: ["3.0"]}
    schedule: *nightly
  - source: quay.io/org/app
    target: mirror.example:5000/org/app
    type: repository
    tagSets:
      - {semverRange: [">=1.2.0 <2.0.0", "~2.1"], deny: ['.*-alpha.*']}
      - *releases
    platform: linux/amd64
  - source: registry.example:5000
    target: mirror.example:5000
    type: registry
    repos: {allow: ["team/.*", base], deny: ["team/old-.*"]}
    tags: {deny: [".*-rc.*"]}
"""
SKOPEO = f"""
registry.example.com:
  images:
    busybox: []
    redis: ["1.0", "2.0", "{DIGEST}"]
  images-by-tag-regex:
    team/nginx: ^1\\.13\\.[12]-alpine-perl$
  images-by-semver:
    alpine: ">= 3.12.0"
    node: "~1.2 || ^2"
  credentials: {{username: john, password: this is a secret}}
  tls-verify: true
  cert-dir: /etc/certs/john
quay.io:
  tls-verify: false
  images:
    coreos/etcd: [latest]
"""
DREGSY = f"""
relay: skopeo
skopeo: {{binary: skopeo, certs-dir: /etc/skopeo/certs.d}}
docker: {{dockerhost: "unix:///var/run/docker.sock", api-version: 1.41}}
lister: {{maxItems: 100, cacheDuration: 1h}}
tasks:
  - name: written out
    interval: 60
    verbose: true
    source: {{registry: source.example, auth: eyJ1c2VybmFtZSI6ICJhbGV4IiwgInBhc3N3b3JkIjogInNlY3JldCJ9Cg==}}
    target: {{registry: mirror.example, skip-tls-verify: true}}
    mappings:
      - {{from: test/image, to: archive/test/image, tags: ["0.1.0", "0.1.1"]}}
      - {{from: test/another-image, platform: linux/arm64}}
      - from: busybox
        tags: ["semver: >=1.31.0 <1.31.9", 'regex: 1\\.26\\.[0-9]-(glibc|uclibc|musl)', "1.29.4", latest]
      - {{from: kept, tags: ["semver: >=1.0.0", "keep: latest 3", "stable"]}}
      - {{from: pinned, to: archive/pinned, digests: ["{DIGEST}"], tags: ["1.0"]}}
      - {{from: myproject/webui, to: "regex:my(.+)/,from-dh/your$1/", tags: ["regex: !.*-.*"]}}
  - name: matched
    source: {{registry: source.example, lister: {{type: catalog}}}}
    target: {{registry: mirror.example}}
    mappings:
      - {{from: "regex:team/.*", to: ecr}}
      - {{from: "regex:jenkins/jnlp-.*", to: "regex:jenkins/,dh/other-jenkins/", tags: [latest]}}
"""

numbers = st.lists(st.integers(0, 4), min_size=1, max_size=3).map(lambda parts: ".".join(map(str, parts)))
ends = st.sampled_from(["", "", "", "-rc.1", "-rc1", "-alpine", "-alpha.2", "-alpine-perl", "-musl", "-0"])
versions = st.tuples(st.sampled_from(["", "", "v"]), numbers, ends).map("".join)
documented = st.sampled_from(
    [
        *("latest", "edge", "stable", "3", "3.0", "3.19", "1.13.1-alpine-perl", "1.13.3-alpine-perl", "1.26.2-musl"),
        *("1.26.10-musl", "1.29.4", "1.31.0", "1.31.9", "1.31.8", "v1.31.1", "1.31.9-rc1", "1.31-glibc", "1.32"),
        *("0.1.0", "0.1.1", "2.1.4", "2.2.0", "2.0.0", "2.0.0-rc.1", "1.2.0-alpha.1", "3.12.0", "v3.13", "4.0.0-rc1"),
    ]
)
tag_lists = st.lists(versions | documented, max_size=12, unique=True)
odd_tag_lists = st.lists(
    versions | documented | st.sampled_from(["1.2.3-01", "2-01", "1.2.3-0a", "1.2.3.4"]), max_size=12
)


def convert(text: str, folder: str) -> tuple[Conversion, Path]:
    old, new = Path(folder, "old.yaml"), Path(folder, "new.yaml")
    old.write_text(text, encoding="utf-8")
    done = convert_files(file=str(old), options=ConversionOptions(to=TO))
    new.write_text(done.text, encoding="utf-8")
    return done, new


def compare(text: str, listed: dict[str, list[str]]) -> None:
    """The plan of the converted file is that of the tool, but for rules that were left out, which there are none of."""
    document: dict[str, Any] = yaml.safe_load(text)
    with tempfile.TemporaryDirectory() as folder:
        done, new = convert(text, folder)
        assert done.left_out == 0
        planned = planned_for_platforms(new, listed) if done.rules else set()
    if "sync" in document:
        assert planned == planned_by_regsync(document, listed)
    elif "tasks" in document:
        assert planned == planned_by_dregsy(document, listed)
    else:
        assert planned == planned_by_skopeo(document, listed, TO)


@few
@given(st.data())
def test_the_documented_file_of_regsync(data):
    names = ["docker.io/library/busybox", "docker.io/library/alpine", "quay.io/org/app"]
    names += [f"registry.example:5000/{name}" for name in ("team/a", "team/old-b", "base", "base2", "other")]
    compare(REGSYNC, {name: data.draw(tag_lists) for name in names})


@few
@given(st.data())
def test_the_documented_file_of_skopeo(data):
    names = ["quay.io/coreos/etcd"]
    names += [f"registry.example.com/{name}" for name in ("busybox", "redis", "team/nginx", "alpine", "node")]
    compare(SKOPEO, {name: data.draw(tag_lists) for name in names})


@few
@given(st.data())
def test_the_documented_file_of_dregsy(data):
    names = ("test/image", "test/another-image", "busybox", "kept", "pinned", "myproject/webui")
    names += ("team/a", "team/b/c", "team", "jenkins/jnlp-slave", "jenkins/other")
    listed = {f"source.example/{name}": data.draw(tag_lists) for name in names}
    assume(not has_equal_versions(listed["source.example/kept"]))
    compare(DREGSY, listed)


def joined(*parts):
    return st.tuples(*parts).map("".join)


bounds = st.lists(st.integers(0, 3), min_size=1, max_size=3).map(lambda parts: ".".join(map(str, parts)))
ranges = st.lists(
    joined(st.sampled_from([">=", ">", "<", "<=", "=", "", "^", "~"]), bounds), min_size=1, max_size=2
).map(" ".join)
whole = st.lists(st.integers(0, 3), min_size=3, max_size=3).map(lambda parts: ".".join(map(str, parts)))
whole_ranges = st.lists(joined(st.sampled_from([">=", ">", "<", "<=", "=", "!="]), whole), min_size=1, max_size=2).map(
    " ".join
)
expressions = st.sampled_from(
    [*("latest", r"v?\d+\.\d+", ".*-rc.*", "3|edge", "[0-9.]+", ".+-(musl|glibc)", "stable", r"1\..*", "^v.*$", ".*")]
)
inverted = joined(st.sampled_from(["", "!"]), expressions)


def some(of, most=2):
    return st.lists(of, max_size=most)


@few
@given(tag_lists, some(ranges), some(expressions), some(expressions))
def test_conditions_of_regsync(tags, within, allow, deny):
    tag_set = {"semverRange": within, "allow": allow, "deny": deny}
    step = {"source": "a.example/x", "target": "b.example/x", "type": "repository", "tagSets": [tag_set]}
    compare(yaml.safe_dump({"sync": [step]}), {"a.example/x": tags})


@few
@given(odd_tag_lists, st.lists(ranges, min_size=1, max_size=2).map(" || ".join))
def test_constraints_of_skopeo(tags, text):
    compare(yaml.safe_dump({"a.example": {"images-by-semver": {"x": text}}}), {"a.example/x": tags})


@few
@given(odd_tag_lists, some(whole_ranges), some(inverted), some(documented | versions), some(inverted, 1))
def test_tags_of_dregsy(tags, semver, regex, exact, keep):
    assume(not (keep and regex and not keep[0].startswith("!")))  # two at once are told, and left out
    kinds = {"semver": semver, "regex": regex, "keep": keep}
    items = [f"{kind}: {text}" for kind, texts in kinds.items() for text in texts]
    task = {"source": {"registry": "a.example"}, "target": {"registry": "b.example"}}
    task["mappings"] = [{"from": "x", "tags": [*items, *exact]}]
    compare(yaml.safe_dump({"tasks": [{"name": "t", **task}]}), {"a.example/x": tags})
