"""Blobs that come wrong, break off or stand still: never committed wrong, tried again in a new session, bounded."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.embedded import Behaviour, Fault, FaultKind
from image_syncer.errors import (
    AuthenticationError,
    IntegrityError,
    Origin,
    ProtocolViolation,
    TransportError,
    UnavailableError,
)
from support.sync_runs import REPOSITORY, TRUSTING

if TYPE_CHECKING:
    from image_syncer.embedded import MadeManifest
    from support.sync_runs import SyncLab

LARGE = 3_000_000
"""Bytes of a layer that is still under way when a fault in its middle strikes."""
HUGE = 24 * 2**20
"""Bytes of a layer of which the buffers of sockets and server hold only a part."""
FOREVER = None


def lying_about_size(lab: SyncLab, by: int) -> MadeManifest:
    """An image whose manifest gives its layer another size than it has."""
    image = lab.content.image(1, layer_bytes=LARGE)
    value = json.loads(image.raw)
    value["layers"][0]["size"] += by
    return lab.push(replace(image, raw=json.dumps(value).encode()))


def test_wrong_bytes_are_never_committed_and_leave_the_other_images_alone(lab: SyncLab) -> None:
    image, other = lab.image(2, layer_bytes=LARGE), lab.image(2, "team/other")
    spoiled = image.blobs[1].digest
    fault = Fault("get blob", FaultKind.WRONG_BYTES, FOREVER, match=spoiled, after_bytes=LARGE // 2)
    lab.source.behaviour = Behaviour(faults=(fault,))
    done = lab.run(exit_code=1)
    assert done.outcomes == ["copied", "failed"]
    error = done.error
    assert isinstance(error, IntegrityError)
    assert (error.origin, error.digest, error.tries) == (Origin.SOURCE, spoiled, 3)
    assert error.expected == spoiled != error.actual
    assert lab.destination.storage.blob_size(REPOSITORY, image.blobs[1].digest) is None
    assert done.at(lab.destination).statuses["put upload 201"] == 2 + 3
    lab.assert_arrived(other, "team/other")


def test_wrong_bytes_that_come_once_are_fetched_again(lab: SyncLab) -> None:
    image = lab.image(2, layer_bytes=LARGE)
    fault = Fault("get blob", FaultKind.WRONG_BYTES, match=image.blobs[1].digest, after_bytes=LARGE - 1)
    lab.source.behaviour = Behaviour(faults=(fault,))
    done = lab.run()
    assert done.at(lab.source).count("get blob") == 4
    assert done.image.tries == 2
    lab.assert_arrived(image)


@pytest.mark.extended
@pytest.mark.parametrize("by", [-1000, 1000])
def test_a_blob_that_is_announced_with_another_length(lab: SyncLab, by: int) -> None:
    image = lying_about_size(lab, by)
    error = lab.run(exit_code=1).error
    assert isinstance(error, IntegrityError)
    assert (error.origin, error.digest) == (Origin.SOURCE, image.blobs[1].digest)
    assert error.actual == f"{LARGE} bytes"
    assert lab.destination.storage.blob_size(REPOSITORY, image.blobs[1].digest) is None


@pytest.mark.parametrize("by", [-1000, 1000])
def test_a_blob_of_another_length_that_nobody_announced(lab: SyncLab, by: int) -> None:
    image = lying_about_size(lab, by)
    lab.source.behaviour = Behaviour(faults=(Fault("get blob", FaultKind.UNTOLD_LENGTH, FOREVER),))
    error = lab.run(exit_code=1, retries=0).error
    assert isinstance(error, IntegrityError)
    assert (error.origin, error.digest) == (Origin.SOURCE, image.blobs[1].digest)
    assert lab.destination.storage.blob_size(REPOSITORY, image.blobs[1].digest) is None


@pytest.mark.extended
def test_a_source_that_tells_no_length_is_fine(lab: SyncLab) -> None:
    image = lab.image(2, layer_bytes=LARGE)
    lab.source.behaviour = Behaviour(faults=(Fault("get blob", FaultKind.UNTOLD_LENGTH, FOREVER),))
    lab.run()
    lab.assert_arrived(image)


@pytest.mark.extended
def test_an_answer_that_is_no_blob_at_all(lab: SyncLab) -> None:
    image = lab.image(1)
    page = Fault("get blob", status=200, body="<html>Please log in</html>", content_type="text/html", times=FOREVER)
    lab.source.behaviour = Behaviour(faults=(page,))
    error = lab.run(exit_code=1).error
    assert isinstance(error, IntegrityError)
    assert error.origin is Origin.SOURCE
    assert lab.destination.storage.blob_size(REPOSITORY, image.blobs[0].digest) is None


@pytest.mark.parametrize("kind", [FaultKind.RESET, FaultKind.SHORT_BODY])
def test_a_download_that_breaks_off_goes_on_where_it_was(lab: SyncLab, kind: FaultKind) -> None:
    image = lab.image(2, layer_bytes=LARGE)
    lab.source.behaviour = Behaviour(faults=(Fault("get blob", kind, after_bytes=LARGE // 2),))
    done = lab.run()
    assert (done.at(lab.source).count("get blob"), done.at(lab.destination).count("start upload")) == (4, 3)
    assert done.at(lab.destination).statuses["put upload 201"] == 3
    assert done.at(lab.source).statuses["get blob 206"] == 1
    assert done.document["resumes"] == {"source": 1, "destination": 0, "while idle": 0}
    lab.assert_arrived(image)


@pytest.mark.extended
@pytest.mark.parametrize("kind", [FaultKind.RESET, FaultKind.SHORT_BODY])
def test_a_download_that_breaks_off_fails_where_nothing_is_tried_again(lab: SyncLab, kind: FaultKind) -> None:
    image = lab.image(1, layer_bytes=LARGE)
    broken = image.blobs[1].digest
    lab.source.behaviour = Behaviour(faults=(Fault("get blob", kind, match=broken, after_bytes=LARGE // 2),))
    error = lab.run(exit_code=1, retries=0).error
    assert isinstance(error, TransportError)
    assert (error.origin, error.digest, error.tries) == (Origin.SOURCE, broken, 1)


def test_an_upload_that_breaks_off_goes_on_with_what_is_missing(lab: SyncLab) -> None:
    image = lab.image(2, layer_bytes=LARGE)
    # Of a small blob libcurl may begin again by itself, on a new connection: its bytes are all there still.
    cut = Fault("put upload", FaultKind.RESET, match=image.blobs[1].digest.hex, after_bytes=LARGE // 2)
    lab.destination.behaviour = replace(TRUSTING, faults=(cut,))
    done = lab.run()
    sessions = [seen.reference for seen in lab.destination.counters.history("put upload")]
    assert (len(sessions), len(set(sessions))) == (4, 3)
    assert done.at(lab.destination).count("start upload") == 3
    # Where the window no longer has what is missing, the source is asked for it once more.
    assert done.at(lab.source).count("get blob") in (3, 4)
    assert done.at(lab.destination).count("get upload") == 1
    assert done.at(lab.destination).bytes_in <= sum(blob.size for blob in image.blobs) + 1024
    assert done.document["resumes"] == {"source": 0, "destination": 1, "while idle": 0}
    lab.assert_arrived(image)


@pytest.mark.extended
def test_an_upload_that_breaks_off_fails_where_nothing_is_tried_again(lab: SyncLab) -> None:
    image, other = lab.image(1, layer_bytes=LARGE), lab.image(1, "team/other")
    cut = Fault("put upload", FaultKind.RESET, match="/team/app/", after_bytes=LARGE // 2)
    lab.destination.behaviour = replace(TRUSTING, faults=(cut, replace(cut, times=FOREVER)))
    done = lab.run(exit_code=1, retries=0)
    assert isinstance(done.error, TransportError)
    assert (done.error.origin, done.error.tries) == (Origin.DESTINATION, 1)
    assert done.error.digest in {blob.digest for blob in image.blobs}
    lab.assert_arrived(other, "team/other")


def test_every_request_survives_one_reset(lab: SyncLab) -> None:
    image = lab.push(lab.content.index())
    reading = [Fault(kind, FaultKind.RESET) for kind in ("head manifest", "get manifest", "get blob")]
    writing = [Fault(kind, FaultKind.RESET) for kind in ("head manifest", "start upload", "put upload", "put manifest")]
    lab.source.behaviour = Behaviour(faults=tuple(reading))
    lab.destination.behaviour = replace(TRUSTING, faults=tuple(writing))
    lab.run(retries=3)  # three of the faults may strike one blob
    lab.assert_arrived(image)


def test_every_write_survives_a_lost_answer(lab: SyncLab) -> None:
    image = lab.push(lab.content.index())
    writing = [Fault(kind, FaultKind.LOST_ANSWER) for kind in ("start upload", "put upload", "put manifest")]
    lab.destination.behaviour = replace(TRUSTING, faults=tuple(writing))
    lab.run()
    lab.assert_arrived(image)


def test_a_source_that_stands_still_in_a_blob_is_left_and_asked_again(lab: SyncLab) -> None:
    image = lab.image(1, layer_bytes=LARGE)
    lab.source.behaviour = Behaviour(faults=(Fault("get blob", FaultKind.STALL, after_bytes=LARGE // 2),))
    lab.run(stall_timeout_s=0.5)
    lab.assert_arrived(image)


@pytest.mark.extended
def test_a_source_that_stands_still_for_good_is_told(lab: SyncLab) -> None:
    image, other = lab.image(1, layer_bytes=LARGE), lab.image(1, "team/other")
    still = image.blobs[1].digest
    fault = Fault("get blob", FaultKind.STALL, FOREVER, match=still, after_bytes=1000)
    lab.source.behaviour = Behaviour(faults=(fault,))
    done = lab.run(exit_code=1, retries=0, stall_timeout_s=0.5)
    assert isinstance(done.error, TransportError)
    assert (done.error.origin, done.error.digest, done.error.phase) == (Origin.SOURCE, still, "timeout")
    lab.assert_arrived(other, "team/other")


@pytest.mark.extended
def test_a_source_that_does_not_answer_is_asked_again(lab: SyncLab) -> None:
    image = lab.image(1)
    lab.source.behaviour = Behaviour(faults=(Fault("get manifest", FaultKind.STALL),))
    lab.run(stall_timeout_s=1.0)
    lab.assert_arrived(image)


@pytest.mark.parametrize(
    ("size", "settings"),
    [
        pytest.param(HUGE, {"stall_timeout_s": 0.5}, id="takes no more bytes"),
        pytest.param(1000, {"answer_timeout_s": 0.5}, id="does not commit"),
    ],
)
def test_a_destination_that_stands_still(lab: SyncLab, size: int, settings: dict[str, Any]) -> None:
    image, other = lab.image(1, layer_bytes=size), lab.image(1, "team/other")
    still = Fault("put upload", FaultKind.STALL, FOREVER, match="/team/app/")
    lab.destination.behaviour = replace(TRUSTING, faults=(still,))
    done = lab.run(exit_code=1, retries=0, **settings)
    assert isinstance(done.error, TransportError)
    assert (done.error.origin, done.error.phase) == (Origin.DESTINATION, "timeout")
    assert done.error.digest in {blob.digest for blob in image.blobs}
    lab.assert_arrived(other, "team/other")
    lab.destination.behaviour = TRUSTING
    lab.run()
    lab.assert_arrived(image)


@pytest.mark.extended
def test_slow_is_not_silent(lab: SyncLab) -> None:
    image = lab.image(1, layer_bytes=300_000)
    lab.source.behaviour = Behaviour(bandwidth_bytes_per_s=150_000)
    done = lab.run(stall_timeout_s=1.0)
    assert done.report.seconds > 1.5
    assert done.at(lab.source).count("get blob") == 2
    lab.assert_arrived(image)


@pytest.mark.extended
def test_a_slow_destination_holds_the_source_back_and_is_not_silent(lab: SyncLab) -> None:
    image = lab.image(1, layer_bytes=HUGE)
    lab.destination.behaviour = replace(TRUSTING, bandwidth_bytes_per_s=12 * 2**20)
    done = lab.run(stall_timeout_s=1.0)
    assert done.at(lab.source).count("get blob") == 2
    lab.assert_arrived(image)


def test_a_missing_blob_is_not_asked_for_again(lab: SyncLab) -> None:
    image = lab.image(2)
    gone = image.blobs[1].digest
    lab.source.storage.delete_blob(REPOSITORY, gone)
    done = lab.run(lab.rule(), exit_code=1)
    assert (done.error.kind, done.error.origin, done.error.digest) == ("not found", Origin.SOURCE, gone)
    assert done.at(lab.source).count("get blob") <= 3


def test_a_session_that_has_expired_is_opened_anew(lab: SyncLab) -> None:
    image = lab.image(1)
    expired = '{"errors": [{"code": "BLOB_UPLOAD_UNKNOWN", "message": "blob upload unknown to registry"}]}'
    lab.destination.behaviour = replace(TRUSTING, faults=(Fault("put upload", status=404, body=expired),))
    done = lab.run()
    assert done.at(lab.destination).count("start upload") == 3
    lab.assert_arrived(image)


@pytest.mark.parametrize("status", [500, 503])
def test_a_failure_of_the_storage_is_tried_again(lab: SyncLab, status: int) -> None:
    image = lab.image(1)
    lab.source.behaviour = Behaviour(faults=(Fault("get blob", status=status),))
    lab.destination.behaviour = replace(TRUSTING, faults=(Fault("put upload", status=status),))
    lab.run()
    lab.assert_arrived(image)
    lab.destination.behaviour = replace(TRUSTING, faults=(Fault("put upload", status=status, times=FOREVER),))
    lab.image(1, "team/other")
    done = lab.run(lab.rule("team/other"), exit_code=1, retries=1)
    assert isinstance(done.error, UnavailableError)
    assert (done.error.origin, done.error.status, done.error.tries) == (Origin.DESTINATION, status, 2)


@pytest.mark.extended
def test_wrong_bytes_that_come_while_the_destination_is_slow(lab: SyncLab) -> None:
    image = lab.image(1, layer_bytes=1_000_000)
    spoiled = image.blobs[1].digest
    fault = Fault("get blob", FaultKind.WRONG_BYTES, FOREVER, match=spoiled, after_bytes=999_999)
    lab.source.behaviour = Behaviour(faults=(fault,))
    lab.destination.behaviour = replace(TRUSTING, bandwidth_bytes_per_s=8 * 2**20)
    error = lab.run(exit_code=1, retries=0, window_bytes=64 * 1024).error
    assert isinstance(error, IntegrityError)
    assert error.digest == spoiled


@pytest.mark.parametrize("size", [1000, HUGE])
def test_a_destination_that_says_no_before_it_has_read_the_blob(lab: SyncLab, size: int) -> None:
    image, other = lab.image(1, layer_bytes=size), lab.image(1, "team/other")
    refusal = Fault("put upload", status=403, match="/team/app/", times=FOREVER)
    lab.destination.behaviour = replace(TRUSTING, faults=(refusal,))
    done = lab.run(exit_code=1)
    assert isinstance(done.error, AuthenticationError)
    assert (done.error.origin, done.error.status, done.error.tries) == (Origin.DESTINATION, 403, 1)
    assert done.error.digest in {blob.digest for blob in image.blobs}
    lab.assert_arrived(other, "team/other")


@pytest.mark.extended
def test_a_destination_that_says_yes_before_it_has_read_the_blob(lab: SyncLab) -> None:
    image = lab.image(1, layer_bytes=HUGE)
    early = Fault("put upload", status=201, body="", match=image.blobs[1].digest.hex)
    lab.destination.behaviour = replace(TRUSTING, faults=(early,))
    done = lab.run()
    assert done.at(lab.destination).count("put upload") == 3
    lab.assert_arrived(image)


def test_an_upload_that_is_sent_elsewhere_is_told(lab: SyncLab) -> None:
    lab.image(1)
    away = Fault("put upload", status=307, headers=(("Location", "/elsewhere"),), times=FOREVER)
    lab.destination.behaviour = replace(TRUSTING, faults=(away,))
    error = lab.run(exit_code=1).error
    assert isinstance(error, ProtocolViolation)
    assert (error.origin, error.status) == (Origin.DESTINATION, 307)
