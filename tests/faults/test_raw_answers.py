"""Answers that no well-made registry gives, byte by byte: heads that are cut off, lengths that lie, silence."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from image_syncer.errors import IntegrityError
from image_syncer.telemetry import Outcome
from support.raw_server import chunked, found, serve_image, serve_raw
from support.sync_runs import REPOSITORY, TAG

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from support.sync_runs import SyncLab

MIB = 2**20
WAYS = pytest.mark.parametrize("small_bytes", [0, MIB], ids=["streamed", "whole"])


@WAYS
def test_a_whole_blob_and_more_in_one_segment(lab: SyncLab, small_bytes: int) -> None:
    image = lab.content.image(2, layer_bytes=1000)
    blobs = {str(blob.digest): blob.read() for blob in image.all_blobs()}
    with serve_raw(serve_image(image, TAG, lambda digest: [chunked(blobs[digest], b"more")])) as source:
        lab.enter(source)
        done = lab.run(lab.rule(origin=source), small_bytes=small_bytes)
    assert "worker lost" not in done.log
    lab.assert_arrived(image)


@pytest.mark.extended
@WAYS
def test_a_blob_of_another_length_is_refused_by_its_head(lab: SyncLab, small_bytes: int) -> None:
    image = lab.content.image(1, layer_bytes=1000)
    sent = threading.Semaphore(0)

    def endless(_digest: str) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n"
        while True:
            sent.release()
            yield bytes(MIB)

    with serve_raw(serve_image(image, TAG, endless)) as source:
        lab.enter(source)
        done = lab.run(lab.rule(origin=source), small_bytes=small_bytes, exit_code=1)
    assert isinstance(done.error, IntegrityError)
    assert "announces 100000000000 bytes" in done.error.message
    assert sent._value < 100, "the body was read"


@pytest.mark.parametrize("what", ["head", "get"])
@pytest.mark.parametrize("cut", [b"HTTP/1.1 200 OK\r\nDocker-Con", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"])
def test_a_head_that_is_cut_off_is_no_answer(lab: SyncLab, what: str, cut: bytes) -> None:
    image = lab.content.image(1, layer_bytes=1000)
    blobs = {str(blob.digest): blob.read() for blob in image.all_blobs()}
    whole = serve_image(image, TAG, lambda digest: [found(blobs[digest])])
    cuts = iter([cut])

    def answer(method: str, path: str) -> Iterable[bytes] | None:
        if method.lower() == what and "/manifests/" in path and (piece := next(cuts, None)) is not None:
            return broken(piece)
        return whole(method, path)

    def broken(piece: bytes) -> Iterator[bytes]:
        yield piece
        raise ConnectionError("cut")

    with serve_raw(answer) as source:
        lab.enter(source)
        lab.run(lab.rule(origin=source))
    lab.assert_arrived(image)


@pytest.mark.extended
@WAYS
def test_a_head_that_is_cut_off_in_a_transfer_is_tried_again(lab: SyncLab, small_bytes: int) -> None:
    image = lab.content.image(1, layer_bytes=1000)
    blobs = {str(blob.digest): blob.read() for blob in image.all_blobs()}
    cuts = iter([b"HTTP/1.1 200 OK\r\nContent-Le"])

    def blob_answer(digest: str) -> Iterator[bytes]:
        if (piece := next(cuts, None)) is not None:
            yield piece
            raise ConnectionError("cut")
        yield found(blobs[digest])

    with serve_raw(serve_image(image, TAG, blob_answer)) as source:
        lab.enter(source)
        lab.run(lab.rule(origin=source), small_bytes=small_bytes)
    lab.assert_arrived(image)


@pytest.mark.parametrize("layer_bytes", [1000, 3 * MIB], ids=["whole", "streamed"])
def test_a_destination_that_never_opens_a_session_does_not_keep_the_other_waiting(
    lab: SyncLab, layer_bytes: int
) -> None:
    image = lab.image(2, layer_bytes=layer_bytes)
    over = threading.Event()
    arrived: list[float] = []

    def answer(method: str, path: str) -> Iterable[bytes] | None:
        if method == "POST":
            over.wait(60)
            return None
        return [b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"] if "/manifests/" in path else [found(b"{}")]

    def look(_: object) -> None:
        storage = lab.destination.storage
        if not arrived and storage.repositories() and storage.tags(REPOSITORY):
            arrived.append(time.monotonic())
            over.set()

    with serve_raw(answer) as mute:
        lab.enter(mute)
        done = lab.run(
            lab.rule(to=[(lab.destination, REPOSITORY), (mute, REPOSITORY)]),
            exit_code=1,
            retries=0,
            fan_out_lag_s=1,
            on_progress=look,
            progress_interval_s=0.05,
        )
    assert arrived, "the other arrived only when the silent one had been given up"
    assert done.report.totals.outcomes == {Outcome.COPIED: 1, Outcome.FAILED: 1}
    lab.assert_arrived(image)
