from __future__ import annotations

import pytest

from image_syncer.errors import Origin, SyncError
from image_syncer.transfer.pipe import (
    Abandoned,
    CancelSession,
    Event,
    Instruction,
    Pipe,
    PipeState,
    SinkAccepted,
    SinkFailed,
    SinkOutcome,
    SinkPresent,
    SinkReady,
    SourceAnswered,
    SourceFailed,
    SourceVerified,
    StartSink,
    StartSource,
    StopSink,
    StopSource,
    StreamRewound,
)

SOURCE_DOWN = SyncError("the source is down", origin=Origin.SOURCE)
SINK_DOWN = SyncError("the destination is down", origin=Origin.DESTINATION)


def play(pipe: Pipe, *events: Event) -> list[Instruction]:
    """The instructions of the last event."""
    instructions: list[Instruction] = []
    for event in events:
        instructions = pipe.handle(event)
    return instructions


def flowing(sinks: int = 1) -> Pipe:
    pipe = Pipe(sinks)
    play(pipe, *(SinkReady(sink) for sink in range(sinks)), SourceAnswered())
    return pipe


def test_a_blob_moves() -> None:
    pipe = Pipe(1)
    assert pipe.state is PipeState.OPENING
    assert pipe.handle(SinkReady(0)) == [StartSource()]
    assert pipe.state is PipeState.CONNECTING
    assert pipe.handle(SourceAnswered()) == [StartSink(0)]
    assert pipe.state is PipeState.FLOWING
    assert pipe.handle(SourceVerified()) == []
    assert pipe.state is PipeState.DRAINING
    assert pipe.handle(SinkAccepted(0)) == []
    assert (pipe.state, pipe.outcomes) == (PipeState.ENDED, [SinkOutcome.MOVED])


def test_a_blob_that_is_everywhere_needs_no_source() -> None:
    pipe = Pipe(2)
    assert play(pipe, SinkPresent(1), SinkPresent(0)) == []
    assert (pipe.state, pipe.outcomes) == (PipeState.ENDED, [SinkOutcome.PRESENT] * 2)


def test_the_source_is_asked_when_the_last_destination_has_answered() -> None:
    pipe = Pipe(4)
    assert pipe.handle(SinkReady(2)) == []
    assert pipe.handle(SinkFailed(0, SINK_DOWN)) == []
    assert pipe.handle(SinkPresent(3)) == []
    assert pipe.handle(SinkReady(1)) == [StartSource()]
    assert pipe.handle(SourceAnswered()) == [StartSink(1), StartSink(2)]
    play(pipe, SourceVerified(), SinkAccepted(1), SinkAccepted(2))
    assert pipe.outcomes == [SINK_DOWN, SinkOutcome.MOVED, SinkOutcome.MOVED, SinkOutcome.PRESENT]


def test_nobody_to_send_to_needs_no_source() -> None:
    pipe = Pipe(2)
    assert play(pipe, SinkFailed(0, SINK_DOWN), SinkFailed(1, SINK_DOWN)) == []
    assert (pipe.state, pipe.outcomes) == (PipeState.ENDED, [SINK_DOWN, SINK_DOWN])


def test_a_source_that_refuses_ends_all() -> None:
    pipe = Pipe(2)
    assert play(pipe, SinkReady(0), SinkPresent(1), SourceFailed(SOURCE_DOWN)) == [CancelSession(0)]
    assert (pipe.state, pipe.outcomes) == (PipeState.ENDED, [SOURCE_DOWN, SinkOutcome.PRESENT])


def test_a_source_that_breaks_off_stops_all_that_still_take_part() -> None:
    pipe = flowing(3)
    assert play(pipe, SinkFailed(1, SINK_DOWN)) == [CancelSession(1)]
    assert pipe.handle(SourceFailed(SOURCE_DOWN)) == [
        StopSink(0),
        CancelSession(0),
        StopSink(2),
        CancelSession(2),
    ]
    assert (pipe.state, pipe.outcomes) == (PipeState.ENDED, [SOURCE_DOWN, SINK_DOWN, SOURCE_DOWN])


def test_the_last_destination_that_fails_stops_the_source() -> None:
    pipe = flowing(2)
    assert pipe.handle(SinkFailed(0, SINK_DOWN)) == [CancelSession(0)]
    assert pipe.state is PipeState.FLOWING
    assert pipe.handle(SinkFailed(1, SINK_DOWN)) == [CancelSession(1), StopSource()]
    assert pipe.state is PipeState.ENDED


def test_a_destination_that_fails_at_the_end_leaves_the_others_alone() -> None:
    pipe = flowing(2)
    assert play(pipe, SourceVerified(), SinkFailed(0, SINK_DOWN)) == [CancelSession(0)]
    assert pipe.state is PipeState.DRAINING
    assert pipe.handle(SinkAccepted(1)) == []
    assert (pipe.state, pipe.outcomes) == (PipeState.ENDED, [SINK_DOWN, SinkOutcome.MOVED])


@pytest.mark.parametrize(("sinks", "instructions"), [(1, [StopSource()]), (2, [])])
def test_a_destination_may_accept_while_bytes_flow_to_others_or_come_again(
    sinks: int, instructions: list[Instruction]
) -> None:
    pipe = flowing(sinks)
    assert pipe.handle(SinkAccepted(0)) == instructions
    assert pipe.outcomes[0] is SinkOutcome.MOVED
    assert pipe.state is (PipeState.ENDED if sinks == 1 else PipeState.FLOWING)


def test_a_destination_that_needs_bytes_again_has_the_source_asked_again() -> None:
    pipe = flowing(2)
    assert play(pipe, SourceVerified(), StreamRewound()) == [StartSource()]
    assert pipe.state is PipeState.FLOWING


def test_a_source_that_fails_leaves_those_alone_that_have_every_byte() -> None:
    pipe = flowing(2)
    play(pipe, SourceVerified(), StreamRewound())
    assert pipe.handle(SourceFailed(SOURCE_DOWN, frozenset({0}))) == [StopSink(1), CancelSession(1)]
    assert pipe.state is PipeState.DRAINING
    assert pipe.handle(SinkAccepted(0)) == []
    assert (pipe.state, pipe.outcomes) == (PipeState.ENDED, [SinkOutcome.MOVED, SOURCE_DOWN])


@pytest.mark.parametrize(
    ("events", "instructions"),
    [
        ([], []),
        ([SinkReady(0)], [CancelSession(0)]),
        ([SinkReady(0), SinkReady(1)], [StopSource(), CancelSession(0), CancelSession(1)]),
        (
            [SinkReady(0), SinkReady(1), SourceAnswered()],
            [StopSource(), StopSink(0), CancelSession(0), StopSink(1), CancelSession(1)],
        ),
        (
            [SinkReady(0), SinkReady(1), SourceAnswered(), SourceVerified(), SinkAccepted(0)],
            [StopSink(1), CancelSession(1)],
        ),
    ],
)
def test_an_abandoned_blob_leaves_nothing_behind(events: list[Event], instructions: list[Instruction]) -> None:
    stopped = SyncError("the run is being stopped")
    pipe = Pipe(2)
    play(pipe, *events)
    assert pipe.handle(Abandoned(stopped)) == instructions
    assert pipe.state is PipeState.ENDED
    assert all(outcome in (stopped, SinkOutcome.MOVED) for outcome in pipe.outcomes)


@pytest.mark.parametrize(
    "events",
    [
        [SourceAnswered()],
        [SinkAccepted(0)],
        [SinkReady(0), SinkReady(0)],
        [SinkReady(0), SinkPresent(0)],
        [SinkReady(0), SinkFailed(0, SINK_DOWN)],
        [SinkReady(0), SinkReady(1), SinkFailed(0, SINK_DOWN)],
        [SinkReady(0), SinkReady(1), SourceVerified()],
        [SinkReady(0), SinkReady(1), SourceAnswered(), SourceAnswered()],
        [SinkReady(0), SinkReady(1), SourceAnswered(), SourceVerified(), SourceFailed(SOURCE_DOWN)],
        [SinkReady(0), SinkReady(1), SourceAnswered(), SourceVerified(), SinkAccepted(0), SinkAccepted(0)],
        [SinkPresent(0), SinkPresent(1), Abandoned(SOURCE_DOWN)],
    ],
)
def test_what_cannot_happen_crashes_and_says_where(events: list[Event]) -> None:
    pipe = Pipe(2)
    play(pipe, *events[:-1])
    with pytest.raises(RuntimeError, match="<Pipe "):
        pipe.handle(events[-1])


def test_a_pipe_leads_somewhere() -> None:
    with pytest.raises(RuntimeError, match="at least one destination"):
        Pipe(0)
