"""Where a watch listens, and in which zone it reckons."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from image_syncer.telemetry.http_server import Listen, parse_listen
from image_syncer.watch.schedule import local_zone
from image_syncer.watch.server import State, WatchStatus


@pytest.mark.parametrize(
    ("text", "listen", "is_loopback"),
    [
        ("127.0.0.1:8080", Listen("127.0.0.1", 8080), True),
        ("8080", Listen("127.0.0.1", 8080), True),
        ("localhost:0", Listen("localhost", 0), True),
        ("[::1]:8080", Listen("::1", 8080), True),
        ("0.0.0.0:9", Listen("0.0.0.0", 9), False),
        ("[::]:9", Listen("::", 9), False),
        ("127.0.0.1.example:9", Listen("127.0.0.1.example", 9), False),
    ],
)
def test_addresses(text, listen, is_loopback) -> None:
    assert parse_listen(text) == listen
    assert listen.is_loopback is is_loopback


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        ":8080",
        "host:99999",
        "host:-1",
        "host:http",
        "host:²",
        "::1:80",
        "http://127.0.0.1:80",
        "[::1:80",
        "u@h:80",
    ],
)
def test_what_is_no_address(text) -> None:
    with pytest.raises(ValueError, match="no address to listen at"):
        parse_listen(text)


def test_the_zone_is_that_of_the_environment_then_of_the_machine_then_utc(tmp_path) -> None:
    summer = datetime(2026, 7, 1, tzinfo=timezone.utc)
    assert summer.astimezone(local_zone({"TZ": "Europe/Berlin"})).hour == 2
    assert summer.astimezone(local_zone({"TZ": ":Europe/Berlin"})).hour == 2
    assert local_zone({"TZ": "Nowhere/AtAll"}) is timezone.utc
    assert local_zone({}, tmp_path / "none") is timezone.utc
    tokyo = Path("/usr/share/zoneinfo/Asia/Tokyo")
    if tokyo.exists():
        assert summer.astimezone(local_zone({}, tokyo)).hour == 9


def test_a_stranger_is_not_told_what_the_files_say() -> None:
    status = WatchStatus(0.0, configuration_error="images.yaml:3: no such key")
    status.note_refused("registry.example/app: no", 10.0, cause="schedule")
    assert status.as_data(details=True)["configuration"]["error"] == "images.yaml:3: no such key"
    text = str(status.as_data(details=False))
    assert "images.yaml" not in text
    assert "registry.example" not in text
    assert status.as_data(details=False)["status"] == "stale configuration"


def test_the_sentence_for_the_service_manager() -> None:
    status = WatchStatus(0.0, state=State.WAITING, next_at=90.0)
    assert status.sentence(30.0) == "waiting, next round in 1 min 0 s"
    status.note_refused("no", 10.0, cause="schedule")
    assert status.sentence(30.0).endswith("last run ended with exit code 2")
