"""The guard: looks at the watchdog every second, tells what is stuck, and acts on it."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from image_syncer.coordinator.watchdog import LOOK_S
from image_syncer.errors import TransportError
from image_syncer.net import ON_TRANSFER_END
from image_syncer.telemetry import get_logger
from image_syncer.units import format_duration
from image_syncer.worker.messages import AbandonJob

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.coordinator.ending import Ending
    from image_syncer.coordinator.supervisor import Supervisor
    from image_syncer.coordinator.watchdog import Stuck, Watchdog, Watched

__all__ = ["TaskWatch", "end_run", "give_up_job", "guard", "stalled"]

KILLED_AT = 2
"""The strike at which a worker is killed for a job that it does not give up."""

_log = get_logger(__name__)


async def guard(watchdog: Watchdog) -> None:
    """Runs until it is cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(LOOK_S)
        for stuck in watchdog.look(loop.time()):
            since = datetime.now(timezone.utc) - timedelta(seconds=stuck.quiet_s)
            _log.warning(
                "no sign of progress",
                what=stuck.watched.what,
                stage=stuck.watched.stage,
                seconds=round(stuck.quiet_s),
                since=since.isoformat(timespec="seconds"),
            )
            if not stuck.watched.on_stuck(stuck):
                watchdog.on_hopeless(stuck)


def stalled(stuck: Stuck) -> TransportError:
    """The error of what gave no sign."""
    return TransportError(
        f"{stuck.watched.stage}: no sign of progress for {format_duration(stuck.quiet_s)}",
        phase="timeout",
        hint="No time-out of its own ended it: this is an internal error of image-syncer. Please report it with a log.",
    )


def end_run(ending: Ending) -> Callable[[Stuck], bool]:
    """Something does not move, and cannot be given up alone: the run ends with that reason."""

    def give_up(stuck: Stuck) -> bool:
        what = f"{stuck.watched.what}: {stalled(stuck).message}"
        _log.error("the run is given up", reason=what)
        ending.begin("stuck", f"the run was given up: {what}")
        return True

    return give_up


def give_up_job(supervisor: Supervisor) -> Callable[[int, int, Stuck], bool]:
    """What becomes of a job (of a worker, by its id) that gives no sign: the worker is asked to give it up, and where
    it does not, killed.
    """

    def give_up(worker: int, job_id: int, stuck: Stuck) -> bool:
        error = stalled(stuck)
        if stuck.strikes == 1:
            supervisor.send(worker, AbandonJob(job_id, error.to_data()))
            return True
        return stuck.strikes == KILLED_AT and supervisor.kill(worker, error.message)

    return give_up


class TaskWatch:
    """Watches the task in which it is made: what is stuck is cancelled, and `error` says why.

    Every transfer that ends in the context of the task, or of a task that it started, is a sign of progress.
    """

    def __init__(self, watchdog: Watchdog, what: str, stage: str) -> None:
        self._task = asyncio.current_task()
        self.watched: Watched = watchdog.watch(what, stage, self._on_stuck)
        self.error: TransportError | None = None
        ON_TRANSFER_END.set(self.watched.sign)

    def _on_stuck(self, stuck: Stuck) -> bool:
        if self._task is None or stuck.strikes > 1:
            return False
        self.error = stalled(stuck)
        self._task.cancel()
        return True
