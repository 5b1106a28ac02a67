"""News of a job, told to the coordinator while it moves; what is done with them there is in its `job_reports`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.worker.messages import FellBehind, Result, SideBroke, TargetEnded, UploadOpened

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from image_syncer.errors import SyncError
    from image_syncer.planning import TargetResult
    from image_syncer.worker.messages import Message

__all__ = ["JobNews", "as_result"]


class JobNews:
    """Of one job; `say` sends a message. Targets go by their numbers in the lease."""

    def __init__(self, job_id: int, say: Callable[[Message], None] = lambda _message: None) -> None:
        self._job_id = job_id
        self._say = say

    def fell_behind(self, targets: Sequence[int]) -> None:
        """These are split off."""
        self._say(FellBehind(self._job_id, tuple(targets)))

    def target_ended(self, target: int, result: TargetResult) -> None:
        """One has ended before the others."""
        self._say(TargetEnded(self._job_id, target, as_result(result)))

    def upload_opened(self, target: int, url: str) -> None:
        """The address of a session that may outlive us."""
        self._say(UploadOpened(self._job_id, target, url))

    def side_broke(self, target: int | None, error: SyncError, *, idle: bool = False) -> None:
        """A side broke off, and goes on: a target, or None for the source. It was `idle` where it waited for the other
        side just then.
        """
        self._say(SideBroke(self._job_id, target, error.to_data(), idle))


def as_result(result: TargetResult) -> Result:
    """What became of one target, as a message has it."""
    error = result.error.to_data() if result.error else None
    arrival = result.arrival.value if result.arrival else None
    return Result(arrival, result.bytes_moved, error, result.behind, result.session_stays)
