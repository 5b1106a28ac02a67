"""The byte path alone: one process that moves blobs as a worker does, without coordinator, scheduler and start-up.

    python perf/byte_path.py                        4 blobs of 256 MiB, 1, 4 and 16 at a time; 4,000 of 64 KiB
    python perf/byte_path.py --baseline DIR         against another checkout, in turn
    python perf/byte_path.py --counts               what is counted instead of what is timed

Timed are the CPU seconds of that process only (getrusage(2)): a GB of large blobs, and one small blob. Counted are
libcurl's callbacks, the calls of Python and C functions, buffers that are handed over as copies, pauses, and memory
that stays allocated (`tests/performance` holds them to bounds); run under `strace -c -f` it tells the system calls.
Counting is slow. Needs nothing but the package.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from perf.stage.content import INDEX_NAME, ContentSpec, build_content  # noqa: E402 - found from wherever it is run
from perf.stage.servers import reset, sink, source  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MIB = 2**20
LARGE, SMALL = "large", "small"
KINDS = {LARGE: (4, 256 * MIB), SMALL: (4000, 64 * 1024)}
"""How many blobs, and their size in bytes."""
RUNS = ((LARGE, 1), (LARGE, 4), (LARGE, 16), (SMALL, 16))
"""Which blobs, and how many at a time."""


def move(arguments: dict[str, Any]) -> dict[str, float]:
    """Move the blobs in this process, and say what that took."""
    sys.path.insert(0, str(Path(arguments["checkout"]) / "engine"))
    import uvloop  # here, and what follows too: the engine is that of the checkout

    return uvloop.run(_move(arguments))


def _prepare(arguments: dict[str, Any]) -> tuple[Any, Any, Callable[[Any], Any]]:
    """The transport, the leases, and what makes a copy of the blob of one of them."""
    import pycurl

    from image_syncer.net import Authorization, CurlDriver, RegistryClient, RetryRules, Throttle, Timeouts, Transport
    from image_syncer.oci import Digest, Repository
    from image_syncer.registry import Endpoint
    from image_syncer.scheduling import RetryPolicy
    from image_syncer.transfer.stream import Signals
    from image_syncer.worker.blob_copy import SmallBlobCopy
    from image_syncer.worker.context import Windows, WorkerContext
    from image_syncer.worker.protocol import LeaseJob, Place, TargetPlace
    from image_syncer.worker.streamed_copy import StreamedCopy

    class Anonymous:
        """No registry here asks for a token."""

        def known(self, *_: object) -> Authorization:
            return Authorization(None, 3600.0)

        async def authorize(self, *_: object) -> Authorization:
            return Authorization(None, 3600.0)

        def answered(self, _endpoint: Endpoint) -> None: ...

        def abandoned(self, _endpoint: Endpoint) -> None: ...

    def place(address: str, name: str) -> Place:
        return Place.of(Endpoint(address, f"http://{address}"), Repository(address, name))

    signals = Signals(
        pause_receive=pycurl.WRITEFUNC_PAUSE, pause_send=pycurl.READFUNC_PAUSE, abort_send=pycurl.READFUNC_ABORT
    )
    at_once = arguments["at_once"]
    transport = Transport(CurlDriver(kept_connections=4 * at_once), Timeouts(connect_s=5, stall_s=60))
    client: Any = RegistryClient(transport, Anonymous(), Throttle(), RetryRules(RetryPolicy(tries=1), random.random))  # type: ignore[arg-type]
    windows, small_blobs = Windows(MIB, at_once), Windows(MIB, at_once)
    context = WorkerContext(client, signals, stall_s=60.0, answer_s=60.0, chance=random.random, clock=time.monotonic)
    source = place(arguments["source"], arguments["repository"])
    target = TargetPlace(place(arguments["sink"], "moved"), "moved")
    blobs = enumerate(arguments["blobs"])
    leases = iter([LeaseJob(number, Digest(digest), size, source, (target,)) for number, (digest, size) in blobs])

    def copy_of(lease: LeaseJob) -> StreamedCopy | SmallBlobCopy:
        if lease.size > MIB:
            return StreamedCopy(lease, windows, context)
        return SmallBlobCopy(lease, small_blobs, context)

    return transport, leases, copy_of


async def _move(arguments: dict[str, Any]) -> dict[str, float]:
    transport, leases, copy_of = _prepare(arguments)
    pauses = 0

    async def keep_moving() -> None:
        nonlocal pauses
        for lease in leases:
            copy = copy_of(lease)
            [result] = await copy.run()
            if result.error is not None:
                raise result.error
            pauses += copy.waits[2]

    calls = 0

    def note(_frame: object, event: str, _what: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    callbacks = _count_callbacks() if arguments["counts"] else Counter[str]()
    if arguments["counts"]:
        tracemalloc.start()
    blocks, before, began = sys.getallocatedblocks(), resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    if arguments["counts"]:
        sys.setprofile(note)
    await asyncio.gather(*(keep_moving() for _ in range(arguments["at_once"])))
    if arguments["counts"]:
        sys.setprofile(None)
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = time.perf_counter() - began
    return {
        "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "wall_s": seconds,
        "pauses": pauses,
        "blocks": sys.getallocatedblocks() - blocks,
        "allocated_bytes": tracemalloc.get_traced_memory()[1] if arguments["counts"] else 0,
        "requests": sum(transport.requests.values()),
        "calls": calls,
        **callbacks,
    }


def _count_callbacks() -> Counter[str]:
    """Count libcurl's callbacks into the room `transfer` from now on, and buffers that are no memoryview.

    A chunk or a piece that is `bytes` was copied once more than need be: `copies`.
    """
    from image_syncer.transfer.stream import Sender, SmallBlob, SmallBlobSender, Stream

    counted: Counter[str] = Counter(copies=0)

    def wrap(owner: type, method: str) -> None:
        inner = getattr(owner, method)

        def count(*arguments: Any) -> Any:
            counted[method] += 1
            answer = inner(*arguments)
            handed = arguments[1] if method == "receive" else answer
            counted["copies"] += isinstance(handed, (bytes, bytearray))
            return answer

        setattr(owner, method, count)

    for owner in (Stream, SmallBlob):
        wrap(owner, "receive")
    for owner in (Sender, SmallBlobSender):
        wrap(owner, "send")
    return counted


def measure(
    kind: str,
    at_once: int,
    checkouts: Sequence[Path],
    *,
    runs: int = 1,
    counts: bool = False,
    tracer: Sequence[str] = (),
) -> list[list[dict[str, float]]]:
    """Move blobs of a kind, `runs` times with the engine of each checkout in turn; what each run took, by checkout.

    Every run is a process of its own with the script of its checkout, under `tracer` if there is one. The servers are
    started for all of them.
    """
    number, size = KINDS[kind]
    memory = Path("/dev/shm")  # noqa: S108 - a tmpfs, so that no disk is measured
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        content = build_content(ContentSpec(tags=number, layer_bytes=size), Path(directory) / "content")
        index = json.loads((content.root / INDEX_NAME).read_text())
        blobs = [blob for blob in index["blobs"].items() if blob[1] == size]
        found: list[list[dict[str, float]]] = [[] for _ in checkouts]
        with source(content) as src, sink() as dst:
            for _ in range(runs):
                for results, checkout in zip(found, checkouts, strict=True):
                    arguments = {
                        "checkout": str(checkout),
                        "source": src.address,
                        "sink": dst.address,
                        "repository": content.repositories[0],
                        "blobs": blobs,
                        "at_once": at_once,
                        "counts": counts,
                    }
                    results.append(_run(arguments, tracer))
                    reset(dst)
        return found


def _run(arguments: dict[str, Any], tracer: Sequence[str]) -> dict[str, float]:
    command = [*tracer, sys.executable, str(Path(arguments["checkout"]) / "perf" / "byte_path.py"), "--move"]
    done = subprocess.run(command, input=json.dumps(arguments), stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the process that moves blobs failed with {done.returncode}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def show(kind: str, at_once: int, name: str, results: list[dict[str, float]]) -> str:
    """One line of the table: medians, with the smallest and the largest."""
    number, size = KINDS[kind]
    per_gb = [result["cpu_s"] / (number * size / 1e9) for result in results]
    per_blob = [result["cpu_s"] / number * 1e6 for result in results]
    unit, values = ("CPU s/GB", per_gb) if kind == LARGE else ("CPU µs a blob", per_blob)
    digits = 3 if kind == LARGE else 0
    spread = f"[{min(values):.{digits}f}–{max(values):.{digits}f}]"
    return f"{kind:6} {at_once:3} at a time  {name:10} {statistics.median(values):.{digits}f} {unit} {spread}"


def main() -> None:
    """Read the arguments, run, print."""
    parser = argparse.ArgumentParser(description="The byte path alone, in one process.")
    parser.add_argument("--baseline", metavar="DIR", type=Path, help="another checkout, measured in turn with this one")
    parser.add_argument("--runs", type=int, default=5, help="runs of each (default: 5)")
    parser.add_argument("--counts", action="store_true", help="count calls, copies, pauses and allocations instead")
    parser.add_argument("--move", action="store_true", help=argparse.SUPPRESS)  # the process that moves them
    options = parser.parse_args()
    if options.move:
        json.dump(move(json.load(sys.stdin)), sys.stdout)
        return
    checkouts = {"this one": ROOT, **({"baseline": options.baseline.resolve()} if options.baseline else {})}
    for kind, at_once in RUNS:
        runs = 1 if options.counts else options.runs
        found = measure(kind, at_once, list(checkouts.values()), runs=runs, counts=options.counts)
        for name, results in zip(checkouts, found, strict=True):
            print(json.dumps(results[0]) if options.counts else show(kind, at_once, name, results), flush=True)


if __name__ == "__main__":
    main()
