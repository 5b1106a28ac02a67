"""The whole command on one small image, held to what is counted: processes, connections, sends and requests. No time is
measured, so a busy machine changes nothing.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import ContentBuilder, push_to, serve_in_thread
from support.programs import find_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORKS = ("fork", "vfork", "clone")
"""System calls that make processes; glibc makes threads by clone3."""


@pytest.fixture
def words(tmp_path: Path) -> Iterator[list[str]]:
    """The words that copy one image of 1 KB."""
    with serve_in_thread() as source, serve_in_thread() as destination:
        push_to(source.storage, "team/app", ContentBuilder(1).image(1, layer_bytes=1000), ["v1"])
        insecure = [word for one in (source, destination) for word in ("--insecure", one.address)]
        quiet = ["--quiet", "--no-progress", "--report", str(tmp_path / "report.json")]
        yield ["copy", *insecure, *quiet, f"{source.address}/team/app:v1", f"{destination.address}/copied:v1"]


def traced(words: list[str], directory: Path) -> tuple[dict[str, int], dict[str, int]]:
    """How often each system call was made by the command and its processes, and the requests of its report."""
    table = directory / "calls"
    strace = [find_program("strace"), "-f", "-c", "-o", str(table)]
    subprocess.run([*strace, sys.executable, "-m", "image_syncer_cli", *words], check=True, capture_output=True)
    lines = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", table.read_text(), re.MULTILINE)
    report = json.loads((directory / "report.json").read_text())
    return {name: int(count) for count, name in lines}, report["totals"]["requests"]


def test_a_small_image_costs_one_program_two_forks_and_ten_requests(words: list[str], tmp_path: Path) -> None:
    calls, requests = traced(words, tmp_path)
    # No worker is a new interpreter: the zygote and one worker are forked.
    assert calls["execve"] == 1
    assert sum(calls.get(name, 0) for name in FORKS) == 2
    # 2 HEAD, a GET and a PUT of the manifest, 3 for each of two blobs: and no request beside these.
    assert sum(requests.values()) == 10
    # 10 are counted: two tries of TLS (the registries are insecure), four in the coordinator, four in the worker.
    assert calls["connect"] <= 12
    # 13: a request each, and the hellos of TLS.
    assert calls["sendto"] <= 16
    # 16: messages between the processes, wake-ups, the report.
    assert calls["write"] <= 24


def test_an_image_that_is_there_costs_one_fork_and_two_requests(words: list[str], tmp_path: Path) -> None:
    traced(words, tmp_path)
    calls, requests = traced(words, tmp_path)
    assert calls["execve"] == 1
    # The zygote, before anything is known; it imports nothing then.
    assert sum(calls.get(name, 0) for name in FORKS) == 1
    assert requests == {"head manifest": 2}
    assert calls["sendto"] <= 8
