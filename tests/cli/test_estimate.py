"""`estimate`: words and numbers for a plan, from a bench."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from image_syncer.bench.bench_file import BenchFile, save_bench
from image_syncer.capacity.fit import USUAL
from support.measured_workloads import MIB, write_plan

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A plan of 40 images with a layer of 64 MiB each, and a bench."""
    plan = write_plan(tmp_path / "plan.json", [64 * MIB] * 40, source="docker.io", manifests=10)
    bench = tmp_path / "bench.json"
    save_bench(BenchFile((replace(USUAL, cores=2.0, source="docker.io"),)), str(bench))
    return plan, bench


def test_the_estimate_in_words(command: Command, files: tuple[Path, Path]) -> None:
    ran = command("estimate", "--plan", files[0], "--bench", files[1], "--price", "docker.io=0.09,quay.io=1")
    assert (ran.code, ran.err) == (0, "")
    lines = {line[:14].strip(): line[14:] for line in ran.out.splitlines() if line and not line.startswith(" ")}
    assert lines["Time"].startswith("3.")
    assert "nine of ten runs within" in lines["Time"]
    assert "machine" in lines["Waits for"]
    assert lines["Moves"] == "2.5 GiB in 40 blobs, 0 mounted"
    assert "0.24 for what goes out of docker.io" in ran.out
    assert "0.00 for what goes out of quay.io" in ran.out
    assert "docker.io: 400 get manifest at 100 in 6 h without a login: 24 h 0 min at least" in ran.out
    assert "with twice the processors" in ran.out


def test_the_estimate_as_data(command: Command, files: tuple[Path, Path]) -> None:
    words = ("estimate", "--plan", files[0], "--bench", files[1], "--json")
    data = json.loads(command(*words).out)
    assert data["bytes_moved"] == 40 * 64 * MIB
    assert data["seconds"] < data["p90_s"] < 2 * data["seconds"]
    faster = json.loads(command(*words, "--host", "16 cores", "--workers", "8").out)
    assert faster["seconds"] < data["seconds"] / 2
    slower = json.loads(command(*words, "--bandwidth", "100Mbit/s").out)
    assert slower["seconds"] == pytest.approx(40 * 64 * MIB / 12.5e6, rel=0.05)
    assert slower["bottleneck"] == "link"


def test_a_budget_is_kept_or_not(command: Command, files: tuple[Path, Path]) -> None:
    words = ("estimate", "--plan", files[0], "--bench", files[1])
    ran = command(*words, "--budget", "60h")
    assert ran.code == 0
    assert "60 h 0 min is enough: --workers 1 --streams 4 --window 1MiB\n" in ran.out
    ran = command(*words, "--budget", "1h")
    assert ran.code == 1
    assert "published limits alone take longer" in ran.out


def test_a_budget_of_time_and_bandwidth(command: Command, files: tuple[Path, Path]) -> None:
    """40 blobs of 64 MiB, from where nobody publishes limits."""
    plan = files[1].parent / "other.json"
    plan.write_text(files[0].read_text().replace("docker.io/", "c.example/"))
    words = ("estimate", "--plan", plan, "--bench", files[1], "--budget")
    ran = command(*words, "1h, 200MB/s")
    assert ran.code == 0
    assert "and 200 MB/s is enough: --workers 1 --streams 4 --window 1MiB --rate 200MB/s" in ran.out
    ran = command(*words, "60s 10MB/s")
    assert ran.code == 1
    assert "60 s" not in ran.out.split("Budget")[0]
    assert "bandwidth: 2.5 GiB in 1 min 0 s are 42.7 MiB/s, and the link has 9.5 MiB/s" in ran.out
    data = json.loads(command(*words, "3s", "--json").out)
    assert data["fits"] is data["budget"]["fits"] is True
    assert (data["budget"]["hosts"], data["budget"]["p90_s"] <= 3.0) == (2, True)
    ran = command(*words, "100ms")
    assert ran.code == 1
    assert "processors: about" in ran.out
    assert "the best settings take up to" in ran.out


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is no budget"),
        ("soon", "is no budget"),
        ("200MB/s", "is no budget"),
        ("8h, 9h", "is no budget"),
        ("8h, 1MB/s, 2MB/s", "is no budget"),
        ("8h, 0MB/s", "is no bandwidth"),
        ("0s", "more than nothing"),
        ("400d", "a year at most"),
        ("nan", "is no budget"),
        ("8h, -3MB/s", "is no budget"),
    ],
)
def test_no_budget(command: Command, files: tuple[Path, Path], text: str, what: str) -> None:
    ran = command("estimate", "--plan", files[0], "--bench", files[1], "--budget", text)
    assert (ran.code, what in ran.err) == (2, True), ran.err


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--host", "big"), "is no host"),
        (("--bandwidth", "fast"), "is not a rate"),
        (("--price", "docker.io"), "is no price"),
        (("--workers", "0"), "too small"),
        (("--workers", "1000000"), "too large"),
        (("--bandwidth", "0"), "is no bandwidth"),
        (("--host", "8 cores, 0 Gbit/s"), "is no bandwidth"),
        (("--host", "0 cores"), "a host has 1 to 4,096 cores"),
        (("--host", "100000 cores"), "a host has 1 to 4,096 cores"),
        (("--price", "docker.io=nan"), "is no price"),
        (("--price", "docker.io=-1"), "is no price"),
        (("--price", "docker.io=inf"), "is no price"),
        (("--price", "=1"), "is no price"),
        (("--price", "docker.io=1,docker.io=2"), "has two prices"),
    ],
)
def test_what_it_does_not_understand(
    command: Command, files: tuple[Path, Path], words: tuple[str, ...], what: str
) -> None:
    ran = command("estimate", "--plan", files[0], "--bench", files[1], *words)
    assert ran.code == 2
    assert what in ran.err


def test_the_estimate_is_drawn(command: Command, files: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "estimate.png"
    ran = command("estimate", "--plan", files[0], "--bench", files[1], "--plot", path)
    assert (ran.code, ran.err) == (0, "")
    assert path.read_bytes().startswith(b"\x89PNG")
    ran = command("estimate", "--plan", files[0], "--bench", files[1], "--plot", tmp_path / "missing" / "x.png")
    assert ran.code == 2
    assert "the picture cannot be written" in ran.err


def test_a_blob_that_takes_years_is_estimated_at_once(command: Command, files: tuple[Path, Path]) -> None:
    plan = files[1].parent / "large.json"
    data = json.loads(files[0].read_text())
    digest = data["images"][0]["blobs"][0][0]
    data["images"] = [{**data["images"][0], "source": "c.example/app:v1", "blobs": [[digest, 2**62]]}]
    plan.write_text(json.dumps(data))
    found = json.loads(command("estimate", "--plan", plan, "--bench", files[1], "--json").out)
    assert found["bytes_moved"] == 2**62
    assert found["seconds"] > 1e9


def test_a_bench_that_bounds_nothing_is_told(command: Command, files: tuple[Path, Path]) -> None:
    bench = files[1].parent / "nothing.json"
    data = json.loads(files[1].read_text())
    for name in ("tag", "image", "mount", "small", "stream", "byte"):
        data["paths"][0][name] = dict.fromkeys(data["paths"][0][name], 0.0)
    bench.write_text(json.dumps(data))
    ran = command("estimate", "--plan", files[0], "--bench", bench)
    assert ran.code == 2
    assert f"{bench} does not do for this plan: nothing bounds the flows" in ran.err


def test_files_that_may_be_open_here_say_nothing_of_another_host(command: Command, files: tuple[Path, Path]) -> None:
    words = ("estimate", "--plan", files[0], "--bench", files[1], "--host", "64 cores", "--workers", "400", "--json")
    ran = command(*words)
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["workers"] == 400
