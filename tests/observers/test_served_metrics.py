"""Metrics of a run: what registries count themselves is what Prometheus reads, while it goes and when it has ended."""

from __future__ import annotations

import gc
import io
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from image_syncer.embedded import Behaviour, RateLimit
from image_syncer.errors import ConfigurationError
from image_syncer.telemetry import configure_logging, http_server
from image_syncer.telemetry.http_server import Listen
from image_syncer.telemetry.looking_on import look_on
from image_syncer.telemetry.metrics import LEAST_RENDER_S, RunMetrics
from image_syncer.telemetry.observing import OBSERVERS, Observed, Observer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from prometheus_client import Metric

    from support.sync_runs import SyncLab

ANYWHERE = Listen("127.0.0.1", 0)
Samples = dict[str, dict[frozenset[tuple[str, str]], float]]


def scrape(address: str | None) -> Samples:
    assert address is not None
    with urllib.request.urlopen(address, timeout=30) as answer:
        return samples_of(answer.read().decode())


def samples_of(text: str) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series = found.setdefault(sample.name.removeprefix("image_syncer_"), {})
            series[frozenset(sample.labels.items())] = sample.value
    return found


def value(samples: Samples, name: str, **labels: str) -> float:
    """The sum of the series that have these labels."""
    return sum(number for key, number in samples.get(name, {}).items() if key >= set(labels.items()))


def test_requests_and_bytes_are_those_that_the_registries_count(lab: SyncLab) -> None:
    image = lab.image(layers=3)
    size = sum(blob.size for blob in image.all_blobs())
    with look_on(metrics=ANYWHERE) as address:
        done = lab.run()
        found = scrape(address)
    for registry in (lab.source, lab.destination):
        counted = done.at(registry)
        here = {"registry": registry.address}
        kinds = {kind: count for kind, count in counted.requests.items() if count}
        assert len(kinds) > 2
        for kind, count in kinds.items():
            assert value(found, "requests_total", operation=kind.replace(" ", "_"), **here) == count, kind
        assert value(found, "requests_total", **here) == counted.total_requests
        answered = counted.total_requests - value(found, "requests_total", status="broken", **here)
        assert value(found, "request_duration_seconds_count", **here) == answered
        assert value(found, "request_duration_seconds_bucket", le="+Inf", **here) == answered
    for side, registry in (("source", lab.source), ("destination", lab.destination)):
        assert value(found, "moved_bytes_total", side=side, registry=registry.address) == size
    assert value(found, "transfers_total", outcome="moved") == 4
    assert value(found, "images_total", outcome="copied") == 1
    assert value(found, "runs_total", result="success") == 1
    assert value(found, "cpu_seconds_total", process="coordinator") > 0
    assert value(found, "cpu_seconds_total", process="workers") > 0
    assert value(found, "resident_memory_bytes", process="coordinator") > 2**20


def test_a_second_run_is_added(lab: SyncLab) -> None:
    lab.image()
    with look_on(metrics=ANYWHERE) as address:
        lab.run()
        first = scrape(address)
        done = lab.run()
        second = scrape(address)
    here = {"registry": lab.source.address}
    assert value(second, "requests_total", **here) - value(first, "requests_total", **here) == (
        done.at(lab.source).total_requests
    )
    assert value(second, "images_total", outcome="unchanged") == 1
    assert value(second, "moved_bytes_total") == value(first, "moved_bytes_total") > 0


def test_it_is_seen_while_it_goes(lab: SyncLab) -> None:
    lab.image()
    seen: list[Samples] = []
    with look_on(metrics=ANYWHERE) as address:
        lab.source.behaviour = Behaviour(latency_s=0.1)
        # Scraped from the loop of the run, which stands meanwhile: a server on it could not answer.
        lab.run(progress_interval_s=0.02, on_progress=lambda _snapshot: seen.append(scrape(address)))
    assert {value(found, "run_in_progress") for found in seen} == {1}
    working = [found for found in seen if value(found, "workers") == 1]
    assert max(value(found, "resident_memory_bytes", process="workers") for found in working) > 2**20
    assert max(value(found, "transfers_in_progress") for found in working) >= 1
    requests = [value(found, "requests_total") for found in seen]
    assert requests == sorted(requests)
    assert requests[-1] > 0


def test_refusals_and_retries(lab: SyncLab) -> None:
    lab.source.behaviour = Behaviour(rate_limits=(RateLimit(burst=2, times=2),))
    lab.image()
    with look_on(metrics=ANYWHERE) as address:
        done = lab.run()
        found = scrape(address)
    refused = sum(count for kind, count in done.at(lab.source).statuses.items() if kind.endswith("429"))
    assert refused > 0
    assert value(found, "requests_total", registry=lab.source.address, status="429") == refused


def test_a_verification_is_seen_too(lab: SyncLab) -> None:
    image = lab.image()
    lab.run()
    with look_on(metrics=ANYWHERE) as address:
        lab.verify(deep=True)
        found = scrape(address)
    assert value(found, "verified_bytes_total") == sum(blob.size for blob in image.all_blobs())
    assert value(found, "requests_total", operation="get_blob", registry=lab.destination.address) > 0


def test_a_port_that_is_taken_is_said_before_anything_is_done() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = f"cannot listen at 127.0.0.1:{port}"
        with pytest.raises(ConfigurationError, match=words) as told, look_on(metrics=Listen("127.0.0.1", port)):
            pytest.fail("it was begun")
    assert told.value.exit_code == 2
    assert "--metrics" in str(told.value.hint)
    assert OBSERVERS.get() == ()


def test_nothing_stays_when_it_is_over() -> None:
    with look_on(metrics=ANYWHERE) as address:
        assert address is not None
        for path, status in (("/notify", 404), ("/healthz", 404)):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(address.replace("/metrics", path), timeout=30)
            assert refused.value.code == status
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address, timeout=5)
    assert [thread.name for thread in threading.enumerate() if thread.name == "metrics server"] == []


def test_an_observer_that_fails_is_told_nothing_more_and_others_are() -> None:
    told: list[str] = []

    class Broken(Observer):
        def on_begin(self, kind: str, began_at: float) -> None:
            told.append("broken")
            raise ValueError(kind)

    class Sound(Observer):
        def on_begin(self, kind: str, began_at: float) -> None:
            told.append("sound")

    token = OBSERVERS.set((Broken(), Sound()))
    observed = Observed()
    OBSERVERS.reset(token)
    for _ in range(2):
        observed.tell(lambda one: one.on_begin("sync", 1.0))
    assert told == ["broken", "sound", "sound"]
    assert not Observed()


def test_strangers_neither_fill_the_log_nor_keep_it_from_ending() -> None:
    """What is no HTTP, what is too long, and who says nothing at all."""
    log = io.StringIO()
    configure_logging(log_format="json", level="debug", stream=log)
    told = (
        b"\x00\xff\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"PUT /metrics HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: a\r\n",
        b"",
    )
    with ExitStack() as stack:
        with look_on(metrics=ANYWHERE) as address:
            assert address is not None
            place = urllib.parse.urlsplit(address)
            for text in told:
                stranger = stack.enter_context(socket.create_connection((place.hostname, place.port)))
                stranger.sendall(text)
            assert value(scrape(address), "runs_total") == 0
            began = time.monotonic()
        assert time.monotonic() - began < http_server.END_S
    gc.collect()  # asyncio tells of tasks that nobody ended when they go
    assert [line for line in log.getvalue().splitlines() if "metrics are served" not in line] == []


def test_those_who_ask_again_and_again_get_what_was_rendered_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rendering takes time away from the run, however many ask."""
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    metrics, asked = RunMetrics("1"), [0]

    class Counted:
        def collect(self) -> Iterator[Metric]:
            asked[0] += 1
            return iter(())

    metrics.registry.register(Counted())
    asked[0] = 0
    assert len({metrics.render()[0] for _ in range(100)}) == 1
    assert asked[0] == 1
    run = metrics.of_run()
    run.on_begin("sync", 0.0)
    assert b"image_syncer_run_in_progress 1.0" in metrics.render()[0]
    assert asked[0] == 2
    clock[0] += LEAST_RENDER_S
    metrics.render()
    assert asked[0] == 3


def test_the_file_has_what_a_run_came_to(lab: SyncLab, tmp_path: Path) -> None:
    """It is there when the run has ended, and not before; where it cannot be written, that is known at first."""
    image = lab.image()
    file = tmp_path / "image-syncer.prom"
    seen: list[bool] = []
    with look_on(metrics_file=str(file)) as address:
        lab.run(on_image=lambda _image: seen.append(file.exists()))
    assert (address, seen) == (None, [False])
    found = samples_of(file.read_text())
    assert value(found, "copied_bytes_total") == sum(blob.size for blob in image.all_blobs())
    assert value(found, "runs_total", result="success") == 1
    with pytest.raises(ConfigurationError, match="cannot be written"), look_on(metrics_file=str(tmp_path / "no" / "x")):
        pytest.fail("it was begun")
    assert OBSERVERS.get() == ()
