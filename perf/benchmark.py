"""Compares image-syncer with skopeo on the same work, one run of each in turn, and prints JSON.

    python perf/benchmark.py [--runs 5] [--scenario large|small] [--json FILE]

Both copy from one docker-registry (distribution) to an empty one; registries and content live in a temporary folder
(give a tmpfs with --directory to leave the disk out). Measured for each run, over all processes of the command:
wall time, CPU time (user and system), and the peak memory of its largest process, as the kernel accounts for them
(wait4(2)); the registries' own work is not counted. Medians are what to compare: single times on a shared machine mean
little, and a difference within the spread is none.

Scenarios: `large`, 4 images of one layer of 256 MiB; `small`, 200 images of 3 layers of 64 KiB. Layers begin with the
magic bytes of gzip, since skopeo compresses what does not look compressed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "engine"), str(ROOT / "cli")]

from image_syncer.embedded import ContentBuilder, push_over_http  # noqa: E402 - the checkout's own, wherever it lies

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 2**20
REPOSITORY = "bench/image"
START_S = 30.0
_LISTENING = re.compile(r"listening on (?P<address>[\w.:]+:\d+)")


@dataclass(frozen=True)
class Scenario:
    """`images` tags of one repository, each of `layers` layers of `layer_bytes`, nothing shared."""

    name: str
    images: int
    layers: int
    layer_bytes: int

    @property
    def bytes_moved(self) -> int:
        """What has to move, configurations apart."""
        return self.images * self.layers * self.layer_bytes


SCENARIOS = {
    scenario.name: scenario for scenario in (Scenario("large", 4, 1, 256 * MIB), Scenario("small", 200, 3, 64 * 1024))
}


@dataclass(frozen=True)
class Sample:
    """One run: seconds, and bytes of memory."""

    wall_s: float
    cpu_s: float
    peak_memory_bytes: int


@contextmanager
def docker_registry(directory: Path) -> Iterator[str]:
    """An empty docker-registry with its files in `directory`; gives its address."""
    root, log, config = directory / "root", directory / "log", directory / "config.yml"
    root.mkdir(parents=True)
    settings = {
        "version": "0.1",
        "log": {"accesslog": {"disabled": True}, "level": "info"},
        "storage": {"filesystem": {"rootdirectory": str(root)}},
        "http": {"addr": "127.0.0.1:0", "secret": "of a benchmark"},
    }
    config.write_text(json.dumps(settings))  # which is YAML too
    with log.open("wb") as sink:
        child = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=sink, stderr=sink)
    try:
        yield _address(log, child)
    finally:
        child.kill()
        child.wait()
        shutil.rmtree(directory)


def _address(log: Path, child: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and child.poll() is None:
        if found := _LISTENING.search(log.read_text(errors="replace")):
            return found["address"]
        time.sleep(0.02)
    raise SystemExit(f"docker-registry did not start: {log.read_text(errors='replace')[-500:]}")


def measure(command: list[str], directory: Path) -> Sample:
    """Run `command` to its end; raises SystemExit where it fails."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "engine"), str(ROOT / "cli")])}
    with (directory / "output").open("wb") as output:
        began = time.monotonic()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{command[0]} failed: {(directory / 'output').read_text(errors='replace')[-2000:]}")
    return Sample(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def image_syncer_command(source: str, destination: str, directory: Path) -> list[str]:
    """The command as a user would give it, with its two files."""
    auth, images = directory / "auth.json", directory / "images.json"
    auth.write_text(json.dumps({source: {"insecure": True}, destination: {"insecure": True}}))
    images.write_text(json.dumps({f"{source}/{REPOSITORY}": f"{destination}/{REPOSITORY}"}))
    files = ["--auth", str(auth), "--images", str(images)]
    return [sys.executable, "-m", "image_syncer_cli", *files, "--quiet", "--no-progress"]


def skopeo_command(source: str, destination: str, _directory: Path) -> list[str]:
    """All tags of the repository, manifests as they are."""
    options = ["--src-tls-verify=false", "--dest-tls-verify=false", "--all", "--preserve-digests"]
    places = [f"{source}/{REPOSITORY}", f"{destination}/bench"]
    return ["skopeo", "sync", "--src", "docker", "--dest", "docker", *options, *places]


def run(scenario: Scenario, runs: int, directory: Path) -> dict[str, object]:
    """`runs` of each tool, in turn, each into an empty registry; one of each before them is not counted."""
    tools = {"image-syncer": image_syncer_command}
    if shutil.which("skopeo"):
        tools["skopeo"] = skopeo_command
    samples: dict[str, list[Sample]] = {name: [] for name in tools}
    with docker_registry(directory / "source") as source:
        builder = ContentBuilder(seed=7)
        for number in range(scenario.images):
            image = builder.image(scenario.layers, layer_bytes=scenario.layer_bytes)
            push_over_http(f"http://{source}", REPOSITORY, image, [f"v{number}"])
        for turn in range(runs + 1):
            for name, command in tools.items():
                with docker_registry(directory / "destination") as destination:
                    sample = measure(command(source, destination, directory), directory)
                if turn:
                    samples[name].append(sample)
    return {
        "scenario": asdict(scenario),
        "runs": runs,
        "tools": {name: _summary(scenario, taken) for name, taken in samples.items()},
    }


def _summary(scenario: Scenario, samples: list[Sample]) -> dict[str, object]:
    def spread(values: list[float]) -> dict[str, float]:
        return {
            "median": round(statistics.median(values), 3),
            "min": round(min(values), 3),
            "max": round(max(values), 3),
        }

    gigabytes = scenario.bytes_moved / 1e9
    return {
        "wall_s": spread([sample.wall_s for sample in samples]),
        "cpu_s": spread([sample.cpu_s for sample in samples]),
        "cpu_s_per_gb": spread([sample.cpu_s / gigabytes for sample in samples]),
        "peak_memory_mib": spread([sample.peak_memory_bytes / MIB for sample in samples]),
    }


def main() -> None:
    """Read the arguments, run, print."""
    parser = argparse.ArgumentParser(description="image-syncer against skopeo, alternating.")
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each tool (default: 5)")
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), action="append", help="default: all")
    parser.add_argument("--json", metavar="FILE", help="write the result here too")
    parser.add_argument("--directory", metavar="DIR", help="where registries keep their files (default: temporary)")
    arguments = parser.parse_args()
    if not shutil.which("docker-registry"):
        raise SystemExit("docker-registry is not installed: it is what both tools copy from and to")
    results = []
    for name in arguments.scenario or sorted(SCENARIOS):
        directory = Path(tempfile.mkdtemp(prefix="image-syncer-perf-", dir=arguments.directory))
        try:
            results.append(run(SCENARIOS[name], arguments.runs, directory))
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    document = {
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
        "results": results,
    }
    text = json.dumps(document, indent=2)
    print(text)
    if arguments.json:
        Path(arguments.json).write_text(text + "\n")


if __name__ == "__main__":
    main()
