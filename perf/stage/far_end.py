"""A server moved to the far end of a long line: `python -m perf.stage.far_end` (needs CAP_NET_ADMIN and iproute2).

It makes a network namespace of its own, joins it to ours, and listens there; whoever connects goes through the kernel's
TCP on both ends, with the congestion control that is in force, over a line that delays, drops and limits packets:

- `netem`: a veth pair with tc's netem on both ends, where the kernel has it.
- `packets`: two tun devices, and this process carries each packet from one to the other: in a queue of one
  bandwidth-delay product with a rate, half the round trip later, without those that are lost by (seeded) chance. That
  is what netem does, but it costs a core: 5 µs a packet of 1,500 bytes (as on Ethernet), acknowledgements included. One
  core carries about 750 Mbit/s, so do not ask for much more than 500. A path must not be slow because the tool that is
  measured has the cores, so this process asks for a higher priority.

A second process (a fork) carries the bytes on from the far end to the server itself, which stays where it is. Nothing
is left behind: namespace and devices end with the processes that hold them.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
import subprocess
import time
from collections import deque

from perf.stage.line import Line
from perf.stage.processes import READY, StageError, tied_to_parent
from perf.stage.relay import Relay

__all__ = ["FAR_ADDRESSES", "main"]

FAR_ADDRESSES = tuple(f"198.18.77.{4 * slot + 2}" for slot in range(16))
"""One for each path that may stand at once; from the range that is set aside for benchmarks (RFC 2544)."""

CLONE_NEWNET = 0x4000_0000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI, IFF_TUN_EXCL = 0x0001, 0x1000, 0x8000
MTU = 1500
TRANSMIT_QUEUE = "20000"
"""Packets that the kernel holds while this process is not on a core; the line's own queue is what should fill."""

NICENESS = -15
"""Before everything that is measured; the superuser, who alone may make namespaces, may ask for it."""

BATCH = 64
"""Packets that are taken from one device before the other has its turn."""

_libc = ctypes.CDLL(None, use_errno=True)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StageError(f"{' '.join(command)}: {done.stderr.strip()}")


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _new_namespace() -> int:
    if _libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    return os.open("/proc/self/ns/net", os.O_RDONLY)


def _open_tun(name: str, address: str) -> int:
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL))
    except OSError:
        os.close(device)
        raise
    _run("ip", "address", "add", f"{address}/30", "dev", name)
    _run("ip", "link", "set", name, "mtu", str(MTU), "txqueuelen", TRANSMIT_QUEUE, "up")
    return device


class _Packets:
    """Two tun devices and the line between them."""

    def __init__(self, near: int, far: int, up: Line, down: Line) -> None:
        self._ways = ((near, far, up, deque[tuple[float, bytes]]()), (far, near, down, deque[tuple[float, bytes]]()))

    def run(self) -> None:
        """Carry for ever."""
        epoll = select.epoll()
        for device, *_ in self._ways:
            epoll.register(device, select.EPOLLIN)
        read, write, clock = os.read, os.write, time.monotonic
        while True:
            now = clock()
            coming = [queue[0][0] - now for _, _, _, queue in self._ways if queue]
            epoll.poll(max(0.0, min(coming)) if coming else -1)
            for origin, goal, line, queue in self._ways:
                now = clock()
                with contextlib.suppress(BlockingIOError):
                    for _ in range(BATCH):
                        packet = read(origin, MTU)
                        due = line.enter(len(packet), now)
                        if due is not None:
                            queue.append((due, packet))
                while queue and queue[0][0] <= now:
                    with contextlib.suppress(OSError):  # not IP, or the device is full: a packet less
                        write(goal, queue[0][1])
                    queue.popleft()


def _join_by_packets(slot: int, arguments: argparse.Namespace, ours: int) -> tuple[_Packets, int]:
    delay_s, rate = arguments.round_trip_s / 2, arguments.bits_per_s
    queue_bytes = rate / 8 * arguments.round_trip_s
    lines = [Line(delay_s, rate, loss=arguments.loss, queue_bytes=queue_bytes, seed=seed) for seed in (1, 2)]
    near = _open_tun(f"perfwa{slot}", _near(slot))
    theirs = _new_namespace()
    far = _open_tun("perfwa", FAR_ADDRESSES[slot])
    _enter(ours)
    return _Packets(near, far, *lines), theirs


def _join_by_netem(slot: int, arguments: argparse.Namespace, ours: int) -> int:
    name, theirs = f"perfwa{slot}", _new_namespace()
    _enter(ours)
    queue_packets = int(arguments.bits_per_s / 8 * arguments.round_trip_s * 1.5 / MTU)
    half_ms = arguments.round_trip_s * 1000 / 2
    shape = f"netem delay {half_ms}ms loss {arguments.loss * 100}% rate {int(arguments.bits_per_s)}bit".split()
    shape += ["limit", str(queue_packets)]
    _run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}f")
    _run("ip", "link", "set", f"{name}f", "netns", f"/proc/{os.getpid()}/fd/{theirs}")
    for namespace, device, address in ((ours, name, _near(slot)), (theirs, f"{name}f", FAR_ADDRESSES[slot])):
        _enter(namespace)
        _run("ip", "address", "add", f"{address}/30", "dev", device)
        _run("ip", "link", "set", device, "gso_max_segs", "1", "up")  # else a loss is of 64 KiB, not of a packet
        _run("tc", "qdisc", "add", "dev", device, "root", *shape)
    _enter(ours)
    return theirs


def _near(slot: int) -> str:
    front, _, last = FAR_ADDRESSES[slot].rpartition(".")
    return f"{front}.{int(last) - 1}"


def _free_slot() -> int:
    taken = {name for _, name in socket.if_nameindex()}
    free = [slot for slot in range(len(FAR_ADDRESSES)) if f"perfwa{slot}" not in taken]
    if not free:
        raise OSError(errno.EBUSY, "all paths are taken")
    return free[0]


def main() -> None:
    """Make the path, say where its far end listens, and carry until ended."""
    parser = argparse.ArgumentParser(description="A server moved to the far end of a long line.")
    parser.add_argument("target", help="host:port, in the namespace that this is started in")
    parser.add_argument("--way", choices=("netem", "packets"), required=True)
    parser.add_argument("--round-trip-s", type=float, required=True)
    parser.add_argument("--loss", type=float, default=0.0)
    parser.add_argument("--bits-per-s", type=float, required=True)
    arguments = parser.parse_args()
    host, _, port = arguments.target.rpartition(":")
    ours, slot, packets = os.open("/proc/self/ns/net", os.O_RDONLY), _free_slot(), None
    if arguments.way == "packets":
        packets, theirs = _join_by_packets(slot, arguments, ours)
    else:
        theirs = _join_by_netem(slot, arguments, ours)
    _enter(theirs)
    listener = socket.create_server((FAR_ADDRESSES[slot], 0), backlog=1024)
    _enter(ours)
    ready = f"{READY}{FAR_ADDRESSES[slot]}:{listener.getsockname()[1]}"
    relay = Relay(listener, lambda: socket.create_connection((host, int(port))))
    if packets is None:
        print(ready, flush=True)
        relay.run()
        return
    starter = os.getpid()
    if os.fork() == 0:
        tied_to_parent()
        if os.getppid() == starter:
            relay.run()
        os._exit(1)
    listener.close()
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    print(ready, flush=True)
    packets.run()


if __name__ == "__main__":
    main()
