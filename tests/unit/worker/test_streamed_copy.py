"""The copy of a blob with two targets whose registries answer as the test says; no byte is on its way."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.errors import Origin, RefusedError, SyncError, TransportError
from image_syncer.oci import Repository, digest_of
from image_syncer.registry import Endpoint
from image_syncer.registry.capabilities import KEEPS_PARTIAL, RegistryCapabilities
from image_syncer.scheduling import Arrival, BlobOutcome
from image_syncer.transfer.stream import Signals
from image_syncer.worker.context import WorkerContext
from image_syncer.worker.protocol import FellBehind, LeaseJob, Place, TargetEnded, TargetPlace, UploadOpened
from image_syncer.worker.streamed_copy import LEAST_KEPT_BYTES, Step, StreamedCopy, TaskSet
from image_syncer.worker.upload import Upload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

DIGEST = digest_of(b"blob")
ENDPOINT = Endpoint("r.example", "http://r.example")
APP = Repository("r.example", "app")
TARGET = TargetPlace(Place.of(ENDPOINT, APP), APP.name)
SIGNALS = Signals(pause_receive=-2, pause_send=-3, abort_send=-4)
BROKEN = TransportError("the line was cut", origin=Origin.DESTINATION)
LAG_S = 10.0


class Lab:
    """A copy under way. `answer(target, value)` lets the registry answer the request for a session: True where the blob
    is there, False where a session stands, or an error; `kept` bytes are in the session then.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *, capabilities: RegistryCapabilities | None = None, kept: int = 0
    ) -> None:
        self.said: list[Any] = []
        self._answers: dict[Upload, asyncio.Future[bool]] = {}

        async def opens(upload: Upload, _size: int) -> bool:
            answer = self._answers[upload] = asyncio.get_running_loop().create_future()
            upload.kept = kept
            return await answer

        monkeypatch.setattr(Upload, "open", opens)
        monkeypatch.setattr(Upload, "session_url", "http://r.example/session")
        client: Any = SimpleNamespace(mirrors=None, transport=SimpleNamespace(driver=None))
        context = WorkerContext(
            client,
            SIGNALS,
            stall_s=60.0,
            answer_s=60.0,
            chance=lambda: 0.0,
            clock=lambda: 0.0,
            send=self.said.append,
            lag_s=LAG_S,
            capabilities=capabilities or RegistryCapabilities(),
        )
        windows: Any = SimpleNamespace(lend=asyncio.get_running_loop().create_future)  # no memory ever: no byte comes
        lease = LeaseJob(7, DIGEST, 4, Place.of(ENDPOINT, APP), (TARGET, TARGET), may_split=True)
        self.copy = StreamedCopy(lease, windows, context)
        self.running = asyncio.ensure_future(self.copy.run())

    async def answer(self, target: int, value: bool | SyncError) -> None:
        while len(self._answers) < 2:
            await asyncio.sleep(0)
        answer = list(self._answers.values())[target]
        if isinstance(value, SyncError):
            answer.set_exception(value)
        else:
            answer.set_result(value)
        for _ in range(5):
            await asyncio.sleep(0)


def in_lab(
    monkeypatch: pytest.MonkeyPatch, steps: Callable[[Lab], Awaitable[None]], **settings: Any
) -> tuple[list[BlobOutcome], list[Any]]:
    """Carry the steps out; the results of the copy, and what it said."""

    async def scenario() -> tuple[list[BlobOutcome], list[Any]]:
        lab = Lab(monkeypatch, **settings)
        await steps(lab)
        return await lab.running, lab.said

    return asyncio.run(scenario())


@pytest.mark.parametrize("answer", [True, False, SyncError("no")], ids=["present", "session", "refused"])
def test_a_destination_that_answers_when_the_blob_is_abandoned(
    monkeypatch: pytest.MonkeyPatch, answer: bool | SyncError
) -> None:
    async def steps(lab: Lab) -> None:
        answered = asyncio.ensure_future(lab.answer(0, answer))
        while not lab._answers or not next(iter(lab._answers.values())).done():
            await asyncio.sleep(0)
        lab.copy.abandon(SyncError("no longer needed"))
        await answered

    results, _ = in_lab(monkeypatch, steps)
    assert [str(result.error) for result in results] == ["no longer needed"] * 2


def test_an_outcome_is_told_once_and_only_before_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(lab: Lab) -> None:
        await lab.answer(0, True)
        await lab.answer(1, True)

    results, said = in_lab(monkeypatch, steps)
    assert [message for message in said if isinstance(message, TargetEnded)] == [
        TargetEnded(7, 0, BlobOutcome(Arrival.PRESENT))
    ]
    assert [result.arrival for result in results] == [Arrival.PRESENT] * 2


def test_what_is_split_off_is_not_told_and_says_so_in_its_result(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(lab: Lab) -> None:
        await lab.answer(0, False)
        lab.copy.tick(asyncio.get_running_loop().time() + LAG_S)
        lab.copy.abandon(SyncError("no longer needed"))

    results, said = in_lab(monkeypatch, steps)
    assert [result.behind for result in results] == [False, True]
    assert FellBehind(7, (1,)) in said
    assert UploadOpened(7, 0, "http://r.example/session") in said
    assert not [message for message in said if isinstance(message, TargetEnded)]


@pytest.mark.parametrize(
    ("kept", "error", "keeps", "stays"),
    [
        (LEAST_KEPT_BYTES, BROKEN, None, True),
        (LEAST_KEPT_BYTES - 1, BROKEN, None, False),
        (LEAST_KEPT_BYTES, RefusedError("no", origin=Origin.DESTINATION), None, False),
        (LEAST_KEPT_BYTES, BROKEN, False, False),
    ],
    ids=["worth it", "too little", "for good", "the registry keeps nothing"],
)
def test_a_session_is_left_open_where_another_try_can_go_on(
    monkeypatch: pytest.MonkeyPatch, kept: int, error: SyncError, keeps: bool | None, stays: bool
) -> None:
    capabilities = RegistryCapabilities()
    if keeps is not None:
        capabilities.told(ENDPOINT.registry, KEEPS_PARTIAL, keeps)

    async def steps(lab: Lab) -> None:
        await lab.answer(0, error.changed())
        await lab.answer(1, True)

    results, said = in_lab(monkeypatch, steps, capabilities=capabilities, kept=kept)
    assert [result.session_stays for result in results] == [stays, False]
    [ended] = [message for message in said if isinstance(message, TargetEnded)]
    assert (ended.job_id, ended.target, ended.outcome.session_stays) == (7, 0, stays)


def test_a_task_that_has_just_ended_is_not_under_way() -> None:
    async def scenario() -> None:
        tasks, seen = TaskSet(lambda _crash: None), []

        async def first() -> None:
            pass

        async def second() -> None:
            seen.append(tasks.is_running(Step.OPEN, 0))  # in the same turn of the loop in which it has ended

        tasks.start(Step.OPEN, first(), 0)
        tasks.start(Step.OPEN, second(), 1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert seen == [False]

    asyncio.run(scenario())


def test_only_cancelled_sessions_are_waited_for() -> None:
    async def scenario() -> None:
        tasks, done = TaskSet(lambda _crash: None), []

        async def brief() -> None:
            await asyncio.sleep(0.01)
            done.append("brief")

        tasks.start(Step.CANCEL, brief(), 0)
        tasks.start(Step.SEND, asyncio.sleep(60), 0)
        await tasks.end()
        assert done == ["brief"]
        assert not tasks.is_running(Step.SEND, 0)

    asyncio.run(scenario())


def test_a_crash_of_a_task_is_told() -> None:
    async def scenario() -> None:
        told: list[BaseException] = []
        tasks = TaskSet(told.append)

        async def crash() -> None:
            raise ZeroDivisionError

        tasks.start(Step.FETCH, crash())
        await asyncio.sleep(0.01)
        assert [type(error) for error in told] == [ZeroDivisionError]

    asyncio.run(scenario())
