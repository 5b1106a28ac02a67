"""`image-syncer watch` in a process of its own: what is pushed arrives, files are read again, signals end it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from image_syncer.embedded import Behaviour, MemoryStorage, serve_in_thread
from support.processes import wait_until
from support.sync_process import SyncProcess
from support.watch_world import WatchProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.watch_world import Hook, World


def metrics_of(text: str) -> dict[tuple[str, str], float]:
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@contextlib.contextmanager
def manager_at(path: Path) -> Iterator[list[str]]:
    """A service manager that listens there: what it is told."""
    told: list[str] = []

    def listen(door: socket.socket) -> None:
        while text := door.recv(4096).decode():
            told.append(text)

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(str(path))
        thread = threading.Thread(target=listen, args=(door,), daemon=True)
        thread.start()
        try:
            yield told
        finally:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
                end.sendto(b"", str(path))
            thread.join()


def test_a_pushed_tag_arrives_without_a_restart(world: World, tmp_path: Path) -> None:
    """And whoever looks on is told: the service manager, Prometheus, whoever asks for its health."""
    world.push("team/app", "v1")
    with manager_at(tmp_path / "notify") as told:
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "600000"}
        with world.start("--every", "1s", environment=environment) as watch:
            world.wait_for("team/app", "v1")
            world.push("team/app", "v2")
            world.wait_for("team/app", "v2")
            wait_until(lambda: watch.health()["last_success_at"] is not None, "a run that went well")
            health = watch.health()
            assert (health["status"], health["configuration"]["in_force"]) == ("ok", True)
            assert watch.get("/readyz").status == 200
            wait_until(lambda: watch.health()["rounds"] >= 3, "three rounds")
            found = metrics_of(watch.get("/metrics").body.decode())
            assert found["image_syncer_images_total", "copied"] == 2
            assert found["image_syncer_runs_total", "success"] >= 2
            assert found["image_syncer_watch_rounds_total", "schedule"] >= 2
            assert found["image_syncer_copied_bytes_total", ""] > 4000
            assert found["image_syncer_last_success_timestamp_seconds", ""] > 1.7e9
            assert found["image_syncer_watch_configuration_in_force", ""] == 1
            wait_until(lambda: watch.health()["state"] == "waiting", "a wait")
            watch.signal(signal.SIGTERM)
            assert watch.wait() == 0
        assert watch.orphans == []
        assert watch.report["exit_code"] == 0
        wait_until(lambda: "STOPPING=1" in told, "the end to be told")
    assert told.index("READY=1") < told.index("STATUS=running")
    assert "WATCHDOG=1" in told
    assert any(text.startswith("STATUS=waiting, next round in ") for text in told)
    assert told[-2:] == ["STATUS=ending; last run ended with exit code 0", "STOPPING=1"]


@pytest.mark.extended
def test_files_are_read_again_on_sighup_and_those_with_mistakes_change_nothing(world: World) -> None:
    world.push("team/app", "v1")
    world.push("team/new", "v1")
    with world.start("--every", "1h") as watch:
        world.wait_for("team/app", "v1")
        watch.wait_for_runs(1)
        world.write_rules("team/app", "team/new")
        watch.signal(signal.SIGHUP)
        world.wait_for("team/new", "v1")
        watch.wait_for_runs(2)
        assert watch.health()["last_run"]["outcomes"] == {"copied": 1}, "only what is new in the files"

        whole = world.files.images.read_text()
        world.files.images.write_text(whole[:-1])
        watch.signal(signal.SIGHUP)
        wait_until(lambda: watch.health()["status"] == "stale configuration", "the mistake to be told")
        assert "images.json:" in watch.health()["configuration"]["error"]
        assert "the configuration that was read before stays in effect" in watch.err
        assert metrics_of(watch.get("/metrics").body.decode())["image_syncer_watch_configuration_in_force", ""] == 0

        world.push("team/new", "v2")
        assert watch.notify(world.event("team/new")).status == 202
        world.wait_for("team/new", "v2")

        world.files.images.write_text(whole)
        watch.signal(signal.SIGHUP)
        wait_until(lambda: watch.health()["status"] == "ok", "the files to be in force again")
        watch.signal(signal.SIGINT)
        assert watch.wait() == 0


def test_a_notification_begins_a_run_of_exactly_the_rules_that_it_is_about(world: World) -> None:
    for repository in ("team/app", "team/web"):
        world.push(repository, "v1")
    with world.start("--every", "1h", "--debug", repositories=("team/app", "team/web")) as watch:
        watch.wait_for_runs(1)
        for repository in ("team/app", "team/web"):
            world.push(repository, "v2")
        assert watch.notify(world.event("team/app", "pull")).json() == {"repositories": 0, "meant": 0}
        assert watch.notify(world.event("team/none")).json() == {"repositories": 1, "meant": 0}
        for _ in range(5):
            assert watch.notify(world.event("team/app")).json() == {"repositories": 1, "meant": 1}
        world.wait_for("team/app", "v2")
        watch.wait_for_runs(2)
        assert not world.has("team/web", "v2")
        health = watch.health()
        assert (health["rounds"], health["last_run"]["cause"]) == (2, "notification")
        found = metrics_of(watch.get("/metrics").body.decode())
        assert found["image_syncer_watch_notifications_total", "taken"] == 5
        assert found["image_syncer_watch_notifications_total", "ignored"] == 2
        watch.signal(signal.SIGTERM)
        assert watch.wait() == 0


@pytest.mark.extended
def test_what_comes_while_a_run_is_under_way_waits_for_its_end(world: World) -> None:
    world.push("team/app", "v1", layer_bytes=250_000)
    world.push("team/new", "v1")
    world.source.behaviour = Behaviour(bandwidth_bytes_per_s=100_000)
    with world.start("--every", "1s") as watch:
        wait_until(lambda: world.source.counters.bytes_out > 0, "a blob on its way")
        world.write_rules("team/app", "team/new")
        watch.signal(signal.SIGHUP)
        assert not world.has("team/app", "v1"), "the run was over too soon for this test"
        assert watch.get("/readyz").status == 200
        world.wait_for("team/new", "v1")
        assert "the round took longer than the schedule allows" in watch.err
        wait_until(lambda: len(told_of(watch)) >= 3, "the log")
        assert told_of(watch)[:3] == ["team/app:v1", "files were read again", "team/new:v1"]
        watch.signal(signal.SIGTERM)
        watch.wait()


def told_of(watch: WatchProcess) -> list[str]:
    """Images that were copied, and readings of the files, in the order in which they were."""
    return [
        event["destination"].partition("/")[2] if event["event"] == "image" else event["event"]
        for event in watch.events()
        if event["event"] == "files were read again" or (event["event"] == "image" and event["outcome"] == "copied")
    ]


@pytest.mark.parametrize("signals", [1, 2])
def test_a_signal_in_a_run_ends_it_as_it_ends_a_sync(world: World, signals: int) -> None:
    world.push("team/app", "v1", layer_bytes=3_000_000)
    world.source.behaviour = Behaviour(bandwidth_bytes_per_s=50_000)
    with world.start("--every", "1h") as watch:
        wait_until(lambda: world.source.counters.bytes_out > 0, "a blob on its way")
        watch.look()
        for _ in range(signals):
            watch.signal(signal.SIGTERM)
        assert watch.wait() == 143
        wait_until(lambda: not watch.orphans, "its workers to end")
    if signals == 1:
        assert watch.report["interrupted"] == "SIGTERM"
    assert not world.has("team/app", "v1")


@pytest.mark.extended
def test_a_source_that_is_down_for_a_round_and_back(world: World, hook: Hook) -> None:
    """And a webhook is told of it, with a field from a file, and without its own secret anywhere."""
    secret = "S3cretOfTheHook4711"
    hooks = world.directory / "hooks"
    hooks.write_text(f"{hook.url}/hooks/{secret}\nX-Hook-Token: {secret}\n")
    storage = MemoryStorage()
    words = ("--every", "1s", "--give-up-after", "1s", "--retries", "0", "--notify-when", "change")
    with serve_in_thread(storage) as source:
        world.source = source
        world.push("team/app", "v1")
        watch = world.start(*words, "--notify-file", str(hooks), "--debug")
        world.wait_for("team/app", "v1")
        wait_until(lambda: len(hook.told) == 1, "the webhook to be told of what was copied")
    with watch:
        wait_until(lambda: len(hook.told) == 2, "the webhook to be told that the source is down")
        with serve_in_thread(storage, port=int(source.address.rpartition(":")[2])):
            world.push("team/app", "v2")
            world.wait_for("team/app", "v2")
            wait_until(lambda: hook.told[-1]["ok"], "the webhook to be told that it is back")
            watch.signal(signal.SIGTERM)
            watch.wait()
    assert hook.told[0]["outcomes"]["copied"] == 1
    assert hook.told[1]["exit_code"] == 1
    assert hook.told[1]["failures"][0]["source"].startswith(source.address)
    assert hook.fields[0]["x-hook-token"] == secret
    log = world.files.log.read_text()
    assert "webhook told" in log
    assert not any(secret in text for text in (watch.out, watch.err, log, str(hook.told), str(watch.report)))


def test_the_first_run_has_to_begin(world: World) -> None:
    world.push("team/app", "v1")
    with world.start("--every", "1s", "--output-success-images", os.devnull, "--state", "/nowhere/at/all") as watch:
        assert watch.wait() == 2
    assert "/nowhere/at/all" in watch.err


@pytest.mark.extended
def test_a_single_sync_tells_webhooks_too(world: World, hook: Hook) -> None:
    world.push("team/app", "v1")
    world.write_auth()
    world.write_rules("team/app")
    for _ in range(2):  # in the second one nothing changes
        with SyncProcess(world.files, "--workers", "1", "--notify", hook.url, "--notify-when", "change") as run:
            assert run.wait() == 0
        assert len(hook.told) == 1
        assert hook.told[0]["outcomes"]["copied"] == 1
    assert (hook.told[0]["cause"], hook.told[0]["ok"]) == ("command", True)


@pytest.mark.extended
def test_a_push_into_a_catalog_is_looked_at_alone_and_collides_as_in_any_round(world: World) -> None:
    world.push("team-a/app", "v1")
    source, destination = world.source.address, world.destination.address
    rule = {"source": f"{source}/team-*/**", "destination": f"{destination}/mirror/\\2"}
    registries = {address: {"insecure": True} for address in (source, destination)}
    world.files.config.write_text(json.dumps({"version": 2, "registries": registries, "rules": [rule]}))
    with WatchProcess(world.files, "--workers", "1", "--every", "1h", "--listen", "0", verb="watch") as watch:
        watch.wait_for_runs(1)
        world.push("team-a/web", "v1")
        world.push("team-a/db", "v1")
        assert watch.notify(world.event("team-a/web")).json()["meant"] == 1
        world.wait_for("mirror/web", "v1")
        watch.wait_for_runs(2)
        assert not world.has("mirror/db", "v1")
        world.push("team-b/web", "v2")
        assert watch.notify(world.event("team-b/web")).json()["meant"] == 1
        wait_until(lambda: "would both go to" in watch.err, "the collision to be told")
        assert not world.has("mirror/web", "v2")
        watch.signal(signal.SIGTERM)
        assert watch.wait() == 0
