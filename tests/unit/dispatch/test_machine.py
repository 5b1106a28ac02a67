from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

import pytest

from image_syncer.dispatch.machine import inspect_machine, raise_open_files

if TYPE_CHECKING:
    from pathlib import Path

UNLIMITED_V1 = 9223372036854771712
"""What cgroup 1 writes where there is no limit."""
MIB = 2**20


class Limits:
    """Stands in for the limits of this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        infinity = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        self.values = dict.fromkeys((resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_NOFILE), infinity)
        self.refuses = False
        monkeypatch.setattr(resource, "getrlimit", self.values.__getitem__)
        monkeypatch.setattr(resource, "setrlimit", self._set)

    def _set(self, which: int, limits: tuple[int, int]) -> None:
        if self.refuses:
            raise ValueError("current limit exceeds maximum limit")
        assert limits[1] == self.values[which][1]
        self.values[which] = limits


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> Limits:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    return Limits(monkeypatch)


class Tree:
    """A made-up machine: its /proc/self/cgroup, and files under /sys/fs/cgroup."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def member(self, *lines: str) -> Tree:
        return self._write("proc/self/cgroup", "\n".join(lines))

    def group(self, path: str, **files: object) -> Tree:
        """The files of one group; dots in their names are written as two underscores."""
        for name, text in files.items():
            self._write(f"sys/fs/cgroup/{path}/{name.replace('__', '.')}", str(text))
        return self

    def _write(self, path: str, text: str) -> Tree:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(f"{text}\n")
        return self


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_a_machine_without_cgroups_and_limits_gives_all_it_has(tree: Tree) -> None:
    machine = inspect_machine(tree.root)
    assert (machine.cpus, machine.memory_bytes) == (8, None)
    assert machine.open_files >= 2**20


def test_cgroup_2(tree: Tree) -> None:
    tree.member("0::/system.slice/run.service")
    tree.group("system.slice/run.service", cpu__max="150000 100000", memory__max=256 * MIB)
    machine = inspect_machine(tree.root)
    assert (machine.cpus, machine.memory_bytes) == (2, 256 * MIB)


def test_cgroup_2_without_limits(tree: Tree) -> None:
    tree.member("0::/a").group("a", cpu__max="max 100000", memory__max="max", memory__high="max")
    machine = inspect_machine(tree.root)
    assert (machine.cpus, machine.memory_bytes) == (8, None)


def test_the_tightest_limit_of_the_groups_above_counts(tree: Tree) -> None:
    tree.member("0::/a/b/c")
    tree.group("a/b/c", cpu__max="600000 100000", memory__max=512 * MIB)
    tree.group("a/b", cpu__max="max 100000", memory__max="max", memory__high=384 * MIB)
    tree.group("a", cpu__max="300000 100000", memory__max=1024 * MIB)
    tree.group("other", cpu__max="100000 100000", memory__max=1)
    machine = inspect_machine(tree.root)
    assert (machine.cpus, machine.memory_bytes) == (3, 384 * MIB)


def test_cgroup_1(tree: Tree) -> None:
    tree.member("12:pids:/x", "9:cpu,cpuacct:/jobs/7", "4:memory:/jobs/7", "1:name=systemd:/", "0::/")
    tree.group("cpu,cpuacct/jobs/7", cpu__cfs_quota_us=50000, cpu__cfs_period_us=100000)
    tree.group("memory/jobs/7", memory__limit_in_bytes=UNLIMITED_V1)
    tree.group("memory/jobs", memory__limit_in_bytes=300 * MIB)
    machine = inspect_machine(tree.root)
    assert (machine.cpus, machine.memory_bytes) == (1, 300 * MIB)


def test_cgroup_1_without_limits_and_under_the_name_of_one_controller(tree: Tree) -> None:
    tree.member("9:cpu,cpuacct:/", "4:memory:/")
    tree.group("cpu", cpu__cfs_quota_us=-1, cpu__cfs_period_us=100000)
    tree.group("memory", memory__limit_in_bytes=UNLIMITED_V1)
    machine = inspect_machine(tree.root)
    assert (machine.cpus, machine.memory_bytes) == (8, None)


@pytest.mark.parametrize(
    "line", ["0::/docker/0123abcd", "0::/../../docker/0123abcd", "0::/"], ids=["of the host", "from above", "own"]
)
def test_in_a_container_the_mount_shows_our_group_at_its_root(tree: Tree, line: str) -> None:
    tree.member(line).group("", cpu__max="400000 100000", memory__max=64 * MIB)
    machine = inspect_machine(tree.root)
    assert (machine.cpus, machine.memory_bytes) == (4, 64 * MIB)


@pytest.mark.parametrize("text", ["", "nonsense", "0", "12 34 56", "x:y", "99999999999999999999"])
def test_what_is_not_understood_is_no_limit(tree: Tree, text: str) -> None:
    tree.member(text, "0::/a").group("a", cpu__max=text, memory__max=text)
    machine = inspect_machine(tree.root)
    assert (machine.cpus, machine.memory_bytes) == (8, None)


@pytest.mark.parametrize("which", [resource.RLIMIT_AS, resource.RLIMIT_DATA])
def test_limits_of_the_process_count_like_those_of_its_group(tree: Tree, limits: Limits, which: int) -> None:
    tree.member("0::/a").group("a", memory__max=256 * MIB)
    limits.values[which] = (128 * MIB, resource.RLIM_INFINITY)
    assert inspect_machine(tree.root).memory_bytes == 128 * MIB
    limits.values[which] = (512 * MIB, resource.RLIM_INFINITY)
    assert inspect_machine(tree.root).memory_bytes == 256 * MIB


def test_the_hard_limit_is_what_can_be_opened(tree: Tree, limits: Limits) -> None:
    limits.values[resource.RLIMIT_NOFILE] = (256, 4096)
    assert inspect_machine(tree.root).open_files == 4096


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((256, 4096), 1000),
        ((256, 512), 512),
        ((256, 256), 256),
        ((2000, 4096), 2000),
        ((256, resource.RLIM_INFINITY), 1000),
    ],
)
def test_the_soft_limit_is_raised_as_far_as_needed_and_allowed(
    limits: Limits, before: tuple[int, int], after: int
) -> None:
    limits.values[resource.RLIMIT_NOFILE] = before
    assert raise_open_files(1000) == after
    assert limits.values[resource.RLIMIT_NOFILE] == (after, before[1])


def test_no_limit_stays_none(limits: Limits) -> None:
    assert raise_open_files(1000) >= 1000
    assert limits.values[resource.RLIMIT_NOFILE] == (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def test_a_system_that_refuses_leaves_it_as_it_is(limits: Limits) -> None:
    limits.values[resource.RLIMIT_NOFILE] = (256, resource.RLIM_INFINITY)
    limits.refuses = True
    assert raise_open_files(1000) == 256
