"""A path delays, limits, and lets the right bytes through."""

from __future__ import annotations

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from perf.stage.servers import counts, sink
from perf.stage.wide_area import best_way, wide_area

from support.client import Client

ROUND_TRIP_S = 0.1
WAYS = ["relay", "packets", "netem"]


def need(way: str) -> None:
    if way not in ("relay", best_way()):
        pytest.skip(f"the best way here is {best_way()}")


@pytest.mark.parametrize("way", WAYS)
def test_a_request_takes_its_round_trips(way) -> None:
    need(way)
    with sink() as place, wide_area(place, delay_ms=ROUND_TRIP_S * 1000, loss=0.0, way=way) as path:
        assert path.way == way
        assert path.congestion_control in path.kind
        with Client(f"http://{path.place.address}") as client:
            begin = time.monotonic()
            assert client.get("/v2/").status == 200
            opened = time.monotonic()
            assert client.get("/v2/").status == 200
            assert opened - begin > 2 * ROUND_TRIP_S * 0.95  # one for the handshake
            assert time.monotonic() - opened > ROUND_TRIP_S * 0.95


@pytest.mark.parametrize("way", WAYS)
def test_bytes_come_whole_both_ways_and_no_faster_than_the_line(way) -> None:
    need(way)
    bits_per_s, manifest = (
        20e6,
        b'{"schemaVersion":2,"layers":[],"annotations":{"a":"%s"}}' % os.urandom(20_000).hex().encode(),
    )
    with sink() as place, wide_area(place, delay_ms=20, loss=0.0, bits_per_s=bits_per_s, way=way) as path:

        def push(number: int) -> None:
            with Client(f"http://{path.place.address}") as client:
                assert client.push_blob("a", bytes(300_000), f"sha256:{number}").status == 201
                digest = client.push_manifest("a", f"t{number}", manifest, "application/json").headers[
                    "docker-content-digest"
                ]
                assert digest == f"sha256:{hashlib.sha256(manifest).hexdigest()}"
                assert client.get(f"/v2/a/manifests/t{number}").body == manifest

        begin = time.monotonic()
        with ThreadPoolExecutor(3) as threads:
            list(threads.map(push, range(3)))
        assert time.monotonic() - begin > 900_000 * 8 / bits_per_s
        counted = counts(place)
        assert (counted["blob bytes"], counted["manifests"]) == (900_000, 3)
        assert "broken uploads" not in counted


def test_loss_bounds_each_connection_where_no_packet_can_be_dropped() -> None:
    with (
        sink() as place,
        wide_area(place, delay_ms=20, loss=0.01, bits_per_s=1e9, way="relay") as path,
        Client(f"http://{path.place.address}") as client,
    ):
        begin = time.monotonic()
        client.push_blob("a", bytes(300_000), "sha256:1")
        assert time.monotonic() - begin > 300_000 * 8 / 7.1e6  # bits a second, by Mathis
