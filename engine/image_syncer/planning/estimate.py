"""Estimates: how long a workload takes, with what settings.

A part of a large workload that stands for all of it: so that a hundred settings can be tried on a million blobs.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from msgspec import field

from image_syncer.oci import Digest
from image_syncer.planning.forecast import Forecast, Host
from image_syncer.planning.resources import Machine, decide_resources
from image_syncer.planning.simulation import simulate
from image_syncer.planning.workload import WorkBlob, WorkImage, Workload
from image_syncer.units import parse_rate
from image_syncer.values import Value, replace, repr_without

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.config import Settings
    from image_syncer.planning.foreseen import Track
    from image_syncer.planning.measured import MeasuredPath
    from image_syncer.planning.resources import Resources

__all__ = ["MOST_PIECES", "Estimate", "Question", "estimate", "parse_host", "parse_link", "thin_out"]


MOST_PIECES = 12_000
"""Images, and blobs for destinations, of a part: about a second of simulation."""
_ALIAS = "sha256:" + 40 * "f"
"""With what the digests begin that stand for blobs which are there: no content has it."""


def thin_out(workload: Workload, most: int | None = None) -> tuple[Workload, float]:
    """Every so many-th image, and how many times that part is in the whole by number of images.

    A blob that an image before it has brought is there already, whether that image is in the part or not: so the part
    moves, and mounts, what is its share of the whole. Where `workload` has no more than `most` pieces (`MOST_PIECES`
    where none are given), it is the part.
    """
    pieces = sum(1 + len(image.blobs) * len(image.destinations) for image in workload.images)
    step = -(-pieces // (MOST_PIECES if most is None else most))
    if step <= 1:
        return workload, 1.0
    seen: set[tuple[str, Digest]] = set()
    present = set(workload.present)
    part: list[WorkImage] = []
    aliases = 0
    for number, image in enumerate(workload.images):
        registries = {destination.registry for destination in image.destinations}
        blobs: list[WorkBlob] = []
        for blob in image.blobs:
            if number % step == 0 and registries and all((one, blob.digest) in seen for one in registries):
                aliases += 1
                alias = Digest(f"{_ALIAS}{aliases:024x}")
                present.update((one, alias) for one in registries)
                blobs.append(replace(blob, digest=alias))
            else:
                blobs.append(blob)
            seen.update((one, blob.digest) for one in registries)
        if number % step == 0:
            part.append(replace(image, blobs=tuple(blobs)))
    return Workload(tuple(part), frozenset(present)), len(workload.images) / len(part)


ONE_IN_TEN = 1.2816
"""Standard deviations of a normal distribution above which one in ten lies."""
MODEL_SPREAD = 0.10
"""Of the logarithm: what the model itself is wrong by, as `docs/capacity.md` has it."""
MOST_CORES = 4096
"""More than any machine has."""
OPEN_FILES = 2**20
"""Of a host that is asked about: as many as systems allow today, so that they are no bound."""
_HOST = re.compile(r"(?:(?P<cores>[0-9]{1,9}) *cores?)?[ ,;]*(?P<link>[0-9].*)?", re.IGNORECASE)


class Question(Value, frozen=True):
    """What is to be estimated: a workload over measured paths, on a host, with settings. The real one is `times` the
    workload, see `sketch`.
    """

    workload: Workload
    path_of: Callable[[str, str], MeasuredPath]
    settings: Settings
    host: Host
    spread: float = 0.05
    times: float = 1.0
    known: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    """What was reckoned already, for all questions that were made of one another."""

    __repr__ = repr_without("known")

    @property
    def resources(self) -> Resources:
        """What a run on that host would use."""
        return decide_resources(self.settings, Machine(cpus=max(1, round(self.host.cores)), open_files=OPEN_FILES))

    def forecast(self, track: Track | None = None) -> Forecast:
        """The run of the workload in virtual time, of which `track` is told if it was not known before. Raises
        ValueError where nothing bounds it.
        """
        resources = self.resources
        done: Forecast = self._once(
            (resources, self.host), lambda: simulate(self.workload, self.path_of, resources, self.host, track)
        )
        return done

    @property
    def seconds(self) -> float:
        """How long all of it takes: what is `times` the workload still starts once. Raises ValueError where nothing
        bounds it.
        """
        done = self.forecast()
        if self.times == 1.0:
            return done.seconds
        image = self.workload.images[0]
        path = self.path_of(image.source.registry, image.destinations[0].registry if image.destinations else "")
        workers_start_s = path.workers_start_s if done.blobs_moved + done.blobs_mounted else 0.0
        start_s = min(path.start_s + workers_start_s, done.seconds)
        return start_s + (done.seconds - start_s) * self.times

    @property
    def p90_s(self) -> float:
        """The time within which nine of ten runs end."""
        return self.seconds * math.exp(ONE_IN_TEN * math.hypot(self.spread, MODEL_SPREAD))

    @property
    def sketch(self) -> Question:
        """The same about a part of the workload, where that is large: to compare settings with each other."""
        part, times = self._once(("part",), lambda: thin_out(self.workload))
        return self if times == 1.0 else replace(self, workload=part, times=times * self.times)

    def _once(self, key: tuple[Any, ...], reckon: Callable[[], Any]) -> Any:
        about = (self.workload, self.path_of)  # kept with the answer, so that no other object gets their ids
        whole = (*map(id, about), *key)
        if whole not in self.known:
            self.known[whole] = (about, reckon())
        return self.known[whole][1]


class Estimate(Value, frozen=True):
    """`seconds` is as likely to be too long as too short; one run in ten takes longer than `p90_s`."""

    forecast: Forecast
    seconds: float
    p90_s: float
    workers: int
    streams: int


def estimate(question: Question) -> Estimate:
    """The estimate for a question. Raises ValueError where nothing bounds the run."""
    resources = question.resources
    return Estimate(question.forecast(), question.seconds, question.p90_s, resources.workers, resources.streams)


def parse_host(text: str) -> Host:
    """The host in "8 cores, 10 Gbit/s", "8 cores" or "10 Gbit/s". Raises ValueError with a sentence for people."""
    match = _HOST.fullmatch(text.strip())
    if match is None or not (match["cores"] or match["link"]):
        raise ValueError(f"{text[:60]!r} is no host: write for example “8 cores, 10 Gbit/s”")
    link = parse_link(match["link"].strip()) if match["link"] else None
    if match["cores"] is not None and not 1 <= int(match["cores"]) <= MOST_CORES:
        raise ValueError(f"{text[:60]!r}: a host has 1 to {MOST_CORES:,} cores")
    return Host(float(match["cores"] or 0), link)


def parse_link(text: str) -> float:
    """Bytes a second of a link: more than none. Raises ValueError with a sentence for people."""
    rate = parse_rate(text)
    if rate < 1:
        raise ValueError(f"{text[:60]!r} is no bandwidth: over such a link nothing ever arrives")
    return rate
