"""Verification between embedded registries: what is found, what is told apart from it, and what is asked for."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import Behaviour, Fault, FaultKind, RateLimit, TokenService
from image_syncer.errors import NotFoundError, Origin, RegistryDownError, TransportError, UnavailableError
from image_syncer.oci import PlatformFilter
from image_syncer.telemetry import Difference, Outcome
from image_syncer.verification import tree_check
from support.sync_runs import PASSWORD, REPOSITORY, TAG, USER, SyncLab, error_of

if TYPE_CHECKING:
    from image_syncer.embedded import EmbeddedRegistry, MadeBlob, MadeManifest

FOREVER = None


@pytest.fixture
def copied(lab: SyncLab) -> MadeManifest:
    """An index of several platforms, at the source and at the destination."""
    index = lab.push(lab.content.index())
    lab.run()
    return index


def place(lab: SyncLab, repository: str = REPOSITORY) -> str:
    return f"{lab.destination.address}/{repository}"


def spoil(registry: EmbeddedRegistry, blob: MadeBlob, raw: bytes) -> None:
    """Other bytes under the digest of `blob`, as a disk that fails has them."""
    content = registry.storage._content[blob.digest]  # type: ignore[attr-defined]
    content.pieces, content.ends, content.size = [raw], [len(raw)], len(raw)
    registry.storage._sizes[blob.digest] = len(raw)


def flipped(blob: MadeBlob) -> bytes:
    raw = bytearray(blob.read())
    raw[len(raw) // 2] ^= 1
    return bytes(raw)


def digest_of(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


@pytest.mark.extended
@pytest.mark.parametrize("deep", [False, True])
def test_what_was_copied_is_equal(lab: SyncLab, copied: MadeManifest, deep: bool) -> None:
    done = lab.verify(deep=deep)
    blobs = copied.all_blobs()
    assert done.outcomes == ["equal"]
    assert done.image.source_digest == done.image.destination_digest == copied.digest
    assert (done.image.manifests_checked, done.image.blobs_checked) == (len(copied.manifests()), len(blobs))
    counted = done.at(lab.destination)
    assert counted.count("get manifest") == len(copied.manifests())
    assert counted.count("get blob" if deep else "head blob") == len(blobs)
    assert counted.count("head blob" if deep else "get blob") == 0
    assert done.image.bytes_read == counted.bytes_out == (copied.size_bytes if deep else 0)
    assert done.at(lab.source).requests == {"head manifest": 1}
    assert "1 image: 1 equal · " in done.report.summary_line()


@pytest.mark.parametrize("deep", [False, True])
def test_a_blob_that_is_missing(lab: SyncLab, copied: MadeManifest, deep: bool) -> None:
    gone = copied.children[0].blobs[1].digest
    lab.destination.storage.delete_blob(REPOSITORY, gone)
    done = lab.verify(deep=deep, exit_code=1)
    assert done.outcomes == ["different"]
    assert done.image.differences == (Difference("blob", f"{place(lab)}@{gone}", gone, "nothing"),)
    assert done.image.reason == f"blob {place(lab)}@{gone}: expected {gone}, found nothing"
    assert done.document["images"][0]["differences"] == [
        {"what": "blob", "where": f"{place(lab)}@{gone}", "expected": gone, "found": "nothing"}
    ]
    assert done.image.blobs_checked == len(copied.all_blobs())  # the others are looked at all the same
    assert done.report.totals.differences == 1


def test_wrong_bytes_are_seen_by_those_who_read_them(lab: SyncLab, copied: MadeManifest) -> None:
    blob = copied.children[0].blobs[1]
    spoil(lab.destination, blob, flipped(blob))
    assert lab.verify().outcomes == ["equal"]
    done = lab.verify(deep=True, exit_code=1)
    where = f"{place(lab)}@{blob.digest}"
    assert done.image.differences == (Difference("blob", where, blob.digest, digest_of(flipped(blob))),)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("more", [-7, 200_000])
def test_a_blob_of_another_size(lab: SyncLab, copied: MadeManifest, deep: bool, more: int) -> None:
    blob = copied.children[0].blobs[1]
    raw = blob.read()
    spoil(lab.destination, blob, raw[:more] if more < 0 else raw + b"x" * more)
    done = lab.verify(deep=deep, exit_code=1)
    [difference] = done.image.differences or ()
    assert difference.expected == f"{blob.size} bytes"
    found = f"more than {blob.size} bytes" if deep and more > 0 else f"{blob.size + more} bytes"
    assert difference.found == found


def test_a_tag_that_points_elsewhere(lab: SyncLab, copied: MadeManifest) -> None:
    other = lab.push(lab.content.image(1), tags=(TAG,), to=lab.destination)
    done = lab.verify(exit_code=1)
    assert done.image.differences == (Difference("tag", f"{place(lab)}:{TAG}", copied.digest, other.digest),)
    assert (done.image.source_digest, done.image.destination_digest) == (copied.digest, other.digest)


def test_a_source_that_has_moved_on(lab: SyncLab, copied: MadeManifest) -> None:
    newer = lab.push(lab.content.image(1), tags=(TAG,))
    done = lab.verify(lab.rule(), exit_code=1)
    assert done.image.differences == (Difference("tag", f"{place(lab)}:{TAG}", newer.digest, copied.digest),)


@pytest.mark.extended
def test_a_tag_that_is_missing(lab: SyncLab, copied: MadeManifest) -> None:
    lab.destination.storage.delete_tag(REPOSITORY, TAG)
    done = lab.verify(exit_code=1)
    assert done.image.differences == (Difference("tag", f"{place(lab)}:{TAG}", copied.digest, "nothing"),)


@pytest.mark.extended
def test_a_child_that_is_missing_and_a_blob_beside_it(lab: SyncLab, copied: MadeManifest) -> None:
    child, blob = copied.children[0].digest, copied.children[1].blobs[0].digest
    lab.destination.storage.delete_manifest(REPOSITORY, child)
    lab.destination.storage.delete_blob(REPOSITORY, blob)
    done = lab.verify(exit_code=1)
    found = {difference.what: difference for difference in done.image.differences or ()}
    assert found["manifest"] == Difference("manifest", f"{place(lab)}@{child}", child, "nothing")
    assert found["blob"] == Difference("blob", f"{place(lab)}@{blob}", blob, "nothing")
    assert len(done.image.differences or ()) == 2
    assert str(done.image.reason).endswith(" (and 1 more)")


@pytest.mark.extended
@pytest.mark.parametrize(
    ("body", "found"),
    [("{}", "no manifest: "), (None, "bytes of "), ('{"schemaVersion": 2, "manifests": []}', "sha256:")],
)
def test_a_child_with_other_bytes(lab: SyncLab, copied: MadeManifest, body: str | None, found: str) -> None:
    child = copied.children[0].digest
    fault = Fault("get manifest", status=200, body=body, times=FOREVER, match=child)
    if body is None:
        fault = Fault("get manifest", FaultKind.WRONG_BYTES, times=FOREVER, match=child)
    lab.destination.behaviour = Behaviour(faults=(fault,), check_references=False)
    done = lab.verify(exit_code=1)
    [difference] = done.image.differences or ()
    assert (difference.what, difference.where) == ("manifest", f"{place(lab)}@{child}")
    assert difference.found.startswith(found)


@pytest.mark.extended
@pytest.mark.parametrize("named", ["tag", "digest"])
def test_a_platform_filter_is_applied_as_in_a_sync(lab: SyncLab, named: str) -> None:
    index = lab.push(lab.content.index())
    wanted = PlatformFilter(architectures=("amd64",))
    rule = lab.rule() if named == "tag" else lab.rule(digest=index.digest)
    lab.run(rule, platform_filter=wanted)
    done = lab.verify(rule, platform_filter=wanted, deep=True)
    assert done.outcomes == ["equal"]
    assert done.image.source_digest == index.digest != done.image.destination_digest
    [outcome] = lab.verify(rule, exit_code=1).images  # the whole index is not there
    assert outcome.outcome is Outcome.DIFFERENT


@pytest.mark.extended
def test_what_a_filter_leaves_out_is_skipped(lab: SyncLab) -> None:
    lab.image(1)
    done = lab.verify(platform_filter=PlatformFilter(architectures=("s390x",)))
    assert done.outcomes == ["skipped"]
    assert done.at(lab.destination).total_requests == 0


@pytest.mark.extended
def test_what_images_share_is_checked_once(lab: SyncLab) -> None:
    base = lab.content.layer(50_000)
    images = [lab.push(lab.content.image([base, lab.content.layer()]), tags=(f"t{number}",)) for number in range(5)]
    lab.push(images[0], tags=("latest",))
    lab.run()
    done = lab.verify(deep=True)
    assert done.outcomes == ["equal"] * 6
    distinct = {blob.digest: blob.size for image in images for blob in image.all_blobs()}
    assert done.report.totals.blobs_checked == len(distinct) == done.at(lab.destination).count("get blob")
    assert done.report.totals.bytes_read == sum(distinct.values())


@pytest.mark.extended
def test_what_is_wrong_is_told_of_each_image_that_shares_it_and_asked_for_once(lab: SyncLab) -> None:
    base = lab.content.layer(5_000)
    for number in range(5):
        lab.push(lab.content.image([base, lab.content.layer()]), tags=(f"t{number}",))
    lab.run()
    lab.destination.storage.delete_blob(REPOSITORY, base.digest)
    done = lab.verify(exit_code=1)
    assert done.outcomes == ["different"] * 5
    assert done.at(lab.destination).statuses["head blob 404"] == 1
    assert done.report.totals.differences == 5


@pytest.mark.extended
@pytest.mark.parametrize("deep", [False, True])
def test_a_blob_that_cannot_be_checked_is_no_difference(lab: SyncLab, copied: MadeManifest, deep: bool) -> None:
    blob = copied.children[0].blobs[1].digest
    fault = Fault("get blob" if deep else "head blob", status=503, times=FOREVER, match=blob)
    lab.destination.behaviour = Behaviour(faults=(fault,), check_references=False)
    done = lab.verify(deep=deep, retries=1, exit_code=1)
    assert done.outcomes == ["not checked"]
    error = error_of(done.image)
    assert isinstance(error, UnavailableError)
    assert (error.origin, error.repository, error.digest, error.tries) == (Origin.DESTINATION, place(lab), blob, 2)
    assert "1 not checked" in done.report.summary_line()


@pytest.mark.extended
def test_differences_and_what_could_not_be_checked_are_both_told(lab: SyncLab, copied: MadeManifest) -> None:
    gone, refused = (copied.children[0].blobs[number].digest for number in (0, 1))
    lab.destination.storage.delete_blob(REPOSITORY, gone)
    fault = Fault("head blob", status=503, times=FOREVER, match=refused)
    lab.destination.behaviour = Behaviour(faults=(fault,), check_references=False)
    done = lab.verify(retries=0, exit_code=1)
    assert done.outcomes == ["different"]
    assert [difference.expected for difference in done.image.differences or ()] == [gone]
    assert error_of(done.image).digest == refused


@pytest.mark.extended
def test_a_source_tag_that_is_gone_could_not_be_checked(lab: SyncLab, copied: MadeManifest) -> None:
    lab.source.storage.delete_tag(REPOSITORY, TAG)
    other = lab.image(1, "team/other")
    lab.run(lab.rule("team/other"))
    done = lab.verify(lab.rule(), lab.rule("team/other"), exit_code=1)
    assert done.outcomes == ["equal", "not checked"]
    [image] = [image for image in done.images if image.outcome is Outcome.UNCHECKED]
    assert isinstance(error_of(image), NotFoundError)
    assert error_of(image).origin is Origin.SOURCE
    lab.assert_arrived(other, "team/other")


def test_a_registry_that_is_down_is_no_difference(lab: SyncLab, copied: MadeManifest) -> None:
    rule = lab.rule(to=[(lab.destination, REPOSITORY)])
    lab.destination.behaviour = Behaviour(faults=(Fault("*", FaultKind.RESET, times=FOREVER),))
    done = lab.verify(rule, retries=0, exit_code=1, give_up_after_s=0.5)
    assert done.outcomes == ["not checked"]
    assert isinstance(error_of(done.image), (TransportError, RegistryDownError))
    assert error_of(done.image).origin is Origin.DESTINATION


@pytest.mark.extended
def test_tags_that_cannot_be_listed_are_not_checked(lab: SyncLab, copied: MadeManifest) -> None:
    lab.source.behaviour = Behaviour(faults=(Fault("list tags", status=500, times=FOREVER),))
    done = lab.verify(lab.rule(tags=()), retries=0, exit_code=1)
    assert done.outcomes == ["not checked"]


@pytest.mark.extended
@pytest.mark.parametrize("kind", [FaultKind.RESET, FaultKind.SHORT_BODY])
def test_a_read_that_breaks_goes_on_where_it_was(lab: SyncLab, kind: FaultKind) -> None:
    image = lab.push(lab.content.image(1, layer_bytes=3 * 2**20))
    lab.run()
    layer = image.blobs[-1]
    fault = Fault("get blob", kind, times=2, match=layer.digest, after_bytes=2**20)
    lab.destination.behaviour = Behaviour(faults=(fault,), check_references=False)
    done = lab.verify(deep=True, retries=3)
    assert done.outcomes == ["equal"]
    assert done.at(lab.destination).count("get blob") == len(image.blobs) + 2
    if kind is FaultKind.SHORT_BODY:  # a reset throws away what the other side has not taken yet
        assert done.at(lab.destination).statuses["get blob 206"] >= 1
        assert done.image.bytes_read == image.size_bytes


@pytest.mark.extended
def test_what_two_answers_gave_is_read_again_before_it_is_called_wrong(lab: SyncLab) -> None:
    image = lab.push(lab.content.image(1, layer_bytes=3 * 2**20))
    lab.run()
    layer = image.blobs[-1]
    faults = (
        Fault("get blob", FaultKind.SHORT_BODY, times=1, match=layer.digest, after_bytes=2**20),
        Fault("get blob", FaultKind.WRONG_BYTES, times=1, skip=0, match=layer.digest, after_bytes=2**20),
    )
    lab.destination.behaviour = Behaviour(faults=faults, check_references=False)
    assert lab.verify(deep=True, retries=1).outcomes == ["equal"]


@pytest.mark.extended
def test_blobs_of_a_registry_with_tokens_and_a_storage_behind_it(lab: SyncLab) -> None:
    image = lab.push(lab.content.index())
    lab.run()
    lab.destination.behaviour = Behaviour(users={USER: PASSWORD}, bearer=TokenService(), redirect_blobs=True)
    lab.log_in(lab.destination)
    done = lab.verify(deep=True)
    assert done.image.bytes_read == image.size_bytes
    assert done.at(lab.destination).authorization_on_companion == 0


@pytest.mark.extended
def test_layers_that_everybody_gets_elsewhere_are_left_out(lab: SyncLab) -> None:
    lab.push(lab.content.foreign_image())
    lab.run()
    assert lab.verify(deep=True).outcomes == ["equal"]


@pytest.mark.extended
def test_schema_1_and_other_kinds(lab: SyncLab) -> None:
    for number, made in enumerate(
        (lab.content.schema1("team/app", "t0"), lab.content.nested_index(), lab.content.artifact())
    ):
        lab.push(made, tags=(f"t{number}",))
    lab.run()
    assert lab.verify(deep=True).outcomes == ["equal"] * 3


@pytest.mark.extended
def test_a_verification_with_many_images_and_little_memory(lab: SyncLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_check, "MOST_WRONG", 1)
    for number in range(8):
        lab.push(lab.content.image(2), tags=(f"t{number}",))
    lab.run()
    assert lab.verify(blobs_in_memory=3).outcomes == ["equal"] * 8


@pytest.mark.extended
def test_an_image_that_is_named_by_digest(lab: SyncLab, copied: MadeManifest) -> None:
    rule = lab.rule(digest=copied.digest)
    assert lab.verify(rule).outcomes == ["equal"]
    lab.destination.storage.delete_manifest(REPOSITORY, copied.digest)
    done = lab.verify(rule, exit_code=1)
    where = f"{place(lab)}@{copied.digest}"
    assert done.image.differences == (Difference("manifest", where, copied.digest, "nothing"),)


@pytest.mark.extended
@pytest.mark.parametrize("deep", [False, True])
def test_a_verification_that_takes_too_long_says_what_it_did_not_look_at(
    lab: SyncLab, copied: MadeManifest, deep: bool
) -> None:
    fault = Fault("get blob" if deep else "head blob", FaultKind.STALL, times=FOREVER)
    lab.destination.behaviour = Behaviour(faults=(fault,) if deep else (), latency_s=0 if deep else 2.0)
    done = lab.verify(deep=deep, deadline_s=0.5, exit_code=1)
    assert done.outcomes == ["not tried"]
    assert done.report.interrupted == "deadline"
    assert done.report.internal_error is None


@pytest.mark.extended
def test_a_read_that_stalls_ends_and_says_so(lab: SyncLab) -> None:
    image = lab.push(lab.content.image(1, layer_bytes=2**20))
    lab.run()
    fault = Fault("get blob", FaultKind.STALL, times=FOREVER, match=image.blobs[-1].digest, after_bytes=1000)
    lab.destination.behaviour = Behaviour(faults=(fault,), check_references=False)
    done = lab.verify(deep=True, stall_timeout_s=3.0, retries=0, exit_code=1)
    assert isinstance(error_of(done.image), TransportError)
    assert error_of(done.image).digest == image.blobs[-1].digest


@pytest.mark.extended
def test_a_registry_that_limits_requests_is_verified_all_the_same(lab: SyncLab) -> None:
    for number in range(4):
        lab.push(lab.content.image(3), tags=(f"t{number}",))
    lab.run()
    limit = RateLimit(operations=("get blob",), burst=3, per_s=20.0, retry_after_s=0)
    lab.destination.behaviour = Behaviour(rate_limits=(limit,), check_references=False)
    assert lab.verify(deep=True, retries=0).outcomes == ["equal"] * 4


# While copying


@pytest.mark.extended
def test_sync_with_verify_looks_at_what_it_copied_and_at_nothing_else(lab: SyncLab) -> None:
    lab.push(lab.content.image(2), tags=("old",))
    lab.run()
    image = lab.push(lab.content.index())
    done = lab.run(verify=True)
    assert done.outcomes == ["copied", "unchanged"]
    assert done.at(lab.destination).count("get manifest") == len(image.manifests())
    [copied] = [each for each in done.images if each.outcome is Outcome.COPIED]
    assert (copied.manifests_checked, copied.blobs_checked) == (len(image.manifests()), len(image.all_blobs()))


@pytest.mark.extended
def test_sync_with_verify_finds_a_registry_that_forgets(lab: SyncLab, monkeypatch: pytest.MonkeyPatch) -> None:
    image = lab.image(2)
    other = lab.image(1, "team/other")
    gone = image.blobs[-1].digest
    storage = lab.destination.storage
    put = storage.put_manifest

    def forget(repository: str, *rest: object, **more: object) -> None:
        put(repository, *rest, **more)  # type: ignore[arg-type]
        storage.delete_blob(REPOSITORY, gone)

    monkeypatch.setattr(storage, "put_manifest", forget)
    monkeypatch.setattr("support.sync_runs.missing_parts", lambda _storage: [])
    done = lab.run(verify=True, exit_code=1)
    assert done.outcomes == ["copied", "failed"]
    failure = done.failure
    assert failure.differences == (Difference("blob", f"{place(lab)}@{gone}", gone, "nothing"),)
    assert done.error.origin is Origin.DESTINATION
    assert gone in str(done.error)
    lab.assert_arrived(other, "team/other")


@pytest.mark.extended
def test_what_could_not_be_verified_has_failed(lab: SyncLab) -> None:
    image = lab.image(1)
    fault = Fault("get manifest", status=503, times=FOREVER)
    lab.destination.behaviour = Behaviour(faults=(fault,), check_references=False)
    done = lab.run(verify=True, retries=0, exit_code=1)
    assert isinstance(done.error, UnavailableError)
    assert done.error.origin is Origin.DESTINATION
    lab.assert_arrived(image)


@pytest.mark.extended
def test_without_verify_nothing_is_looked_at(lab: SyncLab) -> None:
    lab.image(1)
    assert lab.run().at(lab.destination).count("get manifest") == 0
