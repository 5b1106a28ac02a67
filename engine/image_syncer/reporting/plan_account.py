"""The sums of a plan: blobs, bytes and requests.

Which repository gets a blob from the source and which mounts it follows `scheduling.BlobSet`. In a run, two images that
are planned at the same moment may change places; the sums stay the same, except where a later repository already has
the blob.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from msgspec import field

from image_syncer.capacity.forecast import WorkBlob, WorkImage, Workload
from image_syncer.oci import Digest, parse_reference
from image_syncer.registry import Operation
from image_syncer.registry.profiles.recognition import recognise_host
from image_syncer.telemetry.outcome import Outcome
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_syncer.oci import Repository
    from image_syncer.reporting.plan_file import PlanFile, PlannedImage


SHOWN = 10
"""The largest and the most shared blobs that are listed."""
SIZE_CLASSES = tuple(4**power * 1024 for power in range(14))
"""Upper bounds of the histogram, in bytes: 1 KiB, 4 KiB, … 64 GiB."""


class SizeClass(Value, frozen=True):
    """Distinct blobs larger than the class before, up to `most_bytes` (None: no bound)."""

    most_bytes: int | None
    blobs: int
    size_bytes: int


class Wait(Value, frozen=True):
    """The least time that planned requests of a kind take by the published limits of a registry: `rate` says it in
    words ("200 in 6 h with a personal account").
    """

    registry: str
    operations: str
    count: int
    rate: str
    seconds: float


class Share(Value, frozen=True):
    """The images, blobs and bytes that a plan moves to one repository."""

    images: int = 0
    blobs: int = 0
    size_bytes: int = 0


class PlanAccount(Value, frozen=True):
    """The sums. `bytes_named` counts a blob for each image and destination that names it, `bytes_distinct` once,
    `bytes_to_move` once for each destination registry that gets it from a source. `requests` is what a sync of the plan
    asks, by kind; `requests_of` the same for each registry, without lists of tags and tokens. `largest` and `shared`
    are digests, with their size and the number of images that name them.
    """

    outcomes: dict[Outcome, int]
    images: int
    blobs: int
    bytes_named: int
    bytes_distinct: int
    bytes_to_move: int
    blobs_to_move: int
    blobs_to_mount: int
    blobs_present: int
    requests: dict[str, int]
    requests_of: dict[str, dict[str, int]]
    largest: tuple[tuple[str, int], ...]
    shared: tuple[tuple[str, int, int], ...]
    sizes: tuple[SizeClass, ...]
    repositories: dict[str, Share] = field(default_factory=dict)
    """By destination."""
    sources: dict[str, Share] = field(default_factory=dict)
    """By source."""
    bytes_out: dict[str, int] = field(default_factory=dict)
    """Bytes that leave each source registry."""

    def waits(self) -> list[Wait]:
        """The waits that follow from published limits, the longest first; those of less than a second are left out."""
        found: list[Wait] = []
        for registry, counts in self.requests_of.items():
            profile = recognise_host(registry)
            bounds = [(one.operations, one.per_s, f"{one.per_s:g} a second") for one in profile.limits]
            for quota in profile.quotas:
                per_s = quota.count / (quota.hours * 3600)
                bounds.append((quota.operations, per_s, f"{quota.count} in {quota.hours:g} h {quota.whose}"))
            for operations, per_s, words in bounds:
                count = sum(counts.get(operation.value, 0) for operation in operations)
                if count > per_s:
                    names = ", ".join(sorted(operation.value for operation in operations))
                    found.append(Wait(registry, names, count, words, count / per_s))
        return sorted(found, key=lambda wait: -wait.seconds)


def account_for(plan: PlanFile) -> PlanAccount:
    """The sums of `plan`."""
    tally = _Tally(plan)
    for image in plan.images:
        tally.add(image)
    return tally.account()


def workload_of(plan: PlanFile) -> Workload:
    """The plan for the simulation: images of one source together, as a run begins them."""
    images: dict[str, list[PlannedImage]] = {}
    for image in plan.images:
        if image.outcome in (Outcome.PLANNED, Outcome.UNCHANGED):
            images.setdefault(image.source, []).append(image)
    work: list[WorkImage] = []
    present: set[tuple[str, Digest]] = set()
    for source, group in images.items():
        planned = [one for one in group if one.outcome is Outcome.PLANNED]
        destinations = tuple(parse_reference(one.destination).repository for one in planned)
        blobs = tuple(
            WorkBlob(Digest(plan.blobs[place].digest), max(0, plan.blobs[place].size))
            for place in (planned[0].blobs if planned else ())
        )
        for one, destination in zip(planned, destinations, strict=True):
            present.update((destination.registry, Digest(plan.blobs[place].digest)) for place in one.present)
        manifests = max((one.manifests for one in planned), default=1)
        work.append(WorkImage(parse_reference(source).repository, destinations, blobs, manifests, len(group)))
    return Workload(tuple(work), frozenset(present))


class _Tally:
    def __init__(self, plan: PlanFile) -> None:
        self._blobs = plan.blobs
        self._sizes = [max(0, blob.size) for blob in plan.blobs]
        self._outcomes: Counter[Outcome] = Counter()
        self._named: Counter[int] = Counter()
        self._repositories: defaultdict[tuple[str, str, int], set[Repository]] = defaultdict(set)
        """The repositories that need a blob, by registry, realm of it in which blobs are mounted, and place."""
        self._requests: Counter[str] = Counter(plan.requests)
        self._requests[Operation.HEAD_BLOB.value] -= plan.surveyed
        self._of: dict[str, Counter[str]] = {}
        self._downloads: set[int] = set()
        self._shares: dict[str, Share] = {}
        self._sources: dict[str, Share] = {}
        self._out: Counter[str] = Counter()
        self._asked: set[str] = set()
        self._moved = self._mounted = self._there = self._moved_bytes = self._named_bytes = 0

    def add(self, image: PlannedImage) -> None:
        self._outcomes[image.outcome] += 1
        if image.outcome not in (Outcome.PLANNED, Outcome.UNCHANGED):
            return
        source, target = parse_reference(image.source).repository, parse_reference(image.destination).repository
        first = image.source not in self._asked
        self._asked.add(image.source)
        self._ask(source.registry, Operation.HEAD_MANIFEST, int(first), counted=True)
        self._ask(target.registry, Operation.HEAD_MANIFEST, 1, counted=True)
        if image.outcome is not Outcome.PLANNED:
            return
        self._ask(source.registry, Operation.GET_MANIFEST, image.manifests if first else 0, counted=True)
        self._ask(target.registry, Operation.PUT_MANIFEST, image.manifests)
        blobs = bytes_moved = 0
        for place in image.blobs:
            size = self._sizes[place]
            self._named[place] += 1
            self._named_bytes += size
            if self._take(source, target, place, there=place in image.present):
                blobs, bytes_moved = blobs + 1, bytes_moved + size
        for shares, repository in ((self._shares, target), (self._sources, source)):
            share = shares.get(str(repository), Share())
            shares[str(repository)] = Share(share.images + 1, share.blobs + blobs, share.size_bytes + bytes_moved)

    def _take(self, source: Repository, target: Repository, place: int, *, there: bool) -> bool:
        """Count one blob for one repository; return whether it is moved there."""
        realm = recognise_host(target.registry).mounts.realm(target.name)
        repositories = self._repositories[target.registry, realm, place]
        if target in repositories:
            return False
        repositories.add(target)
        self._ask(target.registry, Operation.START_UPLOAD, 1)
        near = source.registry == target.registry and realm != target.name and source.name.startswith(realm)
        if len(repositories) > 1 or near:
            self._mounted += 1
        elif there:
            self._there += 1
        else:
            self._moved += 1
            self._moved_bytes += self._sizes[place]
            self._ask(target.registry, Operation.PUT_UPLOAD, 1)
            if place not in self._downloads:  # one download serves all destinations
                self._downloads.add(place)
                self._out[source.registry] += self._sizes[place]
                self._ask(source.registry, Operation.GET_BLOB, 1)
            return True
        return False

    def _ask(self, registry: str, operation: Operation, count: int, *, counted: bool = False) -> None:
        """Count requests; with `counted`, `requests` of the plan has them already."""
        if not counted:
            self._requests[operation.value] += count
        if count:
            self._of.setdefault(registry, Counter())[operation.value] += count

    def account(self) -> PlanAccount:
        blobs, sizes = self._blobs, {place: self._sizes[place] for place in self._named}
        largest = sorted(sizes, key=lambda place: -sizes[place])[:SHOWN]
        shared = [place for place, count in self._named.most_common(SHOWN) if count > 1]
        return PlanAccount(
            outcomes=dict(self._outcomes),
            images=self._outcomes[Outcome.PLANNED],
            blobs=len(sizes),
            bytes_named=self._named_bytes,
            bytes_distinct=sum(sizes.values()),
            bytes_to_move=self._moved_bytes,
            blobs_to_move=self._moved,
            blobs_to_mount=self._mounted,
            blobs_present=self._there,
            requests={kind: count for kind, count in sorted(self._requests.items()) if count > 0},
            requests_of={registry: dict(sorted(counts.items())) for registry, counts in sorted(self._of.items())},
            largest=tuple((blobs[place].digest, sizes[place]) for place in largest),
            shared=tuple((blobs[place].digest, sizes[place], self._named[place]) for place in shared),
            sizes=_histogram(sizes.values()),
            repositories=self._shares,
            sources=self._sources,
            bytes_out=dict(self._out),
        )


def _histogram(sizes: Iterable[int]) -> tuple[SizeClass, ...]:
    counts: Counter[int] = Counter()
    totals: Counter[int] = Counter()
    for size in sizes:
        number = bisect_left(SIZE_CLASSES, size)
        counts[number] += 1
        totals[number] += size
    bounds = (*SIZE_CLASSES, None)
    return tuple(SizeClass(bounds[number], counts[number], totals[number]) for number in sorted(counts))
