"""docker-registry tells a watch of a push, and what was pushed arrives: with the notifications that it really sends."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.embedded import ContentBuilder, push_over_http, push_to, serve_in_thread
from support.docker_registry import serve_docker_registry
from support.processes import wait_until
from support.watch_world import World

if TYPE_CHECKING:
    from pathlib import Path

    from support.watch_world import WatchProcess

pytestmark = [pytest.mark.real, pytest.mark.extended]

TOKEN = "of-a-watch-that-docker-registry-tells-of-pushes"


def test_what_docker_registry_tells_of_arrives_at_once(tmp_path: Path, content: ContentBuilder) -> None:
    with serve_in_thread() as other, serve_in_thread() as destination:
        world = World(other, destination, tmp_path)
        push_to(other.storage, "team/other", content.image(), ["v1"])
        with (
            world.start(
                "--every", "1h", repositories=("team/other",), environment={"IMAGE_SYNCER_EVENTS_TOKEN": TOKEN}
            ) as watch,
            serve_docker_registry(tmp_path / "source", notify=(f"{watch.url}/notify", f"Bearer {TOKEN}")) as source,
        ):
            push_over_http(source.url, "team/app", content.image(), ["v1"])
            rules = {f"{source.address}/team/app": f"{destination.address}/team/app"}
            world.files.images.write_text(json.dumps(rules))
            world.files.auth.write_text(
                json.dumps({source.address: {"insecure": True}, destination.address: {"insecure": True}})
            )
            watch.signal(signal.SIGHUP)
            world.wait_for("team/app", "v1")

            push_over_http(source.url, "team/app", content.image(), ["v2"])
            world.wait_for("team/app", "v2")
            wait_until(lambda: watch.health()["last_run"]["cause"] == "notification", "the run to end")
            assert watch.notify({"events": []}).status == 401
            # Our own requests were told, too: nothing comes of a pull.
            wait_until(lambda: len(notifications(watch, meant=0)) > 0, "a pull to be told")
            assert watch.health()["rounds"] <= 2 + len(notifications(watch, meant=1))
            watch.signal(signal.SIGTERM)
            assert watch.wait() == 0
        assert TOKEN not in watch.err + watch.out + world.files.log.read_text()


def notifications(watch: WatchProcess, *, meant: int) -> list[dict[str, Any]]:
    return [event for event in watch.events("notification") if event["meant"] == meant]
