"""A registry that wants to do harm, byte by byte: answers without end, bombs, lies. Each costs one image, a bounded
number of requests and bytes, and an error that says what it was.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

import image_syncer
from image_syncer.config import Settings, TagSelection
from image_syncer.config.loader import load_configuration
from image_syncer.embedded import Behaviour, Fault, LinkForm, MadeManifest
from image_syncer.embedded.content import build_manifest
from image_syncer.errors import IntegrityError, Origin, ProtocolViolation, SyncError, TransportError
from image_syncer.oci import Platform
from support.raw_server import found, serve_image, serve_raw
from support.sync_runs import PASSWORD, REPOSITORY, TAG, USER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from support.sync_runs import Done, SyncLab

MIB = 2**20
FOREVER = None
INDEX, IMAGE = "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json"
WAYS = pytest.mark.parametrize("small_bytes", [0, MIB], ids=["streamed", "whole"])


class Hostile:
    """A source that has one image but for what `twist` says to a request (None: nothing), and what it was asked."""

    def __init__(self, image: MadeManifest, twist: Callable[[str, str], Iterable[bytes] | None]) -> None:
        blobs = {str(blob.digest): blob for blob in image.all_blobs()}
        self._honest = serve_image(image, TAG, lambda digest: [found(blobs[digest].read())])
        self._twist = twist
        self.asked: list[tuple[str, str]] = []
        self.sent = 0

    def answer(self, method: str, path: str) -> Iterable[bytes] | None:
        self.asked.append((method, path))
        twisted = self._twist(method, path)
        return self._counted(twisted) if twisted is not None else self._honest(method, path)

    def _counted(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self.sent += len(piece)
            yield piece


def attack(
    lab: SyncLab,
    twist: Callable[[str, str], Iterable[bytes] | None],
    *,
    image: MadeManifest | None = None,
    tags: TagSelection | None = None,
    exit_code: int = 1,
    **how: Any,
) -> tuple[Done, Hostile]:
    fields = {"platforms": how.pop("platforms")} if "platforms" in how else {}
    hostile = Hostile(image or lab.content.image(1, layer_bytes=1000), twist)
    with serve_raw(hostile.answer) as source:
        lab.enter(source)
        rule = lab.rule(origin=source, tags=tags or (TAG,), **fields)
        done = lab.run(rule, exit_code=exit_code, **{"retries": 0, **how})
    return done, hostile


def head(status: str, *fields: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode("latin-1")


def is_manifest(method: str, path: str) -> bool:
    return method == "GET" and "/manifests/" in path


def is_blob(method: str, path: str) -> bool:
    return method == "GET" and "/blobs/" in path


# ---- heads


@pytest.mark.parametrize("line", [b"X-More: of the same, and of the same\r\n", b"X" * 4096])
@pytest.mark.parametrize("what", [is_manifest, is_blob], ids=["manifest", "blob"])
def test_a_head_without_end(lab: SyncLab, what: Callable[[str, str], bool], line: bytes) -> None:
    def endless() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n"
        while True:
            yield line

    done, hostile = attack(lab, lambda *asked: endless() if what(*asked) else None)
    assert isinstance(done.error, TransportError)
    assert hostile.sent < 20 * MIB


@pytest.mark.parametrize("what", [is_manifest, is_blob], ids=["manifest", "blob"])
def test_interim_answers_without_end(lab: SyncLab, what: Callable[[str, str], bool]) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 100

    done, hostile = attack(lab, lambda *asked: endless() if what(*asked) else None)
    assert isinstance(done.error, TransportError)
    assert hostile.sent < 40 * MIB


def test_a_challenge_that_is_a_bomb(lab: SyncLab) -> None:
    bombs = [f'WWW-Authenticate: Bearer realm="{"a=" * 4000}\\"' for _ in range(25)]
    bombs += ["WWW-Authenticate: " + ", ".join(["Bearer"] * 1000), "WWW-Authenticate: " + "," * 8000]
    done, _ = attack(lab, lambda *_asked: [head("401 Unauthorized", "Content-Length: 0", *bombs)])
    assert isinstance(done.error, SyncError)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("value", ["31536000", "9" * 5000, "Fri, 01 Jan 2100 00:00:00 GMT"])
def test_a_wait_of_years(lab: SyncLab, status: int, value: str) -> None:
    done, hostile = attack(
        lab, lambda *_asked: [head(f"{status} RetryQueue", "Content-Length: 0", f"Retry-After: {value}")], retries=3
    )
    assert done.error.kind in ("rate limited", "unavailable", "not asked")
    assert len(hostile.asked) < 10


# ---- lists of tags

LISTING = TagSelection(include=("v*",))


def page(tags: list[str], following: str = "") -> bytes:
    link = {"Link": f'<{following}>; rel="next"'} if following else {}
    return found(json.dumps({"name": REPOSITORY, "tags": tags}).encode(), **link)


def test_a_page_that_links_to_itself(lab: SyncLab) -> None:
    here = f"/v2/{REPOSITORY}/tags/list?last=v1&n=1000"
    done, hostile = attack(lab, lambda _method, path: [page(["v1"], here)] if "/tags/" in path else None, tags=LISTING)
    assert "goes round in circles" in str(done.failure.error)
    assert sum("/tags/" in path for _, path in hostile.asked) == 2


def test_pages_that_go_on_without_anything_new(lab: SyncLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("image_syncer.discovery.listings.MAX_BARREN_PAGES", 30)

    def twist(_method: str, path: str) -> list[bytes] | None:
        if "/tags/" not in path:
            return None
        number = int(path.rpartition("last=")[2] or 0) if "last=" in path else 0
        return [page(["v1"], f"/v2/{REPOSITORY}/tags/list?last={number + 1}")]

    done, hostile = attack(lab, twist, tags=LISTING)
    assert "continues for 30 pages with nothing new in them" in str([image.error for image in done.images])
    assert sum("/tags/" in path for _, path in hostile.asked) == 31


def test_new_tags_without_end(lab: SyncLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("image_syncer.discovery.listings.MAX_NAMES", 5000)

    def twist(_method: str, path: str) -> list[bytes] | None:
        if "/tags/" not in path:
            return None
        begin = int(path.rpartition("last=")[2]) if "last=" in path else 0
        tags = [f"other{number}" for number in range(begin, begin + 1000)]
        return [page(tags, f"/v2/{REPOSITORY}/tags/list?last={begin + 1000}")]

    done, hostile = attack(lab, twist, tags=LISTING)
    assert "lists more than 5,000 tags" in str(done.failure.error)
    assert len(hostile.asked) < 20


@pytest.mark.extended
def test_a_page_of_a_million_tags(lab: SyncLab) -> None:
    whole = page([f"v{number:07}" for number in range(1_000_000)])
    done, _ = attack(lab, lambda _method, path: [whole] if "/tags/" in path else None, tags=LISTING)
    assert "answered with more than 8388608 bytes" in str(done.failure.error)


def test_names_in_a_list_that_are_none(lab: SyncLab) -> None:
    """Only what can be a tag is taken for one: neither paths, nor escape sequences, nor what is too long."""
    names = ["../../etc/passwd", "v1\x1b[2J", "v1\u202e", "v1\n", "", "v" * 129, "v1?x=y", "v1#f", "v1 v2", TAG]
    done, hostile = attack(
        lab, lambda _method, path: [page(names)] if "/tags/" in path else None, tags=LISTING, exit_code=0
    )
    assert done.outcomes == ["copied"]
    assert {path for _, path in hostile.asked if "/manifests/v" in path} == {f"/v2/{REPOSITORY}/manifests/{TAG}"}


def test_a_catalog_of_names_that_are_none(lab: SyncLab, tmp_path: Path) -> None:
    names = [
        "../../etc/passwd",
        "a\x1b[2J",
        "a\u202e\x9b0m",
        "a\nError: all is well",
        "A" * 100_000,
        "a?b=c",
        "",
        "team/app",
    ]
    image = lab.content.image(1, layer_bytes=1000)
    catalog = found(json.dumps({"repositories": names}).encode())
    hostile = Hostile(image, lambda _method, path: [catalog] if path.startswith("/v2/_catalog") else None)

    def answer(method: str, path: str) -> Iterable[bytes] | None:
        return [page([TAG])] if "/tags/" in path else hostile.answer(method, path)

    report = tmp_path / "hostile.json"
    with serve_raw(answer) as source:
        entries = {key: {"insecure": True} for key in (source.address, lab.destination.address)}
        rules = [{"source": f"{source.address}/**", "destination": f"{lab.destination.address}/**"}]
        path = tmp_path / "own.yaml"
        path.write_text(json.dumps({"version": 2, "registries": entries, "rules": rules}))
        image_syncer.sync(
            load_configuration(config=str(path), environ={}), Settings(workers=1, retries=0, report_path=str(report))
        )
    assert lab.destination.storage.repositories() == ["team/app"]
    text = report.read_text(encoding="utf-8")
    assert len(text) < 20_000
    assert all(each.isprintable() for each in strings_of(json.loads(text)))
    assert not any("passwd" in path for _, path in hostile.asked)


def test_a_list_that_goes_on_at_another_host(lab: SyncLab) -> None:
    lab.image(1)
    lab.source.behaviour = Behaviour(users={USER: PASSWORD}, max_page_size=1, link_form=LinkForm.OTHER_HOST)
    lab.push(lab.content.image(1), tags=("v2",))
    lab.log_in(lab.source)
    done = lab.run(lab.rule(tags=LISTING), exit_code=1)
    assert "on another host" in str(done.document)
    assert done.at(lab.source).authorization_on_companion == 0


# ---- manifests and indexes


@pytest.mark.parametrize(("size", "words"), [(5 * MIB, "4194304 bytes"), (9 * MIB, "8388608 bytes")])
def test_a_manifest_that_is_too_large(lab: SyncLab, size: int, words: str) -> None:
    body = b'{"schemaVersion":2,"annotations":{"a":"' + b"a" * size + b'"}}'
    done, _ = attack(lab, lambda *asked: [found(body, Content_Type=IMAGE)] if is_manifest(*asked) else None)
    assert isinstance(done.error, ProtocolViolation)
    assert words in done.error.message


def test_a_manifest_without_end(lab: SyncLab) -> None:
    def endless() -> Iterator[bytes]:
        yield head("200 OK", "Transfer-Encoding: chunked", f"Content-Type: {IMAGE}")
        while True:
            yield b"10000\r\n" + b"a" * 65536 + b"\r\n"

    done, hostile = attack(lab, lambda *asked: endless() if is_manifest(*asked) else None)
    assert isinstance(done.error, ProtocolViolation)
    assert hostile.sent < 40 * MIB


@pytest.mark.extended
def test_annotations_that_fill_a_manifest_are_copied_as_they_are(lab: SyncLab) -> None:
    image = lab.content.image(1)
    document = json.loads(image.raw)
    document["annotations"] = {f"org.example.{number}": "x" * 100 for number in range(20_000)}
    large = build_manifest(document, image.blobs)
    lab.push(large)
    lab.run()
    lab.assert_arrived(large)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"annotations":' * 100 + b"{}" + b"}" * 100, "nests deeper than 32 levels"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a":' * 500_000, "not JSON"),
    ],
)
def test_a_manifest_that_nests_without_end(lab: SyncLab, body: bytes, words: str) -> None:
    done, _ = attack(lab, lambda *asked: [found(body, Content_Type=IMAGE)] if is_manifest(*asked) else None)
    assert words in done.error.message


def index_of(*children: MadeManifest, times: int = 1) -> MadeManifest:
    manifests = [child.descriptor() for child in children] * times
    return build_manifest({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}, children=children)


def test_indexes_inside_indexes(lab: SyncLab) -> None:
    image = lab.content.image(1)
    deep = image
    for _ in range(12):
        deep = index_of(deep)
    lab.push(deep)
    done = lab.run(exit_code=1)
    assert "nested more than 8 deep" in done.error.message
    assert done.at(lab.source).count("get blob") == 0


def test_an_index_of_too_many_manifests(lab: SyncLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("image_syncer.discovery.discovery.MAX_MANIFESTS", 20)
    wide = index_of(*(lab.content.image(0) for _ in range(30)))
    lab.push(wide)
    done = lab.run(exit_code=1)
    assert "more than 20 manifests are under it" in done.error.message
    assert done.at(lab.source).count("get manifest") <= 1 + 20


def test_manifests_under_an_index_that_are_too_much_together(lab: SyncLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("image_syncer.discovery.discovery.MAX_TREE_BYTES", 5000)
    lab.push(index_of(*(lab.content.image(0) for _ in range(30))))
    done = lab.run(exit_code=1)
    assert "more than 5000 bytes" in done.error.message


@pytest.mark.extended
def test_an_index_that_names_one_manifest_again_and_again(lab: SyncLab) -> None:
    image = lab.content.image(1)
    lab.push(index_of(image, times=2000))
    done = lab.run()
    assert done.at(lab.source).count("get manifest") == 2
    assert done.outcomes == ["copied"]


def test_a_list_of_more_entries_than_are_read(lab: SyncLab) -> None:
    wide = index_of(lab.content.image(1), times=20_000).raw  # of 2.8 MB
    done, _ = attack(lab, lambda *asked: [found(wide, Content_Type=INDEX)] if is_manifest(*asked) else None)
    assert "20000 entries, more than the 10000 that are read" in done.error.message


@pytest.mark.parametrize("platforms", [(), (Platform("linux", "amd64"),)], ids=["all", "one platform"])
def test_indexes_that_name_each_other_in_endless_many_ways(lab: SyncLab, platforms: tuple[Platform, ...]) -> None:
    """Eight levels of forty entries are 6,553,600,000,000 ways to the bottom."""
    deep = lab.content.image(0)
    for _ in range(8):
        deep = index_of(deep, times=40)
    lab.push(deep)
    # Its one blob is refused, so that the test itself need not look for parts that are missing, in as many ways.
    lab.source.behaviour = Behaviour(faults=(Fault("get blob", status=403, times=FOREVER),))
    done = lab.run(lab.rule(platforms=platforms), exit_code=1)
    assert done.error.status == 403
    assert done.at(lab.source).count("get manifest") <= 18


def test_an_index_that_says_it_contains_itself(lab: SyncLab) -> None:
    """No bytes hold their own digest, so what is served under it is something else."""
    own = {"mediaType": INDEX, "digest": "sha256:" + "a" * 64, "size": 0}
    body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [own]}).encode()
    done, hostile = attack(
        lab,
        lambda _method, path: [found(body, Content_Type=INDEX)] if "/manifests/" in path else None,
        retries=1,
    )
    assert isinstance(done.error, IntegrityError)
    assert len(hostile.asked) < 20


# ---- bodies


@WAYS
def test_a_blob_is_never_decompressed(lab: SyncLab, small_bytes: int) -> None:
    """Whatever the answer says of its coding: the bytes as they come have the digest, or they do not."""
    image = lab.content.image(1, layer_bytes=1000)
    blobs = {str(blob.digest): blob.read() for blob in image.all_blobs()}

    def squeezed(method: str, path: str) -> list[bytes] | None:
        if not is_blob(method, path):
            return None
        return [found(gzip.compress(blobs[path.rpartition("/")[2]]), Content_Encoding="gzip")]

    done, _ = attack(lab, squeezed, image=image, small_bytes=small_bytes)
    assert isinstance(done.error, IntegrityError)


@WAYS
def test_a_coding_that_is_only_said_does_no_harm(lab: SyncLab, small_bytes: int) -> None:
    image = lab.content.image(1, layer_bytes=1000)
    blobs = {str(blob.digest): blob.read() for blob in image.all_blobs()}

    def said(method: str, path: str) -> list[bytes] | None:
        return [found(blobs[path.rpartition("/")[2]], Content_Encoding="gzip")] if is_blob(method, path) else None

    attack(lab, said, image=image, small_bytes=small_bytes, exit_code=0)
    lab.assert_arrived(image)


def test_a_manifest_is_never_decompressed(lab: SyncLab) -> None:
    bomb = gzip.compress(bytes(64 * MIB))
    done, _ = attack(
        lab,
        lambda *asked: [found(bomb, Content_Type=IMAGE, Content_Encoding="gzip")] if is_manifest(*asked) else None,
    )
    assert "not JSON" in done.error.message


@WAYS
@pytest.mark.parametrize("what", [is_manifest, is_blob], ids=["manifest", "blob"])
def test_a_transfer_coding_that_was_not_asked_for(
    lab: SyncLab, what: Callable[[str, str], bool], small_bytes: int
) -> None:
    body = gzip.compress(bytes(64 * MIB))
    answer = head("200 OK", "Transfer-Encoding: gzip, chunked") + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    done, _ = attack(lab, lambda *asked: [answer] if what(*asked) else None, small_bytes=small_bytes)
    assert isinstance(done.error, (TransportError, IntegrityError, ProtocolViolation))


@WAYS
@pytest.mark.parametrize("status", ["404 Not Found", "403 Forbidden"])
def test_a_refusal_without_end(lab: SyncLab, status: str, small_bytes: int) -> None:
    def endless() -> Iterator[bytes]:
        yield head(status, "Transfer-Encoding: chunked")
        while True:
            yield b"10000\r\n" + b"a" * 65536 + b"\r\n"

    done, hostile = attack(lab, lambda *asked: endless() if is_blob(*asked) else None, small_bytes=small_bytes)
    assert done.error.status == int(status[:3])
    assert hostile.sent < 40 * MIB


@WAYS
def test_a_blob_without_end(lab: SyncLab, small_bytes: int) -> None:
    def endless() -> Iterator[bytes]:
        yield head("200 OK", "Transfer-Encoding: chunked")
        while True:
            yield b"10000\r\n" + b"a" * 65536 + b"\r\n"

    done, hostile = attack(lab, lambda *asked: endless() if is_blob(*asked) else None, small_bytes=small_bytes)
    assert isinstance(done.error, IntegrityError)
    assert hostile.sent < 80 * MIB


def test_a_deep_check_reads_no_refusal_without_end(lab: SyncLab) -> None:
    image = lab.image(1, layer_bytes=1000)

    def endless() -> Iterator[bytes]:
        yield head("403 Forbidden", "Transfer-Encoding: chunked")
        while True:
            yield b"10000\r\n" + b"a" * 65536 + b"\r\n"

    hostile = Hostile(image, lambda *asked: endless() if is_blob(*asked) else None)
    with serve_raw(hostile.answer) as destination:
        lab.enter(destination)
        done = lab.verify(lab.rule(to=[(destination, REPOSITORY)]), deep=True, exit_code=1, retries=0)
    assert "403" in str(done.document)
    assert hostile.sent < 40 * MIB


@pytest.mark.extended
@WAYS
def test_an_upload_whose_answer_has_no_end(lab: SyncLab, small_bytes: int) -> None:
    lab.image(1, layer_bytes=1000)
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield head("201 Created", "Transfer-Encoding: chunked")
        while True:
            sent += 65536
            yield b"10000\r\n" + b"a" * 65536 + b"\r\n"

    def answer(method: str, path: str) -> Iterable[bytes] | None:
        if method == "POST":
            return [head("202 Accepted", "Content-Length: 0", f"Location: /v2/{REPOSITORY}/blobs/uploads/1?a=b")]
        if method == "PUT":
            return endless()
        return [head("404 Not Found", "Content-Length: 0")]

    with serve_raw(answer) as destination:
        lab.enter(destination)
        done = lab.run(
            lab.rule(to=[(destination, REPOSITORY)]),
            exit_code=1,
            retries=0,
            small_bytes=small_bytes,
            stall_timeout_s=2.0,
            answer_timeout_s=2.0,
        )
    assert done.error.origin is Origin.DESTINATION


# ---- redirects


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "ftp://127.0.0.1/",
        "dict://127.0.0.1:11211/stats",
        "javascript://127.0.0.1/",
        "http:///etc/passwd",
        "//user:hunter2hunter2@127.0.0.1/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1\t@evil/",
        "http://[::1/",
        "http://" + "a" * 20_000,
    ],
)
@pytest.mark.parametrize("operation", ["get blob", "get manifest"])
def test_addresses_that_are_not_followed(lab: SyncLab, operation: str, location: str) -> None:
    what = is_blob if operation == "get blob" else is_manifest
    answer = head("307 Temporary Redirect", "Content-Length: 0", f"Location: {location}")
    done, hostile = attack(lab, lambda *asked: [answer] if what(*asked) else None)
    assert isinstance(done.error, ProtocolViolation)
    assert "cannot be used" in done.error.message
    assert "hunter2" not in done.log + str(done.document)
    assert sum(what(*asked) for asked in hostile.asked) <= 2  # config and layer


@pytest.mark.parametrize("what", [is_manifest, is_blob], ids=["manifest", "blob"])
def test_a_chain_of_redirects(lab: SyncLab, what: Callable[[str, str], bool]) -> None:
    def onward(method: str, path: str) -> list[bytes] | None:
        if not what(method, path):
            return None
        number = int(path.rpartition("?hop=")[2]) if "?hop=" in path else 0
        location = f"{path.partition('?')[0]}?hop={number + 1}"
        return [head("302 Found", "Content-Length: 0", f"Location: {location}")]

    done, hostile = attack(lab, onward)
    assert "redirects once more after 5 redirects" in done.error.message
    assert sum(what(*asked) for asked in hostile.asked) <= 12


# ---- tokens


@pytest.mark.parametrize(
    "token", ["a" * (5 * MIB), "a" * (10 * MIB), "a\r\nX-Injected: yes", "a b", "", None, {"a": 1}, "\x1b[2J"]
)
def test_tokens_that_are_none(lab: SyncLab, token: object) -> None:
    body = json.dumps({"token": token}).encode()
    injected: list[str] = []

    def twist(method: str, path: str) -> list[bytes] | None:
        if path.startswith("/token"):
            return [found(body)]
        realm = f'WWW-Authenticate: Bearer realm="http://{address[0]}/token",service="s"'
        return [head("401 Unauthorized", "Content-Length: 0", realm)]

    address: list[str] = []
    hostile = Hostile(lab.content.image(1), twist)
    with serve_raw(hostile.answer) as source:
        address.append(source.address)
        lab.enter(source)
        done = lab.run(lab.rule(origin=source), exit_code=1, retries=0)
    assert isinstance(done.error, SyncError)
    assert injected == []
    assert "aaaaaaaa" not in done.log + str(done.document)


# ---- algorithms


@pytest.mark.parametrize(
    "digest",
    ["md5:" + "a" * 32, "sha1:" + "a" * 40, "blake3:" + "a" * 64, "sha384:" + "a" * 96, "sha256:" + "A" * 64, "none"],
)
def test_an_algorithm_that_is_not_known_is_refused(lab: SyncLab, digest: str) -> None:
    image = lab.content.image(1)
    document = json.loads(image.raw)
    document["layers"][0]["digest"] = digest
    raw = json.dumps(document).encode()
    done, hostile = attack(lab, lambda *asked: [found(raw, Content_Type=IMAGE)] if is_manifest(*asked) else None)
    assert "is not a digest: write sha256: and 64, or sha512: and 128" in done.error.message
    assert not any(is_blob(*asked) for asked in hostile.asked)


@pytest.mark.parametrize("layer_bytes", [1000, 3 * MIB], ids=["whole", "streamed"])
def test_sha512_from_end_to_end(lab: SyncLab, layer_bytes: int) -> None:
    image = lab.content.image(1)
    layer = lab.content.layer(layer_bytes, algorithm="sha512")
    document = json.loads(image.raw)
    document["layers"] = [layer.descriptor()]
    config = next(blob for blob in image.blobs if str(blob.digest) == document["config"]["digest"])
    long = build_manifest(document, (config, layer))
    lab.push(long)
    lab.run()
    lab.assert_arrived(long)
    lab.verify(deep=True)


def test_a_sha512_layer_that_is_another_one_is_refused(lab: SyncLab) -> None:
    image = lab.content.image(1)
    layer = lab.content.layer(1000, algorithm="sha512")
    document = json.loads(image.raw)
    document["layers"] = [layer.descriptor()]
    config = next(blob for blob in image.blobs if str(blob.digest) == document["config"]["digest"])
    long = build_manifest(document, (config, layer))
    wrong = b"x" * 1000
    assert hashlib.sha512(wrong).hexdigest() != layer.digest.hex
    done, _ = attack(lab, lambda _m, path: [found(wrong)] if path.endswith(str(layer.digest)) else None, image=long)
    assert isinstance(done.error, IntegrityError)


# ---- what would paint a terminal

PAINT = "\x1b]0;title\x07\x1b[2J\x1b[31mall is well\u202e\x9b0m"
NEW_LINE = "denied\nError: nothing is wrong\r\x1b[A"


@pytest.mark.parametrize(
    "answer",
    [
        json.dumps({"errors": [{"code": "DENIED", "message": PAINT, "detail": {"message": NEW_LINE}}]}),
        json.dumps({"error": PAINT, "error_description": NEW_LINE}),
        PAINT,
        NEW_LINE,
        f"<html><title>{PAINT}</title></html>",
        f"<?xml?><Error><Code>{PAINT}</Code><Message>{NEW_LINE}</Message></Error>",
    ],
)
def test_refusals_do_not_paint(lab: SyncLab, answer: str) -> None:
    lab.image(1)
    lab.source.behaviour = Behaviour(faults=(Fault("get manifest", status=403, times=FOREVER, body=answer),))
    assert_plain(lab.run(exit_code=1))


@pytest.mark.parametrize(
    "fields",
    [
        f"Location: https://evil.example/{PAINT}",
        f"Location: http://{PAINT}/",
        f"Location: /v2/{PAINT}",
        f"Docker-Content-Digest: {PAINT}",
        f"Content-Type: {PAINT}",
        f"Retry-After: {PAINT}",
        f"Content-Range: {PAINT}",
        f"RateLimit: {PAINT}",
    ],
)
@pytest.mark.parametrize("status", ["200 \x1b[2J", "307 \x1b[2J"])
def test_header_fields_do_not_paint(lab: SyncLab, fields: str, status: str) -> None:
    answer = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n".encode("latin-1") + fields.encode("utf-8") + b"\r\n\r\n"
    done, _ = attack(lab, lambda *asked: [answer] if is_manifest(*asked) else None)
    assert_plain(done)


@pytest.mark.parametrize("realm", [PAINT, f"http://127.0.0.1:1/{PAINT}"])
def test_challenges_do_not_paint(lab: SyncLab, realm: str) -> None:
    challenge = f'WWW-Authenticate: Bearer realm="{realm}",service="{PAINT}"'.encode()
    answer = head("401 \x1b[2J", "Content-Length: 0")[:-2] + challenge + b"\r\n\r\n"
    done, _ = attack(lab, lambda *asked: [answer] if is_manifest(*asked) else None)
    assert_plain(done)


def test_manifests_do_not_paint(lab: SyncLab) -> None:
    document = {"schemaVersion": 2, "mediaType": PAINT, "config": {"mediaType": PAINT, "digest": PAINT, "size": PAINT}}
    raw = json.dumps({**document, "layers": [NEW_LINE]}).encode()
    done, _ = attack(lab, lambda *asked: [found(raw, Content_Type=IMAGE)] if is_manifest(*asked) else None)
    assert_plain(done)


def assert_plain(done: Done) -> None:
    """Nothing that a terminal would obey, and no line that begins with a stranger's words."""
    message = str(done.error)
    assert all(char.isprintable() or char == "\n" for char in done.log + message), repr(message)
    assert "\nError" not in done.log + message
    for text in strings_of(done.document):
        assert text.isprintable(), repr(text)


def strings_of(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield str(key)
            yield from strings_of(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings_of(each)
    elif isinstance(value, str):
        yield value


def test_chunks_that_lie(lab: SyncLab) -> None:
    done, _ = attack(
        lab,
        lambda *asked: (
            [head("200 OK", "Transfer-Encoding: chunked"), b"ffffffffffffffff\r\n", b"a" * 100]
            if is_blob(*asked)
            else None
        ),
    )
    assert isinstance(done.error, (TransportError, IntegrityError))
