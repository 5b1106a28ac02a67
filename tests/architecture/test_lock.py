"""The locks in requirements/: what CI installs (ci.lock), what the container image and the single file hold (run.lock,
run-clouds.lock), and what builds that (dist.lock). They have what pyproject.toml asks for, by hashes, in one version
each, and say nothing of where it comes from.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from architecture.source_tree import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

LOCK = PROJECT / "requirements" / "ci.lock"
LOCKS = sorted(LOCK.parent.glob("*.lock"))
OF_RUNS = ("run.lock", "run-clouds.lock")
each_lock = pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)", re.MULTILINE)
ASKED = re.compile(r'^ {4}"(?P<name>[A-Za-z0-9._-]+)(?:\[[\w,]+\])?(?:[><=]=?(?P<version>[\w.]+))?', re.MULTILINE)
LEFT_OUT = frozenset({"matplotlib", "py-spy"})
"""Of the extras `plots` and `perf`, which CI does not install."""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def asked_for(until: str = "\n[project.scripts]") -> dict[str, str]:
    """The packages of pyproject.toml with their least versions; extras of our own are what they name."""
    document = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    part = document.partition("\ndependencies = [")[2].partition(until)[0]
    found = {canonical(match["name"]): match["version"] for match in ASKED.finditer(part)}
    return {name: version for name, version in found.items() if name not in {"image-syncer", *LEFT_OUT}}


def pinned(lock: Path = LOCK) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for match in PINNED.finditer(lock.read_text(encoding="utf-8")):
        found.setdefault(canonical(match["name"]), []).append(match["version"])
    return found


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def test_the_lock_has_what_the_project_needs() -> None:
    asked, there = asked_for(), pinned()
    assert len(asked) > 15
    assert sorted(asked.keys() - there.keys()) == [], "run `bash .ci/lock`"
    too_old = [
        f"{name} {version}"
        for name, least in asked.items()
        for version in there[name]
        if least and numbers(version) < numbers(least)
    ]
    assert too_old == [], "run `bash .ci/lock`"


@pytest.mark.parametrize("name", OF_RUNS)
def test_the_locks_of_runs_have_what_the_command_needs(name: str) -> None:
    asked = asked_for("\n[project.optional-dependencies]")
    assert len(asked) > 8
    assert sorted(asked.keys() - pinned(LOCK.parent / name).keys()) == [], "run `bash .ci/lock`"


def test_what_was_tested_is_what_is_handed_out() -> None:
    tested = pinned()
    others = {
        f"{lock.name}: {name} {version}"
        for lock in LOCKS
        for name, versions in pinned(lock).items()
        for version in versions
        if name in tested and version not in tested[name]
    }
    assert sorted(others) == [], "run `bash .ci/lock`"
    handed_out = {name for name in OF_RUNS for name in pinned(LOCK.parent / name)}
    assert sorted(handed_out - tested.keys()) == []


@each_lock
def test_every_package_has_hashes(lock: Path) -> None:
    entries = re.split(r"\n(?=[A-Za-z0-9])", lock.read_text(encoding="utf-8"))[1:]
    assert len(entries) > 4
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


@each_lock
def test_it_names_no_place(lock: Path) -> None:
    words = ("://", "--index-url", "--extra-index-url", "--find-links", "--trusted-host", " @ ", "-e ")
    lines = [line for line in lock.read_text(encoding="utf-8").splitlines() if not line.startswith("    --hash=")]
    assert [line for line in lines if any(word in line for word in words)] == []
