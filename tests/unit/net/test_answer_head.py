from __future__ import annotations

import pytest

from image_syncer.net import AnswerHead


def feed(head: AnswerHead, *lines: str) -> None:
    for line in lines:
        head.take(f"{line}\r\n".encode("latin-1"))


def test_status_and_fields() -> None:
    head = AnswerHead()
    feed(head, "HTTP/1.1 202 Accepted", "Location: /v2/x?a=b:c", "Range:0-0", "Location:  /second ")
    assert not head.complete
    feed(head, "")
    assert (head.status, head.complete) == (202, True)
    assert head.headers.get("location") == "/v2/x?a=b:c"
    assert head.headers.get_all("Location") == ["/v2/x?a=b:c", "/second"]
    assert head.headers.get("RANGE") == "0-0"


def test_interim_answers_are_forgotten() -> None:
    called: list[int] = []
    head = AnswerHead(lambda: called.append(head.status))
    feed(head, "HTTP/1.1 100 Continue", "X-Interim: yes", "")
    assert (head.complete, called) == (False, [])
    feed(head, "HTTP/1.1 103 Early Hints", "Link: </x>", "")
    feed(head, "HTTP/2 200", "Content-Length: 5", "")
    assert called == [200]
    assert head.headers.items() == [("Content-Length", "5")]


def test_the_end_of_the_head_is_told_once_and_trailers_are_fields() -> None:
    called: list[int] = []
    head = AnswerHead(lambda: called.append(head.status))
    feed(head, "HTTP/1.1 200 OK", "A: 1", "", "Trailer: t", "")
    assert called == [200]
    assert head.headers.get("Trailer") == "t"


@pytest.mark.parametrize(("line", "status"), [("HTTP/1.1 404", 404), ("HTTP/1.0 200 OK", 200), ("HTTP/1.1 abc", 0)])
def test_status_lines(line: str, status: int) -> None:
    head = AnswerHead()
    feed(head, line, "")
    assert head.status == status
    assert head.complete is (status >= 200)


def test_bytes_that_are_no_ascii_and_lines_that_are_no_fields() -> None:
    head = AnswerHead()
    head.take(b"HTTP/1.1 200 OK\r\n")
    head.take(b"X-Name: \xe4\xff\r\n")
    head.take(b"no colon at all\r\n")
    head.take(b"\r\n")
    assert head.headers.items() == [("X-Name", "\xe4\xff")]
