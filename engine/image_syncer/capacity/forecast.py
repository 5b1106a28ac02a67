"""What a run has to do, and how it would go: workloads, hosts, forecasts and their curves. Plain values."""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING, TypeAlias

from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from image_syncer.oci import Digest, Repository


MACHINE, COORDINATOR = "machine", "coordinator"
WAITING = "latency"
"""The bottleneck where no resource is full: round trips, or streams that are slow one by one."""
MOST_PHASES = 40
"""The largest number of phases in a forecast."""
MOST_POINTS, FIRST_STEP_S = 400, 0.05
REQUESTS_OF_A_TAG = 2
"""The requests in `MeasuredPath.tag`: one to the source, one to a destination."""

Track: TypeAlias = "Callable[[float, int, int, int], None]"
"""Called during a simulation with the seconds since its begin, and the images, blobs and bytes that are done."""


class WorkBlob(Value, frozen=True):
    """A blob that an image names, and its size in bytes."""

    digest: Digest
    size: int


class WorkImage(Value, frozen=True):
    """One tag of a source, on its way to the `destinations` that lack it; none for an unchanged tag. `manifests` counts
    those that are read and put: one, or an index and its children. `destinations_asked` counts all destinations of the
    rule, since each gets a HEAD request.
    """

    source: Repository
    destinations: tuple[Repository, ...]
    blobs: tuple[WorkBlob, ...] = ()
    manifests: int = 1
    destinations_asked: int = 1

    @property
    def tags(self) -> float:
        """The cost of its HEAD requests, as a multiple of `MeasuredPath.tag`."""
        return (1 + self.destinations_asked) / REQUESTS_OF_A_TAG


class Workload(Value, frozen=True):
    """All images of a run, in its order, and the blobs that destination registries have already (`present`)."""

    images: tuple[WorkImage, ...]
    present: frozenset[tuple[str, Digest]] = frozenset()

    def unchanged(self) -> Workload:
        """The same images once more, after they were copied."""
        images = (WorkImage(one.source, (), (), one.manifests, one.destinations_asked) for one in self.images)
        return Workload(tuple(images))

    @property
    def registries(self) -> tuple[frozenset[str], frozenset[str]]:
        """The names of the source registries and of the destination registries."""
        sources = frozenset(image.source.registry for image in self.images)
        return sources, frozenset(one.registry for image in self.images for one in image.destinations)

    def bytes_to_move(self) -> int:
        """Bytes that go to destinations, each distinct blob once for each registry that lacks it."""
        sizes = {
            (destination.registry, blob.digest): blob.size
            for image in self.images
            for destination in image.destinations
            for blob in image.blobs
        }
        return sum(size for blob, size in sizes.items() if blob not in self.present)


class Host(Value, frozen=True):
    """The machine of a run: processors, and bytes per second of its link in each direction (None: no limit)."""

    cores: float
    link_bytes_per_s: float | None = None


class Phase(Value, frozen=True):
    """A span of time in which the run waited for `bottleneck`: "machine", "coordinator", "worker", "link", a path
    ("source.example → destination.example"), or "latency".
    """

    began_s: float
    ended_s: float
    bottleneck: str


class Forecast(Value, frozen=True):
    """How a run would go. `cpu_s` is of its own processes; `machine_s` includes registries on the same machine."""

    seconds: float
    bytes_moved: int
    blobs_moved: int
    blobs_mounted: int
    cpu_s: float
    machine_s: float
    memory_bytes: int
    phases: tuple[Phase, ...]

    @property
    def bottleneck(self) -> str:
        """What the run waited for longest."""
        waits: dict[str, float] = {}
        for phase in self.phases:
            waits[phase.bottleneck] = waits.get(phase.bottleneck, 0.0) + phase.ended_s - phase.began_s
        return max(waits, key=lambda name: waits[name], default=WAITING)


def summarize_phases(phases: Sequence[Phase], most: int = MOST_PHASES) -> list[Phase]:
    """At most `most` phases: equal slices of the time, each named by its longest bottleneck."""
    if not phases:
        return []
    began, ended = phases[0].began_s, phases[-1].ended_s
    slices: list[dict[str, float]] = [{} for _ in range(most)]
    for phase in phases:
        first, last = ((at - began) / (ended - began) * most for at in (phase.began_s, phase.ended_s))
        for number in range(int(first), min(most, math.ceil(last))):
            part = min(last, number + 1) - max(first, number)
            slices[number][phase.bottleneck] = slices[number].get(phase.bottleneck, 0.0) + part
    found: list[Phase] = []
    for number, waits in enumerate(slices):
        name = max(waits, key=lambda name: waits[name])
        until = began + (ended - began) * (number + 1) / most
        if found and found[-1].bottleneck == name:
            found[-1] = replace(found[-1], ended_s=until)
        else:
            found.append(Phase(found[-1].ended_s if found else began, until, name))
    return found


def bottleneck_of(full: tuple[str, ...]) -> str:
    """One word for the resources that are full: the widest of them."""
    for name in full:
        if name in (MACHINE, COORDINATOR) or " → " in name:
            return name
        if name.startswith("link"):
            return "link"
    return "worker" if full else WAITING


class Foreseen(Value, frozen=True):
    """The prediction of a run of `images`, `blobs` and `bytes`: it takes `seconds`, in nine of ten cases at most
    `p90_s`. `points` are (seconds, progress from 0 to 1), neither of which decreases.
    """

    seconds: float
    p90_s: float
    images: int
    blobs: int
    bytes: int
    points: tuple[tuple[float, float], ...]

    def progress(self, images: int, blobs: int, size: int) -> float:
        """The progress of a run, from 0 to 1: the mean of the parts of images, blobs and bytes that are done."""
        return _progress((images, blobs, size), (self.images, self.blobs, self.bytes))

    def at_s(self, progress: float) -> float:
        """When the run has made that `progress`, in seconds since its begin."""
        place = bisect_left(self.points, progress, key=lambda point: point[1])
        if place == 0:
            return self.points[0][0] if self.points else 0.0
        if place == len(self.points):
            return self.seconds
        (before_s, before), (after_s, after) = self.points[place - 1 : place + 1]
        return before_s + (after_s - before_s) * (progress - before) / (after - before)


class PredictedCurve:
    """A `Track` that keeps some hundred points of a simulation."""

    def __init__(self) -> None:
        self._points: list[tuple[float, tuple[int, int, int]]] = []
        self._step_s = FIRST_STEP_S
        self._last = (0, 0, 0)

    def __call__(self, at_s: float, images: int, blobs: int, size: int) -> None:
        """See `Track`."""
        self._last = (max(self._last[0], images), max(self._last[1], blobs), max(self._last[2], size))
        if self._points and at_s < self._points[-1][0] + self._step_s:
            return
        self._points.append((at_s, self._last))
        if len(self._points) > MOST_POINTS:
            self._points = self._points[::2]
            self._step_s *= 2

    def prediction(self, seconds: float, p90_s: float, times: float = 1.0) -> Foreseen:
        """The prediction by a simulation that has ended. It may be of a part: the whole run is `times` that part."""
        images, blobs, size = self._last
        factor = seconds / max(1e-9, self._points[-1][0]) if self._points and times != 1.0 else 1.0
        points = [
            (at_s * factor, _progress(done, self._last)) for at_s, done in self._points if at_s * factor < seconds
        ]
        whole = (round(images * times), round(blobs * times), round(size * times))
        return Foreseen(seconds, p90_s, *whole, (*points, (seconds, 1.0)))


def _progress(done: tuple[int, int, int], whole: tuple[int, int, int]) -> float:
    parts = [min(1.0, one / of) for one, of in zip(done, whole, strict=True) if of > 0]
    return sum(parts) / len(parts) if parts else 1.0
