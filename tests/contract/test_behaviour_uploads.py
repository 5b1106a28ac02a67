"""What the embedded registry does to uploads on request: forms of Location, quirks of others, cuts, a full disk."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import (
    Behaviour,
    ContentBuilder,
    DigestHeader,
    Fault,
    FaultKind,
    LocationForm,
    push_to,
)
from support.client import Client, with_digest

if TYPE_CHECKING:
    from image_syncer.embedded import EmbeddedRegistry

SIZE = 2 * 2**20 + 11


@pytest.mark.parametrize(
    ("form", "begins"),
    [
        (LocationForm.RELATIVE, "/v2/"),
        (LocationForm.ABSOLUTE, "http://{address}/v2/"),
        (LocationForm.WITHOUT_SCHEME, "//{address}/v2/"),
        (LocationForm.COMPANION, "http://{companion}/v2/"),
    ],
)
def test_forms_of_a_location(
    embedded: EmbeddedRegistry, judge: Client, content: ContentBuilder, form: LocationForm, begins: str
) -> None:
    embedded.behaviour = Behaviour(location_form=form, location_query="a=b%2Fc%3D==&d")
    blob = content.layer(1000)
    location = judge.start_upload("a")
    assert location.startswith(begins.format(address=embedded.address, companion=embedded.companion_address))
    assert "?a=b%2Fc%3D==&d&_state=" in location
    host = embedded.companion_address if form is LocationForm.COMPANION else embedded.address
    with Client(f"http://{host}") as client:
        assert client.send("PUT", with_digest(location, blob.digest), blob.read()).status == 201
    assert embedded.storage.read_blob("a", blob.digest) == blob.read()


def test_every_byte_of_the_query_counts(embedded: EmbeddedRegistry, judge: Client, content: ContentBuilder) -> None:
    embedded.behaviour = Behaviour(location_query="a=b%2Fc")
    blob = content.layer(1000)
    location = with_digest(judge.start_upload("a"), blob.digest)
    answer = judge.send("PUT", location.replace("%2F", "/", 1), blob.read())
    assert (answer.status, answer.codes) == (416, ["BLOB_UPLOAD_INVALID"])
    assert judge.send("PUT", location, blob.read()).status == 201


def test_uploads_to_the_companion_bring_no_credentials(
    embedded: EmbeddedRegistry, judge: Client, content: ContentBuilder
) -> None:
    embedded.behaviour = Behaviour(location_form=LocationForm.COMPANION, users={"u": "p"}, anonymous=("pull", "push"))
    blob = content.layer(1000)
    location = with_digest(judge.start_upload("a"), blob.digest)
    with Client(f"http://{embedded.companion_address}", credential=("u", "p")) as client:
        client.send("PUT", location, blob.read())
    assert embedded.counters.authorization_on_companion == 1


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_cut_in_the_middle_of_an_upload(
    embedded: EmbeddedRegistry, judge: Client, content: ContentBuilder, method: str, *, keep: bool
) -> None:
    kind = "put upload" if method == "PUT" else "patch upload"
    cut = Fault(kind, FaultKind.RESET, after_bytes=1_500_000)
    embedded.behaviour = Behaviour(faults=(cut,), keep_partial=keep)
    blob = content.layer(SIZE)
    location = judge.start_upload("a")
    with pytest.raises(OSError):
        judge.send(method, with_digest(location, blob.digest) if method == "PUT" else location, blob.pieces())
    state = judge.get(location)
    if keep:
        assert (state.status, state.headers["range"]) == (204, "0-1499999")
        rest = with_digest(state.headers["location"], blob.digest)
        assert judge.send("PUT", rest, blob.read()[1_500_000:]).status == 201
        assert judge.get(f"/v2/a/blobs/{blob.digest}").body == blob.read()
    else:
        assert (state.status, state.codes) == (404, ["BLOB_UPLOAD_UNKNOWN"])
        assert embedded.storage.blob_size("a", blob.digest) is None


def test_an_answer_that_is_lost(embedded: EmbeddedRegistry, judge: Client, content: ContentBuilder) -> None:
    embedded.behaviour = Behaviour(faults=(Fault("put upload", FaultKind.LOST_ANSWER),))
    blob = content.layer(1000)
    with pytest.raises(OSError):
        judge.push_blob("a", blob.read(), blob.digest)
    assert embedded.storage.read_blob("a", blob.digest) == blob.read()
    assert embedded.counters.history("put upload")[0].status == 0


@pytest.mark.parametrize("status", [507, 500])
def test_a_full_destination(embedded: EmbeddedRegistry, judge: Client, content: ContentBuilder, status: int) -> None:
    embedded.behaviour = Behaviour(capacity_bytes=5000, full_status=status)
    small, large = content.layer(4000), content.layer(2000)
    assert judge.push_blob("a", small.read(), small.digest).status == 201
    answer = judge.push_blob("a", large.read(), large.digest)
    assert answer.status == status
    assert "no space left on device" in answer.body.decode()
    assert embedded.storage.used_bytes == 4000
    assert judge.push_blob("b", small.read()[:0], content.empty_layer().digest).status == 201


def test_a_post_whose_body_is_ignored(embedded: EmbeddedRegistry, judge: Client, content: ContentBuilder) -> None:
    embedded.behaviour = Behaviour(single_post=False)
    blob = content.layer(1000)
    answer = judge.send("POST", f"/v2/a/blobs/uploads/?digest={blob.digest}", blob.read())
    assert answer.status == 202
    assert judge.send("PUT", with_digest(answer.headers["location"], blob.digest), blob.read()).status == 201


def test_statuses_of_others(embedded: EmbeddedRegistry, judge: Client, content: ContentBuilder) -> None:
    embedded.behaviour = Behaviour(patch_status=201, put_status=204, chunk_min_bytes=500)
    blob = content.layer(1000)
    answer = judge.send("POST", "/v2/a/blobs/uploads/")
    assert answer.headers["oci-chunk-min-length"] == "500"
    answer = judge.send("PATCH", answer.headers["location"], blob.read()[:600])
    assert answer.status == 201
    assert judge.send("PUT", with_digest(answer.headers["location"], blob.digest), blob.read()[600:]).status == 204
    answer = judge.send("PATCH", judge.start_upload("a"), b"x" * 499)
    assert judge.send("PATCH", answer.headers["location"], b"x" * 500).status == 416


def test_what_is_refused_before_its_body(embedded: EmbeddedRegistry, judge: Client, content: ContentBuilder) -> None:
    embedded.behaviour = Behaviour(max_content_length=999, chunked_uploads=False)
    blob = content.layer(1000)
    location = judge.start_upload("a")
    assert judge.send("PUT", with_digest(location, blob.digest), blob.read()).status == 413
    assert judge.send("PATCH", location, blob.read()[:10]).status == 405
    assert judge.send("PUT", with_digest(location, blob.digest), blob.pieces()).status == 201


def test_a_session_that_expires(embedded: EmbeddedRegistry, judge: Client, content: ContentBuilder) -> None:
    location = judge.start_upload("a")
    embedded.behaviour = Behaviour(upload_expiry_s=0)
    answer = judge.get(location)
    assert (answer.status, answer.codes) == (404, ["BLOB_UPLOAD_UNKNOWN"])
    embedded.behaviour = Behaviour()
    assert judge.get(location).status == 404


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [
        (Behaviour(mounts=False), 202),
        (Behaviour(mount_status=202), 202),
        (Behaviour(mount_status=400), 400),
        (Behaviour(mount_status=401, users={"u": "p"}, anonymous=("pull", "push")), 401),
        (Behaviour(mount_needs_manifest=True), 202),
    ],
)
def test_mounts_that_are_refused(
    embedded: EmbeddedRegistry, judge: Client, content: ContentBuilder, behaviour: Behaviour, status: int
) -> None:
    blob = content.layer(1000)
    embedded.storage.put_blob("b", blob.pieces(), blob.digest)
    embedded.behaviour = behaviour
    answer = judge.send("POST", f"/v2/a/blobs/uploads/?mount={blob.digest}&from=b")
    assert answer.status == status
    assert bool(answer.challenges) == (status == 401)
    assert embedded.storage.blob_size("a", blob.digest) is None


def test_mounts_of_others(embedded: EmbeddedRegistry, judge: Client, content: ContentBuilder) -> None:
    image = content.image(1)
    push_to(embedded.storage, "b", image)
    embedded.behaviour = Behaviour(mount_without_from=True)
    config, layer = image.blobs
    assert judge.send("POST", f"/v2/a/blobs/uploads/?mount={layer.digest}").status == 201
    embedded.behaviour = Behaviour(mount_needs_manifest=True)
    assert judge.send("POST", f"/v2/a/blobs/uploads/?mount={config.digest}&from=b").status == 201


def test_a_put_that_names_another_digest(embedded: EmbeddedRegistry, judge: Client, content: ContentBuilder) -> None:
    blob, image = content.layer(1000), content.image()
    push_to(embedded.storage, "a", image)
    embedded.behaviour = Behaviour(digest_header_on_put=DigestHeader.WRONG)
    assert judge.push_blob("a", blob.read(), blob.digest).headers["docker-content-digest"] != blob.digest
    answer = judge.push_manifest("a", "v1", image.raw, image.media_type)
    assert (answer.status, answer.headers["docker-content-digest"] != image.digest) == (201, True)


def test_a_reset_before_a_body(embedded: EmbeddedRegistry, judge: Client) -> None:
    embedded.behaviour = Behaviour(faults=(Fault("start upload", FaultKind.RESET),))
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        judge.start_upload("a")
    assert judge.start_upload("a")
