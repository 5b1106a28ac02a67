"""How much of the machine a run uses: workers, streams, window, memory. Pure: the machine's facts come in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.errors import ConfigurationError, Problem
from image_syncer.units import format_size
from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.config import Settings

__all__ = ["Machine", "Resources", "decide_resources", "split_connections"]

MOST_WORKERS = 8
"""Beyond it more processes rarely pay, and cost memory and connections; more can be asked for."""
STREAMS = 16
"""Blobs that one worker may stream at a time: enough to fill most paths on which a single stream is slow."""
SMALL_BYTES = 2**20
"""Blobs up to this size go through a buffer as a whole."""
SMALL_STREAMS = 64
"""Small blobs in flight in one worker: enough to hide the latency of their requests."""
FEW_SMALL_STREAMS = 8
"""Where memory is short, smaller blobs rather than fewer at a time, down to `SMALLEST_WINDOW_BYTES`. Where there is
room for fewer even so, slots of one kind for all blobs are the better use of it."""
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
LEAST = {
    **dict.fromkeys(("workers", "streams", "window_bytes", "memory_bytes", "blobs_in_memory", "proc"), 1),
    "small_bytes": 0,
}
"""Of what the user may set."""
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
"""Counts and times that are not negative; the command's options see to that themselves."""
SHORTEST_INTERVAL_S = 0.001
"""With less between two looks at the progress, a run would do little else."""
SPARE_FILES = 32
"""What any process has open: the interpreter's, the loop's, log and report."""


class Machine(Value, frozen=True):
    """What this process may use: `cpus` by affinity and cgroup quota, `memory_bytes` by cgroup and rlimits (None: no
    limit), `open_files` by the hard limit.
    """

    cpus: int
    memory_bytes: int | None = None
    open_files: int = 1024


class Resources(Value, frozen=True):
    """What a run uses. `(window_bytes × streams + small_bytes × small_streams) × workers` never exceeds `memory_bytes`.

    `first_workers` start when the first blob is wanted, and more while there is work for them, up to `workers`; all of
    them start at once where the user said how many. `streams` is the most that a worker may have; `small_streams` of 0
    says that all blobs are streamed.
    `connections` are the coordinator's. No process opens more than `open_files`; where that is less than
    `files_wanted`, streams or connections had to be given up for it.
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

    def as_data(self) -> dict[str, int | None]:
        """For the report."""
        return {
            "workers": self.workers,
            "streams": self.streams,
            "window_bytes": self.window_bytes,
            "small_streams": self.small_streams,
            "small_bytes": self.small_bytes,
            "memory_bytes": self.memory_bytes,
            "proc": self.proc,
        }


def _mistakes_in(settings: Settings) -> list[Problem]:
    """What no run can go by."""
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
    """Fill in what the user left open, and shrink windows and buffers until all of them fit under the memory ceiling.

    Either kind may count on half of it. The number of streams shrinks only where the windows would fall under 64 KiB;
    where buffers of that size have no room beside them, there are no small blobs. Raises ConfigurationError where one
    stream of the smallest window does not fit, where too few files may be open, and for a setting that is not positive.
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
    workers = settings.workers or min(MOST_WORKERS, machine.cpus)
    if settings.proc is not None:
        workers = max(1, min(workers, settings.proc))
    streams = settings.streams or STREAMS
    if settings.proc is not None:
        streams = min(streams if settings.streams else settings.proc, -(-settings.proc // workers))
    small_bytes = SMALL_BYTES if settings.small_bytes is None else settings.small_bytes
    small = 0 if small_bytes < 1 else SMALL_STREAMS
    if settings.proc is not None:
        small = min(small, -(-settings.proc // workers))
    wanted = _count_files(workers, streams + small, CONNECTIONS)
    streams, small, connections = _fit_files(workers, streams, small, machine.open_files)
    window = settings.window_bytes or WINDOW_BYTES
    # What small blobs do not need the windows may have, and the other way round.
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
    """How many small blobs a worker may have in flight in so much memory, and of which size."""
    few = min(small, FEW_SMALL_STREAMS)
    if few and size_bytes * few > memory:
        size_bytes = max(memory // few, min(SMALLEST_WINDOW_BYTES, size_bytes))
    fitting = min(small, memory // size_bytes) if few else 0
    return (fitting, size_bytes) if few and fitting >= few else (0, 0)


def _count_files(workers: int, streams: int, connections: int) -> int:
    """What the process that opens most has open: a worker with `streams` of both kinds, or the coordinator."""
    coordinator = workers * FILES_PER_WORKER + connections * FILES_PER_CONNECTION
    return SPARE_FILES + max(streams * FILES_PER_STREAM, coordinator)


def _fit_files(workers: int, streams: int, small: int, most: int) -> tuple[int, int, int]:
    """As many of the streams, the small ones, and connections of the coordinator, as `most` open files have room for.
    The small ones give way first.
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
