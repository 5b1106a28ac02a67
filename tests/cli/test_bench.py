"""`bench` on small registries: what it finds, and that it leaves nothing behind, whichever way it ends."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from image_syncer.bench import path
from image_syncer.bench.bench_file import BenchFile, HostLimits, HostRate, load_bench
from image_syncer.capacity.fit import USUAL
from image_syncer.embedded import Behaviour, ContentBuilder, EmbeddedRegistry, push_to, serve_in_thread
from image_syncer.oci import Digest
from image_syncer_cli.verbs.bench import summarize_bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cli.conftest import Command

MIB = 2**20


@pytest.fixture
def registries() -> Iterator[tuple[EmbeddedRegistry, EmbeddedRegistry]]:
    """A source with twelve small images, one large one and one for two platforms; and a destination."""
    content = ContentBuilder(seed=5)
    with serve_in_thread() as source, serve_in_thread() as destination:
        for number in range(12):
            push_to(source.storage, "team/app", content.image(2, layer_bytes=30_000), [f"v{number}"])
        push_to(source.storage, "team/app", content.image(1, layer_bytes=3 * MIB), ["large"])
        push_to(source.storage, "team/app", content.index(platforms=("linux/amd64", "linux/arm64")), ["two"])
        yield source, destination


def words_for(source: EmbeddedRegistry, destination: EmbeddedRegistry) -> list[str]:
    hosts = [word for host in (source.address, destination.address) for word in ("--insecure", host)]
    return ["bench", "--src", f"{source.address}/team/app", "--dst", f"{destination.address}/mirror/app", *hosts]


def manifests_left(registries: tuple[EmbeddedRegistry, EmbeddedRegistry]) -> list[str]:
    """What the destination has of the source's manifests, those for single platforms included."""
    source, storage = registries[0].storage, registries[1].storage
    known: list[Digest] = []
    for tag in source.tags("team/app"):
        digest = source.tag("team/app", tag)
        assert digest is not None
        stored = source.manifest("team/app", digest)
        assert stored is not None
        document = json.loads(source.read_manifest(stored))
        known += [digest, *(Digest(child["digest"]) for child in document.get("manifests", ()))]
    return [
        f"{name}@{one}" for name in storage.repositories() for one in known if storage.manifest(name, one) is not None
    ]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bench of two runs, the second with all images."""
    monkeypatch.setattr(path, "_STARTS", 1)
    monkeypatch.setattr(path, "_samples", lambda maker: [("images as they come", maker.mixed(), False)])


def test_a_path_is_measured_and_left_as_it_was(
    command: Command, tmp_path: Path, registries: tuple[EmbeddedRegistry, EmbeddedRegistry]
) -> None:
    source, destination = registries
    file = tmp_path / "bench.json"
    ran = command(*words_for(source, destination), "--save", file)
    assert ran.code == 0, ran.err
    assert ran.out.startswith(f"from {source.address}\n  start of a run")
    assert f"{destination.address} as destination\n  away" in ran.out
    assert "limits          none met" in ran.out
    saved = load_bench(str(file))
    found = saved.paths[0]
    assert (found.source, found.cores > 0, found.start_s > 0) == (source.address, True, True)
    assert [(side.registry, side.side) for side in saved.sides] == [
        (source.address, "source"),
        (destination.address, "destination"),
    ]
    for side in saved.sides:
        assert set(side.request_s) == {"head manifest", "head blob"}
        assert side.requests_per_s
        assert side.latency_s
        assert side.trouble is None
    written = destination.storage.repositories()
    assert written
    assert all("/image-syncer-bench/" in name for name in written)
    assert manifests_left(registries) == []


@pytest.mark.extended
@pytest.mark.usefixtures("short")
def test_what_was_written_goes_when_the_bench_is_ended(
    command: Command,
    tmp_path: Path,
    registries: tuple[EmbeddedRegistry, EmbeddedRegistry],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def end(*_given: object, **_more: object) -> None:
        assert len(manifests_left(registries)) == 16
        raise KeyboardInterrupt

    monkeypatch.setattr(path, "fit_path", end)
    ran = command(*words_for(*registries), "--save", tmp_path / "bench.json", "--quiet")
    assert (ran.code, ran.err.strip()) == (130, "Interrupted.")
    assert manifests_left(registries) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.extended
@pytest.mark.usefixtures("short")
def test_what_cannot_be_deleted_is_named(
    command: Command, registries: tuple[EmbeddedRegistry, EmbeddedRegistry]
) -> None:
    source, destination = registries
    destination.behaviour = Behaviour(deletes=False)
    ran = command(*words_for(source, destination), "--quiet")
    assert ran.code == 0
    assert ran.err.startswith(f"left at {destination.address}/mirror/image-syncer-bench/")
    assert "405" in ran.err


def test_where_the_result_cannot_be_written_nothing_is_measured(
    command: Command, tmp_path: Path, registries: tuple[EmbeddedRegistry, EmbeddedRegistry]
) -> None:
    ran = command(*words_for(*registries), "--save", tmp_path / "missing" / "bench.json")
    assert ran.code == 2
    assert ran.err.startswith("Error: the bench cannot be written to")
    assert registries[0].counters.requests == {}


def test_where_there_is_no_room_it_says_where(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=5 * MIB))
    ran = command("bench", "--quiet")
    assert ran.code == 1
    assert "the bench needs 500 MiB in " in ran.err
    assert "Have TMPDIR name a folder with more room." in ran.err


def test_bench_wants_both_ends_or_a_plan(command: Command) -> None:
    for words in (("--src", "a.example/b"), ("--src", "a.example/b", "--dst", "c.example/d", "--plan", "x.json")):
        ran = command("bench", *words)
        assert ran.code == 2
        assert "give --src and --dst, or --plan, or none of them" in ran.err


def test_the_limits_of_a_host_are_a_table() -> None:
    rate = HostRate(100 * MIB, 150 * MIB, 300 * MIB)
    limits = HostLimits(2, rate, rate, rate, rate, HostRate(900.0, 1500.0, 2222.0))
    host = {"sha256_bytes_per_s": 4e8}
    lines = list(summarize_bench(BenchFile((replace(USUAL, host=host),), limits=limits)))
    table = [line.split() for line in lines[:6]]
    assert lines[0].split("  ")[0] == "this host, at most"
    assert table[1] == ["SHA-256", "100", "MiB/s", "150", "MiB/s", "300", "MiB/s"]
    assert table[4][:5] == ["pipe,", "TLS", "100", "MiB/s", "150"]
    assert table[5] == ["small", "requests", "900/s", "1,500/s", "2,222/s"]
    assert max(map(len, lines)) <= 80
