"""What all copies of a worker share: client, settings, memory windows, and what is known of repositories."""

from __future__ import annotations

import math
import mmap
from typing import TYPE_CHECKING

import pycurl
from msgspec import field

from image_syncer.errors import Origin, SyncError
from image_syncer.net import InFlightLimit
from image_syncer.registry.capabilities import RegistryCapabilities
from image_syncer.scheduling import Arrival, RetryPolicy
from image_syncer.units import format_size
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.net import Handle, Metered, RegistryClient
    from image_syncer.oci import Repository
    from image_syncer.registry import Endpoint, Request
    from image_syncer.transfer.stream import Signals
    from image_syncer.worker.protocol import Message, TargetPlace


class Windows:
    """The memory of rings and of small blobs: lends buffers of `window_bytes`, at most `most` at a time, and uses them
    again.

    They are anonymous maps, so that a window of which a small blob touches one page costs one page. Where the machine
    has no memory for one more, the others have to be enough.
    """

    def __init__(self, window_bytes: int, most: int) -> None:
        self._window_bytes = window_bytes
        self._in_flight = InFlightLimit(most)
        self._free: list[mmap.mmap] = []
        self._lent = 0

    async def lend(self) -> mmap.mmap:
        """A window with the content of its last use, when one is free. Raises SyncError where no memory is left."""
        while True:
            if not self._in_flight.try_enter():
                await self._in_flight.enter()
            try:
                window = self._free.pop() if self._free else mmap.mmap(-1, self._window_bytes)
            except (OSError, MemoryError) as error:
                if self._lent:
                    continue  # without `leave`: there is one window less than planned
                self._in_flight.leave()
                raise SyncError(
                    f"there is no memory for a window of {format_size(self._window_bytes)}: {error}",
                    hint="Give the run more memory, or let it use less: --memory, --window, --workers.",
                    retryable=True,
                ) from None
            self._lent += 1
            return window

    def give_back(self, window: mmap.mmap) -> None:
        """Take a window back; no view of it may be left."""
        self._lent -= 1
        self._free.append(window)
        self._in_flight.leave()

    def close(self) -> None:
        """Free all windows that are not lent."""
        for window in self._free:
            window.close()
        self._free.clear()


class FreshRepositories:
    """The destination repositories that lacked the last blob that was brought to them: they will lack the next one too.

    The first blob of a repository is asked for before it is fetched, and so is one that could be mounted, unless the
    registry has said that it is absent.
    """

    def __init__(self) -> None:
        self._fresh: set[Repository] = set()

    def expect(self, targets: tuple[TargetPlace, ...]) -> bool:
        """Whether a blob for these targets will probably have to be sent to one of them."""
        return any(one.absent or (one.repository in self._fresh and not one.mounts) for one in targets)

    def learn(self, target: TargetPlace, arrival: Arrival | None) -> None:
        """Note how a blob arrived at `target`; None: it did not."""
        if arrival is Arrival.MOVED:
            self._fresh.add(target.repository)
        elif arrival is not None:
            self._fresh.discard(target.repository)


def _drop(_message: Message) -> None:
    """Drop a message: the copy has no coordinator."""


class WorkerContext(Value, frozen=True):
    """What copies work with. `signals` are libcurl's; see `SilenceWatch` for `stall_s` and `answer_s`, `LagWatch` for
    `lag_s` (seconds). `chance` gives a uniform number in [0, 1), `clock` seconds, `send` sends a message to the
    coordinator. `policy` is the retry policy of one side of a copy.
    """

    client: RegistryClient
    signals: Signals
    stall_s: float
    answer_s: float
    chance: Callable[[], float]
    clock: Callable[[], float]
    send: Callable[[Message], None] = _drop
    lag_s: float = math.inf
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    capabilities: RegistryCapabilities = field(default_factory=RegistryCapabilities)
    fresh: FreshRepositories = field(default_factory=FreshRepositories)


class TransferSide:
    """One side of a copy: its requests with bytes of the blob, at most one at a time.

    Those of `small` blobs spend their byte budgets in the order in which they began.
    """

    def __init__(self, client: RegistryClient, origin: Origin, *, small: bool) -> None:
        self._client = client
        self._origin = origin
        self._small = small
        self._metered: Metered | None = None
        self._why_broken_off: SyncError | None = None
        self.easy: pycurl.Curl | None = None
        """The handle of the request that is under way."""

    @property
    def held_back(self) -> bool:
        """Whether the request pauses for the limit of bytes per second."""
        return self._metered is not None and self._metered.held_back

    def break_off(self, error: SyncError) -> None:
        """End the request that is under way with `error`, as if the registry had."""
        if self.easy is not None:
            self._why_broken_off = error
            self._client.transport.driver.fail(self.easy, pycurl.E_ABORTED_BY_CALLBACK, "broken off")

    async def _transfer(
        self, handle: Handle, request: Request, endpoint: Endpoint, metered: Callable[[Metered], None]
    ) -> tuple[int, str]:
        """Run `handle`, which is set up for `request`, and give it back; return libcurl's code and words.

        `metered` passes the bytes through a budget: at once where bytes per second are limited, or when they become so.
        """
        transport = self._client.transport
        easy = handle.easy

        def begin_metering() -> None:
            sending = self._origin is Origin.DESTINATION
            self._metered = transport.meter(easy, endpoint.registry, sending=sending, small=self._small)
            if self._metered is not None:
                metered(self._metered)

        self.easy, self._why_broken_off = easy, None
        code = -1
        transport.requests[request.operation.value] += 1
        try:
            if transport.budgets is not None:
                begin_metering()
            if self._metered is None and not self._small:
                transport.unmetered.add(begin_metering)
            code, words = await transport.transfer(easy, request, endpoint, self._origin)
            return code, words
        finally:
            transport.unmetered.discard(begin_metering)
            if self._metered is not None:
                self._metered.close()
            self.easy = self._metered = None
            transport.handles.give_back(handle, spoiled=code != 0)
