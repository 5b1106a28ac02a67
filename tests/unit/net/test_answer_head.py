from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_syncer.net import parse_head
from image_syncer.registry import Headers


def parsed(*lines: str) -> tuple[int, Headers]:
    head = parse_head([f"{line}\r\n".encode("latin-1") for line in lines])
    assert head is not None
    return head


def test_status_and_fields() -> None:
    lines = ["HTTP/1.1 202 Accepted", "Location: /v2/x?a=b:c", "Range:0-0", "Location:  /second "]
    assert parse_head([f"{line}\r\n".encode() for line in lines]) is None  # its end is missing
    status, headers = parsed(*lines, "")
    assert status == 202
    assert headers.get("location") == "/v2/x?a=b:c"
    assert headers.get_all("Location") == ["/v2/x?a=b:c", "/second"]
    assert headers.get("RANGE") == "0-0"


def test_interim_answers_are_forgotten() -> None:
    interim = ["HTTP/1.1 100 Continue", "X-Interim: yes", "", "HTTP/1.1 103 Early Hints", "Link: </x>", ""]
    assert parse_head([f"{line}\r\n".encode() for line in interim]) is None
    status, headers = parsed(*interim, "HTTP/2 200", "Content-Length: 5", "")
    assert (status, headers.items()) == (200, [("Content-Length", "5")])


def test_trailers_are_fields() -> None:
    status, headers = parsed("HTTP/1.1 200 OK", "A: 1", "", "Trailer: t", "")
    assert (status, headers.items()) == (200, [("A", "1"), ("Trailer", "t")])


@pytest.mark.parametrize(("line", "status"), [("HTTP/1.1 404", 404), ("HTTP/1.0 200 OK", 200)])
def test_status_lines(line: str, status: int) -> None:
    assert parsed(line, "")[0] == status


def test_a_status_that_is_no_number_is_no_head() -> None:
    assert parse_head([b"HTTP/1.1 abc\r\n", b"\r\n"]) is None


def test_bytes_that_are_no_ascii_and_lines_that_are_no_fields() -> None:
    head = parse_head([b"HTTP/1.1 200 OK\r\n", b"X-Name: \xe4\xff\r\n", b"no colon at all\r\n", b"\r\n"])
    assert head is not None
    assert head[1].items() == [("X-Name", "\xe4\xff")]


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


def one_by_one(lines: list[bytes]) -> tuple[int, list[bytes]] | None:
    """Status and fields as a callback would collect them that sees one line after the other."""
    status, complete, fields = 0, False, list[bytes]()
    for line in lines:
        if status < 200 and line.startswith(b"HTTP/"):
            parts = line.split(None, 2)
            status, fields = int(parts[1]) if parts[1:] and parts[1].isdigit() else 0, []
        elif line not in (b"\r\n", b"\n"):
            fields.append(line)
        else:
            complete = complete or status >= 200
    return (status, fields) if complete else None


@given(st.lists(LINES, max_size=12))
def test_the_lines_of_a_head_mean_the_same_at_once_and_one_by_one(lines: list[bytes]) -> None:
    head, slow = parse_head(lines), one_by_one(lines)
    assert (head is None) is (slow is None)
    if head is None or slow is None:
        return
    headers = head[1]
    split = [line.decode("latin-1").partition(":") for line in slow[1]]
    assert (head[0], headers.items()) == (
        slow[0],
        [(name.strip(), value.strip()) for name, colon, value in split if colon],
    )
    for name in [name for name, _ in headers.items() if name.isascii()]:
        assert headers.get(name.upper()) == headers.get_all(name)[0]
        assert name in headers
