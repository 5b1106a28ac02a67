"""Large blobs that break off on the way: what is there already is not moved again, and nothing ends up wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import Behaviour, Fault, FaultKind, TokenService
from image_syncer.errors import IntegrityError, Origin
from image_syncer.registry import Credential
from support.sync_runs import PASSWORD, REPOSITORY, TRUSTING, USER

if TYPE_CHECKING:
    from image_syncer.embedded import MadeManifest
    from support.sync_runs import Done, SyncLab

MIB = 2**20
LAYER = 24 * MIB
BUFFERS = 8 * MIB
"""What sockets and the servers of both sides may hold of a layer that breaks off."""
FORGETFUL = replace(TRUSTING, keep_partial=False)
"""As distribution 2.8: a cut inside a body ends the session."""


def one_layer(lab: SyncLab) -> tuple[MadeManifest, str]:
    """An image with one large layer, and that layer's digest."""
    image = lab.image(1, layer_bytes=LAYER)
    return image, image.blobs[1].digest


def cut(operation: str, after_bytes: int, times: int = 1, **fields: object) -> Fault:
    return Fault(operation, FaultKind.RESET, times=times, after_bytes=after_bytes, **fields)  # type: ignore[arg-type]


def cut_of(image: MadeManifest, after_bytes: int, times: int = 1) -> Fault:
    """The PUT of the image's layer is cut."""
    return cut("put upload", after_bytes, times, match=image.blobs[1].digest.hex)


def resumes(done: Done) -> tuple[int, int]:
    return done.document["resumes"]["source"], done.document["resumes"]["destination"]


def test_a_source_that_is_cut_again_and_again_is_read_once(lab: SyncLab) -> None:
    image, layer = one_layer(lab)
    lab.source.behaviour = Behaviour(faults=(cut("get blob", 2 * MIB, 8, match=layer),))
    done = lab.run()
    assert resumes(done) == (8, 0)
    assert done.at(lab.source).count("get blob") == 2 + 8
    assert done.at(lab.destination).count("put upload") == 2
    size = sum(blob.size for blob in image.blobs)
    assert done.at(lab.destination).bytes_in == size
    lab.assert_arrived(image)
    [transfer] = [row for row in done.document["transfers"] if row["digest"] == layer]
    assert (transfer["source_resumes"], transfer["destination_resumes"]) == (8, 0)
    assert "break" in done.report.summary_line()


@pytest.mark.extended
def test_a_source_without_ranges_is_read_from_its_beginning_and_the_upload_goes_on(lab: SyncLab) -> None:
    image, layer = one_layer(lab)
    lab.source.behaviour = Behaviour(ranges=False, faults=(cut("get blob", LAYER // 2, 2, match=layer),))
    done = lab.run()
    assert resumes(done) == (2, 0)
    assert done.at(lab.destination).bytes_in == sum(blob.size for blob in image.blobs)
    lab.assert_arrived(image)


@pytest.mark.extended
def test_a_source_without_ranges_that_is_always_cut_at_the_same_place_is_given_up(lab: SyncLab) -> None:
    _, layer = one_layer(lab)
    lab.source.behaviour = Behaviour(ranges=False, faults=(cut("get blob", LAYER // 2, 100, match=layer),))
    error = lab.run(exit_code=1).error
    assert (error.origin, error.digest) == (Origin.SOURCE, layer)
    assert lab.destination.storage.blob_size(REPOSITORY, lab.content.image(0).blobs[0].digest) is None


@pytest.mark.extended
def test_a_signed_address_that_has_expired_is_asked_for_again(lab: SyncLab) -> None:
    image, layer = one_layer(lab)
    lab.source.behaviour = Behaviour(
        redirect_blobs=True, redirect_uses=1, faults=(cut("get blob on companion", 4 * MIB, 1, match=layer),)
    )
    done = lab.run()
    lab.assert_arrived(image)
    assert done.at(lab.source).authorization_on_companion == 0


@pytest.mark.extended
def test_a_blob_that_got_shorter_meanwhile_fails_and_says_so(lab: SyncLab) -> None:
    _, layer = one_layer(lab)
    short = Fault("get blob", FaultKind.SHORT_BODY, times=1, after_bytes=4 * MIB, match=layer)
    gone = Fault("get blob", status=416, times=None, match=layer)
    lab.source.behaviour = Behaviour(faults=(short, gone))
    error = lab.run(exit_code=1, retries=1).error
    assert (error.origin, error.digest) == (Origin.SOURCE, layer)


def test_what_a_session_kept_is_not_sent_again(lab: SyncLab) -> None:
    image, _ = one_layer(lab)
    lab.destination.behaviour = replace(TRUSTING, faults=(cut_of(image, 4 * MIB, 4),))
    done = lab.run()
    assert resumes(done) == (0, 4)
    counted = done.at(lab.destination)
    assert counted.count("get upload") == 4
    assert counted.count("start upload") == 2
    assert counted.bytes_in <= sum(blob.size for blob in image.blobs) + 4 * 64 * 1024
    lab.assert_arrived(image)


@pytest.mark.extended
def test_where_a_cut_ends_the_session_the_next_one_gets_pieces(lab: SyncLab) -> None:
    image, _ = one_layer(lab)
    lab.destination.behaviour = replace(FORGETFUL, faults=(cut_of(image, 8 * MIB),))
    done = lab.run()
    counted = done.at(lab.destination)
    assert resumes(done) == (0, 1)
    assert counted.count("patch upload") >= 6
    assert counted.bytes_in <= sum(blob.size for blob in image.blobs) + 8 * MIB + BUFFERS
    lab.assert_arrived(image)
    assert "keeps partial uploads" in done.log


@pytest.mark.extended
def test_a_registry_that_keeps_nothing_is_asked_once(lab: SyncLab) -> None:
    image, other = one_layer(lab)[0], lab.image(1, "team/other", layer_bytes=LAYER)
    cuts = (cut_of(image, 8 * MIB), cut_of(other, 8 * MIB))
    lab.destination.behaviour = replace(FORGETFUL, faults=cuts)
    done = lab.run(streams=1)
    assert resumes(done) == (0, 2)
    assert done.at(lab.destination).count("get upload") == 1
    lab.assert_arrived(image)
    lab.assert_arrived(other, "team/other")


@pytest.mark.extended
def test_pieces_from_the_start_where_the_user_wants_them(lab: SyncLab) -> None:
    image, _ = one_layer(lab)
    lab.destination.behaviour = replace(FORGETFUL, faults=(cut("patch upload", 8 * MIB, 1),))
    lab.enter(lab.destination, pieces_above=2 * MIB)
    done = lab.run()
    counted = done.at(lab.destination)
    assert counted.count("put upload") == 2
    assert counted.statuses["patch upload 202"] >= 2
    lab.assert_arrived(image)


@pytest.mark.extended
def test_a_registry_that_refuses_pieces_gets_the_blob_in_one(lab: SyncLab) -> None:
    image, other = one_layer(lab)[0], lab.image(1, "team/other", layer_bytes=LAYER)
    lab.destination.behaviour = replace(TRUSTING, chunked_uploads=False)
    lab.enter(lab.destination, pieces_above=2 * MIB)
    done = lab.run(streams=1)
    counted = done.at(lab.destination)
    assert counted.count("patch upload") == 1  # it is learnt
    assert counted.statuses["put upload 201"] == 4
    lab.assert_arrived(image)
    lab.assert_arrived(other, "team/other")


@pytest.mark.extended
def test_a_proxy_that_takes_no_large_bodies_gets_pieces(lab: SyncLab) -> None:
    image, _ = one_layer(lab)
    lab.destination.behaviour = replace(TRUSTING, max_content_length=5 * MIB)
    done = lab.run()
    assert done.at(lab.destination).statuses["patch upload 202"] == 6
    lab.assert_arrived(image)


@pytest.mark.extended
def test_what_is_too_large_in_one_request_is_learnt(lab: SyncLab) -> None:
    lab.destination.behaviour = replace(TRUSTING, max_content_length=5 * MIB)
    for number in range(4):
        lab.image(1, f"team/app{number}", layer_bytes=LAYER)
    done = lab.run(streams=1)
    counted = done.at(lab.destination)
    assert counted.statuses["put upload 413"] == 1
    assert counted.statuses["patch upload 202"] == 4 * 6


@pytest.mark.extended
def test_pieces_are_as_long_as_the_registry_wants_them(lab: SyncLab) -> None:
    image, _ = one_layer(lab)
    lab.destination.behaviour = replace(TRUSTING, max_content_length=11 * MIB, chunk_min_bytes=10 * MIB)
    done = lab.run()
    assert done.at(lab.destination).statuses["patch upload 202"] == 3
    lab.assert_arrived(image)


@pytest.mark.parametrize("behaviour", [TRUSTING, FORGETFUL, replace(TRUSTING, mounts=False)])
def test_a_lost_answer_to_a_put_that_worked_costs_no_second_upload(lab: SyncLab, behaviour: Behaviour) -> None:
    image, layer = one_layer(lab)
    lost = Fault("put upload", FaultKind.LOST_ANSWER, match=layer.partition(":")[2])
    lab.destination.behaviour = replace(behaviour, faults=(lost,))
    done = lab.run()
    assert done.at(lab.destination).bytes_in == sum(blob.size for blob in image.blobs)
    assert done.at(lab.source).count("get blob") == 2
    assert done.report.totals.bytes_moved == sum(blob.size for blob in image.blobs)
    lab.assert_arrived(image)


@pytest.mark.extended
def test_a_token_that_ends_in_the_middle_of_pieces_is_renewed_and_nothing_begins_anew(lab: SyncLab) -> None:
    image, _ = one_layer(lab)
    tokens = TokenService(expires_in_s=2, say_expiry=False)
    lab.destination.behaviour = replace(TRUSTING, users={USER: PASSWORD}, bearer=tokens, bandwidth_bytes_per_s=6 * MIB)
    lab.enter(lab.destination, Credential(USER, PASSWORD), pieces_above=MIB)
    done = lab.run()
    counted = done.at(lab.destination)
    assert counted.statuses["patch upload 401"] >= 1
    assert counted.statuses["start upload 202"] == 2
    assert counted.bytes_in <= sum(blob.size for blob in image.blobs) + 16 * MIB
    lab.assert_arrived(image)


def test_a_session_that_expired_is_opened_anew(lab: SyncLab) -> None:
    image, _ = one_layer(lab)
    gone = Fault("patch upload", status=404, skip=1, body='{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}')
    lab.destination.behaviour = replace(TRUSTING, faults=(gone,))
    lab.enter(lab.destination, pieces_above=MIB)
    done = lab.run()
    assert done.at(lab.destination).count("start upload") == 3
    lab.assert_arrived(image)


@pytest.mark.extended
def test_one_destination_that_is_cut_leaves_the_other_alone(lab: SyncLab) -> None:
    image = lab.image(1, layer_bytes=LAYER)
    other = lab.add_registry(TRUSTING)
    lab.destination.behaviour = replace(FORGETFUL, faults=(cut_of(image, 8 * MIB),))
    done = lab.run(lab.rule(to=[(lab.destination, REPOSITORY), (other, REPOSITORY)]))
    lab.assert_arrived(image)
    lab.assert_arrived(image, at=other)
    assert done.at(other).bytes_in == sum(blob.size for blob in image.blobs)
    assert done.at(other).count("put upload") == 2


@pytest.mark.extended
def test_a_source_that_trickles_is_left_for_a_new_connection(lab: SyncLab) -> None:
    image = lab.image(1, layer_bytes=2 * MIB)
    crawling = Behaviour(bandwidth_bytes_per_s=20)

    def hurry(_: object) -> None:
        if lab.source.counters.requests.get("get blob", 0) >= 3:
            lab.source.behaviour = Behaviour()

    lab.source.behaviour = crawling
    done = lab.run(stall_timeout_s=2.0, small_bytes=0, on_progress=hurry, progress_interval_s=0.05)
    assert "next to nothing moved for" in done.log
    lab.assert_arrived(image)


@pytest.mark.extended
def test_wrong_bytes_after_a_break_are_noticed_as_before_it(lab: SyncLab) -> None:
    image, layer = one_layer(lab)
    broken = cut("get blob", 4 * MIB, 1, match=layer)
    wrong = Fault("get blob", FaultKind.WRONG_BYTES, times=None, match=layer, after_bytes=MIB)
    lab.source.behaviour = Behaviour(faults=(broken, wrong))
    error = lab.run(exit_code=1).error
    assert isinstance(error, IntegrityError)
    assert error.origin is Origin.SOURCE
    assert lab.destination.storage.blob_size(REPOSITORY, image.blobs[1].digest) is None


@pytest.mark.extended
def test_a_source_that_drops_who_stands_idle_is_kept_moving(lab: SyncLab) -> None:
    """The classic fault of streaming copiers: one side is dropped while the other is slow."""
    image = lab.image(1, layer_bytes=96 * MIB)
    # Half of the window would take the destination longer than the source waits.
    lab.source.behaviour = Behaviour(idle_timeout_s=2.6)
    lab.destination.behaviour = replace(TRUSTING, bandwidth_bytes_per_s=10 * MIB)
    done = lab.run(window_bytes=64 * MIB, streams=1, memory_bytes=128 * MIB)
    assert done.document["resumes"] == {"source": 0, "destination": 0, "while idle": 0}
    lab.assert_arrived(image)


@pytest.mark.extended
def test_a_side_that_was_dropped_while_it_stood_idle_goes_on_and_is_counted(lab: SyncLab) -> None:
    image = lab.image(1, layer_bytes=96 * MIB)
    lab.source.behaviour = Behaviour(idle_timeout_s=0.4)
    lab.destination.behaviour = replace(TRUSTING, bandwidth_bytes_per_s=14 * MIB)
    done = lab.run(window_bytes=32 * MIB, streams=1, memory_bytes=128 * MIB)
    counts = done.document["resumes"]
    assert counts["source"] >= 1
    assert counts["while idle"] >= 1
    assert done.at(lab.destination).bytes_in == sum(blob.size for blob in image.blobs)
    lab.assert_arrived(image)


@pytest.mark.extended
def test_a_try_that_is_given_up_leaves_its_session_to_the_next(lab: SyncLab) -> None:
    image, layer = one_layer(lab)
    # The source is cut, and stays away for longer than one try of the blob waits.
    gone = Fault("get blob", status=503, times=3, match=layer)
    lab.source.behaviour = Behaviour(faults=(cut("get blob", 12 * MIB, match=layer), gone))
    done = lab.run()
    counted = done.at(lab.destination)
    assert counted.count("cancel upload") == 0
    assert counted.count("start upload") == 2
    assert counted.bytes_in <= sum(blob.size for blob in image.blobs) + 64 * 1024
    lab.assert_arrived(image)


@pytest.mark.extended
def test_a_session_that_nobody_went_on_with_is_cancelled_in_the_end(lab: SyncLab) -> None:
    _, layer = one_layer(lab)
    gone = Fault("get blob", status=503, times=None, match=layer)
    lab.source.behaviour = Behaviour(faults=(cut("get blob", 12 * MIB, match=layer), gone))
    done = lab.run(exit_code=1)
    assert done.at(lab.destination).count("cancel upload") == 1


@pytest.mark.extended
@pytest.mark.parametrize("more", [0, 1, 99])
def test_a_session_that_claims_more_than_it_can_have_is_not_believed(lab: SyncLab, more: int) -> None:
    image, _ = one_layer(lab)
    lie = Fault("get upload", status=204, headers=(("Range", f"0-{LAYER + more}"),), body="")
    lab.destination.behaviour = replace(TRUSTING, faults=(cut_of(image, 4 * MIB), lie))
    done = lab.run()
    lab.assert_arrived(image)
    assert "worker lost" not in done.log


@pytest.mark.extended
def test_a_source_that_fails_while_it_is_read_again_costs_only_who_needs_it(lab: SyncLab) -> None:
    image = lab.image(1, layer_bytes=LAYER)
    layer = image.blobs[1].digest
    gone = Fault("get blob", status=404, times=None, skip=1, match=layer)
    lab.source.behaviour = Behaviour(faults=(gone,))
    other = lab.add_registry(replace(TRUSTING, latency_s=1.0))
    lost = Fault("put upload", FaultKind.RESET, times=1, after_bytes=LAYER - 1024, match=layer.partition(":")[2])
    lab.destination.behaviour = replace(FORGETFUL, faults=(lost,))
    done = lab.run(lab.rule(to=[(lab.destination, REPOSITORY), (other, REPOSITORY)]), exit_code=1, window_bytes=MIB)
    assert sorted(done.outcomes) == ["copied", "failed"]
    lab.assert_arrived(image, at=other)


@pytest.mark.extended
def test_a_registry_that_comes_and_goes_does_not_hold_a_request_for_ever(lab: SyncLab) -> None:
    lab.image(1)
    bad = Fault("get manifest", status=502, times=None)
    pings = tuple(Fault("ping", status=502, times=1, skip=number) for number in range(0, 200, 2))
    lab.source.behaviour = Behaviour(faults=(bad, *pings), latency_s=0.01)
    done = lab.run(exit_code=1, retries=1, give_up_after_s=2, retry_for_s=2, deadline_s=60)
    assert done.document["interrupted"] is None
