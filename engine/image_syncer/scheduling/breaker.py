"""Circuit breakers: which registries are down, when they are probed again, and when they are given up.

    CLOSED ──(failures in a row)──► OPEN ──(it is time)──► PROBING ──(no answer)──► OPEN, or GIVEN_UP
       ▲                             │                        │
       └─────────(an answer)─────────┴────────(an answer)─────┘

While a registry is down, its requests wait and its blobs are not leased; probes ask at growing intervals whether it is
back. Any answer below 500 is an answer.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct

from image_syncer.errors import Origin, RegistryDownError, RegistryError, SyncError, TransportError, UnavailableError
from image_syncer.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable


UNREACHABLE_IN_A_ROW = 3
AILING_IN_A_ROW = 5
AILING_S = 3.0
FIRST_PROBE_S = 0.25
"""The pause after the first failed probe; the first probe is sent at once."""
PROBE_FACTOR = 2.0
LONGEST_PROBE_S = 30.0
_TOKEN = "get token"  # noqa: S105 - the name of an operation
_SERVER_ERRORS = 500
_GATEWAY_STATUSES = frozenset({502, 503, 504, 521, 522, 523, 524})
"""Statuses of a proxy whose registry is down: RFC 9110 section 15.6, Cloudflare (52x)."""


class BreakerFault(Enum):
    """What a failure says about the registry."""

    UNREACHABLE = "unreachable"
    """No connection could be made, which is not the fault of the request."""
    AWAY = "away"
    """The registry may be down, or the request may be the cause."""
    AILING = "ailing"
    """The registry answers with errors; it counts where several requests fail."""


def fault_of(error: SyncError) -> BreakerFault | None:
    """What `error` says about the registry that was asked; None: nothing. Errors of a token service or of certificates
    say nothing, nor does a registry that asks for a pause.
    """
    if not error.retryable or error.operation == _TOKEN:
        return None
    if isinstance(error, RegistryError) and error.retry_after_s is not None:
        return None
    if isinstance(error, TransportError):
        return BreakerFault.UNREACHABLE if error.phase in ("resolve", "connect", "tls") else BreakerFault.AWAY
    if isinstance(error, UnavailableError) and (error.status or 0) >= _SERVER_ERRORS:
        return BreakerFault.AWAY if error.status in _GATEWAY_STATUSES else BreakerFault.AILING
    return None


def _is_gone(error: SyncError) -> bool:
    """Whether a process of image-syncer did not answer: it does not come back."""
    return isinstance(error, TransportError) and error.phase == "gone"


class BreakerState(Enum):
    """The states of the diagram at the top of the module."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"
    GIVEN_UP = "given up"


class BreakerEvent(Enum):
    """The events of a breaker."""

    ANSWERED = "answered"
    TRIPPED = "tripped"
    PROBED = "probed"
    PROBE_FAILED = "probe failed"
    TIME_IS_UP = "time is up"


_NEXT = {
    (BreakerState.CLOSED, BreakerEvent.TRIPPED): BreakerState.OPEN,
    (BreakerState.OPEN, BreakerEvent.ANSWERED): BreakerState.CLOSED,
    (BreakerState.OPEN, BreakerEvent.PROBED): BreakerState.PROBING,
    (BreakerState.PROBING, BreakerEvent.ANSWERED): BreakerState.CLOSED,
    (BreakerState.PROBING, BreakerEvent.PROBE_FAILED): BreakerState.OPEN,
    (BreakerState.PROBING, BreakerEvent.TIME_IS_UP): BreakerState.GIVEN_UP,
    # What was under way when the registry was given up may end in any way.
    (BreakerState.GIVEN_UP, BreakerEvent.ANSWERED): BreakerState.GIVEN_UP,
}
"""An unlisted transition is an internal error, and raises."""


class Breaker(Struct, eq=False):
    """The breaker of one registry. `failed_at` is the time of the first failure in a row, `probes` counts failed
    probes. Times in seconds of the caller's clock.

    It opens after three connections in a row that could not be made; after five failed requests in a row over at least
    three seconds; or when an operation has used up its tries and the last error may mean that the registry is down: a
    probe then decides. A registry that was never reached in this run is not waited for: its name is probably wrong.
    """

    registry: str
    give_up_after_s: float
    state: BreakerState = BreakerState.CLOSED
    reached: bool = False
    """Whether it was reached in this run."""
    seen_at: float | None = None
    """The time of the last answer to a probe."""
    failed_at: float = 0.0
    probes: int = 0
    probe_at: float = 0.0
    last: SyncError | None = None
    since: str | None = None
    """When it was found to be down (ISO 8601, UTC)."""
    _unreachable: int = 0
    _failures: int = 0
    _needs_probe: bool = False
    """Whether only the answer to a probe counts: others may belong to earlier requests."""

    @property
    def gives_up_at(self) -> float:
        """When it is given up without an answer."""
        return self.failed_at + (self.give_up_after_s if self.reached else 0.0)

    def handle(self, event: BreakerEvent) -> bool:
        """Make a transition; return whether the state changed."""
        before, self.state = self.state, _NEXT[self.state, event]
        return before is not self.state

    def answered(self, now: float, *, probe: bool = False) -> bool:
        """The registry answered, perhaps a `probe`; return whether the breaker closed."""
        self.reached = True
        self._unreachable = self._failures = 0
        if probe:
            self.seen_at = now
        if self.state is BreakerState.CLOSED or (self._needs_probe and not probe):
            return False  # nearly always
        self._needs_probe = False
        return self.handle(BreakerEvent.ANSWERED)

    def failed(self, error: SyncError, fault: BreakerFault, now: float) -> bool:
        """A request failed; return whether the breaker opened."""
        if self.state is not BreakerState.CLOSED:
            return False
        self.last = error
        self.reached = self.reached or isinstance(error, UnavailableError)
        if not self._failures:
            self.failed_at = now
        self._failures += 1
        self._unreachable = self._unreachable + 1 if fault is BreakerFault.UNREACHABLE else 0
        if self._unreachable < UNREACHABLE_IN_A_ROW and (
            self._failures < AILING_IN_A_ROW or now - self.failed_at < AILING_S
        ):
            return False
        # Where it was never reached, each operation has its tries first.
        return self.reached and self._trip(now)

    def exhausted(self, error: SyncError, fault: BreakerFault, failed_at: float, now: float) -> bool:
        """An operation has used up its tries, of which the first failed at `failed_at`; return whether it should wait
        until it is known whether the registry is down.
        """
        if self.state in (BreakerState.OPEN, BreakerState.PROBING):
            return True
        seen = self.seen_at is not None and self.seen_at >= failed_at
        if self.state is BreakerState.GIVEN_UP or seen or fault is BreakerFault.AILING:
            return False
        self.last = error
        self._needs_probe = True
        if not self._failures:
            self.failed_at = failed_at
        self._trip(now)
        return True

    def probed(self) -> None:
        """A probe is sent."""
        self.handle(BreakerEvent.PROBED)

    def probe_failed(self, error: SyncError, now: float) -> None:
        """The probe failed."""
        self.last = error
        self.probes += 1
        self._needs_probe = False
        if now >= self.gives_up_at or _is_gone(error):
            self.handle(BreakerEvent.TIME_IS_UP)
            return
        self.handle(BreakerEvent.PROBE_FAILED)
        interval = min(LONGEST_PROBE_S, FIRST_PROBE_S * PROBE_FACTOR ** min(self.probes - 1, 64))
        self.probe_at = min(now + interval, self.gives_up_at)

    def down_error(self, origin: Origin = Origin.LOCAL) -> RegistryDownError:
        """The error of all that fails because the registry, on the side `origin`, was given up."""
        last = f": {self.last.message}" if self.last is not None else ""
        hints = [self.last.hint] if self.last is not None and self.last.hint else []
        gone = self.last is not None and _is_gone(self.last)
        if not gone and (self.reached or not hints):
            hints.append("Run it again when the registry answers; --give-up-after says how long it is waited for.")
        silence = f"did not answer for {format_duration(self.give_up_after_s)}" if self.reached else "never answered"
        silence = "has ended" if gone else silence
        return RegistryDownError(
            f"the registry {self.registry} was given up, it {silence}{last}",
            registry=self.registry,
            since=self.since,
            origin=origin,
            hint=" ".join(hints),
        )

    def _trip(self, now: float) -> bool:
        self.probes = 0
        self.probe_at = now
        return self.handle(BreakerEvent.TRIPPED)


class Breakers:
    """The breakers of all registries of a run. Without `give_up_after_s` none ever opens."""

    def __init__(self, give_up_after_s: float | None = None) -> None:
        self._give_up_after_s = give_up_after_s
        self._breakers: dict[str, Breaker] = {}
        self._listeners: list[Callable[[Breaker], object]] = []
        self.troubled: set[str] = set()
        """Registries that are open, being probed, or given up; nearly always none."""
        self.healthy: set[str] = set()
        """Registries whose last request was answered: another answer changes nothing."""

    def listen(self, on_change: Callable[[Breaker], object]) -> None:
        """Call `on_change` with each breaker whose state becomes OPEN, CLOSED or GIVEN_UP; not for probes."""
        self._listeners.append(on_change)

    def of(self, registry: str) -> Breaker:
        """The breaker of `registry`."""
        breaker = self._breakers.get(registry)
        if breaker is None:
            breaker = self._breakers[registry] = Breaker(registry, self._give_up_after_s or 0.0)
        return breaker

    def is_held(self, registry: str) -> bool:
        """Whether `registry` is down, for now or for good."""
        return registry in self.troubled

    def is_given_up(self, registry: str) -> bool:
        """Whether `registry` was given up."""
        return registry in self.troubled and self.of(registry).state is BreakerState.GIVEN_UP

    def answered(self, registry: str, now: float, *, probe: bool = False) -> None:
        """`registry` answered, perhaps a `probe`."""
        if registry in self.healthy and not probe:
            return
        breaker = self.of(registry)
        if breaker.answered(now, probe=probe):
            self._tell(breaker)
        if breaker.state is BreakerState.CLOSED:
            self.healthy.add(registry)

    def failed(self, registry: str, error: SyncError, now: float) -> bool:
        """A request to `registry` failed; return whether it is down, so that the failure does not count as a try."""
        fault = fault_of(error)
        if fault is None or self._give_up_after_s is None:
            return False
        self.healthy.discard(registry)
        breaker = self.of(registry)
        if breaker.failed(error, fault, now):
            self._tell(breaker)
        return registry in self.troubled

    def exhausted(self, registry: str, error: SyncError, failed_at: float, now: float) -> bool:
        """See `Breaker.exhausted`."""
        fault = fault_of(error)
        if fault is None or self._give_up_after_s is None:
            return False
        self.healthy.discard(registry)
        breaker = self.of(registry)
        before = breaker.state
        waits = breaker.exhausted(error, fault, failed_at, now)
        if breaker.state is not before:
            self._tell(breaker)
        return waits

    def reason_of(self, registry: str, error: SyncError) -> SyncError:
        """The error to report for a request that failed for good: that its registry was given up, where it was."""
        if fault_of(error) is None or not self.is_given_up(registry):
            return error
        return self.of(registry).down_error(error.origin)

    def probe_failed(self, registry: str, error: SyncError, now: float) -> None:
        """The probe of `registry` failed."""
        breaker = self.of(registry)
        breaker.probe_failed(error, now)
        if breaker.state is BreakerState.GIVEN_UP:
            self._tell(breaker)

    def _tell(self, breaker: Breaker) -> None:
        if breaker.state is BreakerState.CLOSED:
            self.troubled.discard(breaker.registry)
        else:
            self.troubled.add(breaker.registry)
        for listener in self._listeners:
            listener(breaker)
