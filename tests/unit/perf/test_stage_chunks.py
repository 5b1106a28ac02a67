"""Chunks are found however the bytes fall into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perf.stage.chunks import ChunkedBody


@given(st.lists(st.binary(min_size=1, max_size=30)), st.lists(st.integers(1, 9), min_size=1), st.booleans())
def test_a_body_is_put_together_again(chunks, cuts, keeps) -> None:
    data = b"".join(b"%x;a=b\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\nGET /"
    body, rest, start, turn = ChunkedBody(keeps=keeps), b"", 0, 0
    while start < len(data):
        stop = start + cuts[turn % len(cuts)]
        rest += data[start:stop] if body.ended else body.feed(data[start:stop])
        start, turn = stop, turn + 1
    assert body.ended
    assert rest == b"GET /"
    assert body.taken == sum(map(len, chunks))
    assert body.kept == (b"".join(chunks) if keeps else None)


def test_what_is_no_chunk_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        ChunkedBody(keeps=False).feed(b"hello\r\n")
