"""Metrics: what runs tell becomes series that Prometheus reads, and never more of them than there are outcomes."""

from __future__ import annotations

import math
import shutil
import subprocess
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from image_syncer.net import RequestTally
from image_syncer.telemetry import ImageResult, Outcome, Report, Snapshot, Totals
from image_syncer.telemetry.metrics import MOST_REGISTRIES, OTHER, RunMetrics
from image_syncer.telemetry.observing import Measures, Observer


def report_of(*results: ImageResult, seconds: float = 3.0, **facts) -> Report:
    totals = Totals()
    for result in results:
        totals.add(result)
    totals.add_requests({"get manifest": 4, "put blob": 2})
    return Report({}, totals, "2026-01-01T00:00:00+00:00", seconds, **facts)


def image(outcome: Outcome, number: int = 0, **facts) -> ImageResult:
    return ImageResult(f"src.example/app{number}:v1", f"dst.example/app{number}:v1", outcome, **facts)


def samples(metrics: RunMetrics) -> dict[tuple[str, str], float]:
    body, content_type = metrics.render()
    assert content_type.startswith("text/plain")
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


@pytest.fixture
def run(metrics) -> Observer:
    return metrics.of_run()


@pytest.fixture
def metrics() -> RunMetrics:
    return RunMetrics("1.2.3", clock=lambda: 1000.0)


def test_what_has_not_happened_is_zero_and_not_unknown(metrics) -> None:
    found = samples(metrics)
    assert found["image_syncer_runs_total", "failure"] == 0
    assert found["image_syncer_images_total", "not_tried"] == 0
    assert found["image_syncer_blobs_total", "mounted"] == 0
    assert found["image_syncer_last_success_timestamp_seconds", ""] == 0
    assert found["image_syncer_build_info", "1.2.3"] == 1


def test_images_and_runs_are_counted(metrics, run) -> None:
    results = [image(Outcome.COPIED, bytes_moved=500, blobs_moved=2, blobs_mounted=1), image(Outcome.NOT_TRIED, 1)]
    tally = RequestTally()
    for seconds in (0.02, 0.02, 3.0):
        tally.note("src.example", "get manifest", "2xx", seconds)
    run.on_begin("sync", 1000.0)
    assert samples(metrics)["image_syncer_run_in_progress", ""] == 1
    for result in results:
        run.on_image(result)
    run.on_measures(Measures(requests=tuple(tally.rows()), breaks={"source": 2, "while idle": 1}))
    run.on_report(report_of(*results))
    found = samples(metrics)
    assert found["image_syncer_run_in_progress", ""] == 0
    assert found["image_syncer_images_total", "copied"] == 1
    assert found["image_syncer_images_total", "not_tried"] == 1
    assert found["image_syncer_copied_bytes_total", ""] == 500
    assert found["image_syncer_blobs_total", "moved"] == 2
    assert found["image_syncer_requests_total", "get_manifest"] == 3
    assert found["image_syncer_transfer_breaks_total", "while_idle"] == 1
    assert found["image_syncer_runs_total", "failure"] == 1
    assert found["image_syncer_run_duration_seconds_count", ""] == 1
    assert found["image_syncer_run_duration_seconds_bucket", "5.0"] == 1
    assert found["image_syncer_run_duration_seconds_bucket", "2.0"] == 0
    assert found["image_syncer_last_run_end_timestamp_seconds", ""] == 1000
    assert found["image_syncer_last_success_timestamp_seconds", ""] == 0


@pytest.mark.parametrize(
    ("facts", "result"),
    [
        ({}, "success"),
        ({"interrupted": "SIGTERM"}, "interrupted"),
        ({"interrupted": "SIGTERM", "internal_error": "x"}, "internal_error"),
        ({"unwritten": "the disk is full"}, "failure"),
    ],
)
def test_how_a_run_ended(metrics, run, facts, result) -> None:
    run.on_report(report_of(image(Outcome.UNCHANGED), **facts))
    found = samples(metrics)
    assert found["image_syncer_runs_total", result] == 1
    assert sum(value for (name, _), value in found.items() if name == "image_syncer_runs_total") == 1


def test_progress_is_what_was_told_last(metrics, run) -> None:
    moving = Snapshot(1.0, images_total=9, images_done=4, bytes_total=100, bytes_done=40, bytes_per_s=7.5)
    run.on_progress(moving)
    assert math.isnan(samples(metrics)["image_syncer_run_time_left_seconds", ""])
    run.on_progress(replace(moving, eta_s=12.0))
    found = samples(metrics)
    assert found["image_syncer_run_time_left_seconds", ""] == 12
    assert found["image_syncer_run_images", "done"] == 4
    assert found["image_syncer_run_bytes", "known"] == 100
    assert found["image_syncer_run_bytes_per_second", ""] == 7.5


def test_a_run_that_could_not_begin_failed(metrics, run) -> None:
    run.on_begin("sync", 1000.0)
    run.on_abandoned()
    metrics.note_refused()
    found = samples(metrics)
    assert found["image_syncer_runs_total", "failure"] == 1
    assert found["image_syncer_run_in_progress", ""] == 0


def test_a_run_that_has_no_report_keeps_what_it_counted(metrics, run) -> None:
    run.on_begin("sync", 1000.0)
    run.on_measures(Measures(moved={("source", "r.example"): 7}))
    run.on_abandoned()
    other = metrics.of_run()
    other.on_begin("sync", 1001.0)
    other.on_measures(Measures(moved={("source", "r.example"): 2}))
    assert samples(metrics)["image_syncer_moved_bytes_total", "r.example"] == 9


def test_runs_at_the_same_time_are_told_apart(metrics, run) -> None:
    """As a program around the engine has them: neither takes away what the other one counted."""
    other = metrics.of_run()
    told = 0.0
    for number in range(1, 4):
        for one, size in ((run, 100), (other, 7)):
            one.on_measures(Measures(moved={("source", "r.example"): number * size}, pids=(1,), in_flight=number))
            one.on_progress(Snapshot(1.0, images_total=number, bytes_per_s=size))
            moved = samples(metrics)["image_syncer_moved_bytes_total", "r.example"]
            assert moved > told
            told = moved
    found = samples(metrics)
    assert found["image_syncer_moved_bytes_total", "r.example"] == 321
    assert found["image_syncer_transfers_in_progress", ""] == 6
    assert found["image_syncer_run_in_progress", ""] == 2
    assert found["image_syncer_run_images", "known"] == 6
    assert found["image_syncer_run_bytes_per_second", ""] == 107
    run.on_report(report_of())
    found = samples(metrics)
    assert found["image_syncer_run_in_progress", ""] == 1
    assert found["image_syncer_moved_bytes_total", "r.example"] == 321
    assert found["image_syncer_run_bytes_per_second", ""] == 7
    other.on_report(report_of())
    assert samples(metrics)["image_syncer_moved_bytes_total", "r.example"] == 321


def test_the_number_of_series_does_not_grow_with_what_is_copied(metrics, run) -> None:
    def tell(first: int) -> int:
        results = [image(outcome, first + number) for number, outcome in enumerate(Outcome)]
        for result in results:
            run.on_image(result)
        run.on_report(report_of(*results))
        return len(samples(metrics))

    assert tell(0) == tell(100) == tell(200)


def test_both_forms_of_exposition(metrics) -> None:
    body, content_type = metrics.render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def measures_of(*registries: str) -> Measures:
    tally = RequestTally()
    for registry in registries:
        tally.note(registry, "get blob", "2xx", 0.5)
        tally.note(registry, "get blob", "429", 0.1)
    return Measures(
        requests=tuple(tally.rows()),
        moved={("source", registry): 7 for registry in registries},
        retries=dict.fromkeys(registries, 1),
        requests_allowed=dict.fromkeys(registries, 2.5),
        connections_allowed=dict.fromkeys(registries, 4),
        bytes_allowed={None: 1e6, **dict.fromkeys(registries, 1e5)},
    )


def test_many_registries_have_one_label_together(metrics, run) -> None:
    def counted() -> tuple[int, dict[str, float]]:
        families = list(text_string_to_metric_families(metrics.render()[0].decode()))
        moved = [
            sample
            for family in families
            for sample in family.samples
            if sample.name == "image_syncer_moved_bytes_total"
        ]
        return sum(len(family.samples) for family in families), {s.labels["registry"]: s.value for s in moved}

    run.on_measures(measures_of(*(f"r{number}.example" for number in range(250))))
    series, moved = counted()
    assert len(moved) == MOST_REGISTRIES + 1
    assert moved["r0.example"] == 7
    assert moved[OTHER] == 7 * (250 - MOST_REGISTRIES)
    run.on_report(report_of())
    run.on_measures(measures_of(*(f"r{number}.example" for number in range(900))))
    _, again = counted()
    assert again.keys() == moved.keys()
    assert sum(again.values()) == 7 * (250 + 900)
    run.on_measures(measures_of(*(f"r{number}.example" for number in range(500))))
    assert counted()[0] == series


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not there (package prometheus)")
def test_promtool_has_nothing_to_say(metrics, run) -> None:
    run.on_image(image(Outcome.COPIED, bytes_moved=1))
    run.on_report(report_of(image(Outcome.COPIED)))
    run.on_measures(measures_of("r.example"))
    body, _ = metrics.render()
    done = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
