"""The slots of workers: who holds which jobs, who may have more, and who should get the next.

A worker has slots of two kinds, for streamed and for small jobs. The next job goes to the worker with the fewest bytes
left to move. One that has more left than its part of all that is known gets no further streams: its giant needs the
core, and would be the last to end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from image_syncer.planning.connections import share_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_syncer.planning.job import Job

__all__ = ["Slots", "Worker"]


class Worker(Struct, eq=False):
    """A worker and its jobs, by id; `held` counts the streamed and the small ones. A `closed` one gets no more: it
    holds a job that must be alone.
    """

    number: int
    jobs: dict[int, Job] = field(default_factory=dict)
    bytes_left: int = 0
    held: list[int] = field(default_factory=lambda: [0, 0])
    closed: bool = False


class Slots:
    """The slots of all workers. Where one of a pair is meant, index 0 is for streamed jobs, 1 for small ones. `proc`
    bounds the jobs of all together (None: no bound).
    """

    def __init__(self, proc: int | None = None) -> None:
        self._proc = proc
        self.most = proc
        """How many jobs all workers may hold now; None: as many as they have slots."""
        self.workers: dict[int, Worker] = {}
        self.held = [0, 0]
        """Jobs that all workers hold together, and the bytes that are left to move of them."""
        self.bytes_left = 0
        self._bounds = (0, 0)
        self._free: tuple[set[Worker], set[Worker]] = (set(), set())

    def join(self, number: int) -> None:
        """A worker without jobs is there."""
        worker = self.workers[number] = Worker(number)
        self._see(worker)

    def leave(self, number: int) -> list[Job]:
        """A worker is gone: the jobs that it held."""
        worker = self.workers.pop(number, None)
        if worker is None:
            return []
        for kind, free in enumerate(self._free):
            free.discard(worker)
            self.held[kind] -= worker.held[kind]
        self.bytes_left -= worker.bytes_left
        return list(worker.jobs.values())

    def open(self, worker: Worker, job: Job) -> None:
        """`worker` holds `job` from now on."""
        kind, left = job.small, job.left
        worker.jobs[job.id] = job
        worker.bytes_left += left
        self.bytes_left += left
        worker.held[kind] += 1
        self.held[kind] += 1
        if job.alone:
            worker.closed = True
            self._see(worker)
        elif worker.held[kind] >= self._bounds[kind]:
            self._free[kind].discard(worker)

    def close(self, worker: Worker, job: Job) -> None:
        """`worker` holds `job` no more."""
        kind, left = job.small, job.left
        del worker.jobs[job.id]
        worker.bytes_left -= left
        self.bytes_left -= left
        worker.held[kind] -= 1
        self.held[kind] -= 1
        if job.alone:
            worker.closed = False
            self._see(worker)
        elif worker.held[kind] < self._bounds[kind]:
            self._free[kind].add(worker)

    def note_progress(self, worker: Worker, job: Job, received: int) -> int:
        """So many bytes have come for `job`; how many more than before."""
        left, more = job.left, received - job.received
        job.received = received
        change = job.left - left
        worker.bytes_left += change
        self.bytes_left += change
        return max(0, more)

    def bind(self, streamed: int, small: int) -> None:
        """A worker may hold so many of either kind now."""
        if (streamed, small) != self._bounds:
            self._bounds = (streamed, small)
            for worker in self.workers.values():
                self._see(worker)

    def narrow(self, most: int | None) -> None:
        """All workers may hold so many jobs now, within `proc`; None: as many as that allows."""
        bounds = [bound for bound in (most, self._proc) if bound is not None]
        self.most = min(bounds) if bounds else None

    def is_full(self, *, small: bool = False, fair: bool = False) -> bool:
        """Whether all workers together hold as many jobs as they may; with `fair`, as many as their kind may while the
        other waits too.
        """
        most, held = self.most, self.held
        if most is None:
            return False
        return held[0] + held[1] >= most or (fair and held[small] >= share_of(most, small=small))

    def lacks_streams(self) -> bool:
        """Whether every worker holds as many streamed jobs as it may, while all together may hold more."""
        return not self._free[0] and not self.is_full()

    def idle(self) -> Iterator[Worker]:
        """Workers that hold nothing."""
        return (worker for worker in list(self.workers.values()) if not worker.jobs)

    def freest(self, *, small: bool, waiting_bytes: int = 0) -> Worker | None:
        """The worker that should get the next job of that kind, of those that may; None where none should.

        `waiting_bytes` are those of streamed jobs that wait.
        """
        best: Worker | None = None
        for worker in self._free[small]:
            if best is None or worker.bytes_left < best.bytes_left:
                best = worker
            elif worker.bytes_left == best.bytes_left:
                more = len(worker.jobs) - len(best.jobs)
                if more < 0 or (more == 0 and worker.number < best.number):
                    best = worker
        # Whoever has less left than the best is busy, so that there is an end that will bring the next lease.
        if small or best is None or best.bytes_left * len(self.workers) <= self.bytes_left + waiting_bytes:
            return best
        return None

    def _see(self, worker: Worker) -> None:
        """Whether `worker` has free slots."""
        for kind, free in enumerate(self._free):
            if worker.held[kind] < self._bounds[kind] and not worker.closed:
                free.add(worker)
            else:
                free.discard(worker)
