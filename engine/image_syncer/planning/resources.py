"""How much of the machine a run uses: workers, streams, window, memory. Pure: the machine's facts come in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from image_syncer.errors import ConfigurationError, Problem
from image_syncer.units import format_size

if TYPE_CHECKING:
    from image_syncer.config import Settings

__all__ = ["Machine", "Resources", "decide_resources", "split_connections"]

MOST_WORKERS = 8
"""Beyond it more processes rarely pay, and cost memory and connections; more can be asked for."""
STREAMS = 16
"""Blobs in flight in one worker: enough to hide the latency of small blobs."""
WINDOW_BYTES = 2**20
"""The ring of one pipe: four pieces of 256 KiB."""
SMALLEST_WINDOW_BYTES = 64 * 2**10
"""Two of libcurl's 16 KiB chunks must fit in each half, or the pipe pauses for every chunk."""
MOST_MEMORY_BYTES = 512 * 2**20
CONNECTIONS = 256
"""The coordinator's, for its small requests; what is more waits for one to be free."""
FILES_PER_CONNECTION = 3
"""A socket, and the pair with which libcurl waits for a name that is being looked up."""
FILES_PER_STREAM = 2 * FILES_PER_CONNECTION
"""A download and an upload."""
FILES_PER_WORKER = 2
"""The coordinator's ends of the socket and of the pipe to it."""
SPARE_FILES = 32
"""What any process has open: the interpreter's, the loop's, log and report."""


@dataclass(frozen=True)
class Machine:
    """What this process may use: `cpus` by affinity and cgroup quota, `memory_bytes` by cgroup and rlimits (None: no
    limit), `open_files` by the hard limit.
    """

    cpus: int
    memory_bytes: int | None = None
    open_files: int = 1024


@dataclass(frozen=True)
class Resources:
    """What a run uses. `window_bytes × streams × workers` never exceeds `memory_bytes`.

    `connections` are the coordinator's. No process opens more than `open_files`; where that is less than
    `files_wanted`, streams or connections had to be given up for it.
    """

    workers: int
    streams: int
    window_bytes: int
    memory_bytes: int
    proc: int | None
    connections: int
    open_files: int
    files_wanted: int

    def as_data(self) -> dict[str, int | None]:
        """For the report."""
        return {
            "workers": self.workers,
            "streams": self.streams,
            "window_bytes": self.window_bytes,
            "memory_bytes": self.memory_bytes,
            "proc": self.proc,
        }


def decide_resources(settings: Settings, machine: Machine) -> Resources:
    """Fill in what the user left open, and shrink the windows until all rings fit under the memory ceiling.

    The number of streams shrinks only where the windows would fall under 64 KiB. Raises ConfigurationError where one
    stream of the smallest window does not fit, where too few files may be open, and for a setting that is not positive.
    """
    problems = [
        Problem("settings", None, name, f"{value} is not a positive number", "leave it out, or give at least 1")
        for name in ("workers", "streams", "window_bytes", "memory_bytes", "proc")
        if (value := getattr(settings, name)) is not None and value < 1
    ]
    if problems:
        raise ConfigurationError(problems)
    memory = settings.memory_bytes
    if memory is None:
        memory = min(MOST_MEMORY_BYTES, (machine.memory_bytes or 4 * MOST_MEMORY_BYTES) // 4)
    if memory < SMALLEST_WINDOW_BYTES:
        least = format_size(SMALLEST_WINDOW_BYTES)
        what, mend = f"{format_size(memory)} is too little", f"give at least {least}"
        raise ConfigurationError([Problem("command line", None, "--memory", what, mend)])
    workers = settings.workers or min(MOST_WORKERS, machine.cpus)
    if settings.proc is not None:
        workers = max(1, min(workers, settings.proc))
    streams = settings.streams or STREAMS
    if settings.proc is not None:
        streams = min(streams if settings.streams else settings.proc, -(-settings.proc // workers))
    wanted = _count_files(workers, streams, CONNECTIONS)
    streams, connections = _fit_files(workers, streams, machine.open_files)
    window = settings.window_bytes or WINDOW_BYTES
    window = min(window, memory // (workers * streams))
    if window < SMALLEST_WINDOW_BYTES:
        window = SMALLEST_WINDOW_BYTES
        streams = max(1, min(streams, memory // (workers * window)))
        workers = max(1, min(workers, memory // (streams * window)))
    return Resources(
        workers=workers,
        streams=streams,
        window_bytes=window,
        memory_bytes=memory,
        proc=settings.proc,
        connections=connections,
        open_files=min(wanted, machine.open_files),
        files_wanted=wanted,
    )


def _count_files(workers: int, streams: int, connections: int) -> int:
    """What the process that opens most has open: a worker, or the coordinator."""
    coordinator = workers * FILES_PER_WORKER + connections * FILES_PER_CONNECTION
    return SPARE_FILES + max(streams * FILES_PER_STREAM, coordinator)


def _fit_files(workers: int, streams: int, most: int) -> tuple[int, int]:
    """As many of the streams, and connections of the coordinator, as `most` open files have room for."""
    least = _count_files(workers, 1, 1)
    if most < least:
        what, mend = f"{most} files may be open at once, which is too few", f"raise it (ulimit -Hn) to {least} or more"
        raise ConfigurationError([Problem("this process", None, "open files", what, mend)])
    room = most - SPARE_FILES
    connections = (room - workers * FILES_PER_WORKER) // FILES_PER_CONNECTION
    return min(streams, room // FILES_PER_STREAM), min(CONNECTIONS, connections)


def split_connections(most: int | None) -> tuple[int | None, int | None]:
    """How a registry's `max_connections` is shared: (the coordinator's requests, the workers' blobs)."""
    if most is None:
        return None, None
    own = max(1, most // 4)
    return own, max(1, most - own)
