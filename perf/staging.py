"""Sets a scenario up: content on tmpfs and sources once, destinations anew for each run; and checks what arrived."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from perf.errors import Mistake
from perf.scenario import room_needed
from perf.stage import servers
from perf.stage.content import MANIFEST_TYPE, build_content
from perf.stage.wide_area import wide_area
from perf.task import list_blobs, write_task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from perf.measure import Measurement
    from perf.scenario import Destination, Scenario
    from perf.stage.content import Content
    from perf.stage.servers import Place
    from perf.task import Blob, Task
    from perf.tools import Tool

__all__ = ["SPOILED", "Stage", "check_room", "find_directory"]

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the tmpfs that every Linux has
SPOILED = ("broken uploads", "missing blobs", "wrong sizes")
"""Counts of a sink that are not there after a good run."""
_GB = 1e9


def find_directory(given: str | None) -> Path:
    """Where content is kept. Raises Mistake where that is no directory."""
    path = Path(given) if given else SHARED_MEMORY
    if not path.is_dir():
        mend = "" if given else "; give another with --directory, a tmpfs if you can"
        raise Mistake(f"{path} is no directory{mend}")
    return path.resolve()


def check_room(scenario: Scenario, directory: Path) -> None:
    """Raises Mistake where the scenario does not fit into `directory`, or into memory, where that is a tmpfs."""
    needed, free = room_needed(scenario), shutil.disk_usage(directory).free
    available = _available_memory()
    if directory.is_relative_to(SHARED_MEMORY) and available is not None:
        free = min(free, available)
    if needed > free:
        raise Mistake(
            f"{scenario.name} needs {needed / _GB:.1f} GB in {directory}, where {free / _GB:.1f} GB are free: give"
            f" another place with --directory, or less of it with --fraction {free / needed:.2f} or so"
        )


def _available_memory() -> int | None:
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    return None


class Stage:
    """A scenario that is set up; `close` takes everything down and away."""

    def __init__(self, scenario: Scenario, directory: Path, *, source_kind: str = "auto") -> None:
        self.scenario = scenario
        self._source_kind = source_kind
        self._stack = ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="image-syncer-perf-", dir=directory))
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.folder.chmod(0o755)  # nginx's workers are another user
        self._contents: list[tuple[Content, list[Blob]]] = []
        self._sources: list[Place] = []
        self._taking: list[Place] = []
        self._runs = 0
        self.kinds: dict[str, str] = {}
        """What served: for the result."""
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Stage:  # noqa: PYI034 - `Self` is of Python 3.11, and this has no subclasses
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the servers and remove the content."""
        self._stack.close()

    def _set_up(self) -> None:
        for number, source in enumerate(self.scenario.sources):
            content = build_content(source.content, self.folder / f"content{number}")
            self._contents.append((content, list_blobs(content)))
            if source.registry:
                place = self._stack.enter_context(
                    servers.registry(tls=source.tls, holds=content, directory=self.folder)
                )
            else:
                # nginx does neither of these: where it was asked for, ours serves all the same.
                limits = source.auth or source.bytes_per_s
                place = self._stack.enter_context(
                    servers.source(
                        content,
                        tls=source.tls,
                        auth=source.auth,
                        bytes_per_s=source.bytes_per_s,
                        kind="python" if limits else self._source_kind,  # type: ignore[arg-type]
                    )
                )
            self._sources.append(self._far("source", place, self._stack))
            self.kinds[f"source {number}" if len(self.scenario.sources) > 1 else "source"] = place.kind

    @contextmanager
    def run(self, streams: int) -> Iterator[Task]:
        """Empty destinations, and what a tool has to do; everything of it is gone afterwards."""
        self._runs += 1
        folder = self.folder / f"run{self._runs}"
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            self._taking, places = [], []
            for number, destination in enumerate(self.scenario.destinations):
                place = stack.enter_context(self._destination(destination))
                self._taking.append(place)
                places.append(self._far("destination", place, stack))
                name = f"destination {number}" if len(self.scenario.destinations) > 1 else "destination"
                self.kinds[name] = place.kind
            sources = [(place, *made) for place, made in zip(self._sources, self._contents, strict=True)]
            yield write_task(folder / "task", sources, places, streams=streams)

    def _far(self, side: str, place: Place, stack: ExitStack) -> Place:
        """The place as the tool sees it, which may be over a wide-area path."""
        wide = self.scenario.wide_area
        if wide is None or side not in wide.sides:
            return place
        path = stack.enter_context(wide_area(place, delay_ms=wide.delay_ms, loss=wide.loss, bits_per_s=wide.bits_per_s))
        self.kinds[f"path to the {side}"] = path.kind
        return path.place

    def _destination(self, destination: Destination) -> AbstractContextManager[Place]:
        holds = self._contents[0][0] if destination.holds else None
        if destination.registry:
            return servers.registry(tls=destination.tls, holds=holds, directory=self.folder)
        return servers.sink(
            tls=destination.tls,
            auth=destination.auth,
            bytes_per_s=destination.bytes_per_s,
            refuse_429=destination.refuse_429,
            holds=holds,
        )

    def check(self, task: Task, tool: Tool, measured: Measurement) -> None:
        """Counts what the destinations were given into `measured`. Raises Mistake where it is not what was to arrive.

        Cheap: the sinks count while they take; a docker-registry, which has checked blobs itself, is asked for tags.
        """
        if tool.delivers == "nothing":
            return
        for number, (place, destination) in enumerate(zip(self._taking, self.scenario.destinations, strict=True)):
            if destination.registry:
                if tool.delivers == "images":
                    self._check_tags(place, tool)
                continue
            counted = servers.counts(place)
            for kind, count in counted.items():
                measured.arrived[kind] = measured.arrived.get(kind, 0) + count
            if destination.holds:
                asked = sum(counted.get(f"{method} manifest", 0) for method in ("HEAD", "GET", "PUT"))
                if asked < task.wanted.images:
                    raise Mistake(f"{tool.name} ended well, but asked for {asked} of {task.wanted.images} manifests")
            else:
                _check_counts(counted, task, tool, number)

    def _check_tags(self, place: Place, tool: Tool) -> None:
        space = ["" if len(self._contents) == 1 else f"from{number}/" for number in range(len(self._contents))]
        wanted = [
            (f"{prefix}{repository}", tag, content.root / "v2" / repository / "manifests" / tag)
            for prefix, (content, _) in zip(space, self._contents, strict=True)
            for repository, tags in content.tags.items()
            for tag in tags
        ]
        if missing := _count_missing(place, wanted):
            raise Mistake(f"{tool.name} ended well, but {missing} of {len(wanted)} tags are not at the destination")


def _check_counts(counted: dict[str, int], task: Task, tool: Tool, number: int) -> None:
    wanted = task.wanted
    findings = [f"{counted[kind]} {kind}" for kind in SPOILED if counted.get(kind)]
    placed = counted.get("blobs committed", 0) + counted.get("blobs mounted", 0)
    if placed < wanted.placed_blobs:
        findings.append(f"{placed} of {wanted.placed_blobs} blobs arrived")
    if counted.get("blob bytes", 0) < wanted.distinct_bytes:
        findings.append(f"{counted.get('blob bytes', 0)} of {wanted.distinct_bytes} bytes arrived")
    if tool.delivers == "images" and counted.get("manifests", 0) < wanted.images:
        findings.append(f"{counted.get('manifests', 0)} of {wanted.images} manifests arrived")
    if findings:
        raise Mistake(f"{tool.name} ended well, but at destination {number}: {', '.join(findings)}")


def _count_missing(place: Place, wanted: list[tuple[str, str, Path]]) -> int:
    """How many of the (repository, tag, file of the manifest) a registry without passwords does not have like that."""
    connection, missing = servers.connect(place), 0
    for repository, tag, manifest in wanted:
        connection.request("HEAD", f"/v2/{repository}/manifests/{tag}", headers={"Accept": MANIFEST_TYPE})
        answer = connection.getresponse()
        answer.read()
        digest = f"sha256:{hashlib.sha256(manifest.read_bytes()).hexdigest()}"
        missing += answer.headers["Docker-Content-Digest"] != digest
    connection.close()
    return missing
