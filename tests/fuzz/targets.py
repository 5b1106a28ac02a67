"""Everything of ours that reads what strangers wrote, each as a function of bytes, with examples to begin with.

A target ends without an exception, whatever it is given: errors that are meant for people are part of its answer.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from image_syncer.config.document import MalformedText, parse_document
from image_syncer.config.loader import load_configuration, load_registries
from image_syncer.config.regex import RegexError, translate_regex
from image_syncer.credentials.login_files import parse_docker_config
from image_syncer.embedded import ContentBuilder
from image_syncer.errors import Origin, SyncError, redact
from image_syncer.oci import (
    InvalidManifest,
    InvalidReference,
    ManifestFormat,
    ManifestKind,
    NotConvertible,
    Repository,
    convert,
    digest_of,
    parse_manifest,
    parse_platform,
    parse_reference,
    parse_repository,
)
from image_syncer.registry import (
    Endpoint,
    Headers,
    Response,
    build_get_manifest,
    build_start_upload,
    follow_redirect,
    parse_allowance,
    parse_blob_range,
    parse_challenges,
    parse_failure,
    parse_manifest_head,
    parse_patch_upload,
    parse_put_upload,
    parse_start_upload,
    parse_token,
    parse_upload_status,
    rank_challenges,
)
from image_syncer.registry.failures import retry_after_s
from image_syncer.registry.listings import parse_catalog_page, parse_tag_page
from image_syncer.registry.location import resolve_own_location
from image_syncer.reporting.recorded_report import load_report
from image_syncer.units import parse_duration, parse_size
from image_syncer.watch.server import MalformedEvent, parse_events

__all__ = ["TARGETS", "Target"]

URL = "https://registry.example/v2/a/b/manifests/x"
ENDPOINT = Endpoint("registry.example", "https://registry.example")
REPOSITORY = Repository("registry.example", "a/b")
CONTENT = ContentBuilder(seed=1)
DIGEST = digest_of(b"x")
STATUSES = (200, 201, 202, 204, 206, 307, 400, 401, 403, 404, 405, 413, 416, 429, 500, 503)


@dataclass(frozen=True)
class Target:
    """`run` reads bytes; `seeds` are some that make sense."""

    run: Callable[[bytes], object]
    seeds: tuple[bytes, ...]


TARGETS: dict[str, Target] = {}


def target(*seeds: bytes) -> Callable[[Callable[[bytes], object]], Callable[[bytes], object]]:
    """Make a target of a function, named as it is."""

    def enter(run: Callable[[bytes], object]) -> Callable[[bytes], object]:
        TARGETS[run.__name__] = Target(run, seeds)
        return run

    return enter


def as_text(data: bytes) -> str:
    """As header fields are read."""
    return data.decode("latin-1")


def as_answer(data: bytes) -> Response:
    """An answer out of the first byte (a status), the lines up to an empty one (fields), and the rest (a body)."""
    status = STATUSES[data[0] % len(STATUSES)] if data else 0
    head, _, body = data[1:].partition(b"\n\n")
    return Response(status, Headers(text=head.decode("latin-1")), body, URL)


def attempt(function: Callable[..., object], *args: object, **kwargs: object) -> object:
    """What a call gives, or the error that people are told, which can be shown and has no control characters."""
    try:
        return function(*args, **kwargs)
    except SyncError as error:
        shown = str(error)
        SyncError.from_data(error.to_data())
        json.dumps(error.to_data())
        return shown


@target(
    b'Bearer realm="https://auth.example/token",service="x",scope="repository:a/b:pull"',
    b"Basic realm=x, Negotiate abc==",
)
def challenges(data: bytes) -> None:
    found = parse_challenges([as_text(part) for part in data.split(b"\n")])
    rank_challenges(found)


@target(b"/v2/a/b/blobs/uploads/1?_state=x", b"https://other.example:5000/x?y#z", b"//h/x", b"../x", b"h:80/x")
def locations(data: bytes) -> None:
    for base in (URL, "http://[::1]:5000/v2/"):
        where = attempt(resolve_own_location, base, as_text(data))
        assert isinstance(where, str)


@target(b"\x05Location: https://storage.example/x?sig=y\n\n", b"\x05Location: /x\n\n")
def redirects(data: bytes) -> None:
    request = build_get_manifest(ENDPOINT, REPOSITORY, "x")
    answer = as_answer(data)
    for followed in (0, 5):
        attempt(follow_redirect, request, answer, followed=followed)


@target(
    b'\x0aContent-Type: application/json\n\n{"errors":[{"code":"DENIED","message":"no","detail":{"a":1}}]}',
    b"\x0eRetry-After: 5\n\n<html><head><title>502 Bad Gateway</title></head></html>",
    b'\x07WWW-Authenticate: Bearer error="insufficient_scope"\n\n',
)
def failures(data: bytes) -> None:
    answer = as_answer(data)
    for request in (build_get_manifest(ENDPOINT, REPOSITORY, "x"), build_start_upload(ENDPOINT, REPOSITORY)):
        error = parse_failure(answer, request=request, origin=Origin.SOURCE)
        assert str(error).replace("\n", " ").isprintable()
        SyncError.from_data(json.loads(json.dumps(error.to_data())))


@target(
    b'\x00Link: </v2/a/b/tags/list?n=2&last=b>; rel="next"\n\n{"name":"a/b","tags":["a","b"]}', b'\x00\n\n{"tags":null}'
)
def tag_lists(data: bytes) -> None:
    attempt(parse_tag_page, as_answer(data), URL)
    attempt(parse_catalog_page, as_answer(data), URL)


@target(b'\x00\n\n{"token":"x","expires_in":300,"issued_at":"2020-01-01T00:00:00Z"}', b'\x00\n\n{"access_token":"x"}')
def tokens(data: bytes) -> None:
    attempt(parse_token, as_answer(data))


@target(
    b"\x02Location: /v2/a/b/blobs/uploads/1?x=y\nRange: 0-99\nOCI-Chunk-Min-Length: 5242880\n\n",
    b"\x01Docker-Content-Digest: sha256:" + b"0" * 64 + b"\nLocation: x\n\n",
    b"\x04Content-Range: bytes 5-9/10\nContent-Length: 5\n\n",
)
def upload_answers(data: bytes) -> None:
    answer = as_answer(data)
    attempt(parse_start_upload, answer, URL)
    attempt(parse_patch_upload, answer, URL)
    attempt(parse_upload_status, answer, URL)
    attempt(parse_put_upload, answer, DIGEST)
    attempt(parse_blob_range, answer, 5)
    attempt(parse_manifest_head, answer)


@target(
    b"\x0dRetry-After: Wed, 21 Oct 2015 07:28:00 GMT\nratelimit-limit: 100;w=21600\nratelimit-remaining: 3;w=21600\n\n",
    b'\x0dRateLimit: "default";r=50;t=30\nRateLimit-Policy: "default";q=100;w=60\n\n',
)
def limits(data: bytes) -> None:
    answer = as_answer(data)
    retry_after_s(answer.headers, 0.0)
    parse_allowance(answer.headers, 0.0)


@target(
    CONTENT.image().raw,
    CONTENT.image(docker=True).raw,
    CONTENT.index(attestations=True).raw,
    CONTENT.nested_index().raw,
    CONTENT.artifact().raw,
    CONTENT.schema1().raw,
)
def manifests(data: bytes) -> None:
    for media_type in (None, "application/vnd.docker.distribution.manifest.v1+prettyjws"):
        with contextlib.suppress(InvalidManifest):
            attempt(parse_manifest, data, media_type)


@target(CONTENT.image().raw, CONTENT.image(docker=True).raw, CONTENT.artifact().raw, CONTENT.schema1().raw)
def conversions(data: bytes) -> None:
    with contextlib.suppress(InvalidManifest, NotConvertible):
        manifest = parse_manifest(data, None)
        if manifest.kind is ManifestKind.INDEX:
            return  # which takes children, and these are conversions of their own
        for wanted in ManifestFormat:
            converted = convert(manifest, wanted)
            assert convert(converted, wanted) is converted


@target(b"quay.io/coreos/etcd:v3.5.1@sha256:" + b"0" * 64, b"[::1]:5000/x", b"localhost:5000/a/b:latest", b"nginx")
def references(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for parse in (parse_reference, parse_repository):
        try:
            again = parse(str(parse(text)))
        except InvalidReference:
            continue
        assert parse(str(again)) == again


@target(b"linux/arm64/v8", b"windows(10.0.17763)/amd64")
def platforms(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        parse_platform(data.decode("utf-8", "replace"))


@target(b"16MiB", b"200MB/s", b"1h30m", b"0.5s", b"1e9")
def quantities(data: bytes) -> None:
    for parse in (parse_size, parse_duration):
        with contextlib.suppress(ValueError):
            assert parse(as_text(data)) >= 0


@target(b"^v[0-9]+(\\.[0-9]+)*$", b"(?P<a>x|y)*?[^a-z]{1,3}\\bz", b"(?i:a)+")
def tag_patterns(data: bytes) -> None:
    with contextlib.suppress(RegexError):
        translate_regex(data.decode("utf-8", "replace"))


@target(b"a: [1, {b: c}]\n---\n", b'{"a": [1, "\\u00e9", {"b": null}]}', b"x: &a {<<: *a}\n", b"- |\n  text\n")
def documents(data: bytes) -> None:
    for name in ("x.yaml", "x.json"):
        with contextlib.suppress(MalformedText):
            parse_document(data, name)


def loaded(load: Callable[..., object], data: bytes, name: str, **role: str) -> None:
    """A file with that content, in its role."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as directory:
        path = Path(directory, name)
        path.write_bytes(data)
        attempt(load, **{key: str(path) for key in role}, environ={"A": "b"})


@target(
    b"version: 2\nregistries: {a.io: {username: u, password: $A, insecure: true}}\n"
    b"rules:\n- {source: a.io/x, destination: b.io/x, tags: {regex: 'v.*'}}\n",
    b'{"auth": {"a.io": {"username": "u", "password": "${A}"}}, "images": {"a.io/x:/v.*/": ["b.io/x", "b.io/y:z"]}}',
)
def configurations(data: bytes) -> None:
    loaded(load_configuration, data, "c.yaml", config="")
    loaded(load_registries, data, "a.json", auth="")


@target(
    b'{"auths":{"a.io":{"auth":"dTpw"},"b.io/x":{"identitytoken":"t"}},"credsStore":"x","credHelpers":{"c.io":"y"}}'
)
def docker_configurations(data: bytes) -> None:
    def read() -> None:
        config = parse_docker_config(data, "config.json")
        for name in ("a.io", "b.io", "c.io"):
            config.find_helper(Repository(name, "x"))
            config.find_entry(Repository(name, "x/y"))

    attempt(read)


@target(b'{"format":1,"images":[{"source":"a.io/x:1","destination":"b.io/x:1","outcome":"failed"}],"totals":{}}')
def reports(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "report.json")
        path.write_bytes(data)
        attempt(load_report, str(path))


@target(b"GET https://u:p@h/v2/?X-Amz-Signature=abc", b'password: "x\\"y" token=abc Authorization: Basic dTpw')
def redaction(data: bytes) -> None:
    redact(data.decode("utf-8", "replace"))


@target(
    b'{"events": [{"action": "push", "target": {"repository": "a/b", "tag": "v1"}, "request": {"host": "r.example"}}]}',
    b'{"type": "PUSH_ARTIFACT", "event_data": {"repository": {"repo_full_name": "a/b"}, "resources": [{}]}}',
    b'{"type": "harbor.artifact.pushed", "data": {"repository": {"repo_full_name": "a/b"}}}',
    b'{"repositories": ["r.example/a/b"]}',
)
def notification(data: bytes) -> None:
    with contextlib.suppress(MalformedEvent):
        for pushed in parse_events(data):
            assert pushed.name
