"""How much of the machine a run uses: workers, streams, windows, memory. The facts of the machine are arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.errors import ConfigurationError, Problem
from image_syncer.scheduling.scheduler import LeaseLimits
from image_syncer.units import format_size
from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.config import Settings


MOST_WORKERS = 8
"""More processes rarely pay, and cost memory and connections; the user may ask for more."""
STREAMS = 16
"""Blobs that one worker may stream at a time: enough for most paths on which a single stream is slow."""
SMALL_BYTES = 2**20
"""Blobs up to this size are buffered as a whole."""
SMALL_STREAMS = 64
"""Small blobs in flight in one worker: enough to hide the latency of their requests."""
FEW_SMALL_STREAMS = 8
"""Where memory is short, small blobs get smaller, down to `SMALLEST_WINDOW_BYTES`, rather than fewer than this. Where
even so few have no room, all blobs are streamed.
"""
WINDOW_BYTES = 2**20
"""The ring of one pipe: four pieces of 256 KiB."""
SMALLEST_WINDOW_BYTES = 64 * 2**10
"""Two of libcurl's 16 KiB chunks must fit in each half, or the pipe pauses for every chunk."""
MOST_MEMORY_BYTES = 512 * 2**20
CONNECTIONS = 256
"""Of the coordinator, for its small requests; further requests wait."""
FILES_PER_CONNECTION = 3
"""A socket, and the pair with which libcurl waits for the lookup of a name."""
FILES_PER_STREAM = 2 * FILES_PER_CONNECTION
"""A download and an upload."""
FILES_PER_WORKER = 2
"""The coordinator's ends of the socket and of the pipe to it."""
LEAST = {
    **dict.fromkeys(("workers", "streams", "window_bytes", "memory_bytes", "blobs_in_memory", "proc"), 1),
    "small_bytes": 0,
}
"""The least values of settings."""
NONE_LESS = (
    "retries",
    "retry_for_s",
    "give_up_after_s",
    "connect_timeout_s",
    "stall_timeout_s",
    "answer_timeout_s",
    "longest_wait_s",
    "fan_out_lag_s",
    "silence_s",
    "watchdog_s",
    "deadline_s",
)
"""Settings that must not be negative; the options of the command check that themselves."""
SHORTEST_INTERVAL_S = 0.001
"""With a shorter interval a run would do little else than show its progress."""
SPARE_FILES = 32
"""Open files of any process: those of the interpreter, the loop, log and report."""


class Machine(Value, frozen=True):
    """What this process may use: `cpus` by affinity and cgroup quota, `memory_bytes` by cgroup and rlimits (None: no
    limit), `open_files` by the hard limit.
    """

    cpus: int
    memory_bytes: int | None = None
    open_files: int = 1024


class Resources(Value, frozen=True):
    """What a run uses. `(window_bytes × streams + small_bytes × small_streams) × workers` never exceeds `memory_bytes`.

    `first_workers` start with the first wanted blob, and more while there is work for them, up to `workers`; where the
    user set the number, all start at once. `small_streams` of 0 means that all blobs are streamed. `connections` are
    those of the coordinator. No process opens more than `open_files`; where that is less than `files_wanted`, streams
    or connections were reduced for it.
    """

    workers: int
    first_workers: int
    streams: int
    window_bytes: int
    small_streams: int
    small_bytes: int
    memory_bytes: int
    proc: int | None
    connections: int
    open_files: int
    files_wanted: int

    @property
    def lease_limits(self) -> LeaseLimits:
        """How many jobs workers may hold."""
        return LeaseLimits(
            streams=self.streams,
            workers=self.first_workers,
            most_workers=self.workers,
            small_streams=self.small_streams,
            small_bytes=self.small_bytes,
            proc=self.proc,
        )

    def as_data(self) -> dict[str, int | None]:
        """The values for the report."""
        names = ("workers", "streams", "window_bytes", "small_streams", "small_bytes", "memory_bytes", "proc")
        return {name: getattr(self, name) for name in names}


def _mistakes_in(settings: Settings) -> list[Problem]:
    """The settings that no run can use."""
    bounds: dict[str, float] = {**LEAST, **dict.fromkeys(NONE_LESS, 0), "progress_interval_s": SHORTEST_INTERVAL_S}
    problems = []
    for name, least in bounds.items():
        value = getattr(settings, name)
        if value is None:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool):
            what = f"{type(value).__name__} is no number"
        elif value >= least:
            continue
        elif least == 1:
            what = f"{value} is not a positive number"
        else:
            what = f"{value} is less than {least:g}"
        problems.append(Problem("settings", None, name, what, f"leave it out, or give at least {least:g}"))
    return problems


def decide_resources(settings: Settings, machine: Machine) -> Resources:
    """Fill in what the user left open, and shrink windows and buffers until all of them fit into the memory.

    Windows and buffers may each have half of it. The number of streams shrinks only where windows would get smaller
    than 64 KiB; where buffers of that size have no room, there are no small blobs. Raises ConfigurationError where one
    stream of the smallest window does not fit, where too few files may be open, and for a setting out of range.
    """
    if problems := _mistakes_in(settings):
        raise ConfigurationError(problems)
    memory = settings.memory_bytes
    if memory is None:
        memory = min(MOST_MEMORY_BYTES, (machine.memory_bytes or 4 * MOST_MEMORY_BYTES) // 4)
    if memory < SMALLEST_WINDOW_BYTES:
        least = format_size(SMALLEST_WINDOW_BYTES)
        what, mend = f"{format_size(memory)} is too little", f"give at least {least}"
        raise ConfigurationError([Problem("command line", None, "--memory", what, mend)])
    workers, streams = settings.workers or min(MOST_WORKERS, machine.cpus), settings.streams or STREAMS
    small_bytes = SMALL_BYTES if settings.small_bytes is None else settings.small_bytes
    small = 0 if small_bytes < 1 else SMALL_STREAMS
    if (proc := settings.proc) is not None:
        workers = max(1, min(workers, proc))
        each = -(-proc // workers)
        streams = min(streams if settings.streams else proc, each)
        small = min(small, each)
    wanted = _count_files(workers, streams + small, CONNECTIONS)
    streams, small, connections = _fit_files(workers, streams, small, machine.open_files)
    window = settings.window_bytes or WINDOW_BYTES
    # Windows may have the memory that small blobs do not need, and the other way round.
    share = max(memory // 2, memory - workers * small * small_bytes)
    window = min(window, max(share // (workers * streams), min(SMALLEST_WINDOW_BYTES, memory // (workers * streams))))
    if window < SMALLEST_WINDOW_BYTES:
        window = SMALLEST_WINDOW_BYTES
        streams = max(1, min(streams, memory // (workers * window)))
        workers = max(1, min(workers, memory // (streams * window)))
    small, small_bytes = _fit_small(small, small_bytes, memory // workers - streams * window)
    return Resources(
        workers=workers,
        first_workers=1 if settings.workers is None else workers,
        streams=streams,
        window_bytes=window,
        small_streams=small,
        small_bytes=small_bytes,
        memory_bytes=memory,
        proc=settings.proc,
        connections=connections,
        open_files=min(wanted, machine.open_files),
        files_wanted=wanted,
    )


def _fit_small(small: int, size_bytes: int, memory: int) -> tuple[int, int]:
    """The number of small blobs that a worker may have in flight in so much memory, and their size."""
    few = min(small, FEW_SMALL_STREAMS)
    if few and size_bytes * few > memory:
        size_bytes = max(memory // few, min(SMALLEST_WINDOW_BYTES, size_bytes))
    fitting = min(small, memory // size_bytes) if few else 0
    return (fitting, size_bytes) if few and fitting >= few else (0, 0)


def _count_files(workers: int, streams: int, connections: int) -> int:
    """The open files of the process with the most: a worker with `streams` of both kinds, or the coordinator."""
    coordinator = workers * FILES_PER_WORKER + connections * FILES_PER_CONNECTION
    return SPARE_FILES + max(streams * FILES_PER_STREAM, coordinator)


def _fit_files(workers: int, streams: int, small: int, most: int) -> tuple[int, int, int]:
    """The streams, small streams and connections of the coordinator for which `most` open files have room. Small
    streams are reduced first.
    """
    least = _count_files(workers, 1, 1)
    if most < least:
        what, mend = f"{most} files may be open at once, which is too few", f"raise it (ulimit -Hn) to {least} or more"
        raise ConfigurationError([Problem("this process", None, "open files", what, mend)])
    room = most - SPARE_FILES
    connections = (room - workers * FILES_PER_WORKER) // FILES_PER_CONNECTION
    both = room // FILES_PER_STREAM
    beside = min(small, both - streams)
    if beside < min(small, FEW_SMALL_STREAMS):
        beside = 0
    return min(streams, both), beside, min(CONNECTIONS, connections)


def split_connections(most: int | None) -> tuple[int | None, int | None]:
    """How a registry's `max_connections` is shared: (the coordinator's requests, the workers' blobs)."""
    if most is None:
        return None, None
    own = max(1, most // 4)
    return own, max(1, most - own)
