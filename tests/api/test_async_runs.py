"""Runs beside the event loop of a program, asyncio's and uvloop's: events, cancelling, several at a time."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

import image_syncer
from image_syncer import async_runs
from image_syncer.coordinator import run
from process.conftest import MIB
from support.outages import Outage
from support.processes import children_of, wait_until
from support.sync_process import SOURCE_ROOTS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from api.conftest import World

    Runner = Callable[[Coroutine[Any, Any, Any]], Any]

QUICKLY_S = 20.0
"""On a machine that is full; where nothing ends a run, it takes a minute at least."""
PATIENT_S = 60.0


@pytest.fixture(params=[asyncio.run, pytest.param(uvloop.run, marks=pytest.mark.slow)], ids=["asyncio", "uvloop"])
def in_loop(request: pytest.FixtureRequest) -> Runner:
    return request.param


@pytest.fixture(autouse=True)
def _nothing_stays_behind() -> Iterator[None]:
    before = set(children_of(os.getpid()))
    yield
    wait_until(lambda: not set(children_of(os.getpid())) - before, "every worker has ended")
    wait_until(lambda: not [one for one in threading.enumerate() if one.name == "image-syncer"], "no thread is left")


@pytest.fixture
def slow(world: World) -> World:
    """Images that would take minutes."""
    world.add_images(2, layer_bytes=1000)
    world.add_images(4, layer_bytes=8 * MIB)
    world.slow_down(MIB / 16)
    return world


def report_of(world: World) -> dict[str, Any]:
    return json.loads((world.directory / "report.json").read_text())


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENT_S
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def bytes_move(world: World) -> bool:
    return world.source.counters.bytes_out > 2000


@pytest.mark.parametrize("in_loop", [asyncio.run, uvloop.run])
def test_the_events_are_what_the_report_says(world: World, in_loop: Runner) -> None:
    world.add_images(5, layers=2, layer_bytes=1000)

    async def main() -> tuple[list[image_syncer.Event], image_syncer.Report]:
        async with image_syncer.sync_async(world.configuration, world.settings()) as run:
            return [event async for event in run], await run.report()

    events, report = in_loop(main())
    world.assert_copied()
    assert events[-1] == image_syncer.RunEnded(report)
    results = [event.result for event in events if isinstance(event, image_syncer.ImageEnded)]
    written = report_of(world)
    assert [result.as_data()["source"] for result in results] == [image["source"] for image in written["images"]]
    records = [event.record.as_data() for event in events if isinstance(event, image_syncer.TransferEnded)]
    assert records == written["transfers"]
    assert len(records) == 15
    snapshots = [event.snapshot for event in events if isinstance(event, image_syncer.ProgressMade)]
    assert snapshots[-1].images_done == 5


def test_the_report_can_be_all_that_is_wanted(world: World) -> None:
    world.add_images(1, layer_bytes=1000)

    async def main() -> list[image_syncer.Report]:
        planned = await image_syncer.plan_async(world.configuration, world.settings())
        copied = await image_syncer.sync_async(world.configuration, world.settings())
        equal = await image_syncer.verify_async(world.configuration, world.settings(), deep=True)
        pruned = await image_syncer.prune_async(world.configuration, world.settings())
        return [planned, copied, equal, pruned]

    reports = asyncio.run(main())
    assert [str(*report.totals.outcomes) for report in reports] == ["would be copied", "copied", "equal", "selected"]
    assert [report.exit_code for report in reports] == [0] * 4


def test_runs_go_on_at_the_same_time(world: World) -> None:
    world.add_images(6, layer_bytes=1000)
    rules = world.configuration.rules

    async def main() -> list[image_syncer.Report]:
        parts = [image_syncer.Configuration(rules[first::3], world.configuration.registries) for first in range(3)]
        settings = image_syncer.Settings(workers=1)
        return await asyncio.gather(*(image_syncer.sync_async(part, settings).report() for part in parts))

    assert [report.totals.images for report in asyncio.run(main())] == [2, 2, 2]
    world.assert_copied()


def test_who_is_slow_loses_nothing_but_progress_and_holds_nobody_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_runs, "CHUNK", 4)
    world.add_images(30, layer_bytes=1000)

    async def main() -> Counter[str]:
        counts: Counter[str] = Counter()
        async with image_syncer.sync_async(world.configuration, world.settings(progress_interval_s=0.02)) as run:
            async for event in run:
                if not counts:
                    # The loop stands still, and the run does not.
                    wait_until((world.directory / "report.json").exists, "the run is over")
                counts[type(event).__name__] += 1
        return counts

    counts = asyncio.run(main())
    assert counts["ProgressMade"] <= 2
    assert (counts["ImageEnded"], counts["TransferEnded"], counts["RunEnded"]) == (30, 60, 1)


def test_a_task_that_is_cancelled_ends_its_run_gently(slow: World, in_loop: Runner) -> None:
    async def watch() -> None:
        async with image_syncer.sync_async(slow.configuration, slow.settings()) as run:
            async for _event in run:
                pass

    async def main() -> None:
        task = asyncio.create_task(watch())
        await until(lambda: bytes_move(slow))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # All is over by now: the report is written, and nobody works any more.
        assert report_of(slow)["interrupted"] == "cancelled"

    began = time.monotonic()
    in_loop(main())
    assert time.monotonic() - began < QUICKLY_S
    written = report_of(slow)
    assert len(written["images"]) == 6
    assert {image["outcome"] for image in written["images"]} <= {"copied", "not tried"}
    assert written["exit_code"] == 1
    slow.assert_consistent()


def test_a_task_that_is_cancelled_before_the_run_has_begun_leaves_a_report(slow: World) -> None:
    async def main() -> None:
        task = asyncio.create_task(image_syncer.sync_async(slow.configuration, slow.settings()).report())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()

    asyncio.run(main())
    assert Counter(image["outcome"] for image in report_of(slow)["images"]) == {"not tried": 6}


def test_cancelled_twice_it_does_not_wait(slow: World, in_loop: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "STOP_GRACE_S", PATIENT_S)
    before = set(children_of(os.getpid()))

    async def main() -> None:
        task = asyncio.create_task(image_syncer.sync_async(slow.configuration, slow.settings()).report())
        await until(lambda: bytes_move(slow))
        workers = [one for one in children_of(os.getpid()) if one not in before]
        for worker in workers:
            os.kill(worker.pid, signal.SIGSTOP)  # they do not hear that they are to stop
        task.cancel()
        await asyncio.wait({task}, timeout=0.5)
        assert not task.done()
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        await until(lambda: not any(worker.is_alive for worker in workers))

    began = time.monotonic()
    in_loop(main())
    assert time.monotonic() - began < QUICKLY_S
    wait_until((slow.directory / "report.json").exists, "the report is written")


@pytest.mark.parametrize("how", ["block", "loop", "time-out", "error"])
def test_whoever_leaves_ends_the_run(slow: World, how: str) -> None:
    async def main() -> None:
        run = image_syncer.sync_async(slow.configuration, slow.settings())
        if how == "block":
            async with run:
                await until(lambda: bytes_move(slow))
        elif how == "time-out":
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(run.report(), 0.5)
        elif how == "error":
            with pytest.raises(ZeroDivisionError):
                async with run:
                    raise ZeroDivisionError
        else:
            async for event in run:
                if isinstance(event, image_syncer.ImageEnded):
                    break
            del run  # nobody can ask for more
            gc.collect()
            await until((slow.directory / "report.json").exists)

    asyncio.run(main())
    assert report_of(slow)["interrupted"] == "cancelled"


def test_an_interrupted_run_tells_its_end(slow: World) -> None:
    async def main() -> list[image_syncer.Event]:
        async with image_syncer.sync_async(slow.configuration, slow.settings()) as run:
            events = []
            async for event in run:
                events.append(event)
                run.interrupt()
            return events

    events = asyncio.run(main())
    assert isinstance(events[-1], image_syncer.RunEnded)
    assert events[-1].report.interrupted == "cancelled"
    assert sum(isinstance(event, image_syncer.ImageEnded) for event in events) == 6


def test_signals_are_taken_where_that_is_asked_for_only(slow: World) -> None:
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]

    async def main(*, take: bool) -> str | None:
        async with image_syncer.sync_async(slow.configuration, slow.settings(), take_signals=take) as run:
            await until(lambda: bytes_move(slow))
            if take:
                os.kill(os.getpid(), signal.SIGTERM)
            else:
                assert [signal.getsignal(number) for number in numbers] == before
                run.interrupt()
            return (await run.report()).interrupted

    assert asyncio.run(main(take=False)) == "cancelled"
    assert asyncio.run(main(take=True)) == "SIGTERM"
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_run_that_cannot_begin_says_so_to_whoever_waits(world: World) -> None:
    world.add_images(1, layer_bytes=1000)
    settings = world.settings(report_path=str(world.directory / "none" / "report.json"))

    async def look(how: str) -> None:
        run = image_syncer.sync_async(world.configuration, settings)
        if how == "await":
            await run
        elif how == "events":
            async for _event in run:
                pytest.fail("there is nothing to tell")
        else:
            async with run:
                pass

    async def main() -> None:
        for how in ("await", "events", "block"):
            with pytest.raises(image_syncer.ConfigurationError, match="report cannot be written"):
                await look(how)

    asyncio.run(main())


def test_events_go_to_one_task(slow: World) -> None:
    async def main() -> None:
        async with image_syncer.sync_async(slow.configuration, slow.settings(progress_interval_s=60.0)) as run:
            tasks = [asyncio.create_task(collect(run)) for _ in range(2)]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            with pytest.raises(RuntimeError, match="another task waits"):
                done.pop().result()
            run.interrupt()
            await asyncio.wait(tasks)

    async def collect(run: image_syncer.AsyncRun) -> None:
        async for _event in run:
            pass

    asyncio.run(main())


def test_the_synchronous_form_refuses_a_loop_that_runs(world: World) -> None:
    async def main() -> None:
        image_syncer.sync(world.configuration, image_syncer.Settings())

    with pytest.raises(RuntimeError, match="sync_async"):
        asyncio.run(main())


def test_the_synchronous_form_leaves_the_thread_as_it_was(world: World) -> None:
    world.add_images(1, layer_bytes=1000)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    descriptor = os.open(os.devnull, os.O_RDWR | os.O_NONBLOCK)
    before = signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
    try:
        assert image_syncer.sync(world.configuration, world.settings()).exit_code == 0
        assert signal.set_wakeup_fd(before) == descriptor
        assert asyncio.get_event_loop_policy().get_event_loop() is loop
    finally:
        signal.set_wakeup_fd(before)
        os.close(descriptor)
        asyncio.set_event_loop(None)
        loop.close()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == handlers


def test_the_synchronous_form_tells_the_same_events(world: World) -> None:
    world.add_images(2, layer_bytes=1000)
    events: list[image_syncer.Event] = []
    images: list[image_syncer.ImageResult] = []
    report = image_syncer.sync(world.configuration, world.settings(), on_image=images.append, on_event=events.append)
    assert [event.result for event in events if isinstance(event, image_syncer.ImageEnded)] == images
    assert events[-1] == image_syncer.RunEnded(report)


@pytest.mark.slow
def test_registries_that_go_away_and_come_back_are_told(world: World) -> None:
    outage = Outage()
    try:
        world.add_images(20, layer_bytes=1000)
        address = outage.registry.address
        rules = [
            image_syncer.rule_from_arguments(
                f"{world.source.address}/{image.repository}:v1", f"{address}/{image.repository}"
            )
            for image in world.images
        ]
        entries = (*world.configuration.registries.entries, image_syncer.RegistryEntry(address, insecure=True))
        configuration = image_syncer.Configuration(tuple(rules), image_syncer.RegistryBook(entries))
        began: list[bool] = []

        def on_event(event: image_syncer.Event) -> None:
            events.append(event)
            if isinstance(event, image_syncer.ImageEnded) and not began:
                began.append(True)
                outage.begin_for(1.5)

        events: list[image_syncer.Event] = []
        report = image_syncer.sync(configuration, world.settings(workers=1), on_event=on_event)
    finally:
        outage.close()
    assert report.exit_code == 0
    told = [event for event in events if isinstance(event, image_syncer.RegistryDown | image_syncer.RegistryBack)]
    assert [(type(event), event.registry) for event in told] == [
        (image_syncer.RegistryDown, address),
        (image_syncer.RegistryBack, address),
    ]
    assert told[0].since is not None
    assert tuple(event.text for event in events if isinstance(event, image_syncer.Warned)) == report.warnings != ()


def test_a_listener_that_fails_ends_the_run_with_a_report(slow: World) -> None:
    def on_event(event: image_syncer.Event) -> None:
        if isinstance(event, image_syncer.TransferEnded):
            raise ZeroDivisionError("seventeen")

    report = image_syncer.sync(slow.configuration, slow.settings(), on_event=on_event)
    assert report.internal_error == "ZeroDivisionError: seventeen"
    assert report.exit_code == 70
    assert report.totals.images == 6


ABANDONED = """
import asyncio, sys
from image_syncer import Configuration, RegistryBook, RegistryEntry
from image_syncer import Settings, TransferEnded, rule_from_arguments, sync_async
source, destination, report = sys.argv[1:]
rule = rule_from_arguments(source + "/team/app5:v1", destination + "/team/app5")
entries = [RegistryEntry(address, insecure=True) for address in (source, destination)]
run = None
async def main():
    global run
    run = sync_async(Configuration((rule,), RegistryBook(entries)), Settings(workers=1, report_path=report))
    async for event in run:
        if isinstance(event, TransferEnded):
            return
asyncio.run(main())
"""


def test_a_program_that_ends_takes_its_run_with_it(slow: World) -> None:
    report = slow.directory / "report.json"
    words = (slow.source.address, slow.destination.address, str(report))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(SOURCE_ROOTS)}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", ABANDONED, *words],
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENT_S,
        check=False,
    )
    assert time.monotonic() - began < QUICKLY_S
    assert (done.stderr, done.returncode) == ("", 0)
    assert report_of(slow)["interrupted"] in ("abandoned", "cancelled")


@pytest.mark.parametrize(
    "from_thread", [pytest.param(False, marks=pytest.mark.slow), True], ids=["the loop", "a thread"]
)
def test_a_run_is_controlled_from_the_loop_and_from_a_thread(world: World, from_thread: bool) -> None:
    """The run has a loop of its own: what is asked is done there, and its answer comes back."""
    world.add_images(20, layers=2, layer_bytes=MIB // 4)
    world.slow_down(MIB // 8)
    control = image_syncer.RunControl()

    async def do(act: Callable[[], Any]) -> Any:
        return await asyncio.to_thread(act) if from_thread else act()

    async def main() -> image_syncer.Report:
        async with image_syncer.sync_async(world.configuration, world.settings(streams=4), control=control) as run:
            await until(lambda: bytes_move(world))
            await do(control.pause)
            assert control.is_paused
            assert (await do(lambda: control.change_streams(1000))) == 4
            await do(lambda: control.change_rate(image_syncer.RateSchedule.parse("50MB/s")))
            snapshot = await do(control.snapshot)
            assert (snapshot.held, snapshot.rate_limit) == ("paused", 50e6)
            with pytest.raises(ValueError, match="one blob at least"):
                await do(lambda: control.change_streams(0))
            assert await do(control.errors) == []
            world.speed_up()
            await do(control.resume)
            await do(control.drain)
            assert control.is_draining
            return await run.report()

    report = asyncio.run(main())
    assert report.totals.images == 20
    assert set(map(str, report.totals.outcomes)) <= {"copied", "not tried"}
    assert control.snapshot() is None
    assert not control.is_draining
    control.pause()  # for the next one
    assert control.is_paused
