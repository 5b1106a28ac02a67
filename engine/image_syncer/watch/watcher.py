"""The life of a watch: a round, a wait, a round, until a signal ends it.

    starting ──► waiting ──► running ──► waiting ──► … ──► ending

A round is a run of the coordinator on the same loop, one at a time: what is due during a round waits for its end.
The schedule begins a round over all repositories that do not rest, a notification one over the repositories that it
names, and changed files (SIGHUP) one over the rules that are new in them. Files with mistakes leave the former ones in
force.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import signal
import socket
import time
import zlib
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING

import orjson
from msgspec import Struct

from image_syncer.control.run_control import Rounds, RunControl
from image_syncer.coordinator.listeners import Listeners
from image_syncer.coordinator.run import Run, run_in_loop
from image_syncer.errors import ConfigurationError, SyncError, redact
from image_syncer.layout import open_places
from image_syncer.runs import SyncParts
from image_syncer.telemetry import Outcome, get_logger
from image_syncer.telemetry.http_server import ServerThread
from image_syncer.telemetry.metrics import RunMetrics, metrics_are_there
from image_syncer.telemetry.observing import OBSERVERS
from image_syncer.watch.orders import Cause, Pushes, WatchOrder, round_settings
from image_syncer.watch.parts import RuleIndex, altered_part, awake_part, is_empty, repository_of
from image_syncer.watch.server import State, WatchServer, WatchStatus
from image_syncer.watch.webhooks import NotifyWhen, WebhookPoster, is_wanted, summary_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client import Metric

    from image_syncer.config import Configuration, Settings
    from image_syncer.telemetry import ImageResult, Report
    from image_syncer.watch.orders import WatchSettings, WatchView
    from image_syncer.watch.server import PushedRepository
    from image_syncer.watch.webhooks import Webhook


_MANAGER_WAIT_S = 0.25
"""How long a run waits for a service manager that does not read."""
_MAX_STATUS_CHARACTERS = 200
_TURN_S = 5.0
"""How long a notification waits for a turn of the loop of the runs."""
QUIET_ROUNDS = 3
"""After so many rounds without a change, a repository is left out of rounds."""
LONGEST_WAIT_S = 30.0
"""How long the loop sleeps at most: clocks are set, and machines are suspended."""
_NOTE_TURN_S = 1.0
"""How often it is noted that the loop turns."""
_MAX_INTERNAL_ERRORS = 3
"""Runs in a row with an internal error after which the process ends: a new one may do better."""
_EXIT_INTERNAL = 70
_MAX_REASON_CHARACTERS = 2000
_WEBHOOKS_AFTER_RUN_S = 45.0
"""Time for all attempts at a webhook that does not answer, with the pauses."""

_log = get_logger(__name__)


class ServiceManager:
    """systemd's notification protocol (sd_notify(3)). Does nothing where NOTIFY_SOCKET is not set."""

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # "@" is an abstract socket, whose name begins with a zero byte: unix(7).
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.beat_every_s = _watchdog_s(environ, pid) / 2 if self._address else 0.0
        """Seconds between two `WATCHDOG=1`; 0: none are expected."""

    def tell(self, *lines: str) -> None:
        """Send lines such as `READY=1`; errors are ignored."""
        if not self._address:
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager,
        ):
            manager.settimeout(_MANAGER_WAIT_S)
            manager.connect(self._address)
            manager.sendall("\n".join(lines).encode())

    def say(self, text: str) -> None:
        """Set the text that `systemctl status` shows."""
        self.tell(f"STATUS={text[:_MAX_STATUS_CHARACTERS]}".replace("\n", " "))


def _watchdog_s(environ: Mapping[str, str], pid: int) -> float:
    """Return the watchdog time-out of this process; see sd_watchdog_enabled(3)."""
    text, of = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    return int(text) / 1e6 if text.isascii() and text.isdigit() and of in ("", str(pid)) else 0.0


class FilesInForce:
    """The files that were last read without mistakes. Raises what `load` raises."""

    def __init__(self, load: Callable[[], Configuration]) -> None:
        self._load = load
        self.configuration = load()
        self.index = RuleIndex(self.configuration)

    def read_again(self) -> Configuration:
        """Read them again and return what is new, see `altered_part`. If that fails, the former ones stay in force."""
        old, new = self.configuration, self._load()
        self.configuration, self.index = new, RuleIndex(new)
        return altered_part(old, new)


class WatchCollector:
    """The metrics of a watch, for `registry.register` of prometheus-client. `counts` returns the counters by name,
    label and value.
    """

    def __init__(self, status: WatchStatus, counts: Callable[[], Mapping[str, tuple[str, Mapping[str, int]]]]) -> None:
        self._status = status
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; called for each scrape."""
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
            "Repositories that the last round by the schedule skipped, since nothing changes there.",
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
    "rounds": "Rounds that have begun, by what made them begin; idle: all repositories were skipped.",
    "notifications": "Notifications of registries, by result.",
    "webhooks": "Summaries of runs for webhooks, by result.",
}


class _Quiet(Struct):
    rounds: int
    """In how many rounds nothing had changed."""
    next_round: int


class Activity:
    """Decides which repositories are left out of a round, by their names. Pure.

    A repository in which nothing changed in `QUIET_ROUNDS` rounds is looked at in every second round, then in every
    fourth, and so on, but at least in every `rest`-th (1: in every round). A change, a failure or a notification resets
    it. Repositories that became quiet together are spread over the rounds by a hash of their names.
    """

    def __init__(self, rest: int) -> None:
        self.rest = rest
        self._round = 0
        self._quiet: dict[str, _Quiet] = {}

    def begin_round(self) -> frozenset[str]:
        """Begin a round, and return the repositories that are left out of it."""
        self._round += 1
        # What was due long ago and not looked at no longer exists.
        gone = [name for name, quiet in self._quiet.items() if quiet.next_round + self.rest < self._round]
        for name in gone:
            del self._quiet[name]
        return frozenset(name for name, quiet in self._quiet.items() if quiet.next_round > self._round)

    def note(self, name: str, *, changed: bool) -> None:
        """Note that `name` was looked at in this round; a failure counts as a change."""
        if changed or self.rest <= 1:
            self._quiet.pop(name, None)
            return
        quiet = self._quiet.setdefault(name, _Quiet(0, self._round))
        quiet.rounds += 1
        quiet.next_round = self._round + self._pause(name, quiet.rounds)

    def wake(self, names: Iterable[str]) -> None:
        """Look at these repositories in every round again."""
        for name in names:
            self._quiet.pop(name, None)

    def forget(self) -> None:
        """Look at all repositories in the next round."""
        self._quiet.clear()

    def __len__(self) -> int:
        return len(self._quiet)

    def _pause(self, name: str, rounds: int) -> int:
        doublings = min(rounds - QUIET_ROUNDS + 1, 32)
        pause = min(1 << max(doublings, 0), self.rest)
        return pause - zlib.crc32(f"{rounds} {name}".encode()) % max(pause // 2, 1)


class Watcher:
    """One watch. `load` reads the files, and raises ConfigurationError where they have mistakes. Must be made inside a
    loop.
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
        self._server: WatchServer | None = None
        if watch.listen is not None:
            self._server = WatchServer(watch.listen, self.status, self._take_from_server, metrics, watch.events_token)
        self._serving = ServerThread(self._server, "watch server") if self._server is not None else None
        self._start = watch.schedule.first(self._clock())
        self._rounds = {**{cause.value: 0 for cause in Cause}, "idle": 0}
        self._woken = asyncio.Event()
        self._control = control or RunControl()
        # With all details: the control socket belongs to the user.
        self._control.rounds = self._lasting = Rounds(partial(self.status.as_data, details=True), self._woken.set)
        self._reload_wanted = False
        self._signal: signal.Signals | None = None
        self._run: Run | None = None
        self._exit_code = 0
        self._last_exit_code: int | None = None
        self._internal_errors = 0
        if metrics is not None:
            metrics.registry.register(WatchCollector(self.status, self._counts))
            OBSERVERS.set((*OBSERVERS.get(), metrics))

    async def run(self) -> int:
        """Run until the end, and return the exit code: 0 if a signal or a drain came during a wait, else that of the
        run that it ended, or 70. Raises ConfigurationError where the watch, or its first run, cannot begin.
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

    async def _take_from_server(self, pushed: Sequence[PushedRepository]) -> int:
        """Call `_take` from the loop of the server. Raises TimeoutError if the loop of the runs does not turn."""
        taken = asyncio.run_coroutine_threadsafe(self._take(pushed), self._loop)
        return await asyncio.wait_for(asyncio.wrap_future(taken), _TURN_S)

    async def _take(self, pushed: Sequence[PushedRepository]) -> int:
        """Note these pushes: a round over their rules is due soon. Return how many of them a rule selects."""
        meant = []
        for each in pushed:
            if sources := self._files.index.about(each):
                meant.append(each)
                self._activity.wake(map(str, sources))
        self._pushes.add(meant, self._loop.time())
        self._woken.set()
        return len(meant)

    async def _next(self) -> WatchOrder | None:
        """Wait for the next round; None: the end."""
        while self._signal is None and not self._lasting.is_draining and self._internal_errors < _MAX_INTERNAL_ERRORS:
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
        if self._internal_errors >= _MAX_INTERNAL_ERRORS:
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
        self._pushes.clear()  # this round looks at all that was pushed to
        return WatchOrder(Cause.SCHEDULE, awake_part(self._files.configuration, resting))

    def _plan_next(self) -> None:
        """Plan the next round after one by the schedule."""
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
                self._run = Run(opened, settings, listeners, parts=SyncParts, control=self._control)
                report = await self._run.execute(take_signals=False)
        except SyncError as error:
            self._on_refusal(order, error)
            return
        finally:
            self._run = None
            gc.collect()  # a run leaves cycles behind; between rounds there is time
        self._on_report(order, report)
        if order.cause is Cause.SCHEDULE and report.interrupted is None and report.internal_error is None:
            for name, changed in seen.items():
                self._activity.note(name, changed=changed)

    def _on_report(self, order: WatchOrder, report: Report) -> None:
        self.status.note_report(report, time.time(), cause=order.cause.value)
        self._internal_errors = self._internal_errors + 1 if report.internal_error is not None else 0
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
        """Note that a run could not begin, or not finish its files. Raises the error in the first round only: before
        later ones, the user may mend it.
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
        """Return what is new in the files; None where they cannot be read, or have mistakes."""
        self._service.say("reads its files again")
        try:
            altered = self._files.read_again()
        except (SyncError, OSError) as error:
            reason = _reason(error)
            self.status.configuration_error = reason
            _log.error("the files have mistakes; those read before stay in force", reason=reason)
            self._view.on_trouble(
                f"{reason}\nThe files have errors: the configuration that was read before stays in effect."
            )
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
                self._service.tell("WATCHDOG=1")
                beat_at = self.status.turned_at + every_s
            await asyncio.sleep(min(every_s or _NOTE_TURN_S, _NOTE_TURN_S))

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
    return redact(text)[:_MAX_REASON_CHARACTERS]


def run_watch(
    load: Callable[[], Configuration],
    settings: Settings,
    watch: WatchSettings,
    *,
    view: WatchView,
    version: str,
    control: RunControl | None = None,
) -> int:
    """Keep destinations in sync with their sources until a signal ends it; return the exit code.

    `load` reads the files: now, and on each SIGHUP. Handles SIGTERM, SIGINT and SIGHUP, so it must be called in the
    main thread. `control` pauses, changes and drains it. Raises ConfigurationError where it cannot begin.
    """
    metrics = RunMetrics(version) if metrics_are_there() else None

    async def run() -> int:
        return await Watcher(load, settings, watch, view=view, metrics=metrics, control=control).run()

    return run_in_loop(run())


def tell_webhooks(report: Report, webhooks: Sequence[Webhook], when: NotifyWhen) -> None:
    """Post the summary of a single run, and wait for `_WEBHOOKS_AFTER_RUN_S` at most. The result is in the log."""
    if not is_wanted(when, report, None):
        return

    async def run() -> None:
        poster = WebhookPoster(webhooks)
        poster.post(orjson.dumps(summary_of(report, cause="command", round_number=1)))
        await poster.close(_WEBHOOKS_AFTER_RUN_S)

    run_in_loop(run())
