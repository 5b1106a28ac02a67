from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_syncer.net import AnswerHead
from image_syncer.net.handles import parse_head


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


LINES = st.one_of(
    st.sampled_from(
        [
            b"HTTP/1.1 100 Continue\r\n",
            b"HTTP/1.1 103 Early\r\n",
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/2 404\r\n",
            b"HTTP/1.1 abc\r\n",
            b"\r\n",
            b"Location: /a:b\r\n",
            b"location :  /c \r\n",
            b"X-Latin: \x85\xa0\xe9\r\n",
            b"nothing\r\n",
            b": no name\r\n",
        ]
    ),
    st.binary(max_size=20).map(lambda data: data.replace(b"\n", b"") + b"\n"),
)


@given(st.lists(LINES, max_size=12))
def test_the_lines_of_a_head_mean_the_same_at_once_and_one_by_one(lines: list[bytes]) -> None:
    """Up to the final head and its trailers: libcurl hands out no second one."""
    head = AnswerHead()
    used = []
    for line in lines:
        if head.status >= 200 and line.startswith(b"HTTP/"):
            break
        used.append(line)
        head.take(line)
    status, headers = parse_head(used)
    assert (status, headers.items()) == (head.status, head.headers.items())
    for name in [name for name, _ in headers.items() if name.isascii()]:
        assert headers.get(name.upper()) == headers.get_all(name)[0]
        assert name in headers
    assert repr(headers) == repr(head.headers)
