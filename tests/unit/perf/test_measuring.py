"""One command, measured: its children count, its failure is told, and its end is waited for only so long."""

from __future__ import annotations

import json
import os
import select
import sys
import time

import pytest
from perf.errors import Mistake
from perf.figures import derive
from perf.measure import Measurement, read_report, run_measured
from perf.processes import ProcessPeak, role_of
from perf.task import Wanted

MIB = 2**20
BURN = "import time; kept = b'x' * ({mib} << 20)\nwhile time.process_time() < {cpu_s}: pass"


def measured(command, tmp_path, *, limit_s: float = 60.0) -> Measurement:
    output = tmp_path / "output"
    return run_measured(command, environment={"MADE": "up"}, output=output, limit_s=limit_s, name="the tool")


def test_children_of_children_count_and_each_process_has_its_peak(tmp_path) -> None:
    burner = BURN.format(mib=64, cpu_s=0.3)
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burner!r}], check=True)"
    found = measured(["bash", "-c", f"{sys.executable} -c {json.dumps(child)}; true"], tmp_path)
    assert found.wall_s > 0.3
    assert 0.3 < found.cpu_s < 10
    assert found.switches > 0
    assert len(found.processes) >= 3
    assert 64 * MIB < max(found.peaks.values()) < 120 * MIB
    assert "bash" in found.peaks


def test_a_child_that_was_not_waited_for_is_counted_all_the_same(tmp_path) -> None:
    # The parent ignores SIGCHLD, so that the kernel reaps its child, and wait4(2) of the parent knows nothing of it.
    child = BURN.format(mib=1, cpu_s=1.0)
    parent = (
        "import signal, subprocess, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}]).wait()"
    )
    found = measured([sys.executable, "-c", parent], tmp_path)
    assert found.cpu_s > 0.8
    assert any("/proc saw" in note for note in found.notes)


def test_a_command_that_fails_is_told_with_its_last_words(tmp_path) -> None:
    with pytest.raises(Mistake, match=r"(?s)the tool failed with exit code 3.*what went wrong"):
        measured(["bash", "-c", "echo what went wrong >&2; exit 3"], tmp_path)
    with pytest.raises(Mistake, match="cannot start /no/such/program"):
        measured(["/no/such/program"], tmp_path)


def test_a_command_that_does_not_end_is_ended_with_all_its_processes(tmp_path) -> None:
    began = time.monotonic()
    with pytest.raises(Mistake, match=r"has not ended after 0\.5 s"):
        measured(["bash", "-c", "sleep 61 & sleep 60"], tmp_path, limit_s=0.5)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("apart", ["", "set -m; "])
def test_what_a_good_run_leaves_behind_is_ended(apart, tmp_path) -> None:
    measured(["bash", "-c", f"{apart}sleep 62 & echo $!"], tmp_path)
    pid = int((tmp_path / "output").read_text())
    try:
        left = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([left], [], [], 10)[0]
    finally:
        os.close(left)


@pytest.mark.parametrize(
    ("line", "is_root", "role"),
    [
        ("python -m image_syncer_cli sync --auth a", True, "coordinator"),
        ("python -c import sys; from image_syncer.worker.process import main 5", False, "worker"),
        ("/usr/bin/skopeo sync", False, "skopeo"),
    ],
)
def test_processes_are_known_by_their_command_line(line, is_root, role) -> None:
    assert role_of(line.split(), is_root=is_root) == role


def report_of(tmp_path, value) -> Measurement:
    found = Measurement(2.0, 1.0, 50, [ProcessPeak(1, "coordinator", 40 * MIB), ProcessPeak(2, "worker", 30 * MIB)])
    path = tmp_path / "report.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    read_report(path, found)
    return found


def test_requests_and_waits_come_from_the_report(tmp_path) -> None:
    transfers = [
        {"began_s": 0.0, "ended_s": 2.0, "source_waited_s": 1.0, "destination_waited_s": 0.1},
        {"began_s": 1.0, "ended_s": 3.0, "source_waited_s": 0.0, "destination_waited_s": [0.1, 0.2]},
    ]
    found = report_of(tmp_path, {"totals": {"requests": {"get blob": 3, "put upload": 2}}, "transfers": transfers})
    figures = derive(found, Wanted(2, 6, 6, 6, 10**9), 2, moves=True)
    assert figures["requests"] == 5
    assert figures["source_waited"] == pytest.approx(0.25)
    assert figures["destination_waited"] == pytest.approx(0.1)
    assert figures["cpu_s_per_gb"] == pytest.approx(0.5)
    assert figures["bytes_per_s"] == pytest.approx(1e9)
    assert figures["blobs_per_cpu_s"] == pytest.approx(12)
    assert (figures["coordinator_bytes"], figures["worker_bytes"]) == (40 * MIB, 30 * MIB)


@pytest.mark.parametrize(
    "report", ["", "[", {}, {"totals": None}, {"totals": {}, "transfers": []}, {"transfers": [{}, 3]}]
)
def test_a_report_of_another_revision_does_no_harm(report, tmp_path) -> None:
    figures = derive(report_of(tmp_path, report), Wanted(1, 2, 2, 2, 10), 1, moves=False)
    assert figures["requests"] == 0
    assert "source_waited" not in figures
    assert figures["cpu_us_per_tag"] == pytest.approx(1e6)


def test_without_a_report_requests_are_those_that_the_destination_counted() -> None:
    found = Measurement(1.0, 1.0, 0, [], arrived={"PUT blob": 3, "HEAD manifest": 2, "blob bytes": 9, "refused 429": 1})
    figures = derive(found, Wanted(1, 2, 2, 2, 10), 1, moves=True)
    assert (figures["requests"], figures["refused"]) == (5, 1)
