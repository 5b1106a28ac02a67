"""Samples of a plan: plan files for a few of its images, to repositories of the benchmark's own."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from image_syncer.oci import Digest, Reference, parse_reference, repository_at
from image_syncer.reporting.plan_account import workload_of
from image_syncer.reporting.plan_file import ImageShape, PlanWriter, load_plan
from image_syncer.telemetry import ImageResult, Outcome, Report, Totals
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from image_syncer.capacity.forecast import Workload
    from image_syncer.oci import Repository
    from image_syncer.reporting.plan_file import PlanFile, PlannedImage


FOLDER = "image-syncer-bench"
"""The beginning of the names of the benchmark's repositories, below the namespace of the destination."""
ONE, LARGE, SMALL, MIXED = 0.2, 0.25, 0.1, 0.45
"""The part of the bytes for each kind of sample."""
FEWEST = 2
"""Images of a sample that is not of one image alone, so that two workers have work."""
MOST_IMAGES = 200
"""Images of one sample: more improve no figure, and take longer."""


class Sample(Value, frozen=True):
    """A plan file for a part of a plan, the same as a workload, and the manifests that it pushes (`written`)."""

    path: Path
    workload: Workload
    written: tuple[tuple[Repository, Digest], ...] = ()


class SampleMaker:
    """Makes samples of the images of `plan` from the registry `source`, of `most_bytes` together.

    The images are drawn with a fixed seed, so that two benchmarks of one plan measure the same.
    """

    def __init__(self, plan: PlanFile, source: str, folder: Path, name: str, most_bytes: int) -> None:
        self._plan = plan
        self._folder = folder
        self._name = name
        self._most_bytes = most_bytes
        self._left = most_bytes
        images: dict[str, list[PlannedImage]] = {}
        for image in plan.images:
            of_source = parse_reference(image.source).repository.registry == source
            if of_source and image.outcome in (Outcome.PLANNED, Outcome.UNCHANGED) and image.referrer_of is None:
                images.setdefault(image.source, []).append(image)
        self._groups = list(images.values())
        random.Random(0).shuffle(self._groups)  # noqa: S311 - no secret
        self._number = 0
        self._drawn: set[frozenset[str]] = set()
        self._repeats = False

    def repeat(self) -> None:
        """From now on, images may be drawn again, and each sample may have all bytes."""
        self._repeats = True
        self._left = self._most_bytes

    def unchanged(self) -> Sample | None:
        """Unchanged tags: nothing is pushed. None where there are none."""
        groups = [group for group in self._groups if all(one.outcome is Outcome.UNCHANGED for one in group)]
        return self._write(groups[: 5 * MOST_IMAGES], {}) if groups else None

    def mixed(self) -> Sample | None:
        """Images at random."""
        return self._copy(self._changed(), MIXED)

    def further(self) -> Sample | None:
        """Others at random, as far as the bytes go: one run alone may be slower than the next by a fifth."""
        return self._copy(self._changed()[::-1], MIXED)

    def large(self) -> Sample | None:
        """Those with the largest blobs."""
        return self._copy(sorted(self._changed(), key=lambda group: -self._largest(group)), LARGE, MOST_IMAGES // 10)

    def small(self) -> Sample | None:
        """Those with the smallest blobs."""
        return self._copy(sorted(self._changed(), key=self._largest), SMALL)

    def single(self) -> Sample | None:
        """The one with the largest blob that fits."""
        fitting = [group for group in self._changed() if self._bytes(group) <= ONE * self._most_bytes]
        if not fitting:
            return self._copy(sorted(self._changed(), key=self._bytes)[:1], ONE, 1)
        return self._copy(sorted(fitting, key=lambda group: -self._largest(group)), ONE, 1)

    def nothing(self) -> Sample:
        """No image at all."""
        return self._write([], {})

    def _changed(self) -> list[list[PlannedImage]]:
        planned = [[one for one in group if one.outcome is Outcome.PLANNED] for group in self._groups]
        return [group for group in planned if group]

    def _largest(self, group: Sequence[PlannedImage]) -> int:
        return max((self._plan.blobs[place].size for place in group[0].blobs), default=0)

    def _bytes(self, group: Sequence[PlannedImage]) -> int:
        return sum(max(0, self._plan.blobs[place].size) for place in group[0].blobs)

    def _copy(self, groups: Iterable[list[PlannedImage]], part: float, most: int = MOST_IMAGES) -> Sample | None:
        """Take as many of `groups` as fit into their part of the bytes; two even where they need twice as much, but
        never more than is left. None where there are none, or the same ones were drawn before.
        """
        chosen: list[list[PlannedImage]] = []
        total = 0
        share = part * self._most_bytes
        for group in groups:
            size = self._bytes(group)
            if len(chosen) >= most or (len(chosen) >= min(most, FEWEST) and total + size > share):
                break
            if total + size <= min(self._left, 2 * share):
                chosen.append(group)
                total += size
        names = frozenset(group[0].source for group in chosen)
        if not chosen or (names in self._drawn and not self._repeats):
            return None
        self._drawn.add(names)
        self._left -= 0 if self._repeats else total
        self._number += 1
        places = {one.destination: self._place(one.destination) for group in chosen for one in group}
        return self._write(chosen, places)

    def _place(self, destination: str) -> str:
        """The reference under which the benchmark writes what goes to `destination`."""
        reference = parse_reference(destination)
        registry, name = reference.repository.registry, reference.repository.name
        first, slash, rest = name.partition("/")
        path = f"{FOLDER}/{self._name}/{self._number}/{rest if slash else name}"
        repository = repository_at(registry, f"{first}/{path}" if slash else path)
        return str(Reference(repository, reference.tag, reference.digest))

    def _write(self, groups: Sequence[Sequence[PlannedImage]], places: dict[str, str]) -> Sample:
        path = self._folder / f"sample-{self._name}-{self._number}-{len(places)}-{len(groups)}.json"
        writer = PlanWriter(str(path))
        for group in groups:
            for image in group:
                destination = places.get(image.destination, image.destination)
                blobs = tuple(self._plan.blobs[place] for place in image.blobs)
                writer.note_shape(image.source, destination, ImageShape(image.manifests or 1, blobs))
                writer.add(
                    ImageResult(
                        image.source,
                        destination,
                        Outcome.PLANNED,
                        source_digest=image.source_digest,
                        destination_digest=image.digest,
                        rule=image.rule,
                    )
                )
        settings = {**self._plan.settings, "on_conflict": "overwrite", "force": False, "referrers": "none"}
        writer.close(Report(settings=settings, totals=Totals(), started_at=self._plan.started_at, seconds=0.0))
        work = workload_of(load_plan(str(path)))
        if not places:
            return Sample(path, work.unchanged())
        written = tuple(
            (parse_reference(places[image.destination]).repository, Digest(image.digest))
            for group in groups
            for image in group
            if image.digest is not None
        )
        return Sample(path, work, written)
