"""SIGINT and SIGTERM in the middle of a run: nothing new begins, and it leaves quickly and cleanly."""

from __future__ import annotations

import os
import signal
import time

import pytest

from image_syncer.embedded import Behaviour, ContentBuilder, DemoImage, push_to
from process.conftest import MIB, Pair
from support.processes import wait_until

QUICKLY_S = 15.0
"""How long an interrupted run may take to its end on a machine that is full: it takes two seconds, and a minute at
least where it is not interrupted.
"""
PATIENCE_S = 60.0
"""What workers are given to say goodbye where only a second signal can end the run before that."""
PATIENT = f"""
import sys
if "image_syncer.worker.process" not in " ".join(sys.orig_argv):
    from image_syncer.coordinator import run
    run.STOP_GRACE_S = {PATIENCE_S}
"""
DEADLINE_S = 4.0
LATENCY_S = 6.0
"""What a registry takes for an answer that nobody waits for to its end."""


@pytest.fixture
def slow_pair(pair: Pair) -> Pair:
    """Eight images of which some are whole soon, and some would take a minute."""
    pair.add_images(3, layer_bytes=MIB // 8)
    pair.add_images(5, layer_bytes=8 * MIB)
    pair.slow_down(MIB / 8)
    return pair


@pytest.mark.parametrize("group", [False, True], ids=["process", "group"])
@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_run_that_is_interrupted_leaves_quickly_and_cleanly(
    slow_pair: Pair, number: signal.Signals, exit_code: int, group: bool
) -> None:
    pair = slow_pair
    with pair.run("--workers", "2") as run:
        run.wait_for_workers(2)
        wait_until(lambda: run.events("image"), "one image is there")
        began = time.monotonic()
        run.signal(number, group=group)
        assert run.wait() == exit_code, run.err
        assert time.monotonic() - began < QUICKLY_S
    assert run.orphans == []
    report = run.report
    assert (report["exit_code"], report["interrupted"]) == (exit_code, number.name)
    outcomes = {image["destination"].partition("/")[2]: image["outcome"] for image in report["images"]}
    assert len(report["images"]) == len(outcomes) == report["totals"]["images"] == len(pair.images)
    assert set(outcomes.values()) == {"copied", "not tried"}
    # What the report calls copied is there, and nothing is there in part.
    pair.assert_copied([image for image in pair.images if outcomes[f"{image.repository}:{image.tag}"] == "copied"])
    pair.assert_consistent()
    assert "Traceback" not in run.err
    assert run.out.startswith(f"interrupted ({number.name}) · 8 images: ")
    assert not list(run.files.directory.glob("*.partial"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_workers_that_are_only_just_starting_end_without_a_word(slow_pair: Pair, number: signal.Signals) -> None:
    with slow_pair.run("--workers", "4") as run:
        wait_until(lambda: len(run.look()) == 4, "four processes")
        run.signal(number, group=True)
        assert run.wait() == 128 + number, run.err
    assert run.orphans == []
    assert [image["outcome"] for image in run.report["images"]] == ["not tried"] * 8
    assert "Traceback" not in run.err


@pytest.mark.extended
def test_a_run_that_waits_for_answers_leaves_too(pair: Pair) -> None:
    # More images than are looked at at one time: every one of them has its entry, also those that were never begun.
    image = ContentBuilder(1).image(1)
    for number in range(600):
        pair.images.append(DemoImage("team/app", f"v{number}", image))
    push_to(pair.source.storage, "team/app", image, [image.tag for image in pair.images])
    pair.source.behaviour = Behaviour(latency_s=LATENCY_S)
    with pair.run() as run:
        wait_until(lambda: pair.source.counters.requests.get("head manifest", 0) >= 20, "requests are under way")
        began = time.monotonic()
        run.signal(signal.SIGINT)
        assert run.wait() == 130, run.err
        assert time.monotonic() - began < LATENCY_S
        # Nothing was to be moved yet, so no worker was there.
        assert run.look() == []
    assert {image["outcome"] for image in run.report["images"]} == {"not tried"}
    destinations = sorted(image["destination"] for image in run.report["images"])
    assert destinations == sorted(f"{pair.destination.address}/team/app:v{number}" for number in range(600))


def test_a_run_that_waits_for_a_list_of_tags_leaves_too(pair: Pair) -> None:
    pair.add_images(12, layer_bytes=1024)
    pair.source.behaviour = Behaviour(latency_s=LATENCY_S)
    with pair.run(all_tags=True) as run:
        wait_until(lambda: pair.source.counters.requests.get("list tags", 0), "a list is under way")
        began = time.monotonic()
        run.signal(signal.SIGTERM)
        assert run.wait() == 143, run.err
        assert time.monotonic() - began < LATENCY_S
    # What the rules mean is not known yet: each has one entry for each of its destinations.
    entries = sorted((image["destination"], image["outcome"]) for image in run.report["images"])
    wanted = sorted((f"{pair.destination.address}/team/app{number}", "not tried") for number in range(12))
    assert entries == wanted


def test_a_second_ctrl_c_leaves_at_once(slow_pair: Pair) -> None:
    pair = slow_pair
    with pair.run("--workers", "2", sabotage=PATIENT) as run:
        workers = run.wait_for_workers(2)
        pair.wait_for_bytes(MIB // 4)
        for worker in workers:
            # Workers that do not hear: only the second signal can end the run before their time is over.
            os.kill(worker.pid, signal.SIGSTOP)
        run.signal(signal.SIGINT)
        wait_until(lambda: run.events("interrupted"), "the first one is heard")
        began = time.monotonic()
        run.signal(signal.SIGINT)
        assert run.wait() == 130
        assert time.monotonic() - began < QUICKLY_S
        wait_until(lambda: not run.orphans, "the workers are gone")
    pair.assert_consistent()


@pytest.mark.extended
def test_a_run_under_nohup_outlives_its_terminal(pair: Pair) -> None:
    pair.add_images(2, layer_bytes=MIB // 2)
    pair.slow_down(MIB / 2)
    with pair.run("--workers", "2", launcher=("nohup",)) as run:
        run.wait_for_workers(2)
        run.signal(signal.SIGHUP, group=True)
        assert run.wait() == 0, run.err
        assert run.events("worker lost") == []
    pair.assert_copied()


@pytest.mark.extended
def test_the_deadline_ends_a_run_like_ctrl_c(pair: Pair) -> None:
    pair.add_images(3, layer_bytes=MIB // 8)
    pair.add_images(5, layer_bytes=64 * MIB)  # each would take two minutes
    pair.slow_down(MIB / 2)
    began = time.monotonic()
    with pair.run("--workers", "2", "--deadline", f"{DEADLINE_S}s") as run:
        assert run.wait() == 1, run.err
        assert DEADLINE_S < time.monotonic() - began < DEADLINE_S + 2 * QUICKLY_S
    assert run.orphans == []
    report = run.report
    assert (report["exit_code"], report["interrupted"]) == (1, "deadline")
    outcomes = report["totals"]["outcomes"]
    assert outcomes["copied"] + outcomes["not tried"] == 8
    assert outcomes["not tried"] >= 5  # on a machine that is full, small ones are not there in time either
    left = [image for image in report["images"] if image["outcome"] == "not tried"]
    assert {image["reason"] for image in left} == {"the deadline has passed"}
    assert run.out.startswith("interrupted (deadline) · 8 images: ")
    # Uploads that were given up are cancelled, as far as their workers came to it.
    counters = pair.destination.counters
    if counters.bytes_in > sum(image.manifest.size_bytes for image in pair.images[:3]):
        assert counters.requests.get("cancel upload", 0) > 0
    assert pair.assert_consistent() == 3


@pytest.mark.extended
def test_ctrl_c_after_the_deadline_waits_for_the_same_end(slow_pair: Pair) -> None:
    with slow_pair.run("--workers", "2", "--deadline", f"{DEADLINE_S}s") as run:
        workers = run.wait_for_workers(2)
        for worker in workers:
            os.kill(worker.pid, signal.SIGSTOP)  # what they are given to say goodbye is used up
        wait_until(lambda: run.events("interrupted"), "the deadline passes")
        run.signal(signal.SIGINT)
        assert run.wait() == 1, run.err
    assert run.report["interrupted"] == "deadline"
    assert run.orphans == []


@pytest.mark.extended
def test_a_deadline_that_is_not_reached_changes_nothing(pair: Pair) -> None:
    pair.add_images(2)
    with pair.run("--deadline", "1h") as run:
        assert run.wait() == 0, run.err
    assert run.report["interrupted"] is None
    pair.assert_copied()
