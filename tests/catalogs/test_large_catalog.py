"""A large catalog: what is selected of it, how many requests a second run makes, and how little memory it takes.

The whole has 2,000 repositories and 100,000 tags (`tox -e slow`); the extended tests have a tenth of it.
"""

from __future__ import annotations

import json
import re
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer import SyncError
from image_syncer.journal.status import load_status
from support.large_catalog import CatalogShape, LargeRegistry
from support.memory import MemoryWatch
from support.processes import wait_until
from support.sync_process import RunFiles, SyncProcess

if TYPE_CHECKING:
    from pathlib import Path

    from image_syncer.embedded import CounterValues

MIB = 2**20
PATIENCE_S = 1200.0
NEWEST = 5
BASE_BYTES = 80 * MIB
"""What a coordinator may have whatever the catalog is: Python, libcurl, and 256 images under way. Measured: 55 MiB."""
BYTES_A_REPOSITORY = 8 * 1024
"""What a repository may add: its rule, and where the destination has each of its few blobs. Measured: 5 KB in the run
that copies, 2 KB in the one that compares. A tag that is done adds nothing.
"""
NOISE_BYTES = 8 * MIB
"""By so much runs differ: by how many requests were under way at most, and by what malloc made of it."""
TENTH, WHOLE = CatalogShape(200, 50, page=20), CatalogShape(2000, 50, page=20)


@dataclass
class Lab:
    """Runs from one registry to another, each in a process of its own."""

    source: LargeRegistry
    destination: LargeRegistry
    directory: Path
    runs: int = 0

    def start(self, rules: list[dict[str, Any]], *words: str) -> SyncProcess:
        self.runs += 1
        files = RunFiles(self.directory / f"run{self.runs}")
        files.directory.mkdir()
        insecure = {each.address: {"insecure": True} for each in (self.source, self.destination)}
        files.config.write_text(json.dumps({"version": 2, "registries": insecure, "rules": rules}))
        return SyncProcess(files, "--workers", "1", "--log-level", "warning", *words)

    def run(self, rules: list[dict[str, Any]], *words: str) -> Ran:
        before = self.source.counters(), self.destination.counters()
        with self.start(rules, *words) as run, MemoryWatch(run) as watch:
            assert run.wait(patience_s=PATIENCE_S) == 0, run.err
        asked = self.source.counters().minus(before[0]), self.destination.counters().minus(before[1])
        return Ran(run.report, *asked, watch.peaks[run.process])


@dataclass
class Ran:
    """The report, what each side was asked, and the most that the coordinator had resident, in bytes."""

    report: dict[str, Any]
    source: CounterValues
    destination: CounterValues
    peak_bytes: int

    @property
    def outcomes(self) -> dict[str, int]:
        return {name: count for name, count in self.report["totals"]["outcomes"].items() if count}

    @property
    def requests(self) -> int:
        return self.source.total_requests + self.destination.total_requests


def version(tag: str) -> tuple[int, ...] | None:
    """The numbers of a tag that is a version and no prerelease."""
    found = re.fullmatch(r"v(\d+)\.(\d+)\.(\d+)", tag)
    return tuple(map(int, found.groups())) if found else None


def pages_of(names: int, shape: CatalogShape) -> int:
    """On how many pages so many names come."""
    return -(-names // shape.page)


@pytest.mark.extended
@pytest.mark.parametrize("shape", [TENTH, pytest.param(WHOLE, marks=pytest.mark.slow)], ids=["a tenth", "the whole"])
def test_globs_semver_and_the_latest_by_version(shape: CatalogShape, tmp_path: Path) -> None:
    with LargeRegistry(shape) as source, LargeRegistry(None) as destination:
        lab = Lab(source, destination, tmp_path)
        rules = [
            {
                "source": f"{source.address}/team-*/**",
                "destination": f"{destination.address}/copy/\\1/\\2",
                "exclude": ["team-00/*", "*/app-07"],
                "tags": {"versions": ">=1.1 <3", "newest": NEWEST},
            },
            {
                "source": f"{source.address}/team-00/*",
                "destination": f"{destination.address}/globs/**",
                "tags": {"include": ["v1.2.*", "latest"], "exclude": "*-rc.*"},
            },
        ]
        state = "--state", str(tmp_path / "state")
        first, second, third = lab.run(rules, *state), lab.run(rules), lab.run(rules, *state)

    names = list(shape.names())
    newest = [name for name in names if not name.startswith("team-00/") and not name.endswith("/app-07")]
    globbed = [name for name in names if name.startswith("team-00/")]
    versions = [(number, tag) for tag in shape.tag_names() if (number := version(tag)) and (1, 1) <= number < (3,)]
    by_version = [tag for _number, tag in sorted(versions)[-NEWEST:]]
    by_glob = [tag for tag in shape.tag_names() if re.fullmatch(r"v1\.2\.\d+|latest", tag)]
    chosen = {f"{source.address}/{name}:{tag}" for name in newest for tag in by_version}
    chosen |= {f"{source.address}/{name}:{tag}" for name in globbed for tag in by_glob}
    assert len(by_version) == NEWEST < len(versions)
    assert len(by_glob) > 1
    for ran, outcome in ((first, "copied"), (second, "unchanged"), (third, "unchanged")):
        assert {image["source"] for image in ran.report["images"]} == chosen
        assert ran.outcomes == {outcome: len(chosen)}

    # Before a registry is asked for the repositories of one owner (team-00), it is asked what it is, by a ping.
    listing = {"ping": 1, "list catalog": pages_of(shape.repositories, shape)}
    listing["list tags"] = pages_of(shape.tags, shape) * (len(newest) + len(globbed))
    assert second.source.requests == third.source.requests == {**listing, "head manifest": len(chosen)}
    assert second.destination.requests == {"head manifest": len(chosen)}
    assert third.destination.requests == {}  # what the journal knows to be there, nobody asks about
    # The run that copies asks for each manifest, and for each distinct blob once: the other repositories mount it.
    moved = first.destination.count("put upload")
    assert first.source.requests == {
        **listing,
        "head manifest": len(chosen),
        "get manifest": len(chosen),
        "get blob": moved,
    }
    assert first.destination.count("put manifest") == len(chosen)
    assert moved == first.report["totals"]["blobs_moved"] <= 1 + len(shape.images())

    print(f"\n{len(names):,} repositories, {len(names) * shape.tags:,} tags, {len(chosen):,} selected")
    for title, ran in (("copies", first), ("compares", second), ("with a journal", third)):
        print(f"{title}: {ran.peak_bytes / MIB:.0f} MiB, {ran.requests:,} requests, {ran.report['seconds']:.1f} s")
    assert max(first.peak_bytes, second.peak_bytes) < BASE_BYTES + shape.repositories * BYTES_A_REPOSITORY


@pytest.mark.extended
@pytest.mark.parametrize(
    ("few", "many"),
    [
        (CatalogShape(20, 25, page=20), CatalogShape(20, 250, page=20)),
        pytest.param(CatalogShape(200, 50, page=20), CatalogShape(200, 500, page=20), marks=pytest.mark.slow),
    ],
    ids=["5,000 tags", "100,000 tags"],
)
def test_ten_times_the_tags_take_no_more_memory(few: CatalogShape, many: CatalogShape, tmp_path: Path) -> None:
    peaks = []
    for shape in (few, many):
        with LargeRegistry(shape) as source, LargeRegistry(shape) as destination:
            directory = tmp_path / str(shape.tags)
            directory.mkdir()
            rule = {"source": f"{source.address}/**", "destination": f"{destination.address}/**"}
            ran = Lab(source, destination, directory).run([rule])
        tags = shape.repositories * shape.tags
        assert ran.outcomes == {"unchanged": tags}
        pages = pages_of(shape.tags, shape) * shape.repositories
        assert ran.source.requests == {
            "list catalog": pages_of(shape.repositories, shape),
            "list tags": pages,
            "head manifest": tags,
        }
        assert ran.destination.requests == {"head manifest": tags}
        peaks.append(ran.peak_bytes)
        print(f"\n{tags:,} tags, all selected: {ran.peak_bytes / MIB:.0f} MiB, {ran.report['seconds']:.1f} s")
    assert peaks[1] - peaks[0] < NOISE_BYTES


@pytest.mark.extended
def test_after_a_kill_the_lists_are_read_again_and_little_else(tmp_path: Path) -> None:
    """With a journal, what is done costs a HEAD at the source: it may have changed there."""
    shape, state = CatalogShape(20, 50, page=20), tmp_path / "state"
    tags = shape.repositories * shape.tags
    with LargeRegistry(shape) as source, LargeRegistry(None) as destination:
        lab = Lab(source, destination, tmp_path)
        rules = [{"source": f"{source.address}/**", "destination": f"{destination.address}/**"}]
        with lab.start(rules, "--state", str(state)) as run:
            wait_until(
                lambda: done_of(state) >= tags // 10 or not run.process.is_alive, "a tenth of the images is done"
            )
            run.signal(signal.SIGKILL)
            run.wait()
            wait_until(lambda: not run.orphans, "the worker ends")
        done = done_of(state)
        assert tags // 10 <= done < tags
        rerun = lab.run(rules, "--state", str(state))
    assert set(rerun.outcomes) == {"copied", "unchanged"}
    assert sum(rerun.outcomes.values()) == tags
    assert rerun.outcomes["unchanged"] >= done  # some had arrived, and the journal had not heard of it
    assert rerun.source.count("list catalog") == pages_of(shape.repositories, shape)
    assert rerun.source.count("list tags") == shape.repositories * pages_of(shape.tags, shape)
    assert rerun.source.count("head manifest") == tags
    assert rerun.destination.count("head manifest") == tags - done
    assert rerun.source.count("get manifest") <= tags - done


def test_what_creation_times_cost_is_said_where_people_look(tmp_path: Path) -> None:
    shape = CatalogShape(3, 120)
    tags = shape.repositories * shape.tags
    with LargeRegistry(shape) as source, LargeRegistry(None) as destination:
        rule = {"source": f"{source.address}/**", "destination": f"{destination.address}/**"}
        lab = Lab(source, destination, tmp_path)
        with lab.start([{**rule, "tags": {"created": {"newest": 2}}}], "--dry-run") as run:
            assert run.wait() == 0, run.err
        asked = source.counters()
    told = [json.loads(line) for line in run.err.splitlines() if line.startswith("{") and "creation times" in line]
    assert {line["repository"]: line["requests"] for line in told} == {
        f"{source.address}/{name}": "120 to 360" for name in shape.names()
    }
    assert tags <= asked.count("get manifest") + asked.count("get blob") <= 3 * tags
    assert "two or three requests for each tag" in run.err


def done_of(state: Path) -> int:
    """The images that the journal has as done."""
    try:
        return load_status(str(state)).images_done
    except SyncError:
        return 0  # it is not there yet
