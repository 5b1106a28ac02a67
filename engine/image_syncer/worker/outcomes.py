"""Outcomes of a streamed job: what became of each of its targets, as the pipe has it, and who has been told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.errors import SyncError
from image_syncer.planning import Arrival, TargetResult
from image_syncer.transfer import SinkOutcome
from image_syncer.worker.failures import may_pass
from image_syncer.worker.habits import KEEPS_PARTIAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from image_syncer.transfer import Pipe, Stream
    from image_syncer.worker.habits import Habits
    from image_syncer.worker.job_news import JobNews
    from image_syncer.worker.upload import Upload

__all__ = ["Outcomes"]

LEAST_KEPT_BYTES = 2**20
"""With less, an upload is begun anew rather than gone on with in another try."""


class Outcomes:
    """Those of the targets of `pipe`, by their numbers in the lease; `news` is told each that comes before the others.
    The `stream` that methods take is None where nothing has come from the source yet.
    """

    def __init__(self, pipe: Pipe, uploads: Sequence[Upload], habits: Habits, news: JobNews) -> None:
        self._pipe = pipe
        self._uploads = uploads
        self._habits = habits
        self._news = news
        self._behind: set[int] = set()
        self._told: set[int] = set()

    def split_off(self, targets: Iterable[int]) -> None:
        """These are done with: they get the blob in a job of their own."""
        self._behind.update(targets)

    def tell(self, stream: Stream | None) -> None:
        """Tell those that came since this was called last."""
        for target, outcome in enumerate(self._pipe.outcomes):
            if outcome is not None and target not in self._told and target not in self._behind:
                self._told.add(target)
                self._news.target_ended(target, self.result(target, stream))

    def leaves_session(self, target: int, stream: Stream | None) -> bool:
        """Whether the target's session is left open: another try can go on with what its registry has."""
        error, upload = self._pipe.outcomes[target], self._uploads[target]
        if not isinstance(error, SyncError) or not may_pass(error):
            return False
        sent = stream.senders[target].sent if stream is not None else upload.kept
        return sent >= LEAST_KEPT_BYTES and self._habits.known(upload.endpoint, KEEPS_PARTIAL) is not False

    def result(self, target: int, stream: Stream | None) -> TargetResult:
        """What became of a target that has ended."""
        outcome = self._pipe.outcomes[target]
        if isinstance(outcome, SyncError):
            stays = self.leaves_session(target, stream)
            return TargetResult(None, 0, outcome, behind=target in self._behind, session_stays=stays)
        if outcome is SinkOutcome.MOVED:
            return TargetResult(Arrival.MOVED, stream.size if stream else 0)
        return TargetResult(self._uploads[target].arrival_without_bytes)
