"""Estimates: how long a workload takes on a host, what would change that, and whether it fits into a budget of time and
bandwidth.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from msgspec import field

from image_syncer.capacity.forecast import COORDINATOR, MACHINE, Forecast, Host, WorkBlob, WorkImage, Workload
from image_syncer.capacity.simulation import simulate
from image_syncer.oci import Digest
from image_syncer.patterns import lazy_pattern
from image_syncer.scheduling.resources import Machine, decide_resources
from image_syncer.units import (
    LEAST_S,
    format_count,
    format_duration,
    format_rate,
    format_size,
    parse_duration,
    parse_rate,
)
from image_syncer.values import Value, replace, repr_without

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from image_syncer.capacity.forecast import Track
    from image_syncer.capacity.measured import MeasuredPath, PathLimits
    from image_syncer.config import Settings
    from image_syncer.scheduling.resources import Resources


MOST_PIECES = 12_000
"""Images, and blobs for destinations, in a sample: about a second of simulation."""
_ALIAS = "sha256:" + 40 * "f"
"""The beginning of digests that stand for present blobs: no content has it."""
ONE_IN_TEN = 1.2816
"""Standard deviations of a normal distribution above which one in ten lies."""
MODEL_SPREAD = 0.10
"""The error of the model itself (of the logarithm), as in `docs/capacity.md`."""
MOST_CORES = 4096
"""More than any machine has."""
OPEN_FILES = 2**20
"""Open files of a host: as many as systems allow today, so that they are no limit."""
_HOST = lazy_pattern(r"(?:(?P<cores>[0-9]{1,9}) *cores?)?[ ,;]*(?P<link>[0-9].*)?", re.IGNORECASE)


def sample_workload(workload: Workload) -> tuple[Workload, float]:
    """A sample of the workload for a quick simulation (every nth image), and the size of the whole as a multiple of the
    sample. A workload of at most `MOST_PIECES` pieces is its own sample.

    A blob that an earlier image brings is present, whether that image is in the sample or not: so the sample moves, and
    mounts, its share of the whole.
    """
    pieces = sum(1 + len(image.blobs) * len(image.destinations) for image in workload.images)
    step = -(-pieces // MOST_PIECES)
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


class Question(Value, frozen=True):
    """A workload over measured paths, on a host, with settings, to be estimated. The whole is `times` the workload, see
    `sketch`.
    """

    workload: Workload
    path_of: Callable[[str, str], MeasuredPath]
    settings: Settings
    host: Host
    spread: float = 0.05
    times: float = 1.0
    known: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    """Results so far, shared by all questions that were made of one another."""

    __repr__ = repr_without("known")

    @property
    def resources(self) -> Resources:
        """The resources of a run on that host."""
        return decide_resources(self.settings, Machine(cpus=max(1, round(self.host.cores)), open_files=OPEN_FILES))

    def forecast(self, track: Track | None = None) -> Forecast:
        """The run of the workload in virtual time; `track` follows it, if it is not known already. Raises ValueError
        where nothing bounds it.
        """
        resources = self.resources
        done: Forecast = self._once(
            (resources, self.host), lambda: simulate(self.workload, self.path_of, resources, self.host, track)
        )
        return done

    @property
    def seconds(self) -> float:
        """The time of the whole, which starts only once. Raises ValueError where nothing bounds it."""
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
        """The same for a sample of the workload, where that is large: to compare settings with each other."""
        part, times = self._once(("part",), lambda: sample_workload(self.workload))
        return self if times == 1.0 else replace(self, workload=part, times=times * self.times)

    def _once(self, key: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
        about = (self.workload, self.path_of)  # kept with the answer, so that no other object gets their ids
        whole = (*map(id, about), *key)
        if whole not in self.known:
            self.known[whole] = (about, compute())
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
    """Bytes per second of a link: more than none. Raises ValueError with a sentence for people."""
    rate = parse_rate(text)
    if rate < 1:
        raise ValueError(f"{text[:60]!r} is no bandwidth: over such a link nothing ever arrives")
    return rate


ENOUGH = 1.03
"""Settings whose time is within this factor of the best are as good; the fewest workers and streams of those count."""
STREAMS = (4, 16, 64)
MOST_WORKERS = 64
"""The most workers that are tried."""
_HOST_COUNTS = (2, 4)
LONGEST_S = 366 * 86400
"""More than any run takes."""
BUDGET_HOSTS = (2, 4, 8, 16, 32)
_SEPARATOR = lazy_pattern(r"\s*[,;]\s*|\s+(?:and\s+)?")


class WhatIf(Value, frozen=True):
    """The seconds that a run takes with one thing changed."""

    change: str
    seconds: float


def try_settings(question: Question) -> Mapping[tuple[int, int], Question]:
    """The question with each pair of workers and streams that a host like this may use, the fewest first. Where one of
    them is set, it stays.
    """
    settings, sketch = question.settings, question.sketch
    most_workers = max(1, min(2 * round(question.host.cores), MOST_WORKERS))
    workers = [settings.workers] if settings.workers else [2**power for power in range(most_workers.bit_length())]
    streams = [settings.streams] if settings.streams else STREAMS
    return {
        (each, most): replace(sketch, settings=replace(settings, workers=each, streams=most))
        for each in workers
        for most in streams
    }


def best_settings(question: Question) -> Settings:
    """Workers and streams beyond which more does not pay. Raises ValueError where nothing bounds the run."""
    tried = try_settings(replace(question, settings=replace(question.settings, workers=None, streams=None)))
    least = min(one.seconds for one in tried.values())
    workers, streams = min(pair for pair, one in tried.items() if one.seconds <= least * ENOUGH)
    return replace(question.settings, workers=workers, streams=streams)


def what_if(question: Question) -> Iterator[WhatIf]:
    """The times with other workers, processors, bandwidth, and more hosts that divide the work."""
    sketch = question.sketch
    settings, host, resources = sketch.settings, sketch.host, sketch.resources
    scale = question.seconds / sketch.seconds if sketch is not question and sketch.seconds else 1.0

    def found(change: str, changed: Question) -> WhatIf:
        return WhatIf(change, changed.seconds * scale)

    for workers in dict.fromkeys((1, max(1, resources.workers // 2), resources.workers * 2)):
        if workers != resources.workers:
            yield found(format_count(workers, "worker"), replace(sketch, settings=replace(settings, workers=workers)))
    more = replace(sketch, host=replace(host, cores=2 * host.cores), settings=replace(settings, workers=None))
    yield found("twice the processors", more)
    if host.link_bytes_per_s is not None:
        for words, factor in (("half the bandwidth of the link", 0.5), ("twice the bandwidth of the link", 2.0)):
            link = factor * host.link_bytes_per_s
            yield found(words, replace(sketch, host=replace(host, link_bytes_per_s=link)))
    elif (rate := sketch.forecast().bytes_moved / max(sketch.forecast().seconds, LEAST_S)) >= 1:
        link = rate / 2
        words = f"a link of {format_rate(link)}, half of what it takes"
        yield found(words, replace(sketch, host=replace(host, link_bytes_per_s=link)))
    for hosts in _HOST_COUNTS:
        yield found(f"{hosts} hosts, each with a part of the images", divided(question, hosts).sketch)


def divided(question: Question, hosts: int) -> Question:
    """The question for one of `hosts` hosts, with every nth image. Blobs that images share move once for each host."""
    workload = question.workload
    return replace(question, workload=replace(workload, images=workload.images[::hosts]))


class Budget(Value, frozen=True):
    """The most seconds, and bytes per second of all hosts together (None: what their links have)."""

    seconds: float
    bytes_per_s: float | None = None

    def __str__(self) -> str:
        rate = "" if self.bytes_per_s is None else f" and {self.bytes_per_s / 1e6:,.4g} MB/s"
        return format_duration(self.seconds) + rate


class BudgetAnswer(Value, frozen=True):
    """The fewest hosts, workers and streams that fit in nine of ten cases, and their window; or the `reasons` why
    nothing fits.
    """

    hosts: int = 0
    workers: int = 0
    streams: int = 0
    window_bytes: int = 0
    p90_s: float = 0.0
    reasons: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether something fits."""
        return self.hosts > 0


def parse_budget(text: str) -> Budget:
    """From "8h", "8h, 200MB/s" or "200MB/s 8h". Raises ValueError with a sentence for people."""
    seconds: float | None = None
    rate: float | None = None
    for part in filter(None, _SEPARATOR.split(text.strip())):
        try:
            value = parse_duration(part)
        except ValueError:
            if rate is not None or not part[:1].isdigit():
                raise ValueError(_no_budget(text)) from None
            rate = parse_link(part)
            continue
        if seconds is not None:
            raise ValueError(_no_budget(text))
        if not 0 < value <= LONGEST_S:
            raise ValueError(f"{part!r}: it must be more than nothing, and a year at most")
        seconds = value
    if seconds is None:
        raise ValueError(_no_budget(text))
    return Budget(seconds, rate)


def _no_budget(text: str) -> str:
    return f"{text[:60]!r} is no budget: write a time, and a bandwidth if you like, such as “8h” or “8h, 200MB/s”"


def answer_budget(question: Question, budget: Budget, *, least_s: float = 0.0) -> BudgetAnswer:
    """The least that fits. `least_s` is the time that published limits take, however many hosts there are. Settings of
    the question stay. Raises ValueError where nothing bounds the run.
    """
    question = _bounded(question, budget, 1)
    largest_s = _largest_blob_s(question)
    if max(least_s, largest_s) <= budget.seconds:
        for one in try_settings(question).values():
            if one.p90_s <= budget.seconds:
                return _answer(one, 1)
        wanted = replace(question, settings=_kept(question, best_settings(question)))
        most_bytes = math.inf if budget.bytes_per_s is None else budget.bytes_per_s * budget.seconds
        if question.workload.bytes_to_move() <= most_bytes:  # else more hosts do not help
            for hosts in BUDGET_HOSTS:
                one = divided(_bounded(wanted, budget, hosts), hosts).sketch
                if one.p90_s <= budget.seconds:
                    return _answer(one, hosts)
    return BudgetAnswer(reasons=tuple(_reasons(question, budget, least_s, largest_s)))


def _bounded(question: Question, budget: Budget, hosts: int) -> Question:
    """The question with one host's share of the budget's bandwidth."""
    if budget.bytes_per_s is None:
        return question
    share, link = budget.bytes_per_s / hosts, question.host.link_bytes_per_s
    return replace(question, host=replace(question.host, link_bytes_per_s=share if link is None else min(link, share)))


def _kept(question: Question, best: Settings) -> Settings:
    settings = question.settings
    return replace(settings, workers=settings.workers or best.workers, streams=settings.streams or best.streams)


def _answer(question: Question, hosts: int) -> BudgetAnswer:
    resources = question.resources
    return BudgetAnswer(hosts, resources.workers, resources.streams, resources.window_bytes, question.p90_s)


def _ways(question: Question) -> Iterator[tuple[WorkImage, str, PathLimits]]:
    """Each image with the registry of each of its destinations, and the limits of the path to it."""
    for image in question.workload.images:
        for destination in image.destinations:
            path = question.path_of(image.source.registry, destination.registry)
            yield image, destination.registry, path.limits


def _largest_blob_s(question: Question) -> float:
    """The time of the largest blob, which is one stream however many hosts there are."""
    longest, present = 0.0, question.workload.present
    for image, registry, limits in _ways(question):
        if limits.stream_bytes_per_s is not None:
            missing = (one.size for one in image.blobs if (registry, one.digest) not in present)
            longest = max(longest, max(missing, default=0) / limits.stream_bytes_per_s)
    return longest


def _reasons(question: Question, budget: Budget, least_s: float, largest_s: float) -> Iterator[str]:
    """What prevents it, and what would have to be different."""
    seconds = budget.seconds
    if least_s > seconds:
        yield f"published limits alone take longer: {format_duration(least_s)} (see Limit)"
    if largest_s > seconds:
        yield f"the largest blob alone takes {format_duration(largest_s)} as one stream: the path has to be faster"
    size = question.workload.bytes_to_move()
    wanted, link = size / seconds, question.host.link_bytes_per_s
    if link is not None and wanted > link:
        yield (
            f"bandwidth: {format_size(size)} in {format_duration(seconds)} are {format_rate(wanted)}, and the link has "
            f"{format_rate(link)}"
        )
    bounds = {
        limits.path_bytes_per_s: f"{image.source.registry} → {registry}"
        for image, registry, limits in _ways(question)
        if limits.path_bytes_per_s is not None
    }
    if len(bounds) == 1:
        [(most, name)] = bounds.items()
        if wanted > most:
            yield f"the path {name} carried {format_rate(most)}, and {format_rate(wanted)} are needed"
    sketch = question.sketch
    best = replace(sketch, settings=_kept(question, best_settings(question)))
    done, times = best.forecast(), best.times
    if done.bottleneck in (MACHINE, COORDINATOR, "worker"):
        cores = (done.machine_s if done.bottleneck == MACHINE else done.cpu_s) * times / seconds
        yield f"processors: about {max(cores, 0.1):.1f} of them would be busy all the time, of {question.host.cores:g}"
    yield (
        f"the best settings take up to {format_duration(best.p90_s)} on one host, waiting for {done.bottleneck} most"
    )
