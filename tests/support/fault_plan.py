"""What a proxy does to the requests that pass it: with which operation, at which moment, what, and how often."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

__all__ = ["Action", "Moment", "ProxyFault", "Strikes", "Weather"]


class Moment(Enum):
    """When a fault strikes, in the order of an exchange."""

    REQUEST_BODY = "after so many bytes of the request's body"
    BEFORE_ANSWER = "the request has come whole, and was not passed on"
    LOST = "the request was passed on and answered, and nothing of the answer has been sent"
    ANSWER_HEAD = "in the middle of the answer's head"
    ANSWER_BODY = "after so many bytes of the answer's body"
    AFTER = "the answer has been sent whole"


class Action(Enum):
    """What happens then."""

    RESET = "the connection is reset (RST)"
    CLOSE = "the connection is closed (FIN)"
    STALL = "nothing moves any more, and the connection stays"
    TRICKLE = "from there on, a few bytes at a time"
    ANSWER = "an answer of the proxy's own"
    FLIP = "one byte of the body is another"
    SHORTEN = "the body's end is missing, and its length says so"
    LENGTHEN = "the body has bytes at its end that do not belong there, and its length says so"
    OVERSTATE = "Content-Length promises more than comes before the connection is closed"
    UNDERSTATE = "Content-Length promises less than comes"
    HEADERS = "header fields of the answer are others"
    TWICE = "the answer is sent twice"
    REFUSE = "the connections are reset, and nobody listens any more"
    ALERT = "TLS is answered with an alert"
    HUSH = "connections are accepted, and never read from"


@dataclass(frozen=True)
class ProxyFault:
    """One thing that goes wrong with requests of the kind `operation` ("*": any) whose target holds `match`.

    The first `skip` of them pass, the next `times` fail (None: all that follow). `after_bytes` is where in a body it
    strikes. `status`, `headers` and `body` are the answer of ANSWER ("{self}" in a header is the address that was
    asked), `headers` those of HEADERS. With `on_connect`, the fault does not end there: all connections are reset, and
    the next `connects` of them (None: all) meet that.
    """

    action: Action
    moment: Moment = Moment.BEFORE_ANSWER
    operation: str = "*"
    match: str = ""
    times: int | None = 1
    skip: int = 0
    after_bytes: int = 0
    status: int = 500
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    bytes_per_s: float = 1e5
    on_connect: Action | None = None
    connects: int | None = 0


@dataclass
class Weather:
    """Faults by chance: any request meets one of `faults` with a probability of `chance`. The same for one `seed` as
    long as the requests come in the same order.
    """

    faults: tuple[ProxyFault, ...]
    chance: float
    seed: int
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def draw(self, operation: str, size: int) -> ProxyFault | None:
        """The fault of a request with a body of `size` bytes."""
        if self._random.random() >= self.chance:
            return None
        fits = [fault for fault in self.faults if fault.operation in ("*", operation)]
        fits = [fault for fault in fits if size or fault.moment is not Moment.REQUEST_BODY]
        return self._random.choice(fits) if fits else None


class Strikes:
    """What is left of the faults of one door, and which have struck how often."""

    def __init__(self, faults: tuple[ProxyFault, ...], weather: Weather | None = None) -> None:
        self._faults = faults
        self._weather = weather
        self._passed: Counter[int] = Counter()
        self._taken: Counter[int] = Counter()
        self.struck: Counter[ProxyFault] = Counter()

    def take(self, operation: str, target: str, size: int) -> ProxyFault | None:
        """The fault that this request meets; `size` is that of its body in bytes."""
        for number, fault in enumerate(self._faults):
            if fault.operation not in ("*", operation) or fault.match not in target:
                continue
            if fault.moment is Moment.REQUEST_BODY and not size:
                continue
            if self._passed[number] < fault.skip:
                self._passed[number] += 1
                continue
            if fault.times is not None and self._taken[number] >= fault.times:
                continue
            self._taken[number] += 1
            return fault
        return self._weather.draw(operation, size) if self._weather else None
