from __future__ import annotations

import tempfile

import pytest

from image_syncer.async_runs import EventQueue
from image_syncer.telemetry import Report, Snapshot, Totals
from image_syncer.telemetry.events import Event, ProgressMade, RunEnded, Warned

CHUNK = 10


def texts(count: int, start: int = 0) -> list[Warned]:
    return [Warned(str(number)) for number in range(start, start + count)]


def drained(queue: EventQueue) -> list[Event]:
    return list(iter(queue.take, None))


@pytest.mark.parametrize("count", [0, 1, CHUNK, CHUNK + 1, 2 * CHUNK, 7 * CHUNK + 3])
def test_all_come_out_in_order_and_few_are_in_memory(count: int) -> None:
    queue = EventQueue(CHUNK)
    for event in texts(count):
        queue.put(event)
        assert queue.in_memory <= 3 * CHUNK
    assert drained(queue) == texts(count)
    # The file is used again.
    for event in texts(count):
        queue.put(event)
    assert drained(queue) == texts(count)
    queue.close()


def test_some_can_come_out_while_others_come_in() -> None:
    queue = EventQueue(CHUNK)
    taken = []
    for event in texts(500):
        queue.put(event)
        if int(event.text) % 3 == 0:
            taken.append(queue.take())
            assert queue.in_memory <= 3 * CHUNK
    assert taken + drained(queue) == texts(500)


def test_of_progress_the_newest_counts() -> None:
    queue = EventQueue(CHUNK)
    queue.put(Warned("first"))
    for done in range(3):
        queue.put(ProgressMade(Snapshot(images_done=done)))
    assert drained(queue) == [ProgressMade(Snapshot(images_done=2)), Warned("first")]


def test_much_progress_hides_nothing_else() -> None:
    queue = EventQueue(CHUNK)
    for event in texts(3):
        queue.put(event)
    taken = []
    for done in range(6):
        queue.put(ProgressMade(Snapshot(images_done=done)))
        taken.append(queue.take())
    assert [event for event in taken if isinstance(event, Warned)] == texts(3)


def test_the_end_comes_last() -> None:
    queue = EventQueue(CHUNK)
    end = RunEnded(Report({}, Totals(), "2026-01-01T00:00:00Z", 1.0))
    queue.put(ProgressMade(Snapshot()))
    queue.take()
    queue.put(ProgressMade(Snapshot(images_done=1)))
    queue.put(end)
    assert drained(queue) == [ProgressMade(Snapshot(images_done=1)), end]


def test_where_the_disk_is_full_memory_has_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = EventQueue(CHUNK)
    real = tempfile.TemporaryFile

    def full(**_how: object) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    for event in texts(5 * CHUNK):
        queue.put(event)
    assert queue.in_memory == 5 * CHUNK
    monkeypatch.setattr(tempfile, "TemporaryFile", real)
    for event in texts(5 * CHUNK, 5 * CHUNK):
        queue.put(event)
    assert queue.in_memory <= 3 * CHUNK
    assert drained(queue) == texts(10 * CHUNK)
