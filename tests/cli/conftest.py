"""The command in this process, over an engine that is made up; and in one of its own, between embedded registries."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

import image_syncer
from image_syncer.config import Configuration, Settings
from image_syncer.embedded import serve_in_thread
from image_syncer.telemetry import ImageResult, Report, Snapshot, Totals, logs
from image_syncer_cli.main import main
from support.bad_input import Bench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from image_syncer import RunControl


@dataclass
class FakeEngine:
    """Stands in for `image_syncer.sync`: notes how it was called, and tells the results it was given."""

    results: list[ImageResult] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    interrupted: str | None = None
    unwritten: str | None = None
    internal_error: str | None = None
    warnings: tuple[str, ...] = ()
    error: BaseException | None = None
    configuration: Configuration | None = None
    settings: Settings | None = None
    control: RunControl | None = None
    deep: bool | None = None

    def verify(self, configuration: Configuration, settings: Settings, *, deep: bool, **callbacks: Any) -> Report:
        self.deep = deep
        return replace(self.sync(configuration, settings, **callbacks), kind="verify")

    def sync(
        self,
        configuration: Configuration,
        settings: Settings,
        *,
        on_progress: Callable[[Snapshot], None] | None = None,
        on_image: Callable[[ImageResult], None] | None = None,
        control: RunControl | None = None,
    ) -> Report:
        self.configuration, self.settings, self.control = configuration, settings, control
        if self.error is not None:
            raise self.error
        totals = Totals(requests={"head manifest": 2})
        for snapshot in self.snapshots:
            if on_progress:
                on_progress(snapshot)
        for result in self.results:
            totals.add(result)
            if on_image:
                on_image(result)
        failures = tuple(result for result in self.results if result.outcome.is_failure)
        return Report(
            settings={},
            totals=totals,
            started_at="2026-01-01T00:00:00Z",
            seconds=2.0,
            failures=failures[:50],
            interrupted=self.interrupted,
            warnings=self.warnings,
            unwritten=self.unwritten,
            internal_error=self.internal_error,
        )


@dataclass
class Ran:
    code: int
    out: str
    err: str


class Command:
    """Runs `image-syncer WORDS…` and returns what came out."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: Any) -> Ran:
        code = main([str(word) for word in words])
        captured = self._capsys.readouterr()
        return Ran(code, captured.out, captured.err)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    yield Command(capsys)
    for sink in logs._sinks:
        sink.close()
    logs._sinks.clear()


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    fake = FakeEngine()
    monkeypatch.setitem(image_syncer.__dict__, "sync", fake.sync)
    monkeypatch.setitem(image_syncer.__dict__, "plan", fake.sync)
    monkeypatch.setitem(image_syncer.__dict__, "verify", fake.verify)
    return fake


@dataclass
class Files:
    auth: Path
    images: Path

    @property
    def words(self) -> tuple[str, ...]:
        return ("--auth", str(self.auth), "--images", str(self.images))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    auth, images = tmp_path / "auth.yaml", tmp_path / "images.yaml"
    auth.write_text("registry.example:\n  username: me\n  password: hunter2hunter2\n")
    images.write_text("nginx:1.27: registry.example/mirror/nginx\n")
    return Files(auth, images)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with serve_in_thread() as source, serve_in_thread() as destination:
        yield Bench(tmp_path, source, destination)
