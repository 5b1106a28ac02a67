"""requirements/ci.lock: what CI installs. It has what pyproject.toml asks for, by hashes, and says nothing of where it
comes from.
"""

from __future__ import annotations

import re

from architecture.source_tree import PROJECT

LOCK = PROJECT / "requirements" / "ci.lock"
PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)", re.MULTILINE)
ASKED = re.compile(r'^ {4}"(?P<name>[A-Za-z0-9._-]+)(?:\[[\w,]+\])?(?:[><=]=?(?P<version>[\w.]+))?', re.MULTILINE)
LEFT_OUT = frozenset({"matplotlib", "py-spy"})
"""Of the extras `plots` and `perf`, which CI does not install."""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def asked_for() -> dict[str, str]:
    """The packages of pyproject.toml with their least versions; extras of our own are what they name."""
    document = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    part = document.partition("\ndependencies = [")[2].partition("\n[project.scripts]")[0]
    found = {canonical(match["name"]): match["version"] for match in ASKED.finditer(part)}
    return {name: version for name, version in found.items() if name not in {"image-syncer", *LEFT_OUT}}


def pinned() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for match in PINNED.finditer(LOCK.read_text(encoding="utf-8")):
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


def test_every_package_has_hashes() -> None:
    entries = re.split(r"\n(?=[A-Za-z0-9])", LOCK.read_text(encoding="utf-8"))[1:]
    assert len(entries) > 40
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_it_names_no_place() -> None:
    words = ("://", "--index-url", "--extra-index-url", "--find-links", "--trusted-host", " @ ", "-e ")
    lines = [line for line in LOCK.read_text(encoding="utf-8").splitlines() if not line.startswith("    --hash=")]
    assert [line for line in lines if any(word in line for word in words)] == []
