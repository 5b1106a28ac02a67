"""A server as it looks from far away: the way that this machine allows, and what that way is worth."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from perf.stage.processes import started_module
from perf.stage.relay import Weather

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perf.stage.servers import Place

__all__ = ["Way", "WideAreaPath", "best_way", "wide_area"]

Way = Literal["netem", "packets", "relay"]

_WHAT = {
    "netem": "veth pair with netem on both ends",
    "packets": "packets of 1,500 bytes between two tun devices, delayed, dropped and limited by a process of ours",
    "relay": "TCP ends in a relay of ours, which delays and limits; loss is a bound on each connection's rate (Mathis)",
}


@dataclass(frozen=True)
class WideAreaPath:
    """A path to a server. `place` is that server at the far end: copy from (or to) its address.

    `congestion_control` is the kernel's, on both ends; `kind` is for the result and says all of it.
    """

    place: Place
    way: Way
    round_trip_ms: float
    loss: float
    bits_per_s: float
    congestion_control: str
    kind: str


@contextmanager
def wide_area(
    target: Place,
    *,
    delay_ms: float = 80,
    loss: float = 0.01,
    bits_per_s: float = 500e6,
    way: Way | None = None,
) -> Iterator[WideAreaPath]:
    """A path to `target` with a round trip of `delay_ms`, of whose packets the part `loss` is lost, each way.

    `bits_per_s` is what all connections have together, each way. Without `way`, the best that this machine allows:
    netem, else packets (both need to be superuser), else the relay. Up to 16 paths may stand at once. Any client
    can use the address, curl too. Raises StageError where the way that was asked for cannot be had.
    """
    way = way or best_way()
    weather = Weather(delay_ms / 1000, loss, bits_per_s)
    options = ["--round-trip-s", str(weather.round_trip_s), "--loss", str(loss), "--bits-per-s", str(bits_per_s)]
    module = "relay" if way == "relay" else "far_end"
    if way != "relay":
        options += ["--way", way]
    with started_module(module, [target.address, *options]) as (process, address):
        control = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
        kind = (
            f"{delay_ms:g} ms round trip, {loss:.2%} loss, {bits_per_s / 1e6:g} Mbit/s each way: {_WHAT[way]}; "
            f"congestion control {control}"
        )
        if way == "relay":
            kind += f" (no loss reaches it; {weather.connection_bits_per_s / 1e6:.3g} Mbit/s a connection)"
        place = dataclasses.replace(target, address=address, pid=process.pid, kind=f"{target.kind}, far away")
        yield WideAreaPath(place, way, delay_ms, loss, bits_per_s, control, kind)


@cache
def best_way() -> Way:
    """The best way on this machine; tried once, in a namespace that is gone afterwards."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return "relay"
    if _works("unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"):
        return "netem"
    if os.access("/dev/net/tun", os.R_OK | os.W_OK) and _works("unshare", "--net", "ip", "link", "set", "lo", "up"):
        return "packets"
    return "relay"


def _works(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
