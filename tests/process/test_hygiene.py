"""`sync()` as a function: the process that calls it is afterwards as it was before."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from image_syncer import ConfigurationError, Settings, load_configuration, sync
from image_syncer.embedded import ContentBuilder, DemoImage, RegistryProcess, audit_registry, push_over_http
from support.processes import children_of, process_of
from support.sync_process import RunFiles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from image_syncer import Configuration, Report


@dataclass
class Caller:
    """Calls `sync` in this process, for three images of a registry that runs in another one."""

    destination: RegistryProcess
    images: list[DemoImage]
    configuration: Configuration

    def __call__(self, **settings: object) -> Report:
        return sync(self.configuration, Settings(workers=2, **settings))  # type: ignore[arg-type]

    def assert_copied(self) -> None:
        assert audit_registry(self.destination.url, self.images).mistakes == []


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caller]:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    builder = ContentBuilder(3)
    images = [DemoImage("team/app", f"v{number}", builder.image(2)) for number in range(3)]
    with RegistryProcess() as source, RegistryProcess() as destination:
        for image in images:
            push_over_http(source.url, image.repository, image.manifest, [image.tag])
        files = RunFiles(tmp_path / "files")
        files.write(source.address, destination.address, images)
        configuration = load_configuration(auth=str(files.auth), images=str(files.images), environ=os.environ)
        yield Caller(destination, images, configuration)


def open_files() -> list[str]:
    """Those of this process, but what is just being read of /proc: threads that other tests have left look there now
    and then.
    """
    gc.collect()
    return [name for name in process_of(os.getpid()).open_files if not name.startswith("/proc/")]


def test_nothing_is_left_open_and_nothing_runs(call: Caller, tmp_path: Path) -> None:
    call(dry_run=True)  # what is opened once for the whole process is open now
    files, others = Counter(open_files()), {*threading.enumerate(), *children_of(os.getpid())}
    assert call(report_path=str(tmp_path / "report.json")).exit_code == 0
    # What other tests have left may end meanwhile; nothing may be there that was not.
    assert Counter(open_files()) - files == Counter()
    assert {*threading.enumerate(), *children_of(os.getpid())} - others == set()
    call.assert_copied()


@pytest.mark.extended
def test_a_process_may_call_it_again_and_again(call: Caller) -> None:
    first, second = call(), call()
    third = call(force=True)
    outcomes = [{outcome.value: count for outcome, count in run.totals.outcomes.items()} for run in (first, second)]
    assert outcomes == [{"copied": 3}, {"unchanged": 3}]
    assert (first.exit_code, second.exit_code, third.exit_code) == (0, 0, 0)
    assert second.totals.requests == {"head manifest": 6}
    assert third.totals.bytes_moved == 0
    call.assert_copied()


@pytest.mark.extended
def test_it_runs_in_a_thread_that_is_not_the_main_one(call: Caller) -> None:
    with ThreadPoolExecutor(1) as pool:
        report = pool.submit(call).result()
    assert report.exit_code == 0
    call.assert_copied()


@pytest.mark.extended
def test_two_runs_at_one_time_do_not_meet(call: Caller) -> None:
    before = set(children_of(os.getpid()))
    with ThreadPoolExecutor(2) as pool:
        reports = [one.result() for one in (pool.submit(call), pool.submit(call))]
    assert [report.exit_code for report in reports] == [0, 0]
    assert set(children_of(os.getpid())) <= before
    call.assert_copied()


@pytest.mark.extended
def test_signal_handlers_are_given_back(call: Caller) -> None:
    def own(_number: int, _frame: object) -> None:
        raise AssertionError("nobody sends a signal")

    before = {number: signal.signal(number, own) for number in (signal.SIGINT, signal.SIGTERM)}
    wakeup = signal.set_wakeup_fd(-1)
    try:
        call()
        assert [signal.getsignal(number) for number in before] == [own, own]
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.extended
def test_a_run_that_cannot_begin_leaves_nothing(call: Caller, tmp_path: Path) -> None:
    call(dry_run=True)
    before = Counter(open_files())
    report = tmp_path / "report.json"
    with pytest.raises(ConfigurationError):
        call(memory_bytes=1, report_path=str(report))
    with pytest.raises(ConfigurationError):
        call(report_path=str(tmp_path / "no" / "such" / "folder" / "report.json"))
    assert Counter(open_files()) - before == Counter()
    assert not report.exists()
