"""News of a job are messages that name it; the outcomes of its targets are told once each."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.errors import Origin, RefusedError, SyncError, TransportError
from image_syncer.planning import Arrival, TargetResult
from image_syncer.registry import Endpoint
from image_syncer.transfer import Pipe, SinkFailed, SinkPresent, SinkReady
from image_syncer.worker.habits import KEEPS_PARTIAL, Habits
from image_syncer.worker.job_news import JobNews, as_result
from image_syncer.worker.messages import FellBehind, Result, SideBroke, TargetEnded, UploadOpened
from image_syncer.worker.outcomes import LEAST_KEPT_BYTES, Outcomes

if TYPE_CHECKING:
    from image_syncer.worker.messages import Message

BROKEN = TransportError("the line was cut", origin=Origin.DESTINATION)
HERE = Endpoint("r.example", "http://r.example")


def test_every_message_names_its_job() -> None:
    said: list[Message] = []
    news = JobNews(7, said.append)
    news.fell_behind([1, 2])
    news.target_ended(0, TargetResult(Arrival.MOVED, 5))
    news.upload_opened(1, "https://r.example/session")
    news.side_broke(None, BROKEN)
    news.side_broke(1, BROKEN, idle=True)
    assert said == [
        FellBehind(7, (1, 2)),
        TargetEnded(7, 0, Result("moved", 5, None)),
        UploadOpened(7, 1, "https://r.example/session"),
        SideBroke(7, None, BROKEN.to_data(), idle=False),
        SideBroke(7, 1, BROKEN.to_data(), idle=True),
    ]


def test_a_result_travels_as_data() -> None:
    failed = TargetResult(None, 0, BROKEN, behind=True, session_stays=True)
    assert as_result(failed) == Result(None, 0, BROKEN.to_data(), behind=True, session_stays=True)


class Lab:
    """Two targets, of which none has an outcome; `sent` bytes have gone to each."""

    def __init__(self, sent: int = 0, habits: Habits | None = None) -> None:
        self.said: list[Any] = []
        self.pipe = Pipe(2)
        upload: Any = SimpleNamespace(kept=sent, endpoint=HERE, arrival_without_bytes=Arrival.MOUNTED)
        self.outcomes = Outcomes(self.pipe, [upload, upload], habits or Habits(), JobNews(1, self.said.append))


def test_an_outcome_is_told_once() -> None:
    lab = Lab()
    lab.pipe.handle(SinkPresent(0))
    for _ in range(2):
        lab.outcomes.tell(None)
    assert lab.said == [TargetEnded(1, 0, Result("mounted", 0, None))]


def test_what_is_split_off_is_not_told_and_says_so_in_its_result() -> None:
    lab = Lab()
    lab.pipe.handle(SinkReady(0))
    lab.outcomes.split_off([1])
    lab.pipe.handle(SinkFailed(1, BROKEN))
    lab.outcomes.tell(None)
    assert lab.said == []
    assert lab.outcomes.result(1, None).behind


@pytest.mark.parametrize(
    ("sent", "error", "keeps", "stays"),
    [
        (LEAST_KEPT_BYTES, BROKEN, None, True),
        (LEAST_KEPT_BYTES - 1, BROKEN, None, False),
        (LEAST_KEPT_BYTES, RefusedError("no", origin=Origin.DESTINATION), None, False),
        (LEAST_KEPT_BYTES, BROKEN, False, False),
    ],
    ids=["worth it", "too little", "for good", "the registry keeps nothing"],
)
def test_a_session_is_left_open_where_another_try_can_go_on(
    sent: int, error: SyncError, keeps: bool | None, stays: bool
) -> None:
    habits = Habits()
    if keeps is not None:
        habits.told(HERE.registry, KEEPS_PARTIAL, keeps)
    lab = Lab(sent, habits)
    lab.pipe.handle(SinkFailed(0, error))
    assert lab.outcomes.leaves_session(0, None) is stays
    assert lab.outcomes.result(0, None).session_stays is stays
