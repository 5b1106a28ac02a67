"""The life of a watch: a round, a wait, a round, until a signal ends it.

    starting ──► waiting ──► running ──► waiting ──► … ──► ending
                    ▲  │ SIGHUP: files are read again; what is new in them is a round of its own
                    └──┘

A round is a run of the coordinator on the same loop, and there is never more than one: what becomes due while one is
under way (a time of the schedule, a notification, SIGHUP) waits for its end. Three things begin a round: the schedule,
for all that does not rest; a notification, for the rules about the repositories that it names; and files that were read
again, for the rules that are new in them.

SIGTERM and SIGINT end a watch that waits at once. A run that is under way they end as they end a `sync`, and a second
one ends the process at once. Drained by its control, a watch ends with the run that is under way. Files with mistakes
change nothing: what was read before stays in force, and that is told.

Which repositories are looked at in a round: those that change are asked again and again, the others less often.

A repository in which nothing changed in `QUIET_ROUNDS` rounds is left alone for one round, then for more and more of
them: it is looked at in every second round, every fourth, and so on, but at least in every `rest`-th. As soon as
something changes, fails, or is told by a notification, it is looked at in every round again. Repositories that became
quiet together are spread over the rounds by a number that is made of their names, so as not to come back together.

Pure: it counts rounds and knows no clock. What it remembers is bounded by the repositories that there are.

What a watch adds to the metrics of its runs: read from it when Prometheus asks.

The files of a watch that are in force: those that were read last without mistakes.

A watch for those who ask it from another loop: its server has a thread of its own.

A watch as those see it who control its runs: whether it goes on, and when the next round is due.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import signal
import time
import zlib
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import orjson
from msgspec import Struct

from image_syncer.coordinator.control import RunControl
from image_syncer.coordinator.listeners import Listeners
from image_syncer.coordinator.run import Run
from image_syncer.errors import ConfigurationError, SyncError, redact
from image_syncer.layout import open_places
from image_syncer.telemetry import Outcome, get_logger
from image_syncer.telemetry.observing import OBSERVERS
from image_syncer.telemetry.server_thread import ServerThread
from image_syncer.watch.orders import Cause, Pushes, WatchOrder
from image_syncer.watch.parts import RuleIndex, altered_part, awake_part, is_empty, repository_of
from image_syncer.watch.server import WatchServer
from image_syncer.watch.service import ServiceManager
from image_syncer.watch.settings import round_settings
from image_syncer.watch.status import State, WatchStatus
from image_syncer.watch.webhook_post import WebhookPoster
from image_syncer.watch.webhooks import NotifyWhen, is_wanted, summary_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client import Metric

    from image_syncer.config import Configuration, Settings
    from image_syncer.telemetry import ImageResult, Report
    from image_syncer.telemetry.metrics import RunMetrics
    from image_syncer.watch.events import PushedRepository
    from image_syncer.watch.server import Watched
    from image_syncer.watch.settings import WatchSettings
    from image_syncer.watch.view import WatchView

__all__ = ["EVERY_ROUND", "Activity", "FilesInForce", "OnItsLoop", "WatchCollector", "WatchRounds", "Watcher"]


class WatchRounds(Struct):
    """`on_drain` wakes the watch, which ends with the round that is under way. See `Rounds`."""

    status: WatchStatus
    on_drain: Callable[[], None]
    is_draining: bool = False

    def drain(self) -> None:
        """Begin no further round."""
        self.is_draining = True
        self.on_drain()

    def as_data(self) -> dict[str, Any]:
        """See `WatchStatus`; the names of files in it are the user's own business, as is the socket."""
        return self.status.as_data(details=True)


TURN_S = 5.0
"""How long a notification waits for a turn of the loop of the runs."""


class OnItsLoop:
    """`watched`, for callers on other loops; its own is the one that runs where this is made."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._loop = asyncio.get_running_loop()

    @property
    def status(self) -> WatchStatus:
        """Only read, and never half written."""
        return self._watched.status

    @property
    def is_ready(self) -> bool:
        """See `Watched`."""
        return self._watched.is_ready

    async def take(self, pushed: Sequence[PushedRepository]) -> int:
        """See `Watched`. Raises asyncio.TimeoutError where its loop does not turn."""
        taken = asyncio.run_coroutine_threadsafe(self._watched.take(pushed), self._loop)
        return await asyncio.wait_for(asyncio.wrap_future(taken), TURN_S)


class FilesInForce:
    """Reads them with `load`, and raises what that raises."""

    def __init__(self, load: Callable[[], Configuration]) -> None:
        self._load = load
        self.configuration = load()
        self.index = RuleIndex(self.configuration)

    def read_again(self) -> Configuration:
        """What is new in them, see `altered_part`; it is `configuration` itself where everything is. What was in force
        stays so where they cannot be read, or have mistakes.
        """
        old, new = self.configuration, self._load()
        self.configuration, self.index = new, RuleIndex(new)
        return altered_part(old, new)


class WatchCollector:
    """A collector of prometheus-client: `registry.register` takes it. `counts` gives what only grows, by name, label
    and value: notifications and webhooks by what became of them, rounds by their cause.
    """

    def __init__(self, status: WatchStatus, counts: Callable[[], Mapping[str, tuple[str, Mapping[str, int]]]]) -> None:
        self._status = status
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Called for each scrape, and once when it is registered."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        status = self._status
        yield GaugeMetricFamily(
            "image_syncer_watch_configuration_in_force",
            "1 while the files that were read last are in force; 0: they have mistakes, and older ones are.",
            value=int(status.configuration_error is None),
        )
        yield GaugeMetricFamily(
            "image_syncer_watch_next_round_timestamp_seconds",
            "When the next round is due by the schedule; 0: that is not known.",
            value=status.next_at or 0,
        )
        yield GaugeMetricFamily(
            "image_syncer_watch_repositories_left_alone",
            "Repositories that the last round by the schedule left alone, since nothing changes there.",
            value=status.left_alone,
        )
        yield CounterMetricFamily(
            "image_syncer_watch_rounds_left_out",
            "Times of the schedule that passed while a run was under way.",
            value=status.left_out,
        )
        for name, (label, values) in self._counts().items():
            family = CounterMetricFamily(f"image_syncer_watch_{name}", _HELP[name], labels=[label])
            for value, count in values.items():
                family.add_metric([value], count)
            yield family


_HELP = {
    "rounds": "Rounds that have begun, by what made them begin; idle: all repositories were left alone.",
    "notifications": "Notifications of registries, by what became of them.",
    "webhooks": "Summaries of runs for webhooks, by what became of them.",
}


QUIET_ROUNDS = 3
EVERY_ROUND = 1
"""As `rest`: nothing is ever left alone."""


class _Quiet(Struct):
    rounds: int
    """In how many rounds it was looked at in vain."""
    next_round: int


class Activity:
    """Remembers how quiet repositories were, by their names. `rest` is in how many rounds each is looked at once, at
    least (1: in every round).
    """

    def __init__(self, rest: int) -> None:
        self.rest = rest
        self._round = 0
        self._quiet: dict[str, _Quiet] = {}

    def begin_round(self) -> frozenset[str]:
        """A round over all that is due begins; returned are the repositories that are left alone in it."""
        self._round += 1
        # What was due long ago and not looked at is no longer there.
        gone = [name for name, quiet in self._quiet.items() if quiet.next_round + self.rest < self._round]
        for name in gone:
            del self._quiet[name]
        return frozenset(name for name, quiet in self._quiet.items() if quiet.next_round > self._round)

    def note(self, name: str, *, changed: bool) -> None:
        """`name` was looked at in this round. Changed has also what could not be brought in step."""
        if changed or self.rest <= EVERY_ROUND:
            self._quiet.pop(name, None)
            return
        quiet = self._quiet.setdefault(name, _Quiet(0, self._round))
        quiet.rounds += 1
        quiet.next_round = self._round + self._pause(name, quiet.rounds)

    def wake(self, names: Iterable[str]) -> None:
        """Something happens there: they are looked at in every round again."""
        for name in names:
            self._quiet.pop(name, None)

    def forget(self) -> None:
        """Everything is looked at in the next round."""
        self._quiet.clear()

    def __len__(self) -> int:
        return len(self._quiet)

    def _pause(self, name: str, rounds: int) -> int:
        doublings = min(rounds - QUIET_ROUNDS + 1, 32)
        pause = min(1 << max(doublings, 0), self.rest)
        return pause - zlib.crc32(f"{rounds} {name}".encode()) % max(pause // 2, 1)


LONGEST_WAIT_S = 30.0
"""How long the loop sleeps at most: clocks are set, and machines are suspended."""
NOTE_TURN_S = 1.0
"""How often it is noted that the loop turns."""
MOST_MISTAKES = 3
"""Runs in a row that end by an internal error before the process ends too: a new one may do better."""
_EXIT_INTERNAL = 70
_MOST_REASON_CHARS = 2000

_log = get_logger(__name__)


class Watcher:
    """One watch; `run` returns its exit code. `load` reads the files, and raises ConfigurationError where they have
    mistakes. Must be made inside a loop.
    """

    def __init__(
        self,
        load: Callable[[], Configuration],
        settings: Settings,
        watch: WatchSettings,
        *,
        view: WatchView,
        metrics: RunMetrics | None,
        control: RunControl | None = None,
    ) -> None:
        self._settings = settings
        self._watch = watch
        self._view = view
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._clock = time.time if watch.schedule.uses_wall_clock else self._loop.time
        self._files = FilesInForce(load)
        self._activity = Activity(watch.rest)
        self._pushes = Pushes()
        self._poster = WebhookPoster(watch.webhooks)
        self._service = ServiceManager(os.environ, os.getpid())
        self.status = WatchStatus(time.time(), configuration_read_at=time.time())
        self._server = WatchServer(watch.listen, OnItsLoop(self), metrics, watch.events_token) if watch.listen else None
        self._serving = ServerThread(self._server, "watch server") if self._server is not None else None
        self._start = watch.schedule.first(self._clock())
        self._rounds = {**{cause.value: 0 for cause in Cause}, "idle": 0}
        self._woken = asyncio.Event()
        self._control = control or RunControl()
        self._control.rounds = self._lasting = WatchRounds(self.status, self._woken.set)
        self._reload_wanted = False
        self._signal: signal.Signals | None = None
        self._run: Run | None = None
        self._exit_code = 0
        self._last_exit_code: int | None = None
        self._mistakes = 0
        if metrics is not None:
            metrics.registry.register(WatchCollector(self.status, self._counts))
            OBSERVERS.set((*OBSERVERS.get(), metrics))

    async def run(self) -> int:
        """0 after a signal or a drain that came while it waited; else the exit code of the run that was ended by it, or
        70.

        Raises ConfigurationError where it cannot begin, the first run included.
        """
        beating = self._loop.create_task(self._beat())
        serving = False
        try:
            async with contextlib.AsyncExitStack() as stack:
                stack.enter_context(self._signals())
                await stack.enter_async_context(self._control.open())
                if self._server is not None and self._serving is not None:
                    await asyncio.to_thread(self._serving.start)
                    serving = True
                    self._view.on_line(f"listening at {self._server.address}")
                self._view.on_configuration(self._files.configuration)
                if (seconds := self._start.at - self._clock()) > 0:
                    first = datetime.fromtimestamp(time.time() + seconds).astimezone().isoformat(timespec="seconds")
                    self._view.on_line(f"the first round begins at {first}")
                self._service.tell("READY=1")
                while (order := await self._next()) is not None:
                    await self._do(order)
        finally:
            self._enter(State.ENDING)
            self._service.tell("STOPPING=1")
            beating.cancel()
            if serving and self._serving is not None:
                await asyncio.to_thread(self._serving.stop)
            await self._poster.close()
        return self._exit_code

    @property
    def is_ready(self) -> bool:
        """Whether notifications are acted on."""
        return self.status.state in (State.WAITING, State.RUNNING)

    async def take(self, pushed: Sequence[PushedRepository]) -> int:
        """Something was pushed there: the rules about it are due soon. Returned is how many of them some rule means."""
        meant = []
        for each in pushed:
            if sources := self._files.index.about(each):
                meant.append(each)
                self._activity.wake(map(str, sources))
        self._pushes.add(meant, self._loop.time())
        self._woken.set()
        return len(meant)

    async def _next(self) -> WatchOrder | None:
        """What is to be done, as soon as there is something; None: the end."""
        while self._signal is None and not self._lasting.is_draining and self._mistakes < MOST_MISTAKES:
            if self._reload_wanted:
                self._reload_wanted = False
                altered = self._reload()
                if altered is not None and not is_empty(altered):
                    return WatchOrder(Cause.RELOAD, altered)
            if self._start.at <= self._clock():
                return self._by_schedule()
            due_at = self._pushes.due_at
            if due_at is not None and due_at <= self._loop.time():
                return WatchOrder(Cause.NOTIFICATION, self._pushes.take(self._files.configuration, self._files.index))
            await self._wait(due_at)
        if self._mistakes >= MOST_MISTAKES:
            self._exit_code = _EXIT_INTERNAL
        return None

    async def _wait(self, due_at: float | None) -> None:
        seconds = self._start.at - self._clock()
        self.status.next_at = time.time() + seconds
        self._enter(State.WAITING)
        if due_at is not None:
            seconds = min(seconds, due_at - self._loop.time())
        with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
            await asyncio.wait_for(self._woken.wait(), min(max(seconds, 0.0), LONGEST_WAIT_S))
        self._woken.clear()

    def _by_schedule(self) -> WatchOrder:
        resting = self._activity.begin_round()
        self.status.left_alone = len(resting)
        self._pushes.clear()  # what they are about does not rest
        return WatchOrder(Cause.SCHEDULE, awake_part(self._files.configuration, resting))

    def _plan_next(self) -> None:
        """The round by the schedule is over."""
        self._start = self._watch.schedule.next_start(self._start.planned, self._clock(), random.random())  # noqa: S311 - no secret
        if left_out := self._start.left_out:
            self.status.left_out += left_out
            _log.warning("the round took longer than the time to the next one", left_out=left_out)
            times = "time" if left_out == 1 else "times"
            self._view.on_line(f"the round took longer than the schedule allows: {left_out:,} {times} of it left out")

    async def _do(self, order: WatchOrder) -> None:
        if is_empty(order.configuration):
            self._rounds["idle"] += 1
            _log.debug("nothing is due in this round", left_alone=self.status.left_alone)
        else:
            self._rounds[order.cause.value] += 1
            await self._carry_out(order)
        if order.cause is Cause.SCHEDULE:
            self._plan_next()

    async def _carry_out(self, order: WatchOrder) -> None:
        seen: dict[str, bool] = {str(rule.source): False for rule in order.configuration.rules}

        def on_image(result: ImageResult) -> None:
            name = repository_of(result.source)
            changed = result.outcome is Outcome.COPIED or result.outcome.is_failure
            seen[name] = seen.get(name, False) or changed
            self._view.on_image(result)

        self.status.rounds += 1
        self._enter(State.RUNNING)
        try:
            self._view.on_begin(order)
            settings = round_settings(self._settings, datetime.now(timezone.utc))
            with open_places(order.configuration) as opened:
                listeners = Listeners(self._view.on_progress, on_image)
                self._run = Run(opened, settings, listeners, control=self._control)
                report = await self._run.execute(take_signals=False)
        except SyncError as error:
            self._on_refusal(order, error)
            return
        finally:
            self._run = None
            gc.collect()  # what a run leaves behind are cycles; between rounds nobody waits for it
        self._on_report(order, report)
        if order.cause is Cause.SCHEDULE and report.interrupted is None and report.internal_error is None:
            for name, changed in seen.items():
                self._activity.note(name, changed=changed)

    def _on_report(self, order: WatchOrder, report: Report) -> None:
        self.status.note_report(report, time.time(), cause=order.cause.value)
        self._mistakes = self._mistakes + 1 if report.internal_error is not None else 0
        if report.interrupted is not None and (self._signal is not None or self._lasting.is_draining):
            self._exit_code = report.exit_code
        try:
            self._view.on_end(order, report)
        except SyncError as error:  # a list that was asked for, on a disk that is full
            self._view.on_trouble(_reason(error))
        if is_wanted(self._watch.notify_when or NotifyWhen.ALWAYS, report, self._last_exit_code):
            summary = summary_of(report, cause=order.cause.value, round_number=self.status.rounds)
            self._poster.post(orjson.dumps(summary))
        self._last_exit_code = report.exit_code

    def _on_refusal(self, order: WatchOrder, error: SyncError) -> None:
        """The run could not begin, or what it made could not be finished: what is wrong may be mended until the next
        one, unless it is the first of all.
        """
        reason = _reason(error)
        self.status.note_refused(reason, time.time(), cause=order.cause.value)
        if self._metrics is not None:
            self._metrics.note_refused()
        self._view.on_end(order, None)
        if self.status.rounds == 1:
            raise error
        _log.error("a round failed as a whole", reason=reason)
        self._view.on_trouble(f"the round failed: {reason}")

    def _reload(self) -> Configuration | None:
        """What is new in the files; None where they cannot be read, or have mistakes."""
        self._service.say("reads its files again")
        try:
            altered = self._files.read_again()
        except (SyncError, OSError) as error:
            reason = _reason(error)
            self.status.configuration_error = reason
            _log.error("the files have mistakes; those read before stay in force", reason=reason)
            self._view.on_trouble(f"{reason}\nThe files have mistakes: those that were read before stay in force.")
            return None
        self.status.configuration_read_at, self.status.configuration_error = time.time(), None
        if altered is self._files.configuration:
            self._activity.forget()
        _log.info("files were read again", rules=len(self._files.configuration.rules), new_rules=len(altered.rules))
        self._view.on_line("the files were read again, and are in force")
        self._view.on_configuration(self._files.configuration)
        return altered

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        ends = (signal.SIGTERM, signal.SIGINT)
        for number in ends:
            self._loop.add_signal_handler(number, self._on_end_signal, number)
        self._loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        try:
            yield
        finally:
            for number in (*ends, signal.SIGHUP):
                self._loop.remove_signal_handler(number)

    def _on_end_signal(self, number: signal.Signals) -> None:
        if self._signal is not None:
            if self._run is not None:
                self._run.ending.hurry()
            os._exit(128 + number)
        self._signal = number
        if self._run is not None:
            self._run.ending.interrupt(number.name)
        self._woken.set()

    def _on_hangup(self) -> None:
        self._reload_wanted = True
        self._woken.set()

    def _enter(self, state: State) -> None:
        self.status.state = state
        self._service.say(self.status.sentence(time.time()))

    async def _beat(self) -> None:
        every_s = self._service.beat_every_s
        beat_at = 0.0
        while True:
            self.status.turned_at = time.monotonic()
            if every_s and self.status.turned_at >= beat_at:
                self._service.beat()
                beat_at = self.status.turned_at + every_s
            await asyncio.sleep(min(every_s or NOTE_TURN_S, NOTE_TURN_S))

    def _counts(self) -> Mapping[str, tuple[str, Mapping[str, int]]]:
        counts = {
            "rounds": ("cause", self._rounds),
            "webhooks": ("result", {"posted": self._poster.posted, "lost": self._poster.lost}),
        }
        if self._server is not None:
            counts["notifications"] = ("result", self._server.notifications)
        return counts


def _reason(error: Exception) -> str:
    problems: Iterable[object] = error.problems if isinstance(error, ConfigurationError) else ()
    text = "\n".join(map(str, problems)) or str(error)
    return redact(text)[:_MOST_REASON_CHARS]
