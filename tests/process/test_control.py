"""A run that is controlled from outside, through its socket."""

from __future__ import annotations

import json
import socket
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer import SyncError
from image_syncer.control.client import ControlClient
from image_syncer.control.paths import control_socket_of
from support.processes import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from process.conftest import Pair
    from support.sync_process import SyncProcess

MIB = 2**20


def client_of(run: SyncProcess, path: Path) -> ControlClient:
    wait_until(lambda: path.exists() or not run.process.is_alive, "the socket")
    assert path.exists(), run.err
    return ControlClient(str(path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.sock"


@pytest.fixture
def slow(pair: Pair, path: Path) -> Iterator[SyncProcess]:
    """A run over 40 images of which each blob takes about a second."""
    pair.add_images(40, layers=2, layer_bytes=MIB)
    pair.slow_down(MIB)
    with pair.run("--control", str(path), "--workers", "1", "--streams", "4", "--small-blobs", "0") as run:
        yield run


def moved(pair: Pair) -> int:
    return pair.source.counters.bytes_out


def test_a_pause_stops_the_bytes_and_it_goes_on_after(pair: Pair, slow: SyncProcess, path: Path) -> None:
    client = client_of(slow, path)
    pair.wait_for_bytes(MIB)
    assert client.ask("pause")["paused"]
    wait_until(lambda: (one := client.snapshot()) is not None and not one.slowest, "that what is under way has ended")
    before = moved(pair)
    time.sleep(1.5)
    assert moved(pair) == before
    snapshot = client.snapshot()
    assert snapshot is not None
    assert snapshot.held == "paused"
    pair.speed_up()
    assert not client.ask("resume")["paused"]
    assert slow.wait() == 0
    pair.assert_copied()
    assert not path.exists()


@pytest.mark.extended
def test_a_drain_ends_what_is_under_way_and_begins_nothing(pair: Pair, path: Path) -> None:
    """More images than are open at once, so that some are not begun."""
    pair.add_images(300, layer_bytes=4096)
    pair.source.behaviour = type(pair.source.behaviour)(latency_s=0.2)
    with pair.run("--control", str(path), "--workers", "1") as run:
        client = client_of(run, path)
        pair.wait_for_bytes(1)
        assert client.ask("drain")["draining"]
        pair.speed_up()
        assert run.wait() == 130
    assert run.report["interrupted"] == "drain"
    outcomes = run.report["totals"]["outcomes"]
    assert outcomes["not tried"] > 0
    assert outcomes["copied"] + outcomes["not tried"] == 300
    assert pair.assert_consistent() == outcomes["copied"]


@pytest.mark.slow
def test_the_rate_is_changed_while_it_goes_on(pair: Pair, path: Path) -> None:
    pair.add_images(60, layers=1, layer_bytes=MIB)
    with pair.run("--control", str(path), "--workers", "1", "--rate", "1MiB/s") as run:
        client = client_of(run, path)
        pair.wait_for_bytes(MIB)
        assert client.ask("rate", rate="4MiB/s")["rate"] == "4MiB/s"
        time.sleep(1.0)
        before, began = moved(pair), time.monotonic()
        time.sleep(4.0)
        rate = (moved(pair) - before) / (time.monotonic() - began)
        assert 0.8 * 4 * MIB < rate < 1.2 * 4 * MIB
        client.ask("rate", rate="none")
        assert run.wait() == 0
    pair.assert_copied()


@pytest.mark.extended
def test_a_first_limit_holds_for_what_is_under_way(pair: Pair, path: Path) -> None:
    """One blob that would take eight seconds, and a hundred more at the rate."""
    pair.add_images(1, layers=1, layer_bytes=64 * MIB)
    pair.slow_down(8 * MIB)
    with pair.run("--control", str(path), "--workers", "1") as run:
        client = client_of(run, path)
        pair.wait_for_bytes(4 * MIB)
        client.ask("rate", rate="512KiB/s")

        def is_held() -> bool:
            before, began = moved(pair), time.monotonic()
            time.sleep(1.5)
            return moved(pair) - before < 1.5 * MIB * (time.monotonic() - began)

        wait_until(is_held, "the rate")  # after what is in the rings and in the kernel
        assert moved(pair) < 64 * MIB  # or the blob has only ended
        client.ask("rate", rate="none")
        assert run.wait() == 0
    pair.assert_copied()


@pytest.mark.slow
def test_a_run_without_a_limit_can_be_given_one(pair: Pair, slow: SyncProcess, path: Path) -> None:
    client = client_of(slow, path)
    pair.wait_for_bytes(MIB)
    client.ask("rate", rate="1MiB/s")
    time.sleep(1.5)  # for what is in the rings and in the kernel
    before, began = moved(pair), time.monotonic()
    time.sleep(8.0)  # the source counts a blob of 1 MiB as it begins
    assert 0.7 * MIB < (moved(pair) - before) / (time.monotonic() - began) < 1.3 * MIB
    snapshot = client.snapshot()
    assert snapshot is not None
    assert snapshot.rate_limit == MIB


@pytest.mark.slow
def test_streams_are_bounded_and_told(pair: Pair, slow: SyncProcess, path: Path) -> None:
    client = client_of(slow, path)
    pair.wait_for_bytes(1)
    assert client.ask("streams", streams=2)["streams"] == 2
    wait_until(
        lambda: (one := client.snapshot()) is not None and [row.streamed for row in one.workers] == [2], "two streams"
    )
    assert client.ask("streams", streams=1000)["streams"] == 4


GARBAGE = [
    b"hello\n",
    b"[]\n",
    b"{}\n",
    b'{"v": 2, "command": "pause"}\n',
    b'{"command": ["pause"]}\n',
    b'{"command": "fly"}\n',
    b'{"command": "rate"}\n',
    b'{"command": "rate", "rate": "fast"}\n',
    b'{"command": "streams", "streams": 0}\n',
    b'{"command": "streams", "streams": true}\n',
    b'{"command": "snapshots", "every_s": 0}\n',
    b"\xff\xfe\n",
    b"x" * 100_000 + b"\n",
]


def lines_of(path: Path, *sent: bytes) -> list[Any]:
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(30)
        one.connect(str(path))
        answers = []
        for line in sent:
            one.sendall(line)
            data = b""
            while not data.endswith(b"\n"):
                chunk = one.recv(65536)
                assert chunk, "hung up without an answer"
                data += chunk
            answers.append(json.loads(data))
        return answers


def is_hung_up(one: socket.socket, sent: bytes) -> bool:
    try:
        one.sendall(sent)
    except (BrokenPipeError, ConnectionResetError):
        return True
    return False


@pytest.mark.extended
def test_whatever_is_sent_the_run_goes_on(pair: Pair, slow: SyncProcess, path: Path) -> None:
    client = client_of(slow, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for answer in [lines_of(path, line)[0] for line in GARBAGE]:
        assert answer["v"] == 1
        assert answer["ok"] is False
        assert answer["error"]
    with pytest.raises(SyncError, match="fast"):
        client.ask("rate", rate="fast")
    # Several on one connection, with an id, after a mistake; and one who streams and does not read.
    assert [one["ok"] for one in lines_of(path, b"nonsense\n", b'{"command": "errors", "id": 7}\n')] == [False, True]
    deaf = socket.socket(socket.AF_UNIX)
    deaf.connect(str(path))
    deaf.settimeout(PATIENCE_S)
    wait_until(lambda: is_hung_up(deaf, b'{"command": "status"}\n' * 1000), "that the deaf one is dropped")
    half = socket.socket(socket.AF_UNIX)
    half.connect(str(path))
    half.sendall(b'{"command": "pa')
    half.close()
    pair.speed_up()
    assert slow.wait() == 0
    deaf.close()
    pair.assert_copied()
    assert not slow.events("mistake")


@pytest.mark.slow
def test_the_stream_of_snapshots_ends_with_the_run(pair: Pair, slow: SyncProcess, path: Path) -> None:
    client = client_of(slow, path)
    client.ask("snapshots", every_s=0.1)
    events = []
    pair.speed_up()
    while not client.ended:
        events += [told["event"] for told in client.take(wait=True)]
    assert events.count("snapshot") >= 2
    assert events[-1] == "end"
    assert slow.wait() == 0


@pytest.mark.slow
def test_by_default_it_lies_in_the_runtime_directory(pair: Pair) -> None:
    pair.add_images(2)
    pair.slow_down(MIB)
    with (
        tempfile.TemporaryDirectory() as runtime,  # a short path: the address of a socket has at most 107 bytes
        pair.run(environment={"XDG_RUNTIME_DIR": runtime}) as run,
    ):
        path = Path(runtime) / "image-syncer" / f"{run.pid}.sock"
        client = client_of(run, path)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert client.ask("status")["pid"] == run.pid
        assert control_socket_of({"XDG_RUNTIME_DIR": runtime}, run.pid) == str(path)
        assert run.wait() == 0


def occupied(path: Path) -> None:
    path.write_text("mine")


def too_long(_path: Path) -> None:
    """The path is what is wrong."""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "prepare"), [("file", occupied), ("x" * 120, too_long), ("no/such/place", too_long)])
def test_a_run_without_a_socket_goes_on(pair: Pair, tmp_path: Path, name: str, prepare: Any) -> None:
    pair.add_images(1)
    prepare(tmp_path / name)
    with pair.run("--control", str(tmp_path / name)) as run:
        assert run.wait() == 0
    assert len(run.events("the run cannot be controlled from outside")) == 1
    if name == "file":
        assert (tmp_path / name).read_text() == "mine"


@pytest.mark.slow
def test_what_a_killed_run_has_left_is_replaced_and_none_is_none(pair: Pair, path: Path, tmp_path: Path) -> None:
    pair.add_images(1)
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    with pair.run("--control", str(path)) as run:
        assert run.wait() == 0
    assert not run.events("the run cannot be controlled from outside")
    before = set(tmp_path.iterdir())
    with pair.run("--control", "none", environment={"XDG_RUNTIME_DIR": str(tmp_path)}) as run:
        assert run.wait() == 0
    assert tmp_path / "image-syncer" not in set(tmp_path.iterdir()) - before
