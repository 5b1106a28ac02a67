"""What Prometheus reads at the end of a run is what the report of that run says, figure by figure."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer import Configuration, RegistryBook, Report, Settings, sync_async
from image_syncer.embedded import Behaviour, Fault, FaultKind, RateLimit, RetryAfter
from image_syncer.telemetry.looking_on import look_on
from observers.test_served_metrics import ANYWHERE, Samples, scrape, value
from support.processes import workers_of
from support.sync_runs import TRUSTING

if TYPE_CHECKING:
    from image_syncer.config import Rule
    from image_syncer.telemetry import Snapshot
    from support.sync_runs import Done, SyncLab


MOST_UNDER_WAY = 8
"""Requests of one worker: there are so few blobs."""


def assert_equal(found: Samples, done: Done, *, lost: int) -> None:
    """Every figure of the report that has a metric; so many requests were under way when workers were killed."""
    report: dict[str, Any] = done.document
    totals, transfers = report["totals"], report["transfers"]
    for outcome, count in totals["outcomes"].items():
        assert value(found, "images_total", outcome=outcome.replace(" ", "_")) == count, outcome
    assert value(found, "images_total") == totals["images"]
    assert value(found, "copied_bytes_total") == totals["bytes_moved"]
    for way in ("moved", "mounted", "present"):
        assert value(found, "blobs_total", way=way) == totals[f"blobs_{way}"], way
    assert value(found, "verified_bytes_total") == totals["bytes_read"]
    outcomes = Counter(outcome for transfer in transfers for outcome in transfer["outcomes"])
    for outcome in ("moved", "mounted", "present", "failed", "split off"):
        assert value(found, "transfers_total", outcome=outcome.replace(" ", "_")) == outcomes[outcome], outcome
    for side, count in report["resumes"].items():
        assert value(found, "transfer_breaks_total", side=side.replace(" ", "_")) == count, side
    for side in ("source", "destination"):
        waited = sum(transfer[f"{side}_waited_s"] for transfer in transfers)
        assert value(found, "ring_wait_seconds_total", waiting=side) == pytest.approx(waited, abs=1e-3)
    assert value(found, "ring_pauses_total") == sum(transfer["pauses"] for transfer in transfers)
    for kind, count in totals["requests"].items():
        # Those that a killed worker had under way have no end that could be counted.
        assert count - lost <= value(found, "requests_total", operation=kind.replace(" ", "_")) <= count, kind
    assert totals["request_count"] - lost <= value(found, "requests_total") <= totals["request_count"]
    assert value(found, "run_duration_seconds_sum") == pytest.approx(report["seconds"], abs=1e-3)
    assert value(found, "runs_total", result="success" if report["exit_code"] == 0 else "failure") == 1
    assert value(found, "runs_total") == 1
    # What registries took is never less than what the report counts of it.
    assert value(found, "moved_bytes_total", side="destination") >= totals["bytes_moved"]


def assert_lines_are_as_documented(log: str) -> None:
    """Each line is an object with what every line has, and its event is on the page."""
    page = (Path(__file__).parents[2] / "docs" / "logs.md").read_text(encoding="utf-8")
    known = set(re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE))
    lines = [json.loads(line) for line in log.splitlines()]
    assert {line["event"] for line in lines if line["logger"].startswith("image_syncer")} - known == set()
    assert {"goes on", "blob not moved", "image", "worker ready"} <= {line["event"] for line in lines}
    assert {line["level"] for line in lines} <= {"debug", "info", "warning", "error"}
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["timestamp"]) for line in lines)


def troubled(lab: SyncLab) -> list[Rule]:
    """Images that share blobs, one of which is there already, two destinations, mounts, tags that are missing, broken
    downloads and uploads, refusals.
    """
    shared = [lab.content.layer(200_000) for _ in range(2)]
    other = lab.add_registry(TRUSTING)
    rules = []
    for number in range(4):
        name = f"team/app{number}"
        lab.push(lab.content.image([*shared, lab.content.layer(900_000 + number)]), name)
        rules.append(lab.rule(name, to=((lab.destination, name), (other, name))))
    lab.run(rules[0])
    lab.source.behaviour = Behaviour(
        faults=(
            Fault("get blob", FaultKind.RESET, times=2, after_bytes=100_000),
            Fault("get manifest", status=500, times=1),
        ),
        rate_limits=(RateLimit(("get blob",), burst=3, times=2, retry_after=RetryAfter.NONE),),
        bandwidth_bytes_per_s=4e6,
    )
    lab.destination.behaviour = replace(
        TRUSTING, faults=(Fault("put upload", status=503, times=2), Fault("patch upload", FaultKind.RESET, times=1))
    )
    return [*rules, lab.rule("team/app1", tags=("gone",))]


@pytest.mark.extended
@pytest.mark.parametrize("kill", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_metrics_at_the_end_are_those_of_the_report(lab: SyncLab, kill: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.random", lambda: 0.0)  # pauses before another try are as short as can be
    if kill:
        monkeypatch.setattr("support.sync_runs.mistakes_of_ours", lambda _log: [])  # a lost worker is one of them
    rules = troubled(lab)
    seen: list[Samples] = []
    killed: list[int] = []
    others = {child.pid for child in workers_of(os.getpid())}  # of tests before this one, such as a cluster's

    def look(snapshot: Snapshot) -> None:
        seen.append(scrape(address))
        moving = value(seen[-1], "moved_bytes_total") > 400_000
        workers = [child.pid for child in workers_of(os.getpid()) if child.pid not in others]
        if kill and moving and not killed and workers:
            killed.append(workers[0])
            os.kill(workers[0], signal.SIGKILL)

    with look_on(metrics=ANYWHERE) as address:
        done = lab.run(*rules, exit_code=1, workers=2, progress_interval_s=0.1, on_progress=look)
        found = scrape(address)
    assert bool(killed) is kill
    assert_lines_are_as_documented(done.log)
    assert_equal(found, done, lost=len(killed) * MOST_UNDER_WAY)
    assert value(found, "worker_restarts_total") == len(killed)
    # What only grows did so at every look, the end among them.
    for before, after in pairwise([*seen, found]):
        for name, series in before.items():
            if name.endswith(("_total", "_count", "_sum", "_bucket")):
                for labels, number in series.items():
                    assert after[name][labels] >= number, (name, labels)
    for name in ("requests_total", "moved_bytes_total", "transfers_total"):
        assert value(seen[-1], name) > 0


@pytest.mark.extended
def test_runs_of_a_program_at_the_same_time(lab: SyncLab) -> None:
    """Two runs in one `look_on`: what each of them does is counted once, and never taken back."""
    sizes = []
    for name in ("team/one", "team/two"):
        sizes.append(sum(blob.size for blob in lab.image(3, name, layer_bytes=300_000).all_blobs()))
    lab.source.behaviour = Behaviour(bandwidth_bytes_per_s=1e6)
    registries = RegistryBook(list(lab._entries.values()))
    rules = [lab.rule(name) for name in ("team/one", "team/two")]
    seen: list[Samples] = []

    settings = Settings(workers=1, progress_interval_s=0.05)

    async def both() -> list[Report]:
        runs = [sync_async(Configuration((rule,), registries), settings) for rule in rules]
        ended = asyncio.gather(*runs)
        while not ended.done():
            await asyncio.wait((ended,), timeout=0.1)
            seen.append(await asyncio.to_thread(scrape, address))
        return list(await ended)

    with look_on(metrics=ANYWHERE) as address:
        reports = asyncio.run(both())
        found = scrape(address)
    assert [report.exit_code for report in reports] == [0, 0]
    assert max(value(samples, "run_in_progress") for samples in seen) == 2
    assert value(found, "run_in_progress") == 0
    assert value(found, "copied_bytes_total") == sum(sizes)
    assert value(found, "moved_bytes_total", side="source") == sum(sizes)
    assert value(found, "requests_total") == sum(report.totals.request_count for report in reports)
    requests = [value(samples, "requests_total") for samples in (*seen, found)]
    assert requests == sorted(requests)
