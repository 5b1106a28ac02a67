"""Pipe: the state machine of one blob's way from a source to one or more destinations.

Events come in, instructions come out; no byte passes here (see `stream.py`). `image_syncer.worker.streamed_copy`
carries the instructions out.

A pipe lives through five states::

    OPENING ──► CONNECTING ──► FLOWING ──► DRAINING ──► ENDED
       │            │             │            │          ▲
       └────────────┴─────────────┴────────────┴──────────┘

- OPENING: every destination was asked `POST …/uploads/?mount=…`: it has the blob (201), gives a session (202), or
  fails. The source is asked only when the sessions are open, so that no source waits for a destination.
- CONNECTING: the source was asked for the blob; no byte has come.
- FLOWING: bytes flow into the ring, and out of it to each destination that takes part. A side that breaks off and is
  resumed changes nothing; only where bytes are needed that the ring no longer has, the source begins again.
- DRAINING: the last byte has come and the digest is right; the destinations finish and commit. One of them may need
  bytes again: back to FLOWING.
- ENDED: every destination has an outcome.

A destination that fails does not affect the others; a source that fails ends all that still need bytes. A destination
may accept a blob while another has bytes sent again, or because another client has pushed it meanwhile; the caller
checks that none accepts it before its own last byte. A session that was opened and not committed is cancelled.

An event that the table does not list is an internal error and raises `RuntimeError`.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.errors import SyncError


class PipeState(Enum):
    """The states of a pipe, see the module."""

    OPENING = "opening"
    CONNECTING = "connecting"
    FLOWING = "flowing"
    DRAINING = "draining"
    ENDED = "ended"


class SinkOutcome(Enum):
    """How a destination got the blob."""

    MOVED = "moved"
    PRESENT = "present"


class _SinkState(Enum):
    OPENING = "opening"
    READY = "ready"
    SENDING = "sending"
    SETTLED = "settled"


class SinkReady(Value, frozen=True):
    """The destination opened an upload session."""

    sink: int


class SinkPresent(Value, frozen=True):
    """The destination already has the blob, or mounted it: nothing has to be sent there."""

    sink: int


class SinkFailed(Value, frozen=True):
    """The destination refused, broke off or fell silent."""

    sink: int
    error: SyncError


class SinkAccepted(Value, frozen=True):
    """The destination committed the upload (201)."""

    sink: int


class SourceAnswered(Value, frozen=True):
    """The source sends the blob (200), and its length is the one that the descriptor promises."""


class SourceVerified(Value, frozen=True):
    """The last byte has come, and size and digest are right."""


class SourceFailed(Value, frozen=True):
    """The source refused, broke off, fell silent, or sent wrong bytes. The destinations in `whole` were sent every byte
    before that.
    """

    error: SyncError
    whole: frozenset[int] = frozenset()


class StreamRewound(Value, frozen=True):
    """A destination needs bytes again that the ring no longer has: the source must send them once more."""


class Abandoned(Value, frozen=True):
    """The blob is no longer needed."""

    error: SyncError


Event: TypeAlias = (
    SinkReady
    | SinkPresent
    | SinkFailed
    | SinkAccepted
    | SourceAnswered
    | SourceVerified
    | SourceFailed
    | StreamRewound
    | Abandoned
)


class StartSource(Value, frozen=True):
    """Ask the source for the blob, or for bytes that are needed again."""


class StopSource(Value, frozen=True):
    """Break the download off: no destination takes its bytes."""


class StartSink(Value, frozen=True):
    """Begin the upload into the session that the destination opened."""

    sink: int


class StopSink(Value, frozen=True):
    """Break the upload off before its last bytes were sent."""

    sink: int


class CancelSession(Value, frozen=True):
    """Cancel the session at the destination (DELETE)."""

    sink: int


Instruction: TypeAlias = StartSource | StopSource | StartSink | StopSink | CancelSession


class Pipe:
    """The state machine of one blob on its way to `sinks` destinations.

    `handle(event)` returns the instructions to carry out. When `state` is ENDED, `outcomes[i]` is the outcome of
    destination i: a `SinkOutcome`, or the `SyncError` that stopped it.
    """

    def __init__(self, sinks: int) -> None:
        if sinks < 1:
            raise RuntimeError("a pipe needs at least one destination")
        self.state = PipeState.OPENING
        self.outcomes: list[SinkOutcome | SyncError | None] = [None] * sinks
        self._sinks = [_SinkState.OPENING] * sinks

    def handle(self, event: Event) -> list[Instruction]:
        """Take one event; raises RuntimeError for one that cannot happen in this state."""
        action = self._TABLE.get((self.state, type(event)))
        if action is None:
            raise RuntimeError(f"{event!r} cannot happen to {self!r}")
        return action(self, event)

    def _in(self, state: _SinkState) -> list[int]:
        return [index for index, now in enumerate(self._sinks) if now is state]

    def _settle(self, sink: int, expected: tuple[_SinkState, ...], outcome: SinkOutcome | SyncError) -> None:
        if self._sinks[sink] not in expected:
            raise RuntimeError(f"destination {sink} is {self._sinks[sink].value} in {self!r}")
        self._sinks[sink] = _SinkState.SETTLED
        self.outcomes[sink] = outcome

    def _opened(self) -> list[Instruction]:
        if self._in(_SinkState.OPENING):
            return []
        if self._in(_SinkState.READY):
            self.state = PipeState.CONNECTING
            return [StartSource()]
        self.state = PipeState.ENDED
        return []

    def _ready(self, event: SinkReady) -> list[Instruction]:
        if self._sinks[event.sink] is not _SinkState.OPENING:
            raise RuntimeError(f"destination {event.sink} opened a second session in {self!r}")
        self._sinks[event.sink] = _SinkState.READY
        return self._opened()

    def _present(self, event: SinkPresent) -> list[Instruction]:
        self._settle(event.sink, (_SinkState.OPENING,), SinkOutcome.PRESENT)
        return self._opened()

    def _refused(self, event: SinkFailed) -> list[Instruction]:
        self._settle(event.sink, (_SinkState.OPENING,), event.error)
        return self._opened()

    def _answered(self, _event: SourceAnswered) -> list[Instruction]:
        self.state = PipeState.FLOWING
        ready = self._in(_SinkState.READY)
        for sink in ready:
            self._sinks[sink] = _SinkState.SENDING
        return [StartSink(sink) for sink in ready]

    def _verified(self, _event: SourceVerified) -> list[Instruction]:
        self.state = PipeState.DRAINING
        return []

    def _rewound(self, _event: StreamRewound) -> list[Instruction]:
        self.state = PipeState.FLOWING
        return [StartSource()]

    def _source_failed(self, event: SourceFailed) -> list[Instruction]:
        return self._fail_all(event.error, event.whole)

    def _fail_all(self, error: SyncError, spared: frozenset[int]) -> list[Instruction]:
        instructions: list[Instruction] = []
        for sink, state in enumerate(self._sinks):
            if sink in spared and state is _SinkState.SENDING:
                continue
            if state is _SinkState.SENDING:
                instructions += [StopSink(sink), CancelSession(sink)]
            elif state is _SinkState.READY:
                instructions.append(CancelSession(sink))
            if state is not _SinkState.SETTLED:
                self._settle(sink, (state,), error)
        self.state = PipeState.DRAINING if self._in(_SinkState.SENDING) else PipeState.ENDED
        return instructions

    def _abandoned(self, event: Abandoned) -> list[Instruction]:
        running = self.state in (PipeState.CONNECTING, PipeState.FLOWING)
        return [*([StopSource()] if running else []), *self._fail_all(event.error, frozenset())]

    def _sink_failed(self, event: SinkFailed) -> list[Instruction]:
        return [CancelSession(event.sink), *self._left(event.sink, event.error)]

    def _left(self, sink: int, outcome: SinkOutcome | SyncError) -> list[Instruction]:
        self._settle(sink, (_SinkState.SENDING,), outcome)
        if self._in(_SinkState.SENDING):
            return []
        instructions: list[Instruction] = [StopSource()] if self.state is PipeState.FLOWING else []
        self.state = PipeState.ENDED
        return instructions

    def _accepted(self, event: SinkAccepted) -> list[Instruction]:
        return self._left(event.sink, SinkOutcome.MOVED)

    _TABLE: ClassVar[dict[tuple[PipeState, type], Callable[..., list[Instruction]]]] = {
        (PipeState.OPENING, SinkReady): _ready,
        (PipeState.OPENING, SinkPresent): _present,
        (PipeState.OPENING, SinkFailed): _refused,
        (PipeState.OPENING, Abandoned): _abandoned,
        (PipeState.CONNECTING, SourceAnswered): _answered,
        (PipeState.CONNECTING, SourceFailed): _source_failed,
        (PipeState.CONNECTING, Abandoned): _abandoned,
        (PipeState.FLOWING, SourceVerified): _verified,
        (PipeState.FLOWING, SourceFailed): _source_failed,
        (PipeState.FLOWING, SinkFailed): _sink_failed,
        (PipeState.FLOWING, SinkAccepted): _accepted,
        (PipeState.FLOWING, StreamRewound): _rewound,
        (PipeState.FLOWING, Abandoned): _abandoned,
        (PipeState.DRAINING, SinkFailed): _sink_failed,
        (PipeState.DRAINING, SinkAccepted): _accepted,
        (PipeState.DRAINING, StreamRewound): _rewound,
        (PipeState.DRAINING, Abandoned): _abandoned,
    }

    def __repr__(self) -> str:
        return f"<Pipe {self.state.value} {[state.value for state in self._sinks]}>"
