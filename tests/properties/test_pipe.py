"""The pipe under every legal sequence of events, and under those that are not."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from image_syncer.errors import Origin, SyncError
from image_syncer.transfer.pipe import (
    Abandoned,
    CancelSession,
    Event,
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
)

OPENING, READY, SENDING, OVER = "opening", "ready", "sending", "over"


class PipeMachine(RuleBasedStateMachine):
    """What the world around a pipe knows: which transfers run, because it was told to start and stop them."""

    @initialize(sinks=st.integers(1, 4))
    def make(self, sinks: int) -> None:
        self.pipe = Pipe(sinks)
        self.sinks = [OPENING] * sinks
        self.source = "unasked"
        self.told: Counter[object] = Counter()
        self.sessions: set[int] = set()
        self.committed: set[int] = set()
        self.expected: list[SinkOutcome | SyncError | None] = [None] * sinks

    def feed(self, event: Event) -> None:
        for instruction in self.pipe.handle(event):
            self.told[instruction] += 1
            assert self.told[instruction] == 1, "everything is said once"
            if isinstance(instruction, StartSource):
                assert self.source == "unasked"
                assert OPENING not in self.sinks
                assert READY in self.sinks
                self.source = "asked"
            elif isinstance(instruction, StopSource):
                assert self.source in ("asked", "answered")
                self.source = "stopped"
            elif isinstance(instruction, StartSink):
                assert isinstance(event, SourceAnswered)
                assert self.sinks[instruction.sink] == READY
                self.sinks[instruction.sink] = SENDING
            elif isinstance(instruction, StopSink):
                assert self.sinks[instruction.sink] == SENDING
                self.end(instruction.sink, event)
            else:
                assert isinstance(instruction, CancelSession)
                assert instruction.sink in self.sessions - self.committed
                self.end(instruction.sink, event)

    def end(self, sink: int, event: Event) -> None:
        self.sinks[sink] = OVER
        if isinstance(event, SourceFailed | Abandoned):
            self.expected[sink] = event.error

    def pick(self, data: st.DataObject, state: str) -> int:
        return data.draw(st.sampled_from([sink for sink, now in enumerate(self.sinks) if now == state]))

    @precondition(lambda self: OPENING in self.sinks and self.pipe.state is not PipeState.ENDED)
    @rule(data=st.data(), answer=st.sampled_from(["ready", "present", "failed"]))
    def a_destination_answers(self, data: st.DataObject, answer: str) -> None:
        sink = self.pick(data, OPENING)
        if answer == "ready":
            self.sinks[sink] = READY
            self.sessions.add(sink)
            self.feed(SinkReady(sink))
        else:
            self.sinks[sink] = OVER
            error = SyncError("refused", origin=Origin.DESTINATION)
            self.expected[sink] = SinkOutcome.PRESENT if answer == "present" else error
            self.feed(SinkPresent(sink) if answer == "present" else SinkFailed(sink, error))

    @precondition(lambda self: self.source == "asked")
    @rule()
    def the_source_answers(self) -> None:
        self.source = "answered"
        self.feed(SourceAnswered())
        assert READY not in self.sinks

    @precondition(lambda self: self.source == "answered")
    @rule()
    def the_last_byte_came(self) -> None:
        self.source = "verified"
        self.feed(SourceVerified())

    @precondition(lambda self: self.source in ("asked", "answered"))
    @rule()
    def the_source_fails(self) -> None:
        self.source = "failed"
        self.feed(SourceFailed(SyncError("broken off", origin=Origin.SOURCE)))
        assert self.pipe.state is PipeState.ENDED

    @precondition(lambda self: SENDING in self.sinks)
    @rule(data=st.data())
    def a_destination_commits(self, data: st.DataObject) -> None:
        sink = self.pick(data, SENDING)
        self.sinks[sink] = OVER
        self.committed.add(sink)
        self.expected[sink] = SinkOutcome.MOVED
        self.feed(SinkAccepted(sink))

    @precondition(lambda self: SENDING in self.sinks)
    @rule(data=st.data())
    def a_destination_breaks_off(self, data: st.DataObject) -> None:
        sink = self.pick(data, SENDING)
        error = self.expected[sink] = SyncError("broken off", origin=Origin.DESTINATION)
        self.feed(SinkFailed(sink, error))
        assert self.told[CancelSession(sink)] == 1

    @precondition(lambda self: self.pipe.state is not PipeState.ENDED)
    @rule(seldom=st.integers(0, 5))
    def all_is_abandoned(self, seldom: int) -> None:
        assume(seldom == 0)
        error = SyncError("stopped")
        for sink, state in enumerate(self.sinks):
            if state == OPENING:
                self.sinks[sink] = OVER
                self.expected[sink] = error
        self.feed(Abandoned(error))
        assert self.pipe.state is PipeState.ENDED

    @rule(data=st.data())
    def what_cannot_happen_crashes(self, data: st.DataObject) -> None:
        error = SyncError("no")
        sink = data.draw(st.sampled_from(range(len(self.sinks))))
        legal = {
            SinkReady(sink): self.sinks[sink] == OPENING,
            SinkPresent(sink): self.sinks[sink] == OPENING,
            SinkFailed(sink, error): self.sinks[sink] in (OPENING, SENDING),
            SinkAccepted(sink): self.sinks[sink] == SENDING,
            SourceAnswered(): self.source == "asked",
            SourceVerified(): self.source == "answered",
            SourceFailed(error): self.source in ("asked", "answered"),
            Abandoned(error): True,
        }
        if self.pipe.state is PipeState.ENDED:
            legal = dict.fromkeys(legal, False)
        impossible = [event for event, can_be in legal.items() if not can_be]
        before = repr(self.pipe)
        with pytest.raises(RuntimeError):
            self.pipe.handle(data.draw(st.sampled_from(impossible)))
        assert repr(self.pipe) == before

    @invariant()
    def outcomes_are_those_that_were_told(self) -> None:
        assert self.pipe.outcomes == self.expected

    @invariant()
    def it_ends_when_and_only_when_every_destination_has_an_outcome(self) -> None:
        assert (self.pipe.state is PipeState.ENDED) == all(state == OVER for state in self.sinks)
        assert (self.pipe.state is PipeState.ENDED) == (None not in self.pipe.outcomes)
        if self.pipe.state is PipeState.ENDED:
            assert self.source not in ("asked", "answered"), "nobody listens to the source any more"
            cancelled = {told.sink for told in self.told if isinstance(told, CancelSession)}
            assert cancelled == self.sessions - self.committed

    def teardown(self) -> None:
        """However far it came, it can be brought to an end."""
        if not hasattr(self, "pipe"):
            return
        for sink, state in enumerate(self.sinks):
            if state == OPENING and self.pipe.state is not PipeState.ENDED:
                self.sinks[sink] = READY
                self.sessions.add(sink)
                self.feed(SinkReady(sink))
        if self.source == "asked":
            self.the_source_answers()
        if self.source == "answered":
            self.the_last_byte_came()
        for sink, state in enumerate(self.sinks):
            if state == SENDING:
                self.sinks[sink] = OVER
                self.committed.add(sink)
                self.expected[sink] = SinkOutcome.MOVED
                self.feed(SinkAccepted(sink))
        assert self.pipe.state is PipeState.ENDED
        self.outcomes_are_those_that_were_told()
        self.it_ends_when_and_only_when_every_destination_has_an_outcome()


TestPipe = PipeMachine.TestCase
