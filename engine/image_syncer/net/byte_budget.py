"""Byte budgets: the bytes that this process may still move, by registry and direction, where there is a limit.

A transfer with an empty budget pauses inside libcurl's callback until the next allowance, which is requested shortly
before the budget is empty. Streamed blobs take turns, so that no connection is idle for long. Small blobs are received
whole before they are sent, and the oldest goes first: in turns, all would be received and then sent at the same time,
and one direction would always be idle. Where both kinds wait, they alternate. libcurl's chunks cannot be split, so a
budget may go into debt by one chunk. Without limits, transfers have no budget and no callbacks of it.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

import pycurl

from image_syncer.scheduling import EVERYWHERE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from image_syncer.net.multi import CurlDriver


LEAST_SENT_BYTES = 4 * 2**10
"""The least that is sent at once: smaller pieces cost more than they are worth."""
TURN_BYTES = 16 * 2**10
"""What a transfer usually takes at least (CURL_MAX_WRITE_SIZE), by which the transfers to be woken are counted: an
upload spends only in libcurl's next round.
"""


class ByteBudget:
    """The allowance for one registry in one direction.

    `want()` requests more, and is not called again before `put`; `give_back(size)` returns the rest.
    """

    __slots__ = (
        "_asked",
        "_driver",
        "_give_back",
        "_low",
        "_small",
        "_small_next",
        "_streamed",
        "_want",
        "level",
        "users",
    )

    def __init__(self, driver: CurlDriver, want: Callable[[], None], give_back: Callable[[int], None]) -> None:
        self._driver = driver
        self._want = want
        self._give_back = give_back
        self._asked = False
        self._low = 0
        self._streamed: deque[Metered] = deque()
        self._small: list[tuple[int, Metered]] = []
        self._small_next = False
        self.level = 0
        self.users = 0

    def spend(self, size: int) -> None:
        """Take `size` bytes, which have moved, from the budget."""
        self.level -= size
        if self.level <= self._low and not self._asked:
            self._ask()

    def wait(self, metered: Metered) -> None:
        """Queue a transfer that pauses until the next allowance."""
        if metered.number is None:
            self._streamed.append(metered)
        else:
            heappush(self._small, (metered.number, metered))
        if not self._asked:
            self._ask()

    def put(self, size: int) -> None:
        """Add the requested allowance and resume transfers. Not to be called from inside libcurl."""
        self._asked = False
        self.level += size
        self._low = size // 2
        left = self.level
        while left > 0 and (metered := self._next()) is not None:
            metered.held_back = False
            self._driver.resume(metered.easy)
            left = min(self.level, left - TURN_BYTES)
        if (self._streamed or self._small) and not self._asked:
            self._ask()

    def tidy(self) -> None:
        """Give the rest back where no transfer uses the budget."""
        if not self.users and self.level > 0:
            left, self.level = self.level, 0
            self._give_back(left)

    def _next(self) -> Metered | None:
        """Return the next waiting transfer; those that have ended are skipped."""
        while self._streamed or self._small:
            self._small_next = bool(self._small) and (not self._streamed or not self._small_next)
            metered = heappop(self._small)[1] if self._small_next else self._streamed.popleft()
            if metered.held_back:
                return metered
        return None

    def _ask(self) -> None:
        self._asked = True
        self._want()


class Metered:
    """One transfer, by `easy`, that spends from a budget until `close`. `number` orders transfers of small blobs."""

    __slots__ = ("_budget", "easy", "held_back", "number")

    def __init__(self, budget: ByteBudget, easy: pycurl.Curl, number: int | None) -> None:
        budget.users += 1
        self._budget = budget
        self.easy = easy
        self.number = number
        self.held_back = False
        """Whether the transfer pauses for want of an allowance."""

    def receiving(self, receive: Callable[[memoryview], int | None]) -> Callable[[memoryview], int | None]:
        """Return libcurl's write callback for a download whose bytes go to `receive`."""
        budget, pause = self._budget, int(pycurl.WRITEFUNC_PAUSE)

        def receive_metered(chunk: memoryview) -> int | None:
            if budget.level <= 0:
                self._hold()
                return pause
            signal = receive(chunk)
            if signal is None:  # else libcurl repeats the chunk, or it is the last
                budget.spend(len(chunk))
            return signal

        return receive_metered

    def sending(self, send: Callable[[int], memoryview | bytes | int]) -> Callable[[int], memoryview | bytes | int]:
        """Return libcurl's read callback for an upload whose bytes come from `send`."""
        budget, pause = self._budget, int(pycurl.READFUNC_PAUSE)

        def send_metered(most: int) -> memoryview | bytes | int:
            level = budget.level
            if level <= 0:
                self._hold()
                return pause
            given = send(min(most, max(level, LEAST_SENT_BYTES)))
            if not isinstance(given, int):
                budget.spend(len(given))
            return given

        return send_metered

    def close(self) -> None:
        """End the transfer's use of the budget."""
        self._budget.users -= 1
        self.held_back = False

    def _hold(self) -> None:
        if not self.held_back:
            self.held_back = True
            self._budget.wait(self)


class ByteBudgets:
    """The budgets of a process, for the registries of `metered`.

    `want(registry, sending)` requests an allowance, `give_back(registry, sending, size)` returns the rest of one.
    """

    def __init__(
        self,
        driver: CurlDriver,
        *,
        metered: Collection[str],
        want: Callable[[str, bool], None],
        give_back: Callable[[str, bool, int], None],
    ) -> None:
        self._driver = driver
        self.metered = frozenset(metered)
        """The registries with a limit; for transfers in flight when it changes, see `Transport.begin_metering`."""
        self._want = want
        self._give_back = give_back
        self._budgets: dict[tuple[str, bool], ByteBudget] = {}
        self._numbers = count()

    def meter(self, easy: pycurl.Curl, registry: str, *, sending: bool, small: bool = False) -> Metered | None:
        """Return the meter of a transfer with `registry` by `easy`; None without a limit."""
        if registry not in self.metered and EVERYWHERE not in self.metered:
            return None
        return Metered(self._of(registry, sending), easy, next(self._numbers) if small else None)

    def put(self, registry: str, size: int, *, sending: bool) -> None:
        """Add an allowance and resume transfers."""
        self._of(registry, sending).put(size)
        self._driver.settle()

    def tidy(self) -> None:
        """Give unused allowances back; to be called about twice a second."""
        for budget in self._budgets.values():
            budget.tidy()

    def _of(self, registry: str, sending: bool) -> ByteBudget:
        budget = self._budgets.get((registry, sending))
        if budget is None:
            budget = self._budgets[registry, sending] = ByteBudget(
                self._driver,
                lambda: self._want(registry, sending),
                lambda size: self._give_back(registry, sending, size),
            )
        return budget
