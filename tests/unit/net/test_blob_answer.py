"""The head of an answer decides who takes its body."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pycurl
import pytest

from image_syncer.errors import IntegrityError, Origin, TransportError
from image_syncer.net import BlobAnswer
from image_syncer.net.transport import MAX_REFUSAL_BYTES
from image_syncer.oci import Repository, digest_of
from image_syncer.registry import Endpoint, Response, build_get_blob

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Endpoint("r.example", "https://r.example")
REQUEST = build_get_blob(HERE, Repository("r.example", "app"), digest_of(b"blob"))


def answered(status: int, take: Callable[[Response], Callable[[memoryview], int | None] | None]) -> BlobAnswer:
    answer = BlobAnswer(REQUEST, take)
    for line in (b"HTTP/1.1 %d Word\r\n" % status, b"Docker-Distribution-Api-Version: registry/2.0\r\n", b"\r\n"):
        answer.lines.append(line)
    return answer


def response(answer: BlobAnswer, code: int = 0) -> Response:
    answer.look()
    return answer.response(code, "words", Origin.SOURCE, HERE)


def test_the_body_of_a_blob_goes_to_whoever_takes_it() -> None:
    taken = bytearray()
    answer = answered(200, lambda head: taken.extend if head.status == 200 else None)
    assert answer.receive(memoryview(b"blob")) is None
    assert (bytes(taken), answer.fault) == (b"blob", None)
    assert answer.taker is not None


def test_what_whoever_takes_it_says_is_said_to_libcurl() -> None:
    assert answered(200, lambda _head: lambda _chunk: 17).receive(memoryview(b"blob")) == 17


def test_of_a_refusal_the_beginning_is_kept() -> None:
    answer = answered(503, lambda _head: None)
    assert answer.receive(memoryview(b"busy")) is None
    refused = response(answer)
    assert (refused.status, refused.body, refused.url) == (503, b"busy", REQUEST.url)
    assert refused.headers.get("Docker-Distribution-Api-Version") == "registry/2.0"


def test_a_refusal_without_end_is_broken_off() -> None:
    answer = answered(503, lambda _head: None)
    assert answer.receive(memoryview(bytes(MAX_REFUSAL_BYTES + 1))) is None
    assert answer.receive(memoryview(b"more")) == -1
    assert len(response(answer, pycurl.E_WRITE_ERROR).body) == MAX_REFUSAL_BYTES


def test_the_body_of_a_blob_that_is_not_the_one_is_not_read() -> None:
    wrong = IntegrityError("another size")

    def take(_head: Response) -> None:
        raise wrong

    answer = answered(200, take)
    assert answer.receive(memoryview(b"blob")) == -1
    assert answer.fault is wrong


def test_a_transfer_that_broke_off_is_an_error() -> None:
    with pytest.raises(TransportError):
        response(answered(503, lambda _head: None), pycurl.E_RECV_ERROR)
    with pytest.raises(TransportError):  # its head was cut off
        response(BlobAnswer(REQUEST, lambda _head: None))


def test_the_head_of_an_answer_without_a_body_is_looked_at_once() -> None:
    looked: list[int] = []
    answer = answered(204, lambda head: looked.append(head.status))
    assert response(answer).status == 204
    answer.look()
    assert looked == [204]
