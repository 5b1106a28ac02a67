"""A watch that is controlled from outside: its socket outlives the rounds, and what was asked for holds over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.control.client import ControlClient, read_snapshot
from support.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from support.watch_world import WatchProcess, World


def waits(client: ControlClient, rounds: int = 1) -> dict[str, Any] | None:
    """What the watch tells between two rounds, after so many; None where it does not wait."""
    told = client.ask("status")
    return (
        told if told["snapshot"] is None and told["watch"]["rounds"] >= rounds and told["watch"]["last_run"] else None
    )


def client_of(watch: WatchProcess, path: Path) -> ControlClient:
    wait_until(lambda: path.exists() or not watch.process.is_alive, "the socket")
    assert path.exists(), watch.err
    return ControlClient(str(path))


def test_what_is_asked_for_holds_over_rounds_and_a_drain_ends_the_watch(world: World, tmp_path: Path) -> None:
    path = tmp_path / "watch.sock"
    world.push("team/app", "v1")
    with world.start("--every", "1s", "--jitter", "0", "--rest", "1", "--control", str(path)) as watch:
        client = client_of(watch, path)
        world.wait_for("team/app", "v1")
        wait_until(lambda: waits(client), "a wait between two rounds")
        assert client.ask("pause")["paused"]
        assert client.ask("rate", rate="50MB/s")["rate"] == "50MB/s"
        world.push("team/app", "v2")
        wait_until(lambda: (one := client.snapshot()) is not None and one.held == "paused", "a round that is paused")
        snapshot = read_snapshot(client.ask("status"))
        assert snapshot is not None
        assert snapshot.rate_limit == 50e6
        assert not world.has("team/app", "v2")
        assert not client.ask("resume")["paused"]
        world.wait_for("team/app", "v2")
        wait_until(lambda: waits(client, rounds=2), "a wait after that")
        assert client.ask("status")["watch"]["last_run"]["exit_code"] == 0
        assert client.ask("drain")["draining"]
        assert watch.wait() == 0
        while not client.ended:
            list(client.take(wait=True))
        assert client.said_so
    assert not path.exists()
    assert "Traceback" not in watch.err


@pytest.mark.slow
def test_a_round_under_way_ends_before_a_drained_watch(world: World, tmp_path: Path) -> None:
    path = tmp_path / "watch.sock"
    for number in range(3):
        world.push("team/app", f"v{number}", layer_bytes=300_000)
    world.source.behaviour = type(world.source.behaviour)(bandwidth_bytes_per_s=100_000)
    with world.start("--every", "1h", "--control", str(path)) as watch:
        client = client_of(watch, path)
        wait_until(lambda: world.source.counters.bytes_out > 0, "bytes")
        assert client.ask("drain")["draining"]
        assert watch.wait() == 0
    assert all(world.has("team/app", f"v{number}") for number in range(3))
    assert watch.report["totals"]["outcomes"]["copied"] == 3
