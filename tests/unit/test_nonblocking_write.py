"""Lines for a reader that does not read: they are lost, and nobody waits for long."""

from __future__ import annotations

import fcntl
import io
import os
import select
import time
from typing import TYPE_CHECKING, TextIO

import pytest

from image_syncer import nonblocking_write
from image_syncer.nonblocking_write import write_line
from image_syncer.telemetry import configure_logging, get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE = "x" * 1000


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """The end that is read, and the other one, between which there is next to no room."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4 * select.PIPE_BUF)
    with os.fdopen(writing, "w") as stream:
        yield reading, stream
        os.close(reading)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nonblocking_write, "PATIENCE_S", 0.05)


def test_a_pipe_that_nobody_reads_takes_what_it_can_and_holds_up_nobody(pipe) -> None:
    reading, stream = pipe
    began = time.monotonic()
    taken = [write_line(stream, LINE) for _ in range(2000)]
    assert time.monotonic() - began < 30
    assert taken[0]
    assert not taken[-1]
    os.read(reading, 2**16)
    assert write_line(stream, "again")
    assert os.read(reading, 2**16).endswith(b"again\n")


def test_what_is_longer_than_the_pipe_is_cut_and_the_next_line_begins_anew(pipe) -> None:
    reading, stream = pipe
    assert not write_line(stream, "y" * 50_000)
    assert set(os.read(reading, 2**16)) == {ord("y")}
    assert write_line(stream, "next")
    assert os.read(reading, 2**16) == b"\nnext\n"


def test_a_reader_that_has_gone_is_told_as_ever() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(BrokenPipeError), os.fdopen(writing, "w") as stream:
        write_line(stream, LINE)


def test_what_is_no_pipe_is_written_as_ever(tmp_path) -> None:
    text = io.StringIO()
    assert write_line(text, "one")
    assert text.getvalue() == "one\n"
    with (tmp_path / "log").open("w") as file:
        assert write_line(file, "two")
    assert (tmp_path / "log").read_text() == "two\n"


def test_the_log_tells_how_many_lines_were_lost(pipe) -> None:
    reading, stream = pipe
    configure_logging(log_format="json", level="info", stream=stream)
    log = get_logger("test")
    for number in range(40):
        log.info("image", number=number, text=LINE)
    os.read(reading, 2**16)
    log.info("image", text="read again")
    told = os.read(reading, 2**16).decode()
    configure_logging(stream=io.StringIO())
    assert "read again" in told
    assert '"event": "lines of a log were lost, since nobody read them"' in told
